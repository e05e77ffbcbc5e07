"""The list of sinks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from runnel.errors import AnalysisError
from runnel.plan.write_spec import ForeachBatch
from runnel.sinks.base import Sink, SinkContext
from runnel.sinks.console import ConsoleSink
from runnel.sinks.files import FileSink
from runnel.sinks.foreach import ForeachBatchSink, ForeachSink
from runnel.sinks.memory import MemorySink
from runnel.sinks.noop import NoopSink


@dataclass(frozen=True, slots=True)
class SinkTraits:
    """What is known of a sink before it is made."""

    name: str
    guarantee: str
    may_use_temporary_checkpoint: bool = False


SINKS: dict[str, SinkTraits] = {
    traits.name: traits
    for traits in (
        SinkTraits("console", "at least once", True),
        SinkTraits("memory", "exactly once within a run", True),
        SinkTraits("noop", "nothing to deliver", True),
        SinkTraits("foreach", "at least once", True),
        SinkTraits("foreachbatch", "at least once", True),
        SinkTraits("parquet", "exactly once"),
        SinkTraits("json", "exactly once"),
        SinkTraits("csv", "exactly once"),
        SinkTraits("text", "exactly once"),
    )
}


def sink_traits(name: str) -> SinkTraits:
    """Raises AnalysisError DATA_SOURCE_NOT_FOUND for a format that is no sink."""
    found = SINKS.get(name)
    if found is None:
        raise AnalysisError("DATA_SOURCE_NOT_FOUND", {"provider": name})
    return found


def create_sink(
    name: str, context: SinkContext, *, foreach_batch: ForeachBatch | None = None, foreach_writer: Any = None
) -> Sink:
    """The sink of a format, for one run of a query. Raises AnalysisError for what the sink refuses."""
    match name:
        case "console":
            return ConsoleSink(context)
        case "memory":
            return MemorySink(context)
        case "noop":
            return NoopSink()
        case "foreachbatch":
            assert foreach_batch is not None
            return ForeachBatchSink(context, foreach_batch)
        case "foreach":
            return ForeachSink(context, foreach_writer)
        case _:
            sink_traits(name)
            return FileSink(name, context)
