"""What a batch reports: Spark's StreamingQueryProgress, as plain data.

`ProgressReport.json()` is the shape of Spark's `.json`; `wire()` the one that Spark Connect sends (reference: offsets as
JSON text, no totals at the top, maps present even when empty).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from runnel.operators.base import OperatorMetrics
from runnel.runtime.watermark import EventTimeStats


def format_ms(ms: int) -> str:
    """`2024-01-01T00:00:00.000Z`."""
    moment = datetime.fromtimestamp(ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"


@dataclass(frozen=True, slots=True)
class SourceProgress:
    description: str
    start_offset: str | None
    end_offset: str | None
    latest_offset: str | None
    num_input_rows: int
    input_rows_per_second: float
    processed_rows_per_second: float
    metrics: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OperatorProgress:
    name: str
    metrics: OperatorMetrics
    num_shuffle_partitions: int
    num_state_store_instances: int


@dataclass(frozen=True, slots=True)
class ProgressReport:
    """One trigger's figures. Durations are milliseconds; `event_time` is None without a watermark node."""

    id: str
    run_id: str
    name: str | None
    timestamp_ms: int
    batch_id: int
    batch_duration_ms: int
    durations_ms: dict[str, int]
    watermark_ms: int | None
    event_time: EventTimeStats | None
    operators: tuple[OperatorProgress, ...]
    sources: tuple[SourceProgress, ...]
    sink_description: str
    num_output_rows: int
    observed: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def num_input_rows(self) -> int:
        return sum(s.num_input_rows for s in self.sources)

    @property
    def input_rows_per_second(self) -> float:
        return sum(s.input_rows_per_second for s in self.sources)

    @property
    def processed_rows_per_second(self) -> float:
        return sum(s.processed_rows_per_second for s in self.sources)

    def wire(self) -> dict[str, Any]:
        """As Spark Connect sends it."""
        return {
            "id": self.id,
            "runId": self.run_id,
            "name": self.name,
            "timestamp": format_ms(self.timestamp_ms),
            "batchId": self.batch_id,
            "batchDuration": self.batch_duration_ms,
            "durationMs": dict(self.durations_ms),
            "eventTime": self._event_time(),
            "stateOperators": [_operator(o) for o in self.operators],
            "sources": [_source(s) for s in self.sources],
            "sink": {
                "description": self.sink_description,
                "numOutputRows": self.num_output_rows,
                "metrics": {},
            },
            "observedMetrics": self.observed,
        }

    def json(self) -> dict[str, Any]:
        """As Spark's `progress.json` has it."""
        wire = self.wire()
        shown = {key: wire[key] for key in ("id", "runId", "name", "timestamp", "batchId", "batchDuration")}
        shown |= {
            "numInputRows": self.num_input_rows,
            "inputRowsPerSecond": round(self.input_rows_per_second, 1),
            "processedRowsPerSecond": round(self.processed_rows_per_second, 1),
            "durationMs": wire["durationMs"],
        }
        if wire["eventTime"]:
            shown["eventTime"] = wire["eventTime"]
        shown["stateOperators"] = wire["stateOperators"]
        shown["sources"] = [_shown_source(s) for s in self.sources]
        shown["sink"] = {k: v for k, v in wire["sink"].items() if k != "metrics"}
        if self.observed:
            shown["observedMetrics"] = self.observed
        return shown

    def _event_time(self) -> dict[str, str]:
        if self.watermark_ms is None:
            return {}
        found = {"watermark": format_ms(self.watermark_ms)}
        if self.event_time is not None and self.event_time.count:
            found |= {
                "avg": format_ms(int(self.event_time.avg_ms)),
                "max": format_ms(self.event_time.max_ms),
                "min": format_ms(self.event_time.min_ms),
            }
        return dict(sorted(found.items()))


def _operator(operator: OperatorProgress) -> dict[str, Any]:
    m = operator.metrics
    return {
        "operatorName": operator.name,
        "numRowsTotal": m.num_rows_total or 0,
        "numRowsUpdated": m.num_rows_updated,
        "allUpdatesTimeMs": m.all_updates_ms,
        "numRowsRemoved": m.num_rows_removed,
        "allRemovalsTimeMs": m.all_removals_ms,
        "commitTimeMs": m.commit_ms,
        "memoryUsedBytes": m.memory_used_bytes,
        "numRowsDroppedByWatermark": m.num_rows_dropped_by_watermark,
        "numShufflePartitions": operator.num_shuffle_partitions,
        "numStateStoreInstances": operator.num_state_store_instances,
        "customMetrics": dict(m.custom),
    }


def _source(source: SourceProgress) -> dict[str, Any]:
    return {
        "description": source.description,
        "startOffset": source.start_offset,
        "endOffset": source.end_offset,
        "latestOffset": source.latest_offset,
        "numInputRows": source.num_input_rows,
        "inputRowsPerSecond": source.input_rows_per_second,
        "processedRowsPerSecond": source.processed_rows_per_second,
        "metrics": dict(source.metrics),
    }


def _shown_source(source: SourceProgress) -> dict[str, Any]:
    shown = _source(source)
    for key in ("startOffset", "endOffset", "latestOffset"):
        shown[key] = None if shown[key] is None else json.loads(shown[key])
    for key in ("inputRowsPerSecond", "processedRowsPerSecond"):
        shown[key] = round(shown[key], 1)
    if not shown["metrics"]:
        del shown["metrics"]
    return shown
