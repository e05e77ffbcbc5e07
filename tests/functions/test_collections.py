"""The rows of `collections/`: expression, type and value as Apache Spark 4.2 gives them (ANSI on, UTC); lambdas included."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from duckdb.func import FunctionNullHandling, PythonUDFType  # type: ignore[import-untyped,unused-ignore]
from pyspark.sql import types as t

from runnel.errors import RunnelError
from runnel.functions import casts
from runnel.functions.registry import BindContext
from runnel.functions.typing import cast_to
from runnel.plan.expressions import (
    Expression,
    FunctionCall,
    GetField,
    LambdaFunction,
    LambdaVariable,
    Literal,
    PythonUDF,
    UnresolvedAttribute,
    UnresolvedLambda,
    dtype_of,
    new_expr_id,
)
from tests.functions.evaluating import Context, Parser, condition_of, lookup, type_text
from tests.functions.evaluating import physical as plain
from tests.functions.rendering import show

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+\.?\d*(?:[eE][+-]?\d+)?)(?P<suffix>BD|[LSYDFd])?(?![A-Za-z_])"
    r"|(?P<typed>date|timestamp_ntz|timestamp|[xX])?(?:'(?P<string>(?:[^'\\]|\\.)*)'|\"(?P<double>[^\"]*)\")"
    r"|(?P<word>[A-Za-z_][A-Za-z0-9_]*)|(?P<symbol>->|<=>|<=|>=|!=|<>|\|\||==|[-+*/%=<>&|^~(),:]))"
)


class _Match(dict[str, Any]):
    """A token, with double-quoted text turned into the single-quoted kind and suffixes into upper case."""


class LambdaParser(Parser):
    def __init__(self, text: str) -> None:
        super().__init__("1")
        self.context = BindContext(resolve_lambda=self._resolve)
        self.tokens, self.at, position = [], 0, 0
        self.scopes: list[dict[str, LambdaVariable]] = []
        while position < len(text.rstrip()):
            match = _TOKEN.match(text, position)
            assert match, text[position:]
            token = _Match(match.groupdict())
            if token["double"] is not None:
                token["string"] = token["double"]
            token["suffix"] = token["suffix"] and token["suffix"].upper()
            self.tokens.append(token)  # type: ignore[arg-type]
            position = match.end()

    def prefix(self) -> Expression:
        names = self._lambda_head()
        if names is not None:
            start, depth = self.at, 0
            while self.at < len(self.tokens):
                symbol = self.peek()
                if depth == 0 and symbol in (",", ")"):
                    break
                depth += {"(": 1, ")": -1}.get(symbol, 0)
                self.at += 1
            return UnresolvedLambda(UnresolvedAttribute((str(start),)), names)
        word = self.peek()
        for scope in reversed(self.scopes):
            if word in scope:
                self.at += 1
                return scope[word]
        if self.tokens[self.at]["typed"] == "timestamp_ntz":
            self.tokens[self.at]["typed"] = "timestamp"  # type: ignore[index]
            found = super().prefix()
            return type(found)(found.value, t.TimestampNTZType())  # type: ignore[attr-defined,call-arg]
        if word == "interval":
            self.at += 1
            amount = super().prefix().value  # type: ignore[attr-defined]
            unit = self.take().rstrip("s")
            if unit == "month":
                return _literal(amount, t.YearMonthIntervalType(1, 1))
            size = {"day": 86_400_000_000, "hour": 3_600_000_000, "minute": 60_000_000}[unit]
            return _literal(amount * size, t.DayTimeIntervalType(0, 3))
        if word in ("month", "hour") and self.tokens[self.at]["word"] == word.upper():
            self.at += 1
            return _literal(word, t.StringType())
        return super().prefix()

    def _lambda_head(self) -> tuple[str, ...] | None:
        """The parameters of a lambda that begins here, read up to the arrow."""
        shown = [(k["word"] or k["symbol"] or "") for k in self.tokens[self.at : self.at + 12]]
        if len(shown) > 1 and shown[1] == "->":
            self.at += 2
            return (shown[0],)
        if shown and shown[0] == "(" and ")" in shown:
            end = shown.index(")")
            if end + 1 < len(shown) and shown[end + 1] == "->":
                self.at += end + 2
                return tuple(n for n in shown[1:end] if n != ",")
        return None

    def _resolve(self, function: UnresolvedLambda, parameters: tuple[tuple[t.DataType, bool], ...]) -> LambdaFunction:
        variables = tuple(
            LambdaVariable(n, d, null, new_expr_id()) for n, (d, null) in zip(function.params, parameters, strict=True)
        )
        after, self.at = self.at, int(function.body.parts[0])  # type: ignore[attr-defined]
        self.scopes.append({v.name: v for v in variables})
        body = self.expression()
        self.scopes.pop()
        self.at = after
        return LambdaFunction(body, variables)

    def call(self, name: str, args: tuple[Expression, ...], *, distinct: bool = False) -> Expression:
        if name in ("double", "float"):
            target = t.DoubleType() if name == "double" else t.FloatType()
            return cast_to(args[0], target)
        entry = lookup(name)
        assert entry is not None, name
        bound: Expression = entry.bind(self.context, args)  # type: ignore[union-attr]
        return bound


def _literal(value: Any, dtype: t.DataType) -> Expression:
    return Literal(value, dtype)


def _with_parameters(function: Callable[..., Any], count: int) -> Callable[..., Any]:
    """DuckDB counts a function's parameters: one that takes any number is given a fixed one."""
    names = ", ".join(f"a{i}" for i in range(count))
    wrapped: Callable[..., Any] = eval(f"lambda {names}: function({names})", {"function": function})
    return wrapped


