"""The name that Spark gives a column that has none: the text of its expression, implicit casts left out.

The text follows the expression as the user wrote it, so it is made from the unresolved form; what only resolution
knows (which parts of a dotted name are a qualifier, whether `x.y` is a struct's field) is asked of `Describe`.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import zoneinfo
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from pyspark.sql.types import (
    BinaryType,
    BooleanType,
    ByteType,
    DataType,
    DateType,
    DayTimeIntervalType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    ShortType,
    StringType,
    StructType,
    TimestampNTZType,
    TimestampType,
    YearMonthIntervalType,
)

from runnel.errors import AnalysisError
from runnel.plan.expressions import (
    AggregateCall,
    Alias,
    Attribute,
    BatchParameter,
    Cast,
    CastMode,
    Expression,
    FunctionCall,
    GeneratorCall,
    GetField,
    LambdaFunction,
    LambdaVariable,
    Literal,
    MultiAlias,
    PythonUDF,
    SortOrder,
    SubqueryExpression,
    UnresolvedAttribute,
    UnresolvedExtract,
    UnresolvedFunction,
    UnresolvedLambda,
    UnresolvedLambdaVariable,
    UnresolvedNamedArgument,
    UnresolvedStar,
    UnresolvedSubquery,
    UpdateFields,
    WindowExpression,
    WindowFrame,
)


@dataclass(frozen=True, slots=True)
class Describe:
    """What naming asks of resolution.

    `column`: the text of a named column. `dtype`: the type of an expression. `function`: a called name as it is shown.
    """

    column: Callable[[UnresolvedAttribute], str]
    dtype: Callable[[Expression], DataType]
    time_zone: str = "UTC"
    function: Callable[[str], str] = str


_INFIX: Final = frozenset(
    [
        "+",
        "-",
        "*",
        "/",
        "%",
        "&",
        "|",
        "^",
        "=",
        "==",
        "<=>",
        "<",
        "<=",
        ">",
        ">=",
        "and",
        "or",
        "div",
        "<<",
        ">>",
        ">>>",
    ]
)
_UPPER: Final = frozenset(
    {
        "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cbrt", "cos", "cosh", "cot", "csc", "degrees", "e",
        "exp", "expm1", "hypot", "log10", "log1p", "log2", "pi", "power", "radians", "regexp", "regexp_like", "rlike",
        "sec", "signum", "sin", "sinh", "sqrt", "tan", "tanh", "spark_partition_id", "rank",
        "dense_rank", "percent_rank",
    }
)  # fmt: skip
_RENAMED: Final[Mapping[str, str]] = {
    "pow": "POWER", "array_agg": "collect_list", "curdate": "current_date", "dateadd": "date_add",
    "current_database": "current_schema", "random": "rand", "to_varchar": "to_char", "create_map": "map",
}  # fmt: skip
_DEFAULTS: Final[Mapping[tuple[str, int], tuple[str, ...]]] = {
    ("bround", 1): ("0",), ("round", 1): ("0",), ("from_unixtime", 1): ("yyyy-MM-dd HH:mm:ss",),
    ("unix_timestamp", 0): ("current_timestamp()", "yyyy-MM-dd HH:mm:ss"),
    ("unix_timestamp", 1): ("yyyy-MM-dd HH:mm:ss",), ("to_unix_timestamp", 1): ("yyyy-MM-dd HH:mm:ss",),
    ("locate", 2): ("1",), ("position", 2): ("1",), ("lpad", 2): (" ",), ("rpad", 2): (" ",),
    ("mask", 1): ("X", "x", "n", "NULL"), ("months_between", 2): ("true",), ("overlay", 3): ("-1",),
    ("regexp_extract", 2): ("1",), ("regexp_extract_all", 2): ("1",), ("regexp_instr", 2): ("0",),
    ("regexp_replace", 3): ("1",), ("replace", 2): ("",), ("sort_array", 1): ("true",), ("split", 2): ("-1",),
    ("str_to_map", 1): (",", ":"), ("str_to_map", 2): (":",), ("substr", 2): ("2147483647",),
    ("substring", 2): ("2147483647",), ("listagg", 1): ("NULL",), ("string_agg", 1): ("NULL",),
    ("lag", 1): ("1", "NULL"), ("lag", 2): ("NULL",), ("lead", 1): ("1", "NULL"), ("lead", 2): ("NULL",),
    ("make_ym_interval", 1): ("0",), ("current_time", 0): ("6",), ("percentile_approx", 2): ("10000",),
    ("approx_percentile", 2): ("10000",), ("percentile", 2): ("1",), ("nth_value", 1): (), ("ntile", 0): ("1",),
    ("sentences", 1): ("", ""), ("sentences", 2): ("",),
}  # fmt: skip
_FIRST_ARGUMENT_ONLY: Final = frozenset(
    {
        "from_json", "from_csv", "to_json", "to_csv", "schema_of_json", "schema_of_csv", "shuffle",
        "first", "first_value", "last", "last_value", "any_value",
    }
)  # fmt: skip
CAST_FUNCTIONS: Final[Mapping[str, DataType]] = {
    "bigint": LongType(), "binary": BinaryType(), "boolean": BooleanType(), "date": DateType(),
    "decimal": DecimalType(10, 0), "double": DoubleType(), "float": FloatType(), "int": IntegerType(),
    "smallint": ShortType(), "string": StringType(), "timestamp": TimestampType(), "tinyint": ByteType(),
}  # fmt: skip
"""The functions that are casts: name to type."""


def column_name(expression: Expression, describe: Describe) -> str:
    """The text of an expression, as Spark's `toPrettySQL` gives it."""

    def text(e: Expression) -> str:
        return column_name(e, describe)

    match expression:
        case Attribute(name=name):
            return name
        case UnresolvedAttribute():
            return describe.column(expression)
        case Literal():
            return literal_text(expression, describe.time_zone)
        case Alias(child=child, name=name):
            return f"{text(child)} AS {name}"
        case MultiAlias(child=child) | UnresolvedNamedArgument(value=child):
            return text(child)
        case Cast(child=Literal(value=str(moment)), dtype=TimestampType(), mode=CastMode.ANSI):
            return f"TIMESTAMP '{moment}'"  # only the literal has its mode before resolution
        case Cast(child=child, dtype=dtype, type_text=given, mode=mode):
            shown = dtype.simpleString() if dtype is not None else given or ""
            return f"{'TRY_' if mode is CastMode.TRY else ''}CAST({text(child)} AS {type_sql(shown)})"
        case UnresolvedExtract(child=child, key=key):
            struct = isinstance(key, Literal) and isinstance(describe.dtype(child), StructType)
            return f"{text(child)}.{text(key)}" if struct else f"{text(child)}[{text(key)}]"
        case GetField(child=child, name=name):
            return f"{text(child)}.{name}"
        case UnresolvedFunction():
            return _function(expression, text, describe.dtype, describe.function)
        case FunctionCall(name=name, args=args) | GeneratorCall(name=name, args=args):
            return _call(name, tuple(text(a) for a in args))
        case AggregateCall(name=name, args=args, distinct=distinct):
            return _call(name, tuple(text(a) for a in args), distinct)
        case SortOrder(child=child, ascending=ascending, nulls_first=nulls_first):
            return f"{text(child)} {'ASC' if ascending else 'DESC'} NULLS {'FIRST' if nulls_first else 'LAST'}"
        case WindowExpression():
            return _window(expression, text)
        case UnresolvedLambda(body=body, params=params):
            return f"lambdafunction({', '.join([text(body), *['namedlambdavariable()' for _ in params]])})"
        case UnresolvedLambdaVariable() | LambdaVariable():
            return "namedlambdavariable()"
        case LambdaFunction(body=body, params=bound):
            return f"lambdafunction({', '.join([text(body), *['namedlambdavariable()' for _ in bound]])})"
        case UpdateFields(child=child, field_name=name, value=value):
            change = "dropfield()" if value is None else f"WithField({text(value)})"
            return f"update_fields({text(child)}, {change})"
        case UnresolvedSubquery(kind=kind, args=args) | SubqueryExpression(kind=kind, args=args):
            return _subquery(kind, tuple(text(a) for a in args))
        case PythonUDF(function=function, args=args, argument_names=given_names):
            keys = (*given_names, *(None for _ in args))
            shown_args = (text(a) if key is None else f"{key} => {text(a)}" for key, a in zip(keys, args, strict=False))
            return f"{function.name}({', '.join(shown_args)})"
        case BatchParameter(name=name):
            return f"{name}()"
        case UnresolvedStar():
            return "*"
        case _:
            return type(expression).__name__


