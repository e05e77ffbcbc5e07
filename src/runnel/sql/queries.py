"""The grammar of queries."""

from __future__ import annotations

from runnel.sql.expressions import ExpressionParser


class QueryParser(ExpressionParser):
    """Queries over the tokens of one text."""
