"""applyInPandasWithState: the user's function over each group's new rows, with a state of its own and a timeout.

The function runs once for each key with rows, then, without rows, for each key whose timeout has passed. As in Spark a
timeout stays stored until the function changes state or timeout in some call. Rules: reference §7.7 (Spark's
FlatMapGroupsInPandasWithStateExec); PySpark's own GroupState is what the function is given.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql.types import LongType, StructField, StructType

from runnel.lowering.datatypes import arrow_schema, arrow_type
from runnel.lowering.expressions import LoweringOptions
from runnel.lowering.relations import lower_grouped
from runnel.operators.base import OperatorBatch, OperatorMetrics, OperatorPlan, Prepare, StoreSpec
from runnel.operators.event_time import event_time_position, without_late
from runnel.operators.user_code import Ints, UserCode, group_bounds
from runnel.plan.expressions import dtype_of, to_attribute
from runnel.plan.relations import FlatMapGroupsWithState
from runnel.plan.schema import schema_of
from runnel.state.store import KeyedStore

NO_TIMESTAMP = -1
_STATE, _TIMEOUT = "groupState", "timeoutTimestamp"


def plan_flat_map_groups_with_state(
    node: FlatMapGroupsWithState, options: LoweringOptions, user_code: UserCode
) -> OperatorPlan:
    """The operator of a resolved FlatMapGroupsWithState."""
    grouped = lower_grouped(node.child, node.groupings, options)
    return OperatorPlan((grouped,), FlatMapGroupsWithStateOperator(node, user_code), node.output)


@dataclass(slots=True)
class _Changes:
    """What calls did to the state: positions among the keys that were called, and what is to be stored there."""

    put: list[int] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    timeouts: list[int | None] = field(default_factory=list)
    removed: list[int] = field(default_factory=list)

    def take(self, position: int, state: Any) -> None:
        """What is to be stored after one call, by Spark's conditions."""
        timeout = int(state._timeout_timestamp)
        if state._removed and timeout == NO_TIMESTAMP:
            self.removed.append(position)
        elif state._updated or state._removed or timeout != state.oldTimeoutTimestamp:
            self.put.append(position)
            self.values.append(state._value if state.exists else None)
            self.timeouts.append(None if timeout == NO_TIMESTAMP else timeout)


