"""transformWithState: the same processor over Runnel's stores and over plain dictionaries must see and say the same."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql.streaming.stateful_processor import StatefulProcessor
from pyspark.sql.types import LongType, Row, StringType, TimestampType
from pyspark.util import PythonEvalType

from runnel.errors import RunnelError
from runnel.execution.connection import Engine
from runnel.execution.python_groups import PythonGroups
from runnel.lowering.expressions import LoweringOptions
from runnel.operators import sequences, state_variables
from runnel.operators.base import OperatorPlan
from runnel.operators.registry import plan_operator
from runnel.plan.expressions import Attribute, PythonFunction, new_expr_id
from runnel.plan.relations import StageInput, TransformWithState
from runnel.plan.schema import attributes_of
from runnel.sql import parse_schema

from .harness import Driver

K = Attribute("k", StringType(), True, new_expr_id())
T = Attribute("t", TimestampType(), True, new_expr_id(), {"spark.watermarkDelayMs": 5_000})
V = Attribute("v", LongType(), True, new_expr_id())
ROWS = StageInput(index=0, attributes=(K, T, V))
SCHEMA = pa.schema([("k", pa.string()), ("t", pa.timestamp("us")), ("v", pa.int64())])
OUTPUT = parse_schema("k string, what string")

Given = tuple[str | None, int, int]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine(1) as made:
        yield made


def planned(
    processor: StatefulProcessor, time_mode: str, *, pandas: bool = False, schema: Any = OUTPUT
) -> OperatorPlan:
    from pyspark.sql.streaming.stateful_processor_util import TransformWithStateInPandasUdfUtils

    kind = (
        PythonEvalType.SQL_TRANSFORM_WITH_STATE_PANDAS_UDF
        if pandas
        else PythonEvalType.SQL_TRANSFORM_WITH_STATE_PYTHON_ROW_UDF
    )
    method = TransformWithStateInPandasUdfUtils(processor, time_mode).transformWithStateUDF
    node = TransformWithState(
        child=ROWS,
        groupings=(K,),
        function=PythonFunction("f", method, kind),
        schema=schema,
        output_mode="update",
        time_mode=time_mode,
        parse_schema=parse_schema,
        attributes=attributes_of(schema),
    )
    return plan_operator(node, "update", LoweringOptions(), PythonGroups("UTC"))


def table(rows: list[Given]) -> pa.Table:
    return pa.Table.from_pylist([{"k": k, "t": t * 1_000_000, "v": v} for k, t, v in rows], schema=SCHEMA)


class Scripted(StatefulProcessor):
    """Does what each row's `v` says, then tells all that it can see."""

    def __init__(self, ttl_ms: int | None, *, timers: bool) -> None:
        self.ttl_ms = ttl_ms
        self.timers = timers

    def init(self, handle: Any) -> None:
        self.handle = handle
        self.value = handle.getValueState("value", "n long, s string", self.ttl_ms)
        self.items = handle.getListState("items", "n long", self.ttl_ms)
        self.pairs = handle.getMapState("pairs", "a long, b string", "n long", self.ttl_ms)

    def look(self) -> str:
        pairs = sorted(((tuple(k), tuple(v)) for k, v in self.pairs.iterator()), key=str)
        keys, values = list(self.pairs.keys()), list(self.pairs.values())
        assert sorted(zip(keys, values, strict=True), key=str) == pairs
        exists = [self.value.exists(), self.items.exists(), self.pairs.exists()]
        timers = sorted(self.handle.listTimers()) if self.timers else []
        return f"{self.value.get()} {list(self.items.get())} {pairs} {exists} {timers}"

    def step(self, row: Any, now: int) -> None:
        n, user_key = row.v // 16, (row.v // 16 % 4, "x" if row.v % 3 else None)
        match row.v % 16:
            case 0:
                before = self.value.get()
                self.value.update((n + (before[0] if before else 0), None if n % 2 else "s"))
            case 1:
                self.value.clear()
            case 2 | 3:
                self.items.appendValue((n,))
            case 4:
                self.items.appendList([(n,), (None,)])
            case 5:
                self.items.put([(n,)] * (n % 3 + 1))
            case 6:
                self.items.clear()
            case 7 | 8 | 9:
                self.pairs.updateValue(user_key, (n,))
            case 10:
                self.pairs.removeKey(user_key)
            case 11:
                self.pairs.clear()
            case 12 if self.pairs.containsKey(user_key):
                found = self.pairs.getValue(user_key)
                assert found is not None
                self.pairs.updateValue(user_key, (found[0] + 1,))
            case 13 if self.timers:
                self.handle.registerTimer(now + n * 500)
            case 14 if self.timers:
                for timer in list(self.handle.listTimers())[:1]:
                    self.handle.deleteTimer(timer)
            case _:
                assert self.pairs.getValue(user_key) is None or self.pairs.containsKey(user_key)

    def handleInputRows(self, key: Any, rows: Any, timerValues: Any) -> Iterator[Row]:
        now = max(timerValues.getCurrentProcessingTimeInMs(), timerValues.getCurrentWatermarkInMs())
        for row in rows:
            self.step(row, now)
        yield Row(k=key[0], what=f"rows {self.look()}")

    def handleExpiredTimer(self, key: Any, timerValues: Any, expiredTimerInfo: Any) -> Iterator[Row]:
        at = expiredTimerInfo.getExpiryTimeInMs()
        seen = self.look()
        if at % 1000:
            self.handle.registerTimer(at + 1)
            self.items.appendValue((at,))
            self.pairs.removeKey((1, "x"))
        yield Row(k=key[0], what=f"timer {at} {seen}")


