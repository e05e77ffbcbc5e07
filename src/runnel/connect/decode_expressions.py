"""Expression messages to expression nodes, one function a kind."""

from __future__ import annotations

import decimal
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from pyspark.sql.connect.proto import expressions_pb2
from pyspark.sql.connect.types import parse_attr_name
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    ByteType,
    CalendarIntervalType,
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
    YearMonthIntervalType,
)

from runnel import sql
from runnel.connect.decode_types import decode_type
from runnel.connect.references import python_function
from runnel.errors import AnalysisError, InvalidPlanError, unsupported
from runnel.plan.expressions import (
    Alias,
    Cast,
    CastMode,
    Expression,
    Literal,
    MultiAlias,
    PythonFunction,
    PythonUDF,
    SortOrder,
    UnresolvedAttribute,
    UnresolvedExtract,
    UnresolvedFunction,
    UnresolvedLambda,
    UnresolvedLambdaVariable,
    UnresolvedNamedArgument,
    UnresolvedRegex,
    UnresolvedStar,
    UnresolvedSubquery,
    UpdateFields,
    WindowExpression,
    WindowFrame,
)
from runnel.plan.relations import Relation

Proto = expressions_pb2.Expression


@dataclass(frozen=True, slots=True)
class DecodeContext:
    """What a plan's messages refer to besides themselves.

    references: plans that come with the message (subqueries), by plan id. artifact: bytes that were uploaded, by name.
    prefer_timestamp_ntz: what a timestamp without zone in untyped Arrow data means.
    """

    artifact: Callable[[str], bytes]
    references: dict[int, Relation] = field(default_factory=dict)
    prefer_timestamp_ntz: bool = False


def decode_expression(ctx: DecodeContext, message: Proto) -> Expression:
    """One expression; raises the refusal of a kind that is not supported."""
    kind = message.WhichOneof("expr_type")
    if kind is None:
        raise InvalidPlanError("CONNECT_INVALID_PLAN.EXPRESSION_TYPE_NOT_SET")
    decoder = EXPRESSIONS.get(kind)
    if decoder is None:
        raise unsupported(f"The Spark Connect expression {kind}", REFUSED_EXPRESSIONS.get(kind, ""))
    return decoder(ctx, getattr(message, kind))


def decode_all(ctx: DecodeContext, messages: Iterable[Proto]) -> tuple[Expression, ...]:
    """Several expressions, in order."""
    return tuple(decode_expression(ctx, m) for m in messages)


def name_parts(text: str) -> tuple[str, ...]:
    """A dotted, possibly back-quoted name as its parts."""
    parts = parse_attr_name(text)
    if parts is None:
        raise AnalysisError("INVALID_ATTRIBUTE_NAME_SYNTAX", name=text)
    return tuple(parts)


# ---------------------------------------------------------------------------------------------------------- literals

_SIMPLE: dict[str, DataType] = {
    "binary": BinaryType(),
    "boolean": BooleanType(),
    "byte": ByteType(),
    "short": ShortType(),
    "integer": IntegerType(),
    "long": LongType(),
    "float": FloatType(),
    "double": DoubleType(),
    "string": StringType(),
    "date": DateType(),
    "timestamp": TimestampType(),
    "timestamp_ntz": TimestampNTZType(),
    "year_month_interval": YearMonthIntervalType(),
    "day_time_interval": DayTimeIntervalType(),
}
_SPECIALIZED: dict[str, DataType] = {
    "bools": BooleanType(),
    "ints": IntegerType(),
    "longs": LongType(),
    "floats": FloatType(),
    "doubles": DoubleType(),
    "strings": StringType(),
}


