"""What the random histories do not reach: sizes, refusals, and the parts by themselves."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runnel.state.eviction import ExpiryIndex
from runnel.state.hashing import hash_bytes
from runnel.state.store import KeyedStore

_KEY = pa.schema([("k", pa.string())])
_VALUE = pa.schema([("v", pa.int64())])


def _keys(*names: str) -> pa.Table:
    return pa.table({"k": list(names)}, schema=_KEY)


def _values(*numbers: int) -> pa.Table:
    return pa.table({"v": list(numbers)}, schema=_VALUE)


def test_many_rows_grow_shrink_and_grow() -> None:
    store = KeyedStore(_KEY, _VALUE, eviction_column="v")
    rng = np.random.default_rng(1)
    names = pa.array([f"key-{i}" for i in range(60_000)])
    numbers = np.arange(60_000)
    for first in range(0, 60_000, 20_000):
        some = slice(first, first + 20_000)
        store.upsert(pa.table({"k": names[some]}), pa.table({"v": numbers[some]}))
        store.mark_committed()
    store.remove(store.scan_expired(39_999))
    store.mark_committed()
    assert store.num_rows == 20_000
    order = rng.permutation(60_000)
    slots = store.find(pa.table({"k": names.take(pa.array(order))}))
    assert ((slots >= 0) == (order >= 40_000)).all()
    assert store.gather(slots[slots >= 0])["v"].to_numpy().tolist() == order[order >= 40_000].tolist()
    before = store.memory_bytes
    for _ in range(20):  # slots, heap and index are reused
        store.upsert(pa.table({"k": names[:20_000]}), pa.table({"v": numbers[:20_000]}))
        store.mark_committed()
        store.remove(store.scan_expired(19_999))
        store.mark_committed()
    assert store.memory_bytes <= before * 1.5
    assert store.num_rows == 20_000


def test_scan() -> None:
    store = KeyedStore(_KEY, _VALUE)
    store.upsert(_keys("a", "b", "c"), _values(1, 2, 3))
    odd = store.scan(lambda rows: pc.not_equal(rows["v"], 2), ["v"])
    assert store.gather_keys(odd)["k"].to_pylist() == ["a", "c"]
    assert store.scan(lambda rows: rows["v"].to_numpy() > 2, ["v", "k"]).tolist() == [odd[1]]
    assert store.scan(lambda rows: pc.if_else(pc.equal(rows["v"], 1), None, True), ["v"]).tolist() == [1, 2]
    assert store.scan(None, []).tolist() == store.all_slots().tolist()


@pytest.mark.parametrize("known", [False, True])
def test_a_repeated_key_is_refused_and_changes_nothing(known: bool) -> None:
    store = KeyedStore(_KEY, _VALUE)
    store.upsert(_keys("b"), _values(0))
    if known:
        with pytest.raises(ValueError, match="twice"):
            store.upsert(_keys("b", "b"), _values(1, 2))
    else:
        with pytest.raises(ValueError, match="repeat the key"):
            store.upsert(_keys("a", "b", "a"), _values(1, 2, 3))
    assert store.num_rows == 1
    assert store.gather(store.find(_keys("a", "b")))["v"].to_pylist() == [None, 0]


def test_misuse_is_refused() -> None:
    with pytest.raises(ValueError, match="distinct names; repeated: k"):
        KeyedStore(_KEY, pa.schema([("k", pa.int64())]))
    with pytest.raises(ValueError, match="at least one column"):
        KeyedStore(pa.schema([]), pa.schema([]))
    with pytest.raises(ValueError, match="eviction column k"):
        KeyedStore(_KEY, _VALUE, eviction_column="k")
    store = KeyedStore(_KEY, _VALUE)
    slots = store.upsert(_keys("a"), _values(1))
    with pytest.raises(ValueError, match="no eviction column"):
        store.scan_expired(1)
    with pytest.raises(ValueError, match="2 keys, but 1 rows"):
        store.upsert(_keys("a", "b"), _values(1))
    with pytest.raises(ValueError, match="columns k expected"):
        store.find(pa.table({}))
    for wrong in ([-1], [slots[0], slots[0]], [slots[0] + 1]):
        with pytest.raises(ValueError, match="slot"):
            store.remove(np.array(wrong))
    store.remove(slots)
    with pytest.raises(ValueError, match="removed"):
        store.upsert(_keys("a"), _values(1), slots)


def test_inputs_are_cast_by_position() -> None:
    store = KeyedStore(_KEY, _VALUE)
    store.upsert(pa.table({"other": pa.array(["a"], pa.large_string())}), pa.table({"x": pa.array([7], pa.int32())}))
    dictionary = pa.table({"k": pa.array(["a"]).dictionary_encode()})
    assert store.gather(store.find(dictionary)).to_pylist() == [{"v": 7}]


def test_a_removed_key_may_return_in_the_same_batch() -> None:
    store = KeyedStore(_KEY, _VALUE)
    slots = store.upsert(_keys("a"), _values(1))
    store.mark_committed()
    store.remove(slots)
    again = store.upsert(_keys("a"), _values(2))
    assert again[0] != slots[0]
    staged = store.staged()
    assert (staged.upserted.tolist(), staged.removed.tolist()) == (again.tolist(), slots.tolist())
    store.rollback()
    assert store.gather(store.find(_keys("a")))["v"].to_pylist() == [1]


def test_hash_bytes_reads_each_row_alone() -> None:
    """A row hashes to the same wherever it lies, and rows that differ in one byte or in length differ."""
    rng = np.random.default_rng(2)
    rows = [bytes(rng.integers(0, 3, size).astype(np.uint8)) for size in [*range(40), 127, 128, 129, 1000, 20_000] * 2]
    together = _hashes(rows)
    assert together == [_hashes([row])[0] for row in rows]
    by_hash: dict[int, bytes] = {}
    for row, value in zip(rows, together, strict=True):
        assert by_hash.setdefault(value, row) == row
    zeros = _hashes([b"\0" * size for size in range(300)])
    assert len(set(zeros)) == 300


def _hashes(rows: list[bytes]) -> list[int]:
    offsets = np.cumsum([0, *map(len, rows)])
    return hash_bytes(offsets, np.frombuffer(b"".join(rows), dtype=np.uint8)).tolist()


def test_expiry_index_forgets_what_is_outdated() -> None:
    index = ExpiryIndex()
    live = {slot: slot % 10 for slot in range(100)}
    for first in range(0, 100, 7):
        slots = np.arange(first, min(first + 7, 100))
        index.add(slots % 10, slots)

    def is_current(expiry: np.ndarray, slots: np.ndarray) -> np.ndarray:
        return np.array([live.get(slot) == when for slot, when in zip(slots.tolist(), expiry.tolist(), strict=True)])

    assert index.expired(-1, is_current).tolist() == []
    due = index.expired(2, is_current)
    assert due.tolist() == [slot for slot in range(100) if slot % 10 <= 2]
    assert index.expired(2, is_current).tolist() == due.tolist()
    for slot in due.tolist():
        del live[slot]
    assert index.expired(2, is_current).tolist() == []
    assert len(index) == 70


def test_some_columns_of_rows_are_replaced_and_rolled_back() -> None:
    store = KeyedStore(
        pa.schema([("k", pa.int64())]),
        pa.schema([("text", pa.string()), ("flag", pa.bool_()), ("until", pa.int64())]),
        eviction_column="until",
    )
    values = pa.table({"text": ["a", "b", None], "flag": [False, False, False], "until": [1, 2, 3]})
    slots = store.upsert(pa.table({"k": [1, 2, 3]}), values)
    store.mark_committed()
    store.update(slots[1:], pa.table({"flag": [True, None]}))
    assert store.gather(slots).to_pydict() == {
        "text": ["a", "b", None],
        "flag": [False, True, None],
        "until": [1, 2, 3],
    }
    assert store.staged().upserted.tolist() == slots[1:].tolist()
    assert store.is_live(slots).all()
    store.rollback()
    assert store.gather(slots).to_pydict() == values.to_pydict()
    for wrong in ("until", "k", "other"):
        with pytest.raises(ValueError, match=wrong):
            store.update(slots[:1], pa.table({wrong: [1]}))
    with pytest.raises(ValueError, match="no row"):
        store.update(np.array([-1]), pa.table({"flag": [True]}))


@given(
    st.lists(st.lists(st.tuples(st.sampled_from(["a", "b", "c", None]), st.integers(0, 3)), max_size=12), max_size=4),
    st.sampled_from([None, 0, 2]),
)
@settings(max_examples=60, deadline=None)
def test_insert_absent_keeps_the_first_of_equal_keys(
    batches: list[list[tuple[str | None, int]]], bits: int | None
) -> None:
    store = KeyedStore(pa.schema([("k", pa.string()), ("n", pa.int64())]), pa.schema([("v", pa.int64())]))
    real = store._prepared_keys

    def colliding(keys: pa.Table) -> tuple[list[pa.Array], np.ndarray]:
        arrays, hashes = real(keys)
        return arrays, hashes if bits is None else hashes & np.uint64((1 << bits) - 1)

    store._prepared_keys = colliding  # type: ignore[method-assign]
    seen: dict[tuple[str | None, int], int] = {}
    number = 0
    for batch in batches:
        expected = []
        for row, key in enumerate(batch):
            if key not in seen:
                seen[key] = number + row
                expected.append(row)
        keys = pa.table(
            {"k": pa.array([k for k, _ in batch], pa.string()), "n": pa.array([n for _, n in batch], pa.int64())}
        )
        values = pa.table({"v": pa.array(range(number, number + len(batch)), pa.int64())})
        assert store.insert_absent(keys, values).tolist() == expected
        number += len(batch)
    found = store.gather(store.all_slots(), ["k", "n", "v"]).to_pylist()
    assert {(row["k"], row["n"]): row["v"] for row in found} == seen
