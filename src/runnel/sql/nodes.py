"""Shorthand for the nodes that the grammar makes most."""

from __future__ import annotations

from pyspark.sql.types import BooleanType, IntegerType, NullType, StringType

from runnel.plan.expressions import Expression, Literal, UnresolvedFunction

TRUE = Literal(True, BooleanType())
FALSE = Literal(False, BooleanType())
NULL = Literal(None, NullType())
ONE = Literal(1, IntegerType())
CURRENT_ROW = Literal(0, IntegerType())


def call(name: str, *args: Expression) -> UnresolvedFunction:
    """A call of a function by its name in lower case."""
    return UnresolvedFunction(name, args)


def text_literal(value: str) -> Literal:
    return Literal(value, StringType())
