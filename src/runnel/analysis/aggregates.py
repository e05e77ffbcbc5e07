"""GROUP BY: keys, the select list over them, grouping sets, pivot, and what stands above (HAVING, ORDER BY)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pyspark.sql.types import ByteType, IntegerType, LongType

from runnel.analysis.expressions import Resolver, contains, contains_aggregate
from runnel.analysis.frames import Frame, Grouping, expose
from runnel.analysis.naming import column_name, literal_text
from runnel.analysis.projection import generate, inline_lateral, refuse_generators, select_list
from runnel.analysis.time_windows import Windowed, replace_windows
from runnel.errors import AnalysisError
from runnel.functions.catalogue import lookup
from runnel.functions.registry import AggregateFunction
from runnel.functions.typing import coerce
from runnel.plan.expressions import (
    Alias,
    Attribute,
    Cast,
    CastMode,
    Expression,
    FunctionCall,
    GeneratorCall,
    Literal,
    MultiAlias,
    UnresolvedAttribute,
    WindowExpression,
    dtype_of,
    is_aggregate,
    new_expr_id,
    to_attribute,
)
from runnel.plan.relations import Aggregate, Expand, Filter, Project, Relation, Sort
from runnel.plan.traverse import expression_children, map_children, walk

GROUPING_ID = "spark_grouping_id"


@dataclass(frozen=True, slots=True)
class _Keys:
    """Groupings under way: the plan that has a column for each key, the keys, and the items that show them."""

    plan: Relation
    groupings: tuple[Grouping, ...]
    shown: tuple[Expression, ...]

    @property
    def attributes(self) -> tuple[Attribute, ...]:
        return tuple({g.key.expr_id: g.key for g in self.groupings}.values())


def aggregate(resolver: Resolver, frame: Frame, node: Aggregate) -> Frame:
    """The frame of an Aggregate node; `resolver` resolves against `frame`, the node's child."""
    groupings = tuple(_grouping(resolver, node, g) for g in node.groupings)
    pivot = None if node.pivot_column is None else resolver.named(node.pivot_column)[0]
    named = (*groupings, pivot) if pivot is not None else groupings
    for given in named:
        _check_grouping(resolver, given)
    windowed = replace_windows(resolver, frame.plan, named)
    named = windowed.expressions
    if windowed.column is not None:
        frame = Frame(windowed.plan, (*frame.columns, windowed.column), frame.hidden, inputs=frame.inputs or (frame,))
        resolver.frame = frame
    items = inline_lateral(select_list(resolver, node.aggregates), resolver.lateral_used)
    windowed = replace_windows(resolver, windowed.plan, items, windowed)
    plan = expose(windowed.plan, tuple(resolver.exposed.values()))
    keys = _keys(plan, named)
    if pivot is not None:
        return _pivot(resolver, frame, node, keys, windowed.expressions)
    return _finish(resolver, frame, node, keys, windowed)


def global_aggregate(resolver: Resolver, frame: Frame, items: Sequence[Expression]) -> Frame:
    """A select list with aggregate functions and no GROUP BY; `items` are resolved against `frame`."""
    items = inline_lateral(items, resolver.lateral_used)
    windowed = replace_windows(resolver, frame.plan, items)
    plan = expose(windowed.plan, tuple(resolver.exposed.values()))
    return _build(resolver, frame, _Keys(plan, (), ()), windowed.expressions)


def _finish(resolver: Resolver, frame: Frame, node: Aggregate, keys: _Keys, windowed: Windowed) -> Frame:
    items = windowed.expressions
    if node.kind != "groupby":
        keys, items = _expand(resolver, node, keys, items)
    shown = keys.shown if node.implicit_keys else ()
    made = _build(resolver, frame, keys, (*shown, *items))
    if node.having is None:
        return made
    return filter_above(resolver, made, node.having)


# -------------------------------------------------------------------------------------------------------------- keys


