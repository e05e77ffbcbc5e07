"""The lines of text files as an Arrow stream, read while they are used.

Lines are found by the byte and never copied one by one: an Arrow string array over the bytes that were read, with the
offsets of the line ends. Each value keeps its line feed, which JSON and trimming ignore. What a fast path may not assume
is looked for block by block: carriage returns end lines too, a byte order mark is dropped, bytes that are not UTF-8
become U+FFFD in the text that is kept and cannot be read as a record. Compressed files are recognised by their names.
"""

from __future__ import annotations

import bz2
import io
import logging
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import pyarrow as pa

from runnel.errors import RunnelError, unsupported
from runnel.files import path_to_uri

log = logging.getLogger("runnel")

_BLOCK = 8 << 20
_ROWS = 122_880
"""DuckDB's row group: what one of its threads takes at a time."""
_BOM = b"\xef\xbb\xbf"
_UNREADABLE = "\x00"


@dataclass(frozen=True, slots=True)
class Constant:
    """A column that is the same in all rows of a file: its SQL name, Arrow type, and value for each file."""

    name: str
    dtype: pa.DataType
    values: Sequence[Any]


class FileStream:
    """Files as an Arrow stream: columns made by `read`, then the constants. Each asking starts afresh."""

    def __init__(
        self,
        paths: Sequence[str],
        schema: pa.Schema,
        read: Callable[[str], Iterator[pa.RecordBatch]],
        constants: Sequence[Constant] = (),
        *,
        ignore_missing: bool = False,
        ignore_corrupt: bool = False,
    ) -> None:
        self.paths = tuple(paths)
        self._own = schema
        self._read = read
        self._constants = tuple(constants)
        self._ignore_missing = ignore_missing
        self._ignore_corrupt = ignore_corrupt
        self.report: Callable[[Exception], object] | None = None
        self.schema = pa.schema([*schema, *(pa.field(c.name, c.dtype) for c in constants)])

    def point_at(self, other: FileStream) -> None:
        """Makes this the stream of another's files, which has the same columns."""
        self.paths = other.paths
        self._constants = other._constants

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.reader().__arrow_c_stream__(requested_schema)

    def reader(self) -> pa.RecordBatchReader:
        return pa.RecordBatchReader.from_batches(self.schema, self._batches())

    def _batches(self) -> Iterator[pa.RecordBatch]:
        for number, path in enumerate(self.paths):
            added = [(c.values[number], c.dtype) for c in self._constants]
            try:
                for batch in self._read(path):
                    constant = [_repeated(value, dtype, batch.num_rows) for value, dtype in added]
                    yield pa.RecordBatch.from_arrays([*batch.columns, *constant], schema=self.schema)
            except FileNotFoundError as missing:
                if not self._ignore_missing:
                    self._fail(RunnelError("FAILED_READ_FILE.FILE_NOT_EXIST", {"path": path_to_uri(path)}), missing)
            except (OSError, EOFError, zlib.error, pa.ArrowException) as failure:
                if self._ignore_corrupt and not isinstance(failure, PermissionError):
                    log.warning("the rest of %s is passed over, since it cannot be read: %s", path, failure)
                    continue
                reason = f"{failure}. Repair or remove it, or set spark.sql.files.ignoreCorruptFiles."
                self._fail(
                    RunnelError("FAILED_READ_FILE.NO_HINT", {"path": path_to_uri(path), "reason": reason}), failure
                )
            except Exception as failure:
                self._fail(failure, failure.__cause__)

    def _fail(self, error: Exception, cause: BaseException | None) -> None:
        if self.report is not None:
            self.report(error)
        raise error from cause


def _repeated(value: Any, dtype: pa.DataType, count: int) -> pa.Array:
    if value is None:
        return pa.nulls(count, dtype)
    one = pa.array([value], dtype)
    return one.take(pa.array(np.zeros(count, np.int64)))


# ---------------------------------------------------------------------------------------------------- opening files


def open_bytes(path: str) -> IO[bytes]:
    """A file's bytes, decompressed by its name as Hadoop's codecs do. Errors: OSError; UnsupportedOperationError."""
    suffix = path.rsplit(".", 1)[-1].lower() if "." in path else ""
    match suffix:
        case "gz" | "zst":
            raw: IO[bytes] = pa.input_stream(path, compression="gzip" if suffix == "gz" else "zstd")
            return raw
        case "bz2":
            return bz2.open(path, "rb")
        case "deflate":
            with open(path, "rb") as stream:
                return io.BytesIO(zlib.decompress(stream.read()))
        case "snappy" | "lz4" | "lzo":
            raise unsupported(f"Reading the compressed file {path}", "Use gzip, bzip2 or Zstandard.")
        case _:
            return open(path, "rb", buffering=0)


