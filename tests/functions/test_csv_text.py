"""to_csv, from_csv and schema_of_csv, against what Spark 4.2 was seen to do (`*_csv_observed.json`)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql.types import IntegerType, StringType, StructField, StructType

from runnel.errors import AnalysisError, IllegalArgumentError, RunnelError
from runnel.session import Session, session
from runnel.sql import parse_statement

HERE = Path(__file__).parent
WRITTEN: dict[str, Any] = json.loads((HERE / "to_csv_observed.json").read_text())
READ: dict[str, Any] = json.loads((HERE / "from_csv_observed.json").read_text())
TEXT, NUMBER = StructField("a", StringType()), StructField("i", IntegerType())


@pytest.fixture(scope="module")
def running() -> Iterator[Session]:
    with session() as made:
        yield made


def sql(running: Session, statement: str) -> list[Any]:
    values: list[Any] = running.collect(parse_statement(statement)).column(0).to_pylist()
    return values


def constant(text: str | None) -> str:
    if text is None:
        return "CAST(NULL AS STRING)"
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


@pytest.mark.parametrize(("options", "first", "second"), WRITTEN["written"], ids=lambda v: json.dumps(v)[:40])
def test_texts_as_fields(running: Session, options: dict[str, str], first: list[str], second: list[str]) -> None:
    texts = WRITTEN["texts"]
    columns = [pa.array(texts, pa.string()), pa.array(range(len(texts)), pa.int32())]
    for order, expected in (((0, 1), first), ((1, 0), second)):
        schema = StructType([(TEXT, NUMBER)[i] for i in order])
        table = pa.table([columns[i] for i in order], names=schema.fieldNames())
        found = running.line_renderer(schema, "csv", options)(table).to_pylist()
        assert found == expected, [x for x in zip(texts, expected, found, strict=True) if x[1] != x[2]]


VALUES = [
    ("struct(1Y, 2S, 3L, 1.10BD, true)", "1,2,3,1.10,true"),
    ("struct(CAST(1.5 AS FLOAT), 1e10D, 1e-5D, -0.0D)", "1.5,1.0E10,1.0E-5,-0.0"),
    ("struct(CAST('NaN' AS DOUBLE), CAST('-Infinity' AS DOUBLE))", "NaN,-Infinity"),
    ("struct(date'2024-02-29', timestamp'2024-02-29 12:34:56.123456')", "2024-02-29,2024-02-29T12:34:56.123Z"),
    ("struct(timestamp_ntz'2024-02-29 12:34:56.123456')", "2024-02-29T12:34:56.123"),
    ("struct(interval '1 2' day to hour, interval 3 month)", "INTERVAL '1 02' DAY TO HOUR,INTERVAL '3' MONTH"),
    ("struct(CAST(0 AS DECIMAL(10, 8)), CAST(0.0000001 AS DECIMAL(20, 10)), CAST(-0.0000001 AS DECIMAL(20, 7)))",
     "0E-8,1.000E-7,-1E-7"),
    ("struct(CAST(0.000001 AS DECIMAL(20, 6)), CAST(0.0000012 AS DECIMAL(20, 7)), CAST(0 AS DECIMAL(9, 7)))",
     "0.000001,0.0000012,0E-7"),
    ("struct(X'0041FF')", "[00 41 FF]"),
    ("struct(array(1, null, 3), 1)", '"[1,, 3]",1'),
    ("struct(map('k', array(1)))", "{k -> [1]}"),
    ("struct(struct(1, 'x', CAST(NULL AS STRING)))", '"{1, x,}"'),
    ("""struct(array('a,b', 'c"d'))""", '"[a,b, c\\"d]"'),
    ("struct(array(timestamp'2024-01-01 01:02:03', null), array(1.5D), array(X'41'))",
     '"[2024-01-01T01:02:03.000Z,]",[1.5],[[41]]'),
    ("struct(CAST(NULL AS INT))", None),
    ("struct(CAST(NULL AS STRING), CAST(NULL AS INT))", ","),
    ("struct('')", '""'),
    ("CAST(NULL AS STRUCT<a: INT>)", None),
    ("struct(timestamp'2024-02-29 12:34:56'), map('timestampFormat', 'dd, MMM yyyy')", '"29, Feb 2024"'),
    ("struct(timestamp'2024-02-29 12:34:56'), map('timeZone', 'America/New_York')", "2024-02-29T07:34:56.000-05:00"),
    ("struct(1, -2), map('sep', '-')", '1-"-2"'),
]  # fmt: skip


@pytest.mark.parametrize(("call", "expected"), VALUES)
def test_values_of_every_type(running: Session, call: str, expected: str | None) -> None:
    assert sql(running, f"SELECT to_csv({call}) FROM VALUES (1) t(x)") == [expected]


@pytest.mark.parametrize(("schema", "options", "expected"), READ["read"], ids=lambda v: str(v)[:40])
def test_from_csv(running: Session, schema: str, options: dict[str, str], expected: list[Any]) -> None:
    rows = " UNION ALL ".join(f"SELECT {constant(t)} AS s" for t in READ["texts"])
    given = ", map(" + ", ".join(constant(x) for pair in options.items() for x in pair) + ")" if options else ""
    call = f"SELECT from_csv(s, '{schema}'{given}) FROM ({rows})"
    if expected[0] == "ERR":
        with pytest.raises(RunnelError) as raised:
            sql(running, call)
        assert f"[{raised.value.condition}]" in expected[1]
        return
    assert [None if row is None else list(row.values()) for row in sql(running, call)] == expected[0]


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("'1,abc,2024-01-01,true,1.5'", "STRUCT<_c0: INT, _c1: STRING, _c2: DATE, _c3: BOOLEAN, _c4: DOUBLE>"),
        ("'1|a', map('sep', '|')", "STRUCT<_c0: INT, _c1: STRING>"),
        ("'2024-01-01 10:00:00,,99999999999'", "STRUCT<_c0: TIMESTAMP, _c1: STRING, _c2: BIGINT>"),
    ],
)
def test_schema_of_csv(running: Session, call: str, expected: str) -> None:
    assert sql(running, f"SELECT schema_of_csv({call})") == [expected]


def test_a_schema_may_be_found_from_an_example(running: Session) -> None:
    assert sql(running, "SELECT from_csv('1, 0.8', schema_of_csv('1,0.1'))") == [{"_c0": 1, "_c1": 0.8}]


REFUSED = [
    ("to_csv(array(1))", AnalysisError, "DATATYPE_MISMATCH.UNSUPPORTED_INPUT_TYPE"),
    ("to_csv(struct(1), 'x')", AnalysisError, "INVALID_OPTIONS.NON_MAP_FUNCTION"),
    ("to_csv(struct(1), map('a', 1))", AnalysisError, "INVALID_OPTIONS.NON_STRING_TYPE"),
    (
        "to_csv(struct(1), map('sep', '\\\\q'))",
        IllegalArgumentError,
        "INVALID_DELIMITER_VALUE.UNSUPPORTED_SPECIAL_CHARACTER",
    ),
    ("to_csv(struct(1), map('quote', 'ab'))", RunnelError, "OPTION_VALUE_EXCEEDS_ONE_CHARACTER"),
    ("from_csv(1, 'a int')", AnalysisError, "DATATYPE_MISMATCH.UNEXPECTED_INPUT_TYPE"),
    ("from_csv('1', 5)", AnalysisError, "INVALID_SCHEMA.NON_STRING_LITERAL"),
    ("from_csv('1', 'int')", AnalysisError, "INVALID_SCHEMA.NON_STRUCT_TYPE"),
    ("schema_of_csv(null)", AnalysisError, "DATATYPE_MISMATCH.UNEXPECTED_NULL"),
]


@pytest.mark.parametrize(("call", "kind", "condition"), REFUSED)
def test_refusals(running: Session, call: str, kind: type[RunnelError], condition: str) -> None:
    with pytest.raises(kind) as raised:
        sql(running, f"SELECT {call}")
    assert raised.value.condition == condition
