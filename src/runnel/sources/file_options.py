"""The options of the streaming file source, read and checked when the source is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from runnel.checkpoint.compactible_log import CompactionSettings
from runnel.config import parse_duration_ms
from runnel.errors import IllegalArgumentError
from runnel.options import flag, lowered

_CLEAN_SOURCE: Final = ("archive", "delete", "off")
_S: Final = "spark.sql.streaming."


@dataclass(frozen=True, slots=True)
class FileSourceOptions:
    """Options by their Spark names, in snake case; sizes in bytes, ages in ms."""

    max_files_per_trigger: int | None = None
    max_bytes_per_trigger: int | None = None
    max_file_age_ms: int = 7 * 86_400_000
    latest_first: bool = False
    file_name_only: bool = False
    max_cached_files: int = 10_000
    discard_cached_input_ratio: float = 0.2
    clean_source: str = "off"
    source_archive_dir: str | None = None
    cleaner_threads: int = 1

    @classmethod
    def of(cls, options: Mapping[str, str], conf: Mapping[str, str]) -> FileSourceOptions:
        """Errors: IllegalArgumentError for a value out of range, or for options that exclude each other."""
        given = lowered(options)
        files = _positive(given, "maxFilesPerTrigger")
        size = _positive(given, "maxBytesPerTrigger")
        if files is not None and size is not None:
            raise _invalid("maxBytesPerTrigger", given["maxbytespertrigger"], "cannot be set beside maxFilesPerTrigger")
        for name in ("modifiedBefore", "modifiedAfter"):
            if name.lower() in given:
                raise _invalid(name, given[name.lower()], "is not allowed in file stream sources")
        clean = given.get("cleansource", "off").lower()
        if clean not in _CLEAN_SOURCE:
            raise _invalid("cleanSource", given["cleansource"], f"must be one of {', '.join(_CLEAN_SOURCE)}")
        archive = given.get("sourcearchivedir")
        if clean == "archive" and archive is None:
            raise _invalid("sourceArchiveDir", "", "must be given when cleanSource is archive")
        return cls(
            max_files_per_trigger=files,
            max_bytes_per_trigger=size,
            max_file_age_ms=parse_duration_ms(given.get("maxfileage", "7d")),
            latest_first=flag(given, "latestFirst", False),
            file_name_only=flag(given, "fileNameOnly", False),
            max_cached_files=_positive(given, "maxCachedFiles", zero=True)
            or (0 if "maxcachedfiles" in given else 10_000),
            discard_cached_input_ratio=_ratio(given),
            clean_source=clean,
            source_archive_dir=archive,
            cleaner_threads=int(conf.get(_S + "fileSource.cleaner.numThreads", "1")),
        )


def log_settings(conf: Mapping[str, str]) -> CompactionSettings:
    """The source log's settings among the session's."""
    prefix = _S + "fileSource.log."
    return CompactionSettings(
        interval=int(conf.get(prefix + "compactInterval", "10")),
        cleanup_delay_ms=parse_duration_ms(conf.get(prefix + "cleanupDelay", "10min")),
        delete=conf.get(prefix + "deletion", "true").lower() == "true",
        min_batches_to_retain=int(conf.get(_S + "minBatchesToRetain", "100")),
    )


def _positive(given: Mapping[str, str], name: str, *, zero: bool = False) -> int | None:
    text = given.get(name.lower())
    if text is None:
        return None
    try:
        number = int(text)
    except ValueError:
        number = -1
    if number < (0 if zero else 1):
        raise _invalid(name, text, "must be a positive integer")
    return number


def _ratio(given: Mapping[str, str]) -> float:
    text = given.get("discardcachedinputratio", "0.2")
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise _invalid("discardCachedInputRatio", text, "must be between 0.0 and 1.0, inclusive")
    return number


def _invalid(name: str, value: str, problem: str) -> IllegalArgumentError:
    return IllegalArgumentError(
        "_LEGACY_ERROR_TEMP_3102", {"msg": f"Invalid value '{value}' for option '{name}', {problem}"}
    )
