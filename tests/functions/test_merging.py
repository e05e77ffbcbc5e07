"""Streaming against batch: a group split at random, merged piece by piece, gives what one pass over all rows gives."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import types as t

from runnel.functions.casts import type_sql
from runnel.functions.catalogue import lookup
from runnel.functions.registry import AggregateFunction, Buffer
from runnel.plan.expressions import AggregateCall, Attribute

from .evaluating import Context, Parser, literal_sql

COLUMNS = {
    "i": Attribute("i", t.IntegerType(), True, 1),
    "d": Attribute("d", t.DoubleType(), True, 2),
    "dec": Attribute("dec", t.DecimalType(5, 2), True, 3),
    "s": Attribute("s", t.StringType(), True, 4),
    "b": Attribute("b", t.BooleanType(), True, 5),
}
CALLS = re.split(
    r"\s+",
    """count(*) count(i) count_if(b) sum(i) sum(d) sum(dec) try_sum(i) avg(i) avg(d) avg(dec) try_avg(dec) min(i) max(s)
    min(d) max(dec) first(i) first(s,true) last(i) last(s,true) any_value(i,true) max_by(i,d) min_by(i,d) bool_and(b)
    bool_or(b) bit_and(i) bit_or(i) bit_xor(i) product(d) collect_list(s) collect_set(i) percentile(i,0.3)
    percentile_approx(i,0.4) median(d) mode(b) listagg(s,'-') approx_count_distinct(s) approx_count_distinct(i)
    stddev(d) stddev_pop(i) variance(d) var_pop(d) skewness(d) kurtosis(d) covar_pop(i,d) covar_samp(i,d) corr(i,d)
    regr_count(i,d) regr_avgx(i,d) regr_avgy(i,d) regr_sxx(i,d) regr_syy(i,d) regr_sxy(i,d) regr_slope(i,d)
    regr_intercept(i,d) regr_r2(i,d)""",
)
TIED = {"mode", "max_by", "min_by"}

_row = st.tuples(
    st.none() | st.integers(-50, 50),
    st.none() | st.integers(-400, 400).map(lambda n: n / 8),
    st.none() | st.integers(-99999, 99999).map(lambda n: Decimal(n).scaleb(-2)),
    st.none() | st.sampled_from(["", "a", "b", "ccc", "dé"]),
    st.none() | st.booleans(),
)
_batches = st.lists(st.lists(_row, min_size=1, max_size=6), min_size=1, max_size=4)


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connected:
        yield connected


def _values(rows: list[Any]) -> str:
    types = [c.dtype for c in COLUMNS.values()]
    lines = (f"({', '.join(literal_sql(v, k) for v, k in zip(row, types, strict=True))})" for row in rows)
    return f"(VALUES {', '.join(lines)}) AS t({', '.join(COLUMNS)})"


def _close(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=1e-7, abs_tol=1e-7)
    return bool(a == b)


def _bound(text: str) -> tuple[AggregateFunction, AggregateCall, tuple[str, ...]]:
    call = Parser(text, COLUMNS).expression()
    assert isinstance(call, AggregateCall)
    function = lookup(call.name)
    assert isinstance(function, AggregateFunction)
    return function, call, tuple(Context().lower(a) for a in call.args)


def _partials(buffers: tuple[Buffer, ...]) -> str:
    return ", ".join(f'CAST({b.partial} AS {type_sql(b.dtype)}) AS "{b.name}"' for b in buffers)


def _side(alias: str) -> Callable[[str], str]:
    return lambda name: f'{alias}."{name}"'


@pytest.mark.parametrize("text", CALLS)
@pytest.mark.parametrize("filtered", [False, True])
@settings(max_examples=5, deadline=None)
@given(batches=_batches)
def test_merged_is_direct(
    connection: duckdb.DuckDBPyConnection, text: str, filtered: bool, batches: list[list[Any]]
) -> None:
    function, call, args = _bound(text)
    assert function.buffers is not None and function.final is not None
    where = "FILTER (WHERE i > 0)" if filtered else ""
    buffers = function.buffers(Context(), call, args, where)
    state = ""
    for batch in batches:
        fresh = f"(SELECT {_partials(buffers)} FROM {_values(batch)})"
        if not state:
            state = fresh
            continue
        merged = ", ".join(f'{b.merge(_side("old"), _side("new"))} AS "{b.name}"' for b in buffers)
        casts = ", ".join(f'CAST("{b.name}" AS {type_sql(b.dtype)}) AS "{b.name}"' for b in buffers)
        step = f"SELECT {casts} FROM (SELECT {merged} FROM {state} old, {fresh} new)"
        connection.execute(f"CREATE OR REPLACE TEMP TABLE stepped AS {step}")
        connection.execute("CREATE OR REPLACE TEMP TABLE stored AS FROM stepped")
        state = "stored"
    final = function.final(Context(), call, _side("kept"))
    (streamed,) = connection.execute(f"SELECT {final} FROM {state} AS kept").fetchone() or (None,)
    rows = [row for batch in batches for row in batch]
    direct_sql = f"SELECT {function.direct(Context(), call, args, '', where)} FROM {_values(rows)}"
    (direct,) = connection.execute(direct_sql).fetchone() or (None,)
    if call.name == "collect_set":
        streamed, direct = sorted(streamed), sorted(direct)
    if call.name in TIED:
        # of equal candidates either may win
        orderings = [row[1] for row in rows if row[1] is not None]
        if call.name == "mode" or len(set(orderings)) < len(orderings):
            return
    assert _close(streamed, direct), direct_sql


@pytest.mark.parametrize("text", CALLS)
def test_empty_state(connection: duckdb.DuckDBPyConnection, text: str) -> None:
    """All-null buffers give what an aggregate over no rows gives."""
    function, call, args = _bound(text)
    assert function.buffers is not None and function.final is not None
    buffers = function.buffers(Context(), call, args, "")
    nulls = ", ".join(f'CAST(NULL AS {type_sql(b.dtype)}) AS "{b.name}"' for b in buffers)
    final = function.final(Context(), call, _side("kept"))
    streamed = connection.execute(f"SELECT {final} FROM (SELECT {nulls}) AS kept").fetchone()
    none = f"(SELECT * FROM {_values([(None,) * 5])} WHERE false)"
    direct = connection.execute(f"SELECT {function.direct(Context(), call, args, '', '')} FROM {none}").fetchone()
    assert streamed == direct
