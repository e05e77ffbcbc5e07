"""Stages that are the user's Python over whole batches: mapInPandas, mapInArrow, applyInPandas, applyInArrow.

A stage is a fragment that makes its input and a function from that table to the node's output. Conversions and checks of
results are PySpark's own, taken from its worker.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.errors import PySparkTypeError
from pyspark.sql.conversion import ArrowBatchTransformer, PandasToArrowConversion
from pyspark.sql.types import StructField, StructType
from pyspark.util import PythonEvalType

from runnel.errors import RunnelError, unsupported, user_error
from runnel.execution.arrow import client_type, conform, for_client
from runnel.lowering.datatypes import arrow_type
from runnel.lowering.expressions import LoweringOptions
from runnel.lowering.fragment import Fragment
from runnel.lowering.relations import lower, lower_grouped
from runnel.plan.expressions import PythonFunction
from runnel.plan.relations import GroupMap, MapPartitions

BATCH_ROWS = 10_000
"""Rows of a batch that a function gets at most: Spark's `spark.sql.execution.arrow.maxRecordsPerBatch`."""

PythonNode = MapPartitions | GroupMap
Results = Iterable[pa.Table]


@dataclass(frozen=True, slots=True)
class PythonStage:
    """`fragment` gives the input; `apply` takes its result to the node's output, in physical types.

    `apply` raises PythonWorkerError for what the user's code raises, and for results that are not what it promised.
    """

    fragment: Fragment
    apply: Callable[[pa.Table], pa.Table]


def python_stage(node: PythonNode, options: LoweringOptions) -> PythonStage:
    """The stage of a node; a refusal for evaluation types that it does not know."""
    function, schema = node.function, node.schema
    zone = options.session_time_zone
    if isinstance(node, MapPartitions):
        run_map = _MAPS.get(function.eval_type)
        if run_map is None:
            raise unsupported(f"mapPartitions with a function of evaluation type {function.eval_type}")
        fragment = lower(node.child, options)
        return PythonStage(
            fragment, lambda table: guarded(run_map(function, table, fragment.schema, schema, zone), schema)
        )
    run_groups = _GROUPS.get(function.eval_type)
    if run_groups is None:
        raise unsupported(f"apply on groups with a function of evaluation type {function.eval_type}")
    fragment = lower_grouped(node.child, node.groupings, options)
    keys = len(node.groupings)
    return PythonStage(
        fragment,
        lambda table: guarded(run_groups(function, groups_of(table, fragment.schema, keys), schema, zone), schema),
    )


def guarded(results: Results, schema: StructType) -> pa.Table:
    """Runs the user's code to its end and puts its results together."""
    physical = pa.schema([pa.field(f"_{i}", arrow_type(f.dataType)) for i, f in enumerate(schema.fields)])
    try:
        tables = [conform(t, schema, physical.names) for t in results if t.num_columns]
    except RunnelError:
        raise
    except Exception as problem:
        raise user_error(problem) from problem
    table = pa.concat_tables(tables) if tables else physical.empty_table()
    return table.rename_columns(schema.names)


# ------------------------------------------------------------------------------------------------------ mapIn…


def _batches(table: pa.Table) -> Iterator[pa.RecordBatch]:
    return iter(table.combine_chunks().to_batches(max_chunksize=BATCH_ROWS))


def _map_in_pandas(
    function: PythonFunction, table: pa.Table, source: StructType, target: StructType, zone: str
) -> Iterator[pa.Table]:
    frames = (_frame(batch, source, zone) for batch in _batches(for_client(table, source, zone)))
    for result, _ in _worker().wrap_pandas_batch_iter_udf(function.func, target, None)(frames):
        yield _from_frame(result, target, zone)


def _map_in_arrow(
    function: PythonFunction, table: pa.Table, source: StructType, target: StructType, zone: str
) -> Iterator[pa.Table]:
    wanted = pa.schema([pa.field(f.name, client_type(f.dataType, zone)) for f in target.fields])
    results = function.func(_batches(for_client(table, source, zone)))
    for batch in _iterable(results, "iterator of pyarrow.RecordBatch"):
        if not isinstance(batch, pa.RecordBatch):
            raise _wrong_return("iterator of pyarrow.RecordBatch", f"iterator of {type(batch).__name__}")
        yield pa.Table.from_batches([ArrowBatchTransformer.enforce_schema(batch, wanted)])


# ----------------------------------------------------------------------------------------------------- applyIn…


@dataclass(frozen=True, slots=True)
class Group:
    """One group: its rows, and its keys' values as a table of one row at least."""

    rows: pa.Table
    keys: pa.Table
    schema: StructType
    key_schema: StructType


def groups_of(table: pa.Table, schema: StructType, keys: int) -> Iterator[Group]:
    """Cuts a table of `lower_grouped` at the changes of its last column. No rows, no groups."""
    if not table.num_rows:
        return
    table = table.combine_chunks()
    number = table.column(table.num_columns - 1).to_numpy()
    starts = np.concatenate(([0], np.flatnonzero(number[1:] != number[:-1]) + 1, [len(number)]))
    width = table.num_columns - 1 - keys
    rows, values = table.select(range(width)), table.select(range(width, width + keys))
    row_schema, key_schema = StructType(schema.fields[:width]), StructType(schema.fields[width : width + keys])
    for start, end in itertools.pairwise(starts.tolist()):
        yield Group(rows.slice(start, end - start), values.slice(start, 1), row_schema, key_schema)


def _takes_key(function: PythonFunction, alone: int = 1) -> bool:
    return len(inspect.getfullargspec(function.func).args) > alone


