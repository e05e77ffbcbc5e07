"""The micro-batch protocol: crashes between any two steps, triggers by an injected clock, recovery."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from runnel.checkpoint.commit_log import CommitLog
from runnel.checkpoint.offset_log import OffsetLog
from runnel.clock import ManualClock
from runnel.errors import StreamingQueryError
from runnel.plan.relations import Read, Relation
from runnel.plan.write_spec import StreamWriteSpec, Trigger
from runnel.runtime.checkpointing import QueryCheckpoint
from runnel.runtime.query import StreamingQuery
from runnel.session import Session
from runnel.sinks.files import FileSink
from runnel.sources.memory import MemoryStream
from runnel.sql import parse_schema, parse_statement

SECOND = 1_000_000
SCHEMA = parse_schema("k string, t timestamp, v bigint")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_700_000_000_000)


@pytest.fixture
def session(clock: ManualClock) -> Iterator[Session]:
    made = Session.create({"spark.master": "local[1]", "spark.sql.session.timeZone": "UTC"}, clock)
    yield made
    made.stop()
    made.application.close()


@pytest.fixture
def events(session: Session) -> MemoryStream:
    stream = MemoryStream(SCHEMA)
    read = Read(format="memory", options={"stream": stream.id}, streaming=True, plan_id=1)
    session.create_view("events", read, replace_existing=True)
    return stream


def frame(text: str) -> Relation:
    made = parse_statement(text)
    assert isinstance(made, Relation)
    return made


WINDOWED = (
    "SELECT window.start AS w, k, count(*) AS n, sum(v) AS s "
    "FROM events WATERMARK t DELAY OF INTERVAL 5 SECONDS GROUP BY window(t, '10 seconds'), k"
)
DISTINCT = "SELECT k, t, v FROM events WATERMARK t DELAY OF INTERVAL 5 SECONDS"


def add(events: MemoryStream, *rows: tuple[str | None, int, int]) -> None:
    table = pa.table(
        {
            "k": pa.array([r[0] for r in rows], pa.string()),
            "t": pa.array([r[1] * SECOND for r in rows], pa.timestamp("us")),
            "v": pa.array([r[2] for r in rows], pa.int64()),
        }
    )
    events.add_data(table)


def start(session: Session, text: str, tmp_path: Path, **more: Any) -> StreamingQuery:
    settings: dict[str, Any] = {
        "plan": frame(text),
        "format": "parquet",
        "path": str(tmp_path / "out"),
        "options": {"checkpointLocation": str(tmp_path / "cp")},
    }
    return session.start_stream(StreamWriteSpec(**(settings | more)))


def written(session: Session, tmp_path: Path) -> Counter[tuple[Any, ...]]:
    read = Read(format="parquet", paths=(str(tmp_path / "out"),))
    return Counter(tuple(row.values()) for row in session.collect(read).to_pylist())


class Crash(Exception):
    """What the tests throw where a process might die."""


POINTS = [
    (QueryCheckpoint, "write_offsets", "before"),
    (QueryCheckpoint, "write_offsets", "after"),
    (FileSink, "add_batch", "before"),
    (FileSink, "add_batch", "after"),
    (QueryCheckpoint, "commit_state", "before"),
    (QueryCheckpoint, "commit_state", "after"),
    (QueryCheckpoint, "write_commit", "before"),
    (QueryCheckpoint, "write_commit", "after"),
]


@pytest.mark.parametrize(("owner", "method", "when"), POINTS, ids=lambda p: p if isinstance(p, str) else p.__name__)
def test_a_crash_between_any_two_steps_loses_and_doubles_nothing(
    session: Session,
    events: MemoryStream,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    owner: type,
    method: str,
    when: str,
) -> None:
    original = getattr(owner, method)
    left = [3]  # the third call dies

    def dying(self: Any, *args: Any) -> Any:
        left[0] -= 1
        if left[0] == 0 and when == "before":
            raise Crash
        result = original(self, *args)
        if left[0] == 0:
            raise Crash
        return result

    for i in range(4):
        add(events, ("a", 10 * i, 1), ("b", 10 * i + 1, 2), ("a", 10 * i + 3, 4))
        if i == 2:
            monkeypatch.setattr(owner, method, dying)
        query = start(session, WINDOWED, tmp_path, trigger=Trigger("available_now"))
        try:
            query.await_termination()
        except StreamingQueryError as failed:
            assert isinstance(failed.__cause__, Crash)
            monkeypatch.setattr(owner, method, original)
            start(session, WINDOWED, tmp_path, trigger=Trigger("available_now")).await_termination()
    add(events, ("end", 1_000, 0))
    start(session, WINDOWED, tmp_path, trigger=Trigger("available_now")).await_termination()
    found = {(row[0].second + 60 * row[0].minute, *row[1:]): n for row, n in written(session, tmp_path).items()}
    expected = {(10 * i, "a", 2, 5): 1 for i in range(4)} | {(10 * i, "b", 1, 2): 1 for i in range(4)}
    assert found == expected


def test_a_rerun_keeps_offsets_watermark_and_time(
    session: Session, events: MemoryStream, tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(events, ("a", 100, 1))
    start(session, WINDOWED, tmp_path, trigger=Trigger("available_now")).await_termination()
    before = (tmp_path / "cp" / "offsets" / "1").read_bytes()  # the batch without data that the watermark asked for
    (tmp_path / "cp" / "commits" / "1").unlink()
    clock.advance(60_000)
    add(events, ("a", 300, 1))
    start(session, WINDOWED, tmp_path, trigger=Trigger("once")).await_termination()
    assert (tmp_path / "cp" / "offsets" / "1").read_bytes() == before
    assert CommitLog(tmp_path / "cp" / "commits").latest_id() == 1


def test_what_the_watermark_has_passed_waits_for_data_after_a_restart(
    session: Session, events: MemoryStream, tmp_path: Path
) -> None:
    session.conf.set("spark.sql.streaming.noDataMicroBatches.enabled", "false")
    add(events, ("a", 0, 1), ("a", 100, 1))
    start(session, WINDOWED, tmp_path, trigger=Trigger("available_now")).await_termination()
    session.conf.set("spark.sql.streaming.noDataMicroBatches.enabled", "true")
    query = start(session, WINDOWED, tmp_path)
    query.process_all_available()
    assert not written(session, tmp_path)
    add(events, ("b", 101, 1))
    query.process_all_available()
    query.stop()
    assert [row[1:] for row in written(session, tmp_path)] == [("a", 1, 1)]


def test_processing_time_fires_at_once_and_then_at_multiples_since_the_epoch(
    session: Session, events: MemoryStream, tmp_path: Path, clock: ManualClock
) -> None:
    clock.advance(3_000)
    add(events, ("a", 0, 1))
    query = start(session, DISTINCT, tmp_path, trigger=Trigger("processing_time", "10 seconds"))
    offsets = OffsetLog(tmp_path / "cp" / "offsets")
    stamps = []
    for batch in range(3):
        wait_for(lambda batch=batch: CommitLog(tmp_path / "cp" / "commits").latest_id() == batch, query)
        found = offsets.get(batch)
        assert found is not None
        assert found.metadata is not None
        stamps.append(found.metadata.batch_timestamp_ms - 1_700_000_000_000)
        add(events, ("a", 0, 1))
        clock.advance(10_000 if batch else 7_000)
    query.stop()
    assert stamps == [3_000, 10_000, 20_000]


def wait_for(condition: Any, query: StreamingQuery) -> None:
    """Until the condition holds; fails with the query's own error if it ends first."""
    while not condition():
        if query.await_termination(0.01):
            pytest.fail("the query ended")


