"""A session that records what it is asked and answers from memory, for tests of the front by itself."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pyarrow as pa
from pyspark.sql.types import LongType, StringType, StructField, StructType

from runnel.config import SessionConf
from runnel.errors import AnalysisError
from runnel.plan.relations import CachedRelation, Limit, LocalData, NamedTable, Range, Relation
from runnel.plan.schema import attributes_of
from runnel.plan.traverse import walk_relations
from runnel.runtime.listeners import ListenerBus


class FakeStreams:
    def __init__(self) -> None:
        self.bus = ListenerBus()
        self.queries: list[Any] = []

    def active(self) -> list[Any]:
        return [q for q in self.queries if q.is_active]

    def get(self, query_id: str) -> Any:
        return next((q for q in self.active() if q.id == query_id), None)

    def find(self, query_id: str, run_id: str) -> Any:
        return next((q for q in self.queries if (q.id, q.run_id) == (query_id, run_id)), None)

    def await_any_termination(self, timeout_s: float | None) -> bool:
        return True

    def reset_terminated(self) -> None:
        pass

    def add_listener(self, listener: Any) -> None:
        self.bus.add(listener)

    def remove_listener(self, listener: Any) -> None:
        self.bus.remove(listener)

    def stop(self) -> None:
        self.bus.stop()


class FakeSession:
    """Answers ranges and local data; any other plan is answered by its first leaf's rows."""

    def __init__(self, conf: dict[str, str] | None = None) -> None:
        self.conf = SessionConf({"spark.sql.session.timeZone": "UTC", **(conf or {})})
        self.streams = FakeStreams()
        self.plans: list[Relation] = []
        self.written: list[Any] = []
        self.started: list[Any] = []
        self.views: dict[str, Relation] = {}
        self.held: dict[str, Relation] = {}
        self.functions: dict[str, Any] = {}
        self.cached: set[int] = set()
        self.stopped = False
        self.default_parallelism = 2
        self.application = SimpleNamespace(
            id="local-1",
            master="local[2]",
            start_time_ms=7,
            close=lambda: None,
            clock=SimpleNamespace(now_ms=lambda: 0),
        )

    def clone(self) -> FakeSession:
        other = FakeSession(self.conf.all())
        other.views, other.held = dict(self.views), self.held
        return other

    def new(self) -> FakeSession:
        return FakeSession()

    def analyze(self, plan: Relation) -> Relation:
        self.plans.append(plan)
        leaf = list(walk_relations(plan))[-1]
        while isinstance(leaf, CachedRelation | NamedTable):
            if isinstance(leaf, CachedRelation):
                leaf = self.held[leaf.relation_id]
            elif leaf.parts[0] not in self.views:
                raise AnalysisError("TABLE_OR_VIEW_NOT_FOUND", relationName=f"`{leaf.parts[0]}`")
            else:
                leaf = self.views[leaf.parts[0]]
        if isinstance(leaf, Range):
            schema = StructType([StructField("id", LongType(), False)])
            rows = pa.table({"id": pa.array(range(leaf.start, leaf.end, leaf.step), pa.int64())})
            leaf = LocalData(table=rows, schema=schema)
        if not isinstance(leaf, LocalData):
            leaf = LocalData(
                table=pa.table({"x": pa.array([], pa.string())}), schema=StructType().add("x", StringType())
            )
        table = leaf.table
        if isinstance(plan, Limit):
            table = table.slice(0, plan.count)
        return LocalData(table=table, schema=leaf.schema, attributes=attributes_of(leaf.schema))

    def run_resolved(self, resolved: Relation) -> pa.Table:
        assert isinstance(resolved, LocalData)
        return resolved.table

    def schema(self, plan: Relation) -> StructType:
        resolved = self.analyze(plan)
        assert isinstance(resolved, LocalData)
        return resolved.schema

    def explain(self, plan: Relation, mode: str) -> str:
        return f"{mode} {type(plan).__name__}"

    def create_view(self, name: str, plan: Relation, *, replace_existing: bool, is_global: bool) -> None:
        self.views[name] = plan

    def drop_view(self, name: str, *, is_global: bool = False) -> bool:
        return self.views.pop(name, None) is not None

    def view_names(self) -> list[str]:
        return sorted(self.views)

    def write(self, spec: Any) -> None:
        self.written.append(spec)

    def start_stream(self, spec: Any) -> Any:
        self.started.append(spec)
        query = SimpleNamespace(
            id="6fd3b2a0-7c0a-4b6e-9d0e-000000000001",
            run_id="6fd3b2a0-7c0a-4b6e-9d0e-000000000002",
            name=spec.query_name,
            is_active=True,
            error=None,
            status=lambda: {"message": "Waiting", "isDataAvailable": False, "isTriggerActive": True},
            last_progress=lambda: None,
            recent_progress=list,
            explain=lambda extended: f"explained {extended}",
        )
        query.exception = lambda: query.error
        query.stop = lambda: setattr(query, "is_active", False)
        query.await_termination = lambda timeout_s: False
        query.process_all_available = lambda: None
        self.streams.queries.append(query)
        return query

    def register_function(self, name: str, function: Any, dtype: Any) -> None:
        self.functions[name] = (function, dtype)

    def cache(self, plan: Relation) -> None:
        self.cached.add(plan.plan_id or 0)

    def uncache(self, plan: Relation) -> None:
        self.cached.discard(plan.plan_id or 0)

    def uncache_all(self) -> None:
        self.cached.clear()

    def storage_level(self, plan: Relation) -> str | None:
        return "MEMORY_AND_DISK" if plan.plan_id in self.cached else None

    def hold_relation(self, relation: Relation, relation_id: str | None = None) -> str:
        key = relation_id or f"held-{len(self.held)}"
        self.held[key] = relation
        return key

    def release_relation(self, relation_id: str) -> None:
        self.held.pop(relation_id, None)

    def local_relation(self, table: pa.Table, schema: StructType) -> LocalData:
        return LocalData(table=table, schema=schema, attributes=attributes_of(schema))

    def interrupt(self) -> list[str]:
        return []

    def stop(self) -> None:
        self.stopped = True
        self.streams.stop()
