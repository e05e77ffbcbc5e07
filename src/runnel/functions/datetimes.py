"""Dates and timestamps: the current time, fields, arithmetic, truncation, zones, epochs.

A `timestamp` is an instant, held in UTC; fields and calendar arithmetic are those of its wall clock in the session time
zone, through `LoweringContext.local` and `.instant`. Reading and writing by patterns is in `datetime_text.py`.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable
from typing import Final

from pyspark.sql.types import DataType, DecimalType, TimestampNTZType, TimestampType

from runnel.errors import AnalysisError, DateTimeError
from runnel.functions.pretty import pretty
from runnel.functions.registry import BindContext, CatalogueEntry, LoweringContext, ScalarFunction
from runnel.functions.typing import (
    BOOLEAN,
    BYTE,
    DATE,
    DOUBLE,
    INT,
    INTEGRAL,
    LONG,
    SHORT,
    STRING,
    TIMESTAMP,
    TIMESTAMP_NTZ,
    cast_to,
    check_arity,
    coerce,
    coerce_arguments,
    is_calendar,
    is_day_time,
    is_floating,
    is_integral,
    is_interval,
    is_null,
    is_numeric,
    is_string,
    is_timestamp,
    is_year_month,
    simple,
    unexpected_input,
)
from runnel.plan.expressions import (
    BatchParameter,
    Cast,
    CastMode,
    Expression,
    FunctionCall,
    Literal,
    dtype_of,
    nullable_of,
)

Args = tuple[Expression, ...]
SqlArgs = tuple[str, ...]
Lower = Callable[[LoweringContext, FunctionCall, SqlArgs], str]
MICROS_PER_DAY: Final = 86_400_000_000


def wall_clock(context: LoweringContext, argument: Expression, sql: str) -> str:
    """A date's or timestamp's wall clock as DuckDB TIMESTAMP (dates stay dates)."""
    return context.local(sql) if isinstance(dtype_of(argument), TimestampType) else sql


# ------------------------------------------------------------------------------------------------ the current time


def _now() -> BatchParameter:
    return BatchParameter("batch_timestamp_us", TIMESTAMP)


def _bind_current(name: str, target: DataType) -> Callable[[BindContext, Args], Expression]:
    def bind(context: BindContext, args: Args) -> Expression:
        check_arity(name, args, 0)
        return _now() if target == TIMESTAMP else Cast(_now(), target, CastMode.ANSI, False)

    return bind


def _bind_zone(context: BindContext, args: Args) -> Expression:
    check_arity("current_timezone", args, 0)
    return Literal(context.session_time_zone, STRING)


# ---------------------------------------------------------------------------------------------------------- fields


def _field(
    name: str, sql: str, on_time: bool = False, aliases: tuple[str, ...] = (), dtype: DataType = INT
) -> ScalarFunction:
    """A field of a date (or, `on_time`, of a timestamp); `sql` has the wall clock as {0}."""

    def bind(context: BindContext, args: Args) -> Expression:
        check_arity(name, args, 1)
        keep = on_time and isinstance(dtype_of(args[0]), TimestampNTZType)
        target = TIMESTAMP_NTZ if keep else TIMESTAMP if on_time else DATE
        coerced = coerce_arguments(name, args, (target,), context)
        return FunctionCall(name, coerced, dtype, nullable_of(coerced[0]))

    def lower(context: LoweringContext, call: FunctionCall, args: SqlArgs) -> str:
        return sql.format(wall_clock(context, call.args[0], args[0]))

    return ScalarFunction(name, bind, lower, aliases)


def _int_part(part: str) -> str:
    return f"CAST(datepart('{part}', {{0}}) AS INTEGER)"


_EXTRACT_NAMES: Final[dict[str, str]] = {
    **dict.fromkeys(("year", "y", "years", "yr", "yrs"), "year"),
    "yearofweek": "yearofweek",
    **dict.fromkeys(("quarter", "qtr"), "quarter"),
    **dict.fromkeys(("month", "mon", "mons", "months"), "month"),
    **dict.fromkeys(("week", "w", "weeks"), "weekofyear"),
    **dict.fromkeys(("day", "d", "days"), "dayofmonth"),
    **dict.fromkeys(("dayofweek", "dow"), "dayofweek"),
    **dict.fromkeys(("dayofweek_iso", "dow_iso"), "dayofweek_iso"),
    "doy": "dayofyear",
    **dict.fromkeys(("hour", "h", "hours", "hr", "hrs"), "hour"),
    **dict.fromkeys(("minute", "m", "min", "mins", "minutes"), "minute"),
    **dict.fromkeys(("second", "s", "sec", "seconds", "secs"), "second_with_fraction"),
}


def _bind_extract(name: str) -> Callable[[BindContext, Args], Expression]:
    def bind(context: BindContext, args: Args) -> Expression:
        check_arity(name, args, 2)
        field, source = args
        if not isinstance(field, Literal):
            raise AnalysisError(
                "NON_FOLDABLE_ARGUMENT",
                {"funcName": f"`{name}`", "paramName": "`field`", "paramType": '"STRING"'},
            )
        target = _EXTRACT_NAMES.get(str(field.value).lower())
        dtype = dtype_of(source)
        if field.value is None:
            return Literal(None, DOUBLE)
        if is_interval(dtype):
            return _interval_field(field, source, target)
        if target is None:
            raise AnalysisError("INVALID_EXTRACT_FIELD", {"field": f"`{field.value}`", "expr": f'"{pretty(source)}"'})
        entry = next(e for e in FUNCTIONS if isinstance(e, ScalarFunction) and e.name == target)
        return entry.bind(context, (source,))

    return bind


def _interval_field(field: Literal, source: Expression, target: str | None) -> Expression:
    dtype = dtype_of(source)
    allowed: dict[str, DataType] = {}
    if is_year_month(dtype) or is_calendar(dtype):
        allowed |= {"year": INT, "month": BYTE}
    if is_day_time(dtype) or is_calendar(dtype):
        allowed |= {"dayofmonth": INT, "hour": BYTE, "minute": BYTE, "second_with_fraction": DecimalType(8, 6)}
    if target not in allowed:
        raise AnalysisError("INVALID_EXTRACT_FIELD", {"field": f"`{field.value}`", "expr": f'"{pretty(source)}"'})
    args = (source, Literal(target, STRING))
    return FunctionCall("extract_interval", args, allowed[target], nullable_of(source))


def _lower_extract_interval(context: LoweringContext, call: FunctionCall, args: SqlArgs) -> str:
    part = call.args[1]
    assert isinstance(part, Literal)
    dtype = dtype_of(call.args[0])
    if is_year_month(dtype):
        return f"CAST({args[0]} // 12 AS INTEGER)" if part.value == "year" else f"CAST({args[0]} % 12 AS TINYINT)"
    if is_day_time(dtype):
        micros = args[0]
    else:
        if part.value in ("year", "month", "dayofmonth"):
            name = "day" if part.value == "dayofmonth" else part.value
            return f"CAST(datepart('{name}', {args[0]}) AS {'TINYINT' if name == 'month' else 'INTEGER'})"
        micros = (
            f"(datepart('hour', {args[0]}) * 3600000000 + datepart('minute', {args[0]}) * 60000000 "
            f"+ datepart('microsecond', {args[0]}))"
        )
    match part.value:
        case "dayofmonth":
            return f"CAST({micros} // {MICROS_PER_DAY} AS INTEGER)"
        case "hour":
            return f"CAST({micros} % {MICROS_PER_DAY} // 3600000000 AS TINYINT)"
        case "minute":
            return f"CAST({micros} % 3600000000 // 60000000 AS TINYINT)"
        case _:
            return f"CAST(CAST({micros} % 60000000 AS DECIMAL(18,0)) * 0.000001 AS DECIMAL(8,6))"


# ------------------------------------------------------------------------------------------------- date arithmetic


def _bind_date_add(name: str) -> Callable[[BindContext, Args], Expression]:
    def bind(context: BindContext, args: Args) -> Expression:
        check_arity(name, args, 2)
        date = coerce_arguments(name, args[:1], (DATE,), context)[0]
        days = dtype_of(args[1])
        if is_string(days) or is_null(days) or days in (INT, SHORT, BYTE):
            return FunctionCall(name, pair := (date, coerce(args[1], INT, context)), DATE, any(map(nullable_of, pair)))
        raise unexpected_input(name, args, 1, '("INT" or "SMALLINT" or "TINYINT")')

    return bind


def add_months_sql(date: str, months: str) -> str:
    """Moved by months; a day beyond the month's end becomes its last."""
    return f"({date} + to_months({months}))"


