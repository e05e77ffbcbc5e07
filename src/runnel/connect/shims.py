"""Gaps of the Connect client where programs written for classic PySpark would stumble, closed in few places.

Everything here is applied once, when the first in-process session is made, and acts on in-process sessions only; a
session to a remote server of the same process behaves as the client made it.
"""

from __future__ import annotations

import contextlib
import functools
import getpass
import importlib
import logging
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyspark.errors import PySparkAttributeError, PySparkNotImplementedError

from runnel.connect.analyze import SPARK_VERSION
from runnel.connect.notices import say_once
from runnel.connect.references import active, by_reference, put
from runnel.connect.settings import setting

_lock = threading.Lock()
_applied = False


def apply_shims() -> None:
    """Applies all of them, once a process."""
    global _applied
    with _lock:
        if _applied:
            return
        _by_reference_instead_of_pickles()
        _sessions()
        _threads_and_garbage()
        _applied = True


def _service(spark: Any) -> Any:
    return getattr(spark._client._channel, "service", None)


# --------------------------------------------------------------------------------------------------------- functions


def _by_reference_instead_of_pickles() -> None:
    from pyspark.serializers import CloudPickleSerializer

    expressions: Any = importlib.import_module("pyspark.sql.connect.expressions")
    readwriter: Any = importlib.import_module("pyspark.sql.connect.streaming.readwriter")

    class ReferenceSerializer(CloudPickleSerializer):
        """Makes a token of a function when the request stays in this process, and a pickle otherwise."""

        def dumps(self, obj: Any) -> bytes:
            if active():
                return put(obj[0] if isinstance(obj, tuple) else obj)
            base: Any = super()
            pickled: bytes = base.dumps(obj)
            return pickled

    expressions.CloudPickleSerializer = ReferenceSerializer
    to_plan = expressions.PythonUDF.to_plan

    @functools.wraps(to_plan)
    def udf_to_plan(self: Any, session: Any) -> Any:
        if not hasattr(session._channel, "service"):
            return to_plan(self, session)
        with by_reference(keep=False):
            return to_plan(self, session)

    expressions.PythonUDF.to_plan = udf_to_plan

    writer = readwriter.DataStreamWriter
    foreach_batch, foreach = writer.foreachBatch, writer.foreach

    @functools.wraps(foreach_batch)
    def by_reference_batch(self: Any, func: Callable[..., Any]) -> Any:
        if _service(self._session) is None:
            return foreach_batch(self, func)
        self._write_proto.foreach_batch.python_function.command = put(func)
        return self

    @functools.wraps(foreach)
    def by_reference_writer(self: Any, f: Any) -> Any:
        if _service(self._session) is None:
            return foreach(self, f)
        readwriter.PySparkDataStreamWriter._construct_foreach_function(f)  # raises for what is neither
        self._write_proto.foreach_writer.python_function.command = put(f)
        return self

    writer.foreachBatch = by_reference_batch
    writer.foreach = by_reference_writer


# ---------------------------------------------------------------------------------------------------------- sessions


