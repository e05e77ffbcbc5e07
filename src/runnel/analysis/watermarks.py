"""`withWatermark`: the delay's text, the event-time column, the mark it carries."""

from __future__ import annotations

from dataclasses import replace

from pyspark.sql.types import StructType, TimestampType

from runnel.analysis import names
from runnel.analysis.expressions import Resolver
from runnel.analysis.frames import Frame
from runnel.analysis.time_windows import WATERMARK_DELAY
from runnel.errors import AnalysisError, IllegalArgumentError
from runnel.functions.intervals import parse_interval_or_none
from runnel.functions.pretty import pretty_type
from runnel.functions.time_windows import is_window_struct
from runnel.plan.expressions import Attribute
from runnel.plan.relations import WithWatermark

_DAY_MS = 86_400_000
_DAYS_PER_MONTH = 31


def delay_ms(text: str) -> int:
    """Milliseconds of a watermark delay; a month counts 31 days. CANNOT_PARSE_INTERVAL, or a negative delay's error."""
    interval = parse_interval_or_none(text)
    if interval is None:
        raise AnalysisError("CANNOT_PARSE_INTERVAL", intervalString=f"'{text}'")
    days = interval.months * _DAYS_PER_MONTH + interval.days
    result = days * _DAY_MS + interval.micros // 1000
    if result < 0:
        raise IllegalArgumentError("_LEGACY_ERROR_TEMP_3102", msg=f"delay threshold ({text}) should not be negative.")
    return result


def with_watermark(resolver: Resolver, frame: Frame, node: WithWatermark) -> Frame:
    """The frame with its event-time column marked; the frame itself for batch data, where the call has no effect."""
    delay = delay_ms(node.delay)
    parts = tuple(p.strip("`") for p in node.event_time.split("."))
    found = names.matches((node.event_time.strip("`"),), frame.columns, resolver.context.bind.case_sensitive)
    if not found:
        found = names.matches(parts, frame.columns, resolver.context.bind.case_sensitive)
    if len(found) > 1:
        raise names.ambiguous(parts, found)
    if not found:
        raise names.unresolved(parts, frame.columns)
    if found[0].nested:
        raise AnalysisError("EVENT_TIME_MUST_BE_TOP_LEVEL_COLUMN", eventExpr=names.quoted(parts))
    attribute = found[0].attribute
    _check_type(attribute)
    if not frame.plan.is_streaming:
        return Frame(frame.plan, frame.columns, frame.hidden, inputs=(frame,))
    marked = replace(attribute, metadata={**attribute.metadata, WATERMARK_DELAY: delay})
    plan = replace(node, child=frame.plan, attribute=marked, delay_ms=delay)
    columns = tuple(marked if a.expr_id == marked.expr_id else a for a in frame.columns)
    return Frame(plan, columns, frame.hidden, inputs=(frame,))


def _check_type(attribute: Attribute) -> None:
    dtype = attribute.dtype
    if isinstance(dtype, TimestampType):
        return
    if (
        isinstance(dtype, StructType)
        and is_window_struct(dtype)
        and isinstance(dtype.fields[1].dataType, TimestampType)
    ):
        return
    raise AnalysisError(
        "EVENT_TIME_IS_NOT_ON_TIMESTAMP_TYPE",
        eventName=f'"{attribute.name}"',
        eventType=pretty_type(dtype),
    )
