"""Between strings and values, as Spark reads and writes them: SQL text.

Every `to_…` gives null for text that Spark would call malformed. Spark trims white space and control characters first.
"""

from __future__ import annotations

from typing import Final

from pyspark.sql.types import DataType, DayTimeIntervalType, StringType, YearMonthIntervalType

from runnel.functions.registry import LoweringContext

STRING: Final = StringType()
_BLANKS: Final = "'" + "".join(chr(c) for c in range(1, 33)) + "\x7f'"
_NUMBER: Final = r"'[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?'"
_FLOATING: Final = r"'[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?[dDfF]?'"


def trimmed(sql: str) -> str:
    return f"trim({sql}, {_BLANKS})"


def is_number(sql: str) -> str:
    """SQL condition: the text is a plain or scientific number."""
    return f"regexp_full_match({trimmed(sql)}, {_NUMBER})"


def to_boolean(sql: str) -> str:
    word = f"lower({trimmed(sql)})"
    return (
        f"CASE WHEN {word} IN ('t', 'true', 'y', 'yes', '1') THEN TRUE "
        f"WHEN {word} IN ('f', 'false', 'n', 'no', '0') THEN FALSE END"
    )


def to_integer(sql: str, type_name: str, *, legacy: bool) -> str:
    """Digits with a sign; in legacy mode a fraction is cut off."""
    text = trimmed(sql)
    if legacy:
        whole = f"regexp_extract({text}, '^([+-]?[0-9]*)', 1)"
        digits = f"CASE WHEN {whole} IN ('', '+', '-') THEN '0' ELSE {whole} END"
        shape = r"'[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)'"
        return f"CASE WHEN regexp_full_match({text}, {shape}) THEN TRY_CAST({digits} AS {type_name}) END"
    return f"CASE WHEN regexp_full_match({text}, '[+-]?[0-9]+') THEN TRY_CAST({text} AS {type_name}) END"


def to_decimal(sql: str, type_name: str) -> str:
    return f"CASE WHEN {is_number(sql)} THEN TRY_CAST({trimmed(sql)} AS {type_name}) END"


def to_floating(sql: str, type_name: str) -> str:
    text = trimmed(sql)
    word = f"lower({text})"
    return (
        f"CASE WHEN regexp_full_match({text}, {_FLOATING}) "
        f"THEN TRY_CAST(TRY_CAST(rtrim({text}, 'dDfF') AS DOUBLE) AS {type_name}) "
        f"WHEN {word} IN ('inf', '+inf', 'infinity', '+infinity') THEN CAST('inf' AS {type_name}) "
        f"WHEN {word} IN ('-inf', '-infinity') THEN CAST('-inf' AS {type_name}) "
        f"WHEN {word} = 'nan' THEN CAST('nan' AS {type_name}) END"
    )


def _ymd(text: str, pattern: str, first: int) -> str:
    def part(i: int) -> str:
        return f"COALESCE(nullif(regexp_extract({text}, {pattern}, {i}), ''), '1')"

    year = f"regexp_extract({text}, {pattern}, {first})"
    return f"{year} || '-' || lpad({part(first + 1)}, 2, '0') || '-' || lpad({part(first + 2)}, 2, '0')"


_DATE: Final = r"'^\+?([0-9]{4,6})(?:-([0-9]{1,2})(?:-([0-9]{1,2})(?:[ T].*)?)?)?$'"
_ZONE: Final = r"(Z|[A-Za-z][A-Za-z0-9_+/:-]*|[+-][0-9]{1,2}(?::?[0-9]{1,2})?(?::?[0-9]{2})?)"
_TIMESTAMP: Final = (
    r"'^\+?([0-9]{4,6})(?:-([0-9]{1,2})(?:-([0-9]{1,2})(?:[ T]"
    r"(?:([0-9]{1,2})(?::([0-9]{1,2})(?::([0-9]{1,2})(?:\.([0-9]{0,9}))?)?)?)? *" + _ZONE + r"?)?)?)?$'"
)
_PLAIN_TIMESTAMP: Final = r"'[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?'"


