"""Function calls: the ordinary syntax, and the functions that have a syntax of their own."""

from __future__ import annotations

from pyspark.sql.types import DataType

from runnel.errors import unsupported
from runnel.plan.ddl import parse_type_prefix, plain_type
from runnel.plan.expressions import (
    Alias,
    Cast,
    CastMode,
    Expression,
    UnresolvedFunction,
    UnresolvedNamedArgument,
    UnresolvedStar,
)
from runnel.sql.cursor import STRING, words
from runnel.sql.nodes import ONE, call, text_literal
from runnel.sql.windows import WindowParser

_TIME_ADD = frozenset({"TIMESTAMPADD", "DATEADD", "DATE_ADD"})
_TIME_DIFF = frozenset({"TIMESTAMPDIFF", "DATEDIFF", "DATE_DIFF", "TIMEDIFF"})
_TIME_UNITS = words("YEAR QUARTER MONTH WEEK DAY DAYOFYEAR HOUR MINUTE SECOND MILLISECOND MICROSECOND")


class CallParser(WindowParser):
    """Calls; what their arguments are comes with the class that extends it.

    `_cases` counts the CASE expressions that are open here, in which END is no column.
    """

    _cases = 0

    def value(self, level: int = 1) -> Expression:
        """Arithmetic, bits and comparisons, all operators of at least this level of precedence."""
        raise NotImplementedError

    def _name_or_call(self) -> Expression:
        raise NotImplementedError

    def _column(self, parts: tuple[str, ...]) -> Expression:
        raise NotImplementedError

    def _special_call(self, key: str) -> Expression:
        match key:
            case "CAST" | "TRY_CAST":
                self.expect(key, "(")
                value = self.expression()
                self.expect("AS")
                dtype = self._type()
                self.expect(")")
                return Cast(value, dtype, CastMode.TRY if key == "TRY_CAST" else None)
            case "EXTRACT" if self.key_at(3) == "FROM":
                self.expect(key, "(")
                field = self.name()
                self.expect("FROM")
                return self._closed(call("extract", text_literal(field), self.value()))
            case "TRIM":
                return self._trim()
            case "SUBSTRING" | "SUBSTR" | "POSITION" | "OVERLAY":
                return self.attempt(lambda: self._keyword_call(key)) or self._name_or_call()
            case "STRUCT":
                self.advance()
                return self._call("struct")
            case _ if key in _TIME_ADD | _TIME_DIFF and self.key_at(2) in _TIME_UNITS and self.key_at(3) == ",":
                return self.attempt(lambda: self._unit_call(key)) or self._name_or_call()
            case "IDENTIFIER" if self.key_at(2) == STRING:
                self.expect(key, "(")
                inner = type(self)(self.string())
                parts = inner.dotted_name()
                inner.expect_end()
                self.expect(")")
                return self._call(".".join(parts).lower()) if self.at("(") else self._column(parts)
            case _:
                return self._name_or_call()

    def _closed(self, value: Expression) -> Expression:
        self.expect(")")
        return value

    def _trim(self) -> Expression:
        names = {"BOTH": "trim", "LEADING": "ltrim", "TRAILING": "rtrim"}
        if self.key_at(2) == ")":
            return self._name_or_call()
        self.expect("TRIM", "(")
        if self.key in names and self.next_key not in (",", ")", "."):
            name = names[self.advance().text.upper()]
            pad = () if self.at("FROM") else (self.value(),)
            self.expect("FROM")
            return self._closed(call(name, *pad, self.value()))
        first = self.expression()
        if self.accept("FROM"):
            return self._closed(call("trim", first, self.value()))
        rest = self.listed(self.expression) if self.accept(",") else ()
        return self._closed(call("trim", first, *rest))

    def _keyword_call(self, key: str) -> Expression:
        self.expect(key, "(")
        first = self.value()
        match key:
            case "POSITION":
                self.expect("IN")
                return self._closed(call("locate", first, self.value(), ONE))
            case "OVERLAY":
                self.expect("PLACING")
                args = [first, self.value()]
                self.expect("FROM")
            case _:
                self.expect("FROM")
                args = [first]
        args.append(self.value())
        if self.accept("FOR"):
            args.append(self.value())
        return self._closed(call("substring" if key == "SUBSTR" else key.lower(), *args))

    def _unit_call(self, key: str) -> Expression:
        self.expect(key, "(")
        unit = text_literal(self.name())
        self.expect(",")
        first = self.expression()
        self.expect(",")
        name = "timestampadd" if key in _TIME_ADD else "timestampdiff"
        return self._closed(call(name, unit, first, self.expression()))

    def _call(self, name: str) -> Expression:
        self.expect("(")
        name = name.removeprefix("system.").removeprefix("builtin.")
        cases, self._cases = self._cases, 0
        distinct = self.accept("DISTINCT")
        if not distinct and self.key == "ALL" and self.next_key not in (",", ")", "."):
            self.advance()
        args = () if self.at(")") else self.listed(self._argument)
        self._cases = cases
        ignore_nulls = self._nulls()
        self.expect(")")
        if name == "count" and args == (UnresolvedStar(),) and not distinct:
            args = (ONE,)
        if self.at("WITHIN", "GROUP", "("):
            self.expect("WITHIN", "GROUP", "(", "ORDER BY")
            args += self.listed(self.sort_order)
            self.expect(")")
        condition = None
        if self.accept("FILTER", "("):
            self.expect("WHERE")
            condition = self.expression()
            self.expect(")")
        if ignore_nulls is None:
            ignore_nulls = self._nulls()
        function = UnresolvedFunction(name, args, distinct, condition, ignore_nulls)
        return self._over(function) if self.accept("OVER") else function

    def _nulls(self) -> bool | None:
        if self.accept("IGNORE", "NULLS"):
            return True
        return False if self.accept("RESPECT", "NULLS") else None

    def _argument(self) -> Expression:
        if self.is_name() and self.next_key == "=>":
            name = self.name()
            self.expect("=>")
            return UnresolvedNamedArgument(name, self.expression())
        if self.at("TABLE") and self.next_key == "(":
            raise unsupported("A table as an argument of a function")
        value = self.expression()
        return Alias(value, self.name()) if self.accept("AS") else value

    def _type(self) -> DataType:
        dtype, end = parse_type_prefix(self.text, self.position)
        self.skip_to(end)
        return plain_type(dtype)
