"""Where filters end up: expectations are the places that Spark's optimizer was seen to put them."""

from __future__ import annotations

from pyspark.sql.types import BooleanType

from runnel.plan.expressions import Attribute, Expression, FunctionCall, Literal
from runnel.plan.relations import (
    Aggregate,
    Deduplicate,
    Expand,
    Filter,
    Generate,
    Join,
    Observe,
    Project,
    Relation,
    StreamingScan,
    WithWatermark,
)
from runnel.plan.traverse import walk_relations
from runnel.runtime.pushdown import push_filters
from tests.analysis.builders import call, column, lit, local, named, resolve, stream


def watermarked(plan_id: int | None = None) -> Relation:
    return WithWatermark(child=stream(plan_id), event_time="t", delay="1 minute", plan_id=plan_id)


def text(e: Expression) -> str:
    match e:
        case Attribute(name=name):
            return name
        case Literal(value=value):
            return str(value)
        case FunctionCall(name=name, args=args):
            return f"{name}({', '.join(map(text, args))})"
        case _:
            return type(e).__name__


def stages(plan: Relation) -> list[str]:
    """The nodes of the pushed plan from the top, filters with their conditions; projections left out."""
    found = []
    for node in walk_relations(push_filters(resolve(plan))):
        if isinstance(node, Filter):
            found.append(text(node.condition))
        elif not isinstance(node, Project):
            found.append(type(node).__name__)
    return found


def where(child: Relation, *conditions: Expression) -> Relation:
    for condition in conditions:
        child = Filter(child=child, condition=condition)
    return child


IS_A = call("==", "s", lit("a"))


def test_a_filter_crosses_the_watermark_unless_it_uses_the_event_time() -> None:
    plan = where(watermarked(), IS_A, call("isnotnull", "t"))
    assert stages(plan) == ["isnotnull(t)", "WithWatermark", "==(s, a)", "StreamingScan"]


def test_a_filter_over_computed_columns_goes_below_them() -> None:
    projected = Project(child=watermarked(), expressions=(named(call("upper", "s"), "u"), column("t")))
    assert stages(where(projected, call("==", "u", lit("A")))) == [
        "WithWatermark",
        "==(upper(s), A)",
        "StreamingScan",
    ]


def test_a_random_column_keeps_filters_above() -> None:
    projected = Project(child=watermarked(), expressions=(named(call("rand"), "r"), column("s")))
    assert stages(where(projected, IS_A)) == ["==(s, a)", "WithWatermark", "StreamingScan"]


def test_conditions_on_keys_cross_an_aggregation() -> None:
    counted = Aggregate(
        child=watermarked(), groupings=(column("s"),), aggregates=(named(call("collect_list", "i"), "l"),)
    )
    kept = where(counted, IS_A, call(">", call("size", "l"), 1))
    assert stages(kept) == [
        ">(size(l), 1)",
        "Aggregate",
        "WithWatermark",
        "==(s, a)",
        "StreamingScan",
    ]


def test_a_global_aggregation_keeps_filters_above() -> None:
    counted = Aggregate(child=watermarked(), groupings=(), aggregates=(named(call("count", 1), "n"),))
    assert stages(where(counted, call(">", "n", 1))) == [">(n, 1)", "Aggregate", "WithWatermark", "StreamingScan"]


def test_the_key_of_a_rollup_is_not_the_column_below() -> None:
    rolled = Aggregate(
        child=watermarked(), groupings=(column("s"),), aggregates=(named(call("count", 1), "n"),), kind="rollup"
    )
    assert stages(where(rolled, IS_A)) == ["Aggregate", "==(s, a)", "Expand", "WithWatermark", "StreamingScan"]


def test_deduplication_and_observation_stop_filters() -> None:
    once = Deduplicate(child=watermarked(), columns=("s",))
    assert stages(where(once, IS_A)) == ["==(s, a)", "Deduplicate", "WithWatermark", "StreamingScan"]
    seen = Observe(child=watermarked(), name="m", metrics=(named(call("count", 1), "n"),))
    assert stages(where(seen, IS_A)) == ["==(s, a)", "Observe", "WithWatermark", "StreamingScan"]


def test_without_watermark_or_aggregation_nothing_moves() -> None:
    projected = Project(child=stream(), expressions=(named(call("upper", "s"), "u"),))
    assert stages(where(projected, call("==", "u", lit("A")))) == ["==(u, A)", "StreamingScan"]


def test_explode_asks_for_a_nonempty_array() -> None:
    found = stages(Project(child=watermarked(), expressions=(column("t"), named(call("explode", "arr"), "x"))))
    assert found == ["Generate", "WithWatermark", "and(>(size(arr), 0), isnotnull(arr))", "StreamingScan"]


def _joined(kind: str, condition: Expression) -> list[str]:
    return stages(Join(left=watermarked(1), right=local(2), kind=kind, condition=condition))


def test_joins_ask_each_side_for_what_a_match_needs() -> None:
    equal = call("==", column("s", 1), column("s", 2))
    inner = _joined("inner", call("and", equal, call(">", column("i", 1), 3)))
    assert inner == [
        "Join",
        "WithWatermark",
        "and(and(>(i, 3), isnotnull(i)), isnotnull(s))",
        "StreamingScan",
        "isnotnull(s)",
        "LocalData",
    ]
    assert _joined("left", equal) == ["Join", "WithWatermark", "StreamingScan", "isnotnull(s)", "LocalData"]


def test_what_is_known_of_one_key_holds_for_its_equal() -> None:
    only_a = Filter(child=local(2), condition=IS_A)
    join = Join(left=watermarked(1), right=only_a, kind="inner", condition=call("==", column("s", 1), column("s", 2)))
    assert stages(join)[:4] == ["Join", "WithWatermark", "and(==(s, a), isnotnull(s))", "StreamingScan"]


def test_the_columns_stay() -> None:
    plan = resolve(where(watermarked(), IS_A))
    pushed = push_filters(plan)
    assert [a.expr_id for a in pushed.output] == [a.expr_id for a in plan.output]
    assert isinstance(pushed, WithWatermark)
    kinds = [type(node) for node in walk_relations(pushed)]
    assert StreamingScan in kinds and Expand not in kinds and Generate not in kinds
    assert isinstance(pushed.child, Filter) and pushed.child.condition.dtype == BooleanType()  # type: ignore[attr-defined]
