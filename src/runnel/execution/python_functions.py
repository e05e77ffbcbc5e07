"""The user's Python functions as vectorised DuckDB functions, running in this process.

DuckDB calls with vectors of up to 2048 rows. Every function is registered as volatile, so that DuckDB calls it for each
row of the batch and exactly where the plan has it: never folded at preparation, never doubled by inlining.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import duckdb
import pyarrow as pa
from duckdb.func import FunctionNullHandling, PythonUDFType
from pyspark.errors import PySparkRuntimeError, PySparkTypeError
from pyspark.sql.conversion import ArrowBatchTransformer, PandasToArrowConversion
from pyspark.sql.types import DataType, StructField, StructType
from pyspark.util import PythonEvalType, fail_on_stopiteration

from runnel.errors import RunnelError, unsupported, user_error
from runnel.execution.arrow import for_client, retype_array
from runnel.execution.errors import RaisedInPython
from runnel.execution.python_values import from_arrow_function, from_pickled_function, to_python
from runnel.lowering.datatypes import arrow_type, duckdb_type
from runnel.lowering.fragment import FunctionBinding

Evaluate = Callable[[Sequence[pa.ChunkedArray], int], pa.Array]
"""(physical argument columns, number of rows) -> the result column, in any Arrow form of the return type."""


def register(cursor: duckdb.DuckDBPyConnection, binding: FunctionBinding, raised: RaisedInPython) -> None:
    """Makes the DuckDB function. What the user's code raises is left in `raised`. Only `cursor` can remove it again."""
    evaluate = evaluator(binding)
    result = arrow_type(_result_type(binding), sql_names=True)
    types = [f.dataType for f in binding.argument_types.fields]

    def call(*columns: pa.ChunkedArray) -> pa.Array:
        try:
            return retype_array(_one(evaluate(columns[: len(types)], len(columns[0]))), result)
        except RunnelError as problem:
            raised.pending.append(problem)
            raise
        except Exception as problem:
            raised.pending.append(user_error(problem))
            raise

    parameters: list[Any] = [duckdb.sqltype(duckdb_type(t)) for t in types] or [duckdb.sqltype("BOOLEAN")]
    # DuckDB counts the parameters of the signature and takes *columns for one.
    kind = inspect.Parameter.POSITIONAL_ONLY
    vars(call)["__signature__"] = inspect.Signature([inspect.Parameter(f"_{i}", kind) for i in range(len(parameters))])
    cursor.create_function(
        binding.name,
        call,
        parameters,
        duckdb.sqltype(duckdb_type(_result_type(binding))),
        type=PythonUDFType.ARROW,
        null_handling=FunctionNullHandling.SPECIAL,
        side_effects=True,
    )


def evaluator(binding: FunctionBinding) -> Evaluate:
    """How to evaluate the binding's function on columns; a refusal for kinds that are no scalar function."""
    make = _KINDS.get(binding.function.eval_type)
    if make is None:
        raise unsupported(f"The Python function {binding.function.name} (evaluation type {binding.function.eval_type})")
    return make(binding)


def _result_type(binding: FunctionBinding) -> DataType:
    dtype: DataType = binding.return_type.fields[0].dataType
    return dtype


