"""The service behind the official client: settings, questions, commands, streaming, errors."""

from __future__ import annotations

import gc
import threading
from typing import Any

import pyarrow as pa
import pytest
from pyspark.errors import (
    AnalysisException,
    IllegalArgumentException,
    PySparkAttributeError,
    PythonException,
    SparkNoSuchElementException,
    StreamingQueryException,
    UnsupportedOperationException,
)
from pyspark.sql import functions as F
from pyspark.sql.streaming import StreamingQueryListener
from pyspark.sql.types import (
    ArrayType,
    DayTimeIntervalType,
    IntegerType,
    LongType,
    MapType,
    NullType,
    StringType,
    StructField,
    StructType,
    TimestampType,
    TimeType,
)

from runnel.connect.arrow_values import convert_table, physical_type, to_physical, to_wire, wire_type
from runnel.connect.client import service_of
from runnel.errors import AnalysisError, QueryContext, StreamingQueryError
from runnel.plan.relations import LocalData, Range
from runnel.plan.write_spec import Trigger
from runnel.runtime.listeners import QueryIdle, QueryStarted, QueryTerminated

from .fakes import FakeSession

# ------------------------------------------------------------------------------------------------ rows and questions


def test_rows_travel_in_batches_of_bounded_size(spark: Any, session: FakeSession, monkeypatch: Any) -> None:
    monkeypatch.setattr("runnel.connect.encode._BATCH_BYTES", 800)
    assert [row.id for row in spark.range(1000).collect()] == list(range(1000))


def test_show_and_print_schema(spark: Any, capsys: Any) -> None:
    spark.range(3).show(2)
    spark.range(3).printSchema()
    assert capsys.readouterr().out == (
        "+---+\n| id|\n+---+\n|  0|\n|  1|\n+---+\nonly showing top 2 rows\nroot\n |-- id: long (nullable = false)\n\n"
    )


def test_html_for_notebooks(spark: Any) -> None:
    spark.conf.set("spark.sql.repl.eagerEval.enabled", "true")
    assert "<th>id</th>" in spark.range(1)._repr_html_()


def test_analysis(spark: Any) -> None:
    frame = spark.range(3)
    assert spark.version == "4.2.0"
    assert frame.schema == StructType([StructField("id", LongType(), False)])
    assert frame.isStreaming is False
    assert frame._explain_string() == "simple Range"
    assert frame.sameSemantics(spark.range(3))
    assert not frame.sameSemantics(spark.range(4))
    assert frame.semanticHash() == spark.range(3).semanticHash()
    assert frame.inputFiles() == []


def test_persist_and_unpersist(spark: Any, session: FakeSession) -> None:
    frame = spark.range(3).persist()
    assert frame.is_cached
    assert session.cached == {frame._plan._plan_id}
    frame.unpersist()
    assert session.cached == set()


def test_settings(spark: Any) -> None:
    assert spark.conf.get("spark.sql.shuffle.partitions") == "200"
    spark.conf.set("spark.sql.shuffle.partitions", 2)
    spark.conf.set("my.own", "x")
    assert spark.conf.get("spark.sql.shuffle.partitions") == "2"
    assert spark.conf.getAll["my.own"] == "x"
    spark.conf.unset("spark.sql.shuffle.partitions")
    assert spark.conf.get("spark.sql.shuffle.partitions") == "200"
    assert spark.conf.get("not.there", "d") == "d"
    assert spark.conf.get("not.there", None) is None
    assert spark.conf.isModifiable("spark.sql.shuffle.partitions")
    with pytest.raises(SparkNoSuchElementException) as missing:
        spark.conf.get("not.there")
    assert missing.value.getCondition() == "SQL_CONF_NOT_FOUND"
    with pytest.raises(AnalysisException) as caught:
        spark.conf.set("spark.master", "local[9]")
    assert caught.value.getCondition() == "CANNOT_MODIFY_STATIC_CONFIG"


def test_views_and_the_catalogue(spark: Any) -> None:
    spark.range(3).createOrReplaceTempView("numbers")
    assert spark.catalog.tableExists("numbers")
    assert not spark.catalog.tableExists("letters")
    assert [t.name for t in spark.catalog.listTables()] == ["numbers"]
    assert [(c.name, c.dataType) for c in spark.catalog.listColumns("numbers")] == [("id", "bigint")]
    assert spark.catalog.currentDatabase() == "default"
    assert spark.catalog.dropTempView("numbers")
    assert not spark.catalog.dropTempView("numbers")