def _subquery(kind: str, args: tuple[str, ...]) -> str:
    match kind:
        case "in":
            left = args[0] if len(args) == 1 else f"named_struct({', '.join(args)})"
            return f"({left} IN (listquery()))"
        case "exists":
            return "exists()"
        case _:
            return "scalarsubquery()"


def _moves_date(args: tuple[Expression, ...], dtype: Callable[[Expression], DataType]) -> bool:
    """Whether `a + b` or `a - b` evidently moves a date by a number of days: Spark makes date_add and date_sub of it."""

    def evident(e: Expression) -> DataType | None:
        match e:
            case Literal(dtype=known) | Cast(dtype=known):
                return known
            case UnresolvedAttribute():
                with contextlib.suppress(AnalysisError):  # a lambda's parameter is no column
                    return dtype(e)
        return DateType() if isinstance(e, UnresolvedFunction) and e.name in _DATES else None

    return isinstance(evident(args[0]), DateType) and isinstance(evident(args[1]), ByteType | ShortType | IntegerType)


_DATES: Final = frozenset(
    {
        "add_months",
        "curdate",
        "current_date",
        "date",
        "date_add",
        "date_sub",
        "last_day",
        "make_date",
        "next_day",
        "to_date",
    }
)


def _function(
    call: UnresolvedFunction,
    text: Callable[[Expression], str],
    dtype: Callable[[Expression], DataType],
    shown: Callable[[str], str],
) -> str:
    name = call.name
    if name == "count" and any(isinstance(a, UnresolvedStar) and not a.target for a in call.args):
        result = "count(DISTINCT *)" if call.distinct else "count(1)"
    elif name in CAST_FUNCTIONS and len(call.args) == 1:
        return text(call.args[0])
    elif name in ("+", "-") and len(call.args) == 2 and _moves_date(call.args, dtype):
        result = _call("date_add" if name == "+" else "date_sub", tuple(text(a) for a in call.args))
    else:
        result = _call(shown(name), tuple(text(a) for a in call.args), call.distinct)
    if call.filter is not None:
        result += f" FILTER (WHERE {text(call.filter)})"
    return result


