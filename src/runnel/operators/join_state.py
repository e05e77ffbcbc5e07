"""One side's buffered rows of a stream-stream join: a keyed store by row number, searched by the hash of the join key.

Spark keeps a side in two stores, key -> number of rows and (key, index) -> row with a matched flag; ours is one store
of number -> (row, computed keys, matched). Converting: the rows of a key, in the order of their numbers, get the indexes
0, 1, …, and their count is the other store's value. The flag is kept for rows of a preserved
side, where something depends on it; elsewhere it says whether the row matched in its own batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql.types import BooleanType, DataType, LongType, StructField, StructType

from runnel.lowering.datatypes import arrow_schema, arrow_type
from runnel.operators.base import StoreSpec
from runnel.operators.event_time import eviction_path
from runnel.plan.expressions import Attribute
from runnel.state.arrow import ascending
from runnel.state.hashing import U64
from runnel.state.multimap import KeyHasher, Multimap
from runnel.state.store import KeyedStore

Ints = np.ndarray[tuple[int], np.dtype[np.int64]]
Mask = np.ndarray[tuple[int], np.dtype[np.bool_]]

MATCHED = "matched"


@dataclass(frozen=True, slots=True)
class SideLayout:
    """The columns of a side's rows: `attributes`, its input's own, then `computed`, keys that are none of them.

    keys: for each key its column's position and whether it is null-safe. expiry: the position of the column whose time
    decides on eviction, None for rows that stay.
    """

    name: str
    attributes: tuple[Attribute, ...]
    computed: tuple[Attribute, ...]
    keys: tuple[tuple[int, bool], ...]
    expiry: int | None

    @property
    def columns(self) -> tuple[Attribute, ...]:
        return self.attributes + self.computed

    @property
    def names(self) -> list[str]:
        """What the store calls the columns."""
        rows, keys = len(self.attributes), len(self.computed)
        return [*(f"c{i}" for i in range(rows)), *(f"k{i}" for i in range(keys))]

    @property
    def key_types(self) -> list[DataType]:
        return [self.columns[position].dtype for position, _ in self.keys]

    def spec(self) -> StoreSpec:
        columns = self.columns
        values = [StructField(n, a.dtype, True) for n, a in zip(self.names, columns, strict=True)]
        spark_keys = [
            StructField(f"field{i}", columns[at].dtype, columns[at].nullable) for i, (at, _) in enumerate(self.keys)
        ]
        spark_row = [StructField(a.name, a.dtype, a.nullable, dict(a.metadata)) for a in self.attributes]
        return StoreSpec(
            f"{self.name}-keyWithIndexToValue",
            arrow_schema(StructType([StructField("number", LongType(), False)])),
            arrow_schema(StructType([*values, StructField(MATCHED, BooleanType(), False)])),
            StructType([*spark_keys, StructField("index", LongType(), True)]).json(),
            StructType([*spark_row, StructField(MATCHED, BooleanType(), True)]).json(),
            None if self.expiry is None else eviction_path(self.names[self.expiry], columns[self.expiry]),
            spark_stores=(f"{self.name}-keyToNumValues", f"{self.name}-keyWithIndexToValue"),
        )


class BufferedSide:
    """The rows of one side that may still find partners."""

    def __init__(self, layout: SideLayout, store: KeyedStore) -> None:
        self._layout = layout
        self._store = store
        self._names = layout.names
        self._hasher = KeyHasher([arrow_type(t) for t in layout.key_types])
        self._index = Multimap(self._is_live)
        self._next_number = 0
        slots = store.all_slots()
        if len(slots):
            numbers = self._numbers(slots)
            self._next_number = int(numbers.max()) + 1
            rows = self.gather(slots, range(len(self._names)))
            joinable = self.joinable(rows)
            self._index.add(self.hashes(rows)[joinable], slots[joinable], numbers[joinable])

    def __len__(self) -> int:
        return self._store.num_rows

    # ---- keys of any rows in this side's layout

    def hashes(self, rows: pa.Table) -> U64:
        """The hash of each row's key."""
        return self._hasher.hashes(rows.select([position for position, _ in self._layout.keys]))

    def joinable(self, rows: pa.Table) -> Mask:
        """Where no key is null that would have to equal another: a null key has no partner."""
        found = np.ones(rows.num_rows, np.bool_)
        for position, null_safe in self._layout.keys:
            column = rows.column(position)
            if not null_safe and column.null_count:
                found &= pc.is_valid(column).to_numpy()
        return found

    # ---- reading

    def partners(self, hashes: U64) -> Ints:
        """The slots of the rows whose key has one of these hashes, each once."""
        return self._index.find(ascending(hashes))

    def gather(self, slots: Ints, positions: Sequence[int]) -> pa.Table:
        """These columns of the rows at slots, which may repeat."""
        return self._store.gather(slots, [self._names[p] for p in positions])

    def matched(self, slots: Ints) -> Mask:
        flags: Mask = self._store.gather(slots, [MATCHED]).column(0).to_numpy()
        return flags

    def expired(self, threshold_us: int) -> Ints:
        """The slots of the rows whose time is at or below the threshold."""
        return self._store.scan_expired(threshold_us)

    # ---- staging

    def add(self, rows: pa.Table, hashes: U64, joinable: Mask, matched: Mask) -> None:
        """Stores rows."""
        if not rows.num_rows:
            return
        numbers = np.arange(self._next_number, self._next_number + rows.num_rows)
        self._next_number += rows.num_rows
        values = pa.Table.from_arrays([*rows.columns, pa.array(matched)], names=[*self._names, MATCHED])
        keys = pa.table({"number": numbers})
        slots = self._store.upsert(keys, values, np.full(rows.num_rows, -1, np.int64))
        self._index.add(hashes[joinable], slots[joinable], numbers[joinable])

    def mark_matched(self, slots: Ints) -> None:
        """Notes that these rows have found a partner; slots may repeat."""
        slots = ascending(slots)
        slots = slots[~self.matched(slots)]
        if len(slots):
            self._store.update(slots, pa.table({MATCHED: pa.array(np.ones(len(slots), np.bool_))}))

    def remove(self, slots: Ints) -> None:
        if len(slots):
            self._store.remove(slots)
            self._index.removed(len(slots))

    def _is_live(self, slots: Ints, numbers: Ints) -> Mask:
        live: Mask = self._store.is_live(slots) & (self._numbers(slots) == numbers)
        return live

    def _numbers(self, slots: Ints) -> Ints:
        numbers: Ints = self._store.gather_keys(slots).column(0).to_numpy()
        return numbers