def _bind_add_months(context: BindContext, args: Args) -> Expression:
    check_arity("add_months", args, 2)
    date = coerce_arguments("add_months", args[:1], (DATE,), context)[0]
    count = dtype_of(args[1])
    if not (is_numeric(count) or is_string(count) or is_null(count) or is_year_month(count)):
        raise unexpected_input("add_months", args, 1, '"INT"')
    months = args[1] if is_year_month(count) else cast_to(args[1], INT)
    return FunctionCall("add_months", (date, months), DATE, nullable_of(date) or nullable_of(months))


def _bind_months_between(context: BindContext, args: Args) -> Expression:
    check_arity("months_between", args, 2, 3)
    args = args if len(args) == 3 else (*args, Literal(True, BOOLEAN))
    times = coerce_arguments("months_between", args[:2], (TIMESTAMP, TIMESTAMP), context)
    return FunctionCall("months_between", (*times, args[2]), DOUBLE, any(nullable_of(a) for a in (*times, args[2])))


def _lower_months_between(context: LoweringContext, call: FunctionCall, args: SqlArgs) -> str:
    """Whole months where both days agree or both are last days; else the rest counts in months of 31 days."""
    first, second = (context.local(a) for a in args[:2])
    months = "((year(_a) - year(_b)) * 12 + month(_a) - month(_b))"
    whole = "(day(_a) = day(_b) OR (_a::DATE = last_day(_a) AND _b::DATE = last_day(_b)))"
    rest = (
        "((day(_a) - day(_b)) * 86400 + (epoch_us(_a) - epoch_us(date_trunc('day', _a))) // 1000000 "
        "- (epoch_us(_b) - epoch_us(date_trunc('day', _b))) // 1000000)"
    )
    value = f"CASE WHEN {whole} THEN CAST({months} AS DOUBLE) ELSE {months} + {rest} / CAST(2678400 AS DOUBLE) END"
    body = f"list_transform([{second}], lambda _b: {value})[1]"
    text = f"list_transform([{first}], lambda _a: {body})[1]"
    if isinstance(call.args[2], Literal):
        return f"round({text}, 8)" if call.args[2].value else text
    return f"CASE WHEN {args[2]} THEN round({text}, 8) ELSE {text} END"


