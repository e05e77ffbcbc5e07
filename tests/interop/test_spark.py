"""One stateless query taken over by the other engine: checkpoint and `_spark_metadata` of either serve both.

No file is read twice and none is left out, across compactions of both logs, and also when the first engine was stopped
between its sink and its commit.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

JOB = Path(__file__).with_name("job.py")
START = 1_712_397_600  # 2024-04-06 10:00:00 UTC
FILES_A_RUN = 4

pytestmark = [pytest.mark.java, pytest.mark.slow, pytest.mark.timeout(280)]


def _engines(first: str, spark_python: str) -> Iterator[tuple[str, list[str]]]:
    commands = {"runnel": [sys.executable, "-m", "runnel.cli", "run"], "spark": [spark_python]}
    while True:
        yield first, commands[first]
        first = "spark" if first == "runnel" else "runnel"


def _grow(folder: Path, run: int) -> list[list[Any]]:
    """Puts FILES_A_RUN files of three rows into the source; the rows that come out of them."""
    expected = []
    for number in range(run * FILES_A_RUN, (run + 1) * FILES_A_RUN):
        path = folder / "in" / f"part {number:03d}.json"
        day = 6 + number % 2
        rows = [{"id": number * 10 + i, "ts": f"2024-04-0{day}T10:00:00Z", "word": f"w{i} é"} for i in range(3)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        os.utime(path, (START + number, START + number))
        expected += [[row["id"], row["word"], f"2024-04-0{day}"] for row in rows]
    return expected


def _run(command: list[str], folder: Path) -> dict[str, Any]:
    # A short-lived JVM is quicker without its second compiler.
    env = {**os.environ, "JDK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"}
    done = subprocess.run(
        [*command, str(JOB), str(folder)], capture_output=True, encoding="utf-8", timeout=200, env=env
    )
    assert done.returncode == 0, done.stderr[-4000:]
    line = next(text for text in done.stdout.splitlines() if text.startswith("FOUND "))
    found: dict[str, Any] = json.loads(line.removeprefix("FOUND "))
    return found


def _forget_last_commit(folder: Path) -> None:
    """Leaves the checkpoint as a process does that is killed between its sink and its commit."""
    commits = folder / "checkpoint" / "commits"
    last = max(int(path.name) for path in commits.iterdir() if not path.name.startswith("."))
    for name in (str(last), f".{last}.crc"):
        (commits / name).unlink(missing_ok=True)


CLEAN, KILLED = "ended in order", "killed before its commit"


@pytest.mark.parametrize(
    ("first", "ends"),
    [
        pytest.param("runnel", [CLEAN, KILLED, KILLED, CLEAN], id="runnel-spark-runnel-spark"),
        pytest.param("spark", [CLEAN, CLEAN], id="spark-runnel"),
    ],
)
def test_the_other_engine_goes_on(first: str, ends: list[str], spark_python: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    expected: list[list[Any]] = []
    for run, (end, (engine, command)) in enumerate(zip(ends, _engines(first, spark_python), strict=False)):
        expected += _grow(tmp_path, run)
        found = _run(command, tmp_path)
        assert found["rows"] == sorted(expected), f"run {run}, on {engine}"
        # A batch that the sink holds already may run again under its id before these.
        batches = found["batches"][-FILES_A_RUN:]
        assert batches == list(range(run * FILES_A_RUN, (run + 1) * FILES_A_RUN)), f"run {run}, on {engine}"
        if end == KILLED:
            _forget_last_commit(tmp_path)
