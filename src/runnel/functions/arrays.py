"""Arrays, and what arrays share with maps and strings (size, element_at, reverse, concat)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pyspark.sql.types import ArrayType, BinaryType, DataType, MapType, StringType, StructField, StructType

from runnel.errors import AnalysisError
from runnel.functions import higher_order
from runnel.functions.casts import type_sql
from runnel.functions.maps_structs import bind_map_item, coerce_map_key, let
from runnel.functions.operators import sort_key
from runnel.functions.pretty import pretty_type
from runnel.functions.registry import BindContext, CatalogueEntry, LoweringContext, ScalarFunction
from runnel.functions.sequences import bind_sequence, lower_sequence
from runnel.functions.typing import (
    ARRAY,
    BOOLEAN,
    INT,
    LONG,
    NULL,
    STRING,
    call_text,
    check_arity,
    coerce,
    coerce_arguments,
    coerce_to_common,
    common_type_of_all,
    data_diff_types,
    is_integral,
    is_null,
    is_orderable,
    is_string,
    simple,
    tightest_common_type,
    unexpected_input,
)
from runnel.plan.expressions import Alias, Attribute, Expression, FunctionCall, GetField, Literal, dtype_of, nullable_of

Args = tuple[Expression, ...]
SqlArgs = tuple[str, ...]
Lower = Callable[[LoweringContext, FunctionCall, SqlArgs], str]


def _element(t: DataType) -> DataType:
    return t.elementType if isinstance(t, ArrayType) else NULL


def _contains_null(t: DataType) -> bool:
    return not isinstance(t, ArrayType) or bool(t.containsNull)


def _require_array(name: str, args: Args, index: int = 0) -> ArrayType:
    dtype = dtype_of(args[index])
    if not isinstance(dtype, ArrayType):
        raise unexpected_input(name, args, index, '"ARRAY"')
    return dtype


def _invalid_ordering(name: str, args: Args) -> AnalysisError:
    return AnalysisError(
        "DATATYPE_MISMATCH.INVALID_ORDERING_TYPE",
        {
            "functionName": f"`{name}`",
            "dataType": pretty_type(dtype_of(args[0])),
            "sqlExpr": call_text(name, args),
        },
    )


def _array_and_element(name: str, context: BindContext, args: Args, *, null_is_error: bool = True) -> Args:
    """(array, element) in one element type; NULL_TYPE for a null literal, ARRAY_FUNCTION_DIFF_TYPES for no common one."""
    if null_is_error and any(is_null(dtype_of(a)) for a in args):
        raise AnalysisError(
            "DATATYPE_MISMATCH.NULL_TYPE", {"functionName": f"`{name}`", "sqlExpr": call_text(name, args)}
        )
    array = _require_array(name, args)
    element = tightest_common_type(array.elementType, dtype_of(args[1]), context.ansi)
    if element is None:
        raise _diff_types(name, args, 1)
    return coerce(args[0], ArrayType(element, array.containsNull), context), coerce(args[1], element, context)


def _diff_types(name: str, args: Args, index: int) -> AnalysisError:
    return AnalysisError(
        "DATATYPE_MISMATCH.ARRAY_FUNCTION_DIFF_TYPES",
        {
            "sqlExpr": call_text(name, args),
            "functionName": f"`{name}`",
            "dataType": '"ARRAY"',
            "leftType": pretty_type(dtype_of(args[0])),
            "rightType": pretty_type(dtype_of(args[index])),
        },
    )


# ----------------------------------------------------------------------------------------------------- constructor


def _bind_array(context: BindContext, args: Args) -> Expression:
    common = coerce_to_common(args, context)
    if common is None:
        raise data_diff_types("array", args)
    coerced, element = common
    return FunctionCall("array", coerced, ArrayType(element, any(nullable_of(a) for a in coerced)), False)


def _lower_array(context: LoweringContext, call: FunctionCall, args: SqlArgs) -> str:
    return f"CAST([{', '.join(args)}] AS {type_sql(call.dtype)})"


# ---------------------------------------------------------------------------------------------- search and remove


def _bind_contains(context: BindContext, args: Args) -> Expression:
    check_arity("array_contains", args, 2)
    args = _array_and_element("array_contains", context, args)
    nullable = any(nullable_of(a) for a in args) or _contains_null(dtype_of(args[0]))
    return FunctionCall("array_contains", args, BOOLEAN, nullable)


def _lower_contains(context: LoweringContext, call: FunctionCall, args: SqlArgs) -> str:
    array, value = args
    found = f"list_contains({array}, {value})"
    if not _contains_null(dtype_of(call.args[0])):
        return f"({found})"
    return f"CASE WHEN {found} THEN TRUE WHEN list_position({array}, NULL) IS NOT NULL THEN NULL ELSE {found} END"


def _bind_position(context: BindContext, args: Args) -> Expression:
    check_arity("array_position", args, 2)
    if is_null(dtype_of(args[1])) and isinstance(dtype_of(args[0]), ArrayType):
        args = args[0], Literal(None, _element(dtype_of(args[0])))
    args = _array_and_element("array_position", context, args)
    return FunctionCall("array_position", args, LONG, any(nullable_of(a) for a in args))


def _lower_position(context: LoweringContext, call: FunctionCall, args: SqlArgs) -> str:
    array, value = args
    return (
        f"CASE WHEN {array} IS NOT NULL AND {value} IS NOT NULL "
        f"THEN CAST(coalesce(list_position({array}, {value}), 0) AS BIGINT) END"
    )


def _bind_remove(context: BindContext, args: Args) -> Expression:
    check_arity("array_remove", args, 2)
    if is_null(dtype_of(args[1])) and isinstance(dtype_of(args[0]), ArrayType):
        args = args[0], Literal(None, _element(dtype_of(args[0])))
    args = _array_and_element("array_remove", context, args)
    return FunctionCall("array_remove", args, dtype_of(args[0]), any(nullable_of(a) for a in args))


def _lower_remove(context: LoweringContext, call: FunctionCall, args: SqlArgs) -> str:
    array, value = args
    kept = let("_v", value, f"list_filter({array}, lambda _x: _x IS DISTINCT FROM _v)")
    return f"CASE WHEN {value} IS NOT NULL THEN {kept} END"


# --------------------------------------------------------------------------------------------------------- as sets


def distinct(sql: str) -> str:
    """First occurrences, in order; nulls equal each other."""
    return let("_l", sql, "list_filter(_l, lambda _x, _i: list_position(_l, _x) = _i)")


def _bind_set_operation(name: str) -> Callable[[BindContext, Args], Expression]:
    def bind(context: BindContext, args: Args) -> Expression:
        check_arity(name, args, 2)
        types = [dtype_of(a) for a in args]
        for i, t in enumerate(types):
            if not isinstance(t, ArrayType) and not is_null(t):
                raise unexpected_input(name, args, i, '"ARRAY"')
        left, right = (_element(t) for t in types)
        element = tightest_common_type(left, right, context.ansi)
        if element is None or all(is_null(t) for t in types):
            raise AnalysisError(
                "DATATYPE_MISMATCH.BINARY_ARRAY_DIFF_TYPES",
                {
                    "sqlExpr": call_text(name, args),
                    "functionName": f"`{name}`",
                    "arrayType": '"ARRAY"',
                    "leftType": pretty_type(types[0]),
                    "rightType": pretty_type(types[1]),
                },
            )
        nulls = [_contains_null(t) for t in types]
        coerced = tuple(coerce(a, ArrayType(element, n), context) for a, n in zip(args, nulls, strict=True))
        nullable = any(nullable_of(a) for a in coerced)
        if name == "arrays_overlap":
            return FunctionCall(name, coerced, BOOLEAN, nullable or any(nulls))
        contains_null = {"array_union": any(nulls), "array_intersect": all(nulls), "array_except": nulls[0]}[name]
        return FunctionCall(name, coerced, ArrayType(element, contains_null), nullable)

    return bind


def _both(args: SqlArgs, sql: str) -> str:
    return f"CASE WHEN {args[0]} IS NOT NULL AND {args[1]} IS NOT NULL THEN {sql} END"


def _lower_union(context: LoweringContext, call: FunctionCall, args: SqlArgs) -> str:
    return _both(args, distinct(f"list_concat({args[0]}, {args[1]})"))


def _lower_intersect(context: LoweringContext, call: FunctionCall, args: SqlArgs) -> str:
    inside = f"list_filter({args[0]}, lambda _x: list_position(_r, _x) IS NOT NULL)"
    return _both(args, let("_r", args[1], distinct(inside)))


def _lower_except(context: LoweringContext, call: FunctionCall, args: SqlArgs) -> str:
    outside = f"list_filter({args[0]}, lambda _x: list_position(_r, _x) IS NULL)"
    return _both(args, let("_r", args[1], distinct(outside)))


def _lower_overlap(context: LoweringContext, call: FunctionCall, args: SqlArgs) -> str:
    """Null where nothing common is found but a null could be it, and neither array is empty."""
    left, right = args
    unknown = (
        f"len({left}) > 0 AND len({right}) > 0 AND "
        f"(list_position({left}, NULL) IS NOT NULL OR list_position({right}, NULL) IS NOT NULL)"
    )
    return _both(args, f"CASE WHEN list_has_any({left}, {right}) THEN TRUE WHEN {unknown} THEN NULL ELSE FALSE END")


# ------------------------------------------------------------------------------------------------- order, extremes


def _lower_sorted(sql: str, element: DataType, *, descending: bool, nulls_first: bool) -> str:
    order = f"'{'DESC' if descending else 'ASC'}', 'NULLS {'FIRST' if nulls_first else 'LAST'}'"
    if not isinstance(element, (ArrayType, StructType)):
        return f"list_sort({sql}, {order})"
    keys = f"list_transform(_l, lambda _x: {sort_key('_x', element)})"
    return let("_l", sql, f"list_select(_l, list_grade_up({keys}, {order}))")


def _bind_array_sort(context: BindContext, args: Args) -> Expression:
    check_arity("array_sort", args, 1, 2)
    if len(args) == 2:
        return higher_order.bind_sorted_by(context, args)
    array = _require_array("array_sort", args)
    if not is_orderable(array.elementType):
        raise _invalid_ordering("array_sort", args)
    return FunctionCall("array_sort", args, array, nullable_of(args[0]))


def _lower_array_sort(context: LoweringContext, call: FunctionCall, args: SqlArgs) -> str:
    return _lower_sorted(args[0], _element(call.dtype), descending=False, nulls_first=False)


def _bind_sort_array(context: BindContext, args: Args) -> Expression:
    check_arity("sort_array", args, 1, 2)
    args = (args[0], args[1] if len(args) == 2 else Literal(True, BOOLEAN))
    array = _require_array("sort_array", args)
    if not is_orderable(array.elementType):
        raise _invalid_ordering("sort_array", args)
    if dtype_of(args[1]) != BOOLEAN:
        raise unexpected_input("sort_array", args, 1, '"BOOLEAN"')
    return FunctionCall("sort_array", args, array, nullable_of(args[0]))


def _lower_sort_array(context: LoweringContext, call: FunctionCall, args: SqlArgs) -> str:
    element = _element(call.dtype)
    up = _lower_sorted(args[0], element, descending=False, nulls_first=True)
    down = _lower_sorted(args[0], element, descending=True, nulls_first=False)
    if isinstance(call.args[1], Literal):
        return up if call.args[1].value else down
    return f"CASE WHEN {args[1]} THEN {up} ELSE {down} END"


def _bind_extreme(name: str) -> Callable[[BindContext, Args], Expression]:
    def bind(context: BindContext, args: Args) -> Expression:
        check_arity(name, args, 1)
        array = _require_array(name, args)
        if not is_orderable(array.elementType):
            raise _invalid_ordering(name, args)
        return FunctionCall(name, args, array.elementType, True)

    return bind


def _lower_extreme(function: str, *, descending: bool) -> Lower:
    def lower(context: LoweringContext, call: FunctionCall, args: SqlArgs) -> str:
        if isinstance(call.dtype, (ArrayType, StructType)):
            return f"{_lower_sorted(args[0], call.dtype, descending=descending, nulls_first=False)}[1]"
        return f"{function}({args[0]})"

    return lower


# ---------------------------------------------------------------------------------------------------------- adding


def _bind_append(name: str) -> Callable[[BindContext, Args], Expression]:
    def bind(context: BindContext, args: Args) -> Expression:
        check_arity(name, args, 2)
        array = _require_array(name, args)
        coerced = _array_and_element(name, context, args, null_is_error=False)
        result = ArrayType(_element(dtype_of(coerced[0])), array.containsNull or nullable_of(coerced[1]))
        return FunctionCall(name, coerced, result, nullable_of(args[0]))

    return bind


def _lower_append(context: LoweringContext, call: FunctionCall, args: SqlArgs) -> str:
    return f"CASE WHEN {args[0]} IS NOT NULL THEN list_concat({args[0]}, [{args[1]}]) END"


def _lower_prepend(context: LoweringContext, call: FunctionCall, args: SqlArgs) -> str:
    return f"CASE WHEN {args[0]} IS NOT NULL THEN list_concat([{args[1]}], {args[0]}) END"


def _bind_insert(context: BindContext, args: Args) -> Expression:
    check_arity("array_insert", args, 3)
    if not isinstance(dtype_of(args[0]), ArrayType):
        raise _diff_types("array_insert", args, 1)
    if not is_integral(dtype_of(args[1])) or dtype_of(args[1]) == LONG:
        raise unexpected_input("array_insert", args, 1, '"INT"')
    array = _require_array("array_insert", args)
    element = tightest_common_type(array.elementType, dtype_of(args[2]), context.ansi)
    if element is None:
        raise _diff_types("array_insert", args, 2)
    coerced = (
        coerce(args[0], ArrayType(element, array.containsNull), context),
        coerce(args[1], INT, context),
        coerce(args[2], element, context),
    )
    return FunctionCall(
        "array_insert", coerced, ArrayType(element, True), nullable_of(coerced[0]) or nullable_of(coerced[1])
    )


def _lower_insert(context: LoweringContext, call: FunctionCall, args: SqlArgs) -> str:
    """Positions count from 1, from the end if negative (-1: behind the last); beyond the ends nulls fill the gap."""
    array, position, item = args
    zero = context.error("INVALID_INDEX_OF_ZERO", call.dtype)
    body = (
        f"CASE WHEN _q = 0 THEN {zero} "
        "WHEN _q > 0 THEN list_concat(list_resize(_l[1:_q - 1], _q - 1), _v, _l[_q:]) "
        "WHEN -_q <= len(_l) + 1 THEN list_concat(_l[1:len(_l) + 1 + _q], _v, _l[len(_l) + 2 + _q:]) "
        "ELSE list_concat(_v, list_resize(list_slice(_l, 1, 0), -_q - len(_l) - 1), _l) END"
    )
    bound = let("_l", array, let("_q", position, let("_v", f"[{item}]", body)))
    return f"CASE WHEN {array} IS NOT NULL AND {position} IS NOT NULL THEN {bound} END"


def _bind_repeat(context: BindContext, args: Args) -> Expression:
    check_arity("array_repeat", args, 2)
    if dtype_of(args[1]) == LONG:
        raise unexpected_input("array_repeat", args, 1, '"INT"')
    count = coerce_arguments("array_repeat", args, (dtype_of(args[0]), INT), context)[1]
    result = ArrayType(dtype_of(args[0]), nullable_of(args[0]))
    return FunctionCall("array_repeat", (args[0], count), result, nullable_of(count))


def _lower_repeat(context: LoweringContext, call: FunctionCall, args: SqlArgs) -> str:
    return let("_v", args[0], f"list_transform(range({args[1]}), lambda _i: _v)")


# ------------------------------------------------------------------------------------------------- whole and parts


def _bind_join(context: BindContext, args: Args) -> Expression:
    check_arity("array_join", args, 2, 3)
    array = dtype_of(args[0])
    if not isinstance(array, ArrayType) and not is_null(array):
        raise unexpected_input("array_join", args, 0, '"ARRAY<STRING>"')
    texts = coerce(args[0], ArrayType(STRING, _contains_null(array)), context)
    rest = coerce_arguments("array_join", args, (array, STRING, STRING), context)[1:]
    return FunctionCall("array_join", (texts, *rest), STRING, any(nullable_of(a) for a in (texts, *rest)))


def _lower_join(context: LoweringContext, call: FunctionCall, args: SqlArgs) -> str:
    if len(args) == 2:
        items = f"list_filter({args[0]}, lambda _x: _x IS NOT NULL)"
    else:
        items = let("_r", args[2], f"list_transform({args[0]}, lambda _x: coalesce(_x, _r))")
    present = " AND ".join(f"{a} IS NOT NULL" for a in args)
    # Not string_agg: it makes null of an empty list, and array_to_string wants a constant separator.
    folded = (
        "CASE WHEN len(_l) = 0 THEN '' ELSE "
        "list_reduce(list_transform(_l, lambda _x, _i: CASE WHEN _i = 1 THEN _x ELSE _s || _x END), "
        "lambda _a, _b: _a || _b) END"
    )
    if isinstance(call.args[1], Literal):
        folded = f"CASE WHEN len(_l) = 0 THEN '' ELSE list_aggregate(_l, 'string_agg', {args[1]}) END"
        return f"CASE WHEN {present} THEN {let('_l', items, folded)} END"
    return f"CASE WHEN {present} THEN {let('_s', args[1], let('_l', items, folded))} END"


def _bind_zip(context: BindContext, args: Args) -> Expression:
    fields = []
    for i, a in enumerate(args):
        t = dtype_of(a)
        if not isinstance(t, ArrayType) and not is_null(t):
            raise unexpected_input("arrays_zip", args, i, '"ARRAY"')
        name = a.name if isinstance(a, (Attribute, Alias, GetField)) else str(i)
        fields.append(StructField(name, _element(t), True))
    values = tuple(
        coerce(a.child if isinstance(a, Alias) else a, ArrayType(_element(dtype_of(a)), True), context) for a in args
    )
    return FunctionCall("arrays_zip", values, ArrayType(StructType(fields), False), any(nullable_of(a) for a in args))


def _lower_zip(context: LoweringContext, call: FunctionCall, args: SqlArgs) -> str:
    present = " AND ".join(f"{a} IS NOT NULL" for a in args)
    if len(args) == 1:
        zipped = f"list_transform({args[0]}, lambda _z: row(_z))"
    else:
        zipped = f"list_zip({', '.join(args)})"
    row = type_sql(_element(call.dtype))
    return f"CASE WHEN {present} THEN list_transform({zipped}, lambda _r: CAST(_r AS {row})) END"


def _bind_flatten(context: BindContext, args: Args) -> Expression:
    check_arity("flatten", args, 1)
    match dtype_of(args[0]):
        case ArrayType(elementType=ArrayType() as inner, containsNull=contains_null):
            return FunctionCall("flatten", args, inner, nullable_of(args[0]) or contains_null)
        case _:
            raise unexpected_input("flatten", args, 0, '"ARRAY" of "ARRAY"')


def _lower_flatten(context: LoweringContext, call: FunctionCall, args: SqlArgs) -> str:
    outer = dtype_of(call.args[0])
    if isinstance(outer, ArrayType) and not outer.containsNull:
        return f"flatten({args[0]})"
    return f"CASE WHEN list_position({args[0]}, NULL) IS NULL THEN flatten({args[0]}) END"


def _bind_slice(context: BindContext, args: Args) -> Expression:
    check_arity("slice", args, 3)
    array = _require_array("slice", args)
    coerced = coerce_arguments("slice", args, (array, INT, INT), context)
    return FunctionCall("slice", coerced, array, any(nullable_of(a) for a in coerced))


def _lower_slice(context: LoweringContext, call: FunctionCall, args: SqlArgs) -> str:
    array, start, length = args
    function = "'`slice`'"
    bad_start = context.error("INVALID_PARAMETER_VALUE.START", call.dtype, parameter="'`start`'", functionName=function)
    bad_length = context.error(
        "INVALID_PARAMETER_VALUE.LENGTH",
        call.dtype,
        parameter="'`length`'",
        length="CAST(_n AS VARCHAR)",
        functionName=function,
    )
    body = (
        f"CASE WHEN _q = 0 THEN {bad_start} WHEN _n < 0 THEN {bad_length} "
        "WHEN _q > 0 THEN list_slice(_l, _q, _q + _n - 1) "
        "WHEN -_q > len(_l) THEN list_slice(_l, 1, 0) "
        "ELSE list_slice(_l, len(_l) + 1 + _q, len(_l) + _q + _n) END"
    )
    bound = let("_l", array, let("_q", f"CAST({start} AS BIGINT)", let("_n", f"CAST({length} AS BIGINT)", body)))
    return f"CASE WHEN {array} IS NOT NULL AND {start} IS NOT NULL AND {length} IS NOT NULL THEN {bound} END"


def _bind_reverse(context: BindContext, args: Args) -> Expression:
    check_arity("reverse", args, 1)
    t = dtype_of(args[0])
    if isinstance(t, ArrayType):
        return FunctionCall("reverse", args, t, nullable_of(args[0]))
    if isinstance(t, BinaryType):
        return FunctionCall("reverse", args, t, nullable_of(args[0]))
    coerced = coerce_arguments("reverse", args, (STRING,), context)
    return FunctionCall("reverse", coerced, STRING, nullable_of(coerced[0]))


def _lower_reverse(context: LoweringContext, call: FunctionCall, args: SqlArgs) -> str:
    if isinstance(call.dtype, BinaryType):
        pairs = f"array_to_string(list_reverse(regexp_extract_all(hex({args[0]}), '..')), '')"
        return f"CASE WHEN {args[0]} IS NOT NULL THEN unhex({pairs}) END"
    return f"list_reverse({args[0]})" if isinstance(call.dtype, ArrayType) else f"reverse({args[0]})"


def bind_array_concat(context: BindContext, args: Args) -> Expression:
    """`concat` of arrays (strings.concat hands over when an argument is one)."""
    target = common_type_of_all([dtype_of(a) for a in args], context.ansi)
    if not all(isinstance(dtype_of(a), ArrayType) for a in args) or target is None:
        shown = tuple(Literal(None, STRING) if is_null(dtype_of(a)) else a for a in args)
        error = data_diff_types("concat", shown)
        error.message_parameters["sqlExpr"] = call_text("concat", args)
        raise error
    coerced = tuple(coerce(a, target, context) for a in args)
    return FunctionCall("array_concat", coerced, target, any(nullable_of(a) for a in coerced))


def _lower_concat(context: LoweringContext, call: FunctionCall, args: SqlArgs) -> str:
    present = " AND ".join(f"{a} IS NOT NULL" for a in args)
    return f"CASE WHEN {present} THEN list_concat({', '.join(args)}) END"


# ---------------------------------------------------------------------------------------------------- size, access


def _bind_size(context: BindContext, args: Args) -> Expression:
    check_arity("size", args, 1)
    t = dtype_of(args[0])
    if not isinstance(t, (ArrayType, MapType)) and not is_null(t):
        raise unexpected_input("size", args, 0, '("ARRAY" or "MAP")')
    legacy = (context.conf or {}).get("spark.sql.legacy.sizeOfNull", "true").lower() == "true" and not context.ansi
    call = FunctionCall("size", args, INT, nullable_of(args[0]))
    return FunctionCall("coalesce", (call, Literal(-1, INT)), INT, False) if legacy else call


def _lower_size(context: LoweringContext, call: FunctionCall, args: SqlArgs) -> str:
    match dtype_of(call.args[0]):
        case MapType():
            return f"CAST(cardinality({args[0]}) AS INTEGER)"
        case ArrayType():
            return f"CAST(len({args[0]}) AS INTEGER)"
        case _:
            return "CAST(NULL AS INTEGER)"


def _bind_element_at(name: str) -> Callable[[BindContext, Args], Expression]:
    def bind(context: BindContext, args: Args) -> Expression:
        check_arity(name, args, 2)
        match dtype_of(args[0]):
            case ArrayType(elementType=element, containsNull=contains_null):
                index = dtype_of(args[1])
                if not is_integral(index) or index == LONG:
                    raise unexpected_input(name, args, 1, '"INT"')
                coerced = args[0], coerce(args[1], INT, context)
                nullable = name == "try_element_at" or not context.ansi or contains_null
                return FunctionCall(name, coerced, element, nullable or any(nullable_of(a) for a in args))
            case MapType(valueType=value):
                return FunctionCall("map_item", coerce_map_key(name, context, args), value, True)
            case _:
                raise unexpected_input(name, args, 0, '("ARRAY" or "MAP")')

    return bind


def _lower_element_at(*, checked: bool) -> Lower:
    def lower(context: LoweringContext, call: FunctionCall, args: SqlArgs) -> str:
        zero = context.error("INVALID_INDEX_OF_ZERO", call.dtype)
        beyond = context.error(
            "INVALID_ARRAY_INDEX_IN_ELEMENT_AT",
            call.dtype,
            indexValue=f"CAST({args[1]} AS VARCHAR)",
            arraySize=f"CAST(len({args[0]}) AS VARCHAR)",
        )
        check = f"WHEN abs({args[1]}) > len({args[0]}) THEN {beyond} " if checked and context.ansi else ""
        return f"CASE WHEN {args[1]} = 0 AND {args[0]} IS NOT NULL THEN {zero} {check}ELSE {args[0]}[{args[1]}] END"

    return lower


def _bind_item(name: str) -> Callable[[BindContext, Args], Expression]:
    """`get(array, i)` and `array[i]`, both from 0; the operator is `get_array_item`."""

    def bind(context: BindContext, args: Args) -> Expression:
        check_arity(name, args, 2)
        array = _require_array(name, args)
        index = dtype_of(args[1])
        if is_string(index) and name == "get" and isinstance(index, StringType):
            args = args[0], coerce(args[1], INT, context)
        elif is_null(index):
            args = args[0], Literal(None, INT)
        elif not is_integral(index):
            raise unexpected_input(name, args, 1, '"INTEGRAL"')
        nullable = name == "get" or not context.ansi or array.containsNull or any(nullable_of(a) for a in args)
        return FunctionCall(name, args, array.elementType, nullable)

    return bind


def bind_item(context: BindContext, child: Expression, key: Expression) -> Expression:
    """`child[key]` on an array or a map (structs are analysis' own)."""
    if isinstance(dtype_of(child), MapType):
        return bind_map_item(context, (child, key))
    return _bind_item("get_array_item")(context, (child, key))


def _lower_get(context: LoweringContext, call: FunctionCall, args: SqlArgs) -> str:
    return f"CASE WHEN {args[1]} >= 0 THEN {args[0]}[{args[1]} + 1] END"


def _lower_item(context: LoweringContext, call: FunctionCall, args: SqlArgs) -> str:
    if not context.ansi:
        return _lower_get(context, call, args)
    beyond = context.error(
        "INVALID_ARRAY_INDEX",
        call.dtype,
        indexValue=f"CAST({args[1]} AS VARCHAR)",
        arraySize=f"CAST(len({args[0]}) AS VARCHAR)",
    )
    return (
        f"CASE WHEN {args[1]} < 0 OR {args[1]} >= len({args[0]}) THEN "
        f"CASE WHEN {args[0]} IS NOT NULL THEN {beyond} END ELSE {args[0]}[{args[1]} + 1] END"
    )


def _compact_type(types: tuple[DataType, ...]) -> DataType:
    return ArrayType(_element(types[0]), False)


FUNCTIONS: Final[tuple[CatalogueEntry, ...]] = (
    ScalarFunction("array", _bind_array, _lower_array),
    ScalarFunction("array_contains", _bind_contains, _lower_contains),
    ScalarFunction("array_position", _bind_position, _lower_position),
    ScalarFunction("array_remove", _bind_remove, _lower_remove),
    simple("array_distinct", (ARRAY,), lambda types: types[0], lambda context, call, args: distinct(args[0])),
    ScalarFunction("array_union", _bind_set_operation("array_union"), _lower_union),
    ScalarFunction("array_intersect", _bind_set_operation("array_intersect"), _lower_intersect),
    ScalarFunction("array_except", _bind_set_operation("array_except"), _lower_except),
    ScalarFunction("arrays_overlap", _bind_set_operation("arrays_overlap"), _lower_overlap),
    ScalarFunction("array_sort", _bind_array_sort, _lower_array_sort, binds_lambdas=True),
    ScalarFunction("sort_array", _bind_sort_array, _lower_sort_array),
    ScalarFunction("array_min", _bind_extreme("array_min"), _lower_extreme("list_min", descending=False)),
    ScalarFunction("array_max", _bind_extreme("array_max"), _lower_extreme("list_max", descending=True)),
    ScalarFunction("array_append", _bind_append("array_append"), _lower_append),
    ScalarFunction("array_prepend", _bind_append("array_prepend"), _lower_prepend),
    ScalarFunction("array_insert", _bind_insert, _lower_insert),
    ScalarFunction("array_repeat", _bind_repeat, _lower_repeat),
    simple("array_compact", (ARRAY,), _compact_type, "list_filter({0}, lambda _x: _x IS NOT NULL)"),
    ScalarFunction("array_join", _bind_join, _lower_join),
    ScalarFunction("arrays_zip", _bind_zip, _lower_zip),
    ScalarFunction("flatten", _bind_flatten, _lower_flatten),
    ScalarFunction("slice", _bind_slice, _lower_slice),
    ScalarFunction("sequence", bind_sequence, lower_sequence),
    simple(
        "shuffle",
        (ARRAY, LONG),
        lambda types: types[0],
        "list_select({0}, list_grade_up(list_transform({0}, lambda _x: random())))",
        optional=1,
        deterministic=False,
    ),
    ScalarFunction("reverse", _bind_reverse, _lower_reverse),
    ScalarFunction("array_concat", bind_array_concat, _lower_concat),
    ScalarFunction("size", _bind_size, _lower_size, ("cardinality",)),
    simple("array_size", (ARRAY,), INT, "CAST(len({0}) AS INTEGER)"),
    ScalarFunction("element_at", _bind_element_at("element_at"), _lower_element_at(checked=True)),
    ScalarFunction("try_element_at", _bind_element_at("try_element_at"), _lower_element_at(checked=False)),
    ScalarFunction("get", _bind_item("get"), _lower_get),
    ScalarFunction("get_array_item", _bind_item("get_array_item"), _lower_item),
)
