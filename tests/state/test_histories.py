"""Random histories: the keyed store and its files against the oracle, for every kind of key and value."""

from __future__ import annotations

import datetime as dt
import decimal
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from runnel.state import hashing
from runnel.state.store import KeyedStore
from runnel.state.versions import VersionedStore

from .oracle import OracleStore, Row, normal_of, rows_of

_UTC = dt.UTC
_PHASES = [phase for phase in Phase if phase is not Phase.explain]  # explaining a history takes minutes
_FEW_INTS = st.integers(-3, 12)
_FLOATS = st.sampled_from([0.0, -0.0, 1.5, -1.5, float("nan"), float("inf")])
_WINDOW = pa.struct([("start", pa.timestamp("us", "UTC")), ("end", pa.timestamp("us", "UTC"))])
_DEEP = pa.struct([("x", pa.float64()), ("s", pa.string()), ("l", pa.list_(pa.int32()))])


def _maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.none(), strategy)


def _instants() -> st.SearchStrategy[dt.datetime]:
    return _FEW_INTS.map(lambda n: dt.datetime(2026, 1, 1, tzinfo=_UTC) + dt.timedelta(seconds=n))


STRATEGIES: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.int64(): _FEW_INTS,
    pa.int8(): _FEW_INTS,
    pa.bool_(): st.booleans(),
    pa.float64(): _FLOATS,
    pa.float32(): _FLOATS,
    pa.date32(): _FEW_INTS.map(lambda n: dt.date(2026, 1, 20) + dt.timedelta(days=n)),
    pa.timestamp("us", "UTC"): _instants(),
    pa.decimal128(38, 2): _FEW_INTS.map(lambda n: decimal.Decimal(n) * 10**30 + decimal.Decimal("0.25")),
    pa.string(): st.one_of(
        st.sampled_from(["", "a", "b", "abcdefgh", "x" * 300, "x" * 299 + "y"]), st.text(max_size=12)
    ),
    pa.binary(): st.binary(max_size=3),
    pa.null(): st.none(),
    pa.list_(pa.float64()): st.lists(_maybe(_FLOATS), max_size=2),
    pa.map_(pa.string(), pa.int64()): st.dictionaries(st.sampled_from("abc"), _maybe(_FEW_INTS), max_size=2).map(
        lambda d: list(d.items())
    ),
    _WINDOW: _FEW_INTS.map(
        lambda n: {
            "start": dt.datetime(2026, 1, 1, tzinfo=_UTC) + dt.timedelta(seconds=n),
            "end": dt.datetime(2026, 1, 1, tzinfo=_UTC) + dt.timedelta(seconds=n + 10),
        }
    ),
    _DEEP: st.fixed_dictionaries(
        {"x": _maybe(_FLOATS), "s": _maybe(st.sampled_from(["", "a"])), "l": _maybe(st.lists(_FEW_INTS, max_size=1))}
    ),
}


@dataclass(frozen=True)
class Shape:
    """Columns of one kind of state; `expiry` gives a row's expiry in the eviction column's unit."""

    keys: tuple[pa.DataType, ...]
    values: tuple[pa.DataType, ...]
    eviction: str | None = None

    def schema(self, prefix: str, types: tuple[pa.DataType, ...]) -> pa.Schema:
        return pa.schema([(f"{prefix}{i}", kind) for i, kind in enumerate(types)])

    def expiry(self, key: Row, value: Row) -> int | None:
        match self.eviction:
            case "v0":
                return value[0]
            case "k0.end":
                return None if key[0] is None else _micros(key[0]["end"])
            case _:
                return None


def _micros(instant: dt.datetime) -> int:
    return (instant - dt.datetime(1970, 1, 1, tzinfo=_UTC)) // dt.timedelta(microseconds=1)


_I64, _STR = pa.int64(), pa.string()
SHAPES = {
    "strings": Shape((_STR,), (_I64, _STR), "v0"),
    "window": Shape((_WINDOW, _STR), (_I64, pa.float64()), "k0.end"),
    "numbers": Shape((_I64, pa.float64(), pa.bool_()), (pa.decimal128(38, 2), pa.timestamp("us", "UTC"))),
    "small": Shape((pa.int8(), pa.float32(), pa.date32()), (pa.bool_(), pa.null())),
    "exact": Shape((pa.decimal128(38, 2), pa.binary(), pa.null()), (pa.binary(), _WINDOW)),
    "nested": Shape((pa.list_(pa.float64()), _DEEP), (pa.list_(pa.float64()), _DEEP)),
    "maps": Shape((pa.map_(_STR, _I64), pa.timestamp("us", "UTC")), (pa.map_(_STR, _I64), _I64)),
    "no_key": Shape((), (_I64, _STR), "v0"),
    "no_value": Shape((_STR, _I64), ()),
}


def _table(schema: pa.Schema, rows: list[Row]) -> pa.Table:
    if len(schema) == 0:
        empty = pa.array([{}] * len(rows), pa.struct([]))
        return pa.Table.from_batches([pa.RecordBatch.from_struct_array(empty)])
    columns = [pa.array([row[i] for row in rows], field.type) for i, field in enumerate(schema)]
    return pa.Table.from_arrays(columns, schema=schema)


