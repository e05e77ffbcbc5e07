"""Spark SQL text to plan nodes: expressions, statements, types, schemas and names.

The grammar (and sqlglot) is loaded with the first expression or statement: who has neither does not pay for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from runnel.plan.ddl import parse_schema, parse_type
from runnel.plan.expressions import Expression
from runnel.plan.relations import Relation

if TYPE_CHECKING:
    from runnel.sql.commands import Command

__all__ = ["parse_expression", "parse_name", "parse_schema", "parse_statement", "parse_type"]

Arguments = Sequence[Expression] | Mapping[str, Expression]


def parse_expression(text: str) -> Expression:
    """The expression that a text such as `a + 1 AS b` names, unresolved. ParseError where it is not one."""
    from runnel.sql import parsing

    return parsing.parse_expression(text)


def parse_name(text: str) -> tuple[str, ...]:
    """The parts of a dotted name: `a.b`, `` `a.b`.c ``. ParseError where it is not one."""
    from runnel.sql import parsing

    return parsing.parse_name(text)


def parse_statement(text: str, args: Arguments | None = None) -> Relation | Command:
    """The plan of a query, or the command that the text says.

    args: the values of the parameters: in order for `?`, by name for `:name`.

    ParseError with Spark's condition where the text is not SQL; a statement that Runnel does not know is the command
    `Unsupported`.
    """
    from runnel.sql import parsing

    return parsing.parse_statement(text, args)
