"""Which files a path means, with what schema: listing, globs, partition directories, schema inference.

`resolve_files` is the whole of it for a batch read. A streaming source lists with `Lister`, which looks again only at
directories that have changed.
"""

from __future__ import annotations

import fnmatch
import glob
import os
import re
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Final

from pyspark.sql.types import DataType, StructField, StructType

from runnel.checkpoint.compactible_log import SINK_LOG_NAME, list_sink_files
from runnel.errors import AnalysisError
from runnel.files import FileEntry, is_data_name, path_to_uri, uri_to_path
from runnel.options import flag, lowered
from runnel.plan.relations import FileScan
from runnel.plan.schema import attributes_of
from runnel.sources.partitions import Placed, infer_type, partition_names, place
from runnel.sources.schema_inference import infer_schema

FILE_FORMATS: Final = frozenset({"csv", "json", "orc", "parquet", "text"})
_GLOB: Final = re.compile(r"[*?\[{]")
_SETTLED_NS: Final = 2_000_000_000
"""How old a directory's own time must be before an equal time proves that nothing was added."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file of a listing, and where it stands below the root that it was found under."""

    entry: FileEntry
    root: str
    placed: Placed


@dataclass(slots=True)
class _Directory:
    modified_ns: int
    listed_ns: int
    files: dict[str, FileEntry]
    directories: list[str]


