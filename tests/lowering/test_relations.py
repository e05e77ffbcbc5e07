"""Every core relation, executed: a plan, and the rows that it must give."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest
from pyspark.sql.types import (
    ArrayType,
    BooleanType,
    DataType,
    DoubleType,
    IntegerType,
    LongType,
    StringType,
    StructField,
    StructType,
)

from runnel.execution.connection import Engine
from runnel.execution.prepared import run_once
from runnel.functions import catalogue
from runnel.functions.registry import (
    AggregateFunction,
    BindContext,
    GeneratorFunction,
    ScalarFunction,
    WindowOnlyFunction,
)
from runnel.lowering.relations import lower, lower_grouped
from runnel.plan.expressions import (
    AggregateCall,
    Alias,
    Attribute,
    Expression,
    Literal,
    SortOrder,
    SubqueryExpression,
    WindowExpression,
    WindowFrame,
    dtype_of,
    new_expr_id,
)
from runnel.plan.relations import (
    Aggregate,
    Deduplicate,
    Empty,
    Expand,
    Filter,
    Generate,
    Join,
    Limit,
    LocalData,
    Offset,
    Project,
    Range,
    Relation,
    Sample,
    SetOperation,
    Sort,
    StageInput,
    Tail,
)
from runnel.plan.schema import attributes_of

SCHEMA = StructType([StructField("k", StringType()), StructField("v", LongType())])
ROWS = [("a", 1), ("b", 2), ("a", 3), (None, 4), ("b", None)]
NAN = float("nan")


def table(rows: list[tuple[object, ...]]) -> pa.Table:
    keys, values = zip(*rows, strict=True)
    return pa.table([pa.array(keys, pa.string()), pa.array(values, pa.int64())], names=["k", "v"])


def data(rows: list[tuple[object, ...]] = ROWS) -> LocalData:  # type: ignore[assignment]
    return LocalData(table=table(rows), schema=SCHEMA, attributes=attributes_of(SCHEMA))


LEFT, RIGHT = data(), data([("a", 10), ("c", 20), (None, 30)])
K, V = LEFT.output
RK, RV = RIGHT.output


def literal(value: object) -> Literal:
    kinds: dict[type, DataType] = {int: LongType(), str: StringType(), bool: BooleanType(), float: DoubleType()}
    return Literal(value, kinds[type(value)])


def call(name: str, *args: Expression) -> Expression:
    entry = catalogue.lookup(name)
    assert isinstance(entry, ScalarFunction | AggregateFunction)
    return entry.bind(BindContext(), args)


def named(expression: Expression, name: str = "x") -> Alias:
    return Alias(expression, name, new_expr_id())


def fresh(*attributes: Attribute) -> tuple[Attribute, ...]:
    return tuple(Attribute(a.name, a.dtype, True, new_expr_id()) for a in attributes)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine(threads=1) as engine:
        yield engine


def rows(engine: Engine, plan: Relation, *inputs: pa.Table) -> list[tuple[object, ...]]:
    found = run_once(engine, lower(plan), list(inputs))
    return list(zip(*(c.to_pylist() for c in found.columns), strict=True))


def join(kind: str, condition: Expression | None) -> Join:
    return Join(left=LEFT, right=RIGHT, kind=kind, condition=condition)


EQUAL = call("==", K, RK)
SET = [("a", 1), ("a", 1), ("b", 2)]


def set_operation(kind: str, every: bool) -> SetOperation:
    left, right = data(SET), data([("a", 1), ("c", 3)])  # type: ignore[arg-type]
    return SetOperation(inputs=(left, right), kind=kind, all=every, attributes=fresh(*left.output))


def distinct_count() -> AggregateCall:
    found = call("count", K)
    assert isinstance(found, AggregateCall)
    return AggregateCall(found.name, found.args, found.dtype, found.nullable, distinct=True)


def filtered_sum() -> AggregateCall:
    found = call("sum", V)
    assert isinstance(found, AggregateCall)
    return AggregateCall(found.name, found.args, found.dtype, found.nullable, filter=call(">", V, literal(1)))


def over(
    function: Expression, *, order: tuple[SortOrder, ...] = (), frame: WindowFrame | None = None
) -> WindowExpression:
    return WindowExpression(function, (K,), order, frame, dtype_of(function))


BY_V = (SortOrder(V, True, True),)
PAIR = StructType([StructField("p", LongType()), StructField("P", ArrayType(LongType()))])

UNORDERED: list[tuple[str, Relation, list[tuple[object, ...]]]] = [
    (
        "project",
        Project(child=LEFT, expressions=(V, named(call("+", V, literal(1))), V)),
        [(1, 2, 1), (2, 3, 2), (3, 4, 3), (4, 5, 4), (None, None, None)],
    ),
    ("filter", Filter(child=LEFT, condition=call(">", V, literal(2))), [("a", 3), (None, 4)]),
    ("empty", Project(child=Empty(), expressions=(named(literal(1)), named(Literal(None, PAIR)))), [(1, None)]),
    (
        "range",
        Range(start=0, end=10, step=4, attributes=attributes_of(StructType([StructField("id", LongType())]))),
        [(0,), (4,), (8,)],
    ),
    (
        "range down",
        Range(start=3, end=0, step=-2, attributes=attributes_of(StructType([StructField("id", LongType())]))),
        [(3,), (1,)],
    ),
    ("inner", join("inner", EQUAL), [("a", 1, "a", 10), ("a", 3, "a", 10)]),
    (
        "left",
        join("left", EQUAL),
        [("a", 1, "a", 10), ("a", 3, "a", 10), ("b", 2, None, None), ("b", None, None, None), (None, 4, None, None)],
    ),
    (
        "right",
        join("right", EQUAL),
        [("a", 1, "a", 10), ("a", 3, "a", 10), (None, None, "c", 20), (None, None, None, 30)],
    ),
    (
        "full",
        join("full", call("and", EQUAL, call("==", V, literal(1)))),
        [
            ("a", 1, "a", 10),
            ("a", 3, None, None),
            ("b", 2, None, None),
            ("b", None, None, None),
            (None, 4, None, None),
            (None, None, "c", 20),
            (None, None, None, 30),
        ],
    ),
    ("null-safe", join("inner", call("<=>", K, RK)), [("a", 1, "a", 10), ("a", 3, "a", 10), (None, 4, None, 30)]),
    ("semi", join("semi", EQUAL), [("a", 1), ("a", 3)]),
    ("anti", join("anti", EQUAL), [("b", 2), ("b", None), (None, 4)]),
    ("semi inequality", join("semi", call("and", EQUAL, call("<", V, literal(2)))), [("a", 1)]),
    ("semi without condition", join("semi", None), ROWS),  # type: ignore[list-item]
    ("union all", set_operation("union", True), [*SET, ("a", 1), ("c", 3)]),
    ("union", set_operation("union", False), [("a", 1), ("b", 2), ("c", 3)]),
    ("intersect all", set_operation("intersect", True), [("a", 1)]),
    ("except", set_operation("except", False), [("b", 2)]),
    ("except all", set_operation("except", True), [("a", 1), ("b", 2)]),
    ("deduplicate by key", Deduplicate(child=LEFT, keys=(K,)), [("a", 1), ("b", 2), (None, 4)]),
    ("distinct", Deduplicate(child=data(SET), keys=(), all_columns=True), [("a", 1)]),  # type: ignore[arg-type]
    (
        "group",
        Aggregate(child=LEFT, groupings=(K,), aggregates=(K, named(call("sum", V)))),
        [("a", 4), ("b", 2), (None, 4)],
    ),
    ("group without aggregates", Aggregate(child=LEFT, groupings=(K,), aggregates=(K,)), [("a",), ("b",), (None,)]),
    (
        "distinct and filter",
        Aggregate(child=LEFT, groupings=(), aggregates=(named(distinct_count()), named(filtered_sum()))),
        [(2, 9)],
    ),
    (
        "expand",
        Expand(child=LEFT, projections=((K, V), (Literal(None, StringType()), V)), attributes=fresh(K, V)),
        [*ROWS, *((None, v) for _, v in ROWS)],
    ),  # type: ignore[list-item]
    (
        "window sum",
        Project(child=LEFT, expressions=(V, named(over(call("sum", V))))),
        [(1, 4), (2, 2), (3, 4), (4, 4), (None, 2)],
    ),
    (
        "window avg",
        Project(child=LEFT, expressions=(V, named(over(call("avg", V), order=BY_V)))),
        [(1, 1.0), (2, 2.0), (3, 2.0), (4, 4.0), (None, None)],
    ),
    (
        "window rows",
        Project(
            child=LEFT,
            expressions=(
                V,
                named(
                    over(
                        call("count", V),
                        order=BY_V,
                        frame=WindowFrame("rows", Literal(-1, IntegerType()), Literal(0, IntegerType())),
                    )
                ),
            ),
        ),
        [(1, 1), (2, 1), (3, 2), (4, 1), (None, 0)],
    ),
    (
        "scalar subquery",
        Filter(
            child=LEFT,
            condition=call(
                "==",
                V,
                SubqueryExpression(
                    "scalar",
                    Aggregate(child=RIGHT, groupings=(), aggregates=(named(call("count", RV)),)),
                    (),
                    LongType(),
                    True,
                ),
            ),
        ),
        [("a", 3)],
    ),
    (
        "exists, correlated",
        Filter(
            child=LEFT,
            condition=SubqueryExpression("exists", Filter(child=RIGHT, condition=EQUAL), (), BooleanType(), False),
        ),
        [("a", 1), ("a", 3)],
    ),
    (
        "in",
        Filter(
            child=LEFT,
            condition=SubqueryExpression("in", Project(child=RIGHT, expressions=(RK,)), (K,), BooleanType(), True),
        ),
        [("a", 1), ("a", 3)],
    ),
]


@pytest.mark.parametrize(("plan", "expected"), [c[1:] for c in UNORDERED], ids=[c[0] for c in UNORDERED])
def test_rows(engine: Engine, plan: Relation, expected: list[tuple[object, ...]]) -> None:
    assert sorted(rows(engine, plan), key=repr) == sorted(expected, key=repr)


SORTED = Sort(child=LEFT, orders=(SortOrder(V, False, False),))
ORDERED: list[tuple[str, Relation, list[object]]] = [
    ("nulls last", SORTED, [4, 3, 2, 1, None]),
    ("nulls first", Sort(child=LEFT, orders=(SortOrder(V, True, True),)), [None, 1, 2, 3, 4]),
    ("limit", Limit(child=SORTED, count=2), [4, 3]),
    ("offset", Offset(child=SORTED, count=3), [1, None]),
    ("tail", Tail(child=SORTED, count=2), [1, None]),
    ("above a sort", Project(child=SORTED, expressions=(K, V)), [4, 3, 2, 1, None]),
]


@pytest.mark.parametrize(("plan", "expected"), [c[1:] for c in ORDERED], ids=[c[0] for c in ORDERED])
def test_order(engine: Engine, plan: Relation, expected: list[object]) -> None:
    assert [row[1] for row in rows(engine, plan)] == expected


def test_deduplicate_by_nothing_keeps_one_row(engine: Engine) -> None:
    assert len(rows(engine, Deduplicate(child=LEFT, keys=()))) == 1


def test_no_columns_still_has_rows(engine: Engine) -> None:
    bare = Project(child=LEFT, expressions=())
    assert run_once(engine, lower(bare)).num_rows == len(ROWS)
    counted = Aggregate(child=bare, groupings=(), aggregates=(named(call("count", literal(1))),))
    assert rows(engine, counted) == [(len(ROWS),)]


def test_one_input_read_twice(engine: Engine) -> None:
    again = fresh(K, V)
    left, right = StageInput(index=0, attributes=(K, V)), StageInput(index=0, attributes=again)
    plan = Join(left=left, right=right, kind="inner", condition=call("==", V, again[1]))
    assert sorted(rows(engine, plan, table(ROWS)), key=repr) == [
        ("a", 1, "a", 1),
        ("a", 3, "a", 3),
        ("b", 2, "b", 2),
        (None, 4, None, 4),
    ]


def test_samples_of_one_seed_part_the_rows(engine: Engine) -> None:
    numbers = Range(start=0, end=1000, step=1, attributes=attributes_of(StructType([StructField("id", LongType())])))
    one = rows(engine, Sample(child=numbers, lower=0.0, upper=0.3, with_replacement=False, seed=7))
    two = rows(engine, Sample(child=numbers, lower=0.3, upper=1.0, with_replacement=False, seed=7))
    assert sorted(one + two) == [(i,) for i in range(1000)]
    assert 200 < len(one) < 400
    drawn = rows(engine, Sample(child=numbers, lower=0.0, upper=2.0, with_replacement=True, seed=7))
    assert 1700 < len(drawn) < 2300


def test_groups_in_order_of_their_keys(engine: Engine) -> None:
    found = run_once(engine, lower_grouped(LEFT, (K,)))
    assert found.column_names == ["k", "v", "k0", "group"]
    assert found.column(1).to_pylist() == [4, 1, 3, 2, None]
    assert found.column(3).to_pylist() == [1, 2, 2, 3, 3]


def generated(name: str, *args: Expression, outer: bool = False, keep: tuple[Attribute, ...] | None = (V,)) -> Generate:
    entry = catalogue.lookup(name)
    assert isinstance(entry, GeneratorFunction)
    generator = entry.bind(BindContext(), args)
    attributes = tuple(Attribute(c.name, c.dtype, c.nullable, new_expr_id()) for c in generator.columns)
    return Generate(child=LISTS, generator=generator, outer=outer, attributes=attributes, keep=keep)


LISTS_SCHEMA = StructType([StructField("v", LongType()), StructField("xs", ArrayType(StringType()))])
LISTS = LocalData(
    table=pa.table([pa.array([1, 2, 3]), pa.array([["a", None], [], None], pa.list_(pa.string()))], names=["v", "xs"]),
    schema=LISTS_SCHEMA,
    attributes=attributes_of(LISTS_SCHEMA),
)
V_, XS = LISTS.output
GENERATED: list[tuple[str, bool, list[tuple[object, ...]]]] = [
    ("explode", False, [(1, "a"), (1, None)]),
    ("explode", True, [(1, "a"), (1, None), (2, None), (3, None)]),
    ("posexplode", False, [(1, 0, "a"), (1, 1, None)]),
    ("posexplode", True, [(1, 0, "a"), (1, 1, None), (2, None, None), (3, None, None)]),
]


@pytest.mark.parametrize(("name", "outer", "expected"), GENERATED)
def test_generate(engine: Engine, name: str, outer: bool, expected: list[tuple[object, ...]]) -> None:
    plan = generated(name, XS, outer=outer, keep=(V_,))
    assert rows(engine, plan) == expected
    above = Project(child=plan, expressions=plan.attributes)
    assert rows(engine, above) == [row[1:] for row in expected]
    everything = generated(name, XS, outer=outer, keep=None)
    assert [row[0] for row in rows(engine, everything)] == [row[0] for row in expected]


WINDOW_FUNCTIONS: list[tuple[str, tuple[Expression, ...], list[object]]] = [
    ("row_number", (), [1, 2, 3, 4]),
    ("rank", (), [1, 1, 3, 4]),
    ("dense_rank", (), [1, 1, 2, 3]),
    ("percent_rank", (), [0.0, 0.0, 2 / 3, 1.0]),
    ("cume_dist", (), [0.5, 0.5, 0.75, 1.0]),
    ("ntile", (Literal(2, IntegerType()),), [1, 1, 2, 2]),
]


@pytest.mark.parametrize(("name", "args", "expected"), WINDOW_FUNCTIONS, ids=[w[0] for w in WINDOW_FUNCTIONS])
def test_window_functions(engine: Engine, name: str, args: tuple[Expression, ...], expected: list[object]) -> None:
    entry = catalogue.lookup(name)
    assert isinstance(entry, WindowOnlyFunction)
    source = data([("a", 1), ("a", 1), ("a", 2), ("a", 3)])
    order = (SortOrder(source.output[1], True, True),)
    frame = WindowFrame("rows", None, Literal(0, IntegerType()))
    function = entry.bind(BindContext(), args)
    window = WindowExpression(function, (), order, frame, dtype_of(function))
    found = run_once(engine, lower(Project(child=source, expressions=(named(window),))))
    assert found.column(0).to_pylist() == pytest.approx(expected)


def test_a_chain_of_new_columns_is_one_select(engine: Engine) -> None:
    first, second = named(call("+", V, literal(1)), "p"), named(call("+", V, literal(2)), "q")
    one = Project(child=LEFT, expressions=(K, V, first))
    two = Project(child=one, expressions=(*one.output, second))
    assert lower(two).sql.count("SELECT") == 2
    assert rows(engine, two)[0] == ("a", 1, 2, 3)
    twice = Project(child=two, expressions=(two.output[2], two.output[2]))
    assert rows(engine, twice)[0] == (2, 2)
    dependent = Project(child=two, expressions=(named(call("+", two.output[2], two.output[3])), two.output[2]))
    assert rows(engine, dependent)[0] == (5, 2)
