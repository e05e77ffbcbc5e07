"""From CSV's strings to typed values, in DuckDB SQL, by the rules of Spark's reader."""

from __future__ import annotations

from pyspark.sql.types import (
    BinaryType,
    BooleanType,
    ByteType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    NullType,
    ShortType,
    StringType,
    TimestampNTZType,
    TimestampType,
)

from runnel.errors import unsupported
from runnel.functions import cast_text
from runnel.functions.casts import type_sql
from runnel.functions.csv_options import CsvOptions
from runnel.functions.date_patterns import text_literal
from runnel.functions.datetime_text import parse_date, parse_timestamp
from runnel.functions.registry import LoweringContext


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
            name = type_sql(dtype)
            words = ((options.nan_value, "nan"), (options.positive_inf, "inf"), (options.negative_inf, "-inf"))
            special = " ".join(f"WHEN {text} = {text_literal(w)} THEN CAST('{v}' AS {name})" for w, v in words)
            return f"CASE {special} ELSE {cast_text.to_floating(text, name)} END"
        case BooleanType():
            return f"CASE lower({text}) WHEN 'true' THEN TRUE WHEN 'false' THEN FALSE END"
        case DecimalType():
            return cast_text.to_decimal(f"replace({text}, ',', '')", type_sql(dtype))
        case DateType():
            return parse_date(context, text, options.date_format)
        case TimestampType():
            return parse_timestamp(context, text, options.timestamp_format, options.time_zone, with_zone=True)
        case TimestampNTZType():
            return parse_timestamp(context, text, options.timestamp_ntz_format, options.time_zone, with_zone=False)
        case BinaryType():
            return f"encode({text})"
        case NullType():
            return "CAST(NULL AS INTEGER)"
        case _:
            raise unsupported(f"CSV with a column of type {dtype.simpleString()}", "Read it as a string.")
