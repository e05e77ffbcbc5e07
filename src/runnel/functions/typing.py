"""Spark's typing rules: type families, common types, implicit casts, decimal precision, and declared functions.

Everything here is a function of types and resolved expressions. The rules are Spark 4's: those of ANSI mode where
`ansi` is true (`AnsiTypeCoercion`), else the older ones (`TypeCoercion`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    ByteType,
    CalendarIntervalType,
    CharType,
    DataType,
    DateType,
    DayTimeIntervalType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    MapType,
    NullType,
    ShortType,
    StringType,
    StructField,
    StructType,
    TimestampNTZType,
    TimestampType,
    TimeType,
    VarcharType,
    YearMonthIntervalType,
)

from runnel.errors import AnalysisError
from runnel.functions.pretty import pretty, pretty_type
from runnel.functions.registry import BindContext, LoweringContext, ScalarFunction
from runnel.plan.expressions import Cast, CastMode, Expression, FunctionCall, Literal, dtype_of, nullable_of

BOOLEAN: Final = BooleanType()
BYTE: Final = ByteType()
SHORT: Final = ShortType()
INT: Final = IntegerType()
LONG: Final = LongType()
FLOAT: Final = FloatType()
DOUBLE: Final = DoubleType()
STRING: Final = StringType()
BINARY: Final = BinaryType()
DATE: Final = DateType()
TIMESTAMP: Final = TimestampType()
TIMESTAMP_NTZ: Final = TimestampNTZType()
TIME: Final = TimeType()
DAY_TIME: Final = DayTimeIntervalType(0, 3)
YEAR_MONTH: Final = YearMonthIntervalType(0, 1)
CALENDAR: Final = CalendarIntervalType()
NULL: Final = NullType()

MAX_PRECISION: Final = 38
_MINIMUM_ADJUSTED_SCALE: Final = 6
_DOCROOT: Final = "https://spark.apache.org/docs/latest"
_RANKS: Final[tuple[type[DataType], ...]] = (ByteType, ShortType, IntegerType, LongType, FloatType, DoubleType)
_INTEGRAL_DIGITS: Final[Mapping[type[DataType], int]] = {ByteType: 3, ShortType: 5, IntegerType: 10, LongType: 20}


# ------------------------------------------------------------------------------------------------------ families


def is_null(t: DataType) -> bool:
    return isinstance(t, NullType)


def is_boolean(t: DataType) -> bool:
    return isinstance(t, BooleanType)


def is_integral(t: DataType) -> bool:
    """tinyint, smallint, int, bigint."""
    return isinstance(t, (ByteType, ShortType, IntegerType, LongType))


def is_floating(t: DataType) -> bool:
    """float, double."""
    return isinstance(t, (FloatType, DoubleType))


def is_decimal(t: DataType) -> bool:
    return isinstance(t, DecimalType)


def is_numeric(t: DataType) -> bool:
    return is_integral(t) or is_floating(t) or is_decimal(t)


def is_string(t: DataType) -> bool:
    """string, char(n), varchar(n)."""
    return isinstance(t, (StringType, CharType, VarcharType))


def is_binary(t: DataType) -> bool:
    return isinstance(t, BinaryType)


def is_date(t: DataType) -> bool:
    return isinstance(t, DateType)


def is_timestamp(t: DataType) -> bool:
    """timestamp and timestamp_ntz."""
    return isinstance(t, (TimestampType, TimestampNTZType))


def is_datetime(t: DataType) -> bool:
    """date, timestamp, timestamp_ntz."""
    return is_date(t) or is_timestamp(t)


def is_day_time(t: DataType) -> bool:
    return isinstance(t, DayTimeIntervalType)


def is_year_month(t: DataType) -> bool:
    return isinstance(t, YearMonthIntervalType)


def is_calendar(t: DataType) -> bool:
    return isinstance(t, CalendarIntervalType)


def is_interval(t: DataType) -> bool:
    """Day-time, year-month and calendar intervals."""
    return is_day_time(t) or is_year_month(t) or is_calendar(t)


def is_atomic(t: DataType) -> bool:
    """Neither nested nor null nor a calendar interval."""
    return not isinstance(t, (ArrayType, MapType, StructType, NullType, CalendarIntervalType))


def is_orderable(t: DataType) -> bool:
    """Whether Spark compares values of the type with `<`."""
    match t:
        case ArrayType(elementType=element):
            return is_orderable(element)
        case StructType():
            return all(is_orderable(f.dataType) for f in t.fields)
        case MapType() | CalendarIntervalType():
            return False
        case _:
            return t.typeName() != "variant"


def is_comparable(t: DataType) -> bool:
    """Whether Spark compares values of the type with `=` (no maps inside)."""
    match t:
        case ArrayType(elementType=element):
            return is_comparable(element)
        case StructType():
            return all(is_comparable(f.dataType) for f in t.fields)
        case MapType():
            return False
        case _:
            return t.typeName() != "variant"


@dataclass(frozen=True, slots=True)
class Family:
    """A set of types that a parameter accepts.

    name: as Spark writes it in an error. default: what a string or a null becomes when the family asks for a cast.
    targets: concrete types tried in order when the argument is not accepted as it is.
    """

    name: str
    accepts: Callable[[DataType], bool]
    default: DataType
    targets: tuple[DataType, ...] = ()


ANY: Final = Family('"ANY"', lambda t: True, NULL)
NUMERIC: Final = Family('"NUMERIC"', is_numeric, DOUBLE)
INTEGRAL: Final = Family('"INTEGRAL"', is_integral, LONG)
NUMERIC_OR_INTERVAL: Final = Family(
    '("NUMERIC" or "INTERVAL DAY TO SECOND" or "INTERVAL YEAR TO MONTH" or "INTERVAL")',
    lambda t: is_numeric(t) or is_interval(t),
    DOUBLE,
)
STRING_OR_BINARY: Final = Family(
    '("STRING" or "BINARY")', lambda t: is_string(t) or is_binary(t), STRING, (STRING, BINARY)
)
ARRAY: Final = Family('"ARRAY"', lambda t: isinstance(t, ArrayType), ArrayType(NULL))
MAP: Final = Family('"MAP"', lambda t: isinstance(t, MapType), MapType(NULL, NULL))
STRUCT: Final = Family('"STRUCT"', lambda t: isinstance(t, StructType), StructType())
ORDERABLE: Final = Family('"ORDERABLE"', lambda t: is_null(t) or is_orderable(t), NULL)
ANY_TIMESTAMP: Final = Family('("TIMESTAMP_NTZ" or "TIMESTAMP")', is_timestamp, TIMESTAMP, (TIMESTAMP,))
DATE_OR_TIMESTAMP: Final = Family('("DATE" or "TIMESTAMP" or "TIMESTAMP_NTZ")', is_datetime, TIMESTAMP, (TIMESTAMP,))

Parameter = Family | DataType


# ------------------------------------------------------------------------------------------------------ decimals


def bounded_decimal(precision: int, scale: int) -> DecimalType:
    """decimal(min(p, 38), min(s, 38))."""
    return DecimalType(min(precision, MAX_PRECISION), min(scale, MAX_PRECISION))


def adjusted_decimal(precision: int, scale: int) -> DecimalType:
    """Spark's `adjustPrecisionScale`: beyond 38 digits the fraction gives way, but not below six digits."""
    if precision <= MAX_PRECISION:
        return DecimalType(precision, scale)
    integer_digits = precision - scale
    minimum = min(scale, _MINIMUM_ADJUSTED_SCALE)
    return DecimalType(MAX_PRECISION, max(MAX_PRECISION - integer_digits, minimum))


