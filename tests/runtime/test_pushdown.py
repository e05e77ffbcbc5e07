"""Where filters of a streaming plan end up: rows that they drop below a watermark node do not move the watermark."""

from __future__ import annotations

import pytest
from pyspark.sql.types import LongType, StringType, StructField, StructType, TimestampType

from runnel.analysis.context import AnalysisContext
from runnel.analysis.rules import analyze
from runnel.functions.registry import BindContext
from runnel.lowering.expressions import LoweringOptions
from runnel.plan.expressions import Alias, UnresolvedAttribute
from runnel.plan.relations import Aggregate, Filter, Join, Project, Relation, SetOperation, StreamingScan, WithWatermark
from runnel.plan.traverse import walk_relations
from runnel.runtime.planner import plan_stream
from runnel.runtime.pushdown import push_filters
from runnel.sql import parse_expression

SCHEMA = StructType([StructField("k", StringType()), StructField("t", TimestampType()), StructField("v", LongType())])


def stream(prefix: str = "") -> Relation:
    scan = StreamingScan(source_key=prefix, format="rate", schema=SCHEMA)
    marked = WithWatermark(child=scan, event_time="t", delay="10 seconds")
    named = tuple(Alias(UnresolvedAttribute((n,)), prefix + n) for n in "ktv")
    return Project(child=marked, expressions=named) if prefix else marked


def where(child: Relation, condition: str) -> Filter:
    return Filter(child=child, condition=parse_expression(condition))


def resolved(plan: Relation) -> Relation:
    def refuse(node: object) -> Relation:
        raise AssertionError(node)

    return analyze(plan, AnalysisContext(BindContext(), refuse, refuse, refuse))


def join(kind: str, condition: str) -> Join:
    return Join(left=stream("l"), right=stream("r"), kind=kind, condition=parse_expression(condition))


def below_watermarks(plan: Relation) -> list[int]:
    """For each watermark node, in plan order, how many columns the filters below it look at."""
    nodes = [n for n in walk_relations(push_filters(resolved(plan))) if isinstance(n, WithWatermark)]
    return [sum(isinstance(below, Filter) for below in walk_relations(node)) for node in nodes]


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        (where(stream(), "v > 1"), [1]),
        (where(stream(), "t > timestamp'2024-01-01 00:00:00'"), [0]),
        (where(stream(), "v > 1 and t is not null"), [1]),
        (where(stream(), "v > rand()"), [0]),
        (where(stream("x"), "xv > 1"), [1]),
        (where(where(stream("x"), "xv > 1"), "xk = 'a'"), [1]),
        (where(SetOperation(inputs=(stream("x"), stream("y")), kind="union"), "xv > 1"), [1, 1]),
        (join("inner", "lk = rk"), [1, 1]),
        (join("semi", "lk = rk"), [1, 1]),
        (join("left", "lt = rt and lv > 1 and rv > 1"), [0, 1]),
        (join("right", "lt = rt and lv > 1 and rv > 1"), [1, 0]),
        (join("full", "lt = rt and lv > 1 and rv > 1"), [0, 0]),
        (where(join("left", "lt = rt"), "lv > 1 and rv > 1"), [1, 0]),
        (where(join("inner", "lt = rt"), "lv > 1"), [1, 0]),
    ],
)
def test_filters_move_below_watermarks_as_in_spark(plan: Relation, expected: list[int]) -> None:
    assert below_watermarks(plan) == expected


def test_a_filter_on_keys_moves_below_an_aggregation() -> None:
    keys = (UnresolvedAttribute(("k",)),)
    counted = Alias(parse_expression("count(v)"), "n")
    plan = Aggregate(child=stream(), groupings=keys, aggregates=(counted,))
    assert below_watermarks(where(plan, "k = 'a'")) == [1]
    assert below_watermarks(where(plan, "n > 1")) == [0]


def test_a_filter_above_an_inner_join_becomes_part_of_its_condition() -> None:
    plan = push_filters(resolved(where(join("inner", "lk = rk"), "lt > rt")))
    joins = [n for n in walk_relations(plan) if isinstance(n, Join)]
    assert not isinstance(plan, Filter)
    assert ">" in str(joins[0].condition)


def test_output_stays() -> None:
    before = resolved(where(join("left", "lk = rk and lt = rt and rv > 3"), "lv > 1 and rv is null"))
    assert push_filters(before).output == before.output


def test_operators_are_numbered_from_the_sink_left_before_right() -> None:
    left, right = (
        Aggregate(
            child=stream(p),
            groupings=tuple(UnresolvedAttribute((p + n,)) for n in keys),
            aggregates=(Alias(parse_expression("count(*)"), p + "n"),),
        )
        for p, keys in (("l", "tk"), ("r", "t"))
    )
    plan = resolved(Join(left=left, right=right, kind="inner", condition=parse_expression("lt = rt")))
    stages = plan_stream(plan, "append", LoweringOptions()).operators
    assert [(s.operator_id, s.operator.name) for s in stages] == [
        (0, "symmetricHashJoin"),
        (1, "stateStoreSave"),
        (2, "stateStoreSave"),
    ]
    assert [len(s.operator.stores[0].key_schema) for s in stages[1:]] == [2, 1]


def test_a_self_join_reads_its_source_once() -> None:
    plan = join("inner", "lk = rk")
    both = resolved(
        Join(
            left=Project(
                child=stream("x"), expressions=tuple(Alias(UnresolvedAttribute(("x" + n,)), "l" + n) for n in "ktv")
            ),
            right=Project(
                child=stream("x"), expressions=tuple(Alias(UnresolvedAttribute(("x" + n,)), "r" + n) for n in "ktv")
            ),
            kind="inner",
            condition=plan.condition,
        )
    )
    assert len(plan_stream(both, "append", LoweringOptions()).sources) == 1
