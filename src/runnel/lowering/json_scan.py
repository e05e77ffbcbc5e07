"""JSON files: a record a line, or (multiLine) a document a file; an array at the top is as many records.

A line is parsed once, into its fields' JSON texts; `functions.json_values` turns these into values. A line that is not
strict JSON goes through `functions.json_repair`, which reads what Jackson would read. Blank lines are no records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql.types import StringType, StructType

from runnel.errors import AnalysisError
from runnel.functions.date_patterns import text_literal
from runnel.functions.json_options import DROPMALFORMED, FAILFAST, JsonOptions, json_options
from runnel.functions.json_repair import split_array
from runnel.functions.json_values import Converter, liberties_for, readable, structure
from runnel.lines import FileStream, lines_schema, read_lines, read_text
from runnel.lowering.expressions import ExpressionLowering, column, column_name
from runnel.lowering.json_native import native_source
from runnel.lowering.scan_columns import ScanColumns, scan_columns, tolerance
from runnel.plan.expressions import Attribute, new_expr_id
from runnel.plan.relations import FileScan


def lower_json(scan: FileScan, context: ExpressionLowering) -> str:
    """The SELECT of a scan of JSON files."""
    options = json_options(scan.options)
    columns = scan_columns(scan)
    line = Attribute("line", StringType(), True, new_expr_id())
    record = Attribute("record", StringType(), True, new_expr_id())
    schema = lines_schema(column_name(line), column_name(record))

    def read(path: str) -> Iterator[pa.RecordBatch]:
        if options.multi_line:
            return _documents(path, schema, options)
        return _split_arrays(read_lines(path, schema, options.line_separator, options.encoding), schema, options)

    def stream() -> str:
        return context.stream(FileStream(scan.paths, schema, read, columns.constants, **tolerance(scan)))

    return _select(scan.paths, columns, options, context, stream, line, record)


def _select(
    paths: tuple[str, ...],
    columns: ScanColumns,
    options: JsonOptions,
    context: ExpressionLowering,
    stream: Callable[[], str],
    line: Attribute,
    record: Attribute,
) -> str:
    corrupt = _corrupt_place(columns.data, options)
    strict = options.mode in (DROPMALFORMED, FAILFAST)
    watched = strict or any(place == corrupt for place, _ in columns.read)
    # what decides whether a record is corrupt: in PERMISSIVE all fields that Spark parses, which are those read
    wanted = [place for place, _ in columns.read if place != corrupt]
    if watched and not wanted:
        wanted = [place for place in range(len(columns.data.fields)) if place != corrupt]
    if context.options.native_json and not watched:
        native = native_source(paths, columns, wanted, options, context)
        if native is not None:
            source, values = native
            if corrupt >= 0:
                values[corrupt] = "CAST(NULL AS VARCHAR)"
            return columns.select(values, source)
    fields = StructType([columns.data.fields[place] for place in wanted])
    name = stream()

    text = readable(context, line, liberties_for(options, fields))
    checked = "CASE WHEN starts_with(g, '{') OR starts_with(ltrim(g), '{') THEN g END"
    lines = (
        f"(SELECT *, {text} AS g FROM {name} WHERE starts_with({column(line)}, '{{') "
        f"OR NOT regexp_full_match({column(line)}, '[\\x00-\\x20]*') OR {column(record)} IS NOT NULL)"
    )
    parsed = f"json_transform({checked}, {text_literal(structure(fields))})" if fields.fields else "NULL"
    source = f"(SELECT *, {parsed} AS s, {checked} IS NULL AS bad FROM {lines})"
    converter = Converter(context, options)
    # each field's text is a column of its own, since it is looked at several times
    texts = [
        f", CAST(struct_extract(s, {text_literal(f.name)}) AS VARCHAR) AS x{place}"
        for place, f in zip(wanted, fields.fields, strict=True)
    ]
    source = f"(SELECT *{''.join(texts)} FROM {source})"
    converted = {
        place: converter.convert(f"x{place}", f.dataType) for place, f in zip(wanted, fields.fields, strict=True)
    }
    values = {place: converted[place].value for place in wanted}
    shown = f"rtrim(coalesce({column(record)}, {column(line)}), chr(10))"
    where = ""
    if watched:
        broken = " OR ".join(["bad", *(c.corrupt for c in converted.values())])
        match options.mode:
            case "PERMISSIVE":
                values[corrupt] = f"CASE WHEN {broken} THEN {shown} END"
            case "DROPMALFORMED":
                where = f" WHERE NOT ({broken})"
            case _:
                failure = context.error(
                    "MALFORMED_RECORD_IN_PARSING.WITHOUT_SUGGESTION",
                    StringType(),
                    badRecord=shown,
                    failFastMode="'FAILFAST'",
                )
                where = f" WHERE CASE WHEN {broken} THEN {failure} IS NULL ELSE TRUE END"
    if corrupt >= 0 and corrupt not in values:
        values[corrupt] = "CAST(NULL AS VARCHAR)"
    return columns.select(values, source, where)


def _corrupt_place(schema: StructType, options: JsonOptions) -> int:
    """Where the column of corrupt records is, -1 if there is none. Errors: AnalysisError if it is no string."""
    for place, f in enumerate(schema.fields):
        if f.name.lower() == options.corrupt_column.lower():
            if not isinstance(f.dataType, StringType) or not f.nullable:
                raise AnalysisError(
                    "_LEGACY_ERROR_TEMP_3102", {"msg": "The field for corrupt records must be string type and nullable"}
                )
            return place
    return -1


# ---------------------------------------------------------------------------------------------------- top-level arrays


def _split_arrays(
    batches: Iterator[pa.RecordBatch], schema: pa.Schema, options: JsonOptions
) -> Iterator[pa.RecordBatch]:
    """The same lines, those that hold an array replaced by its elements."""
    for batch in batches:
        lines = batch.column(0)
        if not _may_hold_array(lines):
            yield batch
            continue
        texts: list[str] = []
        shown: list[str | None] = []
        for text, record in zip(lines.to_pylist(), batch.column(1).to_pylist(), strict=True):
            if not text.lstrip().startswith("["):
                texts.append(text)
                shown.append(record)
                continue
            _add_array(text, text.rstrip("\n"), options, texts, shown)
        yield pa.RecordBatch.from_arrays([pa.array(texts, pa.string()), pa.array(shown, pa.string())], schema=schema)


def _may_hold_array(lines: pa.StringArray) -> bool:
    """Whether some line's first character, or one behind blanks, is a bracket."""
    return bool(pc.any(pc.match_substring_regex(lines, r"^[ \t\r]*\[")).as_py())


def _add_array(text: str, whole: str, options: JsonOptions, texts: list[str], shown: list[str | None]) -> None:
    elements = split_array(text, options.liberties)
    if elements is None or any(not e.startswith("{") for e in elements):
        texts.append(_NO_RECORD)
        shown.append(whole)
        return
    texts.extend(elements)
    shown.extend([whole] * len(elements))


_NO_RECORD = "\x00"


def _documents(path: str, schema: pa.Schema, options: JsonOptions) -> Iterator[pa.RecordBatch]:
    whole = read_text(path, options.encoding)
    texts: list[str] = []
    shown: list[str | None] = []
    if whole.lstrip().startswith("["):
        _add_array(whole, whole, options, texts, shown)
    elif whole.strip():
        texts.append(whole)
        shown.append(whole)
    yield pa.RecordBatch.from_arrays([pa.array(texts, pa.string()), pa.array(shown, pa.string())], schema=schema)