def test_writers(spark: Any, session: FakeSession) -> None:
    spark.range(3).write.mode("append").partitionBy("id").option("compression", "none").parquet("/out")
    written = session.written[0]
    assert (written.format, written.mode, written.path) == ("parquet", "append", "/out")
    assert (written.partition_by, written.options) == (("id",), {"compression": "none"})
    spark.range(3).write.saveAsTable("t")
    assert (session.written[1].table_name, session.written[1].mode) == ("t", "error")


def test_a_checkpointed_frame_is_held_until_it_goes(spark: Any, session: FakeSession) -> None:
    frame = spark.range(3).localCheckpoint()
    assert len(session.held) == 1
    assert [row.id for row in frame.collect()] == [0, 1, 2]
    del frame
    gc.collect()
    assert session.held == {}


def test_a_cloned_session_goes_its_own_way(spark: Any) -> None:
    other = spark.cloneSession()
    other.conf.set("my.own", "x")
    assert spark.conf.get("my.own", None) is None
    assert other.conf.get("my.own") == "x"


# ------------------------------------------------------------------------------------------------------------- errors


def test_an_error_keeps_its_class_condition_and_parameters(spark: Any) -> None:
    with pytest.raises(AnalysisException) as caught:
        spark.table("nope").collect()
    error = caught.value
    assert error.getCondition() == "TABLE_OR_VIEW_NOT_FOUND"
    assert error.getSqlState() == "42P01"
    assert error.getMessageParameters() == {"relationName": "`nope`"}
    assert "JVM stacktrace" not in str(error)
    assert "Traceback" not in str(error)


def test_the_piece_of_text_that_an_error_is_about(spark: Any, session: FakeSession, monkeypatch: Any) -> None:
    def fail(plan: Any) -> Any:
        raise AnalysisError("TABLE_OR_VIEW_NOT_FOUND", context=QueryContext("nope", 14, 17), relationName="`nope`")

    monkeypatch.setattr(session, "analyze", fail)
    with pytest.raises(AnalysisException) as caught:
        spark.range(1).collect()
    assert [c.fragment() for c in caught.value.getQueryContext()] == ["nope"]


def test_what_goes_wrong_in_us_says_so(spark: Any, session: FakeSession, monkeypatch: Any) -> None:
    def fail(plan: Any) -> Any:
        raise KeyError("x")

    monkeypatch.setattr(session, "run_resolved", fail)
    with pytest.raises(Exception, match="KeyError: 'x'") as caught:
        spark.range(1).collect()
    assert caught.value.getCondition() == "INTERNAL_ERROR"  # type: ignore[attr-defined]


# ---------------------------------------------------------------------------------------------------------- streaming


def stream(spark: Any) -> Any:
    return spark.readStream.format("rate").load()


def test_what_a_writer_says_is_what_the_engine_gets(spark: Any, session: FakeSession) -> None:
    query = (
        stream(spark)
        .writeStream.format("parquet")
        .option("checkpointLocation", "/c")
        .outputMode("append")
        .queryName("q")
        .partitionBy("value")
        .trigger(processingTime="2 seconds")
        .start("/out")
    )
    spec = session.started[0]
    assert (spec.format, spec.path, spec.output_mode, spec.query_name) == ("parquet", "/out", "append", "q")
    assert (spec.options, spec.partition_by) == ({"checkpointLocation": "/c"}, ("value",))
    assert spec.trigger == Trigger("processing_time", "2 seconds")
    assert (query.id, query.name) == ("6fd3b2a0-7c0a-4b6e-9d0e-000000000001", "q")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"availableNow": True}, Trigger("available_now")),
        ({"once": True}, Trigger("once")),
        ({"continuous": "1 second"}, Trigger("continuous", "1 second")),
        ({"processingTime": "0 seconds"}, Trigger("processing_time", "0 seconds")),
    ],
)
def test_triggers(spark: Any, session: FakeSession, arguments: dict[str, Any], expected: Trigger) -> None:
    stream(spark).writeStream.format("noop").trigger(**arguments).start()
    assert session.started[0].trigger == expected


def test_asking_a_query(spark: Any, session: FakeSession, capsys: Any) -> None:
    query = stream(spark).writeStream.format("noop").start()
    assert query.name is None
    assert query.isActive
    assert query.status == {"message": "Waiting", "isDataAvailable": False, "isTriggerActive": True}
    assert query.lastProgress is None
    assert query.recentProgress == []
    assert query.exception() is None
    assert query.awaitTermination(0.01) is False
    query.processAllAvailable()
    query.explain(True)
    assert capsys.readouterr().out == "explained True\n"
    assert [q.id for q in spark.streams.active] == [query.id]
    assert spark.streams.get(query.id).runId == query.runId
    assert spark.streams.awaitAnyTermination(1) is True
    spark.streams.resetTerminated()
    query.stop()
    assert spark.streams.active == []
    with pytest.raises(IllegalArgumentException):
        spark.streams.get("not an id")


