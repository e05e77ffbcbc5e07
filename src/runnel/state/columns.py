"""Growable columns addressed by slot: the places where the keys and values of a state live.

Fixed-width types sit in numpy arrays by slot, structs are taken apart into their fields, strings and binary live in
one append-only heap per column with a position per slot, everything else in chunks of Arrow arrays. A heap never
changes under a position until `tidy`, so undoing a write only has to restore positions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from runnel.state.arrow import (
    FIXED_WORDS,
    bytes_parts,
    canonical_bytes,
    fixed_from_numpy,
    fixed_to_numpy,
    fixed_words,
    has_floats,
    is_bytes,
    normalise_floats,
    valid_mask,
)
from runnel.state.hashing import U64, combine, hash_bytes, hash_words, mask_nulls, start

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]
Cells = tuple[Any, ...]
"""What a column needs to put back what was at some slots; opaque to the store."""

_TIDY_SLACK = 1 << 16


class Column(ABC):
    """One column by slot. Slots are unique within a call of `put`, `restore` and `clear`; slots never written to, and
    cleared slots, read as null."""

    def __init__(self, data_type: pa.DataType, capacity: int) -> None:
        self.type = data_type
        self._capacity = capacity

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Bytes allocated."""

    @abstractmethod
    def reserve(self, capacity: int) -> None:
        """Makes slots below `capacity` addressable."""

    @abstractmethod
    def put(self, slots: Ints, array: pa.Array) -> None:
        """Writes ``array[i]`` (prepared, for a key column) at ``slots[i]``."""

    @abstractmethod
    def take(self, slots: Ints, present: Mask | None = None) -> pa.Array:
        """The values at slots (which may repeat), null where `present` is false."""

    @abstractmethod
    def save(self, slots: Ints) -> Cells:
        """What `restore` needs to put these slots back as they are now, until the next `tidy`."""

    @abstractmethod
    def restore(self, slots: Ints, cells: Cells) -> None:
        """Undoes all writes to `slots` since `save` returned `cells`."""

    def clear(self, slots: Ints) -> None:  # noqa: B027 - nothing to do where cells own no memory
        """Gives back what the slots hold."""

    def tidy(self) -> None:  # noqa: B027
        """Compacts, where more than half is garbage. Saved cells are void afterwards."""

    def prepare(self, array: pa.Array) -> pa.Array:
        """The form in which an array of keys is hashed, compared and stored: -0.0 is 0.0 and all NaN are one."""
        return array

    @abstractmethod
    def hash(self, array: pa.Array) -> U64:
        """64-bit hash of each row of a prepared array."""

    @abstractmethod
    def same(self, slots: Ints, array: pa.Array) -> Mask:
        """Whether ``array[i]`` (prepared) equals what is at ``slots[i]``; null equals null and nothing else."""


def make_column(data_type: pa.DataType, capacity: int, *, key: bool) -> Column:
    """The column class that fits a type. `key` columns can be hashed and compared, whatever the type."""
    if data_type in FIXED_WORDS or pa.types.is_decimal128(data_type) or pa.types.is_temporal(data_type):
        return FixedColumn(data_type, capacity)
    if is_bytes(data_type):
        return BytesColumn(data_type, capacity)
    if pa.types.is_struct(data_type):
        return StructColumn(data_type, capacity, key=key)
    if pa.types.is_null(data_type):
        return NullColumn(data_type, capacity)
    return CanonicalColumn(data_type, capacity) if key else NestedColumn(data_type, capacity)


def _grown(array: NDArray[Any], capacity: int) -> NDArray[Any]:
    grown = np.empty((capacity, *array.shape[1:]), dtype=array.dtype)
    grown[: len(array)] = array
    return grown


def _hash_in_order(hashes: Sequence[U64], rows: int) -> U64:
    combined = start(rows)
    for column_hashes in hashes:
        combined = combine(combined, column_hashes)
    return combined


