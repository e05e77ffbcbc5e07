"""The timers of a StatefulProcessor: any number a key, one row a key in the store, found by the earliest of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from pyspark.sql.types import LongType, StructField, StructType

from runnel.operators.base import StoreSpec
from runnel.operators.state_variables import Keys
from runnel.operators.user_code import Ints
from runnel.state.store import KeyedStore

_TIMESTAMPS, _NEXT = "expiryTimestampsMs", "nextExpiryMs"


class Timers:
    """Timers by key, in milliseconds. `kind`: proc for processing time, event for event time."""

    def __init__(self, kind: str, keys: Keys) -> None:
        self._name = f"${kind}Timers_keyToTimestamp"
        self._spark_keys = keys
        self._keys = pa.table({})
        self._at = 0
        self._registered = self._deleted = 0
        self._store: KeyedStore
        self._reset()

    @property
    def stores(self) -> tuple[StoreSpec, ...]:
        return (
            StoreSpec(
                self._name,
                self._spark_keys.physical,
                pa.schema([(_TIMESTAMPS, pa.list_(pa.int64())), (_NEXT, pa.int64())]),
                StructType(
                    [*self._spark_keys.spark.fields, StructField("expiryTimestampMs", LongType(), False)]
                ).json(),
                StructType().json(),
                _NEXT,
            ),
        )

    def open(self, stores: Mapping[str, KeyedStore]) -> None:
        self._store = stores[self._name]

    def begin(self, keys: pa.Table) -> None:
        """A phase over these keys, which are distinct."""
        self._keys, self._at = keys, 0
        self._reset()

    def select(self, position: int) -> None:
        self._at = position

    def _reset(self) -> None:
        self._slots: Ints | None = None
        self._stored: list[list[int] | None] = []
        self._changed: dict[int, set[int]] = {}

    def _timers(self, *, to_change: bool = False) -> set[int]:
        if self._slots is None:
            self._slots = self._store.find(self._keys)
            self._stored = self._store.gather(self._slots, [_TIMESTAMPS]).column(0).to_pylist()
        found = self._changed.get(self._at)
        if found is None:
            found = set(self._stored[self._at] or ())
            if to_change:
                self._changed[self._at] = found
        return found

    def register(self, timestamp_ms: int) -> None:
        """Nothing if the key has this timer."""
        self._registered += 1
        if timestamp_ms not in self._timers():
            self._timers(to_change=True).add(timestamp_ms)

    def delete(self, timestamp_ms: int) -> None:
        """Nothing if the key has no such timer."""
        self._deleted += 1
        if timestamp_ms in self._timers():
            self._timers(to_change=True).remove(timestamp_ms)

    def take_counts(self) -> dict[str, int]:
        """Calls to register and delete since this was asked last, as progress names them."""
        counts = {"numRegisteredTimers": self._registered, "numDeletedTimers": self._deleted}
        self._registered = self._deleted = 0
        return counts

    def current(self) -> list[int]:
        """The current key's timers, ascending."""
        return sorted(self._timers())

    def flush(self) -> None:
        """Stages what the phase changed."""
        if self._changed and self._slots is not None:
            gone = self._slots[[i for i, timers in self._changed.items() if not timers]]
            self._store.remove(gone[gone >= 0])
            left = {i: sorted(timers) for i, timers in self._changed.items() if timers}
            if left:
                put = np.array(list(left))
                values = pa.table(
                    [
                        pa.array(left.values(), pa.list_(pa.int64())),
                        pa.array([t[0] for t in left.values()], pa.int64()),
                    ],
                    self._store.value_schema.names,
                )
                self._store.upsert(self._keys.take(pa.array(put)), values, self._slots[put])
        self._reset()

    def due(self, now_ms: int) -> tuple[pa.Table, list[tuple[int, int]]]:
        """The keys with timers at or before a time, and those timers with their keys' positions, earliest first."""
        slots = self._store.scan_expired(now_ms)
        lists = self._store.gather(slots, [_TIMESTAMPS]).column(0).to_pylist()
        timers = [(t, i) for i, timestamps in enumerate(lists) for t in timestamps if t <= now_ms]
        return self._store.gather_keys(slots), [(i, t) for t, i in sorted(timers)]
