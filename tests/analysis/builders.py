"""Short forms for unresolved plans, and an analysis without a session."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from pyspark.sql.types import (
    ArrayType,
    BooleanType,
    DoubleType,
    IntegerType,
    LongType,
    MapType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

from runnel.analysis.context import AnalysisContext
from runnel.analysis.rules import analyze
from runnel.errors import AnalysisError
from runnel.functions.registry import BindContext
from runnel.plan.expressions import (
    Alias,
    Expression,
    Literal,
    SortOrder,
    UnresolvedAttribute,
    UnresolvedFunction,
    UnresolvedStar,
)
from runnel.plan.relations import LocalData, NamedTable, Read, Relation, StreamingScan

SCHEMA = StructType(
    [
        StructField("a", LongType(), False),
        StructField("i", IntegerType(), True),
        StructField("s", StringType(), True),
        StructField("f", DoubleType(), False),
        StructField("b", BooleanType(), False),
        StructField("t", TimestampType(), True),
        StructField("arr", ArrayType(IntegerType(), False), False),
        StructField("m", MapType(StringType(), IntegerType(), False), False),
        StructField(
            "st",
            StructType(
                [
                    StructField("x", IntegerType(), False),
                    StructField("y", StructType([StructField("z", IntegerType(), False)]), True),
                ]
            ),
            False,
        ),
        StructField("ast", ArrayType(StructType([StructField("q", IntegerType(), False)]), False), False),
    ]
)


def local(plan_id: int | None = None) -> LocalData:
    return LocalData(table=pa.table({}), schema=SCHEMA, plan_id=plan_id)


def stream(plan_id: int | None = None, key: object = "source") -> StreamingScan:
    return StreamingScan(source_key=key, format="rate", schema=SCHEMA, plan_id=plan_id)


def lit(value: Any) -> Literal:
    match value:
        case bool():
            return Literal(value, BooleanType())
        case int():
            return Literal(value, IntegerType())
        case float():
            return Literal(value, DoubleType())
        case _:
            return Literal(value, StringType())


def column(name: Any, plan_id: int | None = None) -> Expression:
    """A name (dotted), `*`, an expression as it is."""
    if isinstance(name, Expression):
        return name
    if name == "*" or name.endswith(".*"):
        return UnresolvedStar(tuple(name.split(".")[:-1]), plan_id)
    return UnresolvedAttribute(tuple(name.split(".")), plan_id)


def call(name: str, *args: Any, **more: Any) -> UnresolvedFunction:
    """Strings are column names; other Python values literals."""
    return UnresolvedFunction(
        name,
        tuple(a if isinstance(a, Expression) else column(a) if isinstance(a, str) else lit(a) for a in args),
        **more,
    )


def named(expression: Any, name: str) -> Alias:
    return Alias(column(expression), name)


def order(name: Any, ascending: bool = True) -> SortOrder:
    return SortOrder(column(name), ascending, ascending)


def _no_table(node: NamedTable) -> Relation:
    raise AnalysisError("TABLE_OR_VIEW_NOT_FOUND", relationName=".".join(node.parts))


def _no_read(node: Read) -> Relation:
    raise AssertionError(node)


def context(tables: dict[str, Relation] | None = None, ansi: bool = True) -> AnalysisContext:
    known = tables or {}

    def table(node: NamedTable) -> Relation:
        return known[node.parts[0]] if node.parts[0] in known else _no_table(node)

    def cached(name: str) -> Relation:
        raise AssertionError(name)

    return AnalysisContext(BindContext(ansi=ansi), table, _no_read, cached)


def resolve(plan: Relation, tables: dict[str, Relation] | None = None) -> Relation:
    return analyze(plan, context(tables))


def shape(plan: Relation, tables: dict[str, Relation] | None = None) -> list[tuple[str, str, bool]]:
    """Name, type and nullability of each column of the analysed plan."""
    return [(a.name, a.dtype.simpleString(), a.nullable) for a in resolve(plan, tables).output]


def columns(plan: Relation, tables: dict[str, Relation] | None = None) -> list[str]:
    return [a.name for a in resolve(plan, tables).output]


def condition(plan: Relation, tables: dict[str, Relation] | None = None) -> str:
    """The condition with which analysis refuses the plan."""
    try:
        resolve(plan, tables)
    except Exception as error:
        found = getattr(error, "condition", None)
        if not isinstance(found, str):
            raise
        return found
    raise AssertionError("analysis accepts the plan")
