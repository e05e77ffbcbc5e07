"""Queries from text."""

from __future__ import annotations

import pytest

from runnel.errors import AnalysisError, ParseError, RunnelError, UnsupportedOperationError
from runnel.plan.expressions import (
    Alias,
    Expression,
    SortOrder,
    UnresolvedStar,
    UnresolvedSubquery,
    WindowExpression,
)
from runnel.plan.relations import (
    Aggregate,
    Deduplicate,
    Drop,
    Empty,
    Filter,
    Join,
    Limit,
    NamedTable,
    Offset,
    Project,
    Read,
    Relation,
    Sample,
    SetOperation,
    Sort,
    SubqueryAlias,
    TableValuedFunction,
    Unpivot,
    WithColumns,
    WithCTE,
    WithWatermark,
)
from runnel.sql import parse_statement
from tests.sql.builders import ascending, c, descending, f, lit, named, select, table

A, B, C = c("a"), c("b"), c("c")
ONE, TWO, THREE = lit(1), lit(2), lit(3)
STAR = UnresolvedStar()
TABLE, OTHER = table("t"), table("u")
AUTO = "__auto_generated_subquery_name"


def star(child: Relation) -> Project:
    return select(child, STAR)


def aliased(child: Relation, name: str, *columns: str) -> SubqueryAlias:
    return SubqueryAlias(child=child, alias=name, columns=columns)


def grouped(keys: tuple[Expression, ...], items: tuple[Expression, ...], **more: object) -> Aggregate:
    return Aggregate(child=TABLE, groupings=keys, aggregates=items, implicit_keys=False, **more)  # type: ignore[arg-type]


def union(*inputs: Relation, every: bool = True) -> SetOperation:
    return SetOperation(inputs=inputs, kind="union", all=every)


def explode(column: Expression) -> TableValuedFunction:
    return TableValuedFunction(name="explode", args=(column,))


