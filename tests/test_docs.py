"""Documents that cannot rot: what they say exists, and what they show runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from runnel.cli import main
from runnel.config import SETTINGS
from runnel.sinks.registry import SINKS

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("*/README.md")])
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)")


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _blocks(path: Path, language: str) -> list[str]:
    return [text for found, text in _FENCE.findall(_read(path)) if found == language]


def _programs() -> list[object]:
    """Whole programs: the Python blocks that make a session of their own."""
    return [
        pytest.param(text, id=f"{page.name}-{i}")
        for page in (ROOT / "README.md", ROOT / "docs" / "streaming.md")
        for i, text in enumerate(t for t in _blocks(page, "python") if "SparkSession.builder" in t)
    ]


def _run(job: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "runnel.cli", "run", str(job), *arguments]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=100, cwd=job.parent)


def test_the_configuration_page_is_current() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "docs" / "configuration.py"), "--check"], timeout=60)
    assert done.returncode == 0, "run `make docs`"


def test_every_setting_has_a_sentence() -> None:
    assert [s.name for s in SETTINGS if not s.doc.strip().endswith((".", "?"))] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    targets = _LINK.findall(_read(page))
    assert [t for t in targets if not (page.parent / t).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_make_targets_exist(page: Path) -> None:
    known = set(re.findall(r"^([a-z]+):", _read(ROOT / "Makefile"), re.MULTILINE))
    named = re.findall(r"(?:^|`)make ([a-z]+)", _read(page), re.MULTILINE)
    assert set(named) <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_and_options_exist(page: Path) -> None:
    for name, rest in re.findall(r"(?:^|`)runnel ([a-z]+)\b([^`\n#]*)", _read(page), re.MULTILINE):
        command = main.commands.get(name)
        assert command is not None, f"runnel {name}"
        known = {option for p in command.params if isinstance(p, click.Option) for option in p.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= known, f"runnel {name}{rest}"


def test_every_command_is_in_a_page() -> None:
    text = "".join(_read(page) for page in PAGES)
    assert [name for name in main.commands if f"runnel {name}" not in text] == []


def test_every_option_is_in_the_command_line_page() -> None:
    text = _read(ROOT / "docs" / "command-line.md")
    for command in main.commands.values():
        for option in command.params:
            if isinstance(option, click.Option):
                assert f"`{option.opts[0]} " in text, option.opts[0]


def test_every_sink_has_its_guarantee_in_the_docs() -> None:
    rows = [line for line in _read(ROOT / "docs" / "sinks.md").splitlines() if line.startswith("| `")]
    for traits in SINKS.values():
        name = "foreachBatch" if traits.name == "foreachbatch" else traits.name
        assert any(f"`{name}`" in row.split("|")[1] and traits.guarantee in row.split("|")[2] for row in rows), name


def test_settings_named_in_pages_are_known() -> None:
    known = {s.name for s in SETTINGS}
    for page in PAGES:
        for name in re.findall(r"`(spark\.sql\.[A-Za-z.]+)`", _read(page)):
            assert name in known, f"{name} in {page.name}"


@pytest.mark.parametrize("text", _programs())
def test_programs_in_pages_run(text: str, tmp_path: Path) -> None:
    job = tmp_path / "job.py"
    job.write_text(text, encoding="utf-8")
    done = _run(job)
    assert (done.returncode, done.stderr) == (0, "")
    assert "+---" in done.stdout


def test_the_readme_shows_what_its_program_prints(tmp_path: Path) -> None:
    page = ROOT / "README.md"
    shown = next(text for text in _blocks(page, "") if text.startswith("-----"))
    job = tmp_path / "job.py"
    job.write_text(_blocks(page, "python")[0], encoding="utf-8")
    printed = _run(job).stdout
    assert sorted(printed.split("\n")) == sorted([*shown.split("\n"), ""])


WORDS = """\
{"timestamp": "2024-04-06 10:05:00", "word": "Spark"}
{"timestamp": "2024-04-06 10:14:00", "word": "Spark"}
{"timestamp": "2024-04-07 10:20:00", "word": "Hello"}
"""


@pytest.mark.parametrize(
    ("program", "folders", "printed"),
    [
        ("files_to_parquet.py", 3, ["|2024-04-06|    2|", "|2024-04-07|    1|"]),
        ("sessions.py", 1, ["|2024-04-06 10:05:00|2024-04-06 10:34:00|Spark|2    |"]),
        ("foreach_batch.py", 3, ["batch 0: 2 changed counts"]),
    ],
)
def test_examples_run(program: str, folders: int, printed: list[str], tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "words.json").write_text(WORDS)
    arguments = [str(tmp_path / name) for name in ("in", "out", "checkpoint")][:folders]
    done = _run(ROOT / "examples" / program, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert all(text in done.stdout for text in printed), done.stdout


def test_continuous_integration_can_be_executed() -> None:
    assert os.name == "nt" or os.access(ROOT / ".ci" / "run", os.X_OK)
