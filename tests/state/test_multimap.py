"""The multimap against a dict of sets, over random histories; hashes of keys that Spark takes for equal."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnel.state import multimap
from runnel.state.multimap import KeyHasher, Multimap


@given(
    st.lists(st.tuples(st.lists(st.integers(0, 12), max_size=12), st.integers(0, 100)), max_size=25),
    st.sampled_from([4, 1 << 20]),
)
def test_finds_the_live_rows_of_a_hash(history: list[tuple[list[int], int]], limit: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(multimap, "_MERGE_LIMIT", limit)
        number_at: dict[int, int] = {}
        hash_at: dict[int, int] = {}
        found = Multimap(
            lambda slots, numbers: np.array([number_at.get(s) == n for s, n in zip(slots, numbers, strict=True)], bool)
        )
        next_number = 0
        for hashes, removed_share in history:
            slots: list[int] = []
            for hash_ in hashes:
                slot = next(s for s in range(len(number_at) + 1) if s not in number_at)
                number_at[slot], hash_at[slot] = next_number + len(slots), hash_
                slots.append(slot)
            numbers = np.arange(next_number, next_number + len(slots))
            found.add(np.array(hashes, np.uint64), np.array(slots, np.int64), numbers)
            next_number += len(slots)
            expected = defaultdict(set)
            for slot, hash_ in hash_at.items():
                expected[hash_].add(slot)
            for wanted in ([], [3], [0, 5, 12], list(range(13)), list(range(40))):
                got = found.find(np.array(wanted, np.uint64)).tolist()
                assert len(got) == len(set(got))
                assert set(got) == set().union(*(expected[h] for h in wanted))
            gone = [s for s in number_at if s * 7 % 100 < removed_share]
            for slot in gone:
                del number_at[slot], hash_at[slot]
            found.removed(len(gone))


def test_entries_without_a_row_are_swept() -> None:
    live = np.zeros(100_000, np.bool_)
    index = Multimap(lambda slots, numbers: live[numbers])
    for first in range(0, 100_000, 1000):
        numbers = np.arange(first, first + 1000)
        live[numbers] = True
        index.add(numbers.astype(np.uint64), numbers, numbers)
        if first >= 2000:
            live[first - 2000 : first - 1000] = False
            index.removed(1000)
    assert int(live.sum()) == 2000
    assert len(index) < 20_000


def test_equal_keys_have_equal_hashes() -> None:
    hasher = KeyHasher([pa.float64(), pa.string()])
    keys = pa.table({"f": [0.0, -0.0, float("nan"), -float("nan"), None], "s": ["x", "x", "y", "y", None]})
    first, second, third, fourth, null = hasher.hashes(keys).tolist()
    assert first == second and third == fourth
    assert len({first, third, null}) == 3
