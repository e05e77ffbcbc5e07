"""The socket source: lines of text from a TCP server, for trying things out. Not replayable.

A thread reads lines as they come. An offset is the index of the last line; -1 is before the first. Lines that have been
committed are forgotten, so a query cannot go back after a restart.
"""

from __future__ import annotations

import logging
import socket
import threading
from typing import Any, Final

import pyarrow as pa
from pyspark.sql.types import StringType, StructField, StructType, TimestampType

from runnel.errors import AnalysisError, NumberFormatError, RunnelError, internal_error
from runnel.options import flag, lowered
from runnel.sources.base import Offset, SourceContext

log = logging.getLogger("runnel.query")

_TEXT: Final = StructType([StructField("value", StringType(), True)])
_TIMED: Final = StructType([*_TEXT.fields, StructField("timestamp", TimestampType(), True)])
_BUFFER: Final = 1 << 16


def socket_schema(options: dict[str, str]) -> StructType:
    """The source's schema. Errors: AnalysisError or NumberFormatError if the address is missing or no address."""
    given = lowered(options)
    if "host" not in given:
        raise AnalysisError("_LEGACY_ERROR_TEMP_1295")
    if "port" not in given:
        raise AnalysisError("_LEGACY_ERROR_TEMP_1296")
    try:
        int(given["port"])
    except ValueError as problem:
        raise NumberFormatError(
            "_LEGACY_ERROR_TEMP_3102", {"msg": f'The option port is no number: "{given["port"]}"'}
        ) from problem
    return _TIMED if flag(given, "includeTimestamp", False) else _TEXT


class TextSocketSource:
    """Lines from `host`:`port`. Connects when it is made."""

    announces = True
    supports_available_now = False

    def __init__(self, options: dict[str, str], context: SourceContext) -> None:
        """Errors: RunnelError that says who refused the connection."""
        given = lowered(options)
        self._schema = socket_schema(options)
        self._host, self._port = given["host"], int(given["port"])
        self._context = context
        self._lock = threading.Lock()
        self._lines: list[str] = []
        self._times_ms: list[int] = []
        self._first = 0
        """Index of the first line that is kept."""
        self._connection: socket.socket | None = None
        self._stopped = False
        try:
            self._connection = socket.create_connection((self._host, self._port), timeout=30)
        except OSError as problem:
            raise RunnelError(
                "_LEGACY_ERROR_TEMP_3102",
                {"msg": f"The socket source cannot connect to {self._host}:{self._port}: {problem.strerror or problem}. "
                        "Start the server that sends the lines (nc -lk <port>) first."},
            ) from problem  # fmt: skip
        self._connection.settimeout(None)
        name = f"TextSocketSource({self._host}, {self._port})"
        threading.Thread(target=self._receive, args=(self._connection,), name=name, daemon=True).start()

    @property
    def schema(self) -> StructType:
        return self._schema

    @property
    def description(self) -> str:
        return f"TextSocketV2[host: {self._host}, port: {self._port}]"

    # ---------------------------------------------------------------------------------------- the reader's thread

    def _receive(self, connection: socket.socket) -> None:
        pending = b""
        try:
            while data := connection.recv(_BUFFER):
                *whole, pending = (pending + data).split(b"\n")
                self._add(whole)
        except OSError as problem:
            if self._stopped:
                return
            log.warning("the connection to %s:%d broke: %s", self._host, self._port, problem.strerror or problem)
        else:
            if not self._stopped:
                log.info("%s:%d closed the connection: no more lines will come", self._host, self._port)
        if pending:
            self._add([pending])

    def _add(self, pieces: list[bytes]) -> None:
        if not pieces:
            return
        lines = [piece.removesuffix(b"\r").decode(errors="replace") for piece in pieces]
        now = self._context.clock.now_ms()
        with self._lock:
            self._lines.extend(lines)
            self._times_ms.extend([now] * len(lines))
        self._context.wake.set()

    # ------------------------------------------------------------------------------------------ the query's thread

    def initial_offset(self) -> Offset | None:
        return "-1"

    def latest_offset(self, start: Offset | None, *, limited: bool) -> Offset | None:
        if start is None:
            return "-1"
        with self._lock:
            return str(self._first + len(self._lines) - 1)

    def prepare_for_available_now(self) -> None:
        raise internal_error("The socket source was asked to freeze its end.")

    def batch(self, start: Offset | None, end: Offset) -> pa.Table:
        """Errors: RunnelError if lines are asked for that are no longer here (after a restart)."""
        low, high = int(start if start is not None else -1) + 1, int(end) + 1
        with self._lock:
            if high > low and (low < self._first or high > self._first + len(self._lines)):
                raise RunnelError(
                    "_LEGACY_ERROR_TEMP_3102",
                    {"msg": f"The socket source cannot give lines {low} to {high - 1} again: it is not replayable. "
                            "Start the query with a new checkpoint."},
                )  # fmt: skip
            part = slice(low - self._first, high - self._first) if high > low else slice(0, 0)
            lines, times = self._lines[part], self._times_ms[part]
        columns = [pa.array(lines, pa.string())]
        if len(self._schema.fields) == 2:
            columns.append(pa.array([t * 1000 for t in times], pa.int64()).cast(pa.timestamp("us")))
        return pa.Table.from_arrays(columns, names=self._schema.names)

    def commit(self, end: Offset) -> None:
        with self._lock:
            count = int(end) + 1 - self._first
            if count > 0:
                del self._lines[:count]
                del self._times_ms[:count]
                self._first += count

    def reported_latest(self) -> Offset | None:
        return self.latest_offset("-1", limited=False)

    def metrics(self) -> dict[str, Any]:
        return {}

    def stop(self) -> None:
        self._stopped = True
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                connection.close()  # the peer has gone already
            else:
                connection.close()
