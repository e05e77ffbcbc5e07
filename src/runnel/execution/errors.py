"""DuckDB's exceptions in Spark's terms."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import duckdb

from runnel.errors import RunnelError, error, internal_error

_MARK = "RUNNEL:"

_DUCKDB_TYPES = {
    "INT8": "TINYINT",
    "INT16": "SMALLINT",
    "INT32": "INT",
    "INT64": "BIGINT",
    "INT128": "DECIMAL(38,0)",
    "INTEGER": "INT",
    "VARCHAR": "STRING",
    "BLOB": "BINARY",
    "BOOL": "BOOLEAN",
}


@dataclass(slots=True)
class RaisedInPython:
    """Where Python functions that DuckDB calls leave their exception: DuckDB itself keeps only its text."""

    pending: list[RunnelError] = field(default_factory=list)

    def take(self) -> RunnelError | None:
        """The first error since the last call; forgets all."""
        first = self.pending[0] if self.pending else None
        self.pending.clear()
        return first


@contextmanager
def translated(raised: RaisedInPython | None = None) -> Iterator[None]:
    """Runs DuckDB and raises its failures as RunnelError, with DuckDB's exception as the cause."""
    try:
        yield
    except duckdb.Error as failure:
        inner = raised.take() if raised is not None else None
        raise (inner or translate(failure)) from failure


def translate(failure: duckdb.Error) -> RunnelError:
    """The RunnelError for an exception of DuckDB; INTERNAL_ERROR, quoting it, if its text says nothing known."""
    text = str(failure)
    if _MARK in text:
        return _own(text)
    for kind, pattern, make in _PATTERNS:
        if isinstance(failure, kind):
            found = re.search(pattern, text)
            if found:
                return make(found)
    if isinstance(failure, duckdb.OutOfMemoryException):
        return RunnelError("UNABLE_TO_ACQUIRE_MEMORY", requestedBytes="?", receivedBytes="0").caused_by(failure)
    if isinstance(failure, duckdb.InterruptException):
        return RunnelError("OPERATION_CANCELED", operationHandle="")
    return internal_error(f"DuckDB: {text}")


def _own(text: str) -> RunnelError:
    body = text[text.index(_MARK) + len(_MARK) :]
    try:
        parsed, _ = json.JSONDecoder().raw_decode(body)
        condition, parameters = parsed["condition"], parsed["parameters"]
    except (ValueError, KeyError, TypeError):
        return internal_error(f"DuckDB: {text}")
    return error(condition, {name: "NULL" if value is None else value for name, value in parameters.items()})


def _overflow(found: re.Match[str]) -> RunnelError:
    kind = found.groupdict().get("type") or "INT64"
    names = {"INT8": "byte", "INT16": "short", "INT32": "integer", "INT64": "long"}
    return error(
        "ARITHMETIC_OVERFLOW",
        message=f"{names.get(kind, kind)} overflow",
        alternative="",
        config='"spark.sql.ansi.enabled"',
    )


def _type_name(name: str) -> str:
    return f'"{_DUCKDB_TYPES.get(name.upper(), name.upper())}"'


def _out_of_range(found: re.Match[str]) -> RunnelError:
    return error(
        "CAST_OVERFLOW",
        value=found["value"].strip("'"),
        sourceType=_type_name(found["source"]),
        targetType=_type_name(found["target"]),
        ansiConfig='"spark.sql.ansi.enabled"',
    )


def _bad_text(found: re.Match[str]) -> RunnelError:
    return error(
        "CAST_INVALID_INPUT",
        expression=f"'{found['value']}'",
        sourceType='"STRING"',
        targetType=_type_name(found["target"]),
        ansiConfig='"spark.sql.ansi.enabled"',
    )


def _bad_decimal(found: re.Match[str]) -> RunnelError:
    return error(
        "NUMERIC_VALUE_OUT_OF_RANGE.WITH_SUGGESTION",
        value=found["value"].strip('"'),
        precision=found["precision"],
        scale=found["scale"],
        config='"spark.sql.ansi.enabled"',
    )


def _zero_divide(_: re.Match[str]) -> RunnelError:
    return error("DIVIDE_BY_ZERO", config='"spark.sql.ansi.enabled"')


def _too_many_rows(_: re.Match[str]) -> RunnelError:
    return error("SCALAR_SUBQUERY_TOO_MANY_ROWS")


_PATTERNS: tuple[tuple[type[duckdb.Error], str, Callable[[re.Match[str]], RunnelError]], ...] = (
    (duckdb.OutOfRangeException, r"Overflow in \w+ of (?:type )?(?P<type>INT\d+)", _overflow),
    (duckdb.OutOfRangeException, r"Overflow in (?P<what>\w+) of (?P<type>[\w(), ]+)", _overflow),
    (duckdb.OutOfRangeException, r"[Oo]verflow", _overflow),
    (duckdb.OutOfRangeException, r"[Dd]ivision by zero", _zero_divide),
    (
        duckdb.ConversionException,
        r"Type (?P<source>\w+) with value (?P<value>.+?) can't be cast .* destination type (?P<target>\w+)",
        _out_of_range,
    ),
    (
        duckdb.ConversionException,
        r'Could not cast value "?(?P<value>[^"]+?)"? to DECIMAL\((?P<precision>\d+),\s*(?P<scale>\d+)\)',
        _bad_decimal,
    ),
    (
        duckdb.ConversionException,
        r"Could not convert string '(?P<value>.*?)' to (?P<target>\w+)",
        _bad_text,
    ),
    (duckdb.ConversionException, r"[Oo]verflow|out of range", _overflow),
    (duckdb.InvalidInputException, r"More than one row returned by a subquery", _too_many_rows),
    (duckdb.InvalidInputException, r"[Oo]verflow", _overflow),
)
