"""Logs of files, one JSON object a line, compacted so that a reader never opens many: file source and file sink.

Every I-th entry (ids where ``(id + 1) % I == 0``) is written as ``<id>.compact`` and holds all lines since the
beginning plus its own. Reading is the newest compact file and what follows it. A file once written never changes; old
ones are deleted when enough newer entries remain.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from runnel.checkpoint.metadata_log import (
    MetadataLog,
    check_version,
    read_lines,
    read_long,
    read_object,
    to_json,
)
from runnel.clock import Clock, SystemClock
from runnel.errors import RunnelStateError
from runnel.files import list_names, path_to_uri, remove_sidecar, uri_to_path

T = TypeVar("T")

NEWEST_VERSION = 1
COMPACT_SUFFIX = ".compact"
SINK_LOG_NAME = "_spark_metadata"

# Hadoop's block size on a local file system, and its only replica
_LOCAL_BLOCK_SIZE = 33_554_432


@dataclass(frozen=True, slots=True)
class CompactionSettings:
    """``spark.sql.streaming.fileSource.log.*`` or ``fileSink.log.*``, and ``minBatchesToRetain``.

    ``interval``: ids between two compactions, for a log that has none yet. ``cleanup_delay_ms``: how old a superseded
    file must be before it is deleted. ``delete``: whether any is.
    """

    interval: int = 10
    cleanup_delay_ms: int = 600_000
    delete: bool = True
    min_batches_to_retain: int = 100

    def __post_init__(self) -> None:
        if self.interval < 1:
            raise ValueError(f"compaction interval {self.interval}: it must be at least 1")


def is_compaction(batch_id: int, interval: int) -> bool:
    """Whether the batch's file is a compact one."""
    return (batch_id + 1) % interval == 0


