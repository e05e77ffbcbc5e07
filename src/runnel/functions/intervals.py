"""Intervals: the text forms (`parse_interval`, `interval_to_string`) and the functions that make them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from pyspark.sql.types import DataType, DecimalType

from runnel.errors import IllegalArgumentError
from runnel.functions.registry import BindContext, CatalogueEntry, LoweringContext, ScalarFunction
from runnel.functions.typing import (
    CALENDAR,
    DAY_TIME,
    INT,
    YEAR_MONTH,
    cast_to,
    check_arity,
    coerce_arguments,
    is_numeric,
)
from runnel.plan.expressions import Expression, FunctionCall, Literal, dtype_of, nullable_of

MICROS_PER_SECOND = 1_000_000
MICROS_PER_DAY = 86_400 * MICROS_PER_SECOND
INT_MAX = 2**31 - 1
LONG_MAX = 2**63 - 1


class Interval(NamedTuple):
    """A calendar interval: the three parts add up, none carries into another."""

    months: int
    days: int
    micros: int


# Each unit: the part of Interval it counts in (by index), and how many of that part it is.
_UNITS: dict[str, tuple[int, int]] = {
    "year": (0, 12),
    "month": (0, 1),
    "week": (1, 7),
    "day": (1, 1),
    "hour": (2, 3_600 * MICROS_PER_SECOND),
    "minute": (2, 60 * MICROS_PER_SECOND),
    "second": (2, MICROS_PER_SECOND),
    "millisecond": (2, 1_000),
    "microsecond": (2, 1),
}
_UNITS |= {f"{unit}s": size for unit, size in _UNITS.items()}

# Sign, number, fraction: a fraction may stand without a whole part, and the other way round.
_NUMBER = re.compile(r"([+-]?)[ \t\r\n\f]*(?:(\d+)(\.\d*)?|(\.\d+))")
_WORD = re.compile(r"\S+")
_SPACE = re.compile(r"\s*")


def parse_interval(text: str) -> Interval:
    """The interval that a text such as `10 minutes`, `interval 1 day -2 hours` or `1.5 seconds` names.

    Units: year, month, week, day, hour, minute, second, millisecond, microsecond, singular or plural, any case; each
    may occur more than once and has a sign of its own. Only seconds take a fraction, of at most nine digits (those
    beyond microseconds are cut off).

    Raises IllegalArgumentError with INVALID_INTERVAL_FORMAT.* (the sub-condition says what is wrong), the error of
    Spark's own parser. Callers that Spark lets answer with another condition (withWatermark and window:
    CANNOT_PARSE_INTERVAL) use `parse_interval_or_none`.
    """
    source = text.strip().lower()
    if not source:
        raise _malformed(text, "INPUT_IS_EMPTY")
    position = 0
    if source.startswith("interval"):
        if len(source) == len("interval"):
            raise _malformed(text, "INPUT_IS_EMPTY")
        if not source[len("interval")].isspace():
            raise _malformed(text, "INVALID_PREFIX", prefix=_WORD.match(source).group())  # type: ignore[union-attr]
        position = len("interval")
    parts = [0, 0, 0]
    position = _skip_space(source, position)
    while position < len(source):
        position = _parse_term(text, source, position, parts)
    months, days, micros = parts
    return Interval(months, days, micros)


def parse_interval_or_none(text: str) -> Interval | None:
    """As `parse_interval`, None for a text that names no interval."""
    try:
        return parse_interval(text)
    except IllegalArgumentError:
        return None


def _skip_space(source: str, position: int) -> int:
    match = _SPACE.match(source, position)
    return match.end() if match else position


def _parse_term(text: str, source: str, position: int, parts: list[int]) -> int:
    """Adds one `number unit` to `parts`; gives the position behind it and its white space."""
    number = _NUMBER.match(source, position)
    if number is None:
        raise _malformed(text, "UNRECOGNIZED_NUMBER", number=_word_at(source, position))
    sign = -1 if number[1] == "-" else 1
    digits = number[4] if number[4] is not None else (number[3] or "")
    fraction_digits = digits[1:]
    end = number.end()
    if len(fraction_digits) > 9:
        raise _malformed(text, "INVALID_PRECISION", interval=_word_at(source, position))
    if end < len(source) and not source[end].isspace():
        raise _malformed(text, "INVALID_VALUE", value=_word_at(source, position))
    end = _skip_space(source, end)
    if end >= len(source):
        raise _malformed(text, "MISSING_UNIT", word=_word_at(source, position))
    word = _word_at(source, end)
    unit = _UNITS.get(word)
    if unit is None:
        raise _malformed(text, "INVALID_UNIT", unit=word)
    has_fraction = number[3] is not None or number[4] is not None
    if has_fraction and word not in ("second", "seconds"):
        raise _malformed(text, "INVALID_FRACTION", unit=word)
    index, size = unit
    value = int(number[2] or 0) * size + (int(fraction_digits.ljust(9, "0")) // 1_000 if fraction_digits else 0)
    parts[index] += sign * value
    if abs(parts[index]) > (LONG_MAX if index == 2 else INT_MAX):
        raise _malformed(text, "ARITHMETIC_EXCEPTION")
    return _skip_space(source, end + len(word))


def _word_at(source: str, position: int) -> str:
    match = _WORD.match(source, position)
    return match.group() if match else ""


def _malformed(text: str, reason: str, **parameters: str) -> IllegalArgumentError:
    return IllegalArgumentError(f"INVALID_INTERVAL_FORMAT.{reason}", {"input": text, **parameters})


def interval_to_string(value: Interval) -> str:
    """As Spark prints a calendar interval: `1 years 2 months 3 days 4 hours 5 minutes 6.7 seconds`, `0 seconds`."""
    parts = []
    for number, unit in (
        (_toward_zero(value.months, 12), "years"),
        (value.months - _toward_zero(value.months, 12) * 12, "months"),
        (value.days, "days"),
    ):
        if number:
            parts.append(f"{number} {unit}")
    rest = value.micros
    for size, unit in ((3_600 * MICROS_PER_SECOND, "hours"), (60 * MICROS_PER_SECOND, "minutes")):
        number = _toward_zero(rest, size)
        rest -= number * size
        if number:
            parts.append(f"{number} {unit}")
    if rest:
        whole, fraction = divmod(abs(rest), MICROS_PER_SECOND)
        text = f"{whole}.{fraction:06d}".rstrip("0").rstrip(".")
        parts.append(f"{'-' if rest < 0 else ''}{text} seconds")
    return " ".join(parts) or "0 seconds"


def _toward_zero(number: int, size: int) -> int:
    return -(-number // size) if number < 0 else number // size


# ---------------------------------------------------------------------------------------------------- constructors

_SECONDS: Final = DecimalType(18, 6)


def _bind_parts(
    name: str, params: tuple[DataType, ...], result: DataType, tried: bool = False
) -> Callable[[BindContext, tuple[Expression, ...]], Expression]:
    """Missing arguments are zero."""

    def bind(context: BindContext, args: tuple[Expression, ...]) -> Expression:
        check_arity(name, args, 0, len(params))
        given: list[Expression] = []
        for i, p in enumerate(params):
            if i >= len(args):
                given.append(cast_to(Literal(0, INT), p))
            elif isinstance(p, DecimalType) and is_numeric(dtype_of(args[i])):
                given.append(cast_to(args[i], p))
            else:
                given.append(coerce_arguments(name, (args[i],), (p,), context)[0])
        return FunctionCall(name, tuple(given), result, tried or any(nullable_of(a) for a in given))

    return bind


def _guarded(context: LoweringContext, target: DataType, valid: str, sql: str, tried: bool, condition: str) -> str:
    parameters = (
        {}
        if condition.startswith("INTERVAL")
        else {"message": "'overflow'", "alternative": "''", "config": """'"spark.sql.ansi.enabled"'"""}
    )
    failure = "NULL" if tried else context.error(condition, target, **parameters)
    return f"CASE WHEN {valid} THEN {sql} WHEN NOT ({valid}) THEN {failure} END"


def _lower_make_interval(tried: bool) -> Callable[[LoweringContext, FunctionCall, tuple[str, ...]], str]:
    def lower(context: LoweringContext, call: FunctionCall, args: tuple[str, ...]) -> str:
        years, months, weeks, days, hours, minutes, seconds = args
        all_months = f"(CAST({years} AS BIGINT) * 12 + {months})"
        all_days = f"(CAST({weeks} AS BIGINT) * 7 + {days})"
        micros = f"({_clock_micros(hours, minutes, seconds)})"
        valid = f"abs({all_months}) <= {INT_MAX} AND abs({all_days}) <= {INT_MAX} AND {micros} IS NOT NULL"
        made = f"to_months(CAST({all_months} AS INTEGER)) + to_days(CAST({all_days} AS INTEGER)) + to_microseconds({micros})"
        guarded = _guarded(context, call.dtype, valid, f"({made})", tried or not context.ansi, "ARITHMETIC_OVERFLOW")
        missing = " OR ".join(f"({a}) IS NULL" for a in args)
        return f"CASE WHEN {missing} THEN NULL ELSE {guarded} END"

    return lower


def _clock_micros(hours: str, minutes: str, seconds: str) -> str:
    return (
        f"CAST({hours} AS BIGINT) * 3600000000 + CAST({minutes} AS BIGINT) * 60000000 "
        f"+ CAST(CAST({seconds} AS DECIMAL(38,6)) * 1000000 AS BIGINT)"
    )


def _lower_make_dt(context: LoweringContext, call: FunctionCall, args: tuple[str, ...]) -> str:
    days, hours, minutes, seconds = args
    return f"(CAST({days} AS BIGINT) * {MICROS_PER_DAY} + {_clock_micros(hours, minutes, seconds)})"


def _lower_make_ym(context: LoweringContext, call: FunctionCall, args: tuple[str, ...]) -> str:
    months = f"(CAST({args[0]} AS BIGINT) * 12 + {args[1]})"
    valid = f"{months} BETWEEN -{INT_MAX + 1} AND {INT_MAX}"
    condition = "INTERVAL_ARITHMETIC_OVERFLOW.WITHOUT_SUGGESTION"
    return _guarded(context, call.dtype, valid, f"CAST({months} AS INTEGER)", False, condition)


_INTERVAL_PARTS: Final = (INT, INT, INT, INT, INT, INT, _SECONDS)

FUNCTIONS: Final[tuple[CatalogueEntry, ...]] = (
    ScalarFunction(
        "make_interval", _bind_parts("make_interval", _INTERVAL_PARTS, CALENDAR), _lower_make_interval(False)
    ),
    ScalarFunction(
        "try_make_interval",
        _bind_parts("try_make_interval", _INTERVAL_PARTS, CALENDAR, True),
        _lower_make_interval(True),
    ),
    ScalarFunction(
        "make_dt_interval", _bind_parts("make_dt_interval", (INT, INT, INT, _SECONDS), DAY_TIME), _lower_make_dt
    ),
    ScalarFunction("make_ym_interval", _bind_parts("make_ym_interval", (INT, INT), YEAR_MONTH), _lower_make_ym),
)
