"""Checkpoints that cannot be used: each is refused with the file's name and what to do, and nothing is overwritten."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyspark.errors import PySparkException


def feed(folder: Path, *names: str) -> None:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_text(f"{name}\n", encoding="utf-8")
        os.utime(folder / name, (1_700_000_000 + len(list(folder.iterdir())),) * 2)


def run(spark: Any, root: Path, *, counted: bool) -> None:
    """A query over the files of `root` that ends when they are read."""
    frame = spark.readStream.option("maxFilesPerTrigger", 1).text(str(root / "in"))
    writer = (frame.groupBy("value").count() if counted else frame).writeStream.format("noop")
    writer = writer.outputMode("update" if counted else "append").option("checkpointLocation", str(root / "checkpoint"))
    assert writer.trigger(availableNow=True).start().awaitTermination(60)


def rewrite(pattern: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Changes the bytes of the newest of the files that the pattern names."""

    def damage(checkpoint: Path) -> None:
        path = sorted(p for p in checkpoint.glob(pattern) if p.is_file())[-1]
        path.write_bytes(change(path.read_bytes()))

    return damage


def remove(*names: str) -> Callable[[Path], None]:
    def damage(checkpoint: Path) -> None:
        for name in names:
            path = checkpoint / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return damage


def newer(data: bytes) -> bytes:
    return data.replace(b"v1\n", b"v99\n", 1)


STATELESS = {
    "offsets, newer": (rewrite("offsets/2", newer), "INVALID_LOG_VERSION.MAX_SUPPORTED_VERSION"),
    "offsets, no version": (rewrite("offsets/2", lambda data: b"garbage"), "MALFORMED_LOG_FILE|INVALID_LOG_VERSION"),
    "offsets, binary": (rewrite("offsets/2", lambda data: bytes(range(256))), "MALFORMED_LOG_FILE|INVALID_LOG_VERSION"),
    "offsets, empty": (rewrite("offsets/2", lambda data: b""), "INCOMPLETE_LOG_FILE|incomplete"),
    "offsets, truncated": (rewrite("offsets/2", lambda data: data[:40]), "MALFORMED_LOG_FILE"),
    "offsets, no source": (rewrite("offsets/2", lambda data: data.rsplit(b"\n", 1)[0]), "sources"),
    "offsets, a hole": (remove("offsets/1", "commits/2"), "batch 1"),
    "offsets, gone": (remove("offsets"), "commits|offsets"),
    "commits, newer": (rewrite("commits/2", newer), "INVALID_LOG_VERSION.MAX_SUPPORTED_VERSION"),
    "commits, garbage": (rewrite("commits/2", lambda data: b"v1\n{nonsense"), "MALFORMED_LOG_FILE"),
    "metadata, gone": (remove("metadata"), "STREAMING_CHECKPOINT_MISSING_METADATA_FILE"),
    "metadata, garbage": (rewrite("metadata", lambda data: b"{nonsense"), "MALFORMED_LOG_FILE"),
    "metadata, empty": (rewrite("metadata", lambda data: b""), "INCOMPLETE_LOG_FILE|incomplete"),
    "source log, newer": (rewrite("sources/0/2", newer), "INVALID_LOG_VERSION.MAX_SUPPORTED_VERSION"),
    "source log, garbage": (rewrite("sources/0/2", lambda data: b"v1\n{nonsense"), "MALFORMED_LOG_FILE"),
    "source log, empty": (rewrite("sources/0/2", lambda data: b""), "INCOMPLETE_LOG_FILE|incomplete"),
}

STATEFUL = {
    "state, gone": (remove("state"), "STREAMING_STATEFUL_OPERATOR_MISSING_STATE_DIRECTORY"),
    "operator, garbage": (rewrite("state/0/_metadata/metadata", lambda data: b"v1\nx"), "MALFORMED_LOG_FILE"),
    "delta, truncated": (rewrite("state/0/**/*delta*", lambda data: data[: len(data) // 2]), "CANNOT_LOAD_STATE_STORE"),
    "delta, garbage": (rewrite("state/0/**/*delta*", lambda data: bytes(range(256))), "CANNOT_LOAD_STATE_STORE"),
    "delta, empty": (rewrite("state/0/**/*delta*", lambda data: b""), "CANNOT_LOAD_STATE_STORE"),
}


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".lock" not in path.name and "sources" not in path.parts
    }


@pytest.mark.parametrize(
    ("counted", "damage", "expected"),
    [pytest.param(False, *case, id=name) for name, case in STATELESS.items()]
    + [pytest.param(True, *case, id=name) for name, case in STATEFUL.items()],
)
def test_a_damaged_checkpoint_is_refused(
    spark: Any, tmp_path: Path, counted: bool, damage: Callable[[Path], None], expected: str
) -> None:
    feed(tmp_path / "in", "a", "b", "c")
    run(spark, tmp_path, counted=counted)
    damage(tmp_path / "checkpoint")
    before = contents(tmp_path / "checkpoint")
    feed(tmp_path / "in", "d")
    with pytest.raises(PySparkException, match=expected) as caught:
        run(spark, tmp_path, counted=counted)
    assert "INTERNAL_ERROR" not in str(caught.value)
    assert contents(tmp_path / "checkpoint") == before


def test_a_lost_commit_runs_the_batch_again(spark: Any, tmp_path: Path) -> None:
    feed(tmp_path / "in", "a", "b", "c")
    run(spark, tmp_path, counted=True)
    (tmp_path / "checkpoint" / "commits" / "2").unlink()
    run(spark, tmp_path, counted=True)
    assert (tmp_path / "checkpoint" / "commits" / "2").exists()
    assert not (tmp_path / "checkpoint" / "offsets" / "3").exists()


OTHER = """
import runnel
runnel.install()
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
try:
    spark.readStream.format("rate").load().writeStream.format("noop").option("checkpointLocation", {path!r}).start()
except Exception as problem:
    print(problem)
"""


def test_a_second_process_is_refused(spark: Any, tmp_path: Path) -> None:
    writer = spark.readStream.format("rate").load().writeStream.format("noop")
    query = writer.option("checkpointLocation", str(tmp_path / "c")).start()
    code = OTHER.format(path=str(tmp_path / "c"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert "CONCURRENT_CHECKPOINT_USE" in done.stdout
    assert str(os.getpid()) in done.stdout
    assert done.stderr == ""
    assert query.isActive
    query.stop()


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_second_start_in_this_process_stops_the_first(spark: Any, tmp_path: Path, elsewhere: bool) -> None:
    def start(session: Any) -> Any:
        writer = session.readStream.format("rate").load().writeStream.format("noop")
        return writer.option("checkpointLocation", str(tmp_path / "c")).start()

    first = start(spark)
    other = spark.newSession() if elsewhere else spark
    other.conf.set("spark.sql.streaming.stopActiveRunOnRestart", False)
    with pytest.raises(PySparkException, match="running already"):
        start(other)
    assert first.isActive
    other.conf.unset("spark.sql.streaming.stopActiveRunOnRestart")
    second = start(other)
    assert (first.isActive, first.exception(), second.isActive) == (False, None, True)
    assert (first.id, first.runId != second.runId) == (second.id, True)
    second.stop()
