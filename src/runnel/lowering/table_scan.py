"""Columnar files (Parquet, ORC): read by Arrow, file after file, brought to the schema's physical types by name.

A column that a file does not have is null. A column of another type is refused unless every value survives the change.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
from pyspark.sql.types import StructType

from runnel.errors import RunnelError
from runnel.files import path_to_uri
from runnel.lines import FileStream
from runnel.lowering.datatypes import arrow_type, quote
from runnel.lowering.expressions import ExpressionLowering, column_name
from runnel.lowering.scan_columns import ignores_missing, scan_columns
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
    batches = _parquet if scan.format == "parquet" else _orc

    def read(path: str) -> Iterator[pa.RecordBatch]:
        for batch in batches(path, fields.names):
            if not fields.fields:
                yield pa.RecordBatch.from_arrays([pa.nulls(batch.num_rows, pa.int32())], schema=schema)
                continue
            places = {name.lower(): i for i, name in enumerate(batch.schema.names)}
            arrays = [
                _fitting(batch.column(places[f.name.lower()]), t, path, f.name, f.dataType.simpleString())
                if f.name.lower() in places
                else pa.nulls(batch.num_rows, t)
                for f, t in zip(fields.fields, types, strict=True)
            ]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    stream = FileStream(scan.paths, schema, read, columns.constants, ignore_missing=ignores_missing(scan))
    name = context.stream(stream)
    return columns.select({place: quote(column_name(a)) for place, a in columns.read}, name)


def _parquet(path: str, names: list[str]) -> Iterator[pa.RecordBatch]:
    import pyarrow.parquet as pq

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


def _fitting(array: pa.Array, wanted: pa.DataType, path: str, name: str, expected: str) -> pa.Array:
    try:
        return _retyped(array, wanted)
    except pa.ArrowException as problem:
        raise RunnelError(
            "FAILED_READ_FILE.PARQUET_COLUMN_DATA_TYPE_MISMATCH",
            {"path": path_to_uri(path), "column": f"[{name}]", "expectedType": expected, "actualType": str(array.type)},
        ) from problem


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
