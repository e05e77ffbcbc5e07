"""Runnel in a minute: a live word count with windows and a watermark, a late event, a kill, a restart, the proof.

make demo
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from feed import DAY, WINDOW, Feed, Key
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

HERE = Path(__file__).resolve().parent
PATIENCE_S = 40.0
THE_END = "the end"


class Runner:
    """The word count's process: started, listened to, killed."""

    def __init__(self, source: Path, work: Path, listen: Callable[[dict[str, Any]], None]) -> None:
        command = [sys.executable, "-m", "runnel.cli", "run", str(HERE / "word_count.py"), str(source), str(work)]
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  (open as long as the process)
        self.started = time.perf_counter()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self._errors, text=True)
        self._listen = listen
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            try:
                event = json.loads(line)
            except ValueError:
                continue  # a line cut off by the kill
            self._listen(event)

    def kill(self) -> int:
        """SIGKILL (TerminateProcess on Windows): nothing of the process runs after this."""
        self.process.kill()
        code = self.process.wait()
        self._thread.join()
        return code

    def end(self) -> None:
        """Asks the process to end and waits."""
        self.process.terminate()
        self.process.wait(20)
        self._thread.join()

    def errors(self) -> str:
        self._errors.seek(0)
        return self._errors.read()


@dataclass(slots=True)
class Board:
    """What is on the screen. The reader's thread writes it, the terminal's thread draws it."""

    headline: str = "starting"
    log: list[Text] = field(default_factory=list)
    batches: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=9))
    counts: dict[tuple[str, str, str], int] = field(default_factory=dict)
    progress: dict[str, dict[str, Any]] = field(default_factory=dict)
    late: int = 0
    evicted: int = 0
    ms: list[int] = field(default_factory=list)
    first_result: float | None = None
    lock: threading.Condition = field(default_factory=threading.Condition)
    began: float = field(default_factory=time.monotonic)
    plain: Console | None = None

    def say(self, text: str, style: str = "") -> None:
        with self.lock:
            line = Text(f"{time.monotonic() - self.began:5.1f} s  ", style="dim")
            line.append(text, style=style)
            self.log.append(line)
            if self.plain is not None:
                self.plain.print(line, soft_wrap=True)

    def hear(self, event: dict[str, Any]) -> None:
        with self.lock:
            if event["kind"] == "progress":
                self.progress[event["query"]] = event
                if event["query"] == "final":
                    self.batches.append(event)
                    self.late += event["late"]
                    self.evicted += event["evicted"]
                    self.ms.append(event["ms"])
                    if self.plain is not None:
                        self.plain.print(
                            f"         batch {event['batch']}: {event['rows']} rows in {event['ms']} ms, watermark "
                            f"{clock(event['watermark'])}, {event['held']} keys held, {event['evicted']} evicted",
                            soft_wrap=True,
                        )
            elif event["kind"] == "changed":
                if self.first_result is None and event["rows"]:
                    self.first_result = time.perf_counter()
                for start, end, word, count in event["rows"]:
                    if word != THE_END:
                        self.counts[start, end, word] = count
            self.lock.notify_all()

    def wait(self, what: str, ready: Callable[[], bool], runner: Runner) -> None:
        """Waits until `ready`, which looks at the board; RuntimeError with the program's own words if it never is."""
        deadline = time.monotonic() + PATIENCE_S
        with self.lock:
            while not ready():
                if runner.process.poll() is not None:
                    raise RuntimeError(f"the word count ended while waiting for {what}:\n{runner.errors()}")
                if time.monotonic() > deadline:
                    raise RuntimeError(f"waited {PATIENCE_S:.0f} s for {what}\n{runner.errors()}")
                self.lock.wait(0.1)

    def __rich__(self) -> RenderableType:
        with self.lock:
            table = Table(title="micro-batches of the query `final`", expand=True, title_justify="left")
            for name in ("batch", "rows", "ms", "rows/s", "watermark", "keys held", "evicted", "late dropped"):
                table.add_column(name, justify="right")
            for b in self.batches:
                if "mark" in b:
                    table.add_row(Text(b["mark"], style="bold red"))
                    continue
                table.add_row(
                    str(b["batch"]),
                    f"{b['rows']:,}",
                    str(b["ms"]),
                    f"{b['rows'] * 1000 / max(b['ms'], 1):,.0f}" if b["rows"] else "",
                    clock(b["watermark"]),
                    str(b["held"]),
                    Text(str(b["evicted"]), style="cyan") if b["evicted"] else "",
                    Text(str(b["late"]), style="bold red") if b["late"] else "",
                )
            words = Table(title="counts of the newest windows (query `live`)", expand=True, title_justify="left")
            windows = sorted({(start, end) for start, end, _ in self.counts})[-3:]
            names = sorted({word for _, _, word in self.counts})
            words.add_column("window")
            for name in names:
                words.add_column(name, justify="right")
            for start, end in windows:
                cells = [self.counts.get((start, end, name)) for name in names]
                words.add_row(f"{start}-{end}", *("" if c is None else f"{c:,}" for c in cells))
            return Group(
                Panel(Text(self.headline, style="bold"), title="Runnel", subtitle="PySpark, this process, no JVM"),
                table,
                words,
                *self.log[-9:],
            )


