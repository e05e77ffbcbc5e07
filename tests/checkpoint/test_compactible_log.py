"""File source and file sink logs: Spark's bytes, Spark's compaction."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from runnel.checkpoint.compactible_log import (
    CompactionSettings,
    FileEntry,
    FileStreamSinkLog,
    FileStreamSourceLog,
    SinkFileStatus,
    derive_interval,
    files_to_read,
    list_sink_files,
)
from runnel.errors import RunnelStateError
from runnel.files import path_to_uri

FIXTURES = Path(__file__).parent / "fixtures"
SPARK = CompactionSettings(interval=3, cleanup_delay_ms=0, min_batches_to_retain=2)


class Clock:
    def __init__(self, now_ms: int) -> None:
        self.time_ms = now_ms

    def now_ms(self) -> int:
        return self.time_ms

    def monotonic(self) -> float:
        raise AssertionError("not asked for")

    def wait(self, wake: object, timeout_s: float | None) -> bool:
        raise AssertionError("not asked for")


def names(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


def entry(batch_id: int) -> FileEntry:
    return FileEntry(f"file:///{batch_id}", batch_id, batch_id)


def test_replaying_sparks_source_log_gives_its_files(tmp_path: Path) -> None:
    spark, ours = FileStreamSourceLog(FIXTURES / "v1/sources/0", SPARK), FileStreamSourceLog(tmp_path, SPARK)
    entries = spark.all_entries()
    assert [item.batch_id for item in entries] == list(range(8))
    for item in entries:
        ours.add(item.batch_id, (item,))
    ours.close()
    assert names(tmp_path) == ["5.compact", "6", "7"]
    for name in names(tmp_path):
        assert (tmp_path / name).read_bytes() == (spark.path / name).read_bytes()


def test_replaying_sparks_sink_log_gives_its_files(tmp_path: Path) -> None:
    spark, ours = FileStreamSinkLog(FIXTURES / "sink/_spark_metadata", SPARK), FileStreamSinkLog(tmp_path, SPARK)
    entries = spark.all_entries()
    for batch_id, item in enumerate(entries):
        ours.add(batch_id, (item,))
    ours.close()
    assert names(tmp_path) == ["5.compact", "6", "7"]
    for name in names(tmp_path):
        assert (tmp_path / name).read_bytes() == (spark.path / name).read_bytes()


def test_going_on_with_sparks_log(tmp_path: Path) -> None:
    shutil.copytree(FIXTURES / "v1/sources/0", tmp_path / "0")
    log = FileStreamSourceLog(tmp_path / "0", CompactionSettings(interval=10))
    assert log.interval == 6  # from 5.compact alone, whatever was asked for
    for batch_id in range(8, 12):
        log.add(batch_id, (entry(batch_id),))
    log.close()
    assert (tmp_path / "0" / "11.compact").exists()
    assert [item.batch_id for item in log.all_entries()] == list(range(12))
    assert log.get(11) == (entry(11),)
    assert log.between(9, 11) == [entry(10), entry(11)]
    assert [item.batch_id for item in log.between(None, 2)] == [0, 1, 2]


@pytest.mark.parametrize(
    ("configured", "compact_ids", "interval"),
    [
        (10, [], 10),
        (10, [9, 19], 10),
        (10, [2, 5, 8], 3),
        (10, [4], 5),
        (5, [19], 5),
        (3, [19], 4),
        (7, [19], 10),
        (11, [19], 20),
        (10, [18], 19),
    ],
)
def test_interval(configured: int, compact_ids: list[int], interval: int) -> None:
    assert derive_interval(configured, compact_ids) == interval


@pytest.mark.parametrize(("latest", "ids"), [(0, [0]), (1, [0, 1]), (2, [2]), (4, [2, 3, 4]), (5, [5])])
def test_what_is_read(latest: int, ids: list[int]) -> None:
    assert list(files_to_read(latest, 3)) == ids


def test_empty_batches_and_second_writers(tmp_path: Path) -> None:
    log = FileStreamSinkLog(tmp_path, CompactionSettings(interval=2))
    log.add(0, ())
    assert (tmp_path / "0").read_bytes() == b"v1"
    log.add(1, ())
    for batch_id in range(2):
        with pytest.raises(RunnelStateError, match="CONCURRENT_STREAM_LOG_UPDATE"):
            log.add(batch_id, ())
    log.close()
    assert names(tmp_path) == ["0", "1.compact"]


@pytest.mark.parametrize(("delete", "delay", "left"), [(False, 0, 6), (True, 3_600_000, 6), (True, 0, 4)])
def test_deletion(tmp_path: Path, delete: bool, delay: int, left: int) -> None:
    log = FileStreamSourceLog(tmp_path, CompactionSettings(2, delay, delete, 2))
    for batch_id in range(6):
        log.add(batch_id, (entry(batch_id),))
    log.close()
    assert len(names(tmp_path)) == left - (1 if left == 4 else 0)
    assert [item.batch_id for item in log.all_entries()] == list(range(6))


def test_a_hole_is_an_error(tmp_path: Path) -> None:
    log = FileStreamSourceLog(tmp_path, CompactionSettings(3))
    log.add(0, (entry(0),))
    log.add(1, (entry(1),))
    log.close()
    (tmp_path / "0").unlink()
    with pytest.raises(RunnelStateError, match="MISSING_LOG_FILE"):
        log.all_entries()
    with pytest.raises(RunnelStateError, match="MISSING_LOG_FILE"):
        log.add(2, ())
    assert names(tmp_path) == ["1"]


def test_reading_beside_a_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = CompactionSettings(3, cleanup_delay_ms=0, min_batches_to_retain=1)
    reader, writer = (FileStreamSourceLog(tmp_path, settings) for _ in range(2))
    for batch_id in range(5):
        writer.add(batch_id, (entry(batch_id),))
    latest_id, calls = reader.latest_id, []

    def slow() -> int | None:
        found = latest_id()
        if not calls:
            for batch_id in range(5, 8):
                writer.add(batch_id, (entry(batch_id),))
        calls.append(found)
        return found

    monkeypatch.setattr(reader, "latest_id", slow)
    assert [item.batch_id for item in reader.all_entries()] == list(range(8))
    assert calls == [4, 7]
    writer.close()


def test_retention(tmp_path: Path) -> None:
    clock = Clock(1000)
    log = FileStreamSinkLog(tmp_path, CompactionSettings(2), retention_ms=100, clock=clock)
    old, new = SinkFileStatus("file:///a", 1, 890), SinkFileStatus("file:///b", 1, 950)
    log.add(0, (old, new))
    assert log.list_files() == [new]
    assert log.all_entries() == [old, new]
    log.add(1, ())
    log.close()
    assert log.all_entries() == [new]
    clock.time_ms = 2000
    assert log.list_files() == []


def test_output_directory(tmp_path: Path) -> None:
    assert list_sink_files(tmp_path) is None
    data = tmp_path / "k=1" / "part é%.parquet"
    data.parent.mkdir()
    data.write_bytes(b"xyz")
    os.utime(data, (1_700_000_000, 1_700_000_000))
    log = FileStreamSinkLog(tmp_path / "_spark_metadata")
    status = SinkFileStatus.of(data)
    assert status == SinkFileStatus(path_to_uri(data), 3, 1_700_000_000_000)
    log.add(0, (status,))
    log.close()
    assert [Path(path) for path in list_sink_files(tmp_path) or []] == [data]


@pytest.mark.parametrize("line", ["x", "{}", '{"path":1}', '{"path":"file:///a"}'])
def test_bad_lines(tmp_path: Path, line: str) -> None:
    (tmp_path / "0").write_text(f"v1\n{line}")
    for log in (FileStreamSourceLog(tmp_path), FileStreamSinkLog(tmp_path)):
        with pytest.raises(RunnelStateError, match="MALFORMED_LOG_FILE"):
            log.all_entries()


def test_interval_must_be_positive() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        CompactionSettings(interval=0)
