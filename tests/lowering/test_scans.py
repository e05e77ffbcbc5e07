"""Scans of files: bytes in, rows out, as Spark 4.2 was seen to read them."""

from __future__ import annotations

import bz2
import dataclasses
import gzip
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runnel.analysis.frames import hidden_of
from runnel.errors import AnalysisError, RunnelError
from runnel.execution.connection import Engine
from runnel.execution.prepared import run_once
from runnel.lines import lines_schema, read_lines
from runnel.lowering.relations import lower
from runnel.plan.relations import FileScan
from runnel.plan.schema import attributes_of
from runnel.sources.file_listing import resolve_files
from runnel.sql import parse_schema

Rows = list[tuple[Any, ...]]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine(threads=2) as opened:
        yield opened


def scan(engine: Engine, plan: FileScan) -> Rows:
    table = run_once(engine, lower(plan))
    columns = [column.to_pylist() for column in table.columns]
    return list(zip(*columns, strict=True))


def read(engine: Engine, path: Path, kind: str, schema: str, **options: str) -> Rows:
    wanted = parse_schema(schema)
    plan = FileScan(format=kind, paths=(str(path),), schema=wanted, options=options, attributes=attributes_of(wanted))
    return scan(engine, plan)


BAD = b'{"a":1}\nnot json\n{"a":2}{"a":3}\n{"a":4} trailing\n\n   \n[{"a":5},{"a":6}]\n5\n"str"\nnull\n[]\n{}\n{"a":7}'
BYTES = (
    b'\xef\xbb\xbf{"a":1,"s":"bom"}\n{"a":2,"s":"\xff\xfe x"}\n{"a":3,"s":"n\x00ul"}\n\x00{"a":4}\n{"a":5,"s":"x"}\x00\n'
    b'{"a":6,"s":"ok"}\r\n{"a":7,"s":"cr"}\r{"a":8,"s":"cr2"}\n{"a":11,"s":"tr'
)
JSON: list[tuple[bytes, dict[str, str], Rows]] = [
    (BAD, {}, [
        (1, None, None), (None, None, "not json"), (2, None, None), (4, None, None), (5, None, None), (6, None, None),
        (None, None, "5"), (None, None, '"str"'), (None, None, "null"), (None, None, None), (7, None, None)]),
    (BAD, {"mode": "DROPMALFORMED"}, [
        (1, None, None), (2, None, None), (4, None, None), (5, None, None), (6, None, None), (None, None, None),
        (7, None, None)]),
    (BAD, {"multiLine": "true"}, [(1, None, None)]),
    (BYTES, {}, [
        (1, "bom", None), (None, None, '{"a":2,"s":"\ufffd\ufffd x"}'), (None, None, '{"a":3,"s":"n\x00ul"}'),
        (None, None, '\x00{"a":4}'), (5, "x", None), (6, "ok", None), (7, "cr", None), (8, "cr2", None),
        (None, None, '{"a":11,"s":"tr')]),
    (BYTES, {"lineSep": "\n"}, [
        (1, "bom", None), (None, None, '{"a":2,"s":"\ufffd\ufffd x"}'), (None, None, '{"a":3,"s":"n\x00ul"}'),
        (None, None, '\x00{"a":4}'), (5, "x", None), (6, "ok", None), (7, "cr", None),
        (None, None, '{"a":11,"s":"tr')]),
    (b'[{"a":1,\n"s":"x"},\n{"a":2}]', {"multiLine": "true"}, [(1, "x", None), (2, None, None)]),
    (b'[{"a":1,\n"s":"x"},\n{"a":2}]', {},
     [(None, None, '[{"a":1,'), (None, None, '"s":"x"},'), (2, None, None)]),
    (b"{'a':1}\n{\"a\":1,}\n{\"a\":\"5\",\"s\":5}", {},
     [(1, None, None), (None, None, '{"a":1,}'), (None, "5", '{"a":"5","s":5}')]),
    (b'{"A":5}\n{"s":{"x": [1, 2]}}', {}, [(None, None, None), (None, '{"x":[1,2]}', None)]),
    (b"", {}, []),
]  # fmt: skip


@pytest.mark.parametrize(("content", "options", "expected"), JSON)
def test_json(engine: Engine, tmp_path: Path, content: bytes, options: dict[str, str], expected: Rows) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    assert read(engine, path, "json", "a int, s string, _corrupt_record string", **options) == expected


