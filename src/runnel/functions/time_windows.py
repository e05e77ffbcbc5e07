"""Time windows: `window`, `window_time`, `session_window`.

Analysis rewrites these into projections (Project or Expand with a Filter); here are the checks of their arguments, the
types, and the expressions of each window's bounds. Times are microseconds since the epoch; a window is [start, end).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pyspark.sql.types import DataType, StringType, StructField, StructType, TimestampNTZType

from runnel.errors import AnalysisError, IllegalArgumentError
from runnel.functions.intervals import MICROS_PER_DAY, Interval, parse_interval_or_none
from runnel.functions.pretty import pretty
from runnel.functions.registry import BindContext, CatalogueEntry, LoweringContext, ScalarFunction
from runnel.functions.typing import (
    BOOLEAN,
    CALENDAR,
    LONG,
    TIMESTAMP,
    check_arity,
    coerce,
    is_calendar,
    is_date,
    is_day_time,
    is_integral,
    is_null,
    is_string,
    is_timestamp,
    unexpected_input,
)
from runnel.plan.expressions import (
    Expression,
    FunctionCall,
    Literal,
    dtype_of,
    metadata_of,
    nullable_of,
)

Args = tuple[Expression, ...]

WINDOW_METADATA: Final = "spark.timeWindow"
SESSION_METADATA: Final = "spark.sessionWindow"
LONG_MAX: Final = 2**63 - 1
_TIME_COLUMN: Final = (
    '("(TIMESTAMP OR TIMESTAMP WITHOUT TIME ZONE)" or "STRUCT<start: TIMESTAMP, end: TIMESTAMP>" or '
    '"STRUCT<start: TIMESTAMP_NTZ, end: TIMESTAMP_NTZ>")'
)


# ---------------------------------------------------------------------------------------------------------- window


@dataclass(frozen=True, slots=True)
class WindowSpec:
    """The windows [k·slide + start, k·slide + start + duration) for all integers k, in microseconds."""

    duration_us: int
    slide_us: int
    start_us: int = 0

    @property
    def is_tumbling(self) -> bool:
        return self.duration_us == self.slide_us

    @property
    def overlap(self) -> int:
        """In how many windows a time can be, at most."""
        return -(-self.duration_us // self.slide_us)


def parse_window(args: Args) -> WindowSpec:
    """The windows that `window(time, duration[, slide[, start]])` names; `args` are all of its arguments.

    Durations are literals: interval text, a day-time or calendar interval, or an integral number of microseconds. Raises
    CANNOT_PARSE_INTERVAL, _LEGACY_ERROR_TEMP_3231 (months), DATATYPE_MISMATCH.VALUE_OUT_OF_RANGE (durations must be
    positive), DATATYPE_MISMATCH.PARAMETER_CONSTRAINT_VIOLATION (slide ≤ duration, |start| < slide).
    """
    check_arity("window", args, 2, 4)
    duration = _micros(args[1])
    slide = _micros(args[2]) if len(args) > 2 else duration
    start = _micros(args[3]) if len(args) > 3 else 0
    text = f'"window({pretty(args[0])}, {duration}, {slide}, {start})"'
    for name, value in (("window_duration", duration), ("slide_duration", slide)):
        if value <= 0:
            raise AnalysisError(
                "DATATYPE_MISMATCH.VALUE_OUT_OF_RANGE",
                {
                    "sqlExpr": text,
                    "exprName": f"`{name}`",
                    "valueRange": f"(0, {LONG_MAX}]",
                    "currentValue": f"{value}L",
                },
            )
    if slide > duration:
        raise _constraint(text, ("slide_duration", slide), "<=", ("window_duration", duration))
    if abs(start) >= slide:
        raise _constraint(text, ("abs(start_time)", abs(start)), "<", ("slide_duration", slide))
    return WindowSpec(duration, slide, start)


def _constraint(text: str, left: tuple[str, int], constraint: str, right: tuple[str, int]) -> AnalysisError:
    return AnalysisError(
        "DATATYPE_MISMATCH.PARAMETER_CONSTRAINT_VIOLATION",
        {
            "sqlExpr": text,
            "leftExprName": f"`{left[0]}`",
            "leftExprValue": f"{left[1]}L",
            "constraint": constraint,
            "rightExprName": f"`{right[0]}`",
            "rightExprValue": f"{right[1]}L",
        },
    )


def _micros(argument: Expression) -> int:
    if isinstance(argument, Literal) and argument.value is not None:
        value, dtype = argument.value, argument.dtype
        if is_string(dtype):
            interval = parse_interval_or_none(value)
            if interval is None:
                raise AnalysisError("CANNOT_PARSE_INTERVAL", {"intervalString": f"'{value}'"})
            return _fixed(interval, value)
        if is_calendar(dtype):
            return _fixed(Interval(*value), str(value))
        if is_day_time(dtype) or is_integral(dtype):
            return int(value)
    raise AnalysisError("_LEGACY_ERROR_TEMP_1207", {})


def _fixed(interval: Interval, shown: str) -> int:
    if interval.months:
        raise IllegalArgumentError("_LEGACY_ERROR_TEMP_3231", {"interval": shown})
    return interval.days * MICROS_PER_DAY + interval.micros


def is_window_struct(dtype: DataType) -> bool:
    """Whether the type is that of a window column: struct<start, end> of timestamps of one kind."""
    return (
        isinstance(dtype, StructType)
        and [f.name for f in dtype.fields] == ["start", "end"]
        and all(is_timestamp(f.dataType) for f in dtype.fields)
        and dtype.fields[0].dataType == dtype.fields[1].dataType
    )


def time_column(name: str, args: Args, context: BindContext) -> Expression:
    """The time expression of `window` or `session_window` (`name`), as timestamp or timestamp_ntz.

    Strings and dates are cast to timestamp; a window column stands for its `window_time`. Raises
    DATATYPE_MISMATCH.UNEXPECTED_INPUT_TYPE for anything else.
    """
    time = args[0]
    dtype = dtype_of(time)
    if is_timestamp(dtype):
        return time
    if is_string(dtype) or is_date(dtype) or is_null(dtype):
        return coerce(time, TIMESTAMP, context)
    if is_window_struct(dtype):
        return bind_window_time(context, (time,))
    shown = "sessionwindow" if name == "session_window" else name
    values: Args = args
    if name == "window":
        spec = parse_window(args)
        values = (time, *(Literal(v, LONG) for v in (spec.duration_us, spec.slide_us, spec.start_us)))
    raise unexpected_input(shown, values, 0, _TIME_COLUMN)


def window_type(time: DataType) -> StructType:
    """struct<start, end> of the time's type; the fields are nullable, as Spark has them."""
    kind = time if isinstance(time, TimestampNTZType) else TIMESTAMP
    return StructType([StructField("start", kind, True), StructField("end", kind, True)])


