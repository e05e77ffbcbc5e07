"""Durable writes, listings, file URIs and locks between processes: the file system's fine print, in one place.

Durable means: once a call returns, the bytes and the name survive a crash of the process and, where the platform's
``fsync`` reaches the disk, of the machine. A reader never sees half a file: the bytes are written under a hidden
temporary name (``.<name>.<uuid>.tmp``, the form that Spark uses) and renamed.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import stat
import sys
import time
import unicodedata
import urllib.parse
import uuid
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

_POSIX = os.name == "posix"
_NO_HARD_LINKS = frozenset(
    getattr(errno, name) for name in ("EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK") if hasattr(errno, name)
)


# ---------------------------------------------------------------------------------------------------------------------
# Durable writes


def _sync_file(descriptor: int) -> None:
    # fdatasync leaves out the time stamps, and is enough to read the data back
    if hasattr(os, "fdatasync"):
        os.fdatasync(descriptor)
    else:
        os.fsync(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


class DurableDirectory:
    """One directory into which small files are written durably and often (a log, the deltas of a state).

    Keeps the directory open on POSIX, so that a write costs an open, a write, two syncs and a rename. Safe to use from
    several threads, as each write has a temporary name of its own. Closing is idempotent; a closed object opens
    itself again at the next write.
    """

    def __init__(self, path: Path | str, *, sync: bool = True, create: bool = True) -> None:
        """``sync=False`` keeps writes atomic, but not durable: for tests and temporary checkpoints.

        Raises FileNotFoundError if ``create`` is false and the directory is missing.
        """
        self.path = Path(path)
        self.sync = sync
        self._prefix = os.fspath(self.path)
        self._descriptor: int | None = None
        if create:
            make_directories(self.path, sync=sync)
        elif not self.path.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self._prefix)

    def write(self, name: str, data: bytes, *, overwrite: bool = True) -> None:
        """Put ``data`` under ``name``, whole or not at all.

        Raises FileExistsError, and leaves the existing file as it is, if ``overwrite`` is false and the name is taken;
        of two writers at the same time exactly one succeeds (on a file system without hard links that holds only for
        writers that also hold a lock). Raises OSError when the disk refuses; nothing but a hidden temporary file can
        be left then.
        """
        target = os.path.join(self._prefix, name)  # noqa: PTH118 - Path costs more than the system call
        temporary = os.path.join(self._prefix, f".{name}.{uuid.uuid4()}.tmp")  # noqa: PTH118
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        try:
            try:
                _write_all(descriptor, data)
                if self.sync:
                    _sync_file(descriptor)
            finally:
                os.close(descriptor)
            if overwrite:
                os.replace(temporary, target)  # noqa: PTH105
            else:
                _rename_new(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)  # noqa: PTH108
            raise
        self.sync_names()

    def sync_names(self) -> None:
        """Make renames, creations and removals in this directory durable. Windows does that by itself."""
        if not (self.sync and _POSIX):
            return
        if self._descriptor is None:
            self._descriptor = os.open(self._prefix, os.O_RDONLY)
        os.fsync(self._descriptor)

    def read(self, name: str) -> bytes:
        """The content of a file. Raises FileNotFoundError."""
        with open(os.path.join(self._prefix, name), "rb") as stream:  # noqa: PTH118
            return stream.read()

    def exists(self, name: str) -> bool:
        return os.path.exists(os.path.join(self._prefix, name))  # noqa: PTH110, PTH118

    def names(self, *, hidden: bool = False) -> list[str]:
        """Sorted names in the directory, without those that start with a dot unless ``hidden``."""
        return list_names(self.path, hidden=hidden)

    def remove(self, name: str) -> bool:
        """Remove a file and the ``.crc`` sidecar that Hadoop may have put beside it; false if it was not there.

        Not synced: a removal that a crash undoes is repeated by whoever cleans up next.
        """
        remove_sidecar(self.path, name)
        try:
            os.unlink(os.path.join(self._prefix, name))  # noqa: PTH108, PTH118
        except FileNotFoundError:
            return False
        return True

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


def _rename_new(source: str, target: str) -> None:
    """Rename, but never onto an existing name."""
    if not _POSIX:
        os.rename(source, target)  # noqa: PTH104 - refuses an existing target on Windows
        return
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target) from error
        os.rename(source, target)  # noqa: PTH104
        return
    os.unlink(source)  # noqa: PTH108


def write_atomic(path: Path, data: bytes, *, overwrite: bool = True, sync: bool = True) -> None:
    """Write one file, whole or not at all, durably if ``sync``. The directory must exist.

    A sidecar ``.<name>.crc`` of a file that is replaced is removed, because Hadoop would hold it against the new
    bytes. Raises FileExistsError if ``overwrite`` is false and the file exists. For many writes into one directory
    `DurableDirectory` is cheaper.
    """
    with DurableDirectory(path.parent, sync=sync, create=False) as directory:
        if overwrite:
            remove_sidecar(path.parent, path.name)
        directory.write(path.name, data, overwrite=overwrite)


def make_directories(path: Path, *, sync: bool = True) -> None:
    """Create a directory and its missing parents; each new name is durable in its parent if ``sync``."""
    missing = []
    current = path.absolute()
    while not current.is_dir():
        missing.append(current)
        current = current.parent
    for directory in reversed(missing):
        directory.mkdir(exist_ok=True)
        if sync and _POSIX:
            descriptor = os.open(directory.parent, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def remove_sidecar(directory: Path, name: str) -> None:
    """Remove ``.<name>.crc``, Hadoop's checksum of ``<name>``, if it is there."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(os.fspath(directory), f".{name}.crc"))  # noqa: PTH108, PTH118


