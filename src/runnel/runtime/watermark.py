"""From event times to one watermark, and from one watermark to each operator's.

Rules from Spark's WatermarkTracker and WatermarkPropagator: each watermark node keeps the largest event time of this
run less its delay; the global value is the least (policy min) or greatest (max) over the nodes, a node that has seen
nothing counting as 0; it never goes back and starts at 0. Times are whole milliseconds since the epoch.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc


@dataclass(frozen=True, slots=True)
class EventTimeStats:
    """Event times that passed a watermark node in one batch. Nulls count as time 0, as in Spark."""

    count: int = 0
    min_ms: int = 0
    max_ms: int = 0
    avg_ms: float = 0.0

    @staticmethod
    def of(column: pa.ChunkedArray) -> EventTimeStats:
        """Statistics of a timestamp('us') column, or of a struct<start, end> window by its end."""
        if not len(column):
            return EventTimeStats()
        if pa.types.is_struct(column.type):
            column = pc.struct_field(column, 1)
        micros = column.cast(pa.int64())
        if micros.null_count:
            micros = micros.fill_null(0)
        extremes = pc.min_max(micros)
        mean = pc.mean(micros).as_py()
        return EventTimeStats(
            len(micros), extremes["min"].as_py() // 1000, extremes["max"].as_py() // 1000, mean / 1000
        )


class WatermarkTracker:
    """The global watermark of one run of a query."""

    def __init__(self, delays_ms: tuple[int, ...], policy: str = "min", start_ms: int = 0) -> None:
        if policy not in ("min", "max"):
            raise ValueError(f"policy {policy!r} is neither min nor max")
        self._delays = delays_ms
        self._choose = min if policy == "min" else max
        self._per_node: list[int | None] = [None] * len(delays_ms)
        self.current_ms = start_ms

    def advance(self, stats: tuple[EventTimeStats, ...]) -> int:
        """Takes in one batch's statistics, node by node, and returns the watermark that the next batch uses."""
        for node, (seen, delay) in enumerate(zip(stats, self._delays, strict=True)):
            if seen.count:
                previous = self._per_node[node]
                value = seen.max_ms - delay
                self._per_node[node] = value if previous is None else max(previous, value)
        if self._per_node:
            chosen = self._choose(0 if value is None else value for value in self._per_node)
            self.current_ms = max(self.current_ms, chosen)
        return self.current_ms
