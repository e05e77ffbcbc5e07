"""transformWithState and transformWithStateInPandas: the user's StatefulProcessor over each group's new rows.

A batch: `init`; in batch 0 `handleInitialState` for each initial state; `handleInputRows` for each key with rows; then
`handleExpiredTimer` for each timer that is due, earliest first; values that outlived their time go; `close`. Timers
that are registered while timers are handled wait for the next batch. Rules: reference §7.8 (Spark's
TransformWithStateInPySparkExec).
"""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql.types import Row, StructField, StructType
from pyspark.util import PythonEvalType

from runnel.errors import error, unsupported
from runnel.lowering.datatypes import arrow_schema
from runnel.lowering.expressions import LoweringOptions
from runnel.lowering.fragment import Fragment
from runnel.lowering.relations import lower_grouped
from runnel.operators.base import OperatorBatch, OperatorMetrics, OperatorPlan, Prepare, RunFragment, StoreSpec
from runnel.operators.event_time import event_time_position, event_times, without_late
from runnel.operators.processor_handle import ProcessorHandle, make_variable
from runnel.operators.state_variables import Keys, Variable
from runnel.operators.timers import Timers
from runnel.operators.user_code import UserCode, group_bounds
from runnel.plan.expressions import to_attribute
from runnel.plan.relations import Relation, StageInput, TransformWithState
from runnel.plan.schema import schema_of
from runnel.plan.traverse import walk_relations
from runnel.state.store import KeyedStore

_PANDAS = (
    PythonEvalType.SQL_TRANSFORM_WITH_STATE_PANDAS_UDF,
    PythonEvalType.SQL_TRANSFORM_WITH_STATE_PANDAS_INIT_STATE_UDF,
)
_TIMERS = {"processingtime": "proc", "eventtime": "event"}


def plan_transform_with_state(node: TransformWithState, options: LoweringOptions, user_code: UserCode) -> OperatorPlan:
    """The operator of a resolved TransformWithState.

    The frame of initial states is read once, by the operator itself, where a statement can read it.
    """
    inputs = [lower_grouped(node.child, node.groupings, options)]
    initial: Fragment | None = None
    if node.initial is not None:
        initial = lower_grouped(node.initial, node.initial_groupings, options)
        if any(isinstance(below, StageInput) for below in walk_relations(node.initial)):
            inputs.append(initial)
            initial = None
    return OperatorPlan(tuple(inputs), TransformWithStateOperator(node, user_code, initial), node.output)


class _Groups:
    """A `lower_grouped` table taken apart: rows, the distinct keys, and where each group begins."""

    def __init__(self, table: pa.Table, child: Relation) -> None:
        table = table.combine_chunks()
        self.schema = schema_of(child.output)
        width = len(self.schema.fields)
        bounds = group_bounds(table)
        self.bounds: list[int] = bounds.tolist()
        self.rows = table.select(range(width))
        self.keys = table.select(range(width, table.num_columns - 1)).take(pa.array(bounds[:-1]))

    def __len__(self) -> int:
        return len(self.bounds) - 1


