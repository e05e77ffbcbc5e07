"""Programs with transformWithState through the official client; rows, calls and refusals as recorded from Spark 4.2."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.errors import AnalysisException, PySparkException
from pyspark.sql import Row
from pyspark.sql import functions as F
from pyspark.sql.streaming.stateful_processor import StatefulProcessor

from runnel.testing.memory_stream import MemoryStream

EVENTS = "k int, t timestamp, v int"
ROCKSDB = "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider"
PROVIDER = "spark.sql.streaming.stateStore.providerClass"
MS_1000 = 1704103200000  # 2024-01-01 10:00


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    from pyspark.sql import SparkSession

    made = (
        SparkSession.builder.master("local[2]")
        .config("spark.sql.session.timeZone", "UTC")
        .config(PROVIDER, ROCKSDB)
        .getOrCreate()
    )
    yield made
    made.stop()


def event(k: int | None, time: str, v: int) -> dict[str, Any]:
    return {"k": k, "t": datetime.fromisoformat(f"2024-01-01 {time}"), "v": v}


BATCHES = [
    [event(1, "10:00:00", 1), event(1, "10:00:00", 2), event(3, "10:00:30", 5)],
    [event(1, "10:10:00", 3)],
    [event(2, "09:00:00", 9), event(1, "10:11:00", 4)],
]


def run(frame: Any, stream: MemoryStream, batches: list[Any], mode: str = "update", **options: str) -> tuple[Any, Any]:
    """The rows of each batch that had any, sorted, and the progress entries of the batches."""
    out: list[Any] = []
    writer = frame.writeStream.outputMode(mode).options(**options)
    query = writer.foreachBatch(lambda f, i: out.append(sorted(map(tuple, f.collect())))).start()
    try:
        for batch in batches:
            stream.add_data(batch)
            query.processAllAvailable()
        return [rows for rows in out if rows], query.recentProgress
    finally:
        query.stop()


class Telling(StatefulProcessor):
    """Keeps a bit of everything, and writes down how it is called."""

    def __init__(self, *, pandas: bool, timers: bool = True) -> None:
        self.pandas = pandas
        self.timers = timers
        self.calls: list[str] = []  # shared by the copies that the batches work with

    def init(self, handle: Any) -> None:
        self.handle = handle
        self.value = handle.getValueState("value", "n long, at timestamp")
        self.items = handle.getListState("items", "x int")
        self.pairs = handle.getMapState("pairs", "a string", "b int")

    def give(self, key: Any, s: int) -> Iterator[Any]:
        row = {"k": str(key[0]), "s": s}
        if self.pandas:
            import pandas as pd

            yield pd.DataFrame([row])
        else:
            yield Row(**row)

    def handleInitialState(self, key: Any, initialState: Any, timerValues: Any) -> None:
        shown = initialState.to_dict("list") if self.pandas else initialState
        self.calls.append(f"initial {key} {shown} {timerValues.getCurrentWatermarkInMs()}")
        self.value.update((100, None))

    def handleInputRows(self, key: Any, rows: Any, timerValues: Any) -> Iterator[Any]:
        rows = list(rows)
        values = sorted(v for f in rows for v in f["v"].tolist()) if self.pandas else sorted(r.v for r in rows)
        watermark = timerValues.getCurrentWatermarkInMs()
        self.calls.append(f"rows {key} {values} {watermark}")
        state = f"{self.value.get()} {sorted(self.items.get())} {sorted(self.pairs.iterator())}"
        self.calls.append(f"{state} {self.items.exists()} {self.pairs.getValue(('b',))}")
        self.value.update((sum(values), datetime(2024, 1, 2, 3, 4, 5)))  # noqa: DTZ001
        for v in values:
            self.items.appendValue((v,))
        self.pairs.updateValue(("b",), (values[0],))
        self.pairs.updateValue((f"c{values[0]}",), (None,))
        if self.timers:
            for at in (5000, max(watermark, 0) + 60_000, MS_1000 + 120_000):
                self.handle.registerTimer(at)
        yield from self.give(key, sum(values))

    def handleExpiredTimer(self, key: Any, timerValues: Any, expiredTimerInfo: Any) -> Iterator[Any]:
        at = expiredTimerInfo.getExpiryTimeInMs()
        self.calls.append(f"expired {key} {at} {sorted(self.handle.listTimers())}")
        if at == 5000:
            self.handle.registerTimer(6000)
        yield from self.give(key, -1)

    def close(self) -> None:
        self.calls.append("close")


def transformed(frame: Any, processor: Any, mode: str, initial: Any = None, **named: Any) -> Any:
    grouped = frame.groupBy("k")
    call = grouped.transformWithStateInPandas if processor.pandas else grouped.transformWithState
    return call(processor, named.pop("schema", "k string, s long"), "Update", mode, initial, **named)


@pytest.mark.parametrize("pandas", [False, True])
def test_event_time(spark: Any, pandas: bool) -> None:
    stream, processor = MemoryStream(EVENTS), Telling(pandas=pandas)
    frame = stream.to_df(spark).withWatermark("t", "1 minute")
    out, progress = run(transformed(frame, processor, "EventTime"), stream, BATCHES)
    assert out == [
        [("1", 3), ("3", 5)],
        [("1", -1), ("1", -1), ("3", -1), ("3", -1)],
        [("1", -1), ("1", -1), ("1", 3), ("3", -1)],
        [("1", -1), ("1", -1), ("3", -1)],
        [("1", -1), ("1", -1), ("1", 4)],
        [("1", -1), ("1", -1)],
    ]
    assert processor.calls[:6] == [
        "close",
        "rows (1,) [1, 2] 0",
        "None [] [] False None",
        "rows (3,) [5] 0",
        "None [] [] False None",
        "close",
    ]
    assert processor.calls[6:11] == [
        f"expired Row(k=1) 5000 [5000, 60000, {MS_1000 + 120_000}]",
        f"expired Row(k=3) 5000 [5000, 60000, {MS_1000 + 120_000}]",
        f"expired Row(k=1) 60000 [6000, 60000, {MS_1000 + 120_000}]",
        f"expired Row(k=3) 60000 [6000, 60000, {MS_1000 + 120_000}]",
        "close",
    ]
    when = repr(datetime(2024, 1, 2, 3, 4, 5))  # noqa: DTZ001
    assert processor.calls[11:13] == [
        f"rows (1,) [3] {MS_1000 - 30_000}",
        f"(3, {when}) [(1,), (2,)] [(('b',), (1,)), (('c1',), (None,))] True (1,)",
    ]
    operators = [p["stateOperators"][0] for p in progress if p["durationMs"].get("addBatch") is not None]
    name = "transformWithStateInPandasExec" if pandas else "transformWithStateInPySparkExec"
    assert {o["operatorName"] for o in operators} == {name}
    assert [o["numRowsTotal"] for o in operators][:4] == [8, 8, 9, 9]
    assert [o["numRowsUpdated"] for o in operators][:4] == [9, 0, 4, 0]
    assert sum(o["numRowsDroppedByWatermark"] for o in operators) == 1
    first = operators[0]["customMetrics"]
    assert (first["numValueStateVars"], first["numListStateVars"], first["numRegisteredTimers"]) == (1, 1, 6)


@pytest.mark.parametrize("pandas", [False, True])
def test_initial_state_and_no_time(spark: Any, pandas: bool) -> None:
    stream, processor = MemoryStream(EVENTS), Telling(pandas=pandas, timers=False)
    initial = spark.createDataFrame([(1, "i1"), (7, "i7")], "k int, z string").groupBy("k")
    out, _ = run(transformed(stream.to_df(spark), processor, "None", initial), stream, BATCHES)
    assert out == [[("1", 3), ("3", 5)], [("1", 3)], [("1", 4), ("2", 9)]]
    shown = (
        ["{'k': [1], 'z': ['i1']}", "{'k': [7], 'z': ['i7']}"] if pandas else ["Row(k=1, z='i1')", "Row(k=7, z='i7')"]
    )
    assert processor.calls[1:5] == [
        f"initial (1,) {shown[0]} -1",
        f"initial (7,) {shown[1]} -1",
        "rows (1,) [1, 2] -1",
        "(100, None) [] [] False None",
    ]
    assert sum(call.startswith("initial") for call in processor.calls) == 2


def test_in_a_batch_query(spark: Any) -> None:
    frame = spark.createDataFrame([(1, None, 1), (1, None, 2), (3, None, 5)], EVENTS)
    processor = Telling(pandas=False)
    rows = transformed(frame, processor, "EventTime").collect()
    assert sorted(map(tuple, rows)) == [("1", 3), ("3", 5)]
    assert processor.calls[-1] == "close"
    initial = spark.createDataFrame([(1, "i1"), (7, "i7")], "k int, z string").groupBy("k")
    frame = transformed(frame, Telling(pandas=True), "ProcessingTime", initial)
    assert sorted(map(tuple, frame.filter("k = 3").collect())) == [("3", -1), ("3", -1), ("3", -1), ("3", 5)]
    assert transformed(spark.range(0).selectExpr("1 AS k", "1 AS v"), Telling(pandas=False), "None").collect() == []


class Passing(StatefulProcessor):
    """Gives out each key's latest time, shifted."""

    pandas = False

    def __init__(self, shift: timedelta = timedelta(0)) -> None:
        self.shift = shift

    def init(self, handle: Any) -> None:
        self.seen = handle.getValueState("seen", "n long")

    def handleInputRows(self, key: Any, rows: Any, timerValues: Any) -> Iterator[Row]:
        rows = list(rows)
        n = len(rows) + (self.seen.get() or (0,))[0]
        self.seen.update((n,))
        yield Row(k=key[0], at=max(r.t for r in rows) + self.shift, n=n)

    def close(self) -> None:
        pass


