"""Expressions from text: what each form means, in Spark's precedence."""

from __future__ import annotations

import pytest
from pyspark.sql import types as t

from runnel.errors import AnalysisError, ParseError, UnsupportedOperationError
from runnel.plan.expressions import (
    CastMode,
    Expression,
    Literal,
    MultiAlias,
    SortOrder,
    UnresolvedAttribute,
    UnresolvedLambda,
    UnresolvedNamedArgument,
    UnresolvedStar,
    UnresolvedSubquery,
    WindowExpression,
    WindowFrame,
)
from runnel.plan.relations import Empty
from runnel.sql import parse_expression, parse_name
from tests.sql.builders import ascending, c, cast, descending, f, item, lit, named, select, var

ONE, TWO, THREE = lit(1), lit(2), lit(3)
A, B, C, D, X, T = c("a"), c("b"), c("c"), c("d"), c("x"), c("t")
STAR = UnresolvedStar()
SELECT_ONE = select(Empty(), ONE)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", A),
        ("a.b.c", c("a.b.c")),
        ("`a b`.`c.d`", UnresolvedAttribute(("a b", "c.d"))),
        ("`a``b`", UnresolvedAttribute(("a`b",))),
        ("12ab", c("12ab")),
        ("t.1a", UnresolvedAttribute(("t", "1a"))),
        ("window.start", c("window.start")),
        ("window.end", c("window.end")),
        ("end", c("end")),
        ("interval", c("interval")),
        ("date", c("date")),
        ("timestamp", c("timestamp")),
        ("exists", c("exists")),
        ("left", c("left")),
        ("value", c("value")),
        ("struct.a", c("struct.a")),
        ("current_date", c("current_date")),
        ("*", STAR),
        ("t.*", UnresolvedStar(("t",))),
        ("a.b.*", UnresolvedStar(("a", "b"))),
        ("identifier('a.`b c`')", UnresolvedAttribute(("a", "b c"))),
        ("a as b", named(A, "b")),
        ("a b", named(A, "b")),
        ("a AS `x y`", named(A, "x y")),
        ("a as end", named(A, "end")),
        ("1 as `a``b`", named(ONE, "a`b")),
        ("explode(m) as (k, v)", MultiAlias(f("explode", c("m")), ("k", "v"))),
        ("explode(m) (k, v)", MultiAlias(f("explode", c("m")), ("k", "v"))),
        ("/* c */ a -- d", A),
    ],
)
def test_names_and_aliases(text: str, expected: Expression) -> None:
    assert parse_expression(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a[0]", item(A, 0)),
        ("a['k']", item(A, "k")),
        ("a.b[0].c", item(item(c("a.b"), 0), "c")),
        ("f(a).x", item(f("f", A), "x")),
        ("f(a).x.y", item(item(f("f", A), "x"), "y")),
        ("(a).x", item(A, "x")),
        ("a[b + 1]", item(A, f("+", B, ONE))),
        ("window(t, '10 minutes').start", item(f("window", T, lit("10 minutes")), "start")),
        ("map('a', 1)['a']", item(f("map", lit("a"), ONE), "a")),
    ],
)
def test_access(text: str, expected: Expression) -> None:
    assert parse_expression(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 | 2 & 3 ^ 4 << 1 + 2 || 'a'",
         f("|", ONE, f("^", f("&", TWO, THREE), f("<<", lit(4), f("concat", f("+", ONE, TWO), lit("a")))))),
        ("a + b * c", f("+", A, f("*", B, C))),
        ("a - b - c", f("-", f("-", A, B), C)),
        ("(a - b) - (c)", f("-", f("-", A, B), C)),
        ("a * b / c % d div x", f("div", f("%", f("/", f("*", A, B), C), D), X)),
        ("-a * b", f("*", f("negative", A), B)),
        ("+a", f("positive", A)),
        ("~a & 1", f("&", f("~", A), ONE)),
        ("-a.b", f("negative", c("a.b"))),
        ("- - 1", f("negative", lit(-1))),
        ("a -1", f("-", A, ONE)),
        ("a-1", f("-", A, ONE)),
        ("2 * -1", f("*", TWO, lit(-1))),
        ("a >> 1", f(">>", A, ONE)),
        ("a >>> 1", f(">>>", A, ONE)),
        ("a > 1", f(">", A, ONE)),
        ("a || b || c", f("concat", f("concat", A, B), C)),
        ("1 = 1 = true", f("==", f("==", ONE, ONE), lit(True))),
        ("a == b", f("==", A, B)),
        ("a <> b", f("!=", A, B)),
        ("a != b", f("!=", A, B)),
        ("a <=> b", f("<=>", A, B)),
        ("a <= b and a >= c or a < d", f("or", f("and", f("<=", A, B), f(">=", A, C)), f("<", A, D))),
        ("a and b or c and not d", f("or", f("and", A, B), f("and", C, f("not", D)))),
        ("not a = b and c", f("and", f("not", f("==", A, B)), C)),
        ("!a", f("not", A)),
        ("not not a", f("not", f("not", A))),
        ("a & 1 = 1", f("==", f("&", A, ONE), ONE)),
        ("a % 2 == 0", f("==", f("%", A, TWO), lit(0))),
    ],
)  # fmt: skip
def test_operators(text: str, expected: Expression) -> None:
    assert parse_expression(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a is null", f("isnull", A)),
        ("a is not null", f("isnotnull", A)),
        ("a = b is null", f("isnull", f("==", A, B))),
        ("a is unknown", f("isnull", A)),
        ("a is true", f("<=>", A, lit(True))),
        ("a is not false", f("not", f("<=>", A, lit(False)))),
        ("a is distinct from b", f("not", f("<=>", A, B))),
        ("a is not distinct from b", f("<=>", A, B)),
        ("a in (1, 2)", f("in", A, ONE, TWO)),
        ("a not in (1)", f("not", f("in", A, ONE))),
        ("a between 1 and 2 and b", f("and", f("between", A, ONE, TWO), B)),
        ("a not between 1 and 2", f("not", f("between", A, ONE, TWO))),
        ("a like 'x%'", f("like", A, lit("x%"))),
        ("a not like 'x%'", f("not", f("like", A, lit("x%")))),
        ("a like 'x' escape '/'", f("like", A, lit("x"), lit("/"))),
        ("a ilike 'x'", f("ilike", A, lit("x"))),
        ("a rlike '^x'", f("rlike", A, lit("^x"))),
        ("a regexp '^x'", f("rlike", A, lit("^x"))),
        ("a like any ('x', 'y')", f("like_any", A, lit("x"), lit("y"))),
        ("a like some ('x', 'y')", f("like_any", A, lit("x"), lit("y"))),
        ("a like all ('x')", f("like_all", A, lit("x"))),
        ("a not like any ('x')", f("not_like_any", A, lit("x"))),
        ("a not like all ('x')", f("not_like_all", A, lit("x"))),
        ("a ilike any ('x', 'y')", f("or", f("ilike", A, lit("x")), f("ilike", A, lit("y")))),
        ("a not ilike all ('x', 'y')",
         f("and", f("not", f("ilike", A, lit("x"))), f("not", f("ilike", A, lit("y"))))),
        ("case when a then 1 end", f("when", A, ONE)),
        ("case when a then 1 when b then 2 else 3 end", f("when", A, ONE, B, TWO, THREE)),
        ("case a when 1 then 2 else 3 end", f("when", f("==", A, ONE), TWO, THREE)),
        ("case when case when a then b end then c.end end", f("when", f("when", A, B), c("c.end"))),
        ("(a, b)", f("struct", A, B)),
        ("(a, b) in (select 1)", UnresolvedSubquery("in", SELECT_ONE, (A, B))),
        ("a not in (select 1)", f("not", UnresolvedSubquery("in", SELECT_ONE, (A,)))),
        ("exists (select 1)", UnresolvedSubquery("exists", SELECT_ONE)),
        ("(select 1) + 1", f("+", UnresolvedSubquery("scalar", SELECT_ONE), ONE)),
        ("((select 1))", UnresolvedSubquery("scalar", SELECT_ONE)),
    ],
)  # fmt: skip
def test_predicates_cases_and_subqueries(text: str, expected: Expression) -> None:
    assert parse_expression(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cast(a as int)", cast(A, t.IntegerType())),
        ("cast(a as array<struct<x:int>>) as b",
         named(cast(A, t.ArrayType(t.StructType().add("x", t.IntegerType()))), "b")),
        ("cast(a as varchar(3))", cast(A, t.StringType())),
        ("try_cast(a as int)", cast(A, t.IntegerType(), CastMode.TRY)),
        ("a::int", cast(A, t.IntegerType())),
        ("a::decimal(10,2)::string", cast(cast(A, t.DecimalType(10, 2)), t.StringType())),
        ("a::map<string,array<int>>['k']",
         item(cast(A, t.MapType(t.StringType(), t.ArrayType(t.IntegerType()))), "k")),
        ("-1::int", cast(lit(-1), t.IntegerType())),
        ("x -> x + 1", UnresolvedLambda(f("+", var("x"), ONE), ("x",))),
        ("transform(a, x -> x.b + c)",
         f("transform", A, UnresolvedLambda(f("+", item(var("x"), "b"), C), ("x",)))),
        ("transform(a, (x, i) -> x + i)",
         f("transform", A, UnresolvedLambda(f("+", var("x"), var("i")), ("x", "i")))),
        ("filter(a, x -> exists(x, y -> y = x))", f("filter", A, UnresolvedLambda(
            f("exists", var("x"), UnresolvedLambda(f("==", var("y"), var("x")), ("y",))), ("x",)))),
        ("f(k => 1, b)", f("f", UnresolvedNamedArgument("k", ONE), B)),
    ],
)  # fmt: skip
def test_casts_and_lambdas(text: str, expected: Expression) -> None:
    assert parse_expression(text) == expected


