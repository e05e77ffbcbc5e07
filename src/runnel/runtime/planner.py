"""Cuts a resolved streaming plan into stages (see stages.py).

Everything between two cuts stays one relational plan over `StageInput` leaves and is lowered to one statement. A new
stateful operator needs no change here: `operators.registry` says which nodes it cuts at.
"""

from __future__ import annotations

import dataclasses

from runnel.execution.python_groups import PythonGroups
from runnel.execution.python_stages import python_stage
from runnel.lowering.datatypes import quote
from runnel.lowering.expressions import LoweringOptions
from runnel.lowering.fragment import Fragment
from runnel.lowering.relations import lower
from runnel.operators.registry import is_stateful, plan_operator
from runnel.plan.expressions import Attribute
from runnel.plan.relations import (
    Aggregate,
    FlatMapGroupsWithState,
    GroupMap,
    MapPartitions,
    Observe,
    Relation,
    StageInput,
    StreamingScan,
    TransformWithState,
    WithWatermark,
)
from runnel.plan.schema import schema_of
from runnel.plan.traverse import map_relations, transform_relations_up, walk_relations
from runnel.runtime.pushdown import push_filters
from runnel.runtime.stages import (
    FragmentStage,
    ObserveStage,
    OperatorStage,
    PythonFunctionStage,
    SourceStage,
    Stage,
    StaticStage,
    StreamPlan,
    WatermarkStage,
)

_RUNS_PYTHON = (MapPartitions, GroupMap, FlatMapGroupsWithState, TransformWithState)


def plan_stream(plan: Relation, output_mode: str, options: LoweringOptions) -> StreamPlan:
    """The stages of a resolved plan that has passed the streaming checks."""
    return _Planner(output_mode, options).plan(plan)


class _Planner:
    def __init__(self, output_mode: str, options: LoweringOptions) -> None:
        self._mode = output_mode
        self._options = options
        self._user_code = PythonGroups(options.session_time_zone)
        self._stages: list[Stage] = []
        self._sources: list[StreamingScan] = []
        self._columns: list[set[int]] = []
        self._operators = 0
        self._watermarks = 0

    def plan(self, plan: Relation) -> StreamPlan:
        self._materialise(self._build(push_filters(plan)), last=True)
        return StreamPlan(
            tuple(self._stages),
            tuple(self._sources),
            schema_of(plan.output),
            tuple(tuple(sorted(columns)) for columns in self._columns),
        )

    def _add(self, stage: Stage, attributes: tuple[Attribute, ...]) -> StageInput:
        self._stages.append(stage)
        return StageInput(index=len(self._stages) - 1, attributes=attributes)

    def _build(self, node: Relation) -> Relation:
        """The node with every cut below it replaced by a StageInput (whose index is the stage's number)."""
        match node:
            case StreamingScan():
                return self._source(node)
            case WithWatermark(child=child) if node.is_streaming:
                return self._watermark(node, child)
            case Observe(child=child) if node.is_streaming:
                return self._observe(node, child)
            case MapPartitions() | GroupMap() if node.is_streaming:
                return self._python(node)
            case _ if not node.is_streaming:
                return self._static(node)
            case _ if is_stateful(node, self._mode):
                return self._operator(node)
            case _:
                return map_relations(node, self._build)

    def _source(self, scan: StreamingScan) -> StageInput:
        keys = [known.source_key for known in self._sources]
        if scan.source_key not in keys:
            keys.append(scan.source_key)
            self._sources.append(scan)
            self._columns.append(set())
        number = keys.index(scan.source_key)
        positions = {field.name: position for position, field in enumerate(scan.schema.fields)}
        hidden = len(positions)  # the place of `_metadata`, which is behind the schema's columns
        columns = tuple(positions.get(a.name, hidden) for a in scan.attributes)
        self._columns[number].update(columns)
        return self._add(SourceStage(number, columns), scan.output)

    def _watermark(self, node: WithWatermark, child: Relation) -> StageInput:
        stage = self._materialise(self._build(child))
        attribute = node.attribute
        assert attribute is not None
        column = [a.expr_id for a in node.output].index(attribute.expr_id)
        number, self._watermarks = self._watermarks, self._watermarks + 1
        return self._add(WatermarkStage(stage.index, number, column, node.delay_ms), node.output)

    def _observe(self, node: Observe, child: Relation) -> StageInput:
        stage = self._materialise(self._build(child))
        metrics = Aggregate(
            child=StageInput(index=0, attributes=stage.attributes), groupings=(), aggregates=node.metrics
        )
        return self._add(ObserveStage(node.name, lower(metrics, self._options), stage.index), stage.attributes)

    def _python(self, node: MapPartitions | GroupMap) -> StageInput:
        local, numbers = _localise(map_relations(node, self._build))
        assert isinstance(local, MapPartitions | GroupMap)
        stage = python_stage(local, self._options)
        read = self._fragment(stage.fragment, numbers)
        return self._add(PythonFunctionStage(node.function.name, stage.apply, read.index), node.output)

    def _static(self, node: Relation) -> Relation:
        if any(isinstance(below, _RUNS_PYTHON) for below in walk_relations(node)):
            return self._add(StaticStage(node), node.output)
        return node

    def _operator(self, node: Relation) -> StageInput:
        # Numbered as Spark does it: from the sink on, the left side of a join before its right side
        operator_id, self._operators = self._operators, self._operators + 1
        built = map_relations(node, self._build)
        local, numbers = _localise(built)
        planned = plan_operator(local, self._mode, self._options, self._user_code)
        inputs = tuple(self._fragment(fragment, numbers).index for fragment in planned.inputs)
        return self._add(OperatorStage(planned.operator, operator_id, inputs), planned.attributes)

    def _fragment(self, fragment: Fragment, numbers: tuple[int, ...]) -> StageInput:
        """A stage for an operator's input; the stage below where the statement only hands its rows on."""
        if _hands_on(fragment):
            return StageInput(index=numbers[0], attributes=())
        return self._add(FragmentStage(fragment, numbers), ())

    def _materialise(self, relation: Relation, *, last: bool = False) -> StageInput:
        """A stage that holds the relation's rows: an existing one where the relation is just that."""
        if isinstance(relation, StageInput) and not (last and relation.index != len(self._stages) - 1):
            return relation
        local, numbers = _localise(relation)
        return self._add(FragmentStage(lower(local, self._options), numbers), relation.output)


def _localise(relation: Relation) -> tuple[Relation, tuple[int, ...]]:
    """The relation with its stage inputs numbered from 0, and the stage number of each."""
    numbers: list[int] = []

    def renumber(node: Relation) -> Relation:
        if isinstance(node, StageInput):
            if node.index not in numbers:
                numbers.append(node.index)
            return dataclasses.replace(node, index=numbers.index(node.index))
        return node

    return transform_relations_up(relation, renumber), tuple(numbers)


def _hands_on(fragment: Fragment) -> bool:
    """Whether a statement gives back its only input, column by column."""
    if set(fragment.inputs) != {0}:
        return False
    columns = ", ".join(quote(name) for name in fragment.inputs[0])
    return fragment.sql == f"SELECT {columns} FROM input_0"
