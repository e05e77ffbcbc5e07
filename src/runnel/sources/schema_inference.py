"""Schemas read from files: Spark's rules for JSON and CSV, the files' own for Parquet and ORC."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import pyarrow as pa
from pyspark.sql.types import (
    DataType,
    NullType,
    StringType,
    StructField,
    StructType,
)

from runnel.csv_records import read_records
from runnel.errors import AnalysisError
from runnel.functions.csv_inference import wider
from runnel.functions.csv_options import CsvOptions, csv_options
from runnel.functions.json_inference import infer_json
from runnel.functions.json_options import JsonOptions, json_options
from runnel.functions.json_repair import split_array
from runnel.lines import lines_schema, read_lines, read_text

_LINES: Final = lines_schema("line", "record")
_TEXT: Final = StructType([StructField("value", StringType(), True)])


def infer_schema(
    format_name: str, paths: Sequence[str], options: Mapping[str, str], conf: Mapping[str, str]
) -> StructType:
    """The schema of files of a format. Errors: AnalysisError UNABLE_TO_INFER_SCHEMA if there is nothing to see."""
    if format_name == "text":
        return _TEXT
    if not paths:
        raise AnalysisError("UNABLE_TO_INFER_SCHEMA", {"format": format_name.upper()})
    match format_name:
        case "json":
            return infer_json(_json_texts(paths, json_options(options, conf)), json_options(options, conf))
        case "csv":
            return infer_csv(paths, csv_options(options, conf))
        case "parquet":
            return _parquet(paths, options, conf)
        case _:
            return _orc(paths)


# -------------------------------------------------------------------------------------------------------------- JSON


def _json_texts(paths: Sequence[str], options: JsonOptions) -> Iterator[str]:
    for path in paths:
        if options.multi_line:
            whole = read_text(path, options.encoding)
            if whole.lstrip().startswith("["):
                yield from split_array(whole, options.liberties) or ["\0"]
            elif whole.strip():
                yield whole
            continue
        for batch in read_lines(path, _LINES, options.line_separator, options.encoding):
            yield from (line for line in batch.column(0).to_pylist() if line.strip())


# --------------------------------------------------------------------------------------------------------------- CSV


def infer_csv(paths: Sequence[str], options: CsvOptions) -> StructType:
    """Names from the header (or `_c0`, `_c1` …), all strings unless `inferSchema`."""
    names: list[str] = []
    types: list[DataType] = []
    for path in paths:
        records = read_records(path, options)
        for number, (fields, _) in enumerate(records):
            if not names:
                names = _column_names(fields, options)
                types = [NullType() for _ in names]
            if number == 0 and options.header:
                if not options.infer:
                    break
                continue
            if not options.infer:
                break
            for place, value in enumerate(fields[: len(types)]):
                types[place] = wider(types[place], value, options)
    if not names:
        return StructType([])
    found = [StringType() if isinstance(t, NullType) or not options.infer else t for t in types]
    return StructType([StructField(n, t, True) for n, t in zip(names, found, strict=True)])


def _column_names(fields: Sequence[str | None], options: CsvOptions) -> list[str]:
    if not options.header:
        return [f"_c{i}" for i in range(len(fields))]
    lower = [(f or "").lower() for f in fields]
    names = []
    for place, name in enumerate(fields):
        if not name:
            names.append(f"_c{place}")
        elif lower.count(name.lower()) > 1:
            names.append(f"{name}{place}")
        else:
            names.append(name)
    return names


# ------------------------------------------------------------------------------------------------------ columnar files


def _parquet(paths: Sequence[str], options: Mapping[str, str], conf: Mapping[str, str]) -> StructType:
    import pyarrow.parquet as pq

    given = {name.lower(): value for name, value in options.items()}
    everything = given.get("mergeschema", conf.get("spark.sql.parquet.mergeSchema", "false")).lower() == "true"
    found: StructType | None = None
    for path in paths if everything else paths[:1]:
        try:
            schema = _of_arrow(pq.read_schema(path))
        except pa.ArrowException as problem:
            raise AnalysisError("FAILED_READ_FILE.CANNOT_READ_FILE_FOOTER", {"path": path}) from problem
        if found is None:
            found = schema
            continue
        names = {f.name.lower() for f in found.fields}
        found = StructType([*found.fields, *(f for f in schema.fields if f.name.lower() not in names)])
    assert found is not None
    return found


def _orc(paths: Sequence[str]) -> StructType:
    from pyarrow import orc

    return _of_arrow(orc.ORCFile(paths[0]).schema)


def _of_arrow(schema: pa.Schema) -> StructType:
    from pyspark.sql.pandas.types import from_arrow_schema

    metadata = (schema.metadata or {}).get(b"org.apache.spark.sql.parquet.row.metadata")
    if metadata is not None:
        known = StructType.fromJson(json.loads(metadata))
        return StructType([StructField(f.name, f.dataType, True, f.metadata) for f in known.fields])
    # Parquet's only zoneless clock is a flag that Arrow shows as a missing zone
    found: StructType = from_arrow_schema(schema, prefer_timestamp_ntz=True)
    return StructType([StructField(f.name, f.dataType, True) for f in found.fields])
