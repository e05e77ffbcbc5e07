"""Short names for the nodes that the tests expect."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from pyspark.sql import types as t
from pyspark.sql.types import DataType

from runnel.plan.expressions import (
    Alias,
    Cast,
    CastMode,
    Expression,
    Literal,
    SortOrder,
    UnresolvedAttribute,
    UnresolvedExtract,
    UnresolvedFunction,
    UnresolvedLambdaVariable,
)
from runnel.plan.relations import NamedTable, Project, Relation


def c(name: str) -> UnresolvedAttribute:
    """The column `a.b`."""
    return UnresolvedAttribute(tuple(name.split(".")))


def lit(value: Any, dtype: DataType | None = None) -> Literal:
    """A literal of the type that Spark gives the value's plain form."""
    if dtype is None:
        match value:
            case bool():
                dtype = t.BooleanType()
            case int():
                dtype = t.IntegerType()
            case float():
                dtype = t.DoubleType()
            case str():
                dtype = t.StringType()
            case bytes():
                dtype = t.BinaryType()
            case Decimal():
                digits = value.as_tuple()
                assert isinstance(digits.exponent, int)
                dtype = t.DecimalType(max(len(digits.digits), -digits.exponent), -digits.exponent)
            case _:
                dtype = t.NullType()
    return Literal(value, dtype)


def f(name: str, *args: Expression, **more: Any) -> UnresolvedFunction:
    """A call."""
    return UnresolvedFunction(name, args, **more)


def item(child: Expression, key: Any) -> UnresolvedExtract:
    """`child[key]`"""
    return UnresolvedExtract(child, key if isinstance(key, Expression) else lit(key))


def var(name: str) -> UnresolvedLambdaVariable:
    return UnresolvedLambdaVariable(name)


def cast(child: Expression, dtype: DataType, mode: CastMode | None = None) -> Cast:
    return Cast(child, dtype, mode)


def named(child: Expression, name: str) -> Alias:
    return Alias(child, name)


def ascending(child: Expression) -> SortOrder:
    return SortOrder(child, True, True)


def descending(child: Expression) -> SortOrder:
    return SortOrder(child, False, False)


def table(name: str, **more: Any) -> NamedTable:
    return NamedTable(parts=tuple(name.split(".")), **more)


def select(child: Relation, *items: Expression) -> Project:
    return Project(child=child, expressions=items)