def _call(name: str, args: tuple[str, ...], distinct: bool = False) -> str:
    special = _special(name, args)
    if special is not None:
        return special
    if name in _FIRST_ARGUMENT_ONLY:
        args = args[:1]
    args += _DEFAULTS.get((name, len(args)), ())
    shown = name.upper() if name in _UPPER else _RENAMED.get(name, name)
    return f"{shown}({'DISTINCT ' if distinct else ''}{', '.join(args)})"


def _special(name: str, args: tuple[str, ...]) -> str | None:
    match name, args:
        case "window" | "session_window", _:
            return name
        case "==" | "=", (left, right):
            return f"({left} = {right})"
        case "!=" | "<>", (left, right):
            return f"(NOT ({left} = {right}))"
        case _, (left, right) if name in _INFIX:
            return f"({left} {name if name == 'div' else name.upper()} {right})"
        case "!" | "not", (child,):
            return f"(NOT {child})"
        case "-", (child,):
            return f"(- {child})"
        case "+" | "positive", (child,):
            return f"(+ {child})"
        case "~", (child,):
            return f"~{child}"
        case "||", _:
            return f"concat({', '.join(args)})"
        case "isnull", (child,):
            return f"({child} IS NULL)"
        case "isnotnull", (child,):
            return f"({child} IS NOT NULL)"
        case "in", (child, *values):
            return f"({child} IN ({', '.join(values)}))"
        case "like", (child, pattern):
            return f"{child} LIKE {pattern}"
        case "when" | "case_when", _ if args:
            branches = "".join(f" WHEN {args[i]} THEN {args[i + 1]}" for i in range(0, len(args) - 1, 2))
            return f"CASE{branches}{f' ELSE {args[-1]}' if len(args) % 2 else ''} END"
        case "if", (condition, then, otherwise):
            return f"(IF({condition}, {then}, {otherwise}))"
        case "log", (child,):
            return f"LOG(E(), {child})"
        case "log", (_, _):
            return f"LOG({', '.join(args)})"
        case "ceil" | "floor", (child,):
            return f"{name.upper()}({child})"
        case "aggregate" | "reduce", (_, _, _):
            return f"{name}({', '.join(args)}, lambdafunction(namedlambdavariable(), namedlambdavariable()))"
        case "assert_true", (condition,):
            return f"assert_true({condition}, '{condition}' is not true!)"
        case "mode", (child, "false"):
            return f"mode({child})"
        case "nth_value", (child, offset, "false"):
            return f"nth_value({child}, {offset})"
        case "trim" | "ltrim" | "rtrim", (chars, child):
            side = {"trim": "BOTH", "ltrim": "LEADING", "rtrim": "TRAILING"}[name]
            return f"TRIM({side} {chars} FROM {child})"
        case _:
            return None


