"""Java's datetime patterns as DuckDB SQL, both ways.

`check_pattern` reads a pattern into pieces with Spark 4's restrictions; `format_sql` writes a timestamp by it; `parse_sql`
reads one. Parsing is strict as Java's is: a letter repeated n times takes n digits, a single letter takes as many as its
field can have, names ignore case, `[…]` is optional. What cannot be done exactly (zone names) is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from runnel.errors import RunnelError, UpgradeError, error, unsupported

_DOCROOT: Final = "https://spark.apache.org/docs/latest"
_WEEK_BASED: Final = frozenset("YWwuec")
_ILLEGAL: Final = frozenset("ABnNp")
_NOT_FOR_PARSING: Final = frozenset("EFqQ")
_KNOWN: Final = frozenset("GyMLdDqQEFahKkHmsSVzOXxZ")
_LEGACY_FORMATTER: Final = frozenset("GyYMLwWDdFEuaHkKhmsSzZX")
_LONGEST: Final = {"G": 4, "M": 4, "L": 4, "E": 4, "Q": 4, "q": 4, "y": 6, "d": 2, "D": 3, "H": 2, "h": 2, "k": 2, "K": 2,
                   "m": 2, "s": 2, "S": 9, "a": 1, "F": 1, "X": 5, "x": 5, "Z": 5, "z": 4, "O": 4, "V": 2}  # fmt: skip
_MONTHS: Final = ("January", "February", "March", "April", "May", "June",
                  "July", "August", "September", "October", "November", "December")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Piece:
    """A field (`letter` repeated `count` times), or literal text (`letter` empty), or a bracket of an optional section."""

    letter: str
    count: int = 0
    text: str = ""


def text_literal(text: str) -> str:
    """SQL text of a VARCHAR constant."""
    return "'" + text.replace("'", "''") + "'"


def check_pattern(pattern: str, *, parsing: bool) -> tuple[Piece, ...]:
    """The pattern's pieces.

    Raises UpgradeError (INCONSISTENT_BEHAVIOR_CROSS_VERSION.DATETIME_PATTERN_RECOGNITION) for what Spark 2 could read and
    Spark 4 cannot, else .DATETIME_WEEK_BASED_PATTERN, INVALID_DATETIME_PATTERN.ILLEGAL_CHARACTER or .WITH_SUGGESTION.
    """
    pieces = _scan(pattern)
    problem = _problem(pattern, pieces, parsing)
    if problem is None:
        return pieces
    if all(p.letter in _LEGACY_FORMATTER for p in pieces if p.letter.isalpha()):
        raise UpgradeError(
            "INCONSISTENT_BEHAVIOR_CROSS_VERSION.DATETIME_PATTERN_RECOGNITION",
            {"pattern": f"'{pattern}'", "config": '"spark.sql.legacy.timeParserPolicy"', "docroot": _DOCROOT},
        )
    raise problem


def _scan(pattern: str) -> tuple[Piece, ...]:
    pieces = []
    i = 0
    while i < len(pattern):
        c = pattern[i]
        if c == "'":
            end = pattern.find("'", i + 1)
            end = len(pattern) if end < 0 else end
            pieces.append(Piece("", 0, pattern[i + 1 : end] or "'"))
            i = end + 1
        elif c.isascii() and c.isalpha():
            end = i
            while end < len(pattern) and pattern[end] == c:
                end += 1
            pieces.append(Piece(c, end - i))
            i = end
        else:
            pieces.append(Piece(c if c in "[]" else "", 0, c))
            i += 1
    return tuple(pieces)


def _problem(pattern: str, pieces: tuple[Piece, ...], parsing: bool) -> RunnelError | None:
    letters = [p.letter for p in pieces if p.letter.isalpha()]
    for letter in letters:
        if letter in _WEEK_BASED:
            return error("INCONSISTENT_BEHAVIOR_CROSS_VERSION.DATETIME_WEEK_BASED_PATTERN", c=letter)
    for letter in letters:
        if letter in _ILLEGAL or (parsing and letter in _NOT_FOR_PARSING):
            return error("INVALID_DATETIME_PATTERN.ILLEGAL_CHARACTER", c=letter, pattern=pattern)
    depth = 0
    for p in pieces:
        depth += {"[": 1, "]": -1}.get(p.letter, 0)
        if depth < 0 or (p.letter.isalpha() and (p.letter not in _KNOWN or p.count > _LONGEST[p.letter])):
            return error("INVALID_DATETIME_PATTERN.WITH_SUGGESTION", pattern=f"'{pattern}'", docroot=_DOCROOT)
        if p.letter == "" and p.text in ("{", "}", "#"):
            return error("INVALID_DATETIME_PATTERN.WITH_SUGGESTION", pattern=f"'{pattern}'", docroot=_DOCROOT)
    return None


# ------------------------------------------------------------------------------------------------------ formatting

_STRFTIME: Final = {
    ("M", 1): "%-m", ("M", 2): "%m", ("M", 3): "%b", ("M", 4): "%B", ("L", 1): "%-m", ("L", 2): "%m", ("L", 3): "%b",
    ("L", 4): "%B", ("d", 1): "%-d", ("d", 2): "%d", ("D", 1): "%-j", ("D", 3): "%j", ("E", 1): "%a", ("E", 2): "%a",
    ("E", 3): "%a", ("E", 4): "%A", ("a", 1): "%p", ("h", 1): "%-I", ("h", 2): "%I", ("H", 1): "%-H", ("H", 2): "%H",
    ("m", 1): "%-M", ("m", 2): "%M", ("s", 1): "%-S", ("s", 2): "%S", ("S", 3): "%g", ("S", 6): "%f", ("y", 2): "%y",
}  # fmt: skip


def format_sql(pieces: tuple[Piece, ...], local: str, utc: str, zone: str) -> str:
    """SQL of the text of a timestamp.

    local: SQL of its wall clock; utc: SQL of the instant in UTC (the same for timestamps without zone); zone: the session
    time zone's name.
    """
    parts: list[str] = []
    run = ""
    for p in pieces:
        if p.letter in ("[", "]"):
            continue
        if not p.letter:
            run += p.text.replace("%", "%%")
            continue
        code = _STRFTIME.get((p.letter, p.count))
        if code is not None:
            run += code
            continue
        if run:
            parts.append(_strftime(local, run))
            run = ""
        parts.append(_field_text(p, local, utc, zone))
    if run or not parts:
        parts.append(_strftime(local, run))
    return parts[0] if len(parts) == 1 else f"({' || '.join(parts)})"


def _strftime(local: str, code: str) -> str:
    if "%" not in code.replace("%%", ""):
        return f"CASE WHEN {local} IS NOT NULL THEN {text_literal(code.replace('%%', '%'))} END"
    return f"strftime({local}, {text_literal(code)})"


def _padded(number: str, width: int) -> str:
    text = f"CAST({number} AS VARCHAR)"
    return (
        text
        if width == 1
        else f"CASE WHEN {number} < {10 ** (width - 1)} THEN lpad({text}, {width}, '0') ELSE {text} END"
    )


def _field_text(p: Piece, local: str, utc: str, zone: str) -> str:
    year, hour = f"datepart('year', {local})", f"datepart('hour', {local})"
    match p.letter:
        case "y":
            of_era = f"CASE WHEN {year} > 0 THEN {year} ELSE 1 - {year} END"
            text = _padded(f"({of_era})", p.count)
            return f"CASE WHEN {year} > 9999 AND {p.count} > 3 THEN '+' || {text} ELSE {text} END"
        case "D":
            return _padded(f"datepart('doy', {local})", p.count)
        case "S":
            return f"substr(strftime({local}, '%f') || '000', 1, {p.count})"
        case "k":
            return _padded(f"(CASE WHEN {hour} = 0 THEN 24 ELSE {hour} END)", p.count)
        case "K":
            return _padded(f"({hour} % 12)", p.count)
        case "F":
            return f"CAST((datepart('day', {local}) - 1) % 7 + 1 AS VARCHAR)"
        case "q" | "Q":
            quarter = f"datepart('quarter', {local})"
            if p.count < 3:
                return _padded(quarter, p.count)
            if p.count == 3:
                return f"'Q' || CAST({quarter} AS VARCHAR)"
            return f"(['1st', '2nd', '3rd', '4th'])[{quarter}] || ' quarter'"
        case "G":
            names = ("Anno Domini", "Before Christ") if p.count == 4 else ("AD", "BC")
            return f"CASE WHEN {year} > 0 THEN '{names[0]}' ELSE '{names[1]}' END"
        case "V":
            return f"CASE WHEN {local} IS NOT NULL THEN {text_literal(zone)} END"
        case "X" | "x" | "Z" | "O":
            return _offset_text(p, f"(epoch_us({local}) - epoch_us({utc})) // 1000000")
        case _:
            if zone in ("UTC", "Etc/UTC"):
                name = "UTC" if p.count < 4 else "Coordinated Universal Time"
                return f"CASE WHEN {local} IS NOT NULL THEN '{name}' END"
            raise unsupported(f"The datetime pattern letter {p.letter!r} (a zone's name)", "Use 'VV' or 'XXX' instead.")


def _offset_text(p: Piece, seconds: str) -> str:
    sign = f"CASE WHEN {seconds} < 0 THEN '-' ELSE '+' END"
    hours, minutes = f"abs({seconds}) // 3600", f"abs({seconds}) // 60 % 60"
    hh, mm = (f"lpad(CAST({n} AS VARCHAR), 2, '0')" for n in (hours, minutes))
    zero = "'Z'" if p.letter == "X" else None
    if p.letter == "O" or (p.letter == "Z" and p.count == 4):
        short = f"CAST({hours} AS VARCHAR) || CASE WHEN {minutes} = 0 THEN '' ELSE ':' || {mm} END"
        body = f"'GMT' || {sign} || " + (short if p.count == 1 else f"{hh} || ':' || {mm}")
        return f"CASE WHEN {seconds} = 0 THEN 'GMT' ELSE {body} END"
    if p.letter == "Z":
        body = f"{sign} || {hh} || {mm}" if p.count < 4 else f"{sign} || {hh} || ':' || {mm}"
        zero = "'Z'" if p.count == 5 else None
    elif p.count == 1:
        body = f"{sign} || {hh} || CASE WHEN {minutes} = 0 THEN '' ELSE {mm} END"
    else:
        body = f"{sign} || {hh} || {mm}" if p.count in (2, 4) else f"{sign} || {hh} || ':' || {mm}"
    return f"CASE WHEN {seconds} = 0 THEN {zero} ELSE {body} END" if zero else f"({body})"


# --------------------------------------------------------------------------------------------------------- parsing


@dataclass(frozen=True, slots=True)
class Parser:
    """How a text is read: a regular expression (RE2) and the names of its groups, in order."""

    regex: str
    groups: tuple[str, ...]


def parser_of(pieces: tuple[Piece, ...]) -> Parser:
    """The regular expression of a pattern; refuses zone names and patterns that name a field twice."""
    out: list[str] = []
    groups: list[str] = []
    for i, p in enumerate(pieces):
        if p.letter in ("[", "]"):
            out.append("(?:" if p.letter == "[" else ")?")
            continue
        if not p.letter:
            out.append(re.escape(p.text) if p.text.isascii() else p.text)
            continue
        after = pieces[i + 1] if i + 1 < len(pieces) else None
        group, regex = _field_regex(p, bool(after and after.letter and after.letter in "yMLdDHhkKmsS"))
        if group in groups:
            raise unsupported(f"A datetime pattern that has the field {p.letter!r} twice")
        groups.append(group)
        out.append(f"({regex})")
    return Parser("^" + "".join(out) + "$" if groups else "", tuple(groups))


def _field_regex(p: Piece, digits_follow: bool) -> tuple[str, str]:
    match p.letter:
        case "y" if p.count == 2:
            return "y2", "[0-9]{2}"
        case "y" if p.count == 1 or p.count == 3:
            return "y", "[+-]?[0-9]{" + str(p.count) + ",6}"
        case "y":
            return "y", "[0-9]{4}" if digits_follow or p.count == 4 else "[0-9]{" + str(p.count) + "}"
        case "M" | "L" if p.count >= 3:
            names = [m[:3] if p.count == 3 else m for m in _MONTHS]
            return "mon", "(?i:" + "|".join(names) + ")"
        case "a":
            return "a", "(?i:AM|PM)"
        case "S":
            return "f", "[0-9]{1," + str(p.count) + "}"
        case "X" | "x" | "Z":
            return "o", _offset_regex(p)
        case "D":
            return "D", "[0-9]{" + (str(p.count) + "}" if p.count == 3 else str(p.count) + ",3}")
        case "M" | "L" | "d" | "H" | "h" | "k" | "K" | "m" | "s":
            return (
                "M"
                if p.letter == "L"
                else {"m": "mi", "s": "s", "h": "h", "H": "hh", "k": "k", "K": "kk"}.get(p.letter, p.letter)
            ), "[0-9]{2}" if p.count == 2 else "[0-9]{1,2}"
        case "G":
            return "G", "(?i:AD)" if p.count < 4 else "(?i:Anno Domini)"
        case _:
            raise unsupported(f"Parsing by the datetime pattern letter {p.letter!r}", "Use an offset such as 'XXX'.")


def _offset_regex(p: Piece) -> str:
    if p.letter == "Z":
        return (
            "[+-][0-9]{4}"
            if p.count < 4
            else "Z|[+-][0-9]{2}:[0-9]{2}"
            if p.count == 5
            else "GMT(?:[+-][0-9]{2}:[0-9]{2})?"
        )
    body = {1: "[+-][0-9]{2}(?:[0-9]{2})?", 2: "[+-][0-9]{4}", 4: "[+-][0-9]{4}"}.get(p.count, "[+-][0-9]{2}:[0-9]{2}")
    return f"Z|{body}" if p.letter == "X" else body


def parse_sql(parser: Parser, text: str, instant: str, *, with_offset: bool = True) -> str:
    """SQL of the TIMESTAMP that `text` (SQL) holds, null where it does not fit.

    instant: SQL with `_t` for the wall clock that was read, giving the instant where the text has no offset of its own.
    """
    if not parser.groups:
        raise unsupported("Parsing by a datetime pattern without fields")
    groups = parser.groups

    def group(name: str, default: str) -> str:
        if name not in groups:
            return f"'{default}'"
        return f"coalesce(nullif(_g[{groups.index(name) + 1}], ''), '{default}')"

    extract = ", ".join(f"regexp_extract(_s, {text_literal(parser.regex)}, {i + 1})" for i in range(len(groups)))
    year = f"'20' || {group('y2', '00')}" if "y2" in groups else f"lpad(ltrim({group('y', '1970')}, '+'), 4, '0')"
    month = f"lpad({group('M', '1')}, 2, '0')"
    if "mon" in groups:
        names = ", ".join(f"'{m[:3].lower()}'" for m in _MONTHS)
        position = f"list_position([{names}], lower(substr({group('mon', 'Jan')}, 1, 3)))"
        month = f"lpad(CAST({position} AS VARCHAR), 2, '0')"
    hour = _hour(groups, group)
    clock = f"{hour} || ':' || lpad({group('mi', '0')}, 2, '0') || ':' || lpad({group('s', '0')}, 2, '0')"
    clock += f" || '.' || substr(rpad({group('f', '0')}, 9, '0'), 1, 6)"
    day = f"{year} || '-' || {month} || '-' || lpad({group('d', '1')}, 2, '0')"
    local = f"TRY_CAST({day} || ' ' || {clock} AS TIMESTAMP)"
    if "D" in groups:
        first = f"TRY_CAST({year} || '-01-01 ' || {clock} AS TIMESTAMP)"
        moved = f"({first} + to_days(CAST({group('D', '1')} AS INTEGER) - 1))"
        local = f"CASE WHEN year({moved}) = year({first}) THEN {moved} END"
    at = instant
    if "o" in groups and with_offset:
        sign = "CASE WHEN _o LIKE '-%' THEN 1 ELSE -1 END"
        digits = "regexp_replace(_o, '[^0-9]', '', 'g')"
        minutes = f"(CAST(substr({digits}, 1, 2) AS INTEGER) * 60 + CAST('0' || substr({digits}, 3, 2) AS INTEGER))"
        moved = f"CASE WHEN {digits} = '' THEN _t ELSE _t + to_minutes({sign} * {minutes}) END"
        at = f"CASE WHEN _o = '' THEN {instant} ELSE {moved} END"
        at = f"list_transform([{group('o', '')}], lambda _o: {at})[1]"
    read = f"list_transform([{local}], lambda _t: {at})[1]"
    body = (
        f"CASE WHEN regexp_matches(_s, {text_literal(parser.regex)}) "
        f"THEN list_transform([[{extract}]], lambda _g: {read})[1] END"
    )
    return f"list_transform([{text}], lambda _s: {body})[1]"


def _hour(groups: tuple[str, ...], get: Callable[[str, str], str]) -> str:
    """The hour as two digits; twelve-hour clocks need AM or PM, else the text does not name a time."""
    if "hh" in groups:
        return f"lpad({get('hh', '0')}, 2, '0')"
    for name, modulus in (("h", 12), ("kk", 12), ("k", 24)):
        if name in groups:
            number = f"CAST({get(name, '0')} AS INTEGER)"
            low, high = (0, 11) if name == "kk" else (1, modulus)
            after_noon = f" + CASE WHEN upper({get('a', 'AM')}) = 'PM' THEN 12 ELSE 0 END" if modulus == 12 else ""
            valid = f"{number} BETWEEN {low} AND {high}"
            return (
                f"CASE WHEN {valid} THEN lpad(CAST({number} % {modulus}{after_noon} AS VARCHAR), 2, '0') ELSE '99' END"
            )
    return "'00'"


def written_timestamp(pattern: str, local: str, utc: str, zone: str) -> str:
    """SQL of a timestamp's text as the JSON and CSV writers have it; the arguments are those of `format_sql`.

    Spark's default pattern for timestamps without zone ends in an optional fraction, which is always written.
    """
    if pattern == "yyyy-MM-dd'T'HH:mm:ss[.SSS]":
        return f"strftime({local}, '%Y-%m-%dT%H:%M:%S.%g')"
    return format_sql(check_pattern(pattern, parsing=False), local, utc, zone)
