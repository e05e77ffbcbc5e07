"""The front over the real session: the official client's calls, answered by the engine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pyspark.errors import AnalysisException, ParseException, UnsupportedOperationException
from pyspark.sql import functions as F


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    from pyspark.sql import SparkSession

    made = SparkSession.builder.master("local[2]").config("spark.sql.session.timeZone", "UTC").getOrCreate()
    yield made
    made.stop()


def test_rows(spark: Any) -> None:
    assert [row.id for row in spark.range(3).collect()] == [0, 1, 2]
    assert spark.range(3).count() == 3
    assert not spark.range(3).isEmpty()
    assert spark.range(0).isEmpty()


def test_groups_of_local_rows(spark: Any) -> None:
    frame = spark.createDataFrame([(1, "a"), (2, "b"), (3, "a")], "k int, v string")
    rows = frame.groupBy("v").agg(F.sum("k").alias("s")).orderBy("v").collect()
    assert [(row.v, row.s) for row in rows] == [("a", 4), ("b", 2)]


def test_views_and_functions(spark: Any) -> None:
    spark.range(3).createOrReplaceTempView("numbers")
    plus = F.udf(lambda x: x + 1, "long")
    assert [row[0] for row in spark.table("numbers").select(plus("id")).collect()] == [1, 2, 3]


def test_persisted_frames_and_observations(spark: Any) -> None:
    from pyspark.sql import Observation

    frame = spark.range(4).persist()
    assert frame.count() == 4
    seen = Observation("seen")
    frame.observe(seen, F.count(F.lit(1)).alias("n"), F.max("id").alias("top")).collect()
    assert seen.get == {"n": 4, "top": 3}
    frame.unpersist()


def test_an_unknown_column_is_an_analysis_error(spark: Any) -> None:
    with pytest.raises(AnalysisException) as caught:
        spark.range(1).select("nope").collect()
    assert caught.value.getCondition() == "UNRESOLVED_COLUMN.WITH_SUGGESTION"


def test_sql_queries_and_commands(spark: Any) -> None:
    spark.range(3).createOrReplaceTempView("numbers")
    assert [row.b for row in spark.sql("SELECT id + 1 AS b FROM numbers ORDER BY b").collect()] == [1, 2, 3]
    assert spark.sql("SELECT :x + 1 AS y", args={"x": 1}).collect()[0].y == 2
    assert spark.sql("SELECT count(*) AS n FROM {frame}", frame=spark.range(7)).collect()[0].n == 7
    spark.sql("CREATE OR REPLACE TEMP VIEW ones AS SELECT 1 AS one")
    assert spark.table("ones").collect()[0].one == 1
    assert {"numbers", "ones"} <= {row.tableName for row in spark.sql("SHOW TABLES").collect()}
    assert [(r.col_name, r.data_type) for r in spark.sql("DESCRIBE ones").collect()] == [("one", "int")]
    assert spark.sql("SET spark.sql.shuffle.partitions = 7").collect() == [("spark.sql.shuffle.partitions", "7")]
    assert spark.conf.get("spark.sql.shuffle.partitions") == "7"
    spark.sql("RESET spark.sql.shuffle.partitions")
    assert spark.conf.get("spark.sql.shuffle.partitions") == "200"
    spark.sql("DROP VIEW ones")
    assert not spark.catalog.tableExists("ones")


def test_sql_that_is_not_supported_or_not_sql(spark: Any) -> None:
    with pytest.raises(UnsupportedOperationException, match="CREATE TABLE"):
        spark.sql("CREATE TABLE t (a INT)")
    with pytest.raises(ParseException):
        spark.sql("SELEC 1")
