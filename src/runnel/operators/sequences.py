"""Many values a key in a keyed store: rows of (key columns, index), and one row a key, at index -1, that counts them.

Indexes of a key ascend and are never given twice while it has rows; a removed row leaves a hole. A key whose holes
outnumber its rows is laid out anew, so that reading a key costs what it holds and appending costs what is appended.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from runnel.operators.user_code import Ints
from runnel.state.store import KeyedStore

INDEX = "index"
_COUNTS = ("firstIndex", "nextIndex", "numRows")
_HEADER = -1
_SLACK = 64


def sequence_keys(keys: pa.Schema) -> pa.Schema:
    """The store's key columns, for these grouping columns."""
    return pa.schema([*keys, pa.field(INDEX, pa.int64())])


def sequence_values(payload: pa.Schema) -> pa.Schema:
    """The store's value columns, for these columns of a value."""
    return pa.schema([*payload, *(pa.field(name, pa.int64()) for name in _COUNTS)])


@dataclass(frozen=True, slots=True)
class Elements:
    """Rows found: `owners` are positions among the keys asked about, ascending; then their indexes and slots."""

    owners: Ints
    indexes: Ints
    slots: Ints


class Sequences:
    """Reads and stages the sequences of one batch's keys."""

    def __init__(self, store: KeyedStore) -> None:
        self._store = store
        self._payload = store.value_schema.names[: -len(_COUNTS)]
        self._keys = pa.table({})
        self._loaded = False
        self._first = self._next = self._live = np.empty(0, np.int64)
        self._headers: Ints = np.empty(0, np.int64)
        self._touched: set[int] = set()
        self._num_headers: int | None = None

    @property
    def num_keys(self) -> int:
        """Keys that have values. What was changed must be flushed."""
        if self._num_headers is None:
            self._num_headers = len(self._store.scan(lambda t: pc.is_valid(t.column(0)), [_COUNTS[-1]]))
        return self._num_headers

    def distinct(self, keys: pa.Table) -> tuple[pa.Table, Ints]:
        """The distinct ones of keys that have values, and for each key its position among them."""
        headers = keys.append_column(INDEX, pa.array(np.full(keys.num_rows, _HEADER), pa.int64()))
        _, first, owners = np.unique(self._store.find(headers), return_index=True, return_inverse=True)
        return keys.take(pa.array(first)), np.asarray(owners, np.int64)

    def begin(self, keys: pa.Table) -> None:
        """From here on positions are rows of `keys`, which are distinct. What was changed before must be flushed."""
        self._keys, self._loaded = keys, False
        self._touched.clear()

    @property
    def live(self) -> Ints:
        """How many values each key has."""
        self._load()
        return self._live

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        rows = self._keys.num_rows
        self._headers = self._store.find(self._at(np.arange(rows), np.full(rows, _HEADER)))
        counts = self._store.gather(self._headers, _COUNTS)
        self._first, self._next, self._live = (
            c.combine_chunks().fill_null(0).to_numpy(zero_copy_only=False).copy() for c in counts.columns
        )

    def _at(self, owners: Ints, indexes: Ints) -> pa.Table:
        return self._keys.take(pa.array(owners)).append_column(INDEX, pa.array(indexes, pa.int64()))

    def locate(self, positions: Ints) -> Elements:
        """The rows of the keys at these positions (ascending), in order."""
        self._load()
        lengths = np.where(self._live[positions] > 0, self._next[positions] - self._first[positions], 0)
        ends = np.cumsum(lengths)
        total = int(ends[-1]) if len(ends) else 0
        owners = np.repeat(positions, lengths)
        indexes = np.arange(total) + np.repeat(self._first[positions] - (ends - lengths), lengths)
        slots = self._store.find(self._at(owners, indexes))
        there = slots >= 0
        return Elements(owners[there], indexes[there], slots[there])

    def elements(self, owners: Ints, indexes: Ints) -> Elements:
        """Rows that exist, by owner (ascending) and index."""
        return Elements(owners, indexes, self._store.find(self._at(owners, indexes)))

    def payload(self, slots: Ints) -> pa.Table:
        return self._store.gather(slots, self._payload)

    def append(self, owners: Ints, payload: pa.Table) -> Ints:
        """Adds a value behind the last of its owner; the index of each. `owners` ascend and may repeat."""
        self._load()
        positions, counts = np.unique(owners, return_counts=True)
        fresh = positions[self._live[positions] == 0]
        self._first[fresh] = self._next[fresh] = 0
        starts = np.cumsum(counts) - counts
        indexes = np.arange(len(owners)) + np.repeat(self._next[positions] - starts, counts)
        self._put(self._at(owners, indexes), payload, np.full(len(owners), -1, np.int64))
        self._next[positions] += counts
        self._live[positions] += counts
        self._touched.update(positions.tolist())
        return np.asarray(indexes, np.int64)

    def _put(self, keys: pa.Table, payload: pa.Table, slots: Ints | None) -> None:
        counts = [pa.nulls(keys.num_rows, pa.int64())] * len(_COUNTS)
        self._store.upsert(keys, pa.table([*payload.columns, *counts], self._store.value_schema.names), slots)

    def remove(self, elements: Elements) -> None:
        """Removes rows that exist."""
        if not len(elements.slots):
            return
        self._load()
        self._store.remove(elements.slots)
        positions, counts = np.unique(elements.owners, return_counts=True)
        self._live[positions] -= counts
        self._touched.update(positions.tolist())

    def sparse(self) -> Ints:
        """Positions that were touched and have more holes than rows."""
        touched = np.array(sorted(self._touched), np.int64)
        return touched[(self._next - self._first)[touched] > 2 * self._live[touched] + _SLACK]

    def lay_out(self, positions: Ints) -> tuple[Elements, pa.Table]:
        """Gives the rows of these keys indexes from 0 on; where they are now, and their values."""
        before = self.locate(positions)
        payload = self.payload(before.slots)
        self._store.remove(before.slots)
        self._live[positions] = 0
        if not len(before.owners):
            return before, payload
        indexes = self.append(before.owners, payload)
        return Elements(before.owners, indexes, before.slots), payload

    def flush(self) -> None:
        """Stages the counts of what was touched."""
        if not self._touched:
            return
        held = self.num_keys
        touched = np.array(sorted(self._touched), np.int64)
        gone = touched[self._live[touched] == 0]
        old = self._headers[gone]
        old = old[old >= 0]
        self._store.remove(old)
        left = touched[self._live[touched] > 0]
        self._num_headers = held - len(old) + int((self._headers[left] < 0).sum())
        if len(left):
            counts = [pa.array(c[left], pa.int64()) for c in (self._first, self._next, self._live)]
            nulls = [pa.nulls(len(left), f.type) for f in list(self._store.value_schema)[: len(self._payload)]]
            self._store.upsert(
                self._at(left, np.full(len(left), _HEADER)),
                pa.table([*nulls, *counts], self._store.value_schema.names),
                self._headers[left],
            )
        self._touched.clear()
        self._loaded = False
