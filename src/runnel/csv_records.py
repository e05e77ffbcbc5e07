"""CSV text to records of strings, by the rules of the parser that Spark uses.

A quote opens a quoted value only at its start; inside, the escape character (a backslash unless set) takes a quote, and so
does a second quote. Blank lines and comments are no records. A record's values are its strings, None where the text is
the null value; a quoted empty value is the empty value.
"""

from __future__ import annotations

from collections.abc import Iterator

from runnel.functions.csv_options import CsvOptions
from runnel.lines import lines_schema, read_lines, read_text

Record = tuple[list[str | None], str]
"""A record's values and its text."""

_LINES = lines_schema("line", "record")


def read_records(path: str, options: CsvOptions) -> Iterator[Record]:
    """A file's records, its header among them. Errors: OSError."""
    if options.multi_line:
        yield from _records_of(read_text(path, options.encoding), options)
        return
    for batch in read_lines(path, _LINES, options.line_separator, options.encoding):
        lines = batch.column(0).to_pylist()
        for line, shown in zip(lines, batch.column(1).to_pylist(), strict=True):
            text = (line if shown is None else shown).rstrip("\n")
            if is_record(text, options):
                yield split_record(text, options), text


def is_record(text: str, options: CsvOptions) -> bool:
    """Whether a line is neither blank nor a comment."""
    stripped = text.strip()
    return bool(stripped) and not (options.comment and stripped.startswith(options.comment))


def split_record(text: str, options: CsvOptions) -> list[str | None]:
    """One record's values."""
    if not options.quote or options.quote not in text:
        return [_value(v, options) for v in text.split(options.separator)]
    values, _ = _scan(text, 0, options, across_lines=False)
    return values


def _value(text: str, options: CsvOptions) -> str | None:
    if options.ignore_leading:
        text = text.lstrip()
    if options.ignore_trailing:
        text = text.rstrip()
    return None if text == options.null_value or text == "" else text


def _records_of(text: str, options: CsvOptions) -> Iterator[Record]:
    at = 0
    while at < len(text):
        values, end = _scan(text, at, options, across_lines=True)
        record = text[at:end].rstrip("\r\n")
        if is_record(record, options):
            yield values, record
        at = end


def _scan(text: str, at: int, options: CsvOptions, *, across_lines: bool) -> tuple[list[str | None], int]:
    """A record from `at`: its values, and where the next one begins."""
    values: list[str | None] = []
    separator, quote, escape, end = options.separator, options.quote, options.escape, len(text)
    while True:
        start = at
        if options.ignore_leading:
            while start < end and text[start] in " \t":
                start += 1
        if quote and text.startswith(quote, start):
            value, at = _quoted(text, start, quote, escape)
            stop = _until(text, at, separator, across_lines)
            rest = text[at:stop]
            if rest.strip() and value is not None:
                value = quote + value + quote + rest
            if value is None:  # never closed: the text as it stands
                stop = end
                value = text[start:stop]
            elif value == "":
                value = options.empty_value
                value = None if value == options.null_value and value != "" else value
            values.append(value)
            at = stop
        else:
            stop = _until(text, at, separator, across_lines)
            values.append(_value(text[at:stop].rstrip("\r") if across_lines else text[at:stop], options))
            at = stop
        if text.startswith(separator, at):
            at += len(separator)
            continue
        while across_lines and at < end and text[at] in "\r\n":
            at += 1
            if text[at - 1] == "\n":
                break
        return values, at


def _until(text: str, at: int, separator: str, across_lines: bool) -> int:
    stop = text.find(separator, at)
    stop = len(text) if stop < 0 else stop
    if across_lines:
        for line_end in ("\n", "\r"):
            found = text.find(line_end, at, stop)
            stop = stop if found < 0 else found
    return stop


def _quoted(text: str, at: int, quote: str, escape: str) -> tuple[str | None, int]:
    pieces: list[str] = []
    at += 1
    end = len(text)
    while at < end:
        character = text[at]
        if escape and character == escape and escape != quote and at + 1 < end and text[at + 1] in (quote, escape):
            pieces.append(text[at + 1])
            at += 2
            continue
        if character == quote:
            if escape == quote and at + 1 < end and text[at + 1] == quote:
                pieces.append(quote)
                at += 2
                continue
            return "".join(pieces), at + 1
        pieces.append(character)
        at += 1
    return None, end
