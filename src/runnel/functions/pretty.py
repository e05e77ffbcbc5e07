"""Expression and type text for error messages, as Spark quotes them. Column naming is analysis' own affair."""

from __future__ import annotations

from typing import Final

from pyspark.sql.types import (
    DataType,
    DateType,
    DecimalType,
    StringType,
    TimestampNTZType,
    TimestampType,
)

from runnel.plan.expressions import (
    AggregateCall,
    Alias,
    Attribute,
    Cast,
    Expression,
    FunctionCall,
    GetField,
    LambdaVariable,
    Literal,
    UnresolvedAttribute,
    UnresolvedFunction,
)

_INFIX: Final = frozenset(
    ("+", "-", "*", "/", "%", "div", "=", "==", "<=>", "<", "<=", ">", ">=", "!=", "and", "or", "&", "|", "^", "||")
)


def pretty_type(dtype: DataType) -> str:
    """`"DECIMAL(10,2)"`, quotes included."""
    return f'"{dtype.simpleString().upper()}"'


def pretty(expression: Expression) -> str:
    """The expression's text, without quotes around it. Unknown kinds show their node's name."""
    match expression:
        case Attribute(name=name) | LambdaVariable(name=name):
            return name
        case UnresolvedAttribute(parts=parts):
            return ".".join(parts)
        case Literal():
            return _literal(expression)
        case Alias(child=child, name=name):
            return f"{pretty(child)} AS {name}"
        case Cast(child=child, dtype=dtype, type_text=text):
            shown = dtype.simpleString() if dtype is not None else text or ""
            return f"CAST({pretty(child)} AS {shown.upper()})"
        case GetField(child=child, name=name):
            return f"{pretty(child)}.{name}"
        case (
            FunctionCall(name=name, args=args)
            | AggregateCall(name=name, args=args)
            | UnresolvedFunction(name=name, args=args)
        ):
            return _call(name, args)
        case _:
            return type(expression).__name__


def _call(name: str, args: tuple[Expression, ...]) -> str:
    if name in _INFIX and len(args) == 2:
        symbol = "=" if name == "==" else name.upper()
        return f"({pretty(args[0])} {symbol} {pretty(args[1])})"
    if name == "not" and len(args) == 1:
        return f"(NOT {pretty(args[0])})"
    if name == "negative" and len(args) == 1:
        return f"(- {pretty(args[0])})"
    return f"{name}({', '.join(pretty(a) for a in args)})"


def _literal(literal: Literal) -> str:
    if literal.value is None:
        return "NULL"
    match literal.dtype:
        case StringType() | DecimalType():
            return str(literal.value)
        case DateType() | TimestampType() | TimestampNTZType():
            return f"{literal.dtype.simpleString().upper()} '{literal.value}'"
        case _:
            return str(literal.value).lower() if isinstance(literal.value, bool) else str(literal.value)
