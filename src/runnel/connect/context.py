"""`pyspark.SparkContext`, which the Connect client does not have and old programs begin with."""

from __future__ import annotations

from typing import Any


class SparkContext:
    """Making one gives the `sparkContext` of this process's session, started if need be; see `shims.SparkContextShim`.

    RDDs are refused there by name.
    """

    def __new__(
        cls, master: str | None = None, appName: str | None = None, *_: Any, conf: Any = None, **__: Any
    ) -> Any:
        from pyspark.sql import SparkSession

        builder: Any = SparkSession.builder
        for name, value in conf.getAll() if conf is not None else ():
            builder = builder.config(name, value)
        if master is not None:
            builder = builder.config("spark.master", master)
        if appName is not None:
            builder = builder.appName(appName)
        return builder.getOrCreate().sparkContext

    @classmethod
    def getOrCreate(cls, conf: Any = None) -> Any:
        """The context of the running session, or of a new one with these settings."""
        return cls(conf=conf)
