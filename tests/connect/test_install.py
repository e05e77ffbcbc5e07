"""Installing, sessions, and being run with `python -c`: in processes of their own, over a recording session."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent

FAKE = """
import sys, types
sys.path.insert(0, {tests!r})
from connect.fakes import FakeSession
module = types.ModuleType("runnel.session")
class Session(FakeSession):
    made = []
    @staticmethod
    def create(conf):
        made = Session(); made.given = conf; Session.made.append(made)
        for key, value in conf.items(): made.conf.force(key, value)
        return made
    def configure(self, conf):
        for key, value in conf.items(): self.conf.force(key, value)
module.Session = Session
sys.modules["runnel.session"] = module
"""


def python(body: str, *, fake: bool = True, command: bool = True, env: dict[str, str] | None = None) -> str:
    """What a program prints; it must print nothing on standard error and end well."""
    import os

    text = (FAKE.format(tests=str(TESTS)) if fake else "") + textwrap.dedent(body)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("SPARK_", "PYSPARK_"))} | (env or {})
    done = subprocess.run(
        [sys.executable, "-c", text] if command else [sys.executable, "-"],
        input=None if command else text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment,
    )
    assert (done.stderr, done.returncode) == ("", 0)
    return done.stdout


def test_importing_runnel_imports_nothing_heavy() -> None:
    names = python(
        "import runnel, sys; print([m for m in ('pyspark', 'pandas', 'duckdb', 'pyarrow', 'grpc') if m in sys.modules])",
        fake=False,
    )
    assert names == "[]\n"


def test_a_session_under_python_c() -> None:
    printed = python(
        """
        import runnel
        runnel.install()
        from pyspark.sql import SparkSession, functions as F
        builder = SparkSession.builder.master("local[2]").appName("mine").config("spark.sql.shuffle.partitions", 3)
        spark = builder.getOrCreate()
        print(spark.range(3).collect(), Session.made[0].given["spark.master"], spark.sparkContext.appName)
        import __main__
        print(hasattr(__main__, "__file__"))
        """
    )
    assert printed == "[Row(id=0), Row(id=1), Row(id=2)] local[2] mine\nFalse\n"


def test_spark_session_from_runnel_needs_no_install() -> None:
    printed = python(
        """
        from runnel import SparkSession
        import pyspark.sql
        print(SparkSession is pyspark.sql.SparkSession, SparkSession.builder.getOrCreate().range(2).count())
        """
    )
    assert printed.startswith("True ")


def test_one_session_until_it_is_stopped() -> None:
    printed = python(
        """
        import threading, runnel
        runnel.install({"spark.sql.shuffle.partitions": "5"})
        from pyspark.sql import SparkSession
        first = SparkSession.builder.enableHiveSupport().getOrCreate()
        again = SparkSession.builder.config("my.own", "x").config("spark.app.name", "late").getOrCreate()
        print(first is again, first.conf.get("my.own"), first.conf.get("spark.sql.shuffle.partitions"))
        seen = []
        thread = threading.Thread(target=lambda: seen.append(SparkSession.getActiveSession() is first))
        thread.start(); thread.join()
        print(seen, SparkSession.active() is first)
        other = first.newSession()
        print(other is first, other.conf.get("my.own", None))
        first.stop()
        print(Session.made[0].stopped, SparkSession.getActiveSession())
        second = SparkSession.builder.getOrCreate()
        print(second is first, second.range(1).collect())
        """
    )
    assert printed.splitlines() == [
        "True x 5",
        "[True] True",
        "False None",
        "True None",
        "False [Row(id=0)]",
    ]


def test_sessions_are_stopped_when_the_program_ends() -> None:
    printed = python(
        """
        import atexit, runnel
        atexit.register(lambda: print(Session.made[0].stopped))
        runnel.install()
        from pyspark.sql import SparkSession
        SparkSession.builder.getOrCreate()
        """
    )
    assert printed == "True\n"


@pytest.mark.parametrize("by", ["builder", "environment"])
def test_asking_for_a_server_gets_a_server(by: str) -> None:
    printed = python(
        f"""
        import runnel
        runnel.install()
        from pyspark.sql import SparkSession
        builder = SparkSession.builder
        if {by == "builder"}:
            builder = builder.remote("sc://localhost:1")
        from pyspark.sql.connect.session import SparkSession as Remote
        Remote.Builder._apply_options = lambda self, session: None
        spark = builder.getOrCreate()
        print(type(spark._client._channel).__module__.split(".")[0], Session.made)
        spark.release_session_on_close = False
        spark.stop()
        """,
        env={"SPARK_REMOTE": "sc://localhost:1"} if by == "environment" else None,
    )
    assert printed == "grpc []\n"


def test_the_connect_builder_passes_its_master_on() -> None:
    printed = python(
        """
        import runnel
        runnel.install()
        from pyspark.sql.connect.session import SparkSession
        spark = SparkSession.builder.master("local[3]").getOrCreate()
        print(Session.made[0].given["spark.master"])
        """
    )
    assert printed == "local[3]\n"


def test_settings_for_a_jvm_are_said_to_be_unneeded_once() -> None:
    printed = python(
        """
        import logging, sys
        logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(name)s %(message)s")
        import runnel
        runnel.install()
        from pyspark.sql import SparkSession
        spark = SparkSession.builder.getOrCreate()
        for _ in range(2):
            SparkSession.builder.config(
                "spark.executor.memory", "4g").getOrCreate()
        """
    )
    assert printed.count("spark.executor.memory is not needed") == 1