class Lister:
    """Lists the files below the roots that a path or glob means.

    Remembers every directory: one whose time has not changed is not read again, and in one that has changed only names
    that are new are looked at more closely (a file is taken not to change).
    """

    def __init__(self, paths: Sequence[str], options: Mapping[str, str], *, may_be_missing: bool = False) -> None:
        """`may_be_missing`: a path that is not there has no files, instead of being an error.

        Errors: IllegalArgumentError for options that cannot be read.
        """
        self._may_be_missing = may_be_missing
        given = lowered(options)
        self.paths = tuple(os.path.abspath(uri_to_path(p)) for p in paths)  # noqa: PTH100 - links stay
        self.recursive = flag(given, "recursiveFileLookup", False)
        self._pattern = given.get("pathglobfilter")
        self._base = given.get("basepath")
        self._after = _instant(given.get("modifiedafter"))
        self._before = _instant(given.get("modifiedbefore"))
        self._known: dict[str, _Directory] = {}

    def roots(self) -> list[str]:
        """The existing paths; a glob's matches, sorted. Errors: AnalysisError PATH_NOT_FOUND for a plain missing path."""
        found: list[str] = []
        for path in self.paths:
            if is_glob(path):
                found.extend(m for p in expand_braces(path) for m in sorted(glob.glob(_unescaped(p))))
            elif os.path.exists(path):  # noqa: PTH110
                found.append(path)
            elif not self._may_be_missing:
                raise path_not_found(path)
        return found

    def list(self) -> list[Found]:
        """All files now, those of a root together, by name. Errors: see `roots`."""
        return [found for root in self.roots() for found in self._below(root)]

    def _below(self, root: str) -> Iterator[Found]:
        if not os.path.isdir(root):  # noqa: PTH112
            status = os.stat(root)  # noqa: PTH116
            entry = FileEntry(root, status.st_size, status.st_mtime_ns // 1_000_000)
            if self._wanted(entry):
                yield self._found(entry, root, os.path.dirname(root))  # noqa: PTH120
            return
        if os.path.isdir(os.path.join(root, SINK_LOG_NAME)):  # noqa: PTH112, PTH118
            for path in list_sink_files(root) or ():
                status = os.stat(path)  # noqa: PTH116
                entry = FileEntry(path, status.st_size, status.st_mtime_ns // 1_000_000)
                if self._wanted(entry):
                    yield self._found(entry, root, root)
            return
        pending = [root]
        while pending:
            here = self._directory(pending.pop())
            yield from (self._found(e, root, root) for e in here.files.values() if self._wanted(e))
            pending.extend(sorted(here.directories, reverse=True))

    def _found(self, entry: FileEntry, root: str, base: str) -> Found:
        if self.recursive:
            return Found(entry, root, Placed(root, ()))
        top = os.path.abspath(uri_to_path(self._base)) if self._base else base  # noqa: PTH100
        return Found(entry, root, place(top, Path(os.path.relpath(os.path.dirname(entry.path), top)).parts))  # noqa: PTH120

    def _directory(self, path: str) -> _Directory:
        try:
            modified = os.stat(path).st_mtime_ns  # noqa: PTH116
            known = self._known.get(path)
            if known and known.modified_ns == modified and known.listed_ns - modified > _SETTLED_NS:
                return known
            listed = time.time_ns()
            read = _Directory(modified, listed, {}, [])
            with os.scandir(path) as entries:
                for item in sorted(entries, key=lambda e: e.name):
                    self._add(item, read, known)
        except (FileNotFoundError, NotADirectoryError):
            self._known.pop(path, None)
            return _Directory(0, 0, {}, [])
        self._known[path] = read
        return read

    def _add(self, item: os.DirEntry[str], read: _Directory, known: _Directory | None) -> None:
        if not is_data_name(item.name):
            return
        before = known.files.get(item.name) if known else None
        if before is not None:
            read.files[item.name] = before
            return
        try:
            status = item.stat()
        except FileNotFoundError:
            return
        if stat.S_ISDIR(status.st_mode):
            read.directories.append(item.path)
        elif stat.S_ISREG(status.st_mode):
            read.files[item.name] = FileEntry(item.path, status.st_size, status.st_mtime_ns // 1_000_000)

    def _wanted(self, entry: FileEntry) -> bool:
        if self._pattern is not None:
            name = os.path.basename(entry.path)  # noqa: PTH119
            if not any(fnmatch.fnmatchcase(name, p) for p in expand_braces(self._pattern)):
                return False
        if self._after is not None and entry.modified_ms <= self._after:
            return False
        return self._before is None or entry.modified_ms < self._before


def visible(files: Sequence[Found], names: Sequence[str], *, recursive: bool) -> list[Found]:
    """The files whose rows are read: with partition columns those that have them, else those right under a root."""
    if recursive:
        return list(files)
    if names:
        return [f for f in files if f.placed.names == tuple(names)]
    return [f for f in files if f.entry.path == f.root or os.path.dirname(f.entry.path) == f.root]  # noqa: PTH120


def partition_columns(
    files: Sequence[Found], schema: StructType | None, conf: Mapping[str, str]
) -> tuple[StructField, ...]:
    """The partition columns of a listing, typed by `schema` where it has them. Errors: AnalysisError, see `partitions`."""
    roots = {f.placed.base if not f.placed.partitions else f.root for f in files if f.entry.path != f.root}
    names = partition_names((f.placed for f in files), min(roots, default=""))
    enabled = conf.get("spark.sql.sources.partitionColumnTypeInference.enabled", "true").lower() == "true"
    given = {f.name.lower(): f for f in schema.fields} if schema else {}
    columns = []
    for position, name in enumerate(names):
        known = given.get(name.lower())
        if known is not None:
            columns.append(StructField(known.name, known.dataType, True, known.metadata))
            continue
        values = (f.placed.partitions[position][1] for f in files if f.placed.partitions)
        dtype: DataType = infer_type(values, enabled=enabled)
        columns.append(StructField(name, dtype, True))
    return tuple(columns)


def whole_schema(data: StructType, partitions: Sequence[StructField]) -> StructType:
    """Data columns, then partition columns; all nullable."""
    apart = {f.name.lower() for f in partitions}
    kept = [f for f in data.fields if f.name.lower() not in apart]
    return StructType([StructField(f.name, f.dataType, True, f.metadata) for f in [*kept, *partitions]])


def resolve_files(
    format_name: str,
    paths: Sequence[str],
    options: Mapping[str, str],
    schema: StructType | None,
    conf: Mapping[str, str],
) -> FileScan:
    """A batch read's scan: files listed, schema known.

    Errors: AnalysisError PATH_NOT_FOUND, UNABLE_TO_INFER_SCHEMA, CONFLICTING_DIRECTORY_STRUCTURES, …
    """
    lister = Lister(all_paths(paths, options), options)
    files = lister.list()
    if not lister.paths:
        raise AnalysisError("UNABLE_TO_INFER_SCHEMA", {"format": format_name.upper()})
    partitions = () if lister.recursive else partition_columns(files, schema, conf)
    found = visible(files, _names(files) if partitions else (), recursive=lister.recursive)
    data = schema or infer_schema(format_name, [f.entry.path for f in found], options, conf)
    whole = whole_schema(data, partitions)
    merged = with_tolerance(options, conf)
    return FileScan(
        format=format_name,
        paths=tuple(f.entry.path for f in found),
        schema=whole,
        options=merged,
        partition_columns=tuple(f.name for f in partitions),
        partition_values=tuple(tuple(v for _, v in f.placed.partitions) for f in found) if partitions else (),
        attributes=attributes_of(whole),
    )


def with_tolerance(options: Mapping[str, str], conf: Mapping[str, str]) -> dict[str, str]:
    """The options, with the session's `ignoreMissingFiles` and `ignoreCorruptFiles` where the reader leaves them open."""
    given = lowered(options)
    names = ("ignoreMissingFiles", "ignoreCorruptFiles")
    left = {n: conf.get(f"spark.sql.files.{n}", "false") for n in names if n.lower() not in given}
    return {**options, **left}


def _names(files: Sequence[Found]) -> tuple[str, ...]:
    return next((f.placed.names for f in files if f.placed.partitions), ())


def all_paths(paths: Sequence[str], options: Mapping[str, str]) -> list[str]:
    """The paths of a read: those given to `load`, and those among the options."""
    path = lowered(options).get("path")
    return [*paths, *([path] if path is not None and path not in paths else [])]


def is_glob(path: str) -> bool:
    """Whether the path is a pattern."""
    return _GLOB.search(path) is not None


def expand_braces(pattern: str) -> list[str]:
    """`a{b,c}` as `ab` and `ac`; nested braces too."""
    depth, start = 0, -1
    cuts: list[int] = []
    for at, character in enumerate(pattern):
        if character == "{":
            if depth == 0:
                start, cuts = at, [at]
            depth += 1
        elif character == "," and depth == 1:
            cuts.append(at)
        elif character == "}" and depth:
            depth -= 1
            if depth == 0:
                cuts.append(at)
                middles = [pattern[a + 1 : b] for a, b in pairwise(cuts)]
                return [e for m in middles for e in expand_braces(pattern[:start] + m + pattern[at + 1 :])]
    return [pattern]


def _unescaped(pattern: str) -> str:
    """Hadoop's backslashes, which take a sign's meaning away, in the way of Python's `glob`. Not where they part paths."""
    return pattern if os.sep == "\\" else re.sub(r"\\(.)", lambda found: glob.escape(found[1]), pattern)


def path_not_found(path: str) -> AnalysisError:
    """The error of a path that is not there."""
    return AnalysisError("PATH_NOT_FOUND", {"path": "file:" + path_to_uri(path).removeprefix("file://")})


def _instant(text: str | None) -> int | None:
    """`yyyy-MM-ddTHH:mm:ss` in the machine's zone, as ms since the epoch."""
    if text is None:
        return None
    try:
        return int(datetime.fromisoformat(text).astimezone().timestamp() * 1000)
    except ValueError as problem:
        raise AnalysisError(
            "_LEGACY_ERROR_TEMP_3102", {"msg": f"The modification time {text!r} must be like 2020-06-01T13:00:00"}
        ) from problem
