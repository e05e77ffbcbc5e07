"""From a hash that many rows may share to the numbers of those rows: what a join's buffered side is searched by."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from runnel.state import hashing
from runnel.state.arrow import one_array
from runnel.state.columns import make_column
from runnel.state.hashing import U64

Ints = NDArray[np.int64]
IsLive = Callable[[Ints], NDArray[np.bool_]]
"""``is_live(numbers)``: which rows still exist."""

_MERGE_LIMIT = 1 << 20


class KeyHasher:
    """64-bit hashes of rows of key columns, the same for keys that Spark takes for equal: -0.0 is 0.0, NaN is NaN."""

    def __init__(self, types: Sequence[pa.DataType]) -> None:
        self._types = tuple(types)
        self._columns = [make_column(t, 1, key=True) for t in types]

    def hashes(self, keys: pa.Table) -> U64:
        """One hash a row; columns by position."""
        hashes = hashing.start(keys.num_rows)
        for i, (data_type, column) in enumerate(zip(self._types, self._columns, strict=True)):
            array = column.prepare(one_array(keys.column(i), data_type))
            hashes = hashing.combine(hashes, column.hash(array))
        return hashes


class Multimap:
    """Sorted runs of (hash, row number). A batch adds a run; small neighbouring runs of similar size are merged, big
    ones never, so that no single batch pays for the whole state.

    Rows that cease to exist leave their entries behind. `removed` sweeps some runs, about as many entries as were
    removed since, so that entries without a row stay a part of the whole.
    """

    def __init__(self) -> None:
        self._runs: list[tuple[U64, Ints]] = []
        self._credit = 0
        self._next_swept = 0

    def __len__(self) -> int:
        """Entries, those without a row included."""
        return sum(len(hashes) for hashes, _ in self._runs)

    @property
    def nbytes(self) -> int:
        return 16 * len(self)

    def add(self, hashes: U64, numbers: Ints) -> None:
        """Adds rows. A number must never be given to another row later."""
        if not len(hashes):
            return
        order = np.argsort(hashes)
        run = (hashes[order], numbers[order])
        while self._runs:
            before = len(self._runs[-1][0])
            if len(run[0]) * 2 < before or len(run[0]) + before > _MERGE_LIMIT:
                break
            run = _merged(self._runs.pop(), run)
        self._runs.append(run)

    def find(self, wanted: U64) -> Ints:
        """The numbers of all rows with one of these hashes, each once, those that have ceased to exist among them.

        `wanted`: ascending, without repetition.
        """
        found = [_in_run(run, wanted) for run in self._runs] if len(wanted) else []
        return np.concatenate(found) if found else np.empty(0, np.int64)

    def removed(self, count: int, is_live: IsLive) -> None:
        """Says that so many rows have ceased to exist."""
        self._credit += 2 * count
        while self._runs and self._credit > 0:
            at = self._next_swept % len(self._runs)
            hashes, numbers = self._runs[at]
            if len(numbers) > self._credit:
                return
            self._credit -= len(numbers)
            live = is_live(numbers)
            if live.any():
                self._runs[at] = (hashes[live], numbers[live])
                self._next_swept = at + 1
            else:
                del self._runs[at]
                self._next_swept = at
        if not self._runs:
            self._credit = 0


def _merged(left: tuple[U64, Ints], right: tuple[U64, Ints]) -> tuple[U64, Ints]:
    hashes = np.concatenate([left[0], right[0]])
    order = np.argsort(hashes, kind="stable")
    return hashes[order], np.concatenate([left[1], right[1]])[order]


def _in_run(run: tuple[U64, Ints], wanted: U64) -> Ints:
    """The cheaper way round: the smaller side is looked up in the greater."""
    hashes, numbers = run
    if len(wanted) > len(hashes):
        at = np.searchsorted(wanted, hashes)
        at[at == len(wanted)] = 0
        looked_up: Ints = numbers[wanted[at] == hashes]
        return looked_up
    first = np.searchsorted(hashes, wanted)
    hit = np.flatnonzero(hashes[np.minimum(first, len(hashes) - 1)] == wanted)
    first = first[hit]
    lengths = np.searchsorted(hashes, wanted[hit], side="right") - first
    ends = np.cumsum(lengths)
    positions = np.arange(int(ends[-1]) if len(ends) else 0) + np.repeat(first - (ends - lengths), lengths)
    found: Ints = numbers[positions]
    return found
