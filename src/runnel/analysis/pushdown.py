"""Filters move below watermarks and aggregations, as Spark's optimizer moves them.

That is not only a matter of speed: a row that a filter takes away below `withWatermark` no longer moves the watermark,
and a group that a filter over a key takes away is never kept as state. Spark's rules: a deterministic condition crosses
projections, unions, sorts, generators and expands; a watermark unless it uses the event time; an aggregation if it uses
only grouping keys; the sides of a join that keep their rows. A filter stays where it is if no watermark or aggregation
lies below it. What a join's condition asks of one side alone goes to that side if only matched rows of it count, with
what the condition implies: that compared columns are not null, and that what is known of one key holds for its equal.
explode, posexplode and inline ask that an array column is not empty.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from pyspark.sql.types import BooleanType, IntegerType

from runnel.analysis.pruning import references
from runnel.functions.catalogue import lookup
from runnel.functions.registry import ScalarFunction
from runnel.functions.time_windows import SESSION_METADATA
from runnel.plan.expressions import (
    Alias,
    Attribute,
    Cast,
    Expression,
    FunctionCall,
    Literal,
    PythonUDF,
    SubqueryExpression,
    nullable_of,
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
_MATCHED_LEFT: Final = frozenset({"inner", "cross", "semi", "right"})
_MATCHED_RIGHT: Final = frozenset({"inner", "cross", "semi", "left", "anti"})
_BOTH_MATCHED: Final = frozenset({"inner", "semi"})
_COMPARISONS: Final = frozenset({"==", "<", "<=", ">", ">="})
_STRICT: Final = frozenset({"upper", "lower", "trim", "ltrim", "rtrim", "+", "-", "*"})
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
            parts = tuple(_conjuncts(condition))
            if not all(_deterministic(part) for part in parts):
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
                lambda c: None if event_time in references((c,)) else c,
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
                lambda c: c if references((c,)) <= below else None,
                lambda down: replace(plan, child=_push(child, (*needed, *down))),
            )
        case Expand(child=child):
            same = _unchanged(plan)
            return _through(
                plan,
                conditions,
                lambda c: c if references((c,)) <= same else None,
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
    to_left, to_right, above = [], [], []
    for condition in conditions:
        used = references((condition,))
        if used and used <= left and plan.kind in _KEEPS_LEFT:
            to_left.append(condition)
        elif used and used <= right and plan.kind in _KEEPS_RIGHT:
            to_right.append(condition)
        else:
            above.append(condition)
    kept = []
    for part in () if plan.condition is None else _conjuncts(plan.condition):
        used = references((part,))
        if used and used <= left and plan.kind in _MATCHED_LEFT and _deterministic(part):
            to_left.append(part)
        elif used and used <= right and plan.kind in _MATCHED_RIGHT and _deterministic(part):
            to_right.append(part)
        else:
            kept.append(part)
    if plan.kind in _BOTH_MATCHED:
        shared = [(a, b) for part in kept for a, b in _equal_columns(part)]
        given_left, given_right = [*to_left, *_own_filters(plan.left)], [*to_right, *_own_filters(plan.right)]
        to_left += _carried(given_right, shared, left)
        to_right += _carried(given_left, shared, right)
    for column in {a.expr_id: a for part in kept for a in _compared(part)}.values():
        if column.expr_id in left and plan.kind in _MATCHED_LEFT:
            to_left.append(_not_null(column))
        elif column.expr_id in right and plan.kind in _MATCHED_RIGHT:
            to_right.append(_not_null(column))
    joined = replace(plan, left=_push(plan.left, to_left), right=_push(plan.right, to_right), condition=_all_of(kept))
    return _filtered(joined, above)


def _compared(part: Expression) -> Iterator[Attribute]:
    """The nullable columns without which a part of a join's condition cannot be true."""
    match part:
        case FunctionCall(name=name, args=args) if name in _COMPARISONS:
            for arg in args:
                yield from _carriers(arg)


