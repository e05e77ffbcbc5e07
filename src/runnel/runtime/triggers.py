"""When the next batch runs: pure arithmetic, and the rules of Spark's trigger executors.

Rules: processing time fires at once, then at multiples of the interval since the epoch; a batch that takes longer is
followed at once by the next, and triggers never queue up (Spark's ProcessingTimeExecutor).
"""

from __future__ import annotations

from dataclasses import dataclass

from runnel.errors import IllegalArgumentError, error
from runnel.functions.intervals import parse_interval
from runnel.plan.write_spec import Trigger

MS_PER_DAY = 86_400_000


@dataclass(frozen=True, slots=True)
class Schedule:
    """A trigger with its interval understood.

    interval_ms: 0 for the default trigger. single_batch: `once`. bounded: the query ends by itself.
    """

    kind: str
    interval_ms: int = 0

    @property
    def single_batch(self) -> bool:
        return self.kind == "once"

    @property
    def bounded(self) -> bool:
        return self.kind in ("once", "available_now")

    def next_trigger_ms(self, now_ms: int) -> int:
        """The first multiple of the interval after `now_ms`, in ms since the epoch."""
        return now_ms // self.interval_ms * self.interval_ms + self.interval_ms


def interval_ms(text: str) -> int:
    """A trigger's interval text in milliseconds; Spark's errors for bad units, months and negative values."""
    months, days, micros = parse_interval(text)
    if months:
        raise error("_LEGACY_ERROR_TEMP_3262", interval=text)
    total = days * MS_PER_DAY + micros // 1000
    if total < 0:
        raise IllegalArgumentError("_LEGACY_ERROR_TEMP_NEGATIVE_TRIGGER", {"interval": text})
    return total


def schedule_of(trigger: Trigger) -> Schedule:
    """The schedule that the user's trigger asks for."""
    needs_interval = trigger.kind in ("processing_time", "continuous", "real_time")
    ms = interval_ms(trigger.interval) if needs_interval and trigger.interval is not None else 0
    return Schedule(trigger.kind, ms)
