"""Literals: numbers with suffixes, dates and times, intervals."""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal

from pyspark.sql import types as t
from pyspark.sql.types import DataType

from runnel.errors import IllegalArgumentError, ParseError
from runnel.functions.intervals import Interval, parse_interval
from runnel.plan.expressions import Cast, CastMode, Expression, Literal

_NUMBER = re.compile(r"(?P<digits>\d*\.?\d*)(?P<exponent>[eE][+-]?\d+)?(?P<suffix>L|S|Y|D|F|BD)?", re.IGNORECASE)
_INTEGRAL: dict[str, tuple[DataType, int]] = {
    "Y": (t.ByteType(), 8),
    "S": (t.ShortType(), 16),
    "": (t.IntegerType(), 32),
    "L": (t.LongType(), 64),
}
_MAX_PRECISION = 38
_MICROS = 1_000_000

_DATE = re.compile(r"\s*([+-]?\d{4,7})(?:-(\d{1,2})(?:-(\d{1,2})(?:[ T].*)?)?)?\s*")
_TIMESTAMP = re.compile(
    r"\s*(?P<year>[+-]?\d{4,6})(?:-(?P<month>\d{1,2})(?:-(?P<day>\d{1,2})"
    r"(?:[ T](?:(?P<hour>\d{1,2})(?::(?P<minute>\d{1,2})(?::(?P<second>\d{1,2})(?:\.(?P<fraction>\d{0,9}))?)?)?)?"
    r"\s*(?P<zone>Z|UTC|GMT|[+-]\d{1,2}(?::?\d{2}(?::?\d{2})?)?|(?:UTC|GMT|UT)[+-]\d{1,2}(?::\d{2})?|[A-Za-z_]+/[\w/+-]+)?"
    r")?)?)?\s*"
)
_TIME = re.compile(r"\s*(\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?\s*")
_OFFSET = re.compile(r"(?:UTC|GMT|UT)?(?:([+-])(\d{1,2})(?::?(\d{2}))?(?::?(\d{2}))?)?|Z")

_EPOCH = dt.date(1970, 1, 1).toordinal()


def number(text: str, negative: bool = False) -> Literal:
    """The literal of a number token. ParseError INVALID_NUMERIC_LITERAL_RANGE, DECIMAL_PRECISION_EXCEEDS_…"""
    match = _NUMBER.fullmatch(text)
    assert match is not None
    digits, exponent, suffix = match["digits"], match["exponent"] or "", (match["suffix"] or "").upper()
    signed = f"-{digits}{exponent}" if negative else digits + exponent
    if suffix in ("D", "F") or (exponent and suffix != "BD"):
        return _floating(signed, suffix)
    if suffix == "BD" or "." in digits:
        return _decimal(Decimal(signed))
    value = int(signed)
    if suffix:
        dtype, bits = _INTEGRAL[suffix]
        low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
        if not low <= value <= high:
            raise _out_of_range(signed, dtype, low, high)
        return Literal(value, dtype)
    for dtype, bits in (_INTEGRAL[""], _INTEGRAL["L"]):
        if -(2 ** (bits - 1)) <= value < 2 ** (bits - 1):
            return Literal(value, dtype)
    return _decimal(Decimal(value))


def _floating(text: str, suffix: str) -> Literal:
    value = float(text)
    if value in (float("inf"), float("-inf")) or (suffix == "F" and abs(value) > 3.4028235677973366e38):
        dtype: DataType = t.FloatType() if suffix == "F" else t.DoubleType()
        limit = 3.4028234663852886e38 if suffix == "F" else 1.7976931348623157e308
        raise _out_of_range(text, dtype, -limit, limit)
    return Literal(value, t.FloatType() if suffix == "F" else t.DoubleType())


def _out_of_range(text: str, dtype: DataType, low: float, high: float) -> ParseError:
    return ParseError(
        "INVALID_NUMERIC_LITERAL_RANGE",
        rawStrippedQualifier=text,
        typeName=dtype.simpleString(),
        minValue=low,
        maxValue=high,
    )


