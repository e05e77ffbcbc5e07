"""The file sink: json, csv, text and parquet files with a `_spark_metadata` log in Spark's format.

Delivery: exactly once. Data files get their final names first; the batch exists for readers once its log entry does,
and a batch id that is in the log already is skipped.
"""

from __future__ import annotations

from pathlib import Path

from pyspark.sql.types import StructType

from runnel.checkpoint.compactible_log import CompactionSettings, FileStreamSinkLog, SinkFileStatus
from runnel.config import SessionConf, parse_duration_ms
from runnel.errors import AnalysisError, error
from runnel.files import uri_to_path
from runnel.sinks.base import BatchRows, SinkContext
from runnel.sinks.file_formats import FileFormat, file_format, partition_positions, write_table

_LOG = "spark.sql.streaming.fileSink.log."


class FileSink:
    """Appends each batch as files. Exactly once."""

    def __init__(self, name: str, context: SinkContext) -> None:
        if context.output_mode != "append":
            raise AnalysisError(
                "STREAMING_OUTPUT_MODE.UNSUPPORTED_DATASOURCE",
                {"className": name, "outputMode": context.output_mode.capitalize()},
            )
        if not context.path:
            raise error("_LEGACY_ERROR_TEMP_2047")
        partition_positions(context.schema, context.partition_by)
        self._context = context
        self._name = name
        self._folder = Path(uri_to_path(context.path)).absolute()
        conf = SessionConf(context.conf)
        options = {key.lower(): value for key, value in context.options.items()}
        retention = options.get("retention")
        self._log = FileStreamSinkLog(
            self._folder / "_spark_metadata",
            CompactionSettings(
                interval=conf.number(_LOG + "compactInterval"),
                cleanup_delay_ms=parse_duration_ms(conf.get(_LOG + "cleanupDelay")),
                delete=conf.flag(_LOG + "deletion"),
                min_batches_to_retain=conf.number("spark.sql.streaming.minBatchesToRetain"),
            ),
            retention_ms=parse_duration_ms(retention) if retention else None,
        )
        self._options = options
        self._format: FileFormat | None = None
        if not context.partition_by:
            self._format_of(context.schema)
        self._latest = self._log.latest_id()

    @property
    def description(self) -> str:
        return f"FileSink[file:{self._folder}]"

    def add_batch(self, batch_id: int, rows: BatchRows) -> int | None:
        if self._latest is not None and batch_id <= self._latest:
            return None
        context = self._context
        made = write_table(
            rows.table(),
            self._folder,
            context.schema,
            context.partition_by,
            self._format_of,
            sync=True,
            parallelism=context.session.default_parallelism,
        )
        self._log.add(batch_id, tuple(SinkFileStatus.of(path) for path in made))
        self._latest = batch_id
        return None

    def _format_of(self, body: StructType) -> FileFormat:
        """The writer of the files' body, which is the same in every batch; made once, since it prepares a statement."""
        if self._format is None:
            context = self._context
            self._format = file_format(
                self._name, self._options, body, context.session_time_zone, context.session.line_renderer
            )
        return self._format

    def stop(self) -> None:
        self._log.close()
