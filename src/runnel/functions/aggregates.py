"""Aggregate functions of one column, in the three forms that streaming needs: partial, merge, final.

Buffers have Spark's fields, types and meaning wherever Spark's own buffer is a row of plain values (count, sum, avg,
min, max, first, last, max_by, bit_*, …). Where Spark keeps an opaque binary (collect_*, percentile, mode, HyperLogLog)
the buffer is an array of the values themselves. The statistical ones are in `moments.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from pyspark.sql.types import ArrayType, DataType, DayTimeIntervalType, DecimalType, YearMonthIntervalType

from runnel.errors import AnalysisError, unsupported
from runnel.functions import decimal_sql
from runnel.functions.aggregate_parts import Over, aggregate, both, either, literal_value, one_of
from runnel.functions.arithmetic import wrapped
from runnel.functions.casts import type_sql
from runnel.functions.operators import sort_key
from runnel.functions.registry import BindContext, Buffer, CatalogueEntry, LoweringContext, Refused
from runnel.functions.typing import (
    BOOLEAN,
    DAY_TIME,
    DOUBLE,
    INT,
    INTEGRAL,
    LONG,
    NUMERIC,
    NUMERIC_OR_INTERVAL,
    STRING,
    STRING_OR_BINARY,
    YEAR_MONTH,
    Family,
    bounded_decimal,
    call_text,
    check_arity,
    coerce_arguments,
    decimal_result,
    is_day_time,
    is_decimal,
    is_integral,
    is_interval,
    is_orderable,
    is_year_month,
    non_foldable,
)
from runnel.plan.expressions import AggregateCall, Expression, Literal, UnresolvedStar, dtype_of

Args = tuple[Expression, ...]
Field = Callable[[str], str]


# ---------------------------------------------------------------------------------------------------------- count


def _bind_count(context: BindContext, args: Args) -> AggregateCall:
    if not args:
        check_arity("count", args, 1, -1)
    kept = tuple(a for a in args if not _always_there(a))
    return AggregateCall("count", kept if not all(map(_always_there, args)) else (), LONG, False)


def _always_there(argument: Expression) -> bool:
    if isinstance(argument, UnresolvedStar):
        return True
    return isinstance(argument, Literal) and argument.value is not None


def _count_fields(ctx: LoweringContext, call: AggregateCall, args: tuple[str, ...], over: Over) -> tuple[Buffer, ...]:
    if not args:
        partial = over("count", "*")
    elif len(args) == 1:
        partial = over("count", args[0])
    else:
        present = " AND ".join(f"({a}) IS NOT NULL" for a in args)
        partial = over("count", f"row({', '.join(args)})" if over.distinct else "*", where=present)
    return (Buffer("count", LONG, partial, lambda old, new: either("+", old("count"), new("count"))),)


def _count_if_fields(
    ctx: LoweringContext, call: AggregateCall, args: tuple[str, ...], over: Over
) -> tuple[Buffer, ...]:
    partial = over("count", f"CASE WHEN {args[0]} THEN TRUE END")
    return (Buffer("count", LONG, partial, lambda old, new: either("+", old("count"), new("count"))),)


def _final_count(ctx: LoweringContext, call: AggregateCall, field: Field) -> str:
    return f"COALESCE({field('count')}, 0::BIGINT)"


# ----------------------------------------------------------------------------------------------------------- sum


def _sum_type(t: DataType) -> DataType:
    match t:
        case DecimalType(precision=precision, scale=scale):
            return bounded_decimal(precision + 10, scale)
        case DayTimeIntervalType() | YearMonthIntervalType():
            return t
        case _:
            return LONG if is_integral(t) else DOUBLE


def _bind_sum(name: str) -> Callable[[BindContext, Args], AggregateCall]:
    def bind(context: BindContext, args: Args) -> AggregateCall:
        check_arity(name, args, 1)
        args = coerce_arguments(name, args, (NUMERIC_OR_INTERVAL,), context)
        return AggregateCall(name, args, _sum_type(dtype_of(args[0])), True)

    return bind


_WIDE_SUM: Final = DecimalType(38, 0)


def _sum_fields(ctx: LoweringContext, call: AggregateCall, args: tuple[str, ...], over: Over) -> tuple[Buffer, ...]:
    source, result = dtype_of(call.args[0]), call.dtype
    tried = call.name == "try_sum"
    if isinstance(result, DecimalType):
        # as Spark: a sum that is null although not empty has overflowed
        cast = "TRY_CAST" if tried or not ctx.ansi else "CAST"
        total = f"{cast}({over('sum', args[0])} AS {type_sql(result)})"

        def merge_decimal(old: Field, new: Field) -> str:
            fit = decimal_sql.fit(f"({old('sum')} + {new('sum')})", result, null_on_overflow=tried or not ctx.ansi)
            return (
                f"CASE WHEN COALESCE({old('isEmpty')}, TRUE) THEN {new('sum')} "
                f"WHEN COALESCE({new('isEmpty')}, TRUE) THEN {old('sum')} ELSE {fit} END"
            )

        return (
            Buffer("sum", result, total, merge_decimal),
            Buffer(
                "isEmpty",
                BOOLEAN,
                f"({over('count', args[0])} = 0)",
                lambda old, new: f"(COALESCE({old('isEmpty')}, TRUE) AND COALESCE({new('isEmpty')}, TRUE))",
            ),
        )
    if result == DOUBLE:
        partial = over("sum", f"CAST({args[0]} AS DOUBLE)")
        return (Buffer("sum", DOUBLE, partial, lambda old, new: either("+", old("sum"), new("sum"))),)
    if tried and is_integral(source):
        partial = f"CAST({over('sum', args[0])} AS DECIMAL(38,0))"
        return (Buffer("sum", _WIDE_SUM, partial, lambda old, new: either("+", old("sum"), new("sum"))),)
    if ctx.ansi or is_interval(source):
        total = over("sum", args[0])
        overflow = ctx.error(
            "ARITHMETIC_OVERFLOW",
            result,
            message="'long overflow'",
            alternative="''",
            config="chr(34) || 'spark.sql.ansi.enabled' || chr(34)",
        )
        partial = (
            f"COALESCE(TRY_CAST({total} AS {type_sql(result)}), CASE WHEN {total} IS NOT NULL THEN {overflow} END)"
        )
        return (Buffer("sum", result, partial, lambda old, new: either("+", old("sum"), new("sum"))),)
    partial = wrapped(over("sum", args[0]), 64)

    def merge_wrapping(old: Field, new: Field) -> str:
        total = wrapped(f"CAST({old('sum')} AS HUGEINT) + CAST({new('sum')} AS HUGEINT)", 64)
        return f"COALESCE({total}, {old('sum')}, {new('sum')})"

    return (Buffer("sum", LONG, partial, merge_wrapping),)


def _final_sum(ctx: LoweringContext, call: AggregateCall, field: Field) -> str:
    if call.name == "try_sum" and call.dtype == LONG:
        return f"TRY_CAST({field('sum')} AS BIGINT)"
    return field("sum")


# ----------------------------------------------------------------------------------------------------------- avg


def _bind_avg(name: str) -> Callable[[BindContext, Args], AggregateCall]:
    def bind(context: BindContext, args: Args) -> AggregateCall:
        check_arity(name, args, 1)
        args = coerce_arguments(name, args, (NUMERIC_OR_INTERVAL,), context)
        match dtype_of(args[0]):
            case DecimalType(precision=precision, scale=scale):
                result: DataType = bounded_decimal(precision + 4, scale + 4)
            case t if is_day_time(t):
                result = DAY_TIME
            case t if is_year_month(t):
                result = YEAR_MONTH
            case _:
                result = DOUBLE
        return AggregateCall(name, args, result, True)

    return bind


def _avg_sum_type(t: DataType) -> DataType:
    return _sum_type(t) if is_decimal(t) or is_interval(t) else DOUBLE


def _avg_fields(ctx: LoweringContext, call: AggregateCall, args: tuple[str, ...], over: Over) -> tuple[Buffer, ...]:
    kept = _avg_sum_type(dtype_of(call.args[0]))
    cast = "TRY_CAST" if call.name == "try_avg" or not ctx.ansi else "CAST"
    if kept == DOUBLE:
        total = over("sum", f"CAST({args[0]} AS DOUBLE)")
    else:
        total = f"{cast}({over('sum', args[0])} AS {type_sql(kept)})"
    return (
        Buffer("sum", kept, total, lambda old, new: either("+", old("sum"), new("sum"))),
        Buffer("count", LONG, over("count", args[0]), lambda old, new: either("+", old("count"), new("count"))),
    )


def _final_avg(ctx: LoweringContext, call: AggregateCall, field: Field) -> str:
    total, count = field("sum"), field("count")
    source = dtype_of(call.args[0])
    if isinstance(call.dtype, DecimalType):
        kept = _avg_sum_type(source)
        assert isinstance(kept, DecimalType)
        counted = DecimalType(20, 0)
        lenient = call.name == "try_avg" or not ctx.ansi
        between = decimal_result("/", kept, counted)
        quotient = decimal_sql.divide(total, kept, f"CAST({count} AS DECIMAL(20,0))", counted, between, False)
        return decimal_sql.fit(quotient, call.dtype, lenient)
    if is_interval(call.dtype):
        # half-up, on whole numbers
        half = f"(({total} * 2 + CASE WHEN {total} < 0 THEN -{count} ELSE {count} END) // ({count} * 2))"
        return f"CASE WHEN {count} > 0 THEN CAST({half} AS {type_sql(call.dtype)}) END"
    return f"CASE WHEN {count} > 0 THEN {total} / CAST({count} AS DOUBLE) END"


# ------------------------------------------------------------------------------------- extremes, first, last, bits


def _bind_extreme(name: str) -> Callable[[BindContext, Args], AggregateCall]:
    def bind(context: BindContext, args: Args) -> AggregateCall:
        check_arity(name, args, 1)
        if not is_orderable(dtype_of(args[0])):
            raise AnalysisError(
                "DATATYPE_MISMATCH.INVALID_ORDERING_TYPE",
                {
                    "functionName": f"`{name}`",
                    "dataType": f'"{dtype_of(args[0]).simpleString().upper()}"',
                    "sqlExpr": call_text(name, args),
                },
            )
        return AggregateCall(name, args, dtype_of(args[0]), True)

    return bind


def _single(
    field_name: str, function: str, merge: Callable[[str, str], str]
) -> Callable[[LoweringContext, AggregateCall, tuple[str, ...], Over], tuple[Buffer, ...]]:
    """One buffer field with the result's type, whose partial is a DuckDB aggregate of the first argument."""

    def fields(ctx: LoweringContext, call: AggregateCall, args: tuple[str, ...], over: Over) -> tuple[Buffer, ...]:
        partial = over(function, args[0])
        return (Buffer(field_name, call.dtype, partial, lambda old, new: merge(old(field_name), new(field_name))),)

    return fields


