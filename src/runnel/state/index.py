"""Open-addressing index from 64-bit key hashes to slots, worked a whole batch at a time.

Each table entry is one 64-bit word: the upper half of the hash (the tag) above the slot number, so that a probe costs
one random read. Equal tags are candidates only; the caller compares the real keys.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from runnel.state.hashing import U64

Slots = NDArray[np.int64]
SameKey = Callable[[NDArray[np.int64], Slots], NDArray[np.bool_]]
"""``same_key(rows, slots)``: whether batch row ``rows[i]`` has the key stored at ``slots[i]``."""

_SLOT_BITS = np.uint64(32)
_SLOT_MASK = np.uint64(0xFFFFFFFF)
_TAG_MASK = np.uint64(0xFFFFFFFF00000000)
_EMPTY = np.uint64(0xFFFFFFFF)
_TOMBSTONE = np.uint64(0xFFFFFFFE)
MAX_SLOTS = 0xFFFFFFFE
_SMALLEST = 64


class HashIndex:
    """Maps hashes to slots. Several slots may share a hash; every slot is in the index at most once.

    Removed entries leave tombstones, which later inserts reuse; the table is rebuilt when they crowd it.
    """

    def __init__(self) -> None:
        self._table = np.full(_SMALLEST, _EMPTY, dtype=np.uint64)
        self._entries = 0
        self._tombstones = 0

    def __len__(self) -> int:
        return self._entries

    @property
    def nbytes(self) -> int:
        return self._table.nbytes

    def find(self, hashes: U64, same_key: SameKey) -> Slots:
        """The slot of each row's key, -1 where the index has none. Rows may repeat."""
        found = np.full(len(hashes), -1, dtype=np.int64)
        if self._entries == 0:
            return found
        table, mask = self._table, np.int64(len(self._table) - 1)
        rows = np.arange(len(hashes), dtype=np.int64)
        tags = hashes & _TAG_MASK
        position = hashes.astype(np.int64) & mask
        step = 0
        while len(rows):
            entries = table[position]
            slot_part = entries & _SLOT_MASK
            candidate = np.flatnonzero(((entries & _TAG_MASK) == tags) & (slot_part < _TOMBSTONE))
            going_on = slot_part != _EMPTY
            if len(candidate):
                slots = slot_part[candidate].astype(np.int64)
                same = same_key(rows[candidate], slots)
                hits = candidate[same]
                found[rows[hits]] = slots[same]
                going_on[hits] = False
            step += 1
            rows, tags, position = rows[going_on], tags[going_on], position[going_on]
            position = (position + step) & mask
        return found

    def insert(
        self, hashes: U64, slots: Slots, same_key: SameKey | None, live_hashes: Callable[[], tuple[U64, Slots]]
    ) -> NDArray[np.int64]:
        """Adds slots whose keys are known to be absent.

        `live_hashes` gives (hashes, slots) of all that the index holds, should it have to grow. With `same_key` (row
        against a slot of this batch), rows that repeat the key of another row of the batch are returned (row numbers);
        otherwise the result is empty.
        """
        self._make_room(len(slots), live_hashes)
        return self._place(hashes, slots, same_key)

    def remove(self, hashes: U64, slots: Slots) -> None:
        """Takes out slots that are in the index; `hashes` are those they were inserted with."""
        table, mask = self._table, np.int64(len(self._table) - 1)
        wanted = (hashes & _TAG_MASK) | slots.astype(np.uint64)
        position = hashes.astype(np.int64) & mask
        step = 0
        while len(wanted):
            entries = table[position]
            hit = entries == wanted
            table[position[hit]] = _TOMBSTONE
            if bool(((entries & _SLOT_MASK) == _EMPTY).any()):
                raise AssertionError("a slot to remove is not in the index")
            going_on = ~hit
            step += 1
            wanted, position = wanted[going_on], position[going_on]
            position = (position + step) & mask
        self._entries -= len(slots)
        self._tombstones += len(slots)

    def _make_room(self, more: int, live_hashes: Callable[[], tuple[U64, Slots]]) -> None:
        capacity = len(self._table)
        if (self._entries + self._tombstones + more) * 5 <= capacity * 3:
            return
        while (self._entries + more) * 2 > capacity:
            capacity *= 2
        hashes, slots = live_hashes()
        self._table = np.full(capacity, _EMPTY, dtype=np.uint64)
        self._entries = 0
        self._tombstones = 0
        self._place(hashes, slots, None)

    def _place(self, hashes: U64, slots: Slots, same_key: SameKey | None) -> NDArray[np.int64]:
        table, mask = self._table, np.int64(len(self._table) - 1)
        rows = np.arange(len(slots), dtype=np.int64)
        wanted = (hashes & _TAG_MASK) | slots.astype(np.uint64)
        position = hashes.astype(np.int64) & mask
        repeated: list[NDArray[np.int64]] = []
        step = 0
        while len(rows):
            before = table[position]
            free = np.flatnonzero((before & _SLOT_MASK) >= _TOMBSTONE)
            # Rows that want the same place all write; the one that is read back has won it.
            table[position[free]] = wanted[free]
            now = table[position]
            placed = now == wanted
            self._tombstones -= int(np.count_nonzero(before[placed] == _TOMBSTONE))
            going_on = ~placed
            if same_key is not None:
                suspects = np.flatnonzero(going_on & (((now ^ wanted) & _TAG_MASK) == 0))
                if len(suspects):
                    same = same_key(rows[suspects], (now[suspects] & _SLOT_MASK).astype(np.int64))
                    repeated.append(rows[suspects[same]])
            step += 1
            rows, wanted, position = rows[going_on], wanted[going_on], position[going_on]
            position = (position + step) & mask
        self._entries += len(slots)
        return np.concatenate(repeated) if repeated else np.empty(0, dtype=np.int64)
