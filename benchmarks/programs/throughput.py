"""One query over one big JSON file; the time from `start()` to its end.

usage: throughput.py stateless|windowed|keys|dedup INPUT WARM_UP_INPUT WORK_FOLDER RESULT.json
"""

import json
import sys
import time

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

case, source, warm_up, work, out = sys.argv[1:6]
SCHEMA = "id bigint, key bigint, word string, value double, ts timestamp"

spark = (
    SparkSession.builder.appName(f"throughput-{case}")
    .master("local[*]")
    .config("spark.sql.shuffle.partitions", "2")
    .config("spark.sql.session.timeZone", "UTC")
    .config("spark.driver.memory", "4g")
    .config("spark.ui.enabled", "false")
    .config("spark.ui.showConsoleProgress", "false")
    .getOrCreate()
)
spark.sparkContext.setLogLevel("ERROR")


def query(folder, name):
    events = spark.readStream.schema(SCHEMA).json(folder)
    if case == "stateless":
        frame = events.where((F.col("value") > 10) & (F.col("word") != "word7")).select(
            "id", F.upper("word").alias("word"), (F.col("value") * 1.2).alias("gross"), F.to_date("ts").alias("day")
        )
        writer = frame.writeStream.format("parquet").option("path", f"{work}/{name}-out")
    elif case == "windowed":
        frame = events.withWatermark("ts", "10 minutes").groupBy(F.window("ts", "1 minute")).count()
        writer = frame.writeStream.format("noop").outputMode("update")
    elif case == "keys":
        frame = events.groupBy("key").agg(F.count("*").alias("n"), F.sum("value").alias("total"))
        writer = frame.writeStream.format("noop").outputMode("update")
    else:
        writer = events.dropDuplicates(["key"]).writeStream.format("noop")
    start = time.perf_counter()
    running = writer.option("checkpointLocation", f"{work}/{name}-checkpoint").trigger(availableNow=True).start()
    running.awaitTermination()
    return time.perf_counter() - start, running.recentProgress


query(warm_up, "warm-up")
seconds, progress = query(source, "main")
batches = [
    {
        "rows": p["sources"][0]["numInputRows"],
        "ms": p["durationMs"]["triggerExecution"],
        "phases": dict(p["durationMs"]),
    }
    for p in progress
    if p["durationMs"].get("addBatch") is not None
]
with open(out, "w") as file:
    json.dump({"seconds": seconds, "rows": sum(b["rows"] for b in batches), "batches": batches}, file)
spark.stop()