CHAINED = "k int, at timestamp, n long"


def test_event_time_goes_on_by_the_column_named(spark: Any) -> None:
    stream = MemoryStream(EVENTS)
    frame = transformed(
        stream.to_df(spark).withWatermark("t", "1 minute"), Passing(), "EventTime", schema=CHAINED,
        eventTimeColumnName="at",
    )  # fmt: skip
    counted = frame.groupBy(F.window("at", "5 minutes").start.alias("w"), "k").agg(F.max("n"))
    windowed = (
        frame.groupBy(F.window("at", "5 minutes"), "k").agg(F.max("n").alias("n")).selectExpr("window.start", "k", "n")
    )
    with pytest.raises(AnalysisException, match="watermark"):
        run(counted, stream, [], "append")
    out, progress = run(windowed, stream, BATCHES, "append")
    ten = datetime(2024, 1, 1, 10)  # noqa: DTZ001
    assert out == [[(ten, 1, 2), (ten, 3, 1)]]
    assert [o["operatorName"] for o in progress[-1]["stateOperators"]] == [
        "stateStoreSave",
        "transformWithStateInPySparkExec",
    ]


def test_rows_older_than_the_watermark_may_not_be_given_out(spark: Any) -> None:
    stream = MemoryStream(EVENTS)
    frame = transformed(
        stream.to_df(spark).withWatermark("t", "1 minute"), Passing(-timedelta(hours=1)), "EventTime", schema=CHAINED,
        eventTimeColumnName="at",
    )  # fmt: skip
    with pytest.raises(PySparkException, match="EMITTING_ROWS_OLDER_THAN_WATERMARK_NOT_ALLOWED"):
        run(frame, stream, BATCHES + BATCHES[1:2])


