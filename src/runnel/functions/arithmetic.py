"""`+ - * / % div`, negation and their `try_` forms, on numbers, dates, timestamps and intervals.

Spark's rules: BinaryArithmetic with ANSI on raises ARITHMETIC_OVERFLOW, DIVIDE_BY_ZERO and REMAINDER_BY_ZERO; with ANSI
off integers wrap around and the rest is null; the `try_` forms give null.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pyspark.sql.types import (
    DataType,
    DateType,
    DayTimeIntervalType,
    DecimalType,
    DoubleType,
    FloatType,
    TimestampNTZType,
    TimestampType,
    TimeType,
    YearMonthIntervalType,
)

from runnel.errors import AnalysisError
from runnel.functions import decimal_sql
from runnel.functions.pretty import pretty_type
from runnel.functions.registry import BindContext, CatalogueEntry, LoweringContext, ScalarFunction
from runnel.functions.typing import (
    BYTE,
    CALENDAR,
    DAY_TIME,
    DOUBLE,
    INT,
    LONG,
    NUMERIC_OR_INTERVAL,
    SHORT,
    STRING,
    TIMESTAMP,
    YEAR_MONTH,
    call_text,
    cast_to,
    check_arity,
    coerce,
    common_type,
    decimal_for,
    decimal_result,
    is_calendar,
    is_date,
    is_datetime,
    is_day_time,
    is_decimal,
    is_floating,
    is_integral,
    is_interval,
    is_null,
    is_numeric,
    is_string,
    is_timestamp,
    is_year_month,
    tightest_common_type,
    unexpected_input,
)
from runnel.plan.expressions import CastMode, Expression, FunctionCall, Literal, dtype_of, nullable_of

Args = tuple[Expression, ...]
Bind = Callable[[BindContext, Args], Expression]

_TRY: Final = {"try_add": "+", "try_subtract": "-", "try_multiply": "*", "try_divide": "/", "try_mod": "%"}
_SQL_NAMES: Final = {1: "TINYINT", 2: "SMALLINT", 4: "INTEGER", 8: "BIGINT"}
MICROS_PER_DAY: Final = 86_400_000_000


# --------------------------------------------------------------------------------------------------- binding


def _any_nullable(args: Args) -> bool:
    return any(nullable_of(a) for a in args)


def _wrong_types(name: str, args: Args) -> AnalysisError:
    left, right = (dtype_of(a) for a in args)
    if left != right:
        return AnalysisError(
            "DATATYPE_MISMATCH.BINARY_OP_DIFF_TYPES",
            {"left": pretty_type(left), "right": pretty_type(right), "sqlExpr": call_text(name, args)},
        )
    return AnalysisError(
        "DATATYPE_MISMATCH.BINARY_OP_WRONG_TYPE",
        {"inputType": NUMERIC_OR_INTERVAL.name, "actualDataType": pretty_type(left), "sqlExpr": call_text(name, args)},
    )


def _promote_strings(args: Args, context: BindContext) -> Args:
    """A string beside a number becomes a number: bigint beside integers, else double (double always without ANSI)."""
    types = [dtype_of(a) for a in args]
    result = list(args)
    for i, other in ((0, 1), (1, 0)):
        if is_string(types[i]) and (is_numeric(types[other]) or is_null(types[other]) or not context.ansi):
            target = LONG if context.ansi and is_integral(types[other]) else DOUBLE
            result[i] = coerce(args[i], target, context)
    return tuple(result)


def decimal_of(expression: Expression) -> Expression:
    """A number as a decimal: an integer literal with the digits it has, else as its type says."""
    t = dtype_of(expression)
    if isinstance(expression, Literal) and is_integral(t) and expression.value is not None:
        return cast_to(expression, DecimalType(max(len(str(abs(expression.value))), 1), 0))
    return cast_to(expression, decimal_for(t))


def _bind_numeric(name: str, operator: str, args: Args, context: BindContext) -> Expression:
    tried = name in _TRY
    args = _promote_strings(args, context)
    left, right = (dtype_of(a) for a in args)
    if is_null(left) and is_null(right):
        left = right = DOUBLE
        args = tuple(Literal(None, DOUBLE) for _ in args)
    elif is_null(left):
        args, left = (Literal(None, right), args[1]), right
    elif is_null(right):
        args, right = (args[0], Literal(None, left)), left
    if not (is_numeric(left) and is_numeric(right)):
        raise _wrong_types(operator, args)
    dividing = operator in ("/", "%", "div", "pmod")
    mixed_float = is_floating(left) or is_floating(right)
    if (is_decimal(left) or is_decimal(right)) and not mixed_float:
        args = tuple(decimal_of(a) for a in args)
        a, b = (dtype_of(x) for x in args)
        assert isinstance(a, DecimalType) and isinstance(b, DecimalType)
        result: DataType = LONG if operator == "div" else decimal_result(operator, a, b)
        return FunctionCall(name, args, result, tried or dividing or not context.ansi or _any_nullable(args))
    if operator == "/":
        target: DataType | None = DOUBLE
    elif operator == "div":
        target = LONG
    else:
        target = tightest_common_type(left, right, context.ansi)
    if target is None or (operator == "div" and mixed_float):
        raise _wrong_types(operator, args)
    if operator != "div" or not (is_integral(left) and is_integral(right)):
        args = tuple(coerce(a, target, context) for a in args)
    else:
        common = tightest_common_type(left, right, context.ansi) or LONG
        args = tuple(coerce(a, common, context) for a in args)
    return FunctionCall(name, args, target, tried or dividing or _any_nullable(args))


def _days_only(t: DataType) -> bool:
    return isinstance(t, DayTimeIntervalType) and t.startField == 0 and t.endField == 0


def _bind_additive(name: str, operator: str) -> Bind:
    def bind(context: BindContext, args: Args) -> Expression:
        check_arity(name, args, 2)
        tried = name in _TRY
        left, right = (dtype_of(a) for a in args)
        swapped = not is_datetime(left) and (is_datetime(right) or (is_interval(left) and is_string(right)))
        if operator == "+" and swapped:
            args, left, right = (args[1], args[0]), right, left

        def call(operands: Args, result: DataType) -> Expression:
            return FunctionCall(name, operands, result, tried or _any_nullable(operands))

        if is_string(left) and is_interval(right):
            moved = call((cast_to(args[0], TIMESTAMP, _mode(context)), args[1]), TIMESTAMP)
            return cast_to(moved, STRING, _mode(context))
        if isinstance(left, TimeType) and is_day_time(right):
            return call(args, left)
        if isinstance(left, TimeType) and isinstance(right, TimeType) and operator == "-":
            return call(args, DayTimeIntervalType(1, 3))
        if is_datetime(left) and is_interval(right):
            if is_date(left) and is_day_time(right) and not _days_only(right):
                return call((cast_to(args[0], TIMESTAMP, _mode(context)), args[1]), TIMESTAMP)
            return call(args, left)
        if is_datetime(left) and operator == "-" and (is_datetime(right) or is_string(right)):
            return _bind_difference(name, args, context, tried)
        if is_string(left) and is_datetime(right) and operator == "-":
            return _bind_difference(name, args, context, tried)
        if is_date(left):
            if is_null(right):
                return call((args[0], Literal(None, INT)), left)
            if right not in (BYTE, SHORT, INT):
                if is_integral(right) or is_floating(right) or is_decimal(right):
                    function = "date_add" if operator == "+" else "date_sub"
                    raise unexpected_input(function, args, 1, '("INT" or "SMALLINT" or "TINYINT")')
                if is_string(right):
                    return call((args[0], coerce(args[1], INT, context)), left)
                raise _wrong_types(operator, args)
            return call(args, left)
        if is_datetime(left) and is_null(right):
            return Literal(None, left)
        if is_interval(left) or is_interval(right):
            return _bind_intervals(name, operator, args, context, tried)
        return _bind_numeric(name, operator, args, context)

    return bind


def _mode(context: BindContext) -> CastMode:
    return CastMode.ANSI if context.ansi else CastMode.LEGACY


def _bind_difference(name: str, args: Args, context: BindContext, tried: bool) -> Expression:
    left, right = (dtype_of(a) for a in args)
    if is_string(left) or is_string(right):
        target = right if is_string(left) else left
    elif is_date(left) and is_date(right):
        target = left
    else:
        target = common_type(left, right, context.ansi) or TIMESTAMP
    operands = tuple(coerce(a, target, context) for a in args)
    result = DayTimeIntervalType(0, 0) if is_date(target) else DAY_TIME
    return FunctionCall(name, operands, result, tried or _any_nullable(operands))


def _bind_intervals(name: str, operator: str, args: Args, context: BindContext, tried: bool) -> Expression:
    left, right = (dtype_of(a) for a in args)
    if is_null(left) or is_null(right):
        other = right if is_null(left) else left
        operands: Args = tuple(cast_to(a, other) for a in args)
        return FunctionCall(name, operands, other, True)
    common = tightest_common_type(left, right)
    if common is None or not is_interval(common):
        raise _wrong_types(operator, args)
    return FunctionCall(name, args, common, tried or _any_nullable(args))


def _bind_multiply(name: str) -> Bind:
    def bind(context: BindContext, args: Args) -> Expression:
        check_arity(name, args, 2)
        left, right = (dtype_of(a) for a in args)
        if is_interval(right) and not is_interval(left):
            args, left, right = (args[1], args[0]), right, left
        if is_interval(left):
            return _bind_scaled(name, "*", args, context)
        return _bind_numeric(name, "*", args, context)

    return bind


def _bind_divide(name: str) -> Bind:
    def bind(context: BindContext, args: Args) -> Expression:
        check_arity(name, args, 2)
        if is_interval(dtype_of(args[0])):
            return _bind_scaled(name, "/", args, context)
        return _bind_numeric(name, "/", args, context)

    return bind


def _bind_scaled(name: str, operator: str, args: Args, context: BindContext) -> Expression:
    """interval * number, interval / number."""
    left, right = (dtype_of(a) for a in args)
    if is_string(right) or is_null(right):
        args = (args[0], coerce(args[1], DOUBLE, context))
    elif not is_numeric(right):
        raise _wrong_types(operator, args)
    if is_day_time(left):
        result: DataType = DAY_TIME
    else:
        result = YEAR_MONTH if is_year_month(left) else CALENDAR
    nullable = name in _TRY or _any_nullable(args)
    return FunctionCall(name, args, result, nullable)


def _bind_remainder(name: str, operator: str) -> Bind:
    def bind(context: BindContext, args: Args) -> Expression:
        check_arity(name, args, 2)
        return _bind_numeric(name, operator, args, context)

    return bind


def _bind_div(context: BindContext, args: Args) -> Expression:
    check_arity("div", args, 2)
    left, right = (dtype_of(a) for a in args)
    if is_interval(left) and type(left) is type(right) and not is_calendar(left):
        return FunctionCall("div", args, LONG, True)
    return _bind_numeric("div", "div", args, context)


def _bind_sign(name: str) -> Bind:
    def bind(context: BindContext, args: Args) -> Expression:
        check_arity(name, args, 1)
        t = dtype_of(args[0])
        if is_string(t) or is_null(t):
            args, t = (coerce(args[0], DOUBLE, context),), DOUBLE
        if not (is_numeric(t) or is_interval(t)):
            raise unexpected_input(name, args, 0, NUMERIC_OR_INTERVAL.name)
        if name == "positive":
            return args[0]
        return FunctionCall(name, args, t, _any_nullable(args))

    return bind


# --------------------------------------------------------------------------------------------------- lowering


def integer_name(t: DataType) -> str:
    """DuckDB's name of an integral type."""
    return _SQL_NAMES[integer_bits(t) // 8]


def integer_bits(t: DataType) -> int:
    """Its size."""
    sizes: dict[DataType, int] = {BYTE: 8, SHORT: 16, INT: 32, LONG: 64}
    return sizes[t]


def wrapped(hugeint_sql: str, bits: int) -> str:
    """A HUGEINT taken modulo 2^bits into the signed type of that size, as Java's integers wrap around."""
    half, full = 1 << (bits - 1), 1 << bits
    # `& mask` of a negative HUGEINT is its value modulo 2^bits
    low = f"((({hugeint_sql}) + {half}::HUGEINT) & {full - 1}::HUGEINT)"
    return f"CAST({low} - {half}::HUGEINT AS {_SQL_NAMES[bits // 8]})"


def _integer(ctx: LoweringContext, operator: str, args: tuple[str, ...], t: DataType, tried: bool) -> str:
    a, b = args
    if ctx.ansi and not tried:
        return f"({a} {operator} {b})"
    wide = f"(CAST({a} AS HUGEINT) {operator} CAST({b} AS HUGEINT))"
    return f"TRY_CAST({wide} AS {integer_name(t)})" if tried else wrapped(wide, integer_bits(t))


def _nonzero(expression: Expression) -> bool:
    return isinstance(expression, Literal) and expression.value is not None and expression.value != 0


_ANSI_CONF: Final = "'\"spark.sql.ansi.enabled\"'"


def guard_zero(
    ctx: LoweringContext, call: FunctionCall, divisor: str, divided: str, tried: bool, condition: str
) -> str:
    """`divided`, but the condition (null without ANSI or when tried) where the divisor is zero."""
    if _nonzero(call.args[1]):
        return divided
    if tried or not ctx.ansi:
        return f"CASE WHEN {divisor} <> 0 THEN {divided} END"
    # a null dividend is null before the divisor is looked at
    dividend = "" if not nullable_of(call.args[0]) else f"({ctx.lower(call.args[0])}) IS NOT NULL AND "
    return f"CASE WHEN {dividend}{divisor} = 0 THEN {ctx.error(condition, call.dtype, config=_ANSI_CONF)} ELSE {divided} END"


def _lower_additive(name: str, operator: str) -> Callable[[LoweringContext, FunctionCall, tuple[str, ...]], str]:
    tried = name in _TRY

    def lower(ctx: LoweringContext, call: FunctionCall, args: tuple[str, ...]) -> str:
        left, right = (dtype_of(a) for a in call.args)
        a, b = args
        match left:
            case DecimalType() if isinstance(right, DecimalType):
                assert isinstance(call.dtype, DecimalType)
                return decimal_sql.additive(operator, a, left, b, right, call.dtype, tried or not ctx.ansi)
            case FloatType() | DoubleType():
                return f"({a} {operator} {b})"
            case DateType():
                return _date_additive(operator, a, b, right, ctx, call)
            case TimestampType() | TimestampNTZType():
                return _timestamp_additive(operator, a, b, left, right, ctx)
            case TimeType():
                return _time_additive(operator, a, b, right, ctx, call)
            case DayTimeIntervalType():
                return _integer(ctx_strict(ctx), operator, args, LONG, tried)
            case YearMonthIntervalType():
                return _integer(ctx_strict(ctx), operator, args, INT, tried)
            case _ if is_calendar(left):
                return f"({a} {operator} {b})"
            case _:
                return _integer(ctx, operator, args, call.dtype, tried)

    return lower


class _Strict:
    """A context's view in which ANSI is on: interval overflow raises whatever the session says."""

    def __init__(self, inner: LoweringContext) -> None:
        self._inner = inner

    ansi = True

    @property
    def session_time_zone(self) -> str:
        return self._inner.session_time_zone

    def lower(self, expression: Expression) -> str:
        return self._inner.lower(expression)

    def local(self, timestamp_sql: str) -> str:
        return self._inner.local(timestamp_sql)

    def instant(self, local_sql: str) -> str:
        return self._inner.instant(local_sql)

    def cast(self, sql: str, source: DataType, target: DataType, *, try_: bool = False) -> str:
        return self._inner.cast(sql, source, target, try_=try_)

    def error(self, condition: str, target: DataType, **parameters: str) -> str:
        return self._inner.error(condition, target, **parameters)


def ctx_strict(ctx: LoweringContext) -> LoweringContext:
    """The context with ANSI on."""
    return ctx if ctx.ansi else _Strict(ctx)


def _date_additive(operator: str, a: str, b: str, right: DataType, ctx: LoweringContext, call: FunctionCall) -> str:
    if is_date(right):
        return f"(CAST(({a} - {b}) AS BIGINT) * {MICROS_PER_DAY})"
    if is_year_month(right):
        return f"CAST(({a} {operator} to_months({b})) AS DATE)"
    if is_day_time(right):
        return f"({a} {operator} CAST({b} // {MICROS_PER_DAY} AS INTEGER))"
    if is_calendar(right):
        sub_day = f"(CAST(epoch_us({b} - to_months({_months(b)}) - to_days(datepart('day', {b}))) AS BIGINT) <> 0)"
        moved = f"CAST(({a} {operator} {b}) AS DATE)"
        refused = ctx.error("_LEGACY_ERROR_TEMP_2000", call.dtype, message=_SUB_DAY, ansiConfig=_ANSI_KEY)
        return f"CASE WHEN {sub_day} THEN {refused} ELSE {moved} END" if ctx.ansi else moved
    return f"({a} {operator} CAST({b} AS INTEGER))"


_SUB_DAY: Final = "'Cannot add hours, minutes or seconds, milliseconds, microseconds to a date'"
_ANSI_KEY: Final = "'\"spark.sql.ansi.enabled\"'"


def _months(interval: str) -> str:
    return f"CAST(datepart('year', {interval}) * 12 + datepart('month', {interval}) AS INTEGER)"


def _timestamp_additive(operator: str, a: str, b: str, left: DataType, right: DataType, ctx: LoweringContext) -> str:
    if is_timestamp(right):
        if isinstance(left, TimestampType):
            a, b = ctx.local(a), ctx.local(b)
        return f"(epoch_us({a}) - epoch_us({b}))"
    zoned = isinstance(left, TimestampType)

    def moved(days_or_months: str) -> str:
        if not zoned:
            return f"({a} {operator} {days_or_months})"
        return ctx.instant(f"({ctx.local(a)} {operator} {days_or_months})")

    same_wall = not zoned or ctx.local(a) == a
    if is_year_month(right):
        return moved(f"to_months({b})")
    if is_day_time(right):
        if same_wall:
            return f"({a} {operator} to_microseconds({b}))"
        days, rest = f"CAST({b} // {MICROS_PER_DAY} AS INTEGER)", f"{b} % {MICROS_PER_DAY}"
        return f"({moved(f'to_days({days})')} {operator} to_microseconds({rest}))"
    if same_wall:
        return f"({a} {operator} {b})"
    whole = f"(to_months({_months(b)}) + to_days(CAST(datepart('day', {b}) AS INTEGER)))"
    return f"({moved(whole)} {operator} ({b} - {whole}))"


def _time_additive(operator: str, a: str, b: str, right: DataType, ctx: LoweringContext, call: FunctionCall) -> str:
    if isinstance(right, TimeType):
        return f"(epoch_us({a}) - epoch_us({b}))"
    total = f"(epoch_us({a}) {operator} {b})"
    refused = ctx.error("DATETIME_OVERFLOW", call.dtype, operation="'add interval to time'")
    return (
        f"CASE WHEN {total} NOT BETWEEN 0 AND {MICROS_PER_DAY - 1} THEN {refused} "
        f"ELSE CAST(make_timestamp({total}) AS TIME) END"
    )


def _scaled(ctx: LoweringContext, call: FunctionCall, operator: str, args: tuple[str, ...], tried: bool) -> str:
    left, right = (dtype_of(a) for a in call.args)
    a, b = args
    if is_calendar(left):
        factor = f"CAST({b} AS DOUBLE)"
        micros = f"(epoch_us({a} - to_months({_months(a)}) - to_days(CAST(datepart('day', {a}) AS INTEGER))))"
        scaled = (
            f"(to_months(CAST(trunc({_months(a)} {operator} {factor}) AS INTEGER))"
            f" + to_days(CAST(trunc(datepart('day', {a}) {operator} {factor}) AS INTEGER))"
            f" + to_microseconds(CAST(round(((datepart('day', {a}) {operator} {factor})"
            f" - trunc(datepart('day', {a}) {operator} {factor})) * {MICROS_PER_DAY}"
            f" + {micros} {operator} {factor}) AS BIGINT)))"
        )
    else:
        target = "BIGINT" if is_day_time(left) else "INTEGER"
        cast = "TRY_CAST" if tried else "CAST"
        if is_floating(right):
            scaled = f"{cast}(round(CAST({a} AS DOUBLE) {operator} {b}) AS {target})"
        elif operator == "*" and is_integral(right):
            scaled = f"{cast}(CAST({a} AS HUGEINT) * CAST({b} AS HUGEINT) AS {target})"
        else:
            digits = DecimalType(20 if is_day_time(left) else 10, 0)
            factor_type = right if isinstance(right, DecimalType) else decimal_for(right)
            result = decimal_result(operator, digits, factor_type)
            lowered = decimal_sql.multiply if operator == "*" else decimal_sql.divide
            text = lowered(
                f"CAST({a} AS DECIMAL({digits.precision},0))",
                digits,
                f"CAST({b} AS DECIMAL({factor_type.precision},{factor_type.scale}))",
                factor_type,
                result,
                tried,
            )
            scaled = f"{cast}(round({text}, 0) AS {target})"
    if operator == "*":
        return scaled
    zero = "INTERVAL_DIVIDED_BY_ZERO"
    return guard_zero(ctx_strict(ctx), call, b, scaled, tried, zero)


def _lower_multiply(name: str) -> Callable[[LoweringContext, FunctionCall, tuple[str, ...]], str]:
    tried = name in _TRY

    def lower(ctx: LoweringContext, call: FunctionCall, args: tuple[str, ...]) -> str:
        left, right = (dtype_of(a) for a in call.args)
        if is_interval(left):
            return _scaled(ctx, call, "*", args, tried)
        if isinstance(left, DecimalType) and isinstance(right, DecimalType):
            assert isinstance(call.dtype, DecimalType)
            return decimal_sql.multiply(args[0], left, args[1], right, call.dtype, tried or not ctx.ansi)
        if is_floating(left):
            return f"({args[0]} * {args[1]})"
        return _integer(ctx, "*", args, call.dtype, tried)

    return lower


def _lower_divide(name: str) -> Callable[[LoweringContext, FunctionCall, tuple[str, ...]], str]:
    tried = name in _TRY

    def lower(ctx: LoweringContext, call: FunctionCall, args: tuple[str, ...]) -> str:
        left, right = (dtype_of(a) for a in call.args)
        if is_interval(left):
            return _scaled(ctx, call, "/", args, tried)
        if isinstance(left, DecimalType) and isinstance(right, DecimalType):
            assert isinstance(call.dtype, DecimalType)
            text = decimal_sql.divide(args[0], left, args[1], right, call.dtype, tried or not ctx.ansi)
        else:
            text = f"({args[0]} / {args[1]})"
        return guard_zero(ctx, call, args[1], text, tried, "DIVIDE_BY_ZERO")

    return lower


def _lower_remainder(name: str) -> Callable[[LoweringContext, FunctionCall, tuple[str, ...]], str]:
    tried = name in _TRY
    positive = name == "pmod"

    def lower(ctx: LoweringContext, call: FunctionCall, args: tuple[str, ...]) -> str:
        left, right = (dtype_of(a) for a in call.args)
        a, b = args
        if isinstance(left, DecimalType) and isinstance(right, DecimalType):
            assert isinstance(call.dtype, DecimalType)
            text = decimal_sql.remainder(a, left, b, right, call.dtype, tried or not ctx.ansi, positive)
        elif is_integral(left):
            # widened, because the smallest value % -1 overflows
            wide = "BIGINT" if left != LONG else "HUGEINT"
            r = f"(CAST({a} AS {wide}) % CAST({b} AS {wide}))"
            if positive:
                r = f"(CASE WHEN {r} < 0 THEN ({r} + CAST({b} AS {wide})) % CAST({b} AS {wide}) ELSE {r} END)"
            text = f"CAST({r} AS {integer_name(left)})"
        else:
            text = f"({a} % {b})"
            if positive:
                text = f"(CASE WHEN {text} < 0 THEN ({text} + {b}) % {b} ELSE {text} END)"
        return guard_zero(ctx, call, b, text, tried, "REMAINDER_BY_ZERO")

    return lower


def _lower_div(ctx: LoweringContext, call: FunctionCall, args: tuple[str, ...]) -> str:
    left, right = (dtype_of(a) for a in call.args)
    a, b = args
    if isinstance(left, DecimalType) and isinstance(right, DecimalType):
        text = decimal_sql.integral_divide(a, left, b, right, not ctx.ansi)
    else:
        wide = f"(CAST({a} AS HUGEINT) // CAST({b} AS HUGEINT))"
        overflow = is_interval(left) or left == LONG
        if overflow and ctx.ansi:
            text = f"({a} // {b})"
        else:
            text = wrapped(wide, 64) if overflow else f"CAST({a} // {b} AS BIGINT)"
            if not overflow:
                text = f"(CAST({a} AS BIGINT) // CAST({b} AS BIGINT))"
    return guard_zero(ctx, call, b, text, False, "DIVIDE_BY_ZERO")


def _lower_negative(ctx: LoweringContext, call: FunctionCall, args: tuple[str, ...]) -> str:
    t = call.dtype
    if is_integral(t) and not ctx.ansi:
        return wrapped(f"-CAST({args[0]} AS HUGEINT)", integer_bits(t))
    if is_calendar(t):
        return f"(INTERVAL 0 SECOND - {args[0]})"
    return f"(-({args[0]}))"


def _additive(name: str, operator: str) -> ScalarFunction:
    return ScalarFunction(name, _bind_additive(name, operator), _lower_additive(name, operator))


FUNCTIONS: Final[tuple[CatalogueEntry, ...]] = (
    _additive("+", "+"),
    _additive("-", "-"),
    ScalarFunction("*", _bind_multiply("*"), _lower_multiply("*")),
    ScalarFunction("/", _bind_divide("/"), _lower_divide("/")),
    ScalarFunction("%", _bind_remainder("%", "%"), _lower_remainder("%"), ("mod",)),
    ScalarFunction("pmod", _bind_remainder("pmod", "pmod"), _lower_remainder("pmod")),
    ScalarFunction("div", _bind_div, _lower_div),
    ScalarFunction("negative", _bind_sign("negative"), _lower_negative),
    ScalarFunction("positive", _bind_sign("positive")),
    _additive("try_add", "+"),
    _additive("try_subtract", "-"),
    ScalarFunction("try_multiply", _bind_multiply("try_multiply"), _lower_multiply("try_multiply")),
    ScalarFunction("try_divide", _bind_divide("try_divide"), _lower_divide("try_divide")),
    ScalarFunction("try_mod", _bind_remainder("try_mod", "%"), _lower_remainder("try_mod")),
)
