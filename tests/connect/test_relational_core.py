"""What batch programs see: names, nullability, rows and conditions, each as Spark 4.2 was observed to give it."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest
from pyspark.errors import PySparkException
from pyspark.sql import functions as F
from pyspark.sql.window import Window


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    from pyspark.sql import SparkSession

    made = SparkSession.builder.master("local[2]").config("spark.sql.session.timeZone", "UTC").getOrCreate()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def df(spark: Any) -> Any:
    return spark.createDataFrame(
        [(1, "a", 2.5, True), (2, "b", None, False), (3, None, 1.0, None)], "id int, s string, d double, b boolean"
    )


def test_decimal_constants_keep_their_digits(spark: Any) -> None:
    (row,) = spark.range(1).select(F.lit(Decimal("1.10")) * F.lit(Decimal("2.345"))).collect()
    assert row[0] == Decimal("2.57950")


def test_a_field_of_each_struct(spark: Any) -> None:
    frame = spark.sql("select array(named_struct('x', 1), null) as structs")
    assert [row.x for row in frame.select("structs.x").collect()] == [[1, None]]


@pytest.mark.parametrize("kind", ["semi", "anti"])
def test_using_puts_the_key_first(spark: Any, kind: str) -> None:
    people = spark.createDataFrame([("Al", "x"), ("Bo", "q")], "name string, dept string")
    joined = people.join(spark.createDataFrame([("x",)], "dept string"), "dept", kind)
    assert joined.columns == ["dept", "name"]
    assert [tuple(r) for r in joined.collect()] == [("x", "Al") if kind == "semi" else ("q", "Bo")]


def test_nulls_count_as_zero_in_frame_statistics(df: Any) -> None:
    assert df.stat.cov("id", "d") == pytest.approx(-0.75)
    assert df.stat.corr("id", "d") == pytest.approx(-0.596039560679)


def test_foreach_visits_every_row(df: Any) -> None:
    seen = []
    df.foreach(lambda row: seen.append(row.id))
    assert sorted(seen) == [1, 2, 3]


def test_grouped_aggregate_pandas_functions(df: Any) -> None:
    @F.pandas_udf("double")
    def total(x: pd.Series) -> float:
        return float(x.sum())

    rows = df.groupBy("b").agg(total("id").alias("t")).collect()
    assert {row.b: row.t for row in rows} == {True: 1.0, False: 2.0, None: 3.0}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("rank() over (order by id)", "RANK() OVER (ORDER BY id ASC NULLS FIRST ROWS BETWEEN UNBOUNDED PRECEDING AND "
         "CURRENT ROW)"),
        ("trim(both '*' from s)", "TRIM(BOTH * FROM s)"),
        ("date'2024-01-31' + 1", "date_add(DATE '2024-01-31', 1)"),
        ("timestamp'2024-01-31 10:00:00'", "TIMESTAMP '2024-01-31 10:00:00'"),
        ("try_cast('x' as int)", "TRY_CAST(x AS INT)"),
        ("hash(*)", "hash(id, s, d, b)"),
        ("int('3')", "3"),
        ("aggregate(array(1), 0, (a, x) -> a + x)",
         "aggregate(array(1), 0, lambdafunction((namedlambdavariable() + namedlambdavariable()), "
         "namedlambdavariable(), namedlambdavariable()), lambdafunction(namedlambdavariable(), namedlambdavariable()))"),
    ],
)  # fmt: skip
def test_column_names(df: Any, text: str, name: str) -> None:
    assert df.selectExpr(text).columns == [name]


def test_registered_functions_keep_the_case_of_their_name(spark: Any, df: Any) -> None:
    spark.udf.register("timesTwo", lambda x: x * 2, "int")
    assert df.select(F.call_function("TIMESTWO", "id")).columns == ["timesTwo(id)"]


def test_named_arguments_show_their_names(df: Any) -> None:
    calc = F.udf(lambda a, b: a + b, "int")
    calc.__name__ = "calc"
    assert df.select(calc(b=F.col("id"), a=F.col("id"))).columns[0].endswith("(b => id, a => id)")


@pytest.mark.parametrize(
    ("text", "nullable"),
    [
        ("cast('1' as int)", True),
        ("cast(1.7 as int)", True),
        ("cast('2024-01-01' as date)", True),
        ("cast(1 as boolean)", False),
        ("cast(1 as string)", False),
        ("cast(1 as bigint)", False),
    ],
)
def test_nullability_of_casts(spark: Any, text: str, nullable: bool) -> None:
    assert spark.sql(f"select {text} as x").schema["x"].nullable is nullable


def test_casts_by_function_name(spark: Any) -> None:
    row = spark.sql("select int('3'), double(1), string(1), date('2020-01-01'), decimal(3), boolean('t')").first()
    assert tuple(row) == (3, 1.0, "1", datetime.date(2020, 1, 1), Decimal(3), True)


def test_the_earlier_of_two_instants_of_a_wall_clock(spark: Any) -> None:
    spark.conf.set("spark.sql.session.timeZone", "America/New_York")
    try:
        rows = spark.sql(
            "select cast(cast(w as timestamp) as long) as s from values ('2024-11-03 01:30:00'), "
            "('2024-11-03 02:00:00'), ('2024-03-10 02:30:00'), ('2024-03-10 03:30:00'), ('2024-07-01 00:00:00') as t(w)"
        ).collect()
    finally:
        spark.conf.set("spark.sql.session.timeZone", "UTC")
    assert [r.s for r in rows] == [1730611800, 1730617200, 1710055800, 1710055800, 1719806400]


def test_functions_that_exist(spark: Any) -> None:
    found = [spark.catalog.functionExists(name) for name in ("upper", "int", "nope")]
    assert found == [True, True, False]


def test_null_and_empty_text_share_a_partition(spark: Any, tmp_path: Any) -> None:
    frame = spark.createDataFrame([(1, "x"), (2, None), (3, "")], "id int, s string").coalesce(1)
    frame.write.partitionBy("s").parquet(str(tmp_path / "out"))
    read = spark.read.parquet(str(tmp_path / "out")).collect()
    assert {row.id: row.s for row in read} == {1: "x", 2: None, 3: None}


@pytest.mark.parametrize(
    ("query", "kind", "condition", "parameters"),
    [
        ("select 1/0", "ArithmeticException", "DIVIDE_BY_ZERO", {"config": '"spark.sql.ansi.enabled"'}),
        ("select to_date('bad')", "DateTimeException", "CAST_INVALID_INPUT", {"targetType": '"DATE"'}),
        ("select cast('x' as int)", "NumberFormatException", "CAST_INVALID_INPUT", {"targetType": '"INT"'}),
        (
            "select * from nope", "AnalysisException", "TABLE_OR_VIEW_NOT_FOUND",
            {"searchPath": "[`system`.`builtin`, `system`.`session`, `spark_catalog`.`default`]"},
        ),
        (
            "select idd from values (1, 2, 3, 4) as t(id, s, d, b)", "AnalysisException",
            "UNRESOLVED_COLUMN.WITH_SUGGESTION", {"proposal": "`d`, `id`, `b`, `s`"},
        ),
    ],
)  # fmt: skip
def test_conditions(spark: Any, query: str, kind: str, condition: str, parameters: dict[str, str]) -> None:
    with pytest.raises(PySparkException) as caught:
        spark.sql(query).collect()
    assert type(caught.value).__name__ == kind
    assert caught.value.getCondition() == condition
    assert parameters.items() <= (caught.value.getMessageParameters() or {}).items()


def test_settings_are_checked(spark: Any) -> None:
    with pytest.raises(PySparkException) as caught:
        spark.conf.set("spark.sql.shuffle.partitions", "abc")
    assert caught.value.getCondition() == "INVALID_CONF_VALUE.TYPE_MISMATCH"


def test_a_limit_is_not_negative(df: Any) -> None:
    with pytest.raises(PySparkException) as caught:
        df.limit(-1).collect()
    assert caught.value.getCondition() == "INVALID_LIMIT_LIKE_EXPRESSION.IS_NEGATIVE"


def test_the_most_frequent_value(spark: Any) -> None:
    frame = spark.createDataFrame([(1,), (2,), (2,)], "v int")
    assert frame.select(F.mode("v")).first()[0] == 2
    assert frame.select(F.percent_rank().over(Window.orderBy("v"))).columns[0].startswith("PERCENT_RANK()")


def test_described_columns(df: Any) -> None:
    assert [tuple(r) for r in df.describe().collect()] == [
        ("count", "3", "2", "2"),
        ("mean", "2.0", None, "1.75"),
        ("stddev", "1.0", None, "1.0606601717798212"),
        ("min", "1", "a", "1.0"),
        ("max", "3", "b", "2.5"),
    ]
    assert [tuple(r) for r in df.summary("50%", "count_distinct").collect()] == [
        ("50%", "2", None, "1.0"),
        ("count_distinct", "3", "2", "2"),
    ]
    with pytest.raises(PySparkException) as caught:
        df.summary("nope").collect()
    assert caught.value.getCondition() == "UNRECOGNIZED_STATISTIC"


def test_quantiles_of_columns(df: Any) -> None:
    assert df.approxQuantile(["id", "d"], [0.0, 0.5, 1.0], 0.0) == [[1.0, 2.0, 3.0], [1.0, 1.0, 2.5]]


def test_a_star_without_some_columns(spark: Any, df: Any) -> None:
    assert spark.sql("select * except (s, B), t.* except (id) from {t} as t", t=df).columns == [
        "id", "d", "s", "d", "b",
    ]  # fmt: skip


def test_negative_zero_is_shown(spark: Any, capsys: pytest.CaptureFixture[str]) -> None:
    spark.createDataFrame([(-0.0,)], ["x"]).show()
    assert "|-0.0|" in capsys.readouterr().out


def test_cached_views(spark: Any) -> None:
    spark.range(2).createOrReplaceTempView("kept")
    spark.catalog.cacheTable("kept")
    assert spark.catalog.isCached("kept")
    assert spark.sql("select kept.id from kept").count() == 2
    spark.range(3).createOrReplaceTempView("kept")
    assert not spark.catalog.isCached("kept")
    assert spark.table("kept").count() == 3


def test_the_catalogue_of_functions(spark: Any) -> None:
    assert [f.name for f in spark.catalog.listFunctions(pattern="uppe*")] == ["upper"]
    assert spark.catalog.getFunction("upper").isTemporary
    assert [c.name for c in spark.catalog.listCatalogs()] == ["spark_catalog"]
    assert spark.catalog.getDatabase("default").catalog == "spark_catalog"


def test_rows_are_numbered(spark: Any) -> None:
    frame = spark.createDataFrame([("a",), ("b",)], "v string").zipWithIndex()
    assert [tuple(r) for r in frame.collect()] == [("a", 0), ("b", 1)]
    assert not frame.schema["index"].nullable


_LONG = "https://me:pw@ex.com:80/a/b?a=1&b=2&b=3#frag"


@pytest.mark.parametrize(
    ("url", "part", "expected"),
    [
        (_LONG, "HOST", "ex.com"), (_LONG, "PATH", "/a/b"), (_LONG, "QUERY", "a=1&b=2&b=3"), (_LONG, "REF", "frag"),
        (_LONG, "PROTOCOL", "https"), (_LONG, "FILE", "/a/b?a=1&b=2&b=3"), (_LONG, "AUTHORITY", "me:pw@ex.com:80"),
        (_LONG, "USERINFO", "me:pw"), (_LONG, "nope", None), ("http://h", "PATH", ""), ("http://h", "QUERY", None),
        ("http://[::1]:8/p", "HOST", "[::1]"), ("x", "HOST", None),
    ],
)  # fmt: skip
def test_parts_of_urls(spark: Any, url: str, part: str, expected: str | None) -> None:
    assert spark.sql("select parse_url(?, ?)", [url, part]).first()[0] == expected


def test_what_is_no_url(spark: Any) -> None:
    assert spark.sql("select try_parse_url('http://a b', 'HOST')").first()[0] is None
    assert spark.sql(f"select parse_url('{_LONG}', 'QUERY', 'b')").first()[0] == "2"
    with pytest.raises(PySparkException) as caught:
        spark.sql("select parse_url('http://a b', 'HOST')").collect()
    assert caught.value.getCondition() == "INVALID_URL"


def test_text_to_bytes(spark: Any) -> None:
    row = spark.sql(
        "select to_binary('616'), to_binary('abc', 'utf-8'), to_binary('YWJj', 'base64'), try_to_binary('zz'), "
        "reverse(x'0102')"
    ).first()
    assert tuple(row) == (b"\x06\x16", b"abc", b"abc", None, b"\x02\x01")
    with pytest.raises(PySparkException) as caught:
        spark.sql("select to_binary('zz')").collect()
    assert caught.value.getCondition() == "CONVERSION_INVALID_INPUT"


def test_the_file_of_a_row(spark: Any, tmp_path: Any) -> None:
    (tmp_path / "a b.json").write_text('{"v": 1}\n')
    frame = spark.read.json(str(tmp_path))
    row = frame.select("_metadata.file_path", F.input_file_name()).first()
    assert row["file_path"].startswith("file:/") and not row["file_path"].startswith("file://")
    assert row["file_path"].endswith("/a%20b.json")
    assert row["input_file_name()"] == row["file_path"].replace("file:/", "file:///", 1)
    assert frame.groupBy(F.input_file_name().alias("f")).count().count() == 1
    assert spark.range(1).select(F.input_file_name()).first()[0] == ""


@pytest.mark.parametrize("name", ["sin", "cos", "tan", "cot", "cosh", "sinh", "tanh", "sec", "csc"])
def test_null_has_no_angle(spark: Any, name: str) -> None:
    frame = spark.createDataFrame([(float("nan"),), (None,)], "v double")
    values = [row[0] for row in frame.select(F.call_function(name, "v")).collect()]
    assert values[0] != values[0] and values[1] is None


def test_the_name_of_the_most_frequent_value(df: Any) -> None:
    assert df.select(F.mode("id")).columns == ["mode(id)"]
