"""A query's checkpoint as the engine sees it: both logs, the state of its operators, and how to start from them."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from runnel.checkpoint.commit_log import CommitLog, CommitMetadata
from runnel.checkpoint.lock import CheckpointLock
from runnel.checkpoint.metadata_log import to_json
from runnel.checkpoint.offset_log import OffsetLog, OffsetSeq, OffsetSeqMetadata
from runnel.checkpoint.pinned_conf import pin, restore
from runnel.checkpoint.recovery import Recovery, read_recovery
from runnel.errors import RunnelStateError
from runnel.files import DurableDirectory, list_names
from runnel.operators.base import OperatorMetrics
from runnel.runtime.batch import Batch
from runnel.runtime.stages import OperatorStage
from runnel.state.store import KeyedStore
from runnel.state.versions import StateSchema, VersionedStore

log = logging.getLogger("runnel.checkpoint")

_PURGE_EVERY = 10


@dataclass(frozen=True, slots=True)
class CheckpointSettings:
    """What the checkpoint is kept by. `durable` off gives up surviving a power cut, for temporary checkpoints."""

    retain: int = 100
    durable: bool = True
    snapshot_every: int = 10
    verify_empty: bool = True
    check_state_schema: bool = True
    offset_log_version: int = 1


@dataclass(frozen=True, slots=True)
class Recovered:
    """Where a query starts: the last committed batch, or a batch that is to be run again as it was logged."""

    committed: Batch | None
    pending: Batch | None
    watermark_ms: int


class QueryCheckpoint:
    """One query's checkpoint, for the query's thread. `path` exists and has a `metadata` file."""

    def __init__(self, path: Path, session_conf: Mapping[str, str], settings: CheckpointSettings) -> None:
        self.path = path
        self._settings = settings
        self._lock = CheckpointLock(path)
        self._offsets = OffsetLog(path / "offsets", version=settings.offset_log_version, sync=settings.durable)
        self._commits = CommitLog(path / "commits", sync=settings.durable)
        self._recovery: Recovery | None = None
        self._session_conf = session_conf
        self._stores: dict[int, dict[str, VersionedStore]] = {}
        self._may_be_added: set[tuple[int, str]] = set()
        self._commit_ms: dict[int, float] = {}
        self._stages: tuple[OperatorStage, ...] = ()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="runnel-checkpoint")

    # ---- opening

    def lock(self) -> None:
        """Takes the right to write. Raises RunnelStateError CONCURRENT_CHECKPOINT_USE, naming the holder."""
        self._lock.acquire()

    def read(self) -> None:
        """Reads both logs; everything else comes after it. Raises RunnelStateError for logs that cannot be used."""
        self._recovery = read_recovery(
            self.path, self._offsets, self._commits, verify_empty=self._settings.verify_empty
        )
        latest = self._recovery.latest
        recorded = latest.metadata.conf if latest and latest.metadata else None
        self.conf = pin(self._session_conf) if recorded is None else restore(recorded, self._session_conf)

    @property
    def is_new(self) -> bool:
        """Whether no batch was ever logged."""
        return self._known().latest is None

    def _known(self) -> Recovery:
        assert self._recovery is not None, "read() comes first"
        return self._recovery

    def recover(self, number_of_sources: int) -> Recovered:
        """The decision of `checkpoint.recovery`, as batches. Raises RunnelStateError if the sources do not fit."""
        recovery = self._known()
        plan, latest = recovery.plan, recovery.latest
        if latest is None:
            return Recovered(None, None, 0)
        if len(latest.offsets) != number_of_sources:
            raise RunnelStateError(
                "STREAMING_SOURCES_CHANGED",
                {"checkpointed": str(len(latest.offsets)), "current": str(number_of_sources), "path": str(self.path)},
            )
        if plan.skipped_commits:
            log.warning("batches %s of %s were never committed", list(plan.skipped_commits), self.path)
        nowhere: tuple[str | None, ...] = (None,) * number_of_sources
        start = recovery.start
        if not plan.rerun:
            metadata = latest.metadata or OffsetSeqMetadata()
            last = Batch(
                plan.batch_id - 1,
                nowhere,
                latest.offsets,
                metadata.batch_watermark_ms,
                metadata.batch_watermark_ms,
                metadata.batch_timestamp_ms,
            )
            return Recovered(last, None, recovery.watermark_ms)
        metadata = latest.metadata or OffsetSeqMetadata()
        previous_metadata = start.metadata if start and start.metadata else OffsetSeqMetadata()
        starts = start.offsets if start else nowhere
        pending = Batch(
            plan.batch_id,
            starts,
            latest.offsets,
            recovery.watermark_ms,
            previous_metadata.batch_watermark_ms,
            metadata.batch_timestamp_ms,
            has_new_data=starts != latest.offsets,
            is_rerun=True,
        )
        committed = None
        if start is not None:
            committed = Batch(
                plan.batch_id - 1,
                nowhere,
                start.offsets,
                previous_metadata.batch_watermark_ms,
                0,
                previous_metadata.batch_timestamp_ms,
            )
        return Recovered(committed, pending, recovery.watermark_ms)

    # ---- the logs

    def begin_offsets(self, batch: Batch) -> Future[None]:
        """Starts the write-ahead step on the checkpoint's own thread: the disk works while the batch is computed."""
        return self._writer.submit(self.write_offsets, batch)

    def begin_state(self, version: int) -> Future[None]:
        """Starts `commit_state` on the checkpoint's own thread; the operators rest until it is done."""
        return self._writer.submit(self.commit_state, version)

    def write_offsets(self, batch: Batch) -> None:
        """The write-ahead step; durable when it returns. Also drops log entries that nobody can need again."""
        metadata = OffsetSeqMetadata(batch.watermark_ms, batch.timestamp_ms, self.conf)
        self._offsets.add(batch.id, OffsetSeq(batch.ends, metadata))
        if batch.id > self._settings.retain:
            oldest = batch.id - self._settings.retain
            self._offsets.purge(oldest)
            self._commits.purge(oldest)

    def write_commit(self, batch_id: int, next_watermark_ms: int) -> None:
        self._commits.add(batch_id, CommitMetadata(next_watermark_ms))

    # ---- the state

    def bind_operators(self, stages: Sequence[OperatorStage]) -> dict[int, dict[str, KeyedStore]]:
        """Empty stores for the operators, by operator id and store name, bound to their folders.

        On a checkpoint that has state, what it records must fit: RunnelStateError
        STREAMING_STATEFUL_OPERATOR_MISSING_STATE_DIRECTORY, ….NOT_MATCH_IN_STATE_METADATA or
        STATE_STORE_{KEY,VALUE}_SCHEMA_NOT_COMPATIBLE otherwise.
        """
        self._stages = tuple(stages)
        root = self.path / "state"
        if not self.is_new:
            self._check_operators(root)
        opened: dict[int, dict[str, KeyedStore]] = {}
        for stage in stages:
            stores: dict[str, VersionedStore] = {}
            for spec in stage.operator.stores:
                store = KeyedStore(spec.key_schema, spec.value_schema, eviction_column=spec.eviction_column)
                folder = root / str(stage.operator_id)
                if spec.name != "default":
                    folder = folder / spec.name
                stores[spec.name] = VersionedStore(
                    folder, store, snapshot_every=self._settings.snapshot_every, sync=self._settings.durable
                )
                if spec.may_be_added:
                    self._may_be_added.add((stage.operator_id, spec.name))
            if any(spec.may_be_added for spec in stage.operator.stores):
                _drop_undeclared(root / str(stage.operator_id), stores)
            self._stores[stage.operator_id] = stores
            opened[stage.operator_id] = {name: bound.store for name, bound in stores.items()}
            self._record(stage, root, stores)
        return opened

    def _partitions(self) -> int:
        return int(self.conf["spark.sql.shuffle.partitions"])

    def _check_operators(self, root: Path) -> None:
        numbered = sorted(int(name) for name in list_names(root) if name.isdigit()) if root.is_dir() else []
        if self._stages and not numbered:
            raise RunnelStateError(
                "STREAMING_STATEFUL_OPERATOR_MISSING_STATE_DIRECTORY",
                {
                    "checkpointLocation": str(self.path),
                    "OpsInCurBatchSeq": _listed([(s.operator_id, s.operator.name) for s in self._stages]),
                },
            )
        recorded = [(number, _recorded_name(root / str(number))) for number in numbered]
        current = sorted((stage.operator_id, stage.operator.name) for stage in self._stages)
        if recorded != current:
            raise RunnelStateError(
                "STREAMING_STATEFUL_OPERATOR_NOT_MATCH_IN_STATE_METADATA",
                {"OpsInMetadataSeq": _listed(recorded), "OpsInCurBatchSeq": _listed(current)},
            )

    def _record(self, stage: OperatorStage, root: Path, stores: Mapping[str, VersionedStore]) -> None:
        for spec in stage.operator.stores:
            bound = stores[spec.name]
            schema = StateSchema(
                stage.operator.name, spec.name, spec.spark_key_schema, spec.spark_value_schema, 1, self._partitions()
            )
            recorded = bound.read_schema()
            if recorded is None:
                bound.write_schema(schema)
            elif self._settings.check_state_schema:
                _check_schema(recorded, schema, root / str(stage.operator_id))
        _write_operator_metadata(stage, root / str(stage.operator_id), self._partitions(), self._settings.durable)

    def load_state(self, version: int) -> None:
        """Makes every store that of `version`. Raises RunnelStateError for gaps and damage."""
        for operator_id, stores in self._stores.items():
            for name, bound in stores.items():
                if (operator_id, name) in self._may_be_added:
                    bound.load_or_begin(version)
                else:
                    bound.load(version)

    def commit_state(self, version: int) -> None:
        """What the operators staged becomes `version`, durably."""
        for operator_id, stores in self._stores.items():
            spent = 0.0
            for bound in stores.values():
                spent += bound.commit(version).ms
                if version % _PURGE_EVERY == 0 and version > self._settings.retain:
                    bound.purge(version - self._settings.retain)
            self._commit_ms[operator_id] = spent

    def state_metrics(self) -> dict[int, OperatorMetrics]:
        """What each operator's stores hold, and how long their last commit took."""
        found = {}
        for operator_id, stores in self._stores.items():
            found[operator_id] = OperatorMetrics(
                num_rows_total=sum(b.store.num_rows for b in stores.values()),
                memory_used_bytes=sum(b.store.memory_bytes for b in stores.values()),
                commit_ms=round(self._commit_ms.get(operator_id, 0.0)),
            )
        return found

    # ---- the end

    def close(self, *, delete: bool = False) -> None:
        """Lets go of everything. `delete` removes the folder: a temporary checkpoint."""
        self._writer.shutdown()
        for stores in self._stores.values():
            for bound in stores.values():
                bound.close()
        self._offsets.close()
        self._commits.close()
        self._lock.release()
        if delete:
            shutil.rmtree(self.path, ignore_errors=True)


