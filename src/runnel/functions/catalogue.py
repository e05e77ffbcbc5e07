"""The list of all functions: a family's module is known to Runnel iff its `FUNCTIONS` stand here."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from runnel.functions import (
    aggregates,
    arithmetic,
    arrays,
    conditional,
    csv_text,
    datetime_parsing,
    datetimes,
    generators,
    hashes,
    higher_order,
    intervals,
    json_text,
    maps_structs,
    maths,
    misc,
    moments,
    operators,
    strings,
    time_windows,
    urls,
    windows,
)
from runnel.functions.registry import CatalogueEntry

FAMILIES: Final[tuple[tuple[CatalogueEntry, ...], ...]] = (
    arithmetic.FUNCTIONS,
    operators.FUNCTIONS,
    conditional.FUNCTIONS,
    maths.FUNCTIONS,
    strings.FUNCTIONS,
    aggregates.FUNCTIONS,
    moments.FUNCTIONS,
    arrays.FUNCTIONS,
    csv_text.FUNCTIONS,
    datetime_parsing.FUNCTIONS,
    datetimes.FUNCTIONS,
    generators.FUNCTIONS,
    hashes.FUNCTIONS,
    higher_order.FUNCTIONS,
    intervals.FUNCTIONS,
    json_text.FUNCTIONS,
    maps_structs.FUNCTIONS,
    misc.FUNCTIONS,
    time_windows.FUNCTIONS,
    urls.FUNCTIONS,
    windows.FUNCTIONS,
)  # fmt: skip


def _index() -> dict[str, CatalogueEntry]:
    entries: dict[str, CatalogueEntry] = {}
    for family in FAMILIES:
        for entry in family:
            for name in (entry.name, *entry.aliases):
                if name != name.lower():
                    raise ValueError(f"function names are lower case: {name}")
                if name in entries:
                    raise ValueError(f"two functions are called {name}")
                entries[name] = entry
    return entries


ENTRIES: Final = MappingProxyType(_index())
"""Every entry by each of its names."""


def lookup(name: str) -> CatalogueEntry | None:
    """The entry of a name or alias, lower case; None if Spark has no such function or nobody has listed it."""
    return ENTRIES.get(name)
