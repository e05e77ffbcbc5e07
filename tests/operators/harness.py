"""Drives one operator without a query: batches of rows in, rows out, with real statements and a real store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from runnel.execution.connection import Engine
from runnel.execution.prepared import PreparedFragment
from runnel.lowering.fragment import Fragment
from runnel.operators.base import OperatorBatch, OperatorPlan, RunFragment
from runnel.state.store import KeyedStore
from runnel.state.versions import VersionedStore


@dataclass
class Driver:
    """Runs an operator's input statements and the operator over one batch after another.

    `restart` throws the operator away and loads a new one's state from disk, as a restarted query does.
    """

    engine: Engine
    plan: OperatorPlan
    folder: Path
    output_mode: str = "append"
    batch_id: int = 0
    watermark_ms: int | None = None
    previous_ms: int | None = None
    statements: list[PreparedFragment] = field(default_factory=list)
    stores: dict[str, VersionedStore] = field(default_factory=dict)

    def __post_init__(self) -> None:
        operator = self.plan.operator
        opened: dict[str, KeyedStore] = {}
        for spec in operator.stores:
            store = KeyedStore(spec.key_schema, spec.value_schema, eviction_column=spec.eviction_column)
            self.stores[spec.name] = VersionedStore(self.folder / spec.name, store, sync=False)
            self.stores[spec.name].load(self.batch_id)
            opened[spec.name] = store
        operator.open(opened, self.prepare)
        self.inputs = [self.prepare(fragment) for fragment in self.plan.inputs]

    def prepare(self, fragment: Fragment) -> RunFragment:
        statement = PreparedFragment(self.engine, fragment)
        self.statements.append(statement)
        return statement.run

    def run(
        self, tables: Sequence[pa.Table], *, watermark_ms: int | None = None, timestamp_ms: int = 0
    ) -> list[dict[str, Any]]:
        """One batch at this watermark and time; the rows given out."""
        self.previous_ms, self.watermark_ms = self.watermark_ms, watermark_ms
        late = self.previous_ms if self.previous_ms is not None else (0 if watermark_ms is not None else None)
        parameters: Mapping[str, int] = {"batch_timestamp_us": timestamp_ms * 1000, "batch_id": self.batch_id}
        batch = OperatorBatch(self.batch_id, timestamp_ms, self.output_mode, late, watermark_ms, parameters)
        made = [statement(tables, parameters) for statement in self.inputs]
        out = self.plan.operator.process(made, batch)
        self.batch_id += 1
        for store in self.stores.values():
            store.commit(self.batch_id)
        names = [a.name for a in self.plan.attributes]
        return [
            dict(zip(names, row.values(), strict=True))
            for row in out.rename_columns([str(i) for i in range(len(names))]).to_pylist()
        ]

    def close(self) -> None:
        for statement in self.statements:
            statement.close()
        for store in self.stores.values():
            store.close()