class TransformWithStateOperator:
    """Keeps each variable of the processor in a store of its own, and its timers in another."""

    def __init__(self, node: TransformWithState, user_code: UserCode, initial: Fragment | None) -> None:
        owner = getattr(node.function.func, "__self__", None)
        processor = getattr(owner, "_stateful_processor", None)
        if processor is None:
            raise unsupported("transformWithState with something else than a StatefulProcessor")
        self._processor = processor
        self._pandas = node.function.eval_type in _PANDAS
        self.name = "transformWithStateInPandasExec" if self._pandas else "transformWithStateInPySparkExec"
        self._node = node
        self._mode = node.time_mode
        self._user = user_code
        self._key_schema = schema_of(to_attribute(g) for g in node.groupings)
        self._input_event_time = event_time_position(node.child.output)
        self._output_event_time = event_time_position(node.output)
        self._initial = initial
        self._run_initial: RunFragment | None = None
        self.metrics = OperatorMetrics()

    # ---- what is kept

    @cached_property
    def _keys(self) -> Keys:
        fields = enumerate(self._key_schema.fields)
        physical = StructType([StructField(f"k{i}", f.dataType, True) for i, f in fields])
        return Keys(arrow_schema(physical), self._key_schema)

    @cached_property
    def _variables(self) -> dict[str, Variable]:
        """By name; found by calling `init` and `close` once, as Spark's driver does."""
        processor = copy.copy(self._processor)
        handle = self._handle(None, None)
        try:
            processor.init(handle)
            processor.close()
        except Exception as problem:
            raise self._user.error(problem) from problem
        return {name: make_variable(d, self._keys, self._user) for name, d in handle.declared.items()}

    @cached_property
    def _timers(self) -> Timers | None:
        kind = _TIMERS.get(self._mode)
        return None if kind is None else Timers(kind, self._keys)

    def _handle(self, variables: Mapping[str, Variable] | None, timers: Timers | None) -> ProcessorHandle:
        parse = self._node.parse_schema
        assert parse is not None, "analysis says how to read a schema"
        return ProcessorHandle(self._mode, parse, variables, timers)

    @property
    def stores(self) -> tuple[StoreSpec, ...]:
        specs = [spec for variable in self._variables.values() for spec in variable.stores]
        specs += self._timers.stores if self._timers else ()
        # Spark keeps all of them in one store
        return tuple(
            dataclasses.replace(spec, spark_stores=() if i else ("default",), may_be_added=True)
            for i, spec in enumerate(specs)
        )

    def open(self, stores: Mapping[str, KeyedStore], prepare: Prepare) -> None:
        for variable in self._variables.values():
            variable.open(stores)
        if self._timers:
            self._timers.open(stores)
        if self._initial is not None:
            self._run_initial = prepare(self._initial)

    # ---- a batch

    def process(self, inputs: Sequence[pa.Table], batch: OperatorBatch) -> pa.Table:
        metrics = self.metrics = OperatorMetrics()
        late_from = batch.late_watermark_ms if self._mode == "eventtime" else None
        rows, metrics.num_rows_dropped_by_watermark = without_late(inputs[0], self._input_event_time, late_from)
        custom = metrics.custom
        custom["initialStateProcessingTimeMs"] = 0
        for variable in self._variables.values():
            variable.updated = variable.removed = 0
        started = time.perf_counter()
        given_out: list[Any] = []
        try:
            processor = copy.copy(self._processor)
            handle = self._handle(self._variables, self._timers)
            processor.init(handle)
            handle.initialized()
            if batch.batch_id == 0 and self._node.initial is not None:
                table = self._run_initial([], batch.parameters) if self._run_initial else inputs[1]
                self._take_initial(processor, _Groups(table, self._node.initial), batch)
                custom["initialStateProcessingTimeMs"] = _ms_since(started)
            given_out += self._take_rows(processor, _Groups(rows, self._node.child), batch)
            metrics.all_updates_ms = _ms_since(started)
            started = time.perf_counter()
            given_out += self._take_timers(processor, batch)
            custom["timerProcessingTimeMs"] = _ms_since(started)
            expired = sum(v.expire(batch.batch_timestamp_ms) for v in self._variables.values())
            metrics.all_removals_ms = _ms_since(started)
            processor.close()
            table = (self._user.from_frames if self._pandas else self._user.from_rows)(given_out, self._node.schema)
        except Exception as problem:
            raise self._user.error(problem) from problem
        self._report(handle, expired)
        self._check_event_time(table, batch)
        return table

    def _begin(self, keys: pa.Table, batch: OperatorBatch) -> None:
        for variable in self._variables.values():
            variable.begin(keys, batch.batch_timestamp_ms)
        if self._timers:
            self._timers.begin(keys)

    def _select(self, position: int) -> None:
        for variable in self._variables.values():
            variable.select(position)
        if self._timers:
            self._timers.select(position)

    def _flush(self) -> None:
        for variable in self._variables.values():
            variable.flush()
        if self._timers:
            self._timers.flush()

    def _timer_values(self, batch: OperatorBatch) -> Any:
        from pyspark.sql.streaming.stateful_processor import TimerValues

        if self._mode == "none":
            return TimerValues(-1, -1)
        return TimerValues(batch.batch_timestamp_ms, batch.eviction_watermark_ms or 0)

    def _inputs(self, groups: _Groups) -> Iterator[list[Any]]:
        """For each group what the processor gets: DataFrames, or Rows."""
        if self._pandas:
            yield from self._user.frames(groups.rows, groups.schema, groups.bounds)
            return
        rows = self._user.rows(groups.rows, groups.schema)
        for start, end in zip(groups.bounds, groups.bounds[1:], strict=False):
            yield rows[start:end]

    def _key_tuples(self, keys: pa.Table) -> list[tuple[Any, ...]]:
        if not self._pandas:
            return self._user.plain_keys(keys, self._key_schema)
        found = self._user.pandas_keys(keys, self._key_schema)
        return [tuple(v.item() if isinstance(v, np.generic) else v for v in key) for key in found]

    def _take_initial(self, processor: Any, groups: _Groups, batch: OperatorBatch) -> None:
        self._begin(groups.keys, batch)
        keys = zip(self._key_tuples(groups.keys), self._inputs(groups), strict=True)
        for position, (key, states) in enumerate(keys):
            self._select(position)
            for state in states:
                processor.handleInitialState(key, state, self._timer_values(batch))
        self._flush()

    def _take_rows(self, processor: Any, groups: _Groups, batch: OperatorBatch) -> list[Any]:
        given_out: list[Any] = []
        self._begin(groups.keys, batch)
        keys = zip(self._key_tuples(groups.keys), self._inputs(groups), strict=True) if len(groups) else ()
        for position, (key, rows) in enumerate(keys):
            self._select(position)
            given_out += self._results(processor.handleInputRows(key, iter(rows), self._timer_values(batch)))
        self._flush()
        return given_out

    def _take_timers(self, processor: Any, batch: OperatorBatch) -> list[Any]:
        if self._timers is None:
            return []
        from pyspark.sql.streaming.stateful_processor import ExpiredTimerInfo

        now = batch.batch_timestamp_ms if self._mode == "processingtime" else batch.eviction_watermark_ms or 0
        keys, due = self._timers.due(now)
        self.metrics.custom["numExpiredTimers"] = len(due)
        if not due:
            return []
        columns = [self._user.values(keys.column(i), f.dataType) for i, f in enumerate(self._key_schema.fields)]
        make = Row(*self._key_schema.names)
        tuples = [make(*values) for values in zip(*columns, strict=True)]
        given_out: list[Any] = []
        self._begin(keys, batch)
        for position, timestamp in due:
            self._select(position)
            results = processor.handleExpiredTimer(
                key=tuples[position],
                timerValues=self._timer_values(batch),
                expiredTimerInfo=ExpiredTimerInfo(timestamp),
            )
            given_out += self._results(results)
            self._timers.delete(timestamp)
        self._flush()
        return given_out

    def _results(self, results: Iterable[Any]) -> list[Any]:
        return self._user.checked_frames(results, self._node.schema) if self._pandas else list(results)

    # ---- after it

    def _report(self, handle: ProcessorHandle, expired: int) -> None:
        metrics, variables = self.metrics, list(self._variables.values())
        metrics.num_rows_total = sum(v.num_rows for v in variables)
        metrics.num_rows_updated = sum(v.updated for v in variables)
        metrics.num_rows_removed = sum(v.removed for v in variables) + expired
        for kind in ("value", "list", "map"):
            declared = [v.definition for v in variables if v.definition.kind == kind]
            metrics.custom[f"num{kind.title()}StateVars"] = len(declared)
            metrics.custom[f"num{kind.title()}StateWithTTLVars"] = sum(d.ttl_ms is not None for d in declared)
        metrics.custom["numDeletedStateVars"] = len(handle.deleted)
        metrics.custom["numValuesRemovedDueToTTLExpiry"] = expired
        if self._timers:
            metrics.custom.update(self._timers.take_counts())

    def _check_event_time(self, table: pa.Table, batch: OperatorBatch) -> None:
        """Rows given out must not be late for the operators above."""
        if self._output_event_time is None or batch.late_watermark_ms is None or not table.num_rows:
            return
        earliest = pc.min(event_times(table.column(self._output_event_time))).as_py()
        if earliest is not None and earliest <= batch.late_watermark_ms * 1000:
            raise error(
                "EMITTING_ROWS_OLDER_THAN_WATERMARK_NOT_ALLOWED",
                currentWatermark=str(batch.late_watermark_ms),
                emittedRowEventTime=str(earliest),
            )

    def wants_another_batch(self, batch: OperatorBatch, next_watermark_ms: int) -> bool:
        if self._mode == "processingtime":
            return True
        return batch.output_mode != "complete" and next_watermark_ms > (batch.eviction_watermark_ms or 0)

    def output_watermark_ms(self, input_ms: int) -> int | None:
        return None if self._mode == "processingtime" else input_ms


def _ms_since(started: float) -> int:
    return round((time.perf_counter() - started) * 1000)