def test_idle_progress_is_reported_once_and_then_every_interval(
    session: Session, events: MemoryStream, tmp_path: Path, clock: ManualClock
) -> None:
    seen: list[Any] = []

    class Listener:
        def on_event(self, event: Any) -> None:
            seen.append(type(event).__name__)

    session.streams.add_listener(Listener())
    query = start(session, DISTINCT, tmp_path)
    query.process_all_available()
    (first,) = query.recent_progress()
    assert (first.batch_id, first.num_input_rows) == (0, 0)
    add(events, ("a", 0, 1))
    query.process_all_available()
    clock.advance(10_000)
    wait_for(lambda: len(query.recent_progress()) == 3, query)
    query.stop()
    session.streams.bus.drain()
    assert seen == ["QueryStarted", "QueryProgress", "QueryIdle", "QueryTerminated"]
    assert [p.batch_id for p in query.recent_progress()] == [0, 0, 1]


def test_logs_keep_as_many_batches_as_are_asked_for(session: Session, events: MemoryStream, tmp_path: Path) -> None:
    session.conf.set("spark.sql.streaming.minBatchesToRetain", "2")
    query = start(session, WINDOWED, tmp_path)
    for i in range(6):
        add(events, ("a", 10 * i, 1))
        query.process_all_available()
    query.stop()
    last = OffsetLog(tmp_path / "cp" / "offsets").latest_id()
    assert last is not None
    assert OffsetLog(tmp_path / "cp" / "offsets").list_ids() == [last - 2, last - 1, last]


