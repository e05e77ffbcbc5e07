"""Starts a query: from a resolved, checked plan and the writer's settings to a running thread.

What the user can get wrong in the call (trigger, sink, options, checkpoint) raises from here; what needs sources, state
or data fails the query instead, as in Spark.
"""

from __future__ import annotations

import dataclasses
import tempfile
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyspark.sql.types import StructField, StructType

from runnel.checkpoint.stream_metadata import StreamMetadata
from runnel.clock import Clock
from runnel.config import SessionConf
from runnel.errors import error
from runnel.execution.connection import Engine
from runnel.execution.file_reader import FileReader
from runnel.execution.prepared import PreparedFragment
from runnel.files import list_names, uri_to_path
from runnel.lowering.datatypes import arrow_schema
from runnel.lowering.expressions import LoweringOptions
from runnel.lowering.fragment import Fragment
from runnel.lowering.scan_columns import METADATA_COLUMN, METADATA_TYPE
from runnel.operators.base import RunFragment
from runnel.plan.relations import FileScan, Relation
from runnel.plan.schema import attributes_of
from runnel.plan.show import explain_text
from runnel.plan.write_spec import StreamWriteSpec
from runnel.runtime.batch import Batch, StageRunner, StageTools
from runnel.runtime.checkpointing import CheckpointSettings, QueryCheckpoint
from runnel.runtime.engine import EngineSettings, MicroBatchEngine, QueryIdentity, Reporting
from runnel.runtime.listeners import QueryStarted
from runnel.runtime.manager import StreamingQueryManager
from runnel.runtime.planner import plan_stream
from runnel.runtime.query import StreamingQuery
from runnel.runtime.stages import FragmentStage, ObserveStage, StreamPlan, describe
from runnel.runtime.trigger_checks import check_sources, check_trigger
from runnel.runtime.triggers import Schedule, schedule_of
from runnel.sinks.base import Sink, SinkContext
from runnel.sinks.memory import MemorySink
from runnel.sinks.registry import create_sink, sink_traits
from runnel.sources.base import Source, SourceContext
from runnel.sources.registry import create_source

_S = "spark.sql.streaming."


@dataclass(frozen=True, slots=True)
class QueryEnvironment:
    """What a query takes from the session that starts it."""

    conf: SessionConf
    """The query's own copy: what the session sets later does not reach it."""
    engine: Engine
    clock: Clock
    manager: StreamingQueryManager
    session: Any
    """The cloned session that foreachBatch and the memory sink work in."""
    collect: Callable[[Relation], pa.Table]
    """Runs a resolved batch plan."""
    default_parallelism: int
    left_behind: set[Path]
    """Temporary checkpoints of failed queries: kept to be looked at, until the application ends."""


@dataclass(frozen=True, slots=True)
class ResolvedCheckpoint:
    path: Path
    is_temporary: bool


def start_query(plan: Relation, spec: StreamWriteSpec, output_mode: str, env: QueryEnvironment) -> StreamingQuery:
    """A running query. `plan` is resolved, pruned and checked for `output_mode`."""
    conf = env.conf
    schedule = schedule_of(spec.trigger)
    name = spec.query_name or None
    options = {key.lower(): value for key, value in spec.options.items()}
    sink_format = (
        "foreachbatch" if spec.foreach_batch else "foreach" if spec.foreach_writer is not None else spec.format
    )
    sink_format = (sink_format or conf.get("spark.sql.sources.default")).lower()
    traits = sink_traits(sink_format)
    check_trigger(schedule, plan, output_mode, sink_format, conf.all())
    checkpoint_at = _checkpoint_location(options, name, conf, may_be_temporary=traits.may_use_temporary_checkpoint)
    lowering = LoweringOptions(session_time_zone=conf.time_zone, ansi=conf.ansi)
    stages = plan_stream(plan, output_mode, lowering)
    durable = not checkpoint_at.is_temporary
    if sink_format == "memory" and output_mode != "complete" and list_names(checkpoint_at.path / "offsets"):
        raise error("_LEGACY_ERROR_TEMP_1299", checkpointPath=checkpoint_at.path / "offsets")
    if checkpoint_at.is_temporary:
        env.left_behind.add(checkpoint_at.path)
    metadata = StreamMetadata.read_or_create(
        checkpoint_at.path, verify=conf.flag(_S + "checkpoint.verifyMetadataExists.enabled"), sync=durable
    )
    identity = QueryIdentity(metadata.id, str(uuid.uuid4()), name)
    sink = create_sink(
        sink_format,
        SinkContext(
            query_id=identity.id,
            run_id=identity.run_id,
            query_name=name,
            output_mode=output_mode,
            schema=stages.schema,
            options=dict(spec.options),
            path=spec.path or options.get("path"),
            partition_by=spec.partition_by,
            checkpoint=checkpoint_at.path,
            session_time_zone=conf.time_zone,
            conf=conf.all(),
            session=env.session,
        ),
        foreach_batch=spec.foreach_batch,
        foreach_writer=spec.foreach_writer,
    )
    run = _QueryRun(identity, plan, sink_format, stages, output_mode, sink, checkpoint_at, schedule, lowering, env)
    query = StreamingQuery(
        identity,
        run.make_engine,
        close=run.close,
        interrupt=run.interrupt,
        explain=run.explain,
        bus=env.manager.bus,
        wake=run.wake,
        stopping=run.stopping,
        remember=conf.number(_S + "numRecentProgressUpdates"),
        stop_timeout_ms=conf.duration_ms(_S + "stopTimeout"),
        on_end=env.manager.ended,
    )
    env.manager.register(query, stop_active_run=conf.flag(_S + "stopActiveRunOnRestart"))
    try:
        run.checkpoint.lock()
    except BaseException:
        env.manager.forget(query)
        run.close(None)
        raise
    if isinstance(sink, MemorySink):
        sink.publish()
    env.manager.bus.post(QueryStarted(identity.id, identity.run_id, name, env.clock.now_ms(), spec.job_tags))
    query.start()
    return query


