"""Deltas, snapshots, purging, damage, and what a crash can leave behind."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from runnel.errors import RunnelStateError
from runnel.state.store import KeyedStore
from runnel.state.versions import StateSchema, VersionedStore

_KEY = pa.schema([("word", pa.string())])
_VALUE = pa.schema([("count", pa.int64())])
_GAP = "CANNOT_LOAD_STATE_STORE.CANNOT_READ_DELTA_FILE_NOT_EXISTS"
_DAMAGE = "CANNOT_LOAD_STATE_STORE.UNCATEGORIZED"


def _open(directory: Path, *, version: int = 0, snapshot_every: int = 1000) -> VersionedStore:
    store = VersionedStore(directory, KeyedStore(_KEY, _VALUE), snapshot_every=snapshot_every, sync=False)
    store.load(version)
    return store


def _put(versioned: VersionedStore, **counts: int) -> None:
    keys = pa.table({"word": list(counts)}, schema=_KEY)
    versioned.store.upsert(keys, pa.table({"count": list(counts.values())}, schema=_VALUE))


def _drop(versioned: VersionedStore, word: str) -> None:
    store = versioned.store
    store.remove(store.find(pa.table({"word": [word]}, schema=_KEY)))


def _content(versioned: VersionedStore) -> dict[str, int]:
    rows = versioned.store.gather(versioned.store.all_slots(), ["word", "count"])
    return dict(zip(rows["word"].to_pylist(), rows["count"].to_pylist(), strict=True))


def _names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_a_delta_a_commit_even_without_changes(tmp_path: Path) -> None:
    versioned = _open(tmp_path)
    _put(versioned, a=1, b=2)
    first = versioned.commit(1)
    second = versioned.commit(2)
    _put(versioned, a=3)
    _drop(versioned, "b")
    third = versioned.commit(3)
    assert (first.rows_updated, second.rows_updated, third.rows_updated) == (2, 0, 1)
    assert (first.rows_removed, second.rows_removed, third.rows_removed) == (0, 0, 1)
    assert _names(tmp_path) == {"1.delta.arrow", "2.delta.arrow", "3.delta.arrow"}
    assert first.bytes == (tmp_path / "1.delta.arrow").stat().st_size
    for version, want in enumerate([{}, {"a": 1, "b": 2}, {"a": 1, "b": 2}, {"a": 3}]):
        assert _content(_open(tmp_path, version=version)) == want


def test_any_arrow_reader_opens_a_delta(tmp_path: Path) -> None:
    versioned = _open(tmp_path)
    _put(versioned, a=1)
    versioned.commit(1)
    with pa.ipc.open_stream((tmp_path / "1.delta.arrow").read_bytes()) as reader:
        assert reader.read_all().to_pylist() == [{"word": "a", "count": 1}]


def test_versions_follow_one_another(tmp_path: Path) -> None:
    versioned = _open(tmp_path)
    with pytest.raises(ValueError, match="cannot follow"):
        versioned.commit(2)


def test_a_failed_commit_can_be_repeated_or_rolled_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    versioned = _open(tmp_path)
    _put(versioned, a=1)

    def full(*_: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(versioned._directory, "write", full)
        with pytest.raises(OSError, match="disk full"):
            versioned.commit(1)
    assert versioned.version == 0
    assert versioned.commit(1).rows_updated == 1
    _put(versioned, a=2, b=1)
    versioned.rollback()
    assert _content(versioned) == {"a": 1}


def test_a_gap_names_the_missing_file(tmp_path: Path) -> None:
    versioned = _open(tmp_path)
    for version in range(1, 4):
        versioned.commit(version)
    (tmp_path / "2.delta.arrow").unlink()
    with pytest.raises(RunnelStateError) as caught:
        _open(tmp_path, version=3)
    assert caught.value.condition == _GAP
    assert caught.value.message_parameters["fileToRead"].endswith("2.delta.arrow")
    assert _content(_open(tmp_path, version=1)) == {}


@pytest.mark.parametrize("cut", [0, 5, 20, 200, -1])
def test_a_truncated_delta_is_damage(tmp_path: Path, cut: int) -> None:
    versioned = _open(tmp_path)
    _put(versioned, a=1)
    versioned.commit(1)
    path = tmp_path / "1.delta.arrow"
    path.write_bytes(path.read_bytes()[:cut])
    _assert_damaged(tmp_path, 1, "1.delta.arrow")


def _assert_damaged(directory: Path, version: int, name: str) -> None:
    with pytest.raises(RunnelStateError) as caught:
        _open(directory, version=version)
    assert caught.value.condition == _DAMAGE
    explanation = str(caught.value.__cause__)
    assert f"{name}: " in explanation
    assert "new checkpoint location" in explanation


def test_every_flipped_byte_is_noticed(tmp_path: Path) -> None:
    versioned = _open(tmp_path)
    _put(versioned, a=1)
    versioned.commit(1)
    path = tmp_path / "1.delta.arrow"
    whole = path.read_bytes()
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x40]) + whole[at + 1 :])
        _assert_damaged(tmp_path, 1, "1.delta.arrow")


def test_a_file_of_another_version_or_schema_is_damage(tmp_path: Path) -> None:
    versioned = _open(tmp_path / "a")
    for version in (1, 2):
        versioned.commit(version)
    second = tmp_path / "a" / "2.delta.arrow"
    whole = second.read_bytes()
    second.write_bytes((tmp_path / "a" / "1.delta.arrow").read_bytes())
    _assert_damaged(tmp_path / "a", 2, "2.delta.arrow")
    second.write_bytes(whole)
    wider = KeyedStore(_KEY, pa.schema([("count", pa.int64()), ("sum", pa.float64())]))
    with pytest.raises(RunnelStateError) as caught:
        VersionedStore(tmp_path / "a", wider, sync=False).load(1)
    assert "sum double" in str(caught.value.__cause__)


def _with_snapshots(directory: Path, versions: int, every: int) -> VersionedStore:
    versioned = _open(directory, snapshot_every=every)
    for version in range(1, versions + 1):
        _put(versioned, **{f"w{version}": version, "last": version})
        if version > 2:
            _drop(versioned, f"w{version - 2}")
        versioned.commit(version)
        versioned.wait_for_snapshot()
    return versioned


def test_snapshots_hold_what_the_deltas_hold(tmp_path: Path) -> None:
    versioned = _with_snapshots(tmp_path, 7, 3)
    assert {"3.snapshot.arrow", "6.snapshot.arrow"} <= _names(tmp_path)
    for version in (3, 6):
        want = _content(_open(tmp_path, version=version))
        (tmp_path / f"{version}.snapshot.arrow").rename(tmp_path / "aside")
        assert _content(_open(tmp_path, version=version)) == want
        (tmp_path / "aside").rename(tmp_path / f"{version}.snapshot.arrow")
    assert versioned.snapshot_failures == 0


def test_purge_keeps_what_the_kept_versions_need(tmp_path: Path) -> None:
    versioned = _with_snapshots(tmp_path, 8, 3)
    want = {version: _content(_open(tmp_path, version=version)) for version in (5, 6, 8)}
    versioned.purge(5)
    assert _names(tmp_path) == {"3.snapshot.arrow", "6.snapshot.arrow", *(f"{v}.delta.arrow" for v in range(4, 9))}
    for version, content in want.items():
        assert _content(_open(tmp_path, version=version)) == content
    versioned.purge(2)
    with pytest.raises(RunnelStateError) as caught:
        _open(tmp_path, version=2)
    assert caught.value.condition == _GAP


def test_without_a_snapshot_nothing_is_purged(tmp_path: Path) -> None:
    versioned = _open(tmp_path)
    for version in range(1, 4):
        versioned.commit(version)
    versioned.purge(3)
    assert len(_names(tmp_path)) == 3


def test_a_damaged_snapshot_is_passed_over_while_older_files_suffice(tmp_path: Path) -> None:
    _with_snapshots(tmp_path, 6, 3)
    want = _content(_open(tmp_path, version=6))
    path = tmp_path / "6.snapshot.arrow"
    path.write_bytes(path.read_bytes()[:-3])
    reopened = _open(tmp_path, version=6)
    assert _content(reopened) == want
    reopened.purge(6)  # must not trust the damaged file
    assert _content(_open(tmp_path, version=6)) == want
    (tmp_path / "4.delta.arrow").unlink()
    _assert_damaged(tmp_path, 6, "6.snapshot.arrow")


def test_a_run_that_was_given_up_leaves_nothing_behind(tmp_path: Path) -> None:
    _with_snapshots(tmp_path, 6, 3)
    resumed = _open(tmp_path, version=2)
    _put(resumed, other=1)
    resumed.commit(3)
    assert _names(tmp_path) == {"1.delta.arrow", "2.delta.arrow", "3.delta.arrow"}
    assert _content(_open(tmp_path, version=3)) == {"w1": 1, "w2": 2, "last": 2, "other": 1}


def test_temporary_files_of_a_dead_process_go(tmp_path: Path) -> None:
    (tmp_path / ".1.delta.arrow.1234.tmp").write_bytes(b"half")
    _open(tmp_path)
    assert _names(tmp_path) == set()


def test_the_background_failing_does_not_stop_the_query(tmp_path: Path) -> None:
    versioned = _open(tmp_path, snapshot_every=3)
    versioned.commit(1)
    (tmp_path / "1.delta.arrow").unlink()
    for version in range(2, 5):
        versioned.commit(version)
    versioned.wait_for_snapshot()
    assert versioned.snapshot_failures == 1


def test_schema_file(tmp_path: Path) -> None:
    versioned = _open(tmp_path)
    assert versioned.read_schema() is None
    key = '{"type":"struct","fields":[{"name":"word","type":"string","nullable":true,"metadata":{}}]}'
    schema = StateSchema("stateStoreSave", "default", key, '{"type":"struct","fields":[]}', 1, 200)
    versioned.write_schema(schema)
    assert versioned.read_schema() == schema
    (tmp_path / "_schema.json").write_text(json.dumps({"version": 1}))
    with pytest.raises(RunnelStateError) as caught:
        versioned.read_schema()
    assert caught.value.condition == _DAMAGE
