"""Every setting: name, default, one sentence; and a session's values of them.

Settings that are not listed are kept and given back, as Spark does, and have no effect. `docs/configuration.md` is
generated from this table.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass

from runnel.errors import AnalysisError, IllegalArgumentError, NoSuchElementError


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting. `honoured` False: accepted for Spark's sake, the sentence says why it has no effect here.

    A `static` setting is fixed when the session is made.
    """

    name: str
    default: str | None
    doc: str
    honoured: bool = True
    static: bool = False


_S = "spark.sql.streaming."

SETTINGS: tuple[Setting, ...] = (
    Setting("spark.app.name", "runnel", "The application's name.", static=True),
    Setting("spark.app.id", None, "The application's id, made at start.", static=True),
    Setting(
        "spark.master", "local[*]", "`local[n]` sets the number of engine threads, `local[*]` all cores.", static=True
    ),
    Setting("spark.sql.session.timeZone", None, "Time zone of the session; the machine's own unless set."),
    Setting("spark.sql.ansi.enabled", "true", "Errors instead of nulls for overflow, bad casts and division by zero."),
    Setting("spark.sql.caseSensitive", "false", "Whether column names are matched by case."),
    Setting(
        "spark.sql.shuffle.partitions",
        "200",
        "Recorded in the checkpoint as Spark does; costs nothing: 200 and 2 run alike.",
    ),
    Setting(
        "spark.default.parallelism",
        None,
        "What `defaultParallelism` answers; the number of threads unless set.",
        static=True,
    ),
    Setting("spark.sql.sources.default", "parquet", "The format when none is given."),
    Setting("spark.sql.warehouse.dir", "spark-warehouse", "Where managed tables live.", static=True),
    Setting("spark.sql.repl.eagerEval.enabled", "false", "Notebooks show a frame's rows when it is the cell's value."),
    Setting("spark.sql.repl.eagerEval.maxNumRows", "20", "How many rows eager evaluation shows."),
    Setting("spark.sql.repl.eagerEval.truncate", "20", "At what width eager evaluation cuts cells."),
    Setting(
        "spark.sql.sources.partitionOverwriteMode",
        "static",
        "Whether overwrite replaces all partitions or the written ones.",
    ),
    Setting(
        "spark.sql.sources.partitionColumnTypeInference.enabled",
        "true",
        "Whether partition columns get types by their values.",
    ),
    Setting("spark.sql.files.ignoreMissingFiles", "false", "Whether a listed file that vanished is skipped."),
    Setting("spark.sql.files.ignoreCorruptFiles", "false", "Whether a file that cannot be read is skipped."),
    Setting("spark.sql.columnNameOfCorruptRecord", "_corrupt_record", "The column that takes malformed records."),
    Setting(
        "spark.sql.json.enablePartialResults",
        "true",
        "A wrong JSON field is null by itself, the rest of the record stays.",
    ),
    Setting(
        "spark.sql.timestampType", "TIMESTAMP_LTZ", "What TIMESTAMP means in SQL text: TIMESTAMP_LTZ or TIMESTAMP_NTZ."
    ),
    Setting(
        "spark.sql.execution.arrow.maxRecordsPerBatch", "10000", "Rows in a batch handed to pandas and Arrow functions."
    ),
    Setting("spark.sql.execution.arrow.pyspark.enabled", "true", "Always so: rows travel as Arrow.", honoured=False),
    Setting(
        "spark.sql.execution.pythonUDF.arrow.enabled", "true", "Whether plain Python functions convert through Arrow."
    ),
    Setting(
        "spark.sql.pyspark.inferNestedDictAsStruct.enabled",
        "false",
        "createDataFrame: dicts inside rows become structs.",
    ),
    Setting("spark.sql.adaptive.enabled", "true", "Nothing to adapt on one machine.", honoured=False),
    Setting("spark.sql.autoBroadcastJoinThreshold", "10485760", "Joins need no hint on one machine.", honoured=False),
    Setting("spark.sql.maxPlanStringLength", "2147483632", "How long explain's text may be."),
    Setting("spark.sql.debug.maxToStringFields", "25", "How many fields explain shows.", honoured=False),
    Setting("spark.ui.enabled", "true", "Whether the web UI starts."),
    Setting("spark.ui.port", "4040", "The web UI's first port to try."),
    Setting(_S + "checkpointLocation", None, "Folder under which queries without a `checkpointLocation` keep theirs."),
    Setting(_S + "pollingDelay", "10ms", "How often a source that cannot announce data is asked for it."),
    Setting(_S + "noDataProgressEventInterval", "10s", "How often an idle query reports that it is idle."),
    Setting(_S + "minBatchesToRetain", "100", "How many batches a checkpoint can be taken back by."),
    Setting(
        _S + "maxBatchesToRetainInMemory",
        "2",
        "Spark keeps old state versions in memory; Runnel keeps one.",
        honoured=False,
    ),
    Setting(_S + "numRecentProgressUpdates", "100", "How many progress updates a query remembers."),
    Setting(_S + "stopTimeout", "0", "How long stop() waits for the query, in ms; 0 is for ever."),
    Setting(_S + "noDataMicroBatches.enabled", "true", "Whether a moved watermark runs a batch without data."),
    Setting(_S + "stopActiveRunOnRestart", "true", "Whether a second start on a checkpoint stops the first run."),
    Setting(_S + "asyncLogPurge.enabled", "true", "Old log files are purged off the batch's path."),
    Setting(
        _S + "forceDeleteTempCheckpointLocation", "false", "Whether temporary checkpoints of failed queries go too."
    ),
    Setting(
        _S + "verifyCheckpointDirectoryEmptyOnStart", "true", "Whether stray state in a new checkpoint is an error."
    ),
    Setting(
        _S + "checkpoint.verifyMetadataExists.enabled", "true", "Whether logs without a metadata file are an error."
    ),
    Setting(_S + "offsetLog.formatVersion", "1", "Format of new offset logs: 1 or 2."),
    Setting(_S + "multipleWatermarkPolicy", "min", "How several watermarks become one: min or max."),
    Setting(
        _S + "statefulOperator.allowMultiple", "true", "Whether each stateful operator has a watermark of its own."
    ),
    Setting(_S + "statefulOperator.checkCorrectness.enabled", "true", "Whether chains that can lose rows are refused."),
    Setting(_S + "unsupportedOperationCheck", "true", "Whether plans are checked for what streaming forbids."),
    Setting(_S + "schemaInference", "false", "Whether streaming file sources may infer their schema."),
    Setting(_S + "aggregation.stateFormatVersion", "2", "Recorded in the checkpoint for Spark.", honoured=False),
    Setting(
        _S + "flatMapGroupsWithState.stateFormatVersion", "2", "Recorded in the checkpoint for Spark.", honoured=False
    ),
    Setting(_S + "join.stateFormatVersion", "2", "Recorded in the checkpoint for Spark.", honoured=False),
    Setting(_S + "sessionWindow.stateFormatVersion", "1", "Recorded in the checkpoint for Spark.", honoured=False),
    Setting(
        _S + "stateStore.providerClass",
        "org.apache.spark.sql.execution.streaming.state.HDFSBackedStateStoreProvider",
        "Recorded in the checkpoint for Spark; Runnel's own keyed store holds the state.",
        honoured=False,
    ),
    Setting(_S + "stateStore.compression.codec", "lz4", "Recorded in the checkpoint for Spark.", honoured=False),
    Setting(_S + "stateStore.rocksdb.formatVersion", "5", "Recorded in the checkpoint for Spark.", honoured=False),
    Setting(
        _S + "stateStore.rocksdb.mergeOperatorVersion", "2", "Recorded in the checkpoint for Spark.", honoured=False
    ),
    Setting(_S + "stateStore.encodingFormat", "unsaferow", "Recorded in the checkpoint for Spark.", honoured=False),
    Setting(_S + "stateStore.rowChecksum.enabled", "false", "Recorded in the checkpoint for Spark.", honoured=False),
    Setting(_S + "stateStore.minDeltasForSnapshot", "10", "How many state deltas are merged into a snapshot."),
    Setting(_S + "stateStore.stateSchemaCheck", "true", "Whether a changed state schema is an error at restart."),
    Setting(
        _S + "statefulOperator.useStrictDistribution", "true", "Recorded in the checkpoint for Spark.", honoured=False
    ),
    Setting(_S + "queryEvolution.enableSourceEvolution", "false", "Whether sources may be named.", honoured=False),
    Setting(_S + "fileSource.log.compactInterval", "10", "Every how many entries the file source's log is compacted."),
    Setting(_S + "fileSource.log.cleanupDelay", "10min", "How long replaced log files stay."),
    Setting(_S + "fileSource.log.deletion", "true", "Whether replaced log files are deleted."),
    Setting(_S + "fileSource.cleaner.numThreads", "1", "Whether (0) or not cleaning runs in the batch itself."),
    Setting(_S + "fileSource.schema.forceNullable", "true", "Whether streamed files' columns are all nullable."),
    Setting(_S + "fileSink.log.compactInterval", "10", "Every how many batches the file sink's log is compacted."),
    Setting(_S + "fileSink.log.cleanupDelay", "10min", "How long replaced log files stay."),
    Setting(_S + "fileSink.log.deletion", "true", "Whether replaced log files are deleted."),
    Setting(_S + "fileStreamSink.ignoreMetadata", "false", "Whether readers of a sink's folder ignore its log."),
    Setting(_S + "realTimeMode.minBatchDuration", "5s", "The shortest real-time batch that is accepted."),
    Setting(_S + "metricsEnabled", "false", "Whether queries publish gauges.", honoured=False),
    Setting(_S + "ui.enabled", "true", "Whether the web UI shows streaming queries."),
    Setting(_S + "ui.retainedQueries", "100", "How many ended queries the web UI keeps."),
    Setting(_S + "ui.retainedProgressUpdates", "100", "How many points its charts keep."),
    Setting(
        "spark.sql.optimizer.pruneFiltersCanPruneStreamingSubplan",
        "false",
        "Recorded in the checkpoint for Spark.",
        honoured=False,
    ),
    Setting(
        "spark.sql.function.protobufExtensions.enabled",
        "false",
        "Recorded in the checkpoint for Spark.",
        honoured=False,
    ),
)