class LambdaContext(Context):
    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection

    def lower(self, expression: Expression) -> str:
        match expression:
            case LambdaVariable(name=name, expr_id=number):
                return f'"{name}#{number}"'
            case LambdaFunction(body=body, params=params):
                return f"lambda {', '.join(self.lower(p) for p in params)}: {self.lower(body)}"
            case GetField(child=child, ordinal=ordinal):
                return f"struct_extract_at({self.lower(child)}, {ordinal + 1})"
            case Literal(value=int() as value, dtype=t.TimestampNTZType()):
                return f"make_timestamp({value})"
            case FunctionCall(name=name, args=args):
                return lookup(name).lower(self, expression, tuple(self.lower(a) for a in args))  # type: ignore[union-attr,misc,arg-type]
            case PythonUDF(function=function, args=args, dtype=dtype):
                name = f"python_{new_expr_id()}"
                types = [casts.type_sql(dtype_of(a)) for a in args]
                self.connection.create_function(
                    name,
                    _with_parameters(function.func, len(types)),
                    [duckdb.type(x) for x in types],
                    duckdb.type(casts.type_sql(dtype)),
                    type=PythonUDFType.ARROW,
                    null_handling=FunctionNullHandling.SPECIAL,
                )
                return f"{name}({', '.join(self.lower(a) for a in args)})"
            case _:
                return super().lower(expression)


def _rows() -> Iterator[object]:
    for table in sorted((Path(__file__).parent / "collections").glob("*.tsv")):
        for line in table.read_text(encoding="utf-8").splitlines():
            if line and not line.startswith("#"):
                expression, kind, value = line.split("\t")
                yield pytest.param(expression, kind, value, id=f"{table.stem}: {expression}")


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connected:
        yield connected


@pytest.mark.parametrize(("expression", "kind", "value"), _rows())
def test_row(connection: duckdb.DuckDBPyConnection, expression: str, kind: str, value: str) -> None:
    context = LambdaContext(connection)
    parser = LambdaParser(expression)
    if kind == "!":
        with pytest.raises((RunnelError, duckdb.Error)) as caught:
            connection.execute(f"SELECT {context.lower(parser.expression())}").fetchall()
        found = caught.value.condition if isinstance(caught.value, RunnelError) else condition_of(caught.value)
        assert found == value
        return
    bound = parser.expression()
    assert parser.at == len(parser.tokens)
    sql = f"SELECT {context.lower(bound)}"
    (got,) = connection.execute(sql).fetchone()  # type: ignore[misc]
    assert (show(plain(got, dtype_of(bound))), type_text(bound)) == (value, kind), sql
