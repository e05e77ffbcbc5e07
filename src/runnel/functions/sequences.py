"""`sequence`: integers, dates and timestamps from start to stop by a step."""

from __future__ import annotations

from pyspark.sql.types import ArrayType, DataType, DateType

from runnel.errors import AnalysisError
from runnel.functions.casts import type_sql
from runnel.functions.registry import BindContext, LoweringContext
from runnel.functions.typing import (
    CALENDAR,
    call_text,
    check_arity,
    coerce,
    common_type,
    is_calendar,
    is_date,
    is_datetime,
    is_day_time,
    is_integral,
    is_interval,
    is_null,
    is_string,
    is_year_month,
)
from runnel.plan.expressions import Expression, FunctionCall, dtype_of, nullable_of

Args = tuple[Expression, ...]
_MICROS_PER_DAY = 86_400_000_000


def _wrong_types(args: Args) -> AnalysisError:
    return AnalysisError(
        "DATATYPE_MISMATCH.SEQUENCE_WRONG_INPUT_TYPES",
        {
            "sqlExpr": call_text("sequence", args),
            "functionName": "`sequence`",
            "startType": '("TIMESTAMP" or "TIMESTAMP_NTZ" or "DATE")',
            "stepType": '("INTERVAL" or "INTERVAL YEAR TO MONTH" or "INTERVAL DAY TO SECOND")',
            "otherStartType": '"INTEGRAL"',
        },
    )


def bind_sequence(context: BindContext, args: Args) -> Expression:
    """sequence(start, stop[, step]): without a step by one (or one day), down if stop lies below start."""
    check_arity("sequence", args, 2, 3)
    bounds: DataType | None = common_type(dtype_of(args[0]), dtype_of(args[1]), context.ansi)
    if bounds is not None and is_integral(bounds) and len(args) == 3:
        bounds = common_type(bounds, dtype_of(args[2]), context.ansi)
    if bounds is None or not (is_integral(bounds) or is_datetime(bounds)):
        raise _wrong_types(args)
    coerced = [coerce(a, bounds, context) for a in args[:2]]
    if len(args) == 3:
        step = dtype_of(args[2])
        if is_integral(bounds):
            coerced.append(coerce(args[2], bounds, context))
        elif is_interval(step):
            coerced.append(args[2])
        elif is_string(step) or is_null(step):
            coerced.append(coerce(args[2], CALENDAR, context))
        else:
            raise _wrong_types(args)
    return FunctionCall("sequence", tuple(coerced), ArrayType(bounds, False), any(nullable_of(a) for a in coerced))


def lower_sequence(context: LoweringContext, call: FunctionCall, args: tuple[str, ...]) -> str:
    """DuckDB's generate_series, behind Spark's check of the boundaries."""
    assert isinstance(call.dtype, ArrayType)
    element = call.dtype.elementType
    step = dtype_of(call.args[2]) if len(call.args) == 3 else None
    if is_integral(element):
        by = args[2] if step is not None else f"CASE WHEN {args[1]} < {args[0]} THEN -1 ELSE 1 END"
        return _integers(context, call.dtype, args[0], args[1], by)
    if step is None:
        if is_date(element):
            first, last = (f"CAST({a} - DATE '1970-01-01' AS BIGINT)" for a in args)
            days = _integers(context, None, first, last, f"CASE WHEN {args[1]} < {args[0]} THEN -1 ELSE 1 END")
            return f"list_transform({days}, lambda _d: DATE '1970-01-01' + CAST(_d AS INTEGER))"
        interval = f"to_days(CASE WHEN {args[1]} < {args[0]} THEN -1 ELSE 1 END)"
        return _times(context, call, args[0], args[1], interval)
    if is_year_month(step):
        return _times(context, call, args[0], args[1], f"to_months({args[2]})")
    if is_day_time(step):
        if is_date(element):
            bad = context.error("_LEGACY_ERROR_TEMP_3242", call.dtype, intervalType="'interval day to second'")
            whole = _times(context, call, args[0], args[1], f"to_days(CAST({args[2]} // {_MICROS_PER_DAY} AS INTEGER))")
            return f"CASE WHEN {args[2]} % {_MICROS_PER_DAY} <> 0 THEN {bad} ELSE {whole} END"
        days, rest = f"to_days(CAST({args[2]} // {_MICROS_PER_DAY} AS INTEGER))", f"{args[2]} % {_MICROS_PER_DAY}"
        return _times(context, call, args[0], args[1], f"({days} + to_microseconds({rest}))")
    assert is_calendar(step)
    return _times(context, call, args[0], args[1], args[2])


def _illegal(context: LoweringContext, target: DataType | None, first: str, last: str, by: str) -> str:
    message = (
        f"'requirement failed: Illegal sequence boundaries: ' || CAST({first} AS VARCHAR) || ' to ' || "
        f"CAST({last} AS VARCHAR) || ' by ' || CAST({by} AS VARCHAR)"
    )
    return context.error("INTERNAL_ERROR", target or ArrayType(DateType()), message=message)


def _integers(context: LoweringContext, target: ArrayType | None, first: str, last: str, by: str) -> str:
    series = f"generate_series(CAST({first} AS BIGINT), CAST({last} AS BIGINT), CAST({by} AS BIGINT))"
    if target is None:
        return series
    text = type_sql(target)
    return (
        f"CASE WHEN {first} IS NULL OR {last} IS NULL OR {by} IS NULL THEN NULL "
        f"WHEN {first} = {last} THEN CAST([{first}] AS {text}) "
        f"WHEN {by} = 0 OR ({by} > 0) <> ({last} > {first}) THEN {_illegal(context, target, first, last, by)} "
        f"ELSE CAST({series} AS {text}) END"
    )


def _times(context: LoweringContext, call: FunctionCall, first: str, last: str, by: str) -> str:
    """Steps are counted from the start (start + i·step), on the session's wall clock for timestamps with zone."""
    assert isinstance(call.dtype, ArrayType)
    element = call.dtype.elementType
    zoned = element.simpleString() == "timestamp"
    begin, end = (context.local(t) if zoned else f"CAST({t} AS TIMESTAMP)" for t in (first, last))
    reached = f"epoch_us({begin} + {by}) - epoch_us({begin})"
    # At least as many steps as fit even where months are short; the filter drops those beyond the end.
    count = f"abs(epoch_us({end}) - epoch_us({begin})) * 32 // (abs({reached}) * 28) + 2"
    moved = f"{begin} + _i * ({by})"
    kept = f"CASE WHEN {reached} > 0 THEN _t <= {end} ELSE _t >= {end} END"
    series = f"list_filter(list_transform(range(CAST({count} AS BIGINT)), lambda _i: {moved}), lambda _t: {kept})"
    back = "CAST(_t AS DATE)" if is_date(element) else context.instant("_t") if zoned else "_t"
    return (
        f"CASE WHEN {first} IS NULL OR {last} IS NULL OR {by} IS NULL THEN NULL "
        f"WHEN {first} = {last} THEN [{first}] "
        f"WHEN {reached} = 0 OR ({reached} > 0) <> ({last} > {first}) THEN {_illegal(context, call.dtype, first, last, by)} "
        f"ELSE list_transform({series}, lambda _t: {back}) END"
    )
