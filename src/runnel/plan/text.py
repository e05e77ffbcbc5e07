"""What the parsers share: string escapes, and errors that point into the text."""

from __future__ import annotations

import re

from runnel.errors import ParseError, QueryContext

_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-3][0-7]{2}|.)", re.DOTALL)
_NAMED = {"0": "\0", "b": "\b", "n": "\n", "r": "\r", "t": "\t", "Z": "\x1a", "%": "\\%", "_": "\\_"}


def unescape(literal: str) -> str:
    r"""The value of a quoted string literal, with its quotes, in Spark's escapes.

    `\n \t \r \b \0 \Z`, octal `\101`, `\u0041`, `\U00000041`; `\%` and `\_` keep the backslash (for LIKE), any other
    escaped character stands for itself; a doubled quote is one quote; `r'…'` is taken as it is.
    """
    if literal[0] in "rR":
        return literal[2:-1]
    quote = literal[0]
    body = literal[1:-1]
    if quote in body:
        body = body.replace(quote * 2, quote) if "\\" not in body else _undouble(body, quote)
    return _ESCAPE.sub(_escaped, body) if "\\" in body else body


def _undouble(body: str, quote: str) -> str:
    return re.sub(rf"(\\.)|{quote}{quote}", lambda m: m[1] or quote, body, flags=re.DOTALL)


def _escaped(match: re.Match[str]) -> str:
    code = match[1]
    if len(code) > 1:
        return chr(int(code, 8)) if code[0] in "0123" else chr(int(code[1:], 16))
    return _NAMED.get(code, code)


def context_at(text: str, start: int, end: int) -> QueryContext:
    """The piece of the text from `start` to before `end`."""
    line = text.count("\n", 0, start) + 1
    column = start - (text.rfind("\n", 0, start) + 1)
    return QueryContext(text[start:end], start, max(start, end - 1), line, column)


def syntax_error(text: str, start: int, end: int, hint: str = "") -> ParseError:
    """PARSE_SYNTAX_ERROR at a piece of the text, or PARSE_EMPTY_STATEMENT if there is nothing in it."""
    if not text.strip():
        return ParseError("PARSE_EMPTY_STATEMENT")
    found = f"'{text[start:end]}'" if start < len(text.rstrip()) else "end of input"
    return ParseError(
        "PARSE_SYNTAX_ERROR",
        {"error": found, "hint": f": {hint}" if hint else ""},
        context=context_at(text, start, end),
    )
