"""The tokens of one text and a place in them.

sqlglot's Spark tokenizer finds the tokens. Its parser is not used: it means to understand many dialects at once, so it
rewrites functions into its own (`date_trunc`, `element_at`, `datediff`, …), gives Spark's bit operators and comparisons
one precedence, and accepts much that Spark refuses. Here the names and the order that the user wrote must survive.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import ClassVar, TypeVar

from sqlglot.dialects.spark import Spark
from sqlglot.errors import TokenError
from sqlglot.tokenizer_core import Token, TokenType

from runnel.errors import ParseError
from runnel.plan.text import context_at, syntax_error, unescape

T = TypeVar("T")

STRING = "<string>"
QUOTED = "<quoted>"
NUMBER = "<number>"
HEX = "<hex>"
END = "<end>"

_KINDS = {
    TokenType.STRING: STRING,
    TokenType.RAW_STRING: STRING,
    TokenType.HEX_STRING: HEX,
    TokenType.IDENTIFIER: QUOTED,
    TokenType.NUMBER: NUMBER,
}
_SAME = {"==": "=", "<>": "!="}
_SUFFIXED = re.compile(r"(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?(L|S|Y|D|F|BD)?", re.IGNORECASE)
_CLOSED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`[^`]*`|--[^\n]*|/\*.*?\*/|(?!/\*)[^'"`]""", re.DOTALL)
_SIGNS = frozenset({"==", "::", "||", "|>", ">=", "<=", "<>", "!=", "<=>", "->", "=>", "/*+"})


class _Tokenizer(Spark.Tokenizer):
    NUMERIC_LITERALS: ClassVar[dict[str, str]] = {}
    COMMANDS: ClassVar[set[TokenType]] = set()
    KEYWORDS: ClassVar[dict[str, TokenType]] = {
        word: kind
        for word, kind in Spark.Tokenizer.KEYWORDS.items()
        if word in _SIGNS or (word[0].isalpha() and not word.startswith(("ADD ", "MSCK ", "FOR VERSION", "FOR TIME")))
    }


class _Dialect(Spark):
    class Tokenizer(_Tokenizer):
        pass


_DIALECT = _Dialect()


def words(text: str) -> frozenset[str]:
    """A set of words, written as one text."""
    return frozenset(text.split())


def is_number(text: str) -> bool:
    """Whether a token is a number literal, suffix included."""
    return _SUFFIXED.fullmatch(text) is not None


