"""The course's windowed, watermarked word count: the program that the demo runs, kills and starts again.

Plain PySpark; it runs the same on a Spark cluster. Two queries read one folder: `live` shows every change (update mode),
`final` writes finished windows to parquet (append mode, exactly once). What happens is told on standard output, one
JSON object a line.

usage: word_count.py INPUT_FOLDER WORK_FOLDER
"""

import json
import sys
import threading

from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from pyspark.sql.streaming import StreamingQueryListener

source, work = sys.argv[1], sys.argv[2]


telling = threading.Lock()


def tell(kind, **what):
    with telling:  # the queries' threads and the listener's share the output
        print(json.dumps({"kind": kind, **what}), flush=True)


class Reporter(StreamingQueryListener):
    def onQueryStarted(self, event):
        pass

    def onQueryProgress(self, event):
        p = event.progress
        state = p.stateOperators[0] if p.stateOperators else None
        tell(
            "progress",
            query=p.name,
            batch=p.batchId,
            rows=p.numInputRows,
            ms=p.batchDuration,
            watermark=p.eventTime.get("watermark"),
            held=state.numRowsTotal if state else 0,
            evicted=state.numRowsRemoved if state else 0,
            late=state.numRowsDroppedByWatermark if state else 0,
        )

    def onQueryIdle(self, event):
        pass

    def onQueryTerminated(self, event):
        tell("terminated", exception=event.exception)


spark = SparkSession.builder.appName("word count").config("spark.sql.session.timeZone", "UTC").getOrCreate()
spark.streams.addListener(Reporter())

words = spark.readStream.schema("timestamp timestamp, word string").option("maxFilesPerTrigger", 1).json(source)
counts = (
    words.withWatermark("timestamp", "10 minutes")
    .groupBy(F.window("timestamp", "15 minutes"), "word")
    .agg(F.count("word").alias("count"))
    .select("window.start", "window.end", "word", "count")
)


def show(frame, batch_id):
    times = [F.date_format(edge, "HH:mm") for edge in ("start", "end")]
    tell("changed", batch=batch_id, rows=[list(row) for row in frame.select(*times, "word", "count").collect()])


live = (
    counts.writeStream.queryName("live").outputMode("update").foreachBatch(show)
    .option("checkpointLocation", f"{work}/checkpoint-live").start()
)  # fmt: skip
final = (
    counts.writeStream.queryName("final").outputMode("append").format("parquet")
    .option("path", f"{work}/counts").option("checkpointLocation", f"{work}/checkpoint-final").start()
)  # fmt: skip
tell("running")
spark.streams.awaitAnyTermination()
