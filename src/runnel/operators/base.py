"""The Operator contract: a stateful operator takes a batch in, gives rows out, and stages its state.

Operators declare state and never open files: they hold a `KeyedStore` that the runtime loads, commits and rolls back.
What they compute over columns they compute with fragments that the runtime prepares for them (`Prepare`), or numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import pyarrow as pa

from runnel.lowering.fragment import Fragment
from runnel.plan.expressions import Attribute
from runnel.state.store import KeyedStore

RunFragment = Callable[[Sequence[pa.Table], Mapping[str, int]], pa.Table]
"""Executes a prepared fragment over its inputs (by index) with values for its batch parameters."""

Prepare = Callable[[Fragment], RunFragment]


@dataclass(frozen=True, slots=True)
class OperatorBatch:
    """What an operator knows of the batch it is in. Watermarks are milliseconds since the epoch, None without one."""

    batch_id: int
    batch_timestamp_ms: int
    output_mode: str
    late_watermark_ms: int | None
    """Rows at or below are late: the watermark of the previous batch."""
    eviction_watermark_ms: int | None
    """State at or below goes: the watermark of this batch."""
    parameters: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class OperatorMetrics:
    """The figures of one batch, as Spark's `stateOperators` progress has them."""

    num_rows_total: int | None = None
    """None: the number of rows in the stores."""
    num_rows_updated: int = 0
    num_rows_removed: int = 0
    num_rows_dropped_by_watermark: int = 0
    memory_used_bytes: int = 0
    all_updates_ms: int = 0
    all_removals_ms: int = 0
    commit_ms: int = 0
    custom: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoreSpec:
    """One keyed store of an operator, declared before any data is seen."""

    name: str
    key_schema: pa.Schema
    value_schema: pa.Schema
    spark_key_schema: str
    """JSON of Spark's key schema, field names and order as Spark's state has them."""
    spark_value_schema: str
    eviction_column: str | tuple[str, ...] | None = None
    """A column, or the path to a struct's field, that `scan_expired` goes by."""
    num_cols_prefix_key: int = 0
    spark_stores: tuple[str, ...] | None = None
    """The names of the stores in which Spark keeps this, where they are others than `name` alone."""
    may_be_added: bool = False
    """Whether a later run may declare the store first, and another one leave it out: it starts empty then."""

    @property
    def spark_store_names(self) -> tuple[str, ...]:
        """Spark's store names: what metadata lists and progress counts."""
        return (self.name,) if self.spark_stores is None else self.spark_stores


class Operator(Protocol):
    """A stateful operator."""

    @property
    def name(self) -> str:
        """Spark's name in metadata and progress, e.g. `stateStoreSave`."""
        ...

    @property
    def stores(self) -> tuple[StoreSpec, ...]: ...

    def open(self, stores: Mapping[str, KeyedStore], prepare: Prepare) -> None:
        """Called once, after the stores are loaded, before the first batch."""
        ...

    def process(self, inputs: Sequence[pa.Table], batch: OperatorBatch) -> pa.Table:
        """One batch: reads its inputs, stages changes in its stores, returns its output rows."""
        ...

    def wants_another_batch(self, batch: OperatorBatch, next_watermark_ms: int) -> bool:
        """Whether a batch without data is worth running at this new watermark (Spark's `shouldRunAnotherBatch`)."""
        ...

    def output_watermark_ms(self, input_ms: int) -> int | None:
        """The watermark of what the operator gives out, from that of what it takes in; None: none."""
        ...

    @property
    def metrics(self) -> OperatorMetrics:
        """Figures of the last batch processed; the runtime adds the stores' figures to it."""
        ...


@dataclass(frozen=True, slots=True)
class OperatorPlan:
    """An operator with what the planner needs to put it into a query.

    inputs: the statements that make the operator's inputs, fused with whatever stateless plan lies below; they read
        stage inputs by index. attributes: the columns of the operator's output table, by position.
    """

    inputs: tuple[Fragment, ...]
    operator: Operator
    attributes: tuple[Attribute, ...]
