"""The grammar of expressions: Spark's precedence, special call syntax, casts, lambdas, windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pyspark.sql.types import BooleanType, DataType, IntegerType, NullType, StringType

from runnel.errors import AnalysisError, ParseError, unsupported
from runnel.plan.expressions import (
    Alias,
    Cast,
    CastMode,
    Expression,
    Literal,
    MultiAlias,
    SortOrder,
    UnresolvedAttribute,
    UnresolvedExtract,
    UnresolvedFunction,
    UnresolvedLambda,
    UnresolvedLambdaVariable,
    UnresolvedNamedArgument,
    UnresolvedStar,
    UnresolvedSubquery,
    WindowExpression,
    WindowFrame,
)
from runnel.plan.relations import Relation
from runnel.sql import literals
from runnel.sql.cursor import END, NUMBER, QUOTED, STRING, Cursor, words
from runnel.sql.ddl import parse_type_prefix, plain_type

Arguments = Sequence[Expression] | Mapping[str, Expression]

TRUE = Literal(True, BooleanType())
FALSE = Literal(False, BooleanType())
NULL = Literal(None, NullType())
ONE = Literal(1, IntegerType())
CURRENT_ROW = Literal(0, IntegerType())

_BINARY: Mapping[str, tuple[int, str]] = {
    "*": (7, "*"),
    "/": (7, "/"),
    "%": (7, "%"),
    "DIV": (7, "div"),
    "+": (6, "+"),
    "-": (6, "-"),
    "||": (6, "concat"),
    "<<": (5, "<<"),
    ">>": (5, ">>"),
    ">>>": (5, ">>>"),
    "&": (4, "&"),
    "^": (3, "^"),
    "|": (2, "|"),
    "=": (1, "=="),
    "!=": (1, "!="),
    "<": (1, "<"),
    "<=": (1, "<="),
    ">": (1, ">"),
    ">=": (1, ">="),
    "<=>": (1, "<=>"),
}

_CLAUSES = words(
    """FROM WHERE HAVING QUALIFY UNION EXCEPT MINUS INTERSECT ON USING AS AND OR THEN WHEN ELSE BETWEEN IN IS LIKE ILIKE
    RLIKE REGEXP JOIN CROSS INNER NATURAL LATERAL NOT DISTINCT"""
) | {"ORDER BY", "GROUP BY", "SORT BY", "CLUSTER BY", "DISTRIBUTE BY", "PARTITION BY", "GROUPING SETS"}
"""Words that begin a clause, so that no column is named by them without quotes."""

_NOT_ALIASES = _CLAUSES | words(
    """END LIMIT OFFSET WINDOW TABLESAMPLE PIVOT UNPIVOT ASC DESC NULLS OVER FILTER WITHIN IGNORE RESPECT ESCAPE DIV
    FULL LEFT RIGHT SEMI ANTI ROWS RANGE FOR COLLATE PLACING WITH"""
)
"""Words that are no alias unless AS says so."""

_TYPED = frozenset({"DATE", "TIMESTAMP", "TIMESTAMP_NTZ", "TIMESTAMP_LTZ", "TIME"})
_TIME_ADD = frozenset({"TIMESTAMPADD", "DATEADD", "DATE_ADD"})
_TIME_DIFF = frozenset({"TIMESTAMPDIFF", "DATEDIFF", "DATE_DIFF", "TIMEDIFF"})
_TIME_UNITS = words("YEAR QUARTER MONTH WEEK DAY DAYOFYEAR HOUR MINUTE SECOND MILLISECOND MICROSECOND")
_NEVER_CALLED = words(
    """IN BETWEEN AND OR NOT ON USING AS FROM WHERE HAVING WHEN THEN ELSE DISTINCT JOIN UNION EXCEPT INTERSECT QUALIFY"""
)


@dataclass(frozen=True, slots=True)
class WindowReference(Expression):
    """`function OVER name`, until the query's WINDOW clause has been read."""

    function: Expression
    name: str


@dataclass(frozen=True, slots=True)
class WindowSpec:
    """What OVER and the WINDOW clause say."""

    partition_by: tuple[Expression, ...]
    order_by: tuple[SortOrder, ...]
    frame: WindowFrame | None

    def over(self, function: Expression) -> WindowExpression:
        return WindowExpression(function, self.partition_by, self.order_by, self.frame)