def _drop_undeclared(folder: Path, declared: Mapping[str, VersionedStore]) -> None:
    """Removes the stores that an operator no longer has, so that they begin empty should they come back."""
    for name in list_names(folder):
        if name not in declared and (folder / name / "_schema.json").exists():
            shutil.rmtree(folder / name)


def _metadata_file(folder: Path) -> Path:
    return folder / "_metadata" / "metadata"


def _recorded_name(folder: Path) -> str:
    """The operator's name in its metadata file; empty where there is no such file."""
    try:
        lines = _metadata_file(folder).read_text("utf-8").split("\n", 1)
        return str(json.loads(lines[1])["operatorInfo"]["operatorName"])
    except FileNotFoundError:
        return ""
    except (IndexError, KeyError, ValueError) as error:
        raise RunnelStateError(
            "MALFORMED_LOG_FILE", {"text": "operator metadata", "path": str(_metadata_file(folder))}
        ) from error


def _write_operator_metadata(stage: OperatorStage, folder: Path, partitions: int, durable: bool) -> None:
    """Spark's own file, so that tools which read a checkpoint's operators find them."""
    path = _metadata_file(folder)
    if path.exists():
        return
    info = {
        "operatorInfo": {"operatorId": stage.operator_id, "operatorName": stage.operator.name},
        "stateStoreInfo": [
            {"storeName": name, "numColsPrefixKey": s.num_cols_prefix_key, "numPartitions": partitions}
            for s in stage.operator.stores
            for name in s.spark_store_names
        ],
    }
    with DurableDirectory(path.parent, sync=durable) as directory:
        directory.write(path.name, f"v1\n{to_json(info)}".encode())