def _grouping(resolver: Resolver, node: Aggregate, given: Expression) -> Expression:
    """One grouping item, named; ordinals and aliases of the select list are followed."""
    if isinstance(given, Literal) and isinstance(given.dtype, IntegerType) and given.value is not None:
        count = len(node.aggregates)
        if resolver.context.group_by_ordinal and not node.implicit_keys:
            if not 1 <= given.value <= count:
                raise AnalysisError("GROUP_BY_POS_OUT_OF_RANGE", index=given.value, size=count)
            chosen = resolver.named(node.aggregates[given.value - 1])[0]
            if contains_aggregate(chosen):
                raise AnalysisError(
                    "GROUP_BY_POS_AGGREGATE", index=given.value, aggExpr=column_name(chosen, resolver.describe)
                )
            return chosen
    if isinstance(given, UnresolvedAttribute) and len(given.parts) == 1 and not node.implicit_keys:
        try:
            return resolver.named(given)[0]
        except AnalysisError as error:
            if not error.condition.startswith("UNRESOLVED_COLUMN"):
                raise
            for item in node.aggregates:
                if isinstance(item, Alias) and item.name.lower() == given.parts[0].lower():
                    return resolver.named(item)[0]
            raise
    return resolver.named(given)[0]


def _check_grouping(resolver: Resolver, grouping: Expression) -> None:
    if contains_aggregate(grouping):
        found = next(e for e in walk(grouping) if is_aggregate(e))
        raise AnalysisError("GROUP_BY_AGGREGATE", sqlExpr=column_name(found, resolver.describe))
    if isinstance(grouping, MultiAlias):
        refuse_generators(resolver, (grouping.child,), grouping.child)
    refuse_generators(resolver, (grouping,), grouping)
    dtype = dtype_of(grouping)
    if dtype.typeName() in ("map", "variant") or _has_map(dtype):
        raise AnalysisError(
            "GROUP_EXPRESSION_TYPE_IS_NOT_ORDERABLE",
            sqlExpr=f'"{column_name(_child(grouping), resolver.describe)}"',
            dataType=f'"{dtype.simpleString().upper()}"',
        )


def _has_map(dtype: object) -> bool:
    return getattr(dtype, "typeName", lambda: "")() == "map"


def _child(expression: Expression) -> Expression:
    return expression.child if isinstance(expression, Alias) else expression


def _keys(plan: Relation, named: Sequence[Expression]) -> _Keys:
    """Keys as attributes of a plan: computed ones are projected."""
    computed: list[Alias] = []
    groupings: list[Grouping] = []
    shown: list[Expression] = []
    for item in named:
        child = _child(item)
        if isinstance(child, Attribute):
            key: Attribute = child
            shown.append(item)
        else:
            earlier = next((g for g in groupings if g.expression == child), None)
            if earlier is None:
                assert isinstance(item, Alias)
                fresh = replace(item, expr_id=new_expr_id())
                computed.append(fresh)
                key = to_attribute(fresh)
            else:
                key = earlier.key
            shown.append(key if isinstance(item, Alias) and key.name == item.name else Alias(key, _name(item)))
        groupings.append(Grouping(child, key))
    if computed:
        plan = Project(child=plan, expressions=(*plan.output, *computed))
    return _Keys(
        plan,
        tuple(groupings),
        tuple(replace(e, expr_id=new_expr_id()) if isinstance(e, Alias) and not e.expr_id else e for e in shown),
    )


def _name(item: Expression) -> str:
    return item.name if isinstance(item, Alias | Attribute) else ""


def replace_keys(expression: Expression, groupings: Sequence[Grouping]) -> Expression:
    """The expression with what equals a grouping expression replaced by its key; aggregate calls are left alone."""
    if is_aggregate(expression):
        return expression
    for grouping in groupings:
        if expression == grouping.expression:
            return grouping.key
    return map_children(expression, lambda e: replace_keys(e, groupings))


# ------------------------------------------------------------------------------------------------------- the aggregate


def _build(resolver: Resolver, frame: Frame, keys: _Keys, items: Sequence[Expression]) -> Frame:
    named: list[Expression] = []
    for item in items:
        replaced = replace_keys(item, keys.groupings)
        if isinstance(item, Attribute | Alias) and not isinstance(replaced, Alias) and _name(replaced) != item.name:
            replaced = Alias(replaced, item.name, new_expr_id())
        _check_item(resolver, keys, replaced)
        named.append(replaced)
    if any(contains(item, (WindowExpression, GeneratorCall)) for item in named):
        return _split(resolver, frame, keys, named)
    plan = Aggregate(child=keys.plan, groupings=keys.attributes, aggregates=tuple(named), implicit_keys=False)
    return Frame(plan, _output(named), inputs=(frame,), groupings=keys.groupings)