FIRST, SECOND, THIRD = (select(Empty(), lit(n)) for n in (1, 2, 3))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("select 1", FIRST),
        ("SELECT 1;", FIRST),
        ("(select 1)", FIRST),
        ("table t", TABLE),
        ("from t", star(TABLE)),
        ("from t select a", select(TABLE, A)),
        ("select a, b as x, c d from t", select(TABLE, A, named(B, "x"), named(C, "d"))),
        ("select interval, date, end from t", select(TABLE, c("interval"), c("date"), c("end"))),
        ("select first, value, key, count from t", select(TABLE, c("first"), c("value"), c("key"), c("count"))),
        ("select /*+ broadcast(t) */ a from t", select(TABLE, A)),
        ("select all a from t", select(TABLE, A)),
        ("select distinct a from t", Deduplicate(child=select(TABLE, A), all_columns=True, as_aggregation=True)),
        ("select distinct(a) from t", Deduplicate(child=select(TABLE, A), all_columns=True, as_aggregation=True)),
        ("select t.* from db.t -- comment", select(table("db.t"), UnresolvedStar(("t",)))),
        ("select * from t where a > 1", star(Filter(child=TABLE, condition=f(">", A, ONE)))),
        ("select * from t limit 2", Limit(child=star(TABLE), count=2)),
        ("select * from t limit 1 + 1 offset 3", Limit(child=Offset(child=star(TABLE), count=3), count=2)),
        ("select * from t limit all", star(TABLE)),
        ("select a from t order by a, b desc nulls first, 1",
         Sort(child=select(TABLE, A), orders=(ascending(A), SortOrder(B, False, True), ascending(ONE)))),
        ("select a from t sort by b", Sort(child=select(TABLE, A), orders=(ascending(B),), is_global=False)),
        ("select a from t cluster by b", Sort(child=select(TABLE, A), orders=(ascending(B),), is_global=False)),
        ("select a from t distribute by c sort by b",
         Sort(child=select(TABLE, A), orders=(ascending(B),), is_global=False)),
        ("select exists (select 1) from t", select(TABLE, UnresolvedSubquery("exists", FIRST))),
        ("select a from t where b in (select 1)",
         select(Filter(child=TABLE, condition=UnresolvedSubquery("in", FIRST, (B,))), A)),
        ("select sum(a) over w from t window w as (order by b), v as w",
         select(TABLE, WindowExpression(f("sum", A), (), (ascending(B),)))),
        ("select a from t qualify row_number() over (order by b) = 1",
         Drop(child=Filter(child=select(TABLE, A, Alias(
             f("==", WindowExpression(f("row_number"), (), (ascending(B),)), ONE), "__qualify")),
             condition=c("__qualify")), names=("__qualify",))),
    ],
)  # fmt: skip
def test_select(text: str, expected: Relation) -> None:
    assert parse_statement(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("select a, sum(b) from t group by a having sum(b) > 1",
         grouped((A,), (A, f("sum", B)), having=f(">", f("sum", B), ONE))),
        ("select count(*) from t having count(*) > 1",
         grouped((), (f("count", ONE),), having=f(">", f("count", ONE), ONE))),
        ("select a from t group by 1, b", grouped((ONE, B), (A,))),
        ("select a as x, count(*) + 1, upper(b) from t group by all",
         grouped((A, f("upper", B)), (named(A, "x"), f("+", f("count", ONE), ONE), f("upper", B)))),
        ("select window.start from t group by window(a, '1 minute')",
         grouped((f("window", A, lit("1 minute")),), (c("window.start"),))),
        ("select a from t group by rollup(a, b)", grouped((A, B), (A,), kind="rollup")),
        ("select a from t group by a, b with cube", grouped((A, B), (A,), kind="cube")),
        ("select a from t group by grouping sets ((a, b), a, ())",
         grouped((A, B), (A,), kind="grouping_sets", grouping_sets=((0, 1), (0,), ()))),
        ("select a from t group by a, b grouping sets ((a), (b))",
         grouped((A, B), (A,), kind="grouping_sets", grouping_sets=((0,), (1,)))),
        ("select a from t group by c, rollup(a, b)",
         grouped((C, A, B), (A,), kind="grouping_sets", grouping_sets=((0, 1, 2), (0, 1), (0,)))),
        ("select a from t group by rollup((a, b), c)",
         grouped((A, B, C), (A,), kind="grouping_sets", grouping_sets=((0, 1, 2), (0, 1), ()))),
        ("select a from t group by cube(a, b), c",
         grouped((A, B, C), (A,), kind="grouping_sets", grouping_sets=((0, 1, 2), (0, 2), (1, 2), (2,)))),
        ("select a from t group by grouping sets (rollup(a), b)",
         grouped((A, B), (A,), kind="grouping_sets", grouping_sets=((0,), (), (1,)))),
    ],
)  # fmt: skip
def test_group_by(text: str, expected: Relation) -> None:
    assert parse_statement(text) == expected


def joined(kind: str, **more: object) -> Join:
    return Join(left=TABLE, right=OTHER, kind=kind, **more)  # type: ignore[arg-type]


