"""Hands every batch of counts to a function of one's own, which writes it under its batch id: repeating it does no harm.

usage: runnel run examples/foreach_batch.py INPUT_FOLDER OUTPUT_FOLDER CHECKPOINT_FOLDER
"""

import sys

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

source, target, checkpoint = sys.argv[1:4]

spark = SparkSession.builder.appName("foreachBatch").config("spark.sql.session.timeZone", "UTC").getOrCreate()


def write(frame, batch_id):
    frame.persist()
    print(f"batch {batch_id}: {frame.count()} changed counts")
    frame.write.mode("overwrite").json(f"{target}/batch={batch_id}")
    frame.unpersist()


events = spark.readStream.schema("timestamp timestamp, word string").option("maxFilesPerTrigger", 1).json(source)
counts = events.groupBy("word").agg(F.count("*").alias("count"), F.max("timestamp").alias("last"))

query = (
    counts.writeStream.outputMode("update")
    .foreachBatch(write)
    .option("checkpointLocation", checkpoint)
    .trigger(availableNow=True)
    .start()
)
query.awaitTermination()
