"""The socket source: lines of text from a TCP server. Not replayable: for trying things out, as Spark's.

A thread reads the connection; a line's offset is its index from 0, and a new query starts at -1 with an empty batch.
Rules: reference §8.1 (Spark's TextSocketMicroBatchStream).
"""

from __future__ import annotations

import socket
import threading
from typing import Any

import pyarrow as pa
from pyspark.sql.types import StringType, StructField, StructType, TimestampType

from runnel.clock import Clock
from runnel.errors import RunnelError, error, internal_error
from runnel.plan.relations import StreamingScan
from runnel.sources.base import Offset, SourceContext

_READ_BYTES = 1 << 16


def socket_schema(options: dict[str, str], user_schema: StructType | None) -> StructType:
    """`value string`, with `timestamp` where asked for. Raises Spark's errors for options that are missing or bad."""
    low = {key.lower(): value for key, value in options.items()}
    if "host" not in low:
        raise error("_LEGACY_ERROR_TEMP_1295")
    if "port" not in low:
        raise error("_LEGACY_ERROR_TEMP_1296")
    if user_schema is not None:
        raise error("_LEGACY_ERROR_TEMP_2242", provider="TextSocketSourceProvider")
    value = StructField("value", StringType())
    with_time = low.get("includetimestamp", "false").strip().lower() == "true"
    return StructType([value, StructField("timestamp", TimestampType())] if with_time else [value])


class SocketSource:
    """Reads one connection for the life of the query."""

    announces = True
    supports_available_now = False

    def __init__(self, scan: StreamingScan, context: SourceContext) -> None:
        low = {key.lower(): value for key, value in scan.options.items()}
        self.schema = scan.schema
        self._host, self._port = low["host"], _port(low["port"])
        self._clock: Clock = context.clock
        self._wake = context.wake
        self._lock = threading.Lock()
        self._lines: list[str] = []
        self._times: list[int] = []
        self._first: int | None = None  # offset of _lines[0]; known once the engine has said where it stands
        self._failure: OSError | None = None
        self._stopping = False
        self._connection = self._connect()
        self._thread = threading.Thread(target=self._read, name=f"socket-{self._host}:{self._port}", daemon=True)
        self._thread.start()

    def _connect(self) -> socket.socket:
        try:
            connection = socket.create_connection((self._host, self._port), timeout=10)
        except OSError as failed:
            raise RunnelError(
                "SOCKET_SOURCE_CANNOT_CONNECT", {"host": self._host, "port": str(self._port), "reason": str(failed)}
            ) from failed
        connection.settimeout(None)
        return connection

    @property
    def description(self) -> str:
        return f"TextSocketV2[host: {self._host}, port: {self._port}]"

    def _read(self) -> None:
        """Until the peer closes; an unterminated last line counts then."""
        rest = b""
        while True:
            try:
                data = self._connection.recv(_READ_BYTES)
            except OSError as failed:
                if not self._stopping:
                    self._failure = failed
                break
            if not data:
                break
            *whole, rest = (rest + data).split(b"\n")
            self._take(whole)
        if rest:
            self._take([rest])
        self._wake.set()

    def _take(self, lines: list[bytes]) -> None:
        """Bytes that are not UTF-8 become U+FFFD, as Java's decoder does it."""
        if not lines:
            return
        texts = [line.removesuffix(b"\r").decode("utf-8", "replace") for line in lines]
        now = self._clock.now_ms() * 1000
        with self._lock:
            self._lines += texts
            self._times += [now] * len(texts)
        self._wake.set()

    def initial_offset(self) -> Offset | None:
        return "-1"

    def latest_offset(self, start: Offset | None, *, limited: bool) -> Offset | None:
        position = -1 if start is None else int(start)
        with self._lock:
            if self._first is None:
                # After a restart the lines up to the checkpoint's offset are gone: counting goes on from there.
                self._first = position + 1
            latest = self._first + len(self._lines) - 1
        if self._failure is not None and position >= latest:
            raise RunnelError(
                "SOCKET_SOURCE_CONNECTION_LOST",
                {"host": self._host, "port": str(self._port), "reason": str(self._failure)},
            ) from self._failure
        return str(latest)

    def prepare_for_available_now(self) -> None:
        raise internal_error("A socket cannot say where its data ends.")

    def batch(self, start: Offset | None, end: Offset) -> pa.Table:
        low, high = (-1 if start is None else int(start)) + 1, int(end) + 1
        with self._lock:
            first = high if self._first is None else self._first  # a rerun after a restart: its lines are gone
            held = slice(max(low - first, 0), max(high - first, 0))
            lines, times = self._lines[held], self._times[held]
        columns: list[pa.Array] = [pa.array(lines, pa.string())]
        if len(self.schema.fields) > 1:
            columns.append(pa.array(times, pa.timestamp("us")))
        return pa.table(columns, names=self.schema.fieldNames())

    def commit(self, end: Offset) -> None:
        with self._lock:
            done = 0 if self._first is None else int(end) + 1 - self._first
            if self._first is not None and done > 0:
                del self._lines[:done], self._times[:done]
                self._first += done

    def reported_latest(self) -> Offset | None:
        with self._lock:
            return None if self._first is None else str(self._first + len(self._lines) - 1)

    def metrics(self) -> dict[str, Any]:
        return {}

    def stop(self) -> None:
        self._stopping = True
        try:
            self._connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            # The peer has closed already.
            self._connection.close()
        else:
            self._connection.close()
        self._thread.join(5)


def _port(text: str) -> int:
    try:
        return int(text)
    except ValueError as bad:
        raise error("INVALID_SOCKET_PORT", port=text) from bad