def test_a_processor_that_came_as_a_pickle(spark: Any) -> None:
    """A client in another process sends the processor pickled."""
    from pyspark.serializers import CloudPickleSerializer
    from pyspark.sql.streaming.stateful_processor_util import TransformWithStateInPandasUdfUtils

    from runnel.connect.references import resolve

    method = TransformWithStateInPandasUdfUtils(Passing(), "None").transformWithStateUDF
    serializer: Any = CloudPickleSerializer()
    function, _ = resolve(serializer.dumps((method, "k int")))
    assert isinstance(function.__self__._stateful_processor, Passing)


def test_two_queries_of_one_processor(spark: Any) -> None:
    stream, processor = MemoryStream(EVENTS), Passing()
    frames = [transformed(stream.to_df(spark), processor, "None", schema=CHAINED) for _ in range(2)]
    queries = [
        f.writeStream.outputMode("update").format("memory").queryName(f"q{i}").start() for i, f in enumerate(frames)
    ]
    for batch in BATCHES:
        stream.add_data(batch)
        for query in queries:
            query.processAllAvailable()
    for i, query in enumerate(queries):
        query.stop()
        counts = sorted((r.k, r.n) for r in spark.table(f"q{i}").collect())
        assert counts == [(1, 2), (1, 3), (1, 4), (2, 1), (3, 1)]


def test_several_keys(spark: Any) -> None:
    class Several(Passing):
        def handleInputRows(self, key: Any, rows: Any, timerValues: Any) -> Iterator[Row]:
            yield Row(k=len(list(rows)), s=repr(key))

    stream = MemoryStream(EVENTS)
    grouped = stream.to_df(spark).groupBy((F.col("v") % 2).alias("odd"), "k")
    out, _ = run(grouped.transformWithState(Several(), "k int, s string", "Update", "None"), stream, BATCHES[:1])
    assert out == [[(1, "(0, 1)"), (1, "(1, 1)"), (1, "(1, 3)")]]


