"""Spark's types in DuckDB's words and in the engine's physical Arrow types, and literals as SQL text.

One row a type; nested types by recursion. `timestamp` is an instant and lives in a zoneless TIMESTAMP holding UTC;
`timestamp_ntz` in the same type holding the wall clock. Day-time intervals are BIGINT microseconds, year-month intervals
INTEGER months. The null type is an INTEGER that is always null.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    ByteType,
    CalendarIntervalType,
    CharType,
    DataType,
    DateType,
    DayTimeIntervalType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    MapType,
    NullType,
    ShortType,
    StringType,
    StructType,
    TimestampNTZType,
    TimestampType,
    TimeType,
    UserDefinedType,
    VarcharType,
    YearMonthIntervalType,
)

from runnel.errors import unsupported

_SIMPLE: dict[type[DataType], tuple[str, pa.DataType]] = {
    BooleanType: ("BOOLEAN", pa.bool_()),
    ByteType: ("TINYINT", pa.int8()),
    ShortType: ("SMALLINT", pa.int16()),
    IntegerType: ("INTEGER", pa.int32()),
    LongType: ("BIGINT", pa.int64()),
    FloatType: ("FLOAT", pa.float32()),
    DoubleType: ("DOUBLE", pa.float64()),
    StringType: ("VARCHAR", pa.string()),
    CharType: ("VARCHAR", pa.string()),
    VarcharType: ("VARCHAR", pa.string()),
    BinaryType: ("BLOB", pa.binary()),
    DateType: ("DATE", pa.date32()),
    TimestampType: ("TIMESTAMP", pa.timestamp("us")),
    TimestampNTZType: ("TIMESTAMP", pa.timestamp("us")),
    TimeType: ("TIME", pa.time64("us")),
    DayTimeIntervalType: ("BIGINT", pa.int64()),
    YearMonthIntervalType: ("INTEGER", pa.int32()),
    CalendarIntervalType: ("INTERVAL", pa.month_day_nano_interval()),
    NullType: ("INTEGER", pa.int32()),
}


def quote(name: str) -> str:
    """An SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def string_literal(text: str) -> str:
    """SQL text of a VARCHAR constant; any characters, NUL included."""
    if "\0" in text:
        return "(" + " || chr(0) || ".join(string_literal(part) for part in text.split("\0")) + ")"
    return "'" + text.replace("'", "''") + "'"


def unique_names(names: Sequence[str]) -> tuple[str, ...]:
    """Names that DuckDB can tell apart, in the same order: it ignores case and knows no empty name."""
    taken: set[str] = set()
    result = []
    for position, name in enumerate(names):
        candidate, suffix = name or f"_{position + 1}", 1
        while candidate.lower() in taken:
            candidate, suffix = f"{name}_{suffix}", suffix + 1
        taken.add(candidate.lower())
        result.append(candidate)
    return tuple(result)


def field_names(struct: StructType) -> tuple[str, ...]:
    """The struct's field names in SQL, by position."""
    return unique_names(struct.names)


def _plain(dtype: DataType) -> DataType:
    return dtype.sqlType() if isinstance(dtype, UserDefinedType) else dtype


def duckdb_type(dtype: DataType) -> str:
    """DuckDB's type text; a refusal for types that the engine has no form for."""
    match _plain(dtype):
        case DecimalType(precision=precision, scale=scale):
            return f"DECIMAL({precision},{scale})"
        case ArrayType(elementType=element):
            return f"{duckdb_type(element)}[]"
        case MapType(keyType=key, valueType=value):
            return f"MAP({duckdb_type(key)}, {duckdb_type(value)})"
        case StructType() as struct:
            if not struct.fields:
                return "BOOLEAN"
            parts = (
                f"{quote(name)} {duckdb_type(field.dataType)}"
                for name, field in zip(field_names(struct), struct.fields, strict=True)
            )
            return f"STRUCT({', '.join(parts)})"
        case plain:
            return _simple(plain)[0]


