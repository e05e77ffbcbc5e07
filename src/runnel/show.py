"""Rows and schemas as the text that `show()`, the console sink and `printSchema()` print, to the letter.

Pure text making for the few rows that are shown: not for bulk data.
"""

from __future__ import annotations

import datetime
import html
import itertools
import math
import re
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    CalendarIntervalType,
    CharType,
    DataType,
    DateType,
    DayTimeIntervalType,
    DecimalType,
    DoubleType,
    FloatType,
    MapType,
    NullType,
    StringType,
    StructType,
    TimestampNTZType,
    TimestampType,
    TimeType,
    UserDefinedType,
    VarcharType,
    YearMonthIntervalType,
)

_NULL = "NULL"
_MIN_WIDTH = 3
_ESCAPES = str.maketrans({"\n": "\\n", "\r": "\\r", "\t": "\\t", "\f": "\\f", "\b": "\\b", "\v": "\\v", "\a": "\\a"})
_WIDE = re.compile(
    "[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe10-\ufe19\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]"
)
_OFFSET = re.compile(r"(?:UTC|GMT|UT)?([+-])(\d{1,2})(?::(\d{2})(?::(\d{2}))?)?")
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


# ------------------------------------------------------------------------------------------------------------ tables


def table_text(
    table: pa.Table,
    schema: StructType,
    zone: str,
    *,
    num_rows: int = 20,
    truncate: int = 20,
    vertical: bool = False,
) -> str:
    """The text of a frame's first rows, as Spark's `showString` makes it.

    `table` has the schema's columns by position in physical Arrow types; give it at least `num_rows` + 1 rows where
    there are so many, since one more row than shown makes the line that says so. `zone` is the session time zone,
    `truncate` the longest cell (0: any length). Ends with a line break, except after the line about more rows.
    """
    header, rows, more = _cells(table, schema, zone, num_rows, truncate)
    text = _vertical(header, rows) if vertical else _horizontal(header, rows, right=truncate > 0)
    if vertical and not rows:
        return text + "(0 rows)"
    return text + _footer(more, num_rows)


def html_text(table: pa.Table, schema: StructType, zone: str, *, num_rows: int, truncate: int) -> str:
    """The same as an HTML table, as notebooks show it."""
    header, rows, more = _cells(table, schema, zone, num_rows, truncate)
    lines = ["<table border='1'>", "<tr>" + "".join(f"<th>{html.escape(c)}</th>" for c in header) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in row) + "</tr>" for row in rows]
    lines.append("</table>")
    if more:
        lines.append(_footer(more, num_rows))
    return "\n".join(lines) + "\n"


def _footer(more: bool, num_rows: int) -> str:
    return f"only showing top {num_rows} {'row' if num_rows == 1 else 'rows'}" if more else ""


def _cells(
    table: pa.Table, schema: StructType, zone: str, num_rows: int, truncate: int
) -> tuple[list[str], list[list[str]], bool]:
    count = max(0, num_rows)
    shown = table.slice(0, count)
    columns = []
    for field, column in zip(schema.fields, shown.columns, strict=True):
        texts = value_texts(column, field.dataType, zone)
        columns.append([_cut(t.translate(_ESCAPES), truncate) for t in texts])
    header = [f.name.translate(_ESCAPES) for f in schema.fields]
    rows: list[list[str]] = [list(row) for row in zip(*columns, strict=True)]
    if not columns:  # Arrow's slices of tables without columns forget how many rows there are
        rows = [[] for _ in range(min(count, table.num_rows))]
    return header, rows, table.num_rows > count


def _cut(text: str, limit: int) -> str:
    if 0 < limit < len(text):
        return text[:limit] if limit < 4 else text[: limit - 3] + "..."
    return text


def _width(text: str) -> int:
    return len(text) if text.isascii() else len(text) + len(_WIDE.findall(text))


def _pad(text: str, width: int, *, right: bool) -> str:
    fill = " " * (width - _width(text))
    return fill + text if right else text + fill