def window_struct(time: Expression, spec: WindowSpec, i: int = 0) -> FunctionCall:
    """The i-th window that can hold a time, i from 0 (the latest start) to `spec.overlap` - 1.

    Not null where the time is not null. For a slide that does not divide the duration, the earliest of them may not hold
    the time: `window_holds` says so.
    """
    numbers = (spec.duration_us, spec.slide_us, spec.start_us, i)
    args = (time, *(Literal(n, LONG) for n in numbers))
    return FunctionCall("window_struct", args, window_type(dtype_of(time)), False)


def window_holds(time: Expression, window: Expression) -> Expression:
    """Boolean: the time lies in [window.start, window.end); also false for a null time."""
    return FunctionCall("window_holds", (time, window), BOOLEAN, False)


def _lower_window_struct(context: LoweringContext, call: FunctionCall, args: tuple[str, ...]) -> str:
    duration, slide, start, i = (a.value for a in call.args[1:] if isinstance(a, Literal))
    micros = f"epoch_us({args[0]})"
    # The remainder of a negative number is negative in DuckDB: bring it into [0, slide) for times before 1970.
    into = f"((({micros} - {start}) % {slide} + {slide}) % {slide})"
    first = f"({micros} - {into} - {i * slide})"
    return f'struct_pack("start" := make_timestamp({first}), "end" := make_timestamp({first} + {duration}))'


def _lower_window_holds(context: LoweringContext, call: FunctionCall, args: tuple[str, ...]) -> str:
    start, end = (f"struct_extract_at({args[1]}, {i})" for i in (1, 2))
    return f"coalesce({args[0]} >= {start} AND {args[0]} < {end}, FALSE)"


# ----------------------------------------------------------------------------------------------------- window_time


def bind_window_time(context: BindContext, args: Args) -> Expression:
    """`window_time(window)`: the window's end less one microsecond."""
    check_arity("window_time", args, 1)
    dtype = dtype_of(args[0])
    if not is_window_struct(dtype):
        raise unexpected_input("window_time", args, 0, '"STRUCT"')
    assert isinstance(dtype, StructType)
    return FunctionCall("window_time", args, dtype.fields[1].dataType, True)


def window_time_metadata(window: Expression) -> dict[str, object]:
    """The metadata of a `window_time` column: what the window column has of the watermark, without the window's mark."""
    return {k: v for k, v in metadata_of(window).items() if k not in (WINDOW_METADATA, SESSION_METADATA)}


