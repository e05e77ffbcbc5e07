"""`limit(n)` on a stream: the first n rows of the query's whole life (Spark's StreamingGlobalLimitExec)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from pyspark.sql.types import LongType, NullType, StructField, StructType

from runnel.lowering.datatypes import arrow_schema
from runnel.lowering.expressions import LoweringOptions
from runnel.lowering.relations import lower
from runnel.operators.base import OperatorBatch, OperatorMetrics, OperatorPlan, Prepare, StoreSpec
from runnel.plan.relations import Limit
from runnel.state.store import KeyedStore


def plan_limit(node: Limit, options: LoweringOptions) -> OperatorPlan:
    return OperatorPlan((lower(node.child, options),), LimitOperator(node.count), node.output)


class LimitOperator:
    """Keeps one number: the rows let through so far."""

    name = "globalLimit"

    def __init__(self, count: int) -> None:
        self._count = count
        self.metrics = OperatorMetrics()
        self._store: KeyedStore

    @property
    def stores(self) -> tuple[StoreSpec, ...]:
        value = StructType([StructField("value", LongType(), False)])
        key = StructType([StructField("key", NullType(), True)])
        return (StoreSpec("default", pa.schema([]), arrow_schema(value), key.json(), value.json()),)

    def open(self, stores: Mapping[str, KeyedStore], prepare: Prepare) -> None:
        self._store = stores["default"]

    def process(self, inputs: Sequence[pa.Table], batch: OperatorBatch) -> pa.Table:
        self.metrics = OperatorMetrics()
        slots = self._store.all_slots()
        passed = self._store.gather(slots).column(0)[0].as_py() if len(slots) else 0
        rows = inputs[0].slice(0, max(self._count - passed, 0))
        if rows.num_rows or not len(slots):
            at = slots if len(slots) else np.full(1, -1, np.int64)
            self._store.upsert(_one_key(), pa.table({"value": pa.array([passed + rows.num_rows], pa.int64())}), at)
            self.metrics.num_rows_updated = 1
        return rows

    def wants_another_batch(self, batch: OperatorBatch, next_watermark_ms: int) -> bool:
        return False

    def output_watermark_ms(self, input_ms: int) -> int | None:
        return input_ms


def _one_key() -> pa.RecordBatch:
    """One row without columns."""
    return pa.RecordBatch.from_struct_array(pa.array([{}], pa.struct([])))
