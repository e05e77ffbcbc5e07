"""A fragment: one DuckDB statement with its inputs, the unit that is prepared once and executed each batch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from pyspark.sql.types import StructType

from runnel.plan.expressions import PythonFunction


@dataclass(frozen=True, slots=True)
class FunctionBinding:
    """A Python function that the statement calls as the DuckDB function `name`.

    `argument_types` and `return_type` are Spark types as a StructType (one field an argument) and a one-field
    StructType; the execution layer turns them into a vectorised DuckDB function. The session time zone is what pandas
    functions see timestamps in.
    """

    name: str
    function: PythonFunction
    argument_types: StructType
    return_type: StructType
    argument_names: tuple[str | None, ...] = ()
    session_time_zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Fragment:
    """SQL text and what it needs.

    sql: a SELECT. It reads stage input i as the relation `input_<i>` and a constant table as `table_<k>`; batch
        parameters are named parameters (`$batch_timestamp_us`).
    inputs: for each stage input the SQL column names, in the order of the Arrow table that will be bound to it (the
        binding renames by position).
    input_schemas: the Spark schema of each input, by position: what a prepared statement holds its inputs to.
    tables: constant Arrow tables by relation name (local data), already with the SQL column names.
    table_schemas: their Spark schemas, by position.
    streams: files by relation name: objects whose `__arrow_c_stream__` reads them anew, with the SQL column names. What
        reading raises is also handed to their `report`, since DuckDB keeps only its text.
    parameters: the named parameters that occur.
    functions: Python functions to register before preparing.
    schema: the Spark schema of the result, by position.
    """

    sql: str
    schema: StructType
    inputs: dict[int, tuple[str, ...]] = field(default_factory=dict)
    input_schemas: dict[int, StructType] = field(default_factory=dict)
    tables: dict[str, pa.Table] = field(default_factory=dict)
    table_schemas: dict[str, StructType] = field(default_factory=dict)
    streams: dict[str, Any] = field(default_factory=dict)
    parameters: tuple[str, ...] = ()
    functions: tuple[FunctionBinding, ...] = ()
