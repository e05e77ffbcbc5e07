"""Writes docs/configuration.md from the table of settings in src/runnel/config.py.

python docs/configuration.py            writes the page
python docs/configuration.py --check    ends with 1 if the page is not current
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from runnel.config import SETTINGS, Setting

PAGE = Path(__file__).resolve().parent / "configuration.md"

HEAD = """\
# Configuration

<!-- Written by docs/configuration.py from src/runnel/config.py: change the table there, then run `make docs`. -->

Settings are given on the builder (`.config(name, value)`), on the command line (`runnel run --conf name=value job.py`),
or at run time (`spark.conf.set(name, value)`). What a program sets on its builder goes before the command line.
Settings marked *static* are fixed when the session starts; changing them later raises `CANNOT_MODIFY_STATIC_CONFIG`.

A setting that is not on this page is kept and given back, as Spark does, and has no effect. Settings that only mean
something on a JVM or on a cluster (`spark.driver.memory`, `spark.jars.packages`, `spark.executor.…`) are accepted, and
that they are unneeded is logged once, at info level.

Some settings are pinned by a query's checkpoint when it first runs, as in Spark: a restart goes on with the values of the
checkpoint, whatever the session says then.
"""


def page() -> str:
    """The page's text."""
    honoured = [s for s in SETTINGS if s.honoured]
    accepted = [s for s in SETTINGS if not s.honoured]
    return "\n".join(
        [
            HEAD,
            "## Settings that Runnel honours",
            "",
            *_rows(honoured),
            "",
            "## Settings that are accepted and have no effect here",
            "",
            *_rows(accepted),
            "",
        ]
    )


def _rows(settings: Iterable[Setting]) -> Iterable[str]:
    yield "| setting | default | meaning |"
    yield "| --- | --- | --- |"
    for s in sorted(settings, key=lambda s: s.name):
        default = "" if s.default is None else f"`{s.default}`"
        yield f"| `{s.name}` | {default} | {s.doc}{' *Static.*' if s.static else ''} |"


def main(arguments: list[str]) -> int:
    current = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    if arguments == ["--check"]:
        return 0 if current == page() else 1
    PAGE.write_text(page(), encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
