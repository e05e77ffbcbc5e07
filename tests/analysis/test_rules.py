"""What analysed plans report, against what Spark 4.2 reported for the same frames."""

from __future__ import annotations

import pytest
from pyspark.sql.types import StringType

from runnel.plan.expressions import (
    Cast,
    Expression,
    MultiAlias,
    UnresolvedExtract,
    UnresolvedLambda,
    UnresolvedLambdaVariable,
    UnresolvedSubquery,
    WindowExpression,
)
from runnel.plan.relations import (
    Aggregate,
    Drop,
    DropNa,
    FillNa,
    Filter,
    Join,
    NamedTable,
    Project,
    Relation,
    ReplaceNa,
    SetOperation,
    Sort,
    SubqueryAlias,
    ToDF,
    Unpivot,
    WithColumns,
    WithCTE,
    WithWatermark,
)

from .builders import call, column, columns, condition, lit, local, named, order, resolve, shape, stream


def select(*items: object, child: Relation | None = None) -> Project:
    return Project(child=child or local(1), expressions=tuple(column(i) for i in items))


def group(keys: tuple[object, ...], *items: Expression, child: Relation | None = None, **more: object) -> Aggregate:
    return Aggregate(
        child=child or local(1),
        groupings=tuple(column(k) for k in keys),
        aggregates=items,
        **more,  # type: ignore[arg-type]
    )


def over(function: Expression, partition: tuple[str, ...] = (), *orders: Expression) -> WindowExpression:
    return WindowExpression(function, tuple(column(p) for p in partition), orders)


WINDOW = "struct<start:timestamp,end:timestamp>"