class _Validity:
    """Which slots hold a value; costs nothing until the first null."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._mask: Mask | None = None

    @property
    def nbytes(self) -> int:
        return 0 if self._mask is None else self._mask.nbytes

    def reserve(self, capacity: int) -> None:
        if self._mask is not None:
            grown = np.ones(capacity, dtype=np.bool_)
            grown[: len(self._mask)] = self._mask
            self._mask = grown
        self._capacity = capacity

    def put(self, slots: Ints, valid: Mask | None) -> None:
        if self._mask is None:
            if valid is None:
                return
            self._mask = np.ones(self._capacity, dtype=np.bool_)
        self._mask[slots] = True if valid is None else valid

    def take(self, slots: Ints, present: Mask | None) -> Mask | None:
        if self._mask is None:
            return present
        valid = self._mask[slots]
        return valid if present is None else valid & present


class FixedColumn(Column):
    """Numbers, booleans, decimals, dates, timestamps, intervals: one cell of fixed width a slot."""

    def __init__(self, data_type: pa.DataType, capacity: int) -> None:
        super().__init__(data_type, capacity)
        self._data = fixed_to_numpy(pa.nulls(0, data_type))
        self._data = np.empty((capacity, *self._data.shape[1:]), dtype=self._data.dtype)
        self._validity = _Validity(capacity)

    @property
    def nbytes(self) -> int:
        return self._data.nbytes + self._validity.nbytes

    def reserve(self, capacity: int) -> None:
        self._data = _grown(self._data, capacity)
        self._validity.reserve(capacity)
        self._capacity = capacity

    def put(self, slots: Ints, array: pa.Array) -> None:
        self._data[slots] = fixed_to_numpy(array)
        self._validity.put(slots, valid_mask(array))

    def take(self, slots: Ints, present: Mask | None = None) -> pa.Array:
        return fixed_from_numpy(self.type, self._data[slots], self._validity.take(slots, present))

    def cells(self, slots: Ints) -> tuple[NDArray[Any], Mask | None]:
        """The raw cells and which of them are not null (None: all)."""
        return self._data[slots], self._validity.take(slots, None)

    def save(self, slots: Ints) -> Cells:
        return self.cells(slots)

    def restore(self, slots: Ints, cells: Cells) -> None:
        self._data[slots] = cells[0]
        self._validity.put(slots, cells[1])

    def prepare(self, array: pa.Array) -> pa.Array:
        return normalise_floats(array) if pa.types.is_floating(self.type) else array

    def hash(self, array: pa.Array) -> U64:
        low, *high = fixed_words(fixed_to_numpy(array))
        hashes = hash_words(low)
        for words in high:
            hashes = combine(hashes, words)
        return mask_nulls(hashes, valid_mask(array))

    def same(self, slots: Ints, array: pa.Array) -> Mask:
        stored, stored_valid = self.cells(slots)
        equal: Mask | None = None
        for left, right in zip(fixed_words(stored), fixed_words(fixed_to_numpy(array)), strict=True):
            equal = left == right if equal is None else equal & (left == right)
        assert equal is not None
        return _same_with_nulls(equal, stored_valid, valid_mask(array))


def _same_with_nulls(equal: Mask, left: Mask | None, right: Mask | None) -> Mask:
    if left is None and right is None:
        return equal
    if left is None or right is None:
        both = right if left is None else left
        assert both is not None
        return equal & both
    return (equal & left & right) | ~(left | right)


class NullColumn(Column):
    """The type that has no value but null."""

    @property
    def nbytes(self) -> int:
        return 0

    def reserve(self, capacity: int) -> None:
        self._capacity = capacity

    def put(self, slots: Ints, array: pa.Array) -> None:
        pass

    def take(self, slots: Ints, present: Mask | None = None) -> pa.Array:
        return pa.nulls(len(slots))

    def save(self, slots: Ints) -> Cells:
        return ()

    def restore(self, slots: Ints, cells: Cells) -> None:
        pass

    def hash(self, array: pa.Array) -> U64:
        return mask_nulls(start(len(array)), np.zeros(len(array), dtype=np.bool_))

    def same(self, slots: Ints, array: pa.Array) -> Mask:
        return np.ones(len(slots), dtype=np.bool_)


class StructColumn(Column):
    """A struct: a column for each field, and the struct's own validity."""

    def __init__(self, data_type: pa.DataType, capacity: int, *, key: bool) -> None:
        super().__init__(data_type, capacity)
        self._fields = [data_type.field(i) for i in range(data_type.num_fields)]
        self._columns = [make_column(field.type, capacity, key=key) for field in self._fields]
        self._validity = _Validity(capacity)

    @property
    def nbytes(self) -> int:
        return self._validity.nbytes + sum(column.nbytes for column in self._columns)

    def field(self, name: str) -> Column:
        """The column of a field. Raises KeyError."""
        for field, column in zip(self._fields, self._columns, strict=True):
            if field.name == name:
                return column
        raise KeyError(name)

    def validity(self, slots: Ints) -> Mask | None:
        """Where the struct itself is not null; None: everywhere."""
        return self._validity.take(slots, None)

    def reserve(self, capacity: int) -> None:
        for column in self._columns:
            column.reserve(capacity)
        self._validity.reserve(capacity)
        self._capacity = capacity

    def put(self, slots: Ints, array: pa.Array) -> None:
        # flatten() hands a null struct's nulls down to its fields, field() does not
        for column, child in zip(self._columns, array.flatten(), strict=True):
            column.put(slots, child)
        self._validity.put(slots, valid_mask(array))

    def take(self, slots: Ints, present: Mask | None = None) -> pa.Array:
        valid = self._validity.take(slots, present)
        children = [column.take(slots, valid) for column in self._columns]
        if not children:
            empty = pa.array([{}], self.type).take(pa.array(np.zeros(len(slots), dtype=np.int64)))
            return empty if valid is None else pc.if_else(pa.array(valid), empty, pa.nulls(len(slots), self.type))
        mask = None if valid is None else pa.array(~valid)
        return pa.StructArray.from_arrays(children, fields=self._fields, mask=mask)

    def save(self, slots: Ints) -> Cells:
        return (self.validity(slots), [column.save(slots) for column in self._columns])

    def restore(self, slots: Ints, cells: Cells) -> None:
        self._validity.put(slots, cells[0])
        for column, column_cells in zip(self._columns, cells[1], strict=True):
            column.restore(slots, column_cells)

    def clear(self, slots: Ints) -> None:
        for column in self._columns:
            column.clear(slots)

    def tidy(self) -> None:
        for column in self._columns:
            column.tidy()

    def prepare(self, array: pa.Array) -> pa.Array:
        children = array.flatten()
        prepared = [column.prepare(child) for column, child in zip(self._columns, children, strict=True)]
        if all(new is old for new, old in zip(prepared, children, strict=True)):
            return array
        mask = None if array.null_count == 0 else array.is_null()
        return pa.StructArray.from_arrays(prepared, names=[field.name for field in self._fields], mask=mask)

    def hash(self, array: pa.Array) -> U64:
        pairs = zip(self._columns, array.flatten(), strict=True)
        hashes = _hash_in_order([column.hash(child) for column, child in pairs], len(array))
        return mask_nulls(hashes, valid_mask(array))

    def same(self, slots: Ints, array: pa.Array) -> Mask:
        equal = np.ones(len(slots), dtype=np.bool_)
        for column, child in zip(self._columns, array.flatten(), strict=True):
            equal &= column.same(slots, child)
        return _same_with_nulls(equal, self.validity(slots), valid_mask(array))


