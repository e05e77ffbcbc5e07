"""Maps and structs: constructors, access, and the helper behind `withField` and `dropFields`.

Maps keep the order of their entries. Key rules are Spark's default policy: a null key (NULL_MAP_KEY) and a repeated key
(DUPLICATED_MAP_KEY) are errors; `spark.sql.mapKeyDedupPolicy` LAST_WIN is not offered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pyspark.sql.types import ArrayType, DataType, MapType, StructField, StructType

from runnel.errors import AnalysisError
from runnel.functions.casts import quoted, type_sql, unique_field_names
from runnel.functions.pretty import pretty, pretty_type
from runnel.functions.registry import BindContext, CatalogueEntry, LoweringContext, ScalarFunction
from runnel.functions.typing import (
    ARRAY,
    BOOLEAN,
    INT,
    MAP,
    STRING,
    call_text,
    check_arity,
    coerce,
    coerce_arguments,
    common_type,
    common_type_of_all,
    is_null,
    is_string,
    same_but_for_nulls,
    simple,
    tightest_common_type,
    unexpected_input,
    wrong_number_of_arguments,
)
from runnel.plan.expressions import (
    Alias,
    Attribute,
    Expression,
    FunctionCall,
    GetField,
    LambdaVariable,
    Literal,
    dtype_of,
    nullable_of,
)

Args = tuple[Expression, ...]
SqlArgs = tuple[str, ...]


def let(name: str, value: str, body: str) -> str:
    """SQL that evaluates `value` once and `body` with it under `name`."""
    return f"list_transform([{value}], lambda {name}: {body})[1]"


# ------------------------------------------------------------------------------------------------------------ maps


def checked_map(context: LoweringContext, target: DataType, keys: str, values: str, present: str = "") -> str:
    """SQL of a map from lists of keys and values, with Spark's checks of the keys.

    target: the map's type. present: SQL of a condition under which there is a map at all (else the result is null).
    """
    null_key = context.error("NULL_MAP_KEY", target)
    double_key = context.error(
        "DUPLICATED_MAP_KEY",
        target,
        key="CAST(list_filter(_k, lambda _d, _n: list_position(_k, _d) < _n)[1] AS VARCHAR)",
        mapKeyDedupPolicy="""'"spark.sql.mapKeyDedupPolicy"'""",
    )
    checks = (
        f"CASE WHEN _k IS NULL THEN NULL WHEN len(list_filter(_k, lambda _d: _d IS NULL)) > 0 THEN {null_key} "
        f"WHEN len(list_distinct(_k)) < len(_k) THEN {double_key} ELSE CAST(map(_k, {values}) AS {type_sql(target)}) END"
    )
    text = let("_k", keys, checks)
    return f"CASE WHEN {present} THEN {text} END" if present else text


def map_key_check(name: str, args: Args, key: DataType) -> None:
    """Raises DATATYPE_MISMATCH.INVALID_MAP_KEY_TYPE for a key type that holds a map."""
    if _holds_map(key):
        raise AnalysisError(
            "DATATYPE_MISMATCH.INVALID_MAP_KEY_TYPE", {"sqlExpr": call_text(name, args), "keyType": pretty_type(key)}
        )


def _holds_map(t: DataType) -> bool:
    match t:
        case MapType():
            return True
        case ArrayType(elementType=element):
            return _holds_map(element)
        case StructType():
            return any(_holds_map(f.dataType) for f in t.fields)
        case _:
            return False


def _bind_map(context: BindContext, args: Args) -> Expression:
    if len(args) % 2:
        raise wrong_number_of_arguments("map", "2n (n > 0)", len(args))
    keys, values = args[0::2], args[1::2]
    key, value = (common_type_of_all([dtype_of(a) for a in side], context.ansi) for side in (keys, values))
    if key is None or value is None:
        side = keys if key is None else values
        condition = "CREATE_MAP_KEY_DIFF_TYPES" if key is None else "CREATE_MAP_VALUE_DIFF_TYPES"
        types = ", ".join(pretty_type(dtype_of(a)) for a in side)
        raise AnalysisError(
            f"DATATYPE_MISMATCH.{condition}",
            {"sqlExpr": call_text("map", args), "functionName": "`map`", "dataType": f"[{types}]"},
        )
    map_key_check("map", args, key)
    coerced = tuple(coerce(a, value if i % 2 else key, context) for i, a in enumerate(args))
    result = MapType(key, value, any(nullable_of(v) for v in coerced[1::2]))
    return FunctionCall("map", coerced, result, False)


def _lower_map(context: LoweringContext, call: FunctionCall, args: SqlArgs) -> str:
    assert isinstance(call.dtype, MapType)
    keys = f"CAST([{', '.join(args[0::2])}] AS {type_sql(call.dtype.keyType)}[])"
    values = f"CAST([{', '.join(args[1::2])}] AS {type_sql(call.dtype.valueType)}[])"
    return checked_map(context, call.dtype, keys, values)


def _bind_from_arrays(context: BindContext, args: Args) -> Expression:
    check_arity("map_from_arrays", args, 2)
    args = coerce_arguments("map_from_arrays", args, (ARRAY, ARRAY), context)
    keys, values = dtype_of(args[0]), dtype_of(args[1])
    assert isinstance(keys, ArrayType) and isinstance(values, ArrayType)
    map_key_check("map_from_arrays", args, keys.elementType)
    result = MapType(keys.elementType, values.elementType, values.containsNull)
    return FunctionCall("map_from_arrays", args, result, any(nullable_of(a) for a in args))


def _lower_from_arrays(context: LoweringContext, call: FunctionCall, args: SqlArgs) -> str:
    unequal = context.error("_LEGACY_ERROR_TEMP_2128", call.dtype)
    built = checked_map(context, call.dtype, args[0], args[1])
    return (
        f"CASE WHEN {args[0]} IS NULL OR {args[1]} IS NULL THEN NULL "
        f"WHEN len({args[0]}) <> len({args[1]}) THEN {unequal} ELSE {built} END"
    )


def _bind_from_entries(context: BindContext, args: Args) -> Expression:
    check_arity("map_from_entries", args, 1)
    match dtype_of(args[0]):
        case ArrayType(elementType=StructType(fields=[key, value]), containsNull=contains_null):
            map_key_check("map_from_entries", args, key.dataType)
            result = MapType(key.dataType, value.dataType, value.nullable)
            return FunctionCall("map_from_entries", args, result, nullable_of(args[0]) or contains_null)
        case _:
            raise unexpected_input("map_from_entries", args, 0, '"ARRAY" of pair "STRUCT"')


def _lower_from_entries(context: LoweringContext, call: FunctionCall, args: SqlArgs) -> str:
    keys = f"list_transform({args[0]}, lambda _e: struct_extract_at(_e, 1))"
    values = f"list_transform({args[0]}, lambda _e: struct_extract_at(_e, 2))"
    whole = f"len(list_filter({args[0]}, lambda _e: _e IS NULL)) = 0"
    return checked_map(context, call.dtype, keys, values, whole)


def _entries_type(types: tuple[DataType, ...]) -> DataType:
    source = types[0]
    assert isinstance(source, MapType)
    entry = [
        StructField("key", source.keyType, False),
        StructField("value", source.valueType, source.valueContainsNull),
    ]
    return ArrayType(StructType(entry), False)


def _map_part(part: str) -> Callable[[tuple[DataType, ...]], DataType]:
    def result(types: tuple[DataType, ...]) -> DataType:
        source = types[0]
        assert isinstance(source, MapType)
        if part == "key":
            return ArrayType(source.keyType, True)  # so Spark reports it, although no key is null
        return ArrayType(source.valueType, source.valueContainsNull)

    return result


def _bind_concat(context: BindContext, args: Args) -> Expression:
    if not args:
        return FunctionCall("map_concat", (), MapType(STRING, STRING, False), False)
    types = [dtype_of(a) for a in args]
    target: DataType | None = types[0] if isinstance(types[0], MapType) else None
    for t in types[1:]:
        target = common_type(target, t, context.ansi) if target is not None and isinstance(t, MapType) else None
    if not isinstance(target, MapType):
        shown = ", ".join(pretty_type(t) for t in types)
        raise AnalysisError(
            "DATATYPE_MISMATCH.MAP_CONCAT_DIFF_TYPES",
            {"sqlExpr": call_text("map_concat", args), "functionName": "`map_concat`", "dataType": f"[{shown}]"},
        )
    coerced = tuple(coerce(a, target, context) for a in args)
    return FunctionCall("map_concat", coerced, target, any(nullable_of(a) for a in coerced))


def _lower_concat(context: LoweringContext, call: FunctionCall, args: SqlArgs) -> str:
    if not args:
        return f"CAST(map([], []) AS {type_sql(call.dtype)})"
    keys = f"list_concat({', '.join(f'map_keys({a})' for a in args)})"
    values = f"list_concat({', '.join(f'map_values({a})' for a in args)})"
    return checked_map(context, call.dtype, keys, values, " AND ".join(f"{a} IS NOT NULL" for a in args))


def coerce_map_key(name: str, context: BindContext, args: Args) -> Args:
    """(map, key) with map and key brought to one key type; MAP_FUNCTION_DIFF_TYPES if they have none."""
    source = dtype_of(args[0])
    assert isinstance(source, MapType)
    key = tightest_common_type(source.keyType, dtype_of(args[1]), context.ansi)
    if key is None:
        raise AnalysisError(
            "DATATYPE_MISMATCH.MAP_FUNCTION_DIFF_TYPES",
            {
                "sqlExpr": call_text(name, args),
                "functionName": f"`{name}`",
                "dataType": '"MAP"',
                "leftType": pretty_type(source),
                "rightType": pretty_type(dtype_of(args[1])),
            },
        )
    widened = MapType(key, source.valueType, source.valueContainsNull)
    return coerce(args[0], widened, context), coerce(args[1], key, context)


def _bind_contains_key(context: BindContext, args: Args) -> Expression:
    name = "map_contains_key"
    check_arity(name, args, 2)
    if any(is_null(dtype_of(a)) for a in args):
        raise AnalysisError(
            "DATATYPE_MISMATCH.NULL_TYPE", {"sqlExpr": call_text(name, args), "functionName": f"`{name}`"}
        )
    if not isinstance(dtype_of(args[0]), MapType):
        raise unexpected_input(name, args, 0, '"MAP"')
    args = coerce_map_key(name, context, args)
    return FunctionCall(name, args, BOOLEAN, True)


def bind_map_item(context: BindContext, args: Args) -> Expression:
    """`map[key]`: null for an absent key. The key is cast to the map's key type as Spark's GetMapValue does."""
    source = dtype_of(args[0])
    assert isinstance(source, MapType)
    key = tightest_common_type(source.keyType, dtype_of(args[1]), context.ansi)
    if key is None or not same_but_for_nulls(key, source.keyType):
        if not same_but_for_nulls(dtype_of(args[1]), source.keyType) and (key is None):
            raise unexpected_input("map_item", args, 1, pretty_type(source.keyType))
        args = coerce_map_key("map_item", context, args)
    else:
        args = args[0], coerce(args[1], source.keyType, context)
    return FunctionCall("map_item", args, source.valueType, True)


def _lower_map_item(context: LoweringContext, call: FunctionCall, args: SqlArgs) -> str:
    return f"map_extract_value({args[0]}, {args[1]})"


def _bind_str_to_map(context: BindContext, args: Args) -> Expression:
    check_arity("str_to_map", args, 1, 3)
    args = (*args, Literal(",", STRING), Literal(":", STRING))[:3] if len(args) < 3 else args
    if len(args) == 3 and not all(is_string(dtype_of(a)) or is_null(dtype_of(a)) for a in args):
        bad = next(i for i, a in enumerate(args) if not is_string(dtype_of(a)) and not is_null(dtype_of(a)))
        raise unexpected_input("str_to_map", args, bad, '"STRING"')
    coerced = tuple(coerce(a, STRING, context) for a in args)
    return FunctionCall("str_to_map", coerced, MapType(STRING, STRING, True), any(nullable_of(a) for a in coerced))


def _lower_str_to_map(context: LoweringContext, call: FunctionCall, args: SqlArgs) -> str:
    """The delimiters are regular expressions; a key ends at the first match of the second."""
    pairs = f"regexp_split_to_array({args[0]}, {args[1]})"
    key = f"regexp_split_to_array(_p, {args[2]})[1]"
    separator = f"regexp_extract(_p, {args[2]})"
    value = f"CASE WHEN regexp_matches(_p, {args[2]}) THEN substr(_p, length({key}) + length({separator}) + 1) END"
    keys = f"list_transform({pairs}, lambda _p: {key})"
    values = f"list_transform({pairs}, lambda _p: {value})"
    return checked_map(context, call.dtype, keys, values, " AND ".join(f"{a} IS NOT NULL" for a in args))


# --------------------------------------------------------------------------------------------------------- structs


def _bind_struct(context: BindContext, args: Args) -> Expression:
    """Fields are named after columns, aliases and fields; others colN by position."""
    fields, values = [], []
    for i, a in enumerate(args):
        match a:
            case Attribute(name=name) | Alias(name=name) | GetField(name=name) | LambdaVariable(name=name):
                pass
            case _:
                name = f"col{i + 1}"
        fields.append(StructField(name, dtype_of(a), nullable_of(a)))
        values.append(a.child if isinstance(a, Alias) else a)
    return make_struct(fields, values)


def make_struct(fields: list[StructField], values: list[Expression]) -> Expression:
    """A call that builds a struct of these fields, never null."""
    return FunctionCall("struct", tuple(values), StructType(fields), False)


def _bind_named_struct(context: BindContext, args: Args) -> Expression:
    if len(args) % 2:
        raise wrong_number_of_arguments("named_struct", "2n (n > 0)", len(args))
    names, values = args[0::2], args[1::2]
    bad = [n for n in names if not (isinstance(n, Literal) and isinstance(n.value, str))]
    if bad:
        shown = ", ".join(f'"{pretty(n)}"' for n in bad)
        raise AnalysisError(
            "DATATYPE_MISMATCH.CREATE_NAMED_STRUCT_WITHOUT_FOLDABLE_STRING",
            {"sqlExpr": call_text("named_struct", args), "inputExprs": f"[{shown}]"},
        )
    fields = [
        StructField(n.value, dtype_of(v), nullable_of(v))
        for n, v in zip(names, values, strict=True)
        if isinstance(n, Literal)
    ]
    return make_struct(fields, list(values))


def _lower_struct(context: LoweringContext, call: FunctionCall, args: SqlArgs) -> str:
    assert isinstance(call.dtype, StructType)
    type_sql(call.dtype)  # refuses a struct without fields
    names = unique_field_names(call.dtype)
    return f"struct_pack({', '.join(f'{quoted(n)} := {a}' for n, a in zip(names, args, strict=True))})"


def bind_array_field(child: Expression, name: str, ordinal: int) -> Expression:
    """`array_of_structs.field`: the array of the field's values (a null struct gives null)."""
    array = dtype_of(child)
    assert isinstance(array, ArrayType) and isinstance(array.elementType, StructType)
    field = array.elementType.fields[ordinal]
    result = ArrayType(field.dataType, array.containsNull or field.nullable)
    return FunctionCall("get_array_struct_fields", (child, Literal(ordinal, INT)), result, nullable_of(child))


