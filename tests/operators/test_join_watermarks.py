"""State watermarks by condition, as Spark 4.2 derives them; in milliseconds relative to the watermark."""

from __future__ import annotations

import pytest
from pyspark.sql.types import LongType, StructField, StructType, TimestampType

from runnel.analysis.context import AnalysisContext
from runnel.analysis.rules import analyze
from runnel.functions.registry import BindContext
from runnel.operators.join_condition import split_condition
from runnel.operators.join_watermarks import StateWatermark, state_watermarks
from runnel.plan.expressions import Alias, Expression
from runnel.plan.relations import Join, Project, Relation, StreamingScan, WithWatermark
from runnel.sql import parse_expression

SCHEMA = StructType([StructField("timestamp", TimestampType()), StructField("value", LongType())])
LEFT = {
    "lt": "timestamp",
    "lv": "value",
    "lk": "value",
    "lu": "timestamp + interval 1 hour",
    "li": "cast(value as int)",
    "ld": "cast(timestamp as date)",
}
RIGHT = {
    "rt": "timestamp",
    "rv": "value",
    "rk": "value",
    "ru": "timestamp + interval 1 hour",
    "rd": "cast(timestamp as date)",
}
WATERMARK = 10_000_000_000

SAME_IN_ALL_KINDS: list[tuple[str, int | None, int | None]] = [
    ("rt >= lt AND rt <= lt + interval 10 minutes", -600001, -1),
    ("rt BETWEEN lt AND lt + interval 5 seconds", -5001, -1),
    ("rt > lt - interval 1 minute AND lt > rt", 0, -60000),
    ("lt + interval 5 seconds + interval 5 seconds > rt", -5000, None),
    ("rt - interval 5 seconds - interval 5 seconds < lt", -5000, None),
    ("rt - interval 5 seconds < lt + interval 5 seconds", -10000, None),
    ("rt > lt + interval 1 month AND lt > rt - interval 1 month", None, None),
    ("lt > rt - interval 1 day", -86400000, None),
    ("lv > rv", None, None),
    ("lv > rv AND lt > rt", 0, None),
    ("lu > rt AND ru > lt", 0, 0),
    ("lt > ru", None, None),
    ("not (lt > rt)", None, -1),
    ("not (lt > rt or rt > lt + interval 1 minute)", -60001, -1),
    ("cast(lt as long) > cast(rt as long) - 5", -5000, None),
    ("cast(lt as double) > cast(rt as double) - 5.5", -5500, None),
    ("unix_timestamp(lt) > unix_timestamp(rt)", None, None),
    ("ld >= rd", None, None),
    ("lt >= rd", None, None),
    ("lt > timestamp'2024-01-01 00:00:00' AND lt > rt", 0, None),
    ("lt + interval 10 milliseconds * 2 > rt", -20, None),
    ("lt >= rt - make_interval(0,0,0,0,0,0,7)", -7001, None),
    ("lt >= rt - make_dt_interval(0,0,0,7)", -7001, None),
    ("lt - rt < interval 5 seconds", None, None),
    ("lt - rt >= interval 5 seconds", None, None),
    ("(lt > rt OR lv = 3)", None, None),
    ("lt + interval 1500 microseconds >= rt", -3, None),
    ("lt + interval '1' hour >= rt", -3600001, None),
    ("5 = 5 AND lt > rt", 0, None),
    ("date_trunc('hour', lt) >= rt", None, None),
    ("rt > timestamp'2024-01-01 00:00:00' AND lt > rt", 0, None),
    ("lt > rt AND 7 > rv", 0, None),
    ("lv * 2 > rv AND lt > rt", 0, None),
    (
        "lt < rt + interval 2 seconds + interval 2 seconds AND lt > rt - interval '1 2:03:04.567' day to second",
        -93784567,
        -2000,
    ),
    ("lt + cast('5 seconds' as interval) > rt", -5000, None),
    ("lt > cast(rt as timestamp_ntz)", None, None),
    ("lt + interval 1 day > rt AND lv + rv > 5", -86400000, None),
    ("lv is not null and lt > rt", 0, None),
    ("cast(lt as timestamp) > rt", 0, None),
    ("lt BETWEEN rt - interval 3 seconds AND rt", -3001, -1),
    ("NOT (lt > rt AND rt > lt)", None, None),
]

