"""Runs the same PySpark programs on Runnel and on real Spark, one after the other on this machine; a table and JSON.

    python benchmarks/run.py                            everything, Runnel alone unless real Spark is given
    RUNNEL_SPARK_PYTHON=/spark/bin/python python benchmarks/run.py
    python benchmarks/run.py --only latency throughput --repeat 3 --rows 2000000 --json results.json

Real Spark is a Python that has the full `pyspark` package (and Java). Nothing here fails on a slow figure: the budgets
are printed beside what was measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import data

HERE = Path(__file__).resolve().parent
PROGRAMS = HERE / "programs"
THROUGHPUTS = ("stateless", "windowed", "keys", "dedup")
MEASURES = ("latency", "start", "throughput", "state", "memory")


@dataclass(frozen=True, slots=True)
class Engine:
    """How a program is started: the words that go before its path."""

    name: str
    command: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured thing. `values` are all repetitions; `best` is the one that counts."""

    measure: str
    engine: str
    unit: str
    values: list[float]
    higher_is_better: bool = False
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def best(self) -> float:
        return max(self.values) if self.higher_is_better else min(self.values)


@dataclass(slots=True)
class Bench:
    """What the measures share: where data and results go, how often to repeat, how to run a program."""

    work: Path
    rows: int
    latency_rows: int
    repeat: int
    timeout_s: float
    figures: list[Figure] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def program(
        self, engine: Engine, name: str, *arguments: str, on_line: Callable[[str], None] | None = None
    ) -> tuple[float, int]:
        """Runs a program to its end: wall seconds and peak resident bytes of its process tree (0 where unknown)."""
        command = [*engine.command, str(PROGRAMS / name), *arguments]
        started = time.perf_counter()
        with tempfile.TemporaryFile("w+") as errors:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=self.work)
            memory = _MemoryWatch(process.pid)
            killer = threading.Timer(self.timeout_s, process.kill)
            killer.start()
            assert process.stdout is not None
            for line in process.stdout:
                if on_line is not None:
                    on_line(line)
            code = process.wait()
            killer.cancel()
            seconds = time.perf_counter() - started
            peak = memory.stop()
            if code != 0:
                errors.seek(0)
                raise RuntimeError(f"{name} on {engine.name} ended with {code}:\n{errors.read()[-3000:]}")
        return seconds, peak

    def with_result(self, engine: Engine, name: str, *arguments: str) -> dict[str, Any]:
        """Runs a program whose last argument is a result file, in a fresh work folder (its word is `{work}`)."""
        folder = Path(tempfile.mkdtemp(prefix="run-", dir=self.work))
        try:
            out = folder / "result.json"
            self.program(engine, name, *(a.replace("{work}", str(folder)) for a in arguments), str(out))
            found: dict[str, Any] = json.loads(out.read_text())
            return found
        finally:
            shutil.rmtree(folder, ignore_errors=True)


