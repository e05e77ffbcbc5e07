"""Functions that only make sense under OVER: ranks, lag and lead, nth_value. (first_value and last_value are aggregates.)"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pyspark.sql.types import DataType

from runnel.errors import AnalysisError
from runnel.functions.pretty import pretty_type
from runnel.functions.registry import BindContext, CatalogueEntry, LoweringContext, WindowOnlyFunction
from runnel.functions.typing import (
    BOOLEAN,
    DOUBLE,
    INT,
    call_text,
    check_arity,
    coerce,
    common_type,
    is_integral,
    non_foldable,
    unexpected_input,
)
from runnel.plan.expressions import Expression, FunctionCall, Literal, dtype_of, nullable_of

Args = tuple[Expression, ...]


def _rank(name: str, dtype: DataType) -> WindowOnlyFunction:
    def bind(context: BindContext, args: Args) -> FunctionCall:
        check_arity(name, args, 0)
        return FunctionCall(name, (), dtype, False)

    return WindowOnlyFunction(name, bind, lambda context, call, args: f"{name}()")


def _constant(name: str, args: Args, index: int, label: str, *, positive: bool) -> int:
    """The value of an argument that must be an integral constant."""
    argument = args[index]
    value: object = None
    if isinstance(argument, Literal):
        value = argument.value
    elif (
        isinstance(argument, FunctionCall)
        and argument.name == "negative"
        and isinstance(argument.args[0], Literal)
        and argument.args[0].value is not None
    ):
        value = -argument.args[0].value
    else:
        raise non_foldable(name, args, index, label, '"INT"')
    if not is_integral(dtype_of(argument)) or not isinstance(value, int):
        raise unexpected_input(name, args, index, '"INT"')
    if positive and value <= 0:
        raise AnalysisError(
            "DATATYPE_MISMATCH.VALUE_OUT_OF_RANGE",
            {
                "sqlExpr": call_text(name, args),
                "exprName": f"`{label}`",
                "valueRange": "(0, 9223372036854775807]",
                "currentValue": f"{value}L",
            },
        )
    return value


def _bind_ntile(context: BindContext, args: Args) -> FunctionCall:
    check_arity("ntile", args, 0, 1)
    buckets = _constant("ntile", args, 0, "buckets", positive=True) if args else 1
    return FunctionCall("ntile", (Literal(buckets, INT),), INT, False)


def _bind_offset(name: str) -> Callable[[BindContext, Args], FunctionCall]:
    """lag and lead: (value[, offset[, default[, ignore nulls]]])."""

    def bind(context: BindContext, args: Args) -> FunctionCall:
        check_arity(name, args, 1, 4)
        offset = _constant(name, args, 1, "offset", positive=False) if len(args) > 1 else 1
        value, default = args[0], args[2] if len(args) > 2 else Literal(None, dtype_of(args[0]))
        dtype = common_type(dtype_of(value), dtype_of(default), context.ansi)
        if dtype is None:
            raise AnalysisError(
                "DATATYPE_MISMATCH.UNEXPECTED_INPUT_TYPE",
                {
                    "sqlExpr": call_text(name, args),
                    "paramIndex": "third",
                    "requiredType": pretty_type(dtype_of(value)),
                    "inputSql": '"default"',
                    "inputType": pretty_type(dtype_of(default)),
                },
            )
        skip = args[3] if len(args) > 3 else Literal(False, BOOLEAN)
        call = (coerce(value, dtype, context), Literal(offset, INT), coerce(default, dtype, context), skip)
        return FunctionCall(name, call, dtype, nullable_of(value) or nullable_of(default))

    return bind


def _ignores_nulls(call: FunctionCall) -> str:
    last = call.args[-1]
    return " IGNORE NULLS" if isinstance(last, Literal) and last.value is True else ""


def _lower_offset(name: str) -> Callable[[LoweringContext, FunctionCall, tuple[str, ...]], str]:
    def lower(context: LoweringContext, call: FunctionCall, args: tuple[str, ...]) -> str:
        return f"{name}({args[0]}, {args[1]}, {args[2]}{_ignores_nulls(call)})"

    return lower


def _bind_nth(context: BindContext, args: Args) -> FunctionCall:
    check_arity("nth_value", args, 2, 3)
    n = _constant("nth_value", args, 1, "offset", positive=True)
    skip = args[2] if len(args) > 2 else Literal(False, BOOLEAN)
    return FunctionCall("nth_value", (args[0], Literal(n, INT), skip), dtype_of(args[0]), True)


def _lower_nth(context: LoweringContext, call: FunctionCall, args: tuple[str, ...]) -> str:
    return f"nth_value({args[0]}, {args[1]}{_ignores_nulls(call)})"


FUNCTIONS: Final[tuple[CatalogueEntry, ...]] = (
    _rank("row_number", INT),
    _rank("rank", INT),
    _rank("dense_rank", INT),
    _rank("percent_rank", DOUBLE),
    _rank("cume_dist", DOUBLE),
    WindowOnlyFunction("ntile", _bind_ntile, lambda context, call, args: f"ntile({args[0]})"),
    WindowOnlyFunction("lag", _bind_offset("lag"), _lower_offset("lag")),
    WindowOnlyFunction("lead", _bind_offset("lead"), _lower_offset("lead")),
    WindowOnlyFunction("nth_value", _bind_nth, _lower_nth),
)