_WEEKDAYS: Final = (
    "['mo','mon','monday','tu','tue','tuesday','we','wed','wednesday','th','thu','thursday',"
    "'fr','fri','friday','sa','sat','saturday','su','sun','sunday']"
)


def _lower_next_day(context: LoweringContext, call: FunctionCall, args: SqlArgs) -> str:
    date, name = args
    bad = context.error("ILLEGAL_DAY_OF_WEEK", DATE, string=name) if context.ansi else "CAST(NULL AS DATE)"
    index = f"((list_position({_WEEKDAYS}, lower({name})) - 1) // 3)"
    days = f"(({index} - (isodow({date}) - 1) + 6) % 7 + 1)"
    return (
        f"CASE WHEN {date} IS NULL OR {name} IS NULL THEN NULL WHEN {index} IS NULL THEN {bad} "
        f"ELSE CAST({date} + CAST({days} AS INTEGER) AS DATE) END"
    )


# ------------------------------------------------------------------------------------------------------ truncation

_TRUNC_NAMES: Final[dict[str, str]] = {
    **dict.fromkeys(("year", "yyyy", "yy"), "year"),
    "quarter": "quarter",
    **dict.fromkeys(("month", "mm", "mon"), "month"),
    "week": "week",
    **dict.fromkeys(("day", "dd"), "day"),
    "hour": "hour",
    "minute": "minute",
    "second": "second",
    "millisecond": "millisecond",
    "microsecond": "microsecond",
}
_DATE_UNITS: Final = ("year", "quarter", "month", "week")


def _truncated(sql: str, unit: str, unit_argument: Expression, units: tuple[str, ...]) -> str:
    """`sql` truncated to a unit that is a constant or a column; an unknown unit gives null."""
    if isinstance(unit_argument, Literal):
        name = _TRUNC_NAMES.get(str(unit_argument.value).lower())
        return f"date_trunc('{name}', {sql})" if name in units else "NULL"
    cases = " ".join(
        f"WHEN '{spelling}' THEN date_trunc('{name}', {sql})"
        for spelling, name in _TRUNC_NAMES.items()
        if name in units
    )
    return f"CASE lower({unit}) {cases} END"


def _lower_trunc(context: LoweringContext, call: FunctionCall, args: SqlArgs) -> str:
    return f"CAST({_truncated(args[0], args[1], call.args[1], _DATE_UNITS)} AS DATE)"


