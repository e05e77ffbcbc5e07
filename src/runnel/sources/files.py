"""The file source: new files of a directory, in the order of their modification times.

What has been taken is written into `sources/<i>` of the checkpoint (`FileStreamSourceLog`) before it is handed out; an
offset `{"logOffset":N}` means the files of the log's entries up to N. A file counts as new once: by its path, or by its
last name with `fileNameOnly`.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pyspark.sql.types import StructType

from runnel.checkpoint.compactible_log import FileEntry as LogEntry
from runnel.checkpoint.compactible_log import FileStreamSourceLog
from runnel.files import path_to_uri, uri_to_path
from runnel.plan.relations import FileScan
from runnel.sources.base import Offset, SourceContext
from runnel.sources.file_cleaner import FileCleaner
from runnel.sources.file_listing import Found, Lister, is_glob, with_tolerance
from runnel.sources.file_options import FileSourceOptions, log_settings
from runnel.sources.partitions import Placed, place

_NEVER = 2**63 - 1


class SeenFiles:
    """Files that were taken, by name, with their modification times; those too old to come back are forgotten."""

    def __init__(self, max_age_ms: int, *, name_only: bool) -> None:
        self._max_age_ms = max_age_ms
        self._name_only = name_only
        self._times: dict[str, int] = {}
        self._latest = 0
        self._purged_to = 0

    def _key(self, path: str) -> str:
        return os.path.basename(path) if self._name_only else path  # noqa: PTH119

    def add(self, path: str, modified_ms: int) -> None:
        self._times[self._key(path)] = modified_ms
        self._latest = max(self._latest, modified_ms)

    def is_new(self, path: str, modified_ms: int) -> bool:
        """Neither seen, nor so old that it may have been seen and forgotten."""
        return modified_ms >= self._purged_to and self._key(path) not in self._times

    def purge(self) -> None:
        """Forgets what is older than the maximal age, counted from the newest file."""
        edge = self._latest - self._max_age_ms
        if edge <= self._purged_to:
            return
        self._purged_to = edge
        self._times = {key: at for key, at in self._times.items() if at >= edge}

    def __len__(self) -> int:
        return len(self._times)


class FileStreamSource:
    """One directory (or glob) of files. Replayable as long as the files are there."""

    supports_available_now = True

    def __init__(
        self,
        format_name: str,
        path: str,
        schema: StructType,
        options: Mapping[str, str],
        context: SourceContext,
    ) -> None:
        """Errors: IllegalArgumentError for options; RunnelStateError for a log that cannot be read."""
        self._format = format_name
        self._schema = schema
        self._options = dict(options)
        self._context = context
        self.options = FileSourceOptions.of(options, context.conf)
        self._path = path if is_glob(path) else os.path.abspath(uri_to_path(path))  # noqa: PTH100
        self._lister = Lister([path], options, may_be_missing=True)
        self._log = FileStreamSourceLog(context.metadata_path, log_settings(context.conf), clock=context.clock)
        limited = self.options.max_files_per_trigger is not None or self.options.max_bytes_per_trigger is not None
        endless = self.options.latest_first and limited
        age = _NEVER if endless else self.options.max_file_age_ms
        self._seen = SeenFiles(age, name_only=self.options.file_name_only)
        latest = self._log.latest_id()
        self._latest = -1 if latest is None else latest
        for entry in self._log.all_entries():
            self._seen.add(uri_to_path(entry.path), entry.timestamp)
        self._seen.purge()
        self._cached: list[Found] = []
        self._frozen: list[Found] | None = None
        self._cleaner = FileCleaner(self.options, self._lister.paths[0]) if self.options.clean_source != "off" else None
        self._partitions = self._partition_columns([f.placed for f in self._lister.list()])
        self._watcher = _watch(self._lister.paths[0], context.wake)

    @property
    def schema(self) -> StructType:
        return self._schema

    @property
    def description(self) -> str:
        uri = path_to_uri(self._lister.paths[0]) if not is_glob(self._path) else "file:" + self._lister.paths[0]
        return f"FileStreamSource[{uri.replace('file:///', 'file:/')}]"

    @property
    def announces(self) -> bool:
        return self._watcher is not None

    # ------------------------------------------------------------------------------------------------------ offsets

    def initial_offset(self) -> Offset | None:
        return None

    def latest_offset(self, start: Offset | None, *, limited: bool) -> Offset | None:
        """Takes new files, if there are any, and logs them."""
        taken = self._take(limited)
        if taken:
            number = self._latest + 1
            entries = tuple(LogEntry(path_to_uri(f.entry.path), f.entry.modified_ms, number) for f in taken)
            self._log.add_if_absent(number, entries)
            self._latest = number
            for f in taken:
                self._seen.add(f.entry.path, f.entry.modified_ms)
            self._seen.purge()
        return None if self._latest < 0 else _offset(self._latest)

    def _take(self, limited: bool) -> list[Found]:
        """The files of the next batch, within the limits, newest or oldest first."""
        options = self.options
        files_limit = options.max_files_per_trigger if limited else None
        bytes_limit = options.max_bytes_per_trigger if limited else None
        if self._frozen is not None:
            candidates, self._frozen = self._frozen, []
            taken, rest = _split(candidates, files_limit, bytes_limit)
            self._frozen = rest
            return taken
        candidates = self._cached or self._new_files()
        self._cached = []
        taken, rest = _split(candidates, files_limit, bytes_limit)
        if rest and not options.latest_first and self._worth_keeping(rest, files_limit, bytes_limit):
            self._cached = rest[: options.max_cached_files]
        return taken

    def _worth_keeping(self, rest: Sequence[Found], files_limit: int | None, bytes_limit: int | None) -> bool:
        ratio = self.options.discard_cached_input_ratio
        if files_limit is not None:
            return len(rest) >= files_limit * ratio
        return bytes_limit is not None and sum(f.entry.size for f in rest) >= bytes_limit * ratio

    def _new_files(self) -> list[Found]:
        new = [f for f in self._lister.list() if self._seen.is_new(f.entry.path, f.entry.modified_ms)]
        if not self._lister.recursive:
            new = [f for f in new if _is_read(f)]
        new.sort(key=lambda f: f.entry.modified_ms, reverse=self.options.latest_first)
        return new

    def prepare_for_available_now(self) -> None:
        self._cached = []
        self._frozen = self._new_files()

    def reported_latest(self) -> Offset | None:
        return None

    # --------------------------------------------------------------------------------------------------------- data

    def batch(self, start: Offset | None, end: Offset) -> FileScan:
        entries = self._log.between(None if start is None else _number(start), _number(end))
        paths = [uri_to_path(e.path) for e in entries]
        placed = [self._placed(path) for path in paths]
        if not self._partitions:
            self._partitions = self._partition_columns(placed)
        names = {name.lower() for name in self._partitions}
        if names:
            # files beside the partition directories count as processed, their rows are not read
            pairs = [(p, at) for p, at in zip(paths, placed, strict=True) if {n.lower() for n in at.names} == names]
            paths, placed = [p for p, _ in pairs], [at for _, at in pairs]
        return FileScan(
            format=self._format,
            paths=tuple(paths),
            schema=self._schema,
            options=with_tolerance(self._options, self._context.conf),
            partition_columns=self._partitions,
            partition_values=tuple(tuple(v for _, v in at.partitions) for at in placed) if names else (),
        )

    def _placed(self, path: str) -> Placed:
        root = next((r for r in self._lister.paths if path.startswith(r + os.sep)), None)
        if self._lister.recursive:
            return Placed(os.path.dirname(path), ())  # noqa: PTH120
        directory = Path(path).parent
        return place(root or "", directory.relative_to(root).parts if root else directory.parts)

    def _partition_columns(self, placed: Sequence[Placed]) -> tuple[str, ...]:
        """The schema's fields that directories name."""
        known = {f.name.lower(): f.name for f in self._schema.fields}
        names = next((at.names for at in placed if at.partitions), ())
        return tuple(known[n.lower()] for n in names) if all(n.lower() in known for n in names) else ()

    def commit(self, end: Offset) -> None:
        if self._cleaner is not None:
            entries = self._log.get(_number(end)) or ()
            self._cleaner.clean(uri_to_path(e.path) for e in entries)

    def metrics(self) -> dict[str, Any]:
        return {}

    def stop(self) -> None:
        if self._watcher is not None:
            self._watcher.set()
        if self._cleaner is not None:
            self._cleaner.stop()


