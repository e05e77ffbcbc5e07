"""Text files: one column, a row a line (blank ones too), or (wholetext) a row a file."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from runnel.lines import FileStream, lines_schema, read_lines, read_text
from runnel.lowering.datatypes import quote
from runnel.lowering.expressions import ExpressionLowering
from runnel.lowering.scan_columns import scan_columns, tolerance
from runnel.options import flag, lowered
from runnel.plan.expressions import new_expr_id
from runnel.plan.relations import FileScan


def lower_text(scan: FileScan, context: ExpressionLowering) -> str:
    """The SELECT of a scan of text files."""
    options = lowered(scan.options)
    whole = flag(options, "wholetext", False)
    columns = scan_columns(scan)
    line, record = f"line#{new_expr_id()}", f"record#{new_expr_id()}"
    schema = lines_schema(line, record)

    def read(path: str) -> Iterator[pa.RecordBatch]:
        if whole:
            return _whole(path, schema, options.get("encoding"))
        return read_lines(path, schema, options.get("linesep"), options.get("encoding"))

    stream = FileStream(scan.paths, schema, read, columns.constants, **tolerance(scan))
    name = context.stream(stream)
    text = f"coalesce({quote(record)}, {quote(line)})"
    if not whole and options.get("linesep") in (None, "\n"):
        # only the last character can be a line feed
        text = f"rtrim({text}, chr(10))"
    return columns.select({place: text for place, _ in columns.read}, name)


def _whole(path: str, schema: pa.Schema, encoding: str | None) -> Iterator[pa.RecordBatch]:
    text = pa.array([read_text(path, encoding)], pa.string())
    yield pa.RecordBatch.from_arrays([text, pa.nulls(1, pa.string())], schema=schema)
