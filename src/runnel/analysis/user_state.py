"""applyInPandasWithState and transformWithState: groupings, modes, the output's columns and their event time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from pyspark.sql.types import DataType, StructField, StructType, TimestampNTZType, TimestampType

from runnel.analysis import names
from runnel.analysis.expressions import Resolver
from runnel.analysis.frames import Frame
from runnel.analysis.time_windows import WATERMARK_DELAY
from runnel.errors import AnalysisError, IllegalArgumentError, error
from runnel.functions.pretty import pretty_type
from runnel.plan.expressions import Attribute, Expression
from runnel.plan.relations import FlatMapGroupsWithState, Relation, TransformWithState, WithWatermark
from runnel.plan.schema import attributes_of
from runnel.plan.traverse import walk_relations

_TIMEOUTS = ("NoTimeout", "ProcessingTimeTimeout", "EventTimeTimeout")
_TIME_MODES = ("none", "processingtime", "eventtime")


def flat_map_groups_with_state(resolver: Resolver, frame: Frame, node: FlatMapGroupsWithState) -> Frame:
    """The frame of applyInPandasWithState. IllegalArgumentError for an unknown output mode or timeout."""
    mode = node.output_mode.lower()
    if mode not in ("append", "update"):
        raise _illegal(f"The output mode of function should be append or update, not {node.output_mode}.")
    if node.timeout not in _TIMEOUTS:
        raise _illegal(f"There is no timeout {node.timeout}. There are {', '.join(_TIMEOUTS)}.")
    attributes = attributes_of(node.schema)
    made = replace(
        node,
        child=frame.plan,
        groupings=_groupings(resolver, node.groupings),
        output_mode=mode,
        attributes=attributes,
    )
    return frame.derive(made, attributes)


def transform_with_state(
    resolver: Resolver, over_initial: Resolver | None, frame: Frame, initial: Frame | None, node: TransformWithState
) -> Frame:
    """The frame of transformWithState; `initial` and its resolver are None without a frame of initial states.

    Errors: STATEFUL_PROCESSOR_UNKNOWN_TIME_MODE, STREAMING_OUTPUT_MODE.INVALID, and for the event-time column
    CANNOT_ASSIGN_EVENT_TIME_COLUMN_WITHOUT_WATERMARK, EVENT_TIME_IS_NOT_ON_TIMESTAMP_TYPE, UNRESOLVED_COLUMN.
    """
    if node.time_mode.lower() not in _TIME_MODES:
        raise IllegalArgumentError("STATEFUL_PROCESSOR_UNKNOWN_TIME_MODE", timeMode=node.time_mode)
    if node.output_mode.lower() not in ("append", "update", "complete"):
        raise AnalysisError("STREAMING_OUTPUT_MODE.INVALID", outputMode=node.output_mode)
    attributes = attributes_of(node.schema)
    if node.event_time_column:
        attributes = _with_event_time(resolver, frame.plan, attributes, node.event_time_column)
    initial_groupings: tuple[Expression, ...] = ()
    if initial is not None and over_initial is not None:
        if initial.plan.is_streaming:
            raise AnalysisError("_LEGACY_ERROR_TEMP_3102", msg="The initial state of transformWithState is a stream.")
        initial_groupings = _groupings(over_initial, node.initial_groupings)
    made = replace(
        node,
        child=frame.plan,
        groupings=_groupings(resolver, node.groupings),
        output_mode=node.output_mode.lower(),
        time_mode=node.time_mode.lower(),
        initial=None if initial is None else initial.plan,
        initial_groupings=initial_groupings,
        parse_schema=_schema_parser(resolver.context.parse_type),
        attributes=attributes,
    )
    return frame.derive(made, attributes)


def _groupings(resolver: Resolver, groupings: Sequence[Expression]) -> tuple[Expression, ...]:
    if not groupings:
        raise _illegal("requirement failed: state is kept by key, so groupBy needs a column here.")
    return tuple(e for g in groupings for e in resolver.named(g))


def _schema_parser(parse_type: Callable[[str], DataType]) -> Callable[[str], StructType]:
    def parse(text: str) -> StructType:
        parsed = parse_type(text)
        return parsed if isinstance(parsed, StructType) else StructType([StructField("value", parsed)])

    return parse


def _with_event_time(
    resolver: Resolver, child: Relation, attributes: tuple[Attribute, ...], name: str
) -> tuple[Attribute, ...]:
    """The output with the named column marked as the one that carries event time on."""
    if not child.is_streaming:
        return attributes
    delays = [n.delay_ms for n in walk_relations(child) if isinstance(n, WithWatermark) and n.attribute is not None]
    if not delays:
        raise error("CANNOT_ASSIGN_EVENT_TIME_COLUMN_WITHOUT_WATERMARK")
    found = [a for a in attributes if names.same_name(a.name, name, resolver.context.bind.case_sensitive)]
    if not found:
        raise names.unresolved((name,), attributes)
    if not isinstance(found[0].dtype, TimestampType | TimestampNTZType):
        raise AnalysisError(
            "EVENT_TIME_IS_NOT_ON_TIMESTAMP_TYPE", eventName=f'"{name}"', eventType=pretty_type(found[0].dtype)
        )
    marked = replace(found[0], metadata={**found[0].metadata, WATERMARK_DELAY: delays[0]})
    return tuple(marked if a is found[0] else a for a in attributes)


def _illegal(message: str) -> IllegalArgumentError:
    return IllegalArgumentError("_LEGACY_ERROR_TEMP_3102", msg=message)