def _lower_array_field(context: LoweringContext, call: FunctionCall, args: SqlArgs) -> str:
    ordinal = call.args[1]
    assert isinstance(ordinal, Literal)
    return f"list_transform({args[0]}, lambda _s: struct_extract_at(_s, {ordinal.value + 1}))"


def with_field(child: Expression, path: tuple[str, ...], value: Expression | None) -> Expression:
    """`child.withField(path, value)`, or `dropFields(path)` where `value` is None.

    Names are compared without case; an existing field is replaced in its place, under the given name; a new one goes to
    the end. Dropping an absent field changes nothing. Null structs stay null. Raises DATATYPE_MISMATCH.* for a child that
    is no struct, FIELD_NOT_FOUND for an absent inner struct, CANNOT_DROP_ALL_FIELDS.
    """
    struct = dtype_of(child)
    if not isinstance(struct, StructType):
        raise unexpected_input("update_fields", (child,), 0, '"STRUCT"')
    name, rest = path[0], path[1:]
    hits = [i for i, f in enumerate(struct.fields) if f.name.lower() == name.lower()]
    if len(hits) > 1 and rest:
        raise AnalysisError("AMBIGUOUS_REFERENCE_TO_FIELDS", {"field": f"`{name}`", "count": str(len(hits))})
    if rest and not hits:
        shown = ", ".join(f"`{f.name}`" for f in struct.fields)
        raise AnalysisError("FIELD_NOT_FOUND", {"fieldName": f"`{name}`", "fields": shown})
    fields: list[StructField] = []
    values: list[Expression] = []
    for i, f in enumerate(struct.fields):
        current: Expression = GetField(child, i, f.name, f.dataType, f.nullable or nullable_of(child))
        label = f.name
        if i in hits:
            if rest:
                current = with_field(current, rest, value)
            elif value is None:
                continue
            else:
                current, label = value, name
        fields.append(StructField(label, dtype_of(current), nullable_of(current) if i in hits else f.nullable))
        values.append(current)
    if value is not None and not hits:
        fields.append(StructField(name, dtype_of(value), nullable_of(value)))
        values.append(value)
    if not fields:
        raise AnalysisError(
            "DATATYPE_MISMATCH.CANNOT_DROP_ALL_FIELDS", {"sqlExpr": call_text("update_fields", (child,))}
        )
    built = FunctionCall("struct", tuple(values), StructType(fields), False)
    if not nullable_of(child):
        return built
    return FunctionCall("struct_if_present", (child, built), built.dtype, True)