class Cursor:
    """Where a parser stands in its tokens. `key` is what the token here is: a word in upper case, a sign, or a kind."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._tokens = _tokens(text)
        self._keys = [_key(token) for token in self._tokens]
        self._keys.append(END)
        self._index = 0

    @property
    def key(self) -> str:
        return self._keys[self._index]

    @property
    def next_key(self) -> str:
        return self.key_at(1)

    def key_at(self, distance: int) -> str:
        index = self._index + distance
        return self._keys[index] if 0 <= index < len(self._keys) else END

    def advance(self) -> Token:
        """Takes the token here."""
        if self._index >= len(self._tokens):
            raise self.fail()
        token = self._tokens[self._index]
        self._index += 1
        return token

    def at(self, *keys: str) -> bool:
        """Whether the tokens from here on are these."""
        return all(self.key_at(i) == key for i, key in enumerate(keys))

    def accept(self, *keys: str) -> bool:
        """Takes these tokens if they are the next ones, all or none."""
        if not self.at(*keys):
            return False
        self._index += len(keys)
        return True

    def expect(self, *keys: str) -> None:
        for key in keys:
            if self.key != key:
                raise self.fail()
            self._index += 1

    def adjacent(self, distance: int = 0) -> bool:
        """Whether no space separates the token at `distance` from the one after it."""
        index = self._index + distance
        return index + 1 < len(self._tokens) and self._tokens[index].end + 1 == self._tokens[index + 1].start

    def token_text(self, distance: int = 0) -> str:
        index = self._index + distance
        return self._tokens[index].text if index < len(self._tokens) else ""

    def fail(self, hint: str = "") -> ParseError:
        """The syntax error at the present token."""
        if self._index < len(self._tokens):
            token = self._tokens[self._index]
            return syntax_error(self.text, token.start, token.end + 1, hint)
        end = len(self.text.rstrip())
        return syntax_error(self.text, end, end, hint)

    def fail_at(self, start: int, condition: str, **parameters: object) -> ParseError:
        """An error about the tokens from number `start` to here."""
        start = min(start, len(self._tokens) - 1)
        first, last = self._tokens[start], self._tokens[max(start, self._index - 1)]
        return ParseError(condition, parameters, context=context_at(self.text, first.start, last.end + 1))

    @property
    def index(self) -> int:
        """Which token is next, as a number to come back to."""
        return self._index

    def back(self, index: int) -> None:
        self._index = index

    @property
    def position(self) -> int:
        """Where the present token begins in the text."""
        return self._tokens[self._index].start if self._index < len(self._tokens) else len(self.text)

    def skip_to(self, position: int) -> None:
        """Goes to the first token that ends at the position or behind it."""
        while self._index < len(self._tokens) and self._tokens[self._index].end < position:
            self._index += 1

    def source(self, start: int, end: int | None = None) -> str:
        """The text of the tokens from number `start` to before number `end` (the present one)."""
        last = (self._index if end is None else end) - 1
        return "" if last < start else self.text[self._tokens[start].start : self._tokens[last].end + 1]

    def attempt(self, rule: Callable[[], T]) -> T | None:
        """What the rule gives, or None, back at the same place, if it fails."""
        index = self._index
        try:
            return rule()
        except ParseError:
            self._index = index
            return None

    def listed(self, rule: Callable[[], T]) -> tuple[T, ...]:
        """One or more, with commas between."""
        found = [rule()]
        while self.accept(","):
            found.append(rule())
        return tuple(found)

    def enclosed(self, rule: Callable[[], T]) -> tuple[T, ...]:
        """One or more in parentheses, with commas between."""
        self.expect("(")
        found = self.listed(rule)
        self.expect(")")
        return found

    def expect_end(self) -> None:
        while self.accept(";"):
            pass
        if self.key != END:
            raise self.fail()

    # ------------------------------------------------------------------------------------------------ simple tokens

    def string(self) -> str:
        """A string literal; neighbouring literals are one string."""
        if self.key != STRING:
            raise self.fail()
        parts = []
        while self.key == STRING:
            start = end = self._index
            while self._keys[end + 1] == STRING and self._doubled(end):
                end += 1
            parts.append(unescape(self.text[self._tokens[start].start : self._tokens[end].end + 1]))
            self._index = end + 1
        return "".join(parts)

    def _doubled(self, index: int) -> bool:
        """Whether this string token and the next are one literal with a doubled quote in it."""
        here, after = self._tokens[index], self._tokens[index + 1]
        return (
            here.end + 1 == after.start
            and self.text[here.end] == self.text[after.start]
            and (self.text[here.start] not in "rR")
        )

    def name(self) -> str:
        """An identifier, quoted or any word."""
        if self.key == QUOTED:
            token = self.advance()
            return self.text[token.start + 1 : token.end].replace("``", "`")
        if not self.is_word():
            raise self.fail()
        token = self.advance()
        return self.text[token.start : token.end + 1]

    def is_word(self, distance: int = 0) -> bool:
        key = self.key_at(distance)
        return key[0].isalpha() or key[0] == "_" or key[0].isdigit()

    def is_name(self, distance: int = 0) -> bool:
        return self.key_at(distance) == QUOTED or self.is_word(distance)

    def dotted_name(self) -> tuple[str, ...]:
        """`a.b.c`"""
        parts = [self.name()]
        while self.accept("."):
            parts.append(self.name())
        return tuple(parts)


def _tokens(text: str) -> list[Token]:
    try:
        tokens: list[Token] = _DIALECT.tokenize(text)
    except TokenError as error:
        raise _unclosed(text) from error
    return tokens


def _unclosed(text: str) -> ParseError:
    """The error of a text with a string, a quoted name or a comment that does not end."""
    position = 0
    while (match := _CLOSED.match(text, position)) is not None and match.end() > position:
        position = match.end()
    if text.startswith("/*", position):
        return ParseError("UNCLOSED_BRACKETED_COMMENT")
    return syntax_error(text, position, min(position + 1, len(text)))


def _key(token: Token) -> str:
    kind = _KINDS.get(token.token_type)
    if kind is not None:
        return kind
    text = token.text
    if text[0].isdigit() and is_number(text):
        return NUMBER
    return "/*+" if token.token_type is TokenType.HINT else _SAME.get(text) or text.upper()
