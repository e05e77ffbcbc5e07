"""The options of JSON, in reading files, `from_json` and `to_json`: read once, checked, refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from runnel.errors import AnalysisError, unsupported
from runnel.functions.json_repair import Liberties
from runnel.options import flag, lowered

PERMISSIVE: Final = "PERMISSIVE"
DROPMALFORMED: Final = "DROPMALFORMED"
FAILFAST: Final = "FAILFAST"
_MODES: Final = (PERMISSIVE, DROPMALFORMED, FAILFAST)
DEFAULT_CORRUPT_COLUMN: Final = "_corrupt_record"


@dataclass(frozen=True, slots=True)
class JsonOptions:
    """Spark's JSON options. Formats are Java patterns; None is the default (ISO) form."""

    mode: str = PERMISSIVE
    corrupt_column: str = DEFAULT_CORRUPT_COLUMN
    multi_line: bool = False
    line_separator: str | None = None
    encoding: str | None = None
    primitives_as_string: bool = False
    prefers_decimal: bool = False
    drop_field_if_all_null: bool = False
    infer_timestamp: bool = False
    sampling_ratio: float = 1.0
    date_format: str | None = None
    timestamp_format: str | None = None
    timestamp_ntz_format: str | None = None
    time_zone: str | None = None
    ignore_null_fields: bool = True
    pretty: bool = False
    liberties: Liberties = field(default_factory=Liberties)


def json_options(options: Mapping[str, str], conf: Mapping[str, str] | None = None) -> JsonOptions:
    """Errors: IllegalArgumentError for values that cannot be read; UnsupportedOperationError for what is not offered."""
    given = lowered(options)
    conf = conf or {}
    mode = read_mode(given.get("mode"))
    locale = given.get("locale", "en-US")
    if locale.replace("_", "-").lower() not in ("en-us", "en", "root", ""):
        raise unsupported(f"The option locale with the value {locale!r}", "Numbers and dates are read as in en-US.")
    return JsonOptions(
        mode=mode,
        corrupt_column=given.get(
            "columnnameofcorruptrecord", conf.get("spark.sql.columnNameOfCorruptRecord", DEFAULT_CORRUPT_COLUMN)
        ),
        multi_line=flag(given, "multiLine", False),
        line_separator=given.get("linesep"),
        encoding=given.get("encoding", given.get("charset")),
        primitives_as_string=flag(given, "primitivesAsString", False),
        prefers_decimal=flag(given, "prefersDecimal", False),
        drop_field_if_all_null=flag(given, "dropFieldIfAllNull", False),
        infer_timestamp=flag(given, "inferTimestamp", False),
        sampling_ratio=float(given.get("samplingratio", "1.0")),
        date_format=given.get("dateformat"),
        timestamp_format=given.get("timestampformat"),
        timestamp_ntz_format=given.get("timestampntzformat"),
        time_zone=given.get("timezone"),
        ignore_null_fields=flag(
            given, "ignoreNullFields", conf.get("spark.sql.jsonGenerator.ignoreNullFields", "true") == "true"
        ),
        pretty=flag(given, "pretty", False),
        liberties=Liberties(
            comments=flag(given, "allowComments", False),
            unquoted_field_names=flag(given, "allowUnquotedFieldNames", False),
            single_quotes=flag(given, "allowSingleQuotes", True),
            leading_zeros=flag(given, "allowNumericLeadingZeros", False),
            backslash_any=flag(given, "allowBackslashEscapingAnyCharacter", False),
            control_characters=flag(given, "allowUnquotedControlChars", False),
            not_numbers=flag(given, "allowNonNumericNumbers", True),
        ),
    )


def read_mode(text: str | None) -> str:
    """A parse mode; as in Spark an unknown one is PERMISSIVE."""
    mode = (text or PERMISSIVE).upper()
    return mode if mode in _MODES else PERMISSIVE


def from_json_mode(options: JsonOptions) -> JsonOptions:
    """The same options, if their mode is one that a function of one value can follow."""
    if options.mode == DROPMALFORMED:
        raise AnalysisError("PARSE_MODE_UNSUPPORTED", {"funcName": "`from_json`", "mode": DROPMALFORMED})
    return options
