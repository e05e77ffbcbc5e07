"""The benchmarks' input: the same bytes on every machine, made once and kept in the work folder."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

KEYS = 1_000_000
EPOCH = int(datetime(2024, 4, 6, tzinfo=UTC).timestamp())
_SPAN_S = 86_400
_WORDS = [f"word{i}" for i in range(100)]


def events(folder: Path, rows: int) -> Path:
    """One file of `rows` JSON lines, about 110 bytes each; event times climb over one day, keys repeat in random order."""
    target = folder / f"events-{rows}" / "events.json"
    if target.exists():
        return target.parent
    target.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(42)
    keys = random.permutation(rows) % max(1, min(KEYS, rows // 2))
    words = random.integers(0, len(_WORDS), rows)
    values = random.integers(0, 10_000, rows)
    times = np.datetime64(EPOCH, "s") + (np.arange(rows, dtype=np.int64) * _SPAN_S // rows).astype("timedelta64[s]")
    part = target.with_name(".events.json.part")
    with part.open("w") as out:
        for low in range(0, rows, 100_000):
            texts = np.datetime_as_string(times[low : low + 100_000])
            out.writelines(
                f'{{"id": {low + i}, "key": {key}, "word": "{_WORDS[word]}", "value": {value / 100}, "ts": "{text}Z"}}\n'
                for i, (key, word, value, text) in enumerate(
                    zip(
                        keys[low : low + 100_000].tolist(),
                        words[low : low + 100_000].tolist(),
                        values[low : low + 100_000].tolist(),
                        texts.tolist(),
                        strict=True,
                    )
                )
            )
    part.replace(target)
    return target.parent


def keyed(folder: Path, keys: int, batches: int, batch_rows: int) -> Path:
    """A parquet file with `keys` different keys, then `batches` files of `batch_rows` rows of keys seen before.

    Modification times are ten seconds apart, so that a file source with one file a batch takes them in order.
    """
    target = folder / f"keyed-{keys}-{batches}-{batch_rows}"
    if (target / "_READY").exists():
        return target
    target.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(7)
    for i in range(batches + 1):
        chosen = random.permutation(keys) if i == 0 else random.integers(0, keys, batch_rows)
        table = pa.table({"key": pa.array(chosen, pa.int64()), "value": pa.array(chosen % 1000, pa.int64())})
        path = target / f"part-{i:05d}.parquet"
        pq.write_table(table, path)
        stamp = EPOCH + 10 * i
        os.utime(path, (stamp, stamp))
    (target / "_READY").touch()
    return target


def words(folder: Path) -> Path:
    """Forty small files of the course's words with their times, one row each."""
    target = folder / "words"
    if (target / "_READY").exists():
        return target
    target.mkdir(parents=True, exist_ok=True)
    for i in range(40):
        word = ("Streaming", "Hello", "Spark", "Hadoop")[i % 4]
        path = target / f"{i:04d}.json"
        minute = 10 * 60 + i * 4
        path.write_text(f'{{"timestamp": "2024-04-06 {minute // 60:02d}:{minute % 60:02d}:00", "word": "{word}"}}\n')
        stamp = EPOCH + 10 * i
        os.utime(path, (stamp, stamp))
    (target / "_READY").touch()
    return target
