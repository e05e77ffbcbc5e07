"""From typed values to fields and lines of CSV, in DuckDB SQL, by the rules of the writer that Spark uses.

A field is quoted where it must be: it has the separator, a line's end or a quote, or it begins the line like a comment.
White space around it is dropped. Null is the null value; what is empty without it is the empty value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    ByteType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    MapType,
    ShortType,
    StringType,
    StructType,
    TimestampNTZType,
    TimestampType,
)

from runnel.functions import cast_text
from runnel.functions.casts import unique_field_names
from runnel.functions.csv_options import CsvOptions
from runnel.functions.date_patterns import text_literal, written_timestamp
from runnel.functions.registry import LoweringContext

STRING: Final = StringType()
_SPACE: Final = "".join(map(chr, range(33)))
_NUMERIC: Final = frozenset("0123456789+-.EINafinty")
_INSTANT: Final = frozenset("0123456789-+:.TZ")
_ALPHABETS: Final[dict[type[DataType], frozenset[str]]] = {
    ByteType: _NUMERIC,
    ShortType: _NUMERIC,
    IntegerType: _NUMERIC,
    LongType: _NUMERIC,
    FloatType: _NUMERIC,
    DoubleType: _NUMERIC,
    DecimalType: _NUMERIC,
    BooleanType: frozenset("truefalse"),
}


def sql_text(text: str) -> str:
    """SQL of a VARCHAR constant that may have the character 0."""
    pieces = [text_literal(piece) for piece in text.split("\0")]
    return pieces[0] if len(pieces) == 1 else "(" + " || chr(0) || ".join(pieces) + ")"


def csv_line(
    context: LoweringContext, values: Sequence[str], types: Sequence[DataType], options: CsvOptions, zone: str
) -> str:
    """SQL of a row's line; null for a row that is nothing but one empty field, which makes no line.

    values: SQL that is cheap to repeat. zone: the time zone that timestamps are written in.
    """
    fields = [
        csv_field(value_text(context, value, dtype, options, zone), dtype, options, first=place == 0)
        for place, (value, dtype) in enumerate(zip(values, types, strict=True))
    ]
    if not fields:
        return "CAST(NULL AS VARCHAR)"
    if len(fields) == 1:
        return f"nullif({fields[0]}, '')"
    separator = f" || {sql_text(options.separator)} || "
    return f"({separator.join(fields)})"


def header_line(names: Sequence[str], options: CsvOptions) -> str:
    """The line of the columns' names, without its end."""
    fields = []
    for place, name in enumerate(names):
        bare = name.strip(_SPACE) if options.write_ignore_leading and options.write_ignore_trailing else name
        fields.append(constant_field(name if bare else options.empty_text, options, first=place == 0))
    return options.separator.join(fields)


def csv_field(text: str, dtype: DataType, options: CsvOptions, *, first: bool) -> str:
    """SQL of a value's field. text: SQL of the value's own text, null for null; first: whether it begins its line."""
    null = sql_text(constant_field(options.null_text, options, first=first))
    alphabet = _alphabet(dtype, options)
    special = {*options.separator, options.quote_written, options.escape_written, options.comment_written}
    if alphabet is not None and not special & alphabet and not options.null_text:
        quote = sql_text(options.quote_written)
        plain = f"{quote} || {text} || {quote}" if options.quote_all else text
        return f"coalesce({plain}, {null})"
    if not isinstance(dtype, StringType):
        # made once: it is looked at many times
        field = csv_field("_t", STRING, options, first=first)
        return f"list_transform([{text}], lambda _t: {field})[1]"
    # regular expressions, since DuckDB's trim makes its set of characters anew for each row
    left = f"regexp_replace({text}, '^[\\x00-\\x20]+', '')" if options.write_ignore_leading else text
    bare = f"regexp_replace({left}, '[\\x00-\\x20]+$', '')" if options.write_ignore_trailing else left
    empty = sql_text(constant_field(options.empty_text, options, first=first))
    quoted = _enclosed(bare, options)
    if options.quote_all:
        return f"CASE WHEN {text} IS NULL THEN {null} WHEN {bare} = '' THEN {empty} ELSE {quoted} END"
    # what nearly all texts are: nothing in them that any rule is about
    watched = {"\n", "\r", options.separator[0], options.quote_written, options.comment_written}
    unusual = "^[\\x00-\\x20]|[\\x00-\\x20]$|" + _character_class(watched)
    usual = f"NOT regexp_matches({text}, {text_literal(unusual)})"
    return (
        f"CASE WHEN {text} IS NULL THEN {null} WHEN {text} <> '' AND {usual} THEN {text} "
        f"WHEN {bare} = '' THEN {empty} WHEN {_needs_quotes(text, left, options, first)} THEN {quoted} ELSE {bare} END"
    )


def _alphabet(dtype: DataType, options: CsvOptions) -> frozenset[str] | None:
    """The characters that texts of a type can have, None if that cannot be said."""
    match dtype:
        case DateType():
            return _INSTANT if options.date_format is None else None
        case TimestampType():
            return _INSTANT if options.timestamp_format is None else None
        case TimestampNTZType():
            return _INSTANT if options.timestamp_ntz_format is None else None
        case _:
            return _ALPHABETS.get(type(dtype))


