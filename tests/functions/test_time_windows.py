"""Windows' arithmetic and arguments, interval text, generators and window functions, executed in DuckDB."""

from __future__ import annotations

import datetime

import duckdb
import pytest
from pyspark.sql import types as t

from runnel.errors import AnalysisError, IllegalArgumentError
from runnel.functions.catalogue import lookup
from runnel.functions.intervals import Interval, interval_to_string, parse_interval
from runnel.functions.registry import BindContext, GeneratorFunction, WindowOnlyFunction
from runnel.functions.time_windows import WindowSpec, parse_window, window_struct
from runnel.plan.expressions import Expression, Literal
from tests.functions.test_collections import LambdaContext, LambdaParser

_EPOCH = datetime.datetime(1970, 1, 1)  # noqa: DTZ001 - zoneless, as the engine's timestamps are


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10 minutes", (0, 0, 600_000_000)),
        ("interval 1 day -2 hours", (0, 1, -7_200_000_000)),
        ("- 1 day", (0, -1, 0)),
        ("1 year 2 months 1 week", (14, 7, 0)),
        (".5 seconds", (0, 0, 500_000)),
        ("-1.5 SECONDS", (0, 0, -1_500_000)),
        ("1. seconds", (0, 0, 1_000_000)),
    ],
)
def test_interval_text(text: str, expected: tuple[int, int, int]) -> None:
    assert parse_interval(text) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "INPUT_IS_EMPTY"),
        ("interval", "INPUT_IS_EMPTY"),
        ("foo", "UNRECOGNIZED_NUMBER"),
        ("1 foo", "INVALID_UNIT"),
        ("1.5 minutes", "INVALID_FRACTION"),
        ("10", "MISSING_UNIT"),
        ("1day", "INVALID_VALUE"),
        ("1.1234567890 seconds", "INVALID_PRECISION"),
    ],
)
def test_interval_text_refused(text: str, reason: str) -> None:
    with pytest.raises(IllegalArgumentError) as caught:
        parse_interval(text)
    assert caught.value.condition == f"INVALID_INTERVAL_FORMAT.{reason}"


def test_interval_shown() -> None:
    assert interval_to_string(Interval(-12, 2, -10_795_500_000)) == "-1 years 2 days -2 hours -59 minutes -55.5 seconds"
    assert interval_to_string(Interval(0, 0, 0)) == "0 seconds"


def _text(value: str) -> Expression:
    return Literal(value, t.StringType())


_TIME = Literal(0, t.TimestampType())


def test_window_arguments() -> None:
    assert parse_window((_TIME, _text("10 minutes"))) == WindowSpec(600_000_000, 600_000_000)
    assert parse_window((_TIME, _text("10 minutes"), _text("4 minutes"), _text("-1 minute"))).overlap == 3


@pytest.mark.parametrize(
    ("durations", "condition"),
    [
        (("abc",), "CANNOT_PARSE_INTERVAL"),
        (("1 month",), "_LEGACY_ERROR_TEMP_3231"),
        (("10 minutes", "20 minutes"), "DATATYPE_MISMATCH.PARAMETER_CONSTRAINT_VIOLATION"),
        (("-10 minutes",), "DATATYPE_MISMATCH.VALUE_OUT_OF_RANGE"),
        (("10 minutes", "0 minutes"), "DATATYPE_MISMATCH.VALUE_OUT_OF_RANGE"),
        (("10 minutes", "5 minutes", "5 minutes"), "DATATYPE_MISMATCH.PARAMETER_CONSTRAINT_VIOLATION"),
        ((), "WRONG_NUM_ARGS.WITHOUT_SUGGESTION"),
    ],
)
def test_window_arguments_refused(durations: tuple[str, ...], condition: str) -> None:
    with pytest.raises((AnalysisError, IllegalArgumentError)) as caught:
        parse_window((_TIME, *map(_text, durations)))
    assert caught.value.condition == condition


