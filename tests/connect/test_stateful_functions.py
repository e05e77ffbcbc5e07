"""Programs with applyInPandasWithState through the official client; rows and refusals as recorded from Spark 4.2."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from pyspark.errors import AnalysisException, IllegalArgumentException, PythonException, StreamingQueryException
from pyspark.sql import functions as F

from runnel.testing.memory_stream import MemoryStream

EVENTS = "k string, t timestamp, v int"


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    from pyspark.sql import SparkSession

    made = SparkSession.builder.master("local[2]").config("spark.sql.session.timeZone", "UTC").getOrCreate()
    yield made
    made.stop()


def event(k: str, time: str, v: int) -> dict[str, Any]:
    return {"k": k, "t": datetime.fromisoformat(f"2024-01-01 {time}"), "v": v}


def run(make: Any, spark: Any, batches: list[list[dict[str, Any]]], mode: str = "update") -> tuple[list[Any], Any]:
    """The rows that each batch handed to the sink, sorted, and the query's progress entries of batches that ran."""
    stream, out = MemoryStream(EVENTS), []
    query = (
        make(stream.to_df(spark))
        .writeStream.outputMode(mode)
        .foreachBatch(lambda frame, i: out.append(sorted(map(tuple, frame.collect()))))
        .start()
    )
    try:
        for batch in batches:
            stream.add_data(batch)
            query.processAllAvailable()
        return out, [p for p in query.recentProgress if p["durationMs"].get("addBatch") is not None]
    finally:
        query.stop()


LATE = [
    [event("a", "10:00", 1), event("b", "10:01", 2)],
    [event("a", "10:09", 3), event("a", "09:59", 4)],
    [event("b", "10:30", 5)],
    [event("a", "10:05", 6), event("a", "10:21", 7)],
]


def running_total(key: Any, frames: Any, state: Any) -> Iterator[Any]:
    import pandas as pd

    total = state.get[0] if state.exists else 0
    for frame in frames:
        total += int(frame["v"].sum())
    state.update((total,))
    yield pd.DataFrame({"k": [key[0]], "total": [total]})


def with_total(frame: Any, mode: str = "update", timeout: str = "NoTimeout") -> Any:
    return frame.groupBy("k").applyInPandasWithState(running_total, "k string, total long", "total long", mode, timeout)


def test_a_running_total(spark: Any) -> None:
    out, progress = run(with_total, spark, LATE)
    assert out == [[("a", 1), ("b", 2)], [("a", 8)], [("b", 7)], [("a", 21)]]
    operators = [p["stateOperators"][0] for p in progress]
    assert [(o["operatorName"], o["numRowsTotal"], o["numRowsUpdated"]) for o in operators] == [
        ("applyInPandasWithState", 2, 2),
        ("applyInPandasWithState", 2, 1),
        ("applyInPandasWithState", 2, 1),
        ("applyInPandasWithState", 2, 1),
    ]


def test_timeouts_stay_until_state_is_written(spark: Any) -> None:
    """A function that leaves state and timeout alone is called again in each batch after the timeout."""

    def watch(key: Any, frames: Any, state: Any) -> Iterator[Any]:
        import pandas as pd

        frames = list(frames)
        values = [v for f in frames for v in f["v"].tolist()]
        if not state.hasTimedOut and 1 in values:
            state.update((1,))
            state.setTimeoutTimestamp((state.getCurrentWatermarkMs() or 1704103260000 - 1000) + 1000)
        what = f"{state.getCurrentWatermarkMs()} {state.hasTimedOut} {state.exists} {state.getOption} {values}"
        columns = ",".join(frames[0].columns)
        yield pd.DataFrame({"k": [key[0]], "s": [f"{len(frames)} {columns} {what}"]})

    batches = [
        [event("a", "10:00", 1)],
        [event("b", "10:10", 1)],
        [event("a", "10:11", 0), event("b", "09:10", 7)],
        [event("b", "10:40", 0)],
    ]
    out, progress = run(
        lambda frame: (
            frame.withWatermark("t", "1 minute")
            .groupBy("k")
            .applyInPandasWithState(watch, "k string, s string", "n long", "update", "EventTimeTimeout")
        ),
        spark,
        batches,
    )
    twice = ["a 1 k,t,v {} True True (1,) []", "b 1 k,t,v {} True True (1,) []"]
    assert [[f"{k} {s}" for k, s in rows] for rows in out] == [
        ["a 1 k,t,v 0 False True (1,) [1]"],
        [],
        ["b 1 k,t,v 1704103140000 False True (1,) [1]"],
        [s.format(1704103740000) for s in twice],
        ["a 1 k,t,v 1704103740000 False True (1,) [0]", *(s.format(1704103740000) for s in twice)],
        [s.format(1704103800000) for s in twice],
        [twice[0].format(1704103800000), "b 1 k,t,v 1704103800000 False True (1,) [0]", twice[1].format(1704103800000)],
        [s.format(1704105540000) for s in twice],
    ]  # fmt: skip
    assert sum(p["stateOperators"][0]["numRowsDroppedByWatermark"] for p in progress) == 1


