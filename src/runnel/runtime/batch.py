"""One micro-batch as a value, and the stages of a plan run over it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from runnel.errors import AnalysisError
from runnel.operators.base import OperatorBatch, RunFragment
from runnel.plan.relations import Relation
from runnel.runtime.stages import (
    FragmentStage,
    ObserveStage,
    OperatorStage,
    PythonFunctionStage,
    SourceStage,
    StaticStage,
    StreamPlan,
    WatermarkStage,
    inputs_of,
)
from runnel.runtime.watermark import EventTimeStats


@dataclass(frozen=True, slots=True)
class Batch:
    """What a batch is: decided and logged before any data is touched.

    `starts` and `ends` are the sources' offsets (None: no position yet). `watermark_ms` is the global watermark that
    this batch evicts by, `previous_watermark_ms` the one it judges lateness by.
    """

    id: int
    starts: tuple[str | None, ...]
    ends: tuple[str | None, ...]
    watermark_ms: int
    previous_watermark_ms: int
    timestamp_ms: int
    has_new_data: bool = True
    is_rerun: bool = False

    def successor(
        self, ends: tuple[str | None, ...], watermark_ms: int, timestamp_ms: int, *, has_new_data: bool
    ) -> Batch:
        """The batch that follows this one."""
        return Batch(self.id + 1, self.ends, ends, watermark_ms, self.watermark_ms, timestamp_ms, has_new_data)


@dataclass(slots=True)
class BatchOutcome:
    """What running a batch's stages gave, besides its rows."""

    table: pa.Table
    rows_read: list[int]
    """Rows that came out of each source, counted once a read."""
    event_times: tuple[EventTimeStats, ...]
    operator_batches: dict[int, OperatorBatch]
    """By operator id: what each operator was told, kept to ask it for another batch."""
    observed: dict[str, dict[str, object]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StageTools:
    """What running stages needs from the outside: everything that touches DuckDB or user code."""

    prepared: Mapping[int, RunFragment]
    """By stage number: the prepared statements of fragment and observe stages."""
    run_static: Callable[[Relation], pa.Table]
    read: Callable[[int, Batch], pa.Table]
    """(source number, batch) -> the batch's rows, the columns of `StreamPlan.source_columns` in that order."""
    observed_row: Callable[[ObserveStage, pa.Table], dict[str, object]]


def watermarks_by_stage(plan: StreamPlan, global_ms: int) -> list[int | None]:
    """The watermark of each stage's output at a global watermark: Spark's propagation through chains of operators.

    While the global value is 0 every stage below a watermark node is at 0. A watermark node above another is refused
    once the value has left 0 (AnalysisError _LEGACY_ERROR_TEMP_3076), not before, as in Spark.
    """
    out: list[int | None] = []
    for stage in plan.stages:
        below = [w for w in (out[i] for i in inputs_of(stage)) if w is not None]
        if isinstance(stage, WatermarkStage):
            if below and global_ms > 0:
                raise AnalysisError(
                    "_LEGACY_ERROR_TEMP_3076", config="spark.sql.streaming.statefulOperator.allowMultiple"
                )
            out.append(global_ms)
        elif not below:
            out.append(None)
        elif isinstance(stage, OperatorStage) and global_ms > 0:
            out.append(stage.operator.output_watermark_ms(min(below)))
        else:
            out.append(min(below))
    return out


def operator_input_watermarks(plan: StreamPlan, global_ms: int) -> dict[int, int | None]:
    """By operator id: the watermark that reaches it at a global watermark; None without a watermark node below."""
    out = watermarks_by_stage(plan, global_ms)
    reached = {}
    for stage in plan.operators:
        below = [w for w in (out[i] for i in stage.inputs) if w is not None]
        reached[stage.operator_id] = min(below) if below else None
    return reached


class StageRunner:
    """Runs a plan's stages over one batch after another."""

    def __init__(self, plan: StreamPlan, tools: StageTools, output_mode: str) -> None:
        self._plan = plan
        self._tools = tools
        self._mode = output_mode
        self._last_use = _last_uses(plan)
        self._positions = [{column: at for at, column in enumerate(columns)} for columns in plan.source_columns]

    def run(self, batch: Batch, watch: Stopwatch) -> BatchOutcome:
        """The batch's rows. Operators have staged their changes when it returns; nothing is committed."""
        plan, tools = self._plan, self._tools
        late = operator_input_watermarks(plan, batch.previous_watermark_ms)
        evict = operator_input_watermarks(plan, batch.watermark_ms)
        parameters = {"batch_timestamp_us": batch.timestamp_ms * 1000, "batch_id": batch.id}
        outcome = BatchOutcome(pa.table({}), [0] * len(plan.sources), (), {})
        event_times = [EventTimeStats()] * len(plan.watermarks)
        tables: list[pa.Table | None] = [None] * len(plan.stages)
        read: dict[int, pa.Table] = {}
        for number, stage in enumerate(plan.stages):
            inputs = [_made(tables[i]) for i in inputs_of(stage)]
            match stage:
                case SourceStage(source=source, columns=columns):
                    if source not in read:
                        with watch.time("getBatch"):
                            read[source] = tools.read(source, batch)
                    at = self._positions[source]
                    table = _select(read[source], [at[c] for c in columns])
                    outcome.rows_read[source] += table.num_rows
                case FragmentStage():
                    table = tools.prepared[number](inputs, parameters)
                case WatermarkStage(node=node, column=column):
                    table = inputs[0]
                    event_times[node] = EventTimeStats.of(table.column(column))
                case OperatorStage(operator=operator, operator_id=operator_id):
                    told = OperatorBatch(
                        batch.id, batch.timestamp_ms, self._mode, late[operator_id], evict[operator_id], parameters
                    )
                    outcome.operator_batches[operator_id] = told
                    table = operator.process(inputs, told)
                case PythonFunctionStage(apply=apply):
                    table = apply(inputs[0])
                case ObserveStage(name=name):
                    table = inputs[0]
                    row = tools.prepared[number](inputs, parameters)
                    outcome.observed[name] = tools.observed_row(stage, row)
                case StaticStage(plan=static):
                    table = tools.run_static(static)
            tables[number] = table
            for done in self._last_use.get(number, ()):
                tables[done] = None
        outcome.table = _made(tables[-1])
        outcome.event_times = tuple(event_times)
        return outcome


def _made(table: pa.Table | None) -> pa.Table:
    assert table is not None, "a stage reads what is made before it and not yet dropped"
    return table


def _select(table: pa.Table, positions: Sequence[int]) -> pa.Table:
    if list(positions) == list(range(table.num_columns)):
        return table
    return table.select(list(positions))


def _last_uses(plan: StreamPlan) -> dict[int, tuple[int, ...]]:
    """By stage number: the earlier stages whose tables nobody reads after it."""
    last: dict[int, int] = {}
    for number, stage in enumerate(plan.stages):
        for used in inputs_of(stage):
            last[used] = number
    ends: dict[int, tuple[int, ...]] = {}
    for used, number in last.items():
        ends[number] = (*ends.get(number, ()), used)
    return ends


class Stopwatch:
    """Milliseconds by name, for `durationMs`."""

    def __init__(self) -> None:
        self.ms: dict[str, float] = {}

    def time(self, name: str) -> _Timing:
        return _Timing(self, name)

    def rounded(self) -> dict[str, int]:
        return {name: round(value) for name, value in self.ms.items()}


class _Timing:
    def __init__(self, watch: Stopwatch, name: str) -> None:
        self._watch = watch
        self._name = name
        self._start = 0.0

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        spent = (time.perf_counter() - self._start) * 1000
        self._watch.ms[self._name] = self._watch.ms.get(self._name, 0.0) + spent


__all__ = [
    "Batch",
    "BatchOutcome",
    "StageRunner",
    "StageTools",
    "Stopwatch",
    "operator_input_watermarks",
]
