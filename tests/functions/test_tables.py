"""Every row of the tables in `tables/`: expression, type and value as Apache Spark 4.2 gives them (ANSI on, UTC)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from pyspark.sql import types as t

from runnel.plan.expressions import Attribute

from .evaluating import Context, Parser, condition_of, fetch, type_text
from .rendering import show

_TABLES = Path(__file__).parent / "tables"
COLUMNS = {
    name: Attribute(name, dtype, True, i)
    for i, (name, dtype) in enumerate(
        {
            "i": t.IntegerType(),
            "l": t.LongType(),
            "d": t.DoubleType(),
            "dec": t.DecimalType(3, 2),
            "s": t.StringType(),
            "b": t.BooleanType(),
            "big": t.LongType(),
            "n": t.IntegerType(),
        }.items()
    )
}
ROWS = """(VALUES
    (1::INTEGER, 10::BIGINT, 1.5::DOUBLE, 2.50::DECIMAL(3,2), 'a', true, 9223372036854775807::BIGINT, NULL::INTEGER),
    (2, 20, -2.25, 1.25, 'b', false, 1, NULL), (NULL, 30, 4.0, NULL, NULL, NULL, NULL, NULL),
    (2, 7, NULL, 9.99, 'c', true, NULL, NULL), (5, NULL, 8.125, -3.33, 'b', true, NULL, NULL)
    ) AS t(i, l, d, dec, s, b, big, n)"""


def _rows() -> Iterator[object]:
    for table in sorted(_TABLES.glob("*.tsv")):
        for line in table.read_text(encoding="utf-8").splitlines():
            if line and not line.startswith("#"):
                expression, kind, value = line.split("\t")
                yield pytest.param(expression, kind, value, id=f"{table.stem}: {expression}")


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connected:
        yield connected


@pytest.mark.parametrize(("expression", "kind", "value"), _rows())
def test_row(connection: duckdb.DuckDBPyConnection, expression: str, kind: str, value: str) -> None:
    parser = Parser(expression, COLUMNS)
    if kind == "!":
        with pytest.raises(Exception) as caught:
            bound = parser.expression()
            fetch(connection, f"SELECT {Context().lower(bound)} FROM {ROWS}", t.NullType())
        assert condition_of(caught.value) == value
        return
    bound = parser.expression()
    assert parser.at == len(parser.tokens)
    sql = f"SELECT {Context().lower(bound)} FROM {ROWS} LIMIT 1"
    assert (show(fetch(connection, sql, bound.dtype)), type_text(bound)) == (value, kind), sql