def to_date(sql: str) -> str:
    """`yyyy`, `yyyy-[m]m`, `yyyy-[m]m-[d]d`, the last with anything after a blank or T."""
    text = trimmed(sql)
    return (
        f"CASE WHEN regexp_full_match({text}, '[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}') THEN TRY_CAST({text} AS DATE) "
        f"WHEN regexp_matches({text}, {_DATE}) THEN TRY_CAST({_ymd(text, _DATE, 1)} AS DATE) END"
    )


def _wall_clock(text: str) -> str:
    def part(i: int) -> str:
        return f"lpad(COALESCE(nullif(regexp_extract({text}, {_TIMESTAMP}, {i}), ''), '0'), 2, '0')"

    fraction = f"rpad(left(regexp_extract({text}, {_TIMESTAMP}, 7), 6), 6, '0')"
    joined = (
        f"{_ymd(text, _TIMESTAMP, 1)} || ' ' || {part(4)} || ':' || {part(5)} || ':' || {part(6)} || '.' || {fraction}"
    )
    return f"TRY_CAST({joined} AS TIMESTAMP)"


def to_timestamp_ntz(sql: str) -> str:
    """As `to_timestamp`; a zone in the text is not looked at."""
    text = trimmed(sql)
    return (
        f"CASE WHEN regexp_full_match({text}, {_PLAIN_TIMESTAMP}) THEN TRY_CAST({text} AS TIMESTAMP) "
        f"WHEN regexp_matches({text}, {_TIMESTAMP}) THEN {_wall_clock(text)} END"
    )


def to_timestamp(ctx: LoweringContext, sql: str) -> str:
    """Date forms, then `[h]h[:[m]m[:[s]s[.fraction]]]` and a zone: Z, ±h[h][:mm], or a region. Session zone otherwise."""
    text = trimmed(sql)
    plain = ctx.instant(f"TRY_CAST({text} AS TIMESTAMP)")
    wall = _wall_clock(text)
    zone = f"regexp_extract({text}, {_TIMESTAMP}, 8)"
    return (
        f"CASE WHEN regexp_full_match({text}, {_PLAIN_TIMESTAMP}) THEN {plain} "
        f"WHEN regexp_matches({text}, {_TIMESTAMP}) THEN CASE "
        f"WHEN {zone} = '' THEN {ctx.instant(wall)} "
        f"WHEN upper({zone}) IN ('Z', 'UTC', 'GMT', 'UT') THEN {wall} "
        f"WHEN regexp_matches({zone}, '^(UTC|GMT|UT)?[+-]') THEN {wall} - {_offset(zone)} "
        f"ELSE timezone('UTC', timezone({zone}, {wall})) END END"
    )


def _offset(zone: str) -> str:
    pattern = "'([+-])([0-9]{1,2}):?([0-9]{1,2})?:?([0-9]{2})?$'"

    def part(i: int) -> str:
        return f"CAST(COALESCE(nullif(regexp_extract({zone}, {pattern}, {i}), ''), '0') AS INTEGER)"

    sign = f"CASE WHEN regexp_extract({zone}, {pattern}, 1) = '-' THEN -1 ELSE 1 END"
    return f"to_seconds({sign} * ({part(2)} * 3600 + {part(3)} * 60 + {part(4)}))"


def to_time(sql: str) -> str:
    """`[h]h:[m]m[:[s]s[.fraction]]`."""
    text = trimmed(sql)
    whole = f"CASE WHEN regexp_full_match({text}, '[0-9]+:[0-9]+') THEN {text} || ':00' ELSE {text} END"
    shape = r"'[0-9]{1,2}:[0-9]{1,2}(:[0-9]{1,2}(\.[0-9]{1,6})?)?'"
    return f"CASE WHEN regexp_full_match({text}, {shape}) THEN TRY_CAST({whole} AS TIME) END"


# ------------------------------------------------------------------------------------------------ numbers to text


