"""Batch execution: a resolved plan to a table. What is the user's Python is cut out and run between statements."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa

from runnel.execution.connection import Engine
from runnel.execution.prepared import run_once
from runnel.execution.python_aggregates import has_python_aggregate, python_aggregate
from runnel.execution.python_stages import PythonStage, python_stage
from runnel.lowering.expressions import LoweringOptions
from runnel.lowering.relations import lower
from runnel.plan.expressions import Attribute, Expression, SubqueryExpression
from runnel.plan.relations import Aggregate, GroupMap, MapPartitions, Relation, StageInput
from runnel.plan.traverse import map_expressions, map_relations, transform_up


def execute(plan: Relation, engine: Engine, options: LoweringOptions | None = None) -> pa.Table:
    """The rows of a resolved plan without streaming scans: columns by position as `plan.output`, physical types.

    Errors: RunnelError.
    """
    options = options or LoweringOptions()
    inputs: list[pa.Table] = []
    relational = _cut(plan, engine, options, inputs)
    return run_once(engine, lower(relational, options), inputs)


def _cut(plan: Relation, engine: Engine, options: LoweringOptions, inputs: list[pa.Table]) -> Relation:
    """The plan with each outermost Python stage replaced by a stage input; its rows are appended to `inputs`."""

    def below(child: Relation) -> Relation:
        return _cut(child, engine, options, inputs)

    def in_subquery(expression: Expression) -> Expression:
        if not isinstance(expression, SubqueryExpression):
            return expression
        return SubqueryExpression(
            expression.kind, below(expression.plan), expression.args, expression.dtype, expression.nullable
        )

    if isinstance(plan, MapPartitions | GroupMap):
        stage = python_stage(replace(plan, child=below(plan.child)), options)
        return _bound(stage, plan.output, engine, inputs)
    if isinstance(plan, Aggregate) and has_python_aggregate(plan):
        aggregate = python_aggregate(replace(plan, child=below(plan.child)), options)
        return aggregate.above(_bound(aggregate.stage, aggregate.output, engine, inputs))
    plan = map_relations(plan, below)
    return map_expressions(plan, lambda e: transform_up(e, in_subquery))


def _bound(stage: PythonStage, output: tuple[Attribute, ...], engine: Engine, inputs: list[pa.Table]) -> Relation:
    inputs.append(stage.apply(run_once(engine, stage.fragment, inputs)))
    return StageInput(index=len(inputs) - 1, attributes=output)
