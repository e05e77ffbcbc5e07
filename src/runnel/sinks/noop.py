"""The noop sink: takes everything and keeps nothing. Delivery: nothing to deliver."""

from __future__ import annotations

from runnel.sinks.base import BatchRows


class NoopSink:
    """Discards rows; for measuring the rest of a query."""

    @property
    def description(self) -> str:
        return "org.apache.spark.sql.execution.datasources.noop.NoopTable$"

    def add_batch(self, batch_id: int, rows: BatchRows) -> int | None:
        return rows.num_rows

    def stop(self) -> None:
        """Nothing is held."""
