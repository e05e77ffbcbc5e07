"""Entry points: a whole text to one node. What has no parameters is parsed once."""

from __future__ import annotations

from functools import lru_cache

from runnel.plan.expressions import Expression
from runnel.plan.traverse import walk
from runnel.sql.expressions import WindowReference
from runnel.sql.queries import QueryParser


@lru_cache(maxsize=4096)
def parse_expression(text: str) -> Expression:
    parser = QueryParser(text)
    expression = parser.named_expression()
    parser.expect_end()
    for node in walk(expression):
        if isinstance(node, WindowReference):
            raise parser.fail_at(0, "MISSING_WINDOW_SPECIFICATION", windowName=node.name, docroot="https://spark.apache.org/docs/latest")
    return expression


@lru_cache(maxsize=1024)
def parse_name(text: str) -> tuple[str, ...]:
    parser = QueryParser(text)
    parts = parser.dotted_name()
    parser.expect_end()
    return parts
