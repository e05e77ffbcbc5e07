"""Versions of a keyed store on disk: one delta a commit, snapshots in the background, loading, purging.

Batch N reads version N and writes version N + 1; version 0 is empty and has no file. A directory holds
``<version>.delta.arrow`` for every version since the oldest that is kept, ``<version>.snapshot.arrow`` for some, and
``_schema.json``. Loading takes the newest snapshot at or below the version and replays the deltas after it.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runnel.clock import Clock, SystemClock
from runnel.errors import RunnelStateError
from runnel.files import DurableDirectory
from runnel.state.files import (
    BATCH_ROWS,
    Kind,
    StateFile,
    decode,
    encode,
    file_name,
    file_schema,
    missing,
    parse_name,
    raise_damaged,
)
from runnel.state.merge import apply_file, merged, rows_at
from runnel.state.store import KeyedStore

_log = logging.getLogger(__name__)

_SCHEMA_NAME = "_schema.json"
_SCHEMA_FORMAT = 1
_DELTA_OVERHEAD = 1 << 16  # what opening and replaying a delta costs beside its bytes, in bytes


@dataclass(frozen=True, slots=True)
class CommitStats:
    """What a commit wrote: bytes of the delta, rows put, rows removed, milliseconds from start to durable."""

    bytes: int
    rows_updated: int
    rows_removed: int
    ms: float


@dataclass(frozen=True, slots=True)
class StateSchema:
    """What `_schema.json` records at the first run: Spark's names and schemas (JSON text), the store's shard count and
    the query's pinned partition count."""

    operator_name: str
    store_name: str
    key_schema: str
    value_schema: str
    shards: int
    partitions: int