def test_sessions_by_processing_time(spark: Any) -> None:
    """PySpark's documented use: count until a key was quiet for a while."""

    def count(key: Any, frames: Any, state: Any) -> Iterator[Any]:
        import pandas as pd

        if state.hasTimedOut:
            (n,) = state.get
            state.remove()
            yield pd.DataFrame({"id": [key[0]], "count": [n]})
        else:
            n = sum(len(f) for f in frames) + (state.getOption or (0,))[0]
            state.update((n,))
            state.setTimeoutDuration(1)

    def quiet(frame: Any) -> Any:
        return frame.groupBy(frame["k"]).applyInPandasWithState(
            count, "id string, count long", "len long", "append", "ProcessingTimeTimeout"
        )

    stream, out, both = MemoryStream(EVENTS), [], threading.Event()

    def note(row: Any) -> None:
        out.append(row)
        if len(out) == 2:
            both.set()

    query = quiet(stream.to_df(spark)).writeStream.foreach(note).start()
    stream.add_data(LATE[0] + LATE[1])
    assert both.wait(60), query.exception()
    query.stop()
    assert {row.id: row["count"] for row in out} == {"a": 3, "b": 1}


def test_a_computed_key_and_no_key(spark: Any) -> None:
    out, _ = run(
        lambda frame: frame.groupBy((F.col("v") % 2).alias("odd"), F.length("k")).applyInPandasWithState(
            lambda key, frames, state: iter([next(iter(frames))[["v"]].assign(odd=key[0])]),
            "odd int, v int", "n long", "update", "NoTimeout",
        ),
        spark,
        LATE[:1],
    )  # fmt: skip
    assert out == [[(0, 2), (1, 1)]]


def test_times_in_the_state(spark: Any) -> None:
    """As Apache's session example has it: pandas' timestamps go into the state, empty frames are given out."""
    import pandas as pd

    def session(key: Any, frames: Any, state: Any) -> Iterator[Any]:
        first, last, n = state.getOption or (pd.Timestamp.max, pd.Timestamp.min, 0)
        for frame in frames:
            first, last, n = min(first, frame["t"].min()), max(last, frame["t"].max()), n + len(frame)
        state.update((first, last, n))
        yield pd.DataFrame()
        yield pd.DataFrame({"k": [key[0]], "start": [first], "end": [last], "n": [n]})

    out, _ = run(
        lambda frame: frame.groupBy("k").applyInPandasWithState(
            session, "k string, start timestamp, end timestamp, n int", "s timestamp, e timestamp, n int", "update",
            "NoTimeout",
        ),
        spark,
        LATE[:2],
    )  # fmt: skip

    def at(time: str) -> datetime:
        return datetime.fromisoformat(f"2024-01-01 {time}")

    assert out == [
        [("a", at("10:00"), at("10:00"), 1), ("b", at("10:01"), at("10:01"), 1)],
        [("a", at("09:59"), at("10:09"), 3)],
    ]


def test_what_is_refused(spark: Any) -> None:
    def refusal(make: Any, mode: str = "update") -> str:
        with pytest.raises(AnalysisException) as caught:
            run(make, spark, [], mode)
        return f"{caught.value.getCondition()}: {caught.value}"

    def counted(frame: Any) -> Any:
        return frame.groupBy("k").count().withColumnsRenamed({"count": "v"})

    def marked(frame: Any) -> Any:
        return frame.withWatermark("t", "1 minute")

    general = "_LEGACY_ERROR_TEMP_3102"
    assert general in refusal(with_total, "append")
    assert general in refusal(lambda f: with_total(f, "append"))
    assert "STREAMING_OUTPUT_MODE.UNSUPPORTED_OPERATION" in refusal(with_total, "complete")
    assert "watermark" in refusal(lambda f: with_total(f, "update", "EventTimeTimeout"))
    assert "correctness" in refusal(lambda f: with_total(counted(f), "append"))
    assert "with aggregation" in refusal(lambda f: counted(with_total(f)))
    assert "Multiple" in refusal(lambda f: with_total(with_total(f).withColumnRenamed("total", "v")))
    assert "correctness" in refusal(lambda f: with_total(marked(f), "append", "EventTimeTimeout").groupBy("k").count())
    assert "SOM" not in refusal(lambda f: with_total(f, "append").groupBy("k").count(), "append")
    assert run(lambda f: with_total(f, "append").groupBy("k").count(), spark, LATE[:2])[0] == [
        [("a", 1), ("b", 1)],
        [("a", 2)],
    ]
    with pytest.raises(IllegalArgumentException, match="groupBy needs a column"):
        _ = (
            spark.range(1)
            .groupBy()
            .applyInPandasWithState(running_total, "k long", "n long", "append", "NoTimeout")
            .schema
        )
    with pytest.raises(IllegalArgumentException, match="append or update"):
        _ = with_total(spark.range(1).selectExpr("'a' AS k", "1 AS v"), "complete").schema


def test_not_in_a_batch_query(spark: Any) -> None:
    with pytest.raises(Exception, match="applyInPandasWithState") as caught:
        with_total(spark.range(1).selectExpr("'a' AS k", "1 AS v")).collect()
    assert getattr(caught.value, "getCondition", lambda: "")() == "_LEGACY_ERROR_TEMP_3176"


def test_the_users_exception_ends_the_query(spark: Any) -> None:
    def wrong(key: Any, frames: Any, state: Any) -> Iterator[Any]:
        raise KeyError("mine")

    def make(frame: Any) -> Any:
        return frame.groupBy("k").applyInPandasWithState(wrong, "k string", "n long", "update", "NoTimeout")

    with pytest.raises((StreamingQueryException, PythonException), match="mine"):
        run(make, spark, LATE[:1])