def _blocks(path: str, block: int) -> Iterator[bytes]:
    """The file in pieces that end behind a line feed (the last one may not)."""
    with open_bytes(path) as stream:
        pending: list[bytes] = []
        while data := stream.read(block):
            cut = data.rfind(b"\n") + 1
            if not cut:
                pending.append(data)
                continue
            if pending:
                pending.append(data[:cut])
                yield b"".join(pending)
                pending = []
            else:
                yield data[:cut]
            if cut < len(data):
                pending.append(data[cut:])
        if pending:
            yield b"".join(pending)


# ------------------------------------------------------------------------------------------------------------- lines


def lines_schema(line: str, record: str) -> pa.Schema:
    """A line's text, and its text as it is to be shown where the first cannot be read as it stands (else null)."""
    return pa.schema([(line, pa.string()), (record, pa.string())])


def read_lines(
    path: str, schema: pa.Schema, separator: str | None = None, encoding: str | None = None, block: int = _BLOCK
) -> Iterator[pa.RecordBatch]:
    """A file's lines as record batches of `schema` (see `lines_schema`).

    separator None: line feed, carriage return, or both. encoding: other than UTF-8 reads the file whole.
    """
    if (separator is not None and separator != "\n") or _is_other(encoding):
        yield from _decoded_lines(path, schema, separator, encoding)
        return
    first = True
    for data in _blocks(path, block):
        if first and data.startswith(_BOM):
            data = data[len(_BOM) :]
        first = False
        if separator is None and b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        yield from _arrays(data, schema)


def _arrays(data: bytes, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    if not data:
        return
    if len(data) >= 2**31 - 1:
        raise pa.ArrowCapacityError("a line is longer than two gigabytes")
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == 10) + 1
    if not len(ends) or ends[-1] != len(data):
        ends = np.append(ends, len(data))
    offsets = np.zeros(len(ends) + 1, np.int32)
    offsets[1:] = ends
    lines = pa.StringArray.from_buffers(len(ends), pa.py_buffer(offsets), pa.py_buffer(data))
    records = None
    try:
        lines.validate(full=True)
    except pa.ArrowInvalid:
        lines, records = _without_bad_bytes(data, offsets)
    for start in range(0, len(lines), _ROWS):
        part = lines.slice(start, _ROWS)
        shown = pa.nulls(len(part), pa.string()) if records is None else records.slice(start, _ROWS)
        yield pa.RecordBatch.from_arrays([part, shown], schema=schema)


def _without_bad_bytes(data: bytes, offsets: np.ndarray[Any, np.dtype[np.int32]]) -> tuple[pa.Array, pa.Array]:
    texts: list[str] = []
    shown: list[str | None] = []
    for start, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        piece = data[start:end]
        try:
            texts.append(piece.decode())
            shown.append(None)
        except UnicodeDecodeError:
            texts.append(_UNREADABLE)
            shown.append(piece.decode(errors="replace"))
    return pa.array(texts, pa.string()), pa.array(shown, pa.string())


def _decoded_lines(
    path: str, schema: pa.Schema, separator: str | None, encoding: str | None
) -> Iterator[pa.RecordBatch]:
    text = read_text(path, encoding)
    if separator is None:
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    else:
        lines = text.split(separator)
    if lines and not lines[-1]:
        lines.pop()
    for start in range(0, len(lines), _ROWS):
        part = lines[start : start + _ROWS]
        yield pa.RecordBatch.from_arrays([pa.array(part, pa.string()), pa.nulls(len(part), pa.string())], schema=schema)


def read_text(path: str, encoding: str | None = None) -> str:
    """A whole file as text; bad bytes become U+FFFD. Errors: OSError; LookupError for an unknown encoding."""
    with open_bytes(path) as stream:
        data = stream.read()
    text = data.decode(encoding or "utf-8", errors="replace")
    return text.removeprefix("\ufeff")


def _is_other(encoding: str | None) -> bool:
    return encoding is not None and encoding.lower().replace("_", "-") not in ("utf-8", "utf8", "us-ascii", "ascii")
