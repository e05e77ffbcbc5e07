"""The console sink: each batch as the table that `show()` prints, on standard output. Delivery: at least once."""

from __future__ import annotations

import sys

from runnel.errors import IllegalArgumentError
from runnel.show import table_text
from runnel.sinks.base import BatchRows, SinkContext

_RULE = "-" * 43


class ConsoleSink:
    """Prints every executed batch, empty ones too. At least once: a batch that is run again is printed again."""

    def __init__(self, context: SinkContext) -> None:
        options = {key.lower(): value for key, value in context.options.items()}
        self._zone = context.session_time_zone
        self._num_rows = options.get("numrows", "20")
        self._truncate = options.get("truncate", "true").strip().lower()

    @property
    def description(self) -> str:
        return f"org.apache.spark.sql.execution.streaming.ConsoleTable$@{id(self):x}"

    def add_batch(self, batch_id: int, rows: BatchRows) -> int | None:
        # Spark reads these options when the first batch is written: a bad one fails the query, not start().
        if self._truncate not in ("true", "false"):
            raise IllegalArgumentError(
                "CONSOLE_SINK_OPTION", {"option": "truncate", "value": self._truncate, "expected": "true or false"}
            )
        try:
            num_rows = int(self._num_rows)
        except ValueError as bad:
            raise IllegalArgumentError(
                "CONSOLE_SINK_OPTION", {"option": "numRows", "value": self._num_rows, "expected": "a whole number"}
            ) from bad
        table = rows.table()
        text = table_text(
            table, rows.schema, self._zone, num_rows=num_rows, truncate=20 if self._truncate == "true" else 0
        )
        sys.stdout.write(f"{_RULE}\nBatch: {batch_id}\n{_RULE}\n{text}\n")
        sys.stdout.flush()
        return rows.num_rows

    def stop(self) -> None:
        """Nothing is held."""