def _bind_date_trunc(context: BindContext, args: Args) -> Expression:
    check_arity("date_trunc", args, 2)
    unit = coerce_arguments("date_trunc", args[:1], (STRING,), context)[0]
    time = coerce_arguments("date_trunc", args, (STRING, TIMESTAMP), context)[1]
    return FunctionCall("date_trunc", (unit, time), TIMESTAMP, True)


def _lower_date_trunc(context: LoweringContext, call: FunctionCall, args: SqlArgs) -> str:
    text = _truncated(context.local(args[1]), args[0], call.args[0], tuple(_TRUNC_NAMES.values()))
    return f"CAST({context.instant(f'CAST({text} AS TIMESTAMP)')} AS TIMESTAMP)"


# --------------------------------------------------------------------------------------------------- constructors


def _out_of_bounds(context: LoweringContext, target: DataType, message: str) -> str:
    return context.error(
        "DATETIME_FIELD_OUT_OF_BOUNDS.WITH_SUGGESTION",
        target,
        rangeMessage=message,
        ansiConfig="""'"spark.sql.ansi.enabled"'""",
    )


def _day_problem(year: str, month: str, day: str) -> str:
    """SQL of what is wrong with a date, in Java's words."""
    upper = "['JANUARY','FEBRUARY','MARCH','APRIL','MAY','JUNE','JULY','AUGUST','SEPTEMBER','OCTOBER','NOVEMBER','DECEMBER']"
    return (
        f"CASE WHEN {month} NOT BETWEEN 1 AND 12 "
        f"THEN 'Invalid value for MonthOfYear (valid values 1 - 12): ' || CAST({month} AS VARCHAR) "
        f"WHEN {day} NOT BETWEEN 1 AND 31 "
        f"THEN 'Invalid value for DayOfMonth (valid values 1 - 28/31): ' || CAST({day} AS VARCHAR) "
        f"WHEN {day} = 29 THEN 'Invalid date ''February 29'' as ''' || CAST({year} AS VARCHAR) || ''' is not a leap year' "
        f"ELSE 'Invalid date ''' || ({upper})[{month}] || ' ' || CAST({day} AS VARCHAR) || '''' END"
    )


def _date_text(year: str, month: str, day: str) -> str:
    return f"lpad(CAST({year} AS VARCHAR), 4, '0') || '-' || CAST({month} AS VARCHAR) || '-' || CAST({day} AS VARCHAR)"


def _lower_make_date(context: LoweringContext, call: FunctionCall, args: SqlArgs) -> str:
    year, month, day = args
    made = f"TRY_CAST({_date_text(year, month, day)} AS DATE)"
    if not context.ansi:
        return made
    given = " AND ".join(f"{a} IS NOT NULL" for a in args)
    failure = _out_of_bounds(context, DATE, _day_problem(year, month, day))
    return f"CASE WHEN {given} AND {made} IS NULL THEN {failure} ELSE {made} END"


def _make_timestamp(name: str, result: DataType, *, tried: bool = False) -> ScalarFunction:
    def bind(context: BindContext, args: Args) -> Expression:
        check_arity(name, args, 6, 6 if isinstance(result, TimestampNTZType) else 7)
        params: tuple[DataType, ...] = (INT, INT, INT, INT, INT, DecimalType(16, 6), STRING)
        coerced = tuple(
            cast_to(a, p)
            if is_numeric(dtype_of(a)) and isinstance(p, DecimalType)
            else coerce_arguments(name, (a,), (p,), context)[0]
            for a, p in zip(args, params, strict=False)
        )
        nullable = tried or any(nullable_of(a) for a in args)
        return FunctionCall(name, coerced, result, nullable)

    def lower(context: LoweringContext, call: FunctionCall, args: SqlArgs) -> str:
        year, month, day, hour, minute, second = args[:6]
        date = f"TRY_CAST({_date_text(year, month, day)} AS DATE)"
        valid = f"{hour} BETWEEN 0 AND 23 AND {minute} BETWEEN 0 AND 59 AND {second} >= 0 AND {second} <= 60"
        micros = f"CAST({hour} AS BIGINT) * 3600000000 + {minute} * CAST(60000000 AS BIGINT) "
        micros += f"+ CAST({second} * 1000000 AS BIGINT)"
        local = f"CASE WHEN {valid} THEN {date} + to_microseconds({micros}) END"
        if len(args) == 7:
            made = _to_utc(context, f"({local})", call.args[6], args[6])
        else:
            made = local if isinstance(result, TimestampNTZType) else context.instant(f"({local})")
        if tried or not context.ansi:
            return made
        fraction = context.error(
            "INVALID_FRACTION_OF_SECOND", result, secAndMicros=f"rtrim(CAST({second} AS VARCHAR), '0')"
        )
        problem = (
            f"CASE WHEN {hour} NOT BETWEEN 0 AND 23 "
            f"THEN 'Invalid value for HourOfDay (valid values 0 - 23): ' || CAST({hour} AS VARCHAR) "
            f"WHEN {minute} NOT BETWEEN 0 AND 59 "
            f"THEN 'Invalid value for MinuteOfHour (valid values 0 - 59): ' || CAST({minute} AS VARCHAR) "
            f"WHEN {second} < 0 OR {second} > 60 "
            "THEN 'Invalid value for SecondOfMinute (valid values 0 - 59): ' || "
            f"CAST(CAST(floor({second}) AS INTEGER) AS VARCHAR) "
            f"ELSE {_day_problem(year, month, day)} END"
        )
        given = " AND ".join(f"{a} IS NOT NULL" for a in args)
        return (
            f"CASE WHEN {given} AND {second} > 60 AND {second} < 61 THEN {fraction} "
            f"WHEN {given} AND ({local}) IS NULL THEN {_out_of_bounds(context, result, problem)} ELSE {made} END"
        )

    return ScalarFunction(name, bind, lower)