class _MemoryWatch:
    """Samples the resident memory of a process and of those that it started, by /proc."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._peak = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        if Path("/proc/self/status").exists():
            self._thread.start()

    def _watch(self) -> None:
        while not self._done.wait(0.1):
            self._peak = max(self._peak, sum(_resident_bytes(pid) for pid in _tree(self._pid)))

    def stop(self) -> int:
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()
        return self._peak


def _tree(root: int) -> list[int]:
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        try:
            for task in Path(f"/proc/{pid}/task").iterdir():
                waiting.extend(int(child) for child in (task / "children").read_text().split())
        except OSError:
            continue  # the process ended between the listing and the look
    return found


def _resident_bytes(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass  # the process ended between the listing and the look
    return 0


def latency(bench: Bench, engine: Engine) -> None:
    """(a) A one-row durable micro-batch of a windowed, watermarked count."""
    for partitions in (2, 200):
        slow = engine.name == "spark"
        rows = min(bench.latency_rows, 20 if partitions == 2 else 3) if slow else bench.latency_rows
        result = bench.with_result(engine, "latency.py", "{work}", str(partitions), str(rows))
        if result["count"] < result["rows"]:
            raise RuntimeError(f"{result['rows']} rows gave the count {result['count']}")
        label = f"{engine.name}, {partitions} shuffle partitions"
        for key, what in (("loop_ms", "row after row"), ("idle_ms", "from idle")):
            values = sorted(result[key])
            p95 = values[min(len(values) - 1, int(len(values) * 0.95))]
            bench.figures.append(Figure(f"latency, {what}: median", label, "ms", [statistics.median(values)]))
            bench.figures.append(Figure(f"latency, {what}: p95", label, "ms", [p95]))
        if result["progress_ms"]:
            median = statistics.median(result["progress_ms"])
            bench.figures.append(Figure("latency, whole batch by progress: median", label, "ms", [median]))


def start(bench: Bench, engine: Engine) -> None:
    """(b) Process start to the first result."""
    folder = data.words(bench.work)
    values = []
    for _ in range(bench.repeat):
        first: list[float] = []
        began = time.perf_counter()

        def on_line(line: str, first: list[float] = first, began: float = began) -> None:
            if line.startswith("RESULT") and not first:
                first.append(time.perf_counter() - began)

        bench.program(engine, "start.py", str(folder), on_line=on_line)
        values.append(first[0])
    bench.figures.append(Figure("process start to first result", engine.name, "s", values))


def throughput(bench: Bench, engine: Engine) -> None:
    """(c) Rows a second over one big JSON file, four queries."""
    source, warm_up = data.events(bench.work, bench.rows), data.events(bench.work, 20_000)
    for case in THROUGHPUTS:
        results = [
            bench.with_result(engine, "throughput.py", case, str(source), str(warm_up), "{work}")
            for _ in range(bench.repeat)
        ]
        for result in results:
            # Spark does not count what a filter pushed into the JSON reader leaves out.
            if case != "stateless" and result["rows"] != bench.rows:
                raise RuntimeError(f"{case}: {result['rows']} rows came, not {bench.rows}")
        values = [bench.rows / result["seconds"] for result in results]
        bench.figures.append(Figure(f"throughput: {case}", engine.name, "rows/s", values, True, {"runs": results}))


def state(bench: Bench, engine: Engine) -> None:
    """(d) What 1000 rows cost beside 10 k, 1 M and 5 M keys of state."""
    for keys in (10_000, 1_000_000, 5_000_000):
        if keys > 1_000_000 and engine.name == "spark":
            continue
        folder = data.keyed(bench.work, keys, 20, 1000)
        result = bench.with_result(engine, "state_size.py", str(folder), "{work}")
        batches = result["batches"]
        if batches[-1]["keys"] != keys:
            raise RuntimeError(f"{batches[-1]['keys']} keys are held, not {keys}")
        small = [b["ms"] for b in batches if b["rows"] == 1000]
        name = f"1000-row batch beside {keys:,} keys: median"
        bench.figures.append(Figure(name, engine.name, "ms", [statistics.median(small)], detail={"batches": batches}))


def memory(bench: Bench, engine: Engine) -> None:
    """(e) Peak resident memory of the tutorial's queries."""
    folder = data.words(bench.work)
    seconds, peak = bench.program(engine, "tutorial.py", str(folder))
    if peak:
        bench.figures.append(Figure("tutorial's queries: peak resident memory", engine.name, "MB", [peak / 2**20]))
    bench.figures.append(Figure("tutorial's queries: whole program", engine.name, "s", [seconds]))


RUNS: dict[str, Callable[[Bench, Engine], None]] = {
    "latency": latency,
    "start": start,
    "throughput": throughput,
    "state": state,
    "memory": memory,
}


def budget(figure: Figure, figures: list[Figure]) -> str:
    """What the design asks of this figure, and whether it holds; empty for Spark's and for what has no budget."""
    if not figure.engine.startswith("runnel"):
        return ""
    limits = {
        "latency, row after row: median": 5.0,
        "latency, from idle: median": 5.0,
        "process start to first result": 4.0,
        "tutorial's queries: peak resident memory": 300.0,
    }
    if figure.measure in limits:
        limit = limits[figure.measure]
        return f"<= {limit:g} {figure.unit}: {'kept' if figure.best <= limit else 'MISSED'}"
    if figure.measure.startswith("throughput"):
        spark = [f.best for f in figures if f.measure == figure.measure and f.engine == "spark"]
        if spark:
            ratio = figure.best / spark[0]
            return f">= 10 x Spark: {ratio:.1f} x, {'kept' if ratio >= 10 else 'MISSED'}"
    if "keys: median" in figure.measure:
        smallest = [f.best for f in figures if f.engine == figure.engine and "beside 10,000 keys" in f.measure]
        if smallest and "10,000" not in figure.measure.split("beside")[1]:
            return f"independent of state: {figure.best / smallest[0]:.1f} x the cost at 10,000"
    return ""


