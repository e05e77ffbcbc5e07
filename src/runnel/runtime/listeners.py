"""The listener bus: events of a session's queries, delivered in order, off the queries' threads.

Started events are delivered synchronously by whoever starts the query; all others by one thread of the bus. What a
listener raises is logged and swallowed, as in Spark.
"""

from __future__ import annotations

import logging
import queue
import threading
from dataclasses import dataclass
from typing import Protocol

from runnel.runtime.progress import ProgressReport, format_ms

log = logging.getLogger("runnel.listeners")


@dataclass(frozen=True, slots=True)
class QueryStarted:
    id: str
    run_id: str
    name: str | None
    timestamp_ms: int
    job_tags: tuple[str, ...] = ()

    def wire(self) -> dict[str, object]:
        return {
            "id": self.id,
            "runId": self.run_id,
            "name": self.name,
            "timestamp": format_ms(self.timestamp_ms),
            "jobTags": list(self.job_tags),
        }


@dataclass(frozen=True, slots=True)
class QueryProgress:
    progress: ProgressReport

    def wire(self) -> dict[str, object]:
        return {"progress": self.progress.wire()}


@dataclass(frozen=True, slots=True)
class QueryIdle:
    id: str
    run_id: str
    timestamp_ms: int

    def wire(self) -> dict[str, object]:
        return {"id": self.id, "runId": self.run_id, "timestamp": format_ms(self.timestamp_ms)}


@dataclass(frozen=True, slots=True)
class QueryTerminated:
    id: str
    run_id: str
    exception: str | None
    condition: str | None

    def wire(self) -> dict[str, object]:
        return {
            "id": self.id,
            "runId": self.run_id,
            "exception": self.exception,
            "errorClassOnException": self.condition,
        }


QueryEvent = QueryStarted | QueryProgress | QueryIdle | QueryTerminated


class Listener(Protocol):
    """Anything that takes events. Called from one thread at a time, except for started events."""

    def on_event(self, event: QueryEvent) -> None: ...


class ListenerBus:
    """Delivers events to the listeners that are registered when an event is posted."""

    def __init__(self) -> None:
        self._listeners: tuple[Listener, ...] = ()
        self._lock = threading.Lock()
        self._events: queue.SimpleQueue[tuple[QueryEvent, tuple[Listener, ...]] | threading.Event | None] = (
            queue.SimpleQueue()
        )
        self._thread: threading.Thread | None = None

    def add(self, listener: Listener) -> None:
        with self._lock:
            self._listeners = (*self._listeners, listener)

    def remove(self, listener: Listener) -> None:
        with self._lock:
            self._listeners = tuple(x for x in self._listeners if x is not listener)

    @property
    def listeners(self) -> tuple[Listener, ...]:
        return self._listeners

    def post(self, event: QueryEvent) -> None:
        """Started events are delivered before this returns, the others soon, in order."""
        listeners = self._listeners
        if not listeners:
            return
        if isinstance(event, QueryStarted):
            _deliver(event, listeners)
            return
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="runnel-listeners", daemon=True)
                self._thread.start()
        self._events.put((event, listeners))

    def drain(self, timeout_s: float = 10.0) -> None:
        """Waits until what was posted before is delivered."""
        if self._thread is not None and self._thread is not threading.current_thread():
            done = threading.Event()
            self._events.put(done)
            done.wait(timeout_s)

    def stop(self) -> None:
        self.drain()
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._events.put(None)
            if thread is not threading.current_thread():
                thread.join(10.0)

    def _run(self) -> None:
        while (item := self._events.get()) is not None:
            if isinstance(item, threading.Event):
                item.set()
            else:
                _deliver(*item)


def _deliver(event: QueryEvent, listeners: tuple[Listener, ...]) -> None:
    for listener in listeners:
        try:
            listener.on_event(event)
        except Exception:
            log.warning("a streaming query listener failed on %s", type(event).__name__, exc_info=True)