SAME = f("==", c("t.a"), c("u.a"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("t, u", joined("inner")),
        ("t join u", joined("inner")),
        ("t inner join u on t.a = u.a", joined("inner", condition=SAME)),
        ("t cross join u", joined("cross")),
        ("t left join u using (a, b)", joined("left", using=("a", "b"))),
        ("t left outer join u on t.a = u.a", joined("left", condition=SAME)),
        ("t right outer join u on t.a = u.a", joined("right", condition=SAME)),
        ("t full join u on t.a = u.a", joined("full", condition=SAME)),
        ("t left semi join u on t.a = u.a", joined("semi", condition=SAME)),
        ("t semi join u using (a)", joined("semi", using=("a",))),
        ("t left anti join u on t.a = u.a", joined("anti", condition=SAME)),
        ("t natural join u", joined("inner", natural=True)),
        ("t natural left join u", joined("left", natural=True)),
        ("t join u join v", Join(left=joined("inner"), right=table("v"), kind="inner")),
        ("t, u join v", Join(left=joined("inner"), right=table("v"), kind="inner")),
        ("(t join u) x", aliased(joined("inner"), "x")),
        ("t, lateral (select 1) x", Join(left=TABLE, right=aliased(FIRST, "x"), kind="inner", lateral=True)),
        ("t left join lateral explode(a) x(y) on true",
         Join(left=TABLE, right=aliased(explode(A), "x", "y"), kind="left", condition=lit(True), lateral=True)),
        ("t lateral view explode(a) x as y",
         Join(left=TABLE, right=aliased(explode(A), "x", "y"), kind="inner", lateral=True)),
        ("t lateral view outer explode(a) x y, z",
         Join(left=TABLE, right=aliased(explode(A), "x", "y", "z"), kind="left", lateral=True)),
        ("t lateral view explode(a) x lateral view explode(b) y",
         Join(left=Join(left=TABLE, right=aliased(explode(A), "x"), kind="inner", lateral=True),
              right=aliased(explode(B), "y"), kind="inner", lateral=True)),
        ("t x", aliased(TABLE, "x")),
        ("t as x (a, b)", aliased(TABLE, "x", "a", "b")),
        ("(select 1)", aliased(FIRST, AUTO)),
        ("(select 1) as x", aliased(FIRST, "x")),
        ("((select 1) union all (select 2)) x", aliased(union(FIRST, SECOND), "x")),
        ("range(1, 3) r", aliased(TableValuedFunction(name="range", args=(ONE, THREE)), "r")),
        ("explode(a) as x(y)", aliased(explode(A), "x", "y")),
        ("values (1, 'a'), (2, 'b') as x(k, v)", aliased(union(
            select(Empty(), named(ONE, "col1"), named(lit("a"), "col2")),
            select(Empty(), named(TWO, "col1"), named(lit("b"), "col2"))), "x", "k", "v")),
        ("parquet.`/tmp/x`", Read(format="parquet", paths=("/tmp/x",))),
        ("t with ('k' = 'v')", NamedTable(parts=("t",), options={"k": "v"})),
        ("stream t", NamedTable(parts=("t",), streaming=True)),
        ("stream(a.t) x", aliased(NamedTable(parts=("a", "t"), streaming=True), "x")),
        ("stream", table("stream")),
        ("identifier('a.t')", table("a.t")),
        ("t tablesample (10 percent)", Sample(child=TABLE, lower=0.0, upper=0.1, with_replacement=False, seed=None)),
        ("t tablesample (10 percent) repeatable (3) x",
         aliased(Sample(child=TABLE, lower=0.0, upper=0.1, with_replacement=False, seed=3), "x")),
        ("t tablesample (5 rows)", Limit(child=TABLE, count=5)),
        ("t tablesample (bucket 1 out of 4)",
         Sample(child=TABLE, lower=0.0, upper=0.25, with_replacement=False, seed=None)),
        ("t watermark a delay of interval 10 minutes", WithWatermark(child=TABLE, event_time="a", delay="600 seconds")),
        ("stream t watermark a delay of interval '1' month x", WithWatermark(
            child=aliased(NamedTable(parts=("t",), streaming=True), "x"), event_time="a", delay="1 months")),
        ("t watermark to_timestamp(a) as b delay of interval 5 milliseconds", WithWatermark(
            child=WithColumns(child=TABLE, columns=(named(f("to_timestamp", A), "b"),)),
            event_time="b", delay="5000 microseconds")),
        ("t unpivot (v for n in (a, b)) x", aliased(Filter(child=Drop(child=Unpivot(
            child=TABLE, ids=(STAR,), values=(A, B), variable_name="n", value_name="v"), names=("a", "b")),
            condition=f("isnotnull", c("v"))), "x")),
    ],
)  # fmt: skip
def test_from(text: str, expected: Relation) -> None:
    assert parse_statement(f"select * from {text}") == star(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("select 1 union select 2", union(FIRST, SECOND, every=False)),
        ("select 1 union distinct select 2", union(FIRST, SECOND, every=False)),
        ("select 1 union all select 2 union all select 3", union(union(FIRST, SECOND), THIRD)),
        ("select 1 minus select 2", SetOperation(inputs=(FIRST, SECOND), kind="except", all=False)),
        ("select 1 except all select 2", SetOperation(inputs=(FIRST, SECOND), kind="except", all=True)),
        ("select 1 union all select 2 intersect select 3",
         union(FIRST, SetOperation(inputs=(SECOND, THIRD), kind="intersect", all=False))),
        ("(select 1 union all select 2) intersect select 3",
         SetOperation(inputs=(union(FIRST, SECOND), THIRD), kind="intersect", all=False)),
        ("select 1 union all select 2 order by 1 desc limit 3",
         Limit(child=Sort(child=union(FIRST, SECOND), orders=(descending(ONE),)), count=3)),
        ("select 1 union all (select 2 limit 1)", union(FIRST, Limit(child=SECOND, count=1))),
        ("values 1, 2", union(select(Empty(), named(ONE, "col1")), select(Empty(), named(TWO, "col1")))),
        ("with a as (select 1), b(x) as (table a) select * from b", WithCTE(
            child=star(table("b")),
            definitions=(("a", aliased(FIRST, "a")), ("b", aliased(table("a"), "b", "x"))))),
        ("select * from (with a as (select 1) table a) x",
         star(aliased(WithCTE(child=table("a"), definitions=(("a", aliased(FIRST, "a")),)), "x"))),
    ],
)  # fmt: skip
def test_set_operations_and_with(text: str, expected: Relation) -> None:
    assert parse_statement(text) == expected


