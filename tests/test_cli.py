"""The `runnel` command, in processes of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from click.testing import CliRunner

import runnel
from runnel.cli import main


def start(job: str, *arguments: str, cwd: Path, options: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """`runnel run` on a script, begun."""
    script = cwd / "job.py"
    script.write_text(textwrap.dedent(job), encoding="utf-8")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("SPARK_", "PYSPARK_"))}
    return subprocess.Popen(
        [sys.executable, "-m", "runnel.cli", "run", *options, str(script), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env=environment,
    )


def run(job: str, *arguments: str, cwd: Path, options: tuple[str, ...] = ()) -> tuple[int, str, str]:
    """`runnel run` on a script: exit code, output, errors."""
    process = start(job, *arguments, cwd=cwd, options=options)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_version() -> None:
    result = CliRunner().invoke(main, ["version"])
    assert result.output.splitlines()[0] == f"runnel {runnel.__version__}"
    assert "duckdb" in result.output


def test_a_job_runs_as_python_would_run_it(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("VALUE = 7\n", encoding="utf-8")
    job = """
    import sys, beside
    print(__name__, sys.argv[1:], beside.VALUE, sys.path[0] == str(__import__("pathlib").Path(__file__).parent))
    """
    assert run(job, "--flag", "x", cwd=tmp_path) == (0, "__main__ ['--flag', 'x'] 7 True\n", "")


@pytest.mark.parametrize(("code", "expected"), [("3", 3), ("None", 0), ("'why'", 1)])
def test_exit_codes(tmp_path: Path, code: str, expected: int) -> None:
    found = run(f"import sys; sys.exit({code})", cwd=tmp_path)
    assert found == (expected, "", "why\n" if expected == 1 else "")


def test_an_error_shows_the_programs_lines_alone(tmp_path: Path) -> None:
    code, out, err = run("def f():\n    raise ValueError('of the user')\nf()\n", cwd=tmp_path)
    assert (code, out) == (1, "")
    lines = err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1].strip().startswith("File ")
    assert "job.py" in lines[1]
    assert lines[-1] == "ValueError: of the user"
    assert "runpy" not in err
    assert "cli.py" not in err


def test_a_syntax_error_shows_the_line(tmp_path: Path) -> None:
    code, _, err = run("x = (\n", cwd=tmp_path)
    assert code == 1
    assert "job.py" in err
    assert err.splitlines()[-1].startswith("SyntaxError")
    assert "runpy" not in err


def test_a_bad_setting_is_named() -> None:
    result = CliRunner().invoke(main, ["run", "--conf", "nonsense", __file__])
    assert result.exit_code == 2
    assert "nonsense" in result.output


def test_a_remote_must_be_a_connect_address() -> None:
    result = CliRunner().invoke(main, ["run", "--remote", "localhost", __file__])
    assert result.exit_code == 2
    assert "sc://" in result.output


WAITING = """
import sys, threading
def awaitTermination():
    print("ready", flush=True)
    threading.Event().wait()
try:
    awaitTermination()
finally:
    print("cleaned", flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals to single processes are POSIX's")
@pytest.mark.parametrize(
    ("number", "code", "line"),
    [
        (signal.SIGINT, 130, "Interrupted: streaming queries are being stopped.\n"),
        (signal.SIGTERM, 143, ""),
    ],
)
def test_signals_end_a_waiting_job_in_order(tmp_path: Path, number: signal.Signals, code: int, line: str) -> None:
    process = start(WAITING, cwd=tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (code, "cleaned\n", line)