def test_what_ended_a_query(spark: Any, session: FakeSession) -> None:
    query = stream(spark).writeStream.format("noop").start()
    engine_side = session.streams.queries[0]
    error = StreamingQueryError.wrap(ValueError("bad"), query_id=query.id, run_id=query.runId)
    engine_side.error = error

    def fail(timeout_s: float | None) -> bool:
        raise error

    engine_side.await_termination = fail
    seen = query.exception()
    assert isinstance(seen, StreamingQueryException)
    assert str(seen).startswith("(STREAM_FAILED) ")
    with pytest.raises(StreamingQueryException, match="ValueError: bad") as caught:
        query.awaitTermination()
    assert caught.value.getCondition() == "STREAM_FAILED"


def test_a_foreach_batch_function_is_the_very_same_object(spark: Any, session: FakeSession) -> None:
    seen: list[Any] = []
    lock = threading.Lock()  # cannot be pickled

    def take(frame: Any, batch_id: int) -> None:
        with lock:
            outer = spark.range(10)
            seen.append((batch_id, frame.isStreaming, frame.count(), frame.sparkSession is spark))
            frame.createOrReplaceTempView("inside")
            assert frame.sparkSession.table("inside").collect()
            assert frame.sparkSession.table("outside").collect()
            frame.union(outer).collect()
            frame.sparkSession.conf.set("my.own", "x")
            frame.persist()
            frame.unpersist()
            frame.write.format("noop").mode("append").save()

    spark.range(1).createOrReplaceTempView("outside")
    stream(spark).writeStream.foreachBatch(take).start()
    spec = session.started[0]
    clone = session.clone()
    rows = LocalData(
        table=pa.table({"id": pa.array([1, 2], pa.int64())}), schema=StructType([StructField("id", LongType())])
    )
    for batch_id in (0, 1):
        spec.foreach_batch(clone, rows, batch_id)
    assert [s[:2] + s[3:] for s in seen] == [(0, False, False), (1, False, False)]
    assert "inside" in clone.views
    assert "inside" not in session.views
    assert spark.conf.get("my.own", None) is None
    gc.collect()
    assert clone.held == {}
    assert len(clone.written) == 2


def test_the_session_of_a_foreach_batch_function_is_the_active_one(spark: Any, session: FakeSession) -> None:
    from pyspark.sql import SparkSession

    found = []
    stream(spark).writeStream.foreachBatch(
        lambda frame, _: found.append(SparkSession.getActiveSession() is frame.sparkSession)
    ).start()
    session.started[0].foreach_batch(session.clone(), Range(start=0, end=1, step=1), 0)
    assert found == [True]


def test_an_error_in_a_foreach_batch_function_shows_the_users_lines(spark: Any, session: FakeSession) -> None:
    def fail(frame: Any, batch_id: int) -> None:
        raise ValueError("of the user")

    stream(spark).writeStream.foreachBatch(fail).start()
    with pytest.raises(Exception, match="of the user") as caught:
        session.started[0].foreach_batch(session.clone(), Range(start=0, end=1, step=1), 0)
    assert isinstance(caught.value.__cause__, ValueError)
    trace = caught.value.message_parameters["traceback"]  # type: ignore[attr-defined]
    assert "in fail" in trace
    assert "streaming.py" not in trace


def test_a_foreach_writer_comes_as_it_is(spark: Any, session: FakeSession) -> None:
    class Writer:
        def process(self, row: Any) -> None: ...

    writer = Writer()
    stream(spark).writeStream.foreach(writer).start()
    assert session.started[0].foreach_writer is writer
    with pytest.raises(Exception, match="process"):
        stream(spark).writeStream.foreach(object())


class Recorder(StreamingQueryListener):
    def __init__(self) -> None:
        self.events: list[Any] = []
        self.ended = threading.Event()

    def onQueryStarted(self, event: Any) -> None:
        self.events.append(("started", event.name))

    def onQueryProgress(self, event: Any) -> None:
        self.events.append(("progress", event.progress.batchId))

    def onQueryIdle(self, event: Any) -> None:
        self.events.append(("idle", str(event.id)))

    def onQueryTerminated(self, event: Any) -> None:
        self.events.append(("terminated", event.errorClassOnException))
        self.ended.set()


def test_listeners_hear_events_in_order(spark: Any, session: FakeSession) -> None:
    recorder = Recorder()
    spark.streams.addListener(recorder)
    query = stream(spark).writeStream.format("noop").queryName("q").start()
    assert recorder.events == [("started", "q")]
    bus = session.streams.bus
    bus.post(QueryStarted(query.id, query.runId, "q", 0))
    bus.post(QueryIdle(query.id, query.runId, 5))
    bus.post(QueryTerminated(query.id, query.runId, "text", "PYTHON_EXCEPTION"))
    spark.streams.removeListener(recorder)  # waits for what was posted
    assert recorder.events == [("started", "q"), ("idle", query.id), ("terminated", "PYTHON_EXCEPTION")]
    assert bus.listeners == ()


