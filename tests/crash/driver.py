"""The queries that are killed. Run in a process of their own; each call processes what is there and ends."""

from __future__ import annotations

from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import runnel
from runnel.connect.install import import_client

import_client()  # here, so that the processes forked later have it already


def _session() -> Any:
    return (
        runnel.SparkSession.builder.master("local[1]")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.sql.streaming.fileSink.log.compactInterval", "4")
        .config("spark.sql.streaming.fileSource.log.compactInterval", "4")
        .getOrCreate()
    )


def _read(spark: Any, folder: Path, schema: str) -> Any:
    return spark.readStream.schema(schema).option("maxFilesPerTrigger", 1).json(str(folder / "in"))


def windowed(spark: Any, folder: Path) -> Any:
    """Counts and sums in one-minute windows, each written once when the watermark has passed it."""
    from pyspark.sql import functions as F

    counts = (
        _read(spark, folder, "ts timestamp, word string, n bigint")
        .withWatermark("ts", "30 seconds")
        .groupBy(F.window("ts", "1 minute"), "word")
        .agg(F.count("*").alias("count"), F.sum("n").alias("total"))
    )
    rows = counts.select(F.col("window.start").cast("bigint").alias("start"), "word", "count", "total")
    return rows.writeStream.format("parquet")


def deduplicated(spark: Any, folder: Path) -> Any:
    """The first row of each id."""
    return _read(spark, folder, "id bigint, file bigint").dropDuplicates(["id"]).writeStream.format("json")


def run(case: str, folder: Path, ready: Connection | None = None) -> None:
    """Runs a case over what is in `folder`/in; sends one message when the query has been started."""
    spark = _session()
    query = (
        {"windowed": windowed, "deduplicated": deduplicated}[case](spark, folder)
        .option("path", str(folder / "out"))
        .option("checkpointLocation", str(folder / "checkpoint"))
        .trigger(availableNow=True)
        .start()
    )
    if ready is not None:
        ready.send("started")
    query.awaitTermination()
    spark.stop()
