"""Turns JSON files into parquet, partitioned by day, as they appear in a folder; exactly once, also across restarts.

usage: runnel run examples/files_to_parquet.py INPUT_FOLDER OUTPUT_FOLDER CHECKPOINT_FOLDER
"""

import sys

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

source, target, checkpoint = sys.argv[1:4]

spark = SparkSession.builder.appName("files to parquet").config("spark.sql.session.timeZone", "UTC").getOrCreate()

events = spark.readStream.schema("timestamp timestamp, word string").option("maxFilesPerTrigger", 100).json(source)
clean = events.where(F.col("word").isNotNull()).withColumn("day", F.to_date("timestamp"))

query = (
    clean.writeStream.format("parquet")
    .partitionBy("day")
    .option("path", target)
    .option("checkpointLocation", checkpoint)
    .trigger(availableNow=True)
    .start()
)
query.awaitTermination()
spark.read.parquet(target).groupBy("day").count().orderBy("day").show()
