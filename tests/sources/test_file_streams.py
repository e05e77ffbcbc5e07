"""File sources and sinks of streaming queries, from `readStream` to the rows: options, partitions, `_metadata`."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pyspark.errors import StreamingQueryException

START_S = 1_700_000_000


def write(folder: Path, *contents: str, names: Sequence[str] = (), first_s: int = START_S) -> list[Path]:
    """Files a second apart, oldest first."""
    made = []
    for number, text in enumerate(contents):
        path = folder / (names[number] if names else f"f{number}.txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        os.utime(path, (first_s + number,) * 2)
        made.append(path)
    return made


def batches(frame: Any, checkpoint: Path | None = None, **trigger: Any) -> list[list[tuple[Any, ...]]]:
    """The rows of each batch until the query ends."""
    found: list[list[tuple[Any, ...]]] = []
    writer = frame.writeStream.foreachBatch(lambda df, _: found.append([tuple(r) for r in df.collect()]))
    if checkpoint is not None:
        writer = writer.option("checkpointLocation", str(checkpoint))
    assert writer.trigger(**(trigger or {"availableNow": True})).start().awaitTermination(60)
    return found


def texts(frame: Any, checkpoint: Path | None = None) -> list[list[str]]:
    return [[row[0] for row in rows] for rows in batches(frame, checkpoint)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [["0", "1", "2"]]),
        ({"maxFilesPerTrigger": 2}, [["0", "1"], ["2"]]),
        ({"maxBytesPerTrigger": "4b"}, None),
        ({"maxBytesPerTrigger": 4}, [["0", "1"], ["2"]]),
        ({"maxBytesPerTrigger": 1}, [["0"], ["1"], ["2"]]),
        ({"latestFirst": True, "maxFilesPerTrigger": 1}, [["2"], ["1"], ["0"]]),
        ({"pathGlobFilter": "f[02].txt"}, [["0", "2"]]),
        ({"maxFilesPerTrigger": 0}, None),
        ({"maxFilesPerTrigger": 1, "maxBytesPerTrigger": 1}, None),
    ],
)
def test_limits_and_order(
    spark: Any, tmp_path: Path, options: dict[str, Any], expected: list[list[str]] | None
) -> None:
    write(tmp_path, "0\n", "1\n", "2\n")
    frame = spark.readStream.options(**options).text(str(tmp_path))
    if expected is None:
        with pytest.raises(StreamingQueryException, match="Invalid value"):
            texts(frame)
    else:
        assert texts(frame) == expected


def test_once_ignores_the_limits(spark: Any, tmp_path: Path) -> None:
    write(tmp_path, "0\n", "1\n")
    assert batches(spark.readStream.option("maxFilesPerTrigger", 1).text(str(tmp_path)), once=True) == [
        [("0",), ("1",)]
    ]


def test_a_restart_takes_only_what_is_new(spark: Any, tmp_path: Path) -> None:
    source, checkpoint = tmp_path / "in", tmp_path / "checkpoint"
    write(source, "0\n")
    assert texts(spark.readStream.text(str(source)), checkpoint) == [["0"]]
    assert texts(spark.readStream.text(str(source)), checkpoint) == []
    write(source, "1\n", names=["g.txt"], first_s=START_S + 60)
    (source / "f0.txt").write_text("rewritten\n", encoding="utf-8")
    assert texts(spark.readStream.text(str(source)), checkpoint) == [["1"]]


def test_files_too_old_are_left_for_ever(spark: Any, tmp_path: Path) -> None:
    source, checkpoint = tmp_path / "in", tmp_path / "checkpoint"
    frame = spark.readStream.option("maxFileAge", "1h").text(str(source))
    source.mkdir()
    write(source, "0\n")
    frame = spark.readStream.option("maxFileAge", "1h").text(str(source))
    assert texts(frame, checkpoint) == [["0"]]
    write(source, "old\n", names=["old.txt"], first_s=START_S - 7200)
    write(source, "new\n", names=["new.txt"], first_s=START_S + 1)
    assert texts(frame, checkpoint) == [["new"]]


def test_a_name_is_taken_once_with_file_name_only(spark: Any, tmp_path: Path) -> None:
    source, checkpoint = tmp_path / "in", tmp_path / "checkpoint"
    write(source, "0\n", names=["p=1/f"])
    frame = spark.readStream.option("fileNameOnly", True).schema("value string, p int").text(str(source))
    assert batches(frame, checkpoint) == [[("0", 1)]]
    write(source, "1\n", "2\n", names=["p=2/f", "p=2/g"], first_s=START_S + 60)
    assert batches(frame, checkpoint) == [[("2", 2)]]


@pytest.mark.parametrize("clean", ["off", "delete", "archive"])
def test_files_are_cleaned_when_the_next_batch_starts(spark: Any, tmp_path: Path, clean: str) -> None:
    source, archive = tmp_path / "in", tmp_path / "archive"
    taken = write(source, "0\n", "1\n", "2\n")
    spark.conf.set("spark.sql.streaming.fileSource.cleaner.numThreads", "0")
    frame = (
        spark.readStream.option("cleanSource", clean)
        .option("sourceArchiveDir", str(archive))
        .option("maxFilesPerTrigger", 1)
        .text(str(source))
    )
    assert texts(frame) == [["0"], ["1"], ["2"]]
    spark.conf.unset("spark.sql.streaming.fileSource.cleaner.numThreads")
    left = [path.name for path in taken if path.exists()]
    assert left == (["f0.txt", "f1.txt", "f2.txt"] if clean == "off" else ["f2.txt"])
    archived = sorted(path.name for path in archive.rglob("*.txt")) if archive.exists() else []
    assert archived == (["f0.txt", "f1.txt"] if clean == "archive" else [])
    if clean == "archive":
        assert (archive / taken[0].relative_to(taken[0].anchor)).exists()


@pytest.mark.parametrize("inside", [True, False])
def test_where_an_archive_may_be(spark: Any, tmp_path: Path, inside: bool) -> None:
    source = tmp_path / "in"
    write(source, "0\n")
    options = {"cleanSource": "archive"} | ({"sourceArchiveDir": str(source)} if inside else {})
    with pytest.raises(StreamingQueryException, match=r"sourceArchiveDir|archive"):
        texts(spark.readStream.options(**options).text(str(source)))


def test_partitions_and_recursion(spark: Any, tmp_path: Path) -> None:
    write(
        tmp_path / "p",
        '{"a":1}\n',
        '{"a":2}\n',
        names=["day=2024-01-01/k=x y/f.json", "day=2024-01-02/k=%C3%A4/g.json"],
    )
    frame = spark.readStream.schema("a int").json(str(tmp_path / "p"))
    assert frame.dtypes == [("a", "int"), ("day", "date"), ("k", "string")]
    assert [(r[0], str(r[1]), r[2]) for r in batches(frame)[0]] == [(1, "2024-01-01", "x y"), (2, "2024-01-02", "ä")]
    write(tmp_path / "r", "0\n", "1\n", names=["f.txt", "deep/er/g.txt"])
    assert texts(spark.readStream.text(str(tmp_path / "r"))) == [["0"]]
    assert texts(spark.readStream.option("recursiveFileLookup", True).text(str(tmp_path / "r"))) == [["0", "1"]]
    assert texts(spark.readStream.text(str(tmp_path / "r") + "/{deep,x}/*")) == [["1"]]


@pytest.mark.parametrize("format_name", ["json", "csv", "parquet"])
def test_schemas_are_inferred_if_asked_for(spark: Any, tmp_path: Path, format_name: str) -> None:
    folder = tmp_path / "in"
    spark.createDataFrame([(1, "x")], "a long, b string").coalesce(1).write.format(format_name).option(
        "header", True
    ).save(str(folder))
    reader = spark.readStream.format(format_name).option("header", True).option("inferSchema", True)
    with pytest.raises(Exception, match="needs a schema"):
        reader.load(str(folder)).schema  # noqa: B018
    spark.conf.set("spark.sql.streaming.schemaInference", True)
    assert batches(reader.load(str(folder))) == [[(1, "x")]]
    spark.conf.unset("spark.sql.streaming.schemaInference")


def test_json_over_several_lines(spark: Any, tmp_path: Path) -> None:
    write(tmp_path, '[{"a":1},\n{"a":2}]', '{\n"a":3\n}', '{"a":')
    reader = spark.readStream.option("multiLine", True)
    frame = reader.schema("a int, _corrupt_record string").json(str(tmp_path))
    assert batches(frame) == [[(1, None), (2, None), (3, None), (None, '{"a":')]]


@pytest.mark.parametrize("folder", ["plain", "with space", "100% [sure] #1", "ünï+ç&ö'd"])
def test_paths_of_all_kinds_and_metadata(spark: Any, tmp_path: Path, folder: str) -> None:
    (path,) = write(tmp_path / folder, '{"a":1}\n', names=["a b%20.json"])
    pattern = (
        str(tmp_path / folder).replace("[", "\\[").replace("]", "\\]") if "[" in folder else str(tmp_path / folder)
    )
    frame = spark.readStream.schema("a int").json(pattern)
    columns = ("file_path", "file_name", "file_size", "file_block_start", "file_block_length")
    rows = batches(frame.select("a", *(f"_metadata.{c}" for c in columns), "_metadata.file_modification_time"))
    ((a, uri, name, size, start, length, modified),) = rows[0]
    assert (a, name, size, start, length) == (1, "a%20b%2520.json", 8, 0, 8)
    assert uri == path.as_uri().replace("file:///", "file:/", 1) or "ü" in uri
    assert modified.timestamp() == START_S


def test_metadata_alone_and_through_filters(spark: Any, tmp_path: Path) -> None:
    write(tmp_path, "0\n", "1\n")
    frame = spark.readStream.text(str(tmp_path))
    assert batches(frame.select("_metadata.file_name")) == [[("f0.txt",), ("f1.txt",)]]
    kept = frame.where("_metadata.file_name = 'f1.txt'").groupBy("_metadata.file_name").count()
    query = kept.writeStream.format("memory").queryName("by_file").outputMode("complete").start()
    query.processAllAvailable()
    query.stop()
    assert [tuple(r) for r in spark.table("by_file").collect()] == [("f1.txt", 1)]


def test_a_thousand_files_at_once(spark: Any, tmp_path: Path) -> None:
    write(tmp_path, *(f'{{"a":{n}}}\n' for n in range(1000)))
    (rows,) = batches(spark.readStream.schema("a int").json(str(tmp_path)))
    assert [r[0] for r in rows] == list(range(1000))


# ------------------------------------------------------------------------------------------------------------- sinks


@pytest.mark.parametrize("format_name", ["json", "csv", "text", "parquet"])
@pytest.mark.parametrize("partitioned", [False, True])
def test_what_the_file_sinks_wrote_is_read_by_its_log(
    spark: Any, tmp_path: Path, format_name: str, partitioned: bool
) -> None:
    write(tmp_path / "in", "a\n", "b\n", "a\n")
    source = spark.readStream.option("maxFilesPerTrigger", 1).text(str(tmp_path / "in"))
    frame = source.selectExpr("value", "value AS k") if partitioned else source
    out = tmp_path / "out with space"

    def run() -> None:
        writer = frame.writeStream.format(format_name).option("checkpointLocation", str(tmp_path / "checkpoint"))
        if partitioned:
            writer = writer.partitionBy("k")
        assert writer.trigger(availableNow=True).start(str(out)).awaitTermination(60)

    run()
    run()
    stray = next(out.rglob(f"part-*.{'txt' if format_name == 'text' else format_name}"))
    (stray.parent / f"stray{stray.suffix}").write_bytes(stray.read_bytes())
    schema = "value string, k string" if partitioned else "value string"
    read = spark.read.schema(schema).format(format_name).load(str(out))
    expected = [("a", "a"), ("a", "a"), ("b", "b")] if partitioned else [("a",), ("a",), ("b",)]
    assert sorted(tuple(r) for r in read.collect()) == expected
    again = spark.readStream.schema(schema).format(format_name).load(str(out))
    assert sorted(row for rows in batches(again) for row in rows) == expected
    entries = sorted(int(p.name) for p in (out / "_spark_metadata").iterdir() if p.name.isdecimal())
    assert entries == [0, 1, 2]
    first = (out / "_spark_metadata" / "0").read_text(encoding="utf-8").splitlines()
    assert first[0] == "v1"
    assert json.loads(first[1])["action"] == "add"


def test_retention_hides_old_files(spark: Any, tmp_path: Path) -> None:
    write(tmp_path / "in", *(f"{n}\n" for n in range(3)))
    spark.conf.set("spark.sql.streaming.fileSink.log.compactInterval", "2")
    out = tmp_path / "out"
    query = (
        spark.readStream.option("maxFilesPerTrigger", 1)
        .text(str(tmp_path / "in"))
        .writeStream.format("text")
        .option("checkpointLocation", str(tmp_path / "checkpoint"))
        .option("retention", "1ms")
        .trigger(availableNow=True)
        .start(str(out))
    )
    assert query.awaitTermination(60)
    spark.conf.unset("spark.sql.streaming.fileSink.log.compactInterval")
    seen = {r[0] for r in spark.read.text(str(out)).collect()}
    assert seen <= {"1", "2"}
    assert len(list(out.glob("part-*"))) == 3
