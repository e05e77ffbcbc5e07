"""The Source contract.

The engine calls a source from its query's thread only, in this order: `initial_offset` once on a new checkpoint;
then, each trigger, `latest_offset`, `batch`, and `commit` of an older end when a later batch has been logged. After a
restart `batch` is called first, with offsets of the log. `stop` comes last and may come at any time from another thread.

Offsets are JSON texts, in Spark's form for the source, and travel as `str`; only the source understands them. Equal
position means equal text.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
from pyspark.sql.types import StructType

from runnel.clock import Clock
from runnel.plan.relations import FileScan

Offset = str


@dataclass(frozen=True, slots=True)
class SourceContext:
    """What a source is given when its query starts."""

    metadata_path: Path
    """`<checkpoint>/sources/<i>`; not created for the source."""
    clock: Clock
    session_time_zone: str
    conf: dict[str, str]
    default_parallelism: int
    wake: threading.Event
    """Set by the source when new data may be there. The engine clears it before it asks for the latest offset."""


class Source(Protocol):
    """Where rows come from."""

    @property
    def schema(self) -> StructType: ...

    @property
    def description(self) -> str:
        """As Spark's progress shows it, e.g. `FileStreamSource[file:/data/in]`."""
        ...

    @property
    def announces(self) -> bool:
        """Whether the source sets `wake` by itself. If not, the engine looks every polling delay."""
        ...

    @property
    def supports_available_now(self) -> bool: ...

    def initial_offset(self) -> Offset | None:
        """Where a new query starts; None if there is no position before data are there (files)."""
        ...

    def latest_offset(self, start: Offset | None, *, limited: bool) -> Offset | None:
        """End of the next batch from `start`, within the source's own rate limits when `limited`; None or `start` itself
        when there is nothing new. Does not block on data."""
        ...

    def prepare_for_available_now(self) -> None:
        """Freezes the end: from now on `latest_offset` never passes what is there at this moment."""
        ...

    def batch(self, start: Offset | None, end: Offset) -> pa.Table | FileScan:
        """The rows of (start, end], in the schema's order: a table in physical Arrow types, or files to scan (whose
        `attributes` the engine replaces). Called again with the same arguments after a crash, it gives the same rows, if
        the source is replayable."""
        ...

    def commit(self, end: Offset) -> None:
        """Everything up to `end` is processed for good: the source may forget or clean it."""
        ...

    def reported_latest(self) -> Offset | None:
        """What progress shows as `latestOffset`; None where Spark shows null."""
        ...

    def metrics(self) -> dict[str, Any]:
        """Extra progress metrics of the source; usually empty."""
        ...

    def stop(self) -> None: ...
