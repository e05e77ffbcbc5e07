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


def record_of(text: str, options: CsvOptions) -> list[str | None]:
    """The values of the record that a text is, line ends being part of them; none if it is a comment or empty."""
    if not text or (options.comment and text.startswith(options.comment)):
        return []
    return split_record(text, options)


def _value(text: str, options: CsvOptions) -> str | None:
    if options.ignore_leading:
        text = text.lstrip()
    if options.ignore_trailing:
        text = text.rstrip()
    return None if text == options.null_value or text == "" else text


def _records_of(text: str, options: CsvOptions) -> Iterator[Record]:
    text = _one_line_end(text, options.line_separator)
    at = 0
    while at < len(text):
        stop = text.find("\n", at)
        if stop == at or (options.comment and text.startswith(options.comment, at)):
            at = len(text) if stop < 0 else stop + 1
            continue
        values, end = _scan(text, at, options, across_lines=True)
        yield values, text[at:end].rstrip("\r\n")
        at = end


def _one_line_end(text: str, separator: str | None) -> str:
    """The text with line feeds for line ends: the given ones, else those that the first line ends in."""
    if separator is None:
        first = text.find("\r")
        if first < 0 or 0 <= text.find("\n") < first:
            return text
        separator = "\r\n" if text.startswith("\r\n", first) else "\r"
    return text if separator == "\n" else text.replace(separator, "\n")


def _scan(text: str, at: int, options: CsvOptions, *, across_lines: bool) -> tuple[list[str | None], int]:
    """A record from `at`: its values, and where the next one begins."""
    values: list[str | None] = []
    separator, quote, end = options.separator, options.quote, len(text)
    while True:
        start = at
        if options.ignore_leading:
            while start < end and text[start] in " \t":
                start += 1
        if quote and text.startswith(quote, start):
            value, at, closed = _quoted(text, start, options, across_lines)
            if not closed:  # a quote inside that ends nothing: all up to the separator, as it stands
                stop = _until(text, at, separator, across_lines)
                value, at = quote + value + text[at:stop], stop
            elif value == "":
                value = options.empty_value
            values.append(None if value == options.null_value else value)
        else:
            stop = _until(text, at, separator, across_lines)
            values.append(_value(text[at:stop], options))
            at = stop
        if text.startswith(separator, at):
            at += len(separator)
            continue
        if across_lines and text.startswith("\n", at):
            at += 1
        return values, at


def _until(text: str, at: int, separator: str, across_lines: bool) -> int:
    stop = text.find(separator, at)
    stop = len(text) if stop < 0 else stop
    line = text.find("\n", at, stop) if across_lines else -1
    return stop if line < 0 else line


def _quoted(text: str, at: int, options: CsvOptions, across_lines: bool) -> tuple[str, int, bool]:
    """A value from its opening quote at `at`: its content, where it ends, and whether nothing follows its last quote.

    A quote ends the value if a separator or the line's end is next, blanks apart. One that is never closed goes on to
    the end of the text.
    """
    quote, escape, separator = options.quote, options.escape, options.separator
    pieces: list[str] = []
    at += 1
    end = len(text)
    if at == end:
        return quote, end, True
    while at < end:
        character = text[at]
        if escape and character == escape and at + 1 < end and text[at + 1] in (quote, escape):
            pieces.append(text[at + 1])
            at += 2
            continue
        if character == quote:
            after = at + 1
            while after < end and text[after] <= " " and text[after] != "\n" and not text.startswith(separator, after):
                after += 1
            if after == end or text.startswith(separator, after) or (across_lines and text[after] == "\n"):
                return "".join(pieces), after, True
            if not text.startswith(quote, at + 1):
                return "".join(pieces), at, False
        pieces.append(character)
        at += 1
    return "".join(pieces), end, True