def _extreme_fields(
    name: str, symbol: str
) -> Callable[[LoweringContext, AggregateCall, tuple[str, ...], Over], tuple[Buffer, ...]]:
    def fields(ctx: LoweringContext, call: AggregateCall, args: tuple[str, ...], over: Over) -> tuple[Buffer, ...]:
        def merge(old: Field, new: Field) -> str:
            a, b = old(name), new(name)
            later = f"{sort_key(b, call.dtype)} {symbol} {sort_key(a, call.dtype)}"
            return f"CASE WHEN {a} IS NULL OR {later} THEN COALESCE({b}, {a}) ELSE {a} END"

        return (Buffer(name, call.dtype, _extreme_sql(over, name, args[0], call.dtype), merge),)

    return fields


def _extreme_sql(over: Over, name: str, sql: str, dtype: DataType) -> str:
    """SQL of min or max in Spark's order, which puts nulls inside structs and arrays first."""
    key = sort_key(sql, dtype)
    return over(name, sql, distinct=False) if key == sql else over(f"arg_{name}", f"{sql}, {key}", distinct=False)


def _bind_position(name: str) -> Callable[[BindContext, Args], AggregateCall]:
    """first, last, any_value: the value, and whether nulls are passed over (a literal; default false)."""

    def bind(context: BindContext, args: Args) -> AggregateCall:
        check_arity(name, args, 1, 2)
        ignore = args[1] if len(args) > 1 else Literal(False, BOOLEAN)
        if not (isinstance(ignore, Literal) and isinstance(ignore.value, bool)):
            raise non_foldable(name, args, 1, "ignoreNulls", '"BOOLEAN"')
        return AggregateCall(name, (args[0], ignore), dtype_of(args[0]), True)

    return bind


