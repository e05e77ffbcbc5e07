"""A prepared fragment over changing batches: types, nulls, nothing, everything."""

from __future__ import annotations

import datetime
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal

import pyarrow as pa
import pytest
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    ByteType,
    DataType,
    DateType,
    DayTimeIntervalType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    MapType,
    ShortType,
    StringType,
    StructField,
    StructType,
    TimestampNTZType,
    TimestampType,
    TimeType,
)

from runnel.errors import RunnelError
from runnel.execution.arrow import conform, for_client
from runnel.execution.connection import Engine
from runnel.execution.prepared import PreparedFragment, run_once
from runnel.lowering.datatypes import arrow_type
from runnel.lowering.expressions import ExpressionLowering, LoweringOptions
from runnel.lowering.fragment import Fragment
from runnel.lowering.relations import lower
from runnel.plan.expressions import Alias, BatchParameter, Expression, FunctionCall, Literal, new_expr_id
from runnel.plan.relations import Empty, Filter, LocalData, Project, StageInput
from runnel.plan.schema import attributes_of

INNER = StructType([StructField("", StringType()), StructField("m", MapType(StringType(), LongType()))])
NESTED = StructType([StructField("x", IntegerType()), StructField("X", ArrayType(INNER))])
MOMENT = datetime.datetime(2020, 1, 2, 3, 4, 5, 678901)  # noqa: DTZ001
VALUES: list[tuple[DataType, object, object]] = [
    (BooleanType(), True, True),
    (ByteType(), -128, -128),
    (ShortType(), 32767, 32767),
    (IntegerType(), -(2**31), -(2**31)),
    (LongType(), -(2**63), -(2**63)),
    (FloatType(), 1.5, 1.5),
    (DoubleType(), 1e300, 1e300),
    (DecimalType(38, 10), Decimal("12345678901234567890.1234567890"), Decimal("12345678901234567890.1234567890")),
    (StringType(), 'it\'s "x"\0y é', 'it\'s "x"\0y é'),
    (BinaryType(), b"\x00\xff", b"\x00\xff"),
    (DateType(), -1, datetime.date(1969, 12, 31)),
    (TimestampType(), 1577934245678901, MOMENT),
    (TimestampNTZType(), 1577934245678901, MOMENT),
    (TimeType(), 3_600_000_001_000, datetime.time(1, 0, 0, 1)),
    (DayTimeIntervalType(), 5, 5),
    (ArrayType(LongType()), (1, None), [1, None]),
    (MapType(StringType(), IntegerType()), (("k", 1), ("n", None)), [("k", 1), ("n", None)]),
]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine(threads=2) as engine:
        yield engine


@pytest.mark.parametrize(("dtype", "value", "expected"), VALUES, ids=[v[0].simpleString() for v in VALUES])
def test_types_pass_through(engine: Engine, dtype: DataType, value: object, expected: object) -> None:
    plan = Project(
        child=Empty(),
        expressions=(Alias(Literal(value, dtype), "x", new_expr_id()), Alias(Literal(None, dtype), "n", new_expr_id())),
    )
    made = run_once(engine, lower(plan))
    assert made.schema.types == [arrow_type(dtype)] * 2
    assert [c.to_pylist() for c in made.columns] == [[expected], [None]]

    column = attributes_of(StructType([StructField("x", dtype)]))
    prepared = PreparedFragment(engine, lower(StageInput(index=0, attributes=column)))
    batches = [
        made.select([0]),
        made.select([1]),
        made.select([0]).slice(0, 0),
        pa.concat_tables([made.select([0])] * 3000),
    ]
    for batch in [*batches, *batches]:
        assert prepared.run([batch.rename_columns(["other"])]).column(0).to_pylist() == batch.column(0).to_pylist()
    prepared.close()


def test_nested_fields_keep_their_names_by_position(engine: Engine) -> None:
    column = attributes_of(StructType([StructField("s", NESTED)]))
    inner = pa.array([[("v", [("k", 1)])], None, []], pa.list_(arrow_type(NESTED).field(1).type.value_type))
    struct = pa.StructArray.from_arrays(
        [pa.array([1, 2, None], pa.int32()), inner],
        fields=list(arrow_type(NESTED)),
        mask=pa.array([False, False, True]),
    )
    prepared = PreparedFragment(engine, lower(StageInput(index=0, attributes=column)))
    for chunk in (struct, struct.slice(1), struct.slice(2, 1)):
        found = prepared.run([pa.table([chunk], names=["s"])]).column(0)
        assert found.type == arrow_type(NESTED)
        assert found.to_pylist() == chunk.to_pylist()
    prepared.close()


def test_a_filter_sees_each_batch(engine: Engine) -> None:
    (column,) = attributes_of(StructType([StructField("v", LongType())]))
    condition = FunctionCall(">", (column, Literal(1, LongType())), BooleanType(), True)
    prepared = PreparedFragment(
        engine, lower(Filter(child=StageInput(index=0, attributes=(column,)), condition=condition))
    )
    for values in ([1, 2, 3], [], [None, 7], [0], list(range(5000))):
        found = prepared.run([pa.table([pa.array(values, pa.int64())], names=["v"])])
        assert found.column(0).to_pylist() == [v for v in values if v is not None and v > 1]
    narrow = prepared.run([pa.table([pa.array([5], pa.int32())], names=["v"])])
    assert narrow.column(0).to_pylist() == [5]
    prepared.close()