# ----------------------------------------------------------------------------------------------------------- zones

_SHORT_ZONES: Final = {
    "EST": "-05:00", "HST": "-10:00", "MST": "-07:00", "ACT": "Australia/Darwin", "AET": "Australia/Sydney",
    "AGT": "America/Argentina/Buenos_Aires", "ART": "Africa/Cairo", "AST": "America/Anchorage",
    "BET": "America/Sao_Paulo", "BST": "Asia/Dhaka", "CAT": "Africa/Harare", "CNT": "America/St_Johns",
    "CST": "America/Chicago", "CTT": "Asia/Shanghai", "EAT": "Africa/Addis_Ababa", "ECT": "Europe/Paris",
    "IET": "America/Indiana/Indianapolis", "IST": "Asia/Kolkata", "JST": "Asia/Tokyo", "MIT": "Pacific/Apia",
    "NET": "Asia/Yerevan", "NST": "Pacific/Auckland", "PLT": "Asia/Karachi", "PNT": "America/Phoenix",
    "PRT": "America/Puerto_Rico", "PST": "America/Los_Angeles", "SST": "Pacific/Guadalcanal", "VST": "Asia/Ho_Chi_Minh",
}  # fmt: skip


def _offset_minutes(zone: str) -> int | None:
    """The minutes of a fixed offset such as +02:00, UTC-5, Z; None for a named zone."""
    text = zone.strip()
    for prefix in ("UTC", "GMT", "UT"):
        if text.upper().startswith(prefix) and text[len(prefix) :][:1] in ("", "+", "-"):
            text = text[len(prefix) :] or "+0"
            break
    if text in ("Z", "z"):
        return 0
    if text[:1] not in ("+", "-"):
        return None
    hours, _, minutes = text[1:].partition(":")
    if not hours.isdigit() or (minutes and not minutes.isdigit()):
        return None
    if not minutes and len(hours) == 4:
        hours, minutes = hours[:2], hours[2:]
    total = int(hours) * 60 + int(minutes[:2] or 0)
    return None if total > 18 * 60 else -total if text[0] == "-" else total


def _shift(context: LoweringContext, sql: str, zone: Expression, zone_sql: str, to_zone: bool) -> str:
    """A TIMESTAMP moved from UTC to the zone's wall clock (`to_zone`) or back. A zone that is a column must be a name."""

    def named(name_sql: str) -> str:
        if to_zone:
            return f"timezone({name_sql}, timezone('UTC', {sql}))"
        return f"timezone('UTC', timezone({name_sql}, {sql}))"

    if not isinstance(zone, Literal):
        cases = " ".join(f"WHEN '{k}' THEN '{v}'" for k, v in _SHORT_ZONES.items() if "/" in v)
        offset = f"regexp_full_match({zone_sql}, '[+-][0-9]{{1,2}}:[0-9]{{2}}')"
        minutes = (
            f"(CAST(split_part({zone_sql}, ':', 1) AS INTEGER) * 60 + CAST(substr({zone_sql}, 1, 1) || "
            f"split_part({zone_sql}, ':', 2) AS INTEGER))"
        )
        return (
            f"CASE WHEN {offset} THEN {sql} {'+' if to_zone else '-'} to_minutes({minutes}) "
            f"ELSE {named(f'CASE {zone_sql} {cases} ELSE {zone_sql} END')} END"
        )
    if zone.value is None:
        return "CAST(NULL AS TIMESTAMP)"
    text = _SHORT_ZONES.get(zone.value, zone.value)
    minutes_fixed = _offset_minutes(text)
    if minutes_fixed is not None:
        return f"({sql} {'+' if to_zone else '-'} to_minutes({minutes_fixed}))"
    return named("'" + text.replace("'", "''") + "'")


