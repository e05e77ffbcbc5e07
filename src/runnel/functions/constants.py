"""Arguments that must be constants: texts, maps of options, schemas."""

from __future__ import annotations

from pyspark.sql.types import DataType, MapType, StringType

from runnel.errors import AnalysisError
from runnel.functions.pretty import pretty, pretty_type
from runnel.functions.typing import STRING
from runnel.plan.ddl import parse_schema, parse_type
from runnel.plan.expressions import Cast, Expression, FunctionCall, Literal, dtype_of

Args = tuple[Expression, ...]


def constant_text(expression: Expression) -> str | None:
    """The text of a constant string, None for anything else."""
    while isinstance(expression, Cast):
        expression = expression.child
    if isinstance(expression, Literal) and isinstance(expression.value, str):
        return expression.value
    return None


def options_of(args: Args, index: int) -> dict[str, str]:
    """The options of a call: a map of constants. Errors: AnalysisError INVALID_OPTIONS."""
    if len(args) <= index:
        return {}
    given = args[index]
    if isinstance(given, Literal) and isinstance(given.value, tuple):
        return {str(k): str(v) for k, v in given.value}
    if isinstance(given, FunctionCall) and given.name == "map":
        texts = [constant_text(a) for a in given.args]
        if all(t is not None for t in texts):
            return {str(k): str(v) for k, v in zip(texts[::2], texts[1::2], strict=True)}
        dtype = dtype_of(given)
        if isinstance(dtype, MapType) and not (
            isinstance(dtype.keyType, StringType) and isinstance(dtype.valueType, StringType)
        ):
            raise AnalysisError("INVALID_OPTIONS.NON_STRING_TYPE", {"mapType": pretty_type(dtype)})
    raise AnalysisError("INVALID_OPTIONS.NON_MAP_FUNCTION")


def literal_options(options: dict[str, str]) -> Literal:
    return Literal(tuple(options.items()), MapType(STRING, STRING))


def schema_of(expression: Expression) -> DataType:
    """The type that a constant text names, or the schema. Errors: AnalysisError INVALID_SCHEMA, parse errors."""
    text = constant_text(expression)
    if text is None:
        raise AnalysisError("INVALID_SCHEMA.NON_STRING_LITERAL", {"inputSchema": f'"{pretty(expression)}"'})
    try:
        return parse_type(text)
    except AnalysisError:
        return parse_schema(text)
