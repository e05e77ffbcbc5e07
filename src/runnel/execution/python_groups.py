"""The conversions that operators over the user's Python are given (`operators.user_code.UserCode`).

A batch is converted whole wherever that gives each group what a conversion by itself would give it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
from pyspark.errors import PySparkRuntimeError, PySparkTypeError
from pyspark.sql.conversion import ArrowBatchTransformer, PandasToArrowConversion
from pyspark.sql.types import BooleanType, DataType, NumericType, Row, StringType, StructField, StructType

from runnel.errors import RunnelError, user_error
from runnel.execution.arrow import client_type, conform, for_client
from runnel.execution.python_stages import BATCH_ROWS
from runnel.execution.python_values import from_pickled_function, lenient, to_python


class PythonGroups:
    """Conversions in one session time zone."""

    def __init__(self, session_time_zone: str) -> None:
        self._zone = session_time_zone

    def pandas_keys(self, keys: pa.Table, schema: StructType) -> list[tuple[Any, ...]]:
        if not schema.fields:
            return [()] * keys.num_rows
        columns = [self._scalars(keys.select([i]), StructType([f])) for i, f in enumerate(schema.fields)]
        return list(zip(*columns, strict=True))

    def _scalars(self, column: pa.Table, schema: StructType) -> list[Any]:
        """As a series of one value would give each: a null must not make floats of its neighbours."""
        valid = column.column(0).is_valid()
        nulls = column.column(0).null_count
        present = column.filter(valid) if nulls else column
        (series,) = self._series(present, schema)
        found = [series.iloc[i] for i in range(len(series))]
        if not nulls:
            return found
        (missing,) = self._series(column.filter(column.column(0).is_null()).slice(0, 1), schema)
        values = iter(found)
        return [next(values) if there else missing.iloc[0] for there in valid.to_pylist()]

    def _series(self, table: pa.Table, schema: StructType) -> list[Any]:
        client = for_client(table, schema, self._zone)
        series: list[Any] = ArrowBatchTransformer.to_pandas(client, timezone=self._zone, schema=schema)
        return series

    def plain_keys(self, keys: pa.Table, schema: StructType) -> list[tuple[Any, ...]]:
        if not schema.fields:
            return [()] * keys.num_rows
        client = for_client(keys, schema, self._zone)
        return list(zip(*(c.to_pylist() for c in client.columns), strict=True))

    def frames(self, rows: pa.Table, schema: StructType, bounds: Sequence[int]) -> Iterator[list[Any]]:
        whole = None
        if len(bounds) > 2 and not any(map(_null_changes_type, rows.columns)):
            whole = self._frame(rows, schema)
        for start, end in itertools.pairwise(bounds):
            pieces = [(s, min(s + BATCH_ROWS, end)) for s in range(start, end, BATCH_ROWS)] or [(start, end)]
            if whole is not None:
                yield [whole.iloc[s:e].reset_index(drop=True) for s, e in pieces]
            else:
                yield [self._frame(rows.slice(s, e - s), schema) for s, e in pieces]

    def _frame(self, table: pa.Table, schema: StructType) -> Any:
        import pandas as pd

        return pd.concat(self._series(table, schema), axis=1)

    def empty_frame(self, schema: StructType) -> Any:
        import pandas as pd

        return pd.DataFrame(columns=schema.names)

    def checked_frames(self, results: Any, schema: StructType) -> list[Any]:
        import pandas as pd

        if isinstance(results, pd.DataFrame) or not hasattr(results, "__iter__"):
            raise _wrong_return("iterable of pandas.DataFrame", type(results).__name__)
        found = []
        for frame in results:
            if not isinstance(frame, pd.DataFrame):
                raise _wrong_return("iterator of pandas.DataFrame", f"iterator of {type(frame).__name__}")
            if len(frame.columns) != len(schema.fields) and not (len(frame.columns) == 0 and frame.empty):
                raise _wrong_width(schema, frame)
            found.append(frame)
        return found

    def rows(self, rows: pa.Table, schema: StructType) -> list[Any]:
        client = for_client(rows, schema, self._zone)
        make = Row(*schema.names)
        return [make(*values) for values in zip(*(c.to_pylist() for c in client.columns), strict=True)]

    def from_frames(self, frames: Sequence[Any], schema: StructType) -> pa.Table:
        import pandas as pd

        filled = [f for f in frames if len(f)]
        if not filled:
            return self._empty(schema)
        frame = filled[0] if len(filled) == 1 else pd.concat(filled, ignore_index=True)
        if any(isinstance(name, str) for name in frame.columns):
            for name in schema.names:
                if name not in frame.columns:
                    frame = frame.assign(**{name: None})
        elif len(frame.columns) != len(schema.fields):
            raise _wrong_width(schema, frame)
        converted = PandasToArrowConversion.convert(
            [frame],
            StructType([StructField("_0", schema)]),
            timezone=self._zone,
            safecheck=True,
            arrow_cast=True,
            assign_cols_by_name=True,
        )
        table = pa.Table.from_batches([ArrowBatchTransformer.flatten_struct(converted)])
        return conform(table, schema)

    def from_rows(self, rows: Sequence[Any], schema: StructType) -> pa.Table:
        if not rows:
            return self._empty(schema)
        wanted = pa.schema([pa.field(f.name, client_type(f.dataType, self._zone)) for f in schema.fields])
        for row in rows:
            if not isinstance(row, Row):
                raise _wrong_return("iterator of Row", f"iterator of {type(row).__name__}")
        batch = pa.RecordBatch.from_pylist([row.asDict(True) for row in rows], schema=wanted)
        return conform(pa.Table.from_batches([batch]), schema)

    def _empty(self, schema: StructType) -> pa.Table:
        types = [(f.name, client_type(f.dataType, self._zone)) for f in schema.fields]
        return conform(pa.Table.from_arrays([pa.nulls(0, t) for _, t in types], names=[n for n, _ in types]), schema)

    def values(self, column: pa.Array | pa.ChunkedArray, dtype: DataType) -> list[Any]:
        return to_python(column, dtype)

    def from_values(self, values: Sequence[Any], dtype: DataType) -> pa.Array:
        return from_pickled_function(values, dtype)

    def as_stored(self, schema: StructType) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
        converts = [(i, lenient(f.dataType)) for i, f in enumerate(schema.fields) if _is_plain(f.dataType)]
        width = len(schema.fields)

        def convert(row: Sequence[Any]) -> tuple[Any, ...]:
            if len(row) != width:
                raise ValueError(
                    f"Input row doesn't have expected number of values required by the schema. "
                    f"{width} fields are required while {len(row)} values are provided."
                )
            cells = list(row)
            for i, cell in converts:
                if cells[i] is not None:
                    cells[i] = cell(cells[i])
            return tuple(cells)

        return convert

    def error(self, problem: BaseException) -> RunnelError:
        return problem if isinstance(problem, RunnelError) else user_error(problem)


def _is_plain(dtype: DataType) -> bool:
    """Whether values of the type look the same in Python and inside the engine."""
    return isinstance(dtype, NumericType | BooleanType | StringType)


def _null_changes_type(column: pa.ChunkedArray) -> bool:
    """Whether pandas has another type for the column because of its nulls."""
    return bool(column.null_count) and bool(pa.types.is_integer(column.type) or pa.types.is_boolean(column.type))


def _wrong_return(expected: str, actual: str) -> PySparkTypeError:
    return PySparkTypeError(errorClass="UDF_RETURN_TYPE", messageParameters={"expected": expected, "actual": actual})


def _wrong_width(schema: StructType, frame: Any) -> PySparkRuntimeError:
    return PySparkRuntimeError(
        errorClass="RESULT_COLUMN_SCHEMA_MISMATCH",
        messageParameters={"expected": str(len(schema.fields)), "actual": str(len(frame.columns))},
    )
