"""Statistical aggregates on Spark's own buffers: central moments (n, avg, m2, m3, m4) and co-moments.

Merging follows the pairwise update of Chan et al. that Spark uses, so a stored state means the same in both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from runnel.functions.aggregate_parts import Over, aggregate
from runnel.functions.registry import BindContext, Buffer, CatalogueEntry, LoweringContext
from runnel.functions.typing import DOUBLE, LONG, check_arity, coerce_arguments
from runnel.plan.expressions import AggregateCall, Expression

Args = tuple[Expression, ...]
Field = Callable[[str], str]
Merge = Callable[[Field, Field], str]


def _binder(name: str, arity: int) -> Callable[[BindContext, Args], AggregateCall]:
    def bind(context: BindContext, args: Args) -> AggregateCall:
        check_arity(name, args, arity)
        result = LONG if name == "regr_count" else DOUBLE
        nullable = name != "regr_count"
        return AggregateCall(name, coerce_arguments(name, args, (DOUBLE,), context), result, nullable)

    return bind


def _guarded(name: str, formula: Merge) -> Merge:
    """The formula where both sides have rows, else the side that has."""

    def merge(old: Field, new: Field) -> str:
        return (
            f"CASE WHEN COALESCE({new('n')}, 0) = 0 THEN {old(name)} WHEN COALESCE({old('n')}, 0) = 0 "
            f"THEN {new(name)} ELSE {formula(old, new)} END"
        )

    return merge


def _delta(old: Field, new: Field, mean: str) -> str:
    return f"({new(mean)} - {old(mean)})"


def _total(old: Field, new: Field) -> str:
    return f"({old('n')} + {new('n')})"


def _merge_n(old: Field, new: Field) -> str:
    return _total(old, new)


def _merge_mean(mean: str) -> Merge:
    return lambda old, new: f"({old(mean)} + {_delta(old, new, mean)} / {_total(old, new)} * {new('n')})"


def _merge_product(name: str, x: str, y: str) -> Merge:
    """Sum of products of the deviations of two means' variables (or of one with itself)."""
    return lambda old, new: (
        f"({old(name)} + {new(name)} + {_delta(old, new, x)} * {_delta(old, new, y)} "
        f"* {old('n')} * {new('n')} / {_total(old, new)})"
    )


def _merge_m3(old: Field, new: Field) -> str:
    delta, n = _delta(old, new, "avg"), _total(old, new)
    a, b = old("n"), new("n")
    return (
        f"({old('m3')} + {new('m3')} + power({delta}, 3) / ({n} * {n}) * {a} * {b} * ({a} - {b})"
        f" + 3 * {delta} / {n} * ({a} * {new('m2')} - {b} * {old('m2')}))"
    )


def _merge_m4(old: Field, new: Field) -> str:
    delta, n = _delta(old, new, "avg"), _total(old, new)
    a, b = old("n"), new("n")
    return (
        f"({old('m4')} + {new('m4')}"
        f" + power({delta}, 4) / power({n}, 3) * {a} * {b} * ({a} * {a} - {a} * {b} + {b} * {b})"
        f" + 6 * {delta} * {delta} / ({n} * {n}) * ({a} * {a} * {new('m2')} + {b} * {b} * {old('m2')})"
        f" + 4 * {delta} / {n} * ({a} * {new('m3')} - {b} * {old('m3')}))"
    )


def _deviations(x: str, over: Over, power: int) -> str:
    """Sum of the powers of the deviations from the mean, in two passes over the group's values."""
    listed = f"[{{'l': {over('list', x)}, 'a': {over('avg', x)}}}]"
    summed = f"list_sum(list_transform(_g.l, lambda _v: power(_v - _g.a, {power})))"
    return f"COALESCE(list_transform({listed}, lambda _g: {summed})[1], 0.0::DOUBLE)"


def _moments(order: int) -> Callable[[LoweringContext, AggregateCall, tuple[str, ...], Over], tuple[Buffer, ...]]:
    def fields(ctx: LoweringContext, call: AggregateCall, args: tuple[str, ...], over: Over) -> tuple[Buffer, ...]:
        x = args[0]
        count = f"CAST({over('count', x)} AS DOUBLE)"
        square = f"COALESCE({over('var_pop', x)} * {count}, 0.0::DOUBLE)" if order == 2 else _deviations(x, over, 2)
        result = [
            Buffer("n", DOUBLE, count, _guarded("n", _merge_n)),
            Buffer("avg", DOUBLE, f"COALESCE({over('avg', x)}, 0.0::DOUBLE)", _guarded("avg", _merge_mean("avg"))),
            Buffer("m2", DOUBLE, square, _guarded("m2", _merge_product("m2", "avg", "avg"))),
        ]
        if order >= 3:
            result.append(Buffer("m3", DOUBLE, _deviations(x, over, 3), _guarded("m3", _merge_m3)))
        if order >= 4:
            result.append(Buffer("m4", DOUBLE, _deviations(x, over, 4), _guarded("m4", _merge_m4)))
        return tuple(result)

    return fields