def _java_style(number: str, shortest: str) -> str:
    """Java's Double.toString from DuckDB's shortest digits: scientific below 10^-3 and from 10^7 on."""
    scientific = f"split_part({shortest}, 'e', 1)"
    mantissa = f"{scientific} || CASE WHEN contains({scientific}, '.') THEN '' ELSE '.0' END"
    from_exponent = f"{mantissa} || 'E' || CAST(CAST(split_part({shortest}, 'e', 2) AS INTEGER) AS VARCHAR)"
    magnitude = f"ltrim({shortest}, '-')"
    sign = f"CASE WHEN starts_with({shortest}, '-') THEN '-' ELSE '' END"
    large = f"rtrim(replace({magnitude}, '.', ''), '0')"
    small = f"ltrim(replace({magnitude}, '.', ''), '0')"

    def digits(run: str) -> str:
        return f"left({run}, 1) || '.' || CASE WHEN length({run}) > 1 THEN substr({run}, 2) ELSE '0' END"

    whole_length = f"(length(split_part({magnitude}, '.', 1)) - 1)"
    zeros = f"(length(split_part({magnitude}, '.', 2)) - length(ltrim(split_part({magnitude}, '.', 2), '0')) + 1)"
    return (
        f"CASE WHEN isnan({number}) THEN 'NaN' "
        f"WHEN isinf({number}) THEN CASE WHEN {number} > 0 THEN 'Infinity' ELSE '-Infinity' END "
        f"WHEN contains({shortest}, 'e') THEN {from_exponent} "
        f"WHEN abs({number}) >= 1e7 THEN {sign} || {digits(large)} || 'E' || CAST({whole_length} AS VARCHAR) "
        f"WHEN {number} <> 0 AND abs({number}) < 1e-3 THEN {sign} || {digits(small)} || 'E-' || CAST({zeros} AS VARCHAR) "
        f"ELSE {shortest} END"
    )


def double_text(sql: str) -> str:
    """1.0, 1.0E10, 1.5E-5, NaN, Infinity."""
    return _java_style(sql, f"CAST({sql} AS VARCHAR)")


def float_text(sql: str) -> str:
    """As `double_text`; a large float's shortest digits are found by trying."""
    tries = " ".join(
        f"WHEN CAST(format('{{:.{n}e}}', CAST({sql} AS DOUBLE)) AS FLOAT) = {sql} "
        f"THEN CAST(CAST(format('{{:.{n}e}}', CAST({sql} AS DOUBLE)) AS DOUBLE) AS VARCHAR)"
        for n in range(9)
    )
    return _java_style(sql, f"CASE {tries} ELSE CAST({sql} AS VARCHAR) END")


def decimal_text(sql: str, plain: str, scale: int) -> str:
    """Java's BigDecimal.toString of a decimal whose plain text is given: scientific below 10^-6, zero among it."""
    if scale <= 6:
        return plain
    digits = f"(CASE WHEN {sql} = 0 THEN '0' ELSE ltrim({plain}, '-0.') END)"
    mantissa = f"left({digits}, 1) || CASE WHEN length({digits}) > 1 THEN '.' || substr({digits}, 2) ELSE '' END"
    exponent = f"CAST(length({digits}) - {scale + 1} AS VARCHAR)"
    sign = f"CASE WHEN {sql} < 0 THEN '-' ELSE '' END"
    return f"CASE WHEN abs({sql}) < 0.000001 THEN {sign} || {mantissa} || 'E' || {exponent} ELSE {plain} END"


# ---------------------------------------------------------------------------------------------- intervals to text

_UNITS: Final = ("DAY", "HOUR", "MINUTE", "SECOND")
_MICROS_OF: Final = (86_400_000_000, 3_600_000_000, 60_000_000, 1_000_000)


def _seconds(rest: str, padded: bool) -> str:
    whole = f"CAST({rest} // 1000000 AS VARCHAR)"
    if padded:
        whole = f"lpad({whole}, 2, '0')"
    fraction = f"rtrim(lpad(CAST({rest} % 1000000 AS VARCHAR), 6, '0'), '0')"
    return f"{whole} || CASE WHEN {rest} % 1000000 <> 0 THEN '.' || {fraction} ELSE '' END"


