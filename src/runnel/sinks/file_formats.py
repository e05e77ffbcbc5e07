"""Rows to files of one format, with or without partition folders; what the batch writer and the file sink share.

Names are Spark's: `part-<number>-<uuid>-c000<ext>`, inside partition folders `part-<number>-<uuid>.c000<ext>`.
"""

from __future__ import annotations

import bz2
import concurrent.futures
import gzip
import os
import uuid
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql.types import (
    ArrayType,
    CalendarIntervalType,
    DataType,
    MapType,
    StringType,
    StructType,
    TimestampType,
    TimeType,
    VariantType,
)

from runnel.errors import AnalysisError, IllegalArgumentError, error, unsupported
from runnel.functions.csv_options import csv_options
from runnel.functions.csv_values import check_types
from runnel.functions.csv_writing import header_line
from runnel.functions.pretty import pretty_type
from runnel.show import value_texts

DEFAULT_PARTITION = "__HIVE_DEFAULT_PARTITION__"
_ROWS_A_FILE_AT_LEAST = 200_000
_ESCAPED = {chr(c) for c in (*range(1, 32), 127)} | set("\"#%'*/:=?\\{[]^")

RenderLines = Callable[[pa.Table], pa.ChunkedArray]
"""Each row of a table (physical types, schema order) as one line of text, without the line's end."""

MakeRenderer = Callable[[StructType, str, Mapping[str, str]], RenderLines]
"""(schema, json or csv, options) -> renderer. The session gives it: it runs in DuckDB."""


@dataclass(frozen=True, slots=True)
class FileFormat:
    """How one format's files are made. `options` have lower-case keys."""

    name: str
    extension: str
    options: Mapping[str, str]
    schema: StructType
    zone: str
    render: RenderLines | None

    def write(self, table: pa.Table, path: Path, *, sync: bool) -> None:
        """Writes one file, durably when `sync`; parent folders exist."""
        if self.name == "parquet":
            with path.open("wb") as out:
                self._parquet(table, out)
                _flush(out, sync)
            return
        with path.open("wb") as out:
            out.write(self._compressed(self._text(table)))
            _flush(out, sync)

    def _parquet(self, table: pa.Table, out: object) -> None:
        fields = []
        columns = []
        for column, field in zip(table.columns, self.schema.fields, strict=True):
            wanted = _zoned(column.type, field.dataType)
            if wanted != column.type:
                column = column.cast(wanted)
            columns.append(column)
            fields.append(pa.field(field.name, column.type, field.nullable))
        made = pa.table(columns, schema=pa.schema(fields))
        made = made.replace_schema_metadata({"org.apache.spark.sql.parquet.row.metadata": self.schema.json()})
        codec = self.options.get("compression", "snappy").lower()
        pq.write_table(
            made,
            out,
            compression="none" if codec in ("none", "uncompressed") else codec,
            store_schema=False,
            use_dictionary=made.num_rows < 1_000_000,
            write_statistics=True,
        )

    def _text(self, table: pa.Table) -> bytes:
        end = self.options.get("linesep", "\n")
        lines = table.column(0) if self.name == "text" else self._rendered(table)
        header = ""
        if self.name == "csv":
            lines = lines.drop_null()  # rows that make no line
            header = (
                header_line(self.schema.fieldNames(), csv_options(self.options)) + end if self._flag("header") else ""
            )
        if not len(lines):
            return self._encoded(header.encode())
        filled = pc.fill_null(lines, "") if lines.null_count else lines
        joined = pc.binary_join_element_wise(filled, pa.scalar("", filled.type), pa.scalar(end, filled.type))
        return self._encoded(header.encode() + b"".join(_bytes_of(chunk) for chunk in joined.chunks))

    def _encoded(self, data: bytes) -> bytes:
        encoding = _encoding(self.options)
        if self.name == "text" or encoding == "utf-8":
            return data
        # Java's UTF-16 and UTF-32 are big-endian, the first with a byte order mark
        mark, charset = _JAVA_CHARSETS.get(encoding, ("", encoding))
        return (mark + data.decode()).encode(charset, "replace")

    def _rendered(self, table: pa.Table) -> pa.ChunkedArray:
        assert self.render is not None
        return self.render(table)

    def _flag(self, name: str) -> bool:
        return self.options.get(name, "false").lower() == "true"

    def _compressed(self, data: bytes) -> bytes:
        match _codec(self.name, self.options):
            case "gzip":
                return gzip.compress(data)
            case "bzip2":
                return bz2.compress(data)
            case "deflate":
                return zlib.compress(data)
            case _:
                return data


_EXTENSIONS = {"parquet": ".parquet", "json": ".json", "csv": ".csv", "text": ".txt"}
_CODECS = {"none": "", "uncompressed": "", "gzip": ".gz", "bzip2": ".bz2", "deflate": ".deflate"}
_JAVA_CHARSETS = {"utf-16": ("\ufeff", "utf-16-be"), "utf-32": ("", "utf-32-be")}
_CHARSETS = ("iso-8859-1", "us-ascii", "utf-16", "utf-16be", "utf-16le", "utf-32", "utf-8")


