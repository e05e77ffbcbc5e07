"""Types of CSV fields, by the order that Spark tries them in."""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from pyspark.sql.types import (
    BooleanType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    IntegerType,
    LongType,
    NullType,
    StringType,
    TimestampType,
)

from runnel.functions.csv_options import CsvOptions
from runnel.functions.date_patterns import check_pattern, parser_of

_CSV_ORDER: Final = (NullType, IntegerType, LongType, DecimalType, DoubleType)


def wider(have: DataType, value: str | None, options: CsvOptions) -> DataType:
    """The type that holds what `have` holds (NullType: nothing yet) and this field."""
    if value is None or value in ("", options.null_value) or isinstance(have, StringType):
        return have
    this = _csv_type(value, options)
    if isinstance(have, DecimalType) and isinstance(this, DecimalType):
        return max(have, this, key=lambda t: t.precision)
    if isinstance(have, NullType) or type(have) is type(this):
        return this
    if type(have) in _CSV_ORDER and type(this) in _CSV_ORDER:
        return max(have, this, key=lambda t: _CSV_ORDER.index(type(t)))
    if {type(have), type(this)} == {DateType, TimestampType}:
        return TimestampType() if options.timestamp_format is None else StringType()
    return StringType()


_NUMBER: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?[dDfF]?")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIMESTAMP: Final = re.compile(
    r"\s*[0-9]{4}-[0-9]{1,2}(-[0-9]{1,2}([ T]([0-9]{1,2}(:[0-9]{1,2}(:[0-9]{1,2}(\.[0-9]*)?)?)?"
    r" ?(Z|[A-Za-z]+/[A-Za-z0-9_+/-]+|[A-Z]{3,4}|(UTC|GMT)?[+-][0-9]{1,2}(:?[0-9]{2}){0,2})?)?)?)?\s*"
)


def _csv_type(value: str, options: CsvOptions) -> DataType:
    if re.fullmatch(r"[+-]?[0-9]+", value):
        number = int(value)
        if -(2**31) <= number < 2**31:
            return IntegerType()
        if -(2**63) <= number < 2**63:
            return LongType()
        digits = len(str(abs(number)))
        return DecimalType(digits, 0) if digits <= 38 else DoubleType()
    words = ("NaN", "Infinity", "+Infinity", "-Infinity", options.nan_value, options.positive_inf, options.negative_inf)
    if value in words or _NUMBER.fullmatch(value.strip()):
        return DoubleType()
    if _written(_DATE, options.date_format, value):
        return DateType()
    if _written(_TIMESTAMP, options.timestamp_format, value):
        return TimestampType()
    return BooleanType() if value.lower() in ("true", "false") else StringType()


def _written(usual: re.Pattern[str], pattern: str | None, value: str) -> bool:
    return bool(usual.fullmatch(value) if pattern is None else _shape(pattern).search(value))


@cache
def _shape(pattern: str) -> re.Pattern[str]:
    return re.compile(parser_of(check_pattern(pattern, parsing=True)).regex)
