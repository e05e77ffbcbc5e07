"""`describe` and `summary`: one row of aggregates, then a row for each statistic."""

from __future__ import annotations

from collections.abc import Callable

from pyspark.sql.types import DoubleType, StringType

from runnel.analysis import names
from runnel.analysis.expressions import Resolver
from runnel.analysis.frames import Frame
from runnel.errors import IllegalArgumentError
from runnel.functions.typing import is_numeric, is_string
from runnel.plan.expressions import (
    Alias,
    Attribute,
    Cast,
    CastMode,
    Expression,
    Literal,
    UnresolvedFunction,
    new_expr_id,
    to_attribute,
)
from runnel.plan.relations import Aggregate, Expand, Summary

Statistic = Callable[[Attribute], Expression]


def summary(resolver: Resolver, frame: Frame, node: Summary) -> Frame:
    """The frame's numeric and string columns by statistic; all values as text, as Spark's StatFunctions has them.

    Errors: IllegalArgumentError UNRECOGNIZED_STATISTIC; AnalysisError for an unknown column.
    """
    chosen = _columns(resolver, frame, node)
    statistics = [(given, _statistic(given)) for given in node.statistics]
    cells = [
        [Alias(resolver.resolve(_text(make(column))), column.name, new_expr_id()) for column in chosen]
        for _, make in statistics
    ]
    below = Aggregate(
        child=frame.plan, groupings=(), aggregates=tuple(c for row in cells for c in row), implicit_keys=False
    )
    output = tuple(
        Attribute(name, StringType(), True, new_expr_id()) for name in ("summary", *(c.name for c in chosen))
    )
    projections = tuple(
        (Literal(given, StringType()), *(to_attribute(c) for c in row))
        for (given, _), row in zip(statistics, cells, strict=True)
    )
    return Frame(Expand(child=below, projections=projections, attributes=output), output, inputs=(frame,))


def _columns(resolver: Resolver, frame: Frame, node: Summary) -> list[Attribute]:
    chosen = list(frame.columns)
    if node.columns:
        chosen = []
        for name in node.columns:
            found = names.matches((name,), frame.columns, resolver.context.bind.case_sensitive)
            if not found:
                raise names.unresolved((name,), frame.columns)
            if len(found) > 1:
                raise names.ambiguous((name,), found)
            chosen.append(found[0].attribute)
    return [c for c in chosen if is_numeric(c.dtype) or is_string(c.dtype)]


def _text(value: Expression) -> Expression:
    return Cast(value, StringType(), CastMode.LEGACY)


def _number(column: Attribute) -> Expression:
    return Cast(column, DoubleType(), CastMode.TRY) if is_string(column.dtype) else column


def _statistic(given: str) -> Statistic:
    if given.endswith("%"):
        try:
            fraction = float(given[:-1]) / 100
        except ValueError as problem:
            raise _unknown(given) from problem
        if not 0 <= fraction <= 1:
            raise _unknown(given)
        return lambda column: UnresolvedFunction(
            "percentile_approx", (_number(column), Literal(fraction, DoubleType()))
        )
    match given.lower():
        case "count":
            return lambda column: UnresolvedFunction("count", (column,))
        case "count_distinct":
            return lambda column: UnresolvedFunction("count", (column,), distinct=True)
        case "approx_count_distinct" | "min" | "max" as name:
            return lambda column: UnresolvedFunction(name, (column,))
        case "mean":
            return lambda column: UnresolvedFunction("avg", (_number(column),))
        case "stddev":
            return lambda column: UnresolvedFunction("stddev", (_number(column),))
        case _:
            raise _unknown(given)


def _unknown(given: str) -> IllegalArgumentError:
    return IllegalArgumentError("UNRECOGNIZED_STATISTIC", stats=f"'{given}'")
