"""Physical Arrow tables: the engine's types enforced, names of nested fields exchanged, clients' forms made.

The buffers stay where they are wherever the layout is the same: only names and unit-free re-typings change.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql.types import (
    ArrayType,
    DataType,
    DayTimeIntervalType,
    MapType,
    NullType,
    StructType,
    TimestampType,
    TimeType,
    UserDefinedType,
)

from runnel.lowering.datatypes import arrow_type


def conform(table: pa.Table, schema: StructType, names: Sequence[str] | None = None, *, sql: bool = False) -> pa.Table:
    """The table with exactly the schema's physical types, by position.

    names: column names of the result, the schema's own if None. `sql` says that structs get the field names that they
    have in SQL, instead of Spark's. Zero-copy where types match already.
    Raises pyarrow.ArrowInvalid if a value does not fit.
    """
    names = schema.names if names is None else names
    if not schema.fields:
        return table.select([])
    columns = [retype(table.column(i), arrow_type(f.dataType, sql_names=sql)) for i, f in enumerate(schema.fields)]
    return pa.Table.from_arrays(columns, names=list(names))


def for_client(table: pa.Table, schema: StructType, time_zone: str = "UTC") -> pa.Table:
    """A physical table in the Arrow types that PySpark's client and Python functions expect of the schema.

    Timestamps carry `time_zone`, day-time intervals are durations, times have nanoseconds, the null type is Arrow's.
    Intervals of months and calendar intervals stay physical: PySpark has no Arrow form for them.
    """
    types = [client_type(f.dataType, time_zone) for f in schema.fields]
    if not types:
        return table.select([])
    columns = [retype(table.column(i), wanted) for i, wanted in enumerate(types)]
    fields = [pa.field(f.name, t, f.nullable) for f, t in zip(schema.fields, types, strict=True)]
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def client_type(dtype: DataType, time_zone: str = "UTC") -> pa.DataType:
    """PySpark's Arrow type of a Spark type."""
    match dtype:
        case TimestampType():
            return pa.timestamp("us", tz=time_zone)
        case DayTimeIntervalType():
            return pa.duration("us")
        case TimeType():
            return pa.time64("ns")
        case NullType():
            return pa.null()
        case UserDefinedType():
            return client_type(dtype.sqlType(), time_zone)
        case ArrayType(elementType=element, containsNull=nullable):
            return pa.list_(pa.field("element", client_type(element, time_zone), nullable))
        case MapType(keyType=key, valueType=value, valueContainsNull=nullable):
            item = pa.field("value", client_type(value, time_zone), nullable)
            return pa.map_(pa.field("key", client_type(key, time_zone), False), item)
        case StructType():
            return pa.struct([pa.field(f.name, client_type(f.dataType, time_zone), f.nullable) for f in dtype.fields])
        case _:
            return arrow_type(dtype)


def retype(column: pa.ChunkedArray, wanted: pa.DataType) -> pa.ChunkedArray:
    """The column in the type wanted; struct fields are matched by position."""
    if column.type == wanted:
        return column
    return pa.chunked_array([retype_array(chunk, wanted) for chunk in column.chunks], type=wanted)


def retype_array(array: pa.Array, wanted: pa.DataType) -> pa.Array:
    """Like `retype`, for one array."""
    if array.type == wanted:
        return array
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), wanted)
    if pa.types.is_dictionary(array.type):
        return retype_array(array.dictionary_decode(), wanted)
    if isinstance(array, pa.ExtensionArray):
        return retype_array(array.storage, wanted)
    if pa.types.is_struct(wanted) and pa.types.is_boolean(array.type):  # a struct without fields, and its physical form
        return pa.StructArray.from_buffers(wanted, len(array), [array.is_valid().buffers()[1]])
    if pa.types.is_boolean(wanted) and pa.types.is_struct(array.type):
        return pc.if_else(array.is_valid(), True, None)
    if pa.types.is_struct(wanted) and pa.types.is_struct(array.type):
        return _struct(array, wanted)
    if pa.types.is_map(wanted) and pa.types.is_map(array.type):
        return _map(array, wanted)
    if pa.types.is_list(wanted) and _is_list(array.type):
        return _list(array, wanted)
    if pa.types.is_null(wanted):
        return pa.nulls(len(array))
    if pa.types.is_timestamp(wanted) and pa.types.is_timestamp(array.type) and array.type.tz != wanted.tz:
        return array.cast(pa.int64()).cast(pa.timestamp(array.type.unit, wanted.tz)).cast(wanted)
    if pa.types.is_duration(wanted) and pa.types.is_integer(array.type):
        return array.cast(pa.int64()).cast(wanted)
    if pa.types.is_int64(wanted) and pa.types.is_duration(array.type):
        return array.cast(pa.duration("us")).cast(pa.int64())
    if pa.types.is_binary(wanted) and pa.types.is_fixed_size_binary(array.type):
        return array.cast(pa.binary())
    return array.cast(wanted)


def _is_list(dtype: pa.DataType) -> bool:
    return bool(pa.types.is_list(dtype) or pa.types.is_large_list(dtype) or pa.types.is_fixed_size_list(dtype))


def _struct(array: pa.Array, wanted: pa.StructType) -> pa.Array:
    fields = [wanted.field(i) for i in range(wanted.num_fields)]
    if array.type.num_fields != len(fields):
        return array.cast(wanted)
    children = [retype_array(child, f.type) for child, f in zip(_children(array), fields, strict=True)]
    mask = pc.is_null(array) if array.null_count else None
    return pa.StructArray.from_arrays(children, fields=fields, mask=mask)


def _children(array: pa.StructArray) -> list[pa.Array]:
    return [array.field(i) for i in range(array.type.num_fields)]


def _list(array: Any, wanted: pa.ListType) -> pa.Array:
    if not pa.types.is_list(array.type):
        array = array.cast(pa.list_(array.type.value_field))
    if array.offset:
        array = pa.concat_arrays([array])  # offsets must begin at this array's start for the null bitmap to line up
        if array.offset:
            array = array.take(pa.array(range(len(array))))
    values = retype_array(array.values, wanted.value_type)
    mask = pc.is_null(array) if array.null_count else None
    return pa.ListArray.from_arrays(array.offsets, values, type=wanted, mask=mask)


def _map(array: Any, wanted: pa.MapType) -> pa.Array:
    if array.offset:
        array = array.take(pa.array(range(len(array))))
    keys = retype_array(array.keys, wanted.key_type)
    items = retype_array(array.items, wanted.item_type)
    mask = pc.is_null(array) if array.null_count else None
    return pa.MapArray.from_arrays(array.offsets, keys, items, type=wanted, mask=mask)
