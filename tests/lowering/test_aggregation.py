"""Partial, merge, reduce and final agree with the one-shot form, however the rows are cut into batches."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

import pyarrow as pa
import pytest
from pyspark.sql.types import (
    DoubleType,
    LongType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

from runnel.errors import UnsupportedOperationError
from runnel.execution.connection import Engine
from runnel.execution.prepared import run_once
from runnel.functions import catalogue
from runnel.functions.registry import AggregateFunction, BindContext
from runnel.lowering.aggregation import StreamingAggregation
from runnel.lowering.relations import lower
from runnel.plan.expressions import AggregateCall, Alias, Attribute, Expression, GetField, Literal, new_expr_id
from runnel.plan.relations import Aggregate, Limit, StageInput
from runnel.plan.schema import attributes_of

SCHEMA = StructType([StructField("k", StringType()), StructField("v", LongType()), StructField("d", DoubleType())])
ROWS = [
    ("a", 1, 1.5),
    ("b", 2, None),
    ("a", 3, 2.5),
    (None, 4, 0.5),
    ("b", None, 1.0),
    (None, None, None),
    ("c", None, None),
]
COLUMNS = attributes_of(SCHEMA)
K, V, D = COLUMNS
INPUT = StageInput(index=0, attributes=COLUMNS)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine(threads=1) as engine:
        yield engine


def table(rows: list[tuple[object, ...]]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    types = [pa.string(), pa.int64(), pa.float64()]
    return pa.Table.from_arrays([pa.array(c, t) for c, t in zip(columns, types, strict=True)], names=SCHEMA.names)


def bound(name: str, *args: Expression) -> AggregateCall:
    entry = catalogue.lookup(name)
    assert isinstance(entry, AggregateFunction)
    return entry.bind(BindContext(), args)


def named(expression: Expression, name: str = "x") -> Alias:
    return Alias(expression, name, new_expr_id())


def rows_of(found: pa.Table) -> list[tuple[object, ...]]:
    columns = [[round(v, 9) if isinstance(v, float) else v for v in c.to_pylist()] for c in found.columns]
    return sorted(zip(*columns, strict=True), key=repr)


def streamed(engine: Engine, aggregate: Aggregate, batches: list[pa.Table]) -> pa.Table:
    """The state machine in its simplest form: a dict of key to buffers."""
    texts = StreamingAggregation(aggregate)
    width = len(texts.keys)
    partial, merge, final = texts.partial(), texts.merge(), texts.final()
    state: dict[tuple[object, ...], tuple[object, ...]] = {}
    for batch in batches:
        new = run_once(engine, partial, [batch])
        rows = list(zip(*(c.to_pylist() for c in new.columns), strict=True))
        keys = [r[:width] for r in rows]
        nothing = (None,) * len(texts.buffers)
        aligned = [(k in state, *state.get(k, nothing), *r[width:]) for k, r in zip(keys, rows, strict=True)]
        wanted = lower(StageInput(index=0, attributes=attributes_of(texts.merge_input_schema)))
        merged = run_once(engine, merge, [_typed(aligned, wanted.schema)])
        state.update(zip(keys, zip(*(c.to_pylist() for c in merged.columns), strict=True), strict=True))
    stored = [(*k, *v) for k, v in state.items()]
    return run_once(engine, final, [_typed(stored, texts.partial_schema)])


def _typed(rows: list[tuple[object, ...]], schema: StructType) -> pa.Table:
    from runnel.lowering.datatypes import arrow_schema

    wanted = arrow_schema(schema)
    columns = list(zip(*rows, strict=True)) or [()] * len(wanted)
    return pa.Table.from_arrays([pa.array(c, t) for c, t in zip(columns, wanted.types, strict=True)], schema=wanted)


CALLS: list[tuple[str, tuple[Expression, ...]]] = [
    ("count", (Literal(1, LongType()),)),
    ("count", (V,)),
    ("sum", (V,)),
    ("sum", (D,)),
    ("min", (D,)),
    ("max", (V,)),
    ("avg", (V,)),
    ("stddev", (D,)),
    ("first", (V,)),
    ("collect_list", (V,)),
]


@pytest.mark.parametrize("keys", [(), (K,)], ids=["global", "keyed"])
@pytest.mark.parametrize(("name", "args"), CALLS, ids=lambda v: v if isinstance(v, str) else None)
def test_in_batches_as_at_once(
    engine: Engine, name: str, args: tuple[Expression, ...], keys: tuple[Attribute, ...]
) -> None:
    aggregate = Aggregate(child=INPUT, groupings=keys, aggregates=(*keys, named(bound(name, *args))))
    at_once = run_once(engine, lower(aggregate), [table(ROWS)])
    batches = [table(ROWS[:3]), table(ROWS[3:4]), table([]), table(ROWS[4:])]
    assert rows_of(streamed(engine, aggregate, batches)) == rows_of(at_once)


def test_an_empty_global_aggregate_is_one_row(engine: Engine) -> None:
    aggregate = Aggregate(child=INPUT, groupings=(), aggregates=(named(bound("count", V)), named(bound("sum", V), "s")))
    assert rows_of(streamed(engine, aggregate, [table([])])) == [(0, None)]
    assert rows_of(run_once(engine, lower(aggregate), [table([])])) == [(0, None)]


def test_expressions_over_aggregates_and_the_plan_above(engine: Engine) -> None:
    total = bound("sum", V)
    aggregate = Aggregate(child=INPUT, groupings=(K,), aggregates=(named(total), K, named(total, "again")))
    texts = StreamingAggregation(aggregate)
    assert len(texts.buffers) == len(
        StreamingAggregation(Aggregate(child=INPUT, groupings=(K,), aggregates=(named(total),))).buffers
    )
    partial = run_once(engine, texts.partial(), [table(ROWS)])
    assert partial.column_names[0] == "k0"
    assert partial.column_names[1].startswith("b0_")
    above = Limit(child=aggregate, count=2)
    found = run_once(engine, texts.final(above), [partial])
    assert found.num_rows == 2
    assert found.column_names == ["x", "k", "again"]


def test_reduce_keeps_the_order_of_time(engine: Engine) -> None:
    aggregate = Aggregate(
        child=INPUT, groupings=(K,), aggregates=(K, named(bound("collect_list", V)), named(bound("sum", V), "s"))
    )
    texts = StreamingAggregation(aggregate)
    parts = [run_once(engine, texts.partial(), [table([row])]) for row in [("a", 3, 0.0), ("a", 1, 0.0), ("a", 2, 0.0)]]
    buffers = pa.concat_tables(parts).select(range(1, parts[0].num_columns))
    given = buffers.add_column(0, "group", pa.array([7, 7, 8])).add_column(1, "position", pa.array([2, 1, 1]))
    reduced = run_once(engine, texts.reduce(), [given])
    assert reduced.column_names[0] == "group"
    by_group = {row[0]: row[1:] for row in rows_of(reduced)}
    assert sorted(by_group) == [7, 8]
    keyed = reduced.remove_column(0).add_column(0, "k0", pa.array(["x", "y"], pa.string()))
    lists = {tuple(row[1]) for row in rows_of(run_once(engine, texts.final(), [keyed]))}
    assert lists == {(1, 3), (2,)}


def test_a_distinct_aggregate_has_no_state() -> None:
    call = bound("count", V)
    distinct = AggregateCall(call.name, call.args, call.dtype, call.nullable, distinct=True)
    with pytest.raises(UnsupportedOperationError):
        StreamingAggregation(Aggregate(child=INPUT, groupings=(), aggregates=(named(distinct),)))


def test_sessions_merge_up_to_their_gap(engine: Engine) -> None:
    window = StructType([StructField("start", TimestampType()), StructField("end", TimestampType())])
    schema = StructType([StructField("k", StringType()), StructField("w", window, True, {"spark.sessionWindow": True})])
    key, session = attributes_of(schema)
    at = [("a", 0, 10), ("a", 10, 20), ("a", 21, 31), ("b", 5, 15), ("a", 0, 3), ("b", 6, 9), ("b", 15, 16)]
    moments = [
        {"start": datetime.datetime(2020, 1, 1, 0, 0, s), "end": datetime.datetime(2020, 1, 1, 0, 0, e)}  # noqa: DTZ001
        for _, s, e in at
    ]
    struct = pa.struct([("start", pa.timestamp("us")), ("end", pa.timestamp("us"))])
    rows = pa.table([pa.array([k for k, _, _ in at]), pa.array(moments, struct)], names=["k", "w"])
    start = GetField(session, 0, "start", TimestampType(), True)
    end = GetField(session, 1, "end", TimestampType(), True)
    aggregate = Aggregate(
        child=StageInput(index=0, attributes=(key, session)),
        groupings=(key, session),
        aggregates=(key, named(start), named(end), named(bound("count", Literal(1, LongType())))),
    )
    expected = [("a", 0, 20, 3), ("a", 21, 31, 1), ("b", 5, 16, 3)]
    found = run_once(engine, lower(aggregate), [rows])
    assert [(k, s.second, e.second, n) for k, s, e, n in rows_of(found)] == expected
    texts = StreamingAggregation(aggregate)
    assert texts.session == 1
    assert run_once(engine, texts.partial(), [rows]).num_rows == 3
