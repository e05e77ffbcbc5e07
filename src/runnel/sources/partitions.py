"""Partition directories: `…/year=2024/month=01/file`, their names, values and types."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from pyspark.sql.types import (
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    IntegerType,
    LongType,
    StringType,
    TimestampType,
)

from runnel.errors import AnalysisError
from runnel.files import path_to_uri

DEFAULT_PARTITION: Final = "__HIVE_DEFAULT_PARTITION__"
_INTEGER: Final = re.compile(r"[+-]?[0-9]+")
_NUMBER: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_ORDER: Final = (IntegerType, LongType, DecimalType, DoubleType)


@dataclass(frozen=True, slots=True)
class Placed:
    """A directory below a root: the base where its partitions begin, and the partitions as (name, value) pairs."""

    base: str
    partitions: tuple[tuple[str, str | None], ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.partitions)


def place(root: str, directories: Sequence[str]) -> Placed:
    """Where a file below `root` stands, by the names of the directories between."""
    first = len(directories)
    while first > 0 and _pair(directories[first - 1]) is not None:
        first -= 1
    pairs = tuple(pair for name in directories[first:] if (pair := _pair(name)) is not None)
    return Placed("/".join([root, *directories[:first]]), pairs)


def _pair(name: str) -> tuple[str, str | None] | None:
    key, equals, value = name.partition("=")
    if not equals or not key or not value:
        return None
    text = urllib.parse.unquote(value)
    return urllib.parse.unquote(key), None if text == DEFAULT_PARTITION else text


def partition_names(places: Iterable[Placed], root: str) -> tuple[str, ...]:
    """The partition columns of a listing; empty if there are none.

    Errors: AnalysisError if partitions begin at different directories, or directories name different columns.
    """
    distinct = dict.fromkeys(places)
    if not any(p.partitions for p in distinct):
        return ()
    apart = [p for p in distinct if p.partitions or p.base != root]
    bases = sorted({p.base for p in apart})
    if len(bases) > 1:
        raise AnalysisError(
            "CONFLICTING_DIRECTORY_STRUCTURES",
            {"discoveredBasePaths": "".join(f"\n\t{path_to_uri(b)}" for b in bases)},
        )
    names = {p.names for p in apart}
    if len(names) > 1:
        raise AnalysisError(
            "CONFLICTING_PARTITION_COLUMN_NAMES",
            {
                "distinctPartColLists": "".join(
                    f"\n\tPartition column name list: {', '.join(n)}" for n in sorted(names)
                ),
                "suspiciousPaths": "".join(f"\n\t{path_to_uri(p.base)}" for p in apart),
            },
        )
    return next(iter(names))


def infer_type(values: Iterable[str | None], *, enabled: bool = True) -> DataType:
    """The type that Spark gives a partition column with these values."""
    found: DataType | None = None
    for value in set(values):
        if value is None:
            continue
        this = _type_of(value) if enabled else StringType()
        if found is None or type(found) is type(this):
            found = this
        elif type(found) in _ORDER and type(this) in _ORDER:
            found = max(found, this, key=lambda t: _ORDER.index(type(t)))
        else:
            return StringType()
    return found or StringType()


def _type_of(value: str) -> DataType:
    if _INTEGER.fullmatch(value):
        number = int(value)
        if -(2**31) <= number < 2**31:
            return IntegerType()
        if -(2**63) <= number < 2**63:
            return LongType()
        return DecimalType(38, 0) if abs(number) < 10**38 else DoubleType()
    if _NUMBER.fullmatch(value):
        return DoubleType()
    for kind, parse in ((DateType(), date.fromisoformat), (TimestampType(), datetime.fromisoformat)):
        try:
            parse(value)
        except ValueError:
            continue
        if re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
            return kind
    return StringType()