class VersionedStore:
    """A `KeyedStore` bound to a directory, which it alone may write to.

    `snapshot_every`: deltas after which a snapshot is worth considering. It is written once replaying the deltas would
    cost as much as reading the last snapshot did, so that snapshots cost no more than the deltas, and loading no more
    than twice the snapshot. A background thread merges files for it and never touches the store.

    Commits and loads are for one thread.
    """

    def __init__(
        self,
        directory: Path,
        store: KeyedStore,
        *,
        snapshot_every: int = 10,
        sync: bool = True,
        clock: Clock | None = None,
    ) -> None:
        """Creates the directory. Call `load` before anything else. `sync=False` gives up durability, not atomicity."""
        self.store = store
        self.version = 0
        self.snapshot_failures = 0
        """Background snapshots that failed since the start; each is logged, and tried again later."""
        self._snapshot_every = snapshot_every
        self._clock = clock or SystemClock()
        self._directory = DurableDirectory(directory, sync=sync)
        self._schema = file_schema(store.key_schema, store.value_schema)
        self._lock = threading.Lock()  # over the two listings
        self._deltas: dict[int, int] = {}  # version to bytes
        self._snapshots: dict[int, int] = {}
        self._replay_cost = 0  # of the deltas since the last snapshot
        self._replay_count = 0
        self._purged_to = 0
        self._just_loaded = True  # files of later versions may lie about
        self._background: threading.Thread | None = None

    # ---- loading

    def load(self, version: int) -> None:
        """Makes the store that of `version`; whatever it held is dropped.

        A damaged snapshot is passed over, with a warning in the log, if an older one and its deltas still lead to the
        version. Raises RunnelStateError: CANNOT_LOAD_STATE_STORE.CANNOT_READ_DELTA_FILE_NOT_EXISTS for a gap,
        .UNCATEGORIZED for damage. The store is empty then.
        """
        if version < 0:
            raise RunnelStateError("CANNOT_LOAD_STATE_STORE.UNEXPECTED_VERSION", version=version)
        self.wait_for_snapshot()
        self.store.clear()
        self.version = 0
        self._just_loaded = True
        self._purged_to = 0
        self._list()
        first_error: RunnelStateError | None = None
        for base in [*sorted((v for v in self._snapshots if v <= version), reverse=True), 0]:
            try:
                self._load_from(base, version)
            except RunnelStateError as error:
                self.store.clear()
                # What is wrong with the newest snapshot says more than a gap far behind it
                first_error = first_error or error
                if base:
                    # Nothing may be purged, and nothing merged, on the strength of it
                    del self._snapshots[base]
                    _log.warning("a snapshot is passed over: %s", error.__cause__ or error)
                continue
            self.version = version
            return
        assert first_error is not None
        raise first_error

    def load_or_begin(self, version: int) -> None:
        """Like `load`; but where no version was ever written, the store begins empty at this one."""
        self.wait_for_snapshot()
        self._list()
        if version > 0 and not self._deltas and not self._snapshots:
            data = encode("snapshot", version, self._schema, (), (), size_hint=0)
            self._directory.write(file_name("snapshot", version), data)
        self.load(version)

    def _load_from(self, base: int, version: int) -> None:
        deltas = range(base + 1, version + 1)
        for v in deltas:
            if v not in self._deltas:
                raise missing(self._path("delta", v))
        if base:
            apply_file(self.store, self._read("snapshot", base))
        for v in deltas:
            apply_file(self.store, self._read("delta", v))
        self._replay_count = len(deltas)
        self._replay_cost = sum(self._deltas[v] + _DELTA_OVERHEAD for v in deltas)

    def _list(self) -> None:
        deltas: dict[int, int] = {}
        snapshots: dict[int, int] = {}
        for name in self._directory.names(hidden=True):
            if name.startswith(".") and name.endswith(".tmp"):
                self._directory.remove(name)  # of a process that died while it wrote
                continue
            parsed = parse_name(name)
            if parsed is not None:
                kind, version = parsed
                size = (self._directory.path / name).stat().st_size
                (deltas if kind == "delta" else snapshots)[version] = size
        with self._lock:
            self._deltas, self._snapshots = deltas, snapshots

    def _read(self, kind: Kind, version: int) -> StateFile:
        path = self._path(kind, version)
        try:
            data = self._directory.read(path.name)
        except FileNotFoundError:
            raise missing(path) from None
        except OSError as error:
            raise_damaged(path, f"the file cannot be read ({error})")
        return decode(data, path, kind, version, self._schema, len(self.store.key_schema))

    def _path(self, kind: Kind, version: int) -> Path:
        return self._directory.path / file_name(kind, version)

    # ---- committing

    def commit(self, version: int) -> CommitStats:
        """Makes what is staged durable as `version`, which must be the next one. An unchanged state gets a delta too.

        Files of this and later versions are replaced: they stem from a run that was given up. When this raises
        (OSError, say), the changes are still staged, to be committed again or rolled back.
        """
        if version != self.version + 1:
            raise ValueError(f"version {version} cannot follow version {self.version}")
        started = self._clock.monotonic()
        staged = self.store.staged()
        rows = len(staged.upserted) + len(staged.removed)
        pieces = range(0, len(staged.removed), BATCH_ROWS)
        data = encode(
            "delta",
            version,
            self._schema,
            rows_at(self.store, staged.upserted),
            (self.store.gather_keys(staged.removed[first : first + BATCH_ROWS]) for first in pieces),
            size_hint=rows * 16 * len(self._schema),
        )
        if self._just_loaded:
            self._drop_abandoned(version)
        self._directory.write(file_name("delta", version), data)
        with self._lock:
            self._deltas[version] = len(data)
        self.store.mark_committed()
        self._just_loaded = False
        self.version = version
        self._replay_count += 1
        self._replay_cost += len(data) + _DELTA_OVERHEAD
        self._start_snapshot_if_due()
        elapsed_ms = (self._clock.monotonic() - started) * 1000
        return CommitStats(len(data), len(staged.upserted), len(staged.removed), elapsed_ms)

    def rollback(self) -> None:
        """Drops what is staged since the last commit or load."""
        self.store.rollback()

    def _drop_abandoned(self, version: int) -> None:
        """A snapshot of a run that was given up would be taken for one of this run."""
        with self._lock:
            snapshots = [v for v in self._snapshots if v >= version]
            deltas = [v for v in self._deltas if v > version]
        self._remove(snapshots, deltas)
        if snapshots or deltas:
            self._directory.sync_names()

    def _remove(self, snapshots: Sequence[int], deltas: Sequence[int]) -> None:
        for v in snapshots:
            self._directory.remove(file_name("snapshot", v))
        for v in deltas:
            self._directory.remove(file_name("delta", v))
        with self._lock:
            for v in snapshots:
                del self._snapshots[v]
            for v in deltas:
                del self._deltas[v]

    # ---- snapshots

    def _start_snapshot_if_due(self) -> None:
        if self._replay_count < self._snapshot_every or (self._background and self._background.is_alive()):
            return
        base = max(self._snapshots, default=0)
        if base and self._replay_cost < self._snapshots[base]:
            return
        self._replay_count = self._replay_cost = 0
        self._background = threading.Thread(
            target=self._write_snapshot, args=(base, self.version), name="runnel-state-snapshot", daemon=True
        )
        self._background.start()

    def _write_snapshot(self, base: int, version: int) -> None:
        try:
            snapshot = self._read("snapshot", base) if base else None
            deltas = (self._read("delta", v) for v in range(base + 1, version + 1))
            rows = merged(self.store.key_schema, self.store.value_schema, snapshot, deltas)
            data = encode("snapshot", version, self._schema, rows, (), size_hint=BATCH_ROWS)
            self._directory.write(file_name("snapshot", version), data)
        except Exception:
            # Snapshots only shorten loading: the query goes on, and the next one starts from the same base
            self.snapshot_failures += 1
            _log.exception("no snapshot of version %d could be written to %s", version, self._directory.path)
            return
        with self._lock:
            self._snapshots[version] = len(data)

    def wait_for_snapshot(self) -> None:
        """Returns when no snapshot is being written."""
        if self._background is not None:
            self._background.join()
            self._background = None

    # ---- housekeeping

    def purge(self, keep_from_version: int) -> None:
        """Removes files that no load of `keep_from_version` or later needs."""
        with self._lock:
            base = max((v for v in self._snapshots if v <= keep_from_version), default=0)
            if base == self._purged_to:
                return
            snapshots = [v for v in self._snapshots if v < base]
            deltas = [v for v in self._deltas if v <= base]
        # Oldest first: what a crash leaves has no gap
        self._remove(sorted(snapshots), sorted(deltas))
        self._purged_to = base

    def read_schema(self) -> StateSchema | None:
        """What the first run recorded; None before. Raises RunnelStateError if it cannot be understood."""
        path = self._directory.path / _SCHEMA_NAME
        try:
            data = json.loads(self._directory.read(_SCHEMA_NAME))
            if data["version"] != _SCHEMA_FORMAT:
                raise_damaged(path, f"the file has format {data['version']}, this Runnel reads format {_SCHEMA_FORMAT}")
            return StateSchema(
                operator_name=data["operatorName"],
                store_name=data["storeName"],
                key_schema=json.dumps(data["keySchema"], separators=(",", ":")),
                value_schema=json.dumps(data["valueSchema"], separators=(",", ":")),
                shards=data["numShards"],
                partitions=data["numPartitions"],
            )
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise_damaged(path, f"the file is not a state schema ({error})")

    def write_schema(self, schema: StateSchema) -> None:
        """Records the schema, durably. The JSON texts come back from `read_schema` equal as JSON, without spaces."""
        data = {
            "version": _SCHEMA_FORMAT,
            "operatorName": schema.operator_name,
            "storeName": schema.store_name,
            "keySchema": json.loads(schema.key_schema),
            "valueSchema": json.loads(schema.value_schema),
            "numShards": schema.shards,
            "numPartitions": schema.partitions,
        }
        self._directory.write(_SCHEMA_NAME, json.dumps(data, indent=1).encode())

    def close(self) -> None:
        """Waits for a snapshot under way and closes the directory."""
        self.wait_for_snapshot()
        self._directory.close()