def _pandas_key(group: Group, zone: str) -> tuple[Any, ...]:
    if not group.key_schema.fields:
        return ()
    table = for_client(group.keys, group.key_schema, zone)
    series = ArrowBatchTransformer.to_pandas(table, timezone=zone, schema=group.key_schema)
    return tuple(s.iloc[0] for s in series)


def _arrow_key(group: Group, zone: str) -> tuple[Any, ...]:
    return tuple(c[0] for c in for_client(group.keys, group.key_schema, zone).columns)


def _apply_in_pandas(
    function: PythonFunction, groups: Iterable[Group], target: StructType, zone: str
) -> Iterator[pa.Table]:
    keyed = _takes_key(function)
    for group in groups:
        frame = _plain_frame(for_client(group.rows, group.schema, zone), group.schema, zone)
        result = function.func(_pandas_key(group, zone), frame) if keyed else function.func(frame)
        _worker().verify_pandas_result(result, target, assign_cols_by_name=True, truncate_return_schema=False)
        yield _from_frame(result, target, zone)


def _apply_in_pandas_iterator(
    function: PythonFunction, groups: Iterable[Group], target: StructType, zone: str
) -> Iterator[pa.Table]:
    keyed = _takes_key(function)
    for group in groups:
        schema = group.schema
        batches = _batches(for_client(group.rows, schema, zone))
        frames = (_plain_frame(pa.Table.from_batches([b]), schema, zone) for b in batches)
        results = function.func(_pandas_key(group, zone), frames) if keyed else function.func(frames)
        for result in _iterable(results, "iterator of pandas.DataFrame"):
            _worker().verify_pandas_result(result, target, assign_cols_by_name=True, truncate_return_schema=False)
            yield _from_frame(result, target, zone)


def _apply_in_arrow(
    function: PythonFunction, groups: Iterable[Group], target: StructType, zone: str
) -> Iterator[pa.Table]:
    keyed, expected = _takes_key(function), {f.name: client_type(f.dataType, zone) for f in target.fields}
    for group in groups:
        rows = for_client(group.rows, group.schema, zone)
        result = function.func(_arrow_key(group, zone), rows) if keyed else function.func(rows)
        _worker().verify_arrow_table(result, True, expected)
        yield result.select(list(expected)) if result.num_columns else result


def _apply_in_arrow_iterator(
    function: PythonFunction, groups: Iterable[Group], target: StructType, zone: str
) -> Iterator[pa.Table]:
    keyed, expected = _takes_key(function), {f.name: client_type(f.dataType, zone) for f in target.fields}
    for group in groups:
        batches = _batches(for_client(group.rows, group.schema, zone))
        results = function.func(_arrow_key(group, zone), batches) if keyed else function.func(batches)
        for batch in _iterable(results, "iterator of pyarrow.RecordBatch"):
            _worker().verify_arrow_batch(batch, True, expected)
            if batch.num_columns:
                yield pa.Table.from_batches([batch]).select(list(expected))


# ------------------------------------------------------------------------------------------------------ pieces


def _worker() -> Any:
    """PySpark's own checks of results. Imported late: only programs with such functions pay for it."""
    from pyspark import worker

    return worker


def _iterable(results: Any, expected: str) -> Iterable[Any]:
    if not hasattr(results, "__iter__"):
        raise _wrong_return(expected, type(results).__name__)
    checked: Iterable[Any] = results
    return checked


def _wrong_return(expected: str, actual: str) -> PySparkTypeError:
    return PySparkTypeError(errorClass="UDF_RETURN_TYPE", messageParameters={"expected": expected, "actual": actual})


def _frame(batch: pa.RecordBatch, schema: StructType, zone: str) -> Any:
    """A DataFrame as mapInPandas sees it: the row as one struct, and that as a DataFrame."""
    wrapped = ArrowBatchTransformer.wrap_struct(batch)
    outer = StructType([StructField("_0", schema)])
    return ArrowBatchTransformer.to_pandas(wrapped, timezone=zone, schema=outer, df_for_struct=True)[0]


def _plain_frame(table: pa.Table, schema: StructType, zone: str) -> Any:
    """A DataFrame as applyInPandas sees it: a Series a column."""
    import pandas as pd

    return pd.concat(ArrowBatchTransformer.to_pandas(table, timezone=zone, schema=schema), axis=1)


def _from_frame(frame: Any, schema: StructType, zone: str) -> pa.Table:
    """The rows of a DataFrame, columns by name (by position if no name is text), in client types."""
    converted = PandasToArrowConversion.convert(
        [frame],
        StructType([StructField("_0", schema)]),
        timezone=zone,
        safecheck=True,
        arrow_cast=True,
        assign_cols_by_name=True,
    )
    return pa.Table.from_batches([ArrowBatchTransformer.flatten_struct(converted)])


_MAPS = {
    PythonEvalType.SQL_MAP_PANDAS_ITER_UDF: _map_in_pandas,
    PythonEvalType.SQL_MAP_ARROW_ITER_UDF: _map_in_arrow,
}

_GROUPS = {
    PythonEvalType.SQL_GROUPED_MAP_PANDAS_UDF: _apply_in_pandas,
    PythonEvalType.SQL_GROUPED_MAP_PANDAS_ITER_UDF: _apply_in_pandas_iterator,
    PythonEvalType.SQL_GROUPED_MAP_ARROW_UDF: _apply_in_arrow,
    PythonEvalType.SQL_GROUPED_MAP_ARROW_ITER_UDF: _apply_in_arrow_iterator,
}