def _listed(operators: Sequence[tuple[int, str]]) -> str:
    return ", ".join(f"(OperatorId: {number} -> OperatorName: {name})" for number, name in operators) or "(none)"


def _check_schema(recorded: StateSchema, current: StateSchema, folder: Path) -> None:
    """By position and type, not by name, as Spark compares them."""
    for side, condition in (("key_schema", "KEY"), ("value_schema", "VALUE")):
        old, new = json.loads(getattr(recorded, side)), json.loads(getattr(current, side))
        if _shape(old) != _shape(new):
            raise RunnelStateError(
                f"STATE_STORE_{condition}_SCHEMA_NOT_COMPATIBLE",
                {
                    "storedKeySchema": json.dumps(old),
                    "newKeySchema": json.dumps(new),
                    "storedValueSchema": json.dumps(old),
                    "newValueSchema": json.dumps(new),
                    "path": str(folder),
                },
            )


def _shape(schema: object) -> object:
    """A JSON schema without names, metadata and nullability."""
    if isinstance(schema, dict):
        return {
            k: _shape(v)
            for k, v in schema.items()
            if k not in ("name", "metadata", "nullable", "containsNull", "valueContainsNull")
        }
    if isinstance(schema, list):
        return [_shape(item) for item in schema]
    return schema
