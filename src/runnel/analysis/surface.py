"""The relations that only say something about columns (withColumn, drop, fillna, …) as select lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pyspark.sql.types import BooleanType, DataType, IntegerType, StringType

from runnel.analysis import names
from runnel.analysis.coercion import cast
from runnel.analysis.expressions import Resolver
from runnel.analysis.frames import Frame
from runnel.errors import AnalysisError
from runnel.functions.pretty import pretty_type
from runnel.functions.typing import coerce, common_type_of_all, is_floating, is_numeric, is_string, same_but_for_nulls
from runnel.plan.expressions import (
    Alias,
    Attribute,
    CastMode,
    Expression,
    Literal,
    dtype_of,
    new_expr_id,
    nullable_of,
    to_attribute,
)
from runnel.plan.relations import (
    Drop,
    DropNa,
    Expand,
    FillNa,
    Filter,
    Project,
    Relation,
    ReplaceNa,
    ToDF,
    ToSchema,
    Unpivot,
    WithColumns,
    WithColumnsRenamed,
)

_ZERO = Literal(0, IntegerType())


def _projected(frame: Frame, items: Sequence[Expression]) -> Frame:
    plan = Project(child=frame.plan, expressions=tuple(items))
    columns = tuple(e if isinstance(e, Attribute) else to_attribute(e) for e in items)
    return Frame(plan, columns, frame.hidden, inputs=(frame,))


def _same(resolver: Resolver, a: str, b: str) -> bool:
    return names.same_name(a, b, resolver.context.bind.case_sensitive)


def with_columns(resolver: Resolver, frame: Frame, node: WithColumns) -> tuple[Expression, ...]:
    """The unresolved select list of withColumns: replaced in place, new ones at the end."""
    given = [c for c in node.columns if isinstance(c, Alias)]
    seen: set[str] = set()
    for alias in given:
        folded = alias.name if resolver.context.bind.case_sensitive else alias.name.lower()
        if folded in seen:
            raise AnalysisError("COLUMN_ALREADY_EXISTS", columnName=names.quoted([folded]))
        seen.add(folded)
    items: list[Expression] = []
    for column in frame.columns:
        replacement = next((a for a in given if _same(resolver, a.name, column.name)), None)
        items.append(column if replacement is None else replacement)
    items += [a for a in given if not any(_same(resolver, a.name, c.name) for c in frame.columns)]
    return tuple(items)


def renamed(resolver: Resolver, frame: Frame, node: WithColumnsRenamed) -> Frame:
    current = [(a, a.name) for a in frame.columns]
    for old, new in node.renames:
        current = [(a, new if _same(resolver, name, old) else name) for a, name in current]
    return _projected(frame, [a if a.name == name else Alias(a, name, new_expr_id()) for a, name in current])


def drop(resolver: Resolver, frame: Frame, node: Drop) -> Frame:
    gone: set[int] = set()
    for name in node.names:
        gone |= {a.expr_id for a in frame.columns if _same(resolver, a.name, name)}
    for column in node.columns:
        try:
            resolved = resolver.resolve(column)
        except AnalysisError as error:
            if error.condition.startswith(("UNRESOLVED_COLUMN", "CANNOT_RESOLVE_DATAFRAME_COLUMN")):
                continue
            raise
        if isinstance(resolved, Attribute):
            gone.add(resolved.expr_id)
    return _projected(frame, [a for a in frame.columns if a.expr_id not in gone])


def to_df(frame: Frame, node: ToDF) -> Frame:
    if len(node.names) != len(frame.columns):
        raise AnalysisError("ASSIGNMENT_ARITY_MISMATCH", numExpr=len(frame.columns), numTarget=len(node.names))
    return _projected(
        frame,
        [a if a.name == n else Alias(a, n, new_expr_id()) for a, n in zip(frame.columns, node.names, strict=True)],
    )


def to_schema(resolver: Resolver, frame: Frame, node: ToSchema) -> Frame:
    """`to(schema)`: columns picked by name, cast where Spark stores one as the other without loss of kind."""
    items: list[Expression] = []
    for field in node.schema.fields:
        found = names.matches((field.name,), frame.columns, resolver.context.bind.case_sensitive)
        if len(found) > 1:
            raise names.ambiguous((field.name,), found)
        if not found:
            if not field.nullable:
                raise names.unresolved((field.name,), frame.columns)
            items.append(Alias(Literal(None, field.dataType), field.name, new_expr_id(), field.metadata or None))
            continue
        column = found[0].attribute
        if column.nullable and not field.nullable:
            raise AnalysisError("NULLABLE_COLUMN_OR_FIELD", name=names.quoted([field.name]))
        items.append(_stored(resolver, column, field.name, field.dataType, field.metadata))
    return _projected(frame, items)


def _stored(
    resolver: Resolver, column: Attribute, name: str, dtype: DataType, metadata: dict[str, object] | None
) -> Expression:
    kept = {**column.metadata, **(metadata or {})} or None
    if same_but_for_nulls(column.dtype, dtype):
        return column if column.name == name and not metadata else Alias(column, name, new_expr_id(), kept)
    if is_string(column.dtype) != is_string(dtype) and not is_string(dtype):
        raise AnalysisError(
            "INVALID_COLUMN_OR_FIELD_DATA_TYPE",
            name=names.quoted([name]),
            type=pretty_type(column.dtype),
            expectedType=pretty_type(dtype),
        )
    return Alias(cast(column, dtype, CastMode.ANSI, column.name), name, new_expr_id(), kept)


# -------------------------------------------------------------------------------------------------------------- nulls


def _chosen(resolver: Resolver, frame: Frame, given: Sequence[str]) -> list[Attribute]:
    if not given:
        return list(frame.columns)
    chosen = []
    for name in given:
        found = names.matches((name,), frame.columns, resolver.context.bind.case_sensitive)
        if not found:
            raise names.unresolved((name,), frame.columns)
        if len(found) > 1:
            raise names.ambiguous((name,), found)
        chosen.append(found[0].attribute)
    return chosen


def _fillable(value: DataType, column: DataType) -> bool:
    if is_numeric(value):
        return is_numeric(column)
    return (is_string(value) and is_string(column)) or (
        isinstance(value, BooleanType) and isinstance(column, BooleanType)
    )


def fill_na(resolver: Resolver, frame: Frame, node: FillNa) -> Frame:
    values: dict[int, Literal] = {}
    chosen = _chosen(resolver, frame, node.columns)
    for i, column in enumerate(chosen):
        value = node.values[i if len(node.values) > 1 else 0]
        assert isinstance(value, Literal)
        if len(node.values) > 1 or _fillable(value.dtype, column.dtype):
            values[column.expr_id] = value
    items: list[Expression] = []
    for column in frame.columns:
        value_of = values.get(column.expr_id)
        if value_of is None:
            items.append(column)
            continue
        source: Expression = column
        if is_floating(column.dtype):
            source = resolver.call("nanvl", column, Literal(None, column.dtype))
        filled = resolver.call("coalesce", source, coerce(value_of, column.dtype, resolver.context.bind))
        items.append(Alias(filled, column.name, new_expr_id()))
    return _projected(frame, items)


def drop_na(resolver: Resolver, frame: Frame, node: DropNa) -> Frame:
    chosen = _chosen(resolver, frame, node.columns)
    least = len(chosen) if node.min_non_nulls is None else node.min_non_nulls
    present = [_present(resolver, a) for a in chosen]
    if not present or least <= 0:
        return frame.derive(frame.plan)
    if least >= len(present):
        condition = present[0]
        for one in present[1:]:
            condition = resolver.call("and", condition, one)
    else:
        total: Expression = Literal(0, IntegerType())
        for one in present:
            total = resolver.call("+", total, resolver.call("when", one, Literal(1, IntegerType()), _ZERO))
        condition = resolver.call(">=", total, Literal(least, IntegerType()))
    return frame.derive(Filter(child=frame.plan, condition=condition))


def _present(resolver: Resolver, column: Attribute) -> Expression:
    """Neither null nor NaN."""
    known = resolver.call("isnotnull", column)
    if not is_floating(column.dtype):
        return known
    return resolver.call("and", known, resolver.call("not", resolver.call("isnan", column)))


def replace_na(resolver: Resolver, frame: Frame, node: ReplaceNa) -> Frame:
    chosen = {a.expr_id for a in _chosen(resolver, frame, node.columns)}
    pairs = [(a, b) for a, b in node.replacements if isinstance(a, Literal) and isinstance(b, Literal)]
    sample = next((p for pair in pairs for p in pair if p.value is not None), Literal(None, StringType()))
    items: list[Expression] = []
    for column in frame.columns:
        if column.expr_id not in chosen or not _fillable(sample.dtype, column.dtype):
            items.append(column)
            continue
        branches: list[Expression] = []
        for old, new in pairs:
            matched = (
                resolver.call("isnull", column)
                if old.value is None
                else resolver.call("==", column, coerce(old, column.dtype, resolver.context.bind))
            )
            branches += [matched, coerce(new, column.dtype, resolver.context.bind)]
        items.append(Alias(resolver.call("when", *branches, column), column.name, new_expr_id()))
    return _projected(frame, items)


# ------------------------------------------------------------------------------------------------------------ unpivot


def unpivot(resolver: Resolver, frame: Frame, node: Unpivot) -> Frame:
    ids = tuple(a for e in node.ids for a in resolver.named(e))
    id_ids = {e.expr_id for e in ids if isinstance(e, Attribute)}
    if node.values is None:
        values: tuple[Expression, ...] = tuple(a for a in frame.columns if a.expr_id not in id_ids)
    else:
        values = tuple(a for e in node.values for a in resolver.named(e))
    if not values:
        raise AnalysisError("UNPIVOT_REQUIRES_VALUE_COLUMNS")
    for e in (*ids, *values):
        if not isinstance(e, Attribute):
            raise AnalysisError("UNPIVOT_REQUIRES_ATTRIBUTES", given="value", empty="id", expressions=f'"{e}"')
    dtype = common_type_of_all([dtype_of(v) for v in values], resolver.context.bind.ansi)
    if dtype is None or _strings_and_others(values):
        raise AnalysisError(
            "UNPIVOT_VALUE_DATA_TYPE_MISMATCH",
            types=", ".join(f"{pretty_type(dtype_of(v))} ({names.quoted([_name(v)])})" for v in values),
        )
    variable = Attribute(node.variable_name, StringType(), False, new_expr_id())
    value = Attribute(node.value_name, dtype, any(nullable_of(v) for v in values), new_expr_id())
    kept = tuple(replace(to_attribute(i), expr_id=new_expr_id()) for i in ids)
    projections = tuple(
        (*ids, Literal(_name(v), StringType()), coerce(v, dtype, resolver.context.bind)) for v in values
    )
    plan: Relation = Expand(child=frame.plan, projections=projections, attributes=(*kept, variable, value))
    return Frame(plan, plan.output, inputs=(frame,))


def _strings_and_others(values: Sequence[Expression]) -> bool:
    strings = [is_string(dtype_of(v)) for v in values]
    return any(strings) and not all(strings)


def _name(expression: Expression) -> str:
    return expression.name if isinstance(expression, Attribute | Alias) else ""