def _check_provider(plan: StreamPlan, provider: str) -> None:
    """transformWithState asks for Spark's RocksDB provider, so that a program which runs here runs there."""
    if "RocksDB" not in provider and any(o.operator.name.startswith("transformWithState") for o in plan.operators):
        raise error("UNSUPPORTED_FEATURE.STORE_BACKEND_NOT_SUPPORTED_FOR_TWS", stateStoreProvider=provider)


def _checkpoint_location(
    options: dict[str, str], name: str | None, conf: SessionConf, *, may_be_temporary: bool
) -> ResolvedCheckpoint:
    """Spark's order: the option, the setting with the query's name below it, a temporary folder if the sink allows one."""
    given = options.get("checkpointlocation")
    if given:
        return ResolvedCheckpoint(Path(uri_to_path(given)).absolute(), False)
    root = conf.get_option(_S + "checkpointLocation")
    if root:
        return ResolvedCheckpoint(Path(uri_to_path(root)).absolute() / (name or str(uuid.uuid4())), False)
    if may_be_temporary:
        return ResolvedCheckpoint(Path(tempfile.mkdtemp(prefix="runnel-checkpoint-")), True)
    raise error("_LEGACY_ERROR_TEMP_1298")


def _with_metadata(schema: StructType) -> StructType:
    """A source's columns and behind them the hidden `_metadata` of files."""
    return StructType([*schema.fields, StructField(METADATA_COLUMN, METADATA_TYPE, False)])