# ---------------------------------------------------------------------------------------------------------------------
# Listings


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file as a listing saw it: absolute path, size in bytes, modification time in ms since the epoch."""

    path: str
    size: int
    modified_ms: int


def list_names(directory: Path, *, hidden: bool = False) -> list[str]:
    """Sorted names in a directory, without those that start with a dot unless ``hidden``; empty if it is missing."""
    try:
        names = os.listdir(directory)  # noqa: PTH208
    except FileNotFoundError:
        return []
    return sorted(name for name in names if hidden or not name.startswith("."))


def is_data_name(name: str) -> bool:
    """Whether Spark's file listing takes the name for data.

    Not data: names that start with a dot, or with an underscore unless they look like a partition (``_k=1``), and
    copies under way (``._COPYING_``); Parquet's summary files are let through.
    """
    if name.startswith(("_metadata", "_common_metadata")):
        return True
    return not (name.startswith(".") or (name.startswith("_") and "=" not in name) or name.endswith("._COPYING_"))


def walk_files(directory: Path | str, *, recursive: bool = True) -> Iterator[FileEntry]:
    """The data files below a directory, in no particular order. What vanishes during the walk is left out.

    Raises FileNotFoundError or NotADirectoryError for ``directory`` itself.
    """
    pending = [os.path.abspath(directory)]  # noqa: PTH100 - resolve() would follow links
    first = True
    while pending:
        try:
            scan = os.scandir(pending.pop())
        except FileNotFoundError:
            if first:
                raise
            continue
        first = False
        with scan:
            for entry in scan:
                if not is_data_name(entry.name):
                    continue
                try:
                    status = entry.stat()
                except FileNotFoundError:
                    continue
                if stat.S_ISDIR(status.st_mode):
                    if recursive:
                        pending.append(entry.path)
                elif stat.S_ISREG(status.st_mode):
                    yield FileEntry(entry.path, status.st_size, status.st_mtime_ns // 1_000_000)


# ---------------------------------------------------------------------------------------------------------------------
# Local paths as Hadoop writes them

# java.net.URI quotes in a path whatever is neither unreserved nor one of :@&=+$,;/
_URI_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.!~*'():@&=+$,;/")


def _quote(character: str) -> str:
    code = ord(character)
    if code < 0x80:
        return character if code in _URI_SAFE else f"%{code:02X}"
    if 0xDC80 <= code <= 0xDCFF:  # an undecodable byte of a file name, as os.fsdecode hands it out
        return f"%{code - 0xDC00:02X}"
    if code < 0xA0 or unicodedata.category(character) in ("Zs", "Zl", "Zp"):
        return "".join(f"%{byte:02X}" for byte in character.encode())
    return character


def path_to_uri(path: Path | str, *, windows: bool = not _POSIX) -> str:
    """The URI of an absolute local path, encoded as Hadoop's ``Path.toUri`` does: ``file:///data/in/a%20b.json``.

    Space and ``%`` are quoted, ``=``, ``&`` and letters beyond ASCII stay. A Windows drive becomes
    ``file:///C:/data``. Raises ValueError for a relative path.
    """
    text = os.fspath(path)
    if windows:
        text = text.replace("\\", "/")
        if len(text) > 1 and text[1] == ":":
            text = "/" + text
    if not text.startswith("/"):
        raise ValueError(f"not an absolute path: {text!r}")
    if text.isascii() and _URI_SAFE.issuperset(text.encode()):
        return "file://" + text
    return "file://" + "".join(map(_quote, text))


def uri_to_path(uri: str, *, windows: bool = not _POSIX) -> str:
    """The local path of a ``file:`` URI (``file:/a`` and ``file:///a`` alike), decoded.

    Text without a scheme is taken for a path already and returned as it is. Raises ValueError for another scheme or
    a host other than this one.
    """
    scheme, colon, rest = uri.partition(":")
    if not colon or "/" in scheme or "\\" in scheme or (windows and len(scheme) == 1):
        return uri
    if scheme.lower() != "file":
        raise ValueError(f"not a local file: {uri!r}")
    if rest.startswith("//"):
        host, slash, tail = rest[2:].partition("/")
        if host not in ("", "localhost"):
            raise ValueError(f"not a file of this machine: {uri!r}")
        rest = slash + tail
    text = urllib.parse.unquote(rest, errors="surrogateescape")
    if windows and len(text) > 2 and text[0] == "/" and text[2] == ":":
        text = text[1:]
    return text


# ---------------------------------------------------------------------------------------------------------------------
# Locks


@dataclass(frozen=True, slots=True)
class LockHolder:
    """Who holds a lock: process id, host name, and since when (ms since the epoch)."""

    pid: int
    host: str
    since_ms: int

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.since_ms / 1000))
        return f"process {self.pid} on {self.host}, since {since}"


class LockHeldError(OSError):
    """Somebody else holds the lock. ``holder`` is None if that cannot be read."""

    def __init__(self, path: Path, holder: LockHolder | None) -> None:
        super().__init__(errno.EWOULDBLOCK, f"locked by {holder or 'an unknown process'}", os.fspath(path))
        self.path = path
        self.holder = holder


if sys.platform == "win32":
    import msvcrt

    # Locked bytes cannot be read on Windows, so a byte far beyond the holder's text is locked
    _LOCKED_BYTE = 1 << 30

    def _try_lock(descriptor: int) -> bool:
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        # flock belongs to the open file, so it also keeps out a second user in this process
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


class FileLock:
    """An exclusive lock between processes, and between users inside one process, on a file of its own.

    The operating system drops it when the process ends, however it ends. The file stays (removing it would let two
    processes lock two files of the same name) and, while the lock is held, names the holder as JSON.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        return self._descriptor is not None

    def acquire(self) -> None:
        """Take the lock, without waiting. Raises LockHeldError; RuntimeError if this object holds it already."""
        if self._descriptor is not None:
            raise RuntimeError(f"lock on {self.path} taken twice")
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not _try_lock(descriptor):
                raise LockHeldError(self.path, self.holder())
            text = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": time.time_ns() // 1_000_000})
            os.ftruncate(descriptor, 0)
            os.lseek(descriptor, 0, os.SEEK_SET)
            _write_all(descriptor, text.encode())
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        _held_locks.add(self)

    def release(self) -> None:
        """Give the lock back; nothing happens if it is not held."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            _held_locks.discard(self)
            try:
                os.ftruncate(descriptor, 0)
                _unlock(descriptor)
            finally:
                os.close(descriptor)

    def holder(self) -> LockHolder | None:
        """Who wrote into the lock file last; None if nobody did, or the text is not readable."""
        try:
            entry = json.loads(self.path.read_bytes())
            return LockHolder(int(entry["pid"]), str(entry["host"]), int(entry["since"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _forget(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.release()


_held_locks: weakref.WeakSet[FileLock] = weakref.WeakSet()


def _forget_locks() -> None:
    for lock in list(_held_locks):
        lock._forget()
    _held_locks.clear()


# A forked child shares the open file, and would keep the lock alive after its parent's death
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_locks)
