"""Operators against slow oracles that recompute from all input, over random batches, with restarts in between."""

from __future__ import annotations

import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql.types import LongType, StringType, StructField, StructType, TimestampType

from runnel.execution.connection import Engine
from runnel.lowering.expressions import LoweringOptions
from runnel.operators.base import OperatorPlan
from runnel.operators.registry import plan_operator
from runnel.plan.expressions import AggregateCall, Alias, Attribute, new_expr_id
from runnel.plan.relations import Aggregate, Deduplicate, Limit, Relation, StageInput

from .harness import Driver

SECOND = 1_000_000
K = Attribute("k", StringType(), True, new_expr_id())
T = Attribute("t", TimestampType(), True, new_expr_id(), {"spark.watermarkDelayMs": 5_000})
V = Attribute("v", LongType(), True, new_expr_id())
ROWS = StageInput(index=0, attributes=(K, T, V))
SCHEMA = pa.schema([("k", pa.string()), ("t", pa.timestamp("us")), ("v", pa.int64())])

Row = tuple[str | None, int | None, int | None]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine(1) as made:
        yield made


def table(rows: list[Row]) -> pa.Table:
    return pa.Table.from_pylist(
        [{"k": k, "t": None if t is None else t * SECOND, "v": v} for k, t, v in rows], schema=SCHEMA
    )


def planned(node: Relation, mode: str = "append") -> OperatorPlan:
    return plan_operator(node, mode, LoweringOptions())


rows_strategy = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", None]),
        st.one_of(st.none(), st.integers(0, 60)),
        st.one_of(st.none(), st.integers(-9, 9)),
    ),
    max_size=6,
)
batches_strategy = st.lists(rows_strategy, min_size=1, max_size=6)
relaxed = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


def watermarks(batches: list[list[Row]], delay: int = 5) -> list[int]:
    """The watermark, in seconds, that each batch evicts by."""
    found, current, greatest = [], 0, None
    for batch in batches:
        found.append(current)
        for _, t, _ in batch:
            at = 0 if t is None else t
            greatest = at if greatest is None else max(greatest, at)
        if greatest is not None:
            current = max(current, greatest - delay)
    return found


def plain(rows: list[dict[str, Any]], *names: str) -> Counter[tuple[Any, ...]]:
    return Counter(tuple(row[n] for n in names) for row in rows)


def counted() -> Aggregate:
    calls = (
        Alias(AggregateCall("count", (V,), LongType(), False), "n", new_expr_id()),
        Alias(AggregateCall("sum", (V,), LongType(), True), "s", new_expr_id()),
        Alias(AggregateCall("max", (V,), LongType(), True), "m", new_expr_id()),
    )
    return Aggregate(child=ROWS, groupings=(K,), aggregates=(K, *calls))


def expected_counts(rows: list[Row]) -> dict[str | None, tuple[Any, ...]]:
    groups: dict[str | None, list[int | None]] = defaultdict(list)
    for k, _, v in rows:
        groups[k].append(v)
    found = {}
    for k, values in groups.items():
        known = [v for v in values if v is not None]
        found[k] = (k, len(known), sum(known) if known else None, max(known, default=None))
    return found


