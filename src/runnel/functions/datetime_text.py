"""Dates and timestamps in the text of files and JSON: SQL for the default forms and for Java patterns."""

from __future__ import annotations

import zoneinfo
from functools import cache
from typing import Any, cast

from runnel.functions import cast_text
from runnel.functions.date_patterns import check_pattern, parse_sql, parser_of, text_literal
from runnel.functions.registry import LoweringContext

_ZONED = r"'[0-9:.] *(Z|[A-Za-z][A-Za-z0-9_+/:-]*|[+-][0-9]{1,2}(:?[0-9]{2}){0,2})\s*$'"
_REGION = "' ?([A-Za-z]+/[A-Za-z0-9_+/-]+|[A-Z]{3,4})\\s*$'"

_DENIED = r"'[-0-9][T ]24|T\s*$|:[0-9.]+ *[A-Z]*[+-](19|[2-9][0-9]|18:?(0[1-9]|[1-9][0-9]))(:?[0-9]{2})*\s*$'"
"""Hour 24, nothing after the T, offsets beyond 18 hours."""


def parse_date(context: LoweringContext, text: str, pattern: str | None) -> str:
    """SQL of the DATE in `text`, null where it is none. Without a pattern ISO forms, and whole numbers as days."""
    if pattern is not None:
        return f"CAST({parse_sql(parser_of(check_pattern(pattern, parsing=True)), text, '_t')} AS DATE)"
    days = f"CASE WHEN regexp_full_match({text}, '-?[0-9]{{1,9}}') THEN TRY_CAST({text} AS INTEGER) END"
    return f"coalesce({cast_text.to_date(text)}, DATE '1970-01-01' + {days})"


def parse_timestamp(
    context: LoweringContext, text: str, pattern: str | None, zone: str | None, *, with_zone: bool
) -> str:
    """SQL of the TIMESTAMP in `text`, null where it is none.

    with_zone: the result is an instant, taken in `zone` (None: the session's) where the text names none; else it is a
    wall clock, and a text that names a zone is refused.
    """
    if pattern is not None:
        instant = _instant(context, "_t", zone) if with_zone else "_t"
        return parse_sql(parser_of(check_pattern(pattern, parsing=True)), text, instant)
    if not with_zone:
        other = (
            f"CASE WHEN regexp_matches({text}, {_DENIED}) THEN NULL "
            f"WHEN position(':' IN {text}) = 0 OR NOT regexp_matches(substr({text}, position(':' IN {text})), "
            f"{_ZONED}) THEN {cast_text.to_timestamp_ntz(text)} END"
        )
        return f"CASE {_quick(text, '', '{}')} ELSE {other} END"
    slow = (
        cast_text.to_timestamp(cast(LoweringContext, _InZone(context, zone)), text)
        if zone
        else cast_text.to_timestamp(context, text)
    )
    known = f"contains({_zones()}, '|' || regexp_extract({text}, {_REGION}, 1) || '|')"
    guarded = (
        f"CASE WHEN regexp_matches({text}, {_DENIED}) THEN NULL "
        f"WHEN NOT regexp_matches({text}, {_REGION}) OR {known} THEN {slow} END"
    )
    return f"CASE {quick_timestamp(context, text, zone)} ELSE {guarded} END"


def quick_timestamp(context: LoweringContext, text: str, zone: str | None, quote: str = "") -> str:
    """WHEN branches for the forms that nearly all timestamps have, with no regular expression.

    text: SQL of the timestamp's text, `quote` around it left on.
    """
    skip, around = len(quote) + 1, 2 * len(quote)
    dated = f"{text} LIKE '{quote}____-__-__%' AND {_no_24(text)}"
    utc = (
        f"WHEN strlen({text}) = {20 + around} AND ends_with({text}, 'Z{quote}') AND {dated} "
        f"THEN TRY_CAST(substr({text}, {skip}, 19) AS TIMESTAMP) "
        f"WHEN {text} LIKE '{quote}____-__-__T__:__:__%Z{quote}' AND {_no_24(text)} "
        f"THEN TRY_CAST(substr({text}, {skip}, length({text}) - {around}) AS TIMESTAMP)"
    )
    return f"{_quick(text, quote, _instant(context, '{}', zone))} {utc}"


def _quick(text: str, quote: str, result: str) -> str:
    # What has this length and these dashes and is no timestamp, or has another character for the T, fails the cast.
    shape = f"strlen({text}) = {19 + 2 * len(quote)} AND {text} LIKE '{quote}____-__-__%'"
    value = f"TRY_CAST(substr({text}, {len(quote) + 1}, 19) AS TIMESTAMP)"
    return f"WHEN {shape} AND {_no_24(text)} THEN {result.replace('{}', value)}"


def _no_24(text: str) -> str:
    """DuckDB takes hour 24 for the next day's midnight; Spark does not."""
    return f"NOT contains({text}, ' 24:') AND NOT contains({text}, 'T24:')"


def _instant(context: LoweringContext, local: str, zone: str | None) -> str:
    if zone is None:
        return context.instant(local)
    if zone in ("UTC", "Z", "GMT", "Etc/UTC"):
        return local
    return f"timezone('UTC', timezone({text_literal(zone)}, {local}))"


class _InZone:
    """A context whose session time zone is another one; only what the reading of timestamps asks for."""

    def __init__(self, context: LoweringContext, zone: str) -> None:
        self._context = context
        self._zone = zone

    def instant(self, local: str) -> str:
        return _instant(self._context, local, self._zone)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)


@cache
def _zones() -> str:
    """All zone names in one literal, which DuckDB reads far faster than a list of hundreds."""
    names = sorted(zoneinfo.available_timezones() | {"UTC", "GMT", "UT", "PST", "EST", "CST"})
    return text_literal(f"|{'|'.join(names)}|")
