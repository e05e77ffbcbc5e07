"""From CSV's strings to typed values, in DuckDB SQL, by the rules of Spark's reader."""

from __future__ import annotations

from typing import Final

from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    ByteType,
    CalendarIntervalType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    MapType,
    NullType,
    ShortType,
    StringType,
    StructType,
    TimestampNTZType,
    TimestampType,
    TimeType,
)

from runnel.errors import AnalysisError, unsupported
from runnel.functions import cast_text
from runnel.functions.casts import type_sql
from runnel.functions.csv_options import CsvOptions
from runnel.functions.date_patterns import text_literal
from runnel.functions.datetime_text import parse_date, parse_timestamp
from runnel.functions.pretty import pretty_type
from runnel.functions.registry import LoweringContext

_NUMBER: Final = r"'[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?'"
_FLOATING: Final = r"'[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?[dDfF]?'"
_ABOVE_FLOATS: Final = "3.4028235677973366e38"


def check_types(schema: StructType) -> None:
    """Errors: AnalysisError for types that no file of CSV can hold."""
    for field in schema.fields:
        if isinstance(field.dataType, TimeType):
            raise AnalysisError("UNSUPPORTED_TIME_TYPE")
        if isinstance(field.dataType, ArrayType | MapType | StructType | NullType | CalendarIntervalType):
            raise AnalysisError(
                "UNSUPPORTED_DATA_TYPE_FOR_DATASOURCE",
                {"format": "CSV", "columnName": f"`{field.name}`", "columnType": pretty_type(field.dataType)},
            )


def csv_value(context: LoweringContext, text: str, dtype: DataType, options: CsvOptions) -> str:
    """SQL of the value in `text` (SQL, null for no value); null where it does not fit.

    Errors: UnsupportedOperationError for types that CSV has no text for.
    """
    match dtype:
        case StringType():
            return text
        case ByteType() | ShortType() | IntegerType() | LongType():
            return f"CASE WHEN regexp_full_match({text}, '[+-]?[0-9]+') THEN TRY_CAST({text} AS {type_sql(dtype)}) END"
        case DoubleType() | FloatType():
            return _floating(text, type_sql(dtype), options)
        case BooleanType():
            return f"CASE lower({text}) WHEN 'true' THEN TRUE WHEN 'false' THEN FALSE END"
        case DecimalType():
            number = f"replace({text}, ',', '')"
            return f"CASE WHEN regexp_full_match({number}, {_NUMBER}) THEN TRY_CAST({number} AS {type_sql(dtype)}) END"
        case DateType():
            if options.date_format is None:
                return cast_text.to_date(text)
            return parse_date(context, text, options.date_format)
        case TimestampType():
            return parse_timestamp(context, text, options.timestamp_format, options.time_zone, with_zone=True)
        case TimestampNTZType():
            return parse_timestamp(context, text, options.timestamp_ntz_format, options.time_zone, with_zone=False)
        case BinaryType():
            return f"encode({text})"
        case _:
            raise unsupported(f"CSV with a column of type {dtype.simpleString()}", "Read it as a string.")


def _floating(text: str, name: str, options: CsvOptions) -> str:
    """Java's numbers and words, blanks around them left out; beyond a type's range they are infinite."""
    words = [(options.nan_value, "nan"), (options.positive_inf, "inf"), (options.negative_inf, "-inf")]
    words += [("NaN", "nan"), ("Infinity", "inf"), ("+Infinity", "inf"), ("-Infinity", "-inf")]
    special = " ".join(f"WHEN {text} = {text_literal(w)} THEN CAST('{v}' AS {name})" for w, v in dict(words).items())
    bare = cast_text.trimmed(text)
    number = f"TRY_CAST(rtrim({bare}, 'dDfF') AS DOUBLE)"
    value = number
    if name == "FLOAT":
        value = (
            f"CASE WHEN abs({number}) >= {_ABOVE_FLOATS} THEN sign({number}) * CAST('inf' AS FLOAT) ELSE {number} END"
        )
    return f"CASE {special} WHEN regexp_full_match({bare}, {_FLOATING}) THEN CAST({value} AS {name}) END"