def _window(window: WindowExpression, text: Callable[[Expression], str]) -> str:
    parts = []
    if window.partition_by:
        parts.append("PARTITION BY " + ", ".join(text(e) for e in window.partition_by))
    if window.order_by:
        parts.append("ORDER BY " + ", ".join(text(e) for e in window.order_by))
    parts.append(_frame(window, text))
    return f"{text(window.function)} OVER ({' '.join(parts)})"


_RANKING: Final = frozenset({"row_number", "rank", "dense_rank", "percent_rank", "cume_dist", "ntile"})


def _frame(window: WindowExpression, text: Callable[[Expression], str]) -> str:
    name = getattr(window.function, "name", "")
    if name in ("lag", "lead"):
        args = window.function.args  # type: ignore[attr-defined]
        offset = args[1].value if len(args) > 1 and isinstance(args[1], Literal) else 1
        bound = f"{-offset if name == 'lag' else offset} FOLLOWING"
        return f"ROWS BETWEEN {bound} AND {bound}"
    if name == "cume_dist":
        return "RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW"
    if name in _RANKING:
        return "ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW"
    frame = window.frame
    if frame is None:
        if not window.order_by:
            return "ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING"
        frame = WindowFrame("range", None, Literal(0, DataType()))
    lower, upper = _bound(frame.lower, "PRECEDING", text), _bound(frame.upper, "FOLLOWING", text)
    return f"{frame.kind.upper()} BETWEEN {lower} AND {upper}"


def _bound(bound: Expression | None, side: str, text: Callable[[Expression], str]) -> str:
    if bound is None:
        return f"UNBOUNDED {side}"
    if isinstance(bound, Literal) and bound.value == 0:
        return "CURRENT ROW"
    return f"{text(bound)} FOLLOWING"


def type_sql(text: str) -> str:
    """A simple type string as SQL shows it in a CAST."""
    return text.upper().replace(",", ", ") if "<" in text else text.upper()


