"""Counts the words that come over a socket. Feed it with `nc -lk 9999` in another terminal.

usage: runnel run examples/word_count_socket.py [HOST PORT]
"""

import sys

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

host, port = sys.argv[1:3] if len(sys.argv) > 2 else ("localhost", "9999")

spark = SparkSession.builder.appName("word count").getOrCreate()

lines = spark.readStream.format("socket").option("host", host).option("port", port).load()
words = lines.select(F.explode(F.split("value", " ")).alias("word"))
counts = words.groupBy("word").count()

query = counts.writeStream.outputMode("complete").format("console").start()
query.awaitTermination()