def _position_fields(
    earliest: bool,
) -> Callable[[LoweringContext, AggregateCall, tuple[str, ...], Over], tuple[Buffer, ...]]:
    name = "first" if earliest else "last"

    def fields(ctx: LoweringContext, call: AggregateCall, args: tuple[str, ...], over: Over) -> tuple[Buffer, ...]:
        ignoring = literal_value(call.args[1]) is True
        where = f"({args[0]}) IS NOT NULL" if ignoring else ""

        def merge(old: Field, new: Field) -> str:
            if earliest:
                return f"CASE WHEN COALESCE({old('valueSet')}, FALSE) THEN {old(name)} ELSE {new(name)} END"
            return f"CASE WHEN COALESCE({new('valueSet')}, FALSE) THEN {new(name)} ELSE {old(name)} END"

        return (
            Buffer(name, call.dtype, over(name, args[0], where=where), merge),
            Buffer(
                "valueSet",
                BOOLEAN,
                f"({over('count', '*', where=where, distinct=False)} > 0)",
                lambda old, new: f"(COALESCE({old('valueSet')}, FALSE) OR COALESCE({new('valueSet')}, FALSE))",
            ),
        )

    return fields


def _bind_by(name: str) -> Callable[[BindContext, Args], AggregateCall]:
    def bind(context: BindContext, args: Args) -> AggregateCall:
        check_arity(name, args, 2)
        return AggregateCall(name, args, dtype_of(args[0]), True)

    return bind