def _carriers(expression: Expression) -> Iterator[Attribute]:
    """The nullable columns that make an expression null if they are."""
    match expression:
        case Attribute(nullable=True):
            yield expression
        case Cast(child=child):
            yield from _carriers(child)
        case FunctionCall(name=name, args=args) if name in _STRICT:
            for arg in args:
                yield from _carriers(arg)


def _equal_columns(part: Expression) -> Iterator[tuple[Attribute, Attribute]]:
    match part:
        case FunctionCall(name="==", args=(Attribute() as a, Attribute() as b)):
            yield a, b
            yield b, a


def _own_filters(plan: Relation) -> Iterator[Expression]:
    while isinstance(plan, Filter):
        yield from _conjuncts(plan.condition)
        plan = plan.child


def _carried(
    given: Sequence[Expression], shared: Sequence[tuple[Attribute, Attribute]], to: set[int]
) -> list[Expression]:
    """What is said of one side's key alone, said of the other side's key that equals it."""
    found = []
    for condition in given:
        if not _deterministic(condition) or any(isinstance(e, SubqueryExpression | PythonUDF) for e in walk(condition)):
            continue
        for a, b in shared:
            if b.expr_id in to and references((condition,)) == {a.expr_id}:
                rewritten = _substituted(condition, {a.expr_id: b})
                found += [] if rewritten is None or rewritten in found else [rewritten]
    return found


def _has_target(plan: Relation) -> bool:
    return any(isinstance(node, WithWatermark | Aggregate) and node.is_streaming for node in walk_relations(plan))


def _filtered(plan: Relation, conditions: Sequence[Expression]) -> Relation:
    if not conditions:
        return plan
    condition = _all_of(conditions)
    assert condition is not None
    return Filter(child=plan, condition=condition)


def _all_of(conditions: Sequence[Expression]) -> Expression | None:
    """The conjunction; None of nothing."""
    if not conditions:
        return None
    condition = conditions[0]
    for more in conditions[1:]:
        nullable = nullable_of(condition) or nullable_of(more)
        condition = FunctionCall("and", (condition, more), BooleanType(), nullable)
    return condition


def _conjuncts(condition: Expression) -> Iterator[Expression]:
    if isinstance(condition, FunctionCall) and condition.name == "and":
        for part in condition.args:
            yield from _conjuncts(part)
    else:
        yield condition


def _deterministic(expression: Expression) -> bool:
    for e in walk(expression):
        if isinstance(e, PythonUDF) and not e.function.deterministic:
            return False
        if isinstance(e, FunctionCall):
            entry = lookup(e.name)
            if isinstance(entry, ScalarFunction) and not entry.deterministic:
                return False
    return True


def _substituted(condition: Expression, meanings: Mapping[int, Expression]) -> Expression | None:
    """The condition over what the columns mean; None for one with a subquery, whose outer columns are not rewritten."""
    if any(isinstance(e, SubqueryExpression) for e in walk(condition)):
        return None
    return transform_up(condition, lambda e: meanings.get(e.expr_id, e) if isinstance(e, Attribute) else e)


def _meanings(expressions: Sequence[Expression]) -> dict[int, Expression]:
    return {e.expr_id: e.child for e in expressions if isinstance(e, Alias)}


def _over_project(expressions: Sequence[Expression]) -> Callable[[Expression], Expression | None]:
    if not all(_deterministic(e) for e in expressions):
        return lambda condition: None
    meanings = _meanings(expressions)
    return lambda condition: _substituted(condition, meanings)


def _over_aggregate(plan: Aggregate) -> Callable[[Expression], Expression | None]:
    keys = {
        g.expr_id for g in plan.groupings if isinstance(g, Attribute) and not g.metadata.get(SESSION_METADATA, False)
    }
    if not keys or not all(_deterministic(e) for e in plan.aggregates):
        return lambda condition: None
    meanings = _meanings(plan.aggregates)

    def rewrite(condition: Expression) -> Expression | None:
        rewritten = _substituted(condition, meanings)
        used = set() if rewritten is None else references((rewritten,))
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
