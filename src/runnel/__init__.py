"""Runnel runs PySpark Structured Streaming programs in this process, without a JVM.

>>> import runnel
>>> runnel.install()
>>> from pyspark.sql import SparkSession
>>> spark = SparkSession.builder.getOrCreate()

or, without `install()`, `from runnel import SparkSession`. Importing this module imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__version__ = "0.1.0"
__all__ = ["SparkSession", "__version__", "install"]


def install(conf: Mapping[str, str] | None = None) -> None:
    """Makes `SparkSession.builder.getOrCreate()` give a session of this process, instead of one on a JVM.

    `conf` are settings for the sessions that are made later; what a program sets on its builder goes before them. A
    builder that asks for a Spark Connect server (`.remote("sc://…")`) still gets one.
    """
    from runnel.connect.install import install as install_front

    install_front(conf)


def __getattr__(name: str) -> Any:
    if name == "SparkSession":
        from runnel.connect.install import spark_session_class

        return spark_session_class()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
