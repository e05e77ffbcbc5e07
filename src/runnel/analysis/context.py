"""What analysis is given by the session: everything that it cannot know from the plan alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from pyspark.sql.types import DataType, StructType

from runnel.errors import unsupported
from runnel.functions.registry import BindContext
from runnel.plan.expressions import Literal, PythonFunction
from runnel.plan.relations import NamedTable, ParseText, Read, Relation


def _no_function(name: str) -> tuple[PythonFunction, DataType] | None:
    return None


def _no_pivot_values(plan: Relation) -> tuple[Literal, ...]:
    raise unsupported("pivot without a list of values", "List the values, as in pivot('column', [...]).")


def _no_text_schema(node: ParseText, plan: Relation) -> StructType:
    raise unsupported("reading a frame of strings without a schema", "Give the reader a schema.")


def _no_type_text(text: str) -> DataType:
    raise unsupported(f"the type text {text!r}")


SEARCH_PATH = "[`system`.`builtin`, `system`.`session`, `spark_catalog`.`default`]"
"""Where a name without a qualifier is looked for, as errors say it."""


@dataclass(frozen=True)
class AnalysisContext:
    """The session, as analysis sees it.

    bind: what typing rules depend on (ANSI mode, session time zone).
    resolve_table, resolve_read, resolve_cached: the plan of a view, table, reader or cached frame, unresolved or
        resolved; they raise Spark's condition (TABLE_OR_VIEW_NOT_FOUND, …). A resolved plan gets new attribute ids.
    resolve_function: a session's registered Python function and its result type, or None.
    parse_type: DDL text of a type.
    pivot_values: the sorted distinct values of a one-column resolved plan.
    text_schema: the schema found in a frame of JSON or CSV texts.
    """

    bind: BindContext
    resolve_table: Callable[[NamedTable], Relation]
    resolve_read: Callable[[Read], Relation]
    resolve_cached: Callable[[str], Relation]
    resolve_function: Callable[[str], tuple[PythonFunction, DataType] | None] = _no_function
    parse_type: Callable[[str], DataType] = _no_type_text
    pivot_values: Callable[[Relation], tuple[Literal, ...]] = _no_pivot_values
    text_schema: Callable[[ParseText, Relation], StructType] = _no_text_schema
    group_by_ordinal: bool = field(default=True)