SHAPES = [
    (select(call("+", "a", 1)), [("(a + 1)", "bigint", False)]),
    (select(call("not", call("==", "a", 1))), [("(NOT (a = 1))", "boolean", False)]),
    (select("st.x", "st.y.z", "ast.q"), [("x", "int", False), ("z", "int", True), ("q", "array<int>", False)]),
    (select(UnresolvedExtract(column("arr"), lit(0))), [("arr[0]", "int", True)]),
    (select(Cast(column("a"), StringType())), [("a", "string", False)]),
    (select(call("count", "*"), call("sum", "a")), [("count(1)", "bigint", False), ("sum(a)", "bigint", True)]),
    (select(call("count", "a", distinct=True)), [("count(DISTINCT a)", "bigint", False)]),
    (select(call("explode", "arr"), "a"), [("col", "int", False), ("a", "bigint", False)]),
    (select(MultiAlias(call("explode", "m"), ("k", "v"))), [("k", "string", False), ("v", "int", False)]),
    (select(named(call("explode_outer", "arr"), "o")), [("o", "int", True)]),
    (select(call("window", "t", lit("5 minutes"))), [("window", WINDOW, False)]),
    (select(call("first", "a", True), call("last", "a", ignore_nulls=True)),
     [("first(a)", "bigint", True), ("last(a)", "bigint", True)]),
    (select("A"), [("A", "bigint", False)]),
    (
        group((call("+", "a", 1),), call("+", call("sum", "i"), 1)),
        [("(a + 1)", "bigint", False), ("(sum(i) + 1)", "bigint", True)],
    ),
    (group((named(call("window", "t", lit("1 hour")), "w"),)), [("w", WINDOW, False)]),
    (
        group(("i",), call("sum", "a"), named(call("max", "a"), "mm"), kind="pivot", pivot_column=column("s"),
              pivot_values=(lit("0"),)),
        [("i", "int", True), ("0_sum(a)", "bigint", True), ("0_mm", "bigint", True)],
    ),
    (
        group(("a",), call("grouping", "a"), call("grouping_id"), kind="cube"),
        [("a", "bigint", True), ("grouping(a)", "tinyint", False), ("grouping_id()", "bigint", False)],
    ),
    (select(named(call("+", "a", 1), "x"), named(call("*", "x", 2), "y")), [("x", "bigint", False), ("y", "bigint", False)]),
    (Filter(child=select("a"), condition=call(">", "i", 1)), [("a", "bigint", False)]),
    (Sort(child=select("a"), orders=(order("i"),)), [("a", "bigint", False)]),
    (
        Sort(child=group(("i",), call("sum", "a")), orders=(order(call("max", "f")),)),
        [("i", "int", True), ("sum(a)", "bigint", True)],
    ),
    (
        Join(left=select("a", "i"), right=select("a", "f", child=local(2)), kind="full", using=("a",)),
        [("a", "bigint", True), ("i", "int", True), ("f", "double", True)],
    ),
    (
        SetOperation(inputs=(select("a", "i"), select("i", "f")), kind="union"),
        [("a", "bigint", True), ("i", "double", True)],
    ),
    (
        SetOperation(inputs=(select("a"), select("i")), kind="union", by_name=True, allow_missing=True),
        [("a", "bigint", True), ("i", "int", True)],
    ),
    (FillNa(child=select("a", "i"), columns=(), values=(lit(0),)), [("a", "bigint", False), ("i", "int", False)]),
    (DropNa(child=select("a", "i"), columns=()), [("a", "bigint", False), ("i", "int", True)]),
    (ReplaceNa(child=select("i"), columns=(), replacements=((lit(1), lit(2)),)), [("i", "int", True)]),
    (
        Unpivot(child=local(), ids=(column("a"),), values=(column("i"), column("f")), variable_name="k", value_name="v"),
        [("a", "bigint", False), ("k", "string", False), ("v", "double", True)],
    ),
    (
        select(call("transform", "arr", UnresolvedLambda(call("+", UnresolvedLambdaVariable("x"), 1), ("x",)))),
        [("transform(arr, lambdafunction((namedlambdavariable() + 1), namedlambdavariable()))", "array<int>", False)],
    ),
    (
        select(over(call("row_number"), ("s",), order("a"))),
        [("row_number() OVER (PARTITION BY s ORDER BY a ASC NULLS FIRST "
          "ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)", "int", False)],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("plan", "expected"), SHAPES)
def test_columns_types_and_nullability(plan: Relation, expected: list[tuple[str, str, bool]]) -> None:
    assert shape(plan) == expected


REFUSALS = [
    (select("zz"), "UNRESOLVED_COLUMN.WITH_SUGGESTION"),
    (select("st.q"), "FIELD_NOT_FOUND"),
    (select("t.q"), "INVALID_EXTRACT_BASE_FIELD_TYPE"),
    (select(call("no_such_function", "a")), "UNRESOLVED_ROUTINE"),
    (select(call("upper")), "WRONG_NUM_ARGS.WITHOUT_SUGGESTION"),
    (select(call("+", call("explode", "arr"), 1)), "UNSUPPORTED_GENERATOR.NESTED_IN_EXPRESSIONS"),
    (select(call("row_number")), "WINDOW_FUNCTION_WITHOUT_OVER_CLAUSE"),
    (select("a", call("sum", "i")), "MISSING_GROUP_BY"),
    (select(call("sum", call("sum", "a"))), "NESTED_AGGREGATE_FUNCTION"),
    (group(("i",), column("a"), implicit_keys=False), "MISSING_AGGREGATION"),
    (group((call("sum", "a"),), call("count", 1)), "GROUP_BY_AGGREGATE"),
    (
        group((call("window", "t", lit("1 hour")), call("window", "t", lit("2 hours"))), call("count", 1)),
        "_LEGACY_ERROR_TEMP_1039",
    ),
    (Filter(child=local(), condition=column("a")), "DATATYPE_MISMATCH.FILTER_NOT_BOOLEAN"),
    (Filter(child=local(), condition=call(">", call("sum", "a"), 1)), "INVALID_WHERE_CONDITION"),
    (
        Join(left=local(1), right=local(1), kind="inner", condition=call("==", column("a", 1), column("a", 1))),
        "AMBIGUOUS_COLUMN_REFERENCE",
    ),
    (select("a", child=Join(left=local(1), right=local(2), kind="cross")), "AMBIGUOUS_REFERENCE"),
    (SetOperation(inputs=(select("a"), select("a", "i")), kind="union"), "NUM_COLUMNS_MISMATCH"),
    (SetOperation(inputs=(select("arr"), select("m")), kind="union"), "INCOMPATIBLE_COLUMN_TYPE"),
    (
        SetOperation(inputs=(select("a"), select("i")), kind="union", by_name=True),
        "UNRESOLVED_COLUMN_AMONG_FIELD_NAMES",
    ),
    (ToDF(child=local(), names=("x",)), "ASSIGNMENT_ARITY_MISMATCH"),
    (WithWatermark(child=stream(), event_time="t", delay="1 foo"), "CANNOT_PARSE_INTERVAL"),
    (WithWatermark(child=stream(), event_time="a", delay="1 second"), "EVENT_TIME_IS_NOT_ON_TIMESTAMP_TYPE"),
    (WithWatermark(child=stream(), event_time="st.x", delay="1 second"), "EVENT_TIME_MUST_BE_TOP_LEVEL_COLUMN"),
    (select(UnresolvedSubquery("scalar", select("a", child=stream()))), "INVALID_SUBQUERY_EXPRESSION.STREAMING_QUERY"),
]


@pytest.mark.parametrize(("plan", "expected"), REFUSALS)
def test_refusals(plan: Relation, expected: str) -> None:
    assert condition(plan) == expected


def test_columns_of_each_side_of_a_join_by_their_frame() -> None:
    join = Join(left=local(1), right=local(2), kind="inner", condition=call("==", column("a", 1), column("a", 2)))
    plan = resolve(Project(child=join, expressions=(column("i", 1), column("i", 2))))
    left, right = plan.output
    assert left.expr_id != right.expr_id


def test_the_hidden_side_of_a_using_join_is_reachable() -> None:
    join = Join(left=local(1), right=local(2), kind="left", using=("a",))
    assert shape(Project(child=join, expressions=(column("a", 1), column("a", 2)))) == [
        ("a", "bigint", False),
        ("a", "bigint", True),
    ]


def test_a_view_is_renewed_at_each_use() -> None:
    view = resolve(select("a"))
    plan = resolve(Join(left=NamedTable(parts=("v",)), right=NamedTable(parts=("v",)), kind="cross"), {"v": view})
    assert len({a.expr_id for a in plan.output}) == 2


def test_with_columns_and_drop() -> None:
    plan = WithColumns(child=select("a", "i"), columns=(named(lit("x"), "new"), named(call("+", "a", 1), "A")))
    assert columns(Drop(child=plan, names=("I", "zz"))) == ["A", "new"]


def test_correlated_subquery_and_cte() -> None:
    inner = Filter(child=SubqueryAlias(alias="o", child=NamedTable(parts=("v",))), condition=call("==", "o.a", "v.i"))
    plan = Filter(child=NamedTable(parts=("v",)), condition=UnresolvedSubquery("exists", inner))
    assert columns(select("v.a", child=plan), {"v": local()}) == ["a"]
    assert columns(WithCTE(child=select("c.a", child=NamedTable(parts=("c",))), definitions=(("c", select("a")),))) == [
        "a"
    ]


def test_a_watermark_is_nothing_on_batch_data_and_a_mark_on_a_stream() -> None:
    assert not isinstance(resolve(WithWatermark(child=local(), event_time="t", delay="1 second")), WithWatermark)
    plan = resolve(WithWatermark(child=stream(), event_time="t", delay="1 month"))
    assert {a.name: a.metadata for a in plan.output if a.metadata} == {"t": {"spark.watermarkDelayMs": 31 * 86_400_000}}


def test_a_window_keeps_the_mark_and_two_uses_are_one() -> None:
    child = WithWatermark(child=stream(), event_time="t", delay="1 second")
    window = call("window", "t", lit("1 hour"))
    plan = resolve(group((window, window), named(call("count", 1), "n"), child=child))
    assert isinstance(plan, Aggregate)
    assert len(plan.groupings) == 1
    assert plan.output[0].metadata["spark.watermarkDelayMs"] == 1000
