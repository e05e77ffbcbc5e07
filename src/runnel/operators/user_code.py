"""What operators that run the user's Python need from outside: their values' conversions, made by `execution`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql.types import DataType, StructType

from runnel.errors import RunnelError

Ints = NDArray[np.int64]


class UserCode(Protocol):
    """Tables in physical types to what Python functions see, and back.

    Bounds are row numbers, one more than there are groups: group i is the rows from bounds[i] to bounds[i + 1].
    """

    def pandas_keys(self, keys: pa.Table, schema: StructType) -> list[tuple[Any, ...]]:
        """One tuple a row, values as pandas gives them (numpy scalars)."""
        ...

    def plain_keys(self, keys: pa.Table, schema: StructType) -> list[tuple[Any, ...]]:
        """One tuple a row, values as Arrow gives them to Python."""
        ...

    def frames(self, rows: pa.Table, schema: StructType, bounds: Sequence[int]) -> Iterator[list[Any]]:
        """For each group its DataFrames: none longer than Spark's Arrow batches."""
        ...

    def empty_frame(self, schema: StructType) -> Any:
        """A DataFrame without rows."""
        ...

    def checked_frames(self, results: Any, schema: StructType) -> list[Any]:
        """What a function returned, run to its end. Raises what PySpark's own checks of DataFrames raise."""
        ...

    def rows(self, rows: pa.Table, schema: StructType) -> list[Any]:
        """Row objects, values as Arrow gives them to Python."""
        ...

    def from_frames(self, frames: Sequence[Any], schema: StructType) -> pa.Table:
        """One table of all frames' rows, columns by name. Raises what PySpark's own checks raise."""
        ...

    def from_rows(self, rows: Sequence[Any], schema: StructType) -> pa.Table:
        """One table of Row objects, columns by name."""
        ...

    def values(self, column: pa.Array | pa.ChunkedArray, dtype: DataType) -> list[Any]:
        """The values of a state's column: Row, Decimal, datetime …"""
        ...

    def from_values(self, values: Sequence[Any], dtype: DataType) -> pa.Array:
        """A state's column, physical; values of a wrong kind become null, rows of a wrong length are an error."""
        ...

    def as_stored(self, schema: StructType) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
        """What turns a row that the user puts into a state into the row that a reader of the state sees.

        Values of a wrong kind become None; it raises ValueError for rows of another length.
        """
        ...

    def error(self, problem: BaseException) -> RunnelError:
        """What the user's code raised, as the error that the query fails with."""
        ...


def group_bounds(table: pa.Table) -> Ints:
    """The first row of each group of a `lower_grouped` table (numbered by its last column), then the row count.

    Just the row count, 0, for a table without rows.
    """
    rows = table.num_rows
    if not rows:
        return np.zeros(1, np.int64)
    number = table.column(table.num_columns - 1).to_numpy()
    inner = np.flatnonzero(number[1:] != number[:-1]) + 1
    return np.concatenate(([0], inner, [rows])).astype(np.int64)
