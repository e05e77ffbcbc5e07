"""Stream-stream joins against an oracle that recomputes everything from all input, and against rows from Spark."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql.types import (
    BooleanType,
    DataType,
    DayTimeIntervalType,
    LongType,
    StringType,
    StructType,
    TimestampType,
)

from runnel.errors import RunnelError
from runnel.execution.connection import Engine
from runnel.lowering.expressions import LoweringOptions
from runnel.operators.base import OperatorBatch, OperatorPlan
from runnel.operators.join import plan_join
from runnel.plan.expressions import Attribute, Expression, FunctionCall, Literal, dtype_of, new_expr_id
from runnel.plan.relations import Join, StageInput

from .harness import Driver

SECOND = 1_000_000
MARK = {"spark.watermarkDelayMs": 5_000}

LK = Attribute("lk", StringType(), True, new_expr_id())
LT = Attribute("lt", TimestampType(), True, new_expr_id(), MARK)
LV = Attribute("lv", LongType(), True, new_expr_id())
RK = Attribute("rk", StringType(), True, new_expr_id())
RT = Attribute("rt", TimestampType(), True, new_expr_id(), MARK)
RV = Attribute("rv", LongType(), True, new_expr_id())
LEFT = StageInput(index=0, attributes=(LK, LT, LV))
RIGHT = StageInput(index=1, attributes=(RK, RT, RV))

Row = tuple[str | None, int | None, int | None]
"""Key, seconds, value."""
Out = tuple[Any, ...]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine(1) as made:
        yield made


def call(name: str, *args: Expression, dtype: DataType | None = None) -> FunctionCall:
    return FunctionCall(name, args, dtype or BooleanType(), True)


def both(*parts: Expression) -> Expression:
    found = parts[0]
    for part in parts[1:]:
        found = call("and", found, part)
    return found


def seconds(count: float) -> Literal:
    return Literal(int(count * SECOND), DayTimeIntervalType(0, 3))


def plus(time: Expression, count: float) -> Expression:
    return call("+", time, seconds(count), dtype=dtype_of(time))


def minus(time: Expression, count: float) -> Expression:
    return call("-", time, seconds(count), dtype=dtype_of(time))


def number(value: int) -> Literal:
    return Literal(value, LongType())


def planned(kind: str, condition: Expression, left: StageInput = LEFT, right: StageInput = RIGHT) -> OperatorPlan:
    node = Join(left=left, right=right, kind=kind, condition=condition)
    return plan_join(node, LoweringOptions())


def table(rows: Sequence[Row], names: str) -> pa.Table:
    schema = pa.schema([(f"{names}k", pa.string()), (f"{names}t", pa.timestamp("us")), (f"{names}v", pa.int64())])
    times = [None if t is None else t * SECOND for _, t, _ in rows]
    columns = [[k for k, _, _ in rows], times, [v for _, _, v in rows]]
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)


def given_out(rows: list[dict[str, Any]]) -> Counter[Out]:
    """Rows with their times in seconds."""
    epoch = [tuple(row.values()) for row in rows]
    return Counter(tuple(_plain(value) for value in row) for row in epoch)


def _plain(value: Any) -> Any:
    return int(pa.scalar(value, pa.timestamp("us")).value // SECOND) if hasattr(value, "timestamp") else value


# ---------------------------------------------------------------------------------------------------- the oracle


@dataclass
class Oracle:
    """Spark's rules, row by row over lists, for `lk = rk and rt >= lt and rt <= lt + 10 s` or for keys (k, t)."""

    kind: str
    by_key: bool
    left: list[list[Any]] = field(default_factory=list)
    right: list[list[Any]] = field(default_factory=list)

    def matches(self, left: Row, right: Row) -> bool:
        keys = (left[:2], right[:2]) if self.by_key else (left[:1], right[:1])
        if keys[0] != keys[1] or (None in keys[0] and self.kind != "full"):
            return False
        if self.by_key:
            return True
        return left[1] is not None and right[1] is not None and left[1] <= right[1] <= left[1] + 10

    def limit_ms(self, side: str, watermark_ms: int) -> int:
        if self.by_key:
            return watermark_ms
        return watermark_ms - 10_001 if side == "left" else watermark_ms - 1

    def filtered(self, side: str, row: Row) -> bool:
        """Whether a row that cannot match is no input at all."""
        sides = {"inner": "left right", "semi": "left right", "left": "right", "right": "left", "full": ""}
        return side in sides[self.kind].split() and (row[0] is None or row[1] is None)

    def past(self, side: str, row: Row, watermark_ms: int) -> bool:
        return row[1] is not None and row[1] * 1000 <= self.limit_ms(side, watermark_ms)

    def batch(self, left: list[Row], right: list[Row], late_ms: int, evict_ms: int) -> Counter[Out]:
        out: list[Out] = []
        for side, rows, others in (("left", left, self.right), ("right", right, self.left)):
            for row in rows:
                if self.filtered(side, row) or (row[1] is not None and row[1] * 1000 <= late_ms):
                    continue
                matched = False
                for other in others:
                    pair = (row, other[0]) if side == "left" else (other[0], row)
                    if not self.matches(*pair):
                        continue
                    if self.kind == "semi":
                        first = not matched if side == "left" else not other[1]
                        out += [pair[0]] if first else []
                    else:
                        out.append(pair[0] + pair[1])
                    matched = other[1] = True
                if side == "left":
                    if not (self.kind == "semi" and matched):
                        self.left.append([row, matched])
                elif not self.past(side, row, evict_ms) or (self.kind in ("right", "full") and not matched):
                    self.right.append([row, matched])
        if self.kind == "semi":
            self.left[:] = [entry for entry in self.left if not entry[1]]
        for side, held in (("left", self.left), ("right", self.right)):
            for row, matched in held:
                if self.past(side, row, evict_ms) and not matched and self.kind in (side, "full"):
                    out.append(row + (None,) * 3 if side == "left" else (None,) * 3 + row)
            held[:] = [entry for entry in held if not self.past(side, entry[0], evict_ms)]
        return Counter(out)


