"""Dates and timestamps in the text of files and JSON: SQL for the default forms and for Java patterns."""

from __future__ import annotations

import zoneinfo
from functools import cache

from runnel.functions import cast_text
from runnel.functions.date_patterns import check_pattern, parse_sql, parser_of, text_literal
from runnel.functions.registry import LoweringContext

_ZONED = r"'[0-9:.] *(Z|[A-Za-z][A-Za-z0-9_+/:-]*|[+-][0-9]{1,2}(:?[0-9]{2}){0,2})\s*$'"
_REGION = "' ?([A-Za-z]+/[A-Za-z0-9_+/-]+|[A-Z]{3,4})\\s*$'"


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
    # a timestamp that prints as it was written needs no closer look
    tried = f"TRY_CAST({text} AS TIMESTAMP)"
    plain = f"CAST({tried} AS VARCHAR) = {text}"
    if not with_zone:
        other = (
            f"CASE WHEN position(':' IN {text}) = 0 OR NOT regexp_matches(substr({text}, position(':' IN {text})), "
            f"{_ZONED}) THEN {cast_text.to_timestamp_ntz(text)} END"
        )
        return f"CASE WHEN {plain} THEN {tried} ELSE {other} END"
    slow = cast_text.to_timestamp(_InZone(context, zone), text) if zone else cast_text.to_timestamp(context, text)
    known = f"list_contains({_zones()}, regexp_extract({text}, {_REGION}, 1))"
    guarded = f"CASE WHEN NOT regexp_matches({text}, {_REGION}) OR {known} THEN {slow} END"
    return f"CASE WHEN {plain} THEN {_instant(context, tried, zone)} ELSE {guarded} END"


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

    def __getattr__(self, name: str) -> object:
        return getattr(self._context, name)


@cache
def _zones() -> str:
    names = sorted(zoneinfo.available_timezones() | {"UTC", "GMT", "UT", "PST", "EST", "CST"})
    return "[" + ", ".join(text_literal(n) for n in names) + "]"
