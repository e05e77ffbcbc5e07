"""Streaming queries as a program meets them through the official client: life, waiting, errors, listeners."""

from __future__ import annotations

import errno
import json
import os
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyspark.errors import (
    AnalysisException,
    IllegalArgumentException,
    PySparkAttributeError,
    PySparkException,
    StreamingQueryException,
)
from pyspark.sql import functions as F
from pyspark.sql.streaming import StreamingQueryListener


def numbers(spark: Any) -> Any:
    """A stream without end: three rows a batch, as fast as batches go."""
    return spark.readStream.format("rate-micro-batch").option("rowsPerBatch", 3).load()


def files(spark: Any, folder: Path, count: int = 3) -> Any:
    """A stream of so many files, one a batch, with the numbers 0, 1, … in them."""
    folder.mkdir(exist_ok=True)
    for number in range(count):
        path = folder / f"f{number}.json"
        path.write_text(json.dumps({"a": number}), encoding="utf-8")
        os.utime(path, (1_700_000_000 + number,) * 2)
    return spark.readStream.schema("a long").option("maxFilesPerTrigger", 1).json(str(folder))


def until(condition: Callable[[], Any]) -> None:
    """Waits until something has happened."""
    for _ in range(2000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it did not happen")


def ending(query: Any) -> StreamingQueryException:
    """What ended a query; the manager forgets it."""
    with pytest.raises(StreamingQueryException) as caught:
        query.awaitTermination(60)
    return caught.value


@pytest.fixture(autouse=True)
def clean(spark: Any) -> Any:
    yield
    for query in spark.streams.active:
        query.stop()
    spark.streams.resetTerminated()


# ---------------------------------------------------------------------------------------------------------- triggers


@pytest.mark.parametrize(
    ("trigger", "ends", "expected"),
    [
        ({}, False, [(0, 1), (1, 1), (2, 1)]),
        ({"processingTime": "20 milliseconds"}, False, [(0, 1), (1, 1), (2, 1)]),
        ({"processingTime": "0 seconds"}, False, [(0, 1), (1, 1), (2, 1)]),
        ({"once": True}, True, [(0, 3)]),
        ({"availableNow": True}, True, [(0, 1), (1, 1), (2, 1)]),
    ],
)
def test_triggers(
    spark: Any, tmp_path: Path, trigger: dict[str, Any], ends: bool, expected: list[tuple[int, int]]
) -> None:
    writer = files(spark, tmp_path / "in").writeStream.format("noop")
    query = (writer.trigger(**trigger) if trigger else writer).start()
    query.awaitTermination(60) if ends else query.processAllAvailable()
    assert query.isActive is not ends
    query.stop()
    assert [(p.batchId, p.numInputRows) for p in query.recentProgress if p.numInputRows] == expected
    assert query.status == {"message": "Stopped", "isDataAvailable": False, "isTriggerActive": False}


@pytest.mark.parametrize(
    ("trigger", "error"),
    [
        ({"processingTime": "abc"}, "INVALID_INTERVAL_FORMAT"),
        ({"processingTime": "5 parsecs"}, "INVALID_INTERVAL_FORMAT"),
        ({"processingTime": "-1 second"}, "negative"),
        ({"processingTime": "1 month"}, "month"),
        ({"processingTime": ""}, "VALUE_NOT_NON_EMPTY_STR"),
        ({"once": False}, "VALUE_NOT_TRUE"),
        ({"availableNow": False}, "VALUE_NOT_TRUE"),
        ({}, "ONLY_ALLOW_SINGLE_TRIGGER"),
        ({"once": True, "availableNow": True}, "ONLY_ALLOW_SINGLE_TRIGGER"),
        ({"realTime": "5 seconds"}, "STREAMING_REAL_TIME_MODE.OUTPUT_MODE_NOT_SUPPORTED"),
    ],
)
def test_triggers_that_are_refused(spark: Any, trigger: dict[str, Any], error: str) -> None:
    with pytest.raises(PySparkException, match=error):
        numbers(spark).writeStream.format("noop").trigger(**trigger).start()


# -------------------------------------------------------------------------------------------------- one query's life


def test_what_a_query_says_of_itself(spark: Any, capsys: pytest.CaptureFixture[str]) -> None:
    query = numbers(spark).writeStream.format("memory").queryName("told").start()
    until(lambda: query.lastProgress)
    assert (query.name, query.isActive, query.exception(), query.id != query.runId) == ("told", True, None, True)
    progress = query.lastProgress
    assert (progress.numInputRows, progress.sources[0].numInputRows, progress["name"]) == (3, 3, "told")
    assert json.loads(progress.json)["runId"] == query.runId
    assert query.recentProgress[0].batchId == 0
    query.explain()
    assert "MemorySink" in capsys.readouterr().out
    assert query.awaitTermination(0.01) is False
    with pytest.raises(PySparkException, match="VALUE_NOT_POSITIVE"):
        query.awaitTermination(0)
    assert [q.name for q in spark.streams.active] == ["told"]
    assert spark.streams.get(query.id).runId == query.runId
    query.stop()
    query.stop()
    assert (query.awaitTermination(), query.awaitTermination(1), query.isActive) == (None, True, False)
    query.processAllAvailable()
    assert spark.streams.active == []
    assert spark.streams.get(query.id) is None
    assert spark.table("told").count() % 3 == 0


def test_a_name_in_use_is_refused_and_its_table_stays(spark: Any) -> None:
    query = numbers(spark).writeStream.format("memory").queryName("mine").start()
    until(lambda: query.lastProgress)
    with pytest.raises(IllegalArgumentException, match="mine"):
        numbers(spark).writeStream.format("memory").queryName("mine").start()
    assert spark.table("mine").count() > 0
    query.stop()
    numbers(spark).writeStream.format("memory").queryName("mine").start().stop()


def test_the_memory_sink_starts_afresh_only_in_complete_mode(spark: Any, tmp_path: Path) -> None:
    def run(frame: Any, mode: str) -> None:
        writer = frame.writeStream.format("memory").queryName("kept").outputMode(mode)
        writer = writer.option("checkpointLocation", str(tmp_path / mode)).trigger(availableNow=True)
        assert writer.start().awaitTermination(60)

    frame = files(spark, tmp_path / "in")
    run(frame, "append")
    with pytest.raises(AnalysisException, match="start over"):
        run(frame, "append")
    for _ in range(2):
        run(frame.groupBy().count(), "complete")


def test_stopping_a_query_inside_a_slow_function(spark: Any) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def slow(frame: Any, batch_id: int) -> None:
        inside.set()
        go_on.wait(30)

    spark.conf.set("spark.sql.streaming.stopTimeout", "50ms")
    query = numbers(spark).writeStream.foreachBatch(slow).start()
    spark.conf.unset("spark.sql.streaming.stopTimeout")
    assert inside.wait(30)
    with pytest.raises(PySparkException, match="did not stop within the 50 ms"):
        query.stop()
    go_on.set()
    assert query.awaitTermination(30)
    assert query.exception() is None


def test_stopping_a_query_from_its_own_function(spark: Any) -> None:
    started, seen = threading.Event(), []

    def stop(frame: Any, batch_id: int) -> None:
        assert started.wait(30)
        query.stop()
        seen.append(batch_id)

    query = numbers(spark).writeStream.foreachBatch(stop).start()
    started.set()
    assert query.awaitTermination(30)
    assert (seen, query.exception()) == ([0], None)


def test_waiting_for_itself_is_refused(spark: Any) -> None:
    started = threading.Event()

    def wait(frame: Any, batch_id: int) -> None:
        assert started.wait(30)
        query.processAllAvailable()

    query = numbers(spark).writeStream.foreachBatch(wait).start()
    started.set()
    text = str(ending(query))
    assert "thread that runs the query" in text
    assert "INTERNAL_ERROR" not in text


# ----------------------------------------------------------------------------------------------------------- manager


def test_waiting_for_any_query(spark: Any, tmp_path: Path) -> None:
    spark.streams.resetTerminated()
    assert spark.streams.awaitAnyTermination(0.05) is False
    files(spark, tmp_path / "in").writeStream.format("noop").trigger(availableNow=True).start()
    assert spark.streams.awaitAnyTermination(30) is True
    spark.streams.resetTerminated()
    failing = numbers(spark).writeStream.foreachBatch(lambda df, i: 1 / 0).start()
    for _ in range(2):
        with pytest.raises(StreamingQueryException, match=failing.runId):
            spark.streams.awaitAnyTermination(30)
    assert spark.streams.get("00000000-0000-0000-0000-000000000000") is None
    with pytest.raises(IllegalArgumentException, match="nonsense"):
        spark.streams.get("nonsense")


def test_other_threads_have_the_same_session_and_queries(spark: Any) -> None:
    from pyspark.sql import SparkSession

    seen: list[Any] = []

    def work() -> None:
        session = SparkSession.builder.getOrCreate()
        query = numbers(session).writeStream.format("noop").queryName("threaded").start()
        seen.extend([session is spark, [q.name for q in spark.streams.active]])
        query.stop()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(30)
    assert seen == [True, ["threaded"]]


# ------------------------------------------------------------------------------------------------------------ errors


def _raises(frame: Any, batch_id: int) -> None:
    raise ValueError("of the user")


def _takes_one(frame: Any) -> None: ...


def _of_a_row(row: Any) -> None:
    raise KeyError("of the user")


@pytest.mark.parametrize(
    ("start", "parts"),
    [
        (lambda w: w.foreachBatch(_raises), ["ValueError: of the user", "in _raises"]),
        (lambda w: w.foreachBatch(_takes_one), ["TypeError", "_takes_one() takes 1 positional argument"]),
        (lambda w: w.foreach(_of_a_row), ["KeyError: 'of the user'", "in _of_a_row"]),
    ],
)
def test_errors_of_the_users_functions(spark: Any, start: Callable[[Any], Any], parts: list[str]) -> None:
    query = start(numbers(spark).writeStream).start()
    problem = ending(query)
    text = str(problem)
    assert problem.getCondition() == "STREAM_FAILED"
    assert query.runId in text
    assert "PYTHON_EXCEPTION" in text
    assert all(part in text for part in parts)
    assert f"{os.sep}runnel{os.sep}" not in text.replace(str(Path(__file__)), ""), "our own lines are left out"
    assert str(query.exception()).startswith("(STREAM_FAILED) ")
    assert query.status["message"].startswith("Terminated with exception: ")


def test_errors_of_udfs_and_expressions(spark: Any) -> None:
    @F.udf("int")
    def broken(value: int) -> int:
        return int(f"x{value}")

    text = str(ending(numbers(spark).select(broken("value")).writeStream.format("noop").start()))
    assert "in broken" in text
    assert "invalid literal" in text
    text = str(ending(numbers(spark).select(F.col("value") / 0).writeStream.format("noop").start()))
    assert "DIVIDE_BY_ZERO" in text


def test_what_start_refuses_and_what_only_the_run_finds(spark: Any, tmp_path: Path) -> None:
    stream = numbers(spark)
    for writer, error in (
        (stream.writeStream.format("nonsense"), "DATA_SOURCE_NOT_FOUND"),
        (stream.writeStream.format("json").option("path", str(tmp_path)), "checkpointLocation"),
        (stream.writeStream.format("json").option("checkpointLocation", str(tmp_path / "c")), "path"),
        (stream.writeStream.format("memory"), "queryName"),
        (stream.writeStream.format("noop").outputMode("nonsense"), "STREAMING_OUTPUT_MODE"),
        (stream.writeStream.format("noop").outputMode("complete"), "STREAMING_OUTPUT_MODE"),
        (spark.range(3).writeStream.format("noop"), "WRITE_STREAM_NOT_ALLOWED"),
    ):
        with pytest.raises(PySparkException, match=error):
            writer.start()
    for reader, error in (
        (spark.readStream.format("nonsense"), "DATA_SOURCE_NOT_FOUND"),
        (spark.readStream.schema("a int").format("json").option("path", str(tmp_path / "nope")), "PATH_NOT_FOUND"),
        (spark.readStream.format("json").option("path", str(tmp_path)), "schema"),
        (spark.readStream.format("socket").option("host", "localhost"), "port"),
    ):
        with pytest.raises(PySparkException, match=error):
            reader.load().schema  # noqa: B018
    query = stream.writeStream.format("console").option("numRows", "many").start()
    assert "many" in str(ending(query))
    with pytest.raises(PySparkAttributeError, match="process"):
        stream.writeStream.foreach(object())


def test_temporary_checkpoints_go_with_their_query(spark: Any, monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    query = numbers(spark).writeStream.format("noop").start()
    assert len(list(tmp_path.iterdir())) == 1
    query.stop()
    assert list(tmp_path.iterdir()) == []
    ending(numbers(spark).writeStream.foreachBatch(_raises).start())
    assert len(list(tmp_path.iterdir())) == 1, "what a failed query leaves can be looked at until the end"


def test_a_full_disk_loses_nothing(spark: Any, tmp_path: Path, monkeypatch: Any) -> None:
    from runnel.sinks.file_formats import FileFormat

    frame = files(spark, tmp_path / "in")
    out = tmp_path / "out"

    def run() -> Any:
        writer = frame.writeStream.format("json").option("checkpointLocation", str(tmp_path / "c"))
        return writer.trigger(availableNow=True).start(str(out))

    whole = FileFormat.write
    written: list[Path] = []

    def full(self: Any, table: Any, path: Path, *, sync: bool) -> None:
        whole(self, table, path, sync=sync)
        written.append(path)
        if len(written) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(FileFormat, "write", full)
        assert "No space left on device" in str(ending(run()))
    assert run().awaitTermination(60)
    assert sorted(r.a for r in spark.read.schema("a long").json(str(out)).collect()) == [0, 1, 2]


# ------------------------------------------------------------------------------------------------ foreach, listeners


def test_foreach_writers_and_closures(spark: Any, tmp_path: Path) -> None:
    calls: list[Any] = []

    class Writer:
        def open(self, partition: int, epoch: int) -> bool:
            calls.append(("open", epoch))
            return epoch != 1

        def process(self, row: Any) -> None:
            calls.append(row.a)

        def close(self, error: Exception | None) -> None:
            calls.append(("close", error))

    frame = files(spark, tmp_path / "in")
    assert frame.writeStream.foreach(Writer()).trigger(availableNow=True).start().awaitTermination(60)
    assert calls == [
        *(("open", 0), 0, ("close", None)),
        *(("open", 1), ("close", None)),
        *(("open", 2), 2, ("close", None)),
    ]
    taken: list[Any] = []
    writer = frame.writeStream.foreachBatch(lambda df, i: taken.append((i, df.isStreaming, df.count())))
    assert writer.trigger(availableNow=True).start().awaitTermination(60)
    assert taken == [(0, False, 1), (1, False, 1), (2, False, 1)]


class Recorder(StreamingQueryListener):
    def __init__(self) -> None:
        self.events: list[Any] = []

    def onQueryStarted(self, event: Any) -> None:
        self.events.append(("started", event.name))

    def onQueryProgress(self, event: Any) -> None:
        self.events.append(("progress", event.progress.batchId, event.progress.numInputRows))

    def onQueryIdle(self, event: Any) -> None:
        self.events.append("idle")

    def onQueryTerminated(self, event: Any) -> None:
        self.events.append(("terminated", event.errorClassOnException))


class Broken(StreamingQueryListener):
    def onQueryStarted(self, event: Any) -> None:
        raise ValueError("of a listener")

    onQueryProgress = onQueryIdle = onQueryTerminated = onQueryStarted


def test_listeners_hear_all_four_events(spark: Any, tmp_path: Path) -> None:
    recorder, broken = Recorder(), Broken()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spark.streams.addListener(broken)
        spark.streams.addListener(recorder)
        spark.conf.set("spark.sql.streaming.noDataProgressEventInterval", "10ms")
        query = files(spark, tmp_path / "in").writeStream.format("noop").queryName("heard").start()
        spark.conf.unset("spark.sql.streaming.noDataProgressEventInterval")
        until(lambda: "idle" in recorder.events)
        query.stop()
        until(lambda: ("terminated", None) in recorder.events)
        expected = [("started", "heard"), ("progress", 0, 1), ("progress", 1, 1), ("progress", 2, 1), "idle"]
        assert recorder.events[:5] == expected
        assert recorder.events[-1] == ("terminated", None)
        numbers(spark).writeStream.foreachBatch(_raises).start()
        until(lambda: ("terminated", "PYTHON_EXCEPTION") in recorder.events)
        spark.streams.removeListener(recorder)
        spark.streams.removeListener(broken)
    heard = len(recorder.events)
    files(spark, tmp_path / "in").writeStream.format("noop").trigger(availableNow=True).start().awaitTermination(60)
    assert len(recorder.events) == heard