class World:
    """The oracle: what the state classes mean, said with dictionaries. One world lives through all batches."""

    def __init__(self, ttl_ms: int | None) -> None:
        self.ttl_ms = ttl_ms
        self.key: Any = None
        self.now = 0
        self.value: dict[Any, Any] = {}
        self.items: dict[Any, list[Any]] = {}
        self.pairs: dict[Any, dict[Any, Any]] = {}
        self.timers: dict[Any, set[int]] = {}

    def stamped(self, value: Any) -> Any:
        return (tuple(value), None if self.ttl_ms is None else self.now + self.ttl_ms)

    def alive(self, cell: Any) -> bool:
        return cell is not None and (cell[1] is None or cell[1] > self.now)

    # -- the handle

    def getValueState(self, *_: Any) -> Any:
        def get() -> Any:
            cell: Any = self.value.get(self.key)
            return cell[0] if self.alive(cell) else None

        return SimpleNamespace(
            get=get,
            exists=lambda: get() is not None,
            update=lambda v: self.value.__setitem__(self.key, self.stamped(v)),
            clear=lambda: self.value.pop(self.key, None),
        )

    def getListState(self, *_: Any) -> Any:
        def get() -> Any:
            return iter([c[0] for c in self.items.get(self.key, []) if self.alive(c)])

        def append(values: Any) -> None:
            self.items.setdefault(self.key, []).extend(self.stamped(v) for v in values)

        return SimpleNamespace(
            get=get,
            exists=lambda: bool(list(get())),
            put=lambda values: self.items.__setitem__(self.key, [self.stamped(v) for v in values]),
            appendValue=lambda v: append([v]),
            appendList=append,
            clear=lambda: self.items.pop(self.key, None),
        )

    def getMapState(self, *_: Any) -> Any:
        def alive() -> dict[Any, Any]:
            return {k: c[0] for k, c in self.pairs.get(self.key, {}).items() if self.alive(c)}

        return SimpleNamespace(
            iterator=lambda: iter(alive().items()),
            keys=lambda: iter(alive()),
            values=lambda: iter(alive().values()),
            exists=lambda: bool(alive()),
            getValue=lambda k: alive().get(k),
            containsKey=lambda k: k in alive(),
            updateValue=lambda k, v: self.pairs.setdefault(self.key, {}).__setitem__(k, self.stamped(v)),
            removeKey=lambda k: self.pairs.get(self.key, {}).pop(k, None),
            clear=lambda: self.pairs.pop(self.key, None),
        )

    def registerTimer(self, at: int) -> None:
        self.timers.setdefault(self.key, set()).add(at)

    def deleteTimer(self, at: int) -> None:
        self.timers.get(self.key, set()).discard(at)

    def listTimers(self) -> Iterator[int]:
        return iter(sorted(self.timers.get(self.key, set())))

    # -- a batch

    def batch(self, processor: Scripted, mode: str, rows: list[Given], now: int, late: int) -> Counter[Any]:
        processor.init(self)
        self.now = now
        shown = SimpleNamespace(
            getCurrentProcessingTimeInMs=lambda: -1 if mode == "none" else now,
            getCurrentWatermarkInMs=lambda: -1 if mode == "none" else now,
        )
        out: list[Any] = []
        groups: dict[Any, list[Any]] = {}
        for k, t, v in rows:
            if mode != "eventtime" or t * 1000 > late:
                groups.setdefault(k, []).append(Row(k=k, v=v))
        for self.key, group in groups.items():
            out += processor.handleInputRows((self.key,), iter(group), shown)
        due = sorted((at, str(k), k) for k, timers in self.timers.items() for at in timers if at <= now)
        for at, _, self.key in due if mode != "none" else ():
            out += processor.handleExpiredTimer((self.key,), shown, SimpleNamespace(getExpiryTimeInMs=lambda at=at: at))
            self.deleteTimer(at)
        return Counter((r.k, r.what) for r in out)

    def rows_held(self) -> int:
        values = sum(map(self.alive, self.value.values()))
        lists = sum(any(map(self.alive, cells)) for cells in self.items.values())
        return values + lists + sum(sum(map(self.alive, m.values())) for m in self.pairs.values())


