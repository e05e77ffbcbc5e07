"""What `runnel.install()` does: `SparkSession.builder…getOrCreate()` gives a session of this process.

A builder that asks for a Spark Connect server (`.remote("sc://…")`, or SPARK_REMOTE in the environment) still gets one.
"""

from __future__ import annotations

import atexit
import functools
import importlib
import os
import sys
import threading
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from runnel.connect.context import SparkContext
from runnel.connect.notices import say_once

_lock = threading.RLock()
_installed = False
_defaults: dict[str, str] = {}
_live: list[Any] = []


def import_client() -> None:
    """Imports the official client, also under `python -c`.

    The client takes a `__main__` without a file for a doctest run, looks for a Spark home and ends the process; so
    `__main__` gets a file name for as long as the import lasts.
    """
    main = sys.modules.get("__main__")
    guard = main is not None and not hasattr(main, "__file__") and not hasattr(sys, "ps1")
    if guard:
        main.__file__ = "<string>"  # type: ignore[union-attr]
    # The client says so of every plain Python function with ordinary type hints, which are nobody's mistake.
    warnings.filterwarnings("ignore", "Cannot infer the eval type from type hints", UserWarning)
    try:
        importlib.import_module("pyspark.sql.connect.session")
    finally:
        if guard:
            del main.__file__  # type: ignore[union-attr]


def install(conf: Mapping[str, str] | None = None) -> None:
    """Makes `getOrCreate()` give a session of this process. Calling it again only adds to `conf`.

    `conf` are settings for sessions made later; what a program sets on its builder goes before them.
    """
    global _installed
    with _lock:
        _defaults.update(conf or {})
        if _installed:
            return
        import_client()
        from pyspark.sql.connect.session import SparkSession as ConnectSession
        from pyspark.sql.session import SparkSession
        from pyspark.util import is_remote_only

        if not is_remote_only() and not _asks_for_server({}):
            os.environ["SPARK_CONNECT_MODE_ENABLED"] = "1"
        pyspark: Any = sys.modules["pyspark"]
        pyspark.SparkContext = SparkContext
        builders: tuple[Any, ...] = (SparkSession.Builder, ConnectSession.Builder)
        for builder in builders:
            builder.getOrCreate = _in_process(builder.getOrCreate, _get_or_create)
            builder.create = _in_process(builder.create, _create)
            builder.enableHiveSupport = _enable_hive
        builders[1].master = _master
        _at_exit(stop_all)
        _installed = True


def _at_exit(work: Callable[[], None]) -> None:
    """Calls `work` when the main thread ends, while thread pools still take work.

    Python closes those of `concurrent.futures` before it calls what `atexit` holds, and a query that is running then
    would fail. The hook that they use themselves runs the last registered first.
    """
    importlib.import_module("concurrent.futures.thread")
    early: Callable[[Callable[[], None]], object] | None = getattr(threading, "_register_atexit", None)
    if early is not None:
        early(work)
    atexit.register(work)


def spark_session_class() -> Any:
    """PySpark's own SparkSession, installed: what `from runnel import SparkSession` gives."""
    install()
    from pyspark.sql import SparkSession

    return SparkSession


def _asks_for_server(options: Mapping[str, Any]) -> bool:
    address = options.get("spark.remote") or os.environ.get("SPARK_REMOTE") or ""
    return str(address).startswith("sc://")


def _in_process(original: Callable[[Any], Any], ours: Callable[[Mapping[str, Any]], Any]) -> Callable[[Any], Any]:
    @functools.wraps(original)
    def build(self: Any) -> Any:
        if getattr(self, "_channel_builder", None) is not None or _asks_for_server(self._options):
            return original(self)
        return ours(self._options)

    return build


def _master(self: Any, master: str) -> Any:
    """Sets `spark.master`; the client's own builder forgets it."""
    return self.config("spark.master", master)


def _enable_hive(self: Any) -> Any:
    say_once("hive", "enableHiveSupport() has no effect: there is no Hive metastore")
    return self


def _get_or_create(options: Mapping[str, Any]) -> Any:
    from pyspark.sql.connect.session import SparkSession

    with SparkSession._lock:
        running = SparkSession.getActiveSession() or SparkSession._get_default_session()
        if running is None:
            return _create(options)
        later = {k: v for k, v in options.items() if k not in ("spark.remote", "spark.master")}
        if later:
            running.conf._set_all(configs=later, silent=True)
        return running


def _create(options: Mapping[str, Any]) -> Any:
    """A new session. Where one is running it shares its engine, as sessions of one Spark application do."""
    from pyspark.sql.connect.session import SparkSession

    from runnel.connect.client import client_session, service_of
    from runnel.connect.service import SparkConnectService
    from runnel.session import Session

    conf = {**_defaults, **{k: str(v) for k, v in options.items()}}
    address = conf.pop("spark.remote", None)
    if address is not None:
        conf.setdefault("spark.master", address)
    with SparkSession._lock:
        default = SparkSession._get_default_session()
        service = service_of(default) if default is not None else None
        if service is not None:
            session = service.session.new()
            session.configure(conf)
            return client_session(service.around(session))
        spark = client_session(SparkConnectService(Session.create(conf), owner=True))
        SparkSession._default_session = spark
        SparkSession._active_session.session = spark
        _live[:] = [s for s in _live if not s.is_stopped] + [spark]
        return spark


def stop_all() -> None:
    """Ends what the program left running: queries stop, checkpoints are let go of, the engine closes."""
    while _live:
        _live.pop().stop()
