"""Checkpoint logs: files that Spark 4.2 wrote are read, and written back byte by byte."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from runnel.checkpoint.commit_log import CommitLog, CommitMetadata
from runnel.checkpoint.offset_log import OffsetLog, OffsetSeq, OffsetSeqMetadata
from runnel.checkpoint.pinned_conf import PINNED, pin, restore
from runnel.checkpoint.stream_metadata import StreamMetadata
from runnel.errors import RunnelStateError

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("kind", [OffsetLog, CommitLog])
def test_sparks_files_come_back_the_same(
    tmp_path: Path, version: str, kind: Callable[[Path], OffsetLog | CommitLog]
) -> None:
    name = "offsets" if kind is OffsetLog else "commits"
    spark = kind(FIXTURES / version / name)
    ours = OffsetLog(tmp_path, version=int(version[1])) if kind is OffsetLog else CommitLog(tmp_path)
    for batch_id in spark.list_ids():
        value = spark.get(batch_id)
        assert value is not None
        ours.add(batch_id, value)  # type: ignore[arg-type]
        assert (tmp_path / str(batch_id)).read_bytes() == (spark.path / str(batch_id)).read_bytes()
    assert ours.latest_id() == 7
    assert ours.latest() == spark.latest()
    ours.close()


def test_spark_values() -> None:
    latest = OffsetLog(FIXTURES / "v1/offsets").latest()
    assert latest is not None
    assert latest[0] == 7
    assert latest[1].offsets == ('{"logOffset":7}',)
    assert latest[1].metadata is not None
    assert latest[1].metadata.batch_watermark_ms == 1704067196000
    assert CommitLog(FIXTURES / "v1/commits").get(7) == CommitMetadata(1704067197000)
    second = OffsetLog(FIXTURES / "v2/offsets")
    assert second.version == 2  # found in the log, whatever was asked for
    assert second.get(0) is not None
    assert dataclasses.replace(second.get(0), metadata=None) == OffsetSeq(('{"logOffset":0}',), None, ("0",))  # type: ignore[type-var]


def test_pinned_keys_are_sparks() -> None:
    latest = OffsetLog(FIXTURES / "v1/offsets").get(7)
    assert latest is not None
    assert latest.metadata is not None
    assert list(pin({"spark.sql.shuffle.partitions": "2"}).items()) == list(latest.metadata.conf.items())


def test_restored_conf() -> None:
    recorded = {"spark.sql.shuffle.partitions": "2", "unknown": "x"}
    conf = restore(recorded, {"spark.sql.shuffle.partitions": "5", PINNED[0].key: "Mine"})
    assert conf["spark.sql.shuffle.partitions"] == "2"
    assert conf["unknown"] == "x"
    assert conf["spark.sql.streaming.aggregation.stateFormatVersion"] == "1"
    assert conf["spark.sql.streaming.statefulOperator.useStrictDistribution"] == "false"
    assert conf[PINNED[0].key] == "Mine"
    assert restore({}, {})["spark.sql.shuffle.partitions"] == "200"


def test_offsets_that_are_missing(tmp_path: Path) -> None:
    log = OffsetLog(tmp_path)
    log.add(0, OffsetSeq((None, "5"), OffsetSeqMetadata()))
    assert (tmp_path / "0").read_text() == 'v1\n{"batchWatermarkMs":0,"batchTimestampMs":0,"conf":{}}\n-\n5'
    assert log.get(0) == OffsetSeq((None, "5"), OffsetSeqMetadata())
    (tmp_path / "1").write_text("v1\n\n-")
    assert log.get(1) == OffsetSeq((None,), None)
    log.close()


def test_version_2_of_named_sources(tmp_path: Path) -> None:
    log = OffsetLog(tmp_path, version=2)
    value = OffsetSeq(('{"a:b":1}', None), OffsetSeqMetadata(extra={"sourceMetadataInfo": {}}), ("left", "right"))
    log.add(0, value)
    assert log.get(0) == value
    log.close()


def test_an_offset_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one line"):
        OffsetLog(tmp_path).add(0, OffsetSeq(("a\nb",), OffsetSeqMetadata()))


def test_an_entry_is_written_once(tmp_path: Path) -> None:
    log = CommitLog(tmp_path / "commits", sync=False)
    assert log.get(0) is None
    assert log.latest() is None
    assert not (tmp_path / "commits").exists()
    log.add(0, CommitMetadata(1))
    with pytest.raises(RunnelStateError, match="CONCURRENT_STREAM_LOG_UPDATE"):
        log.add(0, CommitMetadata(2))
    assert not log.add_if_absent(0, CommitMetadata(2))
    assert log.get(0) == CommitMetadata(1)
    log.close()


def test_stale_sidecar_goes(tmp_path: Path) -> None:
    (tmp_path / ".0.crc").write_bytes(b"crc")
    log = CommitLog(tmp_path)
    log.add(0, CommitMetadata())
    log.close()
    assert [entry.name for entry in tmp_path.iterdir()] == ["0"]


def test_purge(tmp_path: Path) -> None:
    log = CommitLog(tmp_path, sync=False)
    for batch_id in range(6):
        log.add(batch_id, CommitMetadata())
        (tmp_path / f".{batch_id}.crc").write_bytes(b"")
    log.purge(0)
    log.purge(2)
    assert log.list_ids() == [2, 3, 4, 5]
    log.purge(1)
    log.purge(5)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".5.crc", "5"]
    log.close()


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("", "INCOMPLETE_LOG_FILE"),
        ("v1", "INCOMPLETE_LOG_FILE"),
        ("v3\n{}", "INVALID_LOG_VERSION.MAX_SUPPORTED_VERSION"),
        ("v0\n{}", "MALFORMED_LOG_FILE"),
        ("1\n{}", "MALFORMED_LOG_FILE"),
        ("v\n{}", "MALFORMED_LOG_FILE"),
        ("v1\n{", "MALFORMED_LOG_FILE"),
        ("v1\n[]", "MALFORMED_LOG_FILE"),
        ('v1\n{"batchWatermarkMs":"x"}', "MALFORMED_LOG_FILE"),
        ('v1\n{"conf":1}', "MALFORMED_LOG_FILE"),
        ("v2\n{}\nno-colon", "MALFORMED_LOG_FILE"),
    ],
)
def test_bad_offset_files(tmp_path: Path, text: str, condition: str) -> None:
    log = OffsetLog(tmp_path)
    (tmp_path / "0").write_text(text)
    with pytest.raises(RunnelStateError) as caught:
        log.get(0)
    assert caught.value.condition == condition
    assert str(tmp_path / "0") in str(caught.value)


def test_commit_forms(tmp_path: Path) -> None:
    log = CommitLog(tmp_path)
    (tmp_path / "0").write_text("v1")
    (tmp_path / "1").write_text('v2\n{"nextBatchWatermarkMs":3,"stateUniqueIds":{"0":[["a"]]}}')
    (tmp_path / ".2.tmp").write_text("x")
    (tmp_path / "2.tmp").write_text("x")
    assert (log.get(0), log.get(1), log.list_ids()) == (CommitMetadata(0), CommitMetadata(3), [0, 1])


def test_query_id(tmp_path: Path) -> None:
    assert StreamMetadata.read(FIXTURES / "v1") == StreamMetadata("b21de327-6e02-4f76-a818-a498981c57f7")
    checkpoint = tmp_path / "a" / "b"
    made = StreamMetadata.read_or_create(checkpoint, new_id="b21de327-6e02-4f76-a818-a498981c57f7")
    assert (checkpoint / "metadata").read_bytes() == (FIXTURES / "v1/metadata").read_bytes()
    assert StreamMetadata.read_or_create(checkpoint) == made
    assert StreamMetadata.read_or_create(tmp_path / "c") != made


@pytest.mark.parametrize("text", ["", "{}", "x"])
def test_bad_query_id(tmp_path: Path, text: str) -> None:
    (tmp_path / "metadata").write_text(text)
    with pytest.raises(RunnelStateError):
        StreamMetadata.read(tmp_path)


def test_lost_query_id(tmp_path: Path) -> None:
    (tmp_path / "offsets").mkdir()
    StreamMetadata.read_or_create(tmp_path / "x")
    (tmp_path / "offsets" / "0").write_text("v1")
    with pytest.raises(RunnelStateError, match="STREAMING_CHECKPOINT_MISSING_METADATA_FILE"):
        StreamMetadata.read_or_create(tmp_path)
    assert StreamMetadata.read_or_create(tmp_path, verify=False)