def _by_fields(
    symbol: str,
) -> Callable[[LoweringContext, AggregateCall, tuple[str, ...], Over], tuple[Buffer, ...]]:
    extreme = "max" if symbol == ">" else "min"

    def fields(ctx: LoweringContext, call: AggregateCall, args: tuple[str, ...], over: Over) -> tuple[Buffer, ...]:
        order, value = "extremumOrdering", "valueWithExtremumOrdering"

        def merge(name: str) -> Callable[[Field, Field], str]:
            # a later row with an equal ordering wins, as in Spark (`>=`)
            return lambda old, new: (
                f"CASE WHEN {old(order)} IS NULL OR {compared(new(order))} {symbol}= {compared(old(order))} "
                f"THEN {new(name)} ELSE {old(name)} END"
            )

        def compared(sql: str) -> str:
            return sort_key(sql, dtype_of(call.args[1]))

        def listed(argument: str) -> str:
            return over("list", argument, distinct=False)

        # DuckDB's arg_max keeps the first of equal orderings, so the last one is looked up by its position.
        top = _extreme_sql(over, extreme, args[1], dtype_of(call.args[1]))
        orders = listed(args[1])
        last = f"len({orders}) - list_position(list_reverse({orders}), {top}) + 1"
        chosen = f"CASE WHEN {top} IS NOT NULL THEN list_extract({listed(args[0])}, {last}) END"
        return (
            Buffer(value, call.dtype, chosen, merge(value)),
            Buffer(order, dtype_of(call.args[1]), top, merge(order)),
        )

    return fields


def _bind_boolean(name: str) -> Callable[[BindContext, Args], AggregateCall]:
    def bind(context: BindContext, args: Args) -> AggregateCall:
        check_arity(name, args, 1)
        args = coerce_arguments(name, args, (BOOLEAN,), context)
        return AggregateCall(name, args, LONG if name == "count_if" else BOOLEAN, name != "count_if")

    return bind


def _bind_bits(name: str) -> Callable[[BindContext, Args], AggregateCall]:
    def bind(context: BindContext, args: Args) -> AggregateCall:
        check_arity(name, args, 1)
        args = coerce_arguments(name, args, (INTEGRAL,), context)
        return AggregateCall(name, args, dtype_of(args[0]), True)

    return bind


def _bind_product(context: BindContext, args: Args) -> AggregateCall:
    check_arity("product", args, 1)
    return AggregateCall("product", coerce_arguments("product", args, (DOUBLE,), context), DOUBLE, True)


# ------------------------------------------------------------------------------------------------- kept as arrays


def _bind_collect(name: str) -> Callable[[BindContext, Args], AggregateCall]:
    def bind(context: BindContext, args: Args) -> AggregateCall:
        check_arity(name, args, 1)
        return AggregateCall(name, args, ArrayType(dtype_of(args[0]), False), False)

    return bind