def _output(items: Sequence[Expression]) -> tuple[Attribute, ...]:
    return tuple(to_attribute(e) for e in items)


def _check_item(resolver: Resolver, keys: _Keys, item: Expression) -> None:
    allowed = {a.expr_id for a in keys.attributes}
    below = {a.expr_id for a in keys.plan.output} - allowed

    def check(e: Expression) -> None:
        if is_aggregate(e):
            return
        if isinstance(e, Attribute) and e.expr_id in below:
            if not keys.groupings:
                raise AnalysisError("MISSING_GROUP_BY")
            raise AnalysisError(
                "MISSING_AGGREGATION",
                expression=f'"{e.name}"',
                expressionAnyValue=f'"any_value({e.name})"',
            )
        if isinstance(e, FunctionCall) and e.name in ("grouping", "grouping_id") and lookup(e.name) is None:
            raise AnalysisError("UNSUPPORTED_GROUPING_EXPRESSION")
        for child in expression_children(e):
            check(child)

    check(item)


def _split(resolver: Resolver, frame: Frame, keys: _Keys, items: Sequence[Expression]) -> Frame:
    """Window functions and generators over aggregates: the aggregate below, the rest in a projection above."""
    made: dict[int, Expression] = {a.expr_id: a for a in keys.attributes}
    calls: list[tuple[Expression, Alias]] = []

    def lift(e: Expression) -> Expression:
        if isinstance(e, WindowExpression):
            function = map_children(e.function, lift)
            return replace(
                e,
                function=function,
                partition_by=tuple(lift(p) for p in e.partition_by),
                order_by=tuple(lift(o) for o in e.order_by),
            )
        if is_aggregate(e):
            known = next((alias for call, alias in calls if call == e), None)
            if known is None:
                known = Alias(e, column_name(e, resolver.describe), new_expr_id())
                calls.append((e, known))
            return to_attribute(known)
        return map_children(e, lift)

    lifted = tuple(lift(item) for item in items)
    plan: Relation = Aggregate(
        child=keys.plan,
        groupings=keys.attributes,
        aggregates=(*made.values(), *(alias for _, alias in calls)),
        implicit_keys=False,
    )
    plan, outputs = generate(resolver, plan, lifted)
    plan = Project(child=plan, expressions=outputs)
    return Frame(plan, _output(outputs), inputs=(frame,))


# ------------------------------------------------------------------------------------------------------ grouping sets