def _is_read(found: Found) -> bool:
    """Right under the root, or under partition directories."""
    if found.entry.path == found.root or found.placed.partitions:
        return True
    return os.path.dirname(found.entry.path) == found.root  # noqa: PTH120


def _split(files: list[Found], files_limit: int | None, bytes_limit: int | None) -> tuple[list[Found], list[Found]]:
    if files_limit is not None:
        return files[:files_limit], files[files_limit:]
    if bytes_limit is None:
        return files, []
    total = 0
    for count, found in enumerate(files):
        total += found.entry.size
        if total > bytes_limit and count:
            return files[:count], files[count:]
    return files, []


def _offset(number: int) -> Offset:
    return f'{{"logOffset":{number}}}'


def _number(offset: Offset) -> int:
    """Also reads the bare number that old checkpoints hold."""
    found = json.loads(offset)
    return int(found["logOffset"] if isinstance(found, dict) else found)


def _watch(root: str, wake: threading.Event) -> threading.Event | None:
    """Sets `wake` when something changes below `root`, and every second for file systems that do not tell.

    Returns the event that ends the watch; None if the package `watchfiles` is not installed or there is nothing to watch.
    """
    while is_glob(root):
        root = os.path.dirname(root)  # noqa: PTH120
    if not os.path.isdir(root):  # noqa: PTH112
        return None
    try:
        import watchfiles
    except ImportError:
        return None
    stop = threading.Event()

    def run() -> None:
        changes = watchfiles.watch(
            root, watch_filter=None, debounce=20, step=5, stop_event=stop, rust_timeout=1000, yield_on_timeout=True,
            raise_interrupt=False, ignore_permission_denied=True,
        )  # fmt: skip
        for _ in changes:
            wake.set()

    threading.Thread(target=run, name=f"watch {root}", daemon=True).start()
    return stop