# ---------------------------------------------------------------------------------------------------------- literals


def literal_text(literal: Literal, time_zone: str = "UTC") -> str:
    """A constant as a column name shows it: strings bare, dates and intervals in SQL form."""
    value = literal.value
    if value is None:
        return "NULL"
    match literal.dtype:
        case DoubleType() | FloatType():
            return java_double(value)
        case DateType():
            return f"DATE '{dt.date(1970, 1, 1) + dt.timedelta(days=value)}'"
        case TimestampType():
            return f"TIMESTAMP '{_timestamp(value, time_zone)}'"
        case TimestampNTZType():
            return f"TIMESTAMP_NTZ '{_timestamp(value, 'UTC')}'"
        case DayTimeIntervalType() as dtype:
            return day_time_text(value, dtype)
        case YearMonthIntervalType() as dtype:
            return year_month_text(value, dtype)
        case BinaryType():
            return f"X'{bytes(value).hex().upper()}'"
        case _:
            if isinstance(value, bool):
                return str(value).lower()
            return format(value, "f") if isinstance(value, Decimal) else str(value)


def _timestamp(micros: int, time_zone: str) -> str:
    at = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=micros)
    with contextlib.suppress(zoneinfo.ZoneInfoNotFoundError, ValueError, OverflowError):
        at = at.astimezone(zoneinfo.ZoneInfo(time_zone))
    fraction = f".{at.microsecond:06d}".rstrip("0") if at.microsecond else ""
    return at.strftime("%Y-%m-%d %H:%M:%S") + fraction


def java_double(value: float) -> str:
    """A double as Java's `Double.toString` writes it, to Python's shortest digits."""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return repr(float(value)) if "e" not in repr(float(value)) else format(Decimal(repr(value)), "f")
    mantissa, _, exponent = f"{Decimal(repr(float(value))):e}".lower().partition("e")
    whole, _, fraction = mantissa.partition(".")
    return f"{whole}.{fraction.rstrip('0') or '0'}E{int(exponent)}"


_DAY_TIME_FIELDS: Final = ("DAY", "HOUR", "MINUTE", "SECOND")


def day_time_text(micros: int, dtype: DayTimeIntervalType) -> str:
    """`INTERVAL '1 02' DAY TO HOUR`, from the first to the last field of the type."""
    first, last = dtype.startField, dtype.endField
    sign, left = "-" if micros < 0 else "", abs(micros)
    parts = []
    for i, size in enumerate((86_400_000_000, 3_600_000_000, 60_000_000)):
        if first <= i <= last:
            parts.append((i, f"{left // size}" if i == first else f"{left // size:02d}"))
            left %= size
    if last == 3:
        seconds = f"{left // 1_000_000}" if first == 3 else f"{left // 1_000_000:02d}"
        fraction = f".{left % 1_000_000:06d}".rstrip("0") if left % 1_000_000 else ""
        parts.append((3, seconds + fraction))
    body = parts[0][1]
    for (i, _), (_, part) in itertools.pairwise(parts):
        body += (" " if i == 0 else ":") + part
    fields = _DAY_TIME_FIELDS[first] if first == last else f"{_DAY_TIME_FIELDS[first]} TO {_DAY_TIME_FIELDS[last]}"
    return f"INTERVAL '{sign}{body}' {fields}"


def year_month_text(months: int, dtype: YearMonthIntervalType) -> str:
    """`INTERVAL '1-2' YEAR TO MONTH`, `INTERVAL '3' YEAR`, `INTERVAL '4' MONTH`."""
    sign, left = "-" if months < 0 else "", abs(months)
    match dtype.startField, dtype.endField:
        case 0, 0:
            return f"INTERVAL '{sign}{left // 12}' YEAR"
        case 1, 1:
            return f"INTERVAL '{sign}{left}' MONTH"
        case _:
            return f"INTERVAL '{sign}{left // 12}-{left % 12}' YEAR TO MONTH"
