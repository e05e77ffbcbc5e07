"""Reads the files of a streaming source, batch after batch.

A few small files go through a statement that is prepared once and pointed at other files each time: making and planning
a new one costs more than reading them. Larger batches get a statement of their own, with DuckDB's own reader and all
threads.
"""

from __future__ import annotations

import os
from typing import Final

import pyarrow as pa

from runnel.execution.connection import Engine
from runnel.execution.prepared import PreparedFragment, run_once
from runnel.execution.run import with_native_scans
from runnel.lines import FileStream
from runnel.lowering.expressions import LoweringOptions
from runnel.lowering.relations import lower
from runnel.plan.relations import FileScan

SMALL_BYTES: Final = 1 << 20
_BY_STREAM: Final = frozenset({"json", "csv", "text"})


class FileReader:
    """For one source of one query: scans that differ in nothing but their files. Used by one thread; close it after."""

    def __init__(self, engine: Engine, options: LoweringOptions) -> None:
        self._engine = engine
        self._options = options
        self._prepared: PreparedFragment | None = None

    def read(self, scan: FileScan) -> pa.Table:
        """The rows of the scan's attributes, by position, in physical types. Errors: RunnelError."""
        if scan.format in _BY_STREAM and _bytes(scan.paths) < SMALL_BYTES:
            return self._read_small(scan)
        return with_native_scans(scan, self._options, lambda options: run_once(self._engine, lower(scan, options)))

    def _read_small(self, scan: FileScan) -> pa.Table:
        fragment = lower(scan, self._options)
        if self._prepared is None:
            self._prepared = PreparedFragment(self._engine, fragment, parallel=False)
            return self._prepared.run()
        for old, new in zip(self._prepared.fragment.streams.values(), fragment.streams.values(), strict=True):
            assert isinstance(old, FileStream)
            assert isinstance(new, FileStream)
            old.point_at(new)
        return self._prepared.run()

    def interrupt(self) -> None:
        """Breaks off a read that another thread is in."""
        if self._prepared is not None:
            self._prepared.interrupt()

    def close(self) -> None:
        if self._prepared is not None:
            self._prepared.close()


def _bytes(paths: tuple[str, ...]) -> int:
    """The size of all files, counting no further than it matters; files that are gone count as none."""
    total = 0
    for path in paths:
        try:
            total += os.stat(path).st_size  # noqa: PTH116 - as cheap as it gets, for many files
        except OSError:
            continue
        if total >= SMALL_BYTES:
            break
    return total
