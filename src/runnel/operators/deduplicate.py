"""Deduplication: the first row of each key passes, for ever or for as long as the watermark's delay.

Rules: reference §7.2 and §7.3 (Spark's StreamingDeduplicateExec, …WithinWatermarkExec). A key's presence in state
decides; of equal keys in one batch the first row passes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql.types import LongType, NullType, StructField, StructType

from runnel.lowering.datatypes import arrow_schema
from runnel.lowering.expressions import LoweringOptions
from runnel.lowering.relations import lower
from runnel.operators.base import OperatorBatch, OperatorMetrics, OperatorPlan, Prepare, StoreSpec
from runnel.operators.event_time import event_time_position, event_times, eviction_path, without_late
from runnel.plan.expressions import Attribute
from runnel.plan.relations import Deduplicate
from runnel.state.store import KeyedStore


def plan_deduplicate(node: Deduplicate, options: LoweringOptions) -> OperatorPlan:
    """The operator of a resolved Deduplicate."""
    attributes = node.child.output
    operator = DeduplicateOperator(attributes, node.keys, within_watermark=node.within_watermark)
    return OperatorPlan((lower(node.child, options),), operator, attributes)


class DeduplicateOperator:
    """Keeps the keys that were seen; within a watermark, until event time of the first row plus the delay."""

    def __init__(
        self, attributes: tuple[Attribute, ...], keys: tuple[Attribute, ...], *, within_watermark: bool
    ) -> None:
        self._attributes = attributes
        self._keys = keys
        self._positions = [attributes.index(key) for key in keys]
        self._event_time = event_time_position(attributes)
        self._within = within_watermark
        self.name = "dedupeWithinWatermark" if within_watermark else "dedupe"
        self.metrics = OperatorMetrics()
        self._store: KeyedStore

    @property
    def stores(self) -> tuple[StoreSpec, ...]:
        keys = StructType([StructField(f"k{i}", k.dtype, True, dict(k.metadata)) for i, k in enumerate(self._keys)])
        spark_keys = StructType([StructField(k.name, k.dtype, k.nullable, dict(k.metadata)) for k in self._keys])
        eviction: str | tuple[str, ...] | None = None
        if self._within:
            values = StructType([StructField("expiresAtMicros", LongType(), False)])
            spark_values, eviction = values, "expiresAtMicros"
        else:
            values, spark_values = StructType(), StructType([StructField("__dummy__", NullType(), True)])
            at = event_time_position(self._keys)
            if at is not None:
                eviction = eviction_path(f"k{at}", self._keys[at])
        return (
            StoreSpec(
                "default", arrow_schema(keys), arrow_schema(values), spark_keys.json(), spark_values.json(), eviction
            ),
        )

    def open(self, stores: Mapping[str, KeyedStore], prepare: Prepare) -> None:
        self._store = stores["default"]

    def process(self, inputs: Sequence[pa.Table], batch: OperatorBatch) -> pa.Table:
        metrics = self.metrics = OperatorMetrics()
        started = time.perf_counter()
        rows, metrics.num_rows_dropped_by_watermark = without_late(inputs[0], self._event_time, batch.late_watermark_ms)
        before = rows.num_rows
        if before:
            new = self._store.insert_absent(rows.select(self._positions), self._values(rows))
            if len(new) < before:
                rows = rows.take(pa.array(new))
        metrics.num_rows_updated = rows.num_rows
        metrics.custom["numDroppedDuplicateRows"] = before - rows.num_rows
        metrics.all_updates_ms = round((time.perf_counter() - started) * 1000)
        started = time.perf_counter()
        metrics.num_rows_removed = self._evict(batch)
        metrics.all_removals_ms = round((time.perf_counter() - started) * 1000)
        return rows

    def _values(self, rows: pa.Table) -> pa.Table:
        if not self._within:
            return rows.select([])
        at = self._event_time
        assert at is not None, "analysis refuses deduplication within a watermark without one"
        delay_us = int(self._attributes[at].metadata["spark.watermarkDelayMs"]) * 1000
        # Spark reads a null event time as 0: such a key is forgotten at once.
        expires = pc.add(pc.fill_null(event_times(rows.column(at)), 0), delay_us)
        return pa.table({"expiresAtMicros": expires})

    def _evict(self, batch: OperatorBatch) -> int:
        if batch.eviction_watermark_ms is None or self._store.eviction_column is None:
            return 0
        expired = self._store.scan_expired(batch.eviction_watermark_ms * 1000)
        self._store.remove(expired)
        return len(expired)

    def wants_another_batch(self, batch: OperatorBatch, next_watermark_ms: int) -> bool:
        return next_watermark_ms > (batch.eviction_watermark_ms or 0)

    def output_watermark_ms(self, input_ms: int) -> int | None:
        return input_ms