def decode_literal(message: Proto.Literal) -> Literal:
    """A constant, its value in internal form."""
    kind = message.WhichOneof("literal_type")
    declared = decode_type(message.data_type) if message.HasField("data_type") else None
    if kind in _SIMPLE:
        return Literal(getattr(message, kind), declared or _SIMPLE[kind])
    match kind:
        case "null":
            return Literal(None, decode_type(message.null) if message.null.WhichOneof("kind") else NullType())
        case None if declared is not None:
            return Literal(None, declared)
        case "decimal":
            return _decimal(message.decimal)
        case "calendar_interval":
            interval = message.calendar_interval
            return Literal((interval.months, interval.days, interval.microseconds), CalendarIntervalType())
        case "time":
            precision = message.time.precision if message.time.HasField("precision") else 6
            return Literal(message.time.nano, TimeType(precision))
        case "array":
            elements = [decode_literal(e) for e in message.array.elements]
            return Literal(tuple(e.value for e in elements), _array_type(message.array, declared, elements))
        case "specialized_array":
            chosen = str(message.specialized_array.WhichOneof("value_type"))
            values = getattr(message.specialized_array, chosen).values
            return Literal(tuple(values), declared or ArrayType(_SPECIALIZED[chosen], False))
        case "map":
            keys = [decode_literal(k) for k in message.map.keys]
            values = [decode_literal(v) for v in message.map.values]
            pairs = tuple((k.value, v.value) for k, v in zip(keys, values, strict=True))
            return Literal(pairs, _map_type(message.map, declared, keys, values))
        case "struct":
            elements = [decode_literal(e) for e in message.struct.elements]
            if declared is None and message.struct.HasField("struct_type"):
                declared = decode_type(message.struct.struct_type)
            if declared is None:
                declared = StructType([StructField(f"col{i + 1}", e.dtype, e.nullable) for i, e in enumerate(elements)])
            return Literal(tuple(e.value for e in elements), declared)
        case _:
            raise unsupported(f"The Spark Connect literal {kind}")


def _decimal(message: Proto.Literal.Decimal) -> Literal:
    value = decimal.Decimal(message.value)
    digits = value.as_tuple()
    exponent = digits.exponent if isinstance(digits.exponent, int) else 0
    scale = max(0, -exponent)
    precision = max(len(digits.digits) + max(0, exponent), scale)
    # The client says its default precision and scale whatever the value is; the value's own digits are never cut.
    precision = max(precision, message.precision if message.HasField("precision") else 0)
    scale = max(scale, message.scale if message.HasField("scale") else 0)
    precision = max(precision, scale, 1)
    return Literal(value, DecimalType(precision, scale))


def _common_type(elements: list[Literal]) -> DataType:
    return next((e.dtype for e in elements if not isinstance(e.dtype, NullType)), NullType())


def _array_type(message: Proto.Literal.Array, declared: DataType | None, elements: list[Literal]) -> DataType:
    if declared is not None:
        return declared
    if message.HasField("element_type"):
        return ArrayType(decode_type(message.element_type), any(e.value is None for e in elements))
    return ArrayType(_common_type(elements), any(e.value is None for e in elements))


def _map_type(
    message: Proto.Literal.Map, declared: DataType | None, keys: list[Literal], values: list[Literal]
) -> DataType:
    if declared is not None:
        return declared
    key = decode_type(message.key_type) if message.HasField("key_type") else _common_type(keys)
    value = decode_type(message.value_type) if message.HasField("value_type") else _common_type(values)
    return MapType(key, value, any(v.value is None for v in values))


def _literal(_ctx: DecodeContext, message: Proto.Literal) -> Expression:
    return decode_literal(message)


# ------------------------------------------------------------------------------------------------- names and calls


def _attribute(_ctx: DecodeContext, message: Proto.UnresolvedAttribute) -> Expression:
    plan_id = message.plan_id if message.HasField("plan_id") else None
    text = message.unparsed_identifier
    if text == "*" or text.endswith(".*"):
        return UnresolvedStar(() if text == "*" else name_parts(text[:-2]), plan_id)
    return UnresolvedAttribute(name_parts(text), plan_id, message.is_metadata_column)