LEFT_OUTER: list[tuple[str, int | None, int | None]] = [
    # A bound of a left column by a number counts as a time in milliseconds, without the watermark.
    ("lv > 5 AND lt > rt", 5000 - WATERMARK, None),
    ("li > 3 AND lt + make_interval(0,0,0,0,1,0,0) >= rt", 3000 - WATERMARK, None),
    ("-5 < lv AND lt > rt", -5000 - WATERMARK, None),
    ("lv >= 5L AND lt > rt", 4999 - WATERMARK, None),
    ("lv > 0 and lt > rt", -WATERMARK, None),
    ("cast(li as float) > 1.5f AND lt > rt", 1500 - WATERMARK, None),
    ("-lv < 5 AND lt > rt", -5000 - WATERMARK, None),
    ("5 - lv < 2 AND lt > rt", 3000 - WATERMARK, None),
    ("NOT (lv <= 5) AND lt > rt", 5000 - WATERMARK, None),
]


def _side(columns: dict[str, str], time: str, key: object) -> Relation:
    named: tuple[Expression, ...] = tuple(Alias(parse_expression(text), name) for name, text in columns.items())
    scan = StreamingScan(source_key=key, format="rate", schema=SCHEMA)
    return WithWatermark(child=Project(child=scan, expressions=named), event_time=time, delay="10 seconds")


def derived(condition: str, kind: str) -> tuple[StateWatermark | None, StateWatermark | None]:
    def refuse(node: object) -> Relation:
        raise AssertionError(node)

    left, right = _side(LEFT, "lt", "l"), _side(RIGHT, "rt", "r")
    plan = Join(left=left, right=right, kind=kind, condition=parse_expression(condition))
    node = analyze(plan, AnalysisContext(BindContext(), refuse, refuse, refuse))
    assert isinstance(node, Join)
    split = split_condition(node)
    return state_watermarks(node.left.output, node.right.output, split.keys, split.others)


def relative(state: StateWatermark | None) -> int | None:
    return None if state is None else state.at(WATERMARK) - WATERMARK


@pytest.mark.parametrize("kind", ["inner", "left"])
@pytest.mark.parametrize(("condition", "left", "right"), SAME_IN_ALL_KINDS)
def test_state_watermarks(condition: str, left: int | None, right: int | None, kind: str) -> None:
    found = derived(f"lk = rk AND {condition}", kind)
    assert tuple(map(relative, found)) == (left, right)


@pytest.mark.parametrize(("condition", "left", "right"), LEFT_OUTER)
def test_conditions_on_the_preserved_side_take_part(condition: str, left: int | None, right: int | None) -> None:
    assert tuple(map(relative, derived(f"lk = rk AND {condition}", "left"))) == (left, right)
    assert relative(derived(f"lk = rk AND {condition}", "inner")[0]) in (0, -3600001)


@pytest.mark.parametrize(
    ("condition", "position"),
    [
        ("lk = rk AND lt = rt", 1),
        ("lt = rt AND lk = rk", 0),
        ("lk = rk and lt = rt + interval 5 seconds", 1),
        ("lk = rk and lt - interval 5 seconds = rt", 1),
    ],
)
def test_a_key_with_a_watermark_decides_for_both_sides(condition: str, position: int) -> None:
    left, right = derived(condition, "inner")
    assert left == right
    assert left is not None and left.key == position and left.at(7) == 7


def test_null_safe_keys_carry_no_watermark() -> None:
    assert derived("lk = rk AND lt <=> rt", "inner") == (None, None)
    assert tuple(map(relative, derived("lk <=> rk AND lt >= rt", "inner"))) == (-1, None)