def _horizontal(header: list[str], rows: list[list[str]], *, right: bool) -> str:
    widths = [
        max(_MIN_WIDTH, _width(name), *(_width(row[i]) for row in rows)) if rows else max(_MIN_WIDTH, _width(name))
        for i, name in enumerate(header)
    ]
    rule = "+" + "".join("-" * w + "+" for w in widths) if widths else "++"
    lines = [rule, _line(header, widths, right), rule, *(_line(row, widths, right) for row in rows), rule]
    return "\n".join(lines) + "\n"


def _line(cells: list[str], widths: list[int], right: bool) -> str:
    if not widths:
        return "||"
    return "|" + "".join(_pad(c, w, right=right) + "|" for c, w in zip(cells, widths, strict=True))


def _vertical(header: list[str], rows: list[list[str]]) -> str:
    name_width = max([_MIN_WIDTH, *(_width(n) for n in header)])
    value_width = max([_MIN_WIDTH, *(_width(c) for row in rows for c in row)])
    lines = []
    for number, row in enumerate(rows):
        lines.append(f"-RECORD {number}".ljust(name_width + value_width + 5, "-"))
        for name, cell in zip(header, row, strict=True):
            lines.append(f" {_pad(name, name_width, right=False)} | {_pad(cell, value_width, right=False)} ")
    return "".join(line + "\n" for line in lines)


# ------------------------------------------------------------------------------------------------------------ values


def value_texts(values: pa.Array | pa.ChunkedArray, dtype: DataType, zone: str) -> list[str]:
    """The values as cells show them, before escapes and cutting; null is `NULL`, also inside arrays and structs."""
    if isinstance(values, pa.ChunkedArray):
        return [text for chunk in values.chunks for text in value_texts(chunk, dtype, zone)]
    valid = values.is_valid().to_pylist()
    match dtype:
        case NullType():
            return [_NULL] * len(values)
        case UserDefinedType():
            return value_texts(values, dtype.sqlType(), zone)
        case StructType(fields=fields):
            columns = [value_texts(values.field(i), f.dataType, zone) for i, f in enumerate(fields)]
            rows = zip(*columns, strict=True) if columns else ((),) * len(values)
            texts = ["{" + ", ".join(row) + "}" for row in rows]
        case ArrayType(elementType=element):
            items = value_texts(values.values, element, zone)
            texts = ["[" + ", ".join(items[a:b]) + "]" for a, b in _spans(values)]
        case MapType(keyType=key, valueType=value):
            pairs = [
                f"{k} -> {v}"
                for k, v in zip(
                    value_texts(values.keys, key, zone), value_texts(values.items, value, zone), strict=True
                )
            ]
            texts = ["{" + ", ".join(pairs[a:b]) + "}" for a, b in _spans(values)]
        case _:
            texts = _leaf_texts(values, dtype, zone)
    return [text if ok else _NULL for text, ok in zip(texts, valid, strict=True)]


def _spans(values: pa.Array) -> list[tuple[int, int]]:
    offsets = values.offsets.to_pylist()
    return list(itertools.pairwise(offsets))