def _list_fields(
    ctx: LoweringContext, call: AggregateCall, args: tuple[str, ...], over: Over, unique: bool = False
) -> tuple[Buffer, ...]:
    where = f"({args[0]}) IS NOT NULL"
    kept = ArrayType(dtype_of(call.args[0]), False)

    def merge(old: Field, new: Field) -> str:
        joined = f"list_concat({old('buf')}, {new('buf')})"
        return f"list_distinct({joined})" if unique else joined

    listed = over("list", args[0], where=where, distinct=unique or over.distinct)
    return (Buffer("buf", kept, listed, merge),)


def _set_fields(ctx: LoweringContext, call: AggregateCall, args: tuple[str, ...], over: Over) -> tuple[Buffer, ...]:
    return _list_fields(ctx, call, args, over, unique=True)


def _final_list(ctx: LoweringContext, call: AggregateCall, field: Field) -> str:
    return f"COALESCE({field('buf')}, CAST([] AS {type_sql(call.dtype)}))"


def _bind_percentile(name: str) -> Callable[[BindContext, Args], AggregateCall]:
    exact = name != "percentile_approx"

    def bind(context: BindContext, args: Args) -> AggregateCall:
        check_arity(name, args, 2, 3)
        share = args[1]
        single = _constant_shares(share) if not isinstance(dtype_of(share), ArrayType) else None
        if single is None and _constant_shares(share) is None:
            raise non_foldable(name, args, 1, "percentage", '"DOUBLE"')
        if exact and len(args) == 3 and literal_value(args[2]) != 1:
            raise unsupported("percentile with a frequency argument")
        value = coerce_arguments(name, args[:1], (DOUBLE if exact else NUMERIC_DATE_INTERVAL,), context)[0]
        element = DOUBLE if exact else dtype_of(value)
        result = element if single is not None else ArrayType(element, False)
        shares = Literal(_constant_shares(share), ArrayType(DOUBLE, False))
        return AggregateCall(name, (value, shares), result, True)

    return bind


NUMERIC_DATE_INTERVAL: Final = Family(
    '("NUMERIC" or "DATE" or "TIMESTAMP" or "TIMESTAMP_NTZ" or "INTERVAL YEAR TO MONTH" or "INTERVAL DAY TO SECOND")',
    lambda t: NUMERIC.accepts(t) or is_interval(t) or t.typeName() in ("date", "timestamp", "timestamp_ntz"),
    DOUBLE,
)


def _constant_shares(share: Expression) -> tuple[float, ...] | None:
    """A constant percentage, or an array of them, each in [0, 1]."""
    values: list[float]
    found = literal_value(share)
    if isinstance(found, tuple):
        values = [float(v) for v in found if v is not None]
    elif found is not None and not isinstance(found, (str, bool)):
        values = [float(found)]
    else:
        parts = getattr(share, "args", None)
        if not parts or any(literal_value(p) is None for p in parts):
            child = getattr(share, "child", None)
            return _constant_shares(child) if isinstance(child, Expression) else None
        values = [float(str(literal_value(p))) for p in parts]
    for value in values:
        if not 0 <= value <= 1:
            raise AnalysisError(
                "DATATYPE_MISMATCH.VALUE_OUT_OF_RANGE",
                {
                    "exprName": "percentage",
                    "valueRange": "[0.0, 1.0]",
                    "currentValue": f"{value}",
                    "sqlExpr": '"percentile"',
                },
            )
    return tuple(values)


def _final_percentile(function: str) -> Callable[[LoweringContext, AggregateCall, Field], str]:
    def final(ctx: LoweringContext, call: AggregateCall, field: Field) -> str:
        shares = literal_value(call.args[1])
        assert isinstance(shares, tuple)

        def one(share: float) -> str:
            if function == "quantile_cont":
                return f"list_aggregate({field('buf')}, 'quantile_cont', {share!r})"
            values = f"list_sort({field('buf')})"
            position = f"greatest(1, CAST(ceil(len({field('buf')}) * {share!r}::DOUBLE) AS BIGINT))"
            return f"{values}[{position}]"

        if not isinstance(call.dtype, ArrayType):
            return one(shares[0])
        return f"CASE WHEN len({field('buf')}) > 0 THEN [{', '.join(one(s) for s in shares)}] END"

    return final


def _bind_median(context: BindContext, args: Args) -> AggregateCall:
    check_arity("median", args, 1)
    value = coerce_arguments("median", args, (DOUBLE,), context)[0]
    return AggregateCall("median", (value, Literal((0.5,), ArrayType(DOUBLE, False))), DOUBLE, True)


