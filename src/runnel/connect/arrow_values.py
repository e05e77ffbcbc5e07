"""Arrow arrays between the client's form and the engine's physical form.

The two differ in few leaves: a timestamp travels with the session's zone and is held in UTC without one; a day-time
interval travels as a duration and is held as microseconds; a time travels in nanoseconds and is held in microseconds.
Struct fields are matched by position in both directions.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
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

_LEAVES: dict[type[DataType], pa.DataType] = {
    BooleanType: pa.bool_(),
    ByteType: pa.int8(),
    ShortType: pa.int16(),
    IntegerType: pa.int32(),
    LongType: pa.int64(),
    FloatType: pa.float32(),
    DoubleType: pa.float64(),
    StringType: pa.string(),
    CharType: pa.string(),
    VarcharType: pa.string(),
    BinaryType: pa.binary(),
    DateType: pa.date32(),
    TimestampNTZType: pa.timestamp("us"),
    CalendarIntervalType: pa.month_day_nano_interval(),
    YearMonthIntervalType: pa.int32(),
}
_PHYSICAL: dict[type[DataType], pa.DataType] = {
    TimestampType: pa.timestamp("us"),
    DayTimeIntervalType: pa.int64(),
    TimeType: pa.time64("us"),
    NullType: pa.int32(),
    StructType: pa.bool_(),
}
_WIRE: dict[type[DataType], pa.DataType] = {
    DayTimeIntervalType: pa.duration("us"),
    TimeType: pa.time64("ns"),
    NullType: pa.null(),
    StructType: pa.struct([]),
}


def unique_names(names: list[str]) -> list[str]:
    """Names as the client expects a struct's fields: those that occur more than once get `_<n>` appended."""
    if len(set(names)) == len(names):
        return names
    seen: dict[str, int] = {}
    result = []
    for name in names:
        if names.count(name) > 1:
            result.append(f"{name}_{seen.get(name, 0)}")
            seen[name] = seen.get(name, 0) + 1
        else:
            result.append(name)
    return result


def _arrow_type(dtype: DataType, leaf: Callable[[DataType], pa.DataType]) -> pa.DataType:
    match dtype:
        case ArrayType(elementType=element):
            return pa.list_(pa.field("element", _arrow_type(element, leaf), dtype.containsNull))
        case MapType(keyType=key, valueType=value):
            return pa.map_(
                pa.field("key", _arrow_type(key, leaf), nullable=False),
                pa.field("value", _arrow_type(value, leaf), dtype.valueContainsNull),
            )
        case StructType(fields=fields) if fields:
            names = unique_names([f.name for f in fields])
            return pa.struct(
                [pa.field(n, _arrow_type(f.dataType, leaf), f.nullable) for n, f in zip(names, fields, strict=True)]
            )
        case UserDefinedType():
            return _arrow_type(dtype.sqlType(), leaf)
        case DecimalType(precision=precision, scale=scale):
            return pa.decimal128(precision, scale)
        case _:
            return leaf(dtype)


def _leaf(dtype: DataType, special: dict[type[DataType], pa.DataType]) -> pa.DataType:
    for table in (special, _LEAVES):
        if type(dtype) in table:
            return table[type(dtype)]
    raise unsupported(f"Data of type {dtype.simpleString()}")


def physical_type(dtype: DataType) -> pa.DataType:
    """The Arrow type in which the engine holds a Spark type."""
    return _arrow_type(dtype, lambda d: _leaf(d, _PHYSICAL))


def wire_type(dtype: DataType, zone: str) -> pa.DataType:
    """The Arrow type in which a Spark type travels to the client of a session in `zone`."""
    offset = re.fullmatch(r"(?:UTC|GMT|UT)?([+-])(\d{1,2})(:\d{2})?(?::\d{2})?", zone)
    name = f"{offset[1]}{int(offset[2]):02d}{offset[3] or ':00'}" if offset else zone
    return _arrow_type(dtype, lambda d: _leaf(d, {**_WIRE, TimestampType: pa.timestamp("us", tz=name)}))


def to_physical(array: pa.Array, dtype: DataType) -> pa.Array:
    """The client's values (any Arrow type that can be cast) in the engine's physical form."""
    return _convert(array, dtype, physical_type, _physical_leaf)


def to_wire(array: pa.Array, dtype: DataType, zone: str) -> pa.Array:
    """The engine's values in the form in which the client takes them."""
    return _convert(array, dtype, lambda d: wire_type(d, zone), _wire_leaf)


def _physical_leaf(array: pa.Array, target: pa.DataType) -> pa.Array:
    kind = array.type
    if pa.types.is_null(kind):
        return pa.nulls(len(array), target)
    if pa.types.is_struct(kind):
        return pc.if_else(array.is_valid(), True, None)
    if pa.types.is_duration(kind):
        return array.cast(pa.duration("us"), safe=False).cast(pa.int64())
    if pa.types.is_timestamp(kind):
        if kind.tz is not None:
            array = array.cast(pa.timestamp(kind.unit, tz="UTC")).cast(pa.timestamp(kind.unit))
        return array.cast(target, safe=False)
    return array.cast(target, safe=not pa.types.is_time(kind))


def _wire_leaf(array: pa.Array, target: pa.DataType) -> pa.Array:
    if pa.types.is_null(target):
        return pa.nulls(len(array))
    if pa.types.is_struct(target):
        return pa.StructArray.from_buffers(target, len(array), [array.is_valid().buffers()[1]])
    if pa.types.is_timestamp(target) and target.tz is not None:
        return array.view(target)
    if pa.types.is_duration(target):
        return array.cast(pa.int64()).cast(target)
    return array.cast(target)


def _convert(
    array: pa.Array,
    dtype: DataType,
    type_of: Callable[[DataType], pa.DataType],
    leaf: Callable[[pa.Array, pa.DataType], pa.Array],
) -> pa.Array:
    target = type_of(dtype)
    if array.type == target:
        return array
    if isinstance(dtype, UserDefinedType):
        dtype = dtype.sqlType()
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), target)

    def child(values: pa.Array, kind: DataType) -> pa.Array:
        return _convert(values, kind, type_of, leaf)

    match dtype:
        case ArrayType(elementType=element):
            if not pa.types.is_list(array.type):
                array = array.cast(pa.list_(array.type.value_type))
            values = child(array.values, element)
            return pa.Array.from_buffers(
                target, len(array), array.buffers()[:2], offset=array.offset, children=[values]
            )
        case MapType(keyType=key, valueType=value):
            entries = pa.StructArray.from_arrays(
                [child(array.keys, key), child(array.items, value)], fields=[target.key_field, target.item_field]
            )
            return pa.Array.from_buffers(
                target, len(array), array.buffers()[:2], offset=array.offset, children=[entries]
            )
        case StructType(fields=fields) if fields:
            children = [child(array.field(i), f.dataType) for i, f in enumerate(fields)]
            return pa.StructArray.from_arrays(children, fields=list(target), mask=array.is_null())
        case _:
            return leaf(array, target)


def convert_table(table: pa.Table, schema: StructType, one: Callable[[pa.Array, DataType], pa.Array]) -> pa.Table:
    """The table column by column, by position, under the schema's names (which may repeat)."""
    if not schema.fields:
        return table.select([])
    columns: list[Any] = []
    for field, column in zip(schema.fields, table.columns, strict=True):
        chunks = [one(chunk, field.dataType) for chunk in column.chunks]
        columns.append(pa.chunked_array(chunks) if chunks else pa.chunked_array([one(pa.nulls(0), field.dataType)]))
    return pa.Table.from_arrays(columns, names=[f.name for f in schema.fields])
