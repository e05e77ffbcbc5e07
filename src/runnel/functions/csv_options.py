"""The options of CSV: read once, checked, refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from runnel.errors import IllegalArgumentError, unsupported
from runnel.functions.json_options import DEFAULT_CORRUPT_COLUMN, PERMISSIVE, read_mode
from runnel.options import flag, lowered


@dataclass(frozen=True, slots=True)
class CsvOptions:
    """Spark's CSV options. An empty `quote` or `escape` switches it off."""

    mode: str = PERMISSIVE
    corrupt_column: str = DEFAULT_CORRUPT_COLUMN
    header: bool = False
    separator: str = ","
    quote: str = '"'
    escape: str = "\\"
    comment: str | None = None
    null_value: str = ""
    empty_value: str = ""
    nan_value: str = "NaN"
    positive_inf: str = "Inf"
    negative_inf: str = "-Inf"
    infer: bool = False
    enforce_schema: bool = True
    ignore_leading: bool = False
    ignore_trailing: bool = False
    multi_line: bool = False
    line_separator: str | None = None
    encoding: str | None = None
    date_format: str | None = None
    timestamp_format: str | None = None
    timestamp_ntz_format: str | None = None
    time_zone: str | None = None


def csv_options(options: Mapping[str, str], conf: Mapping[str, str] | None = None) -> CsvOptions:
    """Errors: IllegalArgumentError for values that cannot be read; UnsupportedOperationError for what is not offered."""
    given = lowered(options)
    conf = conf or {}
    separator = given.get("sep", given.get("delimiter", ",")).replace("\\t", "\t")
    if not separator:
        raise IllegalArgumentError("_LEGACY_ERROR_TEMP_3102", {"msg": "Delimiter cannot be empty string"})
    if given.get("locale", "en-US").replace("_", "-").lower() not in ("en-us", "en"):
        raise unsupported("The CSV option locale", "Numbers and dates are read as in en-US.")
    for name in ("quote", "escape", "comment"):
        if len(given.get(name, "")) > 1:
            raise IllegalArgumentError("_LEGACY_ERROR_TEMP_3102", {"msg": f"{name} cannot be more than one character"})
    quote = given.get("quote", '"')
    return CsvOptions(
        mode=read_mode(given.get("mode")),
        corrupt_column=given.get(
            "columnnameofcorruptrecord", conf.get("spark.sql.columnNameOfCorruptRecord", DEFAULT_CORRUPT_COLUMN)
        ),
        header=flag(given, "header", False),
        separator=separator,
        quote="" if quote == "\0" else quote,
        escape=given.get("escape", "\\"),
        comment=given.get("comment") or None,
        null_value=given.get("nullvalue", ""),
        empty_value=given.get("emptyvalue", ""),
        nan_value=given.get("nanvalue", "NaN"),
        positive_inf=given.get("positiveinf", "Inf"),
        negative_inf=given.get("negativeinf", "-Inf"),
        infer=flag(given, "inferSchema", False),
        enforce_schema=flag(given, "enforceSchema", True),
        ignore_leading=flag(given, "ignoreLeadingWhiteSpace", False),
        ignore_trailing=flag(given, "ignoreTrailingWhiteSpace", False),
        multi_line=flag(given, "multiLine", False),
        line_separator=given.get("linesep"),
        encoding=given.get("encoding", given.get("charset")),
        date_format=given.get("dateformat"),
        timestamp_format=given.get("timestampformat"),
        timestamp_ntz_format=given.get("timestampntzformat"),
        time_zone=given.get("timezone"),
    )
