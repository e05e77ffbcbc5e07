"""Which nodes of a streaming plan are stateful, and the operator of each."""

from __future__ import annotations

from runnel.errors import unsupported
from runnel.lowering.aggregation import StreamingAggregation
from runnel.lowering.expressions import LoweringOptions
from runnel.operators.aggregate import plan_aggregate
from runnel.operators.base import OperatorPlan
from runnel.operators.deduplicate import plan_deduplicate
from runnel.operators.join import plan_join
from runnel.operators.limit import plan_limit
from runnel.operators.session_window import plan_session_window
from runnel.operators.transform_with_state import plan_transform_with_state
from runnel.operators.user_code import UserCode
from runnel.operators.user_state import plan_flat_map_groups_with_state
from runnel.plan.relations import (
    Aggregate,
    Deduplicate,
    FlatMapGroupsWithState,
    Join,
    Limit,
    Relation,
    SetOperation,
    TransformWithState,
)
from runnel.plan.traverse import walk_relations


def is_stateful(node: Relation, output_mode: str = "append") -> bool:
    """Whether a node needs state where its input is a stream.

    A limit above an aggregation whose whole result is shown every batch takes the first rows of each (Spark's
    StreamingGlobalLimitStrategy); every other limit counts the rows of the query's life.
    """
    match node:
        case Aggregate() | Deduplicate() | FlatMapGroupsWithState() | TransformWithState():
            return True
        case Join(left=left, right=right):
            return left.is_streaming and right.is_streaming
        case SetOperation(kind=kind):
            return kind != "union"
        case Limit(child=child):
            return output_mode == "append" or not any(
                isinstance(below, Aggregate) and below.is_streaming for below in walk_relations(child)
            )
        case _:
            return False


def plan_operator(
    node: Relation, output_mode: str, options: LoweringOptions, user_code: UserCode | None = None
) -> OperatorPlan:
    """The operator of a stateful node whose children read stage inputs. Raises for what Runnel has no operator for.

    user_code: the conversions that operators over the user's Python need.
    """
    match node:
        case Aggregate():
            aggregation = StreamingAggregation(node, options)
            return (
                plan_aggregate(node, aggregation)
                if aggregation.session is None
                else plan_session_window(node, aggregation)
            )
        case Deduplicate():
            return plan_deduplicate(node, options)
        case FlatMapGroupsWithState() if user_code is not None:
            return plan_flat_map_groups_with_state(node, options, user_code)
        case TransformWithState() if user_code is not None:
            return plan_transform_with_state(node, options, user_code)
        case Limit():
            return plan_limit(node, options)
        case Join():
            return plan_join(node, options)
        case _:
            raise unsupported(f"{type(node).__name__} over a stream")
