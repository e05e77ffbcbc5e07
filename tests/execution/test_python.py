"""The user's Python: scalar functions of every kind, batch stages, aggregates; results and failures."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    IntegerType,
    LongType,
    MapType,
    Row,
    ShortType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)
from pyspark.util import PythonEvalType as Kind

from runnel.errors import PythonWorkerError, RunnelError
from runnel.execution.connection import Engine
from runnel.execution.run import execute
from runnel.lowering.expressions import LoweringOptions
from runnel.plan.expressions import Alias, Attribute, PythonFunction, PythonUDF, new_expr_id
from runnel.plan.relations import Aggregate, GroupMap, LocalData, MapPartitions, Project, Relation
from runnel.plan.schema import attributes_of

STRUCT = StructType([StructField("x", IntegerType()), StructField("y", DateType())])
SCHEMA = StructType(
    [
        StructField("k", StringType()),
        StructField("v", LongType()),
        StructField("t", TimestampType()),
        StructField("s", STRUCT),
        StructField("m", MapType(StringType(), ArrayType(BinaryType()))),
        StructField("d", DecimalType(10, 2)),
    ]
)
DAY = datetime.date(2020, 1, 1)
TABLE = pa.table(
    [
        pa.array(["a", "b", "a", None]),
        pa.array([1, 2, 3, None]),
        pa.array([0, 3_600_000_000, None, 5], pa.timestamp("us")),
        pa.array(
            [{"x": 1, "y": DAY}, None, {"x": None, "y": None}, {"x": 4, "y": None}],
            pa.struct([("x", pa.int32()), ("y", pa.date32())]),
        ),
        pa.array([[("k", [b"z", None])], None, [], []], pa.map_(pa.string(), pa.list_(pa.binary()))),
        pa.array([Decimal("1.50"), None, Decimal("0.00"), Decimal("-2.25")], pa.decimal128(10, 2)),
    ],
    names=SCHEMA.names,
)
DATA = LocalData(table=TABLE, schema=SCHEMA, attributes=attributes_of(SCHEMA))
K, V, T, S, M, D = DATA.output


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine(threads=2) as engine:
        yield engine


def function(func: Callable[..., Any], kind: int) -> PythonFunction:
    return PythonFunction(getattr(func, "__name__", "f"), func, kind)


def applied(
    engine: Engine,
    func: Callable[..., Any],
    kind: int,
    args: tuple[Attribute, ...],
    dtype: DataType,
    names: tuple[str | None, ...] = (),
    zone: str = "UTC",
) -> list[object]:
    call = PythonUDF(function(func, kind), args, dtype, True, names)
    plan = Project(child=DATA, expressions=(Alias(call, "r", new_expr_id()),))
    found: list[object] = execute(plan, engine, LoweringOptions(session_time_zone=zone)).column(0).to_pylist()
    return found


ROW_KINDS = [Kind.SQL_BATCHED_UDF, Kind.SQL_ARROW_BATCHED_UDF]
ROW_CASES: list[tuple[str, Callable[..., Any], tuple[Attribute, ...], DataType, list[object]]] = [
    ("long", lambda v: None if v is None else v + 1, (V,), LongType(), [2, 3, 4, None]),
    ("two", lambda k, v: f"{k}{v}", (K, V), StringType(), ["a1", "b2", "a3", "NoneNone"]),
    (
        "struct in",
        lambda s: None if s is None else repr((type(s) is Row, s.x, s["y"])),
        (S,),
        StringType(),
        [repr((True, 1, DAY)), None, repr((True, None, None)), repr((True, 4, None))],
    ),
    ("map in", repr, (M,), StringType(), ["{'k': [b'z', None]}", "None", "{}", "{}"]),
    (
        "decimal in",
        lambda d: None if d is None else d * 2,
        (D,),
        DecimalType(10, 2),
        [Decimal("3.00"), None, Decimal("0.00"), Decimal("-4.50")],
    ),
    ("timestamp and back", lambda t: t, (T,), TimestampType(), TABLE.column(2).to_pylist()),
    ("struct and back", lambda s: s, (S,), STRUCT, TABLE.column(3).to_pylist()),
    ("map and back", lambda m: m, (M,), MapType(StringType(), ArrayType(BinaryType())), TABLE.column(4).to_pylist()),
    (
        "tuple as struct",
        lambda v: (v, DAY),
        (V,),
        STRUCT,
        [{"x": 1, "y": DAY}, {"x": 2, "y": DAY}, {"x": 3, "y": DAY}, {"x": None, "y": DAY}],
    ),
    (
        "dict as struct",
        lambda v: {"y": DAY, "x": v},
        (V,),
        STRUCT,
        [{"x": 1, "y": DAY}, {"x": 2, "y": DAY}, {"x": 3, "y": DAY}, {"x": None, "y": DAY}],
    ),
    ("boolean as text", lambda v: v == 1, (V,), StringType(), ["true", "false", "false", "false"]),
    ("no arguments", lambda: 7, (), IntegerType(), [7, 7, 7, 7]),
]


@pytest.mark.parametrize("kind", ROW_KINDS, ids=["pickled", "arrow"])
@pytest.mark.parametrize(
    ("func", "args", "dtype", "expected"), [c[1:] for c in ROW_CASES], ids=[c[0] for c in ROW_CASES]
)
def test_row_functions(
    engine: Engine,
    kind: int,
    func: Callable[..., Any],
    args: tuple[Attribute, ...],
    dtype: DataType,
    expected: list[object],
) -> None:
    assert applied(engine, func, kind, args, dtype) == expected


PICKLED: list[tuple[object, DataType, object]] = [
    (1, DoubleType(), None),
    (1.0, LongType(), None),
    ("1", LongType(), None),
    (True, IntegerType(), None),
    (70000, ShortType(), 4464),
    (2**70, LongType(), None),
    (1, BooleanType(), None),
    ("é", BinaryType(), "é".encode()),
    ([1, "x"], ArrayType(IntegerType()), [1, None]),
    (Decimal("1.005"), DecimalType(10, 2), Decimal("1.01")),
]


@pytest.mark.parametrize(("value", "dtype", "expected"), PICKLED)
def test_pickled_results_of_another_type(engine: Engine, value: object, dtype: DataType, expected: object) -> None:
    assert applied(engine, lambda v: value, Kind.SQL_BATCHED_UDF, (V,), dtype) == [expected] * 4


def test_keyword_arguments(engine: Engine) -> None:
    names = (None, "second", "first")
    row = applied(
        engine, lambda a, first, second: f"{a}{first}{second}", Kind.SQL_BATCHED_UDF, (K, K, V), StringType(), names
    )
    assert row == ["a1a", "b2b", "a3a", "NoneNoneNone"]
    pandas = applied(
        engine, lambda first, second: second, Kind.SQL_SCALAR_PANDAS_UDF, (K, V), LongType(), ("first", "second")
    )
    assert pandas == [1, 2, 3, None]


COLUMN_CASES: list[tuple[str, Callable[..., Any], int, tuple[Attribute, ...], DataType, list[object]]] = [
    ("pandas", lambda v: v + 1, Kind.SQL_SCALAR_PANDAS_UDF, (V,), LongType(), [2, 3, 4, None]),
    ("pandas struct in", lambda s: s["x"] + 1, Kind.SQL_SCALAR_PANDAS_UDF, (S,), IntegerType(), [2, None, None, 5]),
    (
        "pandas struct out",
        lambda v: pd.DataFrame({"y": [DAY] * len(v), "x": [9] * len(v)}),
        Kind.SQL_SCALAR_PANDAS_UDF,
        (V,),
        STRUCT,
        [{"x": 9, "y": DAY}] * 4,
    ),
    (
        "pandas iterator",
        lambda it: (v * 2 for v in it),
        Kind.SQL_SCALAR_PANDAS_ITER_UDF,
        (V,),
        LongType(),
        [2, 4, 6, None],
    ),
    (
        "pandas iterator of two",
        lambda it: (k + v.astype(str) for k, v in it),
        Kind.SQL_SCALAR_PANDAS_ITER_UDF,
        (K, V),
        StringType(),
        ["a1.0", "b2.0", "a3.0", None],
    ),
    ("arrow", lambda v: pc.add(v, 1), Kind.SQL_SCALAR_ARROW_UDF, (V,), LongType(), [2, 3, 4, None]),
    (
        "arrow iterator",
        lambda it: (pc.add(v, 1) for v in it),
        Kind.SQL_SCALAR_ARROW_ITER_UDF,
        (V,),
        LongType(),
        [2, 3, 4, None],
    ),
]


@pytest.mark.parametrize(
    ("func", "kind", "args", "dtype", "expected"), [c[1:] for c in COLUMN_CASES], ids=[c[0] for c in COLUMN_CASES]
)
def test_column_functions(
    engine: Engine,
    func: Callable[..., Any],
    kind: int,
    args: tuple[Attribute, ...],
    dtype: DataType,
    expected: list[object],
) -> None:
    assert applied(engine, func, kind, args, dtype) == expected


def test_pandas_sees_the_session_time_zone(engine: Engine) -> None:
    seen = applied(engine, lambda t: t.dt.hour, Kind.SQL_SCALAR_PANDAS_UDF, (T,), LongType(), zone="Asia/Tokyo")
    assert seen == [9, 10, None, 9]
    back = applied(engine, lambda t: t, Kind.SQL_SCALAR_PANDAS_UDF, (T,), TimestampType(), zone="Asia/Tokyo")
    assert back == TABLE.column(2).to_pylist()


FAILURES: list[tuple[str, Callable[..., Any], int, str]] = [
    ("row", lambda v: 1 // 0, Kind.SQL_BATCHED_UDF, "ZeroDivisionError"),
    ("stop iteration", lambda v: next(iter(())), Kind.SQL_BATCHED_UDF, "STOP_ITERATION_OCCURRED"),
    ("wrong type", lambda v: "z", Kind.SQL_ARROW_BATCHED_UDF, "ArrowInvalid"),
    ("pandas length", lambda v: v[:1], Kind.SQL_SCALAR_PANDAS_UDF, "SCHEMA_MISMATCH_FOR_PANDAS_UDF"),
    ("pandas scalar", lambda v: 1, Kind.SQL_SCALAR_PANDAS_UDF, "UDF_RETURN_TYPE"),
    ("iterator too short", lambda it: iter([next(it)[:1]]), Kind.SQL_SCALAR_PANDAS_ITER_UDF, "RESULT_ROWS_MISMATCH"),
    ("iterator not read", lambda it: iter([]), Kind.SQL_SCALAR_ARROW_ITER_UDF, "INPUT_NOT_FULLY_CONSUMED"),
]


@pytest.mark.parametrize(("func", "kind", "text"), [f[1:] for f in FAILURES], ids=[f[0] for f in FAILURES])
def test_failures_name_the_users_error(engine: Engine, func: Callable[..., Any], kind: int, text: str) -> None:
    with pytest.raises(PythonWorkerError) as caught:
        applied(engine, func, kind, (V,), LongType())
    assert caught.value.condition == "PYTHON_EXCEPTION"
    assert text in caught.value.message
    assert applied(engine, lambda v: 1, Kind.SQL_BATCHED_UDF, (V,), LongType()) == [1, 1, 1, 1]


# ---------------------------------------------------------------------------------------------- stages and groups

OUT = StructType([StructField("k", StringType()), StructField("n", LongType())])


def maps(func: Callable[..., Any], kind: int, child: Relation = DATA, schema: StructType = OUT) -> MapPartitions:
    return MapPartitions(child=child, function=function(func, kind), schema=schema, attributes=attributes_of(schema))


def groups(func: Callable[..., Any], kind: int, keys: tuple[Attribute, ...] = (K,)) -> GroupMap:
    child = Project(child=DATA, expressions=(K, V, T))
    return GroupMap(
        child=child, groupings=keys, function=function(func, kind), schema=OUT, attributes=attributes_of(OUT)
    )


def rows(engine: Engine, plan: Relation) -> list[tuple[object, ...]]:
    found = execute(plan, engine)
    return list(zip(*(c.to_pylist() for c in found.columns), strict=True))


def in_pandas(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    for frame in frames:
        assert list(frame.columns) == SCHEMA.names
        yield pd.DataFrame({"n": frame["v"].fillna(0).astype("int64"), "k": frame["k"]})
        yield pd.DataFrame()


def in_arrow(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        assert batch.schema.field("t").type == pa.timestamp("us", "UTC")
        yield pa.RecordBatch.from_arrays([batch.column("v"), batch.column("k")], names=["n", "k"])


def test_map_stages(engine: Engine) -> None:
    mapped = rows(engine, maps(in_pandas, Kind.SQL_MAP_PANDAS_ITER_UDF))
    assert mapped == [("a", 1), ("b", 2), ("a", 3), (None, 0)]
    assert rows(engine, maps(in_arrow, Kind.SQL_MAP_ARROW_ITER_UDF)) == [("a", 1), ("b", 2), ("a", 3), (None, None)]


def test_stage_above_stage(engine: Engine) -> None:
    first = maps(in_pandas, Kind.SQL_MAP_PANDAS_ITER_UDF)
    again = maps(lambda it: it, Kind.SQL_MAP_ARROW_ITER_UDF, child=Project(child=first, expressions=first.output))
    assert len(rows(engine, Project(child=again, expressions=(again.output[1],)))) == 4


def test_map_results_are_checked(engine: Engine) -> None:
    cases: list[tuple[Callable[..., Any], int, str]] = [
        (lambda it: (f[["k"]] for f in it), Kind.SQL_MAP_PANDAS_ITER_UDF, "RESULT_COLUMN_NAMES_MISMATCH"),
        (lambda it: [1], Kind.SQL_MAP_PANDAS_ITER_UDF, "UDF_RETURN_TYPE"),
        (lambda it: 1, Kind.SQL_MAP_ARROW_ITER_UDF, "UDF_RETURN_TYPE"),
        (lambda it: (b.select(["k"]) for b in it), Kind.SQL_MAP_ARROW_ITER_UDF, "does not exist in the output"),
    ]
    for func, kind, text in cases:
        with pytest.raises(PythonWorkerError, match=text):
            rows(engine, maps(func, kind))


def keyed_pandas(key: tuple[Any, ...], frame: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"k": [f"{key[0]}"], "n": [len(frame)]})


def keyed_arrow(key: tuple[Any, ...], table: pa.Table) -> pa.Table:
    return pa.table({"n": pa.array([table.num_rows]), "k": pa.array([f"{key[0].as_py()}"])})


def test_group_stages(engine: Engine) -> None:
    expected = [("None", 1), ("a", 2), ("b", 1)]
    assert rows(engine, groups(keyed_pandas, Kind.SQL_GROUPED_MAP_PANDAS_UDF)) == expected
    assert rows(engine, groups(keyed_arrow, Kind.SQL_GROUPED_MAP_ARROW_UDF)) == expected

    def alone(frame: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"k": frame["k"], "n": frame["v"].fillna(0).astype("int64")})

    assert rows(engine, groups(alone, Kind.SQL_GROUPED_MAP_PANDAS_UDF)) == [(None, 0), ("a", 1), ("a", 3), ("b", 2)]
    assert len(rows(engine, groups(alone, Kind.SQL_GROUPED_MAP_PANDAS_UDF, ()))) == 4

    def pieces(key: tuple[Any, ...], frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for frame in frames:
            yield keyed_pandas(key, frame)

    assert rows(engine, groups(pieces, Kind.SQL_GROUPED_MAP_PANDAS_ITER_UDF)) == expected


def test_group_results_are_checked(engine: Engine) -> None:
    with pytest.raises(PythonWorkerError, match="UDF_RETURN_TYPE"):
        rows(engine, groups(lambda frame: 1, Kind.SQL_GROUPED_MAP_PANDAS_UDF))
    with pytest.raises(PythonWorkerError, match="ValueError: no"):
        rows(engine, groups(_raising, Kind.SQL_GROUPED_MAP_PANDAS_UDF))


def _raising(frame: pd.DataFrame) -> pd.DataFrame:
    raise ValueError("no")


AGGREGATES: list[tuple[str, Callable[..., Any], int]] = [
    ("pandas", lambda v: v.sum(), Kind.SQL_GROUPED_AGG_PANDAS_UDF),
    ("pandas iterator", lambda it: sum(v.sum() for v in it), Kind.SQL_GROUPED_AGG_PANDAS_ITER_UDF),
    ("arrow", lambda v: pc.sum(v, min_count=0), Kind.SQL_GROUPED_AGG_ARROW_UDF),
]


@pytest.mark.parametrize(("func", "kind"), [a[1:] for a in AGGREGATES], ids=[a[0] for a in AGGREGATES])
def test_python_aggregates(engine: Engine, func: Callable[..., Any], kind: int) -> None:
    call = PythonUDF(function(func, kind), (V,), DoubleType(), True)
    by_key = Aggregate(child=DATA, groupings=(K,), aggregates=(K, Alias(call, "n", new_expr_id())))
    assert rows(engine, by_key) == [(None, 0.0), ("a", 4.0), ("b", 2.0)]
    overall = Aggregate(child=DATA, groupings=(), aggregates=(Alias(call, "n", new_expr_id()),))
    assert rows(engine, overall) == [(6.0,)]


def test_an_unknown_kind_is_refused(engine: Engine) -> None:
    with pytest.raises(RunnelError, match="not supported"):
        applied(engine, lambda v: v, Kind.SQL_TABLE_UDF, (V,), LongType())
