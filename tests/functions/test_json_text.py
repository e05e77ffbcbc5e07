"""from_json and its relatives, against what Spark 4.2 was seen to do (`from_json_observed.json`: type, token, result)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql.types import ArrayType, BinaryType, DataType, MapType, StringType, StructField, StructType

from runnel.errors import AnalysisError, RunnelError
from runnel.execution.connection import Engine
from runnel.execution.prepared import run_once
from runnel.functions import catalogue
from runnel.functions.json_repair import Liberties, repaired
from runnel.functions.registry import BindContext, GeneratorFunction, ScalarFunction
from runnel.lowering.relations import lower
from runnel.plan.expressions import (
    Alias,
    Attribute,
    Cast,
    CastMode,
    Expression,
    GetField,
    Literal,
    dtype_of,
    new_expr_id,
)
from runnel.plan.relations import LocalData, Project
from runnel.plan.schema import attributes_of
from runnel.sql import parse_type

OBSERVED: dict[str, list[list[Any]]] = json.loads(Path(__file__).with_name("from_json_observed.json").read_text())
STRING = StringType()

NOT_THE_SAME = {
    # Java prints these in its own way; the values themselves are the same
    ("string", "1E400"),
    ("string", "NaN"),
    ("string", "Infinity"),
    ("string", "-Infinity"),
    ("string", "+INF"),
    ("string", "1e-400"),
    # a time alone means today, which a text reader does not know
    ("timestamp", '"10:11:12"'),
    # years before 1 and after 9999
    ("timestamp", '"-2024-01-01"'),
    ("timestamp_ntz", '"-2024-01-01"'),
    ("date", '"-2024-01-01"'),
    # how a cast writes the year 12024, and floats and the least double
    ("date", '"12024-01-01"'),
    ("timestamp", '"12024-01-01"'),
    ("timestamp_ntz", '"12024-01-01"'),
    ("string", "5e-324"),
    ("double", "5e-324"),
    ("float", "2147483648"),
    ("float", "-2147483649"),
    ("float", "123456789.125"),
    ("float", "123456789"),
    # a date beyond the years that DuckDB's casts print
    ("date", '"1704067200"'),
    # not a number, and no text either
    ("binary", "+INF"),
}


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine(threads=1) as opened:
        yield opened


def call(name: str, *args: Expression) -> Expression:
    entry = catalogue.lookup(name)
    assert isinstance(entry, ScalarFunction)
    return entry.bind(BindContext(), args)


def text(value: str | None) -> Literal:
    return Literal(value, STRING)


def options(**given: str) -> Literal:
    return Literal(tuple(given.items()), MapType(STRING, STRING))


def over(engine: Engine, texts: list[str | None], make: Any) -> list[Any]:
    """`make` (column -> expression) over a column of texts."""
    schema = StructType([StructField("l", STRING, True)])
    attributes = attributes_of(schema)
    data = LocalData(table=pa.table({"l": pa.array(texts, pa.string())}), schema=schema, attributes=attributes)
    plan = Project(child=data, expressions=(Alias(make(attributes[0]), "r", new_expr_id()),))
    return run_once(engine, lower(plan)).column(0).to_pylist()


def as_text(expression: Expression) -> Expression:
    if isinstance(dtype_of(expression), BinaryType):
        return call("hex", expression)
    return Cast(expression, STRING, CastMode.ANSI)


@pytest.mark.parametrize("kind", OBSERVED)
def test_tokens_of_every_kind(engine: Engine, kind: str) -> None:
    rows = OBSERVED[kind]
    lines = ['{"f":' + token + ',"z":7}' for token, _, _ in rows]
    schema = f"struct<f:{kind},z:int,_corrupt_record:string>"

    def part(index: int, name: str) -> Any:
        def make(column: Attribute) -> Expression:
            parsed = call("from_json", column, text(schema))
            dtype: DataType = parse_type(schema).fields[index].dataType  # type: ignore[attr-defined]
            return as_text(GetField(parsed, index, name, dtype, True))

        return make

    found = over(engine, lines, part(0, "f"))
    corrupt = over(engine, lines, part(2, "_corrupt_record"))
    wrong = [
        (token, expected, value, expected_corrupt, record is not None)
        for (token, expected, expected_corrupt), value, record in zip(rows, found, corrupt, strict=True)
        if (value, record is not None) != (expected, expected_corrupt) and (kind, token) not in NOT_THE_SAME
    ]
    assert wrong == [], wrong


WHOLE = [
    ("array<struct<a:int>>", '{"a":1}', [{"a": 1}]),
    ("array<struct<a:int>>", '[{"a":1},{"a":2}]', [{"a": 1}, {"a": 2}]),
    ("array<struct<a:int>>", "[1,2]", None),
    ("array<struct<a:int>>", "[]", []),
    ("array<struct<a:int>>", "{}", [{"a": None}]),
    ("array<struct<a:int>>", '[{"a":1},{"a":"x"}]', [{"a": 1}, {"a": None}]),
    ("array<struct<a:int>>", '{"a":1} x', [{"a": 1}]),
    ("array<struct<a:int>>", "x", None),
    ("struct<a:int>", "", None),
    ("struct<a:int>", "  ", None),
    ("struct<a:int>", None, None),
    ("struct<a:int>", "x", {"a": None}),
    ("struct<a:int>", "null", {"a": None}),
    ("struct<a:int>", '[{"a":1}]', {"a": None}),
    ("struct<a:int>", '{"a":1} x', {"a": 1}),
    ("map<string,int>", '{"a":1}', [("a", 1)]),
    ("map<string,int>", '{"a":"q"}', None),
    ("map<string,int>", "{}", []),
    ("map<string,int>", "[]", None),
    ("array<int>", "[1,2]", [1, 2]),
    ("array<int>", '[1,"a"]', None),
    ("array<int>", "[1][2]", [1]),
    ("array<int>", '{"a":1}', None),
]


@pytest.mark.parametrize(("schema", "line", "expected"), WHOLE)
def test_whole_texts(engine: Engine, schema: str, line: str | None, expected: Any) -> None:
    assert over(engine, [line], lambda c: call("from_json", c, text(schema))) == [expected]


def test_failfast_names_the_record(engine: Engine) -> None:
    with pytest.raises(RunnelError) as caught:
        over(engine, ["bad"], lambda c: call("from_json", c, text("a int"), options(mode="FAILFAST")))
    assert caught.value.condition == "MALFORMED_RECORD_IN_PARSING.WITHOUT_SUGGESTION"


def test_timestamp_format(engine: Engine) -> None:
    make = lambda c: as_text(  # noqa: E731
        call("from_json", c, text("t timestamp"), options(timestampFormat="dd/MM/yyyy HH:mm"))
    )
    assert over(engine, ['{"t":"03/02/2024 10:11"}', '{"t":"2024-02-03"}'], make) == ["{2024-02-03 10:11:00}", "{null}"]


def test_schema_must_be_nested() -> None:
    with pytest.raises(AnalysisError) as caught:
        call("from_json", text("1"), text("int"))
    assert caught.value.condition == "DATATYPE_MISMATCH.INVALID_JSON_SCHEMA"


TO_JSON = [
    ("struct<a:int,b:string>", '{"a":1,"b":"x\\"y"}', '{"a":1,"b":"x\\"y"}'),
    ("struct<a:int,b:string>", '{"b":null}', "{}"),
    ("struct<a:array<int>>", '{"a":[1,null]}', '{"a":[1,null]}'),
    ("struct<m:map<string,int>>", '{"m":{"k":1}}', '{"m":{"k":1}}'),
    ("struct<t:timestamp,d:date>", '{"t":"2024-01-02 03:04:05.6","d":"2024-01-02"}',
     '{"t":"2024-01-02T03:04:05.600Z","d":"2024-01-02"}'),
    ("struct<x:double,y:boolean>", '{"x":1e10,"y":true}', '{"x":1.0E10,"y":true}'),
    ("array<struct<a:int>>", '[{"a":1},{}]', '[{"a":1},{}]'),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "line", "expected"), TO_JSON)
def test_to_json(engine: Engine, schema: str, line: str, expected: str) -> None:
    assert over(engine, [line], lambda c: call("to_json", call("from_json", c, text(schema)))) == [expected]


PATHS = [
    ('{"a":{"b":[1,2]}}', "$.a.b[1]", "2"),
    ('{"a":{"b":"x"}}', "$.a", '{"b":"x"}'),
    ('{"a":"x"}', "$.a", "x"),
    ('{"a":"x"}', "$['a']", "x"),
    ('{"a":[{"b":1},{"b":2}]}', "$.a[*].b", "[1,2]"),
    ('{"a":null}', "$.a", None),
    ("not json", "$.a", None),
    ('{"a":1}', "a", None),
]


@pytest.mark.parametrize(("line", "path", "expected"), PATHS)
def test_get_json_object(engine: Engine, line: str, path: str, expected: str | None) -> None:
    assert over(engine, [line], lambda c: call("get_json_object", c, text(path))) == [expected]


def test_lengths_and_keys(engine: Engine) -> None:
    assert over(engine, ["[1,[2]]", "{}", "x", None], lambda c: call("json_array_length", c)) == [2, None, None, None]
    assert over(engine, ['{"a":{"b":1},"c":2}', "[1]"], lambda c: call("json_object_keys", c)) == [["a", "c"], None]


def test_schema_of_json() -> None:
    found = call("schema_of_json", text('{"b":[1,2.5],"a":"x"}'))
    assert isinstance(found, Literal)
    assert found.value == "STRUCT<a: STRING, b: ARRAY<DOUBLE>>"


def test_json_tuple_is_a_generator() -> None:
    assert isinstance(catalogue.lookup("json_tuple"), GeneratorFunction)
    assert isinstance(ArrayType(STRING), ArrayType)


REPAIRS = [
    ("{'a':1} rest", Liberties(), '{"a":1}'),
    ("{a:1}", Liberties(), None),
    ("{a:1}", Liberties(unquoted_field_names=True), '{"a":1}'),
    ("{'a':1}", Liberties(single_quotes=False), None),
    ("[NaN]", Liberties(), '["NaN"]'),
    ("[NaN]", Liberties(not_numbers=False), None),
    ("[007]", Liberties(), None),
    ("[007]", Liberties(leading_zeros=True), "[7]"),
    ('{"a":1 /* c */}', Liberties(comments=True), '{"a":1}'),
    ('{"a":1 /* c */}', Liberties(), None),
    ('{"a":1,}', Liberties(), None),
    ('["\t"]', Liberties(), None),
    ('["\t"]', Liberties(control_characters=True), '["\\t"]'),
    ('["\\q"]', Liberties(backslash_any=True), '["q"]'),
    ('["\\ud83d\\ude00"]', Liberties(), '["😀"]'),
    ("[" * 5000, Liberties(), None),
]


@pytest.mark.parametrize(("line", "liberties", "expected"), REPAIRS)
def test_repair(line: str, liberties: Liberties, expected: str | None) -> None:
    assert repaired(line, liberties) == expected
