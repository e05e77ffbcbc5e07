"""Spark's error conditions, as data: what is raised by default, its SQLSTATE, and a message that says what to do.

Names, SQLSTATEs and parameter names are Spark 4.2's; the words are ours. ``{name}`` marks a parameter. A condition
``A.B`` has a message of its own. Legacy conditions (``_LEGACY_ERROR_TEMP_n``) carry no SQLSTATE.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Condition(NamedTuple):
    """``kind`` is a key of `runnel.errors.KINDS`; ``template`` a format string over the parameters."""

    kind: str
    sqlstate: str | None
    template: str


CONDITIONS: Mapping[str, Condition] = {
    "INTERNAL_ERROR": Condition("spark", "XX000", "{message} This is a bug in Runnel: please report it."),
    "STREAM_FAILED": Condition(
        "stream", "XXKST", "Query [id = {id}, runId = {runId}] terminated with exception: {message}"
    ),
    "TABLE_OR_VIEW_NOT_FOUND": Condition(
        "analysis", "42P01", "There is no table or view {relationName}. Check its name, or create it first."
    ),
    "UNSUPPORTED_FEATURE.NOT_IN_RUNNEL": Condition("unsupported", "0A000", "{feature} is not supported by Runnel.{hint}"),
}
