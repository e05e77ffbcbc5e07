"""From a hash that many rows may share to the slots of those rows: what a join's buffered side is searched by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from runnel.state import hashing
from runnel.state.arrow import one_array
from runnel.state.columns import make_column
from runnel.state.hashing import U64

Ints = NDArray[np.int64]
IsLive = Callable[[Ints, Ints], NDArray[np.bool_]]
"""``is_live(slots, numbers)``: whether the row with that number still exists at its slot."""

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
    """Sorted runs of (hash, slot, row number). A batch adds a run; small neighbouring runs of similar size are merged,
    big ones never, so that no single batch pays for the whole state.

    Rows that cease to exist leave their entries behind, and their slots go to other rows: the number, which no two rows
    share, tells them apart. `removed` sweeps some runs, about as many entries as were removed since, so that entries
    without a row stay a part of the whole.
    """

    def __init__(self, is_live: IsLive) -> None:
        self._is_live = is_live
        self._runs: list[_Run] = []
        self._credit = 0
        self._next_swept = 0

    def __len__(self) -> int:
        """Entries, those without a row included."""
        return sum(len(run.hashes) for run in self._runs)

    @property
    def nbytes(self) -> int:
        return 24 * len(self)

    def add(self, hashes: U64, slots: Ints, numbers: Ints) -> None:
        """Adds rows."""
        if not len(hashes):
            return
        run = _Run(hashes, slots, numbers).at(np.argsort(hashes))
        while self._runs:
            before = len(self._runs[-1].hashes)
            if len(run.hashes) * 2 < before or len(run.hashes) + before > _MERGE_LIMIT:
                break
            run = self._runs.pop().merged(run)
        self._runs.append(run)

    def find(self, wanted: U64) -> Ints:
        """The slots of all rows with one of these hashes, each once. `wanted`: ascending, without repetition."""
        if not len(wanted) or not self._runs:
            return np.empty(0, np.int64)
        found = []
        for run in self._runs:
            at = run.positions(wanted)
            slots = run.slots[at]
            found.append(slots[self._is_live(slots, run.numbers[at])])
        return np.concatenate(found)

    def removed(self, count: int) -> None:
        """Says that so many rows have ceased to exist."""
        self._credit += 2 * count
        while self._runs and self._credit > 0:
            at = self._next_swept % len(self._runs)
            run = self._runs[at]
            if len(run.hashes) > self._credit:
                return
            self._credit -= len(run.hashes)
            live = np.flatnonzero(self._is_live(run.slots, run.numbers))
            if len(live):
                self._runs[at] = run.at(live) if len(live) < len(run.hashes) else run
                self._next_swept = at + 1
            else:
                del self._runs[at]
                self._next_swept = at
        if not self._runs:
            self._credit = 0


@dataclass(frozen=True, slots=True)
class _Run:
    """Entries in the order of their hashes."""

    hashes: U64
    slots: Ints
    numbers: Ints

    def at(self, positions: Ints) -> _Run:
        return _Run(self.hashes[positions], self.slots[positions], self.numbers[positions])

    def merged(self, other: _Run) -> _Run:
        hashes = np.concatenate([self.hashes, other.hashes])
        order = np.argsort(hashes, kind="stable")  # finds the two runs and merges them
        slots, numbers = np.concatenate([self.slots, other.slots]), np.concatenate([self.numbers, other.numbers])
        return _Run(hashes[order], slots[order], numbers[order])

    def positions(self, wanted: U64) -> Ints:
        """Where the entries with these hashes are. The smaller side is looked up in the greater."""
        hashes = self.hashes
        if len(wanted) > len(hashes):
            near = np.searchsorted(wanted, hashes)
            near[near == len(wanted)] = 0
            return np.flatnonzero(wanted[near] == hashes)
        first = np.searchsorted(hashes, wanted)
        hit = np.flatnonzero(hashes[np.minimum(first, len(hashes) - 1)] == wanted)
        first = first[hit]
        lengths = np.searchsorted(hashes, wanted[hit], side="right") - first
        ends = np.cumsum(lengths)
        positions: Ints = np.arange(int(lengths.sum())) + np.repeat(first - (ends - lengths), lengths)
        return positions
