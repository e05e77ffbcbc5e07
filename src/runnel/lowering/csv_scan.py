"""CSV files. Lines are cut into strings before DuckDB sees them; `functions.csv_values` turns these into values.

Lines without quotes, nearly all of them, are cut by Arrow, whole batches at a time; a batch that has quotes is read by
`csv_records`, record by record. A record with too few or too many values is malformed, as is a value that does not fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql.types import StringType, StructType

from runnel.csv_records import Record, is_record, read_records, split_record
from runnel.errors import AnalysisError, IllegalArgumentError
from runnel.files import path_to_uri
from runnel.functions.csv_options import CsvOptions, csv_options
from runnel.functions.csv_values import check_types, csv_value
from runnel.functions.json_options import DROPMALFORMED, FAILFAST, PERMISSIVE
from runnel.lines import FileStream, lines_schema, read_lines
from runnel.lowering.datatypes import quote
from runnel.lowering.expressions import ExpressionLowering
from runnel.lowering.scan_columns import scan_columns, tolerance
from runnel.plan.expressions import new_expr_id
from runnel.plan.relations import FileScan

_LINES = lines_schema("line", "record")
_ROWS = 122_880


def lower_csv(scan: FileScan, context: ExpressionLowering) -> str:
    """The SELECT of a scan of CSV files."""
    options = csv_options(scan.options)
    columns = scan_columns(scan)
    check_types(columns.data)
    corrupt = _corrupt_place(columns.data, options)
    places = [i for i in range(len(columns.data.fields)) if i != corrupt]
    unique = new_expr_id()
    record, count = f"record#{unique}", f"count#{unique}"
    names = {place: f"c{position}#{unique}" for position, place in enumerate(places)}
    strings = [pa.field(names[place], pa.string()) for place in places]
    schema = pa.schema([pa.field(record, pa.string()), pa.field(count, pa.int32()), *strings])
    header = [columns.data.fields[place].name for place in places]

    def read(path: str) -> Iterator[pa.RecordBatch]:
        return _batches(path, schema, options, header)

    stream = FileStream(scan.paths, schema, read, columns.constants, **tolerance(scan))
    name = context.stream(stream)
    strict = options.mode in (DROPMALFORMED, FAILFAST)
    watched = strict or any(place == corrupt for place, _ in columns.read)
    wanted = [place for place, _ in columns.read if place != corrupt]
    values = {
        place: csv_value(context, quote(names[place]), columns.data.fields[place].dataType, options) for place in wanted
    }
    where = ""
    if watched:
        unfit = [f"{quote(names[p])} IS NOT NULL AND ({values[p]}) IS NULL" for p in wanted]
        broken = " OR ".join([f"{quote(count)} <> {len(places)}", *unfit])
        if options.mode == PERMISSIVE:
            values[corrupt] = f"CASE WHEN {broken} THEN {quote(record)} END"
        elif options.mode == DROPMALFORMED:
            where = f" WHERE NOT ({broken})"
        else:
            failure = context.error(
                "MALFORMED_RECORD_IN_PARSING.WITHOUT_SUGGESTION",
                StringType(),
                badRecord=quote(record),
                failFastMode="'FAILFAST'",
            )
            where = f" WHERE CASE WHEN {broken} THEN {failure} IS NULL ELSE TRUE END"
    if corrupt >= 0 and corrupt not in values:
        values[corrupt] = "CAST(NULL AS VARCHAR)"
    return columns.select(values, name, where)


def _corrupt_place(schema: StructType, options: CsvOptions) -> int:
    for place, f in enumerate(schema.fields):
        if f.name.lower() == options.corrupt_column.lower():
            if not isinstance(f.dataType, StringType) or not f.nullable:
                raise AnalysisError(
                    "_LEGACY_ERROR_TEMP_3102", {"msg": "The field for corrupt records must be string type and nullable"}
                )
            return place
    return -1


def _batches(path: str, schema: pa.Schema, options: CsvOptions, header: Sequence[str]) -> Iterator[pa.RecordBatch]:
    skip = options.header
    if options.multi_line:
        records = read_records(path, options)
        if skip:
            first = next(records, None)
            if first is not None:
                _check_header(first[0], header, options, path)
        yield from _of_records(records, schema)
        return
    for batch in read_lines(path, _LINES, options.line_separator, options.encoding):
        lines = pc.utf8_rtrim(pc.coalesce(batch.column(1), batch.column(0)), characters="\n")
        if options.comment:
            lines = lines.filter(pc.invert(pc.starts_with(pc.utf8_ltrim_whitespace(lines), options.comment)))
        lines = lines.filter(pc.not_equal(pc.utf8_trim_whitespace(lines), ""))
        if skip and len(lines):
            text = lines[0].as_py()
            _check_header(split_record(text, options), header, options, path)
            lines, skip = lines.slice(1), False
        if not len(lines):
            continue
        if options.quote and pc.any(pc.match_substring(lines, options.quote)).as_py():
            texts = lines.to_pylist()
            yield from _of_records(((split_record(t, options), t) for t in texts if is_record(t, options)), schema)
        else:
            yield _cut(lines, schema, options)


def _cut(lines: pa.Array, schema: pa.Schema, options: CsvOptions) -> pa.RecordBatch:
    parts = pc.split_pattern(lines, options.separator)
    values = parts.values
    if options.ignore_leading:
        values = pc.utf8_ltrim_whitespace(values)
    if options.ignore_trailing:
        values = pc.utf8_rtrim_whitespace(values)
    values = pc.if_else(pc.is_in(values, pa.array([options.null_value, ""])), pa.scalar(None, pa.string()), values)
    offsets = np.asarray(parts.offsets)
    counts = np.diff(offsets).astype(np.int32)
    columns = []
    for position in range(len(schema) - 2):
        present = counts > position
        places = pa.array(np.where(present, offsets[:-1] + position, 0), mask=~present)
        columns.append(values.take(places))
    return pa.RecordBatch.from_arrays([lines, pa.array(counts), *columns], schema=schema)


def _of_records(records: Iterator[Record], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    width = len(schema) - 2
    texts: list[str] = []
    counts: list[int] = []
    rows: list[list[str | None]] = []
    for values, text in records:
        texts.append(text)
        counts.append(len(values))
        rows.append((values + [None] * width)[:width])
        if len(texts) == _ROWS:
            yield _batch(texts, counts, rows, schema)
            texts, counts, rows = [], [], []
    if texts:
        yield _batch(texts, counts, rows, schema)


def _batch(texts: list[str], counts: list[int], rows: list[list[str | None]], schema: pa.Schema) -> pa.RecordBatch:
    columns = [pa.array([row[i] for row in rows], pa.string()) for i in range(len(schema) - 2)]
    return pa.RecordBatch.from_arrays(
        [pa.array(texts, pa.string()), pa.array(counts, pa.int32()), *columns], schema=schema
    )


def _check_header(found: Sequence[str | None], wanted: Sequence[str], options: CsvOptions, path: str) -> None:
    """With enforceSchema off the header must name the schema's columns, in order."""
    if options.enforce_schema:
        return
    if [(f or "").lower() for f in found] != [w.lower() for w in wanted]:
        message = (
            f"CSV header does not conform to the schema. Header: {', '.join(f or '' for f in found)}. "
            f"Schema: {', '.join(wanted)}. CSV file: {path_to_uri(path)}"
        )
        raise IllegalArgumentError("_LEGACY_ERROR_TEMP_3102", {"msg": message})
