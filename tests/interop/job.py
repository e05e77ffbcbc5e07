"""Files to parquet, one file a batch, then what a batch job reads of the output. Runs on Runnel and on real Spark.

usage: job.py FOLDER
"""

import json
import sys

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

folder = sys.argv[1]
spark = (
    SparkSession.builder.master("local[1]")
    .config("spark.sql.shuffle.partitions", "2")
    .config("spark.sql.session.timeZone", "UTC")
    .config("spark.sql.streaming.fileSink.log.compactInterval", "3")
    .config("spark.sql.streaming.fileSource.log.compactInterval", "3")
    .config("spark.ui.enabled", "false")
    .getOrCreate()
)
rows = (
    spark.readStream.schema("id bigint, ts timestamp, word string").option("maxFilesPerTrigger", 1).json(f"{folder}/in")
)
query = (
    rows.where("id >= 0")
    .withColumn("day", F.to_date("ts"))
    .writeStream.format("parquet")
    .partitionBy("day")
    .option("path", f"{folder}/out")
    .option("checkpointLocation", f"{folder}/checkpoint")
    .trigger(availableNow=True)
    .start()
)
query.awaitTermination()
progress = [p.batchId for p in query.recentProgress if p.numInputRows]
found = [[r["id"], r["word"], str(r["day"])] for r in spark.read.parquet(f"{folder}/out").collect()]
print("FOUND " + json.dumps({"batches": progress, "rows": sorted(found)}))
spark.stop()
