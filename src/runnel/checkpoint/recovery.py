"""What a query does first when it starts, decided from the ids in its two logs alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runnel.checkpoint.commit_log import CommitLog, CommitMetadata
from runnel.checkpoint.offset_log import OffsetLog, OffsetSeq
from runnel.errors import RunnelStateError
from runnel.files import list_names


@dataclass(frozen=True, slots=True)
class RecoveryPlan:
    """Where a query starts.

    - ``batch_id``: the first batch to run;
    - ``rerun``: its offsets are in the log and must be used as they are, with the recorded watermark and timestamp,
      without writing ``offsets/<batch_id>`` again;
    - ``start_batch_id``: the batch whose end offsets are the first batch's start offsets (None: from the beginning);
    - ``skipped_commits``: batches between the newest commit and the rerun that have no commit; worth a warning.
    """

    batch_id: int
    rerun: bool
    start_batch_id: int | None
    skipped_commits: range = range(0)


def plan_recovery(
    latest_offset_id: int | None,
    latest_commit_id: int | None,
    *,
    previous_offset_exists: bool = True,
    leftovers: Sequence[str] = (),
    checkpoint: str = "",
) -> RecoveryPlan:
    """Spark's decision table. ``latest_offset_id`` L and ``latest_commit_id`` C are the newest ids, None for no entry.

    - no L: batch 0, from the beginning. ``leftovers`` (which of ``commits``, ``state`` are not empty) must be empty
      then, else STATE_STORE_CHECKPOINT_LOCATION_NOT_EMPTY; pass none where
      ``stateStore.verifyCheckpointDirectoryEmptyOnStart`` is off.
    - C = L: batch L + 1, from the end of L.
    - C < L or no C: L again.
    - C > L: refused, CHECKPOINT_OFFSETS_MISSING: offsets that were committed are gone.

    ``previous_offset_exists`` says whether ``offsets/(L-1)`` is there; it must be if L > 0, else
    CHECKPOINT_OFFSETS_MISSING. Raises RunnelStateError.
    """
    if latest_offset_id is None:
        if leftovers:
            raise RunnelStateError(
                "STATE_STORE_CHECKPOINT_LOCATION_NOT_EMPTY",
                checkpointLocation=", ".join(f"{checkpoint}/{name}" if checkpoint else name for name in leftovers),
            )
        if latest_commit_id is not None:
            raise RunnelStateError(
                "CHECKPOINT_OFFSETS_MISSING", checkpointLocation=checkpoint, batchId=latest_commit_id
            )
        return RecoveryPlan(0, False, None)
    if latest_offset_id > 0 and not previous_offset_exists:
        raise RunnelStateError(
            "CHECKPOINT_OFFSETS_MISSING", checkpointLocation=checkpoint, batchId=latest_offset_id - 1
        )
    if latest_commit_id == latest_offset_id:
        return RecoveryPlan(latest_offset_id + 1, False, latest_offset_id)
    if latest_commit_id is not None and latest_commit_id > latest_offset_id:
        raise RunnelStateError("CHECKPOINT_OFFSETS_MISSING", checkpointLocation=checkpoint, batchId=latest_commit_id)
    first_without_commit = latest_offset_id if latest_commit_id is None else latest_commit_id + 1
    return RecoveryPlan(
        latest_offset_id,
        True,
        latest_offset_id - 1 if latest_offset_id > 0 else None,
        range(first_without_commit, latest_offset_id),
    )


def starting_watermark_ms(plan: RecoveryPlan, offsets: OffsetSeq | None, commit: CommitMetadata | None) -> int:
    """The watermark of the first batch, from the newest entries of both logs.

    A rerun takes the recorded one; otherwise the greater of what the last batch ran with and what it left for the next.
    """
    recorded = offsets.metadata.batch_watermark_ms if offsets and offsets.metadata else 0
    if plan.rerun or commit is None:
        return recorded
    return max(recorded, commit.next_batch_watermark_ms)


@dataclass(frozen=True, slots=True)
class Recovery:
    """A plan with what it needs from the logs: the newest offsets, and those from which the first batch starts."""

    plan: RecoveryPlan
    latest: OffsetSeq | None
    start: OffsetSeq | None
    watermark_ms: int


def read_recovery(checkpoint: Path, offsets: OffsetLog, commits: CommitLog, *, verify_empty: bool = True) -> Recovery:
    """Read the logs of a checkpoint and decide. Raises RunnelStateError as `plan_recovery` and the logs do."""
    latest_offset_id, latest_commit_id = offsets.latest_id(), commits.latest_id()
    leftovers = [name for name in ("commits", "state") if verify_empty and list_names(checkpoint / name)]
    previous = offsets.get(latest_offset_id - 1) if latest_offset_id else None
    plan = plan_recovery(
        latest_offset_id,
        latest_commit_id,
        previous_offset_exists=previous is not None,
        leftovers=leftovers,
        checkpoint=str(checkpoint),
    )
    latest = None if latest_offset_id is None else offsets.get(latest_offset_id)
    commit = None if latest_commit_id is None else commits.get(latest_commit_id)
    return Recovery(plan, latest, previous if plan.rerun else latest, starting_watermark_ms(plan, latest, commit))