def _co_moments(ctx: LoweringContext, call: AggregateCall, args: tuple[str, ...], over: Over) -> tuple[Buffer, ...]:
    """n, xAvg, yAvg, ck, xMk, yMk over the rows where both arguments are there."""
    x, y = args
    where = f"({x}) IS NOT NULL AND ({y}) IS NOT NULL"

    def part(function: str, arguments: str) -> str:
        return over(function, arguments, where=where, distinct=False)

    count = f"CAST({part('count', '*')} AS DOUBLE)"
    zero = "0.0::DOUBLE"
    return (
        Buffer("n", DOUBLE, count, _guarded("n", _merge_n)),
        Buffer("xAvg", DOUBLE, f"COALESCE({part('avg', x)}, {zero})", _guarded("xAvg", _merge_mean("xAvg"))),
        Buffer("yAvg", DOUBLE, f"COALESCE({part('avg', y)}, {zero})", _guarded("yAvg", _merge_mean("yAvg"))),
        Buffer(
            "ck",
            DOUBLE,
            f"COALESCE({part('covar_pop', f'{y}, {x}')} * {count}, {zero})",
            _guarded("ck", _merge_product("ck", "xAvg", "yAvg")),
        ),
        Buffer(
            "xMk",
            DOUBLE,
            f"COALESCE({part('var_pop', x)} * {count}, {zero})",
            _guarded("xMk", _merge_product("xMk", "xAvg", "xAvg")),
        ),
        Buffer(
            "yMk",
            DOUBLE,
            f"COALESCE({part('var_pop', y)} * {count}, {zero})",
            _guarded("yMk", _merge_product("yMk", "yAvg", "yAvg")),
        ),
    )


def _final(template: str) -> Callable[[LoweringContext, AggregateCall, Field], str]:
    """A formula over the fields, written with `{n}`, `{m2}` …; null wherever no WHEN matches."""

    class _Fields(dict[str, str]):
        def __init__(self, field: Field) -> None:
            super().__init__()
            self._field = field

        def __missing__(self, key: str) -> str:
            return f"({self._field(key)})"

    return lambda ctx, call, field: template.format_map(_Fields(field))


def _moment(name: str, order: int, template: str, *aliases: str) -> CatalogueEntry:
    return aggregate(name, _binder(name, 1), _moments(order), _final(template), aliases=aliases)


def _pair(name: str, template: str) -> CatalogueEntry:
    return aggregate(name, _binder(name, 2), _co_moments, _final(template))


# regr_*(y, x): the first argument is the dependent variable, so x below is it and y the independent one
FUNCTIONS: Final[tuple[CatalogueEntry, ...]] = (
    _moment("stddev_pop", 2, "CASE WHEN {n} > 0 THEN sqrt({m2} / {n}) END"),
    _moment("stddev_samp", 2, "CASE WHEN {n} > 1 THEN sqrt({m2} / ({n} - 1)) END", "stddev", "std"),
    _moment("var_pop", 2, "CASE WHEN {n} > 0 THEN {m2} / {n} END"),
    _moment("var_samp", 2, "CASE WHEN {n} > 1 THEN {m2} / ({n} - 1) END", "variance"),
    _moment("skewness", 3, "CASE WHEN {n} > 0 AND {m2} <> 0 THEN sqrt({n}) * {m3} / sqrt({m2} * {m2} * {m2}) END"),
    _moment("kurtosis", 4, "CASE WHEN {n} > 0 AND {m2} <> 0 THEN {n} * {m4} / ({m2} * {m2}) - 3.0::DOUBLE END"),
    _pair("covar_pop", "CASE WHEN {n} > 0 THEN {ck} / {n} END"),
    _pair("covar_samp", "CASE WHEN {n} > 1 THEN {ck} / ({n} - 1) END"),
    _pair("corr", "CASE WHEN {n} > 1 AND {xMk} > 0 AND {yMk} > 0 THEN {ck} / sqrt({xMk} * {yMk}) END"),
    _pair("regr_count", "CAST(COALESCE({n}, 0) AS BIGINT)"),
    _pair("regr_avgy", "CASE WHEN {n} > 0 THEN {xAvg} END"),
    _pair("regr_avgx", "CASE WHEN {n} > 0 THEN {yAvg} END"),
    _pair("regr_sxx", "CASE WHEN {n} > 0 THEN {yMk} END"),
    _pair("regr_syy", "CASE WHEN {n} > 0 THEN {xMk} END"),
    _pair("regr_sxy", "CASE WHEN {n} > 0 THEN {ck} END"),
    _pair("regr_slope", "CASE WHEN {n} > 1 AND {yMk} > 0 THEN {ck} / {yMk} END"),
    _pair("regr_intercept", "CASE WHEN {n} > 1 AND {yMk} > 0 THEN {xAvg} - {ck} / {yMk} * {yAvg} END"),
    _pair(
        "regr_r2",
        "CASE WHEN {n} > 1 AND {yMk} > 0 AND {xMk} = 0 THEN 1.0::DOUBLE "
        "WHEN {n} > 1 AND {yMk} > 0 THEN {ck} * {ck} / ({xMk} * {yMk}) END",
    ),
)
