"""What Spark forbids in a streaming plan, by output mode, operator, join and chain of stateful operators.

The order is Spark's (`UnsupportedOperationChecker`): the output mode against the aggregations first, then chains of
stateful operators, then every operator by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from runnel.analysis.time_windows import WATERMARK_DELAY
from runnel.errors import AnalysisError
from runnel.functions.time_windows import SESSION_METADATA
from runnel.plan.expressions import (
    AggregateCall,
    Alias,
    Attribute,
    Cast,
    Expression,
    FunctionCall,
    WindowExpression,
)
from runnel.plan.relations import (
    Aggregate,
    Deduplicate,
    FlatMapGroupsWithState,
    Join,
    Limit,
    Offset,
    Relation,
    Sample,
    SetOperation,
    Sort,
    Tail,
    TransformWithState,
)
from runnel.plan.traverse import expressions_of, walk, walk_relations

APPEND: Final = "append"
UPDATE: Final = "update"
COMPLETE: Final = "complete"
_MODES: Final = {APPEND: "Append", UPDATE: "Update", COMPLETE: "Complete"}
_PREFIX: Final = "spark.sql.streaming."


def check_streaming(plan: Relation, output_mode: str, conf: Mapping[str, str]) -> None:
    """Raises what Spark raises for a streaming plan in an output mode (any case); nothing if the plan may run.

    conf: `unsupportedOperationCheck` false skips everything, `statefulOperator.checkCorrectness.enabled` false the
    check of chains.
    """
    mode = output_mode.lower()
    if mode not in _MODES:
        raise AnalysisError("STREAMING_OUTPUT_MODE.INVALID", outputMode=output_mode)
    if not _enabled(conf, "unsupportedOperationCheck"):
        return
    _check_one_apply_with_state(plan)
    _check_output_mode(plan, mode)
    if _enabled(conf, "statefulOperator.checkCorrectness.enabled"):
        _check_chains(plan, mode)
    _check_apply_with_state(plan, mode)
    for node in _upwards(plan):
        if node.is_streaming:
            for check in OPERATOR_CHECKS:
                check(node, mode)


def check_batch(plan: Relation) -> None:
    """Raises if a streaming frame is used where only a batch frame can be (show, collect, count …), or the reverse."""
    if plan.is_streaming:
        raise _unsupported("Queries with streaming sources must be executed with writeStream.start().")
    if any(isinstance(node, FlatMapGroupsWithState) for node in walk_relations(plan)):
        raise AnalysisError("_LEGACY_ERROR_TEMP_3176")
    if any(isinstance(node, Deduplicate) and node.within_watermark for node in walk_relations(plan)):
        raise _unsupported("dropDuplicatesWithinWatermark is not supported with batch DataFrames/DataSets")


def _enabled(conf: Mapping[str, str], name: str) -> bool:
    return conf.get(_PREFIX + name, "true").lower() == "true"


def _unsupported(message: str) -> AnalysisError:
    return AnalysisError("_LEGACY_ERROR_TEMP_3102", msg=message)


def _upwards(plan: Relation) -> Iterator[Relation]:
    for child in plan.children:
        yield from _upwards(child)
    yield plan


def has_event_time(attribute: Attribute) -> bool:
    """Whether the column carries a watermark."""
    return WATERMARK_DELAY in attribute.metadata


def _aggregates(plan: Relation) -> list[Aggregate]:
    return [n for n in walk_relations(plan) if isinstance(n, Aggregate) and n.is_streaming]


def _keys(node: Aggregate) -> list[Attribute]:
    here = {a.expr_id: a for a in node.child.output}
    return [here.get(g.expr_id, g) for g in node.groupings if isinstance(g, Attribute)]


# ------------------------------------------------------------------------------------------------------- output mode


def _check_output_mode(plan: Relation, mode: str) -> None:
    aggregates = _aggregates(plan)
    operation = None
    if mode == COMPLETE and not aggregates:
        operation = "no streaming aggregations"
    elif mode == UPDATE and any(SESSION_METADATA in k.metadata for a in aggregates for k in _keys(a)):
        operation = "session window streaming aggregations"
    elif mode == APPEND and any(not any(has_event_time(k) for k in _keys(a)) for a in aggregates):
        operation = "streaming aggregations without watermark"
    if operation is not None:
        raise AnalysisError("STREAMING_OUTPUT_MODE.UNSUPPORTED_OPERATION", outputMode=mode, operation=operation)


# ------------------------------------------------------------------------------------------------------------ chains


def _is_stateful(node: Relation) -> bool:
    """What may not stand above an operator that can emit rows that are late for it."""
    if not node.is_streaming:
        return False
    match node:
        case Aggregate() | FlatMapGroupsWithState() | TransformWithState():
            return True
        case Join(left=left, right=right):
            return left.is_streaming and right.is_streaming
        case Deduplicate(keys=keys, within_watermark=within):
            return within or any(has_event_time(k) for k in keys)
        case _:
            return False


def _may_emit_late(node: Relation, mode: str) -> bool:
    match node:
        case Aggregate():
            return node.is_streaming and mode != APPEND
        case FlatMapGroupsWithState(timeout="EventTimeTimeout"):
            return node.is_streaming
        case _:
            return False


def _check_chains(plan: Relation, mode: str) -> None:
    for node in walk_relations(plan):
        if not _is_stateful(node):
            continue
        for child in node.children:
            if any(_may_emit_late(below, mode) for below in walk_relations(child)):
                raise _unsupported(
                    f"Detected pattern of possible 'correctness' issue due to global watermark: the query has several "
                    f"stateful operators in {_MODES[mode]} mode, and the later ones could see rows that are late for "
                    f"them. Use append mode, or set {_PREFIX}statefulOperator.checkCorrectness.enabled to false to run "
                    f"it all the same."
                )


# --------------------------------------------------------------------------------------------------------- operators


def _check_aggregate(node: Relation, mode: str) -> None:
    if isinstance(node, Aggregate) and any(
        isinstance(e, AggregateCall) and e.distinct for top in node.aggregates for e in walk(top)
    ):
        raise _unsupported(
            "Distinct aggregations are not supported on streaming DataFrames/Datasets. Consider using "
            "approx_count_distinct() instead."
        )


def _check_deduplicate(node: Relation, mode: str) -> None:
    if isinstance(node, Deduplicate) and node.within_watermark and not any(map(has_event_time, node.child.output)):
        raise _unsupported(
            "dropDuplicatesWithinWatermark is not supported on streaming DataFrames/Datasets without watermark"
        )


def _check_one_apply_with_state(plan: Relation) -> None:
    if sum(isinstance(n, FlatMapGroupsWithState) and n.is_streaming for n in walk_relations(plan)) > 1:
        raise _unsupported("Multiple applyInPandasWithStates are not supported on streaming DataFrames/Datasets")


def _check_apply_with_state(plan: Relation, mode: str) -> None:
    """Of a whole plan: the function's mode against the query's and the aggregations, its timeout against watermarks."""
    aggregates = _aggregates(plan)
    for node in walk_relations(plan):
        if not isinstance(node, FlatMapGroupsWithState) or not node.is_streaming:
            continue
        name = f"applyInPandasWithState in {node.output_mode} mode is not supported"
        if not aggregates:
            if node.output_mode != mode:
                raise _unsupported(f"{name} with {_MODES[mode]} output mode on a streaming DataFrame/Dataset")
        elif node.output_mode == UPDATE:
            raise _unsupported(f"{name} with aggregation on a streaming DataFrame/Dataset")
        elif _aggregates(node):
            raise _unsupported(f"{name} after aggregation on a streaming DataFrame/Dataset")
        if node.timeout == "EventTimeTimeout" and not any(map(has_event_time, node.child.output)):
            raise _unsupported(
                "Event-time timeout in applyInPandasWithState is not supported without a watermark. Call "
                "withWatermark before it."
            )


def _check_order_and_size(node: Relation, mode: str) -> None:
    match node:
        case Sort():
            if mode != COMPLETE or not _aggregates(node):
                raise _unsupported(
                    "Sorting is not supported on streaming DataFrames/Datasets, unless it is on aggregated "
                    "DataFrame/Dataset in Complete output mode"
                )
        case Limit():
            if mode == UPDATE:
                raise _unsupported("Limits are not supported on streaming DataFrames/Datasets in Update output mode")
        case Offset():
            raise _unsupported("Offset is not supported on streaming DataFrames/Datasets")
        case Tail():
            raise _unsupported("Tail is not supported on streaming DataFrames/Datasets")
        case Sample():
            raise _unsupported("Sampling is not supported on streaming DataFrames/Datasets")


def _check_set_operation(node: Relation, mode: str) -> None:
    if not isinstance(node, SetOperation):
        return
    streaming = [i.is_streaming for i in node.inputs]
    match node.kind:
        case "union":
            if not all(streaming):
                raise _unsupported("Union between streaming and batch DataFrames/Datasets is not supported")
        case "except":
            if any(streaming[1:]):
                raise _unsupported("Except on a streaming DataFrame/Dataset on the right is not supported")
        case _:
            raise _unsupported("Intersect of streaming DataFrames/Datasets is not supported")


def _check_expressions(node: Relation, mode: str) -> None:
    for top in expressions_of(node):
        for e in walk(top):
            if isinstance(e, WindowExpression):
                raise AnalysisError(
                    "NON_TIME_WINDOW_NOT_SUPPORTED_IN_STREAMING",
                    windowFunc=f"'{getattr(e.function, 'name', '')}'",
                    columnName=f"'{top.name if isinstance(top, Alias) else ''}'",
                    windowSpec="",
                )
            if isinstance(e, FunctionCall) and e.name == "monotonically_increasing_id":
                raise _unsupported(
                    "Expression(s): monotonically_increasing_id() is not supported with streaming DataFrames/Datasets"
                )


# ------------------------------------------------------------------------------------------------------------- joins


def _check_join(node: Relation, mode: str) -> None:
    if not isinstance(node, Join):
        return
    left, right = node.left.is_streaming, node.right.is_streaming
    if left and right:
        _check_stream_stream(node, mode)
        return
    refused = {
        "left": "Left outer join with a streaming DataFrame/Dataset on the right and a static DataFrame/Dataset on the "
        "left is not supported",
        "right": "Right outer join with a streaming DataFrame/Dataset on the left and a static DataFrame/DataSet on "
        "the right is not supported",
        "full": "Full outer joins with streaming DataFrames/Datasets on one side and static on the other are not "
        "supported",
        "semi": "Left semi join with a streaming DataFrame/Dataset on the right is not supported",
        "anti": "Left anti join with a streaming DataFrame/Dataset on the right is not supported",
    }
    wrong_side = {"left": right, "right": left, "full": True, "semi": right, "anti": right}
    if wrong_side.get(node.kind, False):
        raise _unsupported(refused[node.kind])


_JOIN_NAMES: Final = {"left": "LeftOuter", "right": "RightOuter", "full": "FullOuter", "semi": "LeftSemi"}


def _check_stream_stream(node: Join, mode: str) -> None:
    if node.kind in ("inner", "cross"):
        return
    if node.kind == "anti":
        raise _unsupported("Left anti join with a streaming DataFrame/Dataset on the right is not supported")
    name = _JOIN_NAMES[node.kind]
    if node.kind != "semi" and mode != APPEND:
        raise _unsupported(
            f"{name} join between two streaming DataFrames/Datasets is not supported in {_MODES[mode]} output mode, "
            "only in Append output mode"
        )
    if not bounded_by_watermark(node):
        raise _unsupported(
            f"Stream-stream {name} join between two streaming DataFrame/Datasets is not supported without a watermark "
            "in the join keys, or a watermark on the nullable side and an appropriate range condition"
        )


def conjuncts(condition: Expression | None) -> Iterator[Expression]:
    """The parts of a condition that `and` connects."""
    match condition:
        case None:
            return
        case FunctionCall(name="and", args=args):
            for a in args:
                yield from conjuncts(a)
        case _:
            yield condition


def bounded_by_watermark(node: Join) -> bool:
    """Whether an outer or semi join's state can be evicted: event time among the keys, or a range over it."""
    attributes = {a.expr_id: a for a in (*node.left.output, *node.right.output)}
    for part in conjuncts(node.condition):
        if isinstance(part, FunctionCall) and part.name in ("==", "<=>"):
            keys = [attributes[e.expr_id] for e in walk(part) if isinstance(e, Attribute) and e.expr_id in attributes]
            if any(has_event_time(k) for k in keys):
                return True
    left, right = node.left.output, node.right.output
    match node.kind:
        case "left" | "semi":
            return _has_lower_bound(node.condition, left, right)
        case "right":
            return _has_lower_bound(node.condition, right, left)
        case _:
            return _has_lower_bound(node.condition, left, right) or _has_lower_bound(node.condition, right, left)