def grouping_sets(kind: str, count: int, given: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    """The sets of key positions that a cube, a rollup or GROUPING SETS asks for, in Spark's order."""
    match kind:
        case "rollup":
            return [tuple(range(n)) for n in range(count, -1, -1)]
        case "cube":
            whole = range(1 << count)
            return [tuple(i for i in range(count) if not absent >> (count - 1 - i) & 1) for absent in whole]
        case _:
            return [tuple(s) for s in given]


def _expand(
    resolver: Resolver, node: Aggregate, keys: _Keys, items: Sequence[Expression]
) -> tuple[_Keys, tuple[Expression, ...]]:
    count = len(keys.groupings)
    sets = grouping_sets(node.kind, count, node.grouping_sets)
    fresh = tuple(
        replace(g.key, expr_id=new_expr_id(), nullable=g.key.nullable or any(i not in s for s in sets))
        for i, g in enumerate(keys.groupings)
    )
    gid = Attribute(GROUPING_ID, LongType(), False, new_expr_id())
    position = Attribute("_gen_grouping_pos", IntegerType(), False, new_expr_id())
    duplicates = len({frozenset(s) for s in sets}) < len(sets)
    output = keys.plan.output
    projections = []
    for number, chosen in enumerate(sets):
        values = [g.key if i in chosen else Literal(None, g.key.dtype) for i, g in enumerate(keys.groupings)]
        absent = sum(1 << (count - 1 - i) for i in range(count) if i not in chosen)
        row: tuple[Expression, ...] = (*output, *values, Literal(absent, LongType()))
        projections.append((*row, Literal(number, IntegerType())) if duplicates else row)
    added = (*fresh, gid, position) if duplicates else (*fresh, gid)
    plan = Expand(child=keys.plan, projections=tuple(projections), attributes=(*output, *added))
    renewed = {g.key.expr_id: new for g, new in zip(keys.groupings, fresh, strict=True)}
    groupings = tuple(Grouping(g.expression, new) for g, new in zip(keys.groupings, fresh, strict=True))

    def grouping_calls(e: Expression) -> Expression:
        if isinstance(e, FunctionCall) and e.name in ("grouping", "grouping_id"):
            return _grouping_value(resolver, e, keys, gid)
        return e if is_aggregate(e) else map_children(e, grouping_calls)

    shown = tuple(_with_new_key(e, renewed) for e in keys.shown)
    internal = tuple(Grouping(a, a) for a in added[count:])
    return _Keys(plan, (*groupings, *internal), shown), tuple(grouping_calls(e) for e in items)


def _with_new_key(item: Expression, renewed: dict[int, Attribute]) -> Expression:
    """A shown key with its attribute replaced by the one that the Expand makes."""
    if isinstance(item, Attribute):
        return renewed[item.expr_id]
    return map_children(item, lambda e: renewed[e.expr_id] if isinstance(e, Attribute) else e)


def _grouping_value(resolver: Resolver, call: FunctionCall, keys: _Keys, gid: Attribute) -> Expression:
    expressions = [g.expression for g in keys.groupings]
    if call.name == "grouping_id":
        if call.args and list(call.args) != expressions:
            raise AnalysisError(
                "GROUPING_ID_COLUMN_MISMATCH",
                groupingIdColumn=", ".join(column_name(a, resolver.describe) for a in call.args),
                groupByColumns=", ".join(column_name(e, resolver.describe) for e in expressions),
            )
        return gid
    if len(call.args) != 1 or call.args[0] not in expressions:
        raise AnalysisError(
            "GROUPING_COLUMN_MISMATCH",
            grouping=", ".join(column_name(a, resolver.describe) for a in call.args),
            groupingColumns=", ".join(column_name(e, resolver.describe) for e in expressions),
        )
    mask = 1 << (len(expressions) - 1 - expressions.index(call.args[0]))
    bit = resolver.call("&", gid, Literal(mask, LongType()))
    return Cast(resolver.call(">", bit, Literal(0, LongType())), ByteType(), CastMode.ANSI, False)


# -------------------------------------------------------------------------------------------------------------- pivot


def _pivot(resolver: Resolver, frame: Frame, node: Aggregate, keys: _Keys, items: Sequence[Expression]) -> Frame:
    """Spark's two steps: aggregate by the keys and the pivot column, then spread the pivot's values over columns."""
    groupings, pivot = keys.groupings[:-1], keys.groupings[-1]
    values = node.pivot_values
    if not values:
        if keys.plan.is_streaming:
            raise AnalysisError("_LEGACY_ERROR_TEMP_3063")
        distinct = Aggregate(child=keys.plan, groupings=(pivot.key,), aggregates=(pivot.key,), implicit_keys=False)
        values = resolver.context.pivot_values(distinct)
    if not items or not all(contains_aggregate(i) for i in items):
        wrong = next((i for i in items if not contains_aggregate(i)), None)
        text = column_name(_child(wrong), resolver.describe) if wrong is not None else ""
        raise AnalysisError("_LEGACY_ERROR_TEMP_1006", sql=text)
    first = _build(resolver, frame, keys, (*keys.attributes, *items))
    partial = first.columns[len(keys.attributes) :]
    entry = lookup("first")
    if not isinstance(entry, AggregateFunction):
        raise AnalysisError("UNRESOLVED_ROUTINE", routineName="`first`", searchPath="")
    spread: list[Expression] = []
    for given in values:
        label, value = _pivot_value(resolver, given, pivot.key)
        matched = resolver.call("<=>", pivot.key, value)
        for column in partial:
            name = label if len(partial) == 1 else f"{label}_{column.name}"
            call = entry.bind(resolver.context.bind, (column,))
            spread.append(Alias(replace(call, filter=matched, nullable=True), name, new_expr_id()))
    key_attributes = tuple({g.key.expr_id: g.key for g in groupings}.values())
    shown = keys.shown[:-1]
    plan = Aggregate(child=first.plan, groupings=key_attributes, aggregates=(*shown, *spread), implicit_keys=False)
    return Frame(plan, _output((*shown, *spread)), inputs=(frame,), groupings=groupings)


def _pivot_value(resolver: Resolver, given: Expression, key: Attribute) -> tuple[str, Expression]:
    resolved = resolver.resolve(given)
    value = _child(resolved)
    if isinstance(resolved, Alias):
        label = resolved.name
    elif isinstance(value, Literal):
        label = literal_text(value, resolver.context.bind.session_time_zone) if value.value is not None else "null"
    else:
        label = resolver.text(given)
    return label, coerce(value, key.dtype, resolver.context.bind)


# -------------------------------------------------------------------------------------------------- HAVING, ORDER BY


@dataclass(frozen=True, slots=True)
class Above:
    """Expressions over an aggregate's result, and the plan extended by the columns that they need."""

    plan: Relation
    expressions: tuple[Expression, ...]
    extended: bool


def over_aggregate(resolver: Resolver, frame: Frame, expressions: Sequence[Expression]) -> Above:
    """Expressions resolved above an aggregate, which may hold aggregate functions and keys that it does not show."""
    assert frame.groupings is not None
    replaced = [replace_keys(e, frame.groupings) for e in expressions]
    aggregate_plan = _aggregate_below(frame.plan)
    shown = {a.expr_id for a in frame.plan.output}
    extra: list[Expression] = []

    def lift(e: Expression) -> Expression:
        if isinstance(e, Attribute) and e.expr_id in shown:
            return e
        key = isinstance(e, Attribute) and any(g.expr_id == e.expr_id for g in _attributes(aggregate_plan.groupings))
        if is_aggregate(e) or key:
            for item in (*aggregate_plan.aggregates, *extra):
                if isinstance(item, Alias) and item.child == e:
                    return to_attribute(item)
            added: Expression = e if key else Alias(e, column_name(e, resolver.describe), new_expr_id())
            if added not in extra:
                extra.append(added)
            return to_attribute(added)
        if isinstance(e, Attribute) and any(a.expr_id == e.expr_id for a in aggregate_plan.child.output):
            raise AnalysisError(
                "MISSING_AGGREGATION", expression=f'"{e.name}"', expressionAnyValue=f'"any_value({e.name})"'
            )
        return map_children(e, lift)

    lifted = tuple(lift(e) for e in replaced)
    plan = _extend(frame.plan, tuple(extra)) if extra else frame.plan
    return Above(plan, lifted, bool(extra))


def _attributes(expressions: Sequence[Expression]) -> tuple[Attribute, ...]:
    return tuple(e for e in expressions if isinstance(e, Attribute))


def _aggregate_below(plan: Relation) -> Aggregate:
    while not isinstance(plan, Aggregate):
        assert isinstance(plan, Filter | Sort | Project)
        plan = plan.child
    return plan


def _extend(plan: Relation, extra: tuple[Expression, ...]) -> Relation:
    match plan:
        case Aggregate(aggregates=aggregates):
            return replace(plan, aggregates=(*aggregates, *extra))
        case Filter(child=child) | Sort(child=child):
            return replace(plan, child=_extend(child, extra))
        case Project(child=child, expressions=expressions):
            return replace(
                plan, child=_extend(child, extra), expressions=(*expressions, *(to_attribute(e) for e in extra))
            )
        case _:
            raise TypeError(f"not above an aggregate: {plan!r}")


def filter_above(resolver: Resolver, frame: Frame, condition: Expression) -> Frame:
    """HAVING (or a filter right above an aggregate): names mean its columns first, then those of its input."""
    above = resolver.above(frame)
    resolved = above.condition(condition)
    if contains(resolved, (WindowExpression, GeneratorCall)):
        raise AnalysisError("INVALID_WHERE_CONDITION", condition=f'"{above.text(condition)}"', expressionList="")
    result = over_aggregate(above, frame, (resolved,))
    plan: Relation = Filter(child=result.plan, condition=result.expressions[0])
    if result.extended:
        plan = Project(child=plan, expressions=frame.plan.output)
    return Frame(plan, frame.columns, inputs=frame.inputs, groupings=frame.groupings)
