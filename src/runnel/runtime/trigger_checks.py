"""What the continuous and the real-time trigger refuse, with Spark's conditions (reference §3).

Runnel runs both as micro-batches that begin when data arrive: rows pass within milliseconds, and every batch is
committed, so neither trigger loosens a guarantee. What Spark refuses is refused all the same, so that a program that runs
here runs there.
"""

from __future__ import annotations

from collections.abc import Mapping

from runnel.config import parse_duration_ms
from runnel.errors import AnalysisError, IllegalArgumentError, RunnelError, error
from runnel.plan.relations import (
    FileScan,
    Filter,
    LocalData,
    MapPartitions,
    Project,
    Relation,
    StreamingScan,
    WithWatermark,
)
from runnel.plan.traverse import walk_relations
from runnel.runtime.triggers import Schedule

_MAP_LIKE = (Project, Filter, StreamingScan, MapPartitions)
_CONTINUOUS_SOURCES = frozenset({"rate", "socket", "kafka", "memory"})
_CONTINUOUS_SINKS = frozenset({"console", "memory", "noop", "foreach", "kafka"})
_REAL_TIME_SOURCES = frozenset({"kafka", "memory"})
_REAL_TIME_SINKS = frozenset({"console", "noop", "foreach", "kafka"})
_STATELESS_ONLY = (Project, Filter, StreamingScan, WithWatermark, LocalData, FileScan)


def check_trigger(schedule: Schedule, plan: Relation, output_mode: str, sink: str, conf: Mapping[str, str]) -> None:
    """Raises from `start()` what the trigger refuses of the plan, the output mode or the sink."""
    if schedule.kind == "continuous":
        _check_continuous(plan, sink)
    elif schedule.kind == "real_time":
        _check_real_time(schedule, plan, output_mode, sink, conf)


def check_sources(schedule: Schedule, plan: Relation, sink: str) -> None:
    """Raises, on the query's thread, what the trigger refuses of the sources, and continuous of a file sink."""
    scans = [node for node in walk_relations(plan) if isinstance(node, StreamingScan)]
    if schedule.kind == "real_time":
        for scan in scans:
            if scan.format not in _REAL_TIME_SOURCES:
                raise error("STREAMING_REAL_TIME_MODE.INPUT_STREAM_NOT_SUPPORTED", className=scan.format)
        keys = [scan.source_key for scan in scans]
        if len(set(map(id, keys))) < len(keys):
            raise error("STREAMING_REAL_TIME_MODE.IDENTICAL_SOURCES_IN_UNION_NOT_SUPPORTED", sources=scans[0].format)
    elif schedule.kind == "continuous" and sink not in _CONTINUOUS_SINKS:
        raise RunnelError("CONTINUOUS_TRIGGER_SINK", {"sink": sink})


def _check_continuous(plan: Relation, sink: str) -> None:
    if sink == "foreachbatch":
        raise error("_LEGACY_ERROR_TEMP_1195", source="foreachBatch")
    for node in walk_relations(plan):
        if not isinstance(node, _MAP_LIKE):
            raise _continuous(type(node).__name__)
        if isinstance(node, StreamingScan) and node.format not in _CONTINUOUS_SOURCES:
            raise _continuous(f"StreamingRelation over {node.format}")


def _continuous(what: str) -> AnalysisError:
    return AnalysisError(
        "_LEGACY_ERROR_TEMP_3102", {"msg": f"Continuous processing does not support {what} operations."}
    )


def _check_real_time(schedule: Schedule, plan: Relation, output_mode: str, sink: str, conf: Mapping[str, str]) -> None:
    if output_mode != "update":
        raise error("STREAMING_REAL_TIME_MODE.OUTPUT_MODE_NOT_SUPPORTED", outputMode=output_mode)
    least = parse_duration_ms(conf.get("spark.sql.streaming.realTimeMode.minBatchDuration", "5s"))
    if schedule.interval_ms < least:
        raise IllegalArgumentError(
            "INVALID_STREAMING_REAL_TIME_MODE_TRIGGER_INTERVAL",
            {"interval": f"{schedule.interval_ms} ms", "minBatchDuration": str(least)},
        )
    if sink in ("parquet", "json", "csv", "text", "foreachbatch"):
        raise error("STREAMING_REAL_TIME_MODE.SINK_NOT_SUPPORTED", className=sink)
    if sink not in _REAL_TIME_SINKS:
        raise error("STREAMING_REAL_TIME_MODE.OPERATOR_OR_SINK_NOT_IN_ALLOWLIST", errorType="sink", message=sink)
    for node in walk_relations(plan):
        if not isinstance(node, _STATELESS_ONLY):
            raise error(
                "STREAMING_REAL_TIME_MODE.OPERATOR_OR_SINK_NOT_IN_ALLOWLIST",
                errorType="operator",
                message=type(node).__name__,
            )
