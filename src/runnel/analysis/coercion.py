"""Casts that the user asks for, and conditions that must be boolean."""

from __future__ import annotations

from pyspark.sql.types import BooleanType, DataType, DateType

from runnel.errors import AnalysisError
from runnel.functions.casts import can_cast, cast_not_allowed
from runnel.functions.pretty import pretty_type
from runnel.functions.typing import coerce, is_null, is_numeric, is_string, is_timestamp, same_but_for_nulls
from runnel.plan.expressions import Cast, CastMode, Expression, dtype_of, nullable_of


def cast(child: Expression, target: DataType, mode: CastMode, text: str) -> Expression:
    """The cast that the user wrote; DATATYPE_MISMATCH.CAST_WITHOUT_SUGGESTION where Spark has none."""
    source = dtype_of(child)
    if not can_cast(source, target, mode is not CastMode.LEGACY):
        raise cast_not_allowed(text, source, target)
    if source == target:
        return child
    nullable = nullable_of(child) or is_null(source) or _can_give_null(source, target, mode)
    return Cast(child, target, mode, nullable)


def _can_give_null(source: DataType, target: DataType, mode: CastMode) -> bool:
    if mode is CastMode.ANSI or same_but_for_nulls(source, target):
        return False
    if is_string(target):
        return False
    if is_numeric(source) and is_numeric(target) and mode is CastMode.LEGACY:
        return "decimal" in target.typeName()
    return not (isinstance(source, DateType) and is_timestamp(target))


def boolean_condition(condition: Expression, text: str) -> Expression:
    """A filter's condition; DATATYPE_MISMATCH.FILTER_NOT_BOOLEAN for another type."""
    dtype = dtype_of(condition)
    if is_null(dtype):
        return coerce(condition, BooleanType())
    if not isinstance(dtype, BooleanType):
        raise AnalysisError(
            "DATATYPE_MISMATCH.FILTER_NOT_BOOLEAN",
            sqlExpr=f'"{text}"',
            filter=f'"{text}"',
            type=pretty_type(dtype),
        )
    return condition
