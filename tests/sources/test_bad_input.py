"""What cannot be read: malformed records, damaged and vanishing files, sockets that break. Rows as Spark 4.2 gives them."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.errors import StreamingQueryException

JSON = '{"a":1,"b":"x"}\nnot json\n{"a":"str","b":"y"}\n{"b":"z"}\n{"a":4,"b":"w","c":9}\n\n{"a":5\n'
CSV = '1,x\n2\n3,y,z\nq,w\n"4,u\n5,v\n'


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    return folder


def rows(frame: Any) -> list[tuple[Any, ...]]:
    """All rows that a query over the frame sees until there are no more."""
    found: list[tuple[Any, ...]] = []
    writer = frame.writeStream.foreachBatch(lambda df, _: found.extend(tuple(r) for r in df.collect()))
    assert writer.trigger(availableNow=True).start().awaitTermination(60)
    return found


def failure(frame: Any) -> str:
    """The message of what ends a query over the frame."""
    with pytest.raises(StreamingQueryException) as caught:
        rows(frame)
    return str(caught.value)


@pytest.mark.parametrize(
    ("format_name", "mode", "corrupt", "expected"),
    [
        ("json", None, False, [(1, "x"), (None, None), (None, "y"), (None, "z"), (4, "w"), (None, None)]),
        ("json", "no mode", False, [(1, "x"), (None, None), (None, "y"), (None, "z"), (4, "w"), (None, None)]),
        (
            "json",
            "permissive",
            True,
            [
                (1, "x", None),
                (None, None, "not json"),
                (None, "y", '{"a":"str","b":"y"}'),
                (None, "z", None),
                (4, "w", None),
                (None, None, '{"a":5'),
            ],
        ),
        ("json", "DROPMALFORMED", False, [(1, "x"), (None, "z"), (4, "w")]),
        ("json", "FAILFAST", False, "not json"),
        ("csv", None, False, [(1, "x"), (2, None), (3, "y"), (None, "w"), (None, None), (5, "v")]),
        (
            "csv",
            None,
            True,
            [
                (1, "x", None),
                (2, None, "2"),
                (3, "y", "3,y,z"),
                (None, "w", "q,w"),
                (None, None, '"4,u'),
                (5, "v", None),
            ],
        ),
        ("csv", "DROPMALFORMED", False, [(1, "x"), (5, "v")]),
        ("csv", "FAILFAST", False, "MALFORMED_RECORD_IN_PARSING"),
    ],
)
def test_malformed_records(
    spark: Any, inbox: Path, format_name: str, mode: str | None, corrupt: bool, expected: Any
) -> None:
    (inbox / "f").write_text(JSON if format_name == "json" else CSV, encoding="utf-8")
    reader = spark.readStream.schema("a int, b string" + (", _corrupt_record string" if corrupt else ""))
    if mode is not None:
        reader = reader.option("mode", mode)
    frame = reader.format(format_name).load(str(inbox))
    if isinstance(expected, str):
        assert expected in failure(frame)
    else:
        assert rows(frame) == expected


@pytest.mark.parametrize(("format_name", "schema"), [("text", "value string"), ("json", "a int"), ("csv", "a int")])
def test_garbage_and_nothing_in_text(spark: Any, inbox: Path, format_name: str, schema: str) -> None:
    (inbox / "empty").touch()
    reader = spark.readStream.schema(schema).format(format_name)
    assert rows(reader.load(str(inbox))) == []
    (inbox / "garbage").write_bytes(bytes(range(256)) * 4)
    found = rows(reader.load(str(inbox)))
    if format_name == "text":
        assert len(found) == 9
        assert "\ufffd" in found[2][0]
    else:
        assert found
        assert {row[0] for row in found} == {None}


def parquet(path: Path, **columns: pa.Array) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize("damage", ["garbage", "truncated"])
def test_damaged_parquet(spark: Any, inbox: Path, damage: str) -> None:
    good = parquet(inbox / "a.parquet", a=pa.array([1, 2])).read_bytes()
    (inbox / "b.parquet").write_bytes(bytes(range(256)) if damage == "garbage" else good[:-20])
    os.utime(inbox / "a.parquet", (1, 1))
    reader = spark.readStream.schema("a long")
    text = failure(reader.parquet(str(inbox)))
    assert "FAILED_READ_FILE" in text
    assert "b.parquet" in text
    assert "ignoreCorruptFiles" in text
    assert rows(reader.option("ignoreCorruptFiles", True).parquet(str(inbox))) == [(1,), (2,)]
    spark.conf.set("spark.sql.files.ignoreCorruptFiles", True)
    frame = spark.readStream.schema("a long").parquet(str(inbox))
    assert rows(frame) == [(1,), (2,)]
    spark.conf.unset("spark.sql.files.ignoreCorruptFiles")


def test_parquet_without_a_byte_and_without_a_column(spark: Any, inbox: Path) -> None:
    (inbox / "empty.parquet").touch()
    parquet(inbox / "f.parquet", a=pa.array([1]), more=pa.array(["x"]))
    assert rows(spark.readStream.schema("a long, missing string").parquet(str(inbox))) == [(1, None)]


@pytest.mark.parametrize(
    ("have", "schema", "expected"),
    [
        (pa.array([1], pa.int64()), "int", "INT64"),
        (pa.array([1], pa.int64()), "string", "INT64"),
        (pa.array([1], pa.int64()), "double", "INT64"),
        (pa.array(["1"]), "int", "BINARY"),
        (pa.array([1.5]), "float", "DOUBLE"),
        (pa.array([True]), "int", "BOOLEAN"),
        (pa.array([1], pa.int32()), "long", 1),
        (pa.array([1], pa.int32()), "double", 1.0),
        (pa.array([1.5], pa.float32()), "double", 1.5),
        (pa.array([b"x"]), "string", "x"),
    ],
)
def test_parquet_of_another_type(spark: Any, inbox: Path, have: pa.Array, schema: str, expected: Any) -> None:
    parquet(inbox / "f.parquet", a=have)
    frame = spark.readStream.schema(f"a {schema}").parquet(str(inbox))
    if isinstance(expected, str) and expected != "x":
        text = failure(frame)
        assert "PARQUET_COLUMN_DATA_TYPE_MISMATCH" in text
        assert expected in text
    else:
        assert rows(frame) == [(expected,)]


def test_compressed_files(spark: Any, inbox: Path) -> None:
    (inbox / "f.json.gz").write_bytes(gzip.compress(b'{"a":1}\n{"a":2}\n'))
    reader = spark.readStream.schema("a int")
    assert rows(reader.json(str(inbox))) == [(1,), (2,)]
    for bad in (b"not gzip\n", gzip.compress(b'{"a":1}\n' * 1000)[:-10]):
        (inbox / "f.json.gz").write_bytes(bad)
        assert "FAILED_READ_FILE" in failure(reader.json(str(inbox)))


@pytest.mark.parametrize("format_name", ["text", "json", "csv"])
def test_very_long_lines(spark: Any, inbox: Path, format_name: str) -> None:
    size = 12_000_000
    line = json.dumps({"value": "x" * size}) if format_name == "json" else "x" * size
    (inbox / "f").write_text(line + "\n", encoding="utf-8")
    frame = spark.readStream.schema("value string").format(format_name).load(str(inbox))
    assert rows(frame.selectExpr("length(value)")) == [(size,)]


def test_what_is_added_to_a_file_that_was_read_is_not_seen(spark: Any, inbox: Path) -> None:
    (inbox / "f").write_text('{"a":1}\n{"a":', encoding="utf-8")
    found: list[Any] = []
    frame = spark.readStream.schema("a int").json(str(inbox))
    query = frame.writeStream.foreachBatch(lambda df, _: found.extend(r.a for r in df.collect())).start()
    query.processAllAvailable()
    with (inbox / "f").open("a", encoding="utf-8") as file:
        file.write("2}\n")
    query.processAllAvailable()
    query.stop()
    assert found == [1, None]


@pytest.mark.parametrize("ignore", [False, True])
@pytest.mark.parametrize("whole_folder", [False, True])
def test_files_that_vanish_before_they_are_read(spark: Any, inbox: Path, ignore: bool, whole_folder: bool) -> None:
    """Spark notices only what vanishes while it reads, and loses what vanished before; here both are an error."""
    for number in range(2):
        (inbox / f"f{number}").write_text(f"{number}\n", encoding="utf-8")
        os.utime(inbox / f"f{number}", (number + 1,) * 2)
    found: list[list[str]] = []

    def take(frame: Any, batch_id: int) -> None:
        found.append([r.value for r in frame.collect()])
        if batch_id == 0:
            shutil.rmtree(inbox) if whole_folder else (inbox / "f1").unlink()

    spark.conf.set("spark.sql.files.ignoreMissingFiles", ignore)
    frame = spark.readStream.option("maxFilesPerTrigger", 1).text(str(inbox))
    query = frame.writeStream.foreachBatch(take).trigger(availableNow=True).start()
    spark.conf.unset("spark.sql.files.ignoreMissingFiles")
    if ignore:
        query.awaitTermination(60)
        assert found == [["0"], []]
    else:
        with pytest.raises(StreamingQueryException, match="FILE_NOT_EXIST"):
            query.awaitTermination(60)
        assert found == [["0"]]


def test_a_folder_that_vanishes_and_comes_back(spark: Any, inbox: Path) -> None:
    found: list[str] = []
    (inbox / "f").write_text("0\n", encoding="utf-8")
    frame = spark.readStream.text(str(inbox))
    query = frame.writeStream.foreachBatch(lambda df, _: found.extend(r.value for r in df.collect())).start()
    query.processAllAvailable()
    shutil.rmtree(inbox)
    query.processAllAvailable()
    inbox.mkdir()
    (inbox / "g").write_text("1\n", encoding="utf-8")
    query.processAllAvailable()
    query.stop()
    assert found == ["0", "1"]


@pytest.mark.skipif(sys.platform == "win32" or getattr(os, "geteuid", lambda: 0)() == 0, reason="root may read all")
def test_a_file_that_may_not_be_read(spark: Any, inbox: Path) -> None:
    (inbox / "f").write_text("0\n", encoding="utf-8")
    (inbox / "f").chmod(0)
    for ignore in (False, True):
        frame = spark.readStream.option("ignoreCorruptFiles", ignore).text(str(inbox))
        assert "FAILED_READ_FILE" in failure(frame)


# ----------------------------------------------------------------------------------------------------------- sockets


def from_socket(spark: Any, talk: Callable[[socket.socket], None], expected: int) -> tuple[list[str], bool]:
    """The lines that arrive while `talk` has the connection, and whether the query is active then."""
    found: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        reader = spark.readStream.format("socket").option("host", "127.0.0.1")
        frame = reader.option("port", server.getsockname()[1]).load()
        query = frame.writeStream.foreachBatch(lambda df, _: found.extend(r.value for r in df.collect())).start()
        connection, _ = server.accept()
        while query.lastProgress is None:
            query.awaitTermination(0.01)
        with connection:
            talk(connection)
    for _ in range(1000):
        if len(found) >= expected or not query.isActive:
            break
        query.awaitTermination(0.01)
    query.processAllAvailable()
    active = query.isActive
    query.stop()
    return found, active


def test_garbage_on_a_socket(spark: Any) -> None:
    found, active = from_socket(spark, lambda c: c.sendall(b"a\n\xff\xfe\x00z\nb\r\n\nlast"), 5)
    assert (found, active) == (["a", "\ufffd\ufffd\x00z", "b", "", "last"], True)


def test_a_socket_that_is_reset(spark: Any) -> None:
    def talk(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    assert from_socket(spark, talk, 0) == ([], True)


def test_nobody_at_a_socket(spark: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    frame = spark.readStream.format("socket").option("host", "127.0.0.1").option("port", port).load()
    text = failure(frame)
    assert f"127.0.0.1:{port}" in text
    assert "Start the server" in text
