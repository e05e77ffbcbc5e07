"""Functions that take lambdas: transform, filter, aggregate …

The protocol: analysis resolves a call's other arguments and leaves each lambda as UnresolvedLambda. The entry's `bind`
knows from the other arguments what the lambda's parameters are, and asks `BindContext.resolve_lambda` for the
LambdaFunction (through `resolve`, below). A parameter becomes a LambdaVariable, in SQL the identifier `"<name>#<id>"`; a
LambdaFunction lowers to DuckDB's `lambda "x#1": body`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from pyspark.sql.types import ArrayType, BooleanType, DataType, MapType

from runnel.errors import AnalysisError, internal_error
from runnel.functions.casts import type_sql
from runnel.functions.maps_structs import checked_map, map_key_check
from runnel.functions.pretty import pretty, pretty_type
from runnel.functions.registry import BindContext, CatalogueEntry, LoweringContext, ScalarFunction
from runnel.functions.typing import (
    BOOLEAN,
    INT,
    NULL,
    call_text,
    check_arity,
    coerce,
    common_type,
    is_null,
    is_orderable,
    same_but_for_nulls,
    unexpected_input,
)
from runnel.plan.expressions import (
    Expression,
    FunctionCall,
    LambdaFunction,
    LambdaVariable,
    UnresolvedLambda,
    dtype_of,
    new_expr_id,
    nullable_of,
)

Args = tuple[Expression, ...]
Parameters = Sequence[tuple[DataType, bool]]


# ------------------------------------------------------------------------------------------------------ resolution


def resolve(context: BindContext, argument: Expression, parameters: Parameters, least: int = -1) -> LambdaFunction:
    """The lambda with its body resolved.

    parameters: what the function offers, (type, nullable) each; a lambda may leave out those beyond `least` (by default
        it must take all). Raises INVALID_LAMBDA_FUNCTION_CALL.NUM_ARGS_MISMATCH and .DUPLICATE_ARG_NAMES.
    """
    if isinstance(argument, LambdaFunction):
        return argument
    if not isinstance(argument, UnresolvedLambda):
        # Spark takes a plain expression for a lambda that ignores its parameters.
        return LambdaFunction(argument, tuple(LambdaVariable("_", t, n, new_expr_id()) for t, n in parameters))
    if context.resolve_lambda is None:
        raise internal_error("A lambda where analysis resolves none.")
    given = len(argument.params)
    if not (len(parameters) if least < 0 else least) <= given <= len(parameters):
        raise AnalysisError(
            "INVALID_LAMBDA_FUNCTION_CALL.NUM_ARGS_MISMATCH",
            {"expectedNumArgs": str(given), "actualNumArgs": str(len(parameters) if least < 0 else least)},
        )
    names = [p.lower() for p in argument.params]
    if len(set(names)) < len(names):
        raise AnalysisError(
            "INVALID_LAMBDA_FUNCTION_CALL.DUPLICATE_ARG_NAMES",
            {"args": ", ".join(f"`{n}`" for n in argument.params), "caseSensitiveConfig": '"spark.sql.caseSensitive"'},
        )
    return context.resolve_lambda(argument, tuple(parameters[:given]))


def _array(name: str, args: Args, index: int = 0) -> ArrayType:
    dtype = dtype_of(args[index])
    if is_null(dtype):
        return ArrayType(NULL, True)
    if not isinstance(dtype, ArrayType):
        raise _unexpected(name, args, index, '"ARRAY"')
    return dtype


def _map(name: str, args: Args, index: int = 0) -> MapType:
    dtype = dtype_of(args[index])
    if is_null(dtype):
        return MapType(NULL, NULL, True)
    if not isinstance(dtype, MapType):
        raise _unexpected(name, args, index, '"MAP"')
    return dtype


def _unexpected(name: str, args: Args, index: int, required: str) -> AnalysisError:
    return unexpected_input(name, args, index, required)


def _predicate(name: str, args: Args, context: BindContext, function: LambdaFunction) -> LambdaFunction:
    """The lambda, checked to give a boolean (a null literal is taken for one)."""
    if is_null(function.dtype):
        return LambdaFunction(coerce(function.body, BOOLEAN, context), function.params)
    if not isinstance(function.dtype, BooleanType):
        raise unexpected_input(name, (*args[:-1], function), len(args) - 1, '"BOOLEAN"')
    return function


# ---------------------------------------------------------------------------------------------------------- arrays


def _bind_transform(context: BindContext, args: Args) -> Expression:
    check_arity("transform", args, 2)
    array = _array("transform", args)
    function = resolve(context, args[1], ((array.elementType, array.containsNull), (INT, False)), 1)
    result = ArrayType(function.dtype, function.nullable)
    return FunctionCall("transform", (args[0], function), result, nullable_of(args[0]))


def _bind_filter(context: BindContext, args: Args) -> Expression:
    check_arity("filter", args, 2)
    array = _array("filter", args)
    function = resolve(context, args[1], ((array.elementType, array.containsNull), (INT, False)), 1)
    return FunctionCall("filter", (args[0], _predicate("filter", args, context, function)), array, nullable_of(args[0]))


def _bind_quantifier(name: str) -> Callable[[BindContext, Args], Expression]:
    def bind(context: BindContext, args: Args) -> Expression:
        check_arity(name, args, 2)
        array = _array(name, args)
        function = resolve(context, args[1], ((array.elementType, array.containsNull),))
        function = _predicate(name, args, context, function)
        return FunctionCall(name, (args[0], function), BOOLEAN, nullable_of(args[0]) or function.nullable)

    return bind


def _lambda_parts(context: LoweringContext, call: FunctionCall, index: int) -> tuple[list[str], str]:
    """A lambda argument's parameter identifiers and its body as SQL."""
    function = call.args[index]
    assert isinstance(function, LambdaFunction)
    return [context.lower(p) for p in function.params], context.lower(function.body)


