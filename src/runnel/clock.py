"""Time as an argument: the engine asks a `Clock`, tests hand in one that they move themselves."""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """What the engine may know of time."""

    def now_ms(self) -> int:
        """Wall time in whole milliseconds since the epoch (UTC)."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back; only differences mean something."""
        ...

    def wait(self, wake: threading.Event, timeout_s: float | None) -> bool:
        """Blocks until `wake` is set or `timeout_s` seconds of *this* clock have passed (None: for ever).

        Returns whether `wake` is set. Never clears it.
        """
        ...


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.perf_counter()

    def wait(self, wake: threading.Event, timeout_s: float | None) -> bool:
        return wake.wait(timeout_s)


class ManualClock:
    """A clock that stands still until a test moves it.

    A thread that waits with a timeout wakes when `advance` passes its deadline, or when its event is set.
    """

    def __init__(self, start_ms: int = 0) -> None:
        self._ms = start_ms
        self._moved = threading.Condition()

    def now_ms(self) -> int:
        with self._moved:
            return self._ms

    def monotonic(self) -> float:
        return self.now_ms() / 1000

    def advance(self, by_ms: int) -> None:
        """Moves time forward by `by_ms` milliseconds and wakes whoever that was due for."""
        if by_ms < 0:
            raise ValueError("time does not go back")
        with self._moved:
            self._ms += by_ms
            self._moved.notify_all()

    def wait(self, wake: threading.Event, timeout_s: float | None) -> bool:
        if timeout_s is None:
            return wake.wait()
        with self._moved:
            deadline = self._ms + timeout_s * 1000
            while not wake.is_set() and self._ms < deadline:
                # An event cannot notify this condition, so it is looked at again every few real milliseconds.
                self._moved.wait(0.002)
            return wake.is_set()
