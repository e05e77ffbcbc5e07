"""What a batch of 1000 rows costs when so many keys are held already: one file a batch, the first fills the state.

usage: state_size.py INPUT WORK_FOLDER RESULT.json
"""

import json
import sys

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

source, work, out = sys.argv[1:4]

spark = (
    SparkSession.builder.appName("state-size")
    .master("local[*]")
    .config("spark.sql.shuffle.partitions", "2")
    .config("spark.driver.memory", "6g")
    .config("spark.ui.enabled", "false")
    .config("spark.ui.showConsoleProgress", "false")
    .getOrCreate()
)
spark.sparkContext.setLogLevel("ERROR")

events = spark.readStream.schema("key bigint, value bigint").option("maxFilesPerTrigger", 1).parquet(source)
totals = events.groupBy("key").agg(F.count("*").alias("n"), F.sum("value").alias("total"))
query = (
    totals.writeStream.format("noop")
    .outputMode("update")
    .option("checkpointLocation", f"{work}/checkpoint")
    .trigger(availableNow=True)
    .start()
)
query.awaitTermination()
batches = [
    {
        "batch": p["batchId"],
        "rows": p["sources"][0]["numInputRows"],
        "ms": p["durationMs"]["triggerExecution"],
        "keys": p["stateOperators"][0]["numRowsTotal"],
        "phases": dict(p["durationMs"]),
    }
    for p in query.recentProgress
    if p["durationMs"].get("addBatch") is not None
]
with open(out, "w") as file:
    json.dump({"batches": batches}, file)
spark.stop()
