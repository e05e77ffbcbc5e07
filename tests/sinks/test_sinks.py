"""Sinks by themselves: what they write, and that a batch id is taken once."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql.types import IntegerType, LongType, StringType, StructField, StructType, TimestampType

from runnel.checkpoint.compactible_log import list_sink_files
from runnel.errors import AnalysisError, RunnelError
from runnel.sinks.base import BatchRows, SinkContext
from runnel.sinks.memory import MemorySink
from runnel.sinks.registry import create_sink, sink_traits

SCHEMA = StructType([StructField("k", StringType()), StructField("v", IntegerType())])


class FakeSession:
    """What sinks ask of a session."""

    default_parallelism = 2

    def __init__(self) -> None:
        self.views: dict[str, Any] = {}
        self.cloned = 0

    def clone(self) -> FakeSession:
        self.cloned += 1
        return self

    def stop(self) -> None:
        self.cloned -= 1

    def publish_view(self, name: str, relation: Any) -> None:
        self.views[name] = relation

    def local_relation(self, table: pa.Table, schema: StructType) -> pa.Table:
        return table

    def rows_of(self, table: pa.Table, schema: StructType) -> list[tuple[Any, ...]]:
        return [tuple(row.values()) for row in table.to_pylist()]

    def line_renderer(self, schema: StructType, name: str, options: Mapping[str, str]) -> Any:
        return lambda table: pa.chunked_array([[json.dumps(row) for row in table.to_pylist()]], pa.string())


def context(tmp_path: Path, **changes: Any) -> SinkContext:
    made = SinkContext(
        query_id="q",
        run_id="r",
        query_name="name",
        output_mode="append",
        schema=SCHEMA,
        options={},
        path=str(tmp_path / "out"),
        partition_by=(),
        checkpoint=tmp_path / "cp",
        session_time_zone="UTC",
        conf={},
        session=FakeSession(),
    )
    return dataclasses.replace(made, **changes)


def rows(*pairs: tuple[str | None, int | None], schema: StructType = SCHEMA) -> BatchRows:
    table = pa.table(
        {"k": pa.array([p[0] for p in pairs], pa.string()), "v": pa.array([p[1] for p in pairs], pa.int32())}
    )
    return BatchRows(schema, lambda: table)


def listed(folder: Path) -> list[Path]:
    return [Path(path) for path in list_sink_files(folder) or []]


@pytest.mark.parametrize("name", ["parquet", "json"])
def test_a_batch_is_written_once(tmp_path: Path, name: str) -> None:
    for _ in range(2):  # as after a restart
        sink = create_sink(name, context(tmp_path))
        assert sink.add_batch(0, rows(("a", 1))) is None
        sink.add_batch(1, rows(("b", None)))
        sink.stop()
    files = listed(tmp_path / "out")
    assert len(files) == 2
    read = [pq.read_table(f).to_pylist() if name == "parquet" else [json.loads(f.read_text())] for f in files]
    assert read == [[{"k": "a", "v": 1}], [{"k": "b", "v": None}]]


def test_partition_folders(tmp_path: Path) -> None:
    sink = create_sink("parquet", context(tmp_path, partition_by=("K",)))
    sink.add_batch(0, rows(("a/b", 1), (None, 2), ("", 3), ("a/b", 4)))
    found = {f.parent.name: sorted(pq.ParquetFile(f).read().column("v").to_pylist()) for f in listed(tmp_path / "out")}
    # Null and the empty string share Hive's default partition, in a file each.
    assert found.pop("k=a%2Fb") == [1, 4]
    assert set(found) == {"k=__HIVE_DEFAULT_PARTITION__"}
    assert all(".c000.snappy.parquet" in f.name for f in listed(tmp_path / "out"))


def test_an_empty_batch_leaves_a_file_and_an_entry(tmp_path: Path) -> None:
    sink = create_sink("parquet", context(tmp_path))
    sink.add_batch(0, rows())
    (file,) = listed(tmp_path / "out")
    assert pq.read_table(file).num_rows == 0


def test_timestamps_are_instants_in_parquet(tmp_path: Path) -> None:
    schema = StructType([StructField("t", TimestampType())])
    sink = create_sink("parquet", context(tmp_path, schema=schema))
    sink.add_batch(0, BatchRows(schema, lambda: pa.table({"t": pa.array([1], pa.timestamp("us"))})))
    (file,) = listed(tmp_path / "out")
    assert pq.read_schema(file).field("t").type == pa.timestamp("us", "UTC")


def test_large_batches_are_split_over_files(tmp_path: Path) -> None:
    schema = StructType([StructField("n", LongType())])
    sink = create_sink("parquet", context(tmp_path, schema=schema))
    sink.add_batch(0, BatchRows(schema, lambda: pa.table({"n": pa.array(range(500_001))})))
    files = listed(tmp_path / "out")
    assert len(files) == 2
    assert sorted(n for f in files for n in pq.read_table(f).column(0).to_pylist()) == list(range(500_001))


@pytest.mark.parametrize(
    ("changes", "condition"),
    [
        ({"output_mode": "complete"}, "STREAMING_OUTPUT_MODE.UNSUPPORTED_DATASOURCE"),
        ({"path": None}, "_LEGACY_ERROR_TEMP_2047"),
        ({"partition_by": ("nope",)}, "_LEGACY_ERROR_TEMP_1196"),
    ],
)
def test_refused_by_the_file_sink(tmp_path: Path, changes: dict[str, Any], condition: str) -> None:
    with pytest.raises(RunnelError) as caught:
        create_sink("parquet", context(tmp_path, **changes))
    assert caught.value.condition == condition


def test_unknown_format() -> None:
    with pytest.raises(AnalysisError) as caught:
        sink_traits("punchcards")
    assert caught.value.condition == "DATA_SOURCE_NOT_FOUND"


def test_console_prints_every_batch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sink = create_sink("console", context(tmp_path))
    sink.add_batch(0, rows())
    sink.add_batch(1, rows(("word", 1)))
    rule = "-" * 43
    assert capsys.readouterr().out == (
        f"{rule}\nBatch: 0\n{rule}\n+---+---+\n|  k|  v|\n+---+---+\n+---+---+\n\n"
        f"{rule}\nBatch: 1\n{rule}\n+----+---+\n|   k|  v|\n+----+---+\n|word|  1|\n+----+---+\n\n"
    )


def test_console_says_when_there_is_more(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sink = create_sink("console", context(tmp_path, options={"numRows": "1", "truncate": "false"}))
    sink.add_batch(0, rows(("a", 1), ("b", 2)))
    assert capsys.readouterr().out.endswith(
        "+---+---+\n|k  |v  |\n+---+---+\n|a  |1  |\n+---+---+\nonly showing top 1 row\n"
    )


@pytest.mark.parametrize("options", [{"truncate": "7"}, {"numRows": "many"}])
def test_bad_console_options_fail_the_batch(tmp_path: Path, options: dict[str, str]) -> None:
    with pytest.raises(RunnelError):
        create_sink("console", context(tmp_path, options=options)).add_batch(0, rows())


def test_memory_adds_and_replaces(tmp_path: Path) -> None:
    for mode, expected in (("append", ["a", "b"]), ("complete", ["b"])):
        made = context(tmp_path, output_mode=mode)
        sink = create_sink("memory", made)
        assert isinstance(sink, MemorySink)
        assert not made.session.views, "a query that does not start leaves a table of its name as it was"
        sink.publish()
        sink.add_batch(0, rows(("a", 1)))
        sink.add_batch(1, rows(("b", 1)))
        sink.add_batch(1, rows(("b", 1)))
        assert made.session.views["name"]().column("k").to_pylist() == expected


def test_memory_needs_a_name(tmp_path: Path) -> None:
    with pytest.raises(RunnelError) as caught:
        create_sink("memory", context(tmp_path, query_name=None))
    assert caught.value.condition == "_LEGACY_ERROR_TEMP_1194"


class Writer:
    def __init__(self, *, opens: bool = True, fails: bool = False) -> None:
        self.calls: list[Any] = []
        self.opens, self.fails = opens, fails

    def open(self, partition: int, epoch: int) -> bool:
        self.calls.append(("open", partition, epoch))
        return self.opens

    def process(self, row: Any) -> None:
        if self.fails:
            raise ValueError("no")
        self.calls.append(row)

    def close(self, error: Exception | None) -> None:
        self.calls.append(("close", type(error)))


@pytest.mark.parametrize(
    ("writer", "calls"),
    [
        (Writer(), [("open", 0, 3), ("a", 1), ("close", type(None))]),
        (Writer(opens=False), [("open", 0, 3), ("close", type(None))]),
    ],
)
def test_foreach(tmp_path: Path, writer: Writer, calls: list[Any]) -> None:
    sink = create_sink("foreach", context(tmp_path), foreach_writer=writer)
    assert sink.add_batch(3, rows(("a", 1))) == 1
    assert writer.calls == calls


def test_a_failing_writer_is_closed_and_fails_the_batch(tmp_path: Path) -> None:
    writer = Writer(fails=True)
    sink = create_sink("foreach", context(tmp_path), foreach_writer=writer)
    with pytest.raises(RunnelError) as caught:
        sink.add_batch(0, rows(("a", 1)))
    assert caught.value.condition == "PYTHON_EXCEPTION"
    assert writer.calls[-1] == ("close", ValueError)


def test_foreach_batch_gets_the_rows_in_a_cloned_session(tmp_path: Path) -> None:
    got: list[Any] = []
    made = context(tmp_path)
    sink = create_sink("foreachbatch", made, foreach_batch=lambda s, r, i: got.append((s, r, i)))  # type: ignore[arg-type, misc]
    sink.add_batch(7, rows(("a", 1)))
    ((session, relation, batch_id),) = got
    assert (session.cloned, relation.num_rows, batch_id) == (1, 1, 7)
    sink.stop()
    assert made.session.cloned == 0