def _star(_ctx: DecodeContext, message: Proto.UnresolvedStar) -> Expression:
    plan_id = message.plan_id if message.HasField("plan_id") else None
    target = message.unparsed_target.removesuffix(".*") if message.HasField("unparsed_target") else ""
    return UnresolvedStar(name_parts(target) if target else (), plan_id)


def _regex(_ctx: DecodeContext, message: Proto.UnresolvedRegex) -> Expression:
    return UnresolvedRegex(message.col_name, message.plan_id if message.HasField("plan_id") else None)


def _function(ctx: DecodeContext, message: Proto.UnresolvedFunction) -> Expression:
    arguments = decode_all(ctx, message.arguments)
    return UnresolvedFunction(message.function_name.lower(), arguments, distinct=message.is_distinct)


def _call_function(ctx: DecodeContext, message: expressions_pb2.CallFunction) -> Expression:
    return UnresolvedFunction(message.function_name.replace("`", "").lower(), decode_all(ctx, message.arguments))


def _expression_string(_ctx: DecodeContext, message: Proto.ExpressionString) -> Expression:
    return sql.parse_expression(message.expression)


def decode_alias(ctx: DecodeContext, message: Proto.Alias) -> Expression:
    """A named expression; several names are those of a generator's columns."""
    child = decode_expression(ctx, message.expr)
    if len(message.name) != 1:
        return MultiAlias(child, tuple(message.name))
    metadata = json.loads(message.metadata) if message.HasField("metadata") else None
    return Alias(child, message.name[0], metadata=metadata)


_CAST_MODES = {1: CastMode.LEGACY, 2: CastMode.ANSI, 3: CastMode.TRY}


def _cast(ctx: DecodeContext, message: Proto.Cast) -> Expression:
    dtype = sql.parse_type(message.type_str) if message.HasField("type_str") else decode_type(message.type)
    return Cast(decode_expression(ctx, message.expr), dtype, _CAST_MODES.get(message.eval_mode))


def decode_sort_order(ctx: DecodeContext, message: Proto.SortOrder) -> SortOrder:
    """A sort key; where nulls go follows the direction unless it is said."""
    ascending = message.direction != Proto.SortOrder.SORT_DIRECTION_DESCENDING
    nulls_first = ascending
    if message.null_ordering != Proto.SortOrder.SORT_NULLS_UNSPECIFIED:
        nulls_first = message.null_ordering == Proto.SortOrder.SORT_NULLS_FIRST
    return SortOrder(decode_expression(ctx, message.child), ascending, nulls_first)


def _lambda(ctx: DecodeContext, message: Proto.LambdaFunction) -> Expression:
    params = tuple(".".join(p.name_parts) for p in message.arguments)
    return UnresolvedLambda(decode_expression(ctx, message.function), params)


def _lambda_variable(_ctx: DecodeContext, message: Proto.UnresolvedNamedLambdaVariable) -> Expression:
    return UnresolvedLambdaVariable(".".join(message.name_parts))


def _extract(ctx: DecodeContext, message: Proto.UnresolvedExtractValue) -> Expression:
    return UnresolvedExtract(decode_expression(ctx, message.child), decode_expression(ctx, message.extraction))


def _update_fields(ctx: DecodeContext, message: Proto.UpdateFields) -> Expression:
    value = decode_expression(ctx, message.value_expression) if message.HasField("value_expression") else None
    return UpdateFields(decode_expression(ctx, message.struct_expression), message.field_name, value)


def _named_argument(ctx: DecodeContext, message: expressions_pb2.NamedArgumentExpression) -> Expression:
    return UnresolvedNamedArgument(message.key, decode_expression(ctx, message.value))


# --------------------------------------------------------------------------------------------------------- windows


