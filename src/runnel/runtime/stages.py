"""What a streaming plan becomes: stages in the order in which a batch runs them.

Each stage makes one Arrow table out of the tables of earlier stages, which it names by their numbers. A fragment runs
between two cuts; at a cut stands a source, a watermark node, a stateful operator, a Python stage or an observation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa
from pyspark.sql.types import StructType

from runnel.lowering.fragment import Fragment
from runnel.operators.base import Operator
from runnel.plan.relations import Relation, StreamingScan


@dataclass(frozen=True, slots=True)
class SourceStage:
    """The columns of a source's batch at these positions of its schema."""

    source: int
    columns: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class FragmentStage:
    fragment: Fragment
    inputs: tuple[int, ...]
    """Stage numbers, by the fragment's own input index."""


@dataclass(frozen=True, slots=True)
class WatermarkStage:
    """Passes its input on and takes statistics of column `column`. `node` numbers the watermark nodes of the plan."""

    input: int
    node: int
    column: int
    delay_ms: int


@dataclass(frozen=True, slots=True)
class OperatorStage:
    """`inputs` are the stages that the operator's own input statements became; `operator_id` is Spark's number."""

    operator: Operator
    operator_id: int
    inputs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PythonFunctionStage:
    """mapInPandas and its kin: the user's function, from the input's rows to rows."""

    name: str
    apply: Callable[[pa.Table], pa.Table]
    input: int


@dataclass(frozen=True, slots=True)
class ObserveStage:
    """Passes its input on; the fragment gives the one row of metrics."""

    name: str
    fragment: Fragment
    input: int


@dataclass(frozen=True, slots=True)
class StaticStage:
    """A batch plan inside a streaming one that cannot be part of a statement (it has Python stages); run every batch."""

    plan: Relation


Stage = SourceStage | FragmentStage | WatermarkStage | OperatorStage | PythonFunctionStage | ObserveStage | StaticStage


def inputs_of(stage: Stage) -> tuple[int, ...]:
    """The numbers of the stages that a stage reads."""
    match stage:
        case FragmentStage(inputs=inputs) | OperatorStage(inputs=inputs):
            return inputs
        case WatermarkStage(input=input_) | PythonFunctionStage(input=input_) | ObserveStage(input=input_):
            return (input_,)
        case SourceStage() | StaticStage():
            return ()


def describe(stage: Stage) -> str:
    """One line for explain()."""
    match stage:
        case SourceStage(source=source, columns=columns):
            return f"source {source}, columns {list(columns)}"
        case FragmentStage(inputs=inputs):
            return f"statement over {list(inputs)}"
        case WatermarkStage(input=input_, delay_ms=delay):
            return f"watermark over [{input_}], delay {delay} ms"
        case OperatorStage(operator=operator, operator_id=number, inputs=inputs):
            return f"{operator.name} over {list(inputs)}, operator {number}"
        case PythonFunctionStage(name=name, input=input_):
            return f"Python function {name} over [{input_}]"
        case ObserveStage(name=name, input=input_):
            return f"observe {name} over [{input_}]"
        case StaticStage():
            return "static plan"


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """A whole query: its stages (the last one makes the sink's rows), its sources in plan order, its result's schema.

    `source_columns` are the positions of each source's schema that any stage reads, ascending.
    """

    stages: tuple[Stage, ...]
    sources: tuple[StreamingScan, ...]
    schema: StructType
    source_columns: tuple[tuple[int, ...], ...]

    @property
    def operators(self) -> tuple[OperatorStage, ...]:
        """By operator id: 0 is the one nearest the sink, as Spark numbers them."""
        found = [s for s in self.stages if isinstance(s, OperatorStage)]
        return tuple(sorted(found, key=lambda s: s.operator_id))

    @property
    def watermarks(self) -> tuple[WatermarkStage, ...]:
        found = [s for s in self.stages if isinstance(s, WatermarkStage)]
        return tuple(sorted(found, key=lambda s: s.node))