def _indexed(context: LoweringContext, call: FunctionCall) -> str:
    """The lambda of `transform` or `filter`; DuckDB's second parameter counts from 1 as BIGINT, Spark's from 0 as int."""
    function = call.args[1]
    assert isinstance(function, LambdaFunction)
    names, text = _lambda_parts(context, call, 1)
    if len(names) < 2:
        return f"lambda {names[0]}: {text}"
    # The shifted index is bound by an inner one-element list, so that the body may mention it any number of times.
    inner = f"list_transform([CAST(_i{function.params[1].expr_id} - 1 AS INTEGER)], lambda {names[1]}: {text})[1]"
    return f"lambda {names[0]}, _i{function.params[1].expr_id}: {inner}"


def _lower_transform(context: LoweringContext, call: FunctionCall, args: tuple[str, ...]) -> str:
    return f"list_transform({args[0]}, {_indexed(context, call)})"


def _lower_filter(context: LoweringContext, call: FunctionCall, args: tuple[str, ...]) -> str:
    return f"list_filter({args[0]}, {_indexed(context, call)})"


def _lower_exists(context: LoweringContext, call: FunctionCall, args: tuple[str, ...]) -> str:
    """True if any is true, else null if any is null, else false."""
    hits = f"list_transform({args[0]}, {args[1]})"
    return f"CASE WHEN {args[0]} IS NOT NULL THEN list_reduce({hits}, lambda _a, _b: _a OR _b, FALSE) END"


def _lower_forall(context: LoweringContext, call: FunctionCall, args: tuple[str, ...]) -> str:
    hits = f"list_transform({args[0]}, {args[1]})"
    return f"CASE WHEN {args[0]} IS NOT NULL THEN list_reduce({hits}, lambda _a, _b: _a AND _b, TRUE) END"


def _bind_aggregate(context: BindContext, args: Args) -> Expression:
    check_arity("aggregate", args, 3, 4)
    array = _array("aggregate", args)
    zero = args[1]
    accumulator = dtype_of(zero)
    element = (array.elementType, array.containsNull)
    merge = resolve(context, args[2], ((accumulator, True), element))
    if is_null(accumulator) and not is_null(merge.dtype):
        raise unexpected_input("aggregate", (args[0], zero, merge), 2, pretty_type(accumulator))
    if not same_but_for_nulls(merge.dtype, accumulator):
        if type(merge.dtype) is not type(accumulator):
            raise unexpected_input("aggregate", (args[0], zero, merge), 2, pretty_type(accumulator))
        # Decimals of growing precision and structs whose names differ: Spark casts the body to the start's type.
        merge = LambdaFunction(coerce(merge.body, accumulator, context), merge.params)
    if len(args) == 3:
        return FunctionCall("aggregate", (args[0], zero, merge), accumulator, True)
    finish = resolve(context, args[3], ((accumulator, True),))
    return FunctionCall("aggregate", (args[0], zero, merge, finish), finish.dtype, True)


def _lower_aggregate(context: LoweringContext, call: FunctionCall, args: tuple[str, ...]) -> str:
    """A fold. DuckDB's reduce wants one type for elements and accumulator: a pair (a, x) serves for both."""
    array, zero = dtype_of(call.args[0]), dtype_of(call.args[1])
    assert isinstance(array, ArrayType)
    (accumulator, element), merge = _lambda_parts(context, call, 2)
    types = f"STRUCT(a {type_sql(zero)}, x {type_sql(array.elementType)})"
    step = (
        f"list_transform([struct_extract(_p, 'a')], lambda {accumulator}: "
        f"list_transform([struct_extract(_q, 'x')], lambda {element}: {merge})[1])[1]"
    )
    folded = (
        f"struct_extract(list_reduce(list_transform({args[0]}, lambda _e: CAST(row(NULL, _e) AS {types})), "
        f"lambda _p, _q: CAST(row({step}, NULL) AS {types}), CAST(row({args[1]}, NULL) AS {types})), 'a')"
    )
    if len(call.args) == 4:
        (name,), body = _lambda_parts(context, call, 3)
        folded = f"list_transform([{folded}], lambda {name}: {body})[1]"
    return f"CASE WHEN {args[0]} IS NOT NULL THEN {folded} END"