def _to_utc(context: LoweringContext, sql: str, zone: Expression, zone_sql: str) -> str:
    return _shift(context, sql, zone, zone_sql, False)


def check_zone(zone: Expression) -> None:
    """Raises INVALID_TIMEZONE for a constant that names no time zone."""
    if not isinstance(zone, Literal) or zone.value is None:
        return
    text = _SHORT_ZONES.get(zone.value, zone.value)
    if _offset_minutes(text) is None and text not in zoneinfo.available_timezones():
        raise DateTimeError("INVALID_TIMEZONE", {"timeZone": zone.value})


def _bind_utc(name: str) -> Callable[[BindContext, Args], Expression]:
    def bind(context: BindContext, args: Args) -> Expression:
        check_arity(name, args, 2)
        coerced = coerce_arguments(name, args, (TIMESTAMP, STRING), context)
        check_zone(coerced[1])
        return FunctionCall(name, coerced, TIMESTAMP, any(nullable_of(a) for a in coerced))

    return bind


def _lower_utc(to_zone: bool) -> Lower:
    """Spark moves the value itself, whatever the session time zone (except around its changes of offset)."""

    def lower(context: LoweringContext, call: FunctionCall, args: SqlArgs) -> str:
        return _shift(context, args[0], call.args[1], args[1], to_zone)

    return lower


def _bind_convert_timezone(context: BindContext, args: Args) -> Expression:
    check_arity("convert_timezone", args, 2, 3)
    if len(args) == 2:
        args = (Literal(context.session_time_zone, STRING), *args)
    coerced = coerce_arguments("convert_timezone", args, (STRING, STRING, TIMESTAMP_NTZ), context)
    check_zone(coerced[0])
    check_zone(coerced[1])
    return FunctionCall("convert_timezone", coerced, TIMESTAMP_NTZ, any(nullable_of(a) for a in coerced))


def _lower_convert_timezone(context: LoweringContext, call: FunctionCall, args: SqlArgs) -> str:
    utc = _shift(context, args[2], call.args[0], args[0], False)
    return _shift(context, f"({utc})", call.args[1], args[1], True)


# ---------------------------------------------------------------------------------------------------------- epochs


def _bind_timestamp_seconds(context: BindContext, args: Args) -> Expression:
    check_arity("timestamp_seconds", args, 1)
    dtype = dtype_of(args[0])
    if is_string(dtype) or is_null(dtype):
        args = (coerce(args[0], DOUBLE, context),)
    elif not is_numeric(dtype):
        raise unexpected_input("timestamp_seconds", args, 0, '"NUMERIC"')
    nullable = nullable_of(args[0]) or is_floating(dtype_of(args[0]))
    return FunctionCall("timestamp_seconds", args, TIMESTAMP, nullable)


def _lower_timestamp_seconds(context: LoweringContext, call: FunctionCall, args: SqlArgs) -> str:
    dtype = dtype_of(call.args[0])
    if is_floating(dtype):
        return f"CASE WHEN isfinite({args[0]}) THEN make_timestamp(CAST(trunc({args[0]} * 1000000) AS BIGINT)) END"
    if is_integral(dtype):
        return f"make_timestamp(CAST(CAST({args[0]} AS HUGEINT) * 1000000 AS BIGINT))"
    assert isinstance(dtype, DecimalType)
    micros = f"CAST({args[0]} AS DECIMAL(38,{dtype.scale})) * 1000000"
    if dtype.scale <= 6:
        return f"make_timestamp(CAST({micros} AS BIGINT))"
    inexact = context.error("INTERNAL_ERROR", TIMESTAMP, message="'Rounding necessary'")
    return f"CASE WHEN trunc({micros}) <> {micros} THEN {inexact} ELSE make_timestamp(CAST({micros} AS BIGINT)) END"


def _floored(micros: str, unit: int) -> str:
    return f"CAST(({micros} - (({micros} % {unit}) + {unit}) % {unit}) // {unit} AS BIGINT)"


# ------------------------------------------------------------------------------------ timestampadd, timestampdiff