class Histories(RuleBasedStateMachine):
    shape: Shape

    @initialize()
    def start(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="runnel-state-"))
        self.key_schema = self.shape.schema("k", self.shape.keys)
        self.value_schema = self.shape.schema("v", self.shape.values)
        self.oracle = OracleStore(list(self.shape.keys), self.shape.expiry)
        self._open()
        self.versioned.load(0)

    def _open(self) -> None:
        self.store = KeyedStore(self.key_schema, self.value_schema, eviction_column=self.shape.eviction)
        self.versioned = VersionedStore(self.directory, self.store, snapshot_every=2, sync=False)

    def teardown(self) -> None:
        if hasattr(self, "directory"):
            self.versioned.close()
            assert self.versioned.snapshot_failures == 0
            shutil.rmtree(self.directory)

    def _draw_rows(self, data: st.DataObject, types: tuple[pa.DataType, ...], count: int) -> list[Row]:
        return [tuple(data.draw(_maybe(STRATEGIES[kind])) for kind in types) for _ in range(count)]

    def _draw_keys(self, data: st.DataObject, count: int) -> list[Row]:
        known = [key for key, _ in self.oracle.rows.values()]
        keys = self._draw_rows(data, self.shape.keys, count)
        if known:
            keys = [data.draw(st.sampled_from(known)) if data.draw(st.booleans()) else key for key in keys]
        return keys

    @rule(data=st.data(), count=st.integers(0, 8), with_slots=st.booleans(), sliced=st.booleans())
    def upsert(self, data: st.DataObject, count: int, with_slots: bool, sliced: bool) -> None:
        keys = list({self.oracle.key(key): key for key in self._draw_keys(data, count)}.values())
        values = self._draw_rows(data, self.shape.values, len(keys))
        key_table, value_table = _table(self.key_schema, keys), _table(self.value_schema, values)
        if sliced and self.shape.keys and self.shape.values:
            # The same rows behind an offset, in two chunks
            key_table = pa.concat_tables([pa.concat_tables([key_table] * 2).combine_chunks().slice(len(keys))])
            half = len(keys) // 2
            value_table = pa.concat_tables([value_table.slice(0, half), value_table.slice(half)])
        slots = self.store.find(key_table) if with_slots else None
        given = self.store.upsert(key_table, value_table, slots)
        self.oracle.upsert(keys, values)
        assert given.tolist() == self.store.find(key_table).tolist()

    @rule(data=st.data(), count=st.integers(1, 5))
    def find_and_gather(self, data: st.DataObject, count: int) -> None:
        keys = self._draw_keys(data, count)
        slots = self.store.find(_table(self.key_schema, keys))
        expected = [self.oracle.get(key) for key in keys]
        assert [slot >= 0 for slot in slots] == [row is not None for row in expected]
        names = [*self.value_schema.names, *self.key_schema.names]
        got = rows_of(self.store.gather(slots, names))
        for row, want in zip(got, expected, strict=True):
            if want is None:
                assert row == (None,) * len(names)
            else:
                self._assert_same_row(row[len(self.value_schema) :], row[: len(self.value_schema)], want)

    def _assert_same_row(self, key: Row, value: Row, want: tuple[Row, Row]) -> None:
        assert self.oracle.key(key) == self.oracle.key(want[0])
        for kind, got_item, want_item in zip(self.shape.values, value, want[1], strict=True):
            assert normal_of(kind, got_item) == normal_of(kind, want_item)

    @precondition(lambda self: self.oracle.rows)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        known = [key for key, _ in self.oracle.rows.values()]
        picked = data.draw(st.lists(st.sampled_from(range(len(known))), unique=True))
        keys = [known[i] for i in picked]
        self.store.remove(self.store.find(_table(self.key_schema, keys)))
        self.oracle.remove(keys)

    @precondition(lambda self: self.shape.eviction is not None)
    @rule(threshold=_FEW_INTS, evict=st.booleans())
    def expire(self, threshold: int, evict: bool) -> None:
        if self.shape.eviction == "k0.end":
            threshold = _micros(dt.datetime(2026, 1, 1, tzinfo=_UTC) + dt.timedelta(seconds=threshold + 10))
        slots = self.store.scan_expired(threshold)
        keys = rows_of(self.store.gather_keys(slots))
        assert len(set(slots.tolist())) == len(slots)
        assert {self.oracle.key(key) for key in keys} == self.oracle.expired(threshold)
        if evict:
            self.store.remove(slots)
            self.oracle.remove(keys)

    @rule()
    def commit(self) -> None:
        stats = self.versioned.commit(self.versioned.version + 1)
        assert stats.bytes > 0
        self.oracle.commit()

    @rule()
    def rollback(self) -> None:
        self.versioned.rollback()
        self.oracle.rollback()

    @rule(data=st.data(), anew=st.booleans())
    def load(self, data: st.DataObject, anew: bool) -> None:
        version = data.draw(st.integers(0, len(self.oracle.versions) - 1))
        if anew:
            self.versioned.close()
            self._open()
        self.versioned.load(version)
        self.oracle.load(version)

    @invariant()
    def same_rows(self) -> None:
        if not hasattr(self, "oracle"):
            return
        slots = self.store.all_slots()
        assert self.store.num_rows == len(slots) == len(self.oracle.rows)
        keys = rows_of(self.store.gather_keys(slots))
        values = rows_of(self.store.gather(slots))
        assert len({self.oracle.key(key) for key in keys}) == len(keys)
        for key, value in zip(keys, values, strict=True):
            want = self.oracle.get(key)
            assert want is not None
            self._assert_same_row(key, value, want)


@pytest.mark.parametrize("collide", [False, True], ids=["hashed", "colliding"])
@pytest.mark.parametrize("name", SHAPES)
def test_histories(name: str, collide: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """`colliding`: all keys share three hashes, so that only the comparison of keys tells them apart."""
    if collide:
        combine = hashing.combine
        monkeypatch.setattr(hashing, "combine", lambda left, right: combine(left, right) % np.uint64(3))
    machine = type(f"Histories_{name}", (Histories,), {"shape": SHAPES[name]})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=10,
            stateful_step_count=15,
            phases=_PHASES,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
