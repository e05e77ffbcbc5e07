"""JSON through DuckDB's own reader: the same rows as line by line, and care where it fails."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql.types import StructType

from runnel.execution.connection import Engine
from runnel.execution.prepared import run_once
from runnel.execution.run import execute
from runnel.lowering.expressions import LoweringOptions
from runnel.lowering.relations import lower
from runnel.plan.ddl import parse_schema
from runnel.plan.relations import FileScan
from runnel.plan.schema import attributes_of

SCHEMA = parse_schema(
    "s string, b boolean, i int, l bigint, d double, t timestamp, y date, a array<int>, m map<string,int>, "
    "n struct<x:string,y:array<struct<z:int>>>"
)
PLAIN = [
    '{"s":"a","b":true,"i":1,"l":2,"d":1.5,"t":"2024-01-01 10:00:00","y":"2024-01-01","a":[1,2],"m":{"k":1},'
    '"n":{"x":"q","y":[{"z":1}]}}',
    '{"s":5,"b":"true","i":"5","l":1.0,"d":"1.5","t":1700000000,"y":5,"a":[1,"x"],"m":{"k":"v"},"n":{"x":1,"y":5}}',
    '{"s":{"q": [1, 2]},"i":1.7,"l":9223372036854775808,"d":"NaN","t":"2024-01-01T10:00:00Z","y":"bad","a":5,"n":[]}',
    '{"s":"x\\u00e9\\n\\"q\\"","i":null,"d":3,"t":"2024-01-01 24:00:00","extra":{"deep":[1]}}',
    "",
    "{}",
    '{"S":"case","I":3,"s":null}',
]


def scan(path: Path, schema: StructType = SCHEMA) -> FileScan:
    return FileScan(format="json", paths=(str(path),), schema=schema, attributes=attributes_of(schema))


def test_what_both_read_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "plain.json"
    path.write_text("\n".join(PLAIN))
    with Engine(1) as engine:
        native, careful = (
            run_once(engine, lower(scan(path), LoweringOptions(native_json=fast))) for fast in (True, False)
        )
    assert "read_json" in lower(scan(path), LoweringOptions(native_json=True)).sql
    assert repr(native.to_pylist()) == repr(careful.to_pylist())  # NaN included
    assert native.num_rows == 6


@pytest.mark.parametrize(
    "content",
    [
        b'{"s":"a"}\nnot json\n{"s":"b"}\n',
        b'{"s":"a"}\n{"s":"b',
        b'{"s":"a","s":"b"}\n',
        b'[{"s":"a"},{"s":"b"}]\n',
        b'{"s":"a"} {"s":"b"}\n',
        b'\xef\xbb\xbf{"s":"a"}\n{"s":"b"}\n',
        b'{"s":"a\xff"}\n{"s":"b"}\n',
        b'5\n{"s":"b"}\n',
        b'{"s":"a"}\r{"s":"b"}\r',
    ],
)
def test_where_it_fails_the_rows_are_those_of_the_careful_scan(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.json"
    path.write_bytes(content)
    plan = scan(path, parse_schema("s string"))
    with Engine(1) as engine:
        assert execute(plan, engine).to_pylist() == run_once(engine, lower(plan)).to_pylist()


@pytest.mark.parametrize("name", ["a[1].json", "a*.json", "packed.json.gz"])
def test_names_that_the_reader_would_take_for_something_else(tmp_path: Path, name: str) -> None:
    assert "read_json" not in lower(scan(tmp_path / name), LoweringOptions(native_json=True)).sql
