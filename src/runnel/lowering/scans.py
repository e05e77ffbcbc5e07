"""Scans of files as SELECTs: one function a format, and what they share.

A scan's text reads an Arrow stream over its files (`Fragment.streams`), which also carries what is the same for all rows
of a file: partition columns, typed as the schema says, and the hidden `_metadata` struct. Converting text to values is
SQL. Rows keep the order of the files, and within a file that of its lines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from runnel.errors import AnalysisError, unsupported
from runnel.lowering.csv_scan import lower_csv
from runnel.lowering.expressions import ExpressionLowering
from runnel.lowering.json_scan import lower_json
from runnel.lowering.table_scan import lower_table
from runnel.lowering.text_scan import lower_text
from runnel.plan.relations import FileScan

_FORMATS: Final[Mapping[str, Callable[[FileScan, ExpressionLowering], str]]] = {
    "csv": lower_csv,
    "json": lower_json,
    "orc": lower_table,
    "parquet": lower_table,
    "text": lower_text,
}


def lower_scan(scan: FileScan, context: ExpressionLowering) -> str:
    """A SELECT yielding `scan.attributes` under their SQL names. Its streams are left with the context.

    Errors: AnalysisError or UnsupportedOperationError for options and types that cannot be read; nothing is opened yet.
    """
    lower = _FORMATS.get(scan.format)
    if lower is None:
        if scan.format in ("avro", "xml", "binaryfile"):
            raise unsupported(f"Reading files of the format {scan.format}")
        raise AnalysisError("DATA_SOURCE_NOT_FOUND", {"provider": scan.format})
    return lower(scan, context)
