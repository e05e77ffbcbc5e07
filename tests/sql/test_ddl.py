"""Types and schemas from text."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pyspark.sql import types as t
from pyspark.sql.types import DataType, StructField, StructType

from runnel.errors import ParseError
from runnel.plan.ddl import parse_type_prefix, plain_type
from runnel.sql import parse_schema, parse_type

TYPES: dict[str, DataType] = {
    "boolean": t.BooleanType(),
    "byte": t.ByteType(),
    "TINYINT": t.ByteType(),
    "short": t.ShortType(),
    "smallint": t.ShortType(),
    "int": t.IntegerType(),
    "Integer": t.IntegerType(),
    "long": t.LongType(),
    "bigint": t.LongType(),
    "float": t.FloatType(),
    "real": t.FloatType(),
    "double": t.DoubleType(),
    "decimal": t.DecimalType(10, 0),
    "dec(5)": t.DecimalType(5, 0),
    "numeric( 38 , 18 )": t.DecimalType(38, 18),
    "string": t.StringType(),
    "string collate utf8_binary": t.StringType(),
    "char(3)": t.CharType(3),
    "character(3)": t.CharType(3),
    "varchar(10)": t.VarcharType(10),
    "binary": t.BinaryType(),
    "date": t.DateType(),
    "timestamp": t.TimestampType(),
    "timestamp_ltz": t.TimestampType(),
    "timestamp with local time zone": t.TimestampType(),
    "timestamp_ntz": t.TimestampNTZType(),
    "timestamp without time zone": t.TimestampNTZType(),
    "time": t.TimeType(6),
    "time(3)": t.TimeType(3),
    "void": t.NullType(),
    "variant": t.VariantType(),
    "interval": t.CalendarIntervalType(),
    "interval day": t.DayTimeIntervalType(0, 0),
    "INTERVAL DAY TO SECOND": t.DayTimeIntervalType(0, 3),
    "interval hour to minute": t.DayTimeIntervalType(1, 2),
    "interval year to month": t.YearMonthIntervalType(0, 1),
    "interval month": t.YearMonthIntervalType(1, 1),
    "array<int>": t.ArrayType(t.IntegerType()),
    "array<array<array<int>>>": t.ArrayType(t.ArrayType(t.ArrayType(t.IntegerType()))),
    "map<string, array<bigint>>": t.MapType(t.StringType(), t.ArrayType(t.LongType())),
    "struct<>": StructType([]),
    "struct<a: int, b string not null>": StructType(
        [StructField("a", t.IntegerType()), StructField("b", t.StringType(), False)]
    ),
    '"long"': t.LongType(),
    '"decimal(3,1)"': t.DecimalType(3, 1),
    '{"type":"array","elementType":"integer","containsNull":false}': t.ArrayType(t.IntegerType(), False),
}


@pytest.mark.parametrize("text", TYPES)
def test_type(text: str) -> None:
    assert parse_type(text) == TYPES[text]
    assert parse_type(f"  {text}\n") == TYPES[text]


@pytest.mark.parametrize("text", TYPES)
def test_type_of_a_column(text: str) -> None:
    if not text.startswith(("{", '"')):
        assert parse_schema(f"x {text}, y: int") == StructType([StructField("x", TYPES[text]), Y])


Y = StructField("y", t.IntegerType())


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("", []),
        ("k string, t timestamp", [StructField("k", t.StringType()), StructField("t", t.TimestampType())]),
        ("`odd name` decimal(10,2)", [StructField("odd name", t.DecimalType(10, 2))]),
        ("`a``b` int", [StructField("a`b", t.IntegerType())]),
        ("a int not null comment 'it''s'", [StructField("a", t.IntegerType(), False, {"comment": "it's"})]),
        ("time string, date date, interval interval, array array<int>, 1a int", [
            StructField("time", t.StringType()),
            StructField("date", t.DateType()),
            StructField("interval", t.CalendarIntervalType()),
            StructField("array", t.ArrayType(t.IntegerType())),
            StructField("1a", t.IntegerType()),
        ]),
        ("a int, -- first\n b /* second */ string", [StructField("a", t.IntegerType()), StructField("b", t.StringType())]),
        ("int", [StructField("value", t.IntegerType())]),
        ("struct<a:int>", [StructField("a", t.IntegerType())]),
        ('{"type":"struct","fields":[{"name":"a","type":"long","nullable":false,"metadata":{}}]}', [
            StructField("a", t.LongType(), False)
        ]),
    ],
)  # fmt: skip
def test_schema(text: str, fields: list[StructField]) -> None:
    schema = parse_schema(text)
    assert schema == StructType(fields)
    assert [f.metadata for f in schema.fields] == [f.metadata for f in fields]


def test_columns_are_a_type() -> None:
    assert parse_type("a int, b string") == parse_schema("a int, b string")


@pytest.mark.parametrize(
    ("text", "condition", "fragment"),
    [
        ("", "PARSE_EMPTY_STATEMENT", None),
        ("foo", "UNSUPPORTED_DATATYPE", "foo"),
        ("a foo", "UNSUPPORTED_DATATYPE", "foo"),
        ("a int(3)", "UNSUPPORTED_DATATYPE", "int(3)"),
        ("string collate unicode", "UNSUPPORTED_DATATYPE", "unicode"),
        ("geometry", "UNSUPPORTED_DATATYPE", "geometry"),
        ("a varchar", "DATATYPE_MISSING_SIZE", "varchar"),
        ("decimal(39)", "DECIMAL_PRECISION_EXCEEDS_MAX_PRECISION", None),
        ("array<int", "PARSE_SYNTAX_ERROR", ""),
        ("map<int>", "PARSE_SYNTAX_ERROR", ">"),
        ("a int b", "PARSE_SYNTAX_ERROR", "b"),
        ("a int,, b int", "PARSE_SYNTAX_ERROR", ","),
        ("interval hour to day", "PARSE_SYNTAX_ERROR", None),
        ("a int not", "PARSE_SYNTAX_ERROR", ""),
        ("{not json", "PARSE_SYNTAX_ERROR", "{"),
        ('"nonsense"', "UNSUPPORTED_DATATYPE", None),
    ],
)
def test_error(text: str, condition: str, fragment: str | None) -> None:
    with pytest.raises(ParseError) as caught:
        parse_type(text)
    assert caught.value.condition == condition
    if fragment is not None:
        assert caught.value.context is not None
        assert caught.value.context.fragment == fragment


def test_prefix() -> None:
    text = "cast(a as array<int>) + 1"
    assert parse_type_prefix(text, 10) == (t.ArrayType(t.IntegerType()), 20)


def test_plain_type() -> None:
    assert plain_type(parse_type("array<struct<a: varchar(3), b: map<char(1), int>>>")) == parse_type(
        "array<struct<a: string, b: map<string, int>>>"
    )


def test_schemas_load_no_grammar() -> None:
    code = "import sys; from runnel.sql import parse_schema; parse_schema('a int'); assert 'sqlglot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
