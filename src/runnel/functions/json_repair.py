"""A forgiving JSON reader, for the texts that a strict one refuses or reads with less precision.

Spark reads JSON with Jackson: the first value of a text counts and what follows it is ignored; single quotes are quotes;
`NaN` and `Infinity` are numbers; further liberties are options. DuckDB's reader is strict about the whole text. Texts
that it accepts are left to it; the others come here, one batch of them at a time, and become strict, compact JSON, or
null if Jackson too would call them malformed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from runnel.plan.expressions import PythonFunction

_BLANKS: Final = " \t\r\n"
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_LOOSE_NUMBER: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_WORD: Final = re.compile(r"[+-]?[A-Za-z]+")
_NAME: Final = re.compile(r"[A-Za-z_$\u0080-\uffff][A-Za-z0-9_$\u0080-\uffff]*")
_COMMENT: Final = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
_LITERALS: Final = {"true": "true", "false": "false", "null": "null"}
_NOT_NUMBERS: Final = {
    "NaN": '"NaN"',
    "Infinity": '"Infinity"',
    "+Infinity": '"Infinity"',
    "INF": '"Infinity"',
    "+INF": '"Infinity"',
    "-Infinity": '"-Infinity"',
    "-INF": '"-Infinity"',
}
_ESCAPES: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "/": "/"}
_MAX_DEPTH: Final = 900
_LONG_NUMBER: Final = 15


def _loses_digits(number: str) -> bool:
    """Whether a number may be read as a double and lose digits: a long one that is no 64-bit integer."""
    if len(number) <= _LONG_NUMBER:
        return False
    return not number.lstrip("-").isdigit() or not -(2**63) <= int(number) < 2**63


class Malformed(ValueError):
    """The text is not JSON, by the liberties allowed."""


@dataclass(frozen=True, slots=True)
class Liberties:
    """Jackson's reading features, under the names of Spark's options (`allow…`)."""

    comments: bool = False
    unquoted_field_names: bool = False
    single_quotes: bool = True
    leading_zeros: bool = False
    backslash_any: bool = False
    control_characters: bool = False
    not_numbers: bool = True
    quote_long_numbers: bool = False
    """Numbers of many digits become strings, which decimals read without loss."""


class Reader:
    """Reads one value after the other from a text and writes them as strict JSON."""

    def __init__(self, text: str, liberties: Liberties) -> None:
        self.text = text
        self.position = 0
        self._may = liberties

    def value(self) -> str:
        """The next value, compact. Raises Malformed."""
        return self._value(0)

    def elements(self) -> list[str]:
        """The elements of the array that comes next, each compact. Raises Malformed if it is no array."""
        self._expect("[")
        return self._items(1)

    def at_end(self) -> bool:
        return self._peek() == ""

    def starts_array(self) -> bool:
        return self._peek() == "["

    # ------------------------------------------------------------------------------------------------- pieces

    def _peek(self) -> str:
        text, end = self.text, len(self.text)
        while True:
            while self.position < end and text[self.position] in _BLANKS:
                self.position += 1
            if self._may.comments and self.position < end and text[self.position] == "/":
                found = _COMMENT.match(text, self.position)
                if found is None:
                    raise Malformed
                self.position = found.end()
                continue
            return text[self.position] if self.position < end else ""

    def _expect(self, character: str) -> None:
        if self._peek() != character:
            raise Malformed
        self.position += 1

    def _value(self, depth: int) -> str:
        if depth > _MAX_DEPTH:
            raise Malformed
        first = self._peek()
        if first == "{":
            self.position += 1
            return self._object(depth + 1)
        if first == "[":
            self.position += 1
            return "[" + ",".join(self._items(depth + 1)) + "]"
        if first == '"' or (first == "'" and self._may.single_quotes):
            return _quoted(self._string(first))
        if first == "":
            raise Malformed
        return self._scalar(first)

    def _object(self, depth: int) -> str:
        fields: dict[str, str] = {}
        if self._peek() == "}":
            self.position += 1
            return "{}"
        while True:
            name = self._field_name()
            self._expect(":")
            fields[name] = self._value(depth)  # the last of two equal names counts, as in Spark
            if self._peek() == ",":
                self.position += 1
                continue
            self._expect("}")
            return "{" + ",".join(f"{_quoted(k)}:{v}" for k, v in fields.items()) + "}"

    def _field_name(self) -> str:
        first = self._peek()
        if first == '"' or (first == "'" and self._may.single_quotes):
            return self._string(first)
        if self._may.unquoted_field_names:
            found = _NAME.match(self.text, self.position)
            if found is not None:
                self.position = found.end()
                return found.group()
        raise Malformed

    def _items(self, depth: int) -> list[str]:
        items: list[str] = []
        if self._peek() == "]":
            self.position += 1
            return items
        while True:
            items.append(self._value(depth))
            if self._peek() == ",":
                self.position += 1
                continue
            self._expect("]")
            return items

    def _string(self, quote: str) -> str:
        text, end = self.text, len(self.text)
        at = self.position + 1
        pieces: list[str] = []
        while at < end:
            character = text[at]
            if character == quote:
                self.position = at + 1
                return _joined(pieces)
            if character == "\\":
                at += 1
                escape = text[at] if at < end else ""
                if escape == "u":
                    digits = text[at + 1 : at + 5]
                    if len(digits) != 4 or not all(d in "0123456789abcdefABCDEF" for d in digits):
                        raise Malformed
                    pieces.append(chr(int(digits, 16)))
                    at += 5
                    continue
                if escape == "'" and (self._may.single_quotes or self._may.backslash_any):
                    pieces.append("'")
                elif escape in _ESCAPES:
                    pieces.append(_ESCAPES[escape])
                elif escape and self._may.backslash_any:
                    pieces.append(escape)
                else:
                    raise Malformed
            elif character < " " and not self._may.control_characters:
                raise Malformed
            else:
                pieces.append(character)
            at += 1
        raise Malformed

    def _scalar(self, first: str) -> str:
        pattern = _LOOSE_NUMBER if self._may.leading_zeros else _NUMBER
        found = pattern.match(self.text, self.position)
        if found is not None:
            self._ends(found.end())
            number = found.group()
            if self._may.leading_zeros:
                number = re.sub(r"^(-?)0+(?=[0-9])", r"\1", number)
            return f'"{number}"' if self._may.quote_long_numbers and _loses_digits(number) else number
        word = _WORD.match(self.text, self.position)
        if word is not None:
            known = _LITERALS.get(word.group())
            if known is None and self._may.not_numbers:
                known = _NOT_NUMBERS.get(word.group())
            if known is not None:
                self._ends(word.end())
                return known
        raise Malformed

    def _ends(self, end: int) -> None:
        """A number or word must be followed by something that is not part of one."""
        if end < len(self.text) and self.text[end] not in ",]} \t\r\n:/":
            raise Malformed
        self.position = end


def _joined(pieces: list[str]) -> str:
    """Surrogates written as two escapes become one character, single ones a question mark."""
    text = "".join(pieces)
    if text.isascii() or not any("\ud800" <= c <= "\udfff" for c in text):
        return text
    paired = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return paired.replace("\ufffd", "?")


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def repaired(text: str, liberties: Liberties) -> str | None:
    """The first value of a text as strict JSON; None if there is none or it is malformed."""
    try:
        return Reader(text, liberties).value()
    except (Malformed, RecursionError):
        return None


def split_array(text: str, liberties: Liberties) -> list[str] | None:
    """The elements of a text that begins with an array, as strict JSON; None if it is malformed."""
    try:
        return Reader(text, liberties).elements()
    except (Malformed, RecursionError):
        return None


_functions: dict[Liberties, PythonFunction] = {}


def repair_function(liberties: Liberties) -> PythonFunction:
    """`repaired` over an Arrow array of strings, for use in a statement; always the same object for the same liberties."""
    known = _functions.get(liberties)
    if known is None:
        known = _functions[liberties] = PythonFunction("json_repair", _over_arrays(liberties), SCALAR_ARROW)
    return known


def _over_arrays(liberties: Liberties) -> Callable[[pa.Array], pa.Array]:
    def repair(texts: pa.Array) -> pa.Array:
        return pa.array(
            [None if text is None else repaired(text, liberties) for text in texts.to_pylist()], type=pa.string()
        )

    return repair


SCALAR_ARROW: Final = 250
"""PythonEvalType.SQL_SCALAR_ARROW_UDF: Arrow arrays in, an Arrow array out."""