def test_failfast_ends_the_read(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(BAD)
    with pytest.raises(RunnelError) as caught:
        read(engine, path, "json", "a int", mode="FAILFAST")
    assert caught.value.condition == "MALFORMED_RECORD_IN_PARSING.WITHOUT_SUGGESTION"


def test_a_line_longer_than_a_block(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    long = "x" * 20_000_000
    path.write_text(f'{{"s":"a"}}\n{{"s":"{long}"}}\n{{"s":"b"}}')
    assert [len(s) for (s,) in read(engine, path, "json", "s string")] == [1, 20_000_000, 1]


@pytest.mark.parametrize(("name", "pack"), [("a.json.gz", gzip.compress), ("a.json.bz2", bz2.compress)])
def test_compressed(engine: Engine, tmp_path: Path, name: str, pack: Any) -> None:
    (tmp_path / name).write_bytes(pack(b'{"a":1}\n{"a":2}'))
    assert read(engine, tmp_path / name, "json", "a int") == [(1,), (2,)]


def test_zstandard(engine: Engine, tmp_path: Path) -> None:
    with pa.output_stream(str(tmp_path / "a.json.zst"), compression="zstd") as out:
        out.write(b'{"a":1}\n{"a":2}')
    assert read(engine, tmp_path / "a.json.zst", "json", "a int") == [(1,), (2,)]


def test_truncated_archive_and_missing_file(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(os.urandom(1000))[:200])
    for name, condition in (("a.json.gz", "FAILED_READ_FILE.NO_HINT"), ("b.json", "FAILED_READ_FILE.FILE_NOT_EXIST")):
        with pytest.raises(RunnelError) as caught:
            read(engine, tmp_path / name, "json", "a int")
        assert caught.value.condition == condition
    assert read(engine, tmp_path / "b.json", "json", "a int", ignoreMissingFiles="true") == []


def test_partitions_and_metadata(engine: Engine, tmp_path: Path) -> None:
    for day, number in (("2024-01-01", "1"), ("2024-01-02", "__HIVE_DEFAULT_PARTITION__")):
        here = tmp_path / f"d={day}" / f"n={number}"
        here.mkdir(parents=True)
        (here / "x.json").write_text('{"a":1}')
        os.utime(here / "x.json", (1700000000, 1700000000))
    plan = resolve_files("json", (str(tmp_path),), {}, None, {})
    assert plan.schema.simpleString() == "struct<a:bigint,d:date,n:int>"
    assert scan(engine, plan) == [(1, date(2024, 1, 1), 1), (1, date(2024, 1, 2), None)]
    hidden = hidden_of(plan)[0]
    ((first,), _) = scan(engine, dataclasses.replace(plan, attributes=(hidden,), metadata_column=True))
    assert first["file_name"] == "x.json"
    assert first["file_size"] == 7
    assert first["file_modification_time"] == datetime.fromtimestamp(1700000000, UTC).replace(tzinfo=None)
    assert len(scan(engine, dataclasses.replace(plan, attributes=(plan.attributes[2],)))) == 2


CSV = b'id,name,t\n1,x,2024-01-01 00:00:00\n2,"q, z",\n3\n4,a,b,c\n'
CSVS: list[tuple[str, dict[str, str], Rows]] = [
    ("id int, name string, t timestamp, _corrupt_record string", {"header": "true"}, [
        (1, "x", datetime(2024, 1, 1), None), (2, "q, z", None, None), (3, None, None, "3"),  # noqa: DTZ001
        (4, "a", None, "4,a,b,c")]),
    ("id int, name string, t timestamp", {"header": "true", "mode": "DROPMALFORMED"},
     [(1, "x", datetime(2024, 1, 1)), (2, "q, z", None)]),  # noqa: DTZ001
    ("id string, name string", {"comment": "i", "nullValue": "x"},
     [("1", None), ("2", "q, z"), ("3", None), ("4", "a")]),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "options", "expected"), CSVS)
def test_csv(engine: Engine, tmp_path: Path, schema: str, options: dict[str, str], expected: Rows) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(CSV)
    assert read(engine, path, "csv", schema, **options) == expected


def test_csv_inference(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b,c,d,e\n1,1.5,2024-01-01,true,x\n3000000000,2,2024-01-02,false,\n")
    plan = resolve_files("csv", (str(tmp_path / "a.csv"),), {"header": "true", "inferSchema": "true"}, None, {})
    assert plan.schema.simpleString() == "struct<a:bigint,b:double,c:date,d:boolean,e:string>"


def test_text(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"a\r\n\n b\xff\n")
    assert read(engine, tmp_path / "a.txt", "text", "value string") == [("a",), ("",), (" b\ufffd",)]
    assert read(engine, tmp_path / "a.txt", "text", "value string", wholetext="true") == [("a\r\n\n b\ufffd\n",)]


@pytest.mark.parametrize("kind", ["parquet", "orc"])
def test_columnar_files(engine: Engine, tmp_path: Path, kind: str) -> None:
    table = pa.table({"a": [1, 2], "l": [[1], None], "s": [{"x": 1}, None]})
    path = tmp_path / f"a.{kind}"
    if kind == "parquet":
        import pyarrow.parquet as pq

        pq.write_table(table, path)
    else:
        from pyarrow import orc

        orc.write_table(table, str(path))
    plan = resolve_files(kind, (str(path),), {}, None, {})
    assert scan(engine, plan) == [(1, [1], {"x": 1}), (2, None, None)]
    assert read(engine, path, kind, "a bigint, missing string") == [(1, None), (2, None)]


def test_unknown_format(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(AnalysisError) as caught:
        read(engine, tmp_path, "nope", "a int")
    assert caught.value.condition == "DATA_SOURCE_NOT_FOUND"


def spark_lines(data: bytes) -> Sequence[str]:
    """The obvious twin of the block reader."""
    text = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    lines = text.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return [line.decode(errors="replace") for line in lines]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from([b"a", b"\n", b"\r\n", b"\xff", "é".encode(), b"{}", b"\xef\xbb\xbf"]), max_size=30),
    st.integers(1, 9),
)
def test_lines_do_not_depend_on_blocks(tmp_path: Path, pieces: list[bytes], block: int) -> None:
    path = tmp_path / "lines"
    data = b"".join(pieces)
    path.write_bytes(data)
    found: list[str] = []
    for batch in read_lines(str(path), lines_schema("l", "r"), block=block):
        for line, shown in zip(batch.column(0).to_pylist(), batch.column(1).to_pylist(), strict=True):
            found.append((line if shown is None else shown).removesuffix("\n"))
    assert found == spark_lines(data)
