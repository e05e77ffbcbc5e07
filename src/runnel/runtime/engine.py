"""The micro-batch engine: Spark's protocol over one query's plan, sources, sink and checkpoint.

One trigger, in Spark's order (`MicroBatchExecution`):

1. ask each source for its latest offset, within its rate limits;
2. decide whether to run: new data, or a stateful operator that wants a batch at the watermark that has moved since;
3. write `offsets/N` while reading (start, end] of each source and running the stages; operators stage their state as
   version N+1. Nothing leaves the process before the offsets are durable;
4. tell the sources that batch N-1 is done for good;
5. hand the rows to the sink with batch id N, while the state of version N+1 is made durable: without a commit it is
   replaced when N is run again;
6. advance the watermark; write `commits/N`; publish progress.

A failure anywhere ends the query; what was staged is dropped with it, and the next start reruns N with what `offsets/N`
says.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from runnel.clock import Clock
from runnel.operators.base import OperatorBatch, OperatorMetrics
from runnel.runtime.batch import Batch, BatchOutcome, StageRunner, Stopwatch, operator_input_watermarks
from runnel.runtime.checkpointing import QueryCheckpoint
from runnel.runtime.progress import OperatorProgress, ProgressReport, SourceProgress
from runnel.runtime.stages import StreamPlan
from runnel.runtime.triggers import Schedule
from runnel.runtime.watermark import EventTimeStats, WatermarkTracker
from runnel.sinks.base import BatchRows, Sink
from runnel.sources.base import Source

log = logging.getLogger("runnel.query")


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """The settings that the loop itself goes by, read once at start."""

    no_data_batches: bool
    polling_delay_ms: int
    idle_interval_ms: int
    watermark_policy: str
    shuffle_partitions: int


@dataclass(frozen=True, slots=True)
class QueryIdentity:
    id: str
    run_id: str
    name: str | None


@dataclass(frozen=True, slots=True)
class Reporting:
    """Where the engine reports to. All are called from the query's thread."""

    progress: Callable[[ProgressReport, bool], None]
    """(report, whether a batch was executed)"""
    idle: Callable[[int], None]
    status: Callable[[str, bool, bool], None]
    """(message, is data available, is trigger active)"""
    begun: Callable[[], None]
    """A trigger begins: what was there before this call, it sees."""
    caught_up: Callable[[], None]
    """The trigger that began last found nothing to do."""