_ADD_UNITS: Final[dict[str, tuple[str, int]]] = {
    "microsecond": ("micros", 1), "millisecond": ("micros", 1_000), "second": ("micros", 1_000_000),
    "minute": ("micros", 60_000_000), "hour": ("micros", 3_600_000_000), "day": ("days", 1), "dayofyear": ("days", 1),
    "week": ("days", 7), "month": ("months", 1), "quarter": ("months", 3), "year": ("months", 12),
}  # fmt: skip


def _unit_of(name: str, args: Args) -> str:
    unit = args[0]
    text = str(unit.value).lower() if isinstance(unit, Literal) else ""
    if text not in _ADD_UNITS:
        shown = str(unit.value) if isinstance(unit, Literal) else pretty(unit)
        raise AnalysisError(
            "INVALID_PARAMETER_VALUE.DATETIME_UNIT",
            {"functionName": f"`{name}`", "parameter": "`unit`", "invalidValue": f"'{shown}'"},
        )
    return text


def _bind_timestampadd(context: BindContext, args: Args) -> Expression:
    check_arity("timestampadd", args, 3)
    unit = _unit_of("timestampadd", args)
    amount = coerce_arguments("timestampadd", args, (STRING, LONG, TIMESTAMP), context)[1]
    time = args[2] if is_timestamp(dtype_of(args[2])) else coerce(args[2], TIMESTAMP, context)
    call_args = (Literal(unit, STRING), amount, time)
    return FunctionCall("timestampadd", call_args, dtype_of(time), nullable_of(amount) or nullable_of(time))


def _lower_timestampadd(context: LoweringContext, call: FunctionCall, args: SqlArgs) -> str:
    unit = call.args[0]
    assert isinstance(unit, Literal)
    kind, size = _ADD_UNITS[unit.value]
    if kind == "micros":
        return f"({args[2]} + to_microseconds({args[1]} * CAST({size} AS BIGINT)))"
    made = "to_days" if kind == "days" else "to_months"
    moved = f"({wall_clock(context, call.args[2], args[2])} + {made}(CAST({args[1]} * {size} AS INTEGER)))"
    return context.instant(moved) if isinstance(call.dtype, TimestampType) else moved


def _bind_timestampdiff(context: BindContext, args: Args) -> Expression:
    check_arity("timestampdiff", args, 3)
    unit = _unit_of("timestampdiff", args)
    times = coerce_arguments("timestampdiff", args, (STRING, TIMESTAMP, TIMESTAMP), context)[1:]
    return FunctionCall("timestampdiff", (Literal(unit, STRING), *times), LONG, any(nullable_of(t) for t in times))


def _lower_timestampdiff(context: LoweringContext, call: FunctionCall, args: SqlArgs) -> str:
    """Whole units between, towards zero; months count by the wall clock, days by wall-clock days."""
    unit = call.args[0]
    assert isinstance(unit, Literal)
    kind, size = _ADD_UNITS[unit.value]
    if kind == "micros":
        return f"CAST((epoch_us({args[2]}) - epoch_us({args[1]})) // {size} AS BIGINT)"
    first, last = context.local(args[1]), context.local(args[2])
    if kind == "days":
        return f"CAST((epoch_us({last}) - epoch_us({first})) // {MICROS_PER_DAY * size} AS BIGINT)"
    months = "((year(_b) - year(_a)) * 12 + month(_b) - month(_a))"
    rest = (
        "((day(_b) - day(_a)) * 86400000000 + (epoch_us(_b) - epoch_us(date_trunc('day', _b))) "
        "- (epoch_us(_a) - epoch_us(date_trunc('day', _a))))"
    )
    whole = (
        f"({months} - CASE WHEN {months} > 0 AND {rest} < 0 THEN 1 WHEN {months} < 0 AND {rest} > 0 THEN -1 ELSE 0 END)"
    )
    body = f"CAST({whole} // {size} AS BIGINT)"
    return f"list_transform([{first}], lambda _a: list_transform([{last}], lambda _b: {body})[1])[1]"


_EPOCH_US: Final = "epoch_us({0})"