def test_parameters_change_with_the_batch(engine: Engine) -> None:
    moment: Expression = BatchParameter("batch_timestamp_us", TimestampType())
    number: Expression = BatchParameter("batch_id", LongType())
    plan = Project(child=Empty(), expressions=(Alias(moment, "t", new_expr_id()), Alias(number, "n", new_expr_id())))
    prepared = PreparedFragment(engine, lower(plan))
    assert prepared.fragment.parameters == ("batch_id", "batch_timestamp_us")
    for n in (0, 1, 2**40):
        found = prepared.run([], {"batch_timestamp_us": 1577934245678901 + n, "batch_id": n, "unused": 1})
        assert found.to_pydict() == {"t": [MOMENT + datetime.timedelta(microseconds=n)], "n": [n]}
    prepared.close()


def test_local_data_in_two_statements(engine: Engine) -> None:
    schema = StructType([StructField("v", LongType())])
    data = LocalData(table=pa.table({"v": [1, 2]}), schema=schema, attributes=attributes_of(schema))
    one, two = PreparedFragment(engine, lower(data)), PreparedFragment(engine, lower(data))
    assert one.run().to_pydict() == two.run().to_pydict() == one.run().to_pydict() == {"v": [1, 2]}
    one.close()
    two.close()
    two.close()


ERRORS = [
    ("SELECT CAST(9223372036854775807 AS BIGINT) + x FROM (VALUES (CAST(1 AS BIGINT))) t(x)", "ARITHMETIC_OVERFLOW"),
    ("SELECT CAST(x AS TINYINT) FROM (VALUES (300)) t(x)", "CAST_OVERFLOW"),
    ("SELECT CAST(x AS INTEGER) FROM (VALUES ('abc')) t(x)", "CAST_INVALID_INPUT"),
    ("SELECT (SELECT x FROM (VALUES (1), (2)) t(x))", "SCALAR_SUBQUERY_TOO_MANY_ROWS"),
    ("SELECT nonsense", "INTERNAL_ERROR"),
]


@pytest.mark.parametrize(("sql", "condition"), ERRORS, ids=[e[1] for e in ERRORS])
def test_errors_have_conditions(engine: Engine, sql: str, condition: str) -> None:
    with pytest.raises(RunnelError) as caught:
        run_once(engine, Fragment(sql, StructType([StructField("x", LongType())])))
    assert caught.value.condition == condition
    assert caught.value.__cause__ is not None


def test_our_own_errors_carry_their_parameters(engine: Engine) -> None:
    raising = ExpressionLowering(LoweringOptions()).error("DIVIDE_BY_ZERO", LongType(), config="x", other="NULL")
    sql = f"SELECT CASE WHEN x = 'it''s \"q\"' THEN {raising} END FROM (VALUES ('it''s \"q\"')) t(x)"
    with pytest.raises(RunnelError) as caught:
        run_once(engine, Fragment(sql, StructType([StructField("x", LongType())])))
    assert caught.value.condition == "DIVIDE_BY_ZERO"
    assert caught.value.message_parameters == {"config": 'it\'s "q"', "other": "NULL"}


def test_session_time_zone_is_in_the_text(engine: Engine) -> None:
    context = ExpressionLowering(LoweringOptions(session_time_zone="America/New_York"))
    sql = f"SELECT {context.local('t')} AS a, {context.instant(context.local('t'))} AS b FROM (VALUES (TIMESTAMP '2020-07-01 12:00:00')) v(t)"  # noqa: E501
    schema = StructType([StructField("a", TimestampNTZType()), StructField("b", TimestampType())])
    found = run_once(engine, Fragment(sql, schema))
    assert [str(c[0]) for c in found.columns] == ["2020-07-01 08:00:00", "2020-07-01 12:00:00"]


def test_client_forms() -> None:
    schema = StructType(
        [
            StructField("t", TimestampType()),
            StructField("a", ArrayType(TimestampType())),
            StructField("i", DayTimeIntervalType()),
        ]
    )
    physical = pa.table(
        [
            pa.array([0, None], pa.timestamp("us")),
            pa.array([[1], None], pa.list_(pa.timestamp("us"))),
            pa.array([5, None]),
        ],
        names=schema.names,
    )
    sent = for_client(physical, schema, "Asia/Tokyo")
    assert sent.schema.types[0] == pa.timestamp("us", "Asia/Tokyo")
    assert sent.schema.types[1].value_type == pa.timestamp("us", "Asia/Tokyo")
    assert sent.schema.types[2] == pa.duration("us")
    assert conform(sent, schema).equals(physical)


def test_a_process_ends_quietly() -> None:
    program = """
import pyarrow as pa
from pyspark.sql.types import LongType, StructField, StructType
from runnel.execution.connection import Engine
from runnel.execution.prepared import PreparedFragment
from runnel.lowering.fragment import Fragment
schema = StructType([StructField("x", LongType())])
engine = Engine()
prepared = PreparedFragment(engine, Fragment("SELECT 1::BIGINT AS x", schema))
prepared.run()
if CLOSE:
    engine.close()
"""
    for close in ("True", "False"):
        code = ["import sys, types", "sys.modules['__main__'].__file__ = 'program.py'", program.replace("CLOSE", close)]
        done = subprocess.run([sys.executable, "-c", "\n".join(code)], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
