"""Text of show(), printSchema() and HTML against what Spark 4.2.0 printed (`show_fixture.json`)."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    CalendarIntervalType,
    DataType,
    DateType,
    DayTimeIntervalType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegerType,
    MapType,
    NullType,
    StringType,
    StructField,
    StructType,
    TimestampNTZType,
    TimestampType,
    TimeType,
    YearMonthIntervalType,
)

from runnel.show import double_text, html_text, schema_tree, table_text, timestamp_text, value_texts

SPARK: dict[str, Any] = json.loads((Path(__file__).parent / "show_fixture.json").read_text(encoding="utf-8"))
NEW_YORK = "America/New_York"

STRINGS = pa.table(
    {
        "name": ["short", "a long string that is longer than twenty", "日本語テキスト", "tab\there\nnl\r\\x", None],
        "n": pa.array([1, 2, 3, 4, 5], pa.int32()),
    }
)
STRINGS_SCHEMA = StructType([StructField("name", StringType()), StructField("n", IntegerType())])


@pytest.mark.parametrize(
    ("key", "arguments"),
    [
        ("strings", {}),
        ("strings_f", {"truncate": 0}),
        ("strings_5", {"truncate": 5}),
        ("strings_2", {"truncate": 2}),
        ("strings_top2", {"num_rows": 2}),
        ("strings_top1", {"num_rows": 1}),
        ("top0", {"num_rows": 0}),
        ("strings_v", {"vertical": True}),
        ("strings_v2", {"vertical": True, "num_rows": 2}),
    ],
)
def test_tables_are_spark_s_to_the_letter(key: str, arguments: dict[str, Any]) -> None:
    assert table_text(STRINGS, STRINGS_SCHEMA, "UTC", **arguments) == SPARK[key]


@pytest.mark.parametrize(("key", "vertical"), [("empty", False), ("empty_v", True)])
def test_empty_tables(key: str, vertical: bool) -> None:
    assert table_text(STRINGS.slice(0, 0), STRINGS_SCHEMA, "UTC", vertical=vertical) == SPARK[key]


def test_rows_without_columns() -> None:
    rows = pa.Table.from_batches([pa.RecordBatch.from_struct_array(pa.array([{}] * 2, pa.struct([])))])
    assert table_text(rows, StructType([]), "UTC") == SPARK["nocol"]


@pytest.mark.parametrize(("key", "rows"), [("html", 2), ("html_all", 20)])
def test_html(key: str, rows: int) -> None:
    assert html_text(STRINGS, STRINGS_SCHEMA, "UTC", num_rows=rows, truncate=20) == SPARK[key]


def test_html_is_escaped() -> None:
    text = html_text(pa.table({"a": ["<b>"]}), StructType().add("a", StringType()), "UTC", num_rows=1, truncate=20)
    assert "<td>&lt;b&gt;</td>" in text


def _us(text: str) -> int:
    return int(np.datetime64(text, "us").astype(np.int64))


_NEST = StructType([StructField("b", BinaryType()), StructField("t", TimestampType())])
_XYZ = StructType([StructField("x", StringType()), StructField("y", IntegerType()), StructField("z", DoubleType())])
TYPES: list[tuple[str, Any, DataType, pa.DataType]] = [
    ("i", 1, IntegerType(), pa.int32()),
    ("nul", None, IntegerType(), pa.int32()),
    ("d", 1.5, DoubleType(), pa.float64()),
    ("big", 1e10, DoubleType(), pa.float64()),
    ("sm", 1.5e-5, DoubleType(), pa.float64()),
    ("t3", 0.001, DoubleType(), pa.float64()),
    ("e7", 12345678.9, DoubleType(), pa.float64()),
    ("n", float("nan"), DoubleType(), pa.float64()),
    ("inf", float("-inf"), DoubleType(), pa.float64()),
    ("f", 1.1, FloatType(), pa.float32()),
    ("f2", 1e20, FloatType(), pa.float32()),
    ("dec", Decimal("1.50"), DecimalType(10, 2), pa.decimal128(10, 2)),
    ("dec2", Decimal("1E-11"), DecimalType(20, 12), pa.decimal128(20, 12)),
    ("b", True, BooleanType(), pa.bool_()),
    ("bin", b"hi\x00\xff", BinaryType(), pa.binary()),
    ("bin0", b"", BinaryType(), pa.binary()),
    ("dt", 19724, DateType(), pa.date32()),
    ("ts", _us("2024-01-02T08:04:05.123"), TimestampType(), pa.timestamp("us")),
    ("tsn", _us("2024-01-02T03:04:05"), TimestampNTZType(), pa.timestamp("us")),
    ("a", [1, None], ArrayType(IntegerType()), pa.list_(pa.int32())),
    ("m", [("a", 1), ("b", None)], MapType(StringType(), IntegerType()), pa.map_(pa.string(), pa.int32())),
    ("s", {"x": "x", "y": None, "z": 1.5}, _XYZ, pa.struct({"x": pa.string(), "y": pa.int32(), "z": pa.float64()})),
    (
        "nest",
        [{"b": b"\x01", "t": _us("2024-07-02T07:04:05")}],
        ArrayType(_NEST),
        pa.list_(pa.struct({"b": pa.binary(), "t": pa.timestamp("us")})),
    ),
    ("vd", None, NullType(), pa.int32()),
]


@pytest.mark.parametrize("vertical", [False, True])
def test_every_type(vertical: bool) -> None:
    schema = StructType([StructField(name, dtype) for name, _, dtype, _ in TYPES])
    table = pa.Table.from_arrays([pa.array([v], t) for _, v, _, t in TYPES], names=schema.names)
    text = table_text(table, schema, NEW_YORK, truncate=0, vertical=vertical)
    assert text == SPARK["types_v" if vertical else "types"]


_DAY = 86_400_000_000
INTERVALS: list[tuple[Any, DataType]] = [
    (_DAY, DayTimeIntervalType(0, 0)),
    (_DAY + 7_384_500_000, DayTimeIntervalType(0, 3)),
    (_DAY + 7_200_000_000, DayTimeIntervalType(0, 1)),
    (-(_DAY + 7_380_000_000), DayTimeIntervalType(0, 2)),
    (5 * 3_600_000_000, DayTimeIntervalType(1, 1)),
    (18_360_000_000, DayTimeIntervalType(1, 2)),
    (18_367_250_000, DayTimeIntervalType(1, 3)),
    (480_000_000, DayTimeIntervalType(2, 2)),
    (489_000_000, DayTimeIntervalType(2, 3)),
    (5_500_000, DayTimeIntervalType(3, 3)),
    (12_000_000, DayTimeIntervalType(3, 3)),
    (14, YearMonthIntervalType(0, 1)),
    (36, YearMonthIntervalType(0, 0)),
    (7, YearMonthIntervalType(1, 1)),
    (-14, YearMonthIntervalType(0, 1)),
    ((14, 25, 18_367_890_000_000), CalendarIntervalType()),
    ((0, 0, 0), CalendarIntervalType()),
    (36_000_000_000, TimeType()),
    (36_000_120_000, TimeType()),
    ((0, -4, 17_632_500_000_000), CalendarIntervalType()),
]


def test_intervals_and_times() -> None:
    header = [c.strip() for c in SPARK["intervals"].splitlines()[1].strip("|").split("|")]
    cells = [c.strip() for c in SPARK["intervals"].splitlines()[3].strip("|").split("|")]
    for name, expected, (value, dtype) in zip(header, cells, INTERVALS, strict=True):
        kind = {CalendarIntervalType: pa.month_day_nano_interval(), TimeType: pa.time64("us")}.get(
            type(dtype), pa.int32() if isinstance(dtype, YearMonthIntervalType) else pa.int64()
        )
        assert value_texts(pa.array([value], kind), dtype, "UTC") == [expected], name


def test_doubles_and_floats_are_written_as_java_does() -> None:
    numbers, texts = SPARK["doubles"]
    assert [double_text(n) for n in numbers] == texts
    numbers, texts = SPARK["floats"]
    assert [double_text(float(np.float32(n)), single=True) for n in numbers] == texts


@pytest.mark.parametrize("level", [None, 1, 2, 3])
def test_schema_tree(level: int | None) -> None:
    schema = StructType.fromJson(json.loads(SPARK["tree_ddl"]))
    assert schema_tree(schema, level) == SPARK["tree" if level is None else f"tree{level}"]


def test_slices_and_chunks_show_their_own_rows() -> None:
    values = pa.chunked_array([pa.array([[1], None, [2, 3]]).slice(1), pa.array([[4]])])
    assert value_texts(values, ArrayType(IntegerType()), "UTC") == ["NULL", "[2, 3]", "[4]"]


def test_far_years() -> None:
    import datetime

    assert timestamp_text(253_402_300_800_000_000, datetime.UTC) == "+10000-01-01 00:00:00"
    assert timestamp_text(-62_135_596_800_000_000, datetime.UTC) == "0001-01-01 00:00:00"


@pytest.mark.parametrize("zone", ["+05:30", "GMT+05:30", "UTC+05:30"])
def test_zones_that_are_offsets(zone: str) -> None:
    assert value_texts(pa.array([0], pa.timestamp("us")), TimestampType(), zone) == ["1970-01-01 05:30:00"]