FUNCTIONS: Final[tuple[CatalogueEntry, ...]] = (
    ScalarFunction("current_timestamp", _bind_current("current_timestamp", TIMESTAMP), None, ("now",)),
    ScalarFunction("localtimestamp", _bind_current("localtimestamp", TIMESTAMP_NTZ)),
    ScalarFunction("current_date", _bind_current("current_date", DATE), None, ("curdate",)),
    ScalarFunction("current_timezone", _bind_zone),
    _field("year", _int_part("year")),
    _field("quarter", _int_part("quarter")),
    _field("month", _int_part("month")),
    _field("dayofmonth", _int_part("day"), aliases=("day",)),
    _field("dayofyear", _int_part("doy")),
    _field("dayofweek", "CAST(datepart('dow', {0}) + 1 AS INTEGER)"),
    _field("dayofweek_iso", _int_part("isodow")),
    _field("weekday", "CAST(datepart('isodow', {0}) - 1 AS INTEGER)"),
    _field("weekofyear", _int_part("week")),
    _field("yearofweek", _int_part("isoyear")),
    _field("dayname", "strftime({0}, '%a')", dtype=STRING),
    _field("monthname", "strftime({0}, '%b')", dtype=STRING),
    _field("hour", _int_part("hour"), True),
    _field("minute", _int_part("minute"), True),
    _field("second", _int_part("second"), True),
    _field(
        "second_with_fraction",
        "CAST(CAST(datepart('microsecond', {0}) AS DECIMAL(18,0)) * 0.000001 AS DECIMAL(8,6))",
        True,
        dtype=DecimalType(8, 6),
    ),
    ScalarFunction("date_part", _bind_extract("date_part"), None, ("datepart", "extract")),
    ScalarFunction("extract_interval", _bind_extract("extract_interval"), _lower_extract_interval),
    ScalarFunction(
        "date_add", _bind_date_add("date_add"), lambda context, call, args: f"({args[0]} + {args[1]})", ("dateadd",)
    ),
    ScalarFunction("date_sub", _bind_date_add("date_sub"), lambda context, call, args: f"({args[0]} - {args[1]})"),
    simple("datediff", (DATE, DATE), INT, "CAST({0} - {1} AS INTEGER)", aliases=("date_diff",)),
    ScalarFunction(
        "add_months",
        _bind_add_months,
        lambda context, call, args: f"CAST({add_months_sql(args[0], args[1])} AS DATE)",
    ),
    ScalarFunction("months_between", _bind_months_between, _lower_months_between),
    simple("last_day", (DATE,), DATE, "last_day({0})"),
    simple("next_day", (DATE, STRING), DATE, _lower_next_day),
    simple("trunc", (DATE, STRING), DATE, _lower_trunc, nullable=True),
    ScalarFunction("date_trunc", _bind_date_trunc, _lower_date_trunc),
    simple("make_date", (INT, INT, INT), DATE, _lower_make_date),
    _make_timestamp("make_timestamp", TIMESTAMP),
    _make_timestamp("make_timestamp_ltz", TIMESTAMP),
    _make_timestamp("make_timestamp_ntz", TIMESTAMP_NTZ),
    _make_timestamp("try_make_timestamp", TIMESTAMP, tried=True),
    _make_timestamp("try_make_timestamp_ltz", TIMESTAMP, tried=True),
    _make_timestamp("try_make_timestamp_ntz", TIMESTAMP_NTZ, tried=True),
    ScalarFunction("from_utc_timestamp", _bind_utc("from_utc_timestamp"), _lower_utc(True)),
    ScalarFunction("to_utc_timestamp", _bind_utc("to_utc_timestamp"), _lower_utc(False)),
    ScalarFunction("convert_timezone", _bind_convert_timezone, _lower_convert_timezone),
    ScalarFunction("timestamp_seconds", _bind_timestamp_seconds, _lower_timestamp_seconds),
    simple("timestamp_millis", (INTEGRAL,), TIMESTAMP, "make_timestamp(CAST(CAST({0} AS HUGEINT) * 1000 AS BIGINT))"),
    simple("timestamp_micros", (INTEGRAL,), TIMESTAMP, "make_timestamp(CAST({0} AS BIGINT))"),
    simple("unix_seconds", (TIMESTAMP,), LONG, _floored(_EPOCH_US, 1_000_000)),
    simple("unix_millis", (TIMESTAMP,), LONG, _floored(_EPOCH_US, 1_000)),
    simple("unix_micros", (TIMESTAMP,), LONG, _EPOCH_US),
    simple("unix_date", (DATE,), INT, "CAST({0} - DATE '1970-01-01' AS INTEGER)"),
    simple("date_from_unix_date", (INT,), DATE, "(DATE '1970-01-01' + {0})"),
    ScalarFunction("timestampadd", _bind_timestampadd, _lower_timestampadd),
    ScalarFunction("timestampdiff", _bind_timestampdiff, _lower_timestampdiff),
)
