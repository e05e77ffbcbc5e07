"""Joins: USING, NATURAL, conditions; and set operations: positions or names, widened types."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pyspark.sql.types import DataType

from runnel.analysis import names
from runnel.analysis.expressions import Resolver
from runnel.analysis.frames import Frame, expose
from runnel.analysis.projection import only_aggregate_free
from runnel.errors import AnalysisError
from runnel.functions.pretty import pretty_type
from runnel.functions.typing import coerce, common_type, ordinal
from runnel.plan.expressions import Alias, Attribute, Expression, Literal, new_expr_id, to_attribute
from runnel.plan.relations import Aggregate, Join, Project, Relation, SetOperation


def join(resolver: Resolver, left: Frame, right: Frame, node: Join) -> Frame:
    """The frame of a join; `resolver` resolves against both sides together."""
    case_sensitive = resolver.context.bind.case_sensitive
    using = node.using
    if node.natural:
        using = tuple(
            a.name for a in left.columns if any(names.same_name(a.name, b.name, case_sensitive) for b in right.columns)
        )
    if using:
        return _using(resolver, left, right, node.kind, using)
    condition = None
    left_plan, right_plan = left.plan, right.plan
    if node.condition is not None:
        condition = resolver.condition(node.condition)
        if not only_aggregate_free(condition):
            raise AnalysisError(
                "INVALID_WHERE_CONDITION", condition=f'"{resolver.text(node.condition)}"', expressionList=""
            )
        left_plan, right_plan = _exposed(resolver, left_plan, right_plan)
    kind = "inner" if node.kind == "cross" and condition is not None else node.kind
    plan = Join(left=left_plan, right=right_plan, kind=kind, condition=condition)
    columns = joined_columns(left.columns, right.columns, kind)
    if len(plan.output) == len(columns):
        return Frame(plan, columns, (*left.hidden, *right.hidden), inputs=(left, right))
    narrowed = Project(child=plan, expressions=columns)
    return Frame(narrowed, columns, (*left.hidden, *right.hidden), inputs=(left, right))


def _exposed(resolver: Resolver, left: Relation, right: Relation) -> tuple[Relation, Relation]:
    for attribute in resolver.exposed.values():
        try:
            left = expose(left, (attribute,))
        except TypeError:
            right = expose(right, (attribute,))
    return left, right


def joined_columns(left: Sequence[Attribute], right: Sequence[Attribute], kind: str) -> tuple[Attribute, ...]:
    """A join's columns: those of a side that may be missing become nullable."""
    if kind in ("semi", "anti"):
        return tuple(left)
    if kind in ("right", "full"):
        left = [replace(a, nullable=True) for a in left]
    if kind in ("left", "full"):
        right = [replace(a, nullable=True) for a in right]
    return (*left, *right)


def _using(resolver: Resolver, left: Frame, right: Frame, kind: str, using: Sequence[str]) -> Frame:
    pairs = [(_side_column(resolver, left, n, "left"), _side_column(resolver, right, n, "right")) for n in using]
    condition: Expression | None = None
    for a, b in pairs:
        equal = resolver.call("==", a, b)
        condition = equal if condition is None else resolver.call("and", condition, equal)
    joined = Join(left=left.plan, right=right.plan, kind="inner" if kind == "cross" else kind, condition=condition)
    columns = joined_columns(left.columns, right.columns, kind)
    by_id = {a.expr_id: a for a in columns}
    left_keys = [by_id[a.expr_id] for a, _ in pairs]
    if kind in ("semi", "anti"):
        others = [a for a in columns if all(a.expr_id != key.expr_id for key in left_keys)]
        first = Project(child=joined, expressions=(*left_keys, *others))
        return Frame(first, (*left_keys, *others), left.hidden, inputs=(left, right))
    right_keys = [by_id[b.expr_id] for _, b in pairs]
    taken = {a.expr_id for a in (*left_keys, *right_keys)}
    rest = [a for a in columns if a.expr_id not in taken]
    keys: list[Expression]
    match kind:
        case "right":
            keys, hidden = list(right_keys), left_keys
        case "full":
            keys = [
                Alias(resolver.call("coalesce", a, b), a.name, new_expr_id())
                for a, b in zip(left_keys, right_keys, strict=True)
            ]
            hidden = [*left_keys, *right_keys]
        case _:
            keys, hidden = list(left_keys), right_keys
    plan = Project(child=joined, expressions=(*keys, *rest))
    shown = tuple(to_attribute(e) for e in plan.expressions)
    return Frame(plan, shown, (*hidden, *left.hidden, *right.hidden), inputs=(left, right))


def _side_column(resolver: Resolver, frame: Frame, name: str, side: str) -> Attribute:
    found = [a for a in frame.columns if names.same_name(a.name, name, resolver.context.bind.case_sensitive)]
    if not found:
        raise AnalysisError(
            "UNRESOLVED_USING_COLUMN_FOR_JOIN",
            colName=names.quoted([name]),
            side=side,
            suggestion=", ".join(names.quoted([n]) for n in sorted(a.name for a in frame.columns)),
        )
    if len(found) > 1:
        raise names.ambiguous([name], names.matches([name], frame.columns))
    return found[0]


# ---------------------------------------------------------------------------------------------------- set operations

_OPERATORS = {"union": "UNION", "intersect": "INTERSECT", "except": "EXCEPT"}


