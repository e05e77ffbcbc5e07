"""transformWithState over a batch frame: one pass over the data with state that is not kept.

As in Spark the watermark reads -1, so timers of event time never fire, and processing time is now.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pyarrow as pa

from runnel.execution.connection import Engine
from runnel.execution.prepared import PreparedFragment, run_once
from runnel.execution.python_groups import PythonGroups
from runnel.lowering.expressions import LoweringOptions
from runnel.lowering.fragment import Fragment
from runnel.operators.base import OperatorBatch, RunFragment
from runnel.operators.registry import plan_operator
from runnel.plan.relations import LocalData, Relation, StageInput, TransformWithState
from runnel.plan.schema import schema_of
from runnel.plan.traverse import transform_relations_up, walk_relations
from runnel.state.store import KeyedStore


def with_states_run(
    plan: Relation, engine: Engine, options: LoweringOptions, now_ms: int, rows: Callable[[Relation], pa.Table]
) -> Relation:
    """The plan with each TransformWithState run, innermost first, and replaced by its rows.

    rows: executes a resolved batch plan without such nodes.
    """
    if not any(isinstance(node, TransformWithState) for node in walk_relations(plan)):
        return plan

    def run(node: Relation) -> Relation:
        if not isinstance(node, TransformWithState):
            return node
        schema = schema_of(node.output)
        return LocalData(table=_run(node, engine, options, now_ms, rows), schema=schema, attributes=node.output)

    return transform_relations_up(plan, run)


def _run(
    node: TransformWithState,
    engine: Engine,
    options: LoweringOptions,
    now_ms: int,
    rows: Callable[[Relation], pa.Table],
) -> pa.Table:
    tables = [rows(child) for child in node.children]
    read = [StageInput(index=i, attributes=child.output) for i, child in enumerate(node.children)]
    over_tables = dataclasses.replace(node, child=read[0], initial=read[1] if node.initial is not None else None)
    planned = plan_operator(over_tables, node.output_mode, options, PythonGroups(options.session_time_zone))
    prepared: list[PreparedFragment] = []

    def prepare(fragment: Fragment) -> RunFragment:
        prepared.append(PreparedFragment(engine, fragment))
        return prepared[-1].run

    operator = planned.operator
    stores = {
        s.name: KeyedStore(s.key_schema, s.value_schema, eviction_column=s.eviction_column) for s in operator.stores
    }
    parameters = {"batch_timestamp_us": now_ms * 1000, "batch_id": 0}
    try:
        operator.open(stores, prepare)
        inputs = [run_once(engine, fragment, tables, parameters) for fragment in planned.inputs]
        return operator.process(inputs, OperatorBatch(0, now_ms, node.output_mode, None, -1, parameters))
    finally:
        for statement in prepared:
            statement.close()
