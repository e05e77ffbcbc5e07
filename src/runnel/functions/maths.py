"""Mathematical functions: rounding, roots and logarithms, trigonometry, number bases, bits, random numbers."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from pyspark.sql.types import DataType, DecimalType

from runnel.functions.arithmetic import integer_bits, integer_name, wrapped
from runnel.functions.casts import type_sql
from runnel.functions.registry import BindContext, CatalogueEntry, LoweringContext, ScalarFunction
from runnel.functions.typing import (
    BINARY,
    BYTE,
    DOUBLE,
    INT,
    LONG,
    NUMERIC,
    NUMERIC_OR_INTERVAL,
    STRING,
    Family,
    adjusted_decimal,
    check_arity,
    coerce,
    coerce_arguments,
    is_binary,
    is_boolean,
    is_decimal,
    is_floating,
    is_integral,
    is_string,
    non_foldable,
    same_as,
    simple,
)
from runnel.plan.expressions import Expression, FunctionCall, Literal, dtype_of

Args = tuple[Expression, ...]
Sql = tuple[str, ...]


def _double(name: str, sql: str, *aliases: str) -> ScalarFunction:
    """A function from double to double; Spark calls them all nullable."""
    return simple(name, (DOUBLE,), DOUBLE, sql, aliases=aliases, nullable=True)


def _two(name: str, sql: str, *aliases: str) -> ScalarFunction:
    return simple(name, (DOUBLE, DOUBLE), DOUBLE, sql, aliases=aliases)


# -------------------------------------------------------------------------------------------------------- rounding


def _scale_of(name: str, args: Args) -> int:
    if len(args) < 2:
        return 0
    scale = args[1]
    if not (isinstance(scale, Literal) and isinstance(scale.value, int)):
        raise non_foldable(name, args, 1, "scale", '"INT"')
    return scale.value


def _bind_round(name: str) -> Callable[[BindContext, Args], Expression]:
    """round, bround, ceil, floor with a scale: a constant, negative for tens and hundreds."""

    def bind(context: BindContext, args: Args) -> Expression:
        check_arity(name, args, 1, 2)
        scale = _scale_of(name, args)
        value = coerce_arguments(name, args[:1], (NUMERIC,), context)[0]
        t = dtype_of(value)
        whole = name in ("ceil", "floor")
        if whole and len(args) == 1:
            if isinstance(t, DecimalType):
                result: DataType = adjusted_decimal(t.precision - t.scale + (1 if t.scale else 0), 0)
            else:
                result = LONG
                value = value if is_integral(t) else coerce(value, DOUBLE, context)
            return FunctionCall(name, (value, Literal(0, INT)), result, True)
        if whole and not is_decimal(t):
            digits = {3: 3, 5: 5, 10: 10, 20: 20}
            target = DecimalType(30, 15) if is_floating(t) else DecimalType(digits[_digits_of(t)], 0)
            value, t = coerce(value, target, context), target
        if isinstance(t, DecimalType):
            integral = t.precision - t.scale + 1
            if scale < 0:
                result = DecimalType(min(38, max(integral, -scale + 1)), 0)
            else:
                kept = min(scale, t.scale)
                result = DecimalType(min(38, integral + kept), min(kept, 38))
        else:
            result = t
        return FunctionCall(name, (value, Literal(scale, INT)), result, True)

    return bind


def _digits_of(t: DataType) -> int:
    return {8: 3, 16: 5, 32: 10, 64: 20}[integer_bits(t)]


def _lower_round(name: str) -> Callable[[LoweringContext, FunctionCall, Sql], str]:
    even = name == "bround"

    def lower(ctx: LoweringContext, call: FunctionCall, args: Sql) -> str:
        scale_literal = call.args[1]
        assert isinstance(scale_literal, Literal)
        scale, t, x = int(scale_literal.value), dtype_of(call.args[0]), args[0]
        if is_integral(t):
            if scale >= 0:
                return x
            unit = 10 ** min(-scale, 30)
            wide = f"CAST({x} AS HUGEINT)"
            quotient, rest = f"({wide} // {unit}::HUGEINT)", f"abs({wide} % {unit}::HUGEINT)"
            up = f"{rest} * 2 >= {unit}::HUGEINT"
            if even:
                up = f"({rest} * 2 > {unit}::HUGEINT OR ({rest} * 2 = {unit}::HUGEINT AND {quotient} % 2 <> 0))"
            rounded = f"(({quotient} + CASE WHEN {up} THEN sign({x}) ELSE 0 END) * {unit}::HUGEINT)"
            if ctx.ansi:
                return f"CAST({rounded} AS {integer_name(t)})"
            return wrapped(rounded, integer_bits(t))
        if isinstance(t, DecimalType):
            function = "round_even" if even else "round"
            if scale >= t.scale:
                return f"CAST({x} AS {type_sql(call.dtype)})"
            if even:
                # round_even is a double function in DuckDB: correct the half-up result on exact ties instead
                step = f"{10.0**-scale:.{scale}f}" if scale > 0 else str(10**-scale)
                half_up = f"round({x}, {scale})"
                tie = f"(abs({x} - trunc({x}, {scale})) * 2 = {step})"
                kept = f"abs({x}) * {10**scale}" if scale >= 0 else f"CAST(abs({x}) AS HUGEINT) // {10**-scale}"
                even_digit = f"(CAST(trunc({kept}) AS HUGEINT) % 2 = 0)"
                corrected = f"CASE WHEN {tie} AND {even_digit} THEN trunc({x}, {scale}) ELSE {half_up} END"
                return f"CAST({corrected} AS {type_sql(call.dtype)})"
            return f"CAST({function}({x}, {scale}) AS {type_sql(call.dtype)})"
        # Spark rounds the shortest decimal text of a double: 0.285 is a tie although its bits are below it
        return _round_floating(x, scale, type_sql(t), even)

    return lower


def _round_floating(x: str, scale: int, type_name: str, even: bool) -> str:
    places = max(scale, 0)
    if places > 15:
        return x
    text = f"CAST(CAST({x} AS VARCHAR) AS DECIMAL(38,17))"
    if even:
        unit = f"1e{-scale}"
        scaled = f"round_even({x} / {unit}::DOUBLE, 0) * {unit}::DOUBLE"
        exact = f"round_even({x}, {places})" if scale >= 0 else scaled
    else:
        exact = f"CAST(round({text}, {scale}) AS DOUBLE)"
    limit = 1e15
    return (
        f"CASE WHEN isfinite({x}) AND abs({x}) < {limit!r}::DOUBLE THEN CAST({exact} AS {type_name}) "
        + (f"WHEN isfinite({x}) THEN CAST(round({x}, {scale}) AS {type_name}) " if scale < 0 else "")
        + f"ELSE {x} END"
    )


def _lower_whole(function: str) -> Callable[[LoweringContext, FunctionCall, Sql], str]:
    def lower(ctx: LoweringContext, call: FunctionCall, args: Sql) -> str:
        scale_literal = call.args[1]
        assert isinstance(scale_literal, Literal)
        scale, t, x = int(scale_literal.value), dtype_of(call.args[0]), args[0]
        if call.dtype == LONG:
            if is_integral(t):
                return f"CAST({x} AS BIGINT)"
            top = f"{2**63}::DOUBLE"
            return (
                f"CAST(CASE WHEN isnan({x}) THEN 0 WHEN {x} >= {top} THEN {2**63 - 1} "
                f"WHEN {x} <= -{top} THEN {-(2**63)} ELSE CAST({function}({x}) AS BIGINT) END AS BIGINT)"
            )
        if scale == 0:
            return f"CAST({function}({x}) AS {type_sql(call.dtype)})"
        if scale > 0:
            kept = f"trunc({x}, {scale})"
            step = f"{10.0**-scale:.{scale}f}"
        else:
            kept = f"trunc({x}, {scale})"
            step = str(10**-scale)
        moved = f"{kept} + {step}" if function == "ceil" else f"{kept} - {step}"
        beyond = f"{x} > {kept}" if function == "ceil" else f"{x} < {kept}"
        return f"CAST(CASE WHEN {beyond} THEN {moved} ELSE {kept} END AS {type_sql(call.dtype)})"

    return lower


# ------------------------------------------------------------------------------------------------- abs, sign, bits


def _lower_abs(ctx: LoweringContext, call: FunctionCall, args: Sql) -> str:
    if is_integral(call.dtype) and not ctx.ansi:
        return wrapped(f"abs(CAST({args[0]} AS HUGEINT))", integer_bits(call.dtype))
    return f"abs({args[0]})"


def _lower_sign(ctx: LoweringContext, call: FunctionCall, args: Sql) -> str:
    t = dtype_of(call.args[0])
    if is_floating(t):
        return f"CASE WHEN isnan({args[0]}) THEN {args[0]} ELSE CAST(sign({args[0]}) AS DOUBLE) END"
    return f"CAST(sign({args[0]}) AS DOUBLE)"


def _lower_hex(ctx: LoweringContext, call: FunctionCall, args: Sql) -> str:
    t = dtype_of(call.args[0])
    if is_binary(t) or is_string(t):
        return f"hex({args[0]})"
    unsigned = f"CAST(CAST({args[0]} AS HUGEINT) & {(1 << 64) - 1}::HUGEINT AS UBIGINT)"
    return f"CASE WHEN {args[0]} = 0 THEN '0' ELSE upper(ltrim(to_hex({unsigned}), '0')) END"


def _lower_unhex(ctx: LoweringContext, call: FunctionCall, args: Sql) -> str:
    x = args[0]
    padded = f"CASE WHEN length({x}) % 2 = 1 THEN '0' || {x} ELSE {x} END"
    return f"CASE WHEN regexp_full_match({x}, '[0-9A-Fa-f]*') THEN unhex({padded}) END"


def _lower_bin(ctx: LoweringContext, call: FunctionCall, args: Sql) -> str:
    unsigned = f"CAST(CAST({args[0]} AS HUGEINT) & {(1 << 64) - 1}::HUGEINT AS UBIGINT)"
    return f"CASE WHEN {args[0]} = 0 THEN '0' ELSE ltrim(bin({unsigned}), '0') END"


def _lower_conv(ctx: LoweringContext, call: FunctionCall, args: Sql) -> str:
    """Digits of base {1} (2 to 36) as base {2}; a negative target base means a signed result. Reads up to 64 bits."""
    x, source, target = args
    text = f"upper(trim({x}))"
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    valid = (
        f"left(ltrim({text}, '-'), CAST(len(list_filter(range(1, length(ltrim({text}, '-')) + 1), lambda _i: "
        f"_i = 1 + len(list_filter(range(1, _i), lambda _j: "
        f"strpos(left('{digits}', {source}), ltrim({text}, '-')[_j]) > 0)) "
        f"AND strpos(left('{digits}', {source}), ltrim({text}, '-')[_i]) > 0)) AS BIGINT))"
    )
    number = (
        f"list_reduce(list_prepend(0::UHUGEINT, list_transform(string_split({valid}, ''), lambda _c: "
        f"CAST(strpos('{digits}', _c) - 1 AS UHUGEINT))), "
        f"lambda _a, _d: least(_a * CAST({source} AS UHUGEINT) + _d, {(1 << 64) - 1}::UHUGEINT))"
    )
    signed = f"CAST({number} AS HUGEINT)"
    negative = f"starts_with({text}, '-')"
    bits = f"CASE WHEN {negative} THEN ({(1 << 64)}::HUGEINT - {signed}) & {(1 << 64) - 1}::HUGEINT ELSE {signed} END"
    as_signed = wrapped(bits, 64)
    base = f"abs({target})"
    magnitude = f"CASE WHEN {target} < 0 THEN abs(CAST({as_signed} AS HUGEINT)) ELSE {bits} END"
    shown = (
        f"list_reduce(list_prepend({{'n': {magnitude}, 's': ''}}, list_transform(range(64), lambda _i: "
        f"{{'n': 0::HUGEINT, 's': ''}})), lambda _a, _b: CASE WHEN _a.n = 0 THEN _a ELSE "
        f"{{'n': _a.n // {base}, 's': substr('{digits}', CAST(_a.n % {base} AS BIGINT) + 1, 1) || _a.s}} END).s"
    )
    sign = f"CASE WHEN {target} < 0 AND {as_signed} < 0 THEN '-' ELSE '' END"
    return (
        f"CASE WHEN {source} NOT BETWEEN 2 AND 36 OR {base} NOT BETWEEN 2 AND 36 OR {text} = '' THEN NULL "
        f"WHEN length({valid}) = 0 OR {bits} = 0 THEN '0' ELSE {sign} || {shown} END"
    )


def _lower_factorial(ctx: LoweringContext, call: FunctionCall, args: Sql) -> str:
    return f"CASE WHEN {args[0]} BETWEEN 0 AND 20 THEN CAST(factorial({args[0]}) AS BIGINT) END"


def _lower_bit_count(ctx: LoweringContext, call: FunctionCall, args: Sql) -> str:
    t = dtype_of(call.args[0])
    if is_boolean(t):
        return f"CAST({args[0]} AS INTEGER)"
    return f"CAST(bit_count(CAST({args[0]} AS BIGINT)) AS INTEGER)"


def _lower_bit_get(ctx: LoweringContext, call: FunctionCall, args: Sql) -> str:
    x, position = args
    bits = integer_bits(dtype_of(call.args[0]))
    return (
        f"CASE WHEN {position} BETWEEN 0 AND {bits - 1} "
        f"THEN CAST((CAST({x} AS BIGINT) >> {position}) & 1 AS TINYINT) "
        f"WHEN {position} IS NOT NULL THEN "
        f"{ctx.error('INVALID_PARAMETER_VALUE.BIT_POSITION_RANGE', call.dtype, functionName=_BIT_GET, parameter=_POS)} END"
    )


_BIT_GET: Final = "'`bit_get`'"
_POS: Final = "'`pos`'"


# --------------------------------------------------------------------------------------------------------- random


def _bind_random(name: str) -> Callable[[BindContext, Args], Expression]:
    def bind(context: BindContext, args: Args) -> Expression:
        check_arity(name, args, 0, 1)
        if args and not isinstance(args[0], Literal):
            raise non_foldable(name, args, 0, "seed", '"INT" or "BIGINT"')
        seed = args[0] if args else Literal(random.getrandbits(63), LONG)
        return FunctionCall(name, (seed,), DOUBLE, False)

    return bind


def _lower_randn(ctx: LoweringContext, call: FunctionCall, args: Sql) -> str:
    return "(sqrt(-2.0 * ln(1.0 - random())) * cos(2 * pi() * random()))"


def _bind_uniform(context: BindContext, args: Args) -> Expression:
    check_arity("uniform", args, 2, 3)
    both_integral = all(is_integral(dtype_of(a)) for a in args[:2])
    target = LONG if both_integral and LONG in [dtype_of(a) for a in args[:2]] else INT if both_integral else DOUBLE
    coerced = tuple(coerce(a, target, context) for a in args[:2])
    return FunctionCall("uniform", coerced, target, False)


def _lower_uniform(ctx: LoweringContext, call: FunctionCall, args: Sql) -> str:
    low, high = args
    drawn = f"{low} + random() * ({high} - {low})"
    return f"({drawn})" if call.dtype == DOUBLE else f"CAST(floor({drawn}) AS {type_sql(call.dtype)})"


def _lower_width_bucket(ctx: LoweringContext, call: FunctionCall, args: Sql) -> str:
    v, low, high, n = args
    up = f"floor({n} * ({v} - {low}) / ({high} - {low})) + 1"
    down = f"floor({n} * ({low} - {v}) / ({low} - {high})) + 1"
    return (
        f"CASE WHEN {n} <= 0 OR {low} = {high} OR isnan({v}) THEN NULL "
        f"WHEN {low} < {high} THEN CASE WHEN {v} < {low} THEN 0 WHEN {v} >= {high} THEN {n} + 1 "
        f"ELSE CAST({up} AS BIGINT) END "
        f"ELSE CASE WHEN {v} > {low} THEN 0 WHEN {v} <= {high} THEN {n} + 1 ELSE CAST({down} AS BIGINT) END END"
    )


def _lower_log(ctx: LoweringContext, call: FunctionCall, args: Sql) -> str:
    if len(args) == 1:
        return f"CASE WHEN {args[0]} > 0 THEN ln({args[0]}) END"
    base, x = args
    return f"CASE WHEN {base} > 0 AND {x} > 0 THEN ln({x}) / ln({base}) END"


HEXABLE: Final = Family(
    '("BIGINT" or "BINARY" or "STRING")',
    lambda t: is_string(t) or is_binary(t) or t == LONG,
    LONG,
    (LONG, STRING),
)
BITS: Final = Family('("INTEGRAL" or "BOOLEAN")', lambda t: is_integral(t) or is_boolean(t), LONG)
WHOLE: Final = Family('"INTEGRAL"', is_integral, LONG, (LONG,))


FUNCTIONS: Final[tuple[CatalogueEntry, ...]] = (
    simple("abs", (NUMERIC_OR_INTERVAL,), same_as(0), _lower_abs),
    simple("sign", (NUMERIC_OR_INTERVAL,), DOUBLE, _lower_sign, aliases=("signum",), nullable=True),
    ScalarFunction("round", _bind_round("round"), _lower_round("round")),
    ScalarFunction("bround", _bind_round("bround"), _lower_round("bround")),
    ScalarFunction("ceil", _bind_round("ceil"), _lower_whole("ceil"), ("ceiling",)),
    ScalarFunction("floor", _bind_round("floor"), _lower_whole("floor")),
    _double("rint", "CASE WHEN isfinite({0}) THEN round_even({0}, 0) ELSE {0} END"),
    _double("sqrt", "CASE WHEN {0} < 0 THEN 'nan'::DOUBLE ELSE sqrt({0}) END"),
    _double("cbrt", "cbrt({0})"),
    _double("exp", "exp({0})"),
    _double("expm1", "CASE WHEN abs({0}) < 1e-5 THEN {0} + {0} * {0} / 2 + {0} * {0} * {0} / 6 ELSE exp({0}) - 1 END"),
    _double("ln", "CASE WHEN {0} > 0 THEN ln({0}) END"),
    simple("log", (DOUBLE, DOUBLE), DOUBLE, _lower_log, optional=1, nullable=True),
    _double("log10", "CASE WHEN {0} > 0 THEN log10({0}) END"),
    _double("log2", "CASE WHEN {0} > 0 THEN ln({0}) / ln(2.0::DOUBLE) END"),
    _double(
        "log1p",
        "CASE WHEN {0} > -1 THEN CASE WHEN abs({0}) < 1e-5 THEN {0} - {0} * {0} / 2 + {0} * {0} * {0} / 3 "
        "ELSE ln(1 + {0}) END END",
    ),
    _two("pow", "power({0}, {1})", "power"),
    _two("hypot", "sqrt({0} * {0} + {1} * {1})"),
    _two("atan2", "atan2({0}, {1})"),
    _double("sin", "CASE WHEN isfinite({0}) THEN sin({0}) WHEN {0} IS NOT NULL THEN 'nan'::DOUBLE END"),
    _double("cos", "CASE WHEN isfinite({0}) THEN cos({0}) WHEN {0} IS NOT NULL THEN 'nan'::DOUBLE END"),
    _double("tan", "CASE WHEN isfinite({0}) THEN tan({0}) WHEN {0} IS NOT NULL THEN 'nan'::DOUBLE END"),
    _double(
        "cot",
        "CASE WHEN {0} = 0 THEN 'inf'::DOUBLE "
        "WHEN isfinite({0}) THEN 1 / tan({0}) WHEN {0} IS NOT NULL THEN 'nan'::DOUBLE END",
    ),
    _double("sec", "(1 / cos({0}))"),
    _double("csc", "(1 / sin({0}))"),
    _double("asin", "CASE WHEN abs({0}) <= 1 THEN asin({0}) WHEN {0} IS NOT NULL THEN 'nan'::DOUBLE END"),
    _double("acos", "CASE WHEN abs({0}) <= 1 THEN acos({0}) WHEN {0} IS NOT NULL THEN 'nan'::DOUBLE END"),
    _double("atan", "atan({0})"),
    _double("sinh", "sinh({0})"),
    _double("cosh", "cosh({0})"),
    _double("tanh", "tanh({0})"),
    _double("asinh", "asinh({0})"),
    _double("acosh", "CASE WHEN {0} >= 1 THEN acosh({0}) WHEN {0} IS NOT NULL THEN 'nan'::DOUBLE END"),
    _double("atanh", "CASE WHEN abs({0}) <= 1 THEN atanh({0}) WHEN {0} IS NOT NULL THEN 'nan'::DOUBLE END"),
    _double("degrees", "degrees({0})"),
    _double("radians", "radians({0})"),
    simple("pi", (), DOUBLE, "pi()", nullable=False),
    simple("e", (), DOUBLE, "exp(1.0::DOUBLE)", nullable=False),
    simple("factorial", (INT,), LONG, _lower_factorial, nullable=True),
    simple("hex", (HEXABLE,), STRING, _lower_hex),
    simple("unhex", (STRING,), BINARY, _lower_unhex, nullable=True),
    simple("bin", (LONG,), STRING, _lower_bin),
    simple("conv", (STRING, INT, INT), STRING, _lower_conv, nullable=True),
    simple("bit_count", (BITS,), INT, _lower_bit_count),
    ScalarFunction("rand", _bind_random("rand"), lambda ctx, call, args: "random()", ("random",), False),
    ScalarFunction("randn", _bind_random("randn"), _lower_randn, (), False),
    ScalarFunction("uniform", _bind_uniform, _lower_uniform, (), False),
    simple("width_bucket", (DOUBLE, DOUBLE, DOUBLE, LONG), LONG, _lower_width_bucket, nullable=True),
    simple("bit_get", (WHOLE, INT), BYTE, _lower_bit_get, aliases=("getbit",)),
)