def _bind_zip_with(context: BindContext, args: Args) -> Expression:
    check_arity("zip_with", args, 3)
    left, right = _array("zip_with", args), _array("zip_with", args, 1)
    function = resolve(context, args[2], ((left.elementType, True), (right.elementType, True)))
    result = ArrayType(function.dtype, function.nullable)
    return FunctionCall("zip_with", (*args[:2], function), result, any(nullable_of(a) for a in args[:2]))


def _lower_zip_with(context: LoweringContext, call: FunctionCall, args: tuple[str, ...]) -> str:
    (left, right), body = _lambda_parts(context, call, 2)
    step = (
        f"list_transform([struct_extract_at(_z, 1)], lambda {left}: "
        f"list_transform([struct_extract_at(_z, 2)], lambda {right}: {body})[1])[1]"
    )
    return (
        f"CASE WHEN {args[0]} IS NOT NULL AND {args[1]} IS NOT NULL "
        f"THEN list_transform(list_zip({args[0]}, {args[1]}), lambda _z: {step}) END"
    )


def bind_sorted_by(context: BindContext, args: Args) -> Expression:
    """`array_sort(array, (a, b) -> int)`; without the comparator: see arrays.py."""
    array = _array("array_sort", args)
    element = (array.elementType, array.containsNull)
    function = resolve(context, args[1], (element, element))
    if not same_but_for_nulls(function.dtype, INT):
        raise AnalysisError(
            "DATATYPE_MISMATCH.UNEXPECTED_RETURN_TYPE",
            {
                "functionName": "`lambdafunction`",
                "expectedType": '"INT"',
                "actualType": pretty_type(function.dtype),
                "sqlExpr": call_text("array_sort", (args[0], function)),
            },
        )
    return FunctionCall("array_sort_by", (args[0], function), array, nullable_of(args[0]))


def _lower_sorted_by(context: LoweringContext, call: FunctionCall, args: tuple[str, ...]) -> str:
    """Sorts by rank: how many elements the comparator puts before each (ties by position, so the sort is stable)."""
    (left, right), body = _lambda_parts(context, call, 1)
    missing = context.error(
        "COMPARATOR_RETURNS_NULL", INT, firstValue="CAST(_x AS VARCHAR)", secondValue="CAST(_y AS VARCHAR)"
    )
    order = (
        f"coalesce(list_transform([_y], lambda {left}: list_transform([_x], lambda {right}: {body})[1])[1], {missing})"
    )
    compared = f"list_transform(_all[1], lambda _y, _j: sign({order}) * 2 + sign(_j - _i))"
    before = f"len(list_filter({compared}, lambda _c: _c < 0))"
    ranks = f"list_transform(_all[1], lambda _x, _i: {before})"
    return f"list_transform([[{args[0]}]], lambda _all: list_select(_all[1], list_grade_up({ranks})))[1]"


# ------------------------------------------------------------------------------------------------------------ maps


def _bind_map_function(
    name: str, result: Callable[[MapType, LambdaFunction], DataType]
) -> Callable[[BindContext, Args], Expression]:
    def bind(context: BindContext, args: Args) -> Expression:
        check_arity(name, args, 2)
        source = _map(name, args)
        function = resolve(context, args[1], ((source.keyType, False), (source.valueType, source.valueContainsNull)))
        if name == "map_filter":
            function = _predicate(name, args, context, function)
        if name == "transform_keys":
            map_key_check(name, (args[0], function), function.dtype)
        return FunctionCall(name, (args[0], function), result(source, function), nullable_of(args[0]))

    return bind


def _entry_lambda(context: LoweringContext, call: FunctionCall) -> str:
    """The body over an entry `_e` of map_entries."""
    (key, value), body = _lambda_parts(context, call, 1)
    return (
        f"list_transform([struct_extract_at(_e, 1)], lambda {key}: "
        f"list_transform([struct_extract_at(_e, 2)], lambda {value}: {body})[1])[1]"
    )


def _lower_transform_keys(context: LoweringContext, call: FunctionCall, args: tuple[str, ...]) -> str:
    keys = f"list_transform(map_entries({args[0]}), lambda _e: {_entry_lambda(context, call)})"
    return checked_map(context, call.dtype, keys, f"map_values({args[0]})", f"{args[0]} IS NOT NULL")


