"""Columnar files (Parquet, ORC): read by Arrow, file after file, brought to the schema's physical types by name.

A column that a file does not have is null. A Parquet column of another type is refused unless Spark's vectorised reader
reads it (`ParquetVectorUpdaterFactory`), one of ORC unless every value survives the change. A file without a byte has no
rows.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pyarrow as pa
from pyspark.sql.types import StructField, StructType

from runnel.errors import RunnelError
from runnel.files import path_to_uri
from runnel.lines import FileStream
from runnel.lowering.datatypes import arrow_type, quote
from runnel.lowering.expressions import ExpressionLowering, column_name
from runnel.lowering.scan_columns import scan_columns, tolerance
from runnel.plan.relations import FileScan

_ROWS = 122_880
_COUNT = "#"


def lower_table(scan: FileScan, context: ExpressionLowering) -> str:
    """The SELECT of a scan of Parquet or ORC files."""
    columns = scan_columns(scan)
    fields = StructType([columns.data.fields[place] for place, _ in columns.read])
    names = [column_name(attribute) for _, attribute in columns.read] or [_COUNT]
    types = [arrow_type(f.dataType, sql_names=True) for f in fields.fields] or [pa.int32()]
    schema = pa.schema([pa.field(n, t) for n, t in zip(names, types, strict=True)])
    is_parquet = scan.format == "parquet"
    batches = _parquet if is_parquet else _orc

    def read(path: str) -> Iterator[pa.RecordBatch]:
        for batch in batches(path, fields.names):
            if not fields.fields:
                yield pa.RecordBatch.from_arrays([pa.nulls(batch.num_rows, pa.int32())], schema=schema)
                continue
            places = {name.lower(): i for i, name in enumerate(batch.schema.names)}
            arrays = [
                _fitting(batch.column(places[f.name.lower()]), t, path, f, strict=is_parquet)
                if f.name.lower() in places
                else pa.nulls(batch.num_rows, t)
                for f, t in zip(fields.fields, types, strict=True)
            ]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    stream = FileStream(scan.paths, schema, read, columns.constants, **tolerance(scan))
    name = context.stream(stream)
    return columns.select({place: quote(column_name(a)) for place, a in columns.read}, name)


def _parquet(path: str, names: list[str]) -> Iterator[pa.RecordBatch]:
    import pyarrow.parquet as pq

    if not os.path.getsize(path):  # noqa: PTH202
        return
    with pq.ParquetFile(path) as opened:
        wanted = {name.lower() for name in names}
        found = [name for name in opened.schema_arrow.names if name.lower() in wanted]
        yield from opened.iter_batches(batch_size=_ROWS, columns=found)


def _orc(path: str, names: list[str]) -> Iterator[pa.RecordBatch]:
    from pyarrow import orc

    opened = orc.ORCFile(path)
    wanted = {name.lower() for name in names}
    found = [name for name in opened.schema.names if name.lower() in wanted]
    for stripe in range(opened.nstripes):
        yield opened.read_stripe(stripe, columns=found)


def _fitting(array: pa.Array, wanted: pa.DataType, path: str, field: StructField, *, strict: bool) -> pa.Array:
    problem: Exception | None = None
    try:
        if not strict or _may_become(array.type, wanted):
            return _retyped(array, wanted)
    except pa.ArrowException as failure:
        problem = failure
    raise RunnelError(
        "FAILED_READ_FILE.PARQUET_COLUMN_DATA_TYPE_MISMATCH",
        {
            "path": path_to_uri(path),
            "column": f"[{field.name}]",
            "expectedType": field.dataType.simpleString(),
            "actualType": _physical_name(array.type),
        },
    ) from problem


def _may_become(have: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether a Parquet column of one type may be read as another; nested types are looked into value by value."""
    is_small = pa.types.is_integer(have) and have.bit_width <= 32
    if have == wanted or pa.types.is_null(have):
        return True
    if pa.types.is_integer(wanted):
        return bool(is_small or (pa.types.is_int64(wanted) and pa.types.is_integer(have)))
    if pa.types.is_floating(wanted):
        widens = pa.types.is_floating(have) and have.bit_width <= wanted.bit_width
        return bool(widens or (is_small and pa.types.is_float64(wanted)))
    if pa.types.is_decimal(wanted):
        if pa.types.is_decimal(have):
            return bool(wanted.scale >= have.scale and wanted.precision - wanted.scale >= have.precision - have.scale)
        return bool(pa.types.is_integer(have))
    if pa.types.is_boolean(wanted):
        return False
    if _is_text(wanted):
        return bool(_is_text(have) or pa.types.is_dictionary(have) or pa.types.is_fixed_size_binary(have))
    if pa.types.is_date(wanted):
        return bool(pa.types.is_date(have))
    if pa.types.is_timestamp(wanted):
        return bool(pa.types.is_timestamp(have) or pa.types.is_date(have))
    return True


def _is_text(dtype: pa.DataType) -> bool:
    return any(
        is_kind(dtype)
        for is_kind in (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    )


def _physical_name(dtype: pa.DataType) -> str:
    """Parquet's name of a plain type, Arrow's of others."""
    if pa.types.is_integer(dtype):
        return "INT32" if dtype.bit_width <= 32 else "INT64"
    if pa.types.is_floating(dtype):
        return "FLOAT" if dtype.bit_width <= 32 else "DOUBLE"
    return "BINARY" if _is_text(dtype) else "BOOLEAN" if pa.types.is_boolean(dtype) else str(dtype)


def _retyped(array: pa.Array, wanted: pa.DataType) -> pa.Array:
    """The array in the type wanted; struct fields by name, zoned timestamps as UTC."""
    have = array.type
    if have == wanted:
        return array
    if pa.types.is_timestamp(have) and pa.types.is_timestamp(wanted) and (have.tz is not None or have.unit == "ns"):
        if have.tz is not None:
            array = array.cast(pa.timestamp(have.unit, "UTC")).cast(pa.int64()).cast(pa.timestamp(have.unit))
        return array.cast(wanted, safe=False)
    if pa.types.is_dictionary(have):
        return _retyped(array.dictionary_decode(), wanted)
    if pa.types.is_struct(have) and pa.types.is_struct(wanted):
        places = {have.field(i).name.lower(): i for i in range(have.num_fields)}
        children = []
        for i in range(wanted.num_fields):
            f = wanted.field(i)
            place = places.get(f.name.lower())
            children.append(pa.nulls(len(array), f.type) if place is None else _retyped(array.field(place), f.type))
        mask = array.is_null() if array.null_count else None
        return pa.StructArray.from_arrays(children, fields=list(wanted), mask=mask)
    if pa.types.is_list(have) and pa.types.is_list(wanted):
        if array.offset:
            array = pa.concat_arrays([array.slice(0, 0), array])
        mask = array.is_null() if array.null_count and not array.offset else None
        if array.offset:
            return array.cast(wanted)
        return pa.ListArray.from_arrays(
            array.offsets, _retyped(array.values, wanted.value_type), type=wanted, mask=mask
        )
    return array.cast(wanted)
