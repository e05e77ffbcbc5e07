"""Resolved expressions to DuckDB SQL text.

An expression's text refers to columns by their SQL names (`"name#id"`), so it is valid in any SELECT over a relation that
yields those attributes; subqueries refer to outer columns in the same way.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pyspark.sql.types import (
    DataType,
    DateType,
    DayTimeIntervalType,
    StructField,
    StructType,
    TimestampNTZType,
    TimestampType,
    YearMonthIntervalType,
)

from runnel.errors import internal_error, unsupported
from runnel.functions import casts, catalogue
from runnel.functions.registry import AggregateFunction, ScalarFunction, WindowOnlyFunction
from runnel.lowering.datatypes import (
    duckdb_type,
    field_names,
    literal,
    quote,
    string_literal,
)
from runnel.lowering.fragment import FunctionBinding
from runnel.plan.expressions import (
    AggregateCall,
    Alias,
    Attribute,
    BatchParameter,
    Cast,
    CastMode,
    Expression,
    FunctionCall,
    GetField,
    LambdaFunction,
    LambdaVariable,
    Literal,
    PythonUDF,
    SortOrder,
    SubqueryExpression,
    WindowExpression,
    WindowFrame,
    dtype_of,
    nullable_of,
)
from runnel.plan.relations import Relation

_MARK = '"#over"'
_function_ids = itertools.count(1)


@dataclass(frozen=True, slots=True)
class LoweringOptions:
    """What the session's settings say about the meaning of expressions.

    native_json: JSON scans may use DuckDB's own reader, which fails on files that are not plain JSON lines; who sets it
    runs the statement again without it then (`execution.run.with_native_scans`).
    """

    session_time_zone: str = "UTC"
    ansi: bool = True
    native_json: bool = False


def column(attribute: Attribute | LambdaVariable) -> str:
    """The SQL identifier of an attribute, quoted."""
    return quote(column_name(attribute))


def column_name(attribute: Attribute | LambdaVariable) -> str:
    """The SQL column name of an attribute: `name#expr_id`."""
    return f"{attribute.name}#{attribute.expr_id}"


@dataclass(slots=True)
class ExpressionLowering:
    """Lowers expressions and gathers what their text needs: batch parameters and Python functions.

    Implements `functions.registry.LoweringContext`. `lower_relation` gives the SELECT of a subquery's plan. `results`
    holds SQL for aggregate calls that are computed already.
    """

    options: LoweringOptions
    lower_relation: Callable[[Relation], str] | None = None
    parameters: set[str] = field(default_factory=set)
    functions: list[FunctionBinding] = field(default_factory=list)
    results: tuple[tuple[AggregateCall, str], ...] = ()
    streams: dict[str, Any] = field(default_factory=dict)

    def stream(self, source: Any) -> str:
        """The relation name under which the statement reads an object with `__arrow_c_stream__`."""
        name = f"stream_{len(self.streams)}"
        self.streams[name] = source
        return name

    # ------------------------------------------------------------------------------------- the lowering context

    @property
    def ansi(self) -> bool:
        return self.options.ansi

    @property
    def session_time_zone(self) -> str:
        return self.options.session_time_zone

    def local(self, timestamp_sql: str) -> str:
        """Wall clock in the session time zone of a timestamp."""
        if _is_utc(self.session_time_zone):
            return timestamp_sql
        return f"timezone({string_literal(self.session_time_zone)}, timezone('UTC', {timestamp_sql}))"

    def instant(self, local_sql: str) -> str:
        """The instant of a wall clock in the session time zone.

        Of the two instants of a wall clock that a zone goes through twice, Spark takes the earlier one (java.time's
        rule) and DuckDB the later: the offset of three hours before is tried first.
        """
        if _is_utc(self.session_time_zone):
            return local_sql
        zone = string_literal(self.session_time_zone)

        def later(wall: str) -> str:
            return f"timezone('UTC', timezone({zone}, {wall}))"

        if _FIXED_OFFSET.search(self.session_time_zone):
            return later(local_sql)
        before = f"({later('_w')} - INTERVAL 3 HOUR)"
        earlier = f"(_w - (timezone({zone}, timezone('UTC', {before})) - {before}))"
        chosen = f"CASE WHEN timezone({zone}, timezone('UTC', {earlier})) = _w THEN {earlier} ELSE {later('_w')} END"
        return f"list_transform([{local_sql}], lambda _w: {chosen})[1]"

    def type_sql(self, dtype: DataType) -> str:
        """DuckDB's type text of a Spark type."""
        return duckdb_type(dtype)

    def cast(self, sql: str, source: DataType, target: DataType, *, try_: bool = False) -> str:
        mode = CastMode.TRY if try_ else CastMode.ANSI if self.ansi else CastMode.LEGACY
        return casts.cast_sql(self, sql, source, target, mode)

    def error(self, condition: str, target: DataType, **parameters: str) -> str:
        """SQL of `target`'s type that raises; the message is the JSON form that `execution.errors` reads back."""
        pieces = [string_literal("RUNNEL:" + json.dumps({"condition": condition})[:-1] + ', "parameters": {')]
        for position, (name, sql) in enumerate(parameters.items()):
            pieces.append(string_literal(("" if position == 0 else ", ") + json.dumps(name) + ": "))
            pieces.append(f"coalesce(CAST(to_json(CAST({sql} AS VARCHAR)) AS VARCHAR), 'null')")
        pieces.append(string_literal("}}"))
        return f"CAST(error({' || '.join(pieces)}) AS {duckdb_type(target)})"

    # --------------------------------------------------------------------------------------------- expressions

    def lower(self, expression: Expression) -> str:
        """SQL text of a resolved expression, safe as an operand (atomic or in parentheses)."""
        match expression:
            case Attribute() | LambdaVariable():
                return column(expression)
            case Literal(value=value, dtype=dtype):
                return literal(value, dtype)
            case Alias(child=child):
                return self.lower(child)
            case Cast(child=child, dtype=dtype, mode=mode) if dtype is not None:
                mode = mode or (CastMode.ANSI if self.ansi else CastMode.LEGACY)
                return casts.cast_sql(self, self.lower(child), dtype_of(child), dtype, mode)
            case FunctionCall():
                return self._call(expression)
            case AggregateCall():
                return self._aggregate(expression)
            case GetField(child=child, ordinal=ordinal):
                struct = dtype_of(child)
                assert isinstance(struct, StructType)
                return f"struct_extract({self.lower(child)}, {string_literal(field_names(struct)[ordinal])})"
            case WindowExpression():
                return self._window(expression)
            case LambdaFunction(body=body, params=params):
                return f"lambda {', '.join(column(p) for p in params)}: {self.lower(body)}"
            case SubqueryExpression():
                return self._subquery(expression)
            case PythonUDF():
                return self._python_function(expression)
            case BatchParameter(name=name, dtype=dtype):
                self.parameters.add(name)
                value = f"CAST(${name} AS BIGINT)"
                if isinstance(dtype, TimestampType | TimestampNTZType):
                    return f"make_timestamp({value})"
                return f"CAST({value} AS {duckdb_type(dtype)})"
            case _:
                raise internal_error(f"Not a resolved expression: {expression!r}.")

    def order(self, order: SortOrder) -> str:
        """One item of ORDER BY. Spark and DuckDB agree that NaN is the greatest number and equal to itself."""
        direction = "ASC" if order.ascending else "DESC"
        nulls = "FIRST" if order.nulls_first else "LAST"
        return f"{self.lower(order.child)} {direction} NULLS {nulls}"

    def _call(self, call: FunctionCall) -> str:
        entry = catalogue.lookup(call.name)
        if not isinstance(entry, ScalarFunction) or entry.lower is None:
            raise internal_error(f"The function {call.name} has no scalar form.")
        return entry.lower(self, call, tuple(self.lower(a) for a in call.args))

    def _aggregate(self, call: AggregateCall, over: str = "") -> str:
        for known, sql in self.results:
            if known == call:
                return sql
        entry = catalogue.lookup(call.name)
        if not isinstance(entry, AggregateFunction):
            raise internal_error(f"{call.name} is not an aggregate function.")
        condition = self.lower(call.filter) if call.filter is not None else ""
        arguments = tuple(self.lower(a) for a in call.args)
        distinct = "DISTINCT " if call.distinct else ""
        if not over:
            suffix = f" FILTER (WHERE {condition})" if condition else ""
            return entry.direct(self, call, arguments, distinct, suffix)
        marked = entry.direct(self, call, arguments, distinct, f" FILTER (WHERE {_MARK})")
        return _with_over(marked, condition, over, call.name)

    def _window(self, window: WindowExpression) -> str:
        parts = []
        if window.partition_by:
            parts.append("PARTITION BY " + ", ".join(self.lower(e) for e in window.partition_by))
        orders = [o if isinstance(o, SortOrder) else SortOrder(o) for o in window.order_by]
        if orders:
            parts.append("ORDER BY " + ", ".join(self.order(o) for o in orders))
        function = window.function
        entry = catalogue.lookup(function.name) if isinstance(function, FunctionCall | AggregateCall) else None
        if window.frame is not None and not (isinstance(entry, WindowOnlyFunction) and _frameless(entry.name)):
            key = dtype_of(orders[0].child) if orders else None
            parts.append(self._frame(window.frame, key))
        over = f" OVER ({' '.join(parts)})"
        if isinstance(function, AggregateCall):
            return self._aggregate(function, over)
        if isinstance(function, FunctionCall) and isinstance(entry, WindowOnlyFunction):
            call = entry.lower(self, function, tuple(self.lower(a) for a in function.args))
            return f"CAST({call}{over} AS {duckdb_type(function.dtype)})"
        if isinstance(function, PythonUDF):
            raise unsupported(f"The pandas function {function.function.name} over a window")
        raise internal_error(f"Not a window function: {function!r}.")

    def _frame(self, frame: WindowFrame, key: DataType | None) -> str:
        lower = self._bound(frame, frame.lower, key, "UNBOUNDED PRECEDING")
        upper = self._bound(frame, frame.upper, key, "UNBOUNDED FOLLOWING")
        return f"{frame.kind.upper()} BETWEEN {lower} AND {upper}"

    def _bound(self, frame: WindowFrame, bound: Expression | int | None, key: DataType | None, unbounded: str) -> str:
        if bound is None:
            return unbounded
        if bound == 0:
            return "CURRENT ROW"
        while isinstance(bound, Cast):
            bound = bound.child
        if not isinstance(bound, Literal) or (not isinstance(bound.value, int | float) and bound.value is None):
            raise unsupported("A window frame whose offset is not a constant")
        value = bound.value
        if not value:
            return "CURRENT ROW"
        side = "PRECEDING" if value < 0 else "FOLLOWING"
        size = abs(value)
        if frame.kind == "rows":
            return f"{size} {side}"
        if isinstance(bound.dtype, DayTimeIntervalType):
            return f"to_microseconds({size}) {side}"
        if isinstance(bound.dtype, YearMonthIntervalType):
            return f"to_months({size}) {side}"
        if isinstance(key, DateType):
            return f"to_days({size}) {side}"
        return f"{literal(size, bound.dtype)} {side}"

    def _subquery(self, subquery: SubqueryExpression) -> str:
        if self.lower_relation is None:
            raise internal_error("A subquery where no relation can be lowered.")
        query = self.lower_relation(subquery.plan)
        match subquery.kind:
            case "scalar":
                return f"({query})"
            case "exists":
                return f"EXISTS ({query})"
            case "in":
                values = [self.lower(a) for a in subquery.args]
                left = values[0] if len(values) == 1 else f"({', '.join(values)})"
                return f"({left} IN ({query}))"
            case kind:
                raise internal_error(f"Subquery kind {kind}.")

    def _python_function(self, call: PythonUDF) -> str:
        """A call without arguments is given one that depends on no column, for the number of rows."""
        name = f"python_function_{next(_function_ids)}"
        arguments = StructType(
            [StructField(f"_{i}", dtype_of(a), nullable_of(a)) for i, a in enumerate(call.args)],
        )
        result = StructType([StructField(call.function.name, call.dtype, True)])
        self.functions.append(
            FunctionBinding(name, call.function, arguments, result, call.argument_names, self.session_time_zone)
        )
        return f"{name}({', '.join(self.lower(a) for a in call.args) or 'TRUE'})"


