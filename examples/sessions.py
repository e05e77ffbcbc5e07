"""Sessions of events, closed after ten quiet minutes (twenty for the word Spark).

usage: runnel run examples/sessions.py INPUT_FOLDER
"""

import sys

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

spark = SparkSession.builder.appName("sessions").config("spark.sql.session.timeZone", "UTC").getOrCreate()

events = spark.readStream.schema("timestamp timestamp, word string").json(sys.argv[1])
gap = F.when(F.col("word") == "Spark", "20 minutes").otherwise("10 minutes")
sessions = (
    events.groupBy("word", F.session_window("timestamp", gap))
    .agg(F.count("word").alias("count"))
    .select("session_window.start", "session_window.end", "word", "count")
)

query = (
    sessions.writeStream.outputMode("complete")
    .format("console")
    .option("truncate", False)
    .trigger(availableNow=True)
    .start()
)
query.awaitTermination()
