"""The keyed store: typed keys to typed values, in memory, columnar, changed a batch at a time.

A key hashes to 64 bits, the index leads from the hash to candidate slots, and the real keys are compared: no collision
can merge two keys. Keys group as Spark's do: null equals null, -0.0 equals 0.0, all NaN are equal.

Since the last commit everything is staged, and `rollback` undoes it at the price of what was staged. Slots are stable
as long as their row lives; the slot of a removed row is given to another one after the commit at the earliest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from runnel.state import hashing
from runnel.state.arrow import fixed_to_numpy, one_array
from runnel.state.columns import Cells, Column, FixedColumn, StructColumn, make_column
from runnel.state.eviction import ExpiryIndex
from runnel.state.hashing import U64
from runnel.state.index import MAX_SLOTS, HashIndex, Slots

Rows: TypeAlias = pa.Table | pa.RecordBatch
Predicate = Callable[[pa.Table], NDArray[np.bool_] | pa.BooleanArray | pa.ChunkedArray]

_LIVE, _DIRTY, _CREATED = np.uint8(1), np.uint8(2), np.uint8(4)
_NO_SLOTS = np.empty(0, dtype=np.int64)
_GATHER_ROWS = 1 << 20
_SCAN_ROWS = 1 << 18
_EXPIRY_SLACK = 1 << 12


@dataclass(frozen=True, slots=True)
class StagedChanges:
    """What differs from the last commit: live slots with new or changed rows, and slots whose rows were removed (they
    can still be gathered until `mark_committed`). A key may be in both, then the removal came first."""

    upserted: Slots
    removed: Slots


@dataclass(frozen=True, slots=True)
class _Inserted:
    slots: Slots


@dataclass(frozen=True, slots=True)
class _Updated:
    slots: Slots
    columns: list[Column]
    cells: list[Cells]


@dataclass(frozen=True, slots=True)
class _Removed:
    slots: Slots
    flags: NDArray[np.uint8]


class KeyedStore:
    """Rows of a key and a value, unique by key.

    `key_schema` and `value_schema` are Arrow schemas of any types, with distinct column names; either may be empty
    (an empty key is the single key of a global aggregate). Input columns are taken by position and cast where their
    Arrow type differs. `shards` is recorded only: one numpy index serves all.

    `eviction_column` names the integer, date or timestamp column that `scan_expired` goes by: a key or value column,
    or a field of a struct as ``("window", "end")`` or ``"window.end"``.

    Not safe for use by several threads.
    """

    def __init__(
        self,
        key_schema: pa.Schema,
        value_schema: pa.Schema,
        *,
        shards: int = 1,
        eviction_column: str | tuple[str, ...] | None = None,
    ) -> None:
        names = [*key_schema.names, *value_schema.names]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"key and value columns of a state need distinct names; repeated: {', '.join(repeated)}")
        if not names:
            raise ValueError("a state needs at least one column")
        self.key_schema = key_schema
        self.value_schema = value_schema
        self.shards = shards
        self.eviction_column = eviction_column
        self._fields = {field.name: field for field in [*key_schema, *value_schema]}
        self.clear()

    def clear(self) -> None:
        """Empties the store, as if it were new; nothing is staged, and nothing can be rolled back."""
        self._capacity = 16
        self._keys = [make_column(field.type, self._capacity, key=True) for field in self.key_schema]
        self._values = [make_column(field.type, self._capacity, key=False) for field in self.value_schema]
        self._by_name = dict(zip(self._fields, [*self._keys, *self._values], strict=True))
        self._hashes: U64 = np.empty(self._capacity, dtype=np.uint64)
        self._flags = np.zeros(self._capacity, dtype=np.uint8)
        self._used = 0  # slots from here on were never given out
        self._free: list[Slots] = []
        self._index = HashIndex()
        self._expiry_path: tuple[Column, ...] = ()
        self._expiry_in_value = False
        self._expiries: ExpiryIndex | None = None
        if self.eviction_column is not None:
            self._expiry_path = self._resolve_path(self.eviction_column)
            self._expiry_in_value = self._expiry_path[0] in self._values
            self._expiries = ExpiryIndex()
        self._undo: list[_Inserted | _Updated | _Removed] = []
        self._dirty: list[Slots] = []
        self._removed: list[Slots] = []
        self._last_keys: tuple[Rows, list[pa.Array], U64] | None = None

    # ---- size

    @property
    def num_rows(self) -> int:
        """Live rows, the staged ones included."""
        return len(self._index)

    @property
    def memory_bytes(self) -> int:
        """Bytes allocated for rows, index and eviction order. Pages that were never written to count too."""
        columns: int = sum(column.nbytes for column in self._by_name.values())
        expiries = 0 if self._expiries is None else self._expiries.nbytes
        return columns + self._hashes.nbytes + self._flags.nbytes + self._index.nbytes + expiries

    # ---- reading

    def find(self, keys: Rows) -> Slots:
        """The slot of each key, -1 where there is none. Shape (n,); keys may repeat."""
        arrays, hashes = self._prepared_keys(keys)
        return self._index.find(hashes, lambda rows, slots: self._same_keys(arrays, rows, slots))

    def gather(self, slots: Slots, columns: Sequence[str] | None = None) -> pa.Table:
        """The value columns, or the named key and value columns, at `slots`: in that order, slots may repeat, all
        null for slot -1. Raises KeyError for an unknown column."""
        names = self.value_schema.names if columns is None else columns
        slots = np.asarray(slots, dtype=np.int64)
        if len(slots) <= _GATHER_ROWS:
            return self._gather(slots, names)
        pieces = range(0, len(slots), _GATHER_ROWS)
        return pa.concat_tables([self._gather(slots[first : first + _GATHER_ROWS], names) for first in pieces])

    def gather_keys(self, slots: Slots) -> pa.Table:
        """The key columns at `slots`, all null for slot -1."""
        return self.gather(slots, self.key_schema.names)

    def is_live(self, slots: Slots) -> NDArray[np.bool_]:
        """Whether there is a row at each slot, which must have been given out before."""
        live: NDArray[np.bool_] = (self._flags[slots] & _LIVE) != 0
        return live

    def all_slots(self) -> Slots:
        """All live slots, ascending."""
        return np.flatnonzero(self._flags[: self._used] & _LIVE)

    def scan(self, predicate: Predicate | None, columns: Sequence[str]) -> Slots:
        """Live slots whose rows satisfy `predicate`, ascending; None: all. It is given tables of the named columns,
        some hundred thousand rows a call, and returns one boolean a row (null is false)."""
        live = self.all_slots()
        if predicate is None:
            return live
        found: list[Slots] = []
        for first in range(0, len(live), _SCAN_ROWS):
            piece = live[first : first + _SCAN_ROWS]
            found.append(piece[_as_mask(predicate(self.gather(piece, columns)))])
        return np.concatenate(found) if found else _NO_SLOTS

    def scan_expired(self, threshold: int) -> Slots:
        """Live slots whose eviction column is not null and at most `threshold` (in the column's own unit: µs for
        Spark's timestamps), ascending. Costs what expires, not what is held. Raises ValueError without such a column.
        """
        if self._expiries is None:
            raise ValueError("this state has no eviction column")
        return self._expiries.expired(threshold, self._is_current_expiry)

    # ---- staging

    def upsert(self, keys: Rows, values: Rows, slots: Slots | None = None) -> Slots:
        """Inserts rows, or replaces the values of keys that exist; returns the slot of each row.

        Keys must be unique in the batch. `slots` is what `find` gave for the same keys, to save looking them up
        again. Raises ValueError for repeated keys, slots of removed rows, or lengths that differ; nothing has
        changed then.
        """
        value_arrays = [
            one_array(values.column(i), field.type) for i, field in enumerate(_checked(values, self.value_schema))
        ]
        rows = keys.num_rows
        if self._values and values.num_rows != rows:
            raise ValueError(f"{rows} keys, but {values.num_rows} rows of values")
        key_arrays, hashes = self._prepared_keys(keys)
        if slots is None:
            slots = self._index.find(hashes, lambda some, at: self._same_keys(key_arrays, some, at))
        elif len(slots) != rows:
            raise ValueError(f"{rows} keys, but {len(slots)} slots")
        else:
            slots = np.array(slots, dtype=np.int64)
        is_new = slots < 0
        new = np.flatnonzero(is_new)
        old_slots = slots if len(new) == 0 else slots[~is_new]
        self._check_live(old_slots)
        if len(new):
            if len(new) < rows:
                some = pa.array(new)
                key_arrays, hashes = [array.take(some) for array in key_arrays], hashes[new]
            slots[new] = self._insert_keys(key_arrays, hashes)
            self._undo.append(_Inserted(slots[new]))
        old_expiry = None
        if len(old_slots):
            self._save(old_slots, self._values)
            if self._expiry_in_value:
                old_expiry = self._expiry(old_slots)
        for column, array in zip(self._values, value_arrays, strict=True):
            column.put(slots, array)
        self._mark_dirty(slots)
        if self._expiries is not None:
            self._add_expiries(self._expiries, slots[new])
            if old_expiry is not None:
                expiry, valid = self._expiry(old_slots)
                self._add_expiries(self._expiries, old_slots[(expiry != old_expiry[0]) | (valid != old_expiry[1])])
        return slots.copy()

    def insert_absent(self, keys: Rows, values: Rows) -> NDArray[np.int64]:
        """Inserts the rows whose keys are not there yet, of rows with equal keys the first; their row numbers, ascending.

        Costs no more than looking up and inserting: nothing is sorted.
        """
        value_arrays = [
            one_array(values.column(i), field.type) for i, field in enumerate(_checked(values, self.value_schema))
        ]
        if self._values and values.num_rows != keys.num_rows:
            raise ValueError(f"{keys.num_rows} keys, but {values.num_rows} rows of values")
        key_arrays, hashes = self._prepared_keys(keys)
        pending = np.arange(keys.num_rows, dtype=np.int64)
        inserted: list[NDArray[np.int64]] = []
        turn = 0
        while len(pending := pending[self._find_rows(key_arrays, hashes, pending) < 0]):
            first = _firsts(hashes[pending], turn)
            chosen, pending = pending[first], pending[~first]
            some = pa.array(chosen)
            slots = self._insert_keys([array.take(some) for array in key_arrays], hashes[chosen])
            self._undo.append(_Inserted(slots))
            for column, array in zip(self._values, value_arrays, strict=True):
                column.put(slots, array.take(some))
            self._mark_dirty(slots)
            if self._expiries is not None:
                self._add_expiries(self._expiries, slots)
            inserted.append(chosen)
            turn += 1
        return np.sort(np.concatenate(inserted)) if inserted else _NO_SLOTS

    def _find_rows(self, arrays: list[pa.Array], hashes: U64, rows: NDArray[np.int64]) -> Slots:
        """As `find`, for some of the rows."""
        every = len(rows) == len(hashes)
        return self._index.find(
            hashes if every else hashes[rows],
            lambda some, at: self._same_keys(arrays, some if every else rows[some], at),
        )

    def update(self, slots: Slots, values: pa.Table) -> None:
        """Replaces some of the value columns of rows that exist: those that `values` has, by name.

        Raises ValueError for slots that repeat or hold no row, columns that are not value columns or decide on
        eviction, or lengths that differ; nothing has changed then.
        """
        slots = np.array(slots, dtype=np.int64)
        if values.num_rows != len(slots):
            raise ValueError(f"{len(slots)} slots, but {values.num_rows} rows of values")
        fixed = {*self.key_schema.names, *(self._expiry_names())}
        wrong = [name for name in values.column_names if name in fixed or name not in self._by_name]
        if wrong:
            raise ValueError(f"columns that cannot be replaced by themselves: {', '.join(wrong)}")
        self._check_live(slots)
        if len(slots) == 0:
            return
        arrays = [one_array(values.column(name), self._fields[name].type) for name in values.column_names]
        columns = [self._by_name[name] for name in values.column_names]
        self._save(slots, columns)
        for column, array in zip(columns, arrays, strict=True):
            column.put(slots, array)
        self._mark_dirty(slots)

    def remove(self, slots: Slots) -> None:
        """Removes rows. Raises ValueError for slots that repeat or hold no row (-1 among them); nothing has changed
        then."""
        slots = np.array(slots, dtype=np.int64)
        if len(slots) == 0:
            return
        self._check_live(slots)
        self._index.remove(self._hashes[slots], slots)
        flags = self._flags[slots]
        self._undo.append(_Removed(slots, flags))
        self._flags[slots] = flags & ~_LIVE
        self._removed.append(slots)

    def staged(self) -> StagedChanges:
        """What differs from the last commit."""
        upserted = _joined(self._dirty)
        removed = _joined(self._removed)
        return StagedChanges(
            upserted[(self._flags[upserted] & _LIVE) != 0], removed[(self._flags[removed] & _CREATED) == 0]
        )

    def mark_committed(self) -> None:
        """Makes what is staged the state that `rollback` returns to. Slots of removed rows become free."""
        for slots in self._dirty:
            self._flags[slots] &= _LIVE
        for slots in self._removed:
            self._release(slots)
        for column in self._by_name.values():
            column.tidy()
        self._forget_staged()
        if self._expiries is not None and len(self._expiries) > 2 * self.num_rows + _EXPIRY_SLACK:
            live = self.all_slots()
            expiry, valid = self._expiry(live)
            self._expiries.rebuild(expiry[valid], live[valid])

    def rollback(self) -> None:
        """Drops what is staged. Costs what was staged; nothing is read from disk."""
        for step in reversed(self._undo):
            match step:
                case _Inserted(slots):
                    self._index.remove(self._hashes[slots], slots)
                    self._release(slots)
                case _Updated(slots, columns, cells):
                    for column, column_cells in zip(columns, cells, strict=True):
                        column.restore(slots, column_cells)
                    if self._expiries is not None and self._expiry_in_value:
                        self._add_expiries(self._expiries, slots)
                case _Removed(slots, flags):
                    self._index.insert(self._hashes[slots], slots, None, self._indexed)
                    self._flags[slots] = flags
                    if self._expiries is not None:
                        self._add_expiries(self._expiries, slots)
        for slots in self._dirty:
            self._flags[slots] &= _LIVE
        self._forget_staged()

    # ---- keys

    def _prepared_keys(self, keys: Rows) -> tuple[list[pa.Array], U64]:
        if self._last_keys is not None and self._last_keys[0] is keys:
            return self._last_keys[1], self._last_keys[2]
        arrays: list[pa.Array] = []
        hashes = hashing.start(keys.num_rows)
        for i, (field, column) in enumerate(zip(_checked(keys, self.key_schema), self._keys, strict=True)):
            array = column.prepare(one_array(keys.column(i), field.type))
            arrays.append(array)
            hashes = hashing.combine(hashes, column.hash(array))
        self._last_keys = (keys, arrays, hashes)
        return arrays, hashes

    def _same_keys(self, arrays: list[pa.Array], rows: NDArray[np.int64], slots: Slots) -> NDArray[np.bool_]:
        same = np.ones(len(rows), dtype=np.bool_)
        all_rows = not arrays or len(rows) == len(arrays[0])  # rows ascend
        some = None if all_rows else pa.array(rows)
        for column, array in zip(self._keys, arrays, strict=True):
            same &= column.same(slots, array if some is None else array.take(some))
        return same

    def _insert_keys(self, arrays: list[pa.Array], hashes: U64) -> Slots:
        slots = self._allocate(len(hashes))
        for column, array in zip(self._keys, arrays, strict=True):
            column.put(slots, array)
        self._hashes[slots] = hashes
        repeated = self._index.insert(hashes, slots, lambda rows, at: self._same_keys(arrays, rows, at), self._indexed)
        if len(repeated):
            self._index.remove(hashes, slots)
            self._release(slots)
            raise ValueError(f"{len(repeated)} rows repeat the key of another row, of the batch or the state")
        self._flags[slots] = _LIVE | _CREATED
        return slots

    def _indexed(self) -> tuple[U64, Slots]:
        live = self.all_slots()
        return self._hashes[live], live

    # ---- slots

    def _allocate(self, count: int) -> Slots:
        parts: list[Slots] = []
        missing = count
        while missing and self._free:
            free = self._free.pop()
            if len(free) > missing:
                self._free.append(free[missing:])
                free = free[:missing]
            parts.append(free)
            missing -= len(free)
        if missing:
            end = self._used + missing
            if end > MAX_SLOTS:
                raise MemoryError(f"a keyed state holds at most {MAX_SLOTS} rows")
            if end > self._capacity:
                self._reserve(max(end, self._capacity * 2 if self._capacity < 1 << 20 else self._capacity * 3 // 2))
            parts.append(np.arange(self._used, end, dtype=np.int64))
            self._used = end
        return _joined(parts)

    def _reserve(self, capacity: int) -> None:
        for column in self._by_name.values():
            column.reserve(capacity)
        hashes, flags = self._hashes, self._flags
        self._hashes = np.empty(capacity, dtype=np.uint64)
        self._hashes[: len(hashes)] = hashes
        self._flags = np.zeros(capacity, dtype=np.uint8)
        self._flags[: len(flags)] = flags
        self._capacity = capacity

    def _release(self, slots: Slots) -> None:
        for column in self._by_name.values():
            column.clear(slots)
        self._flags[slots] = 0
        self._free.append(slots)

    def _check_live(self, slots: Slots) -> None:
        if len(slots) == 0:
            return
        if int(slots.min()) < 0 or int(slots.max()) >= self._used or not bool((self._flags[slots] & _LIVE).all()):
            raise ValueError("a slot holds no row (it was never given out, or its row has been removed)")
        if len(slots) > 1:
            ordered = np.sort(slots)
            if bool((ordered[1:] == ordered[:-1]).any()):
                raise ValueError("a slot is named twice in one batch")

    def _mark_dirty(self, slots: Slots) -> None:
        flags = self._flags[slots]
        clean = (flags & _DIRTY) == 0
        self._dirty.append(slots[clean])
        self._flags[slots] = flags | _DIRTY

    def _forget_staged(self) -> None:
        self._undo.clear()
        self._dirty.clear()
        self._removed.clear()
        self._last_keys = None

    # ---- columns

    def _save(self, slots: Slots, columns: list[Column]) -> None:
        self._undo.append(_Updated(slots, columns, [column.save(slots) for column in columns]))

    def _gather(self, slots: Slots, names: Sequence[str]) -> pa.Table:
        present = slots >= 0
        absent_too = not bool(present.all())
        at = np.where(present, slots, 0) if absent_too else slots
        arrays = [self._by_name[name].take(at, present if absent_too else None) for name in names]
        if not arrays:
            empty = pa.array([{}], pa.struct([])).take(pa.array(np.zeros(len(slots), dtype=np.int64)))
            return pa.Table.from_batches([pa.RecordBatch.from_struct_array(empty)])
        fields = [self._fields[name] for name in names]
        return pa.Table.from_arrays(arrays, schema=pa.schema(fields))

    # ---- eviction

    def _expiry_names(self) -> list[str]:
        """The columns that hold, somewhere inside, what decides on eviction."""
        return [name for name, column in self._by_name.items() if self._expiry_path[:1] == (column,)]

    def _resolve_path(self, path: str | tuple[str, ...]) -> tuple[Column, ...]:
        if isinstance(path, str):
            path = (path,) if path in self._by_name else tuple(path.split("."))
        column = self._by_name.get(path[0])
        columns = [column]
        for name in path[1:]:
            column = column.field(name) if isinstance(column, StructColumn) else None
            columns.append(column)
        if not isinstance(column, FixedColumn) or not (
            pa.types.is_integer(column.type) or pa.types.is_timestamp(column.type) or pa.types.is_date(column.type)
        ):
            raise ValueError(
                f"eviction column {'.'.join(path)} is not an integer, date or timestamp column of the state"
            )
        return tuple(column for column in columns if column is not None)

    def _expiry(self, slots: Slots) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The eviction column at slots, and where it is not null, at any level."""
        valid = np.ones(len(slots), dtype=np.bool_)
        for column in self._expiry_path:
            if isinstance(column, StructColumn):
                part = column.validity(slots)
            elif isinstance(column, FixedColumn):
                cells, part = column.cells(slots)
            if part is not None:
                valid &= part
        return cells.astype(np.int64, copy=False), valid

    def _add_expiries(self, expiries: ExpiryIndex, slots: Slots) -> None:
        expiry, valid = self._expiry(slots)
        if valid.all():
            expiries.add(expiry, slots)
        else:
            expiries.add(expiry[valid], slots[valid])

    def _is_current_expiry(self, expiry: NDArray[np.int64], slots: Slots) -> NDArray[np.bool_]:
        now, valid = self._expiry(slots)
        current: NDArray[np.bool_] = valid & (now == expiry)
        current &= (self._flags[slots] & _LIVE) != 0
        return current


def _checked(rows: Rows, schema: pa.Schema) -> pa.Schema:
    if rows.num_columns != len(schema):
        raise ValueError(f"columns {', '.join(rows.schema.names)} given, columns {', '.join(schema.names)} expected")
    return schema


def _firsts(hashes: U64, turn: int) -> NDArray[np.bool_]:
    """Rows of which none before has the same hash; some of these rows only, but at least the first.

    Each row writes its number into a bucket, the last row first: whoever reads back its own was the first one there.
    Rows that share a bucket by chance wait for the next turn, which looks at other bits.
    """
    rows = np.arange(len(hashes), dtype=np.int64)
    bits = max(len(hashes).bit_length() + 1, 4)
    buckets = ((hashes >> np.uint64((turn * 7) % (64 - bits))) & np.uint64((1 << bits) - 1)).astype(np.int64)
    winners = np.empty(1 << bits, dtype=np.int64)
    winners[buckets[::-1]] = rows[::-1]
    found: NDArray[np.bool_] = winners[buckets] == rows
    return found


def _joined(parts: Sequence[Slots]) -> Slots:
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else _NO_SLOTS


def _as_mask(mask: NDArray[np.bool_] | pa.BooleanArray | pa.ChunkedArray) -> NDArray[np.bool_]:
    if isinstance(mask, np.ndarray):
        given: NDArray[np.bool_] = mask.astype(np.bool_, copy=False)
        return given
    array = one_array(mask, pa.bool_())
    bools: NDArray[np.bool_] = fixed_to_numpy(array.fill_null(False) if array.null_count else array)
    return bools
