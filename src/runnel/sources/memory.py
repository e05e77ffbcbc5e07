"""A stream in memory, for tests: whoever holds the `MemoryStream` adds rows, queries read them.

Each addition is one offset, a bare integer from 0; -1 is before the first. Replayable as long as the object lives.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
from pyspark.sql.types import StructType

from runnel.errors import AnalysisError
from runnel.lowering.datatypes import arrow_schema
from runnel.sources.base import Offset, SourceContext

_streams: dict[str, MemoryStream] = {}
_ids = itertools.count(1)


class MemoryStream:
    """Rows of one schema, added by any thread. `readStream.format("memory").option("stream", s.id)` reads them."""

    def __init__(self, schema: StructType) -> None:
        self.schema = schema
        self.id = f"memory-{next(_ids)}"
        self._arrow = arrow_schema(schema)
        self._tables: list[pa.Table] = []
        self._lock = threading.Lock()
        self._wakes: list[threading.Event] = []
        _streams[self.id] = self

    def add_data(self, rows: pa.Table | Iterable[Any]) -> int:
        """Adds a table (columns by position) or rows (tuples, dicts, or bare values for a single column).

        Returns the offset of the addition. Errors: pyarrow.ArrowException if values do not fit the schema.
        """
        table = rows if isinstance(rows, pa.Table) else self._table(list(rows))
        columns = [table.column(i).cast(f.type) for i, f in enumerate(self._arrow)]
        kept = pa.Table.from_arrays(columns, schema=self._arrow)
        with self._lock:
            self._tables.append(kept)
            offset = len(self._tables) - 1
            wakes = list(self._wakes)
        for wake in wakes:
            wake.set()
        return offset

    def _table(self, rows: list[Any]) -> pa.Table:
        names = self.schema.names
        records = [
            [row[n] for n in names] if isinstance(row, dict) else list(row) if isinstance(row, tuple) else [row]
            for row in rows
        ]
        columns = [pa.array([r[i] for r in records], f.type) for i, f in enumerate(self._arrow)]
        return pa.Table.from_arrays(columns, schema=self._arrow)

    @property
    def latest(self) -> int:
        """The offset of the last addition, -1 before the first."""
        with self._lock:
            return len(self._tables) - 1

    def between(self, start: int, end: int) -> pa.Table:
        """The rows of (start, end]."""
        with self._lock:
            parts = self._tables[start + 1 : end + 1]
        return pa.concat_tables(parts) if parts else self._arrow.empty_table()

    def listen(self, wake: threading.Event) -> None:
        with self._lock:
            self._wakes.append(wake)

    def forget(self, wake: threading.Event) -> None:
        with self._lock:
            self._wakes = [w for w in self._wakes if w is not wake]


def memory_stream(options: dict[str, str]) -> MemoryStream:
    """The stream that the option `stream` names. Errors: AnalysisError if there is none."""
    name = {k.lower(): v for k, v in options.items()}.get("stream", "")
    found = _streams.get(name)
    if found is None:
        raise AnalysisError("DATA_SOURCE_NOT_FOUND", {"provider": f"memory ({name or 'option stream is missing'})"})
    return found


class MemorySource:
    """A query's view of a `MemoryStream`."""

    announces = True
    supports_available_now = True

    def __init__(self, stream: MemoryStream, context: SourceContext) -> None:
        self._stream = stream
        self._wake = context.wake
        self._frozen: int | None = None
        stream.listen(self._wake)

    @property
    def schema(self) -> StructType:
        return self._stream.schema

    @property
    def description(self) -> str:
        return f"MemoryStream[{','.join(self._stream.schema.names)}]"

    def initial_offset(self) -> Offset | None:
        return "-1"

    def latest_offset(self, start: Offset | None, *, limited: bool) -> Offset | None:
        latest = self._stream.latest if self._frozen is None else self._frozen
        return None if latest < 0 else str(latest)

    def prepare_for_available_now(self) -> None:
        self._frozen = self._stream.latest

    def batch(self, start: Offset | None, end: Offset) -> pa.Table:
        return self._stream.between(int(start if start is not None else -1), int(end))

    def commit(self, end: Offset) -> None:
        pass

    def reported_latest(self) -> Offset | None:
        return str(self._stream.latest)

    def metrics(self) -> dict[str, Any]:
        return {}

    def stop(self) -> None:
        self._stream.forget(self._wake)