def _lower_transform_values(context: LoweringContext, call: FunctionCall, args: tuple[str, ...]) -> str:
    values = f"list_transform(map_entries({args[0]}), lambda _e: {_entry_lambda(context, call)})"
    return f"CASE WHEN {args[0]} IS NOT NULL THEN map(map_keys({args[0]}), {values}) END"


def _lower_map_filter(context: LoweringContext, call: FunctionCall, args: tuple[str, ...]) -> str:
    kept = f"list_filter(map_entries({args[0]}), lambda _e: {_entry_lambda(context, call)})"
    return f"CASE WHEN {args[0]} IS NOT NULL THEN map_from_entries({kept}) END"


def _bind_map_zip_with(context: BindContext, args: Args) -> Expression:
    check_arity("map_zip_with", args, 3)
    left, right = _map("map_zip_with", args), _map("map_zip_with", args, 1)
    key = common_type(left.keyType, right.keyType, context.ansi)
    if key is None:
        raise AnalysisError(
            "DATATYPE_MISMATCH.MAP_ZIP_WITH_DIFF_TYPES",
            {
                "sqlExpr": f'"map_zip_with({pretty(args[0])}, {pretty(args[1])})"',
                "functionName": "`map_zip_with`",
                "leftType": pretty_type(left.keyType),
                "rightType": pretty_type(right.keyType),
            },
        )
    maps = (
        coerce(args[0], MapType(key, left.valueType, left.valueContainsNull), context),
        coerce(args[1], MapType(key, right.valueType, right.valueContainsNull), context),
    )
    function = resolve(context, args[2], ((key, False), (left.valueType, True), (right.valueType, True)))
    result = MapType(key, function.dtype, function.nullable)
    return FunctionCall("map_zip_with", (*maps, function), result, any(nullable_of(m) for m in maps))


def _lower_map_zip_with(context: LoweringContext, call: FunctionCall, args: tuple[str, ...]) -> str:
    (key, left, right), body = _lambda_parts(context, call, 2)
    first, second = args[0], args[1]
    keys = (
        f"list_concat(map_keys({first}), "
        f"list_filter(map_keys({second}), lambda _k: NOT coalesce(map_contains({first}, _k), FALSE)))"
    )
    values = (
        f"list_transform({keys}, lambda {key}: list_transform([map_extract_value({first}, {key})], lambda {left}: "
        f"list_transform([map_extract_value({second}, {key})], lambda {right}: {body})[1])[1])"
    )
    return f"CASE WHEN {first} IS NOT NULL AND {second} IS NOT NULL THEN map({keys}, {values}) END"


def array_sort_is_orderable(args: Args) -> None:
    """Raises DATATYPE_MISMATCH.INVALID_ORDERING_TYPE for arrays that `array_sort` cannot order by itself."""
    dtype = dtype_of(args[0])
    if isinstance(dtype, ArrayType) and not is_orderable(dtype.elementType):
        raise AnalysisError(
            "DATATYPE_MISMATCH.INVALID_ORDERING_TYPE",
            {
                "functionName": "`array_sort`",
                "dataType": pretty_type(dtype),
                "sqlExpr": call_text("array_sort", args),
            },
        )


def _lambda_function(
    name: str,
    bind: Callable[[BindContext, Args], Expression],
    lower: Callable[[LoweringContext, FunctionCall, tuple[str, ...]], str],
    aliases: tuple[str, ...] = (),
) -> ScalarFunction:
    return ScalarFunction(name, bind, lower, aliases, binds_lambdas=True)


FUNCTIONS: Final[tuple[CatalogueEntry, ...]] = (
    _lambda_function("transform", _bind_transform, _lower_transform),
    _lambda_function("filter", _bind_filter, _lower_filter),
    _lambda_function("exists", _bind_quantifier("exists"), _lower_exists),
    _lambda_function("forall", _bind_quantifier("forall"), _lower_forall),
    _lambda_function("aggregate", _bind_aggregate, _lower_aggregate, ("reduce",)),
    _lambda_function("zip_with", _bind_zip_with, _lower_zip_with),
    _lambda_function("array_sort_by", bind_sorted_by, _lower_sorted_by),
    _lambda_function(
        "transform_keys",
        _bind_map_function("transform_keys", lambda m, f: MapType(f.dtype, m.valueType, m.valueContainsNull)),
        _lower_transform_keys,
    ),
    _lambda_function(
        "transform_values",
        _bind_map_function("transform_values", lambda m, f: MapType(m.keyType, f.dtype, f.nullable)),
        _lower_transform_values,
    ),
    _lambda_function("map_filter", _bind_map_function("map_filter", lambda m, f: m), _lower_map_filter),
    _lambda_function("map_zip_with", _bind_map_zip_with, _lower_map_zip_with),
)
