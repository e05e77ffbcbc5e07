"""The queries of a session: who is active, who ended, and waiting for any of them."""

from __future__ import annotations

import threading
import time

from runnel.errors import IllegalArgumentError, RunnelStateError, StreamingQueryError
from runnel.runtime.listeners import Listener, ListenerBus
from runnel.runtime.query import StreamingQuery

_REMEMBERED = 1_000
"""How many ended queries can still be asked for their end."""


class StreamingQueryManager:
    """Spark's StreamingQueryManager. Safe for use by several threads.

    `running` holds the active queries of all managers of an application, by id.
    """

    def __init__(self, running: dict[str, StreamingQuery] | None = None) -> None:
        self._running = {} if running is None else running
        self.bus = ListenerBus()
        self._changed = threading.Condition()
        self._active: dict[str, StreamingQuery] = {}
        self._known: dict[str, StreamingQuery] = {}
        self._ended_since_reset = False
        self._first_error: StreamingQueryError | None = None

    def active(self) -> list[StreamingQuery]:
        with self._changed:
            return list(self._active.values())

    def get(self, query_id: str) -> StreamingQuery | None:
        """The active query of this id, None if there is none."""
        with self._changed:
            return self._active.get(query_id)

    def find(self, query_id: str, run_id: str) -> StreamingQuery | None:
        """A query of this session, active or ended, by id and run."""
        with self._changed:
            found = self._known.get(run_id)
        return found if found is not None and found.id == query_id else None

    def all(self) -> list[StreamingQuery]:
        """Active and ended queries, oldest first."""
        with self._changed:
            return list(self._known.values())

    def register(self, query: StreamingQuery, *, stop_active_run: bool) -> None:
        """Makes a query known before it starts.

        An active query of the same name is an error. One on the same checkpoint is stopped first, or, with
        `stop_active_run` off, an error too.
        """
        with self._changed:
            for other in self._active.values():
                if query.name is not None and other.name == query.name and other.id != query.id:
                    raise IllegalArgumentError("STREAMING_QUERY_NAME_IN_USE", {"name": query.name})
        running = self._running.get(query.id)
        if running is not None:
            if not stop_active_run:
                raise RunnelStateError("STREAMING_QUERY_ALREADY_ACTIVE", {"id": query.id})
            running.stop()
        with self._changed:
            if self._running.setdefault(query.id, query) is not query:
                raise RunnelStateError("CONCURRENT_QUERY", {"id": query.id})
            self._active[query.id] = query
            self._known[query.run_id] = query

    def _let_go(self, query: StreamingQuery) -> None:
        for queries in (self._active, self._running):
            if queries.get(query.id) is query:
                del queries[query.id]

    def forget(self, query: StreamingQuery) -> None:
        """Takes back a registration: the query never started."""
        with self._changed:
            self._let_go(query)
            self._known.pop(query.run_id, None)

    def ended(self, query: StreamingQuery) -> None:
        """Called by a query's thread at its end."""
        with self._changed:
            self._let_go(query)
            self._ended_since_reset = True
            ended = [run_id for run_id, known in self._known.items() if self._active.get(known.id) is not known]
            for run_id in ended[:-_REMEMBERED]:
                del self._known[run_id]
            error = query.exception()
            if error is not None and self._first_error is None:
                self._first_error = error
            self._changed.notify_all()

    def await_any_termination(self, timeout_s: float | None = None) -> bool:
        """Waits until a query ends, or has ended since the last reset; whether one did. Raises what ended a failed one."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        with self._changed:
            while not self._ended_since_reset:
                left = 0.2 if deadline is None else min(0.2, deadline - time.monotonic())
                if left <= 0:
                    return False
                self._changed.wait(left)
            if self._first_error is not None:
                raise self._first_error
            return True

    def reset_terminated(self) -> None:
        with self._changed:
            self._ended_since_reset = False
            self._first_error = None

    def add_listener(self, listener: Listener) -> None:
        self.bus.add(listener)

    def remove_listener(self, listener: Listener) -> None:
        self.bus.remove(listener)

    def stop(self) -> None:
        """Stops every active query, then the bus. Raises the first error of a query that does not stop."""
        first: RunnelStateError | None = None
        for query in self.active():
            try:
                query.stop()
            except RunnelStateError as late:
                first = first or late
        self.bus.stop()
        if first is not None:
            raise first
