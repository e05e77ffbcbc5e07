"""Where a query starts, and who may start it."""

from __future__ import annotations

from pathlib import Path

import pytest

from runnel.checkpoint.commit_log import CommitLog, CommitMetadata
from runnel.checkpoint.lock import CheckpointLock
from runnel.checkpoint.offset_log import OffsetLog, OffsetSeq, OffsetSeqMetadata
from runnel.checkpoint.recovery import RecoveryPlan, plan_recovery, read_recovery
from runnel.errors import RunnelStateError


@pytest.mark.parametrize(
    ("latest_offset", "latest_commit", "plan"),
    [
        (None, None, RecoveryPlan(0, False, None)),
        (0, None, RecoveryPlan(0, True, None)),
        (0, 0, RecoveryPlan(1, False, 0)),
        (5, 5, RecoveryPlan(6, False, 5)),
        (5, 4, RecoveryPlan(5, True, 4, range(5, 5))),
        (5, 2, RecoveryPlan(5, True, 4, range(3, 5))),
        (5, None, RecoveryPlan(5, True, 4, range(5, 5))),
    ],
)
def test_decision(latest_offset: int | None, latest_commit: int | None, plan: RecoveryPlan) -> None:
    assert plan_recovery(latest_offset, latest_commit) == plan


@pytest.mark.parametrize(
    ("latest_offset", "latest_commit", "previous", "leftovers", "condition"),
    [
        (None, None, True, ["state"], "STATE_STORE_CHECKPOINT_LOCATION_NOT_EMPTY"),
        (None, 3, True, [], "CHECKPOINT_OFFSETS_MISSING"),
        (5, 6, True, [], "CHECKPOINT_OFFSETS_MISSING"),
        (5, 4, False, [], "CHECKPOINT_OFFSETS_MISSING"),
        (5, 5, False, [], "CHECKPOINT_OFFSETS_MISSING"),
    ],
)
def test_refusals(
    latest_offset: int | None, latest_commit: int | None, previous: bool, leftovers: list[str], condition: str
) -> None:
    with pytest.raises(RunnelStateError) as caught:
        plan_recovery(latest_offset, latest_commit, previous_offset_exists=previous, leftovers=leftovers)
    assert caught.value.condition == condition


def test_reading(tmp_path: Path) -> None:
    offsets, commits = OffsetLog(tmp_path / "offsets", sync=False), CommitLog(tmp_path / "commits", sync=False)
    first = read_recovery(tmp_path, offsets, commits)
    assert (first.plan.batch_id, first.latest, first.start, first.watermark_ms) == (0, None, None, 0)
    entries = [OffsetSeq((str(batch_id),), OffsetSeqMetadata(batch_id * 10)) for batch_id in range(2)]
    offsets.add(0, entries[0])
    commits.add(0, CommitMetadata(10))
    idle = read_recovery(tmp_path, offsets, commits)
    assert (idle.plan.batch_id, idle.start, idle.watermark_ms) == (1, entries[0], 10)
    offsets.add(1, entries[1])
    rerun = read_recovery(tmp_path, offsets, commits)
    assert (rerun.plan.rerun, rerun.latest, rerun.start, rerun.watermark_ms) == (True, entries[1], entries[0], 10)
    offsets.close()
    commits.close()


def test_one_writer_a_checkpoint(tmp_path: Path) -> None:
    with CheckpointLock(tmp_path / "c") as lock:
        assert lock.held
        with pytest.raises(RunnelStateError, match=r"CONCURRENT_CHECKPOINT_USE.* in use by process "):
            CheckpointLock(tmp_path / "c").acquire()
    with CheckpointLock(tmp_path / "c"):
        pass
    assert [entry.name for entry in (tmp_path / "c").iterdir()] == [".runnel.lock"]
