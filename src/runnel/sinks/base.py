"""The Sink contract.

The engine calls `add_batch` once a batch, from the query's thread; after a crash the last batch can come again, with
the same id and, for replayable sources, the same rows. A sink that takes part in exactly-once ignores an id it holds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
from pyspark.sql.types import StructType


class BatchRows:
    """A batch's result, made when first asked for and then kept.

    `schema` is the Spark schema; `table()` has the columns by position in physical Arrow types, named as the schema.
    """

    def __init__(self, schema: StructType, make: Callable[[], pa.Table]) -> None:
        self.schema = schema
        self._make = make
        self._table: pa.Table | None = None

    def table(self) -> pa.Table:
        if self._table is None:
            self._table = self._make()
        return self._table

    @property
    def num_rows(self) -> int:
        return int(self.table().num_rows)


@dataclass(frozen=True, slots=True)
class SinkContext:
    """What a sink is given when its query starts."""

    query_id: str
    run_id: str
    query_name: str | None
    output_mode: str
    """append, update or complete"""
    schema: StructType
    options: dict[str, str]
    path: str | None
    partition_by: tuple[str, ...]
    checkpoint: Path
    session_time_zone: str
    conf: dict[str, str]
    session: Any
    """The session of the query (`runnel.session.Session`), for sinks that publish a table or call the user."""


class Sink(Protocol):
    """Where rows go. A sink's docstring says its delivery guarantee in one sentence."""

    @property
    def description(self) -> str:
        """As Spark's progress shows it."""
        ...

    def add_batch(self, batch_id: int, rows: BatchRows) -> int | None:
        """Writes the batch; returns the number of rows, or None where Spark's progress says -1 (V1 sinks).

        When it returns, the rows are as durable as the sink's guarantee says."""
        ...

    def stop(self) -> None: ...
