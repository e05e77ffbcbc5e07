"""Relation nodes: the logical plan, before and after analysis.

The front ends build any of these with unresolved expressions; analysis rewrites the *surface* kinds (those that only
say something about columns: WithColumns, Drop, ToDF, …) into the *core* kinds and resolves every expression. `output`
is defined on core kinds of a resolved plan. All nodes are frozen; tuples, never lists; children first.

`plan_id` is the identity that the client gave the frame: columns taken from a frame (`df["x"]`) name it, and two uses
of one streaming read are one source if it is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from pyspark.sql.types import StructType

from runnel.plan.expressions import (
    Attribute,
    Expression,
    GeneratorCall,
    PythonFunction,
    SortOrder,
    to_attribute,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """Base of all relations."""

    plan_id: int | None = field(default=None, compare=False)

    @property
    def output(self) -> tuple[Attribute, ...]:
        """The columns of a resolved relation, in order."""
        raise TypeError(f"{type(self).__name__} is not resolved")

    @property
    def children(self) -> tuple[Relation, ...]:
        return ()

    @property
    def is_streaming(self) -> bool:
        return any(child.is_streaming for child in self.children)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unary(Relation):
    child: Relation

    @property
    def children(self) -> tuple[Relation, ...]:
        return (self.child,)

    @property
    def output(self) -> tuple[Attribute, ...]:
        return self.child.output


# ------------------------------------------------------------------------------------------------ leaves, unresolved


@dataclass(frozen=True, slots=True, kw_only=True)
class Read(Relation):
    """`spark.read…load()` or `spark.readStream…load()`. `schema` is a StructType or DDL text; options keep their case."""

    format: str | None
    schema: StructType | str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    paths: tuple[str, ...] = ()
    streaming: bool = False
    source_name: str | None = None

    @property
    def is_streaming(self) -> bool:
        return self.streaming


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedTable(Relation):
    """A view or table by its (possibly dotted, unquoted) name parts."""

    parts: tuple[str, ...]
    options: Mapping[str, str] = field(default_factory=dict)
    streaming: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedRelation(Relation):
    """A frame that the session holds under an id: a foreachBatch frame, a cached remote relation."""

    relation_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TableValuedFunction(Relation):
    """`range(…)`, `explode(…)` … in the FROM clause."""

    name: str
    args: tuple[Expression, ...]


# ------------------------------------------------------------------------------------------------- leaves, resolved


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LocalData(Relation):
    """Rows in memory. `table` has the schema's columns in order, in the engine's physical Arrow types.

    From the front ends `attributes` is empty; analysis fills it in.
    """

    table: pa.Table
    schema: StructType
    attributes: tuple[Attribute, ...] = ()

    @property
    def output(self) -> tuple[Attribute, ...]:
        return self.attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class Range(Relation):
    """`id` from `start` (inclusive) to `end` (exclusive) by `step`."""

    start: int
    end: int
    step: int
    num_partitions: int | None = None
    attributes: tuple[Attribute, ...] = ()

    @property
    def output(self) -> tuple[Attribute, ...]:
        return self.attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class FileScan(Relation):
    """Files of one format, read with one schema. Knows the files: listing is done.

    `schema` is the whole read schema, data columns first, then partition columns. `partition_values` gives, per file,
    the text of each partition column (None for the default partition). `attributes` may leave out columns of the
    schema that nobody above needs; `metadata_column` asks for Spark's hidden `_metadata` struct as last attribute.
    """

    format: str
    paths: tuple[str, ...]
    schema: StructType
    options: Mapping[str, str] = field(default_factory=dict)
    partition_columns: tuple[str, ...] = ()
    partition_values: tuple[tuple[str | None, ...], ...] = ()
    attributes: tuple[Attribute, ...] = ()
    metadata_column: bool = False

    @property
    def output(self) -> tuple[Attribute, ...]:
        return self.attributes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StreamingScan(Relation):
    """A streaming source in a resolved plan. Two scans with the same `source_key` are one source, read twice.

    `format`, `options`, `paths` and `schema` (of the source) are what `sources.registry` needs to make it.
    """

    source_key: object
    format: str
    schema: StructType
    options: Mapping[str, str] = field(default_factory=dict)
    paths: tuple[str, ...] = ()
    attributes: tuple[Attribute, ...] = ()
    source_name: str | None = None

    @property
    def output(self) -> tuple[Attribute, ...]:
        return self.attributes

    @property
    def is_streaming(self) -> bool:
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class StageInput(Relation):
    """Where a fragment reads what another stage made: input number `index`. Only the runtime's planner makes these."""

    index: int
    attributes: tuple[Attribute, ...]

    @property
    def output(self) -> tuple[Attribute, ...]:
        return self.attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class Empty(Relation):
    """One row without columns: `SELECT 1` without FROM."""

    @property
    def output(self) -> tuple[Attribute, ...]:
        return ()