class BytesColumn(Column):
    """Strings and binary: an append-only heap of bytes, and for each slot the number of its entry (-1: null).

    The heap is laid out as one Arrow array, so that reading it is Arrow's `take` without a copy of the heap.
    """

    def __init__(self, data_type: pa.DataType, capacity: int) -> None:
        super().__init__(data_type, capacity)
        text = pa.types.is_string(data_type) or pa.types.is_large_string(data_type) or data_type == pa.string_view()
        self._heap_type = pa.large_string() if text else pa.large_binary()
        self._positions = np.full(capacity, -1, dtype=np.int64)
        self._start_heap(np.zeros(16, dtype=np.int64), np.empty(256, dtype=np.uint8), 0)
        self._live_entries = 0
        self._live_bytes = 0

    def _start_heap(self, offsets: Ints, data: NDArray[np.uint8], entries: int) -> None:
        self._offsets, self._data, self._entries = offsets, data, entries
        self._view: pa.Array | None = None

    @property
    def nbytes(self) -> int:
        return self._positions.nbytes + self._offsets.nbytes + self._data.nbytes

    def reserve(self, capacity: int) -> None:
        old = len(self._positions)
        self._positions = _grown(self._positions, capacity)
        self._positions[old:] = -1
        self._capacity = capacity

    def put(self, slots: Ints, array: pa.Array) -> None:
        first = self._append(array)
        positions = np.arange(first, self._entries, dtype=np.int64)
        valid = valid_mask(array)
        if valid is not None:
            positions[~valid] = -1
        self._point(slots, positions)

    def _append(self, array: pa.Array) -> int:
        offsets, data = bytes_parts(array)
        first, entries = self._entries, self._entries + len(array)
        used = int(self._offsets[first])
        end = used + int(offsets[-1] - offsets[0])
        if entries >= len(self._offsets):
            self._offsets = _grown(self._offsets[: first + 1], max(entries + 1, len(self._offsets) * 3 // 2))
        if end > len(self._data):
            self._data = _grown(self._data[:used], max(end, len(self._data) * 3 // 2))
        self._data[used:end] = data[int(offsets[0]) : int(offsets[-1])]
        np.add(offsets[1:], used - int(offsets[0]), out=self._offsets[first + 1 : entries + 1])
        self._entries = entries
        self._view = None
        return first

    def _point(self, slots: Ints, positions: Ints) -> None:
        old = self._positions[slots]
        self._account(old, -1)
        self._account(positions, 1)
        self._positions[slots] = positions

    def _account(self, positions: Ints, sign: int) -> None:
        held = positions[positions >= 0]
        if len(held):
            self._live_entries += sign * len(held)
            self._live_bytes += sign * int((self._offsets[held + 1] - self._offsets[held]).sum())

    def _heap(self) -> pa.Array:
        if self._view is None:
            buffers = [None, pa.py_buffer(self._offsets), pa.py_buffer(self._data)]
            self._view = pa.Array.from_buffers(self._heap_type, self._entries, buffers)
        return self._view

    def take(self, slots: Ints, present: Mask | None = None) -> pa.Array:
        array = self._take(slots, present)
        return array if array.type == self.type else array.cast(self.type)

    def _take(self, slots: Ints, present: Mask | None = None) -> pa.Array:
        positions = self._positions[slots]
        missing = positions < 0
        if present is not None:
            missing |= ~present
        return self._heap().take(pa.array(positions, mask=missing) if missing.any() else pa.array(positions))

    def save(self, slots: Ints) -> Cells:
        return (self._positions[slots],)

    def restore(self, slots: Ints, cells: Cells) -> None:
        self._point(slots, cells[0])

    def clear(self, slots: Ints) -> None:
        self._point(slots, np.full(len(slots), -1, dtype=np.int64))

    def tidy(self) -> None:
        used = int(self._offsets[self._entries]) + 8 * self._entries
        if used <= 2 * (self._live_bytes + 8 * self._live_entries) + _TIDY_SLACK:
            return
        slots = np.flatnonzero(self._positions >= 0)
        live = self._take(slots)
        self._start_heap(np.zeros(len(live) + 1, dtype=np.int64), np.empty(self._live_bytes, dtype=np.uint8), 0)
        self._append(live)
        self._positions[slots] = np.arange(len(live), dtype=np.int64)

    def hash(self, array: pa.Array) -> U64:
        offsets, data = bytes_parts(array)
        return mask_nulls(hash_bytes(offsets, data), valid_mask(array))

    def same(self, slots: Ints, array: pa.Array) -> Mask:
        stored = self._take(slots)
        other = array if array.type == self._heap_type else array.cast(self._heap_type)
        equal = pc.equal(stored, other)
        if equal.null_count:
            both_null = pc.and_(stored.is_null(), other.is_null())
            equal = pc.or_(pc.fill_null(equal, False), both_null)
        return fixed_to_numpy(equal)


class NestedColumn(Column):
    """Lists, maps and whatever else Arrow can `take`: chunks of Arrow arrays, and for each slot a position over them.

    A chunk remembers which slot each of its entries was written for, so that `tidy` can merge neighbouring chunks of
    similar size and leave out what no slot points to any more.
    """

    def __init__(self, data_type: pa.DataType, capacity: int) -> None:
        super().__init__(data_type, capacity)
        self._positions = np.full(capacity, -1, dtype=np.int64)
        self._chunks: list[tuple[int, pa.Array, Ints]] = []  # first position, entries, their slots
        self._next = 0
        self._live = 0

    @property
    def nbytes(self) -> int:
        chunks: int = sum(chunk.nbytes + owners.nbytes for _, chunk, owners in self._chunks)
        return self._positions.nbytes + chunks

    def reserve(self, capacity: int) -> None:
        old = len(self._positions)
        self._positions = _grown(self._positions, capacity)
        self._positions[old:] = -1
        self._capacity = capacity

    def put(self, slots: Ints, array: pa.Array) -> None:
        if len(array) == 0:
            return
        # A slice would keep its whole parent alive
        kept = array.take(pa.array(np.arange(len(array))))
        self._chunks.append((self._next, kept, slots.copy()))
        positions = np.arange(self._next, self._next + len(array), dtype=np.int64)
        self._next += len(array)
        valid = valid_mask(array)
        if valid is not None:
            positions[~valid] = -1
        self._point(slots, positions)

    def _point(self, slots: Ints, positions: Ints) -> None:
        self._live += int(np.count_nonzero(positions >= 0)) - int(np.count_nonzero(self._positions[slots] >= 0))
        self._positions[slots] = positions

    def take(self, slots: Ints, present: Mask | None = None) -> pa.Array:
        positions = self._positions[slots]
        if present is not None:
            positions = np.where(present, positions, -1)
        missing = positions < 0
        some_missing = bool(missing.any())
        if len(slots) == 0 or (some_missing and bool(missing.all())):
            return pa.nulls(len(slots), self.type)
        firsts = np.fromiter((first for first, _, _ in self._chunks), dtype=np.int64, count=len(self._chunks))
        chunk_of = np.searchsorted(firsts, positions, side="right") - 1
        wanted = np.unique(chunk_of[~missing] if some_missing else chunk_of)
        parts: list[pa.Array] = []
        order = np.zeros(len(slots), dtype=np.int64)
        done = 0
        for number in wanted.tolist():
            first, chunk, _ = self._chunks[number]
            rows = np.flatnonzero(chunk_of == number)
            parts.append(chunk.take(pa.array(positions[rows] - first)))
            order[rows] = np.arange(done, done + len(rows))
            done += len(rows)
        if len(parts) == 1 and not some_missing:
            return parts[0]
        return pa.concat_arrays(parts).take(pa.array(order, mask=missing if some_missing else None))

    def save(self, slots: Ints) -> Cells:
        return (self._positions[slots],)

    def restore(self, slots: Ints, cells: Cells) -> None:
        self._point(slots, cells[0])

    def clear(self, slots: Ints) -> None:
        self._point(slots, np.full(len(slots), -1, dtype=np.int64))

    def tidy(self) -> None:
        if len(self._chunks) < 2 and not self._wasteful(self._chunks):
            return
        tidied: list[tuple[int, pa.Array, Ints]] = []
        for chunk in self._chunks:
            tidied.append(chunk)
            while len(tidied) > 1 and tidied[-1][1].nbytes * 2 >= tidied[-2][1].nbytes:
                last, before = tidied.pop(), tidied.pop()
                tidied.append(self._merged([before, last]))
        if self._wasteful(tidied):
            tidied = [self._merged(tidied)]
        self._chunks = tidied

    def _wasteful(self, chunks: list[tuple[int, pa.Array, Ints]]) -> bool:
        entries = sum(len(owners) for _, _, owners in chunks)
        return entries > self._live * 2 + 16

    def _merged(self, chunks: list[tuple[int, pa.Array, Ints]]) -> tuple[int, pa.Array, Ints]:
        """One chunk with the entries of neighbouring ones that are still pointed to."""
        base = chunks[0][0]
        arrays, slots = [], []
        for first, array, owners in chunks:
            live = np.flatnonzero(self._positions[owners] == np.arange(first, first + len(owners)))
            arrays.append(array.take(pa.array(live)))
            slots.append(owners[live])
        owners = np.concatenate(slots)
        self._positions[owners] = np.arange(base, base + len(owners))
        return base, pa.concat_arrays(arrays), owners

    def hash(self, array: pa.Array) -> U64:
        raise TypeError(f"values of type {self.type} are hashed by their canonical bytes")

    def same(self, slots: Ints, array: pa.Array) -> Mask:
        raise TypeError(f"values of type {self.type} are compared by their canonical bytes")


class CanonicalColumn(Column):
    """A key of a type that numpy cannot compare (list, map, …): the value, and bytes that are equal for equal values.

    A prepared array is a struct of both. The bytes are made value by value in Python: correct, and slow.
    """

    def __init__(self, data_type: pa.DataType, capacity: int) -> None:
        super().__init__(data_type, capacity)
        self._bytes = BytesColumn(pa.large_binary(), capacity)
        self._values = NestedColumn(data_type, capacity)

    @property
    def nbytes(self) -> int:
        return self._bytes.nbytes + self._values.nbytes

    def reserve(self, capacity: int) -> None:
        self._bytes.reserve(capacity)
        self._values.reserve(capacity)
        self._capacity = capacity

    def prepare(self, array: pa.Array) -> pa.Array:
        values = normalise_floats(array) if has_floats(self.type) else array
        return pa.StructArray.from_arrays([canonical_bytes(values), values], names=["canonical", "value"])

    def put(self, slots: Ints, array: pa.Array) -> None:
        canonical, values = array.flatten()
        self._bytes.put(slots, canonical)
        self._values.put(slots, values)

    def take(self, slots: Ints, present: Mask | None = None) -> pa.Array:
        return self._values.take(slots, present)

    def save(self, slots: Ints) -> Cells:
        return (self._bytes.save(slots), self._values.save(slots))

    def restore(self, slots: Ints, cells: Cells) -> None:
        self._bytes.restore(slots, cells[0])
        self._values.restore(slots, cells[1])

    def clear(self, slots: Ints) -> None:
        self._bytes.clear(slots)
        self._values.clear(slots)

    def tidy(self) -> None:
        self._bytes.tidy()
        self._values.tidy()

    def hash(self, array: pa.Array) -> U64:
        return self._bytes.hash(array.flatten()[0])

    def same(self, slots: Ints, array: pa.Array) -> Mask:
        return self._bytes.same(slots, array.flatten()[0])