def call(name: str, *args: Expression) -> UnresolvedFunction:
    """A call of a function by its name in lower case."""
    return UnresolvedFunction(name, args)


def text_literal(value: str) -> Literal:
    return Literal(value, StringType())


class ExpressionParser(Cursor):
    """Expressions over the tokens of one text. `query`, the grammar of queries, comes with the class that extends it.

    args: the values of parameters, in order or by name.
    """

    def __init__(self, text: str, args: Arguments = ()) -> None:
        super().__init__(text)
        self._args = args
        self._positional = 0
        self._cases = 0
        self._lambdas: list[tuple[str, ...]] = []

    def query(self) -> Relation:
        """A whole query, without the parentheses around it."""
        raise NotImplementedError

    # ------------------------------------------------------------------------------------------------------ names

    def named_expression(self) -> Expression:
        """An expression, with an alias or several if there are any."""
        expression = self.expression()
        if self.accept("AS"):
            if self.at("("):
                return MultiAlias(expression, self.enclosed(self.name))
            return Alias(expression, self.name())
        if self.key == QUOTED or (self.is_word() and self.key not in _NOT_ALIASES):
            return Alias(expression, self.name())
        if self.at("(") and self.is_name(1) and self.key_at(2) in (",", ")"):
            return MultiAlias(expression, self.enclosed(self.name))
        return expression

    # --------------------------------------------------------------------------------------------------- booleans

    def expression(self) -> Expression:
        """`or`, `and`, `not` and what binds tighter."""
        left = self._and()
        while self.accept("OR"):
            left = call("or", left, self._and())
        return left

    def _and(self) -> Expression:
        left = self._not()
        while self.accept("AND"):
            left = call("and", left, self._not())
        return left

    def _not(self) -> Expression:
        if self.key in ("NOT", "!") and not (self.key == "NOT" and self.next_key in ("", END)):
            self.advance()
            return call("not", self._not())
        if self.at("EXISTS", "(") and self._query_begins(2):
            self.advance()
            return UnresolvedSubquery("exists", self._enclosed_query())
        return self._predicate(self.value())

    def _predicate(self, value: Expression) -> Expression:
        negated = self.at("NOT") and self.next_key in ("BETWEEN", "IN", "LIKE", "ILIKE", "RLIKE", "REGEXP")
        key = self.key_at(1) if negated else self.key
        if key not in ("BETWEEN", "IN", "LIKE", "ILIKE", "RLIKE", "REGEXP", "IS"):
            return value
        if negated:
            self.advance()
        self.advance()
        match key:
            case "IS":
                return self._is(value)
            case "BETWEEN":
                lower = self.value()
                self.expect("AND")
                result: Expression = call("between", value, lower, self.value())
            case "IN":
                result = self._in(value)
            case "LIKE" | "ILIKE" if self.key in ("ANY", "SOME", "ALL") and self.next_key == "(":
                return self._like_many(key, value, negated)
            case "LIKE" | "ILIKE":
                pattern = self.value()
                escape = (text_literal(self.string()),) if self.accept("ESCAPE") else ()
                result = call(key.lower(), value, pattern, *escape)
            case _:
                result = call("rlike", value, self.value())
        return call("not", result) if negated else result

    def _is(self, value: Expression) -> Expression:
        negated = self.accept("NOT")
        if self.accept("NULL") or self.accept("UNKNOWN"):
            return call("isnotnull" if negated else "isnull", value)
        if self.accept("TRUE"):
            result = call("<=>", value, TRUE)
        elif self.accept("FALSE"):
            result = call("<=>", value, FALSE)
        else:
            self.expect("DISTINCT", "FROM")
            result, negated = call("<=>", value, self.value()), not negated
        return call("not", result) if negated else result

    def _in(self, value: Expression) -> Expression:
        if self.at("(") and self._query_begins(1):
            tuple_ = isinstance(value, UnresolvedFunction) and value.name == "struct"
            args = value.args if tuple_ and isinstance(value, UnresolvedFunction) else (value,)
            return UnresolvedSubquery("in", self._enclosed_query(), args)
        if self.at("(", ")"):
            raise self.fail_at(self.index, "INVALID_SQL_SYNTAX.EMPTY_IN_PREDICATE")
        return call("in", value, *self.enclosed(self.expression))

    def _like_many(self, key: str, value: Expression, negated: bool) -> Expression:
        every = self.advance().text.upper() == "ALL"
        name = f"{'not_' if negated else ''}{key.lower()}_{'all' if every else 'any'}"
        if key == "ILIKE":
            parts: list[Expression] = [call("ilike", value, p) for p in self.enclosed(self.value)]
            if negated:
                parts = [call("not", p) for p in parts]
            result = parts[0]
            for part in parts[1:]:
                result = call("and" if every else "or", result, part)
            return result
        return call(name, value, *self.enclosed(self.value))

    # ----------------------------------------------------------------------------------------------------- values

    def value(self, level: int = 1) -> Expression:
        """Arithmetic, bits and comparisons, all operators of at least this level of precedence."""
        left = self._unary()
        while True:
            sign, width = self._operator()
            found = _BINARY.get(sign)
            if found is None or found[0] < level:
                return left
            for _ in range(width):
                self.advance()
            left = call(found[1], left, self.value(found[0] + 1))

    def _operator(self) -> tuple[str, int]:
        key = self.key
        if key in ("<", ">") and self.next_key == key and self.adjacent():
            if key == ">" and self.key_at(2) == ">" and self.adjacent(1):
                return ">>>", 3
            return key * 2, 2
        return key, 1

    def _unary(self) -> Expression:
        match self.key:
            case "-" if self.next_key == NUMBER or self._leading_dot(1):
                self.advance()
                return self._postfix(self._number(negative=True))
            case "-":
                self.advance()
                return call("negative", self._unary())
            case "+":
                self.advance()
                return call("positive", self._unary())
            case "~":
                self.advance()
                return call("~", self._unary())
            case _:
                return self._postfix(self._primary())

    def _leading_dot(self, distance: int = 0) -> bool:
        return self.key_at(distance) == "." and self.key_at(distance + 1) == NUMBER and self.adjacent(distance)

    def _number(self, negative: bool = False) -> Expression:
        start = self.index
        dot = "." if self.accept(".") else ""
        token = self.advance()
        try:
            return literals.number(dot + token.text, negative)
        except ParseError as error:
            raise self.fail_at(start, error.condition, **error.message_parameters) from None

    def _postfix(self, value: Expression) -> Expression:
        while True:
            if self.accept("["):
                value = UnresolvedExtract(value, self.expression())
                self.expect("]")
            elif self.at(".") and self.is_name(1):
                self.advance()
                value = UnresolvedExtract(value, text_literal(self.name()))
            elif self.accept("::"):
                value = Cast(value, self._type())
            elif self.at("COLLATE") and self.is_name(1):
                self.advance()
                collation = ".".join(self.dotted_name())
                if collation.lower() != "utf8_binary":
                    raise unsupported(f"The collation {collation}")
            elif self.at(":") and self.is_name(1):
                raise unsupported("The access to a field of a variant (a:b)", "Use variant_get.")
            else:
                return value

    def _type(self) -> DataType:
        dtype, end = parse_type_prefix(self.text, self.position)
        self.skip_to(end)
        return plain_type(dtype)

    # ---------------------------------------------------------------------------------------------------- primary

    def _primary(self) -> Expression:
        key = self.key
        match key:
            case "<string>":
                return text_literal(self.string())
            case "<number>":
                return self._number()
            case "<hex>":
                return literals.binary(self.advance().text)
            case "(":
                return self._parenthesis()
            case "*":
                self.advance()
                return self._star(())
            case "?":
                return self._positional_parameter()
            case ":" if self.is_word(1):
                self.advance()
                return self._named_parameter()
            case "." if self._leading_dot():
                return self._number()
        if not self.is_name():
            raise self.fail()
        if self.next_key == "(" and key not in _NEVER_CALLED:
            return self._special_call(key)
        return self._word(key)

    def _word(self, key: str) -> Expression:
        following = self.next_key
        if following == "->":
            return self._lambda((self.name(),))
        if following != ".":
            match key:
                case "NULL":
                    self.advance()
                    return NULL
                case "TRUE":
                    self.advance()
                    return TRUE
                case "FALSE":
                    self.advance()
                    return FALSE
                case "CASE":
                    return self._case()
                case "INTERVAL" if following in (STRING, NUMBER, "-", "+") or (
                    following == "." and self._leading_dot(1)
                ):
                    return self.interval()
                case _ if following == STRING and key in _TYPED:
                    return self._typed_literal()
                case "END" if self._cases:
                    raise self.fail()
                case _ if key in _CLAUSES:
                    raise self.fail()
        return self._name_or_call()

    def _typed_literal(self) -> Expression:
        start = self.index
        kind = self.advance().text.upper()
        try:
            return literals.typed(kind, self.string())
        except ParseError as error:
            raise self.fail_at(start, error.condition, **error.message_parameters) from None

    def _name_or_call(self) -> Expression:
        parts = [self.name()]
        while self.accept("."):
            if self.accept("*"):
                return self._star(tuple(parts))
            parts.append(self.name())
        if self.at("("):
            return self._call(".".join(parts).lower())
        return self._column(tuple(parts))

    def _column(self, parts: tuple[str, ...]) -> Expression:
        if any(parts[0].lower() == p.lower() for params in self._lambdas for p in params):
            result: Expression = UnresolvedLambdaVariable(parts[0])
            for part in parts[1:]:
                result = UnresolvedExtract(result, text_literal(part))
            return result
        return UnresolvedAttribute(parts)

    def _star(self, target: tuple[str, ...]) -> Expression:
        if self.key in ("EXCEPT", "REPLACE") and self.next_key == "(":
            raise unsupported(f"* {self.key} (…) in a select list", "Use drop(…) or name the columns.")
        return UnresolvedStar(target)

    def _positional_parameter(self) -> Expression:
        token = self.advance()
        given = self._args
        if isinstance(given, Mapping) or self._positional >= len(given):
            raise AnalysisError("UNBOUND_SQL_PARAMETER", name=f"_{token.start}")
        self._positional += 1
        return given[self._positional - 1]

    def _named_parameter(self) -> Expression:
        name = self.name()
        if not isinstance(self._args, Mapping) or name not in self._args:
            raise AnalysisError("UNBOUND_SQL_PARAMETER", name=name)
        return self._args[name]

    def _query_begins(self, distance: int) -> bool:
        return self.key_at(distance) in ("SELECT", "WITH") or (
            self.key_at(distance) in ("FROM", "TABLE", "VALUES")
            and (self.is_name(distance + 1) or self.key_at(distance + 1) in ("(", STRING, NUMBER))
        )

    def _enclosed_query(self) -> Relation:
        self.expect("(")
        lambdas, self._lambdas = self._lambdas, []
        cases, self._cases = self._cases, 0
        plan = self.query()
        self._lambdas, self._cases = lambdas, cases
        self.expect(")")
        return plan

    def _parenthesis(self) -> Expression:
        if self._query_begins(1):
            return UnresolvedSubquery("scalar", self._enclosed_query())
        params = self.attempt(self._lambda_parameters)
        if params is not None:
            return self._lambda(params)
        self.advance()
        cases, self._cases = self._cases, 0
        items = self.listed(self.named_expression)
        self._cases = cases
        if len(items) == 1 and isinstance(items[0], Alias | MultiAlias):
            raise self.fail()
        self.expect(")")
        return items[0] if len(items) == 1 else call("struct", *items)

    def _lambda_parameters(self) -> tuple[str, ...]:
        names = self.enclosed(self.name)
        if not self.at("->"):
            raise self.fail()
        return names

    def _lambda(self, params: tuple[str, ...]) -> Expression:
        self.expect("->")
        self._lambdas.append(params)
        try:
            return UnresolvedLambda(self.expression(), params)
        finally:
            self._lambdas.pop()

    def _case(self) -> Expression:
        self.expect("CASE")
        self._cases += 1
        subject = None if self.at("WHEN") else self.expression()
        items: list[Expression] = []
        while self.accept("WHEN"):
            condition = self.expression()
            self.expect("THEN")
            items += (condition if subject is None else call("==", subject, condition), self.expression())
        if not items:
            raise self.fail()
        if self.accept("ELSE"):
            items.append(self.expression())
        self.expect("END")
        self._cases -= 1
        return call("when", *items)

    def interval(self) -> Literal:
        """`INTERVAL 1 DAY 2 HOURS`, `INTERVAL '1 day'`, `INTERVAL '1-2' YEAR TO MONTH`."""
        start = self.index
        self.expect("INTERVAL")
        try:
            return self._interval_body()
        except ParseError as error:
            if error.context is not None:
                raise
            if error.condition == "_LEGACY_ERROR_TEMP_0029":
                raise self.fail_at(start, error.condition, literal=self.source(start)) from None
            raise self.fail_at(start, error.condition, **error.message_parameters) from None

    def _interval_body(self) -> Literal:
        terms: list[str] = []
        while self.key in ("-", "+", NUMBER, STRING) or self._leading_dot():
            sign = self.advance().text if self.key in ("-", "+") else ""
            quoted = self.key == STRING
            if quoted:
                text = self.string()
            else:
                dot = "." if self.accept(".") else ""
                text = dot + self.advance().text
            unit = self.key
            if not literals.is_unit(unit):
                if quoted and not terms and not sign:
                    return literals.interval(text)
                raise self.fail()
            self.advance()
            if not terms and quoted and self.at("TO") and literals.is_unit(self.next_key):
                self.advance()
                last = self.advance().text.upper().removesuffix("S")
                body = f"-{text.strip()}" if sign == "-" else text
                return literals.interval_range(_unsigned_twice(body), unit.removesuffix("S"), last)
            text = text.strip()
            value = _unsigned_twice(f"-{text}") if sign == "-" else text
            terms.append(f"{value} {unit.lower()}")
            if not (self.key in ("-", "+", NUMBER, STRING) and self._unit_follows()):
                break
        return literals.interval(" ".join(terms))

    def _unit_follows(self) -> bool:
        distance = 1 if self.key in (NUMBER, STRING) else 2
        if distance == 2:
            return False
        return literals.is_unit(self.key_at(distance))

    # ------------------------------------------------------------------------------------------------------ calls

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
        unit = text_literal(self.name().upper())
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

    # ---------------------------------------------------------------------------------------------------- windows

    def _over(self, function: Expression) -> Expression:
        if self.is_name():
            return WindowReference(function, self.name())
        if self.at("(") and self.is_name(1) and self.key_at(2) == ")":
            self.advance()
            reference = WindowReference(function, self.name())
            self.expect(")")
            return reference
        return self.window_spec().over(function)

    def window_spec(self) -> WindowSpec:
        """`(PARTITION BY … ORDER BY … ROWS …)`"""
        self.expect("(")
        partition: tuple[Expression, ...] = ()
        order: tuple[SortOrder, ...] = ()
        if self.accept("CLUSTER BY"):
            partition = self.listed(self.expression)
            order = tuple(SortOrder(e) for e in partition)
        else:
            if self.accept("PARTITION BY") or self.accept("DISTRIBUTE BY"):
                partition = self.listed(self.expression)
            if self.accept("ORDER BY") or self.accept("SORT BY"):
                order = self.listed(self.sort_order)
        frame = self._frame() if self.key in ("ROWS", "RANGE") else None
        self.expect(")")
        return WindowSpec(partition, order, frame)

    def _frame(self) -> WindowFrame:
        kind = self.advance().text.lower()
        if self.accept("BETWEEN"):
            lower = self._bound()
            self.expect("AND")
            return WindowFrame(kind, lower, self._bound())
        return WindowFrame(kind, self._bound(), CURRENT_ROW)

    def _bound(self) -> Expression | None:
        if self.accept("CURRENT", "ROW"):
            return CURRENT_ROW
        if self.accept("UNBOUNDED"):
            if not (self.accept("PRECEDING") or self.accept("FOLLOWING")):
                raise self.fail()
            return None
        offset = self.expression()
        if self.accept("FOLLOWING"):
            return offset
        self.expect("PRECEDING")
        if isinstance(offset, Literal) and offset.value is not None:
            return Literal(-offset.value, offset.dtype)
        return call("negative", offset)

    def sort_order(self) -> SortOrder:
        """`expression [ASC | DESC] [NULLS FIRST | LAST]`"""
        child = self.expression()
        ascending = not self.accept("DESC")
        if ascending:
            self.accept("ASC")
        nulls_first = ascending
        if self.accept("NULLS", "FIRST"):
            nulls_first = True
        elif self.accept("NULLS", "LAST"):
            nulls_first = False
        return SortOrder(child, ascending, nulls_first)


def _unsigned_twice(text: str) -> str:
    """A value with two signs in front (`-'-1'`) with one."""
    return text[2:] if text.startswith("--") else text.replace("-+", "-", 1) if text.startswith("-+") else text