def _bind_mode(context: BindContext, args: Args) -> AggregateCall:
    """The second argument only asks for a certain one among equally frequent values."""
    check_arity("mode", args, 1, 2)
    return AggregateCall("mode", args[:1], dtype_of(args[0]), True)


def _bind_listagg(context: BindContext, args: Args) -> AggregateCall:
    check_arity("listagg", args, 1, 2)
    value = coerce_arguments("listagg", args[:1], (STRING_OR_BINARY,), context)[0]
    delimiter = args[1] if len(args) == 2 else Literal(None, STRING)
    if not isinstance(delimiter, Literal):
        raise non_foldable("listagg", args, 1, "delimiter", '"STRING"')
    return AggregateCall("listagg", (value, delimiter), dtype_of(value), True)


def _final_listagg(ctx: LoweringContext, call: AggregateCall, field: Field) -> str:
    text = str(literal_value(call.args[1]) or "").replace("'", "''")
    return f"CASE WHEN len({field('buf')}) > 0 THEN array_to_string({field('buf')}, '{text}') END"


def _final_mode(ctx: LoweringContext, call: AggregateCall, field: Field) -> str:
    return f"list_aggregate({field('buf')}, 'mode')"


# -------------------------------------------------------------------------------------------- approximate distinct

_DEFAULT_RSD: Final = 0.05


def _bind_approx(context: BindContext, args: Args) -> AggregateCall:
    check_arity("approx_count_distinct", args, 1, 2)
    rsd = literal_value(args[1]) if len(args) == 2 else _DEFAULT_RSD
    if rsd is None:
        raise non_foldable("approx_count_distinct", args, 1, "relativeSD", '"DOUBLE"')
    return AggregateCall("approx_count_distinct", (args[0], Literal(float(str(rsd)), DOUBLE)), LONG, False)


def _precision(call: AggregateCall) -> int:
    """Bits of the register number: three more than Spark's, which makes small counts exact in practice."""
    rsd = literal_value(call.args[1])
    assert isinstance(rsd, float)
    return min(16, max(4, math.ceil(2 * math.log2(1.106 / rsd))) + 3)


def _approx_fields(ctx: LoweringContext, call: AggregateCall, args: tuple[str, ...], over: Over) -> tuple[Buffer, ...]:
    """Registers as an array of `register * 64 + rank`, the highest rank of each register only."""
    bits = _precision(call)
    value = args[0]
    if dtype_of(call.args[0]).typeName() in ("double", "float"):
        value = f"({value} + 0)"  # -0.0 is 0.0
    digest = f"hash({value})"
    rest = f"({digest} & {(1 << (64 - bits)) - 1}::UBIGINT)"
    # rank: leading zeros of the remaining bits, plus one
    used = f"CASE WHEN {rest} = 0 THEN 0 ELSE length(ltrim(CAST(bin({rest}) AS VARCHAR), '0')) END"
    rank = f"CAST({64 - bits + 1} - {used} AS INTEGER)"
    cell = f"(CAST({digest} >> {64 - bits} AS INTEGER) * 64 + {rank})"
    listed = over("list", cell, where=f"({args[0]}) IS NOT NULL", distinct=True)
    kept = ArrayType(INT, False)
    return (
        Buffer(
            "registers",
            kept,
            _highest(listed),
            lambda old, new: _highest(f"list_concat({old('registers')}, {new('registers')})"),
        ),
    )


def _highest(cells: str) -> str:
    """Of each register the cell with the highest rank."""
    ordered = f"[{{'s': list_reverse_sort({cells})}}]"
    kept = "list_filter(_r.s, lambda _c, _i: _i = 1 OR _r.s[_i - 1] // 64 <> _c // 64)"
    return f"list_transform({ordered}, lambda _r: {kept})[1]"


def _final_approx(ctx: LoweringContext, call: AggregateCall, field: Field) -> str:
    size = 1 << _precision(call)
    alpha = 0.7213 / (1 + 1.079 / size)
    cells = field("registers")
    empty = f"({size} - len({cells}))"
    powers = f"COALESCE(list_sum(list_transform({cells}, lambda _c: power(2.0::DOUBLE, -(_c % 64)))), 0)"
    estimate = f"({alpha * size * size}::DOUBLE / ({empty} + {powers}))"
    linear = f"({size}::DOUBLE * ln({size}::DOUBLE / {empty}))"
    return (
        f"CAST(CASE WHEN {cells} IS NULL THEN 0 WHEN {empty} > 0 AND {estimate} <= {2.5 * size}::DOUBLE "
        f"THEN round({linear}) ELSE round({estimate}) END AS BIGINT)"
    )


