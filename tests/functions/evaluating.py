"""Expression text to catalogue calls to DuckDB, without the SQL front and the lowering of plans.

A small Pratt parser for the rows of the tables, binding as it goes, and a `LoweringContext` in UTC.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import duckdb
from pyspark.sql import types as t

from runnel.errors import AnalysisError
from runnel.functions import casts
from runnel.functions.catalogue import lookup
from runnel.functions.registry import AggregateFunction, BindContext, Refused, ScalarFunction
from runnel.functions.typing import BOOLEAN, cast_forces_null, coerce_to_common
from runnel.plan.expressions import (
    AggregateCall,
    Attribute,
    Cast,
    CastMode,
    Expression,
    FunctionCall,
    Literal,
    UnresolvedStar,
    dtype_of,
    nullable_of,
)

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+\.?\d*(?:[eE][+-]?\d+)?)(?P<suffix>BD|[LSYDF])?(?![A-Za-z_])"
    r"|(?P<typed>date|timestamp|[xX])?'(?P<string>(?:[^'\\]|\\.)*)'"
    r"|(?P<word>[A-Za-z_][A-Za-z0-9_]*)|(?P<symbol><=>|<<|>>>|>>|<=|>=|!=|<>|\|\||==|[-+*/%=<>&|^~(),:]))"
)
_SIMPLE_TYPES: Mapping[str, t.DataType] = {
    "boolean": t.BooleanType(),
    "tinyint": t.ByteType(),
    "smallint": t.ShortType(),
    "int": t.IntegerType(),
    "bigint": t.LongType(),
    "float": t.FloatType(),
    "double": t.DoubleType(),
    "string": t.StringType(),
    "binary": t.BinaryType(),
    "date": t.DateType(),
    "timestamp": t.TimestampType(),
    "timestamp_ntz": t.TimestampNTZType(),
}
_INFIX = {
    "or": (1, "or"), "and": (2, "and"),
    "=": (4, "=="), "==": (4, "=="), "<=>": (4, "<=>"), "<": (4, "<"), "<=": (4, "<="), ">": (4, ">"),
    ">=": (4, ">="), "!=": (4, "!="), "<>": (4, "!="), "like": (4, "like"), "ilike": (4, "ilike"),
    "rlike": (4, "rlike"), "|": (5, "|"), "^": (6, "^"), "&": (7, "&"), "<<": (8, "<<"), ">>": (8, ">>"),
    "+": (9, "+"), "-": (9, "-"), "||": (9, "||"), "*": (10, "*"), "/": (10, "/"), "%": (10, "%"), "div": (10, "div"),
}  # fmt: skip
_UNITS = {"day": (86_400_000_000, 0), "hour": (3_600_000_000, 1), "minute": (60_000_000, 2), "second": (1_000_000, 3)}


class Context:
    """A LoweringContext in UTC; errors are raised by DuckDB with the condition in the text."""

    ansi = True
    session_time_zone = "UTC"

    def lower(self, expression: Expression) -> str:
        match expression:
            case Literal():
                return literal_sql(expression.value, expression.dtype)
            case Attribute(name=name):
                return f'"{name}"'
            case Cast(child=child, dtype=dtype, mode=mode):
                assert dtype is not None and mode is not None
                return casts.cast_sql(self, self.lower(child), dtype_of(child), dtype, mode)
            case FunctionCall(name=name, args=args):
                lowered = tuple(self.lower(a) for a in args)
                if name in _CONSTRUCTORS:
                    return _CONSTRUCTORS[name](lowered)
                entry = lookup(name)
                assert isinstance(entry, ScalarFunction) and entry.lower is not None, name
                return entry.lower(self, expression, lowered)
            case AggregateCall(name=name, args=args):
                entry = lookup(name)
                assert isinstance(entry, AggregateFunction), name
                lowered = tuple(self.lower(a) for a in args)
                where = f"FILTER (WHERE {self.lower(expression.filter)})" if expression.filter else ""
                return entry.direct(self, expression, lowered, "DISTINCT" if expression.distinct else "", where)
            case _:
                raise TypeError(repr(expression))

    def local(self, timestamp_sql: str) -> str:
        return timestamp_sql

    def instant(self, local_sql: str) -> str:
        return local_sql

    def cast(self, sql: str, source: t.DataType, target: t.DataType, *, try_: bool = False) -> str:
        return casts.cast_sql(self, sql, source, target, CastMode.TRY if try_ else CastMode.ANSI)

    def error(self, condition: str, target: t.DataType, **parameters: str) -> str:
        shown = " || ".join(["''", *parameters.values()])
        text = f"'RUNNEL:{condition} ' || COALESCE({shown}, '')"
        return f"CAST(error({text}) AS {casts.type_sql(target)})"


_CONSTRUCTORS: Mapping[str, Callable[[Sequence[str]], str]] = {
    "array": lambda args: f"[{', '.join(args)}]",
    "map": lambda args: f"MAP {{{', '.join(f'{k}: {v}' for k, v in zip(args[::2], args[1::2], strict=True))}}}",
    "struct": lambda args: f"{{{', '.join(f'col{i + 1}: {a}' for i, a in enumerate(args))}}}",
    "sort_array": lambda args: f"list_sort({args[0]})",
}


def literal_sql(value: Any, dtype: t.DataType) -> str:
    name = casts.type_sql(dtype)
    if value is None:
        return f"CAST(NULL AS {name})"
    match dtype:
        case t.StringType():
            return "'" + value.replace("'", "''") + "'"
        case t.BinaryType():
            return f"unhex('{value.hex()}')"
        case t.DateType():
            return f"(DATE '1970-01-01' + {value})"
        case t.TimestampType():
            return f"make_timestamp({value})"
        case t.ArrayType():
            return f"CAST([{', '.join(literal_sql(v, dtype.elementType) for v in value)}] AS {name})"
        case _:
            return f"CAST('{value}' AS {name})"


class Parser:
    def __init__(self, text: str, columns: Mapping[str, Attribute] | None = None, *, ansi: bool = True) -> None:
        self.context = BindContext(ansi=ansi)
        self.columns = columns or {}
        self.tokens: list[re.Match[str]] = []
        position = 0
        while position < len(text.rstrip()):
            match = _TOKEN.match(text, position)
            assert match, text[position:]
            self.tokens.append(match)
            position = match.end()
        self.at = 0

    def peek(self) -> str:
        if self.at >= len(self.tokens):
            return ""
        token = self.tokens[self.at]
        return (token["word"] or token["symbol"] or "").lower()

    def take(self, *expected: str) -> str:
        found = self.peek()
        assert not expected or found in expected, (found, expected)
        self.at += 1
        return found

    def expression(self, floor: int = 0) -> Expression:
        left = self.prefix()
        while True:
            word = self.peek()
            if word == "is" and floor <= 4:
                self.take()
                name = "isnull"
                if self.peek() == "not":
                    self.take()
                    name = "isnotnull"
                self.take("null")
                left = self.call(name, (left,))
            elif word == "between" and floor <= 4:
                self.take()
                low = self.expression(5)
                self.take("and")
                left = self.call("between", (left, low, self.expression(5)))
            elif word == "in" and floor <= 4:
                self.take()
                left = self.call("in", (left, *self.arguments()))
            elif word in _INFIX and _INFIX[word][0] >= floor:
                level, name = _INFIX[self.take()]
                args: tuple[Expression, ...] = (left, self.expression(level + 1))
                if self.peek() == "escape":
                    self.take()
                    args = (*args, self.expression(9))
                left = self.call(name, args)
            else:
                return left

    def prefix(self) -> Expression:
        token, word = self.tokens[self.at], self.peek()
        if token["number"] is not None:
            self.at += 1
            return _number(token["number"], token["suffix"])
        if token["string"] is not None:
            self.at += 1
            return _string(re.sub(r"\\(.)", r"\1", token["string"]), (token["typed"] or "").lower())
        self.at += 1
        match word:
            case "-":
                following = self.tokens[self.at]
                if following["number"] is not None and following["suffix"] in (None, "L"):
                    self.at += 1
                    return _number("-" + following["number"], following["suffix"])
                return self.call("negative", (self.expression(11),))
            case "+":
                return self.call("positive", (self.expression(11),))
            case "~":
                return self.call("~", (self.expression(11),))
            case "not":
                return self.call("not", (self.expression(3),))
            case "(":
                inner = self.expression()
                self.take(")")
                return inner
            case "true" | "false":
                return Literal(word == "true", BOOLEAN)
            case "null":
                return Literal(None, t.NullType())
            case "case":
                return self.case()
            case "cast" | "try_cast":
                return self.cast(tried=word == "try_cast")
            case "interval":
                return self.interval()
        if self.peek() != "(":
            return self.columns[word]
        distinct = self.tokens[self.at + 1]["word"] == "distinct"
        return self.call(word, self.arguments(), distinct=distinct)

    def arguments(self) -> tuple[Expression, ...]:
        self.take("(")
        if self.peek() == "distinct":
            self.take()
        args: list[Expression] = []
        while self.peek() != ")":
            if self.peek() == "*":
                self.take()
                args.append(UnresolvedStar())
            else:
                args.append(self.expression())
            if self.peek() == ",":
                self.take()
        self.take(")")
        return tuple(args)

    def case(self) -> Expression:
        args: list[Expression] = []
        while self.take("when", "else", "end") != "end":
            args.append(self.expression())
            if self.peek() == "then":
                self.take()
                args.append(self.expression())
        return self.call("when", tuple(args))

    def cast(self, *, tried: bool) -> Expression:
        self.take("(")
        child = self.expression()
        self.take("as")
        target = self.type()
        self.take(")")
        mode = CastMode.TRY if tried else CastMode.ANSI if self.context.ansi else CastMode.LEGACY
        source = dtype_of(child)
        if not casts.can_cast(source, target, self.context.ansi):
            raise casts.cast_not_allowed("CAST", source, target)
        if source == target:
            return child
        return Cast(child, target, mode, tried or nullable_of(child) or cast_forces_null(source, target))

    def type(self) -> t.DataType:
        word = self.take()
        if word == "decimal":
            self.take("(")
            precision = int(self.prefix().value)  # type: ignore[attr-defined]
            self.take(",")
            scale = int(self.prefix().value)  # type: ignore[attr-defined]
            self.take(")")
            return t.DecimalType(precision, scale)
        if word == "array":
            self.take("<")
            element = self.type()
            self.take(">")
            return t.ArrayType(element)
        if word == "map":
            self.take("<")
            key = self.type()
            self.take(",")
            value = self.type()
            self.take(">")
            return t.MapType(key, value)
        if word == "struct":
            self.take("<")
            fields = []
            while self.peek() != ">":
                name = self.take()
                self.take(":")
                fields.append(t.StructField(name, self.type()))
                if self.peek() == ",":
                    self.take()
            self.take(">")
            return t.StructType(fields)
        return _SIMPLE_TYPES[word]

    def interval(self) -> Expression:
        amount = self.prefix()
        micros, field = _UNITS[self.take()]
        return Literal(amount.value * micros, t.DayTimeIntervalType(field, field))  # type: ignore[attr-defined]

    def call(self, name: str, args: tuple[Expression, ...], *, distinct: bool = False) -> Expression:
        if name in _CONSTRUCTORS:
            return self.construct(name, args)
        entry = lookup(name)
        assert entry is not None, f"no function {name}"
        assert not isinstance(entry, Refused), name
        bound = entry.bind(self.context, args)
        if isinstance(bound, AggregateCall):
            condition = None
            if self.peek() == "filter":
                self.take()
                self.take("(")
                self.take("where")
                condition = self.expression()
                self.take(")")
            return AggregateCall(bound.name, bound.args, bound.dtype, bound.nullable, distinct, condition)
        return bound

    def construct(self, name: str, args: tuple[Expression, ...]) -> Expression:
        if name == "array":
            common = coerce_to_common(args, self.context)
            assert common is not None
            has_null = any(nullable_of(a) for a in common[0])
            return FunctionCall("array", common[0], t.ArrayType(common[1], has_null), False)
        if name == "map":
            return FunctionCall(
                "map", args, t.MapType(dtype_of(args[0]), dtype_of(args[1]), nullable_of(args[1])), False
            )
        if name == "struct":
            fields = [t.StructField(f"col{i + 1}", dtype_of(a), nullable_of(a)) for i, a in enumerate(args)]
            return FunctionCall("struct", args, t.StructType(fields), False)
        return FunctionCall(name, args, dtype_of(args[0]), nullable_of(args[0]))


def _number(text: str, suffix: str | None) -> Literal:
    match suffix:
        case "L":
            return Literal(int(text), t.LongType())
        case "S":
            return Literal(int(text), t.ShortType())
        case "Y":
            return Literal(int(text), t.ByteType())
        case "D":
            return Literal(float(text), t.DoubleType())
        case "F":
            return Literal(float(text), t.FloatType())
    if "e" in text.lower():
        return Literal(float(text), t.DoubleType())
    if "." in text:
        number = Decimal(text)
        scale = -int(number.as_tuple().exponent)
        return Literal(number, t.DecimalType(max(len(number.as_tuple().digits), scale), scale))
    value = int(text)
    if -(2**31) <= value < 2**31:
        return Literal(value, t.IntegerType())
    return Literal(value, t.LongType()) if -(2**63) <= value < 2**63 else Literal(Decimal(value), t.DecimalType(20, 0))


_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def _string(text: str, typed: str) -> Literal:
    if typed == "x":
        return Literal(bytes.fromhex(text), t.BinaryType())
    if not typed:
        return Literal(text, t.StringType())
    moment = datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC)
    if typed == "date":
        return Literal((moment - _EPOCH).days, t.DateType())
    return Literal((moment - _EPOCH) // datetime.timedelta(microseconds=1), t.TimestampType())


def physical(value: Any, dtype: t.DataType) -> Any:
    """A value that DuckDB returned, in the form that `rendering.show` shares with Spark's."""
    if value is None:
        return None
    match dtype:
        case t.ArrayType():
            return [physical(v, dtype.elementType) for v in value]
        case t.MapType():
            return {physical(k, dtype.keyType): physical(v, dtype.valueType) for k, v in value.items()}
        case t.StructType():
            return tuple(physical(v, f.dataType) for v, f in zip(value.values(), dtype.fields, strict=True))
        case _:
            return value


_PATTERNS = (
    (r"RUNNEL:([A-Z_.a-z0-9]+)", None),
    (r"INT(8|16) \(", "BINARY_ARITHMETIC_OVERFLOW"),
    (r"Overflow (in|on)|overflow", "ARITHMETIC_OVERFLOW"),
    (r"DECIMAL", "NUMERIC_VALUE_OUT_OF_RANGE.WITH_SUGGESTION"),
    (r"out of range|can't be cast", "CAST_OVERFLOW"),
)


def condition_of(error: Exception) -> str:
    """The condition that the execution layer would read out of an error."""
    if isinstance(error, AnalysisError):
        return error.condition
    for pattern, name in _PATTERNS:
        found = re.search(pattern, str(error))
        if found:
            return name or found[1]
    return f"{type(error).__name__}: {error}"


def type_text(expression: Expression) -> str:
    return dtype_of(expression).simpleString() + ("" if nullable_of(expression) else " not null")


def fetch(connection: duckdb.DuckDBPyConnection, sql: str, dtype: t.DataType) -> Any:
    (row,) = connection.execute(sql).fetchall()
    return physical(row[0], dtype)