def decimal_for(t: DataType) -> DecimalType:
    """The decimal that holds every value of a numeric type (float: (14,7), double: (30,15), as Spark)."""
    match t:
        case DecimalType():
            return t
        case FloatType():
            return DecimalType(14, 7)
        case DoubleType():
            return DecimalType(30, 15)
        case NullType():
            return DecimalType(1, 0)
        case _:
            return DecimalType(_INTEGRAL_DIGITS[type(t)], 0)


def decimal_result(operator: str, left: DecimalType, right: DecimalType) -> DecimalType:
    """Result type of `+ - * / % div pmod` on decimals, precision loss allowed (DecimalPrecision's table)."""
    p1, s1, p2, s2 = left.precision, left.scale, right.precision, right.scale
    match operator:
        case "+" | "-":
            scale = max(s1, s2)
            return adjusted_decimal(max(p1 - s1, p2 - s2) + scale + 1, scale)
        case "*":
            return adjusted_decimal(p1 + p2 + 1, s1 + s2)
        case "/":
            scale = max(_MINIMUM_ADJUSTED_SCALE, s1 + p2 + 1)
            return adjusted_decimal(p1 - s1 + s2 + scale, scale)
        case "%" | "pmod":
            scale = max(s1, s2)
            return adjusted_decimal(min(p1 - s1, p2 - s2) + scale, scale)
        case "div":
            return adjusted_decimal(max(p1 - s1 + s2, 1), 0)
        case _:
            raise ValueError(f"not a decimal operator: {operator}")


