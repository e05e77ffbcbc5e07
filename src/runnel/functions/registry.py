"""What an entry of the function catalogue is, and the list of all entries.

An entry gives a Spark function its name, its typing rule (`bind`) and its lowering to DuckDB SQL. Adding a function is
adding one entry to the `FUNCTIONS` tuple of its family's module; nothing registers itself by being imported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from pyspark.sql.types import DataType

from runnel.plan.expressions import (
    AggregateCall,
    Expression,
    FunctionCall,
    GeneratorCall,
    LambdaFunction,
    UnresolvedLambda,
)

ResolveLambda = Callable[[UnresolvedLambda, tuple[tuple[DataType, bool], ...]], LambdaFunction]


@dataclass(frozen=True, slots=True)
class BindContext:
    """What a typing rule may depend on besides its arguments.

    resolve_lambda: analysis' own: resolves a lambda's body in the scope where the call stands, given the (type,
        nullability) of each parameter; None where no lambda can occur. It gives each parameter a LambdaVariable with a
        new id, visible in the body (and in lambdas inside it) under the parameter's name, before columns of that name.
        Entries with `binds_lambdas` call it through `higher_order.resolve`, which also checks the number of parameters.
    """

    ansi: bool = True
    session_time_zone: str = "UTC"
    case_sensitive: bool = False
    conf: Mapping[str, str] | None = None
    resolve_lambda: ResolveLambda | None = None


class LoweringContext(Protocol):
    """What a lowering may ask for."""

    @property
    def ansi(self) -> bool: ...

    @property
    def session_time_zone(self) -> str: ...

    def lower(self, expression: Expression) -> str:
        """DuckDB SQL text of any resolved expression (for lambdas, and for arguments that need another form)."""
        ...

    def local(self, timestamp_sql: str) -> str:
        """A timestamp's wall clock in the session time zone, as DuckDB TIMESTAMP."""
        ...

    def instant(self, local_sql: str) -> str:
        """The inverse of `local`: from wall clock in the session time zone to the instant (as UTC TIMESTAMP)."""
        ...

    def cast(self, sql: str, source: DataType, target: DataType, *, try_: bool = False) -> str:
        """SQL text of Spark's cast from one type to the other."""
        ...

    def error(self, condition: str, target: DataType, **parameters: str) -> str:
        """SQL of `target`'s type that raises the condition when evaluated; parameter values are SQL text of VARCHAR."""
        ...


@dataclass(frozen=True, slots=True)
class ScalarFunction:
    """A function of one row's values.

    bind: resolved arguments in, resolved expression out (usually a FunctionCall named `name` whose arguments carry the
        casts that Spark's coercion inserts; it may also rewrite itself into other expressions). Raises AnalysisError
        with Spark's condition for a wrong number or type of arguments. Lambda arguments arrive as UnresolvedLambda when
        `binds_lambdas` is set; the rule then calls `resolve_lambda` on the binder (see higher_order.py).
    lower: (context, call, SQL text of each argument) -> SQL text. None for functions that bind rewrites away, or that
        the relation lowering treats itself.
    """

    name: str
    bind: Callable[[BindContext, tuple[Expression, ...]], Expression]
    lower: Callable[[LoweringContext, FunctionCall, tuple[str, ...]], str] | None = None
    aliases: tuple[str, ...] = ()
    deterministic: bool = True
    binds_lambdas: bool = False


@dataclass(frozen=True, slots=True)
class Buffer:
    """One field of an aggregate's state.

    dtype: Spark's own buffer type, with Spark's meaning (so that a state can be converted to Spark's layout).
    partial: SQL aggregate over the batch's rows of a group that gives the field's value.
    merge: (SQL of the stored value, SQL of the batch's value, and both buffers' other fields through the two callables
        given) -> SQL of the new value. Called only where both sides exist; either value can be null. "Stored" is the
        earlier one in time, which matters to first, last and collect_list.
    """

    name: str
    dtype: DataType
    partial: str
    merge: Callable[[Callable[[str], str], Callable[[str], str]], str]


@dataclass(frozen=True, slots=True)
class AggregateFunction:
    """A function of a group's rows, in the three forms that streaming needs.

    bind: as for scalars, giving an AggregateCall.
    direct: one-shot SQL for batch queries, (context, call, argument SQL, SQL of DISTINCT or '', SQL of FILTER or '').
    buffers: (context, call, argument SQL, SQL of FILTER or '') -> the state's fields. None: Spark allows it in batch
        only, or Runnel cannot keep it in state; `why_not_streaming` then says so.
    final: (context, call, SQL of a buffer field by name) -> SQL of the result.
    A group without rows (global aggregate of an empty stream) has all-null buffers: `final` must give the empty result.
    """

    name: str
    bind: Callable[[BindContext, tuple[Expression, ...]], AggregateCall]
    direct: Callable[[LoweringContext, AggregateCall, tuple[str, ...], str, str], str]
    buffers: Callable[[LoweringContext, AggregateCall, tuple[str, ...], str], tuple[Buffer, ...]] | None = None
    final: Callable[[LoweringContext, AggregateCall, Callable[[str], str]], str] | None = None
    aliases: tuple[str, ...] = ()
    why_not_streaming: str = ""


@dataclass(frozen=True, slots=True)
class GeneratorFunction:
    """A function from one row to many.

    bind: arguments in, GeneratorCall out (with its column names and types).
    lower: (context, call, argument SQL) -> SQL of a DuckDB list of structs, one struct a row to be made, with fields
        c0, c1, … in the order of the call's columns; null or empty list: no rows.
    """

    name: str
    bind: Callable[[BindContext, tuple[Expression, ...]], GeneratorCall]
    lower: Callable[[LoweringContext, GeneratorCall, tuple[str, ...]], str]
    aliases: tuple[str, ...] = ()
    outer: bool = False


@dataclass(frozen=True, slots=True)
class WindowOnlyFunction:
    """row_number, rank, lag …: only meaningful under OVER. lower gives the call without the OVER clause."""

    name: str
    bind: Callable[[BindContext, tuple[Expression, ...]], FunctionCall]
    lower: Callable[[LoweringContext, FunctionCall, tuple[str, ...]], str]
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """A function that Spark has and Runnel does not: named, with the reason, so that the refusal is a clear one."""

    name: str
    why: str
    aliases: tuple[str, ...] = ()


CatalogueEntry = ScalarFunction | AggregateFunction | GeneratorFunction | WindowOnlyFunction | Refused