def test_a_changed_query_is_refused(session: Session, events: MemoryStream, tmp_path: Path) -> None:
    add(events, ("a", 0, 1))
    start(session, WINDOWED, tmp_path, trigger=Trigger("available_now")).await_termination()
    for text, condition in (
        (DISTINCT, "STREAMING_STATEFUL_OPERATOR_NOT_MATCH_IN_STATE_METADATA"),
        (WINDOWED.replace("sum(v)", "max(k)"), "STATE_STORE_VALUE_SCHEMA_NOT_COMPATIBLE"),
        (WINDOWED.replace(", k", ", v").replace(" k,", " v,"), "STATE_STORE_KEY_SCHEMA_NOT_COMPATIBLE"),
    ):
        query = start(session, text, tmp_path, trigger=Trigger("available_now"))
        with pytest.raises(StreamingQueryError) as failed:
            query.await_termination()
        assert getattr(failed.value.__cause__, "condition", None) == condition


def test_pinned_settings_outlive_the_session(session: Session, events: MemoryStream, tmp_path: Path) -> None:
    session.conf.set("spark.sql.shuffle.partitions", "7")
    add(events, ("a", 0, 1))
    start(session, WINDOWED, tmp_path, trigger=Trigger("available_now")).await_termination()
    session.conf.set("spark.sql.shuffle.partitions", "3")
    add(events, ("a", 50, 1))
    query = start(session, WINDOWED, tmp_path, trigger=Trigger("available_now"))
    query.await_termination()
    last = query.last_progress()
    assert last is not None
    assert last.operators[0].num_shuffle_partitions == 7


def test_temporary_checkpoints_go_unless_the_query_failed(
    session: Session, events: MemoryStream, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made: list[Path] = []

    def folder(prefix: str) -> str:
        path = tmp_path / f"{prefix}{len(made)}"
        path.mkdir()
        made.append(path)
        return str(path)

    monkeypatch.setattr("runnel.runtime.start.tempfile.mkdtemp", folder)

    def fail(*_: Any) -> None:
        raise ValueError("no")

    add(events, ("a", 0, 1))
    for function in (lambda *_: None, fail):
        spec = StreamWriteSpec(
            plan=frame(DISTINCT), foreach_batch=function, trigger=Trigger("available_now"), output_mode="append"
        )
        query = session.start_stream(spec)
        if function is fail:
            with pytest.raises(StreamingQueryError):
                query.await_termination()
        else:
            query.await_termination()
    assert [path.exists() for path in made] == [False, True]
