"""CSV files as Spark 4.2 was seen to read them (`csv_observed.json`: bytes as Latin-1, schema, options, schema and rows)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runnel.csv_records import read_records
from runnel.errors import RunnelError
from runnel.functions.csv_options import csv_options
from runnel.lowering import csv_scan
from runnel.plan.relations import Read
from runnel.plan.schema import schema_of
from runnel.session import Session, session

OBSERVED: list[list[Any]] = json.loads(Path(__file__).with_name("csv_observed.json").read_text())


@pytest.fixture(scope="module")
def running() -> Iterator[Session]:
    with session() as made:
        yield made


def shown(value: Any) -> Any:
    return (
        value
        if value is None or isinstance(value, int | str | bool)
        else repr(value)
        if isinstance(value, float)
        else str(value)
    )


def read(
    running: Session, path: Path, schema: str | None, options: dict[str, str]
) -> tuple[str | None, list[list[Any]]]:
    plan = running.analyze(Read(format="csv", paths=(str(path),), options=options, schema=schema))
    table = running.run_resolved(plan)
    found = None if schema else schema_of(plan.output).simpleString()
    rows = [[shown(v) for v in row] for row in zip(*(c.to_pylist() for c in table.columns), strict=True)]
    return found, rows


@pytest.mark.parametrize(("data", "schema", "options", "expected"), OBSERVED, ids=lambda v: str(v)[:30])
def test_as_spark_reads(
    running: Session, tmp_path: Path, data: str, schema: str | None, options: dict[str, str], expected: list[Any]
) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes(data.encode("latin1"))
    if expected[0] == "ERR":
        with pytest.raises(RunnelError):
            read(running, path, schema, options)
        return
    assert read(running, path, schema, options) == (expected[0], [[shown(v) for v in row] for row in expected[1]])


def test_plain_lines_are_cut_by_arrow(running: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "plain.csv"
    path.write_text("".join(f"{i},name {i},\n" for i in range(200_000)))
    monkeypatch.setattr(csv_scan, "split_record", lambda *_: pytest.fail("read record by record"))
    _, rows = read(running, path, "a int, b string, c string", {})
    assert len(rows) == 200_000
    assert rows[-1] == [199_999, "name 199999", None]


def test_records_across_lines(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes(b'a,"x\r\ny"\r\n\r\n#c\r\nb,"open\r\n')
    options = csv_options({"multiLine": "true", "comment": "#"})
    assert [values for values, _ in read_records(str(path), options)] == [["a", "x\ny"], ["b", "open\n"]]