def machine(engines: list[Engine]) -> dict[str, Any]:
    """What the figures were measured on, so that nobody compares two machines by mistake."""
    versions = {}
    for engine in engines:
        code = (
            "import importlib.metadata as m\n"
            "for n in ('runnel', 'pyspark', 'pyspark-client', 'duckdb', 'pyarrow', 'pandas'):\n"
            "    try: print(n, m.version(n))\n"
            "    except m.PackageNotFoundError: pass"
        )
        python = sys.executable if engine.name == "runnel" else engine.command[0]
        found = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout
        versions[engine.name] = dict(line.split() for line in found.splitlines())
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=HERE).stdout.strip()
    return {
        "platform": platform.platform(),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "cpu": _cpu_name(),
        "load_before": os.getloadavg() if hasattr(os, "getloadavg") else None,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "versions": versions,
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def show(figures: list[Figure]) -> None:
    """The table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Benchmarks")
    for column in ("measure", "engine", "best", "all", "budget"):
        table.add_column(column, justify="right" if column == "best" else "left")
    for figure in sorted(figures, key=lambda f: f.measure):
        number = "{:,.0f}" if figure.best >= 100 else "{:,.2f}"
        values = " ".join(number.format(v) for v in figure.values) if len(figure.values) > 1 else ""
        best = f"{number.format(figure.best)} {figure.unit}"
        table.add_row(figure.measure, figure.engine, best, values, budget(figure, figures))
    Console(width=None if sys.stdout.isatty() else 150).print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=MEASURES, default=list(MEASURES), help="which measures")
    parser.add_argument("--engines", nargs="+", choices=("runnel", "spark"), help="default: both, if Spark is given")
    parser.add_argument("--spark-python", default=os.environ.get("RUNNEL_SPARK_PYTHON"), help="a Python with PySpark")
    parser.add_argument("--rows", type=int, default=2_000_000, help="rows of the throughput measures")
    parser.add_argument("--latency-rows", type=int, default=200, help="rows sent one by one (Spark gets 20 and 3)")
    parser.add_argument("--repeat", type=int, default=3, help="how often start and throughput are repeated")
    parser.add_argument("--timeout", type=float, default=900, help="seconds that one program may take")
    parser.add_argument("--work", type=Path, default=HERE / ".work", help="where input and checkpoints go")
    parser.add_argument("--json", type=Path, default=HERE / "results.json", help="where the figures go")
    options = parser.parse_args()

    available = {"runnel": Engine("runnel", (sys.executable, "-m", "runnel.cli", "run"))}
    if options.spark_python:
        available["spark"] = Engine("spark", (options.spark_python,))
    engines = [available[name] for name in options.engines or available if name in available]
    if "spark" in (options.engines or ["spark"]) and "spark" not in available:
        print("Real Spark is left out: RUNNEL_SPARK_PYTHON names no Python that has it.", file=sys.stderr)

    options.work.mkdir(parents=True, exist_ok=True)
    bench = Bench(options.work.resolve(), options.rows, options.latency_rows, options.repeat, options.timeout)
    described = machine(engines)
    for measure in options.only:
        for engine in engines:
            print(f"{measure} on {engine.name} ...", file=sys.stderr, flush=True)
            try:
                RUNS[measure](bench, engine)
            except (RuntimeError, LookupError, OSError) as problem:
                bench.failures.append(f"{measure} on {engine.name}: {problem}")
                print(bench.failures[-1], file=sys.stderr)
    described["load_after"] = os.getloadavg() if hasattr(os, "getloadavg") else None
    show(bench.figures)
    figures = [
        {
            "measure": f.measure,
            "engine": f.engine,
            "unit": f.unit,
            "best": f.best,
            "values": f.values,
            "budget": budget(f, bench.figures),
            "detail": f.detail,
        }
        for f in bench.figures
    ]
    options.json.write_text(
        json.dumps({"machine": described, "figures": figures, "failures": bench.failures}, indent=1)
    )
    print(f"written to {options.json}", file=sys.stderr)
    return 1 if bench.failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
