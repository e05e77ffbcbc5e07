"""A small windowed count over files; says when the first result is there.

usage: start.py INPUT_FOLDER
"""

import sys

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

spark = (
    SparkSession.builder.appName("start")
    .master("local[*]")
    .config("spark.sql.shuffle.partitions", "2")
    .config("spark.ui.showConsoleProgress", "false")
    .getOrCreate()
)


def deliver(frame, batch_id):
    rows = frame.collect()
    if rows:
        print(f"RESULT {len(rows)}", flush=True)


words = spark.readStream.schema("word string, timestamp timestamp").json(sys.argv[1])
counts = words.groupBy(F.window("timestamp", "15 minutes"), "word").count()
counts.writeStream.outputMode("update").foreachBatch(deliver).trigger(availableNow=True).start().awaitTermination()
spark.stop()