def _needs_quotes(text: str, left: str, options: CsvOptions, first: bool) -> str:
    quote = sql_text(options.quote_written)
    causes = [f"contains({left}, chr(10))", f"contains({left}, chr(13))"]
    causes.append(f"contains({left}, {sql_text(options.separator)})")
    causes.append(f"{'contains' if options.escape_quotes else 'starts_with'}({left}, {quote})")
    if first:
        causes.append(f"starts_with({text}, {sql_text(options.comment_written)})")
    return "(" + " OR ".join(causes) + ")"


def _enclosed(text: str, options: CsvOptions) -> str:
    quote, escape, before = options.quote_written, options.escape_written, options.escape_of_escape
    body = text
    if escape != quote and before != "\0":
        body = f"replace({body}, {sql_text(escape)}, {sql_text(before + escape)})"
    body = f"replace({body}, {sql_text(quote)}, {sql_text(escape + quote)})"
    return f"({sql_text(quote)} || {body} || {sql_text(quote)})"


def constant_field(text: str, options: CsvOptions, *, first: bool) -> str:
    """The field that stands for null or for an empty text; one that has its quotes already is left as it is."""
    quote, escape, before = options.quote_written, options.escape_written, options.escape_of_escape
    left = text.lstrip(_SPACE) if options.write_ignore_leading else text
    bare = left.rstrip(_SPACE) if options.write_ignore_trailing else left
    if not text and not options.quote_all:
        return ""
    forced = options.quote_all or left.startswith(quote) or (first and text.startswith(options.comment_written))
    if forced and len(text) >= 2 and text.startswith(quote) and text.endswith(quote):
        return text
    causes = {"\n", "\r", options.separator} | ({quote} if options.escape_quotes else set())
    if not forced and not any(c in left for c in causes):
        return bare
    if escape != quote and before != "\0":
        bare = bare.replace(escape, before + escape)
    return quote + bare.replace(quote, escape + quote) + quote


def _character_class(characters: set[str]) -> str:
    return "[" + "".join(f"\\x{{{ord(c):x}}}" for c in sorted(characters)) + "]"


# -------------------------------------------------------------------------------------------------------------- values


def value_text(
    context: LoweringContext, sql: str, dtype: DataType, options: CsvOptions, zone: str, depth: int = 0
) -> str:
    """SQL of a value's text before any quoting, null for null. Nested values are written as casts to strings are."""
    name = f"_v{depth}"
    match dtype:
        case StringType():
            return sql
        case DoubleType():
            return cast_text.double_text(sql)
        case FloatType():
            return cast_text.float_text(sql)
        case DateType():
            if options.date_format is None:
                return context.cast(sql, dtype, STRING)
            stamp = f"CAST({sql} AS TIMESTAMP)"
            return written_timestamp(options.date_format, stamp, stamp, "UTC")
        case TimestampType():
            local = context.local(sql)
            if options.time_zone is not None:
                local = f"timezone({text_literal(zone)}, timezone('UTC', {sql}))"
            return written_timestamp(options.timestamp_format or "yyyy-MM-dd'T'HH:mm:ss.SSSXXX", local, sql, zone)
        case TimestampNTZType():
            return written_timestamp(options.timestamp_ntz_format or "yyyy-MM-dd'T'HH:mm:ss[.SSS]", sql, sql, "UTC")
        case DecimalType():
            return cast_text.decimal_text(sql, context.cast(sql, dtype, STRING), dtype.scale)
        case BinaryType():
            return f"('[' || rtrim(regexp_replace(hex({sql}), '(..)', '\\1 ', 'g')) || ']')"
        case ArrayType():
            element = _item(value_text(context, name, dtype.elementType, options, zone, depth + 1))
            return _bracketed("[", f"array_to_string(list_transform({sql}, lambda {name}: {element}), ',')", "]")
        case MapType():
            key = value_text(context, f"{name}.key", dtype.keyType, options, zone, depth + 1)
            value = value_text(context, f"{name}.value", dtype.valueType, options, zone, depth + 1)
            pair = f"' ' || {key} || ' ->' || {_item(value)}"
            pairs = f"list_transform(map_entries({sql}), lambda {name}: {pair})"
            return _bracketed("{", f"array_to_string({pairs}, ',')", "}")
        case StructType():
            items = [
                _item(
                    value_text(
                        context, f"struct_extract({name}, {text_literal(n)})", f.dataType, options, zone, depth + 1
                    )
                )
                for n, f in zip(unique_field_names(dtype), dtype.fields, strict=True)
            ]
            body = " || ',' || ".join(items) or "''"
            made = f"CASE WHEN {name} IS NOT NULL THEN {_bracketed('{', body, '}')} END"
            return f"list_transform([{sql}], lambda {name}: {made})[1]"
        case _:
            return context.cast(sql, dtype, STRING)


def _item(text: str) -> str:
    """A value inside brackets: a blank and its text, nothing for null."""
    return f"coalesce(' ' || {text}, '')"


def _bracketed(opening: str, body: str, closing: str) -> str:
    return f"('{opening}' || regexp_replace({body}, '^ ', '') || '{closing}')"
