"""applyInPandasWithState: against a dictionary that follows Spark's conditions, and facts recorded from Spark."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql.types import LongType, StringType, StructField, StructType, TimestampType

from runnel.errors import PythonWorkerError
from runnel.execution.connection import Engine
from runnel.execution.python_groups import PythonGroups
from runnel.lowering.expressions import LoweringOptions
from runnel.operators.base import OperatorPlan
from runnel.operators.registry import plan_operator
from runnel.plan.expressions import Attribute, PythonFunction, new_expr_id
from runnel.plan.relations import FlatMapGroupsWithState, StageInput
from runnel.plan.schema import attributes_of
from runnel.sql import parse_schema

from .harness import Driver

K = Attribute("k", StringType(), True, new_expr_id())
T = Attribute("t", TimestampType(), True, new_expr_id(), {"spark.watermarkDelayMs": 5_000})
V = Attribute("v", LongType(), True, new_expr_id())
ROWS = StageInput(index=0, attributes=(K, T, V))
SCHEMA = pa.schema([("k", pa.string()), ("t", pa.timestamp("us")), ("v", pa.int64())])
OUTPUT = StructType(
    [StructField(n, LongType()) for n in ("rows", "before", "timed_out")] + [StructField("k", StringType())]
)

Row = tuple[str | None, int, int]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine(1) as made:
        yield made


def planned(func: Any, timeout: str, *, schema: StructType = OUTPUT, state: str = "n long") -> OperatorPlan:
    node = FlatMapGroupsWithState(
        child=ROWS,
        groupings=(K,),
        function=PythonFunction("f", func, 211),
        schema=schema,
        state_schema=parse_schema(state),
        output_mode="update",
        timeout=timeout,
        attributes=attributes_of(schema),
    )
    return plan_operator(node, "update", LoweringOptions(), PythonGroups("UTC"))


def table(rows: list[Row]) -> pa.Table:
    return pa.Table.from_pylist([{"k": k, "t": t * 1_000_000, "v": v} for k, t, v in rows], schema=SCHEMA)


def scripted(key: Any, frames: Any, state: Any) -> Iterator[Any]:
    """Does what the rows say: 0 nothing, 1 removes, 2 and 3 set a timeout, more adds to the state."""
    import pandas as pd

    frames = list(frames)
    before = state.get[0] if state.exists else -1
    values = sorted(v for f in frames for v in f["v"].tolist())
    now = state.getCurrentWatermarkMs() if state._timeout_conf == "EventTimeTimeout" else 0
    for v in values:
        if v == 1:
            state.remove()
        elif v in (2, 3) and state._timeout_conf == "ProcessingTimeTimeout":
            state.setTimeoutDuration(v * 1000)
        elif v in (2, 3) and state._timeout_conf == "EventTimeTimeout":
            state.setTimeoutTimestamp(now + v * 1000)
        elif v > 3:
            state.update((v + (state.get[0] if state.exists else 0),))
    if state.hasTimedOut and before > 8:
        state.remove()
    yield pd.DataFrame(
        {"k": [key[0]], "rows": [len(values)], "before": [before], "timed_out": [int(state.hasTimedOut)]}
    )


class Oracle:
    """One dictionary entry a key: [value or None, timeout or None]."""

    def __init__(self, timeout: str) -> None:
        self.timeout = timeout
        self.states: dict[str | None, list[int | None]] = {}

    def call(self, key: str | None, values: list[int], now: int, *, timed_out: bool) -> tuple[Any, ...]:
        stored = self.states.get(key, [None, None])
        value, before = stored[0], -1 if stored[0] is None else stored[0]
        updated = removed = False
        timeout: int | None = None
        for v in sorted(values):
            if v == 1:
                value, updated, removed = None, False, True
            elif v in (2, 3) and self.timeout != "NoTimeout":
                timeout = now + v * 1000
            elif v > 3:
                value, updated, removed = v + (value or 0), True, False
        if timed_out and before > 8:
            value, updated, removed = None, False, True
        if removed and timeout is None:
            self.states.pop(key, None)
        elif updated or removed or timeout is not None:
            self.states[key] = [value, timeout]
        return (key, len(values), before, int(timed_out))

    def batch(self, rows: list[Row], now: int, late: int) -> Counter[tuple[Any, ...]]:
        groups: dict[str | None, list[int]] = {}
        for k, t, v in rows:
            if self.timeout != "EventTimeTimeout" or t * 1000 > late:
                groups.setdefault(k, []).append(v)
        out = [self.call(k, values, now, timed_out=False) for k, values in groups.items()]
        due = [k for k, (_, timeout) in self.states.items() if timeout is not None and timeout < now]
        return Counter(out + [self.call(k, [], now, timed_out=True) for k in due])


rows_strategy = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c", None]), st.integers(1, 30), st.integers(0, 7)), max_size=7
)


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.tuples(rows_strategy, st.integers(0, 4)), min_size=1, max_size=7),
    st.sampled_from(["NoTimeout", "ProcessingTimeTimeout", "EventTimeTimeout"]),
    st.integers(0, 6),
)
def test_as_the_oracle(engine: Engine, batches: list[tuple[list[Row], int]], timeout: str, restart_at: int) -> None:
    oracle = Oracle(timeout)
    with tempfile.TemporaryDirectory() as folder:
        driver = Driver(engine, planned(scripted, timeout), Path(folder), "update")
        now = previous = 0
        for i, (rows, step) in enumerate(batches):
            previous, now = now, now + step * 1000
            if i == restart_at:
                driver.close()
                driver = Driver(
                    engine, planned(scripted, timeout), Path(folder), "update", batch_id=i, watermark_ms=previous
                )
            expected = oracle.batch(rows, now, previous)
            given_out = driver.run([table(rows)], watermark_ms=now, timestamp_ms=now)
            assert Counter((r["k"], r["rows"], r["before"], r["timed_out"]) for r in given_out) == expected
            metrics = driver.plan.operator.metrics
            late = sum(t * 1000 <= previous for _, t, _ in rows) if timeout == "EventTimeTimeout" else 0
            assert metrics.num_rows_dropped_by_watermark == late
            assert driver.stores["default"].store.num_rows == len(oracle.states)
        driver.close()


def test_which_operators_want_another_batch() -> None:
    from runnel.operators.base import OperatorBatch

    batch = OperatorBatch(3, 0, "update", 0, 1000)
    wants = {
        timeout: [planned(scripted, timeout).operator.wants_another_batch(batch, ms) for ms in (1000, 2000)]
        for timeout in ("NoTimeout", "ProcessingTimeTimeout", "EventTimeTimeout")
    }
    assert wants == {
        "NoTimeout": [False, False],
        "ProcessingTimeTimeout": [True, True],
        "EventTimeTimeout": [False, True],
    }
    assert planned(scripted, "NoTimeout").operator.output_watermark_ms(7) is None


def test_state_of_many_types_comes_back_as_it_was(engine: Engine, tmp_path: Path) -> None:
    seen: list[Any] = []
    value = (
        1, 2.5, "x", True, Decimal("1.50"), date(2024, 1, 2), datetime(2024, 1, 2, 3, 4, 5), b"\0y", [1, None],  # noqa: DTZ001
        {"a": 1}, (7, "n"), None,
    )  # fmt: skip

    def remember(key: Any, frames: Any, state: Any) -> Iterator[Any]:
        seen.append(state.getOption)
        state.update(value)
        return iter(())

    types = (
        "i int, d double, s string, b boolean, m decimal(5,2), day date, at timestamp, raw binary, l array<int>, "
        "p map<string,int>, st struct<a:int,b:string>, nothing string"
    )
    driver = Driver(engine, planned(remember, "NoTimeout", state=types), tmp_path, "update")
    driver.run([table([("a", 1, 1)])])
    driver.close()
    driver = Driver(engine, planned(remember, "NoTimeout", state=types), tmp_path, "update", batch_id=1)
    driver.run([table([("a", 1, 1)])])
    driver.close()
    assert seen == [None, value]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (lambda state: state.get, "STATE_NOT_EXISTS"),
        (lambda state: state.update(None), "CANNOT_BE_NONE"),
        (lambda state: state.update((1, 2)), "1 fields are required while 2 values"),
        (lambda state: state.setTimeoutDuration(5), "CANNOT_WITHOUT"),
        (lambda state: state.setTimeoutTimestamp(0), "VALUE_NOT_POSITIVE"),
        (lambda state: state.setTimeoutTimestamp(999), "INVALID_TIMEOUT_TIMESTAMP"),
        (lambda state: 1 // 0, "ZeroDivisionError"),
    ],
)
def test_what_the_user_does_wrong(engine: Engine, tmp_path: Path, body: Any, message: str) -> None:
    def wrong(key: Any, frames: Any, state: Any) -> Iterator[Any]:
        body(state)
        return iter(())

    driver = Driver(engine, planned(wrong, "EventTimeTimeout"), tmp_path, "update", watermark_ms=0)
    with pytest.raises(PythonWorkerError, match=message):
        driver.run([table([("a", 9, 1)])], watermark_ms=1000)
    driver.close()


@pytest.mark.parametrize(
    ("result", "message"),
    [(lambda pd: pd.DataFrame({"a": [1]}), "UDF_RETURN_TYPE"), (lambda pd: 3, "UDF_RETURN_TYPE"),
     (lambda pd: [3], "UDF_RETURN_TYPE"), (lambda pd: [pd.DataFrame({"a": [1]})], "RESULT_COLUMN_SCHEMA_MISMATCH")],
)  # fmt: skip
def test_results_that_are_not_what_was_promised(engine: Engine, tmp_path: Path, result: Any, message: str) -> None:
    import pandas as pd

    driver = Driver(engine, planned(lambda k, f, s: result(pd), "NoTimeout"), tmp_path, "update")
    with pytest.raises(PythonWorkerError, match=message):
        driver.run([table([("a", 9, 1)])])
    driver.close()


def test_frames_of_a_group_are_its_own(engine: Engine, tmp_path: Path) -> None:
    """A null in one group makes no floats in another; indexes start at 0; long groups come in several frames."""
    seen: dict[Any, list[Any]] = {}

    def look(key: Any, frames: Any, state: Any) -> Iterator[Any]:
        seen[key[0]] = list(frames)
        return iter(())

    driver = Driver(engine, planned(look, "NoTimeout"), tmp_path, "update")
    rows = [("a", 1, 1), ("b", 1, None), ("b", 2, 2), *(("c", 1, i) for i in range(10_001))]
    driver.run([table(rows)])  # type: ignore[arg-type]
    assert [str(f["v"].dtype) for key in "ab" for f in seen[key]] == ["int64", "float64"]
    assert [(len(f), f.index[0]) for f in seen["c"]] == [(10_000, 0), (1, 0)]
    driver.run([table([("a", 1, 1), ("b", 1, 2)])])
    assert [(f["v"].tolist(), list(f.index)) for f in seen["b"]] == [([2], [0])]
    driver.close()