def _decimal(value: Decimal) -> Literal:
    _, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    significant = len(str(int("".join(map(str, digits)))))
    scale = max(0, -exponent)
    precision = max(significant + max(0, exponent), scale)
    if precision > _MAX_PRECISION:
        raise ParseError("DECIMAL_PRECISION_EXCEEDS_MAX_PRECISION", precision=precision, maxPrecision=_MAX_PRECISION)
    return Literal(value.quantize(Decimal(1)) if exponent > 0 else value, t.DecimalType(precision, scale))


# ------------------------------------------------------------------------------------------------- dates and times


def typed(kind: str, text: str) -> Expression:
    """`DATE '…'`, `TIMESTAMP '…'` and the like; `kind` in upper case.

    A TIMESTAMP without a zone means the session's zone, which the parser does not know: it is a cast then.
    """
    match kind:
        case "DATE":
            value = _date(text)
            if value is None:
                raise _invalid(kind, text)
            return Literal(value, t.DateType())
        case "TIME":
            value = _time(text)
            if value is None:
                raise _invalid(kind, text)
            return Literal(value, t.TimeType(6))
        case "X":
            return binary(text)
        case _:
            return _timestamp(kind, text)


def binary(text: str) -> Literal:
    """`X'1F'`; an odd count of digits gets a leading zero."""
    try:
        return Literal(bytes.fromhex(text if len(text) % 2 == 0 else "0" + text), t.BinaryType())
    except ValueError as error:
        raise _invalid("X", text) from error


def _invalid(kind: str, text: str) -> ParseError:
    return ParseError("INVALID_TYPED_LITERAL", valueType=f'"{kind}"', value=f"'{text}'")


def _day_number(year: str, month: str | None, day: str | None) -> int | None:
    try:
        return dt.date(int(year), int(month or 1), int(day or 1)).toordinal() - _EPOCH
    except ValueError:
        return None


def _date(text: str) -> int | None:
    match = _DATE.fullmatch(text)
    return _day_number(match[1], match[2], match[3]) if match else None


def _time(text: str) -> int | None:
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    hour, minute, second = int(match[1]), int(match[2]), int(match[3] or 0)
    if hour > 23 or minute > 59 or second > 59:
        return None
    nanos = int((match[4] or "").ljust(9, "0"))
    return ((hour * 60 + minute) * 60 + second) * 1_000_000_000 + nanos // 1_000 * 1_000


def _timestamp(kind: str, text: str) -> Expression:
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        raise _invalid(kind, text)
    days = _day_number(match["year"], match["month"], match["day"])
    hour, minute, second = (int(match[part] or 0) for part in ("hour", "minute", "second"))
    if days is None or hour > 23 or minute > 59 or second > 59:
        raise _invalid(kind, text)
    micros = (((days * 24 + hour) * 60 + minute) * 60 + second) * _MICROS
    micros += int((match["fraction"] or "").ljust(9, "0")[:6])
    zone = match["zone"]
    if kind == "TIMESTAMP_NTZ":
        return Literal(micros, t.TimestampNTZType())
    offset = _OFFSET.fullmatch(zone) if zone else None
    if offset is None:
        return Cast(Literal(text, t.StringType()), t.TimestampType(), CastMode.ANSI)
    seconds = (int(offset[2] or 0) * 60 + int(offset[3] or 0)) * 60 + int(offset[4] or 0)
    return Literal(micros - (-seconds if offset[1] == "-" else seconds) * _MICROS, t.TimestampType())


# ------------------------------------------------------------------------------------------------------- intervals

_DAY_TIME = {"DAY": 0, "HOUR": 1, "MINUTE": 2, "SECOND": 3}
_YEAR_MONTH = {"YEAR": 0, "MONTH": 1}
_UNITS: dict[str, tuple[str, int]] = {
    "YEAR": ("ym", 0),
    "MONTH": ("ym", 1),
    "WEEK": ("dt", 0),
    "DAY": ("dt", 0),
    "HOUR": ("dt", 1),
    "MINUTE": ("dt", 2),
    "SECOND": ("dt", 3),
    "MILLISECOND": ("dt", 3),
    "MICROSECOND": ("dt", 3),
}
_UNITS |= {f"{unit}S": place for unit, place in _UNITS.items()}
_MICROS_PER_DAY = 86_400 * _MICROS
_WORD = re.compile(r"[A-Za-z]+")
_FIELD_SIZE = (_MICROS_PER_DAY, 3_600 * _MICROS, 60 * _MICROS, _MICROS)
_FIELD_LIMIT = (None, 23, 59, 59)