rows_strategy = st.lists(
    st.tuples(
        st.sampled_from(["a", "a", "b", None]),
        st.one_of(st.none(), st.integers(0, 40), st.integers(0, 40)),
        st.integers(0, 3),
    ),
    max_size=6,
)
batches_strategy = st.lists(st.tuples(rows_strategy, rows_strategy, st.integers(-3, 12)), min_size=1, max_size=7)
relaxed = settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))

RANGE = both(call("==", LK, RK), call(">=", RT, LT), call("<=", RT, plus(LT, 10)))
EXACT = both(call("==", LK, RK), call("==", RT, LT))


@pytest.mark.parametrize("kind", ["inner", "left", "right", "full", "semi"])
@pytest.mark.parametrize("by_key", [False, True])
def test_joins_equal_the_oracle_over_any_batches_and_a_restart(engine: Engine, kind: str, by_key: bool) -> None:
    @relaxed
    @given(batches_strategy, st.integers(0, 6))
    def check(batches: list[tuple[list[Row], list[Row], int]], restart_at: int) -> None:
        oracle = Oracle(kind, by_key)
        watermark_ms = 0
        with tempfile.TemporaryDirectory() as folder:
            driver = Driver(engine, planned(kind, EXACT if by_key else RANGE), Path(folder), watermark_ms=0)
            for i, (left, right, step) in enumerate(batches):
                late_ms, watermark_ms = watermark_ms, max(watermark_ms, watermark_ms + step * 1000)
                if i == restart_at:
                    driver.close()
                    driver = Driver(
                        engine,
                        planned(kind, EXACT if by_key else RANGE),
                        Path(folder),
                        batch_id=i,
                        watermark_ms=late_ms,
                    )
                out = driver.run([table(left, "l"), table(right, "r")], watermark_ms=watermark_ms)
                assert given_out(out) == oracle.batch(left, right, late_ms, watermark_ms)
                held = [store.store.num_rows for store in driver.stores.values()]
                assert held == [len(oracle.left), len(oracle.right)]
            driver.close()

    check()


@relaxed
@given(st.lists(st.tuples(rows_strategy, rows_strategy), min_size=1, max_size=5))
def test_without_watermarks_the_batches_together_are_the_join_of_everything(
    engine: Engine, batches: list[tuple[list[Row], list[Row]]]
) -> None:
    left = StageInput(index=0, attributes=tuple(Attribute(a.name, a.dtype, True, a.expr_id) for a in LEFT.attributes))
    right = StageInput(index=1, attributes=tuple(Attribute(a.name, a.dtype, True, a.expr_id) for a in RIGHT.attributes))
    condition = both(call("<=>", LK, RK), call("<", LV, call("+", RV, number(1), dtype=LongType())))
    with tempfile.TemporaryDirectory() as folder:
        driver = Driver(engine, planned("inner", condition, left, right), Path(folder))
        out: Counter[Out] = Counter()
        for new_left, new_right in batches:
            out += given_out(driver.run([table(new_left, "l"), table(new_right, "r")]))
        driver.close()
    every_left = [row for rows, _ in batches for row in rows]
    every_right = [row for _, rows in batches for row in rows]
    assert out == Counter(a + b for a in every_left for b in every_right if a[0] == b[0] and (a[2] or 0) <= (b[2] or 0))