def _sessions() -> None:
    frame: Any = importlib.import_module("pyspark.sql.connect.dataframe").DataFrame
    session: Any = importlib.import_module("pyspark.sql.connect.session").SparkSession
    get_active = session.getActiveSession.__func__

    def get_active_session(cls: Any) -> Any:
        """The thread's active session, else the default one, as classic PySpark has it."""
        return get_active(cls) or cls._get_default_session()

    def spark_context(self: Any) -> SparkContextShim:
        if _service(self) is None:
            raise PySparkAttributeError(
                errorClass="JVM_ATTRIBUTE_NOT_SUPPORTED", messageParameters={"attr_name": "sparkContext"}
            )
        return SparkContextShim(self)

    def new_session(self: Any) -> Any:
        """A session of its own settings and views over the same engine."""
        from runnel.connect.client import client_session

        service = _service(self)
        if service is None:
            raise PySparkAttributeError(
                errorClass="JVM_ATTRIBUTE_NOT_SUPPORTED", messageParameters={"attr_name": "newSession"}
            )
        return client_session(service.around(service.session.new()))

    def rdd(self: Any) -> RddShim:
        if _service(self._session) is None:
            raise PySparkAttributeError(
                errorClass="JVM_ATTRIBUTE_NOT_SUPPORTED", messageParameters={"attr_name": "rdd"}
            )
        return RddShim(self._session)

    stop = session.stop

    @functools.wraps(stop)
    def stop_with_listeners(self: Any) -> None:
        stop(self)
        if _service(self) is not None and "_sqm" in self.__dict__:
            bus = self._sqm._sqlb
            thread = bus._execution_thread
            if thread is not None and thread is not threading.current_thread():
                thread.join(10)  # what was posted before the end is still delivered
            bus._listener_bus.clear()  # else the client asks the released session to remove them, and warns

    def leave(self: Any, *_: Any) -> None:
        self.stop()

    session.__enter__ = lambda self: self
    session.__exit__ = leave
    session.stop = stop_with_listeners
    session.getActiveSession = classmethod(get_active_session)
    session.sparkContext = property(spark_context)
    session.newSession = new_session
    frame.rdd = property(rdd)


def _threads_and_garbage() -> None:
    core: Any = importlib.import_module("pyspark.sql.connect.client.core")
    query: Any = importlib.import_module("pyspark.sql.connect.streaming.query")
    # The client switches garbage collection off while it waits for gRPC; here it waits for the query itself, perhaps
    # for days in awaitTermination.
    core.disable_gc = contextlib.nullcontext
    # The thread that hands events to listeners would keep a program from ending that left a listener behind.
    query.Thread = functools.partial(threading.Thread, daemon=True)
    query.StreamingQueryListenerBus.post_to_all = _post_to_all


def _post_to_all(self: Any, event: Any) -> None:
    """Hands an event to the listeners without holding the bus' lock.

    The client holds it, and `removeListener` waits under the same lock for this to end: an event in flight then blocks
    both for ever.
    """
    from pyspark.sql.streaming import listener as kinds

    method = {
        kinds.QueryStartedEvent: "onQueryStarted",
        kinds.QueryProgressEvent: "onQueryProgress",
        kinds.QueryIdleEvent: "onQueryIdle",
        kinds.QueryTerminatedEvent: "onQueryTerminated",
    }[type(event)]
    for one in list(self._listener_bus):
        try:
            getattr(one, method)(event)
        except Exception as problem:
            warnings.warn(f"Listener {one} threw an exception\n{problem}", stacklevel=2)


# ----------------------------------------------------------------------------------------------------- SparkContext

_INSTEAD = {
    "parallelize": "Use spark.createDataFrame(…).",
    "broadcast": "Use the value itself: functions run in this process and see it.",
    "accumulator": "Use observe(), or a variable in foreachBatch.",
    "textFile": "Use spark.read.text(…).",
    "wholeTextFiles": "Use spark.read.text(…, wholetext=True).",
    "range": "Use spark.range(…).",
    "emptyRDD": "Use spark.createDataFrame([], schema).",
    "union": "Use DataFrame.union.",
    "addFile": "Read the file where it is: functions run in this process.",
    "_jvm": "There is no JVM.",
    "_jsc": "There is no JVM.",
    "_gateway": "There is no JVM.",
}


def _refused(what: str, hint: str) -> PySparkAttributeError:
    return PySparkAttributeError(f"{what} is not supported by Runnel. {hint}".strip())


class SparkConfView:
    """The settings that a session was started with, as `sparkContext.getConf()` gives them."""

    def __init__(self, values: dict[str, str]) -> None:
        self._values = values

    def get(self, key: str, defaultValue: str | None = None) -> str | None:
        return self._values.get(key, defaultValue)

    def getAll(self) -> list[tuple[str, str]]:
        return sorted(self._values.items())

    def contains(self, key: str) -> bool:
        return key in self._values

    def toDebugString(self) -> str:
        return "\n".join(f"{k}={v}" for k, v in self.getAll())


