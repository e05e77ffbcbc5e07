"""The list of streaming sources, by format name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pyspark.sql.types import StructField, StructType

from runnel.errors import AnalysisError, IllegalArgumentError, InvalidPlanError, UnsupportedOperationError
from runnel.plan.relations import StreamingScan
from runnel.sources.base import Source, SourceContext
from runnel.sources.file_listing import (
    FILE_FORMATS,
    Lister,
    all_paths,
    partition_columns,
    visible,
    whole_schema,
)
from runnel.sources.files import FileStreamSource
from runnel.sources.memory import MemorySource, memory_stream
from runnel.sources.rate import SCHEMA as RATE_SCHEMA
from runnel.sources.rate import RateMicroBatchSource, RateSource
from runnel.sources.schema_inference import infer_schema
from runnel.sources.text_socket import TextSocketSource, socket_schema

_ALIASES: Final[Mapping[str, str]] = {
    "ratestream": "rate",
    "org.apache.spark.sql.execution.streaming.sources.ratestreamprovider": "rate",
    "org.apache.spark.sql.execution.streaming.sources.textsocketsourceprovider": "socket",
}
_NOT_INSTALLED: Final = frozenset({"kafka"})


@dataclass(frozen=True, slots=True)
class SourceKind:
    """schema: of the options alone; a user's own is refused. create: the source, from its scan."""

    schema: Callable[[dict[str, str]], StructType]
    create: Callable[[StreamingScan, SourceContext], Source]


KINDS: Final[Mapping[str, SourceKind]] = {
    "memory": SourceKind(
        lambda options: memory_stream(options).schema,
        lambda scan, context: MemorySource(memory_stream(dict(scan.options)), context),
    ),
    "rate": SourceKind(lambda _: RATE_SCHEMA, lambda scan, context: RateSource(dict(scan.options), context)),
    "rate-micro-batch": SourceKind(
        lambda _: RATE_SCHEMA, lambda scan, context: RateMicroBatchSource(dict(scan.options), context)
    ),
    "socket": SourceKind(socket_schema, lambda scan, context: TextSocketSource(dict(scan.options), context)),
}


def create_source(scan: StreamingScan, context: SourceContext) -> Source:
    """The source of a scan, for one run of a query. Errors: as the source's own; AnalysisError for an unknown format."""
    name = _canonical(scan.format)
    kind = KINDS.get(name)
    if kind is not None:
        return kind.create(scan, context)
    if name in FILE_FORMATS:
        return FileStreamSource(name, _one_path(scan.paths, scan.options), scan.schema, scan.options, context)
    raise _unknown(name)


def source_schema(
    format_name: str,
    options: Mapping[str, str],
    user_schema: StructType | None,
    paths: Sequence[str],
    conf: Mapping[str, str],
) -> StructType:
    """The schema of `readStream…load()`.

    Errors: AnalysisError or IllegalArgumentError for what Spark refuses at load: an unknown format, a path that is
    missing or not there, a schema that is missing or not wanted.
    """
    name = _canonical(format_name)
    kind = KINDS.get(name)
    if kind is not None:
        if user_schema is not None and name != "memory":
            raise UnsupportedOperationError("_LEGACY_ERROR_TEMP_2242", {"provider": name})
        return kind.schema(dict(options))
    if name in FILE_FORMATS:
        return _file_schema(name, options, user_schema, paths, conf)
    raise _unknown(name)


def _file_schema(
    name: str, options: Mapping[str, str], schema: StructType | None, paths: Sequence[str], conf: Mapping[str, str]
) -> StructType:
    path = _one_path(paths, options)
    infers = conf.get("spark.sql.streaming.schemaInference", "false").lower() == "true"
    if schema is None and not infers and name != "text":
        raise IllegalArgumentError("_LEGACY_ERROR_TEMP_2048")
    lister = Lister([path], options)
    files = lister.list()
    partitions = () if lister.recursive else partition_columns(files, schema, conf)
    names = next((f.placed.names for f in files if f.placed.partitions), ()) if partitions else ()
    data = schema
    if data is None:
        read = visible(files, names, recursive=lister.recursive)
        data = infer_schema(name, [f.entry.path for f in read], options, conf)
    whole = whole_schema(data, partitions)
    if conf.get("spark.sql.streaming.fileSource.schema.forceNullable", "true").lower() == "true" or schema is None:
        return whole
    given = {f.name: f for f in schema.fields}
    return StructType([given.get(f.name, StructField(f.name, f.dataType, True, f.metadata)) for f in whole.fields])


def _one_path(paths: Sequence[str], options: Mapping[str, str]) -> str:
    found = all_paths(paths, options)
    if len(found) > 1:
        raise InvalidPlanError("CONNECT_INVALID_PLAN.MULTIPLE_PATHS_NOT_SUPPORTED_FOR_STREAMING_SOURCE")
    if not found:
        raise IllegalArgumentError("_LEGACY_ERROR_TEMP_2047")
    return found[0]


def _canonical(name: str) -> str:
    return _ALIASES.get(name.lower(), name.lower())


def _unknown(name: str) -> AnalysisError:
    if name in _NOT_INSTALLED:
        return AnalysisError("_LEGACY_ERROR_TEMP_1140", {"provider": name})
    return AnalysisError("DATA_SOURCE_NOT_FOUND", {"provider": name})