def test_a_listener_left_behind_does_not_outlive_the_session(spark: Any, session: FakeSession) -> None:
    spark.streams.addListener(Recorder())
    thread = spark.streams._sqlb._execution_thread
    assert thread.daemon
    spark.stop()
    thread.join(10)
    assert not thread.is_alive()
    assert session.stopped


# -------------------------------------------------------------------------------------------- classic PySpark's gaps


def test_the_context_answers_what_programs_ask(spark: Any) -> None:
    context = spark.sparkContext
    assert (context.defaultParallelism, context.defaultMinPartitions, context.master) == (2, 2, "local[2]")
    assert (context.applicationId, context.startTime, context.version) == ("local-1", 7, "4.2.0")
    assert context.getConf().get("spark.master") == "local[2]"
    context.setJobGroup("g", "d")
    context.setJobDescription("d")
    context.setLocalProperty("k", "v")
    context.setLogLevel("WARN")
    assert spark.range(1).rdd.getNumPartitions() == 2


@pytest.mark.parametrize("name", ["parallelize", "broadcast", "textFile", "_jvm", "whatever"])
def test_the_rest_of_the_context_is_refused_by_name(spark: Any, name: str) -> None:
    with pytest.raises(PySparkAttributeError, match=f"sparkContext.{name}"):
        getattr(spark.sparkContext, name)


def test_rdds_are_refused_by_name(spark: Any) -> None:
    with pytest.raises(NotImplementedError, match=r"df\.rdd\.map"):
        spark.range(1).rdd.map(lambda row: row)


def test_commands_that_are_not_supported_are_named(spark: Any) -> None:
    with pytest.raises(UnsupportedOperationException, match="merge_into_table_command"):
        spark.range(1).mergeInto("t", F.lit(True)).whenMatched().delete().merge()


def test_garbage_is_collected_while_a_request_waits(spark: Any, session: FakeSession, monkeypatch: Any) -> None:
    states = []
    run = session.run_resolved
    monkeypatch.setattr(session, "run_resolved", lambda plan: states.append(gc.isenabled()) or run(plan))
    spark.range(1).collect()
    assert states == [True]


def test_python_errors_are_python_exceptions(spark: Any, session: FakeSession, monkeypatch: Any) -> None:
    from runnel.errors import PythonWorkerError

    def fail(plan: Any) -> Any:
        raise PythonWorkerError("PYTHON_EXCEPTION", msg="boom", traceback="ValueError: boom")

    monkeypatch.setattr(session, "run_resolved", fail)
    with pytest.raises(PythonException, match="boom"):
        spark.range(1).collect()


def test_statuses_and_interrupts(spark: Any) -> None:
    spark.range(1).collect()
    assert spark.interruptAll() == []
    response = spark.client._get_operation_statuses()
    assert {s.state for s in response.operation_statuses} == {4}
    assert service_of(spark) is not None


# -------------------------------------------------------------------------------------------------------------- Arrow

_NESTED = ArrayType(
    StructType(
        [
            StructField("t", TimestampType()),
            StructField("i", DayTimeIntervalType()),
            StructField("m", MapType(StringType(), TimeType(), True)),
        ]
    )
)


@pytest.mark.parametrize("part", [slice(None), slice(1, None), slice(2, 3)])
def test_nested_values_keep_nulls_and_slices_both_ways(part: slice) -> None:
    values = [[{"t": None, "i": 5, "m": [("a", None)]}, None], None, [{"t": None, "i": None, "m": None}], []]
    array = pa.array(values, physical_type(_NESTED))[part]
    wire = to_wire(array, _NESTED, "Europe/Berlin")
    assert wire.type == wire_type(_NESTED, "Europe/Berlin")
    wire.validate(full=True)
    assert to_physical(wire, _NESTED).to_pylist() == array.to_pylist()


def test_columns_of_no_type_and_of_the_same_name() -> None:
    schema = StructType([StructField("a", NullType()), StructField("a", IntegerType())])
    table = pa.Table.from_arrays([pa.nulls(2, pa.int32()), pa.array([1, 2], pa.int32())], names=["x", "y"])
    wire = convert_table(table, schema, lambda array, dtype: to_wire(array, dtype, "UTC"))
    assert wire.column_names == ["a", "a"]
    assert wire.schema.types == [pa.null(), pa.int32()]
