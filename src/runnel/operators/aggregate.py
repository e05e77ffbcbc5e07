"""Streaming aggregation: one state row a group, Spark's aggregation buffers in it.

A batch: its partial aggregates (made by the fragment below, one row a group) lose the late groups, are merged with what
is stored, and stored. Update gives out the groups touched, append the groups that the watermark has passed, complete
all. Rules: reference §5.3, §7.1 (Spark's StateStoreSaveExec).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from runnel.lowering.aggregation import StreamingAggregation
from runnel.lowering.datatypes import arrow_schema
from runnel.operators.base import OperatorBatch, OperatorMetrics, OperatorPlan, Prepare, RunFragment, StoreSpec
from runnel.operators.event_time import event_time_position, eviction_path, without_late
from runnel.plan.relations import Aggregate
from runnel.state.store import KeyedStore


def plan_aggregate(node: Aggregate, aggregation: StreamingAggregation) -> OperatorPlan:
    """The operator of a resolved Aggregate without a session window."""
    return OperatorPlan((aggregation.partial(),), AggregateOperator(aggregation), node.output)


class AggregateOperator:
    """Keeps the buffers of each group."""

    name = "stateStoreSave"

    def __init__(self, aggregation: StreamingAggregation) -> None:
        self._aggregation = aggregation
        self._num_keys = len(aggregation.keys)
        self._event_time = event_time_position(aggregation.keys)
        self.metrics = OperatorMetrics()
        self._store: KeyedStore
        self._merge: RunFragment
        self._merge_final: RunFragment
        self._final: RunFragment

    @property
    def stores(self) -> tuple[StoreSpec, ...]:
        aggregation = self._aggregation
        at = self._event_time
        return (
            StoreSpec(
                "default",
                arrow_schema(aggregation.key_schema),
                arrow_schema(aggregation.buffer_schema),
                aggregation.key_schema.json(),
                aggregation.buffer_schema.json(),
                None if at is None else eviction_path(f"k{at}", aggregation.keys[at]),
            ),
        )

    def open(self, stores: Mapping[str, KeyedStore], prepare: Prepare) -> None:
        self._store = stores["default"]
        self._merge = prepare(self._aggregation.merge())
        self._merge_final = prepare(self._aggregation.merge_final())
        final = self._aggregation.final()
        self._final = prepare(final)
        self._nothing = arrow_schema(final.schema).empty_table()

    def process(self, inputs: Sequence[pa.Table], batch: OperatorBatch) -> pa.Table:
        metrics = self.metrics = OperatorMetrics()
        complete = batch.output_mode == "complete"
        late_below = None if complete else batch.late_watermark_ms
        partial, metrics.num_rows_dropped_by_watermark = without_late(inputs[0], self._event_time, late_below)
        started = time.perf_counter()
        given_out = self._store_merged(partial, batch)
        metrics.num_rows_updated = partial.num_rows
        metrics.all_updates_ms = round((time.perf_counter() - started) * 1000)
        if complete:
            return self._finals(self._store.all_slots(), batch)
        started = time.perf_counter()
        expired = self._expired(batch)
        if given_out is None:
            given_out = self._finals(expired, batch)
        self._store.remove(expired)
        metrics.num_rows_removed = len(expired)
        metrics.all_removals_ms = round((time.perf_counter() - started) * 1000)
        return given_out

    def _store_merged(self, partial: pa.Table, batch: OperatorBatch) -> pa.Table | None:
        """Stores the groups of a partial table, merged with what is there; in update mode, their results."""
        keys = partial.select(range(self._num_keys))
        fresh = partial.select(range(self._num_keys, partial.num_columns))
        slots = self._store.find(keys)
        found = slots >= 0
        results = None
        width = fresh.num_columns
        if batch.output_mode == "update":
            columns = [*keys.columns, pa.array(found), *self._store.gather(slots).columns, *fresh.columns]
            both = self._merge_final([pa.table(columns, names=_numbered(len(columns)))], batch.parameters)
            fresh, results = both.select(range(width)), both.select(range(width, both.num_columns))
        elif found.any():
            columns = [pa.array(found), *self._store.gather(slots).columns, *fresh.columns]
            fresh = self._merge([pa.table(columns, names=_numbered(len(columns)))], batch.parameters)
        self._store.upsert(keys, fresh, slots)
        return results

    def _expired(self, batch: OperatorBatch) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        if self._event_time is None or batch.eviction_watermark_ms is None:
            return np.empty(0, np.int64)
        return self._store.scan_expired(batch.eviction_watermark_ms * 1000)

    def _finals(self, slots: np.ndarray[tuple[int], np.dtype[np.int64]], batch: OperatorBatch) -> pa.Table:
        if not len(slots) and self._num_keys:
            return self._nothing
        names = [*self._store.key_schema.names, *self._store.value_schema.names]
        return self._final([self._store.gather(slots, names)], batch.parameters)

    def wants_another_batch(self, batch: OperatorBatch, next_watermark_ms: int) -> bool:
        return batch.output_mode != "complete" and next_watermark_ms > (batch.eviction_watermark_ms or 0)

    def output_watermark_ms(self, input_ms: int) -> int | None:
        return input_ms


def _numbered(count: int) -> list[str]:
    return [str(i) for i in range(count)]