def wider_decimal(left: DecimalType, right: DecimalType) -> DecimalType:
    """The decimal that holds both."""
    scale = max(left.scale, right.scale)
    return bounded_decimal(max(left.precision - left.scale, right.precision - right.scale) + scale, scale)


# -------------------------------------------------------------------------------------------------- common types


def tightest_common_type(a: DataType, b: DataType, ansi: bool = True) -> DataType | None:
    """The tightest type that both go into without loss of range, strings apart; None if there is none."""
    if a == b:
        return a
    if is_null(a):
        return b
    if is_null(b):
        return a
    if is_string(a) and is_string(b):
        return STRING
    if is_numeric(a) and is_numeric(b):
        return _wider_numeric(a, b, ansi)
    if is_datetime(a) and is_datetime(b):
        if isinstance(a, TimestampType) or isinstance(b, TimestampType):
            return TIMESTAMP
        return TIMESTAMP_NTZ
    if isinstance(a, DayTimeIntervalType) and isinstance(b, DayTimeIntervalType):
        return DayTimeIntervalType(min(a.startField, b.startField), max(a.endField, b.endField))
    if isinstance(a, YearMonthIntervalType) and isinstance(b, YearMonthIntervalType):
        return YearMonthIntervalType(min(a.startField, b.startField), max(a.endField, b.endField))
    return None


def _wider_numeric(a: DataType, b: DataType, ansi: bool) -> DataType | None:
    if is_decimal(a) or is_decimal(b):
        if is_floating(a) or is_floating(b):
            return DOUBLE
        return wider_decimal(decimal_for(a), decimal_for(b))
    if ansi and ((is_integral(a) and isinstance(b, FloatType)) or (isinstance(a, FloatType) and is_integral(b))):
        return DOUBLE
    return a if _RANKS.index(type(a)) >= _RANKS.index(type(b)) else b


def _string_promotion(string: DataType, other: DataType, ansi: bool) -> DataType | None:
    """What a string and another type become together, outside of comparison and arithmetic."""
    if not is_atomic(other):
        return None
    if not ansi:
        return None if is_binary(other) or is_boolean(other) else STRING
    if is_integral(other):
        return LONG
    if is_numeric(other):
        return DOUBLE
    return other


def common_type(a: DataType, b: DataType, ansi: bool = True) -> DataType | None:
    """What `coalesce`, `case`, `array`, set operations make of two types; None if they do not go together.

    Nested types are widened field by field; field names and order must agree for structs (names of the left win).
    """
    tight = tightest_common_type(a, b, ansi)
    if tight is not None:
        return tight
    if is_string(a):
        return _string_promotion(a, b, ansi)
    if is_string(b):
        return _string_promotion(b, a, ansi)
    return _nested_common(a, b, lambda x, y: common_type(x, y, ansi))


def _nested_common(a: DataType, b: DataType, widen: Callable[[DataType, DataType], DataType | None]) -> DataType | None:
    match a, b:
        case ArrayType(), ArrayType():
            element = widen(a.elementType, b.elementType)
            return None if element is None else ArrayType(element, a.containsNull or b.containsNull)
        case MapType(), MapType():
            key, value = widen(a.keyType, b.keyType), widen(a.valueType, b.valueType)
            if key is None or value is None:
                return None
            return MapType(key, value, a.valueContainsNull or b.valueContainsNull)
        case StructType(), StructType() if len(a.fields) == len(b.fields):
            fields = []
            for x, y in zip(a.fields, b.fields, strict=True):
                wider = widen(x.dataType, y.dataType)
                if wider is None or x.name.lower() != y.name.lower():
                    return None
                fields.append(StructField(x.name, wider, x.nullable or y.nullable))
            return StructType(fields)
        case _:
            return None