def is_unit(word: str) -> bool:
    """Whether a word (upper case) is a unit of intervals."""
    return word in _UNITS


def interval(text: str) -> Literal:
    """The literal of `1 day 2 hours`: an ANSI interval over the units that are named.

    ParseError: a malformed text, or year-month and day-time units together.
    """
    try:
        value = parse_interval(text)
    except IllegalArgumentError as error:
        raise ParseError(error.condition, error.message_parameters) from error
    places = [_UNITS[word.upper()] for word in _WORD.findall(text) if word.upper() in _UNITS]
    kinds = {kind for kind, _ in places}
    if len(kinds) != 1:
        raise ParseError("_LEGACY_ERROR_TEMP_0029", literal=f"interval '{text}'")
    fields = [field for _, field in places]
    return _ansi(value, kinds.pop(), min(fields), max(fields))


def _ansi(value: Interval, kind: str, start: int, end: int) -> Literal:
    if kind == "ym":
        return Literal(value.months, t.YearMonthIntervalType(start, end))
    return Literal(value.days * _MICROS_PER_DAY + value.micros, t.DayTimeIntervalType(start, end))


def interval_range(text: str, first: str, last: str) -> Literal:
    """`INTERVAL '1 2:03' DAY TO MINUTE`: the text, and the names of the first and the last unit."""
    if first in _YEAR_MONTH and last in _YEAR_MONTH:
        match = re.fullmatch(r"\s*([+-]?)(\d+)-(\d+)\s*", text)
        if match is None or int(match[3]) > 11:
            raise _unmatched(text, first, last)
        months = int(match[2]) * 12 + int(match[3])
        return Literal(-months if match[1] == "-" else months, t.YearMonthIntervalType(0, 1))
    if first not in _DAY_TIME or last not in _DAY_TIME or _DAY_TIME[first] >= _DAY_TIME[last]:
        raise ParseError(
            "INVALID_INTERVAL_FORMAT.UNSUPPORTED_FROM_TO_EXPRESSION",
            {"input": text, "from": first.lower(), "to": last.lower()},
        )
    start, end = _DAY_TIME[first], _DAY_TIME[last]
    pieces = [r"(?P<f0>\d+)", r"(?P<f1>\d{1,9})", r"(?P<f2>\d{1,9})", r"(?P<f3>\d{1,9}(?:\.\d{0,9})?)"]
    pattern = pieces[start]
    for field in range(start + 1, end + 1):
        pattern += (" +" if field == 1 else ":") + pieces[field]
    match = re.fullmatch(rf"\s*(?P<sign>[+-]?){pattern}\s*", text)
    if match is None:
        raise _unmatched(text, first, last)
    micros = 0
    for field in range(start, end + 1):
        whole, _, fraction = match[f"f{field}"].partition(".")
        limit = _FIELD_LIMIT[field]
        if field > start and limit is not None and int(whole) > limit:
            raise _unmatched(text, first, last)
        micros += int(whole) * _FIELD_SIZE[field] + int(fraction.ljust(6, "0")[:6] or 0)
    return Literal(-micros if match["sign"] == "-" else micros, t.DayTimeIntervalType(start, end))


def _unmatched(text: str, first: str, last: str) -> ParseError:
    return ParseError(
        "INVALID_INTERVAL_FORMAT.UNMATCHED_FORMAT_STRING",
        input=text,
        intervalStr="day-time" if first in _DAY_TIME else "year-month",
        typeName=f"interval {first.lower()} to {last.lower()}",
        supportedFormat=_FORMATS.get((first, last), ""),
    )


_FORMATS = {
    ("YEAR", "MONTH"): "`[+|-]y-m`",
    ("DAY", "HOUR"): "`[+|-]d h`",
    ("DAY", "MINUTE"): "`[+|-]d h:m`",
    ("DAY", "SECOND"): "`[+|-]d h:m:s.n`",
    ("HOUR", "MINUTE"): "`[+|-]h:m`",
    ("HOUR", "SECOND"): "`[+|-]h:m:s.n`",
    ("MINUTE", "SECOND"): "`[+|-]m:s.n`",
}
