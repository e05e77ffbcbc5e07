"""What each micro-batch gives out, from the client's calls to the sink; the expected rows are what Spark 4.2 gave."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pyspark.errors import AnalysisException, StreamingQueryException
from pyspark.sql import functions as F

Rows = list[dict[str, Any]]
Feed = Callable[[str, list[Rows]], Any]

EVENTS = "k string, t timestamp, v int"


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    from pyspark.sql import SparkSession

    made = (
        SparkSession.builder.master("local[2]")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.shuffle.partitions", "2")
        .getOrCreate()
    )
    yield made
    made.stop()


@pytest.fixture
def feed(spark: Any, tmp_path: Path) -> Feed:
    """A streaming frame with one file, and so one batch, for each list of rows."""

    def make(schema: str, batches: list[Rows]) -> Any:
        folder = tmp_path / "in"
        folder.mkdir()
        for number, rows in enumerate(batches):
            path = folder / f"{number:04d}.json"
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
            os.utime(path, (1_700_000_000 + number, 1_700_000_000 + number))
        return spark.readStream.schema(schema).option("maxFilesPerTrigger", 1).json(str(folder))

    return make


def run(frame: Any, mode: str) -> dict[int, list[tuple[Any, ...]]]:
    """The rows of each batch that had any, sorted."""
    given: dict[int, list[tuple[Any, ...]]] = {}

    def keep(batch: Any, number: int) -> None:
        rows = sorted((tuple(row) for row in batch.collect()), key=repr)
        if rows:
            given[number] = rows

    query = frame.writeStream.outputMode(mode).foreachBatch(keep).trigger(availableNow=True).start()
    query.awaitTermination()
    return given


def event(k: str | None, time: str, v: int | None = 1) -> dict[str, Any]:
    return {"k": k, "t": f"2024-01-01 {time}:00", "v": v}


def test_rows_that_a_later_filter_drops_do_not_move_the_watermark(feed: Feed) -> None:
    batches = [[event("a", "10:00"), event("b", "11:00")], [event("a", "10:02")], [event("a", "10:30")]]
    counted = feed(EVENTS, batches).withWatermark("t", "5 minutes").groupBy(F.window("t", "10 minutes"), "k").count()
    found = run(counted.filter("k = 'a'").select("k", "count"), "append")
    assert found == {3: [("a", 2)]}


def test_a_limit_of_a_complete_result_is_of_each_batch(feed: Feed) -> None:
    batches = [[event("a", "10:00"), event("b", "10:00")], [event("a", "10:00"), event("c", "10:00")]]
    top = feed(EVENTS, batches).groupBy("k").count().orderBy(F.desc("count"), "k").limit(2)
    assert run(top, "complete") == {0: [("a", 1), ("b", 1)], 1: [("a", 2), ("b", 1)]}


def test_select_distinct_is_a_grouping(spark: Any, feed: Feed) -> None:
    feed("k string", [[{"k": "a"}, {"k": "b"}], [{"k": "a"}]]).createOrReplaceTempView("letters")
    frame = spark.sql("SELECT DISTINCT k FROM letters")
    assert run(frame, "update") == {0: [("a",), ("b",)], 1: [("a",)]}
    with pytest.raises(AnalysisException) as caught:
        frame.writeStream.outputMode("append").format("noop").start()
    assert caught.value.getCondition() == "STREAMING_OUTPUT_MODE.UNSUPPORTED_OPERATION"


def test_nulls_inside_structs_come_first(feed: Feed) -> None:
    batches = [
        [{"v": 3, "s": {"x": 1, "y": "p"}}, {"v": 1, "s": {"x": None, "y": "q"}}, {"v": 9, "s": None}],
        [{"v": 5, "s": {"x": 0, "y": None}}],
    ]
    frame = feed("v int, s struct<x:int,y:string>", batches)
    most = frame.agg(F.min("s").alias("a"), F.max("s").alias("b"), F.min_by("v", "s"), F.max_by("v", "s"))
    expected = [((None, "q"), (1, "p"), 1, 3)]
    assert {n: [(tuple(r[0]), tuple(r[1]), *r[2:]) for r in rows] for n, rows in run(most, "update").items()} == {
        0: expected,
        1: expected,
    }


def test_long_numbers_beside_decimals_keep_their_digits(feed: Feed) -> None:
    rows = [{"l": 2**53 + 1, "d": 0.1 + 0.2, "e": 1.25}]
    (found,) = run(feed("l long, d double, e decimal(10,2)", [rows]), "append")[0]
    assert found[:2] == (2**53 + 1, 0.1 + 0.2)


def test_a_gap_that_is_null_makes_no_session(feed: Feed) -> None:
    batches = [[event("a", "10:00", 2), event("a", "10:01", None)], [event("z", "12:00")]]
    gap = F.expr("make_interval(0, 0, 0, 0, 0, v, 0)")
    frame = feed(EVENTS, batches).withWatermark("t", "1 minute").groupBy(F.session_window("t", gap), "k").count()
    assert run(frame.select("k", "count"), "append") == {2: [("a", 1)]}


def test_a_second_watermark_is_refused_once_the_first_moves(feed: Feed) -> None:
    frame = feed(EVENTS, [[event("a", "10:00")], [event("a", "11:00")]])
    twice = frame.withWatermark("t", "5 minutes").withWatermark("t", "10 minutes")
    with pytest.raises(StreamingQueryException):
        run(twice.groupBy(F.window("t", "10 minutes")).count(), "append")


@pytest.mark.parametrize(
    ("schema", "build", "condition"),
    [
        (
            "k string, t timestamp_ntz",
            lambda f: f.withWatermark("t", "1 minute").groupBy("t").count(),
            "EVENT_TIME_IS_NOT_ON_TIMESTAMP_TYPE",
        ),
        ("m map<string,int>", lambda f: f.distinct(), "UNSUPPORTED_FEATURE.SET_OPERATION_ON_MAP_TYPE"),
    ],
)
def test_refused(feed: Feed, schema: str, build: Callable[[Any], Any], condition: str) -> None:
    with pytest.raises(AnalysisException) as caught:
        run(build(feed(schema, [[]])), "update")
    assert caught.value.getCondition() == condition


def test_within_watermark_is_for_streams_only(spark: Any) -> None:
    with pytest.raises(AnalysisException):
        spark.range(3).dropDuplicatesWithinWatermark(["id"]).collect()
