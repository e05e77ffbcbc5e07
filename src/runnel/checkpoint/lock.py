"""One process, and one query in it, a checkpoint.

Spark has no such lock: its second writer is found when it meets a log entry that it did not write. The lock's file is
hidden, so Spark does not see it.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from runnel.errors import RunnelStateError
from runnel.files import FileLock, LockHeldError, make_directories

FILE_NAME = ".runnel.lock"


class CheckpointLock:
    """The right to write to a checkpoint. The operating system gives it back when the process ends."""

    def __init__(self, checkpoint: Path | str) -> None:
        self.checkpoint = Path(checkpoint)
        self._lock = FileLock(self.checkpoint / FILE_NAME)

    def acquire(self) -> None:
        """Take the lock, creating the directory. Raises RunnelStateError CONCURRENT_CHECKPOINT_USE, with the holder."""
        make_directories(self.checkpoint, sync=False)
        try:
            self._lock.acquire()
        except LockHeldError as error:
            holder = str(error.holder) if error.holder else "an unknown process"
            raise RunnelStateError(
                "CONCURRENT_CHECKPOINT_USE", checkpointLocation=self.checkpoint, holder=holder
            ) from error

    def release(self) -> None:
        self._lock.release()

    @property
    def held(self) -> bool:
        return self._lock.held

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.release()