@relaxed
@given(batches_strategy, st.integers(0, 5))
def test_update_gives_out_the_groups_touched(engine: Engine, batches: list[list[Row]], restart_at: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        driver = Driver(engine, planned(counted(), "update"), Path(folder), "update")
        seen: list[Row] = []
        for i, batch in enumerate(batches):
            if i == restart_at:
                driver.close()
                driver = Driver(engine, planned(counted(), "update"), Path(folder), "update", batch_id=i)
            seen += batch
            now = expected_counts(seen)
            touched = {k for k, _, _ in batch}
            assert plain(driver.run([table(batch)]), "k", "n", "s", "m") == Counter(now[k] for k in touched)
        driver.close()


@relaxed
@given(batches_strategy)
def test_complete_gives_out_everything(engine: Engine, batches: list[list[Row]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        driver = Driver(engine, planned(counted(), "complete"), Path(folder), "complete")
        seen: list[Row] = []
        for batch in batches:
            seen += batch
            assert plain(driver.run([table(batch)]), "k", "n", "s", "m") == Counter(expected_counts(seen).values())
        driver.close()


@relaxed
@given(batches_strategy, st.integers(0, 5))
def test_append_gives_out_what_the_watermark_has_passed_once(
    engine: Engine, batches: list[list[Row]], restart_at: int
) -> None:
    def node() -> Aggregate:
        count = Alias(AggregateCall("count", (V,), LongType(), False), "n", new_expr_id())
        return Aggregate(child=ROWS, groupings=(T, K), aggregates=(T, K, count))

    with tempfile.TemporaryDirectory() as folder:
        driver = Driver(engine, planned(node()), Path(folder))
        state: Counter[tuple[Any, ...]] = Counter()
        present: set[tuple[Any, ...]] = set()
        late = 0
        for i, (batch, watermark) in enumerate(zip(batches, watermarks(batches), strict=True)):
            if i == restart_at:
                previous = driver.watermark_ms
                driver.close()
                driver = Driver(engine, planned(node()), Path(folder), batch_id=i, watermark_ms=previous)
            for k, t, v in batch:
                if t is None or t > late:
                    present.add((t, k))
                    state[(t, k)] += v is not None
            gone = {key for key in present if key[0] is not None and key[0] <= watermark}
            expected = Counter((t, k, state[(t, k)]) for t, k in gone)
            for key in gone:
                present.discard(key)
                del state[key]
            rows = driver.run([table(batch)], watermark_ms=watermark * 1000)
            got = Counter((None if r["t"] is None else int(r["t"].timestamp()), r["k"], r["n"]) for r in _utc(rows))
            assert got == expected
            late = watermark
        driver.close()


def _utc(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    import datetime

    for row in rows:
        for name, value in row.items():
            if isinstance(value, datetime.datetime):
                row[name] = value.replace(tzinfo=datetime.UTC)
    return rows


@relaxed
@given(batches_strategy, st.integers(0, 5))
def test_deduplication_without_event_time_in_the_key(engine: Engine, batches: list[list[Row]], restart_at: int) -> None:
    def node() -> Deduplicate:
        return Deduplicate(child=ROWS, columns=("k",), keys=(K,))

    with tempfile.TemporaryDirectory() as folder:
        driver = Driver(engine, planned(node()), Path(folder))
        seen: set[str | None] = set()
        late = 0
        for i, (batch, watermark) in enumerate(zip(batches, watermarks(batches), strict=True)):
            if i == restart_at:
                previous = driver.watermark_ms
                driver.close()
                driver = Driver(engine, planned(node()), Path(folder), batch_id=i, watermark_ms=previous)
            timely = [k for k, t, _ in batch if t is None or t > late]
            expected = Counter((k,) for k in set(timely) - seen)
            seen |= set(timely)
            assert plain(driver.run([table(batch)], watermark_ms=watermark * 1000), "k") == expected
            late = watermark
        driver.close()


@relaxed
@given(batches_strategy)
def test_deduplication_within_the_watermark(engine: Engine, batches: list[list[Row]]) -> None:
    node = Deduplicate(child=ROWS, columns=("k",), keys=(K,), within_watermark=True)
    # One row a key and batch, so that which of several comes first plays no part.
    batches = [list({row[0]: row for row in batch}.values()) for batch in batches]
    with tempfile.TemporaryDirectory() as folder:
        driver = Driver(engine, planned(node), Path(folder))
        expires: dict[str | None, int] = {}
        late = 0
        for batch, watermark in zip(batches, watermarks(batches), strict=True):
            expected: Counter[tuple[Any, ...]] = Counter()
            for k, t, _ in batch:
                if (t is None or t > late) and k not in expires:
                    expires[k] = (t or 0) + 5
                    expected[(k,)] += 1
            expires = {k: at for k, at in expires.items() if at > watermark}
            assert plain(driver.run([table(batch)], watermark_ms=watermark * 1000), "k") == expected
            late = watermark
        driver.close()


@relaxed
@given(batches_strategy, st.integers(0, 8))
def test_limit_counts_over_the_whole_life(engine: Engine, batches: list[list[Row]], limit: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        driver = Driver(engine, planned(Limit(child=ROWS, count=limit)), Path(folder))
        given_out = 0
        for batch in batches:
            rows = driver.run([table(batch)])
            assert len(rows) == min(len(batch), limit - given_out)
            given_out += len(rows)
        driver.close()


GAP = 4


def session_node(mark: dict[str, Any]) -> tuple[Relation, Aggregate]:
    window = StructType([StructField("start", TimestampType()), StructField("end", TimestampType())])
    session = Attribute("session_window", window, False, new_expr_id(), mark)
    rows = StageInput(index=0, attributes=(K, session, V))
    count = Alias(AggregateCall("count", (V,), LongType(), False), "n", new_expr_id())
    return rows, Aggregate(child=rows, groupings=(K, session), aggregates=(K, session, count))


def session_table(rows: list[Row]) -> pa.Table:
    window = pa.struct([("start", pa.timestamp("us")), ("end", pa.timestamp("us"))])
    kept = [r for r in rows if r[1] is not None]
    made = [
        {"k": k, "w": {"start": t * SECOND, "end": (t + GAP) * SECOND}, "v": v} for k, t, v in kept if t is not None
    ]
    return pa.Table.from_pylist(made, schema=pa.schema([("k", pa.string()), ("w", window), ("v", pa.int64())]))


def sessions_of(rows: list[tuple[str | None, int, int | None]]) -> Counter[tuple[Any, ...]]:
    by_key: dict[str | None, list[tuple[int, int | None]]] = defaultdict(list)
    for k, t, v in rows:
        by_key[k].append((t, v))
    found: Counter[tuple[Any, ...]] = Counter()
    for k, events in by_key.items():
        current: list[int] | None = None
        for t, v in sorted(events, key=lambda e: e[0]):
            if current is not None and t <= current[1]:
                current[1] = max(current[1], t + GAP)
                current[2] += v is not None
            else:
                if current is not None:
                    found[(k, *current)] += 1
                current = [t, t + GAP, int(v is not None)]
        if current is not None:
            found[(k, *current)] += 1
    return found


def seconds(rows: list[dict[str, Any]]) -> Counter[tuple[Any, ...]]:
    found: Counter[tuple[Any, ...]] = Counter()
    for row in rows:
        ends = _utc([dict(row["session_window"])])[0]
        found[(row["k"], int(ends["start"].timestamp()), int(ends["end"].timestamp()), row["n"])] += 1
    return found


@relaxed
@given(batches_strategy, st.integers(0, 5))
def test_sessions_in_complete_mode(engine: Engine, batches: list[list[Row]], restart_at: int) -> None:
    _, node = session_node({"spark.sessionWindow": True})
    with tempfile.TemporaryDirectory() as folder:
        driver = Driver(engine, planned(node, "complete"), Path(folder), "complete")
        seen: list[tuple[str | None, int, int | None]] = []
        for i, batch in enumerate(batches):
            if i == restart_at:
                driver.close()
                driver = Driver(engine, planned(node, "complete"), Path(folder), "complete", batch_id=i)
            seen += [(k, t, v) for k, t, v in batch if t is not None]
            assert seconds(driver.run([session_table(batch)])) == sessions_of(seen)
            assert driver.plan.operator.metrics.num_rows_total == sum(sessions_of(seen).values())
        driver.close()


@relaxed
@given(batches_strategy, st.integers(0, 5))
def test_sessions_in_append_mode(engine: Engine, batches: list[list[Row]], restart_at: int) -> None:
    _, node = session_node({"spark.sessionWindow": True, "spark.watermarkDelayMs": 5_000})
    with tempfile.TemporaryDirectory() as folder:
        driver = Driver(engine, planned(node), Path(folder))
        held: list[tuple[str | None, int, int | None]] = []
        late = 0
        for i, (batch, watermark) in enumerate(zip(batches, watermarks(batches), strict=True)):
            if i == restart_at:
                previous = driver.watermark_ms
                driver.close()
                driver = Driver(engine, planned(node), Path(folder), batch_id=i, watermark_ms=previous)
            held += [(k, t, v) for k, t, v in batch if t is not None and t + GAP > late]
            now = sessions_of(held)
            expected = Counter({s: n for s, n in now.items() if s[2] <= watermark})
            gone = [(s[0], s[1], s[2]) for s in expected]
            held = [(k, t, v) for k, t, v in held if not any(k == g[0] and g[1] <= t < g[2] for g in gone)]
            assert seconds(driver.run([session_table(batch)], watermark_ms=watermark * 1000)) == expected
            late = watermark
        driver.close()


def test_a_window_key_evicts_by_its_end(engine: Engine, tmp_path: Path) -> None:
    window = StructType([StructField("start", TimestampType()), StructField("end", TimestampType())])
    w = Attribute("window", window, False, new_expr_id(), {"spark.timeWindow": True, "spark.watermarkDelayMs": 0})
    rows = StageInput(index=0, attributes=(w,))
    count = Alias(AggregateCall("count", (), LongType(), False), "n", new_expr_id())
    node = Aggregate(child=rows, groupings=(w,), aggregates=(w, count))
    kind = pa.struct([("start", pa.timestamp("us")), ("end", pa.timestamp("us"))])

    def batch(*starts: int) -> pa.Table:
        made = [{"w": {"start": s * SECOND, "end": (s + 10) * SECOND}} for s in starts]
        return pa.Table.from_pylist(made, schema=pa.schema([("w", kind)]))

    driver = Driver(engine, planned(node), tmp_path)
    assert driver.run([batch(0, 0, 10)], watermark_ms=0) == []
    assert [r["n"] for r in driver.run([batch(0)], watermark_ms=10_000)] == [3]
    assert driver.run([batch(0)], watermark_ms=10_000) == []
    assert driver.plan.operator.metrics.num_rows_dropped_by_watermark == 1
    driver.close()