def day_time_text(sql: str, t: DataType) -> str:
    """INTERVAL '1 02:03:04.5' DAY TO SECOND, with the type's own fields."""
    assert isinstance(t, DayTimeIntervalType)
    start, end = t.startField or 0, t.endField if t.endField is not None else 3
    total = f"abs(CAST({sql} AS HUGEINT))"
    parts = ""
    for field in range(start, end + 1):
        rest = total if field == start else f"({total} % {_MICROS_OF[field - 1]})"
        separator = "" if field == start else (" || ' ' || " if field == 1 else " || ':' || ")
        if field == 3:
            text = f"{_seconds(rest, True)}"
        else:
            text = f"CAST({rest} // {_MICROS_OF[field]} AS VARCHAR)"
            text = f"lpad({text}, CAST(greatest(2, length({text})) AS INTEGER), '0')" if field > 0 else text
        parts += separator + f"({text})"
    names = _UNITS[start] if start == end else f"{_UNITS[start]} TO {_UNITS[end]}"
    return f"('INTERVAL ' || chr(39) || CASE WHEN {sql} < 0 THEN '-' ELSE '' END || {parts} || chr(39) || ' {names}')"


def year_month_text(sql: str, t: DataType) -> str:
    """INTERVAL '1-2' YEAR TO MONTH, with the type's own fields."""
    assert isinstance(t, YearMonthIntervalType)
    total = f"abs(CAST({sql} AS BIGINT))"
    match (t.startField or 0, 1 if t.endField is None else t.endField):
        case (0, 0):
            body, names = f"CAST({total} // 12 AS VARCHAR)", "YEAR"
        case (1, 1):
            body, names = f"CAST({total} AS VARCHAR)", "MONTH"
        case _:
            body, names = f"CAST({total} // 12 AS VARCHAR) || '-' || CAST({total} % 12 AS VARCHAR)", "YEAR TO MONTH"
    return f"('INTERVAL ' || chr(39) || CASE WHEN {sql} < 0 THEN '-' ELSE '' END || {body} || chr(39) || ' {names}')"


def calendar_text(sql: str) -> str:
    """`1 years 2 months 3 days 4 hours 5 minutes 6.7 seconds`, units that are zero left out."""
    months = f"CAST(datepart('year', {sql}) * 12 + datepart('month', {sql}) AS BIGINT)"
    micros = (
        f"epoch_us({sql} - to_months(CAST({months} AS INTEGER)) - to_days(CAST(datepart('day', {sql}) AS INTEGER)))"
    )
    terms = [
        (f"{months} // 12", "years"),
        (f"{months} % 12", "months"),
        (f"CAST(datepart('day', {sql}) AS BIGINT)", "days"),
        (f"{micros} // 3600000000", "hours"),
        (f"{micros} // 60000000 % 60", "minutes"),
    ]
    parts = [f"CASE WHEN {value} <> 0 THEN CAST({value} AS VARCHAR) || ' {unit}' END" for value, unit in terms]
    rest = f"({micros} % 60000000)"
    sign = f"CASE WHEN {rest} < 0 THEN '-' ELSE '' END"
    parts.append(f"CASE WHEN {rest} <> 0 THEN {sign} || {_seconds(f'abs({rest})', False)} || ' seconds' END")
    return (
        f"CASE WHEN ({sql}) IS NOT NULL THEN COALESCE(nullif(concat_ws(' ', {', '.join(parts)}), ''), '0 seconds') END"
    )


def to_calendar_interval(sql: str) -> str:
    """`10 minutes`, `interval 1 day 2 hours`, any case: units with whole or decimal numbers; null for anything else."""
    shape = r"^\s*(interval\s+)?([+-]?\d+(\.\d+)?\s*[a-z]+\s*)+$"
    bare = f"regexp_replace({sql}, '^\\s*interval\\s+', '', 'i')"
    return f"CASE WHEN regexp_matches({sql}, '{shape}', 'i') THEN TRY_CAST({bare} AS INTERVAL) END"
