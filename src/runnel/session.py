"""The composition root: one module that knows every room and wires them.

`Application` is what all sessions of a process share: engine threads, DuckDB, cached frames. `Session` is what a user
has: settings, views, functions and streaming queries. Fronts (Spark Connect, the CLI, tests) talk to sessions alone.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
from pyspark.sql.conversion import ArrowTableToRowsConversion
from pyspark.sql.types import DataType, Row, StringType, StructType

from runnel.analysis.context import SEARCH_PATH, AnalysisContext
from runnel.analysis.naming import CAST_FUNCTIONS
from runnel.analysis.pruning import prune
from runnel.analysis.rules import analyze
from runnel.analysis.streaming import check_batch, check_streaming
from runnel.clock import Clock, SystemClock
from runnel.config import SessionConf, is_jvm_only
from runnel.errors import AnalysisError, unsupported
from runnel.execution.arrow import for_client
from runnel.execution.connection import Engine
from runnel.execution.prepared import PreparedFragment
from runnel.execution.run import execute
from runnel.functions.catalogue import ENTRIES, lookup
from runnel.functions.registry import BindContext, Refused
from runnel.lowering.expressions import LoweringOptions
from runnel.lowering.relations import lower
from runnel.plan.expressions import (
    Expression,
    Literal,
    PythonFunction,
    UnresolvedFunction,
    UnresolvedStar,
    dtype_of,
)
from runnel.plan.relations import (
    CachedRelation,
    LocalData,
    NamedTable,
    ParseText,
    Project,
    Read,
    Relation,
    StageInput,
    StreamingScan,
    SubqueryAlias,
)
from runnel.plan.schema import attributes_of, schema_of
from runnel.plan.show import explain_text
from runnel.plan.traverse import map_relations
from runnel.plan.write_spec import StreamWriteSpec, WriteSpec
from runnel.runtime.manager import StreamingQueryManager
from runnel.runtime.query import StreamingQuery
from runnel.runtime.start import QueryEnvironment, start_query
from runnel.runtime.stateful_batch import with_states_run
from runnel.sinks.file_formats import RenderLines
from runnel.sinks.file_writer import write_files
from runnel.sources.file_listing import FILE_FORMATS, resolve_files
from runnel.sources.registry import source_schema
from runnel.sql import parse_schema, parse_type

log = logging.getLogger("runnel")

_MASTER = re.compile(r"local(?:\[\s*(\*|\d+)\s*(?:,\s*\d+\s*)?\])?")
_OUTPUT_MODES = ("append", "update", "complete")


def threads_of(master: str | None) -> int:
    """`local` is one thread, `local[n]` n, `local[*]` (and no master) as many as there are cores."""
    cores = os.cpu_count() or 1
    if master is None:
        return cores
    match = _MASTER.fullmatch(master.strip())
    if match is None:
        log.info("master %s is a cluster's: Runnel runs here, with %d threads", master, cores)
        return cores
    return 1 if "[" not in master else cores if match[1] == "*" else max(int(match[1]), 1)


@dataclass
class Application:
    """What the sessions of a process share."""

    engine: Engine
    master: str
    clock: Clock = field(default_factory=SystemClock)
    id: str = field(default_factory=lambda: f"local-{time.time_ns() // 1_000_000}")
    start_time_ms: int = field(default_factory=lambda: time.time_ns() // 1_000_000)
    global_views: dict[str, Callable[[], Relation]] = field(default_factory=dict)
    held: dict[str, Relation] = field(default_factory=dict)
    """Relations that the front refers to by id: foreachBatch frames, cached remote relations."""
    running: dict[str, StreamingQuery] = field(default_factory=dict)
    """The active queries of all sessions by id: a checkpoint is that of one of them."""
    temporary_folders: set[Path] = field(default_factory=set)
    """Removed at the end."""
    told: set[str] = field(default_factory=set)
    """JVM-only settings that were mentioned already."""

    @staticmethod
    def start(conf: Mapping[str, str], clock: Clock | None = None) -> Application:
        """Opens the engine with as many threads as `spark.master` says."""
        master = conf.get("spark.master", "local[*]")
        return Application(Engine(threads_of(master)), master, clock or SystemClock())

    @property
    def threads(self) -> int:
        return self.engine.threads

    def close(self) -> None:
        self.engine.close()
        while self.temporary_folders:
            shutil.rmtree(self.temporary_folders.pop(), ignore_errors=True)


class Session:
    """A user's session. Safe for use by several threads."""

    def __init__(self, application: Application, conf: SessionConf | None = None) -> None:
        self.application = application
        self.conf = conf or SessionConf()
        self.streams = StreamingQueryManager(application.running)
        self._views: dict[str, Callable[[], Relation]] = {}
        self._functions: dict[str, tuple[PythonFunction, DataType]] = {}
        self._cache: dict[int | str, _CachedFrame] = {}
        """Persisted frames by plan id, cached views by lower-case name."""
        self._lock = threading.RLock()

    # ------------------------------------------------------------------------------------------------ life, settings

    @staticmethod
    def create(conf: Mapping[str, str] | None = None, clock: Clock | None = None) -> Session:
        """A first session, with an application of its own."""
        given = dict(conf or {})
        session = Session(Application.start(given, clock))
        session.configure({**given, "spark.app.id": session.application.id})
        return session

    def configure(self, conf: Mapping[str, str]) -> None:
        """Takes the builder's settings: static ones too, and those that only a JVM needs, which are said to be unneeded."""
        for name, value in conf.items():
            if is_jvm_only(name) and name not in self.application.told:
                self.application.told.add(name)
                log.info("%s is not needed here: there is no JVM and no cluster", name)
            self.conf.force(name, value)

    def clone(self) -> Session:
        """A session that starts with this one's settings, views and functions and then goes its own way."""
        with self._lock:
            other = Session(self.application, self.conf.copy())
            other._views = dict(self._views)
            other._functions = dict(self._functions)
            other._cache = dict(self._cache)
            return other

    def new(self) -> Session:
        """A session with only the application in common (`spark.newSession()`)."""
        return Session(
            self.application, SessionConf({k: v for k, v in self.conf.all().items() if not self.conf.may_set(k)})
        )

    def stop(self) -> None:
        """Stops the session's queries. The application goes on."""
        self.streams.stop()

    @property
    def default_parallelism(self) -> int:
        return int(self.conf.get_option("spark.default.parallelism") or self.application.threads)

    # --------------------------------------------------------------------------------------------------- analysis

    def analyze(self, plan: Relation) -> Relation:
        """The resolved plan. Raises AnalysisError."""
        return analyze(self._with_cached(plan), self._context())

    def schema(self, plan: Relation) -> StructType:
        return schema_of(self.analyze(plan).output)

    def is_streaming(self, plan: Relation) -> bool:
        return self.analyze(plan).is_streaming

    def explain(self, plan: Relation, mode: str = "simple") -> str:
        """What `df.explain(mode)` prints: simple, extended, codegen, cost or formatted."""
        resolved = self.analyze(plan)
        physical = f"== Physical Plan ==\n{explain_text(prune(resolved))}\n"
        if mode != "extended":
            return physical
        types = ", ".join(f"{f.name}: {f.dataType.simpleString()}" for f in schema_of(resolved.output).fields)
        return (
            f"== Parsed Logical Plan ==\n{explain_text(plan)}\n\n"
            f"== Analyzed Logical Plan ==\n{types}\n{explain_text(resolved)}\n\n"
            f"== Optimized Logical Plan ==\n{explain_text(prune(resolved))}\n\n{physical}"
        )

    def _context(self) -> AnalysisContext:
        return AnalysisContext(
            bind=BindContext(
                ansi=self.conf.ansi,
                session_time_zone=self.conf.time_zone,
                case_sensitive=self.conf.case_sensitive,
                conf=self.conf.all(),
            ),
            resolve_table=self._resolve_table,
            resolve_read=self._resolve_read,
            resolve_cached=self.cached_relation,
            resolve_function=lambda name: self._functions.get(name.lower()),
            parse_type=parse_type,
            pivot_values=self._pivot_values,
            text_schema=self._text_schema,
        )

    def _resolve_read(self, read: Read) -> Relation:
        name = (read.format or self.conf.get("spark.sql.sources.default")).lower()
        schema = parse_schema(read.schema) if isinstance(read.schema, str) else read.schema
        if not read.streaming:
            if name not in FILE_FORMATS:
                raise AnalysisError("DATA_SOURCE_NOT_FOUND", {"provider": name})
            return resolve_files(name, read.paths, dict(read.options), schema, self.conf.all())
        found = source_schema(name, dict(read.options), schema, read.paths, self.conf.all())
        return StreamingScan(
            source_key=object() if read.plan_id is None else read.plan_id,
            format=name,
            schema=found,
            options=dict(read.options),
            paths=read.paths,
            attributes=attributes_of(found),
            source_name=read.source_name,
            plan_id=read.plan_id,
        )

    def _resolve_table(self, table: NamedTable) -> Relation:
        parts = tuple(part.lower() for part in table.parts)
        with self._lock:
            if len(parts) == 1:
                found = self._views.get(parts[0])
            elif parts[0] == "global_temp" and len(parts) == 2:
                found = self.application.global_views.get(parts[1])
            else:
                found = None
        if found is not None:
            return found()
        if len(parts) == 2 and parts[0] in FILE_FORMATS:
            return self._resolve_read(Read(format=parts[0], paths=(table.parts[1],), options=dict(table.options)))
        name = ".".join(f"`{part}`" for part in table.parts)
        raise AnalysisError("TABLE_OR_VIEW_NOT_FOUND", {"relationName": name, "searchPath": SEARCH_PATH})

    def _pivot_values(self, plan: Relation) -> tuple[Literal, ...]:
        values = self._execute(plan).column(0)
        dtype = dtype_of(plan.output[0])
        return tuple(Literal(v, dtype) for v in sorted(values.unique().to_pylist(), key=lambda v: (v is not None, v)))

    def _text_schema(self, node: ParseText, plan: Relation) -> StructType:
        raise unsupported("inferring a schema from a frame of strings", "Give the reader a schema.")

    # -------------------------------------------------------------------------------------------------- execution

    def collect(self, plan: Relation) -> pa.Table:
        """The rows of a batch plan, in physical Arrow types, columns by position."""
        return self.run_resolved(self.analyze(plan))

    def run_resolved(self, resolved: Relation) -> pa.Table:
        """The rows of a resolved batch plan. A streaming plan is refused, as Spark refuses actions on one."""
        check_batch(resolved)
        return self._execute(resolved)

    def _execute(self, resolved: Relation) -> pa.Table:
        if isinstance(resolved, LocalData):
            return resolved.table.rename_columns(resolved.schema.fieldNames())  # a batch's frame, collected as it is
        engine, options = self.application.engine, self._lowering()
        now_ms = self.application.clock.now_ms()
        plan = with_states_run(prune(resolved), engine, options, now_ms, lambda p: execute(p, engine, options))
        return execute(plan, engine, options)

    def _lowering(self) -> LoweringOptions:
        return LoweringOptions(session_time_zone=self.conf.time_zone, ansi=self.conf.ansi)

    def write(self, spec: WriteSpec) -> None:
        """A batch write (`df.write…save()`)."""
        name = (spec.format or self.conf.get("spark.sql.sources.default")).lower()
        resolved = self.analyze(spec.plan)
        if resolved.is_streaming:
            raise AnalysisError("CALL_ON_STREAMING_DATASET_UNSUPPORTED", {"methodName": "`write`"})
        if name == "noop":
            self.run_resolved(resolved)
            return
        if spec.table_name is not None:
            raise unsupported("saveAsTable and insertInto", "Write to a path with save().")
        write_files(
            lambda: self.run_resolved(resolved),
            schema_of(resolved.output),
            name,
            spec,
            self.conf.all(),
            self.conf.time_zone,
            self.line_renderer,
            self.default_parallelism,
        )

    def line_renderer(self, schema: StructType, name: str, options: Mapping[str, str]) -> RenderLines:
        """What turns rows of this schema into lines of JSON or CSV, as Spark writes them; prepared once."""
        given = tuple(Literal(text, StringType()) for pair in options.items() for text in pair)
        arguments: tuple[Expression, ...] = (UnresolvedFunction("struct", (UnresolvedStar(),)),)
        if given:
            arguments += (UnresolvedFunction("map", given),)
        rows = StageInput(index=0, attributes=attributes_of(schema))
        lines = Project(child=rows, expressions=(UnresolvedFunction(f"to_{name}", arguments),))
        statement = PreparedFragment(self.application.engine, lower(self.analyze(lines), self._lowering()))
        return lambda table: statement.run([table]).column(0)

    def rows_of(self, table: pa.Table, schema: StructType) -> list[Row]:
        """The rows as PySpark's Row objects, timestamps in the machine's own zone, as `collect()` gives them."""
        rows: list[Row] = ArrowTableToRowsConversion.convert(for_client(table, schema, self.conf.time_zone), schema)
        return rows

    def interrupt(self) -> None:
        """Breaks off the statements that are being executed."""
        self.application.engine.interrupt()

    # ------------------------------------------------------------------------------------------ views and functions

    def create_view(self, name: str, plan: Relation, *, replace_existing: bool, is_global: bool = False) -> None:
        """A temporary view. The plan is resolved now: what it names later does not change it."""
        resolved = self.analyze(plan)
        self.publish_view(name, lambda: resolved, replace_existing=replace_existing, is_global=is_global)

    def publish_view(
        self, name: str, relation: Callable[[], Relation], *, replace_existing: bool = True, is_global: bool = False
    ) -> None:
        """A view whose rows are asked for at each use (the memory sink's table)."""
        views = self.application.global_views if is_global else self._views
        with self._lock:
            if not is_global:
                self._cache.pop(name.lower(), None)
            if not replace_existing and name.lower() in views:
                raise AnalysisError("TEMP_TABLE_OR_VIEW_ALREADY_EXISTS", {"relationName": f"`{name}`"})
            views[name.lower()] = relation

    def drop_view(self, name: str, *, is_global: bool = False) -> bool:
        """Whether there was such a view."""
        views = self.application.global_views if is_global else self._views
        with self._lock:
            if not is_global:
                self._cache.pop(name.lower(), None)
            return views.pop(name.lower(), None) is not None

    def view_names(self) -> list[str]:
        with self._lock:
            return sorted(self._views)

    def function_exists(self, name: str) -> bool:
        """Whether SQL can call a function by this name: a built-in one or one that was registered."""
        return lookup(name) is not None or name in CAST_FUNCTIONS or name in self._functions

    def check_function(self, name: str) -> None:
        """Raises UNRESOLVED_ROUTINE where there is no such function."""
        if not self.function_exists(name):
            raise AnalysisError("UNRESOLVED_ROUTINE", {"routineName": f"`{name}`", "searchPath": SEARCH_PATH})

    def function_names(self) -> list[str]:
        """All names by which SQL can call a function, sorted."""
        with self._lock:
            known = (name for name, entry in ENTRIES.items() if not isinstance(entry, Refused))
            return sorted({*known, *CAST_FUNCTIONS, *self._functions})

    def register_function(self, name: str, function: PythonFunction, dtype: DataType) -> None:
        with self._lock:
            self._functions[name.lower()] = (function, dtype)

    # ------------------------------------------------------------------------------------- frames held by the session

    def hold_relation(self, relation: Relation, relation_id: str | None = None) -> str:
        """Keeps a relation under an id that `CachedRelation` names, for all sessions of the application."""
        key = relation_id or str(uuid.uuid4())
        self.application.held[key] = relation
        return key

    def cached_relation(self, relation_id: str) -> Relation:
        found = self.application.held.get(relation_id)
        if found is None:
            raise AnalysisError("CACHED_RELATION_NOT_FOUND", {"relationId": relation_id})
        return found

    def release_relation(self, relation_id: str) -> None:
        self.application.held.pop(relation_id, None)

    def local_relation(self, table: pa.Table, schema: StructType) -> LocalData:
        """A resolved relation over rows in memory (physical Arrow types)."""
        return LocalData(table=table, schema=schema, attributes=attributes_of(schema))

    def cache(self, plan: Relation, level: str = "MEMORY_AND_DISK_DESER") -> None:
        """`persist`: the frame's rows are computed at their first use and kept."""
        resolved = self.analyze(plan)
        if resolved.is_streaming:
            check_batch(resolved)
        key = _cache_key(plan)
        if key is not None:
            with self._lock:
                self._cache.setdefault(key, _CachedFrame(self, resolved, level))

    def uncache(self, plan: Relation) -> None:
        key = _cache_key(plan)
        if key is not None:
            with self._lock:
                self._cache.pop(key, None)

    def uncache_all(self) -> None:
        with self._lock:
            self._cache.clear()

    def storage_level(self, plan: Relation) -> str | None:
        """The level that a frame is cached at, None if it is not."""
        key = _cache_key(plan)
        found = None if key is None else self._cache.get(key)
        return found.level if found else None

    def _with_cached(self, plan: Relation) -> Relation:
        """The plan with cached frames in place of what made them."""
        if not self._cache:
            return plan

        def put(node: Relation) -> Relation:
            view = _cache_key(node) if isinstance(node, NamedTable) else None
            named = None if view is None else self._cache.get(view)
            if isinstance(view, str) and named is not None:
                return SubqueryAlias(child=named.relation(None), alias=view, plan_id=node.plan_id)
            found = None if node.plan_id is None else self._cache.get(node.plan_id)
            return found.relation(node.plan_id) if found else map_relations(node, put)

        return put(plan)

    # -------------------------------------------------------------------------------------------------- streaming

    def start_stream(self, spec: StreamWriteSpec) -> StreamingQuery:
        """A running query. Raises what Spark's `start()` raises."""
        mode = spec.output_mode.lower()
        if mode not in _OUTPUT_MODES:
            raise AnalysisError("STREAMING_OUTPUT_MODE.INVALID", {"outputMode": spec.output_mode})
        if spec.table_name is not None:
            raise unsupported("writeStream.toTable", "Write to a path with start().")
        resolved = self.analyze(spec.plan)
        if not resolved.is_streaming:
            raise AnalysisError("WRITE_STREAM_NOT_ALLOWED")
        conf = self.conf.copy()
        if conf.flag("spark.sql.streaming.unsupportedOperationCheck"):
            check_streaming(resolved, mode, conf.all())
        env = QueryEnvironment(
            conf=conf,
            engine=self.application.engine,
            clock=self.application.clock,
            manager=self.streams,
            session=self,
            collect=self.run_resolved,
            default_parallelism=self.default_parallelism,
            left_behind=self.application.temporary_folders,
        )
        return start_query(prune(resolved), spec, mode, env)


def _cache_key(plan: Relation) -> int | str | None:
    """What a frame is cached under: a view's name, else the plan id."""
    if isinstance(plan, NamedTable) and len(plan.parts) == 1 and not plan.streaming:
        return plan.parts[0].lower()
    return plan.plan_id


class _CachedFrame:
    """A frame that the user persisted: run once, when first used."""

    def __init__(self, session: Session, resolved: Relation, level: str) -> None:
        self.level = level
        self._session = session
        self._resolved = resolved
        self._lock = threading.Lock()
        self._data: LocalData | None = None

    def relation(self, plan_id: int | None) -> Relation:
        with self._lock:
            if self._data is None:
                if any(isinstance(n, LocalData | CachedRelation) for n in [self._resolved]):
                    return self._resolved
                table = self._session.run_resolved(self._resolved)
                self._data = self._session.local_relation(table, schema_of(self._resolved.output))
            return replace(self._data, plan_id=plan_id)


@contextmanager
def session(**conf: str) -> Iterator[Session]:
    """A session with an application of its own, stopped and closed at the end; for tests and tools."""
    made = Session.create({name.replace("__", "."): value for name, value in conf.items()})
    try:
        yield made
    finally:
        made.stop()
        made.application.close()