def _lower_window_time(context: LoweringContext, call: FunctionCall, args: tuple[str, ...]) -> str:
    return f"(struct_extract_at({args[0]}, 2) - to_microseconds(1))"


# -------------------------------------------------------------------------------------------------- session_window


@dataclass(frozen=True, slots=True)
class SessionSpec:
    """A session's gap: fixed (`gap`, None if the text is no interval: then every row is dropped) or per row (`dynamic`)."""

    gap: Interval | None = None
    dynamic: Expression | None = None


def parse_session_window(args: Args, context: BindContext) -> SessionSpec:
    """The gap of `session_window(time, gap)`. Raises _LEGACY_ERROR_TEMP_1040 for a gap that is neither text nor interval."""
    check_arity("session_window", args, 2)
    gap = args[1]
    dtype = dtype_of(gap)
    if isinstance(gap, Literal) and (is_string(dtype) or is_calendar(dtype)):
        if gap.value is None:
            return SessionSpec()
        return SessionSpec(parse_interval_or_none(gap.value) if is_string(dtype) else Interval(*gap.value))
    if is_calendar(dtype):
        return SessionSpec(dynamic=gap)
    if isinstance(dtype, StringType):
        return SessionSpec(dynamic=coerce(gap, CALENDAR, context))
    raise AnalysisError("_LEGACY_ERROR_TEMP_1040", {"dt": _catalyst_name(dtype)})


def _catalyst_name(dtype: DataType) -> str:
    if is_day_time(dtype):
        return f"DayTimeIntervalType({dtype.startField},{dtype.endField})"  # type: ignore[attr-defined]
    return type(dtype).__name__


def session_struct(time: Expression, spec: SessionSpec) -> FunctionCall:
    """struct<start = time, end = time + gap>; `end` is null where the gap is."""
    gap = spec.dynamic if spec.dynamic is not None else Literal(tuple(spec.gap) if spec.gap else None, CALENDAR)
    return FunctionCall("session_struct", (time, gap), window_type(dtype_of(time)), False)


def session_is_open(session: Expression) -> Expression:
    """Boolean: the row makes a session at all (time not null, gap positive); false else, never null."""
    return FunctionCall("session_is_open", (session,), BOOLEAN, False)


def _lower_session_struct(context: LoweringContext, call: FunctionCall, args: tuple[str, ...]) -> str:
    time, gap = args
    if isinstance(dtype_of(call.args[0]), TimestampNTZType):
        end = f"({time} + {gap})"
    else:
        # Months and days are counted on the session's wall clock, the rest in elapsed time.
        months_days = f"to_months(CAST(datepart('year', {gap}) * 12 + datepart('month', {gap}) AS INTEGER)) "
        months_days += f"+ to_days(CAST(datepart('day', {gap}) AS INTEGER))"
        end = f"({context.instant(f'({context.local(time)} + ({months_days}))')} + ({gap} - ({months_days})))"
    return f'struct_pack("start" := {time}, "end" := {end})'


def _lower_session_is_open(context: LoweringContext, call: FunctionCall, args: tuple[str, ...]) -> str:
    return f"coalesce(struct_extract_at({args[0]}, 2) > struct_extract_at({args[0]}, 1), FALSE)"


# ----------------------------------------------------------------------------------------------------- the entries


def _bind_window(context: BindContext, args: Args) -> Expression:
    """A tumbling window's struct. Sliding windows multiply rows: analysis makes an Expand of `window_struct`s instead."""
    spec = parse_window(args)
    return window_struct(time_column("window", args, context), spec)


def _bind_session_window(context: BindContext, args: Args) -> Expression:
    spec = parse_session_window(args, context)
    return session_struct(time_column("session_window", args, context), spec)


def _bind_internal(name: str, dtype: DataType | None = None) -> ScalarFunction:
    def bind(context: BindContext, args: Args) -> Expression:
        result = dtype if dtype is not None else dtype_of(args[0])
        return FunctionCall(name, args, result, any(nullable_of(a) for a in args))

    lower = {
        "window_struct": _lower_window_struct,
        "window_holds": _lower_window_holds,
        "session_struct": _lower_session_struct,
        "session_is_open": _lower_session_is_open,
    }[name]
    return ScalarFunction(name, bind, lower)


FUNCTIONS: Final[tuple[CatalogueEntry, ...]] = (
    ScalarFunction("window", _bind_window),
    ScalarFunction("window_time", bind_window_time, _lower_window_time),
    ScalarFunction("session_window", _bind_session_window),
    _bind_internal("window_struct"),
    _bind_internal("window_holds", BOOLEAN),
    _bind_internal("session_struct"),
    _bind_internal("session_is_open", BOOLEAN),
)
