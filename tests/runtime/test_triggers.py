"""Trigger arithmetic: tables of inputs and outputs."""

import pytest

from runnel.errors import RunnelError
from runnel.plan.write_spec import Trigger
from runnel.runtime.triggers import Schedule, interval_ms, schedule_of


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("10 seconds", 10_000),
        ("interval 1 minute", 60_000),
        ("0 seconds", 0),
        ("1 day 2 hours", 93_600_000),
        ("500 milliseconds", 500),
    ],
)
def test_interval(text: str, ms: int) -> None:
    assert interval_ms(text) == ms


@pytest.mark.parametrize("text", ["1 month", "-5 seconds", "5 parsecs", "five seconds", ""])
def test_bad_interval(text: str) -> None:
    with pytest.raises(RunnelError):
        interval_ms(text)


@pytest.mark.parametrize(
    ("interval", "now", "due"),
    [(10_000, 0, 10_000), (10_000, 1, 10_000), (10_000, 9_999, 10_000), (10_000, 10_000, 20_000), (7, 100, 105)],
)
def test_next_trigger_is_a_multiple_since_the_epoch(interval: int, now: int, due: int) -> None:
    assert Schedule("processing_time", interval).next_trigger_ms(now) == due


@pytest.mark.parametrize(
    ("trigger", "bounded", "single"),
    [
        (Trigger(), False, False),
        (Trigger("processing_time", "1 second"), False, False),
        (Trigger("once"), True, True),
        (Trigger("available_now"), True, False),
    ],
)
def test_kinds(trigger: Trigger, bounded: bool, single: bool) -> None:
    schedule = schedule_of(trigger)
    assert (schedule.bounded, schedule.single_batch) == (bounded, single)
