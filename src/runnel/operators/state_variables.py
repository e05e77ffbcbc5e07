"""The variables of a StatefulProcessor over keyed stores: what stands behind PySpark's ValueState, ListState, MapState.

PySpark's classes call a client with the variable's name first; here the variable itself is that client. A phase of a
batch begins with its keys, one of which is current at a time. State is read for many keys at once when the first of
them asks, changes are kept until `flush`, and staged then for all keys together.

A value whose time to live is over is not there for a reader; `expire` removes it at the batch's end.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql.types import LongType, Row, StructField, StructType

from runnel.errors import error
from runnel.lowering.datatypes import arrow_type
from runnel.operators.base import StoreSpec
from runnel.operators.sequences import INDEX, Elements, Sequences, sequence_keys, sequence_values
from runnel.operators.user_code import Ints, UserCode
from runnel.state.store import KeyedStore

VALUE, EXPIRATION = "value", "ttlExpirationMs"
_USER_KEY = "userKey"
_READ_AHEAD = 4096
_WHOLE_MAP = 256
"""A map of at most so many entries is read whole when one of its keys is asked for."""


@dataclass(frozen=True, slots=True)
class Definition:
    """A variable as the processor's `init` declares it. `kind`: value, list or map. `ttl_ms` None: for ever."""

    name: str
    kind: str
    schema: StructType
    ttl_ms: int | None = None
    user_key_schema: StructType | None = None


@dataclass(frozen=True, slots=True)
class Keys:
    """The grouping columns of a store: physical, and as Spark's schema."""

    physical: pa.Schema
    spark: StructType


def plain(value: Any) -> Any:
    """A value with numpy's and pandas' scalars replaced by Python's, at any depth, as PySpark does before it sends it."""
    if isinstance(value, np.generic):
        return value.tolist()
    if isinstance(value, Row) or (isinstance(value, tuple) and hasattr(value, "_fields")):
        return type(value)(*(plain(v) for v in value))
    if isinstance(value, list | tuple):
        return type(value)(plain(v) for v in value)
    if isinstance(value, dict):
        return {plain(k): plain(v) for k, v in value.items()}
    if hasattr(value, "to_pytimedelta"):
        return value.to_pytimedelta()
    return value.to_pydatetime() if hasattr(value, "to_pydatetime") else value


def _frozen(value: Any) -> Any:
    """Something hashable that is equal for equal user keys."""
    if isinstance(value, list | tuple):
        return tuple(_frozen(v) for v in value)
    return frozenset((_frozen(k), _frozen(v)) for k, v in value.items()) if isinstance(value, dict) else value


