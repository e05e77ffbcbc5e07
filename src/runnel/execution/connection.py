"""The session's DuckDB: in-memory databases, a cursor for each statement."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

import duckdb


class Engine:
    """The in-memory databases of a session: one whose statements use all threads, one whose statements use one.

    Statements read nothing but what is bound to them, so it does not show which database runs them. Every cursor is a
    connection of its own: registered tables and prepared statements are a cursor's, Python functions a database's. A
    cursor serves one thread at a time. DuckDB neither fetches extensions from the network nor reads settings of the
    environment here.
    """

    def __init__(self, threads: int | None = None, memory_limit: str | None = None) -> None:
        config: dict[str, str | bool | int | float | list[str]] = {
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "preserve_insertion_order": True,
            "produce_arrow_string_view": False,
            "python_enable_replacements": False,  # a relation is never a Python variable of some caller
        }
        if threads is not None:
            config["threads"] = threads
        if memory_limit is not None:
            config["memory_limit"] = memory_limit
        self._parallel = duckdb.connect(":memory:", config=config)
        found = self._parallel.execute("SELECT current_setting('threads')").fetchone()
        assert found is not None
        self.threads = int(found[0])
        """How many threads a statement may use."""
        self._single = self._parallel
        if self.threads > 1:
            self._single = duckdb.connect(":memory:", config={**config, "threads": 1})
        self._lock = threading.Lock()
        self._cursors: list[duckdb.DuckDBPyConnection] = []
        self._closed = False

    def cursor(self, *, parallel: bool = True) -> duckdb.DuckDBPyConnection:
        """A new connection. Give it back with `release`; `close` closes those still open."""
        with self._lock:
            cursor = (self._parallel if parallel else self._single).cursor()
            self._cursors.append(cursor)
            return cursor

    def release(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Closes a cursor and what it prepared."""
        with self._lock:
            if cursor in self._cursors:
                self._cursors.remove(cursor)
        cursor.close()

    def interrupt(self) -> None:
        """Stops what runs on any cursor, with an error there. Callable from another thread."""
        with self._lock:
            for cursor in self._cursors:
                cursor.interrupt()

    def close(self) -> None:
        """Closes all cursors and the databases; closing twice is allowed."""
        with self._lock:
            cursors, self._cursors = self._cursors, []
            closed, self._closed = self._closed, True
        if closed:
            return
        for cursor in cursors:
            cursor.close()
        self._single.close()
        self._parallel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
