"""Literals: numbers, strings, dates, intervals."""

from __future__ import annotations

from decimal import Decimal

import pytest
from pyspark.sql import types as t
from pyspark.sql.types import DataType

from runnel.plan.expressions import CastMode, Expression, Literal
from runnel.sql import parse_expression
from tests.sql.builders import cast, f, lit

DAY = 86_400_000_000
HOUR = 3_600_000_000
DAYS, HOURS = t.DayTimeIntervalType(0, 0), t.DayTimeIntervalType(1, 1)


@pytest.mark.parametrize(
    ("text", "value", "dtype"),
    [
        ("1", 1, t.IntegerType()),
        ("2147483648", 2147483648, t.LongType()),
        ("-2147483648", -2147483648, t.IntegerType()),
        ("-9223372036854775808", -9223372036854775808, t.LongType()),
        ("9223372036854775808", Decimal("9223372036854775808"), t.DecimalType(19, 0)),
        ("1L", 1, t.LongType()),
        ("1S", 1, t.ShortType()),
        ("-128y", -128, t.ByteType()),
        ("1.5D", 1.5, t.DoubleType()),
        ("1.5F", 1.5, t.FloatType()),
        ("1.5BD", Decimal("1.5"), t.DecimalType(2, 1)),
        ("1e3BD", Decimal(1000), t.DecimalType(4, 0)),
        ("1.50", Decimal("1.50"), t.DecimalType(3, 2)),
        ("1.", Decimal(1), t.DecimalType(1, 0)),
        (".5", Decimal("0.5"), t.DecimalType(1, 1)),
        ("-.5", Decimal("-0.5"), t.DecimalType(1, 1)),
        ("0.0", Decimal("0.0"), t.DecimalType(1, 1)),
        ("0.001", Decimal("0.001"), t.DecimalType(3, 3)),
        ("1e3", 1000.0, t.DoubleType()),
        ("1E-3", 0.001, t.DoubleType()),
        ("null", None, t.NullType()),
        ("TRUE", True, t.BooleanType()),
        ("x'1F'", b"\x1f", t.BinaryType()),
        ("X'1'", b"\x01", t.BinaryType()),
        ("date '2020-01-01'", 18262, t.DateType()),
        ("DATE'2020-1-1'", 18262, t.DateType()),
        ("timestamp_ntz '2020-01-01 00:00:00.5'", 1577836800500000, t.TimestampNTZType()),
        ("timestamp '2020-01-01T00:00:00Z'", 1577836800000000, t.TimestampType()),
        ("timestamp '2020-01-01 02:00:00+02:00'", 1577836800000000, t.TimestampType()),
        ("timestamp_ltz '2019-12-31 22:30:00 UTC-01:30'", 1577836800000000, t.TimestampType()),
        ("time '10:00:00.000001'", 36000000001000, t.TimeType(6)),
    ],
)
def test_values(text: str, value: object, dtype: DataType) -> None:
    parsed = parse_expression(text)
    assert parsed == Literal(value, dtype)
    assert isinstance(parsed, Literal)
    assert type(parsed.value) is type(value)


def test_timestamp_in_the_session_zone() -> None:
    text = "2020-01-01 00:00:00"
    assert parse_expression(f"timestamp '{text}'") == cast(lit(text), t.TimestampType(), CastMode.ANSI)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("'a'", "a"),
        ('"a"', "a"),
        ("''", ""),
        ("'it''s'", "it's"),
        ('"say ""hi"""', 'say "hi"'),
        ("'a' 'b'", "ab"),
        ("'a' \"b\"", "ab"),
        (r"'a\'b'", "a'b"),
        (r"'a\n\t\\b'", "a\n\t\\b"),
        (r"'\%\_'", r"\%\_"),
        (r"'\q'", "q"),
        (r"'\101'", "A"),
        (r"'\u0041'", "A"),
        (r"'\U0001F600'", "\U0001f600"),
        (r"r'a\n'", r"a\n"),
        (r'R"\d+"', r"\d+"),
        ("'yyyy-MM-dd''T''HH'", "yyyy-MM-dd'T'HH"),
        ("'é ü'", "é ü"),
        ("'-- no comment'", "-- no comment"),
    ],
)
def test_strings(text: str, value: str) -> None:
    assert parse_expression(text) == lit(value)


@pytest.mark.parametrize(
    ("text", "value", "dtype"),
    [
        ("interval 1 day", DAY, DAYS),
        ("INTERVAL '1' DAY", DAY, DAYS),
        ("interval '1 day'", DAY, DAYS),
        ("interval -1 week", -7 * DAY, DAYS),
        ("interval '-1' day", -DAY, DAYS),
        ("interval -'-1' day", DAY, DAYS),
        ("interval 10 minutes", 600_000_000, t.DayTimeIntervalType(2, 2)),
        ("interval '10 minutes'", 600_000_000, t.DayTimeIntervalType(2, 2)),
        ("interval 1.5 seconds", 1_500_000, t.DayTimeIntervalType(3, 3)),
        ("interval 10 milliseconds", 10_000, t.DayTimeIntervalType(3, 3)),
        ("interval 1 day 2 hours", DAY + 2 * HOUR, t.DayTimeIntervalType(0, 1)),
        ("interval '1 2' day to hour", DAY + 2 * HOUR, t.DayTimeIntervalType(0, 1)),
        ("interval '-1 2' day to hour", -DAY - 2 * HOUR, t.DayTimeIntervalType(0, 1)),
        ("interval '1 2:03:04.5' day to second", DAY + 2 * HOUR + 184_500_000, t.DayTimeIntervalType(0, 3)),
        ("interval '1:02' hour to minute", HOUR + 120_000_000, t.DayTimeIntervalType(1, 2)),
        ("interval 2 years 3 months", 27, t.YearMonthIntervalType(0, 1)),
        ("interval '2' years '3' months", 27, t.YearMonthIntervalType(0, 1)),
        ("interval '1-2' year to month", 14, t.YearMonthIntervalType(0, 1)),
        ("interval -'1-2' year to month", -14, t.YearMonthIntervalType(0, 1)),
        ("interval 1 month", 1, t.YearMonthIntervalType(1, 1)),
    ],
)
def test_intervals(text: str, value: int, dtype: DataType) -> None:
    assert parse_expression(text) == Literal(value, dtype)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-interval '1' day", f("negative", Literal(DAY, DAYS))),
        ("1 + interval 3 hours * 2", f("+", lit(1), f("*", Literal(3 * HOUR, HOURS), lit(2)))),
        ("interval 1 day + 1", f("+", Literal(DAY, DAYS), lit(1))),
        ("interval 1 day - 1", f("-", Literal(DAY, DAYS), lit(1))),
    ],
)
def test_intervals_in_arithmetic(text: str, expected: Expression) -> None:
    assert parse_expression(text) == expected