class FlatMapGroupsWithStateOperator:
    """Keeps, for each key, the state as a struct and the time at which it times out (milliseconds, null for never)."""

    name = "applyInPandasWithState"

    def __init__(self, node: FlatMapGroupsWithState, user_code: UserCode) -> None:
        attributes = node.child.output
        self._function = node.function.func
        self._schema = node.schema
        self._state_schema = node.state_schema
        self._timeout = node.timeout
        self._row_schema = schema_of(attributes)
        self._key_schema = schema_of(to_attribute(g) for g in node.groupings)
        self._key_types = [dtype_of(g) for g in node.groupings]
        self._event_time = event_time_position(attributes)
        self._user = user_code
        self.metrics = OperatorMetrics()
        self._store: KeyedStore

    @property
    def stores(self) -> tuple[StoreSpec, ...]:
        keys = StructType([StructField(f"k{i}", t, True) for i, t in enumerate(self._key_types)])
        spark_values = StructType([StructField(_STATE, self._state_schema, True)])
        values = [pa.field(_STATE, arrow_type(self._state_schema, sql_names=True))]
        if self._has_timeout:
            spark_values = spark_values.add(StructField(_TIMEOUT, LongType(), False))
            values.append(pa.field(_TIMEOUT, pa.int64()))
        return (
            StoreSpec(
                "default",
                arrow_schema(keys),
                pa.schema(values),
                self._key_schema.json(),
                spark_values.json(),
                _TIMEOUT if self._has_timeout else None,
            ),
        )

    @property
    def _has_timeout(self) -> bool:
        return self._timeout != "NoTimeout"

    def open(self, stores: Mapping[str, KeyedStore], prepare: Prepare) -> None:
        self._store = stores["default"]

    def process(self, inputs: Sequence[pa.Table], batch: OperatorBatch) -> pa.Table:
        metrics = self.metrics = OperatorMetrics()
        started = time.perf_counter()
        late_from = batch.late_watermark_ms if self._timeout == "EventTimeTimeout" else None
        rows, metrics.num_rows_dropped_by_watermark = without_late(inputs[0], self._event_time, late_from)
        try:
            given_out = self._call_with_rows(rows.combine_chunks(), batch)
            metrics.all_updates_ms = round((time.perf_counter() - started) * 1000)
            started = time.perf_counter()
            given_out += self._call_timed_out(batch)
            metrics.all_removals_ms = round((time.perf_counter() - started) * 1000)
            return self._user.from_frames(given_out, self._schema)
        except Exception as problem:
            raise self._user.error(problem) from problem

    # ---- the calls

    def _call_with_rows(self, rows: pa.Table, batch: OperatorBatch) -> list[Any]:
        bounds = group_bounds(rows)
        width, keys_end = len(self._row_schema.fields), rows.num_columns - 1
        keys = rows.select(range(width, keys_end)).take(pa.array(bounds[:-1]))
        frames = self._user.frames(rows.select(range(width)), self._row_schema, bounds.tolist())
        return self._call(keys, self._store.find(keys), frames, batch, timed_out=False)

    def _call_timed_out(self, batch: OperatorBatch) -> list[Any]:
        """Calls for the keys whose timeout lies before now: before the watermark, or before the batch's time."""
        if not self._has_timeout:
            return []
        now = batch.eviction_watermark_ms if self._timeout == "EventTimeTimeout" else batch.batch_timestamp_ms
        slots = self._store.scan_expired((now or 0) - 1)
        frames = ([self._user.empty_frame(self._row_schema)] for _ in range(len(slots)))
        return self._call(self._store.gather_keys(slots), slots, frames, batch, timed_out=True)

    def _call(
        self, keys: pa.Table, slots: Ints, frames: Iterable[list[Any]], batch: OperatorBatch, *, timed_out: bool
    ) -> list[Any]:
        """One call a key; all that the functions gave out. State is read before and written after, all keys at once."""
        if not len(slots):
            return []
        values = self._user.values(self._store.gather(slots, [_STATE]).column(0), self._state_schema)
        key_tuples = self._user.pandas_keys(keys, self._key_schema)
        changes, given_out = _Changes(), []
        for position, (key, value, group) in enumerate(zip(key_tuples, values, frames, strict=True)):
            state = self._group_state(value, batch, timed_out=timed_out)
            results = self._function(key, group if timed_out else iter(group), state)
            given_out += self._user.checked_frames(results, self._schema)
            changes.take(position, state)
        self._apply(changes, keys, slots)
        return given_out

    def _group_state(self, value: Any, batch: OperatorBatch, *, timed_out: bool) -> Any:
        from pyspark.sql.streaming.state import GroupState

        return GroupState(
            optionalValue=value,
            batchProcessingTimeMs=batch.batch_timestamp_ms,
            eventTimeWatermarkMs=batch.eviction_watermark_ms or 0,
            timeoutConf=self._timeout,
            hasTimedOut=timed_out,
            watermarkPresent=self._event_time is not None,
            defined=value is not None,
            updated=False,
            removed=False,
            timeoutTimestamp=NO_TIMESTAMP,
            keyAsUnsafe=b"",
            valueSchema=self._state_schema,
        )

    def _apply(self, changes: _Changes, keys: pa.Table, slots: Ints) -> None:
        if changes.removed:
            gone = slots[changes.removed]
            self._store.remove(gone[gone >= 0])
        if changes.put:
            columns = [self._user.from_values(changes.values, self._state_schema)]
            if self._has_timeout:
                columns.append(pa.array(changes.timeouts, pa.int64()))
            put = np.array(changes.put)
            values = pa.Table.from_arrays(columns, names=self._store.value_schema.names)
            self._store.upsert(keys.take(pa.array(put)), values, slots[put])
        self.metrics.num_rows_updated += len(changes.put)
        self.metrics.num_rows_removed += len(changes.removed)

    # ---- the query's questions

    def wants_another_batch(self, batch: OperatorBatch, next_watermark_ms: int) -> bool:
        match self._timeout:
            case "ProcessingTimeTimeout":
                return True
            case "EventTimeTimeout":
                return next_watermark_ms > (batch.eviction_watermark_ms or 0)
            case _:
                return False

    def output_watermark_ms(self, input_ms: int) -> int | None:
        return None