def common_type_of_all(types: Sequence[DataType], ansi: bool = True) -> DataType | None:
    """`common_type` over a list, strings last as Spark does; the null type for an empty list."""
    ordered = [t for t in types if not is_string(t)] + [t for t in types if is_string(t)] if not ansi else list(types)
    if ansi and any(is_string(t) for t in types):
        ordered = [t for t in types if is_string(t)] + [t for t in types if not is_string(t)]
    result: DataType | None = NULL
    for t in ordered:
        result = common_type(result, t, ansi) if result is not None else None
    return result


def comparison_type(a: DataType, b: DataType, ansi: bool = True) -> DataType | None:
    """The type in which Spark compares two values; None if it refuses."""
    tight = tightest_common_type(a, b, ansi)
    if tight is not None:
        return tight
    for string, other in ((a, b), (b, a)):
        if not is_string(string):
            continue
        if not is_atomic(other):
            return None
        if ansi:
            return _string_promotion(string, other, ansi)
        return DOUBLE if is_decimal(other) else other
    return _nested_common(a, b, lambda x, y: comparison_type(x, y, ansi))


# --------------------------------------------------------------------------------------------------------- casts


def same_but_for_nulls(a: DataType, b: DataType) -> bool:
    """Equal types, whatever their containsNull, nullability, field metadata and interval fields."""
    match a, b:
        case ArrayType(), ArrayType():
            return same_but_for_nulls(a.elementType, b.elementType)
        case MapType(), MapType():
            return same_but_for_nulls(a.keyType, b.keyType) and same_but_for_nulls(a.valueType, b.valueType)
        case StructType(), StructType():
            return len(a.fields) == len(b.fields) and all(
                x.name == y.name and same_but_for_nulls(x.dataType, y.dataType)
                for x, y in zip(a.fields, b.fields, strict=True)
            )
        case _:
            return a == b


def cast_forces_null(source: DataType, target: DataType) -> bool:
    """Whether Spark calls the result of a cast nullable even where its input is not (`Cast.forceNullable`)."""
    if is_null(source):
        return True
    if same_but_for_nulls(source, target) or is_string(target):
        return False
    if is_string(source):
        return not is_binary(target)
    if isinstance(target, DecimalType):
        if is_boolean(source):
            return target.precision - target.scale < 1
        if not (is_integral(source) or is_decimal(source)):
            return True
        held = decimal_for(source)
        room = (target.precision - target.scale) - (held.precision - held.scale)
        # one more whole digit takes what rounding carries over
        return room < 0 or (room == 0 and target.scale < held.scale)
    if is_integral(target):
        return is_floating(source) or is_decimal(source)
    if is_date(target):
        return not is_timestamp(source)
    return is_calendar(target) or (is_floating(source) and is_timestamp(target))


def cast_to(expression: Expression, target: DataType, mode: CastMode = CastMode.ANSI) -> Expression:
    """The expression as `target`: itself if it already is, a retyped literal for null, else a Cast."""
    source = dtype_of(expression)
    if same_but_for_nulls(source, target):
        return expression
    if isinstance(expression, Literal) and expression.value is None:
        return Literal(None, target)
    if isinstance(expression, Literal) and is_integral(source) and is_integral(target):
        bits = 8 << _RANKS.index(type(target))
        if -(1 << bits - 1) <= expression.value < 1 << bits - 1:
            return Literal(expression.value, target)
    nullable = nullable_of(expression) or mode is CastMode.TRY or cast_forces_null(source, target)
    return Cast(expression, target, mode, nullable)


def mode_of(context: BindContext) -> CastMode:
    """How implicit casts behave in the session."""
    return CastMode.ANSI if context.ansi else CastMode.LEGACY


def coerce(expression: Expression, target: DataType, context: BindContext | None = None) -> Expression:
    """`cast_to` in the session's mode (ANSI without a context)."""
    return cast_to(expression, target, mode_of(context) if context else CastMode.ANSI)