ROWS = WindowFrame("rows", lit(-1), None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rank() over ()", WindowExpression(f("rank"), (), ())),
        ("sum(a) over (partition by b, c order by d desc, x)",
         WindowExpression(f("sum", A), (B, C), (descending(D), ascending(X)))),
        ("sum(a) over (order by b nulls last)", WindowExpression(f("sum", A), (), (SortOrder(B, True, False),))),
        ("sum(a) over (order by b desc nulls first)", WindowExpression(f("sum", A), (), (SortOrder(B, False, True),))),
        ("sum(a) over (order by b rows between 1 preceding and unbounded following)",
         WindowExpression(f("sum", A), (), (ascending(B),), ROWS)),
        ("sum(a) over (rows 2 preceding)",
         WindowExpression(f("sum", A), (), (), WindowFrame("rows", lit(-2), lit(0)))),
        ("sum(a) over (order by b range between interval 1 day preceding and current row)",
         WindowExpression(f("sum", A), (), (ascending(B),),
                          WindowFrame("range", Literal(-86_400_000_000, t.DayTimeIntervalType(0, 0)), lit(0)))),
        ("sum(a) over (distribute by b sort by c)", WindowExpression(f("sum", A), (B,), (ascending(C),))),
        ("lead(a) ignore nulls over (order by b)",
         WindowExpression(f("lead", A, ignore_nulls=True), (), (ascending(B),))),
        ("count(*) + sum(a) over ()", f("+", f("count", ONE), WindowExpression(f("sum", A), (), ()))),
    ],
)  # fmt: skip
def test_windows(text: str, expected: Expression) -> None:
    assert parse_expression(text) == expected


