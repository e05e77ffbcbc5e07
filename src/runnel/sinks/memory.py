"""The memory sink: the result as a temporary view named after the query. Delivery: exactly once within a run."""

from __future__ import annotations

import threading

import pyarrow as pa

from runnel.errors import error
from runnel.lowering.datatypes import arrow_schema
from runnel.plan.relations import Relation
from runnel.sinks.base import BatchRows, SinkContext


class MemorySink:
    """Append and update add rows, complete replaces them; a batch id that was taken already is ignored."""

    def __init__(self, context: SinkContext) -> None:
        if not context.query_name:
            raise error("_LEGACY_ERROR_TEMP_1194")
        if context.partition_by:
            raise error("_LEGACY_ERROR_TEMP_1197", operation="The memory sink")
        self._context = context
        self._complete = context.output_mode == "complete"
        self._latest = -1
        self._tables: list[pa.Table] = []
        self._lock = threading.Lock()

    def publish(self) -> None:
        """Makes the view, in place of one of this name; once the query is sure to start."""
        self._context.session.publish_view(self._context.query_name, self.relation)

    @property
    def description(self) -> str:
        return "MemorySink"

    def relation(self) -> Relation:
        """What the sink holds at this moment."""
        with self._lock:
            table = pa.concat_tables(self._tables) if self._tables else arrow_schema(self._context.schema).empty_table()
            self._tables = [table]
        found: Relation = self._context.session.local_relation(table, self._context.schema)
        return found

    def add_batch(self, batch_id: int, rows: BatchRows) -> int | None:
        if batch_id <= self._latest:
            return 0
        table = rows.table()
        with self._lock:
            if self._complete:
                self._tables = [table]
            elif table.num_rows:
                self._tables.append(table)
            self._latest = batch_id
        return rows.num_rows

    def stop(self) -> None:
        """The view stays, with what it holds."""