class SparkContextShim:
    """What programs ask of `spark.sparkContext`; anything else is refused with what to use instead."""

    def __init__(self, spark: Any) -> None:
        self._spark = spark
        self._local = threading.local()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise _refused(f"sparkContext.{name}", _INSTEAD.get(name, "RDDs need Spark's JVM; use DataFrames."))

    def __repr__(self) -> str:
        return f"<SparkContext master={self.master} appName={self.appName}>"

    @property
    def _session(self) -> Any:
        return _service(self._spark).session

    @property
    def defaultParallelism(self) -> int:
        return int(self._session.default_parallelism)

    @property
    def defaultMinPartitions(self) -> int:
        return min(self.defaultParallelism, 2)

    @property
    def appName(self) -> str:
        return setting(self._session.conf, "spark.app.name") or "runnel"

    @property
    def applicationId(self) -> str:
        return str(self._session.application.id)

    @property
    def master(self) -> str:
        return str(self._session.application.master)

    @property
    def startTime(self) -> int:
        """Milliseconds since the epoch."""
        return int(self._session.application.start_time_ms)

    @property
    def version(self) -> str:
        return SPARK_VERSION

    @property
    def uiWebUrl(self) -> str | None:
        return None

    def sparkUser(self) -> str:
        try:
            return getpass.getuser()
        except (OSError, KeyError, ImportError):
            return "unknown"

    def getConf(self) -> SparkConfView:
        values = dict(self._session.conf.all())
        values.setdefault("spark.app.name", self.appName)
        values.setdefault("spark.app.id", self.applicationId)
        values.setdefault("spark.master", self.master)
        return SparkConfView(values)

    def setLogLevel(self, logLevel: str) -> None:
        """Sets the level of Runnel's own loggers; Spark's level names."""
        levels = {
            "ALL": logging.DEBUG,
            "TRACE": logging.DEBUG,
            "DEBUG": logging.DEBUG,
            "INFO": logging.INFO,
            "WARN": logging.WARNING,
            "ERROR": logging.ERROR,
            "FATAL": logging.CRITICAL,
            "OFF": logging.CRITICAL + 1,
        }
        name = logLevel.upper()
        if name not in levels:
            raise ValueError(f"log level {logLevel!r} is not one of {', '.join(levels)}")
        logging.getLogger("runnel").setLevel(levels[name])

    def setLocalProperty(self, key: str, value: str | None) -> None:
        """Kept for the thread; there are no jobs to be told."""
        self._local.__dict__[key] = value

    def getLocalProperty(self, key: str) -> str | None:
        return self._local.__dict__.get(key)

    def setJobGroup(self, groupId: str, description: str, interruptOnCancel: bool = False) -> None:
        """Accepted; there are no jobs to be grouped."""

    def setJobDescription(self, value: str | None) -> None:
        """Accepted; there are no jobs to be described."""

    def setCheckpointDir(self, dirName: str) -> None:
        """Accepted: `df.checkpoint()` keeps its rows in memory."""
        say_once("checkpointDir", "setCheckpointDir(%s) has no effect: checkpoint() keeps its rows in memory", dirName)

    def addPyFile(self, path: str) -> None:
        """Makes a module, or an archive of modules, importable."""
        place = str(Path(path).parent.resolve()) if path.endswith(".py") else str(Path(path).resolve())
        if place not in sys.path:
            sys.path.insert(1, place)

    def stop(self) -> None:
        self._spark.stop()


class RddShim:
    """`df.rdd`: only the number of partitions is answered."""

    def __init__(self, spark: Any) -> None:
        self._spark = spark

    def getNumPartitions(self) -> int:
        return SparkContextShim(self._spark).defaultParallelism

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise PySparkNotImplementedError(
            f"df.rdd.{name} is not supported by Runnel. RDDs need Spark's JVM: use DataFrame operations, mapInPandas, or "
            "collect() and toPandas()."
        )