# ------------------------------------------------------------------------------------------- facts, as Spark has them

MINUTE = 60
L_ROWS: list[list[Row]] = [[("a", 0, 1)], [("b", 5, 2)], [("c", 30, 3)], [("d", 60, 4)], [("e", 120, 5)]]
R_ROWS: list[list[Row]] = [
    [("b", 6, 20)],
    [("a", 3, 10), ("a", 20, 11)],
    [("x", 31, 30)],
    [("d", 61, 40)],
    [("z", 120, 50)],
]
WATERMARKS_MIN = [0, 0, 0, 20, 50]
"""The watermark of each batch, in minutes: that of two streams with a delay of ten, the lesser one."""

PAIRS = {1: {("a", 0, 1, "a", 3, 10), ("b", 5, 2, "b", 6, 20)}, 3: {("d", 60, 4, "d", 61, 40)}}
LEFT_ALONE = {("c", 30, 3, None, None, None)}
RIGHT_ALONE = {(None, None, None, "a", 20, 11), (None, None, None, "x", 31, 30)}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("inner", PAIRS),
        ("left", PAIRS | {4: LEFT_ALONE}),
        ("right", PAIRS | {4: RIGHT_ALONE}),
        ("full", PAIRS | {4: LEFT_ALONE | RIGHT_ALONE}),
        ("semi", {1: {("a", 0, 1), ("b", 5, 2)}, 3: {("d", 60, 4)}}),
    ],
)
def test_five_batches_of_two_streams(engine: Engine, tmp_path: Path, kind: str, expected: dict[int, set[Out]]) -> None:
    condition = both(call("==", LK, RK), call(">=", RT, LT), call("<=", RT, plus(LT, 10 * MINUTE)))
    driver = Driver(engine, planned(kind, condition), tmp_path, watermark_ms=0)

    def at(rows: list[Row]) -> list[Row]:
        return [(k, (600 + t) * MINUTE, v) for k, t, v in rows if t is not None]

    found = {}
    for i, (left, right) in enumerate(zip(L_ROWS, R_ROWS, strict=True)):
        minutes = WATERMARKS_MIN[i]
        out = driver.run(
            [table(at(left), "l"), table(at(right), "r")],
            watermark_ms=(600 + minutes) * MINUTE * 1000 if minutes else 0,
        )
        if out:
            found[i] = {
                tuple(v // MINUTE - 600 if p in (1, 4) and v is not None else v for p, v in enumerate(row))
                for row in given_out(out)
            }
    driver.close()
    assert found == expected


SIDE_ONLY = both(RANGE, call("<", LV, number(8)), call("<", RV, number(35)))


@pytest.mark.parametrize(
    ("kind", "at_once", "held"),
    [
        ("inner", [], [1, 1]),
        ("semi", [], [1, 1]),
        ("left", [("a", 1, 9, None, None, None)], [1, 1]),
        ("right", [(None, None, None, "a", 2, 40)], [1, 1]),
        ("full", [("a", 1, 9, None, None, None), (None, None, None, "a", 2, 40)], [1, 1]),
    ],
)
def test_rows_that_fail_a_condition_on_their_own_side_are_never_kept(
    engine: Engine, tmp_path: Path, kind: str, at_once: list[Out], held: list[int]
) -> None:
    driver = Driver(engine, planned(kind, SIDE_ONLY), tmp_path, watermark_ms=0)
    left: list[Row] = [("a", 1, 9), ("a", 1, 1)]
    right: list[Row] = [("a", 2, 40), ("b", 2, 1)]
    assert given_out(driver.run([table(left, "l"), table(right, "r")], watermark_ms=0)) == Counter(at_once)
    assert [store.store.num_rows for store in driver.stores.values()] == held
    driver.close()


def test_a_right_row_that_goes_in_this_batch_is_not_kept(engine: Engine, tmp_path: Path) -> None:
    driver = Driver(engine, planned("inner", RANGE), tmp_path, watermark_ms=0)
    rows: list[Row] = [("a", 3, 1), ("a", 20, 2)]
    driver.run([table(rows, "l"), table(rows, "r")], watermark_ms=10_000)
    metrics = driver.plan.operator.metrics
    # Left: both stored, none past 10 s - 10 s. Right: the row at 3 s is not stored, so it is not removed either.
    assert (metrics.num_rows_updated, metrics.num_rows_removed) == (3, 0)
    driver.run([table([("a", 4, 1)], "l"), table([], "r")], watermark_ms=40_000)
    metrics = driver.plan.operator.metrics
    assert metrics.num_rows_dropped_by_watermark == 1
    assert (metrics.num_rows_updated, metrics.num_rows_removed) == (0, 3)
    driver.close()


def test_evictions_that_make_outer_rows_are_not_counted(engine: Engine, tmp_path: Path) -> None:
    driver = Driver(engine, planned("left", RANGE), tmp_path, watermark_ms=0)
    driver.run([table([("a", 1, 1)], "l"), table([("b", 1, 1), ("b", 2, 1)], "r")], watermark_ms=0)
    out = driver.run([table([], "l"), table([], "r")], watermark_ms=60_000)
    assert given_out(out) == Counter([("a", 1, 1, None, None, None)])
    assert driver.plan.operator.metrics.num_rows_removed == 2
    driver.close()


def test_a_semi_join_gives_a_left_row_once(engine: Engine, tmp_path: Path) -> None:
    driver = Driver(engine, planned("semi", RANGE), tmp_path, watermark_ms=0)
    two: list[Row] = [("a", 2, 1), ("a", 3, 2)]
    assert driver.run([table([("a", 1, 1)], "l"), table([], "r")], watermark_ms=0) == []
    assert given_out(driver.run([table([], "l"), table(two, "r")], watermark_ms=0)) == Counter([("a", 1, 1)])
    assert driver.run([table([], "l"), table(two, "r")], watermark_ms=0) == []
    assert given_out(driver.run([table([("a", 0, 5)], "l"), table(two, "r")], watermark_ms=0)) == Counter()
    assert given_out(driver.run([table([("a", 1, 5)], "l"), table(two, "r")], watermark_ms=0)) == Counter([("a", 1, 5)])
    driver.close()


def test_a_computed_key(engine: Engine, tmp_path: Path) -> None:
    condition = both(call("==", LK, RK), call("==", plus(LT, 5), RT))
    driver = Driver(engine, planned("full", condition), tmp_path, watermark_ms=0)
    driver.run([table([("a", 1, 1), ("a", 2, 2)], "l"), table([], "r")], watermark_ms=0)
    out = driver.run([table([], "l"), table([("a", 6, 3), ("a", 8, 4)], "r")], watermark_ms=0)
    assert given_out(out) == Counter([("a", 1, 1, "a", 6, 3)])
    # The key itself decides on both sides: 2 s + 5 s and 8 s.
    out = driver.run([table([], "l"), table([], "r")], watermark_ms=7_000)
    assert given_out(out) == Counter([("a", 2, 2, None, None, None)])
    out = driver.run([table([], "l"), table([], "r")], watermark_ms=8_000)
    assert given_out(out) == Counter([(None, None, None, "a", 8, 4)])
    driver.close()


# -------------------------------------------------------------------------------------------------- what it declares


def test_watermarks_out_and_batches_wanted() -> None:
    def batch(watermark_ms: int | None) -> OperatorBatch:
        return OperatorBatch(1, 0, "append", watermark_ms, watermark_ms)

    operator = planned("inner", RANGE).operator
    assert operator.output_watermark_ms(60_000) == 49_999
    assert operator.wants_another_batch(batch(5), 6)
    assert not operator.wants_another_batch(batch(5), 5)
    assert not operator.wants_another_batch(batch(None), 5)
    no_bounds = planned("inner", call("==", LK, RK)).operator
    assert no_bounds.output_watermark_ms(60_000) == 60_000
    assert not no_bounds.wants_another_batch(batch(5), 6)
    assert planned("inner", EXACT).operator.output_watermark_ms(60_000) == 60_000


def test_stores_say_what_spark_keeps() -> None:
    operator = planned("left", both(call("==", plus(LT, 5), RT), call("==", LK, RK))).operator
    assert operator.name == "symmetricHashJoin"
    names = [name for spec in operator.stores for name in spec.spark_store_names]
    assert names == [
        f"{side}-{store}" for side in ("left", "right") for store in ("keyToNumValues", "keyWithIndexToValue")
    ]
    key = StructType.fromJson(json.loads(operator.stores[0].spark_key_schema))
    value = StructType.fromJson(json.loads(operator.stores[0].spark_value_schema))
    assert key.simpleString() == "struct<field0:timestamp,field1:string,index:bigint>"
    assert value.simpleString() == "struct<lk:string,lt:timestamp,lv:bigint,matched:boolean>"


@pytest.mark.parametrize(
    "condition", [call(">=", RT, LT), call("not", call("==", LK, RK)), call("==", LK, Literal("a", StringType()))]
)
def test_a_join_without_equality_between_the_sides_is_refused(condition: Expression) -> None:
    with pytest.raises(RunnelError) as refused:
        planned("inner", condition).operator.open({}, lambda fragment: pytest.fail("prepared"))
    assert refused.value.condition == "_LEGACY_ERROR_TEMP_1181"
