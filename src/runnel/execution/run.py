"""Batch execution: a resolved plan to a table. What is the user's Python is cut out and run between statements."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import duckdb
import pyarrow as pa

from runnel.errors import RunnelError
from runnel.execution.connection import Engine
from runnel.execution.prepared import run_once
from runnel.execution.python_aggregates import has_python_aggregate, python_aggregate
from runnel.execution.python_stages import PythonStage, python_stage
from runnel.lowering.expressions import LoweringOptions
from runnel.lowering.fragment import Fragment
from runnel.lowering.relations import lower
from runnel.plan.expressions import Attribute, Expression, SubqueryExpression
from runnel.plan.relations import Aggregate, FileScan, GroupMap, MapPartitions, Relation, StageInput
from runnel.plan.traverse import map_expressions, map_relations, transform_up, walk_relations

log = logging.getLogger("runnel.execution")


def execute(
    plan: Relation,
    engine: Engine,
    options: LoweringOptions | None = None,
    parameters: Mapping[str, int] | None = None,
    inputs: Sequence[pa.Table] = (),
) -> pa.Table:
    """The rows of a resolved plan without streaming scans: columns by position as `plan.output`, physical types.

    parameters: values of the plan's batch parameters. inputs: tables of the stage inputs that the plan reads itself.
    Errors: RunnelError.
    """
    return with_native_scans(
        plan,
        options or LoweringOptions(),
        lambda chosen: _Run(engine, chosen, parameters or {}, list(inputs)).rows(plan),
    )


def with_native_scans(plan: Relation, options: LoweringOptions, run: Callable[[LoweringOptions], pa.Table]) -> pa.Table:
    """`run` with native JSON scans where the plan has such, and without them if DuckDB fails over the files."""
    if not any(isinstance(node, FileScan) and node.format == "json" for node in walk_relations(plan)):
        return run(options)
    try:
        return run(replace(options, native_json=True))
    except RunnelError as failure:
        if not isinstance(failure.__cause__, duckdb.InvalidInputException | duckdb.IOException):
            raise
        log.debug("a JSON file is not plain lines and is read again with care: %s", failure.__cause__)
        return run(options)


@dataclass(slots=True)
class _Run:
    """One execution. `inputs` grows by the rows of each Python stage that has run."""

    engine: Engine
    options: LoweringOptions
    parameters: Mapping[str, int]
    inputs: list[pa.Table]

    def rows(self, plan: Relation) -> pa.Table:
        return self._statement(lower(self._cut(plan), self.options))

    def _statement(self, fragment: Fragment) -> pa.Table:
        return run_once(self.engine, fragment, self.inputs, self.parameters)

    def _cut(self, plan: Relation) -> Relation:
        """The plan with each Python stage run, innermost first, and replaced by a stage input."""
        if isinstance(plan, MapPartitions | GroupMap):
            stage = python_stage(replace(plan, child=self._cut(plan.child)), self.options)
            return self._bound(stage, plan.output)
        if isinstance(plan, Aggregate) and has_python_aggregate(plan):
            aggregate = python_aggregate(replace(plan, child=self._cut(plan.child)), self.options)
            return aggregate.above(self._bound(aggregate.stage, aggregate.output))
        plan = map_relations(plan, self._cut)
        return map_expressions(plan, lambda e: transform_up(e, self._in_subquery))

    def _in_subquery(self, expression: Expression) -> Expression:
        if isinstance(expression, SubqueryExpression):
            return replace(expression, plan=self._cut(expression.plan))
        return expression

    def _bound(self, stage: PythonStage, output: tuple[Attribute, ...]) -> Relation:
        self.inputs.append(stage.apply(self._statement(stage.fragment)))
        return StageInput(index=len(self.inputs) - 1, attributes=output)