def _codec(name: str, options: Mapping[str, str]) -> str:
    default = "snappy" if name == "parquet" else "none"
    return options.get("compression", options.get("codec", default) if name == "csv" else default).lower()


def _encoding(options: Mapping[str, str]) -> str:
    return options.get("encoding", options.get("charset", "utf-8")).lower()


def _check_text(name: str, options: Mapping[str, str], schema: StructType) -> None:
    """Refuses what a format of lines cannot write, before there are rows."""
    codec = _codec(name, options)
    if codec not in _CODECS:
        if codec in ("snappy", "lz4"):
            raise unsupported(f"Writing {name} compressed by {codec}", "Use gzip, bzip2 or deflate.")
        raise IllegalArgumentError(
            "CODEC_NOT_AVAILABLE.WITH_AVAILABLE_CODECS_SUGGESTION",
            {"codecName": codec, "availableCodecs": ", ".join(_CODECS)},
        )
    if name == "csv":
        csv_options(options)
        if _encoding(options) not in _CHARSETS:
            raise IllegalArgumentError(
                "INVALID_PARAMETER_VALUE.CHARSET",
                {
                    "functionName": "`CSVOptions`",
                    "parameter": "`charset`",
                    "charset": _encoding(options),
                    "charsets": ", ".join(_CHARSETS),
                },
            )
        check_types(schema)
    for field in schema.fields:
        _check_type(name, field.name, field.dataType)


def _check_type(name: str, column: str, dtype: DataType) -> None:
    match dtype:
        case StructType() if name == "json":
            if not dtype.fields:
                raise AnalysisError("EMPTY_SCHEMA_NOT_SUPPORTED_FOR_DATASOURCE", {"format": "JSON"})
            for field in dtype.fields:
                _check_type(name, column, field.dataType)
        case ArrayType() if name == "json":
            _check_type(name, column, dtype.elementType)
        case MapType() if name == "json":
            _check_type(name, column, dtype.keyType)
            _check_type(name, column, dtype.valueType)
        case TimeType():
            raise AnalysisError("UNSUPPORTED_TIME_TYPE")
        case CalendarIntervalType() | VariantType():
            raise AnalysisError(
                "UNSUPPORTED_DATA_TYPE_FOR_DATASOURCE",
                {"format": name.upper(), "columnName": f"`{column}`", "columnType": pretty_type(dtype)},
            )


def _zoned(arrow: pa.DataType, dtype: DataType) -> pa.DataType:
    """The Arrow type with instants marked as such, at any depth."""
    match dtype:
        case TimestampType():
            return pa.timestamp("us", "UTC")
        case ArrayType():
            return pa.list_(arrow.value_field.with_type(_zoned(arrow.value_type, dtype.elementType)))
        case MapType():
            item = arrow.item_field.with_type(_zoned(arrow.item_type, dtype.valueType))
            return pa.map_(arrow.key_field.with_type(_zoned(arrow.key_type, dtype.keyType)), item)
        case StructType():
            return pa.struct(
                [f.with_type(_zoned(f.type, d.dataType)) for f, d in zip(arrow, dtype.fields, strict=True)]
            )
        case _:
            return arrow


def file_format(
    name: str, options: Mapping[str, str], schema: StructType, zone: str, make_renderer: MakeRenderer
) -> FileFormat:
    """The writer of a format for files with this body schema. Raises AnalysisError for a format that cannot be written."""
    low = {key.lower(): value for key, value in options.items()}
    if name not in _EXTENSIONS:
        raise AnalysisError("DATA_SOURCE_NOT_FOUND", {"provider": name})
    if name == "text" and len(schema.fields) == 1 and not isinstance(schema.fields[0].dataType, StringType):
        only = schema.fields[0]
        raise AnalysisError(
            "UNSUPPORTED_DATA_TYPE_FOR_DATASOURCE",
            {"format": "Text", "columnName": f"`{only.name}`", "columnType": pretty_type(only.dataType)},
        )
    if name == "text" and len(schema.fields) != 1:
        raise error("_LEGACY_ERROR_TEMP_TEXT_SCHEMA", schema=schema.simpleString())
    codec = _codec(name, low)
    extension = _EXTENSIONS[name]
    if name == "parquet":
        extension = (f".{codec}" if codec not in ("none", "uncompressed") else "") + extension
    else:
        _check_text(name, low, schema)
        extension += _CODECS[codec]
    render = make_renderer(schema, name, low) if name in ("json", "csv") else None
    return FileFormat(name, extension, low, schema, zone, render)


