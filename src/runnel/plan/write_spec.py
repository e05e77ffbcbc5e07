"""What a streaming query is asked to be: the writer's settings, free of any wire format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from runnel.plan.relations import Relation


@dataclass(frozen=True, slots=True)
class Trigger:
    """When batches run.

    kind: default, processing_time, once, available_now, continuous, real_time. `interval` is the user's interval text,
    for the kinds that have one.
    """

    kind: str = "default"
    interval: str | None = None


ForeachBatch = Callable[[Any, Relation, int], None]
"""(cloned session, the batch as a relation, batch id) -> None; made by the front, called once a batch."""


@dataclass(frozen=True, slots=True)
class StreamWriteSpec:
    """`frame.writeStream…start()`. `plan` is unresolved; option keys keep their case."""

    plan: Relation
    format: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    output_mode: str = "append"
    query_name: str | None = None
    trigger: Trigger = field(default_factory=Trigger)
    path: str | None = None
    table_name: str | None = None
    partition_by: tuple[str, ...] = ()
    cluster_by: tuple[str, ...] = ()
    foreach_batch: ForeachBatch | None = None
    foreach_writer: Any = None
    """A function of a Row, or an object with open, process and close, as PySpark's `foreach` takes it."""
    job_tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WriteSpec:
    """`frame.write…save()`. `plan` is unresolved. `mode`: append, overwrite, error, ignore."""

    plan: Relation
    format: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    mode: str = "error"
    path: str | None = None
    table_name: str | None = None
    partition_by: tuple[str, ...] = ()
    sort_by: tuple[str, ...] = ()
    bucket_by: tuple[int, tuple[str, ...]] | None = None