def arrow_type(dtype: DataType, *, sql_names: bool = False) -> pa.DataType:
    """The engine's physical Arrow type. Struct fields have Spark's names, or with `sql_names` those used in SQL."""
    match _plain(dtype):
        case DecimalType(precision=precision, scale=scale):
            return pa.decimal128(precision, scale)
        case ArrayType(elementType=element):
            return pa.list_(arrow_type(element, sql_names=sql_names))
        case MapType(keyType=key, valueType=value):
            return pa.map_(arrow_type(key, sql_names=sql_names), arrow_type(value, sql_names=sql_names))
        case StructType(fields=[]):
            return pa.bool_()  # DuckDB has no struct without fields: only whether it is null is kept
        case StructType() as struct:
            names = field_names(struct) if sql_names else struct.names
            return pa.struct(
                [
                    pa.field(name, arrow_type(field.dataType, sql_names=sql_names))
                    for name, field in zip(names, struct.fields, strict=True)
                ]
            )
        case plain:
            return _simple(plain)[1]


def arrow_schema(schema: StructType) -> pa.Schema:
    """The physical Arrow schema of a table with this Spark schema; every field nullable."""
    return pa.schema([pa.field(f.name, arrow_type(f.dataType)) for f in schema.fields])


def _simple(dtype: DataType) -> tuple[str, pa.DataType]:
    row = _SIMPLE.get(type(dtype))
    if row is None:
        raise unsupported(f"The data type {dtype.simpleString()}")
    return row


def null_literal(dtype: DataType) -> str:
    return f"CAST(NULL AS {duckdb_type(dtype)})"


def literal(value: Any, dtype: DataType) -> str:
    """SQL text of a constant in Catalyst's internal form (see `plan.expressions`), of exactly the type's SQL type."""
    plain = _plain(dtype)
    if value is None:
        return null_literal(plain)
    match plain:
        case ArrayType(elementType=element):
            return f"CAST([{_list(value, element)}] AS {duckdb_type(plain)})"
        case MapType(keyType=key, valueType=of):
            keys, values = [k for k, _ in value], [v for _, v in value]
            return f"CAST(map([{_list(keys, key)}], [{_list(values, of)}]) AS {duckdb_type(plain)})"
        case StructType() as struct:
            parts = (
                f"{quote(name)} := {literal(item, field.dataType)}"
                for name, item, field in zip(field_names(struct), value, struct.fields, strict=True)
            )
            return f"struct_pack({', '.join(parts)})"
        case DecimalType():
            return f"CAST('{Decimal(value):f}' AS {duckdb_type(plain)})"
        case _:
            write = _WRITERS.get(type(plain))
            if write is None:
                raise unsupported(f"A literal of type {plain.simpleString()}")
            return write(value)


def _list(values: Sequence[Any], dtype: DataType) -> str:
    return ", ".join(literal(v, dtype) for v in values)


def _floating(type_name: str) -> Callable[[float], str]:
    def write(value: float) -> str:
        text = "nan" if math.isnan(value) else repr(float(value))
        return f"CAST('{text}' AS {type_name})"

    return write


def _integral(type_name: str) -> Callable[[int], str]:
    return lambda value: f"CAST({int(value)} AS {type_name})"


def _interval(value: Sequence[int]) -> str:
    months, days, microseconds = value
    return f"(to_months({months}) + to_days({days}) + to_microseconds({microseconds}))"


def _timestamp(value: int) -> str:
    return f"make_timestamp({int(value)})"


def _time(value: int) -> str:
    return f"CAST(make_timestamp({int(value) // 1000}) AS TIME)"


_WRITERS: dict[type[DataType], Callable[[Any], str]] = {
    BooleanType: lambda value: "TRUE" if value else "FALSE",
    ByteType: _integral("TINYINT"),
    ShortType: _integral("SMALLINT"),
    IntegerType: _integral("INTEGER"),
    LongType: _integral("BIGINT"),
    FloatType: _floating("FLOAT"),
    DoubleType: _floating("DOUBLE"),
    StringType: string_literal,
    CharType: string_literal,
    VarcharType: string_literal,
    BinaryType: lambda value: f"unhex('{bytes(value).hex()}')",
    DateType: lambda value: f"(DATE '1970-01-01' + CAST({int(value)} AS INTEGER))",
    TimestampType: _timestamp,
    TimestampNTZType: _timestamp,
    TimeType: _time,
    DayTimeIntervalType: _integral("BIGINT"),
    YearMonthIntervalType: _integral("INTEGER"),
    CalendarIntervalType: _interval,
}