def _needs_rewrite(name: str) -> Callable[[BindContext, Args], Expression]:
    def bind(context: BindContext, args: Args) -> Expression:
        raise wrong_number_of_arguments(name, "0", len(args))

    return bind


FUNCTIONS: Final[tuple[CatalogueEntry, ...]] = (
    ScalarFunction("map", _bind_map, _lower_map, ("create_map",)),
    ScalarFunction("map_from_arrays", _bind_from_arrays, _lower_from_arrays),
    ScalarFunction("map_from_entries", _bind_from_entries, _lower_from_entries),
    simple("map_keys", (MAP,), _map_part("key"), "map_keys({0})"),
    simple("map_values", (MAP,), _map_part("value"), "map_values({0})"),
    simple("map_entries", (MAP,), _entries_type, "map_entries({0})"),
    ScalarFunction("map_concat", _bind_concat, _lower_concat),
    ScalarFunction(
        "map_contains_key", _bind_contains_key, lambda context, call, args: f"map_contains({args[0]}, {args[1]})"
    ),
    ScalarFunction("map_item", bind_map_item, _lower_map_item),
    ScalarFunction("str_to_map", _bind_str_to_map, _lower_str_to_map),
    ScalarFunction("struct", _bind_struct, _lower_struct),
    ScalarFunction("named_struct", _bind_named_struct),
    ScalarFunction("get_array_struct_fields", _needs_rewrite("get_array_struct_fields"), _lower_array_field),
    ScalarFunction(
        "struct_if_present",
        _needs_rewrite("struct_if_present"),
        lambda context, call, args: f"CASE WHEN {args[0]} IS NOT NULL THEN {args[1]} END",
    ),
)