@pytest.mark.parametrize("micros", [-1, 0, 1, -600_000_000, 599_999_999, -86_400_000_001, 1_704_067_200_123_456])
@pytest.mark.parametrize("spec", [WindowSpec(600_000_000, 600_000_000), WindowSpec(10_000_000, 4_000_000, -1_000_000)])
def test_windows_of_a_time(micros: int, spec: WindowSpec) -> None:
    """The windows that hold the time, by the definition: every k with k·slide + start ≤ t < k·slide + start + duration."""
    near = range(
        (micros - spec.start_us - spec.duration_us) // spec.slide_us, (micros - spec.start_us) // spec.slide_us + 1
    )
    starts = [k * spec.slide_us + spec.start_us for k in near]
    expected = [s for s in starts if s <= micros < s + spec.duration_us]
    with duckdb.connect() as connection:
        context = LambdaContext(connection)
        found = []
        for i in range(spec.overlap):
            sql = context.lower(window_struct(Literal(micros, t.TimestampType()), spec, i))
            (window,) = connection.execute(f"SELECT {sql}").fetchone()  # type: ignore[misc]
            start = (window["start"] - _EPOCH) // datetime.timedelta(microseconds=1)
            assert window["end"] - window["start"] == datetime.timedelta(microseconds=spec.duration_us)
            if start <= micros < start + spec.duration_us:
                found.append(start)
    assert sorted(found) == expected


@pytest.mark.parametrize(
    ("call", "columns", "rows"),
    [
        ("explode(array(1,null))", ["col"], [(1,), (None,)]),
        ("explode_outer(array(1))", ["col"], [(1,)]),
        ("explode(map('a',1))", ["key", "value"], [("a", 1)]),
        ("posexplode(array('x','y'))", ["pos", "col"], [(0, "x"), (1, "y")]),
        ("posexplode_outer(map(1,2))", ["pos", "key", "value"], [(0, 1, 2)]),
        ("inline(array(struct(1,'x')))", ["col1", "col2"], [(1, "x")]),
        ("inline_outer(array(struct(1)))", ["col1"], [(1,)]),
        ("stack(2,1,2,3)", ["col0", "col1"], [(1, 2), (3, None)]),
    ],
)
def test_generators(call: str, columns: list[str], rows: list[tuple[object, ...]]) -> None:
    bound = LambdaParser(call).expression()
    entry = lookup(bound.name)  # type: ignore[attr-defined]
    assert isinstance(entry, GeneratorFunction)
    with duckdb.connect() as connection:
        context = LambdaContext(connection)
        sql = entry.lower(context, bound, tuple(context.lower(a) for a in bound.args))  # type: ignore[arg-type,attr-defined]
        (got,) = connection.execute(f"SELECT {sql}").fetchone()  # type: ignore[misc]
    assert [c.name for c in bound.columns] == columns  # type: ignore[attr-defined]
    assert [tuple(r.values()) for r in got] == rows


@pytest.mark.parametrize(
    ("name", "args", "values"),
    [
        ("row_number", (), [1, 2, 3, 4]),
        ("rank", (), [1, 2, 2, 4]),
        ("dense_rank", (), [1, 2, 2, 3]),
        ("percent_rank", (), [0.0, 1 / 3, 1 / 3, 1.0]),
        ("cume_dist", (), [0.25, 0.75, 0.75, 1.0]),
        ("ntile", (2,), [1, 1, 2, 2]),
        ("lag", (7,), [None, 7, 7, 7]),
        ("lead", (7, 2), [7, 7, None, None]),
        ("nth_value", (7, 2), [None, 7, 7, 7]),
    ],
)
def test_window_functions(name: str, args: tuple[int, ...], values: list[object]) -> None:
    entry = lookup(name)
    assert isinstance(entry, WindowOnlyFunction)
    call = entry.bind(BindContext(), tuple(Literal(a, t.IntegerType()) for a in args))
    with duckdb.connect() as connection:
        context = LambdaContext(connection)
        sql = entry.lower(context, call, tuple(context.lower(a) for a in call.args))
        rows = connection.execute(f"SELECT {sql} OVER (ORDER BY v) FROM (VALUES (1), (2), (2), (3)) AS t(v)").fetchall()
    assert [r[0] for r in rows] == values