@pytest.mark.parametrize(
    ("text", "condition", "at", "column"),
    [
        ("", "PARSE_EMPTY_STATEMENT", None, 0),
        ("  ", "PARSE_EMPTY_STATEMENT", None, 0),
        ("a +", "PARSE_SYNTAX_ERROR", "", 3),
        ("a b c", "PARSE_SYNTAX_ERROR", "c", 4),
        ("a, b", "PARSE_SYNTAX_ERROR", ",", 1),
        ("f(a", "PARSE_SYNTAX_ERROR", "", 3),
        ("a mod b", "PARSE_SYNTAX_ERROR", "b", 6),
        ("1 in (1) = true", "PARSE_SYNTAX_ERROR", "=", 9),
        ("interval a day", "PARSE_SYNTAX_ERROR", "day", 11),
        ("case a end", "PARSE_SYNTAX_ERROR", "end", 7),
        ("(a as b)", "PARSE_SYNTAX_ERROR", ")", 7),
        ("a as 'x'", "PARSE_SYNTAX_ERROR", "'x'", 5),
        ("'a", "PARSE_SYNTAX_ERROR", "'", 0),
        ("a in ()", "INVALID_SQL_SYNTAX.EMPTY_IN_PREDICATE", None, 0),
        ("/* x", "UNCLOSED_BRACKETED_COMMENT", None, 0),
        ("cast(a as foo)", "UNSUPPORTED_DATATYPE", "foo", 10),
        ("cast(a as varchar)", "DATATYPE_MISSING_SIZE", "varchar", 10),
        ("date 'x'", "INVALID_TYPED_LITERAL", "date 'x'", 0),
        ("128Y", "INVALID_NUMERIC_LITERAL_RANGE", "128Y", 0),
        ("1.5e400", "INVALID_NUMERIC_LITERAL_RANGE", "1.5e400", 0),
        ("interval 1 month 2 days", "_LEGACY_ERROR_TEMP_0029", "interval 1 month 2 days", 0),
        ("interval '1' year to day", "INVALID_INTERVAL_FORMAT.UNSUPPORTED_FROM_TO_EXPRESSION", None, 0),
        ("interval '1:99' hour to minute", "INVALID_INTERVAL_FORMAT.UNMATCHED_FORMAT_STRING", None, 0),
        ("sum(a) over w", "MISSING_WINDOW_SPECIFICATION", None, 0),
    ],
)
def test_errors(text: str, condition: str, at: str | None, column: int) -> None:
    with pytest.raises(ParseError) as caught:
        parse_expression(text)
    assert caught.value.condition == condition
    if at is not None:
        context = caught.value.context
        assert context is not None
        assert (context.fragment, context.line, context.column, context.start) == (at, 1, column, column)


def test_line_of_an_error() -> None:
    with pytest.raises(ParseError) as caught:
        parse_expression("a +\n  b +\n  )")
    assert caught.value.context is not None
    assert (caught.value.context.line, caught.value.context.column) == (3, 2)


@pytest.mark.parametrize("text", [":p", "?"])
def test_unbound_parameters(text: str) -> None:
    with pytest.raises(AnalysisError) as caught:
        parse_expression(text)
    assert caught.value.condition == "UNBOUND_SQL_PARAMETER"


@pytest.mark.parametrize("text", ["a collate unicode", "a:b", "* replace (1 as a)"])
def test_refusals(text: str) -> None:
    with pytest.raises(UnsupportedOperationError):
        parse_expression(text)


def test_names() -> None:
    assert parse_name("a.`b.c`.d") == ("a", "b.c", "d")
    with pytest.raises(ParseError):
        parse_name("a b")


def test_a_text_is_parsed_once() -> None:
    assert parse_expression("a + 1") is parse_expression("a + 1")
