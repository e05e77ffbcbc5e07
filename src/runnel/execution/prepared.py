"""A fragment prepared once and executed for every batch.

Its inputs are objects registered with DuckDB under the names of the fragment, which hand over whatever table the current
batch has put into them. DuckDB reads an input's schema when it prepares and never asks again: a table of another layout
would be misread, so every table is brought to the declared types before it is served. Parameters are passed with the
type that they are declared with in the statement (BIGINT), since another one makes DuckDB plan again.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from runnel.errors import RunnelError, internal_error
from runnel.execution.arrow import conform
from runnel.execution.connection import Engine
from runnel.execution.errors import RaisedInPython, translated
from runnel.execution.python_functions import register
from runnel.lowering.datatypes import arrow_type
from runnel.lowering.fragment import Fragment

if TYPE_CHECKING:
    from pyspark.sql.types import StructType

_STATEMENT = "fragment"
_PARAMETER = re.compile(r"\$(\w+)")
PARALLEL_ROWS = 20_000
"""From how many input rows on a statement is worth several threads."""


class _Served:
    """What DuckDB scans: the table of the moment, as an Arrow stream."""

    __slots__ = ("table",)

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.table.__arrow_c_stream__(requested_schema)


class PreparedFragment:
    """A statement that is prepared once and executed for every batch. Used by one thread at a time; close it after use.

    Small batches are executed by one thread: handing a few rows from thread to thread costs more than the work itself.
    The statement for large ones, and the other way round, is prepared when it is first needed.
    """

    def __init__(self, engine: Engine, fragment: Fragment, *, parallel: bool | None = None) -> None:
        """Registers, prepares. Errors: RunnelError if DuckDB refuses the statement (a bug in its lowering).

        parallel: whether a statement without stage inputs uses all threads (it does unless told otherwise).
        """
        self.fragment = fragment
        self._engine = engine
        self._statements: dict[bool, _Statement] = {}
        self._always_parallel = not fragment.inputs if parallel is None else parallel
        self._statement(parallel=self._always_parallel)

    def _statement(self, *, parallel: bool) -> _Statement:
        found = self._statements.get(parallel)
        if found is None:
            found = self._statements[parallel] = _Statement(self._engine, self.fragment, parallel=parallel)
        return found

    def run(self, inputs: Sequence[pa.Table] = (), parameters: Mapping[str, int] | None = None) -> pa.Table:
        """One execution.

        inputs: by index, each in the physical types and order of its declared schema; names do not matter. Only those
        that the fragment reads are looked at. parameters: at least those that the fragment names.
        Returns the rows in the fragment's schema: Spark's names (which may repeat) and physical types, not in any order
        but a Sort's. Errors: RunnelError.
        """
        large = self._always_parallel or any(table.num_rows >= PARALLEL_ROWS for table in inputs)
        return self._statement(parallel=large).run(inputs, parameters)

    def interrupt(self) -> None:
        """Breaks off an execution that another thread is in; it fails with an error there."""
        for statement in list(self._statements.values()):
            statement.interrupt()

    def close(self) -> None:
        """Closes the statement's connections and forgets its functions; closing twice is allowed."""
        for statement in self._statements.values():
            statement.close()


class _Statement:
    """A fragment on a connection of its own: prepared for small batches, planned anew for large ones."""

    def __init__(self, engine: Engine, fragment: Fragment, *, parallel: bool) -> None:
        self.fragment = fragment
        self._engine = engine
        self._parallel = parallel
        self._cursor = engine.cursor(parallel=parallel)
        self._raised = RaisedInPython()
        self._inputs: dict[int, _Served] = {}
        self._empty: dict[int, pa.Table] = {}
        self._functions: list[str] = []
        self._open = True
        self._closing = threading.Lock()
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        fragment = self.fragment
        for index in fragment.inputs:
            self._empty[index] = _shaped(_no_rows(fragment.input_schemas[index]), fragment, index)
            self._inputs[index] = _Served(self._empty[index])
            self._cursor.register(f"input_{index}", self._inputs[index])
        for name, table in fragment.tables.items():
            shaped = conform(table, fragment.table_schemas[name], table.column_names, sql=True)
            self._cursor.register(name, _Served(shaped))
        for name, stream in fragment.streams.items():
            stream.report = self._raised.pending.append
            self._cursor.register(name, stream)
        for binding in fragment.functions:
            register(self._cursor, binding, self._raised)
            self._functions.append(binding.name)
        if not self._parallel:
            with translated(self._raised):
                self._cursor.execute(f"PREPARE {_STATEMENT} AS {fragment.sql}")

    def run(self, inputs: Sequence[pa.Table] = (), parameters: Mapping[str, int] | None = None) -> pa.Table:
        fragment = self.fragment
        for index, served in self._inputs.items():
            if index >= len(inputs):
                raise internal_error(f"A fragment reads input {index} and was given {len(inputs)}.")
            served.table = _shaped(inputs[index], fragment, index)
        values = parameters or {}
        arguments = {name: f"{int(values[name])}::BIGINT" for name in fragment.parameters}
        try:
            with translated(self._raised):
                table = self._at_once(arguments) if self._parallel else self._prepared(arguments)
        finally:
            for index, served in self._inputs.items():
                served.table = self._empty[index]
        return conform(table, fragment.schema)

    def _prepared(self, arguments: Mapping[str, str]) -> pa.Table:
        given = ", ".join(f"{name} := {value}" for name, value in arguments.items())
        self._cursor.execute(f"EXECUTE {_STATEMENT}({given})" if given else f"EXECUTE {_STATEMENT}")
        return self._cursor.to_arrow_table()

    def _at_once(self, arguments: Mapping[str, str]) -> pa.Table:
        """Planned anew, since only so DuckDB collects the result with all threads; a prepared one is drained by one."""
        text = _PARAMETER.sub(lambda found: arguments.get(found[1], found[0]), self.fragment.sql)
        return self._cursor.sql(text).to_arrow_table()

    def interrupt(self) -> None:
        with self._closing:
            if self._open:
                self._cursor.interrupt()

    def close(self) -> None:
        with self._closing:
            self._open = False
            names, self._functions = self._functions, []
            for name in names:
                self._cursor.remove_function(name)
            self._engine.release(self._cursor)


def run_once(
    engine: Engine,
    fragment: Fragment,
    inputs: Sequence[pa.Table] = (),
    parameters: Mapping[str, int] | None = None,
) -> pa.Table:
    """Prepares, executes, closes."""
    prepared = PreparedFragment(engine, fragment)
    try:
        return prepared.run(inputs, parameters)
    finally:
        prepared.close()


def _no_rows(schema: StructType) -> pa.Table:
    if not schema.fields:
        return pa.table({"#": pa.array([], pa.int32())})
    arrays = [pa.array([], arrow_type(f.dataType)) for f in schema.fields]
    return pa.Table.from_arrays(arrays, names=schema.names)


def _shaped(table: pa.Table, fragment: Fragment, index: int) -> pa.Table:
    schema = fragment.input_schemas[index]
    if not schema.fields:
        return pa.table({"#": pa.nulls(table.num_rows, pa.int32())})
    if table.num_columns != len(schema.fields):
        raise internal_error(f"Input {index} has {table.num_columns} columns instead of {len(schema.fields)}.")
    try:
        return conform(table, schema, fragment.inputs[index], sql=True)
    except pa.ArrowException as failure:
        raise RunnelError("INTERNAL_ERROR", message=f"Input {index} has wrong types: {failure}.") from failure