class Loose(Passing):
    """Puts into a state of longs what is no long, and gives out rows with other columns than promised."""

    def handleInputRows(self, key: Any, rows: Any, timerValues: Any) -> Iterator[Row]:
        given = [row.v for row in rows]
        self.seen.update((1.5 if given == [3] else given[0],))
        yield Row(n=self.seen.get()[0], k=key[0], more=1)


def test_values_of_a_wrong_kind_are_null(spark: Any) -> None:
    stream = MemoryStream(EVENTS)
    out, _ = run(transformed(stream.to_df(spark), Loose(), "None", schema=CHAINED), stream, BATCHES[:2])
    assert out == [[(1, None, 1), (3, None, 5)], [(1, None, None)]]


def test_what_is_refused(spark: Any) -> None:
    stream = MemoryStream(EVENTS)
    frame = stream.to_df(spark)

    def refusal(make: Any) -> str | None:
        with pytest.raises(PySparkException) as caught:
            make()
        condition: str | None = caught.value.getCondition()
        return condition

    named = {"schema": CHAINED, "eventTimeColumnName": "at"}
    assert refusal(lambda: transformed(frame, Passing(), "None", **named).schema) == (
        "CANNOT_ASSIGN_EVENT_TIME_COLUMN_WITHOUT_WATERMARK"
    )
    marked = frame.withWatermark("t", "1 minute")
    assert refusal(lambda: transformed(marked, Passing(), "None", schema=CHAINED, eventTimeColumnName="n").schema) == (
        "EVENT_TIME_IS_NOT_ON_TIMESTAMP_TYPE"
    )
    assert refusal(lambda: transformed(frame, Passing(), "Sometimes").schema) == "STATEFUL_PROCESSOR_UNKNOWN_TIME_MODE"
    assert refusal(lambda: frame.groupBy("k").transformWithState(Passing(), CHAINED, "Never", "None").schema) == (
        "STREAMING_OUTPUT_MODE.INVALID"
    )
    assert refusal(lambda: frame.groupBy().transformWithState(Passing(), CHAINED, "Update", "None").schema) is not None
    aggregated = marked.groupBy(F.window("t", "1 minute"), "k").agg(F.max("t").alias("t"), F.count("*").alias("v"))
    after = transformed(aggregated, Passing(), "None", schema=CHAINED)
    with pytest.raises(AnalysisException, match="correctness"):
        run(after, stream, [])
    given = transformed(frame, Passing(), "None", schema=CHAINED)
    assert refusal(lambda: run(given, stream, [], "complete")) == "STREAMING_OUTPUT_MODE.UNSUPPORTED_OPERATION"
    spark.conf.unset(PROVIDER)
    try:
        with pytest.raises(PySparkException, match="RocksDBStateStoreProvider"):
            run(given, stream, BATCHES[:1])
    finally:
        spark.conf.set(PROVIDER, ROCKSDB)


class Evolving(StatefulProcessor):
    """Declares what it is told to, and counts in each variable."""

    pandas = False

    def __init__(self, *declared: str, schema: str = "n long") -> None:
        self.declared, self.schema = declared, schema

    def init(self, handle: Any) -> None:
        self.values = {name: handle.getValueState(name, self.schema) for name in self.declared}
        handle.deleteIfExists("never")

    def handleInputRows(self, key: Any, rows: Any, timerValues: Any) -> Iterator[Row]:
        for value in self.values.values():
            value.update(((value.get() or (0,))[0] + 1,))
        yield Row(k=str(key[0]), s=sum(v.get()[0] * 10**i for i, v in enumerate(self.values.values())))

    def close(self) -> None:
        pass


def test_variables_come_and_go(spark: Any, tmp_path: Path) -> None:
    stream = MemoryStream(EVENTS)

    def counted(*declared: str, schema: str = "n long") -> Any:
        frame = transformed(stream.to_df(spark), Evolving(*declared, schema=schema), "None")
        return run(frame, stream, [[event(1, "10:00:00", 1)]], checkpointLocation=str(tmp_path))[0][-1]

    assert [counted("a"), counted("a")] == [[("1", 1)], [("1", 2)]]
    assert [counted("a", "b"), counted("a", "b")] == [[("1", 13)], [("1", 24)]]
    assert counted("b") == [("1", 3)]
    assert counted("b", "a") == [("1", 14)]
    with pytest.raises(PySparkException, match="STATE_STORE_VALUE_SCHEMA_NOT_COMPATIBLE"):
        counted("a", schema="n string")