def clock(watermark: str | None) -> str:
    """The time of day of a watermark in progress form."""
    return watermark[11:19] if watermark and not watermark.startswith("1970") else "-"


def passed(board: Board, instant: datetime) -> Callable[[], bool]:
    """Whether both queries have run a batch with a watermark of at least `instant`."""

    def ready() -> bool:
        marks = [board.progress.get(name, {}).get("watermark") for name in ("live", "final")]
        return all(m is not None and datetime.fromisoformat(m) >= instant for m in marks)

    return ready


def story(board: Board, feed: Feed, work: Path, pace_s: float) -> dict[str, Any]:
    """The demo itself; what it found."""
    board.headline = "Starting the word count in a process of its own"
    feed.some(DAY + timedelta(minutes=5), 40)
    runner = Runner(feed.folder, work, board.hear)
    try:
        board.wait("the first result", lambda: board.first_result is not None, runner)
        assert board.first_result is not None
        start_s = board.first_result - runner.started
        board.say(f"First result {start_s:.1f} s after the process was started", "green")

        board.headline = "Words arrive, a file at a time; 15-minute windows, watermark 10 minutes behind"
        now = DAY + timedelta(minutes=5)
        for _ in range(18):
            now += timedelta(minutes=3)
            feed.some(now, 40)
            time.sleep(pace_s)
        closed = DAY + 2 * WINDOW
        board.wait("the watermark to pass 10:30", passed(board, closed), runner)
        board.say(f"State is evicted as windows close: {board.evicted} keys so far, written to parquet once", "cyan")

        board.headline = "An event of 10:14 comes, long after its window was closed"
        before = board.late
        feed.put([(DAY + timedelta(minutes=14), "Streaming")], late=True)
        board.wait("the late event", lambda: board.late > before, runner)
        board.say("The late event of 10:14 was dropped: its window is final", "red")
        time.sleep(pace_s * 3)

        board.headline = "A burst, and SIGKILL in the middle of it"
        for _ in range(6):
            now += timedelta(minutes=1)
            feed.some(now, 2000)
        seen = board.progress["final"]["batch"]
        board.wait("a batch of the burst", lambda: board.progress["final"]["batch"] > seen, runner)
        runner.kill()
        killed_at = board.progress["final"]["batch"]
        with board.lock:
            board.batches.append({"mark": "SIGKILL"})
        board.say(f"Killed (SIGKILL) after batch {killed_at} had been reported", "bold red")
        for _ in range(4):
            now += timedelta(minutes=1)
            feed.some(now, 500)
        board.say("The words keep coming while nobody counts them")
        time.sleep(pace_s * 4)

        board.headline = "The same command again, on the same checkpoint"
        runner = Runner(feed.folder, work, board.hear)
        board.wait("the restart", lambda: board.progress["final"]["batch"] > killed_at, runner)
        board.say("Back: it goes on with the batch that was not committed", "green")

        board.headline = "Full speed: four files of 100,000 words"
        for _ in range(4):
            now += timedelta(minutes=1)
            feed.some(now, 100_000)
        end = now + timedelta(days=1)
        feed.put([(end, THE_END)])
        board.wait("the last window", passed(board, end - timedelta(minutes=10)), runner)
        rows, ms = 0, 0
        with board.lock:
            for b in board.batches:
                if b.get("rows") == 100_000:
                    rows, ms = rows + b["rows"], ms + b["ms"]
        runner.end()
    finally:
        if runner.process.poll() is None:
            runner.kill()
    board.headline = "Comparing what was written with the batch answer"
    small = sorted(board.ms)
    return {
        "start_s": start_s,
        "killed_at": killed_at,
        "median_ms": small[len(small) // 2],
        "rows_per_s": rows * 1000 / ms if ms else None,
    }


def written(folder: Path) -> list[tuple[Key, int]]:
    """The rows of the parquet folder, as a batch job reads them: by the sink's log."""
    from runnel import SparkSession

    spark = SparkSession.builder.config("spark.sql.session.timeZone", "UTC").getOrCreate()
    frame = spark.read.parquet(str(folder)).selectExpr("CAST(start AS bigint) AS start", "word", "count")
    rows = [((datetime.fromtimestamp(start, UTC), word), count) for start, word, count in frame.collect()]
    spark.stop()
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description="Watch a word count survive a kill.")
    parser.add_argument("--pace", type=float, default=0.8, metavar="SECONDS", help="time between two files")
    pace_s = parser.parse_args().pace
    console = Console()
    with tempfile.TemporaryDirectory(prefix="runnel-demo-", ignore_cleanup_errors=True) as root:
        source, work = Path(root, "in"), Path(root, "work")
        source.mkdir()
        feed = Feed(source)
        board = Board(plain=None if console.is_terminal else console)
        try:
            if console.is_terminal:
                with Live(board, console=console, refresh_per_second=8):
                    found = story(board, feed, work, pace_s)
            else:
                found = story(board, feed, work, pace_s)
        except RuntimeError as problem:
            console.print(f"[bold red]The demo failed:[/] {problem}")
            return 1
        rows = written(work / "counts")
        answer = {key: n for key, n in feed.expected.items() if key[1] != THE_END}
        same = dict(rows) == answer
        twice = len(rows) - len(dict(rows))
        console.print()
        table = Table(title="What happened", show_header=False, title_justify="left")
        table.add_row("words fed, one of them late", f"{feed.rows - 1:,} in {feed.files - 1} files")
        table.add_row("killed", f"once, after batch {found['killed_at']}; restarted on the same checkpoint")
        table.add_row("windows and words written", f"{len(rows)}, of which twice: {twice}")
        table.add_row("words counted in them", f"{sum(n for _, n in rows):,} of {sum(answer.values()):,} in time")
        table.add_row("late events dropped", str(board.late))
        table.add_row("keys evicted from the state", str(board.evicted))
        table.add_row("process start to first result", f"{found['start_s']:.1f} s")
        table.add_row("micro-batch, median", f"{found['median_ms']} ms, two queries sharing the machine")
        if found["rows_per_s"]:
            table.add_row("batches of 100,000 words", f"{found['rows_per_s']:,.0f} rows/s a query")
        console.print(table)
        if same and not twice:
            console.print("[bold green]The counts equal the batch answer: nothing lost, nothing counted twice.[/]")
            return 0
        wrong = sorted(set(answer.items()) ^ set(rows), key=str)[:10]
        console.print(f"[bold red]The counts differ from the batch answer:[/] {wrong}")
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