def _leaf_texts(values: pa.Array, dtype: DataType, zone: str) -> list[str]:
    match dtype:
        case TimestampType() | TimestampNTZType():
            local = zone_info(zone) if isinstance(dtype, TimestampType) else datetime.UTC
            return [timestamp_text(v or 0, local) for v in values.cast(pa.timestamp("us")).cast(pa.int64()).to_pylist()]
        case DateType():
            return [_date_text(v or 0) for v in values.cast(pa.int32()).to_pylist()]
        case TimeType():
            return [_time_text(v or 0) for v in values.cast(pa.time64("us")).cast(pa.int64()).to_pylist()]
        case DayTimeIntervalType(startField=start, endField=end):
            return [day_time_text(v or 0, start, end) for v in values.cast(pa.int64()).to_pylist()]
        case YearMonthIntervalType(startField=start, endField=end):
            return [year_month_text(v or 0, start, end) for v in values.cast(pa.int32()).to_pylist()]
    python = values.to_pylist()
    match dtype:
        case BooleanType():
            return ["true" if v else "false" for v in python]
        case DoubleType():
            return [double_text(0.0 if v is None else v) for v in python]
        case FloatType():
            return [double_text(0.0 if v is None else v, single=True) for v in python]
        case DecimalType():
            return [format(v or Decimal(0), "f") for v in python]
        case BinaryType():
            return ["[" + (v or b"").hex(" ").upper() + "]" for v in python]
        case CalendarIntervalType():
            return [calendar_interval_text(v.months, v.days, v.nanoseconds // 1000) if v else "" for v in python]
        case _:
            return [str(v) for v in python]


def zone_info(name: str) -> datetime.tzinfo:
    """A session time zone, by its name or as an offset (`+05:30`, `UTC+5`)."""
    match = _OFFSET.fullmatch(name)
    if match is None:
        return datetime.UTC if name in ("Z", "UTC", "GMT") else ZoneInfo(name)
    sign, hours, minutes, seconds = match.groups(default="0")
    offset = datetime.timedelta(hours=int(hours), minutes=int(minutes), seconds=int(seconds))
    return datetime.timezone(-offset if sign == "-" else offset)


def double_text(value: float, *, single: bool = False) -> str:
    """A double (or, `single`, a float) as Java's `toString` writes it."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0:
        return "-0.0" if math.copysign(1, value) < 0 else "0.0"
    exact: float | np.float32 = np.float32(value) if single else value
    if 1e-3 <= abs(value) < 1e7:
        return str(np.format_float_positional(exact, unique=True, trim="0"))
    mantissa, _, exponent = np.format_float_scientific(exact, unique=True, trim="0").partition("e")
    if mantissa.endswith(".0") and abs(value) < (1e-37 if single else 1e-307):
        mantissa, _, exponent = f"{float(exact):.1e}".partition("e")  # Java writes at least two digits
    return f"{mantissa}E{int(exponent)}"


def _date_of(days: int) -> tuple[int, str]:
    """Day number since the epoch to (year, `-MM-dd`), by the proleptic Gregorian calendar without bounds."""
    era, day_of_era = divmod(days + 719_468, 146_097)  # eras of 400 years, from 1 March of year 0
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * shifted + 2) // 5 + 1
    month = shifted + 3 if shifted < 10 else shifted - 9
    return year_of_era + 400 * era + (month <= 2), f"-{month:02d}-{day:02d}"


def _year_text(year: int) -> str:
    if year > 9999:
        return f"+{year}"
    return f"{year:04d}" if year >= 0 else f"-{-year:04d}"


def _date_text(days: int) -> str:
    year, rest = _date_of(days)
    return _year_text(year) + rest


def timestamp_text(micros: int, zone: datetime.tzinfo) -> str:
    """Microseconds since the epoch as `yyyy-MM-dd HH:mm:ss[.fraction]` in a zone."""
    try:
        offset = (_EPOCH + datetime.timedelta(microseconds=micros)).astimezone(zone).utcoffset()
    except OverflowError:
        offset = None
    if offset is not None:
        micros += offset // datetime.timedelta(microseconds=1)
    days, rest = divmod(micros, 86_400_000_000)
    return f"{_date_text(days)} {_time_text(rest)}"


def _time_text(micros: int) -> str:
    seconds, fraction = divmod(micros, 1_000_000)
    text = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return text + (f".{fraction:06d}".rstrip("0") if fraction else "")


# --------------------------------------------------------------------------------------------------------- intervals

_DAY_TIME_FIELDS = ("DAY", "HOUR", "MINUTE", "SECOND")
_FIELD_MICROS = (86_400_000_000, 3_600_000_000, 60_000_000, 1_000_000)


def _seconds_text(micros: int) -> str:
    seconds, fraction = divmod(micros, 1_000_000)
    return f"{seconds:02d}" + (f".{fraction:06d}".rstrip("0") if fraction else "")


def day_time_text(micros: int, start: int, end: int) -> str:
    """A day-time interval as an ANSI literal; `start` and `end` count from 0 (day) to 3 (second)."""
    sign, rest = ("-" if micros < 0 else ""), abs(micros)
    text = ""
    for field in range(start, end + 1):
        amount, left = divmod(rest, _FIELD_MICROS[field])
        separator = "" if field == start else (" " if field == 1 else ":")
        if field == 3:
            text += separator + _seconds_text(rest)
        else:
            text += separator + (str(amount) if field == 0 else f"{amount:02d}")
        rest = left
    name = _DAY_TIME_FIELDS[start] + (f" TO {_DAY_TIME_FIELDS[end]}" if end != start else "")
    return f"INTERVAL '{sign}{text}' {name}"


def year_month_text(months: int, start: int, end: int) -> str:
    """A year-month interval as an ANSI literal; fields 0 (year) and 1 (month)."""
    sign, rest = ("-" if months < 0 else ""), abs(months)
    if start == end:
        return f"INTERVAL '{sign}{rest // 12 if start == 0 else rest}' {'YEAR' if start == 0 else 'MONTH'}"
    return f"INTERVAL '{sign}{rest // 12}-{rest % 12}' YEAR TO MONTH"


def calendar_interval_text(months: int, days: int, micros: int) -> str:
    """A calendar interval in words: `1 years 2 months 3 days 4 hours 5 minutes 6.7 seconds`."""
    parts = [
        (int(months / 12), "years"),
        (int(math.fmod(months, 12)), "months"),
        (days, "days"),
        (int(micros / 3_600_000_000), "hours"),
        (int(math.fmod(micros, 3_600_000_000) / 60_000_000), "minutes"),
    ]
    words = [f"{amount} {unit}" for amount, unit in parts if amount]
    seconds = int(math.fmod(micros, 60_000_000))
    if seconds:
        whole, fraction = divmod(abs(seconds), 1_000_000)
        text = str(whole) + (f".{fraction:06d}".rstrip("0") if fraction else "")
        words.append(f"{'-' if seconds < 0 else ''}{text} seconds")
    return " ".join(words) if words else "0 seconds"


# ----------------------------------------------------------------------------------------------------------- schemas


def schema_tree(schema: StructType, level: int | None = None) -> str:
    """The text of `printSchema`: `root`, then a line a field; `level` limits the depth."""
    lines: list[str] = []
    depth = level if level is not None and level > 0 else 2**31
    _fields(schema, " |", depth, lines)
    return "\n".join(["root", *lines]) + "\n"


def _type_word(dtype: DataType) -> str:
    match dtype:
        case DecimalType(precision=p, scale=s):
            return f"decimal({p},{s})"
        case CharType(length=n):
            return f"char({n})"
        case VarcharType(length=n):
            return f"varchar({n})"
        case StringType():
            return "string" if dtype.isUTF8BinaryCollation() else f"string collate {dtype.collation}"
        case DayTimeIntervalType() | YearMonthIntervalType() | TimeType():
            return str(dtype.simpleString())
        case UserDefinedType():
            return "udt"
        case _:
            return str(dtype.typeName())


def _fields(struct: StructType, prefix: str, depth: int, lines: list[str]) -> None:
    if depth <= 0:
        return
    for field in struct.fields:
        nullable = "true" if field.nullable else "false"
        name = field.name.translate(_ESCAPES)
        lines.append(f"{prefix}-- {name}: {_type_word(field.dataType)} (nullable = {nullable})")
        _inside(field.dataType, prefix + "    |", depth - 1, lines)


def _inside(dtype: DataType, prefix: str, depth: int, lines: list[str]) -> None:
    if depth <= 0:
        return
    match dtype:
        case StructType():
            _fields(dtype, prefix, depth, lines)
        case ArrayType(elementType=element, containsNull=nulls):
            lines.append(f"{prefix}-- element: {_type_word(element)} (containsNull = {'true' if nulls else 'false'})")
            _inside(element, prefix + "    |", depth - 1, lines)
        case MapType(keyType=key, valueType=value, valueContainsNull=nulls):
            lines.append(f"{prefix}-- key: {_type_word(key)}")
            _inside(key, prefix + "    |", depth - 1, lines)
            lines.append(f"{prefix}-- value: {_type_word(value)} (valueContainsNull = {'true' if nulls else 'false'})")
            _inside(value, prefix + "    |", depth - 1, lines)
        case _:
            return