BY_NAME: dict[str, Setting] = {s.name: s for s in SETTINGS}

_JVM_ONLY = re.compile(
    r"spark\.(jars|driver|executor|yarn|kubernetes|mesos|hadoop|serializer|kryo|memory|network|rpc|cores|task|"
    r"dynamicAllocation|shuffle|eventLog|history|submit|files|archives|pyspark|python|sql\.extensions|sql\.catalog|"
    r"sql\.hive|sql\.catalogImplementation|ssl|storage|broadcast|cleaner|locality|scheduler|speculation|port|blockManager)\b"
)

_STATIC_PREFIXES = ("spark.driver.", "spark.executor.", "spark.jars", "spark.master", "spark.app.", "spark.submit.")


def is_jvm_only(name: str) -> bool:
    """Whether a setting only means something where a JVM or a cluster runs."""
    return name not in BY_NAME and _JVM_ONLY.match(name) is not None


_DURATION = re.compile(r"\s*(-?\d+)\s*([a-z]*)\s*", re.IGNORECASE)
_UNIT_MS = {
    "": 1,
    "us": 0.001,
    "ms": 1,
    "s": 1000,
    "m": 60_000,
    "min": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
}


def parse_duration_ms(text: str) -> int:
    """`10ms`, `10s`, `10min`, `2h`, `7d`, plain numbers (ms): Spark's time strings, in milliseconds."""
    match = _DURATION.fullmatch(text)
    unit = _UNIT_MS.get(match[2].lower()) if match else None
    if match is None or unit is None:
        raise IllegalArgumentError("INVALID_CONF_VALUE.TIME_STRING", {"value": text})
    return int(int(match[1]) * unit)