def derive_interval(configured: int, compact_ids: Sequence[int]) -> int:
    """The interval of a log with these compact files, ascending, as Spark finds it.

    None: the configured one. Two or more: the distance of the last two. One: the smallest divisor of its id + 1 that
    is not below the configured value, so that the file still falls on a compaction; the whole of id + 1 failing that.
    """
    if not compact_ids:
        return configured
    if len(compact_ids) > 1:
        return compact_ids[-1] - compact_ids[-2]
    length = compact_ids[0] + 1
    return next((divisor for divisor in range(configured, length // 2 + 1) if length % divisor == 0), length)


def files_to_read(latest_id: int, interval: int) -> range:
    """The ids whose files hold the whole log up to ``latest_id``: from the newest compact one, or from 0."""
    return range(max(0, (latest_id + 1) // interval * interval - 1), latest_id + 1)


class CompactibleFileStreamLog(MetadataLog[tuple[T, ...]], Generic[T]):
    """A log whose entries are tuples of T, and whose compaction carries every T along."""

    def __init__(
        self,
        directory: Path | str,
        settings: CompactionSettings | None = None,
        *,
        clock: Clock | None = None,
        sync: bool = True,
    ) -> None:
        super().__init__(directory, sync=sync)
        self.settings = settings or CompactionSettings()
        self.clock: Clock = clock or SystemClock()
        self._interval: int | None = None

    @abstractmethod
    def _encode_entry(self, entry: T) -> str:
        """One line of JSON."""

    @abstractmethod
    def _decode_entry(self, line: str, path: Path) -> T:
        """The reverse. Raises RunnelStateError."""

    def _retained(self, lines: list[str], path: Path) -> list[str]:
        """The lines that compaction keeps."""
        return lines

    @property
    def interval(self) -> int:
        """The compaction interval in use; found once, from the files if there are compact ones."""
        if self._interval is None:
            compact = sorted(
                int(name.removesuffix(COMPACT_SUFFIX))
                for name in list_names(self.path)
                if name.endswith(COMPACT_SUFFIX) and self._id(name) is not None
            )
            self._interval = derive_interval(self.settings.interval, compact)
        return self._interval

    def _name(self, batch_id: int) -> str:
        return f"{batch_id}{COMPACT_SUFFIX}" if is_compaction(batch_id, self.interval) else str(batch_id)

    def _id(self, name: str) -> int | None:
        return super()._id(name.removesuffix(COMPACT_SUFFIX))

    def _encode(self, value: tuple[T, ...]) -> bytes:
        return self._join(map(self._encode_entry, value))

    @staticmethod
    def _join(lines: Iterable[str]) -> bytes:
        return "\n".join(("v1", *lines)).encode()

    def _lines(self, data: bytes, path: Path) -> list[str]:
        lines = read_lines(data, path)
        check_version(lines[0], NEWEST_VERSION, path)
        return lines[1:]

    def _decode(self, data: bytes, path: Path) -> tuple[T, ...]:
        return tuple(self._decode_entry(line, path) for line in self._lines(data, path))

    def add_if_absent(self, batch_id: int, value: tuple[T, ...]) -> bool:
        """Write a batch's entries; a compacting batch also writes all that came before. Deletes what has expired.

        False if the batch is there already. Raises RunnelStateError if a file that compaction needs is missing.
        """
        lines = [self._encode_entry(entry) for entry in value]
        if is_compaction(batch_id, self.interval):
            if (self.path / self._name(batch_id)).exists():
                return False
            before: list[str] = []
            if batch_id > 0:
                for earlier in files_to_read(batch_id - 1, self.interval):
                    path = self.path / self._name(earlier)
                    try:
                        data = path.read_bytes()
                    except FileNotFoundError as error:
                        raise RunnelStateError("MISSING_LOG_FILE", path=path, batchId=earlier) from error
                    before.extend(self._lines(data, path))
            lines = self._retained(before + lines, self.path / self._name(batch_id))
        added = self._put(self._name(batch_id), self._join(lines))
        if added and self.settings.delete:
            self._delete_expired(batch_id)
        return added

    def all_entries(self) -> list[T]:
        """Every entry that the log remembers, oldest first.

        Safe beside a writer: files that it compacts away during the reading make the reading start again. Raises
        RunnelStateError MISSING_LOG_FILE if the log has a hole.
        """
        latest = self.latest_id()
        while latest is not None:
            entries: list[T] = []
            missing: int | None = None
            for batch_id in files_to_read(latest, self.interval):
                part = MetadataLog.get(self, batch_id)
                if part is None:
                    missing = batch_id
                    break
                entries.extend(part)
            if missing is None:
                return entries
            newer = self.latest_id()
            if newer == latest:
                raise RunnelStateError("MISSING_LOG_FILE", path=self.path / self._name(missing), batchId=missing)
            latest = newer
        return []

    def _delete_expired(self, batch_id: int) -> None:
        keep_from = batch_id - self.settings.min_batches_to_retain
        keep_from -= (keep_from + 1) % self.interval  # the compaction at or before it
        if keep_from <= 0:
            return
        oldest_ms = self.clock.now_ms() - self.settings.cleanup_delay_ms
        for name in list_names(self.path):
            number = self._id(name)
            if number is None or number >= keep_from:
                continue
            path = self.path / name
            if path.stat().st_mtime_ns // 1_000_000 <= oldest_ms:
                path.unlink(missing_ok=True)
                remove_sidecar(self.path, name)


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file that a file source has taken: its URI, modification time in ms, and the log's batch that took it."""

    path: str
    timestamp: int
    batch_id: int


class FileStreamSourceLog(CompactibleFileStreamLog[FileEntry]):
    """``sources/<i>/N``: the files that a file source has taken, by its own numbering of batches."""

    def _encode_entry(self, entry: FileEntry) -> str:
        return f'{{"path":{to_json(entry.path)},"timestamp":{entry.timestamp},"batchId":{entry.batch_id}}}'

    def _decode_entry(self, line: str, path: Path) -> FileEntry:
        entry = read_object(line, path)
        return FileEntry(
            _text(entry, "path", path), read_long(entry, "timestamp", None, path), read_long(entry, "batchId", 0, path)
        )

    def get(self, batch_id: int) -> tuple[FileEntry, ...] | None:
        """The batch's own files, also where its file is a compact one."""
        entries = super().get(batch_id)
        if entries is not None and is_compaction(batch_id, self.interval):
            return tuple(entry for entry in entries if entry.batch_id == batch_id)
        return entries

    def between(self, start: int | None, end: int) -> list[FileEntry]:
        """The files of the log's batches in (start, end]; ``start`` None means from the beginning.

        A batch whose own file is gone is read from the next compact one. Raises RunnelStateError MISSING_LOG_FILE if
        neither is there.
        """
        wanted = range(0 if start is None else start + 1, end + 1)
        found: list[FileEntry] = []
        for batch_id in wanted:
            entries = self.get(batch_id)
            if entries is None:
                kept = [entry for entry in self.all_entries() if entry.batch_id in wanted]
                if not kept and (self.latest_id() or -1) < end:
                    raise RunnelStateError("MISSING_LOG_FILE", path=self.path / str(batch_id), batchId=batch_id)
                return kept
            found.extend(entries)
        return found


@dataclass(frozen=True, slots=True)
class SinkFileStatus:
    """A file that a file sink has written: its URI, size in bytes, modification time in ms since the epoch."""

    path: str
    size: int
    modification_time: int
    is_dir: bool = False
    block_replication: int = 1
    block_size: int = _LOCAL_BLOCK_SIZE
    action: str = "add"

    @classmethod
    def of(cls, path: Path | str) -> SinkFileStatus:
        """The entry of a file on disk, given by its absolute local path. Raises FileNotFoundError."""
        status = os.stat(path)  # noqa: PTH116 - takes both kinds of path
        return cls(path_to_uri(path), status.st_size, status.st_mtime_ns // 1_000_000)


class FileStreamSinkLog(CompactibleFileStreamLog[SinkFileStatus]):
    """``<output>/_spark_metadata/N``: the files that belong to the sink's output, by the query's batch ids.

    With ``retention_ms``, entries whose file is older are left out of compactions and of `list_files`.
    """

    def __init__(
        self,
        directory: Path | str,
        settings: CompactionSettings | None = None,
        *,
        retention_ms: int | None = None,
        clock: Clock | None = None,
        sync: bool = True,
    ) -> None:
        super().__init__(directory, settings, clock=clock, sync=sync)
        self.retention_ms = retention_ms

    def _encode_entry(self, entry: SinkFileStatus) -> str:
        return (
            f'{{"path":{to_json(entry.path)},"size":{entry.size},"isDir":{"true" if entry.is_dir else "false"},'
            f'"modificationTime":{entry.modification_time},"blockReplication":{entry.block_replication},'
            f'"blockSize":{entry.block_size},"action":{to_json(entry.action)}}}'
        )

    def _decode_entry(self, line: str, path: Path) -> SinkFileStatus:
        entry = read_object(line, path)
        return SinkFileStatus(
            _text(entry, "path", path),
            read_long(entry, "size", None, path),
            read_long(entry, "modificationTime", None, path),
            bool(entry.get("isDir", False)),
            read_long(entry, "blockReplication", 1, path),
            read_long(entry, "blockSize", _LOCAL_BLOCK_SIZE, path),
            _text(entry, "action", path),
        )

    def _keeps(self, entry: SinkFileStatus) -> bool:
        return self.retention_ms is None or self.clock.now_ms() - entry.modification_time <= self.retention_ms

    def _retained(self, lines: list[str], path: Path) -> list[str]:
        if self.retention_ms is None:
            return lines
        return [line for line in lines if self._keeps(self._decode_entry(line, path))]

    def list_files(self) -> list[SinkFileStatus]:
        """The files that a reader of the output directory sees, oldest batch first."""
        entries = [entry for entry in self.all_entries() if self._keeps(entry)]
        deleted = {entry.path for entry in entries if entry.action == "delete"}  # logs of Spark before 3.0
        return [entry for entry in entries if entry.path not in deleted]


def list_sink_files(
    output: Path | str, *, retention_ms: int | None = None, clock: Clock | None = None
) -> list[str] | None:
    """The local paths of the data files in a streaming file sink's output directory; None if it is no such directory.

    Every reader of a directory must ask: files that are not in the log belong to batches that never completed.
    """
    log = Path(output) / SINK_LOG_NAME
    if not log.is_dir():
        return None
    statuses = FileStreamSinkLog(log, retention_ms=retention_ms, clock=clock).list_files()
    return [uri_to_path(status.path) for status in statuses if not status.is_dir]


def _text(entry: dict[str, object], name: str, path: Path) -> str:
    value = entry.get(name)
    if not isinstance(value, str):
        raise RunnelStateError("MALFORMED_LOG_FILE", path=path, text=to_json(entry))
    return value
