"""The one error tree, in Spark's terms. What each condition means is a row in `runnel.error_conditions`.

```
RunnelError                    org.apache.spark.SparkException
├─ AnalysisError               AnalysisException              wrong before anything runs
│  └─ ParseError               ParseException                 SQL text that is not SQL
├─ IllegalArgumentError        java.lang.IllegalArgumentException
│  └─ NumberFormatError        java.lang.NumberFormatException
├─ UnsupportedOperationError   java.lang.UnsupportedOperationException
├─ ArithmeticError_            java.lang.ArithmeticException
├─ DateTimeError               java.time.DateTimeException
├─ ArrayIndexError             java.lang.ArrayIndexOutOfBoundsException
├─ NoSuchElementError          SparkNoSuchElementException
├─ ExecutionError              SparkRuntimeException          bad data met at run time
├─ QueryExecutionError         sql.execution.QueryExecutionException
├─ UpgradeError                SparkUpgradeException
├─ PythonWorkerError           api.python.PythonException     the user's Python code raised
├─ InvalidPlanError            sql.connect.common.InvalidPlanInput
├─ StreamingQueryError         StreamingQueryException        a query's thread ended; wraps the cause
└─ RunnelStateError            org.apache.spark.SparkException   checkpoint or state unusable
```

An error is raised with a condition and that condition's parameters, as keywords or as one mapping:

>>> str(AnalysisError("PATH_NOT_FOUND", path="/in"))
'[PATH_NOT_FOUND] There is nothing at /in. Check the path. SQLSTATE: 42K03'

Raising never fails by itself: an unknown condition or a missing parameter still gives a readable message, and is found
by a test that reads every raise in the source tree. Nothing here imports PySpark; the front turns an error into the
client's class by `spark_classes`. The client's own classes (PySparkValueError, PySparkTypeError, …) are raised inside
the client only.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from runnel.error_conditions import CONDITIONS


@dataclass(frozen=True, slots=True)
class QueryContext:
    """The piece of the user's text that an error is about. Offsets count characters from 0, ``stop`` is inclusive.

    ``line`` is from 1 and ``column`` from 0, as Spark counts them.
    """

    fragment: str
    start: int
    stop: int
    line: int = 1
    column: int = 0

    def __str__(self) -> str:
        return f"== SQL (line {self.line}, position {self.column + 1}) ==\n{self.fragment}\n{'^' * len(self.fragment)}"


class RunnelError(Exception):
    """An error with one of Spark's conditions.

    Attributes: ``condition`` (``A`` or ``A.B``), ``sqlstate`` (None for legacy conditions and unknown ones),
    ``message_parameters`` (names as Spark spells them), ``message`` (whole, as ``str()`` gives it), ``context``.
    """

    spark_class: ClassVar[str] = "org.apache.spark.SparkException"

    def __init__(
        self,
        condition: str,
        parameters: Mapping[str, object] | None = None,
        /,
        *,
        context: QueryContext | None = None,
        **more: object,
    ) -> None:
        self.condition = condition
        given = {**(parameters or {}), **more}
        self.message_parameters: dict[str, str] = {name: str(value) for name, value in given.items()}
        self.context = context
        row = CONDITIONS.get(condition)
        self.sqlstate: str | None = row.sqlstate if row else None
        self.message = render(condition, self.message_parameters, context)
        super().__init__(self.message)

    @property
    def spark_classes(self) -> tuple[str, ...]:
        """JVM class names from the most special to the most general, as Spark Connect sends them."""
        names = (vars(kind).get("spark_class") for kind in type(self).__mro__)
        return tuple(dict.fromkeys(name for name in names if name))

    def __reduce__(self) -> tuple[object, ...]:
        return _restore, (type(self), self.condition, self.message_parameters, self.context)

    def caused_by(self, cause: BaseException) -> Self:
        """This error, with its cause set: for callers that hand errors on instead of raising them."""
        self.__cause__ = cause
        return self


def _restore(
    kind: type[RunnelError], condition: str, parameters: Mapping[str, str], context: QueryContext | None
) -> RunnelError:
    return kind(condition, parameters, context=context)


class AnalysisError(RunnelError):
    spark_class = "org.apache.spark.sql.AnalysisException"


class ParseError(AnalysisError):
    spark_class = "org.apache.spark.sql.catalyst.parser.ParseException"


class IllegalArgumentError(RunnelError):
    spark_class = "java.lang.IllegalArgumentException"


class NumberFormatError(IllegalArgumentError):
    spark_class = "java.lang.NumberFormatException"


class UnsupportedOperationError(RunnelError):
    spark_class = "java.lang.UnsupportedOperationException"


class ArithmeticError_(RunnelError):
    spark_class = "java.lang.ArithmeticException"


class DateTimeError(RunnelError):
    spark_class = "java.time.DateTimeException"


class ArrayIndexError(RunnelError):
    spark_class = "java.lang.ArrayIndexOutOfBoundsException"


class NoSuchElementError(RunnelError):
    spark_class = "org.apache.spark.SparkNoSuchElementException"


class ExecutionError(RunnelError):
    spark_class = "org.apache.spark.SparkRuntimeException"


class QueryExecutionError(RunnelError):
    spark_class = "org.apache.spark.sql.execution.QueryExecutionException"


class UpgradeError(RunnelError):
    spark_class = "org.apache.spark.SparkUpgradeException"


class PythonWorkerError(RunnelError):
    """The user's Python code raised. Condition PYTHON_EXCEPTION, parameters ``msg`` and ``traceback``."""

    spark_class = "org.apache.spark.api.python.PythonException"