rows_strategy = st.lists(
    st.tuples(st.sampled_from(["a", "b", None]), st.integers(1, 20), st.integers(0, 16 * 9 - 1)), max_size=9
)


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.tuples(rows_strategy, st.integers(0, 4)), min_size=1, max_size=7),
    st.sampled_from([("none", None), ("eventtime", None), ("processingtime", None), ("processingtime", 2500)]),
    st.sets(st.integers(1, 6)),
    st.booleans(),
)
def test_as_with_dictionaries(
    engine: Engine,
    batches: list[tuple[list[Given], int]],
    kind: tuple[str, int | None],
    restarts: set[int],
    tight: bool,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if tight:  # little is read ahead, maps are read key by key, holes are filled at once
            patch.setattr(state_variables, "_WHOLE_MAP", 1)
            patch.setattr(state_variables, "_READ_AHEAD", 2)
            patch.setattr(sequences, "_SLACK", -1)
        _compare(engine, batches, kind, restarts)


def _compare(
    engine: Engine, batches: list[tuple[list[Given], int]], kind: tuple[str, int | None], restarts: set[int]
) -> None:
    mode, ttl_ms = kind
    world = World(ttl_ms)
    processor = Scripted(ttl_ms, timers=mode != "none")
    with tempfile.TemporaryDirectory() as folder:
        driver = Driver(engine, planned(processor, mode), Path(folder), "update")
        now = previous = 0
        for i, (rows, step) in enumerate(batches):
            previous, now = now, now + step * 1000
            if i in restarts:
                driver.close()
                plan = planned(processor, mode)
                driver = Driver(engine, plan, Path(folder), "update", batch_id=i, watermark_ms=previous)
            expected = world.batch(Scripted(ttl_ms, timers=mode != "none"), mode, rows, now, previous)
            given_out = driver.run([table(rows)], watermark_ms=now, timestamp_ms=now)
            assert Counter((r["k"], r["what"]) for r in given_out) == expected
            assert driver.plan.operator.metrics.num_rows_total == world.rows_held()
        driver.close()


class Keeping(StatefulProcessor):
    """Runs `steps(self, key, rows)` for each key."""

    def __init__(self, declare: Any, steps: Any) -> None:
        self.declare, self.steps = declare, steps

    def init(self, handle: Any) -> None:
        self.handle = handle
        self.declare(self, handle)

    def handleInputRows(self, key: Any, rows: Any, timerValues: Any) -> Iterator[Any]:
        self.steps(self, list(rows))
        return iter(())

    def handleExpiredTimer(self, key: Any, timerValues: Any, expiredTimerInfo: Any) -> Iterator[Any]:
        return iter(())


def test_large_collections_cost_what_is_touched(engine: Engine, tmp_path: Path) -> None:
    """A big map is asked for one key at a time; holes of removed entries are laid out anew."""

    def declare(self: Any, handle: Any) -> None:
        self.m = handle.getMapState("m", "a long", "b long")
        self.l = handle.getListState("l", "x long")

    def steps(self: Any, rows: list[Any]) -> None:
        match rows[0].v:
            case 0:
                for i in range(1000):
                    self.m.updateValue((i,), (i,))
                self.l.appendList([(i,) for i in range(1000)])
            case 1:
                assert self.m.getValue((7,)) == (7,)
                assert not self.m.containsKey((1000,))
                self.m.updateValue((1000,), (1,))
                for i in range(900):
                    self.m.removeKey((i,))
                self.l.appendValue((1000,))
            case _:
                assert [k for (k,), _ in self.m.iterator()] == list(range(900, 1001))
                assert [x for (x,) in self.l.get()] == list(range(1001))
                assert self.m.getValue((7,)) is None
                assert self.m.getValue((999,)) == (999,)

    driver = Driver(engine, planned(Keeping(declare, steps), "none"), tmp_path, "update")
    for v, updated in ((0, 2000), (1, 2), (2, 0)):
        driver.run([table([("a", 1, v)])])
        assert driver.plan.operator.metrics.num_rows_updated == updated
    assert driver.stores["$keys_m"].store.num_rows == 101 + 1
    assert driver.plan.operator.metrics.num_rows_total == 1 + 101
    driver.close()


def test_what_was_cleared_leaves_nothing(engine: Engine, tmp_path: Path) -> None:
    """A bounded key space holds bounded state: keys come, fill every kind of variable, and go."""

    def declare(self: Any, handle: Any) -> None:
        self.v = handle.getValueState("v", "n long", 5000)
        self.l = handle.getListState("l", "x long", 3000)
        self.m = handle.getMapState("m", "a long", "b long", 1000)

    def steps(self: Any, rows: list[Any]) -> None:
        for row in rows:
            self.v.update((row.v,))
            self.l.appendList([(row.v,), (row.v,)])
            self.m.updateValue((row.v,), (1,))
            self.handle.registerTimer(row.v)

    processor = Keeping(declare, steps)
    driver = Driver(engine, planned(processor, "processingtime"), tmp_path, "update")
    most = 0
    for i in range(120):
        rows: list[Given] = [(f"k{i % 50}", 1, i * 500 + 200), (f"k{(i + 7) % 50}", 1, i * 500 + 900)]
        driver.run([table(rows)], timestamp_ms=i * 500)
        most = max(most, *(s.store.num_rows for s in driver.stores.values()))
    driver.run([table([])], timestamp_ms=10**9)
    assert {name: s.store.num_rows for name, s in driver.stores.items()} == dict.fromkeys(driver.stores, 0)
    assert most < 60
    driver.close()


def _nothing(self: Any, handle: Any) -> None:
    self.v = handle.getValueState("v", "n long")


@pytest.mark.parametrize(
    ("mode", "declare", "steps", "condition"),
    [
        ("none", lambda s, h: (h.getValueState("v", "n long"), h.getListState("v", "n long")), None,
         "STATEFUL_PROCESSOR_DUPLICATE_STATE_VARIABLE_DEFINED"),
        ("eventtime", lambda s, h: h.getValueState("v", "n long", 1000), None,
         "STATEFUL_PROCESSOR_INCORRECT_TIME_MODE_TO_ASSIGN_TTL"),
        ("processingtime", lambda s, h: h.getValueState("v", "n long", 0), None,
         "STATEFUL_PROCESSOR_TTL_DURATION_MUST_BE_POSITIVE"),
        ("eventtime", lambda s, h: h.registerTimer(5), None,
         "STATEFUL_PROCESSOR_CANNOT_PERFORM_OPERATION_WITH_INVALID_HANDLE_STATE"),
        ("none", _nothing, lambda s, rows: s.handle.getValueState("w", "n long"),
         "STATEFUL_PROCESSOR_CANNOT_PERFORM_OPERATION_WITH_INVALID_HANDLE_STATE"),
        ("none", _nothing, lambda s, rows: s.handle.registerTimer(5),
         "STATEFUL_PROCESSOR_CANNOT_PERFORM_OPERATION_WITH_INVALID_TIME_MODE"),
        ("none", lambda s, h: setattr(s, "v", h.getListState("v", "n long")), lambda s, rows: s.v.put([]),
         "ILLEGAL_STATE_STORE_VALUE.EMPTY_LIST_VALUE"),
        ("none", _nothing, lambda s, rows: s.v.update(None), "PYTHON_EXCEPTION"),
        ("none", _nothing, lambda s, rows: s.v.update((1, 2)), "PYTHON_EXCEPTION"),
        ("none", _nothing, lambda s, rows: 1 // 0, "PYTHON_EXCEPTION"),
        ("none", lambda s, h: h.getValueState("../v", "n long"), None, "UNSUPPORTED_FEATURE.NOT_IN_RUNNEL"),
    ],
)  # fmt: skip
def test_what_is_out_of_place(
    engine: Engine, tmp_path: Path, mode: str, declare: Any, steps: Any, condition: str
) -> None:
    with pytest.raises(RunnelError) as caught:
        driver = Driver(engine, planned(Keeping(declare, steps), mode), tmp_path, "update")
        try:
            driver.run([table([("a", 1, 1)])])
        finally:
            driver.close()
    assert caught.value.condition == condition


def test_which_operators_want_another_batch() -> None:
    from runnel.operators.base import OperatorBatch

    batch = OperatorBatch(3, 0, "append", 0, 1000)
    wants = {
        mode: [planned(Keeping(_nothing, None), mode).operator.wants_another_batch(batch, ms) for ms in (1000, 2000)]
        for mode in ("none", "processingtime", "eventtime")
    }
    assert wants == {"none": [False, True], "processingtime": [True, True], "eventtime": [False, True]}
    carries = {
        mode: planned(Keeping(_nothing, None), mode).operator.output_watermark_ms(7)
        for mode in ("none", "processingtime", "eventtime")
    }
    assert carries == {"none": 7, "processingtime": None, "eventtime": 7}
