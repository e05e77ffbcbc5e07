"""Expression nodes, before and after analysis.

One family of frozen dataclasses. The front ends (protobuf, SQL text) build the *unresolved* kinds freely; analysis
leaves only *resolved* kinds, each with a `dtype` (a `pyspark.sql.types.DataType`) and a `nullable` flag.

Values inside `Literal` use Catalyst's internal form, so that no node depends on a time zone:
boolean bool, integral int, float/double float, decimal `decimal.Decimal`, string str, binary bytes, date int (days
since the epoch), timestamp and timestamp_ntz int (microseconds since the epoch), day-time interval int (microseconds),
year-month interval int (months), calendar interval (months, days, microseconds), time int (nanoseconds since midnight),
array tuple, struct tuple (by position), map tuple of (key, value) pairs, null None.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pyspark.sql.types import DataType
from pyspark.util import PythonEvalType

if TYPE_CHECKING:
    from runnel.plan.relations import Relation

_ids = itertools.count(1)


def new_expr_id() -> int:
    """A number that no other attribute of this process has."""
    return next(_ids)


@dataclass(frozen=True, slots=True)
class Expression:
    """Base of all expressions. Children are the fields that hold expressions or tuples of them (see traverse.py)."""


# ---------------------------------------------------------------------------------------------- unresolved kinds


@dataclass(frozen=True, slots=True)
class UnresolvedAttribute(Expression):
    """A column by name: `parts` are the unquoted name parts; `plan_id` says which frame it was taken from (`df["x"]`)."""

    parts: tuple[str, ...]
    plan_id: int | None = None
    is_metadata_column: bool = False


@dataclass(frozen=True, slots=True)
class UnresolvedStar(Expression):
    """`*` or `target.*`, where the target is a relation alias or a struct column; without the columns `excepted`."""

    target: tuple[str, ...] = ()
    plan_id: int | None = None
    excepted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UnresolvedRegex(Expression):
    """All columns whose name matches a Java regular expression (`df.colRegex`)."""

    pattern: str
    plan_id: int | None = None


@dataclass(frozen=True, slots=True)
class UnresolvedFunction(Expression):
    """A call by name; analysis finds out whether it is a scalar, aggregate, generator or window function.

    `name` is lower case. Operators are functions under Spark's symbols: `+ - * / % == <=> < <= > >= != and or not
    negative`, and `&  |  ^  ~`.
    """

    name: str
    args: tuple[Expression, ...]
    distinct: bool = False
    filter: Expression | None = None
    ignore_nulls: bool | None = None


@dataclass(frozen=True, slots=True)
class UnresolvedExtract(Expression):
    """`child[key]`, `child.key`, `getItem`, `getField`: what it means depends on the child's type."""

    child: Expression
    key: Expression


@dataclass(frozen=True, slots=True)
class UnresolvedLambdaVariable(Expression):
    """A use of a lambda's parameter inside its body."""

    name: str


@dataclass(frozen=True, slots=True)
class UnresolvedLambda(Expression):
    """`(a, b) -> body`."""

    body: Expression
    params: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UnresolvedNamedArgument(Expression):
    """`key => value` in a call."""

    name: str
    value: Expression


@dataclass(frozen=True, slots=True)
class UpdateFields(Expression):
    """`withField` (value given) and `dropFields` (value None); `field_name` may be dotted."""

    child: Expression
    field_name: str
    value: Expression | None


@dataclass(frozen=True, slots=True)
class MultiAlias(Expression):
    """Several names for a generator's columns: `posexplode(x).alias("i", "v")`."""

    child: Expression
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UnresolvedSubquery(Expression):
    """A subquery as an expression. `kind`: scalar, exists or in (`args` are then the left-hand values)."""

    kind: str
    plan: Relation
    args: tuple[Expression, ...] = ()


# -------------------------------------------------------------------------------------------------- both, resolved


@dataclass(frozen=True, slots=True)
class Literal(Expression):
    """A constant in internal form (see the module's docstring)."""

    value: Any
    dtype: DataType

    @property
    def nullable(self) -> bool:
        return self.value is None


@dataclass(frozen=True, slots=True)
class Attribute(Expression):
    """A column of a resolved relation. Two attributes are the same iff their `expr_id` is."""

    name: str = field(compare=False)
    dtype: DataType = field(compare=False)
    nullable: bool = field(compare=False)
    expr_id: int
    metadata: Mapping[str, Any] = field(default_factory=dict, compare=False)
    qualifier: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Alias(Expression):
    """A named expression. `expr_id` is 0 until analysis gives it one; `metadata` None means: the child's own."""

    child: Expression
    name: str
    expr_id: int = 0
    metadata: Mapping[str, Any] | None = field(default=None, compare=False)


class CastMode(enum.Enum):
    """ANSI: a bad value is an error. TRY: it gives null. LEGACY: Spark 3's non-ANSI result."""

    ANSI = "ansi"
    TRY = "try"
    LEGACY = "legacy"


@dataclass(frozen=True, slots=True)
class Cast(Expression):
    """`CAST(child AS dtype)`. From the front ends `mode` is None: analysis fills in what the session says.

    `type_text` holds a DDL type that the front end has not parsed; analysis replaces it by `dtype`.
    """

    child: Expression
    dtype: DataType | None
    mode: CastMode | None = None
    nullable: bool = True
    type_text: str | None = None


@dataclass(frozen=True, slots=True)
class SortOrder(Expression):
    child: Expression
    ascending: bool = True
    nulls_first: bool = True


@dataclass(frozen=True, slots=True)
class WindowFrame:
    """`kind` rows or range; a bound is None (unbounded), 0 (current row) or an expression of the offset (sign included)."""

    kind: str
    lower: Expression | None
    upper: Expression | None


@dataclass(frozen=True, slots=True)
class WindowExpression(Expression):
    """`function OVER (PARTITION BY … ORDER BY … frame)`. After analysis `function` is a FunctionCall or AggregateCall."""

    function: Expression
    partition_by: tuple[Expression, ...]
    order_by: tuple[Expression, ...]
    frame: WindowFrame | None = None
    dtype: DataType | None = None
    nullable: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class PythonFunction:
    """A user's Python function with its evaluation type (a PythonEvalType number of pyspark.util). Equal by identity."""

    name: str
    func: Callable[..., Any]
    eval_type: int
    deterministic: bool = True


@dataclass(frozen=True, slots=True)
class PythonUDF(Expression):
    """A call of a user's Python function; `argument_names` has a name for each keyword argument, None for positional."""

    function: PythonFunction
    args: tuple[Expression, ...]
    dtype: DataType
    nullable: bool = True
    argument_names: tuple[str | None, ...] = ()

    @property
    def is_aggregate(self) -> bool:
        """Whether the function goes from a group's columns to one value (grouped-aggregate pandas and Arrow kinds)."""
        return self.function.eval_type in _GROUPED_AGGREGATES


_GROUPED_AGGREGATES = frozenset(
    {
        PythonEvalType.SQL_GROUPED_AGG_PANDAS_UDF,
        PythonEvalType.SQL_GROUPED_AGG_PANDAS_ITER_UDF,
        PythonEvalType.SQL_GROUPED_AGG_ARROW_UDF,
        PythonEvalType.SQL_GROUPED_AGG_ARROW_ITER_UDF,
    }
)


# ------------------------------------------------------------------------------------------------- resolved only


@dataclass(frozen=True, slots=True)
class FunctionCall(Expression):
    """A built-in scalar function of the catalogue, arguments already coerced. `name` is the catalogue's own name."""

    name: str
    args: tuple[Expression, ...]
    dtype: DataType
    nullable: bool


@dataclass(frozen=True, slots=True)
class GetField(Expression):
    """Field `ordinal` of a struct."""

    child: Expression
    ordinal: int
    name: str
    dtype: DataType
    nullable: bool


@dataclass(frozen=True, slots=True)
class AggregateCall(Expression):
    """A built-in aggregate function over the rows of a group."""

    name: str
    args: tuple[Expression, ...]
    dtype: DataType
    nullable: bool
    distinct: bool = False
    filter: Expression | None = None


def is_aggregate(expression: Expression) -> bool:
    """Whether an expression is an aggregate function's call, built in or the user's."""
    return isinstance(expression, AggregateCall) or (isinstance(expression, PythonUDF) and expression.is_aggregate)


@dataclass(frozen=True, slots=True)
class GeneratorColumn:
    name: str
    dtype: DataType
    nullable: bool


@dataclass(frozen=True, slots=True)
class GeneratorCall(Expression):
    """explode, posexplode, inline, stack, json_tuple …; the relation `Generate` evaluates it."""

    name: str
    args: tuple[Expression, ...]
    columns: tuple[GeneratorColumn, ...]


@dataclass(frozen=True, slots=True)
class LambdaVariable(Expression):
    name: str = field(compare=False)
    dtype: DataType = field(compare=False)
    nullable: bool = field(compare=False)
    expr_id: int


@dataclass(frozen=True, slots=True)
class LambdaFunction(Expression):
    body: Expression
    params: tuple[LambdaVariable, ...]

    @property
    def dtype(self) -> DataType:
        return dtype_of(self.body)

    @property
    def nullable(self) -> bool:
        return nullable_of(self.body)


@dataclass(frozen=True, slots=True)
class SubqueryExpression(Expression):
    """A resolved, uncorrelated or correlated subquery. `plan` refers to outer columns by their attributes."""

    kind: str
    plan: Relation
    args: tuple[Expression, ...]
    dtype: DataType
    nullable: bool


@dataclass(frozen=True, slots=True)
class BatchParameter(Expression):
    """A value that changes with the batch and is bound at execution, such as the batch's timestamp.

    `name` is one of `batch_timestamp_us` (bigint, microseconds since the epoch), `batch_id`.
    """

    name: str
    dtype: DataType

    @property
    def nullable(self) -> bool:
        return False


def dtype_of(expression: Expression) -> DataType:
    """The type of a resolved expression; TypeError for one that has none (a programming error)."""
    match expression:
        case Alias(child=child) | SortOrder(child=child):
            return dtype_of(child)
        case _:
            dtype = getattr(expression, "dtype", None)
            if not isinstance(dtype, DataType):
                raise TypeError(f"not resolved: {expression!r}")
            return dtype


def nullable_of(expression: Expression) -> bool:
    """Whether a resolved expression can be null."""
    match expression:
        case Alias(child=child) | SortOrder(child=child):
            return nullable_of(child)
        case _:
            nullable: bool = getattr(expression, "nullable", True)
            return nullable


def metadata_of(expression: Expression) -> Mapping[str, Any]:
    """Column metadata that an expression carries on: an attribute's own, an alias' own or its child's, else none."""
    match expression:
        case Attribute(metadata=metadata):
            return metadata
        case Alias(metadata=metadata) if metadata is not None:
            return metadata
        case Alias(child=child):
            return metadata_of(child)
        case GetField(child=Attribute(dtype=dtype), ordinal=ordinal):
            metadata = dtype.fields[ordinal].metadata  # type: ignore[attr-defined]
            return metadata or {}
        case _:
            return {}


def to_attribute(expression: Expression) -> Attribute:
    """The attribute under which a named, resolved expression is known above."""
    match expression:
        case Attribute():
            return expression
        case Alias(name=name, expr_id=expr_id):
            return Attribute(name, dtype_of(expression), nullable_of(expression), expr_id, metadata_of(expression))
        case _:
            raise TypeError(f"has no name: {expression!r}")