def write_table(
    table: pa.Table,
    folder: Path,
    schema: StructType,
    partition_by: Sequence[str],
    make_format: Callable[[StructType], FileFormat],
    *,
    sync: bool,
    parallelism: int = 1,
) -> list[Path]:
    """Writes rows as new files below `folder`; returns their paths. Without partitioning there is always one file."""
    stamp = uuid.uuid4()
    if partition_by:
        return _write_partitioned(table, folder, schema, partition_by, make_format, stamp, sync=sync)
    body = make_format(schema)
    pieces = max(1, min(parallelism, table.num_rows // _ROWS_A_FILE_AT_LEAST))
    size = -(-table.num_rows // pieces) if table.num_rows else 0
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"part-{i:05d}-{stamp}-c000{body.extension}" for i in range(pieces)]
    jobs = [(table.slice(i * size, size), path) for i, path in enumerate(paths)]
    _run(jobs, lambda job: body.write(job[0], job[1], sync=sync), parallelism)
    return paths


def _write_partitioned(
    table: pa.Table,
    folder: Path,
    schema: StructType,
    partition_by: Sequence[str],
    make_format: Callable[[StructType], FileFormat],
    stamp: uuid.UUID,
    *,
    sync: bool,
) -> list[Path]:
    keys = partition_positions(schema, partition_by)
    rest = [i for i in range(len(schema.fields)) if i not in keys]
    if not rest:
        raise AnalysisError("ALL_PARTITION_COLUMNS_NOT_ALLOWED")
    body = make_format(StructType([schema.fields[i] for i in rest]))
    paths = []
    for names, rows in _groups(table, schema, keys, body.zone):
        place = folder.joinpath(*names)
        place.mkdir(parents=True, exist_ok=True)
        path = place / f"part-00000-{stamp}.c000{body.extension}"
        body.write(rows.select(rest), path, sync=sync)
        paths.append(path)
    return paths


def partition_positions(schema: StructType, partition_by: Sequence[str]) -> list[int]:
    """Positions of the partition columns, found case-insensitively. Raises AnalysisError for an unknown one."""
    by_name = {field.name.lower(): i for i, field in enumerate(schema.fields)}
    found = []
    for name in partition_by:
        if name.lower() not in by_name:
            raise error(
                "_LEGACY_ERROR_TEMP_1196",
                columnType="partition",
                columnName=name,
                validColumnNames=", ".join(schema.fieldNames()),
            )
        found.append(by_name[name.lower()])
    return found


def _groups(table: pa.Table, schema: StructType, keys: Sequence[int], zone: str) -> list[tuple[list[str], pa.Table]]:
    """The rows of each combination of partition values, with the folder names that say them."""
    if not table.num_rows:
        return []
    names = [f"k{i}" for i in range(len(keys))]
    keyed = pa.table([*(table.column(i) for i in keys), pa.array(range(table.num_rows))], names=[*names, "row"])
    grouped = keyed.group_by(names, use_threads=False).aggregate([("row", "list")])
    folders = []
    for name, position in zip(names, keys, strict=True):
        field = schema.fields[position]
        column = grouped.column(name)
        texts = value_texts(column, field.dataType, zone)
        nulls = column.is_null().to_pylist()
        folders.append([_folder(field.name, None if null else text) for null, text in zip(nulls, texts, strict=True)])
    rows = grouped.column("row_list")
    members: dict[tuple[str, ...], list[pa.Array]] = {}  # null and the empty string go to one folder
    for i in range(grouped.num_rows):
        members.setdefault(tuple(f[i] for f in folders), []).append(rows[i].values)
    return [(list(folder), table.take(pa.concat_arrays(found))) for folder, found in members.items()]


def _folder(name: str, value: str | None) -> str:
    return f"{_escape(name)}={_escape(value) if value else DEFAULT_PARTITION}"


def _escape(text: str) -> str:
    """Hive's escaping of characters that a path cannot hold, as Spark writes them."""
    return "".join(f"%{ord(c):02X}" if c in _ESCAPED else c for c in text)


def _run(jobs: Sequence[tuple[pa.Table, Path]], work: Callable[[tuple[pa.Table, Path]], None], threads: int) -> None:
    if len(jobs) == 1:
        work(jobs[0])
        return
    with concurrent.futures.ThreadPoolExecutor(min(threads, len(jobs))) as pool:
        for done in [pool.submit(work, job) for job in jobs]:
            done.result()


def _bytes_of(array: pa.Array) -> bytes:
    """The concatenated bytes of a string array without nulls."""
    if not len(array):
        return b""
    large = array.cast(pa.large_binary())
    offsets, data = large.buffers()[1], large.buffers()[2]
    view = memoryview(offsets).cast("q")
    first, last = view[large.offset], view[large.offset + len(large)]
    return memoryview(data)[first:last].tobytes() if data is not None else b""


def _flush(out: object, sync: bool) -> None:
    out.flush()  # type: ignore[attr-defined]
    if sync:
        os.fsync(out.fileno())  # type: ignore[attr-defined]