class Variable(ABC):
    """One variable. Positions are rows of the keys that the phase began with."""

    def __init__(self, definition: Definition, keys: Keys, user: UserCode) -> None:
        self.definition = definition
        self._spark_keys = keys
        self._schema = definition.schema
        self._user = user
        self._as_stored = user.as_stored(definition.schema)
        self._ttl = definition.ttl_ms
        self._keys = pa.table({})
        self._at = 0
        self._now = 0
        self.updated = self.removed = 0
        """Rows put and removed since the batch began."""

    @property
    @abstractmethod
    def stores(self) -> tuple[StoreSpec, ...]: ...

    @abstractmethod
    def open(self, stores: Mapping[str, KeyedStore]) -> None: ...

    def begin(self, keys: pa.Table, now_ms: int) -> None:
        """A phase over these keys, which are distinct, at this processing time."""
        self._keys, self._at, self._now = keys, 0, now_ms
        self._reset()

    def select(self, position: int) -> None:
        """Makes a key the current one."""
        self._at = position

    @abstractmethod
    def _reset(self) -> None: ...

    @abstractmethod
    def flush(self) -> None:
        """Stages what the phase changed."""

    @abstractmethod
    def expire(self, now_ms: int) -> int:
        """Removes what has outlived its time; how many values. Nothing may be unflushed."""

    @property
    @abstractmethod
    def num_rows(self) -> int:
        """Rows as Spark counts them: values, keys that have a list, entries of maps."""

    # ---- pieces

    def _payload_schema(self) -> pa.Schema:
        fields = [pa.field(VALUE, arrow_type(self._schema, sql_names=True))]
        return pa.schema(fields if self._ttl is None else [*fields, pa.field(EXPIRATION, pa.int64())])

    def _spark_values(self) -> str:
        schema = StructType([StructField(VALUE, self._schema, True)])
        return (schema if self._ttl is None else schema.add(StructField(EXPIRATION, LongType(), True))).json()

    @property
    def _eviction(self) -> str | None:
        return None if self._ttl is None else EXPIRATION

    def _payload(self, values: Sequence[Any]) -> pa.Table:
        columns = [self._user.from_values(values, self._schema)]
        if self._ttl is not None:
            columns.append(pa.array([self._now + self._ttl] * len(values), pa.int64()))
        return pa.Table.from_arrays(columns, schema=self._payload_schema())

    def _read(self, payload: pa.Table) -> list[tuple[Any, ...] | None]:
        """The values of stored rows; None where there is no row, or where its time is over."""
        values = self._user.values(payload.column(0), self._schema)
        if self._ttl is None:
            return [None if v is None else tuple(v) for v in values]
        over = payload.column(1).to_pylist()
        return [
            None if v is None or (e is not None and e <= self._now) else tuple(v)
            for v, e in zip(values, over, strict=True)
        ]

    def _illegal(self, condition: str) -> Exception:
        return error(f"ILLEGAL_STATE_STORE_VALUE.{condition}", stateName=self.definition.name)


class ValueVariable(Variable):
    """At most one row a key."""

    _store: KeyedStore

    @property
    def stores(self) -> tuple[StoreSpec, ...]:
        return (
            StoreSpec(
                self.definition.name,
                self._spark_keys.physical,
                self._payload_schema(),
                self._spark_keys.spark.json(),
                self._spark_values(),
                self._eviction,
            ),
        )

    def open(self, stores: Mapping[str, KeyedStore]) -> None:
        self._store = stores[self.definition.name]

    @property
    def num_rows(self) -> int:
        return self._store.num_rows

    def _reset(self) -> None:
        self._stored: list[tuple[Any, ...] | None] | None = None
        self._slots: Ints = np.empty(0, np.int64)
        self._changed: dict[int, tuple[Any, ...] | None] = {}

    def get(self, name: str) -> tuple[Any, ...] | None:
        if self._at in self._changed:
            return self._changed[self._at]
        if self._stored is None:
            self._slots = self._store.find(self._keys)
            self._stored = self._read(self._store.gather(self._slots))
        return self._stored[self._at]

    def exists(self, name: str) -> bool:
        return self.get(name) is not None

    def update(self, name: str, value: Any) -> None:
        self._changed[self._at] = self._as_stored(plain(tuple(value)))

    def clear(self, name: str) -> None:
        self._changed[self._at] = None

    def flush(self) -> None:
        if not self._changed:
            return
        if self._stored is None:
            self._slots = self._store.find(self._keys)
        cleared = self._slots[[i for i, v in self._changed.items() if v is None]]
        cleared = cleared[cleared >= 0]
        self._store.remove(cleared)
        put = np.array([i for i, v in self._changed.items() if v is not None], np.int64)
        if len(put):
            payload = self._payload([v for v in self._changed.values() if v is not None])
            self._store.upsert(self._keys.take(pa.array(put)), payload, self._slots[put])
        self.removed += len(cleared)
        self.updated += len(put)
        self._reset()

    def expire(self, now_ms: int) -> int:
        if self._ttl is None:
            return 0
        slots = self._store.scan_expired(now_ms)
        self._store.remove(slots)
        return len(slots)


