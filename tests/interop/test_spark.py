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
    done = subprocess.run([*command, str(JOB), str(folder)], capture_output=True, encoding="utf-8", timeout=200)
    assert done.returncode == 0, done.stderr[-4000:]
    line = next(text for text in done.stdout.splitlines() if text.startswith("FOUND "))
    found: dict[str, Any] = json.loads(line.removeprefix("FOUND "))
    return found


@pytest.mark.parametrize(("first", "runs"), [("runnel", 3), ("spark", 2)])
def test_the_other_engine_goes_on(first: str, runs: int, spark_python: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    expected: list[list[Any]] = []
    engines = _engines(first, spark_python)
    for run in range(runs):
        engine, command = next(engines)
        expected += _grow(tmp_path, run)
        found = _run(command, tmp_path)
        assert found["rows"] == sorted(expected), f"run {run}, on {engine}"
        assert found["batches"] == list(range(run * FILES_A_RUN, (run + 1) * FILES_A_RUN)), f"run {run}, on {engine}"


@pytest.mark.parametrize("first", ["runnel", "spark"])
def test_the_other_engine_finishes_an_uncommitted_batch(first: str, spark_python: str, tmp_path: Path) -> None:
    """A batch that the sink holds and the commit log does not is run again under its id, and changes nothing."""
    (tmp_path / "in").mkdir()
    engines = _engines(first, spark_python)
    expected = _grow(tmp_path, 0)
    _run(next(engines)[1], tmp_path)
    last = FILES_A_RUN - 1
    for name in (str(last), f".{last}.crc"):
        (tmp_path / "checkpoint" / "commits" / name).unlink(missing_ok=True)
    expected += _grow(tmp_path, 1)
    found = _run(next(engines)[1], tmp_path)
    assert found["rows"] == sorted(expected)
    assert found["batches"] == list(range(last, 2 * FILES_A_RUN))
