"""docs/not-supported.md: each row of "Not yet" is refused with the condition that the page names; no row is untested."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runnel import SparkSession
from runnel.connect.install import import_client

import_client()

from pyspark.errors import PySparkException  # noqa: E402
from pyspark.sql.datasource import DataSource  # noqa: E402

PAGE = Path(__file__).resolve().parent.parent / "docs" / "not-supported.md"
ROWS = dict(re.findall(r"^\| (.+?) \| `([A-Z_0-9.]+)` \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE))


def _start(frame: Any, folder: Path, fmt: str = "noop", **options: str) -> None:
    writer = frame.writeStream.format(fmt).option("checkpointLocation", str(folder / "checkpoint"))
    writer.options(**options).outputMode("append").trigger(availableNow=True).start().awaitTermination()


def _stream(spark: Any, folder: Path) -> Any:
    return spark.readStream.schema("id bigint").json(str(folder))


def _kafka_source(spark: Any, folder: Path) -> None:
    reader = spark.readStream.format("kafka").option("subscribe", "words").option("kafka.bootstrap.servers", "x:1")
    _start(reader.load(), folder)


def _kafka_sink(spark: Any, folder: Path) -> None:
    _start(_stream(spark, folder).selectExpr("CAST(id AS STRING) AS value"), folder, "kafka", topic="words")


def _xml(spark: Any, folder: Path) -> None:
    with pytest.raises(PySparkException):
        spark.read.format("avro").load(str(folder)).collect()
    spark.read.xml(str(folder), rowTag="a").collect()


def _register(spark: Any, _folder: Path) -> None:
    spark.dataSource.register(type("Own", (DataSource,), {}))


def _jdbc(spark: Any, _folder: Path) -> None:
    spark.read.format("jdbc").option("url", "jdbc:x").option("dbtable", "t").load().collect()


def _to_table(spark: Any, folder: Path) -> None:
    _stream(spark, folder).writeStream.option("checkpointLocation", str(folder / "checkpoint")).toTable("t")


def _save(spark: Any, _folder: Path) -> None:
    with pytest.raises(PySparkException):
        spark.range(1).write.insertInto("t")
    spark.range(1).write.saveAsTable("t")


USES: dict[str, Callable[[Any, Path], None]] = {
    "Kafka as a source": _kafka_source,
    "Kafka as a sink": _kafka_sink,
    "Delta tables": lambda spark, folder: _start(_stream(spark, folder), folder, "delta", path=str(folder / "out")),
    "JDBC": _jdbc,
    "`xml` and `avro` files": _xml,
    "`orc` files as a sink": lambda spark, folder: _start(_stream(spark, folder), folder, "orc", path=str(folder)),
    "user-defined data sources (`spark.dataSource.register`)": _register,
    "`writeStream.toTable`": _to_table,
    "`saveAsTable`, `insertInto`": _save,
    "views that outlive their session (`CREATE VIEW`)": lambda spark, _: spark.sql("CREATE VIEW v AS SELECT 1"),
}


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    session = SparkSession.builder.getOrCreate()
    yield session
    session.stop()


def test_the_page_and_the_uses_name_the_same() -> None:
    assert set(ROWS) == set(USES)


@pytest.mark.parametrize("what", sorted(USES))
def test_it_is_refused_by_name(what: str, spark: Any, tmp_path: Path) -> None:
    with pytest.raises(PySparkException) as caught:
        USES[what](spark, tmp_path)
    assert caught.value.getCondition() == ROWS.get(what)
