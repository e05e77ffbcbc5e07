"""One row a micro-batch: a windowed, watermarked count over a socket, checkpointed on disk.

Each row is sent when the one before it is in the sink. First without a pause (the time from row to row is that of a
whole durable batch), then with a pause (the query is idle when the row comes).

usage: latency.py WORK_FOLDER SHUFFLE_PARTITIONS ROWS RESULT.json
"""

import json
import socket
import sys
import threading
import time

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

work, partitions, rows, out = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
WARM_UP = 10

spark = (
    SparkSession.builder.appName("latency")
    .master("local[*]")
    .config("spark.sql.shuffle.partitions", partitions)
    .config("spark.sql.session.timeZone", "UTC")
    .config("spark.ui.enabled", "false")
    .config("spark.ui.showConsoleProgress", "false")
    .getOrCreate()
)
spark.sparkContext.setLogLevel("OFF")

server = socket.create_server(("127.0.0.1", 0))
lines = spark.readStream.format("socket").option("host", "127.0.0.1").option("port", server.getsockname()[1]).load()
parsed = lines.select(F.from_json("value", "word string, timestamp timestamp").alias("v")).select("v.*")
counts = (
    parsed.withWatermark("timestamp", "10 minutes")
    .groupBy(F.window("timestamp", "15 minutes"), "word")
    .agg(F.count("word").alias("count"))
)

arrived = threading.Event()
seen = []


def deliver(frame, batch_id):
    got = frame.collect()
    if got:
        seen.append((time.perf_counter(), got[0]["count"]))
        arrived.set()


query = (
    counts.writeStream.outputMode("update")
    .foreachBatch(deliver)
    .option("checkpointLocation", f"{work}/checkpoint")
    .start()
)
# An engine may connect once to look and once to read: the newest connection is the one that is read.
server.settimeout(120)
peers = []


def accept():
    while True:
        try:
            peers.append(server.accept()[0])
        except OSError:
            return


threading.Thread(target=accept, daemon=True).start()
deadline = time.monotonic() + 120
while not peers and time.monotonic() < deadline:
    time.sleep(0.01)


def send(i):
    # All in one window and never newer than the first, so the watermark rests and no batch without data runs.
    line = json.dumps({"timestamp": f"2024-04-06 10:05:{59 - i % 50:02d}", "word": "Streaming"}) + "\n"
    arrived.clear()
    sent = time.perf_counter()
    for peer in peers:
        peer.sendall(line.encode())
    if not arrived.wait(120):
        raise SystemExit(f"row {i} did not arrive; the query says {query.exception()}")
    return (seen[-1][0] - sent) * 1000


def settle():
    while query.status["isTriggerActive"] and query.status["isDataAvailable"]:
        time.sleep(0.01)
    time.sleep(1)


for i in range(WARM_UP if rows >= 50 else 3):
    send(i)
settle()
loop = [send(i) for i in range(rows)]
settle()
idle = []
for i in range(rows):
    idle.append(send(i))
    time.sleep(0.05)
time.sleep(0.2)
batches = [
    p["durationMs"]["triggerExecution"] for p in query.recentProgress if p["durationMs"].get("addBatch") is not None
]
total = sum(1 for _ in seen)
with open(out, "w") as file:
    json.dump(
        {"loop_ms": loop, "idle_ms": idle, "progress_ms": batches[-rows:], "rows": total, "count": seen[-1][1]}, file
    )
query.stop()
spark.stop()
