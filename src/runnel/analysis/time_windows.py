"""Time and session windows: `window(…)` and `session_window(…)` become columns made below the operator that uses them.

Spark's rule (`ResolveTimeWindows`, `SessionWindowing`): rows whose time is null are dropped; a tumbling window is a
projection, a sliding one an `Expand` with one projection for each window that can hold a row, then a filter; a session
starts as [time, time + gap) and is merged by the aggregation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from runnel.analysis.expressions import Resolver
from runnel.errors import AnalysisError
from runnel.functions.time_windows import (
    SESSION_METADATA,
    WINDOW_METADATA,
    WindowSpec,
    session_is_open,
    window_holds,
    window_struct,
)
from runnel.plan.expressions import Alias, Attribute, Expression, FunctionCall, Literal, metadata_of, new_expr_id
from runnel.plan.relations import Expand, Filter, Project, Relation
from runnel.plan.traverse import transform_down, walk

WATERMARK_DELAY: Final = "spark.watermarkDelayMs"
_COLUMN_NAMES: Final = {"window_struct": "window", "session_struct": "session_window"}


@dataclass(frozen=True, slots=True)
class Windowed:
    """A plan with the window column added, and the expressions with the calls replaced by it."""

    plan: Relation
    expressions: tuple[Expression, ...]
    call: FunctionCall | None = None
    column: Attribute | None = None


def replace_windows(
    resolver: Resolver, plan: Relation, expressions: Sequence[Expression], known: Windowed | None = None
) -> Windowed:
    """Puts the one window that the expressions use into a column below; several uses of the same window are one.

    known: what an earlier call for the same operator made: its window has a column already.
    Raises `_LEGACY_ERROR_TEMP_1039` for two different windows in one operator.
    """
    distinct: list[FunctionCall] = [] if known is None or known.call is None else [known.call]
    for top in expressions:
        for e in walk(top):
            if isinstance(e, FunctionCall) and e.name in _COLUMN_NAMES and e not in distinct:
                distinct.append(e)
    if not distinct:
        return Windowed(plan, tuple(expressions))
    if len(distinct) > 1:
        raise AnalysisError("_LEGACY_ERROR_TEMP_1039")
    call = distinct[0]
    if known is not None and known.column is not None:
        column = known.column
    else:
        plan, column = _session(plan, call) if call.name == "session_struct" else _window(resolver, plan, call)

    def substitute(e: Expression) -> Expression:
        return column if isinstance(e, FunctionCall) and e == call else e

    replaced = tuple(_renamed(transform_down(e, substitute), column) for e in expressions)
    return Windowed(plan, replaced, call, column)


def _renamed(expression: Expression, column: Attribute) -> Expression:
    """An alias that only repeats the window column's name is the column itself."""
    if isinstance(expression, Alias) and expression.child == column and expression.name == column.name:
        return column if expression.metadata is None else expression
    return expression


def _column(call: FunctionCall) -> Attribute:
    name = _COLUMN_NAMES[call.name]
    metadata: dict[str, object] = {WINDOW_METADATA if name == "window" else SESSION_METADATA: True}
    for source in walk(call.args[0]):
        found = metadata_of(source)
        if WATERMARK_DELAY in found:
            metadata[WATERMARK_DELAY] = found[WATERMARK_DELAY]
            break
    return Attribute(name, call.dtype, False, new_expr_id(), metadata)


def _alias(call: FunctionCall, column: Attribute) -> Alias:
    return Alias(call, column.name, column.expr_id, column.metadata)


def _window(resolver: Resolver, plan: Relation, call: FunctionCall) -> tuple[Relation, Attribute]:
    time = call.args[0]
    duration, slide, start = (a.value for a in call.args[1:4] if isinstance(a, Literal))
    spec = WindowSpec(duration, slide, start)
    column = _column(call)
    kept = Filter(child=plan, condition=resolver.call("isnotnull", time))
    if spec.is_tumbling:
        return Project(child=kept, expressions=(*plan.output, _alias(call, column))), column
    projections = tuple((*plan.output, window_struct(time, spec, i)) for i in range(spec.overlap))
    expanded = Expand(child=kept, projections=projections, attributes=(*plan.output, column))
    if duration % slide == 0:
        return expanded, column
    return Filter(child=expanded, condition=window_holds(time, column)), column


def _session(plan: Relation, call: FunctionCall) -> tuple[Relation, Attribute]:
    column = _column(call)
    projected = Project(child=plan, expressions=(*plan.output, _alias(call, column)))
    return Filter(child=projected, condition=session_is_open(column)), column