class ListVariable(Variable):
    """A sequence of rows a key."""

    @property
    def stores(self) -> tuple[StoreSpec, ...]:
        return (
            StoreSpec(
                self.definition.name,
                sequence_keys(self._spark_keys.physical),
                sequence_values(self._payload_schema()),
                self._spark_keys.spark.json(),
                self._spark_values(),
                self._eviction,
            ),
        )

    def open(self, stores: Mapping[str, KeyedStore]) -> None:
        self._store = stores[self.definition.name]
        self._rows = Sequences(self._store)

    @property
    def num_rows(self) -> int:
        return self._rows.num_keys

    def _reset(self) -> None:
        self._rows.begin(self._keys)
        self._loaded: dict[int, list[tuple[Any, ...]]] = {}
        self._added: dict[int, list[tuple[Any, ...]]] = {}
        self._replaced: set[int] = set()

    def _stored(self, position: int) -> list[tuple[Any, ...]]:
        if position in self._replaced:
            return []
        if position not in self._loaded:
            self._load_from(position)
        return self._loaded[position]

    def _load_from(self, position: int) -> None:
        """Reads the list of a key, and those of the keys after it as long as they are short."""
        wanted = _read_ahead(position, self._rows.live, self._loaded)
        found = self._rows.locate(wanted)
        self._loaded.update((i, []) for i in wanted.tolist())
        for owner, value in zip(found.owners.tolist(), self._read(self._rows.payload(found.slots)), strict=True):
            if value is not None:
                self._loaded[owner].append(value)

    def exists(self, name: str) -> bool:
        if self._added.get(self._at):
            return True
        if self._at in self._replaced or not self._rows.live[self._at]:
            return False
        return self._ttl is None or bool(self._stored(self._at))

    def iterate(self) -> Iterator[tuple[Any, ...]]:
        return iter([*self._stored(self._at), *self._added.get(self._at, ())])

    def append_value(self, name: str, value: Any) -> None:
        self._added.setdefault(self._at, []).append(self._as_stored(plain(tuple(value))))

    def append_list(self, name: str, values: Iterable[Any]) -> None:
        self._added.setdefault(self._at, []).extend(self._all(values))

    def put(self, name: str, values: Iterable[Any]) -> None:
        rows = self._all(values)
        self._replaced.add(self._at)
        self._added[self._at] = rows

    def clear(self, name: str) -> None:
        self._replaced.add(self._at)
        self._added.pop(self._at, None)

    def _all(self, values: Iterable[Any]) -> list[tuple[Any, ...]]:
        rows = [self._as_stored(plain(tuple(v))) for v in values]
        if not rows:
            raise self._illegal("EMPTY_LIST_VALUE")
        return rows

    def flush(self) -> None:
        if self._replaced:
            gone = self._rows.locate(np.array(sorted(self._replaced), np.int64))
            self._rows.remove(gone)
            self.removed += len(gone.slots)
        added = {i: rows for i, rows in sorted(self._added.items()) if rows}
        if added:
            owners = np.repeat(np.array(list(added)), [len(rows) for rows in added.values()])
            self._rows.append(owners, self._payload([v for rows in added.values() for v in rows]))
            self.updated += len(owners)
        self._finish()

    def _finish(self) -> None:
        sparse = self._rows.sparse()
        if len(sparse):
            self._rows.lay_out(sparse)
        self._rows.flush()
        self._reset()

    def expire(self, now_ms: int) -> int:
        if self._ttl is None:
            return 0
        slots = self._store.scan_expired(now_ms)
        if not len(slots):
            return 0
        keys, owners = self._rows.distinct(self._store.gather(slots, self._spark_keys.physical.names))
        indexes = self._store.gather(slots, [INDEX]).column(0).to_numpy()
        self._keys = keys
        self._rows.begin(keys)
        order = np.argsort(owners, kind="stable")
        self._rows.remove(Elements(owners[order], indexes[order], slots[order]))
        self._finish()
        return len(slots)