# --------------------------------------------------------------------------------------------------------- table


def _extreme(name: str, symbol: str) -> CatalogueEntry:
    return aggregate(name, _bind_extreme(name), _extreme_fields(name, symbol), one_of(name))


def _truth(name: str, function: str, symbol: str, *aliases: str) -> CatalogueEntry:
    field = "min" if symbol == "AND" else "max"
    merge = both(symbol)
    return aggregate(name, _bind_boolean(name), _single(field, function, merge), one_of(field), aliases=aliases)


def _bits(name: str, merge: Callable[[str, str], str]) -> CatalogueEntry:
    return aggregate(name, _bind_bits(name), _single(name, name, merge), one_of(name))


def _refused(name: str, why: str) -> Refused:
    return Refused(name, why)


_SKETCH: Final = "its result is a sketch in a binary format of a Java library"

FUNCTIONS: Final[tuple[CatalogueEntry, ...]] = (
    aggregate("count", _bind_count, _count_fields, _final_count),
    aggregate("count_if", _bind_boolean("count_if"), _count_if_fields, _final_count),
    aggregate("sum", _bind_sum("sum"), _sum_fields, _final_sum),
    aggregate("try_sum", _bind_sum("try_sum"), _sum_fields, _final_sum),
    aggregate("avg", _bind_avg("avg"), _avg_fields, _final_avg, aliases=("mean",)),
    aggregate("try_avg", _bind_avg("try_avg"), _avg_fields, _final_avg),
    _extreme("min", "<"),
    _extreme("max", ">"),
    aggregate("first", _bind_position("first"), _position_fields(True), one_of("first"), aliases=("first_value",)),
    aggregate("last", _bind_position("last"), _position_fields(False), one_of("last"), aliases=("last_value",)),
    aggregate("any_value", _bind_position("any_value"), _position_fields(True), one_of("first")),
    aggregate("max_by", _bind_by("max_by"), _by_fields(">"), one_of("valueWithExtremumOrdering")),
    aggregate("min_by", _bind_by("min_by"), _by_fields("<"), one_of("valueWithExtremumOrdering")),
    _truth("bool_and", "bool_and", "AND", "every"),
    _truth("bool_or", "bool_or", "OR", "some", "any"),
    _bits("bit_and", lambda a, b: f"COALESCE({a} & {b}, {a}, {b})"),
    _bits("bit_or", lambda a, b: f"COALESCE({a} | {b}, {a}, {b})"),
    _bits("bit_xor", lambda a, b: f"COALESCE(xor({a}, {b}), {a}, {b})"),
    aggregate(
        "product", _bind_product, _single("product", "product", lambda a, b: either("*", a, b)), one_of("product")
    ),
    aggregate("collect_list", _bind_collect("collect_list"), _list_fields, _final_list, aliases=("array_agg",)),
    aggregate("collect_set", _bind_collect("collect_set"), _set_fields, _final_list),
    aggregate("percentile", _bind_percentile("percentile"), _list_fields, _final_percentile("quantile_cont")),
    aggregate(
        "percentile_approx",
        _bind_percentile("percentile_approx"),
        _list_fields,
        _final_percentile("nearest"),
        aliases=("approx_percentile",),
    ),
    aggregate("median", _bind_median, _list_fields, _final_percentile("quantile_cont")),
    aggregate("mode", _bind_mode, _list_fields, _final_mode),
    aggregate("listagg", _bind_listagg, _list_fields, _final_listagg, aliases=("string_agg",)),
    aggregate("approx_count_distinct", _bind_approx, _approx_fields, _final_approx),
    _refused("histogram_numeric", "its bins depend on the order in which rows arrive"),
    _refused("count_min_sketch", _SKETCH),
    _refused("hll_sketch_agg", _SKETCH),
    _refused("hll_union_agg", _SKETCH),
    _refused("approx_top_k", _SKETCH),
    _refused("bitmap_construct_agg", "bitmaps in Spark's binary layout are not implemented"),
    _refused("bitmap_or_agg", "bitmaps in Spark's binary layout are not implemented"),
    _refused("bitmap_and_agg", "bitmaps in Spark's binary layout are not implemented"),
)