def _one(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def _caller(binding: FunctionBinding) -> Callable[[Sequence[Any]], Any]:
    """Calls the function with one value an argument, by keyword where the call named it."""
    function = binding.function.func
    names = binding.argument_names or (None,) * len(binding.argument_types.fields)
    if not any(names):
        return lambda values: function(*values)
    return lambda values: function(
        *(v for n, v in zip(names, values, strict=True) if n is None),
        **{n: v for n, v in zip(names, values, strict=True) if n is not None},
    )


def _rows(convert: Callable[[Sequence[Any], DataType], pa.Array]) -> Callable[[FunctionBinding], Evaluate]:
    def make(binding: FunctionBinding) -> Evaluate:
        call = fail_on_stopiteration(_caller(binding))
        types = [f.dataType for f in binding.argument_types.fields]
        result = _result_type(binding)

        def evaluate(columns: Sequence[pa.ChunkedArray], rows: int) -> pa.Array:
            if not columns:
                return convert([call(()) for _ in range(rows)], result)
            lists = [to_python(c, t) for c, t in zip(columns, types, strict=True)]
            return convert([call(values) for values in zip(*lists, strict=True)], result)

        return evaluate

    return make


def _table(binding: FunctionBinding, columns: Sequence[pa.ChunkedArray]) -> pa.Table:
    schema = binding.argument_types
    table = pa.Table.from_arrays([_one(c) for c in columns], names=schema.names)
    return for_client(table, schema, binding.session_time_zone)


def _series(binding: FunctionBinding, columns: Sequence[pa.ChunkedArray], rows: int) -> list[Any]:
    """Arguments as pandas Series, structs as DataFrames; a function without arguments gets one of no values."""
    table = _table(binding, columns) if columns else pa.table({"_": pa.nulls(rows)}).select([])
    found: list[Any] = ArrowBatchTransformer.to_pandas(
        table, timezone=binding.session_time_zone, schema=binding.argument_types, df_for_struct=True
    )
    return found


def _from_pandas(binding: FunctionBinding, result: Any) -> pa.Array:
    schema = StructType([StructField("_0", _result_type(binding), True)])
    batch = PandasToArrowConversion.convert(
        [result],
        schema,
        timezone=binding.session_time_zone,
        safecheck=True,
        arrow_cast=True,
        assign_cols_by_name=True,
        is_legacy=False,
    )
    return batch.column(0)


def _sized(binding: FunctionBinding, result: Any, rows: int, expected: str, udf_type: str) -> Any:
    if not hasattr(result, "__len__"):
        raise PySparkTypeError(
            errorClass="UDF_RETURN_TYPE", messageParameters={"expected": expected, "actual": type(result).__name__}
        )
    if len(result) != rows:
        raise PySparkRuntimeError(
            errorClass="SCHEMA_MISMATCH_FOR_PANDAS_UDF",
            messageParameters={"udf_type": udf_type, "expected": str(rows), "actual": str(len(result))},
        )
    return result


def _pandas_name(binding: FunctionBinding) -> str:
    return "pandas.DataFrame" if isinstance(_result_type(binding), StructType) else "pandas.Series"


def _pandas_scalar(binding: FunctionBinding) -> Evaluate:
    call = _caller(binding)
    expected = _pandas_name(binding)

    def evaluate(columns: Sequence[pa.ChunkedArray], rows: int) -> pa.Array:
        series = _series(binding, columns, rows)
        result = call(series) if columns else binding.function.func(*series)
        return _from_pandas(binding, _sized(binding, result, rows, expected, "pandas_udf"))

    return evaluate


def _arrow_scalar(binding: FunctionBinding) -> Evaluate:
    call = _caller(binding)

    def evaluate(columns: Sequence[pa.ChunkedArray], rows: int) -> pa.Array:
        arrays = [_one(c) for c in _table(binding, columns).columns] if columns else [pa.nulls(rows)]
        result = call(arrays) if columns else binding.function.func(*arrays)
        return _sized(binding, result, rows, "pyarrow.Array", "arrow_udf")

    return evaluate


def _exhausted(batches: Iterator[Any], lengths: Sequence[int], rows: int) -> None:
    """A scalar iterator function must have read all its input and answered each row once."""
    if next(batches, None) is not None:
        raise PySparkRuntimeError(errorClass="INPUT_NOT_FULLY_CONSUMED", messageParameters={})
    if sum(lengths) != rows:
        raise PySparkRuntimeError(
            errorClass="RESULT_ROWS_MISMATCH",
            messageParameters={"output_length": str(sum(lengths)), "input_length": str(rows)},
        )


def _iterated(binding: FunctionBinding, arguments: Sequence[Any], rows: int, expected: str) -> list[Any]:
    batches = iter([arguments[0] if len(arguments) == 1 else tuple(arguments)])
    returned = binding.function.func(batches)
    if not hasattr(returned, "__iter__"):
        raise PySparkTypeError(
            errorClass="UDF_RETURN_TYPE",
            messageParameters={"expected": f"iterator of {expected}", "actual": type(returned).__name__},
        )
    results = list(returned)
    _exhausted(batches, [len(r) for r in results], rows)
    return results


def _pandas_iterator(binding: FunctionBinding) -> Evaluate:
    def evaluate(columns: Sequence[pa.ChunkedArray], rows: int) -> pa.Array:
        results = _iterated(binding, _series(binding, columns, rows), rows, _pandas_name(binding))
        return pa.concat_arrays([_from_pandas(binding, r) for r in results])

    return evaluate


def _arrow_iterator(binding: FunctionBinding) -> Evaluate:
    def evaluate(columns: Sequence[pa.ChunkedArray], rows: int) -> pa.Array:
        arrays = [_one(c) for c in _table(binding, columns).columns] if columns else [pa.nulls(rows)]
        return pa.concat_arrays([_one(r) for r in _iterated(binding, arrays, rows, "pyarrow.Array")])

    return evaluate


_KINDS: dict[int, Callable[[FunctionBinding], Evaluate]] = {
    PythonEvalType.SQL_BATCHED_UDF: _rows(from_pickled_function),
    PythonEvalType.SQL_ARROW_BATCHED_UDF: _rows(from_arrow_function),
    PythonEvalType.SQL_SCALAR_PANDAS_UDF: _pandas_scalar,
    PythonEvalType.SQL_SCALAR_PANDAS_ITER_UDF: _pandas_iterator,
    PythonEvalType.SQL_SCALAR_ARROW_UDF: _arrow_scalar,
    PythonEvalType.SQL_SCALAR_ARROW_ITER_UDF: _arrow_iterator,
}
