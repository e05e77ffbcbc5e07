"""Event-time statistics and the global watermark."""

import pyarrow as pa
import pytest

from runnel.runtime.watermark import EventTimeStats, WatermarkTracker


def stats(*micros: int | None) -> EventTimeStats:
    return EventTimeStats.of(pa.chunked_array([pa.array(micros, pa.timestamp("us"))]))


def test_statistics_are_whole_milliseconds_and_nulls_count_as_the_epoch() -> None:
    assert stats(1_999, 5_000) == EventTimeStats(2, 1, 5, 3.4995)
    assert stats(None, 4_000) == EventTimeStats(2, 0, 4, 2.0)
    assert stats() == EventTimeStats()


def test_a_window_counts_by_its_end() -> None:
    window = pa.array(
        [{"start": 0, "end": 7_000}], pa.struct([("start", pa.timestamp("us")), ("end", pa.timestamp("us"))])
    )
    assert EventTimeStats.of(pa.chunked_array([window])).max_ms == 7


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("min", [0, 0, 40, 40, 90]), ("max", [90, 90, 90, 190, 190])],
)
def test_two_nodes(policy: str, expected: list[int]) -> None:
    tracker = WatermarkTracker((10, 10), policy)
    seen = [
        (stats(100_000), stats()),
        (stats(), stats()),
        (stats(20_000), stats(50_000)),
        (stats(200_000), stats(30_000)),
        (stats(), stats(100_000)),
    ]
    assert [tracker.advance(pair) for pair in seen] == expected


def test_it_starts_where_it_was_and_never_goes_back() -> None:
    tracker = WatermarkTracker((5,), "min", start_ms=1_000)
    assert tracker.advance((stats(500_000),)) == 1_000
    assert tracker.advance((stats(2_000_000),)) == 1_995


def test_without_nodes_it_stays() -> None:
    assert WatermarkTracker(()).advance(()) == 0


def test_unknown_policy() -> None:
    with pytest.raises(ValueError, match="neither min nor max"):
        WatermarkTracker((), "median")