class MapVariable(Variable):
    """A row for each key and user key; and, to find a key's user keys by, a sequence of them."""

    @property
    def stores(self) -> tuple[StoreSpec, ...]:
        assert self.definition.user_key_schema is not None
        user_key = pa.field(_USER_KEY, arrow_type(self.definition.user_key_schema, sql_names=True))
        spark_keys = StructType(
            [*self._spark_keys.spark.fields, StructField(_USER_KEY, self.definition.user_key_schema)]
        )
        return (
            StoreSpec(
                self.definition.name,
                pa.schema([*self._spark_keys.physical, user_key]),
                pa.schema([*self._payload_schema(), pa.field(INDEX, pa.int64())]),
                spark_keys.json(),
                self._spark_values(),
                self._eviction,
                len(self._spark_keys.physical),
            ),
            StoreSpec(
                f"$keys_{self.definition.name}",
                sequence_keys(self._spark_keys.physical),
                sequence_values(pa.schema([user_key])),
                self._spark_keys.spark.json(),
                StructType([StructField(_USER_KEY, self.definition.user_key_schema)]).json(),
            ),
        )

    def open(self, stores: Mapping[str, KeyedStore]) -> None:
        assert self.definition.user_key_schema is not None
        self._user_keys = self.definition.user_key_schema
        self._as_user_key = self._user.as_stored(self._user_keys)
        self._store = stores[self.definition.name]
        self._order = Sequences(stores[f"$keys_{self.definition.name}"])

    @property
    def num_rows(self) -> int:
        return self._store.num_rows

    def _reset(self) -> None:
        self._order.begin(self._keys)
        self._known: dict[int, dict[Any, tuple[tuple[Any, ...], tuple[Any, ...] | None]]] = {}
        """By position and frozen user key: the user key and its value, None for none. What is changed lies over it."""
        self._whole: set[int] = set()
        self._changed: dict[int, dict[Any, tuple[tuple[Any, ...], tuple[Any, ...] | None]]] = {}
        self._cleared: set[int] = set()

    # ---- reading

    def _value(self, user_key: Any) -> tuple[Any, ...] | None:
        key = self._as_user_key(plain(tuple(user_key)))
        frozen, at = _frozen(key), self._at
        changed = self._changed.get(at, {}).get(frozen)
        if changed is not None:
            return changed[1]
        if at in self._cleared:
            return None
        if at not in self._whole and self._order.live[at] <= _WHOLE_MAP:
            self._load_from(at)
        known = self._known.setdefault(at, {})
        if frozen not in known and at not in self._whole:
            known[frozen] = (key, self._point(key))
        return known[frozen][1] if frozen in known else None

    def _point(self, user_key: tuple[Any, ...]) -> tuple[Any, ...] | None:
        keys = self._keys.slice(self._at, 1).append_column(
            _USER_KEY, self._user.from_values([user_key], self._user_keys)
        )
        return self._read(self._payload_at(self._store.find(keys)))[0]

    def _payload_at(self, slots: Ints) -> pa.Table:
        return self._store.gather(slots, self._payload_schema().names)

    def _load_from(self, position: int) -> None:
        """Reads the map of a key, and those of the keys after it as long as they are small."""
        wanted = _read_ahead(position, self._order.live, self._whole)
        found = self._order.locate(wanted)
        user_keys = self._order.payload(found.slots).column(0)
        entries = self._keys.take(pa.array(found.owners)).append_column(_USER_KEY, user_keys)
        values = self._read(self._payload_at(self._store.find(entries)))
        self._whole.update(wanted.tolist())
        for i in wanted.tolist():
            self._known[i] = {}
        for owner, key, value in zip(
            found.owners.tolist(), self._user.values(user_keys, self._user_keys), values, strict=True
        ):
            self._known[owner][_frozen(plain(tuple(key)))] = (tuple(key), value)

    def entries(self) -> list[tuple[tuple[Any, ...], tuple[Any, ...]]]:
        """The current key's pairs of user key and value, in the order in which the keys came."""
        at = self._at
        merged: dict[Any, tuple[tuple[Any, ...], tuple[Any, ...] | None]] = {}
        if at not in self._cleared:
            if at not in self._whole:
                self._load_from(at)
            merged.update(self._known[at])
        merged.update(self._changed.get(at, {}))
        return [(key, value) for key, value in merged.values() if value is not None]

    def exists(self, name: str) -> bool:
        if self._ttl is None and self._at not in self._cleared and self._at not in self._changed:
            return bool(self._order.live[self._at])
        return bool(self.entries())

    def get_value(self, name: str, user_key: Any) -> tuple[Any, ...] | None:
        return self._value(user_key)

    def contains_key(self, name: str, user_key: Any) -> bool:
        return self._value(user_key) is not None

    # ---- changing

    def update_value(self, name: str, user_key: Any, value: Any) -> None:
        key = self._as_user_key(plain(tuple(user_key)))
        self._changed.setdefault(self._at, {})[_frozen(key)] = (key, self._as_stored(plain(tuple(value))))

    def remove_key(self, name: str, user_key: Any) -> None:
        key = self._as_user_key(plain(tuple(user_key)))
        self._changed.setdefault(self._at, {})[_frozen(key)] = (key, None)

    def clear(self, name: str) -> None:
        self._cleared.add(self._at)
        self._changed.pop(self._at, None)

    def flush(self) -> None:
        if self._cleared:
            self._remove_all(np.array(sorted(self._cleared), np.int64))
        changes = [(i, k, v) for i, keys in sorted(self._changed.items()) for k, v in keys.values()]
        if changes:
            owners = np.array([i for i, _, _ in changes], np.int64)
            user_keys = self._user.from_values([k for _, k, _ in changes], self._user_keys)
            entries = self._keys.take(pa.array(owners)).append_column(_USER_KEY, user_keys)
            slots = self._store.find(entries)
            indexes = self._store.gather(slots, [INDEX]).column(0).fill_null(-1).to_numpy().copy()
            put = np.array([v is not None for _, _, v in changes])
            gone = ~put & (slots >= 0)
            self._remove(owners[gone], indexes[gone], slots[gone])
            new = put & (slots < 0)
            if new.any():
                indexes[new] = self._order.append(owners[new], entries.filter(pa.array(new)).select([_USER_KEY]))
            payload = self._payload([v for _, _, v in changes if v is not None])
            payload = payload.append_column(INDEX, pa.array(indexes[put]))
            self._store.upsert(entries.filter(pa.array(put)), payload, slots[put])
            self.updated += int(put.sum())
        self._finish()

    def _remove(self, owners: Ints, indexes: Ints, slots: Ints) -> None:
        """Removes entries, and their user keys from the sequences. `owners` ascend."""
        if not len(slots):
            return
        self._store.remove(slots)
        self._order.remove(self._order.elements(owners, indexes))
        self.removed += len(slots)

    def _remove_all(self, positions: Ints) -> None:
        found = self._order.locate(positions)
        user_keys = self._order.payload(found.slots).column(0)
        self._store.remove(
            self._store.find(self._keys.take(pa.array(found.owners)).append_column(_USER_KEY, user_keys))
        )
        self._order.remove(found)
        self.removed += len(found.slots)

    def _finish(self) -> None:
        sparse = self._order.sparse()
        if len(sparse):
            laid_out, user_keys = self._order.lay_out(sparse)
            entries = self._keys.take(pa.array(laid_out.owners)).append_column(_USER_KEY, user_keys.column(0))
            slots = self._store.find(entries)
            payload = self._payload_at(slots).append_column(INDEX, pa.array(laid_out.indexes))
            self._store.upsert(entries, payload, slots)
        self._order.flush()
        self._reset()

    def expire(self, now_ms: int) -> int:
        if self._ttl is None:
            return 0
        slots = self._store.scan_expired(now_ms)
        if not len(slots):
            return 0
        keys, owners = self._order.distinct(self._store.gather(slots, self._spark_keys.physical.names))
        indexes = self._store.gather(slots, [INDEX]).column(0).to_numpy()
        self._keys = keys
        self._order.begin(keys)
        order = np.argsort(owners, kind="stable")
        removed = self.removed
        self._remove(owners[order], indexes[order], slots[order])
        self.removed = removed
        self._finish()
        return len(slots)


def _read_ahead(position: int, live: Ints, known: Any) -> Ints:
    """A position and those after it that are not known yet, together with at most so many values."""
    end = position + 1
    total = int(live[position])
    while end < len(live) and total + live[end] <= _READ_AHEAD and end - position < _READ_AHEAD:
        total += int(live[end])
        end += 1
    return np.array([i for i in range(position, end) if i not in known], np.int64)