def _has_lower_bound(condition: Expression | None, mine: tuple[Attribute, ...], others: tuple[Attribute, ...]) -> bool:
    """Whether the condition says `mine > other + constant` for an event-time column of the other side."""
    own = {a.expr_id for a in mine}
    marked = {a.expr_id for a in others if has_event_time(a)}
    for part in conjuncts(condition):
        if not isinstance(part, FunctionCall) or part.name not in ("<", "<=", ">", ">="):
            continue
        small, large = part.args if part.name in ("<", "<=") else (part.args[1], part.args[0])
        signs = _signs(large, 1) + _signs(small, -1)
        if len(signs) == 2:
            positive = [i for i, sign in signs if sign > 0]
            negative = [i for i, sign in signs if sign < 0]
            if len(positive) == 1 and positive[0] in own and len(negative) == 1 and negative[0] in marked:
                return True
    return False


def _signs(expression: Expression, sign: int) -> list[tuple[int, int]]:
    """The columns of a sum with the sign that each has in it."""
    match expression:
        case Attribute(expr_id=expr_id):
            return [(expr_id, sign)]
        case Cast(child=child) | Alias(child=child):
            return _signs(child, sign)
        case FunctionCall(name=name, args=(left, right)) if "sub" in name or name == "-":
            return _signs(left, sign) + _signs(right, -sign)
        case FunctionCall(args=args):
            return [pair for a in args for pair in _signs(a, sign)]
        case _:
            return []


OPERATOR_CHECKS: Final[tuple[Callable[[Relation, str], None], ...]] = (
    _check_aggregate,
    _check_deduplicate,
    _check_join,
    _check_set_operation,
    _check_order_and_size,
    _check_expressions,
)
"""Applied in this order to every streaming operator, from the sources up."""
