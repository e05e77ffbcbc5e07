"""Filters of a streaming plan moved to where Spark's optimizer has them.

This is not for speed: a filter that sits below a watermark node takes its rows out of the watermark, one over a key
keeps groups out of the state, one that becomes part of an inner join's condition bounds that join's state. So it
decides what a batch gives out. The rules are Spark's, as its plans show them: a deterministic conjunct moves through
projections, unions, sorts, generators and expands; through a watermark node unless it looks at the event time; through
an aggregation if it looks at keys only; into the sides of a join that its kind allows, and an inner join takes what
looks at both. A filter stays where it is if no watermark, aggregation or join of streams lies below it. What a join's
condition asks of one side alone goes to that side, with what the condition implies: that compared columns are not null,
and that what is known of one key holds for its equal. explode, posexplode and inline ask that an array is not empty.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from pyspark.sql.types import BooleanType, IntegerType

from runnel.functions.time_windows import SESSION_METADATA
from runnel.operators.join_condition import all_of, conjuncts, is_deterministic, references, split_condition
from runnel.plan.expressions import (
    Alias,
    Attribute,
    Expression,
    FunctionCall,
    Literal,
    PythonUDF,
    SubqueryExpression,
    to_attribute,
)
from runnel.plan.relations import (
    Aggregate,
    Expand,
    Filter,
    Generate,
    Join,
    Project,
    Relation,
    SetOperation,
    Sort,
    WithWatermark,
)
from runnel.plan.traverse import map_relations, transform_up, walk, walk_relations

_KEEPS_LEFT: Final = frozenset({"inner", "cross", "left", "semi", "anti"})
_KEEPS_RIGHT: Final = frozenset({"inner", "cross", "right"})
_BOTH_MATCHED: Final = frozenset({"inner", "semi"})
_EXPLODING: Final = frozenset({"explode", "posexplode", "inline"})


def push_filters(plan: Relation) -> Relation:
    """The resolved streaming plan with its filters moved down; same columns."""
    return _push(plan, ())


def _push(plan: Relation, conditions: Sequence[Expression]) -> Relation:
    """The plan with all the conditions applied, as far down as they can go."""
    if not plan.is_streaming or not _has_target(plan):
        return _filtered(plan, conditions)
    match plan:
        case Filter(child=child, condition=condition):
            parts = tuple(conjuncts(condition))
            if not all(is_deterministic(part) for part in parts):
                return _filtered(replace(plan, child=_push(child, ())), conditions)
            return _push(child, (*parts, *conditions))
        case Project(child=child, expressions=expressions):
            return _through(
                plan, conditions, _over_project(expressions), lambda down: replace(plan, child=_push(child, down))
            )
        case WithWatermark(child=child, attribute=Attribute(expr_id=event_time)):
            return _through(
                plan,
                conditions,
                lambda c: None if event_time in references(c) else c,
                lambda down: replace(plan, child=_push(child, down)),
            )
        case Aggregate(child=child):
            return _through(
                plan, conditions, _over_aggregate(plan), lambda down: replace(plan, child=_push(child, down))
            )
        case Generate(child=child):
            below = {a.expr_id for a in child.output}
            needed = _not_empty(plan)
            return _through(
                plan,
                conditions,
                lambda c: c if references(c) <= below else None,
                lambda down: replace(plan, child=_push(child, (*needed, *down))),
            )
        case Expand(child=child):
            same = _unchanged(plan)
            return _through(
                plan,
                conditions,
                lambda c: c if references(c) <= same else None,
                lambda down: replace(plan, child=_push(child, down)),
            )
        case Sort(child=child):
            return replace(plan, child=_push(child, conditions))
        case SetOperation(kind="union", all=True, inputs=inputs):
            return replace(plan, inputs=tuple(_push(i, _renamed(conditions, plan.attributes, i)) for i in inputs))
        case Join():
            return _push_join(plan, conditions)
        case _:
            return _filtered(map_relations(plan, lambda child: _push(child, ())), conditions)


def _through(
    plan: Relation,
    conditions: Sequence[Expression],
    rewrite: Callable[[Expression], Expression | None],
    rebuild: Callable[[Sequence[Expression]], Relation],
) -> Relation:
    """The conditions that `rewrite` can say in terms of what lies below go down; those it gives None for stay above."""
    down, above = [], []
    for condition in conditions:
        rewritten = rewrite(condition)
        if rewritten is None:
            above.append(condition)
        else:
            down.append(rewritten)
    return _filtered(rebuild(down), above)


def _push_join(plan: Join, conditions: Sequence[Expression]) -> Relation:
    left, right = ({a.expr_id for a in side.output} for side in (plan.left, plan.right))
    to_left, to_right, above, inside = [], [], [], []
    for condition in conditions:
        used = references(condition)
        if used and used <= left and plan.kind in _KEEPS_LEFT:
            to_left.append(condition)
        elif used and used <= right and plan.kind in _KEEPS_RIGHT:
            to_right.append(condition)
        elif plan.kind == "inner" and not any(isinstance(e, PythonUDF | SubqueryExpression) for e in walk(condition)):
            inside.append(condition)
        else:
            above.append(condition)
    plan = replace(plan, condition=all_of([*conjuncts(plan.condition), *inside]))
    split = split_condition(plan)
    if plan.kind in _BOTH_MATCHED:
        shared = [pair for part in split.kept for pair in _equal_columns(part)]
        of_left = [*to_left, *conjuncts(split.left.filter), *_own_filters(plan.left)]
        of_right = [*to_right, *conjuncts(split.right.filter), *_own_filters(plan.right)]
        to_left += _carried(of_right, shared, left)
        to_right += _carried(of_left, shared, right)
    joined = replace(
        plan,
        left=_push(plan.left, [*to_left, *conjuncts(split.left.filter)]),
        right=_push(plan.right, [*to_right, *conjuncts(split.right.filter)]),
        condition=all_of(split.kept),
    )
    return _filtered(joined, above)


def _equal_columns(part: Expression) -> Iterator[tuple[Attribute, Attribute]]:
    match part:
        case FunctionCall(name="==", args=(Attribute() as a, Attribute() as b)):
            yield a, b
            yield b, a


def _own_filters(plan: Relation) -> Iterator[Expression]:
    while isinstance(plan, Filter):
        yield from conjuncts(plan.condition)
        plan = plan.child


def _carried(
    given: Sequence[Expression], shared: Sequence[tuple[Attribute, Attribute]], to: set[int]
) -> list[Expression]:
    """What is said of one side's key alone, said of the other side's key that equals it."""
    found = []
    for condition in given:
        asks_nothing_more = isinstance(condition, FunctionCall) and condition.name == "isnotnull"
        fixed = any(isinstance(e, SubqueryExpression | PythonUDF) for e in walk(condition))
        if asks_nothing_more or fixed or not is_deterministic(condition):
            continue
        for a, b in shared:
            if b.expr_id in to and references(condition) == {a.expr_id}:
                rewritten = _substituted(condition, {a.expr_id: b})
                found += [] if rewritten is None or rewritten in found else [rewritten]
    return found


def _has_target(plan: Relation) -> bool:
    return any(
        (isinstance(node, WithWatermark | Aggregate) and node.is_streaming)
        or (isinstance(node, Join) and node.left.is_streaming and node.right.is_streaming)
        for node in walk_relations(plan)
    )


def _filtered(plan: Relation, conditions: Sequence[Expression]) -> Relation:
    condition = all_of(conditions)
    return plan if condition is None else Filter(child=plan, condition=condition)


def _substituted(condition: Expression, meanings: Mapping[int, Expression]) -> Expression | None:
    """The condition over what the columns mean; None for one with a subquery, whose outer columns are not rewritten."""
    if any(isinstance(e, SubqueryExpression) for e in walk(condition)):
        return None
    return transform_up(condition, lambda e: meanings.get(e.expr_id, e) if isinstance(e, Attribute) else e)


def _meanings(expressions: Sequence[Expression]) -> dict[int, Expression]:
    return {e.expr_id: e.child for e in expressions if isinstance(e, Alias)}


def _over_project(expressions: Sequence[Expression]) -> Callable[[Expression], Expression | None]:
    if not all(is_deterministic(e) for e in expressions):
        return lambda condition: None
    meanings = _meanings(expressions)
    return lambda condition: _substituted(condition, meanings)


def _over_aggregate(plan: Aggregate) -> Callable[[Expression], Expression | None]:
    keys = {
        g.expr_id for g in plan.groupings if isinstance(g, Attribute) and not g.metadata.get(SESSION_METADATA, False)
    }
    if not keys or not all(is_deterministic(e) for e in plan.aggregates):
        return lambda condition: None
    meanings = _meanings(plan.aggregates)

    def rewrite(condition: Expression) -> Expression | None:
        rewritten = _substituted(condition, meanings)
        used = set() if rewritten is None else references(rewritten)
        return rewritten if used and used <= keys else None

    return rewrite


def _unchanged(plan: Expand) -> set[int]:
    """The columns that every projection of an expand hands on as they are."""
    return {
        a.expr_id
        for i, a in enumerate(plan.attributes)
        if all(isinstance(row[i], Attribute) and to_attribute(row[i]) == a for row in plan.projections)
    }


def _renamed(conditions: Sequence[Expression], output: Sequence[Attribute], child: Relation) -> tuple[Expression, ...]:
    """Conditions over a union's columns as conditions over one input's."""
    columns: dict[int, Expression] = {a.expr_id: b for a, b in zip(output, child.output, strict=True)}

    def put(e: Expression) -> Expression:
        return columns.get(e.expr_id, e) if isinstance(e, Attribute) else e

    return tuple(transform_up(c, put) for c in conditions)


def _not_empty(plan: Generate) -> tuple[Expression, ...]:
    """What a generator that gives no row for an empty or missing array lets one ask of the array beforehand."""
    generator = plan.generator
    if plan.outer or generator.name not in _EXPLODING or not isinstance(generator.args[0], Attribute):
        return ()
    array = generator.args[0]
    size = FunctionCall("size", (array,), IntegerType(), array.nullable)
    positive = FunctionCall(">", (size, Literal(0, IntegerType())), BooleanType(), array.nullable)
    return (positive, _not_null(array))


def _not_null(attribute: Attribute) -> Expression:
    return FunctionCall("isnotnull", (attribute,), BooleanType(), False)
