"""Queries killed at random moments and started again: what came out in the end equals the batch answer, nothing twice.

SIGKILL (TerminateProcess on Windows) leaves the process no say. The input grows before each start, so that there is
always work to be killed in; the last start is left alone.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import sys
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse
from urllib.request import url2pathname

import pyarrow.parquet as pq
import pytest

from tests.crash import driver

KILLS = 50
FILES_A_START = 3
ROWS_A_FILE = 12
LONGEST_S = 0.3
START = 1_712_397_600  # 2024-04-06 10:00:00 UTC
PRELOADED = ["tests.crash.driver", "runnel.session"]

Row = dict[str, Any]


class Input:
    """Files with ever newer modification times, so that one a batch makes an order that does not depend on kills."""

    def __init__(self, folder: Path, make: Callable[[int], list[Row]]) -> None:
        self.folder = folder
        self.rows: list[list[Row]] = []
        self._make = make
        folder.mkdir(parents=True)

    def grow(self, files: int) -> None:
        for _ in range(files):
            self.put(self._make(len(self.rows)))

    def put(self, rows: list[Row]) -> None:
        number = len(self.rows)
        part = self.folder / f".{number:05d}"
        part.write_text("".join(json.dumps(row) + "\n" for row in rows))
        os.utime(part, (START + number, START + number))
        part.replace(self.folder / f"{number:05d}.json")
        self.rows.append(rows)


def committed(folder: Path) -> list[Path]:
    """The files that the sink's log lists, read as its format says: the newest compacted entry and all after it."""
    log = folder / "_spark_metadata"
    entries = {int(path.name.split(".")[0]): path for path in log.iterdir() if not path.name.startswith(".")}
    for path in log.glob("*.compact"):
        entries[int(path.stem)] = path
    compacted = max((n for n, path in entries.items() if path.suffix == ".compact"), default=-1)
    listed = []
    for number in sorted(n for n in entries if n >= compacted):
        version, *lines = entries[number].read_text().splitlines()
        assert version == "v1"
        listed += [url2pathname(unquote(urlparse(json.loads(line)["path"]).path)) for line in lines]
    return [Path(path) for path in listed]


def kill_and_restart(case: str, folder: Path, source: Input, seed: int) -> int:
    """Starts the case until it has been killed KILLS times at work, then lets it finish. The number of starts."""
    method = "spawn" if sys.platform == "win32" else "forkserver"
    context = multiprocessing.get_context(method)
    context.set_forkserver_preload(PRELOADED)
    chance = random.Random(seed)
    kills = starts = 0
    while kills < KILLS:
        starts += 1
        assert starts < 4 * KILLS, "the query ends before it can be killed"
        source.grow(FILES_A_START)
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=driver.run, args=(case, folder, sender))
        process.start()
        sender.close()
        if chance.random() < 0.8:  # else the kill may come while the query is being started
            try:
                receiver.recv()
            except EOFError:
                pytest.fail(f"the query could not be started again after {kills} kills (exit code {process.exitcode})")
        process.join(chance.uniform(0, LONGEST_S))
        alive = process.is_alive()
        process.kill()
        process.join()
        receiver.close()
        if alive:
            kills += 1
        else:
            assert process.exitcode == 0, f"the query failed by itself after {kills} kills"
    return starts


def finish(case: str, folder: Path) -> None:
    context = multiprocessing.get_context("spawn" if sys.platform == "win32" else "forkserver")
    process = context.Process(target=driver.run, args=(case, folder))
    process.start()
    process.join(60)
    assert process.exitcode == 0


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_windowed_counts_survive_fifty_kills(tmp_path: Path) -> None:
    chance = random.Random(1)

    def make(number: int) -> list[Row]:
        """Out of order by up to 20 s; the watermark is 30 s behind, so nothing is late."""
        times = [START + 10 * number - chance.randrange(20) for _ in range(ROWS_A_FILE)]
        return [{"ts": t, "word": chance.choice("abc"), "n": chance.randrange(100)} for t in times]

    source = Input(tmp_path / "in", lambda number: [{**row, "ts": _iso(row["ts"])} for row in make(number)])
    kill_and_restart("windowed", tmp_path, source, seed=11)
    source.put([{"ts": _iso(START + 10_000_000), "word": "end", "n": 0}])
    finish("windowed", tmp_path)

    counts: Counter[tuple[int, str]] = Counter()
    totals: Counter[tuple[int, str]] = Counter()
    for row in (row for rows in source.rows for row in rows if row["word"] != "end"):
        key = (_seconds(row["ts"]) // 60 * 60, row["word"])
        counts[key] += 1
        totals[key] += row["n"]
    found = [row for path in committed(tmp_path / "out") for row in pq.ParquetFile(path).read().to_pylist()]
    expected = [{"start": k[0], "word": k[1], "count": n, "total": totals[k]} for k, n in counts.items()]
    assert sorted(found, key=_by_key) == sorted(expected, key=_by_key)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_deduplicated_rows_survive_fifty_kills(tmp_path: Path) -> None:
    chance = random.Random(2)

    def make(number: int) -> list[Row]:
        """Ids around the file's number: most come in several files."""
        return [{"id": number * 4 + chance.randrange(40), "file": number} for _ in range(ROWS_A_FILE)]

    source = Input(tmp_path / "in", make)
    kill_and_restart("deduplicated", tmp_path, source, seed=12)
    finish("deduplicated", tmp_path)

    first: dict[int, int] = {}
    for row in (row for rows in source.rows for row in rows):
        first.setdefault(row["id"], row["file"])
    found = [json.loads(line) for path in committed(tmp_path / "out") for line in path.read_text().splitlines()]
    assert sorted((row["id"], row["file"]) for row in found) == sorted(first.items())


def _by_key(row: Row) -> tuple[int, str]:
    return row["start"], row["word"]


def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())
