"""Entry points: a whole text to one node. A text without parameters is parsed once."""

from __future__ import annotations

from functools import lru_cache

from runnel.plan.expressions import Expression
from runnel.plan.relations import Relation
from runnel.sql.commands import Command
from runnel.sql.expressions import Arguments
from runnel.sql.statements import StatementParser
from runnel.sql.windows import missing_window


@lru_cache(maxsize=4096)
def parse_expression(text: str) -> Expression:
    """One expression, aliases included."""
    parser = StatementParser(text)
    expression = parser.named_expression()
    parser.expect_end()
    window = missing_window(expression)
    if window is not None:
        raise parser.fail_at(0, "MISSING_WINDOW_SPECIFICATION", windowName=window)
    return expression


@lru_cache(maxsize=1024)
def parse_name(text: str) -> tuple[str, ...]:
    """The parts of a dotted name."""
    parser = StatementParser(text)
    parts = parser.dotted_name()
    parser.expect_end()
    return parts


def parse_statement(text: str, args: Arguments | None = None) -> Relation | Command:
    """One statement, a semicolon after it or not."""
    return _parse(text, args) if args else _without_parameters(text)


@lru_cache(maxsize=1024)
def _without_parameters(text: str) -> Relation | Command:
    return _parse(text, ())


def _parse(text: str, args: Arguments) -> Relation | Command:
    parser = StatementParser(text, args)
    statement = parser.statement()
    parser.expect_end()
    return statement