def set_operation(resolver: Resolver, inputs: Sequence[Frame], node: SetOperation) -> Frame:
    """The frame of UNION, INTERSECT, EXCEPT: every input brought to the same names and types by position."""
    frames = list(inputs)
    if node.by_name:
        frames = _by_name(resolver, frames, node.allow_missing)
    shown = _OPERATORS[node.kind] + (" ALL" if node.all and node.kind != "union" else "")
    width = len(frames[0].columns)
    for position, frame in enumerate(frames[1:], 1):
        if len(frame.columns) != width:
            raise AnalysisError(
                "NUM_COLUMNS_MISMATCH",
                operator=shown,
                firstNumColumns=width,
                invalidOrdinalNum=ordinal(position),
                invalidNumColumns=len(frame.columns),
            )
    types = _common_types(resolver, frames, shown)
    plans = tuple(_casted(resolver, f, types) for f in frames)
    attributes = tuple(
        replace(
            first,
            dtype=dtype,
            nullable=_nullable(node.kind, [p.output[i].nullable for p in plans]),
            expr_id=new_expr_id(),
            qualifier=(),
        )
        for i, (first, dtype) in enumerate(zip(frames[0].columns, types, strict=True))
    )
    distinct_union = node.kind == "union" and not node.all
    plan: Relation = SetOperation(inputs=plans, kind=node.kind, all=node.all or distinct_union, attributes=attributes)
    if distinct_union:
        plan = Aggregate(child=plan, groupings=attributes, aggregates=attributes, implicit_keys=False)
    return Frame(plan, attributes, inputs=tuple(frames))


def _nullable(kind: str, sides: Sequence[bool]) -> bool:
    if kind == "union":
        return any(sides)
    return all(sides) if kind == "intersect" else sides[0]


def _common_types(resolver: Resolver, frames: Sequence[Frame], shown: str) -> list[DataType]:
    types: list[DataType] = [a.dtype for a in frames[0].columns]
    for table, frame in enumerate(frames[1:], 1):
        for i, column in enumerate(frame.columns):
            common = common_type(types[i], column.dtype, resolver.context.bind.ansi)
            if common is None:
                raise AnalysisError(
                    "INCOMPATIBLE_COLUMN_TYPE",
                    operator=shown,
                    columnOrdinalNumber=ordinal(i),
                    tableOrdinalNumber=ordinal(table),
                    dataType1=pretty_type(column.dtype),
                    dataType2=pretty_type(types[i]),
                    hint="",
                )
            types[i] = common
    return types


def _casted(resolver: Resolver, frame: Frame, types: Sequence[DataType]) -> Relation:
    """The input's plan with its columns in their order and the common types."""
    items: list[Expression] = []
    for column, dtype in zip(frame.columns, types, strict=True):
        casted = coerce(column, dtype, resolver.context.bind)
        items.append(column if casted is column else Alias(casted, column.name, new_expr_id()))
    output = frame.plan.output
    unchanged = len(items) == len(output) and all(
        isinstance(e, Attribute) and e.expr_id == a.expr_id for e, a in zip(items, output, strict=True)
    )
    return frame.plan if unchanged else Project(child=frame.plan, expressions=tuple(items))


def _by_name(resolver: Resolver, frames: Sequence[Frame], allow_missing: bool) -> list[Frame]:
    case_sensitive = resolver.context.bind.case_sensitive
    result = frames[0]
    others: list[Frame] = []
    for frame in frames[1:]:
        _refuse_duplicates(result, case_sensitive)
        _refuse_duplicates(frame, case_sensitive)
        known = {_folded(a.name, case_sensitive): a for a in frame.columns}
        items: list[Expression] = []
        for column in result.columns:
            found = known.pop(_folded(column.name, case_sensitive), None)
            if found is not None:
                items.append(found)
            elif allow_missing:
                items.append(Alias(Literal(None, column.dtype), column.name, new_expr_id()))
            else:
                raise AnalysisError(
                    "UNRESOLVED_COLUMN_AMONG_FIELD_NAMES",
                    colName=f'"{column.name}"',
                    fieldNames=", ".join(a.name for a in frame.columns),
                )
        if known and not allow_missing:
            raise AnalysisError(
                "NUM_COLUMNS_MISMATCH",
                operator="UNION",
                firstNumColumns=len(result.columns),
                invalidOrdinalNum=ordinal(1),
                invalidNumColumns=len(frame.columns),
            )
        missing = list(known.values())
        items += missing
        if missing:
            nulls = tuple(Alias(Literal(None, a.dtype), a.name, new_expr_id()) for a in missing)
            result = _projected(result, (*result.columns, *nulls))
            others = [_projected(o, (*o.columns, *(_renewed(n) for n in nulls))) for o in others]
        others.append(_projected(frame, items))
    return [result, *others]


def _renewed(alias: Alias) -> Alias:
    return replace(alias, expr_id=new_expr_id())


def _projected(frame: Frame, items: Sequence[Expression]) -> Frame:
    plan = Project(child=frame.plan, expressions=tuple(items))
    return Frame(plan, tuple(to_attribute(e) for e in items), inputs=(frame,))


def _folded(name: str, case_sensitive: bool) -> str:
    return name if case_sensitive else name.lower()


def _refuse_duplicates(frame: Frame, case_sensitive: bool) -> None:
    seen: set[str] = set()
    for column in frame.columns:
        folded = _folded(column.name, case_sensitive)
        if folded in seen:
            raise AnalysisError("COLUMN_ALREADY_EXISTS", columnName=names.quoted([folded]))
        seen.add(folded)
