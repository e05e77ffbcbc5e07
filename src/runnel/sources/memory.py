"""The memory stream: rows that a test adds by hand. Replayable within the process. Offsets are batch numbers."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from pyspark.sql.types import StructType

from runnel.lowering.datatypes import arrow_schema
from runnel.plan.relations import StreamingScan
from runnel.sources.base import Offset, SourceContext

_streams: dict[str, MemoryStream] = {}


class MemoryStream:
    """A stream that a test writes to. Any number of queries may read it; each `add_data` call is one offset."""

    def __init__(self, schema: StructType) -> None:
        self.schema = schema
        self.key = uuid.uuid4().hex
        self._tables: list[pa.Table] = []
        self._readers: list[threading.Event] = []
        self._lock = threading.Lock()
        _streams[self.key] = self

    def add_data(self, rows: pa.Table | Sequence[dict[str, Any]]) -> int:
        """Adds rows (physical Arrow types, or dicts) and wakes the readers; the offset of what was added."""
        table = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(list(rows), arrow_schema(self.schema))
        with self._lock:
            self._tables.append(table.cast(arrow_schema(self.schema)))
            offset = len(self._tables) - 1
            readers = list(self._readers)
        for wake in readers:
            wake.set()
        return offset

    def latest(self) -> int:
        with self._lock:
            return len(self._tables) - 1

    def between(self, start: int, end: int) -> pa.Table:
        """The rows added after `start`, up to and with `end`."""
        with self._lock:
            found = self._tables[start + 1 : end + 1]
        return pa.concat_tables(found) if found else arrow_schema(self.schema).empty_table()

    def attach(self, wake: threading.Event) -> None:
        with self._lock:
            self._readers.append(wake)

    def detach(self, wake: threading.Event) -> None:
        with self._lock:
            self._readers = [r for r in self._readers if r is not wake]


def memory_stream(key: str) -> MemoryStream:
    """The stream that an option `stream` names; KeyError for one of another process."""
    return _streams[key]


class MemorySource:
    """Reads a MemoryStream."""

    announces = True
    supports_available_now = True

    def __init__(self, scan: StreamingScan, context: SourceContext) -> None:
        self._stream = memory_stream(scan.options["stream"])
        self._wake = context.wake
        self._frozen: int | None = None
        self._stream.attach(self._wake)

    @property
    def schema(self) -> StructType:
        return self._stream.schema

    @property
    def description(self) -> str:
        return f"MemoryStream[{','.join(self.schema.fieldNames())}]"

    def initial_offset(self) -> Offset | None:
        return None

    def latest_offset(self, start: Offset | None, *, limited: bool) -> Offset | None:
        latest = self._stream.latest() if self._frozen is None else self._frozen
        return None if latest < 0 else json.dumps(latest)

    def prepare_for_available_now(self) -> None:
        self._frozen = self._stream.latest()

    def batch(self, start: Offset | None, end: Offset) -> pa.Table:
        return self._stream.between(-1 if start is None else int(start), int(end))

    def commit(self, end: Offset) -> None:
        """Rows stay: another query may read them."""

    def reported_latest(self) -> Offset | None:
        latest = self._stream.latest()
        return None if latest < 0 else json.dumps(latest)

    def metrics(self) -> dict[str, Any]:
        return {}

    def stop(self) -> None:
        self._stream.detach(self._wake)
