"""Casts that the user asks for, and conditions that must be boolean."""

from __future__ import annotations

from pyspark.sql.types import BooleanType, DataType

from runnel.errors import AnalysisError
from runnel.functions.casts import can_cast, cast_not_allowed
from runnel.functions.pretty import pretty_type
from runnel.functions.typing import cast_forces_null, coerce, is_null
from runnel.plan.expressions import Cast, CastMode, Expression, dtype_of, nullable_of


def cast(child: Expression, target: DataType, mode: CastMode, text: str) -> Expression:
    """The cast that the user wrote; DATATYPE_MISMATCH.CAST_WITHOUT_SUGGESTION where Spark has none."""
    source = dtype_of(child)
    if not can_cast(source, target, mode is not CastMode.LEGACY):
        raise cast_not_allowed(text, source, target)
    if source == target:
        return child
    nullable = nullable_of(child) or is_null(source) or mode is CastMode.TRY
    return Cast(child, target, mode, nullable or cast_forces_null(source, target))


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
