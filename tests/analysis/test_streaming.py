"""Operators × output modes × joins × chains: what Spark 4.2 accepts and refuses."""

from __future__ import annotations

import pytest

from runnel.analysis.streaming import check_batch, check_streaming
from runnel.errors import AnalysisError
from runnel.plan.relations import (
    Aggregate,
    Deduplicate,
    Filter,
    Join,
    Limit,
    Offset,
    Project,
    Relation,
    Sample,
    SetOperation,
    Sort,
    WithWatermark,
)

from .builders import call, column, lit, local, named, order, resolve, stream

OK = ""
SOM = "STREAMING_OUTPUT_MODE.UNSUPPORTED_OPERATION"
L3102 = "_LEGACY_ERROR_TEMP_3102"
MODES = ("append", "update", "complete")

S = stream()
M = WithWatermark(child=stream(), event_time="t", delay="10 seconds")


def group(child: Relation, *keys: object, agg: str = "count", distinct: bool = False) -> Aggregate:
    item = named(call(agg, "a", distinct=distinct), "n")
    return Aggregate(child=child, groupings=tuple(column(k) for k in keys), aggregates=(item,))


def join(left: Relation, right: Relation, kind: str, timed: bool = False) -> Join:
    def side(child: Relation, prefix: str) -> Project:
        return Project(child=child, expressions=(named("s", prefix + "s"), named("t", prefix + "t")))

    condition = call("==", "ls", "rs")
    if timed:
        condition = call("and", condition, call("<=", "rt", "lt"))
        condition = call("and", condition, call(">=", "rt", "lt"))
    return Join(left=side(left, "l"), right=side(right, "r"), kind=kind, condition=condition)


WINDOW = call("window", "t", lit("10 seconds"))
SESSION = call("session_window", "t", lit("10 seconds"))

TABLE: list[tuple[str, Relation, tuple[str, str, str]]] = [
    ("stateless", Filter(child=S, condition=column("b")), (OK, OK, SOM)),
    ("union", SetOperation(inputs=(S, S), kind="union"), (OK, OK, SOM)),
    ("group by", group(S, "s"), (SOM, OK, OK)),
    ("global", group(S), (SOM, OK, OK)),
    ("window with watermark", group(M, WINDOW), (OK, OK, OK)),
    ("event time with watermark", group(M, "t"), (OK, OK, OK)),
    ("other key with watermark", group(M, "s"), (SOM, OK, OK)),
    ("session", group(M, SESSION, "s"), (OK, SOM, OK)),
    ("dedup", Deduplicate(child=S, columns=("s",)), (OK, OK, SOM)),
    ("dedup within", Deduplicate(child=M, columns=("s",), within_watermark=True), (OK, OK, SOM)),
    ("dedup within, none", Deduplicate(child=S, columns=("s",), within_watermark=True), (L3102, L3102, SOM)),
    ("distinct aggregate", group(M, WINDOW, distinct=True), (L3102, L3102, L3102)),
    ("sort", Sort(child=S, orders=(order("a"),)), (L3102, L3102, SOM)),
    ("sort after aggregation", Sort(child=group(S, "s"), orders=(order("n"),)), (SOM, L3102, OK)),
    ("limit", Limit(child=S, count=1), (OK, L3102, SOM)),
    ("aggregation then limit", Limit(child=group(S, "s"), count=1), (SOM, L3102, OK)),
    ("limit then aggregation", group(Limit(child=S, count=1), "s"), (SOM, L3102, OK)),
    ("offset", Offset(child=S, count=1), (L3102, L3102, SOM)),
    ("sample", Sample(child=S, lower=0.0, upper=0.5, with_replacement=False, seed=1), (L3102, L3102, SOM)),
    ("stream union static", SetOperation(inputs=(S, local()), kind="union"), (L3102, L3102, SOM)),
    ("pivot", Aggregate(child=S, groupings=(column("i"),), aggregates=(call("sum", "a"),), kind="pivot",
                        pivot_column=column("s"), pivot_values=(lit("x"),)), (SOM, L3102, L3102)),
    ("stream-static inner", join(S, local(), "inner"), (OK, OK, SOM)),
    ("stream-static left", join(S, local(), "left"), (OK, OK, SOM)),
    ("static-stream left", join(local(), S, "left"), (L3102, L3102, SOM)),
    ("stream-static right", join(S, local(), "right"), (L3102, L3102, SOM)),
    ("stream-static full", join(S, local(), "full"), (L3102, L3102, SOM)),
    ("static-stream semi", join(local(), S, "semi"), (L3102, L3102, SOM)),
    ("stream-stream inner", join(S, S, "inner"), (OK, OK, SOM)),
    ("stream-stream left, none", join(S, S, "left"), (L3102, L3102, SOM)),
    ("stream-stream left", join(M, M, "left", timed=True), (OK, L3102, SOM)),
    ("stream-stream semi", join(M, M, "semi", timed=True), (OK, OK, SOM)),
    ("stream-stream anti", join(M, M, "anti", timed=True), (L3102, L3102, SOM)),
    ("agg then agg", group(Project(child=group(M, WINDOW, "a"), expressions=(column("window"), column("a"))),
                           call("window", "window", lit("1 minute"))), (OK, L3102, L3102)),
    ("dedup then agg", group(Deduplicate(child=M, columns=("s", "t")), WINDOW), (OK, OK, OK)),
]  # fmt: skip


@pytest.mark.parametrize(("mode", "position"), [(m, i) for i, m in enumerate(MODES)])
@pytest.mark.parametrize(("name", "plan", "expected"), TABLE, ids=[row[0] for row in TABLE])
def test_operators_by_mode(name: str, plan: Relation, expected: tuple[str, str, str], mode: str, position: int) -> None:
    found = OK
    try:
        check_streaming(resolve(plan), mode.capitalize(), {})
    except AnalysisError as error:
        found = error.condition
    assert found == expected[position]


def test_checks_can_be_switched_off() -> None:
    check_streaming(resolve(S), "complete", {"spark.sql.streaming.unsupportedOperationCheck": "false"})


def test_an_unknown_mode() -> None:
    with pytest.raises(AnalysisError) as caught:
        check_streaming(resolve(S), "never", {})
    assert caught.value.condition == "STREAMING_OUTPUT_MODE.INVALID"


def test_batch_actions_refuse_streams() -> None:
    check_batch(resolve(local()))
    with pytest.raises(AnalysisError, match="writeStream"):
        check_batch(resolve(S))
