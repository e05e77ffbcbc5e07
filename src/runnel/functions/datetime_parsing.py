"""Functions between text and dates or timestamps: to_timestamp, to_date, date_format, unix_timestamp, from_unixtime …"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pyspark.sql.types import DataType, TimestampType

from runnel.errors import unsupported
from runnel.functions import date_patterns
from runnel.functions.registry import BindContext, CatalogueEntry, LoweringContext, ScalarFunction
from runnel.functions.typing import (
    DATE,
    LONG,
    STRING,
    TIMESTAMP,
    TIMESTAMP_NTZ,
    cast_to,
    check_arity,
    coerce,
    coerce_arguments,
    is_null,
    is_string,
    is_timestamp,
    mode_of,
    unexpected_input,
)
from runnel.plan.expressions import BatchParameter, CastMode, Expression, FunctionCall, Literal, dtype_of, nullable_of

Args = tuple[Expression, ...]
SqlArgs = tuple[str, ...]
_DEFAULT_PATTERN: Final = "yyyy-MM-dd HH:mm:ss"


def _pattern(name: str, pattern: Expression, *, parsing: bool) -> str | None:
    """A pattern that is a constant, checked; None for null."""
    if not isinstance(pattern, Literal):
        raise unsupported(f"{name} with a datetime pattern that is not a constant")
    if pattern.value is None:
        return None
    pieces = date_patterns.check_pattern(pattern.value, parsing=parsing)
    if parsing:
        date_patterns.parser_of(pieces)
    return str(pattern.value)


def _parsed(name: str, target: DataType, *, tried: bool = False) -> ScalarFunction:
    """to_date, to_timestamp and their kin: a cast without a pattern, `parse_datetime` with one."""

    def bind(context: BindContext, args: Args) -> Expression:
        check_arity(name, args, 1, 2)
        source = dtype_of(args[0])
        if len(args) == 1 or not (is_string(source) or is_null(source)):
            return cast_to(args[0], target, CastMode.TRY if tried else mode_of(context))
        if not is_string(dtype_of(args[1])) and not is_null(dtype_of(args[1])):
            raise unexpected_input(name, args, 1, '"STRING"')
        pattern = _pattern(name, args[1], parsing=True)
        if pattern is None or is_null(source):
            return Literal(None, target)
        forgiving = tried or not context.ansi
        function = "parse_datetime_or_null" if forgiving else "parse_datetime"
        return FunctionCall(function, (args[0], Literal(pattern, STRING)), target, nullable_of(args[0]) or forgiving)

    return ScalarFunction(name, bind)


def _lower_parse(*, tried: bool) -> Callable[[LoweringContext, FunctionCall, SqlArgs], str]:
    def lower(context: LoweringContext, call: FunctionCall, args: SqlArgs) -> str:
        pattern = call.args[1]
        assert isinstance(pattern, Literal)
        parser = date_patterns.parser_of(date_patterns.check_pattern(pattern.value, parsing=True))
        # A date and a timestamp without zone are what the text says; its offset, if any, plays no part.
        zoned = isinstance(call.dtype, TimestampType)
        instant = context.instant("_t") if zoned else "_t"
        read = date_patterns.parse_sql(parser, args[0], instant, with_offset=zoned)
        text = f"CAST({read} AS {'DATE' if call.dtype == DATE else 'TIMESTAMP'})"
        if tried:
            return text
        suggestion = "`try_to_date`" if call.dtype == DATE else "`try_to_timestamp`"
        failure = context.error(
            "CANNOT_PARSE_TIMESTAMP",
            call.dtype,
            message=f"'Text ''' || {args[0]} || ''' could not be parsed'",
            func=f"'{suggestion}'",
        )
        return f"CASE WHEN {args[0]} IS NOT NULL THEN coalesce({text}, {failure}) END"

    return lower


def _bind_internal(context: BindContext, args: Args) -> Expression:
    check_arity("parse_datetime", args, 2)
    return FunctionCall("parse_datetime", args, TIMESTAMP, True)


def _bind_date_format(context: BindContext, args: Args) -> Expression:
    check_arity("date_format", args, 2)
    time = args[0]
    if not is_timestamp(dtype_of(time)):
        time = coerce_arguments("date_format", args[:1], (TIMESTAMP,), context)[0]
    pattern = _pattern("date_format", coerce(args[1], STRING, context), parsing=False)
    if pattern is None:
        return Literal(None, STRING)
    return FunctionCall("date_format", (time, Literal(pattern, STRING)), STRING, nullable_of(time))


def _lower_date_format(context: LoweringContext, call: FunctionCall, args: SqlArgs) -> str:
    pattern = call.args[1]
    assert isinstance(pattern, Literal)
    pieces = date_patterns.check_pattern(pattern.value, parsing=False)
    zoned = isinstance(dtype_of(call.args[0]), TimestampType)
    local = context.local(args[0]) if zoned else args[0]
    return date_patterns.format_sql(pieces, local, args[0], context.session_time_zone if zoned else "UTC")


def _unix(name: str) -> Callable[[BindContext, Args], Expression]:
    def bind(context: BindContext, args: Args) -> Expression:
        check_arity(name, args, 0 if name == "unix_timestamp" else 1, 2)
        if not args:
            return FunctionCall("whole_seconds", (BatchParameter("batch_timestamp_us", TIMESTAMP),), LONG, False)
        pattern = args[1] if len(args) == 2 else Literal(_DEFAULT_PATTERN, STRING)
        if is_string(dtype_of(args[0])) or is_null(dtype_of(args[0])):
            time = _TO_TIMESTAMP.bind(context, (args[0], pattern))
        else:
            time = coerce_arguments(name, args[:1], (TIMESTAMP,), context)[0]
        return FunctionCall("whole_seconds", (time,), LONG, nullable_of(time))

    return bind


def _bind_whole_seconds(context: BindContext, args: Args) -> Expression:
    check_arity("whole_seconds", args, 1)
    return FunctionCall("whole_seconds", args, LONG, nullable_of(args[0]))


def _bind_from_unixtime(context: BindContext, args: Args) -> Expression:
    check_arity("from_unixtime", args, 1, 2)
    seconds = cast_to(args[0], LONG, mode_of(context))
    pattern = _pattern("from_unixtime", args[1] if len(args) == 2 else Literal(_DEFAULT_PATTERN, STRING), parsing=False)
    if pattern is None:
        return Literal(None, STRING)
    time = FunctionCall("timestamp_seconds", (seconds,), TIMESTAMP, nullable_of(seconds))
    return FunctionCall("date_format", (time, Literal(pattern, STRING)), STRING, True)


_TO_TIMESTAMP: Final = _parsed("to_timestamp", TIMESTAMP)

FUNCTIONS: Final[tuple[CatalogueEntry, ...]] = (
    _TO_TIMESTAMP,
    _parsed("to_timestamp_ltz", TIMESTAMP),
    _parsed("to_timestamp_ntz", TIMESTAMP_NTZ),
    _parsed("try_to_timestamp", TIMESTAMP, tried=True),
    _parsed("to_date", DATE),
    _parsed("try_to_date", DATE, tried=True),
    ScalarFunction("parse_datetime", _bind_internal, _lower_parse(tried=False)),
    ScalarFunction("parse_datetime_or_null", _bind_internal, _lower_parse(tried=True)),
    ScalarFunction("date_format", _bind_date_format, _lower_date_format),
    ScalarFunction("unix_timestamp", _unix("unix_timestamp")),
    ScalarFunction("to_unix_timestamp", _unix("to_unix_timestamp")),
    ScalarFunction(
        "whole_seconds",
        _bind_whole_seconds,
        lambda context, call, args: f"CAST(epoch_us({args[0]}) // 1000000 AS BIGINT)",
    ),
    ScalarFunction("from_unixtime", _bind_from_unixtime),
)
