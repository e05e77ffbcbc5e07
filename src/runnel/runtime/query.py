"""A streaming query: its thread, its life and what it tells about itself.

States: initialising, active, terminated. What ends the thread with an error is kept as `StreamingQueryError` and raised
to whoever waits.
"""

from __future__ import annotations

import collections
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Protocol

from runnel.errors import RunnelError, RunnelStateError, StreamingQueryError
from runnel.runtime.engine import QueryIdentity, Reporting
from runnel.runtime.listeners import ListenerBus, QueryIdle, QueryProgress, QueryTerminated
from runnel.runtime.progress import ProgressReport

log = logging.getLogger("runnel.query")


class RunningEngine(Protocol):
    """What a query's thread runs; made on that thread, so that opening sources fails the query and not `start()`."""

    def run(self) -> None: ...


class StreamingQuery:
    """One run of a query. Safe for use by several threads.

    `make_engine` is called on the query's thread, with where to report to. `close` is called there last of all, with
    the error that ended the query, if any: it stops sources and sink and lets go of the checkpoint. `interrupt` breaks
    off a statement that is being executed.
    """

    def __init__(
        self,
        identity: QueryIdentity,
        make_engine: Callable[[Reporting], RunningEngine],
        *,
        close: Callable[[BaseException | None], None],
        interrupt: Callable[[], None],
        explain: Callable[[bool], str],
        bus: ListenerBus,
        wake: threading.Event,
        stopping: threading.Event,
        remember: int = 100,
        stop_timeout_ms: int = 0,
        on_end: Callable[[StreamingQuery], None] = lambda query: None,
    ) -> None:
        self.id = identity.id
        self.run_id = identity.run_id
        self.name = identity.name
        self._make_engine: Callable[[Reporting], RunningEngine] | None = make_engine
        self._close = close
        self._interrupt = interrupt
        self._explain = explain
        self._bus = bus
        self._wake = wake
        self._stopping = stopping
        self._stop_timeout_ms = stop_timeout_ms
        self._on_end = on_end
        self._changed = threading.Condition()
        self._recent: collections.deque[ProgressReport] = collections.deque(maxlen=max(remember - 1, 1))
        self._status = ("Initializing StreamExecution", False, False)
        self._error: StreamingQueryError | None = None
        self._ended = threading.Event()
        self._triggers_begun = 0
        self._caught_up_at = -1
        self._thread = threading.Thread(target=self._run, name=f"stream-{self.name or self.id}", daemon=True)

    # ---------------------------------------------------------------------------------------------- for the user

    @property
    def is_active(self) -> bool:
        return not self._ended.is_set()

    def status(self) -> dict[str, object]:
        message, data, trigger = self._status
        return {"message": message, "isDataAvailable": data, "isTriggerActive": trigger}

    def recent_progress(self) -> list[ProgressReport]:
        """Newest last."""
        with self._changed:
            return list(self._recent)

    def last_progress(self) -> ProgressReport | None:
        with self._changed:
            return self._recent[-1] if self._recent else None

    def exception(self) -> StreamingQueryError | None:
        return self._error

    def explain(self, extended: bool = False) -> str:
        return self._explain(extended)

    def await_termination(self, timeout_s: float | None = None) -> bool:
        """Waits for the end; whether it came. Raises what ended the query."""
        ended = _wait(self._ended, timeout_s)
        if ended and self._error is not None:
            raise self._error
        return ended

    def process_all_available(self) -> None:
        """Waits until a trigger that began after this call finds nothing to do. Raises what ended the query."""
        if threading.current_thread() is self._thread:
            raise RunnelStateError(
                "_LEGACY_ERROR_TEMP_3102",
                {"msg": "processAllAvailable() would wait for ever: it was called on the thread that runs the query."},
            )
        with self._changed:
            asked_at = self._triggers_begun
            self._wake.set()
            while self._caught_up_at <= asked_at and not self._ended.is_set():
                # A short wait lets KeyboardInterrupt through on every platform.
                self._changed.wait(0.2)
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Ends the query and waits for its thread, at most `stopTimeout`; what is being executed is broken off."""
        self._stopping.set()
        self._wake.set()
        if threading.current_thread() is self._thread:
            return
        deadline = time.monotonic() + self._stop_timeout_ms / 1000 if self._stop_timeout_ms else None
        while not _wait(self._ended, 0.05):
            self._interrupt()
            if deadline is not None and time.monotonic() > deadline:
                raise RunnelStateError(
                    "_LEGACY_ERROR_TEMP_3102",
                    {
                        "msg": f"Query {self.name or self.id} did not stop within the {self._stop_timeout_ms} ms of "
                        f"spark.sql.streaming.stopTimeout. It ends when the call returns that it is in: {self._where()}."
                    },
                )

    def _where(self) -> str:
        """The innermost line of Python that the query's thread is at."""
        frame = sys._current_frames().get(self._thread.ident or 0)
        return "unknown" if frame is None else f"{frame.f_code.co_filename}, line {frame.f_lineno}"

    # ------------------------------------------------------------------------------------------------- its life

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            make_engine, self._make_engine = self._make_engine, None  # what it holds is not needed for a second run
            assert make_engine is not None
            make_engine(
                Reporting(
                    self._take_progress, self._take_idle, self._take_status, self._take_begun, self._take_caught_up
                )
            ).run()
        except BaseException as caught:
            if self._stopping.is_set() and not isinstance(caught, RunnelError):
                log.debug("query %s was broken off by stop()", self.id, exc_info=True)
            elif self._stopping.is_set() and getattr(caught, "condition", "") == "OPERATION_CANCELED":
                log.debug("a statement of query %s was broken off by stop()", self.id)
            else:
                error = caught
        try:
            self._close(error)
        except Exception as failed:
            log.warning("query %s could not let go of everything it held", self.id, exc_info=True)
            error = error or failed
        self._end(error)

    def _end(self, error: BaseException | None) -> None:
        condition = text = None
        if error is not None:
            self._error = StreamingQueryError.wrap(error, query_id=self.id, run_id=self.run_id)
            self._status = (f"Terminated with exception: {error}", False, False)
            condition = getattr(error, "condition", None)
            text = "".join(traceback.format_exception(error))
            log.error("query %s ended with an error: %s", self.name or self.id, error)
        else:
            self._status = ("Stopped", False, False)
        self._bus.post(QueryTerminated(self.id, self.run_id, text, condition))
        self._on_end(self)
        with self._changed:
            self._ended.set()
            self._changed.notify_all()

    # -------------------------------------------------------------------------------- from the engine, on its thread

    def _take_progress(self, report: ProgressReport, executed: bool) -> None:
        with self._changed:
            self._recent.append(report)
        if executed:
            self._bus.post(QueryProgress(report))

    def _take_idle(self, now_ms: int) -> None:
        self._bus.post(QueryIdle(self.id, self.run_id, now_ms))

    def _take_status(self, message: str, data_available: bool, trigger_active: bool) -> None:
        self._status = (message, data_available, trigger_active)

    def _take_begun(self) -> None:
        with self._changed:
            self._triggers_begun += 1

    def _take_caught_up(self) -> None:
        with self._changed:
            self._caught_up_at = self._triggers_begun
            self._changed.notify_all()


def _wait(event: threading.Event, timeout_s: float | None) -> bool:
    """`event.wait`, in short steps where the platform would not deliver Ctrl-C during a long one (Windows)."""
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        left = 0.2 if deadline is None else min(0.2, deadline - time.monotonic())
        if event.wait(max(left, 0)):
            return True
        if deadline is not None and time.monotonic() >= deadline:
            return False
