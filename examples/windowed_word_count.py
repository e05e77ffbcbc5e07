"""Counts words in 15-minute windows, with a watermark: JSON lines such as {"timestamp": "…", "word": "…"} over a socket.

usage: runnel run examples/windowed_word_count.py [HOST PORT]
"""

import sys

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

host, port = sys.argv[1:3] if len(sys.argv) > 2 else ("localhost", "9999")

spark = SparkSession.builder.appName("windowed word count").config("spark.sql.session.timeZone", "UTC").getOrCreate()

lines = spark.readStream.format("socket").option("host", host).option("port", port).load()
events = lines.select(F.from_json("value", "timestamp timestamp, word string").alias("event")).select("event.*")
counts = (
    events.withWatermark("timestamp", "30 minutes")
    .groupBy(F.window("timestamp", "15 minutes"), "word")
    .agg(F.count("word").alias("count"))
    .select("window.start", "window.end", "word", "count")
)

query = counts.writeStream.outputMode("update").format("console").option("truncate", False).start()
query.awaitTermination()
