"""What the demo feeds: files of words with their times, dropped into a folder whole; and the answer, counted in Python."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

DAY = datetime(2024, 4, 6, 10, 0, tzinfo=UTC)
WINDOW = timedelta(minutes=15)
WORDS = ("Streaming", "Hello", "Spark", "Hadoop", "Kafka", "window", "state", "Runnel")

Key = tuple[datetime, str]


@dataclass(slots=True)
class Feed:
    """Writes files and keeps count of what a batch job over all of them would say, late events left out."""

    folder: Path
    files: int = 0
    rows: int = 0
    expected: Counter[Key] = field(default_factory=Counter)
    _random: random.Random = field(default_factory=lambda: random.Random(6))

    def put(self, events: list[tuple[datetime, str]], *, late: bool = False) -> None:
        """One file, visible at once and whole. Late events are written but not expected in the answer."""
        text = "".join(
            json.dumps({"timestamp": at.isoformat().replace("+00:00", "Z"), "word": word}) + "\n" for at, word in events
        )
        part = self.folder / f".{self.files:05d}.part"
        part.write_text(text)
        part.replace(self.folder / f"{self.files:05d}.json")
        self.files += 1
        self.rows += len(events)
        if not late:
            self.expected.update((window_start(at), word) for at, word in events)

    def some(self, at: datetime, rows: int) -> None:
        """Words at `at` or up to five minutes before it: out of order, but never late."""
        chosen = self._random.choices(WORDS, weights=(6, 4, 5, 3, 3, 2, 2, 4), k=rows)
        self.put([(at - timedelta(seconds=self._random.randrange(300)), word) for word in chosen])


def window_start(at: datetime) -> datetime:
    """The start of the 15-minute window that holds `at`."""
    return at - (at - datetime(1970, 1, 1, tzinfo=UTC)) % WINDOW