def _bound(ctx: DecodeContext, message: Proto.Window.WindowFrame.FrameBoundary) -> Expression | None:
    match message.WhichOneof("boundary"):
        case "unbounded":
            return None
        case "current_row":
            return Literal(0, IntegerType())
        case "value":
            return decode_expression(ctx, message.value)
        case _:
            raise InvalidPlanError("CONNECT_INVALID_PLAN.WINDOW_FRAME_BOUNDARY_NOT_SET")


def _window(ctx: DecodeContext, message: Proto.Window) -> Expression:
    frame = None
    if message.HasField("frame_spec"):
        spec = message.frame_spec
        kind = "rows" if spec.frame_type == Proto.Window.WindowFrame.FRAME_TYPE_ROW else "range"
        frame = WindowFrame(kind, _bound(ctx, spec.lower), _bound(ctx, spec.upper))
    return WindowExpression(
        decode_expression(ctx, message.window_function),
        decode_all(ctx, message.partition_spec),
        tuple(decode_sort_order(ctx, o) for o in message.order_spec),
        frame,
    )


# ------------------------------------------------------------------------------------- user functions, subqueries


def decode_python_function(message: expressions_pb2.CommonInlineUserDefinedFunction) -> tuple[PythonFunction, DataType]:
    """The Python function of a message and the type it declares; refuses functions of other languages."""
    match message.WhichOneof("function"):
        case "python_udf":
            udf = message.python_udf
            function = python_function(udf.command, message.function_name, udf.eval_type, message.deterministic)
            return function, decode_type(udf.output_type)
        case "java_udf":
            raise unsupported(f"The Java function {message.java_udf.class_name}", "Write it as a Python function.")
        case _:
            raise unsupported("A Scala function", "Write it as a Python function.")


def _inline_udf(ctx: DecodeContext, message: expressions_pb2.CommonInlineUserDefinedFunction) -> Expression:
    function, dtype = decode_python_function(message)
    arguments = decode_all(ctx, message.arguments)
    names = tuple(a.name if isinstance(a, UnresolvedNamedArgument) else None for a in arguments)
    values = tuple(a.value if isinstance(a, UnresolvedNamedArgument) else a for a in arguments)
    return PythonUDF(function, values, dtype, True, names)


_SUBQUERIES = {1: "scalar", 2: "exists", 4: "in"}


def _subquery(ctx: DecodeContext, message: expressions_pb2.SubqueryExpression) -> Expression:
    kind = _SUBQUERIES.get(message.subquery_type)
    if kind is None:
        raise unsupported("A table argument (asTable)")
    plan = ctx.references.get(message.plan_id)
    if plan is None:
        raise InvalidPlanError("CONNECT_INVALID_PLAN.SUBQUERY_PLAN_NOT_FOUND", planId=message.plan_id)
    return UnresolvedSubquery(kind, plan, decode_all(ctx, message.in_subquery_values))


def _shuffle_partition(ctx: DecodeContext, message: Proto.DirectShufflePartitionID) -> Expression:
    return decode_expression(ctx, message.child)


EXPRESSIONS: dict[str, Callable[[DecodeContext, Any], Expression]] = {
    "literal": _literal,
    "unresolved_attribute": _attribute,
    "unresolved_star": _star,
    "unresolved_regex": _regex,
    "unresolved_function": _function,
    "call_function": _call_function,
    "expression_string": _expression_string,
    "alias": decode_alias,
    "cast": _cast,
    "sort_order": decode_sort_order,
    "lambda_function": _lambda,
    "unresolved_named_lambda_variable": _lambda_variable,
    "window": _window,
    "unresolved_extract_value": _extract,
    "update_fields": _update_fields,
    "named_argument_expression": _named_argument,
    "common_inline_user_defined_function": _inline_udf,
    "subquery_expression": _subquery,
    "direct_shuffle_partition_id": _shuffle_partition,
}

REFUSED_EXPRESSIONS: dict[str, str] = {
    "merge_action": "Write the merge with your target's own client inside foreachBatch.",
    "typed_aggregate_expression": "It is part of the Scala API.",
    "extension": "It is part of a plugin.",
}