def _with_over(sql: str, condition: str, over: str, name: str) -> str:
    """Text of an aggregate, lowered with the filter `_MARK`, with OVER behind every FILTER that holds the mark.

    What an aggregate function lowers to is an expression around one or more aggregates of DuckDB's, each of which
    needs the OVER; each carries the call's filter, which shows where it ends.
    """
    pieces, rest = [], sql
    while _MARK in rest:
        begin = rest.rindex("FILTER (", 0, rest.index(_MARK))
        end = _closing(rest, begin + len("FILTER "))
        clause = rest[begin:end].replace(_MARK, condition or "TRUE")
        plain = not condition and re.fullmatch(r"FILTER \(WHERE \(*TRUE\)*", clause)
        pieces += [rest[:begin], "" if plain else clause, over]
        rest = rest[end:]
    if not pieces:
        raise unsupported(f"{name} over a window")
    return "".join(pieces) + rest


def _closing(sql: str, opening: int) -> int:
    """The position behind the parenthesis that closes the one at `opening`; quoted text is skipped."""
    depth, quoted = 0, ""
    for position in range(opening, len(sql)):
        character = sql[position]
        if quoted:
            quoted = "" if character == quoted else quoted
        elif character in "'\"":
            quoted = character
        elif character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
            if depth == 0:
                return position + 1
    raise internal_error(f"Unbalanced SQL: {sql}")


def _frameless(name: str) -> bool:
    """Functions whose result does not depend on a frame; DuckDB refuses EXCLUDE-like frames on some of them."""
    return name not in ("nth_value", "first_value", "last_value", "first", "last")


_FIXED_OFFSET = re.compile(r"[+-]\d")


def _is_utc(zone: str) -> bool:
    return zone in ("UTC", "Etc/UTC", "GMT", "Z", "+00:00", "Etc/GMT", "UCT", "Zulu")
