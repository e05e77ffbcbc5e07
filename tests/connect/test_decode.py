"""Frames built with the official client, decoded: the plan nodes that they become."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from pyspark.errors import AnalysisException, UnsupportedOperationException
from pyspark.sql import Window
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    DateType,
    DayTimeIntervalType,
    DecimalType,
    DoubleType,
    IntegerType,
    LongType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

from runnel.plan.expressions import (
    Alias,
    Cast,
    CastMode,
    Expression,
    Literal,
    MultiAlias,
    PythonUDF,
    SortOrder,
    UnresolvedAttribute,
    UnresolvedExtract,
    UnresolvedFunction,
    UnresolvedLambda,
    UnresolvedLambdaVariable,
    UnresolvedRegex,
    UnresolvedStar,
    UnresolvedSubquery,
    UpdateFields,
    WindowExpression,
)
from runnel.plan.relations import (
    Aggregate,
    Deduplicate,
    Drop,
    DropNa,
    FillNa,
    Filter,
    GroupMap,
    Join,
    Limit,
    LocalData,
    MapPartitions,
    NamedTable,
    Observe,
    Offset,
    Project,
    Range,
    Read,
    Relation,
    Repartition,
    ReplaceNa,
    Sample,
    SetOperation,
    Sort,
    SubqueryAlias,
    Tail,
    ToDF,
    Unpivot,
    WithColumns,
    WithColumnsRenamed,
    WithWatermark,
)

from .fakes import FakeSession


@pytest.fixture
def decode(spark: Any, session: FakeSession) -> Any:
    """The plan that a frame is decoded to."""

    def run(frame: Any) -> Relation:
        session.plans.clear()
        frame.collect()
        return session.plans[0]

    return run


@pytest.fixture
def expression(spark: Any, decode: Any) -> Any:
    """The expression that a column is decoded to."""

    def run(column: Any) -> Expression:
        plan = decode(spark.range(1).select(column))
        assert isinstance(plan, Project)
        return plan.expressions[0]

    return run


def call(name: str, *args: Expression, **kwargs: Any) -> UnresolvedFunction:
    return UnresolvedFunction(name, args, **kwargs)


def column(*parts: str) -> UnresolvedAttribute:
    return UnresolvedAttribute(parts)


ONE = Literal(1, IntegerType())


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: F.col("a"), column("a")),
        (lambda: F.col("a.`b.c`"), column("a", "b.c")),
        (lambda: F.col("*"), UnresolvedStar()),
        (lambda: F.col("t.*"), UnresolvedStar(("t",))),
        (lambda: F.col("a") + 1, call("+", column("a"), ONE)),
        (lambda: F.col("a") % 1, call("%", column("a"), ONE)),
        (lambda: -F.col("a"), call("negative", column("a"))),
        (lambda: F.col("a").eqNullSafe(1), call("<=>", column("a"), ONE)),
        (lambda: F.col("a") != 1, call("not", call("==", column("a"), ONE))),
        (lambda: ~F.col("a"), call("not", column("a"))),
        (lambda: F.col("a") | F.col("b"), call("or", column("a"), column("b"))),
        (lambda: F.col("a").isNull(), call("isnull", column("a"))),
        (lambda: F.col("a").alias("b"), Alias(column("a"), "b")),
        (lambda: F.posexplode("a").alias("i", "v"), MultiAlias(call("posexplode", column("a")), ("i", "v"))),
        (lambda: F.col("a").cast(LongType()), Cast(column("a"), LongType())),
        (lambda: F.col("a").try_cast(LongType()), Cast(column("a"), LongType(), CastMode.TRY)),
        (lambda: F.col("a")["k"], UnresolvedExtract(column("a"), Literal("k", StringType()))),
        (lambda: F.col("a").getItem(1), UnresolvedExtract(column("a"), ONE)),
        (lambda: F.col("a").withField("f", F.lit(1)), UpdateFields(column("a"), "f", ONE)),
        (lambda: F.col("a").dropFields("f"), UpdateFields(column("a"), "f", None)),
        (lambda: F.count_distinct("a"), call("count", column("a"), distinct=True)),
        (lambda: F.call_function("UPPER", F.col("a")), call("upper", column("a"))),
        (lambda: F.lit(2.5), Literal(2.5, DoubleType())),
        (lambda: F.lit(Decimal("1.50")), Literal(Decimal("1.50"), DecimalType(10, 0))),
        (lambda: F.lit(datetime.date(1970, 1, 3)), Literal(2, DateType())),
        (lambda: F.lit(datetime.timedelta(seconds=1)), Literal(1_000_000, DayTimeIntervalType())),
        (lambda: F.lit(None), Literal(None, Literal(None, DoubleType()).dtype)),
    ],
)
def test_expressions(expression: Any, make: Any, expected: Expression) -> None:
    found = expression(make())
    if isinstance(expected, Literal):
        assert found.value == expected.value
        if expected.value is not None and not isinstance(expected.value, Decimal):
            assert found.dtype == expected.dtype
    else:
        assert found == expected


def test_a_timestamp_literal_is_microseconds(expression: Any) -> None:
    moment = datetime.datetime(2024, 1, 2, 3, 4, 5, 6, tzinfo=datetime.UTC)
    literal = expression(F.lit(moment))
    assert literal == Literal(int(moment.timestamp()) * 1_000_000 + 6, TimestampType())


def test_a_lambda_binds_its_parameters(expression: Any) -> None:
    found = expression(F.transform("a", lambda x: x + 1))
    assert found.name == "transform"
    function = found.args[1]
    assert isinstance(function, UnresolvedLambda)
    assert function.body == call("+", UnresolvedLambdaVariable(function.params[0]), ONE)


def test_a_column_of_a_frame_names_the_frame(spark: Any, decode: Any) -> None:
    frame = spark.range(3)
    plan = decode(frame.select(frame["id"]))
    assert plan.expressions[0] == UnresolvedAttribute(("id",), plan.child.plan_id)
    assert plan.child.plan_id is not None


def test_a_regex_column(spark: Any, decode: Any) -> None:
    frame = spark.range(3)
    plan = decode(frame.select(frame.colRegex("`i.*`")))
    assert isinstance(plan.expressions[0], UnresolvedRegex)


def test_window_functions(expression: Any) -> None:
    spec = Window.partitionBy("k").orderBy(F.col("t").desc()).rowsBetween(Window.unboundedPreceding, Window.currentRow)
    found = expression(F.row_number().over(spec))
    assert isinstance(found, WindowExpression)
    assert found.partition_by == (column("k"),)
    assert found.order_by == (SortOrder(column("t"), False, False),)
    assert found.frame is not None
    assert (found.frame.kind, found.frame.lower, found.frame.upper) == ("rows", None, Literal(0, IntegerType()))


def test_sort_orders(spark: Any, decode: Any) -> None:
    plan = decode(spark.range(3).orderBy(F.col("a").asc_nulls_last(), F.desc("b"), F.desc_nulls_first("c"), "d"))
    assert isinstance(plan, Sort)
    assert [(o.ascending, o.nulls_first) for o in plan.orders] == [
        (True, False),
        (False, False),
        (False, True),
        (True, True),
    ]
    assert plan.is_global
    assert not decode(spark.range(3).sortWithinPartitions("a")).is_global


def test_a_bad_column_name_is_refused(spark: Any) -> None:
    with pytest.raises(AnalysisException) as caught:
        spark.range(1).select("a..b").collect()
    assert caught.value.getCondition() == "INVALID_ATTRIBUTE_NAME_SYNTAX"


@pytest.mark.parametrize(
    ("make", "kind", "fields"),
    [
        (lambda f: f.filter(F.col("id") > 1), Filter, {"condition": call(">", column("id"), ONE)}),
        (lambda f: f.withColumn("b", F.lit(1)), WithColumns, {"columns": (Alias(ONE, "b"),)}),
        (lambda f: f.withColumnsRenamed({"a": "b"}), WithColumnsRenamed, {"renames": (("a", "b"),)}),
        (lambda f: f.drop("a", F.col("b")), Drop, {"columns": (column("b"),), "names": ("a",)}),
        (lambda f: f.toDF("a"), ToDF, {"names": ("a",)}),
        (lambda f: f.limit(3), Limit, {"count": 3}),
        (lambda f: f.offset(3), Offset, {"count": 3}),
        (lambda f: f.alias("t"), SubqueryAlias, {"alias": "t"}),
        (lambda f: f.distinct(), Deduplicate, {"all_columns": True, "within_watermark": False}),
        (lambda f: f.dropDuplicates(["id"]), Deduplicate, {"columns": ("id",), "all_columns": False}),
        (lambda f: f.dropDuplicatesWithinWatermark(["id"]), Deduplicate, {"within_watermark": True}),
        (lambda f: f.withWatermark("t", "10 minutes"), WithWatermark, {"event_time": "t", "delay": "10 minutes"}),
        (lambda f: f.repartition(4), Repartition, {"num_partitions": 4}),
        (lambda f: f.repartition(4, "id"), Repartition, {"num_partitions": 4, "expressions": (column("id"),)}),
        (lambda f: f.coalesce(1), Repartition, {"num_partitions": 1}),
        (lambda f: f.sample(0.5, 7), Sample, {"upper": 0.5, "seed": 7, "with_replacement": False}),
        (lambda f: f.fillna(0, ["a"]), FillNa, {"columns": ("a",)}),
        (lambda f: f.dropna("all"), DropNa, {"min_non_nulls": 1}),
        (lambda f: f.replace(1, 2, ["id"]), ReplaceNa, {"columns": ("id",)}),
        (lambda f: f.unpivot("id", ["a"], "k", "v"), Unpivot, {"variable_name": "k", "value_name": "v"}),
        (lambda f: f.observe("m", F.count(F.lit(1)).alias("n")), Observe, {"name": "m"}),
        (lambda f: f.union(f), SetOperation, {"kind": "union", "all": True, "by_name": False}),
        (
            lambda f: f.unionByName(f, allowMissingColumns=True),
            SetOperation,
            {"by_name": True, "allow_missing": True},
        ),
        (lambda f: f.intersect(f), SetOperation, {"kind": "intersect", "all": False}),
        (lambda f: f.exceptAll(f), SetOperation, {"kind": "except", "all": True}),
        (lambda f: f.join(f, "id", "left_outer"), Join, {"kind": "left", "using": ("id",)}),
        (lambda f: f.crossJoin(f), Join, {"kind": "cross", "condition": None}),
        (lambda f: f.join(f, F.col("a") == F.col("b"), "left_anti"), Join, {"kind": "anti"}),
    ],
)
def test_relations(spark: Any, decode: Any, make: Any, kind: type[Relation], fields: dict[str, Any]) -> None:
    plan = decode(make(spark.range(3)))
    assert isinstance(plan, kind)
    for name, expected in fields.items():
        assert getattr(plan, name) == expected, name


def test_tail_and_range(spark: Any, session: FakeSession) -> None:
    spark.range(1, 10, 2, 3).tail(2)
    plan = session.plans[0]
    assert isinstance(plan, Tail)
    assert plan.child == Range(start=1, end=10, step=2, num_partitions=3)


def test_groups(spark: Any, decode: Any) -> None:
    frame = spark.range(3)
    plan = decode(frame.groupBy("id").agg(F.sum("id").alias("s")))
    assert plan == Aggregate(
        child=plan.child, groupings=(column("id"),), aggregates=(Alias(call("sum", column("id")), "s"),)
    )
    assert decode(frame.rollup("id").count()).kind == "rollup"
    assert decode(frame.cube("id").count()).kind == "cube"
    sets = decode(frame.groupingSets([["a"], ["a", "b"], []], "a", "b").count())
    assert (sets.kind, sets.grouping_sets) == ("grouping_sets", ((0,), (0, 1), ()))
    pivot = decode(frame.groupBy("a").pivot("b", [1, 2]).count())
    assert (pivot.kind, pivot.pivot_column.parts) == ("pivot", ("b",))
    assert [v.value for v in pivot.pivot_values] == [1, 2]


SCHEMA = StructType([StructField("a", IntegerType()), StructField("b", StringType())])


def test_reads(spark: Any, decode: Any) -> None:
    plan = decode(spark.read.format("json").schema(SCHEMA).option("maxFilesPerTrigger", 1).load("/in"))
    assert plan == Read(format="json", schema=SCHEMA, options={"maxFilesPerTrigger": "1"}, paths=("/in",))
    stream = decode(spark.readStream.format("rate").option("rowsPerSecond", 5).load())
    assert stream == Read(format="rate", options={"rowsPerSecond": "5"}, streaming=True)
    assert decode(spark.readStream.json("/in", schema=SCHEMA)).schema == SCHEMA


def test_tables(spark: Any, session: FakeSession) -> None:
    spark.range(2).createOrReplaceTempView("v")
    assert isinstance(session.views["v"], Range)
    spark.table("v").collect()
    assert session.plans[-1] == NamedTable(parts=("v",))


def test_local_rows_keep_their_values(spark: Any, decode: Any) -> None:
    plan = decode(spark.createDataFrame([(1, "x"), (None, "y")], SCHEMA))
    assert isinstance(plan, LocalData)
    assert plan.schema == SCHEMA
    assert plan.table.to_pydict() == {"a": [1, None], "b": ["x", "y"]}
    assert plan.table.schema.types == [pa.int32(), pa.string()]


def test_local_timestamps_are_held_in_utc_without_a_zone(spark: Any, decode: Any) -> None:
    moment = datetime.datetime(2024, 7, 1, 12, tzinfo=datetime.timezone(datetime.timedelta(hours=2)))
    schema = StructType([StructField("t", ArrayType(TimestampType()))])
    plan = decode(spark.createDataFrame([([moment],)], schema))
    assert plan.table.schema.types == [pa.list_(pa.field("element", pa.timestamp("us")))]
    assert plan.table["t"].to_pylist() == [[moment.astimezone(datetime.UTC).replace(tzinfo=None)]]


def test_local_pandas_arrow_and_empty_rows(spark: Any, decode: Any) -> None:
    plan = decode(spark.createDataFrame(pd.DataFrame({"a": [1, 2]}))).child
    assert plan.schema.fields[0].dataType == LongType()
    large = decode(spark.createDataFrame(pa.table({"a": pa.array(["x"], pa.large_string())}))).child
    assert large.table["a"].type == pa.string()
    assert decode(spark.createDataFrame([], SCHEMA)).table.num_rows == 0


def test_large_local_rows_are_uploaded(spark: Any, decode: Any) -> None:
    spark.conf.set("spark.sql.session.localRelationCacheThreshold", "100")
    rows = [(i, "x" * 50) for i in range(3000)]
    plan = decode(spark.createDataFrame(rows, SCHEMA))
    assert isinstance(plan, LocalData)
    assert plan.table.num_rows == 3000
    assert plan.table["a"].to_pylist() == list(range(3000))


def test_python_functions_come_by_reference(spark: Any, decode: Any) -> None:
    unpicklable = (i for i in range(3))

    def double(x: int) -> int:
        return x * 2 + len([unpicklable]) - 1

    frame = spark.range(3).select(F.udf(double, LongType())("id"))
    first, second = decode(frame), decode(frame)
    found = first.expressions[0]
    assert isinstance(found, PythonUDF)
    assert found.function.func is double
    assert found.dtype == LongType()
    assert found.function is second.expressions[0].function


def test_registered_functions(spark: Any, session: FakeSession) -> None:
    def half(x: int) -> int:
        return x // 2

    spark.udf.register("half", half, IntegerType())
    function, dtype = session.functions["half"]
    assert function.func is half
    assert dtype == IntegerType()


def test_map_and_group_functions(spark: Any, decode: Any) -> None:
    schema = StructType([StructField("id", LongType())])

    def pages(batches: Any) -> Any:
        yield from batches

    def one(group: Any) -> Any:
        return group

    mapped = decode(spark.range(3).mapInPandas(pages, schema))
    assert isinstance(mapped, MapPartitions)
    assert (mapped.function.func is pages, mapped.schema) == (True, schema)
    grouped = decode(spark.range(3).groupBy("id").applyInPandas(one, schema))
    assert isinstance(grouped, GroupMap)
    assert (grouped.groupings, grouped.schema) == ((column("id"),), schema)


def test_subqueries_find_their_plan(spark: Any, decode: Any) -> None:
    other = spark.range(5).select(F.max("id"))
    plan = decode(spark.range(3).filter(F.col("id") == other.scalar()))
    subquery = plan.condition.args[1]
    assert isinstance(subquery, UnresolvedSubquery)
    assert subquery.kind == "scalar"
    assert isinstance(subquery.plan, Project)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda s: s.range(1).transpose(), "transpose"),
        (lambda s: s.range(1).crosstab("id", "id"), "crosstab"),
        (lambda s: s.range(1).stat.crosstab("id", "id"), "crosstab"),
    ],
)
def test_what_is_not_supported_says_so_by_name(spark: Any, make: Any, named: str) -> None:
    with pytest.raises(UnsupportedOperationException, match=named) as caught:
        make(spark).collect()
    assert caught.value.getCondition() == "UNSUPPORTED_FEATURE.NOT_IN_RUNNEL"
