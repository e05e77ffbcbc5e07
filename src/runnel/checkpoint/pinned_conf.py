"""The configuration that a query's first run fixes for its whole life, carried by every ``offsets/N``.

On a restart the recorded values win over the session's. A key that is absent, because an older Spark or another
writer made the checkpoint, gets the value that Spark had before the key existed: for the state formats, the legacy one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PinnedConf:
    """A key, Spark 4.2's default, and the value assumed where a log lacks it (None: the session's value)."""

    key: str
    default: str
    when_absent: str | None


# In the order in which Spark 4.2 writes them
PINNED: tuple[PinnedConf, ...] = (
    PinnedConf(
        "spark.sql.streaming.stateStore.providerClass",
        "org.apache.spark.sql.execution.streaming.state.HDFSBackedStateStoreProvider",
        None,
    ),
    PinnedConf("spark.sql.streaming.stateStore.rocksdb.mergeOperatorVersion", "2", None),
    PinnedConf("spark.sql.streaming.stateStore.rocksdb.formatVersion", "5", None),
    PinnedConf("spark.sql.streaming.queryEvolution.enableSourceEvolution", "false", None),
    PinnedConf("spark.sql.streaming.stateStore.encodingFormat", "unsaferow", "unsaferow"),
    PinnedConf("spark.sql.streaming.statefulOperator.useStrictDistribution", "true", "false"),
    PinnedConf("spark.sql.streaming.flatMapGroupsWithState.stateFormatVersion", "2", "1"),
    PinnedConf("spark.sql.streaming.multipleWatermarkPolicy", "min", "min"),
    PinnedConf("spark.sql.streaming.stateStore.rowChecksum.enabled", "false", "false"),
    PinnedConf("spark.sql.streaming.aggregation.stateFormatVersion", "2", "1"),
    PinnedConf("spark.sql.function.protobufExtensions.enabled", "false", None),
    PinnedConf("spark.sql.shuffle.partitions", "200", None),
    PinnedConf("spark.sql.streaming.join.stateFormatVersion", "2", "1"),
    PinnedConf("spark.sql.streaming.stateStore.compression.codec", "lz4", "lz4"),
    PinnedConf("spark.sql.optimizer.pruneFiltersCanPruneStreamingSubplan", "false", "true"),
)


def pin(session: Mapping[str, str]) -> dict[str, str]:
    """What a new query writes: every pinned key, at the session's value or Spark's default."""
    return {entry.key: session.get(entry.key, entry.default) for entry in PINNED}


def restore(recorded: Mapping[str, str], session: Mapping[str, str]) -> dict[str, str]:
    """What a restarted query runs with, and goes on writing: recorded values first, then those assumed, then the
    session's, then the defaults. Keys that Spark recorded and that are not known here are kept.
    """
    restored = dict(recorded)
    for entry in PINNED:
        if entry.key not in restored:
            fallback = session.get(entry.key, entry.default)
            restored[entry.key] = fallback if entry.when_absent is None else entry.when_absent
    return restored
