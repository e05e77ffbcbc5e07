"""The options of CSV: read once, checked, refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from runnel.errors import IllegalArgumentError, RunnelError, unsupported
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
    quote_all: bool = False
    escape_quotes: bool = True
    escape_of_escape_given: str | None = None
    null_text: str = ""
    empty_text: str = '""'
    write_ignore_leading: bool = True
    write_ignore_trailing: bool = True

    @property
    def quote_written(self) -> str:
        """The quote that a writer puts; switched off, it is the character 0."""
        return self.quote or "\0"

    @property
    def escape_written(self) -> str:
        return self.escape or "\0"

    @property
    def escape_of_escape(self) -> str:
        """What a writer puts before an escape character inside quotes; the character 0 for nothing."""
        if self.escape_of_escape_given is not None:
            return self.escape_of_escape_given
        return "\0" if self.escape_written == self.quote_written else self.escape_written

    @property
    def comment_written(self) -> str:
        """What must not begin a line. The writer guards against # where no comment is set."""
        return self.comment or "#"


def csv_options(options: Mapping[str, str], conf: Mapping[str, str] | None = None) -> CsvOptions:
    """Errors: IllegalArgumentError for values that cannot be read; UnsupportedOperationError for what is not offered."""
    given = lowered(options)
    conf = conf or {}
    separator = _separator(given.get("sep", given.get("delimiter", ",")))
    if given.get("locale", "en-US").replace("_", "-").lower() not in ("en-us", "en"):
        raise unsupported("The CSV option locale", "Numbers and dates are read as in en-US.")
    quote, escape, comment, before = (
        _character(given, name, default)
        for name, default in (("quote", '"'), ("escape", "\\"), ("comment", "\0"), ("charToEscapeQuoteEscaping", None))
    )
    line_separator = given.get("linesep")
    if line_separator is not None and len(line_separator) not in (1, 2):
        what = "cannot be an empty string." if not line_separator else "can contain only 1 character."
        raise IllegalArgumentError("_LEGACY_ERROR_TEMP_3102", {"msg": f"requirement failed: 'lineSep' {what}"})
    return CsvOptions(
        mode=read_mode(given.get("mode")),
        corrupt_column=given.get(
            "columnnameofcorruptrecord", conf.get("spark.sql.columnNameOfCorruptRecord", DEFAULT_CORRUPT_COLUMN)
        ),
        header=flag(given, "header", False),
        separator=separator,
        quote="" if quote == "\0" else quote or "",
        escape="" if escape == "\0" else escape or "",
        comment=None if comment == "\0" else comment,
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
        line_separator=line_separator,
        encoding=given.get("encoding", given.get("charset")),
        date_format=given.get("dateformat"),
        timestamp_format=given.get("timestampformat"),
        timestamp_ntz_format=given.get("timestampntzformat"),
        time_zone=given.get("timezone"),
        quote_all=flag(given, "quoteAll", False),
        escape_quotes=flag(given, "escapeQuotes", True),
        escape_of_escape_given=before,
        null_text=given.get("nullvalue", ""),
        empty_text=given.get("emptyvalue", '""'),
        write_ignore_leading=flag(given, "ignoreLeadingWhiteSpace", True),
        write_ignore_trailing=flag(given, "ignoreTrailingWhiteSpace", True),
    )


_ESCAPES: Final = {"t": "\t", "r": "\r", "b": "\b", "f": "\f", '"': '"', "'": "'", "\\": "\\"}


def _separator(text: str) -> str:
    """The separator, its backslash escapes resolved."""
    if not text:
        raise IllegalArgumentError("_LEGACY_ERROR_TEMP_3102", {"msg": "Delimiter cannot be empty"})
    if text == "\\":
        raise IllegalArgumentError("INVALID_DELIMITER_VALUE.SINGLE_BACKSLASH")
    out, at = [], 0
    while at < len(text):
        if text[at] != "\\" or at + 1 == len(text):
            out.append(text[at])
            at += 1
        elif text.startswith("\\u0000", at):
            out.append("\0")
            at += 6
        elif text[at + 1] in _ESCAPES:
            out.append(_ESCAPES[text[at + 1]])
            at += 2
        else:
            shown = text[at : at + 2]
            raise IllegalArgumentError("INVALID_DELIMITER_VALUE.UNSUPPORTED_SPECIAL_CHARACTER", {"str": shown})
    return "".join(out)


def _character(given: Mapping[str, str], name: str, default: str | None) -> str | None:
    """An option of one character; empty is the character 0, which switches it off."""
    value = given.get(name.lower(), default)
    if value is not None and len(value) > 1:
        raise RunnelError("OPTION_VALUE_EXCEEDS_ONE_CHARACTER", {"paramName": name, "value": value})
    return "\0" if value == "" else value