def coerce_to_common(
    args: Sequence[Expression], context: BindContext
) -> tuple[tuple[Expression, ...], DataType] | None:
    """All arguments in their common type, and that type; None if they have none."""
    target = common_type_of_all([dtype_of(a) for a in args], context.ansi)
    if target is None:
        return None
    return tuple(coerce(a, target, context) for a in args), target


def implicit_type(source: DataType, parameter: Parameter, ansi: bool = True) -> DataType | None:
    """The type to which Spark casts an argument for a parameter by itself; None if it refuses."""
    if isinstance(parameter, Family):
        if is_null(source):
            return parameter.default
        if parameter.accepts(source):
            return source
        if is_string(source) and parameter.default in (DOUBLE, LONG):
            return parameter.default if not (ansi and parameter is INTEGRAL) else LONG
        for target in parameter.targets:
            found = implicit_type(source, target, ansi)
            if found is not None:
                return found
        return None
    return parameter if _implicitly(source, parameter, ansi) else None


def _implicitly(source: DataType, target: DataType, ansi: bool) -> bool:
    if same_but_for_nulls(source, target) or is_null(source) or (is_string(source) and is_string(target)):
        return True
    if type(source) is type(target) and (is_day_time(source) or is_year_month(source)):
        return True
    match source, target:
        case ArrayType(), ArrayType():
            return _implicitly(source.elementType, target.elementType, ansi)
        case MapType(), MapType():
            return _implicitly(source.keyType, target.keyType, ansi) and _implicitly(
                source.valueType, target.valueType, ansi
            )
    if not is_atomic(source) or not is_atomic(target):
        return False
    if is_string(target):
        return True
    if is_string(source):
        return not is_interval(target) or ansi
    if is_numeric(source) and is_numeric(target):
        return not (ansi and is_integral(target) and not is_integral(source))
    return is_datetime(source) and is_datetime(target)


# -------------------------------------------------------------------------------------------------------- errors

_ORDINALS: Final = (
    "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth",
    "eleventh", "twelfth", "thirteenth", "fourteenth", "fifteenth", "sixteenth",
)  # fmt: skip


def ordinal(index: int) -> str:
    """0 → first."""
    return _ORDINALS[index] if index < len(_ORDINALS) else f"{index + 1}th"


def wrong_number_of_arguments(name: str, expected: str, actual: int) -> AnalysisError:
    """WRONG_NUM_ARGS.WITHOUT_SUGGESTION; `expected` is `2`, `[1, 2]` or `> 0`."""
    return AnalysisError(
        "WRONG_NUM_ARGS.WITHOUT_SUGGESTION",
        {"functionName": f"`{name}`", "expectedNum": expected, "actualNum": str(actual), "docroot": _DOCROOT},
    )


def check_arity(name: str, args: Sequence[Expression], least: int, most: int | None = None) -> None:
    """Raises unless least ≤ len(args) ≤ most (`most` None: the same as `least`; -1: no limit)."""
    most = least if most is None else most
    if len(args) >= least and (most < 0 or len(args) <= most):
        return
    if most < 0:
        expected = f"> {least - 1}"
    elif most == least:
        expected = str(least)
    else:
        expected = "[" + ", ".join(str(n) for n in range(least, most + 1)) + "]"
    raise wrong_number_of_arguments(name, expected, len(args))


def call_text(name: str, args: Sequence[Expression]) -> str:
    """The call as Spark quotes it in errors, with the double quotes."""
    return f'"{pretty(FunctionCall(name, tuple(args), NULL, True))}"'


def unexpected_input(name: str, args: Sequence[Expression], index: int, required: str) -> AnalysisError:
    """DATATYPE_MISMATCH.UNEXPECTED_INPUT_TYPE for argument `index` (from 0); `required` carries its quotes."""
    return AnalysisError(
        "DATATYPE_MISMATCH.UNEXPECTED_INPUT_TYPE",
        {
            "sqlExpr": call_text(name, args),
            "paramIndex": ordinal(index),
            "requiredType": required,
            "inputSql": f'"{pretty(args[index])}"',
            "inputType": pretty_type(dtype_of(args[index])),
        },
    )