class MicroBatchEngine:
    """Runs triggers until told to stop. Everything happens on the thread that calls `run`."""

    def __init__(
        self,
        *,
        identity: QueryIdentity,
        plan: StreamPlan,
        sources: tuple[Source, ...],
        sink: Sink,
        runner: StageRunner,
        checkpoint: QueryCheckpoint,
        schedule: Schedule,
        settings: EngineSettings,
        clock: Clock,
        wake: threading.Event,
        stopping: threading.Event,
        reporting: Reporting,
    ) -> None:
        self._identity = identity
        self._plan = plan
        self._sources = sources
        self._sink = sink
        self._runner = runner
        self._checkpoint = checkpoint
        self._schedule = schedule
        self._settings = settings
        self._clock = clock
        self._wake = wake
        self._stopping = stopping
        self._report = reporting
        self._last: Batch | None = None
        self._pending: Batch | None = None
        self._executed_here: dict[int, OperatorBatch] | None = None
        self._last_trigger_ms: int | None = None
        self._last_report_ms: int | None = None
        self._limited = not schedule.single_batch
        self._tracker = WatermarkTracker(())

    # ------------------------------------------------------------------------------------------------- the loop

    def run(self) -> None:
        """Recovers, then triggers until stopped, or, for `once` and `availableNow`, until done."""
        self._report.status("Initializing sources", False, False)
        self._recover()
        if self._schedule.kind == "available_now":
            self._freeze_ends()
        while not self._stopping.is_set():
            self._wake.clear()
            self._report.begun()
            ran = self._trigger()
            if self._schedule.single_batch or self._stopping.is_set():
                return
            if not ran:
                if self._schedule.bounded:
                    return
                self._report.caught_up()
                self._wait_for_data()

    def _freeze_ends(self) -> None:
        if all(source.supports_available_now for source in self._sources):
            for source in self._sources:
                source.prepare_for_available_now()
        else:
            self._limited = False
            self._schedule = Schedule("once")

    def _wait_for_data(self) -> None:
        """Sleeps until a source announces data, the polling delay is over, or the query is due to say it is idle."""
        if self._schedule.interval_ms and self._schedule.kind == "processing_time":
            return
        timeout_ms = self._settings.idle_interval_ms
        if not all(source.announces for source in self._sources):
            timeout_ms = min(timeout_ms, self._settings.polling_delay_ms)
        if not self._stopping.is_set():
            self._clock.wait(self._wake, timeout_ms / 1000)

    def _wait_for_trigger(self) -> bool:
        """Holds a processing-time trigger back until it is due; False if the query stops meanwhile."""
        if self._schedule.kind != "processing_time" or not self._schedule.interval_ms or self._last_trigger_ms is None:
            return True
        due = self._schedule.next_trigger_ms(self._last_trigger_ms)
        now = self._clock.now_ms()
        if now > due:
            log.warning(
                "a batch of query %s took %d ms, longer than its trigger's %d ms",
                self._identity.id,
                now - self._last_trigger_ms,
                self._schedule.interval_ms,
            )
        while now < due:
            self._report.status("Waiting for next trigger", False, False)
            self._clock.wait(self._stopping, (due - now) / 1000)
            if self._stopping.is_set():
                return False
            now = self._clock.now_ms()
        return True

    # ------------------------------------------------------------------------------------------------- recovery

    def _recover(self) -> None:
        recovered = self._checkpoint.recover(len(self._sources))
        delays = tuple(stage.delay_ms for stage in self._plan.watermarks)
        self._tracker = WatermarkTracker(delays, self._settings.watermark_policy, recovered.watermark_ms)
        self._last = recovered.committed
        self._pending = recovered.pending
        version = (
            recovered.pending.id if recovered.pending else recovered.committed.id + 1 if recovered.committed else 0
        )
        self._checkpoint.load_state(version)

    # ------------------------------------------------------------------------------------------------ a trigger

    def _trigger(self) -> bool:
        """One trigger; whether it executed a batch."""
        if not self._wait_for_trigger():
            return False
        started_ms = self._clock.now_ms()
        started = self._clock.monotonic()
        watch = Stopwatch()
        batch = self._pending or self._next_batch(started_ms, watch)
        previous_start, self._last_trigger_ms = self._last_trigger_ms, started_ms
        if batch is None:
            self._report.status("Waiting for data to arrive", False, False)
            self._report_idle(started_ms, started, watch)
            return False
        self._report.status(
            "Processing new data" if batch.has_new_data else "No new data but cleaning up state", True, True
        )
        outcome, output_rows = self._execute(batch, watch)
        self._pending = None
        self._last = batch
        self._executed_here = outcome.operator_batches
        now = self._clock.now_ms()
        self._last_report_ms = now
        took_s = max(self._clock.monotonic() - started, 1e-9)
        since_s = None if previous_start is None else max(started_ms - previous_start, 1) / 1000
        watch.ms["triggerExecution"] = took_s * 1000
        self._report.status("Waiting for next trigger", False, False)
        self._report.progress(self._progress(batch, outcome, watch, started_ms, took_s, since_s, output_rows), True)
        return True

    def _next_batch(self, now_ms: int, watch: Stopwatch) -> Batch | None:
        """The batch that is due now, if any: for new data, or for state that the watermark has passed."""
        last = self._last
        starts = last.ends if last else (None,) * len(self._sources)
        ends: list[str | None] = []
        with watch.time("latestOffset"):
            for source, start in zip(self._sources, starts, strict=True):
                self._report.status(f"Getting offsets from {source.description}", False, True)
                position = start if start is not None else source.initial_offset()
                latest = source.latest_offset(position, limited=self._limited)
                ends.append(start if latest is None else latest)
        has_new = any(end is not None and end != start for start, end in zip(starts, ends, strict=True))
        if not has_new and not self._state_wants_batch():
            return None
        watermark = self._tracker.current_ms
        if last is None:
            return Batch(0, starts, tuple(ends), watermark, 0, now_ms, has_new)
        return last.successor(tuple(ends), watermark, now_ms, has_new_data=has_new)

    def _state_wants_batch(self) -> bool:
        if not self._settings.no_data_batches or self._executed_here is None or self._schedule.single_batch:
            return False
        upcoming = operator_input_watermarks(self._plan, self._tracker.current_ms)
        for stage in self._plan.operators:
            told = self._executed_here[stage.operator_id]
            if stage.operator.wants_another_batch(told, upcoming[stage.operator_id] or 0):
                return True
        return False

    def _execute(self, batch: Batch, watch: Stopwatch) -> tuple[BatchOutcome, int | None]:
        checkpoint = self._checkpoint
        logged = None if batch.is_rerun else checkpoint.begin_offsets(batch)
        with watch.time("addBatch"):
            outcome = self._runner.run(batch, watch)
        with watch.time("walCommit"):
            if logged is not None:
                logged.result()
            if self._last is not None:
                for source, end in zip(self._sources, self._last.ends, strict=True):
                    if end is not None:
                        source.commit(end)
        stored = checkpoint.begin_state(batch.id + 1)
        with watch.time("addBatch"):
            rows = BatchRows(self._plan.schema, lambda: outcome.table)
            output_rows = self._sink.add_batch(batch.id, rows)
        watch.ms["addBatch"] -= watch.ms.get("getBatch", 0.0)
        watch.ms["queryPlanning"] = 0.0  # statements are prepared once, when the query starts
        with watch.time("commitOffsets"):
            stored.result()
            watermark = self._tracker.advance(outcome.event_times)
            checkpoint.write_commit(batch.id, watermark)
        return outcome, output_rows

    # ------------------------------------------------------------------------------------------------- reporting

    def _report_idle(self, now_ms: int, started: float, watch: Stopwatch) -> None:
        """An entry for a trigger without a batch: the first of a run, then one every idle interval."""
        first = self._last_report_ms is None
        if self._last_report_ms is not None and now_ms - self._last_report_ms < self._settings.idle_interval_ms:
            return
        self._last_report_ms = now_ms
        took_s = max(self._clock.monotonic() - started, 1e-9)
        watch.ms["triggerExecution"] = took_s * 1000
        last = self._last
        ends = last.ends if last else (None,) * len(self._sources)
        following = Batch(
            last.id + 1 if last else 0, ends, ends, self._tracker.current_ms, 0, now_ms, has_new_data=False
        )
        report = self._progress(following, None, watch, now_ms, took_s, None, None)
        self._report.progress(report, False)
        if not first:
            self._report.idle(now_ms)

    def _progress(
        self,
        batch: Batch,
        outcome: BatchOutcome | None,
        watch: Stopwatch,
        started_ms: int,
        took_s: float,
        since_s: float | None,
        output_rows: int | None,
    ) -> ProgressReport:
        rows_read = outcome.rows_read if outcome else [0] * len(self._sources)
        sources = tuple(
            SourceProgress(
                source.description,
                start,
                end,
                source.reported_latest(),
                rows,
                rows / since_s if since_s else 0.0,
                rows / took_s if outcome else 0.0,
                {name: str(value) for name, value in source.metrics().items()},
            )
            for source, start, end, rows in zip(self._sources, batch.starts, batch.ends, rows_read, strict=True)
        )
        seen = next((e for e in outcome.event_times if e.count), EventTimeStats()) if outcome else None
        return ProgressReport(
            id=self._identity.id,
            run_id=self._identity.run_id,
            name=self._identity.name,
            timestamp_ms=started_ms,
            batch_id=batch.id,
            batch_duration_ms=round(took_s * 1000),
            durations_ms=watch.rounded(),
            watermark_ms=batch.watermark_ms if self._plan.watermarks and (outcome or self._executed_here) else None,
            event_time=seen,
            operators=self._operator_progress(executed=outcome is not None),
            sources=sources,
            sink_description=self._sink.description,
            num_output_rows=-1 if output_rows is None else output_rows,
            observed=outcome.observed if outcome else {},
        )

    def _operator_progress(self, *, executed: bool) -> tuple[OperatorProgress, ...]:
        """Figures by operator id; in a trigger without a batch only what is held, as Spark zeroes the rest."""
        if self._executed_here is None and not executed:
            return ()
        held: Mapping[int, OperatorMetrics] = self._checkpoint.state_metrics()
        partitions = self._settings.shuffle_partitions
        found = []
        for stage in self._plan.operators:
            total = held[stage.operator_id]
            last = stage.operator.metrics
            done = last if executed else OperatorMetrics(num_rows_total=last.num_rows_total)
            metrics = OperatorMetrics(
                num_rows_total=total.num_rows_total if done.num_rows_total is None else done.num_rows_total,
                num_rows_updated=done.num_rows_updated,
                num_rows_removed=done.num_rows_removed,
                num_rows_dropped_by_watermark=done.num_rows_dropped_by_watermark,
                memory_used_bytes=total.memory_used_bytes,
                all_updates_ms=done.all_updates_ms,
                all_removals_ms=done.all_removals_ms,
                commit_ms=total.commit_ms if executed else 0,
                custom=dict(done.custom),
            )
            # without keys everything is in one partition
            stores = sum(
                len(spec.spark_store_names) * (partitions if spec.key_schema.names else 1)
                for spec in stage.operator.stores
            )
            found.append(OperatorProgress(stage.operator.name, metrics, partitions, stores))
        return tuple(found)