# ------------------------------------------------------------------------------------------------------- core kinds


@dataclass(frozen=True, slots=True, kw_only=True)
class Project(Unary):
    """Resolved: every expression is an Attribute or an Alias."""

    expressions: tuple[Expression, ...]

    @property
    def output(self) -> tuple[Attribute, ...]:
        return tuple(to_attribute(e) for e in self.expressions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter(Unary):
    condition: Expression


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregate(Unary):
    """`GROUP BY groupings`, giving `aggregates` (which may use the grouping expressions and aggregate functions freely).

    Unresolved from the DataFrame API, `aggregates` holds only the aggregate columns and `implicit_keys` is True: the
    grouping columns come first in the result. From SQL it is False.
    `kind`: groupby, cube, rollup, grouping_sets (`grouping_sets` then lists the sets, as indexes into `groupings`),
    pivot (`pivot_column`, `pivot_values`).
    Resolved: `groupings` are Attributes of the child (analysis projects computed keys below), `aggregates` are
    Attributes (grouping keys) and Aliases; cube and the like have become an Expand below.
    """

    groupings: tuple[Expression, ...]
    aggregates: tuple[Expression, ...]
    kind: str = "groupby"
    grouping_sets: tuple[tuple[int, ...], ...] = ()
    pivot_column: Expression | None = None
    pivot_values: tuple[Expression, ...] = ()
    implicit_keys: bool = True
    having: Expression | None = None

    @property
    def output(self) -> tuple[Attribute, ...]:
        return tuple(to_attribute(e) for e in self.aggregates)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expand(Unary):
    """Every input row once for each projection: sliding windows, grouping sets. Projections line up with `attributes`."""

    projections: tuple[tuple[Expression, ...], ...]
    attributes: tuple[Attribute, ...]

    @property
    def output(self) -> tuple[Attribute, ...]:
        return self.attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class Generate(Unary):
    """The child's columns and, for each row, the rows of a generator (`outer`: at least one, of nulls)."""

    generator: GeneratorCall
    outer: bool
    attributes: tuple[Attribute, ...]
    keep: tuple[Attribute, ...] | None = None

    @property
    def output(self) -> tuple[Attribute, ...]:
        return (self.child.output if self.keep is None else self.keep) + self.attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class Join(Relation):
    """`kind`: inner, cross, left, right, full, semi, anti. `using` names columns to be equal and kept once (surface)."""

    left: Relation
    right: Relation
    kind: str
    condition: Expression | None = None
    using: tuple[str, ...] = ()
    natural: bool = False
    lateral: bool = False

    @property
    def children(self) -> tuple[Relation, ...]:
        return (self.left, self.right)

    @property
    def output(self) -> tuple[Attribute, ...]:
        left, right = self.left.output, self.right.output
        if self.kind in ("semi", "anti"):
            return left
        if self.kind in ("right", "full"):
            left = tuple(_nullable(a) for a in left)
        if self.kind in ("left", "full"):
            right = tuple(_nullable(a) for a in right)
        return left + right


@dataclass(frozen=True, slots=True, kw_only=True)
class SetOperation(Relation):
    """`kind`: union, intersect, except. Resolved: children have the same types by position; `attributes` are its own."""

    inputs: tuple[Relation, ...]
    kind: str
    all: bool = True
    by_name: bool = False
    allow_missing: bool = False
    attributes: tuple[Attribute, ...] = ()

    @property
    def children(self) -> tuple[Relation, ...]:
        return self.inputs

    @property
    def output(self) -> tuple[Attribute, ...]:
        return self.attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class Sort(Unary):
    """`is_global` False is sortWithinPartitions. Resolved orders may use any column of the child."""

    orders: tuple[SortOrder, ...]
    is_global: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit(Unary):
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Offset(Unary):
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail(Unary):
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample(Unary):
    lower: float
    upper: float
    with_replacement: bool
    seed: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deduplicate(Unary):
    """`dropDuplicates`, `distinct`, `dropDuplicatesWithinWatermark`. `columns` are names; resolved: `keys`.

    `as_aggregation` is SQL's SELECT DISTINCT, which over a stream is a grouping by all columns.
    """

    columns: tuple[str, ...] = ()
    all_columns: bool = False
    within_watermark: bool = False
    as_aggregation: bool = False
    keys: tuple[Attribute, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WithWatermark(Unary):
    """`withWatermark`. `event_time` is the column as the user named it; resolved: `attribute`, `delay_ms`.

    Resolved output: the event-time attribute carries `spark.watermarkDelayMs` in its metadata.
    """

    event_time: str
    delay: str
    attribute: Attribute | None = None
    delay_ms: int = 0

    @property
    def output(self) -> tuple[Attribute, ...]:
        marked = self.attribute
        if marked is None:
            return self.child.output
        return tuple(marked if a.expr_id == marked.expr_id else a for a in self.child.output)


@dataclass(frozen=True, slots=True, kw_only=True)
class MapPartitions(Unary):
    """mapInPandas, mapInArrow: a Python function from an iterator of batches to an iterator of batches."""

    function: PythonFunction
    schema: StructType
    attributes: tuple[Attribute, ...] = ()

    @property
    def output(self) -> tuple[Attribute, ...]:
        return self.attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMap(Unary):
    """applyInPandas, applyInArrow: a Python function from one group's rows to rows."""

    groupings: tuple[Expression, ...]
    function: PythonFunction
    schema: StructType
    attributes: tuple[Attribute, ...] = ()

    @property
    def output(self) -> tuple[Attribute, ...]:
        return self.attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class FlatMapGroupsWithState(Unary):
    """applyInPandasWithState: a Python function over one group's new rows and its GroupState.

    `output_mode`: append or update. `timeout`: NoTimeout, ProcessingTimeTimeout or EventTimeTimeout. Resolved:
    groupings are Attributes or Aliases over the child's columns.
    """

    groupings: tuple[Expression, ...]
    function: PythonFunction
    schema: StructType
    state_schema: StructType
    output_mode: str
    timeout: str
    attributes: tuple[Attribute, ...] = ()

    @property
    def output(self) -> tuple[Attribute, ...]:
        return self.attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformWithState(Relation):
    """transformWithState and transformWithStateInPandas: a StatefulProcessor over one group's new rows, state, timers.

    `function` is the method that the client makes of the processor; its evaluation type says whether the processor sees
    Rows or DataFrames. `time_mode`: none, processingtime or eventtime. `event_time_column` names an output column that
    carries event time on, empty for none. `initial` is a batch frame of initial states, with its own groupings.
    Resolved: `parse_schema` reads the schemas in DDL that the processor gives for its variables.
    """

    child: Relation
    groupings: tuple[Expression, ...]
    function: PythonFunction
    schema: StructType
    output_mode: str
    time_mode: str
    event_time_column: str = ""
    initial: Relation | None = None
    initial_groupings: tuple[Expression, ...] = ()
    parse_schema: Callable[[str], StructType] | None = field(default=None, compare=False)
    attributes: tuple[Attribute, ...] = ()

    @property
    def children(self) -> tuple[Relation, ...]:
        return (self.child,) if self.initial is None else (self.child, self.initial)

    @property
    def output(self) -> tuple[Attribute, ...]:
        return self.attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class Observe(Unary):
    """`observe`: named metrics over the rows that pass, one set a batch."""

    name: str
    metrics: tuple[Expression, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SubqueryAlias(Unary):
    """Gives the child's columns the qualifier `alias`. Resolved plans keep none of these."""

    alias: str
    columns: tuple[str, ...] = ()


# ----------------------------------------------------------------------------------- surface kinds, gone after analysis


@dataclass(frozen=True, slots=True, kw_only=True)
class WithColumns(Unary):
    """`withColumn(s)`: each Alias replaces the column of its name, or is added."""

    columns: tuple[Expression, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WithColumnsRenamed(Unary):
    renames: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop(Unary):
    columns: tuple[Expression, ...] = ()
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ToDF(Unary):
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToSchema(Unary):
    schema: StructType


@dataclass(frozen=True, slots=True, kw_only=True)
class Repartition(Unary):
    """repartition, coalesce, repartitionByRange: partitions are not visible in the rows, so analysis only checks it."""

    num_partitions: int | None = None
    expressions: tuple[Expression, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint(Unary):
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpivot(Unary):
    ids: tuple[Expression, ...]
    values: tuple[Expression, ...] | None
    variable_name: str
    value_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FillNa(Unary):
    columns: tuple[str, ...]
    values: tuple[Expression, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary(Unary):
    """`describe`, `summary`: a row for each statistic. No `columns` means all that are numbers or strings."""

    columns: tuple[str, ...]
    statistics: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DropNa(Unary):
    columns: tuple[str, ...]
    min_non_nulls: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceNa(Unary):
    columns: tuple[str, ...]
    replacements: tuple[tuple[Expression, Expression], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WithCTE(Relation):
    """SQL's WITH: named plans visible in `child`, each also in those after it."""

    child: Relation
    definitions: tuple[tuple[str, Relation], ...]

    @property
    def children(self) -> tuple[Relation, ...]:
        return (self.child,)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParseText(Unary):
    """`spark.read.json(frame_of_strings)`, `spark.read.csv(frame_of_strings)`."""

    format: str
    schema: StructType | str | None
    options: Mapping[str, Any] = field(default_factory=dict)


def _nullable(attribute: Attribute) -> Attribute:
    return Attribute(attribute.name, attribute.dtype, True, attribute.expr_id, attribute.metadata, attribute.qualifier)