def data_diff_types(name: str, args: Sequence[Expression]) -> AnalysisError:
    """DATATYPE_MISMATCH.DATA_DIFF_TYPES: the arguments have no common type."""
    types = " or ".join(pretty_type(dtype_of(a)) for a in args)
    return AnalysisError(
        "DATATYPE_MISMATCH.DATA_DIFF_TYPES",
        {"sqlExpr": call_text(name, args), "functionName": f"`{name}`", "dataType": f"({types})"},
    )


def non_foldable(name: str, args: Sequence[Expression], index: int, input_name: str, kind: str) -> AnalysisError:
    """DATATYPE_MISMATCH.NON_FOLDABLE_INPUT: an argument that must be a constant is not."""
    return AnalysisError(
        "DATATYPE_MISMATCH.NON_FOLDABLE_INPUT",
        {
            "sqlExpr": call_text(name, args),
            "inputName": f"`{input_name}`",
            "inputType": kind,
            "inputExpr": f'"{pretty(args[index])}"',
        },
    )


# --------------------------------------------------------------------------------------------- declared functions

Result = DataType | Callable[[tuple[DataType, ...]], DataType]
Sql = str | Mapping[int, str] | Callable[[LoweringContext, FunctionCall, tuple[str, ...]], str]

PROPAGATE: Final = "propagate"
"""The result is null exactly if an argument is (may be nullable, for the type)."""


def coerce_arguments(
    name: str, args: tuple[Expression, ...], params: Sequence[Parameter], context: BindContext
) -> tuple[Expression, ...]:
    """Each argument as its parameter wants it; the last parameter serves for surplus arguments."""
    result = []
    for i, argument in enumerate(args):
        parameter = params[min(i, len(params) - 1)]
        target = implicit_type(dtype_of(argument), parameter, context.ansi)
        if target is None:
            required = parameter.name if isinstance(parameter, Family) else pretty_type(parameter)
            raise unexpected_input(name, args, i, required)
        result.append(coerce(argument, target, context))
    return tuple(result)


def lowering_of(sql: Sql) -> Callable[[LoweringContext, FunctionCall, tuple[str, ...]], str]:
    """A lowering from a template (`{0}`, `{1}`, … and `{args}`), from templates by number of arguments, or as it is."""
    if callable(sql):
        return sql
    templates = sql

    def lower(context: LoweringContext, call: FunctionCall, args: tuple[str, ...]) -> str:
        template = templates if isinstance(templates, str) else templates[len(args)]
        return template.format(*args, args=", ".join(args))

    return lower


def simple(
    name: str,
    params: Sequence[Parameter],
    result: Result,
    sql: Sql,
    *,
    aliases: tuple[str, ...] = (),
    optional: int = 0,
    variadic: bool = False,
    same: bool = False,
    nullable: bool | str = PROPAGATE,
    deterministic: bool = True,
) -> ScalarFunction:
    """A function whose typing is a row of a table.

    params: one family or type a parameter; `optional` of them, from the end, may be missing; `variadic` repeats the
        last one any number of times (zero included).
    result: the result's type, or a function of the coerced arguments' types.
    sql: see `lowering_of`. A template must mention an argument once or not mind evaluating it twice.
    same: the arguments are first brought to their common type.
    nullable: `PROPAGATE`, or True or False whatever the arguments are.
    """
    least = len(params) - optional - (1 if variadic else 0)
    most = -1 if variadic else len(params)

    def bind(context: BindContext, args: tuple[Expression, ...]) -> Expression:
        check_arity(name, args, least, most)
        if same and args:
            common = coerce_to_common(args, context)
            if common is None:
                raise data_diff_types(name, args)
            args = common[0]
        coerced = coerce_arguments(name, args, params, context) if params else ()
        dtype = result if isinstance(result, DataType) else result(tuple(dtype_of(a) for a in coerced))
        null = any(nullable_of(a) for a in coerced) if isinstance(nullable, str) else nullable
        return FunctionCall(name, coerced, dtype, null)

    return ScalarFunction(name, bind, lowering_of(sql), aliases, deterministic)


def same_as(index: int = 0) -> Callable[[tuple[DataType, ...]], DataType]:
    """A result type rule: that of argument `index`."""
    return lambda types: types[index]