def local_time_zone() -> str:
    """The machine's zone by name, `UTC` where it has none that the tz database knows."""
    import os
    from pathlib import Path
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    candidates = [os.environ.get("TZ", "")]
    localtime = Path("/etc/localtime")
    if localtime.is_symlink():
        candidates.append(str(localtime.resolve()).partition("zoneinfo/")[2])
    for name in candidates:
        if name:
            try:
                return ZoneInfo(name.removeprefix(":")).key
            except (ZoneInfoNotFoundError, ValueError):
                continue
    return "UTC"


class SessionConf:
    """A session's settings. Threads may share one."""

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, str] = dict(values or {})

    def get(self, name: str) -> str:
        """The value set, else the default; NoSuchElementError SQL_CONF_NOT_FOUND for a setting that has neither."""
        value = self.get_option(name)
        if value is None:
            raise NoSuchElementError("SQL_CONF_NOT_FOUND", {"sqlConf": f'"{name}"'})
        return value

    def get_option(self, name: str, default: str | None = None) -> str | None:
        """The value set, else `default`, else the setting's own default, else None."""
        with self._lock:
            value = self._values.get(name)
        if value is not None:
            return value
        if default is not None:
            return default
        if name == "spark.sql.session.timeZone":
            return local_time_zone()
        setting = BY_NAME.get(name)
        return setting.default if setting else None

    def set(self, name: str, value: str) -> None:
        """Sets a run-time setting; a static one is refused with CANNOT_MODIFY_STATIC_CONFIG."""
        if not self.may_set(name):
            raise AnalysisError("CANNOT_MODIFY_STATIC_CONFIG", {"key": f'"{name}"'})
        self._check(name, value)
        with self._lock:
            self._values[name] = value

    def force(self, name: str, value: str) -> None:
        """Sets any setting; for the session's own start."""
        with self._lock:
            self._values[name] = value

    def unset(self, name: str) -> None:
        if not self.may_set(name):
            raise AnalysisError("CANNOT_MODIFY_STATIC_CONFIG", {"key": f'"{name}"'})
        with self._lock:
            self._values.pop(name, None)

    def may_set(self, name: str) -> bool:
        setting = BY_NAME.get(name)
        if setting is not None:
            return not setting.static
        return not name.startswith(_STATIC_PREFIXES)

    def is_modifiable(self, name: str) -> bool:
        """As Spark answers: true only for settings that it knows and that are not static."""
        return name in BY_NAME and self.may_set(name)

    def all(self) -> dict[str, str]:
        """The values that were set, by name."""
        with self._lock:
            return dict(self._values)

    def copy(self) -> SessionConf:
        return SessionConf(self.all())

    # Typed reads of what the engine itself asks for.

    def flag(self, name: str) -> bool:
        return (self.get(name)).strip().lower() == "true"

    def number(self, name: str) -> int:
        return int(self.get(name))

    def duration_ms(self, name: str) -> int:
        return parse_duration_ms(self.get(name))

    @property
    def time_zone(self) -> str:
        return self.get("spark.sql.session.timeZone")

    @property
    def ansi(self) -> bool:
        return self.flag("spark.sql.ansi.enabled")

    @property
    def case_sensitive(self) -> bool:
        return self.flag("spark.sql.caseSensitive")

    @staticmethod
    def _check(name: str, value: str) -> None:
        default = BY_NAME[name].default if name in BY_NAME else None
        if default in ("true", "false") and value.strip().lower() not in ("true", "false"):
            raise IllegalArgumentError(
                "INVALID_CONF_VALUE.TYPE_MISMATCH", {"confName": name, "confValue": value, "confType": "boolean"}
            )
        counted = default is not None and default.isdecimal() and name != _S + "stopTimeout"
        if counted and not re.fullmatch(r"\s*[+-]?\d+\s*", value):
            raise IllegalArgumentError(
                "INVALID_CONF_VALUE.TYPE_MISMATCH", {"confName": name, "confValue": value, "confType": "int"}
            )
        if name == "spark.sql.session.timeZone":
            _check_time_zone(name, value)


_OFFSET = re.compile(r"(UTC|GMT|UT)?[+-]\d{1,2}(:\d{2}(:\d{2})?)?")


def _check_time_zone(name: str, value: str) -> None:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    if value in ("UTC", "Z", "GMT") or _OFFSET.fullmatch(value):
        return
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError) as bad:
        raise IllegalArgumentError("INVALID_CONF_VALUE.TIME_ZONE", {"confName": name, "confValue": value}) from bad
