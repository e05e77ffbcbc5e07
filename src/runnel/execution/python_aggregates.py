"""Aggregates whose functions are the user's Python: grouped-aggregate pandas and Arrow functions, in batch queries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyspark.sql.conversion import ArrowBatchTransformer, PandasToArrowConversion
from pyspark.sql.types import StructField, StructType
from pyspark.util import PythonEvalType

from runnel.errors import unsupported
from runnel.execution.arrow import client_type, for_client, retype
from runnel.execution.python_stages import BATCH_ROWS, Group, PythonStage, groups_of, guarded
from runnel.lowering.expressions import LoweringOptions
from runnel.lowering.relations import lower_grouped
from runnel.plan.expressions import (
    AggregateCall,
    Alias,
    Attribute,
    Expression,
    PythonUDF,
    dtype_of,
    new_expr_id,
)
from runnel.plan.relations import Aggregate, Project, Relation
from runnel.plan.schema import schema_of
from runnel.plan.traverse import transform_up, walk

_PANDAS = (PythonEvalType.SQL_GROUPED_AGG_PANDAS_UDF, PythonEvalType.SQL_GROUPED_AGG_PANDAS_ITER_UDF)
_ITERATORS = (PythonEvalType.SQL_GROUPED_AGG_PANDAS_ITER_UDF, PythonEvalType.SQL_GROUPED_AGG_ARROW_ITER_UDF)


def is_aggregate_function(expression: Expression) -> bool:
    """Whether an expression is a call of a user's function from a group's columns to one value."""
    return isinstance(expression, PythonUDF) and expression.is_aggregate


def has_python_aggregate(plan: Aggregate) -> bool:
    return any(is_aggregate_function(node) for e in plan.aggregates for node in walk(e))


@dataclass(frozen=True, slots=True)
class PythonAggregate:
    """`stage` gives a table with the columns `output`; `above(relation)` makes the Aggregate's own output from them."""

    stage: PythonStage
    output: tuple[Attribute, ...]
    above: Callable[[Relation], Relation]


def python_aggregate(plan: Aggregate, options: LoweringOptions) -> PythonAggregate:
    """How to run an Aggregate of Python functions. As in Spark these stand beside no built-in aggregate."""
    calls: list[PythonUDF] = []
    for expression in plan.aggregates:
        for node in walk(expression):
            if isinstance(node, AggregateCall):
                raise unsupported("A pandas aggregate function beside a built-in one in one aggregation")
            if isinstance(node, PythonUDF) and is_aggregate_function(node) and node not in calls:
                calls.append(node)
    keys = tuple(g for g in plan.groupings if isinstance(g, Attribute))
    arguments = [Alias(a, f"a{i}", new_expr_id()) for i, a in enumerate(a for c in calls for a in c.args)]
    results = tuple(Attribute(c.function.name, c.dtype, True, new_expr_id()) for c in calls)
    output = keys + results
    source = Project(child=plan.child, expressions=(*keys, *arguments))
    fragment = lower_grouped(source, keys, options)
    zone = options.session_time_zone

    def apply(table: pa.Table) -> pa.Table:
        groups = groups_of(table, fragment.schema, len(keys))
        return guarded(_results(groups, calls, len(keys), schema_of(results), zone), schema_of(output))

    def result_of(expression: Expression) -> Expression:
        if isinstance(expression, PythonUDF) and expression in calls:
            return results[calls.index(expression)]
        return expression

    named = tuple(transform_up(e, result_of) for e in plan.aggregates)
    return PythonAggregate(PythonStage(fragment, apply), output, lambda child: Project(child=child, expressions=named))


def _results(
    groups: Iterable[Group], calls: list[PythonUDF], keys: int, schema: StructType, zone: str
) -> Iterator[pa.Table]:
    for group in groups:
        columns = [retype(c, t) for c, t in zip(group.keys.columns, group.keys.schema.types, strict=True)]
        position = keys
        for call, field in zip(calls, schema.fields, strict=True):
            width = len(call.args)
            chosen = range(position, position + width)
            source = StructType([group.schema.fields[i] for i in chosen])
            rows = for_client(group.rows.select(chosen), source, zone)
            position += width
            columns.append(pa.chunked_array([_evaluate(call, rows, source, field, zone)]))
        yield pa.Table.from_arrays(columns, names=[f"_{i}" for i in range(len(columns))])


def _evaluate(call: PythonUDF, rows: pa.Table, source: StructType, field: StructField, zone: str) -> pa.Array:
    names = call.argument_names or (None,) * len(call.args)
    kind = call.function.eval_type

    def values_of(part: pa.Table) -> list[Any]:
        if kind in _PANDAS:
            series: list[Any] = ArrowBatchTransformer.to_pandas(part, timezone=zone, schema=source)
            return series
        return [c.combine_chunks() for c in part.columns]

    if kind in _ITERATORS:
        parts = (values_of(rows.slice(i, BATCH_ROWS)) for i in range(0, rows.num_rows, BATCH_ROWS))
        result = call.function.func(v[0] if len(v) == 1 else tuple(v) for v in parts)
    else:
        values = list(zip(names, values_of(rows), strict=True))
        positional = [v for n, v in values if n is None]
        result = call.function.func(*positional, **{n: v for n, v in values if n is not None})
    if kind in _PANDAS:
        import pandas as pd

        one = StructType([StructField("_0", dtype_of(call), True)])
        return PandasToArrowConversion.convert([pd.Series([result])], one, timezone=zone, arrow_cast=True).column(0)
    value = result.as_py() if isinstance(result, pa.Scalar) else result
    return pa.array([value], type=client_type(field.dataType, zone))
