"""The base of every log: one file a batch, named by its id, written whole and never changed.

A log is a directory. Text files are UTF-8, lines joined by a newline without one at the end, a version line first.
Reading never creates the directory; the first `MetadataLog.add` does.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Generic, TypeVar

from runnel.errors import RunnelStateError
from runnel.files import DurableDirectory, list_names, remove_sidecar

T = TypeVar("T")

_encoder = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)


def to_json(value: object) -> str:
    """JSON as Spark writes it: no spaces, letters beyond ASCII as they are, keys in the order given."""
    return _encoder.encode(value)


def check_version(line: str, newest: int, path: Path) -> int:
    """The number in a version line ``v<n>``.

    Raises RunnelStateError: INVALID_LOG_VERSION.MAX_SUPPORTED_VERSION if it is above ``newest``, MALFORMED_LOG_FILE if
    it is no version.
    """
    digits = line[1:]
    if line[:1] != "v" or not (digits.isascii() and digits.isdigit()) or int(digits) == 0:
        raise RunnelStateError("MALFORMED_LOG_FILE", path=path, text=line)
    version = int(digits)
    if version > newest:
        raise RunnelStateError(
            "INVALID_LOG_VERSION.MAX_SUPPORTED_VERSION",
            path=path,
            version=f"v{version}",
            maxSupportedVersion=f"v{newest}",
        )
    return version


def read_lines(data: bytes, path: Path) -> list[str]:
    """The lines of a log file. Raises RunnelStateError for an empty file or one that is not UTF-8."""
    if not data:
        raise RunnelStateError("INCOMPLETE_LOG_FILE", path=path)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise RunnelStateError("MALFORMED_LOG_FILE", path=path, text=repr(data[:40])) from error
    lines = text.split("\n")
    if lines[-1] == "":  # Spark's reader takes a newline at the end for the end of the last line
        lines.pop()
    return lines


def read_object(line: str, path: Path) -> dict[str, object]:
    """A line that holds a JSON object. Raises RunnelStateError MALFORMED_LOG_FILE."""
    try:
        value = json.loads(line)
    except ValueError as error:
        raise RunnelStateError("MALFORMED_LOG_FILE", path=path, text=line) from error
    if not isinstance(value, dict):
        raise RunnelStateError("MALFORMED_LOG_FILE", path=path, text=line)
    return value


def read_long(entry: dict[str, object], name: str, default: int | None, path: Path) -> int:
    """A whole number of a JSON object; ``default`` where it is absent (None: it must be there)."""
    value = entry.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int):
        raise RunnelStateError("MALFORMED_LOG_FILE", path=path, text=to_json(entry))
    return value


class MetadataLog(ABC, Generic[T]):
    """Values by batch id. One writer at a time; ids need not be contiguous, though Spark's are."""

    def __init__(self, directory: Path | str, *, sync: bool = True) -> None:
        """``sync=False`` gives up durability, not atomicity: for temporary checkpoints."""
        self.path = Path(directory)
        self._sync = sync
        self._directory: DurableDirectory | None = None
        self._purged_below: int | None = None

    @abstractmethod
    def _encode(self, value: T) -> bytes:
        """The whole content of a file."""

    @abstractmethod
    def _decode(self, data: bytes, path: Path) -> T:
        """The reverse; ``path`` is for errors. Raises RunnelStateError."""

    def _name(self, batch_id: int) -> str:
        return str(batch_id)

    def _id(self, name: str) -> int | None:
        return int(name) if name.isascii() and name.isdigit() else None

    def add(self, batch_id: int, value: T) -> None:
        """Write an entry durably; afterwards it is there for ever.

        Raises RunnelStateError CONCURRENT_STREAM_LOG_UPDATE if the batch has an entry already: another writer is at
        work on this log. The entry stays as it was.
        """
        if not self.add_if_absent(batch_id, value):
            raise RunnelStateError("CONCURRENT_STREAM_LOG_UPDATE", batchId=batch_id)

    def add_if_absent(self, batch_id: int, value: T) -> bool:
        """Like `add`, but false if the batch has an entry."""
        return self._put(self._name(batch_id), self._encode(value))

    def _put(self, name: str, data: bytes) -> bool:
        if self._directory is None:
            self._directory = DurableDirectory(self.path, sync=self._sync)
        if not self._directory.exists(name):
            remove_sidecar(self.path, name)  # of an earlier file, removed by hand
        try:
            self._directory.write(name, data, overwrite=False)
        except FileExistsError:
            return False
        return True

    def get(self, batch_id: int) -> T | None:
        """The entry of a batch, None if it has none. Raises RunnelStateError for a file that cannot be read."""
        path = self.path / self._name(batch_id)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        return self._decode(data, path)

    def list_ids(self) -> list[int]:
        """The ids that have an entry, ascending."""
        ids = (self._id(name) for name in list_names(self.path))
        return sorted({number for number in ids if number is not None})

    def latest_id(self) -> int | None:
        ids = self.list_ids()
        return ids[-1] if ids else None

    def latest(self) -> tuple[int, T] | None:
        """The newest entry with its id. Raises as `get` does."""
        for batch_id in reversed(self.list_ids()):
            value = self.get(batch_id)
            if value is not None:
                return batch_id, value
        return None

    def purge(self, below: int) -> None:
        """Remove the entries with an id below ``below``, with their ``.crc`` sidecars.

        Lists the directory once; later calls cost what they remove.
        """
        if self._purged_below is None:
            doomed = [batch_id for batch_id in self.list_ids() if batch_id < below]
        else:
            doomed = list(range(self._purged_below, below))
        for batch_id in doomed:
            name = self._name(batch_id)
            remove_sidecar(self.path, name)
            (self.path / name).unlink(missing_ok=True)
        self._purged_below = max(below, self._purged_below or 0)

    def close(self) -> None:
        """Let go of the open directory. The log may be used again."""
        if self._directory is not None:
            self._directory.close()
