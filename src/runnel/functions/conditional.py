"""case/when, coalesce and its family, greatest and least, NaN handling, assertions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pyspark.sql.types import DataType

from runnel.errors import AnalysisError
from runnel.functions.casts import type_sql
from runnel.functions.operators import sort_key
from runnel.functions.pretty import pretty_type
from runnel.functions.registry import BindContext, CatalogueEntry, LoweringContext, ScalarFunction
from runnel.functions.typing import (
    BOOLEAN,
    DOUBLE,
    INT,
    NULL,
    STRING,
    Family,
    call_text,
    check_arity,
    coerce,
    coerce_arguments,
    coerce_to_common,
    common_type,
    common_type_of_all,
    comparison_type,
    data_diff_types,
    is_comparable,
    is_floating,
    is_null,
    is_orderable,
    same_but_for_nulls,
    simple,
    unexpected_input,
)
from runnel.plan.expressions import Expression, FunctionCall, Literal, dtype_of, nullable_of

Args = tuple[Expression, ...]
FLOATING: Final = Family('("DOUBLE" or "FLOAT")', is_floating, DOUBLE, (DOUBLE,))


def _bind_when(context: BindContext, args: Args) -> Expression:
    """Alternating condition and value, then the else value if the number is odd."""
    check_arity("when", args, 2, -1)
    pairs = len(args) // 2
    conditions, values = list(args[0 : 2 * pairs : 2]), list(args[1 : 2 * pairs : 2])
    if len(args) % 2:
        values.append(args[-1])
    for i, condition in enumerate(conditions):
        t = dtype_of(condition)
        if not same_but_for_nulls(t, BOOLEAN):
            raise unexpected_input("when", args, 2 * i, '"BOOLEAN"')
    types = [dtype_of(v) for v in values]
    target: DataType | None = types[0]
    if any(not same_but_for_nulls(t, types[0]) for t in types):
        target = common_type_of_all(types, context.ansi)
    elif any(t != types[0] for t in types):
        for t in types[1:]:
            target = _with_nulls(target, t) if target is not None else None
    if target is None:
        raise data_diff_types("casewhen", tuple(values))
    conditions = [coerce(c, BOOLEAN, context) for c in conditions]
    values = [coerce(v, target, context) for v in values]
    flat: list[Expression] = []
    for condition, value in zip(conditions, values, strict=False):
        flat += [condition, value]
    if len(args) % 2:
        flat.append(values[-1])
    nullable = len(args) % 2 == 0 or any(nullable_of(v) for v in values)
    return FunctionCall("when", tuple(flat), target, nullable)


def _with_nulls(a: DataType, b: DataType) -> DataType | None:
    """The same nested type with the nullability of both."""
    return a if a == b else common_type(a, b)


def _lower_when(ctx: LoweringContext, call: FunctionCall, args: tuple[str, ...]) -> str:
    pairs = len(args) // 2
    branches = " ".join(f"WHEN {args[2 * i]} THEN {args[2 * i + 1]}" for i in range(pairs))
    otherwise = f" ELSE {args[-1]}" if len(args) % 2 else ""
    if is_null(call.dtype):
        return "CAST(NULL AS INTEGER)"
    return f"CASE {branches}{otherwise} END"


def _bind_if(context: BindContext, args: Args) -> Expression:
    check_arity("if", args, 3)
    return _bind_when(context, (coerce(args[0], BOOLEAN) if is_null(dtype_of(args[0])) else args[0], *args[1:]))


def _bind_coalesce(name: str, least: int, most: int) -> Callable[[BindContext, Args], Expression]:
    def bind(context: BindContext, args: Args) -> Expression:
        check_arity(name, args, least, most)
        common = coerce_to_common(args, context)
        if common is None:
            raise data_diff_types(name, args)
        coerced, target = common
        return FunctionCall("coalesce", coerced, target, all(nullable_of(a) for a in coerced))

    return bind


def _bind_nvl2(context: BindContext, args: Args) -> Expression:
    check_arity("nvl2", args, 3)
    present = FunctionCall("isnotnull", (args[0],), BOOLEAN, False)
    return _bind_when(context, (present, args[1], args[2]))


def _bind_nullif(context: BindContext, args: Args) -> Expression:
    check_arity("nullif", args, 2)
    target = comparison_type(dtype_of(args[0]), dtype_of(args[1]), context.ansi)
    if target is None or not is_comparable(target):
        raise data_diff_types("nullif", args)
    compared = tuple(coerce(a, target, context) for a in args)
    equal = FunctionCall("==", compared, BOOLEAN, any(nullable_of(a) for a in compared))
    return _bind_when(context, (equal, Literal(None, dtype_of(args[0])), args[0]))


def _bind_nullifzero(context: BindContext, args: Args) -> Expression:
    check_arity("nullifzero", args, 1)
    return _bind_nullif(context, (args[0], Literal(0, INT)))


def _bind_zeroifnull(context: BindContext, args: Args) -> Expression:
    check_arity("zeroifnull", args, 1)
    return _bind_coalesce("zeroifnull", 2, 2)(context, (args[0], Literal(0, INT)))


def _bind_extreme(name: str) -> Callable[[BindContext, Args], Expression]:
    def bind(context: BindContext, args: Args) -> Expression:
        check_arity(name, args, 2, -1)
        common = coerce_to_common(args, context)
        if common is None:
            raise data_diff_types(name, args)
        coerced, target = common
        if not is_orderable(target):
            raise AnalysisError(
                "DATATYPE_MISMATCH.INVALID_ORDERING_TYPE",
                {
                    "functionName": f"`{name}`",
                    "dataType": pretty_type(target),
                    "sqlExpr": call_text(name, args),
                },
            )
        return FunctionCall(name, coerced, target, all(nullable_of(a) for a in coerced))

    return bind


def _lower_extreme(function: str) -> Callable[[LoweringContext, FunctionCall, tuple[str, ...]], str]:
    def lower(ctx: LoweringContext, call: FunctionCall, args: tuple[str, ...]) -> str:
        if sort_key("x", call.dtype) == "x":
            return f"{function}({', '.join(args)})"
        # nested values: pick by Spark's order, nulls passed over
        pairs = ", ".join(f"{{'k': {sort_key(a, call.dtype)}, 'v': {a}}}" for a in args)
        order = "list_sort" if function == "least" else "list_reverse_sort"
        present = f"list_filter([{pairs}], lambda _p: _p.v IS NOT NULL)"
        return f"{order}({present})[1].v"

    return lower


def _bind_nanvl(context: BindContext, args: Args) -> Expression:
    check_arity("nanvl", args, 2)
    coerced = coerce_arguments("nanvl", args, (FLOATING, FLOATING), context)
    target = DOUBLE if any(dtype_of(a) == DOUBLE for a in coerced) else dtype_of(coerced[0])
    coerced = tuple(coerce(a, target, context) for a in coerced)
    return FunctionCall("nanvl", coerced, target, any(nullable_of(a) for a in coerced))


def _bind_raise_error(context: BindContext, args: Args) -> Expression:
    check_arity("raise_error", args, 1)
    return FunctionCall("raise_error", coerce_arguments("raise_error", args, (STRING,), context), NULL, True)


def _lower_raise_error(ctx: LoweringContext, call: FunctionCall, args: tuple[str, ...]) -> str:
    message = f"COALESCE({args[0]}, 'null')"
    return ctx.error("USER_RAISED_EXCEPTION", call.dtype, errorMessage=message)


def _bind_assert_true(context: BindContext, args: Args) -> Expression:
    check_arity("assert_true", args, 1, 2)
    message: Expression = Literal(f"{call_text('', args[:1])[2:-2]!r} is not true!", STRING)
    if len(args) == 2:
        message = coerce(args[1], STRING, context)
    condition = coerce_arguments("assert_true", args[:1], (BOOLEAN,), context)[0]
    return FunctionCall("assert_true", (condition, message), NULL, True)


def _lower_assert_true(ctx: LoweringContext, call: FunctionCall, args: tuple[str, ...]) -> str:
    raised = ctx.error("USER_RAISED_EXCEPTION", call.dtype, errorMessage=args[1])
    return f"CASE WHEN {args[0]} THEN CAST(NULL AS {type_sql(call.dtype)}) ELSE {raised} END"


FUNCTIONS: Final[tuple[CatalogueEntry, ...]] = (
    ScalarFunction("when", _bind_when, _lower_when, ("case",)),
    ScalarFunction("if", _bind_if),
    ScalarFunction(
        "coalesce", _bind_coalesce("coalesce", 1, -1), lambda ctx, call, args: f"COALESCE({', '.join(args)})"
    ),
    ScalarFunction("ifnull", _bind_coalesce("ifnull", 2, 2), None, ("nvl",)),
    ScalarFunction("nvl2", _bind_nvl2),
    ScalarFunction("nullif", _bind_nullif),
    ScalarFunction("nullifzero", _bind_nullifzero),
    ScalarFunction("zeroifnull", _bind_zeroifnull),
    ScalarFunction("greatest", _bind_extreme("greatest"), _lower_extreme("greatest")),
    ScalarFunction("least", _bind_extreme("least"), _lower_extreme("least")),
    simple("isnan", (FLOATING,), BOOLEAN, "COALESCE(isnan({0}), FALSE)", nullable=False),
    ScalarFunction(
        "nanvl",
        _bind_nanvl,
        lambda ctx, call, args: f"CASE WHEN isnan({args[0]}) THEN {args[1]} ELSE {args[0]} END",
    ),
    ScalarFunction("raise_error", _bind_raise_error, _lower_raise_error, deterministic=False),
    ScalarFunction("assert_true", _bind_assert_true, _lower_assert_true, deterministic=False),
)
