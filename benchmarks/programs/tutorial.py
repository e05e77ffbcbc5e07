"""The course's word counts, one after the other, to the console sink.

usage: tutorial.py INPUT_FOLDER
"""

import sys

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

spark = (
    SparkSession.builder.appName("tutorial")
    .master("local[*]")
    .config("spark.sql.shuffle.partitions", "2")
    .config("spark.ui.showConsoleProgress", "false")
    .getOrCreate()
)
words = spark.readStream.schema("word string, timestamp timestamp").option("maxFilesPerTrigger", 4).json(sys.argv[1])
marked = words.withWatermark("timestamp", "30 minutes")
queries = [
    (words.groupBy("word").count(), "complete"),
    (words.groupBy("word").count(), "update"),
    (words.groupBy("word", F.window("timestamp", "15 minutes")).count(), "update"),
    (words.groupBy("word", F.window("timestamp", "15 minutes", "5 minutes")).count(), "update"),
    (marked.groupBy("word", F.window("timestamp", "15 minutes")).count(), "update"),
    (marked.groupBy("word", F.window("timestamp", "15 minutes")).count(), "append"),
    (marked.groupBy("word", F.session_window("timestamp", "10 minutes")).count(), "append"),
    (words.dropDuplicates(["word"]), "append"),
]
for frame, mode in queries:
    frame.writeStream.format("console").outputMode(mode).trigger(availableNow=True).start().awaitTermination()
spark.stop()
