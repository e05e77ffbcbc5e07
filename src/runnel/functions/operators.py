"""Comparison, boolean, null and bitwise operators, and the pattern predicates. Arithmetic is in `arithmetic.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pyspark.sql.types import ArrayType, DataType, StructType

from runnel.errors import AnalysisError
from runnel.functions import arithmetic
from runnel.functions.pretty import pretty, pretty_type
from runnel.functions.registry import BindContext, CatalogueEntry, LoweringContext, ScalarFunction
from runnel.functions.typing import (
    ANY,
    BOOLEAN,
    BYTE,
    INT,
    LONG,
    SHORT,
    STRING,
    Family,
    call_text,
    check_arity,
    coerce,
    common_type_of_all,
    comparison_type,
    data_diff_types,
    is_atomic,
    is_comparable,
    is_decimal,
    is_integral,
    is_null,
    is_orderable,
    same_as,
    same_but_for_nulls,
    simple,
    tightest_common_type,
    unexpected_input,
)
from runnel.plan.expressions import Expression, FunctionCall, Literal, dtype_of, nullable_of

Args = tuple[Expression, ...]


# ---------------------------------------------------------------------------------------------------- comparison


def _different_types(name: str, args: Args) -> AnalysisError:
    return AnalysisError(
        "DATATYPE_MISMATCH.BINARY_OP_DIFF_TYPES",
        {
            "left": pretty_type(dtype_of(args[0])),
            "right": pretty_type(dtype_of(args[1])),
            "sqlExpr": call_text(name, args),
        },
    )


def _ordering(name: str, args: Args) -> AnalysisError:
    return AnalysisError(
        "DATATYPE_MISMATCH.INVALID_ORDERING_TYPE",
        {
            "functionName": f"`{'=' if name == '==' else name}`",
            "dataType": pretty_type(dtype_of(args[0])),
            "sqlExpr": call_text(name, args),
        },
    )


def _bind_comparison(name: str) -> Callable[[BindContext, Args], Expression]:
    equality = name in ("==", "<=>")

    def bind(context: BindContext, args: Args) -> Expression:
        check_arity(name, args, 2)
        if any(is_decimal(dtype_of(a)) for a in args):
            # an integer literal counts with the digits that it has
            args = tuple(arithmetic.decimal_of(a) if _integer_literal(a) else a for a in args)
        target = comparison_type(dtype_of(args[0]), dtype_of(args[1]), context.ansi)
        if target is None:
            if all(same_but_for_nulls(dtype_of(a), dtype_of(args[0])) for a in args):
                raise _ordering(name, args)
            raise _different_types(name, args)
        if not (is_comparable(target) if equality else is_orderable(target)):
            raise _ordering(name, args)
        args = tuple(coerce(a, target, context) for a in args)
        nullable = name != "<=>" and any(nullable_of(a) for a in args)
        return FunctionCall(name, args, BOOLEAN, nullable)

    return bind


def _integer_literal(expression: Expression) -> bool:
    return isinstance(expression, Literal) and is_integral(expression.dtype)


def _is_nested(t: DataType) -> bool:
    return isinstance(t, (ArrayType, StructType))


def sort_key(sql: str, t: DataType) -> str:
    """SQL that DuckDB orders as Spark orders `t`: inside structs and arrays nulls come first.

    DuckDB puts nulls inside nested values last; each field is therefore paired with its own null flag.
    """
    match t:
        case StructType():
            parts = []
            for i, f in enumerate(t.fields):
                value = f"struct_extract_at({sql}, {i + 1})"
                parts.append(f"({value} IS NOT NULL)")
                parts.append(sort_key(value, f.dataType))
            return f"CASE WHEN ({sql}) IS NOT NULL THEN row({', '.join(parts)}) END" if parts else sql
        case ArrayType(elementType=element):
            return f"list_transform({sql}, lambda _k: row(_k IS NOT NULL, {sort_key('_k', element)}))"
        case _:
            return sql


def _lower_comparison(symbol: str) -> Callable[[LoweringContext, FunctionCall, tuple[str, ...]], str]:
    def lower(context: LoweringContext, call: FunctionCall, args: tuple[str, ...]) -> str:
        left, right = args
        t = dtype_of(call.args[0])
        if symbol not in ("=", "IS NOT DISTINCT FROM") and _is_nested(t):
            left, right = sort_key(left, t), sort_key(right, t)
        return f"({left} {symbol} {right})"

    return lower


def _bind_not_equal(context: BindContext, args: Args) -> Expression:
    check_arity("!=", args, 2)
    return FunctionCall("not", (equal := _bind_comparison("==")(context, args),), BOOLEAN, nullable_of(equal))


def _bind_between(context: BindContext, args: Args) -> Expression:
    check_arity("between", args, 3)
    lower = _bind_comparison(">=")(context, (args[0], args[1]))
    upper = _bind_comparison("<=")(context, (args[0], args[2]))
    return FunctionCall("and", (lower, upper), BOOLEAN, nullable_of(lower) or nullable_of(upper))


def _bind_in(context: BindContext, args: Args) -> Expression:
    check_arity("in", args, 1, -1)
    types = [dtype_of(a) for a in args]
    target: DataType | None = types[0]
    if any(not same_but_for_nulls(t, types[0]) for t in types):
        target = common_type_of_all(types, context.ansi)
    if target is None or not is_comparable(target):
        raise data_diff_types("in", args)
    args = tuple(coerce(a, target, context) for a in args)
    return FunctionCall("in", args, BOOLEAN, any(nullable_of(a) for a in args))


def _lower_in(context: LoweringContext, call: FunctionCall, args: tuple[str, ...]) -> str:
    if len(args) == 1:
        return f"CASE WHEN {args[0]} IS NOT NULL THEN FALSE END"
    return f"({args[0]} IN ({', '.join(args[1:])}))"


# ------------------------------------------------------------------------------------------------------- boolean


def _bind_junction(name: str) -> Callable[[BindContext, Args], Expression]:
    def bind(context: BindContext, args: Args) -> Expression:
        check_arity(name, args, 2)
        if not is_null(dtype_of(args[0])) and not is_null(dtype_of(args[1])):
            types = [dtype_of(a) for a in args]
            found = comparison_type(types[0], types[1], context.ansi)
            if found is None or tightest_common_type(found, BOOLEAN) is None:
                if same_but_for_nulls(types[0], types[1]):
                    raise AnalysisError(
                        "DATATYPE_MISMATCH.BINARY_OP_WRONG_TYPE",
                        {
                            "inputType": '"BOOLEAN"',
                            "actualDataType": pretty_type(types[0]),
                            "sqlExpr": call_text(name, args),
                        },
                    )
                raise _different_types(name, args)
        args = tuple(coerce(a, BOOLEAN, context) for a in args)
        return FunctionCall(name, args, BOOLEAN, any(nullable_of(a) for a in args))

    return bind


# ------------------------------------------------------------------------------------------------------- bitwise


def _bind_bitwise(name: str) -> Callable[[BindContext, Args], Expression]:
    def bind(context: BindContext, args: Args) -> Expression:
        check_arity(name, args, 2)
        types = [dtype_of(a) for a in args]
        target = tightest_common_type(types[0], types[1], context.ansi)
        if target is None:
            raise _different_types(name, args)
        if is_null(target):
            target = LONG
        if not is_integral(target):
            raise AnalysisError(
                "DATATYPE_MISMATCH.BINARY_OP_WRONG_TYPE",
                {
                    "inputType": '"INTEGRAL"',
                    "actualDataType": pretty_type(target),
                    "sqlExpr": call_text(name, args),
                },
            )
        args = tuple(coerce(a, target, context) for a in args)
        return FunctionCall(name, args, target, any(nullable_of(a) for a in args))

    return bind


INT_OR_LONG: Final = Family('("INT" or "BIGINT")', lambda t: t in (INT, LONG), INT, (INT,))
_SMALL: Final = (BYTE, SHORT)


def _bits(call: FunctionCall) -> int:
    return 64 if call.dtype == LONG else 32


def _lower_shift_left(context: LoweringContext, call: FunctionCall, args: tuple[str, ...]) -> str:
    bits = _bits(call)
    product = f"CAST({args[0]} AS HUGEINT) * CAST(power(2, {args[1]} & {bits - 1}) AS HUGEINT)"
    return arithmetic.wrapped(product, bits)


def _lower_shift_right(context: LoweringContext, call: FunctionCall, args: tuple[str, ...]) -> str:
    return f"({args[0]} >> ({args[1]} & {_bits(call) - 1}))"


def _lower_shift_right_unsigned(context: LoweringContext, call: FunctionCall, args: tuple[str, ...]) -> str:
    bits = _bits(call)
    unsigned = f"(CAST({args[0]} AS HUGEINT) & {(1 << bits) - 1}::HUGEINT)"
    return arithmetic.wrapped(f"({unsigned} >> ({args[1]} & {bits - 1}))", bits)


def _shift(
    name: str, symbol: str, lower: Callable[[LoweringContext, FunctionCall, tuple[str, ...]], str]
) -> ScalarFunction:
    return simple(name, (INT_OR_LONG, INT), same_as(0), lower, aliases=(symbol,))


# ------------------------------------------------------------------------------------------------------ patterns


def _bind_pattern(name: str, most: int) -> Callable[[BindContext, Args], Expression]:
    def bind(context: BindContext, args: Args) -> Expression:
        check_arity(name, args, 2, most)
        for i, a in enumerate(args):
            if not is_atomic(dtype_of(a)) and not is_null(dtype_of(a)):
                raise unexpected_input(name, args, i, '"STRING"')
        args = tuple(coerce(a, STRING, context) for a in args)
        if name != "rlike" and len(args) == 3 and not _is_character(args[2]):
            raise AnalysisError("INVALID_ESCAPE_CHAR", {"sqlExpr": f'"{pretty(args[2])}"'})
        return FunctionCall(name, args, BOOLEAN, any(nullable_of(a) for a in args))

    return bind


def _is_character(expression: Expression) -> bool:
    return isinstance(expression, Literal) and isinstance(expression.value, str) and len(expression.value) == 1


def _lower_like(operator: str) -> Callable[[LoweringContext, FunctionCall, tuple[str, ...]], str]:
    def lower(context: LoweringContext, call: FunctionCall, args: tuple[str, ...]) -> str:
        escape = args[2] if len(args) > 2 else "'\\'"
        return f"({args[0]} {operator} {args[1]} ESCAPE {escape})"

    return lower


def _lower_rlike(context: LoweringContext, call: FunctionCall, args: tuple[str, ...]) -> str:
    return f"regexp_matches({args[0]}, {args[1]})"


def _bind_like_any(name: str, inner: str, junction: str, negated: bool) -> Callable[[BindContext, Args], Expression]:
    def bind(context: BindContext, args: Args) -> Expression:
        check_arity(name, args, 2, -1)
        one = _bind_pattern(inner, 2)
        parts = [one(context, (args[0], pattern)) for pattern in args[1:]]
        if negated:
            parts = [FunctionCall("not", (p,), BOOLEAN, nullable_of(p)) for p in parts]
        result = parts[0]
        for part in parts[1:]:
            result = FunctionCall(junction, (result, part), BOOLEAN, nullable_of(result) or nullable_of(part))
        return result

    return bind


# --------------------------------------------------------------------------------------------------------- table


def _comparison(name: str, symbol: str, *aliases: str) -> ScalarFunction:
    return ScalarFunction(name, _bind_comparison(name), _lower_comparison(symbol), aliases)


def _infix(name: str, symbol: str, bind: Callable[[BindContext, Args], Expression]) -> ScalarFunction:
    return ScalarFunction(name, bind, lambda context, call, args: f"({args[0]} {symbol} {args[1]})")


def _lower_xor(context: LoweringContext, call: FunctionCall, args: tuple[str, ...]) -> str:
    return f"xor({args[0]}, {args[1]})"


COMPARISON: Final[tuple[CatalogueEntry, ...]] = (
    _comparison("==", "=", "="),
    _comparison("<=>", "IS NOT DISTINCT FROM", "equal_null"),
    _comparison("<", "<"),
    _comparison("<=", "<="),
    _comparison(">", ">"),
    _comparison(">=", ">="),
    ScalarFunction("!=", _bind_not_equal, None, ("<>",)),
    ScalarFunction("between", _bind_between),
    ScalarFunction("in", _bind_in, _lower_in),
    simple("isnull", (ANY,), BOOLEAN, "({0} IS NULL)", nullable=False),
    simple("isnotnull", (ANY,), BOOLEAN, "({0} IS NOT NULL)", nullable=False),
)

BOOLEANS: Final[tuple[CatalogueEntry, ...]] = (
    _infix("and", "AND", _bind_junction("and")),
    _infix("or", "OR", _bind_junction("or")),
    simple("not", (BOOLEAN,), BOOLEAN, "(NOT {0})", aliases=("!",)),
)

BITWISE: Final[tuple[CatalogueEntry, ...]] = (
    _infix("&", "&", _bind_bitwise("&")),
    _infix("|", "|", _bind_bitwise("|")),
    ScalarFunction("^", _bind_bitwise("^"), _lower_xor),
    simple(
        "~",
        (Family('"INTEGRAL"', is_integral, LONG, (LONG,)),),
        same_as(0),
        "(~({0}))",
        aliases=("bitwise_not", "bitwisenot"),
    ),
    _shift("shiftleft", "<<", _lower_shift_left),
    _shift("shiftright", ">>", _lower_shift_right),
    _shift("shiftrightunsigned", ">>>", _lower_shift_right_unsigned),
)

PATTERNS: Final[tuple[CatalogueEntry, ...]] = (
    ScalarFunction("like", _bind_pattern("like", 3), _lower_like("LIKE")),
    ScalarFunction("ilike", _bind_pattern("ilike", 3), _lower_like("ILIKE")),
    ScalarFunction("rlike", _bind_pattern("rlike", 2), _lower_rlike, ("regexp", "regexp_like")),
    ScalarFunction("like_any", _bind_like_any("like_any", "like", "or", False)),
    ScalarFunction("like_all", _bind_like_any("like_all", "like", "and", False)),
    ScalarFunction("not_like_any", _bind_like_any("not_like_any", "like", "or", True)),
    ScalarFunction("not_like_all", _bind_like_any("not_like_all", "like", "and", True)),
)

FUNCTIONS: Final[tuple[CatalogueEntry, ...]] = COMPARISON + BOOLEANS + BITWISE + PATTERNS
