"""Sinks that call the user: foreachBatch and foreach. Delivery: at least once."""

from __future__ import annotations

from typing import Any

from runnel.errors import RunnelError, user_error
from runnel.plan.write_spec import ForeachBatch
from runnel.sinks.base import BatchRows, SinkContext


class ForeachBatchSink:
    """Calls a function with each batch as a static frame, in a session cloned at start. At least once: after a crash the
    last batch may come again, with the same id."""

    def __init__(self, context: SinkContext, function: ForeachBatch) -> None:
        self._function = function
        self._session = context.session.clone()

    @property
    def description(self) -> str:
        return "ForeachBatchSink"

    def add_batch(self, batch_id: int, rows: BatchRows) -> int | None:
        relation = self._session.local_relation(rows.table(), rows.schema)
        try:
            self._function(self._session, relation, batch_id)
        except Exception as raised:
            if isinstance(raised, RunnelError):
                raise
            raise user_error(raised) from raised
        return None

    def stop(self) -> None:
        """The session clone has nothing of its own to stop but queries that the function started."""
        self._session.stop()


class ForeachSink:
    """Calls `process` with each row, between `open(partition, epoch)` and `close(error)`. At least once.

    The rows of a batch are one partition, number 0.
    """

    def __init__(self, context: SinkContext, writer: Any) -> None:
        self._writer = writer
        self._context = context

    @property
    def description(self) -> str:
        return "ForeachWriterProvider"

    def add_batch(self, batch_id: int, rows: BatchRows) -> int | None:
        made = self._context.session.rows_of(rows.table(), rows.schema)
        writer = self._writer
        if not hasattr(writer, "process"):
            self._call(lambda: [writer(row) for row in made])
            return rows.num_rows
        opened = self._call(lambda: writer.open(0, batch_id)) if hasattr(writer, "open") else True
        failure: Exception | None = None
        try:
            if opened:
                for row in made:
                    writer.process(row)
        except Exception as raised:
            failure = raised
        if hasattr(writer, "close"):
            self._call(lambda: writer.close(failure))
        if failure is not None:
            raise user_error(failure) from failure
        return rows.num_rows

    @staticmethod
    def _call(work: Any) -> Any:
        try:
            return work()
        except Exception as raised:
            raise user_error(raised) from raised

    def stop(self) -> None:
        """The writer was closed with its batch."""
