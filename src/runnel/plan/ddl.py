"""Types and schemas as text: `bigint`, `array<struct<a: int>>`, `a INT NOT NULL COMMENT 'c', b STRING`, JSON.

A parser of its own, so that reading a schema loads nothing. The rules are those of Spark's `dataType` and
`colTypeList`; CHAR and VARCHAR keep their length.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import NamedTuple

from pyspark.sql import types as t
from pyspark.sql.types import DataType, StructField, StructType

from runnel.errors import ParseError
from runnel.plan.text import context_at, syntax_error, unescape

_TOKEN = re.compile(
    r"""(?P<space>(?:\s+|--[^\n]*|/\*.*?\*/)+)
      | (?P<word>\w+)
      | (?P<quoted>`(?:[^`]|``)*`)
      | (?P<string>'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*")
      | (?P<sign>[<>(),:.-])""",
    re.VERBOSE | re.DOTALL,
)

_SIMPLE: dict[str, DataType] = {
    "boolean": t.BooleanType(),
    "tinyint": t.ByteType(),
    "byte": t.ByteType(),
    "smallint": t.ShortType(),
    "short": t.ShortType(),
    "int": t.IntegerType(),
    "integer": t.IntegerType(),
    "bigint": t.LongType(),
    "long": t.LongType(),
    "float": t.FloatType(),
    "real": t.FloatType(),
    "double": t.DoubleType(),
    "date": t.DateType(),
    "timestamp": t.TimestampType(),
    "timestamp_ltz": t.TimestampType(),
    "timestamp_ntz": t.TimestampNTZType(),
    "string": t.StringType(),
    "binary": t.BinaryType(),
    "void": t.NullType(),
    "null": t.NullType(),
    "variant": t.VariantType(),
}
_DAY_TIME = {"day": 0, "hour": 1, "minute": 2, "second": 3}
_YEAR_MONTH = {"year": 0, "month": 1}
_COLLATIONS = frozenset({"utf8_binary"})
_MAX_DECIMAL_PRECISION = 38


class _Token(NamedTuple):
    kind: str
    text: str
    start: int
    end: int


def parse_type(text: str) -> DataType:
    """The type that a text names, in DDL or JSON; several columns (`a int, b string`) name a struct.

    ParseError: PARSE_SYNTAX_ERROR, PARSE_EMPTY_STATEMENT, UNSUPPORTED_DATATYPE.
    """
    return _parse_type(text)


def parse_schema(text: str) -> StructType:
    """The schema that a text names: columns in DDL, a struct in DDL or JSON. A bare type is a column `value`.

    ParseError: PARSE_SYNTAX_ERROR, PARSE_EMPTY_STATEMENT, UNSUPPORTED_DATATYPE.
    """
    return _parse_schema(text)


@lru_cache(maxsize=1024)
def _parse_type(text: str) -> DataType:
    if _is_json(text):
        return _from_json(text)
    try:
        return _only_type(text)
    except ParseError as error:
        try:
            return _columns(text)
        except ParseError as other:
            raise _likelier(text, error, other) from None


@lru_cache(maxsize=1024)
def _parse_schema(text: str) -> StructType:
    if not text.strip():
        return StructType([])
    if _is_json(text):
        return _as_struct(_from_json(text))
    try:
        return _columns(text)
    except ParseError as error:
        try:
            return _as_struct(_only_type(text))
        except ParseError as other:
            raise _likelier(text, other, error) from None


def parse_type_prefix(text: str, start: int) -> tuple[DataType, int]:
    """The type that begins at `start` inside a longer text, and the position behind its last character."""
    parser = _TypeParser(text, start)
    dtype = parser.data_type()
    return dtype, parser.consumed


def plain_type(dtype: DataType) -> DataType:
    """The type as casts know it: CHAR and VARCHAR are strings there."""
    match dtype:
        case t.CharType() | t.VarcharType():
            return t.StringType()
        case t.ArrayType(elementType=element, containsNull=contains_null):
            return t.ArrayType(plain_type(element), contains_null)
        case t.MapType(keyType=key, valueType=value, valueContainsNull=contains_null):
            return t.MapType(plain_type(key), plain_type(value), contains_null)
        case StructType(fields=fields):
            return StructType([StructField(f.name, plain_type(f.dataType), f.nullable, f.metadata) for f in fields])
        case _:
            return dtype


def _is_json(text: str) -> bool:
    return text.lstrip().startswith(("{", '"'))


def _from_json(text: str) -> DataType:
    try:
        parsed = json.loads(text)
    except ValueError as error:
        raise syntax_error(text, 0, min(1, len(text))) from error
    try:
        dtype: DataType = t._parse_datatype_json_value(parsed)
    except Exception as error:
        raise ParseError("UNSUPPORTED_DATATYPE", typeName=f'"{text.strip()}"') from error
    return dtype


def _as_struct(dtype: DataType) -> StructType:
    return dtype if isinstance(dtype, StructType) else StructType([StructField("value", dtype)])


def _likelier(text: str, as_type: ParseError, as_columns: ParseError) -> ParseError:
    """Of the errors of two readings of a text, that of the reading which got farther; one word is a type."""
    if len(text.split()) == 1 and ":" not in text:
        return as_type
    here, there = (-1 if e.context is None else e.context.start for e in (as_type, as_columns))
    return as_columns if there > here else as_type


def _only_type(text: str) -> DataType:
    parser = _TypeParser(text)
    dtype = parser.data_type()
    parser.expect_end()
    return dtype


def _columns(text: str) -> StructType:
    parser = _TypeParser(text)
    fields = parser.fields()
    parser.expect_end()
    return StructType(fields)


class _TypeParser:
    """Recursive descent over one text. `consumed` is the position behind the last token that was taken."""

    def __init__(self, text: str, start: int = 0) -> None:
        self.text = text
        self.consumed = start
        self._token = self._scan(start)

    # ------------------------------------------------------------------------------------------------------ tokens

    def _scan(self, position: int) -> _Token:
        match = _TOKEN.match(self.text, position)
        if match is not None and match.lastgroup == "space":
            position = match.end()
            match = _TOKEN.match(self.text, position)
        if match is None:
            end = min(position + 1, len(self.text))
            return _Token("end" if position >= len(self.text) else "other", self.text[position:end], position, end)
        return _Token(str(match.lastgroup), match.group(), position, match.end())

    def _take(self) -> _Token:
        token = self._token
        self.consumed = token.end
        self._token = self._scan(token.end)
        return token

    def _fail(self, token: _Token | None = None) -> ParseError:
        token = token or self._token
        return syntax_error(self.text, token.start, token.end)

    def _accept(self, sign: str) -> bool:
        if self._token.kind == "sign" and self._token.text == sign:
            self._take()
            return True
        return False

    def _expect(self, sign: str) -> None:
        if not self._accept(sign):
            raise self._fail()

    def _accept_word(self, word: str) -> bool:
        if self._token.kind == "word" and self._token.text.lower() == word:
            self._take()
            return True
        return False

    def _expect_word(self, word: str) -> None:
        if not self._accept_word(word):
            raise self._fail()

    def expect_end(self) -> None:
        if self._token.kind != "end":
            raise self._fail()

    def _name(self) -> str:
        if self._token.kind == "word":
            return self._take().text
        if self._token.kind == "quoted":
            return self._take().text[1:-1].replace("``", "`")
        raise self._fail()

    def _number(self) -> int:
        negative = self._accept("-")
        if self._token.kind != "word" or not self._token.text.isdigit():
            raise self._fail()
        number = int(self._take().text)
        return -number if negative else number

    # ------------------------------------------------------------------------------------------------------- rules

    def fields(self) -> list[StructField]:
        """`name [:] type [NOT NULL] [COMMENT 'text'], …`"""
        found = [self._field()]
        while self._accept(","):
            found.append(self._field())
        return found

    def _field(self) -> StructField:
        name = self._name()
        self._accept(":")
        dtype = self.data_type()
        nullable = True
        metadata: dict[str, str] = {}
        while self._token.kind == "word":
            word = self._token.text.lower()
            if word == "not":
                self._take()
                self._expect_word("null")
                nullable = False
            elif word == "comment":
                self._take()
                if self._token.kind != "string":
                    raise self._fail()
                metadata["comment"] = unescape(self._take().text)
            else:
                raise self._fail()
        return StructField(name, dtype, nullable, metadata)

    def data_type(self) -> DataType:
        """One type at the present position."""
        token = self._token
        if token.kind != "word":
            raise self._fail()
        name = self._take().text.lower()
        match name:
            case "array":
                (element,) = self._arguments(1)
                return t.ArrayType(element)
            case "map":
                key, value = self._arguments(2)
                return t.MapType(key, value)
            case "struct":
                return self._struct()
            case "decimal" | "dec" | "numeric":
                return self._decimal()
            case "char" | "character" | "varchar":
                return self._sized(name, token)
            case "interval":
                return self._interval()
            case "time":
                return self._time()
            case "timestamp":
                return self._timestamp()
            case "string" if self._accept_word("collate"):
                return self._collated()
            case "geometry" | "geography":
                where = context_at(self.text, token.start, token.end)
                raise ParseError("UNSUPPORTED_DATATYPE", {"typeName": f'"{name.upper()}"'}, context=where)
            case _:
                return self._plain(name, token)

    def _plain(self, name: str, token: _Token) -> DataType:
        dtype = _SIMPLE.get(name)
        sized = self._token.kind == "sign" and self._token.text == "("
        if dtype is not None and not sized:
            return dtype
        closing = self.text.find(")", token.end) if sized else -1
        end = closing + 1 if closing >= 0 else token.end
        shown = self.text[token.start : end].upper()
        raise ParseError(
            "UNSUPPORTED_DATATYPE", {"typeName": f'"{shown}"'}, context=context_at(self.text, token.start, end)
        )

    def _arguments(self, count: int) -> list[DataType]:
        self._expect("<")
        found = [self.data_type()]
        while len(found) < count:
            self._expect(",")
            found.append(self.data_type())
        self._expect(">")
        return found

    def _struct(self) -> StructType:
        self._expect("<")
        if self._accept(">"):
            return StructType([])
        fields = self.fields()
        self._expect(">")
        return StructType(fields)

    def _decimal(self) -> DataType:
        if not self._accept("("):
            return t.DecimalType(10, 0)
        start, precision, scale = self.consumed, self._number(), 0
        if self._accept(","):
            scale = self._number()
        self._expect(")")
        if precision > _MAX_DECIMAL_PRECISION:
            raise ParseError(
                "DECIMAL_PRECISION_EXCEEDS_MAX_PRECISION",
                {"precision": precision, "maxPrecision": _MAX_DECIMAL_PRECISION},
                context=context_at(self.text, start, self.consumed - 1),
            )
        return t.DecimalType(precision, scale)

    def _sized(self, name: str, token: _Token) -> DataType:
        if not self._accept("("):
            where = context_at(self.text, token.start, token.end)
            raise ParseError("DATATYPE_MISSING_SIZE", {"type": f'"{token.text.upper()}"'}, context=where)
        length = self._number()
        self._expect(")")
        return t.VarcharType(length) if name == "varchar" else t.CharType(length)

    def _interval(self) -> DataType:
        first = self._token.text.lower() if self._token.kind == "word" else ""
        for fields, kind in ((_DAY_TIME, t.DayTimeIntervalType), (_YEAR_MONTH, t.YearMonthIntervalType)):
            if first not in fields:
                continue
            token = self._take()
            start = end = fields[first]
            if self._accept_word("to"):
                last = self._token
                if last.kind != "word" or fields.get(last.text.lower(), -1) <= start:
                    raise self._fail(last if last.kind != "end" else token)
                end = fields[self._take().text.lower()]
            return kind(start, end)
        return t.CalendarIntervalType()

    def _time(self) -> DataType:
        precision = 6
        if self._accept("("):
            precision = self._number()
            self._expect(")")
        if self._accept_word("without"):
            self._expect_word("time")
            self._expect_word("zone")
        return t.TimeType(precision)

    def _timestamp(self) -> DataType:
        if self._accept_word("without"):
            self._expect_word("time")
            self._expect_word("zone")
            return t.TimestampNTZType()
        if self._accept_word("with"):
            local = self._accept_word("local")
            if not local:
                raise self._fail()
            self._expect_word("time")
            self._expect_word("zone")
        return t.TimestampType()

    def _collated(self) -> DataType:
        name = self._name()
        if name.lower() in _COLLATIONS:
            return t.StringType()
        where = context_at(self.text, self.consumed - len(name), self.consumed)
        raise ParseError("UNSUPPORTED_DATATYPE", {"typeName": f'"STRING COLLATE {name}"'}, context=where)
