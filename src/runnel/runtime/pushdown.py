"""Filters of a streaming plan moved to where Spark's optimizer has them.

This is not for speed: a filter that sits below a watermark node takes its rows out of the watermark, one that becomes
part of an inner join's condition bounds that join's state, and what never reaches a join is not buffered there. So it
decides what a batch gives out. The rules are Spark's, as far as they can be told apart from outside: a deterministic
conjunct moves through a projection, through an aggregation if it looks at keys only, through a watermark node unless it
looks at the event time, into all branches of a union, and into the sides of a join that its kind allows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from runnel.operators.join_condition import all_of, conjuncts, is_deterministic, references, split_condition
from runnel.plan.expressions import Alias, Attribute, Expression, PythonUDF, SubqueryExpression, WindowExpression
from runnel.plan.relations import Aggregate, Filter, Join, Project, Relation, SetOperation, WithWatermark
from runnel.plan.traverse import map_relations, transform_up, walk, walk_relations

_SIDES_UNDER = {"inner": ("left", "right"), "semi": ("left",), "left": ("left",), "right": ("right",)}
"""By join kind: the sides that a filter above the join may move into."""


def push_filters(plan: Relation) -> Relation:
    """The resolved plan with its filters as near to the streaming sources as Spark has them; same rows, same output."""
    if not plan.is_streaming:
        return plan
    match plan:
        case Filter(child=child, condition=condition):
            return _above(child, list(conjuncts(condition)))
        case Join(lateral=False):
            return _join(plan)
        case _:
            return map_relations(plan, push_filters)


def _above(child: Relation, parts: list[Expression]) -> Relation:
    """The rows of `child` that satisfy all parts, with the parts moved down as far as it matters."""
    if not parts or not _matters(child):
        return _filter(push_filters(child), parts)
    stay = [p for p in parts if not _movable(p)]
    parts = [p for p in parts if _movable(p)]
    match child:
        case Filter(child=below, condition=condition):
            return _filter(_above(below, [*conjuncts(condition), *parts]), stay)
        case Project(child=below, expressions=expressions) if all(map(_movable, expressions)):
            made = {e.expr_id: e.child for e in expressions if isinstance(e, Alias)}
            return _filter(replace(child, child=_above(below, [_replaced(p, made) for p in parts])), stay)
        case WithWatermark(child=below, attribute=attribute) if attribute is not None:
            through = [p for p in parts if attribute.expr_id not in references(p)]
            here = [p for p in parts if attribute.expr_id in references(p)]
            return _filter(replace(child, child=_above(below, through)), [*here, *stay])
        case SetOperation(kind="union", all=True, inputs=inputs) if _same_types(child):
            columns = [dict(zip((a.expr_id for a in child.output), i.output, strict=True)) for i in inputs]
            branches = (_above(i, [_replaced(p, c) for p in parts]) for i, c in zip(inputs, columns, strict=True))
            return _filter(replace(child, inputs=tuple(branches)), stay)
        case Aggregate(child=below, kind="groupby", groupings=groupings) if groupings:
            keys = {g.expr_id for g in groupings if isinstance(g, Attribute)}
            named = {e.expr_id: e.child for e in child.aggregates if isinstance(e, Alias)}
            of_keys = {expr_id: e for expr_id, e in named.items() if isinstance(e, Attribute) and e.expr_id in keys}
            through = [p for p in parts if references(_replaced(p, of_keys)) <= keys]
            here = [p for p in parts if p not in through]
            lowered = replace(child, child=_above(below, [_replaced(p, of_keys) for p in through]))
            return _filter(lowered, [*here, *stay])
        case Join(lateral=False):
            joined, here = _filtered_join(child, parts)
            return _filter(joined, [*here, *stay])
        case _:
            return _filter(push_filters(child), [*parts, *stay])


def _filtered_join(join: Join, parts: list[Expression]) -> tuple[Relation, list[Expression]]:
    """The join with what a filter above it hands down, and what stays above."""
    if join.kind == "inner":
        return _join(replace(join, condition=all_of([*conjuncts(join.condition), *parts]))), []
    for side in _SIDES_UNDER.get(join.kind, ()):
        child = join.left if side == "left" else join.right
        own = {a.expr_id for a in child.output}
        down = [p for p in parts if references(p) <= own]
        parts = [p for p in parts if not references(p) <= own]
        filtered = _filter(child, down)
        join = replace(join, left=filtered) if side == "left" else replace(join, right=filtered)
    return _join(join), parts


def _join(join: Join) -> Relation:
    """The join with its one-sided conditions, and the nulls that the others exclude, filtered from its sides."""
    split = split_condition(join)
    left, right = (
        _above(side, list(conjuncts(conditions.filter)) if side.is_streaming else [])
        for side, conditions in ((join.left, split.left), (join.right, split.right))
    )
    both_stream = join.left.is_streaming and join.right.is_streaming
    return replace(join, left=left, right=right, condition=all_of(split.kept) if both_stream else join.condition)


def _filter(child: Relation, parts: list[Expression]) -> Relation:
    condition = all_of(parts)
    return child if condition is None else Filter(child=child, condition=condition)


def _matters(plan: Relation) -> bool:
    """Whether it makes a difference to a stream how far down in this plan a filter sits."""
    return any(
        isinstance(node, WithWatermark)
        or (isinstance(node, Join) and node.left.is_streaming and node.right.is_streaming)
        for node in walk_relations(plan)
    )


def _movable(expression: Expression) -> bool:
    fixed = PythonUDF | SubqueryExpression | WindowExpression
    return is_deterministic(expression) and not any(isinstance(part, fixed) for part in walk(expression))


def _replaced(expression: Expression, by: Mapping[int, Expression]) -> Expression:
    """The expression with columns, by id, replaced."""
    return transform_up(expression, lambda e: by.get(e.expr_id, e) if isinstance(e, Attribute) else e)


def _same_types(union: SetOperation) -> bool:
    types = [a.dtype for a in union.output]
    return all([a.dtype for a in branch.output] == types for branch in union.inputs)