def test_parameters() -> None:
    expected = Limit(child=star(Filter(child=TABLE, condition=f("in", A, ONE, lit("x")))), count=2)
    by_name = {"low": ONE, "text": lit("x"), "n": TWO}
    assert parse_statement("select * from t where a in (:low, :text) limit :n", by_name) == expected
    assert parse_statement("select * from t where a in (?, ?) limit ?", [ONE, lit("x"), TWO]) == expected
    assert parse_statement("select * from identifier(:name)", {"name": lit("a.t")}) == star(table("a.t"))
    with pytest.raises(AnalysisError) as caught:
        parse_statement("select :missing", by_name)
    assert caught.value.message_parameters == {"name": "missing"}
    with pytest.raises(AnalysisError) as caught:
        parse_statement("select ?, ?", [ONE])
    assert caught.value.message_parameters == {"name": "_10"}


@pytest.mark.parametrize(
    ("text", "condition", "column"),
    [
        ("selct 1", "PARSE_SYNTAX_ERROR", 0),
        ("select 1; select 2", "PARSE_SYNTAX_ERROR", 10),
        ("select a from t where", "PARSE_SYNTAX_ERROR", 21),
        ("select * from t group a", "PARSE_SYNTAX_ERROR", 22),
        ("select * from t join", "PARSE_SYNTAX_ERROR", 20),
        ("select * from (select 1", "PARSE_SYNTAX_ERROR", 23),
        ("select a decimal(10)", "PARSE_SYNTAX_ERROR", 16),
        ("", "PARSE_EMPTY_STATEMENT", None),
        (" ; ", "PARSE_SYNTAX_ERROR", None),
        ("select * from t limit a", "INVALID_LIMIT_LIKE_EXPRESSION.IS_UNFOLDABLE", None),
        ("select * from t limit -1", "INVALID_LIMIT_LIKE_EXPRESSION.IS_NEGATIVE", None),
        ("values (1, 2), (3)", "INVALID_INLINE_TABLE.NUM_COLUMNS_MISMATCH", None),
        ("with a as (select 1), a as (select 2) select 3", "DUPLICATED_CTE_NAMES", None),
        ("select sum(a) over w from t", "MISSING_WINDOW_SPECIFICATION", None),
        ("select sum(a) over w from t window w as x", "INVALID_SQL_SYNTAX.UNRESOLVED_WINDOW_REFERENCE", None),
        ("select 1 from t window w as (), w as ()", "INVALID_SQL_SYNTAX.REPETITIVE_WINDOW_DEFINITION", None),
        ("select * from t watermark a + 1 delay of interval 1 day",
         "REQUIRES_EXPLICIT_NAME_IN_WATERMARK_CLAUSE", None),
    ],
)  # fmt: skip
def test_errors(text: str, condition: str, column: int | None) -> None:
    with pytest.raises(RunnelError) as caught:
        parse_statement(text)
    assert caught.value.condition == condition
    if column is not None:
        assert isinstance(caught.value, ParseError)
        assert caught.value.context is not None
        assert caught.value.context.column == column


@pytest.mark.parametrize(
    "text",
    [
        "select * from t pivot (sum(a) for b in (1, 2))",
        "select * from t unpivot (v for n in (a as x))",
        "select * from t for version as of 1",
        "from t |> where a > 1",
        "with recursive a as (select 1) select * from a",
        "select * from table(f(1))",
        "select * from t group by all union all select *, count(*) from t group by all",
    ],
)
def test_refusals(text: str) -> None:
    with pytest.raises(UnsupportedOperationError):
        parse_statement(text)
