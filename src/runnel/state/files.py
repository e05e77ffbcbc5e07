"""The files of a state: deltas and snapshots as Arrow IPC streams, with a trailer that proves them whole.

A file is an Arrow IPC stream of key and value columns (zstd where it pays), which any Arrow reader can open, followed
by a trailer that Arrow readers do not look at: a JSON object, its length, the CRC-32 of all bytes before, and a magic
word. The first `upserts` rows of a delta are rows to put, the `removes` rows after them are keys to remove (their
values are null). Removals come first when a delta is applied.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

import pyarrow as pa

from runnel.errors import RunnelStateError

Kind = Literal["delta", "snapshot"]

BATCH_ROWS = 1 << 16
"""Rows a record batch of a file; a background merge never holds the interpreter for longer than one takes."""

_MAGIC = b"RNLSTAT1"
_LENGTH = struct.Struct("<I")
_TAIL = struct.Struct("<I8s")
_COMPRESS_FROM = 1 << 14  # bytes; below, setting up the codec costs more than it saves
_PLAIN = pa.ipc.IpcWriteOptions()
_ZSTD = pa.ipc.IpcWriteOptions(compression="zstd")


@dataclass(frozen=True, slots=True)
class StateFile:
    """The content of a delta or a snapshot: batches of key and value columns to put, batches of keys to remove."""

    upserts: list[pa.RecordBatch]
    removes: list[pa.RecordBatch]


def file_name(kind: Kind, version: int) -> str:
    return f"{version}.{kind}.arrow"


def parse_name(name: str) -> tuple[Kind, int] | None:
    """Kind and version of a state file, None for the name of another file."""
    number, _, rest = name.partition(".")
    if not number.isdecimal():
        return None
    match rest:
        case "delta.arrow":
            return "delta", int(number)
        case "snapshot.arrow":
            return "snapshot", int(number)
        case _:
            return None


def file_schema(key_schema: pa.Schema, value_schema: pa.Schema) -> pa.Schema:
    """Key columns, then value columns, all nullable, without metadata."""
    return pa.schema([pa.field(field.name, field.type) for field in [*key_schema, *value_schema]])


def encode(
    kind: Kind,
    version: int,
    schema: pa.Schema,
    upserts: Iterable[pa.RecordBatch | pa.Table],
    removed_keys: Iterable[pa.RecordBatch | pa.Table],
    *,
    size_hint: int,
) -> bytes:
    """The bytes of a state file. Batches of `upserts` have the columns of `schema`, those of `removed_keys` the first
    ones of it. `size_hint` is the number of bytes in memory, roughly."""
    sink = pa.BufferOutputStream()
    counts = [0, 0]
    with pa.ipc.new_stream(sink, schema, options=_ZSTD if size_hint >= _COMPRESS_FROM else _PLAIN) as writer:
        for put in upserts:
            counts[0] += put.num_rows
            _write(writer, schema, put)
        for keys in removed_keys:
            counts[1] += keys.num_rows
            _write(writer, schema, keys)
    body = sink.getvalue()
    facts = json.dumps({"kind": kind, "version": version, "upserts": counts[0], "removes": counts[1]}).encode()
    facts += _LENGTH.pack(len(facts))
    checksum = zlib.crc32(facts, zlib.crc32(body))
    return b"".join([memoryview(body), facts, _TAIL.pack(checksum, _MAGIC)])


def _write(writer: pa.ipc.RecordBatchStreamWriter, schema: pa.Schema, rows: pa.RecordBatch | pa.Table) -> None:
    if rows.num_rows == 0:
        return
    missing = [pa.nulls(rows.num_rows, field.type) for field in list(schema)[rows.num_columns :]]
    for piece in rows.to_batches() if isinstance(rows, pa.Table) else [rows]:
        writer.write_batch(pa.RecordBatch.from_arrays([*piece.columns, *missing], schema=schema))


def decode(data: bytes, path: Path, kind: Kind, version: int, schema: pa.Schema, num_keys: int) -> StateFile:
    """The content of a state file. Raises RunnelStateError, naming the file, for a file that is cut short, damaged,
    of another kind or version, or of another schema."""
    tail_at = len(data) - _TAIL.size
    facts_end = tail_at - _LENGTH.size
    if facts_end < 0:
        raise_damaged(path, "the file is cut short")
    checksum, magic = _TAIL.unpack_from(data, tail_at)
    if magic != _MAGIC:
        raise_damaged(path, "the file is cut short, or is not a state file")
    view = memoryview(data)
    if zlib.crc32(view[:tail_at]) != checksum:
        raise_damaged(path, "the checksum does not match: the file has been changed or damaged")
    facts_at = facts_end - _LENGTH.unpack_from(data, facts_end)[0]
    facts = json.loads(bytes(view[facts_at:facts_end]))
    if (facts["kind"], facts["version"]) != (kind, version):
        raise_damaged(path, f"the file holds the {facts['kind']} of version {facts['version']}: it has been renamed")
    with pa.ipc.open_stream(pa.py_buffer(view[:facts_at])) as reader:
        if not reader.schema.equals(schema):
            held = ", ".join(f"{field.name} {field.type}" for field in reader.schema)
            wanted = ", ".join(f"{field.name} {field.type}" for field in schema)
            raise_damaged(path, f"the file holds the columns ({held}), the query's state has ({wanted})")
        batches = list(reader)
    if sum(batch.num_rows for batch in batches) != facts["upserts"] + facts["removes"]:
        raise_damaged(path, "the number of rows does not match")
    upserts: list[pa.RecordBatch] = []
    rows = 0
    while rows < facts["upserts"]:
        rows += batches[0].num_rows
        upserts.append(batches.pop(0))
    return StateFile(upserts, [batch.select(schema.names[:num_keys]) for batch in batches])


def sliced(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of at most `BATCH_ROWS`."""
    for batch in batches:
        for first in range(0, batch.num_rows, BATCH_ROWS):
            yield batch if batch.num_rows <= BATCH_ROWS else batch.slice(first, BATCH_ROWS)


def raise_damaged(path: Path, reason: str) -> NoReturn:
    """Raises CANNOT_LOAD_STATE_STORE.UNCATEGORIZED. The condition has no parameters: the cause names the file, what is
    wrong with it, and what to do."""
    remedy = "Restore the file from a backup, or start the query with a new checkpoint location."
    raise RunnelStateError("CANNOT_LOAD_STATE_STORE.UNCATEGORIZED") from ValueError(f"{path}: {reason}. {remedy}")


def missing(path: Path) -> RunnelStateError:
    return RunnelStateError(
        "CANNOT_LOAD_STATE_STORE.CANNOT_READ_DELTA_FILE_NOT_EXISTS", fileToRead=str(path), clazz="KeyedStore"
    )