class _QueryRun:
    """What one run of a query holds, made on the query's thread and let go of there."""

    def __init__(
        self,
        identity: QueryIdentity,
        logical: Relation,
        sink_format: str,
        stages: StreamPlan,
        output_mode: str,
        sink: Sink,
        checkpoint_at: ResolvedCheckpoint,
        schedule: Schedule,
        lowering: LoweringOptions,
        env: QueryEnvironment,
    ) -> None:
        conf = env.conf
        self.wake = threading.Event()
        self.stopping = threading.Event()
        self._identity = identity
        self._logical = logical
        self._sink_format = sink_format
        self._plan = stages
        self._output_mode = output_mode
        self._sink = sink
        self._is_temporary = checkpoint_at.is_temporary
        self._schedule = schedule
        self._lowering = lowering
        self._env = env
        self._sources: tuple[Source, ...] = ()
        self._statements: list[PreparedFragment] = []
        self._readers: dict[int, FileReader] = {}
        self.checkpoint = QueryCheckpoint(
            checkpoint_at.path,
            conf.all(),
            CheckpointSettings(
                retain=conf.number(_S + "minBatchesToRetain"),
                durable=not checkpoint_at.is_temporary,
                snapshot_every=conf.number(_S + "stateStore.minDeltasForSnapshot"),
                verify_empty=conf.flag(_S + "verifyCheckpointDirectoryEmptyOnStart"),
                check_state_schema=conf.flag(_S + "stateStore.stateSchemaCheck"),
                offset_log_version=conf.number(_S + "offsetLog.formatVersion"),
            ),
        )

    # ---- on the query's thread

    def make_engine(self, reporting: Reporting) -> MicroBatchEngine:
        env, plan, checkpoint = self._env, self._plan, self.checkpoint
        check_sources(self._schedule, self._logical, self._sink_format)
        checkpoint.read()
        _check_provider(plan, checkpoint.conf[_S + "stateStore.providerClass"])
        self._sources = self._create_sources()
        stores = checkpoint.bind_operators(plan.operators)
        for stage in plan.operators:
            stage.operator.open(stores[stage.operator_id], self._prepare)
        prepared: dict[int, RunFragment] = {
            number: self._prepare(stage.fragment)
            for number, stage in enumerate(plan.stages)
            if isinstance(stage, FragmentStage | ObserveStage)
        }
        tools = StageTools(
            prepared=prepared,
            run_static=env.collect,
            read=self._read,
            observed_row=lambda stage, table: dict(table.to_pylist()[0]),
        )
        conf = checkpoint.conf
        return MicroBatchEngine(
            identity=self._identity,
            plan=plan,
            sources=self._sources,
            sink=self._sink,
            runner=StageRunner(plan, tools, self._output_mode),
            checkpoint=checkpoint,
            schedule=self._schedule,
            settings=EngineSettings(
                no_data_batches=env.conf.flag(_S + "noDataMicroBatches.enabled"),
                polling_delay_ms=env.conf.duration_ms(_S + "pollingDelay"),
                idle_interval_ms=env.conf.duration_ms(_S + "noDataProgressEventInterval"),
                watermark_policy=conf[_S + "multipleWatermarkPolicy"],
                shuffle_partitions=int(conf["spark.sql.shuffle.partitions"]),
            ),
            clock=env.clock,
            wake=self.wake,
            stopping=self.stopping,
            reporting=reporting,
        )

    def _prepare(self, fragment: Fragment) -> RunFragment:
        statement = PreparedFragment(self._env.engine, fragment)
        self._statements.append(statement)
        return statement.run

    def _create_sources(self) -> tuple[Source, ...]:
        env = self._env
        return tuple(
            create_source(
                scan,
                SourceContext(
                    metadata_path=self.checkpoint.path / "sources" / (scan.source_name or str(number)),
                    clock=env.clock,
                    session_time_zone=env.conf.time_zone,
                    conf=env.conf.all(),
                    default_parallelism=env.default_parallelism,
                    wake=self.wake,
                ),
            )
            for number, scan in enumerate(self._plan.sources)
        )

    def _read(self, source: int, batch: Batch) -> pa.Table:
        """A source's rows of a batch: the columns that the plan reads, by position."""
        scan = self._plan.sources[source]
        columns = self._plan.source_columns[source]
        start, end = batch.starts[source], batch.ends[source]
        if end is None or start == end:
            return arrow_schema(_with_metadata(scan.schema)).empty_table().select(list(columns))
        found = self._sources[source].batch(start, end)
        if not isinstance(found, FileScan):
            return found.select(list(columns))
        every = attributes_of(_with_metadata(found.schema))
        hidden = len(found.schema.fields)
        wanted = dataclasses.replace(
            found, attributes=tuple(every[c] for c in columns), metadata_column=hidden in columns
        )
        reader = self._readers.get(source)
        if reader is None:
            reader = self._readers[source] = FileReader(self._env.engine, self._lowering)
        return reader.read(wanted)

    # ---- from any thread

    def _held(self) -> list[PreparedFragment | FileReader]:
        return [*self._statements, *self._readers.values()]

    def interrupt(self) -> None:
        for held in self._held():
            held.interrupt()

    def explain(self, extended: bool) -> str:
        """The stages in order, and with `extended` the plan and the statements."""
        lines = ["== Stages =="]
        for number, stage in enumerate(self._plan.stages):
            lines.append(f"{number}: {describe(stage)}")
            if extended and isinstance(stage, FragmentStage):
                lines.append(f"   {stage.fragment.sql}")
        logical = f"== Logical Plan ==\n{explain_text(self._logical)}\n\n" if extended else ""
        return logical + "\n".join(lines) + f"\n\nsink: {self._sink.description}"

    def close(self, failure: BaseException | None) -> None:
        """Stops sources and sink and lets go of the checkpoint; a temporary one goes unless the query failed."""
        for source in self._sources:
            source.stop()
        self._sink.stop()
        for held in self._held():
            held.close()
        keep = failure is not None and not self._env.conf.flag(_S + "forceDeleteTempCheckpointLocation")
        if self._is_temporary and not keep:
            self.checkpoint.close(delete=True)
            self._env.left_behind.discard(self.checkpoint.path)
        else:
            self.checkpoint.close()
