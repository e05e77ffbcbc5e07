"""The grammar of expressions: Spark's precedence, special call syntax, casts, lambdas, windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from runnel.errors import AnalysisError, ParseError, unsupported
from runnel.plan.expressions import (
    Alias,
    Cast,
    Expression,
    MultiAlias,
    UnresolvedAttribute,
    UnresolvedExtract,
    UnresolvedFunction,
    UnresolvedLambda,
    UnresolvedLambdaVariable,
    UnresolvedStar,
    UnresolvedSubquery,
)
from runnel.plan.relations import Relation
from runnel.sql import literals
from runnel.sql.calls import CallParser
from runnel.sql.cursor import END, NUMBER, QUOTED, STRING, words
from runnel.sql.nodes import FALSE, NULL, TRUE, call, text_literal

Arguments = Sequence[Expression] | Mapping[str, Expression]

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
_NEVER_CALLED = words(
    """IN BETWEEN AND OR NOT ON USING AS FROM WHERE HAVING WHEN THEN ELSE DISTINCT JOIN UNION EXCEPT INTERSECT QUALIFY"""
)


class ExpressionParser(CallParser):
    """Expressions over the tokens of one text. `query`, the grammar of queries, comes with the class that extends it.

    args: the values of parameters, in order or by name.
    """

    def __init__(self, text: str, args: Arguments = ()) -> None:
        super().__init__(text)
        self._args = args
        self._positional = 0
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
        if self.at("EXCEPT", "("):
            self.advance()
            excepted = self.enclosed(self.name)
            return UnresolvedStar(target, excepted=tuple(excepted))
        if self.at("REPLACE", "("):
            raise unsupported("* REPLACE (…) in a select list", "Use withColumn(…) or name the columns.")
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