_NOT_THE_USERS = (f"{__name__.partition('.')[0]}.", "pyspark.")


def user_error(problem: BaseException) -> PythonWorkerError:
    """What the user's Python code raised, with its traceback from the user's own frames on."""
    frames = problem.__traceback__
    while frames is not None and str(frames.tb_frame.f_globals.get("__name__", "")).startswith(_NOT_THE_USERS):
        frames = frames.tb_next
    text = "".join(traceback.format_exception(type(problem), problem, frames))
    made = PythonWorkerError("PYTHON_EXCEPTION", {"msg": f"{type(problem).__name__}: {problem}", "traceback": text})
    made.__cause__ = problem
    return made


class InvalidPlanError(RunnelError):
    spark_class = "org.apache.spark.sql.connect.common.InvalidPlanInput"


class StreamingQueryError(RunnelError):
    """A query's thread ended with an error, which is ``__cause__``. Condition STREAM_FAILED."""

    spark_class = "org.apache.spark.sql.streaming.StreamingQueryException"

    @classmethod
    def wrap(cls, cause: BaseException, *, query_id: str, run_id: str) -> StreamingQueryError:
        """The error that ``query.exception()`` reports for what ended the query."""
        return cls("STREAM_FAILED", id=query_id, runId=run_id, message=describe(cause)).caused_by(cause)


class RunnelStateError(RunnelError):
    """A checkpoint, a log in it, or a query's state cannot be used."""


KINDS: Mapping[str, type[RunnelError]] = {
    "analysis": AnalysisError,
    "argument": IllegalArgumentError,
    "arithmetic": ArithmeticError_,
    "datetime": DateTimeError,
    "execution": ExecutionError,
    "index": ArrayIndexError,
    "number": NumberFormatError,
    "parse": ParseError,
    "plan": InvalidPlanError,
    "python": PythonWorkerError,
    "query": QueryExecutionError,
    "spark": RunnelError,
    "state": RunnelStateError,
    "stream": StreamingQueryError,
    "unsupported": UnsupportedOperationError,
    "upgrade": UpgradeError,
    "absent": NoSuchElementError,
}
"""The kinds that `runnel.error_conditions` names, to classes."""


class _Parameters(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return f"<{name}>"


def render(condition: str, parameters: Mapping[str, str], context: QueryContext | None = None) -> str:
    """The message: ``[CONDITION] text SQLSTATE: xxxxx``, as Spark lays it out (legacy conditions: the text alone)."""
    row = CONDITIONS.get(condition)
    if row is None:
        text = ", ".join(f"{name}={value}" for name, value in parameters.items())
        sqlstate = None
    else:
        text, sqlstate = row.template.format_map(_Parameters(parameters)), row.sqlstate
    prefix = "" if condition.startswith("_LEGACY_") else f"[{condition}] "
    suffix = f" SQLSTATE: {sqlstate}" if sqlstate else ""
    where = f"\n{context}" if context else ""
    return f"{prefix}{text}{suffix}{where}"


_TIMES = frozenset({'"DATE"', '"TIME(6)"', '"TIMESTAMP"', '"TIMESTAMP_NTZ"'})


def error(
    condition: str,
    parameters: Mapping[str, object] | None = None,
    /,
    *,
    context: QueryContext | None = None,
    **named: object,
) -> RunnelError:
    """An error of the class that Spark usually raises for the condition."""
    row = CONDITIONS.get(condition)
    kind = KINDS[row.kind] if row else RunnelError
    if condition == "CAST_INVALID_INPUT" and {**(parameters or {}), **named}.get("targetType") in _TIMES:
        kind = DateTimeError
    return kind(condition, parameters, context=context, **named)


def unsupported(what: str, hint: str = "") -> UnsupportedOperationError:
    """The refusal of something that Spark can do and Runnel cannot; to be raised at analysis where that is possible.

    ``what`` names the construct as the user wrote it, and begins the sentence ("… is not supported by Runnel.");
    ``hint`` is a whole sentence that says what to do instead. Condition UNSUPPORTED_FEATURE.NOT_IN_RUNNEL, which no
    Spark has.
    """
    return UnsupportedOperationError("UNSUPPORTED_FEATURE.NOT_IN_RUNNEL", feature=what, hint=f" {hint}" if hint else "")


def internal_error(message: str) -> RunnelError:
    """What should have been impossible. Condition INTERNAL_ERROR."""
    return RunnelError("INTERNAL_ERROR", message=message)


def describe(problem: BaseException) -> str:
    """One error as text for a message: our own as they are, others with their type's name."""
    if isinstance(problem, RunnelError):
        return problem.message
    text = str(problem)
    return f"{type(problem).__name__}: {text}" if text else type(problem).__name__
