"""Python values to and from Arrow as PySpark's workers convert them, and the users' exceptions as errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import pyarrow as pa
from pyspark.sql.conversion import ArrowTableToRowsConversion, LocalDataToArrowConversion
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    ByteType,
    DataType,
    DateType,
    DayTimeIntervalType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    MapType,
    ShortType,
    StringType,
    StructType,
    TimestampNTZType,
    TimestampType,
    UserDefinedType,
)

from runnel.execution.arrow import client_type, retype_array
from runnel.lowering.datatypes import arrow_type, field_names

Convert = Callable[[Any], Any]

_INTEGRAL = {ByteType: 8, ShortType: 16, IntegerType: 32, LongType: 64}


def to_python(array: pa.Array | pa.ChunkedArray, dtype: DataType) -> list[Any]:
    """A physical column as the values that a row function sees: Row, Decimal, datetime in the process' zone, bytes …"""
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    values = retype_array(array, client_type(dtype)).to_pylist(maps_as_pydicts=None)
    convert = ArrowTableToRowsConversion._create_converter(dtype, none_on_identity=True, binary_as_bytes=True)
    return values if convert is None else [convert(v) for v in values]


def from_arrow_function(values: Sequence[Any], dtype: DataType) -> pa.Array:
    """Results of a row function of the Arrow kind: converted by PySpark, cast safely where the type differs."""
    wanted = client_type(dtype)
    convert = LocalDataToArrowConversion._create_converter(dtype, none_on_identity=True)
    converted = list(values) if convert is None else [convert(v) for v in values]
    try:
        return pa.array(converted, type=wanted)
    except pa.lib.ArrowInvalid:
        return pa.array(converted).cast(target_type=wanted, safe=True)


def from_pickled_function(values: Sequence[Any], dtype: DataType) -> pa.Array:
    """Results of a row function of the pickled kind, physical, with the field names used in SQL.

    As EvaluatePython in Spark's JVM: a value of another kind than the type's is null, anything becomes a string.
    """
    if dtype.needConversion():
        values = [dtype.toInternal(v) for v in values]
    convert = lenient(dtype)
    return pa.array([convert(v) for v in values], type=arrow_type(dtype, sql_names=True))


def lenient(dtype: DataType) -> Convert:
    """What makes a value in Catalyst's internal form one of the type: of another kind it is null."""
    match dtype:
        case UserDefinedType():
            return lenient(dtype.sqlType())
        case BooleanType():
            return lambda v: v if isinstance(v, bool) else None
        case ByteType() | ShortType() | IntegerType() | LongType():
            return _wrapping(_INTEGRAL[type(dtype)])
        case FloatType() | DoubleType():
            return lambda v: v if isinstance(v, float) else None
        case DecimalType(precision=precision, scale=scale):
            return _decimal(precision, scale)
        case DateType() | TimestampType() | TimestampNTZType() | DayTimeIntervalType():
            return lambda v: v if isinstance(v, int) and not isinstance(v, bool) else None
        case StringType():
            return _text
        case BinaryType():
            return _binary
        case ArrayType(elementType=element):
            return _elements(lenient(element))
        case MapType(keyType=key, valueType=value):
            return _entries(lenient(key), lenient(value))
        case StructType() as struct:
            return _fields(field_names(struct), [lenient(f.dataType) for f in struct.fields])
        case _:
            return lambda v: v


def _wrapping(bits: int) -> Convert:
    half, whole = 1 << (bits - 1), 1 << bits

    def convert(value: Any) -> Any:
        if not isinstance(value, int) or isinstance(value, bool) or not -(1 << 63) <= value < 1 << 63:
            return None
        return (value + half) % whole - half

    return convert


def _decimal(precision: int, scale: int) -> Convert:
    unit = Decimal(1).scaleb(-scale)

    def convert(value: Any) -> Any:
        if not isinstance(value, Decimal) or not value.is_finite():
            return None
        try:
            rounded = value.quantize(unit, rounding="ROUND_HALF_UP")
        except InvalidOperation:
            return None
        return rounded if len(rounded.as_tuple().digits) <= precision else None

    return convert


def _text(value: Any) -> Any:
    if value is None or isinstance(value, str):
        return value
    return str(value).lower() if isinstance(value, bool) else str(value)


def _binary(value: Any) -> Any:
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    return value.encode() if isinstance(value, str) else None


def _elements(convert: Convert) -> Convert:
    return lambda v: [convert(x) for x in v] if isinstance(v, list | tuple) else None


def _entries(key: Convert, value: Convert) -> Convert:
    return lambda v: [(key(k), value(x)) for k, x in v.items()] if isinstance(v, dict) else None


def _fields(names: Sequence[str], converts: Sequence[Convert]) -> Convert:
    def convert(value: Any) -> Any:
        if not isinstance(value, tuple | list):
            return None
        if len(value) != len(names):
            raise ValueError(
                f"Input row doesn't have expected number of values required by the schema. "
                f"{len(names)} fields are required while {len(value)} values are provided."
            )
        return {name: one(v) for name, one, v in zip(names, converts, value, strict=True)}

    return convert
