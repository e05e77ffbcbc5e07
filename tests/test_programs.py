"""Whole programs in processes of their own, over the real engine: how they begin, what they say, how they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

QUERY = """
    import sys, threading
    from pyspark.sql import SparkSession
    spark = SparkSession.builder.getOrCreate()
    query = spark.readStream.format("rate-micro-batch").option("rowsPerBatch", 2).load().writeStream.format("noop").start()

    def say_when_the_program_waits():
        frame = None
        while frame is None:
            frame = sys._current_frames()[threading.main_thread().ident]
            while frame is not None and frame.f_code.co_name not in ("await_termination", "await_any_termination"):
                frame = frame.f_back
        print("ready", flush=True)

    threading.Thread(target=say_when_the_program_waits, daemon=True).start()
"""


def begin(body: str, cwd: Path, *how: str, arguments: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """A program begun: by `runnel run` with the options `how`, or by Python itself if there are none."""
    script = cwd / "job.py"
    script.write_text(textwrap.dedent(body), encoding="utf-8")
    command = ["-m", "runnel.cli", "run", *how[1:]] if how else []
    return subprocess.Popen(
        [sys.executable, *command, str(script), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env={k: v for k, v in os.environ.items() if not k.startswith(("SPARK_", "PYSPARK_"))},
    )


def run(body: str, cwd: Path, *how: str) -> tuple[int, str, str]:
    """Exit code, output, errors."""
    process = begin(body, cwd, *how)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_queries_left_running_end_with_the_program_and_nothing_is_said(tmp_path: Path) -> None:
    body = """
    import tempfile, os
    import runnel
    runnel.install()
    from pyspark.sql import SparkSession, functions as F
    spark = SparkSession.builder.config("spark.driver.memory", "4g").config("spark.jars.packages", "a:b:1").getOrCreate()

    @F.udf("long")
    def same(x: int) -> int:
        return x

    frame = spark.readStream.format("rate-micro-batch").option("rowsPerBatch", 2).load().select(same("value").alias("v"))
    counted = frame.groupBy("v").count().writeStream.format("memory").outputMode("complete").queryName("counted").start()
    taken = frame.writeStream.foreachBatch(lambda df, i: df.collect()).start()
    for query in (counted, taken):
        while not query.lastProgress:
            query.awaitTermination(0.01)
    print(len(spark.streams.active), spark.table("counted").count() > 0)
    """
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    body = f"    import tempfile; tempfile.tempdir = {str(temporary)!r}\n" + body.lstrip("\n")
    assert run(body, tmp_path) == (0, "2 True\n", "")
    assert list(temporary.iterdir()) == []
    assert run(body, tmp_path, "run") == (0, "2 True\n", "")
    assert list(temporary.iterdir()) == []


def test_sessions_one_after_the_other(tmp_path: Path) -> None:
    body = """
    from runnel import SparkSession
    from pyspark import SparkConf, SparkContext
    conf = SparkConf().setAppName("mine").setMaster("local[2]").set("spark.sql.shuffle.partitions", "5")
    first = SparkSession.builder.config(conf=conf).getOrCreate()
    again = SparkSession.builder.master("local[7]").getOrCreate()
    context = SparkContext.getOrCreate()
    print(first is again, context.defaultParallelism, context.master, context.appName)
    print(first.conf.get("spark.sql.shuffle.partitions"), first.conf.get("spark.app.id") == context.applicationId)
    first.readStream.format("rate").load().writeStream.format("noop").start()
    first.stop()
    with SparkSession.builder.master("local[1]").getOrCreate() as second:
        print(second is first, second.range(3).count(), second.sparkContext.defaultParallelism, second.streams.active)
    try:
        second.range(1).collect()
    except Exception as problem:
        print(type(problem).__name__)
    context = SparkContext("local[3]", "by context")
    print(context.master, context.appName)
    """
    code, out, err = run(body, tmp_path)
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "True 2 local[2] mine",
        "5 True",
        "False 3 1 []",
        "SparkConnectException",
        "local[3] by context",
    ]


def test_options_of_run_are_defaults(tmp_path: Path) -> None:
    body = """
    from pyspark.sql import SparkSession
    spark = SparkSession.builder.appName("mine").getOrCreate()
    print(spark.sparkContext.appName, spark.sparkContext.defaultParallelism, spark.conf.get("my.own"))
    """
    options = ("run", "--master", "local[3]", "--conf", "spark.app.name=theirs", "--conf", "my.own=a=b")
    assert run(body, tmp_path, *options) == (0, "mine 3 a=b\n", "")


@pytest.mark.skipif(sys.platform == "win32", reason="signals to single processes are POSIX's")
@pytest.mark.parametrize(
    "wait", ["query.awaitTermination()", "query.awaitTermination(60)", "spark.streams.awaitAnyTermination()"]
)
@pytest.mark.parametrize(
    ("number", "code", "line"),
    [(signal.SIGINT, 130, "Interrupted: streaming queries are being stopped.\n"), (signal.SIGTERM, 143, "")],
)
def test_signals_under_run(tmp_path: Path, wait: str, number: signal.Signals, code: int, line: str) -> None:
    process = begin(f"{QUERY}    {wait}\n", tmp_path, "run")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (code, "", line)


@pytest.mark.skipif(sys.platform == "win32", reason="signals to single processes are POSIX's")
def test_ctrl_c_in_a_library_leaves_the_query(tmp_path: Path) -> None:
    body = f"""
    import runnel
    runnel.install()
    {QUERY.lstrip()}
    try:
        query.awaitTermination()
    except KeyboardInterrupt:
        print(query.isActive, query.exception())
    query.stop()
    print(query.isActive)
    """
    process = begin(body, tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "True None\nFalse\n", "")


@pytest.mark.skipif(sys.platform == "win32", reason="signals to single processes are POSIX's")
def test_a_second_ctrl_c_does_not_wait_for_a_function_that_hangs(tmp_path: Path) -> None:
    body = """
    import threading
    from pyspark.sql import SparkSession
    spark = SparkSession.builder.getOrCreate()
    frame = spark.readStream.format("rate-micro-batch").option("rowsPerBatch", 2).load()
    def hang(df, batch_id):
        print("ready", flush=True)
        threading.Event().wait()
    frame.writeStream.foreachBatch(hang).start().awaitTermination()
    """
    process = begin(body, tmp_path, "run")
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.stderr.readline() == "Interrupted: streaming queries are being stopped.\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "Interrupted again: a query that did not stop is left behind.\n")


def test_a_failed_query_ends_the_job_with_the_users_lines(tmp_path: Path) -> None:
    body = """
    from pyspark.sql import SparkSession

    def main():
        spark = SparkSession.builder.getOrCreate()
        frame = spark.readStream.format("rate-micro-batch").option("rowsPerBatch", 2).load()
        frame.writeStream.foreachBatch(lambda df, i: 1 // 0).start().awaitTermination()

    if __name__ == "__main__":
        main()
    """
    code, out, err = run(body, tmp_path, "run")
    assert (code, out) == (1, "")
    assert "runpy" not in err
    assert "StreamingQueryException" in err
    assert "ZeroDivisionError" in err
    assert f"{os.sep}runnel{os.sep}" not in err


def test_a_session_starts_without_what_it_does_not_need(tmp_path: Path) -> None:
    body = """
    import sys, runnel
    runnel.install()
    from pyspark.sql import SparkSession
    spark = SparkSession.builder.getOrCreate()
    spark.range(3).count()
    unneeded = {"sqlglot", "watchfiles", "rich", "starlette", "uvicorn", "confluent_kafka", "scipy", "matplotlib"}
    print(sorted({name.partition(".")[0] for name in sys.modules} & unneeded))
    """
    assert run(body, tmp_path) == (0, "[]\n", "")
