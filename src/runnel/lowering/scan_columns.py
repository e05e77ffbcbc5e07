"""What scans of all formats share: which columns come from where, constants of a file, the SELECT list."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from pyspark.sql.types import (
    BooleanType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegralType,
    LongType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

from runnel.errors import RunnelError
from runnel.files import path_to_uri
from runnel.lines import Constant
from runnel.lowering.datatypes import arrow_type, quote
from runnel.lowering.expressions import column_name
from runnel.options import flag, lowered
from runnel.plan.expressions import Attribute
from runnel.plan.relations import FileScan

_NO_COLUMNS: Final = '1 AS "#"'
METADATA_COLUMN: Final = "_metadata"
METADATA_TYPE: Final = StructType(
    [
        StructField("file_path", StringType(), False),
        StructField("file_name", StringType(), False),
        StructField("file_size", LongType(), False),
        StructField("file_block_start", LongType(), False),
        StructField("file_block_length", LongType(), False),
        StructField("file_modification_time", TimestampType(), False),
    ]
)


@dataclass(frozen=True, slots=True)
class ScanColumns:
    """A scan's columns by origin.

    data: the schema without partition columns. read: those data columns that somebody wants, each with its place in
    `data`. constants: partition columns and `_metadata`, as the stream carries them.
    """

    data: StructType
    read: tuple[tuple[int, Attribute], ...]
    constants: tuple[Constant, ...]
    attributes: tuple[Attribute, ...]

    def select(self, values: Mapping[int, str], source: str, where: str = "") -> str:
        """The scan's SELECT. values: SQL of each column read, by its place in `data`."""
        by_id = {a.expr_id: values[i] for i, a in self.read}
        items = [
            f"{by_id[a.expr_id]} AS {quote(column_name(a))}" if a.expr_id in by_id else quote(column_name(a))
            for a in self.attributes
        ]
        return f"SELECT {', '.join(items) or _NO_COLUMNS} FROM {source}{where}"


def scan_columns(scan: FileScan) -> ScanColumns:
    partitions = {name.lower(): i for i, name in enumerate(scan.partition_columns)}
    data = StructType([f for f in scan.schema.fields if f.name.lower() not in partitions])
    places = {f.name.lower(): i for i, f in enumerate(data.fields)}
    read: list[tuple[int, Attribute]] = []
    constants: list[Constant] = []
    for position, attribute in enumerate(scan.attributes):
        name = attribute.name.lower()
        if scan.metadata_column and name == METADATA_COLUMN and position == len(scan.attributes) - 1:
            values: list[Any] = [_metadata(path) for path in scan.paths]
            constants.append(Constant(column_name(attribute), arrow_type(METADATA_TYPE), values))
        elif name in partitions:
            texts = (row[partitions[name]] for row in scan.partition_values)
            values = [partition_value(text, attribute.dtype) for text in texts]
            constants.append(Constant(column_name(attribute), arrow_type(attribute.dtype), values))
        else:
            read.append((places[name], attribute))
    return ScanColumns(data, tuple(read), tuple(constants), scan.attributes)


def partition_value(text: str | None, dtype: DataType) -> Any:
    """A partition directory's value. Errors: RunnelError CAST_INVALID_INPUT if it does not fit the type."""
    if text is None:
        return None
    try:
        match dtype:
            case BooleanType():
                return {"true": True, "false": False}[text.lower()]
            case IntegralType():
                return int(text)
            case DoubleType() | FloatType():
                return float(text)
            case DecimalType():
                return Decimal(text).quantize(Decimal(1).scaleb(-dtype.scale))
            case DateType():
                return date.fromisoformat(text)
            case TimestampType():
                return datetime.fromisoformat(text)
            case _:
                return text
    except (ValueError, KeyError, ArithmeticError) as problem:
        raise RunnelError(
            "CAST_INVALID_INPUT",
            {
                "expression": f"'{text}'",
                "sourceType": '"STRING"',
                "targetType": f'"{dtype.simpleString().upper()}"',
                "ansiConfig": '"spark.sql.ansi.enabled"',
            },
        ) from problem


def _metadata(path: str) -> dict[str, Any]:
    try:
        status = os.stat(path)  # noqa: PTH116 - as cheap as it gets, for many files
    except FileNotFoundError as missing:
        raise RunnelError("FAILED_READ_FILE.FILE_NOT_EXIST", {"path": path_to_uri(path)}) from missing
    return {
        "file_path": "file:" + path_to_uri(path).removeprefix("file://"),  # Hadoop's form of a path
        "file_name": path_to_uri(os.path.abspath(path)).rsplit("/", 1)[-1],  # noqa: PTH100
        "file_size": status.st_size,
        "file_block_start": 0,
        "file_block_length": status.st_size,
        "file_modification_time": status.st_mtime_ns // 1_000_000 * 1000,
    }


def tolerance(scan: FileScan) -> dict[str, bool]:
    """What `FileStream` passes over: files that have vanished, and what cannot be read of a file."""
    options = lowered(scan.options)
    return {
        "ignore_missing": flag(options, "ignoreMissingFiles", False),
        "ignore_corrupt": flag(options, "ignoreCorruptFiles", False),
    }
