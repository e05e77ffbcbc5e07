"""Resolution of expressions against a frame: names, functions, casts, lambdas, subqueries."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from pyspark.sql.types import BooleanType, ByteType, DataType, IntegerType, LongType, StringType, StructType

from runnel.analysis import names
from runnel.analysis.coercion import boolean_condition, cast
from runnel.analysis.context import SEARCH_PATH, AnalysisContext
from runnel.analysis.frames import METADATA_COLUMN, Frame, can_expose, frames_with_plan_id, hidden_of
from runnel.analysis.naming import CAST_FUNCTIONS, Describe, column_name
from runnel.errors import AnalysisError, unsupported
from runnel.functions.catalogue import lookup
from runnel.functions.maps_structs import with_field
from runnel.functions.registry import (
    AggregateFunction,
    GeneratorFunction,
    Refused,
    ScalarFunction,
    WindowOnlyFunction,
)
from runnel.functions.time_windows import window_time_metadata
from runnel.functions.typing import check_arity, coerce, common_type
from runnel.plan.expressions import (
    AggregateCall,
    Alias,
    Attribute,
    Cast,
    CastMode,
    Expression,
    FunctionCall,
    GeneratorCall,
    GetField,
    LambdaFunction,
    LambdaVariable,
    Literal,
    MultiAlias,
    PythonUDF,
    SortOrder,
    SubqueryExpression,
    UnresolvedAttribute,
    UnresolvedExtract,
    UnresolvedFunction,
    UnresolvedLambda,
    UnresolvedLambdaVariable,
    UnresolvedNamedArgument,
    UnresolvedRegex,
    UnresolvedStar,
    UnresolvedSubquery,
    UpdateFields,
    WindowExpression,
    WindowFrame,
    dtype_of,
    is_aggregate,
    new_expr_id,
    nullable_of,
)
from runnel.plan.relations import Project, Relation
from runnel.plan.traverse import expression_children, map_children, transform_up, walk

AnalyzeSubquery = Callable[[Relation, "Resolver"], Frame]

_NAME_ONLY_FUNCTIONS = frozenset(
    {"current_date", "current_timestamp", "current_user", "localtimestamp", "user", "session_user", "current_catalog",
     "current_database", "current_time"}
)  # fmt: skip
_SEEDED = frozenset({"rand", "randn", "random", "shuffle", "uuid"})
_IGNORE_NULLS_ARGUMENT = frozenset({"first", "last", "any_value", "first_value", "last_value"})


def contains(expression: Expression, kind: type[Expression] | tuple[type[Expression], ...]) -> bool:
    return any(isinstance(e, kind) for e in walk(expression))


def contains_aggregate(expression: Expression) -> bool:
    """Whether there is an aggregate function that is not a window's."""
    if isinstance(expression, WindowExpression):
        inner = (*getattr(expression.function, "args", ()), *expression.partition_by, *expression.order_by)
        return any(contains_aggregate(e) for e in inner)
    return is_aggregate(expression) or any(contains_aggregate(e) for e in expression_children(expression))


class Resolver:
    """Resolves expressions whose names mean columns of `frame`.

    below: where Spark also looks for columns that the frame has not (ORDER BY and HAVING look beneath a projection).
    aggregate_input: the frame that arguments of aggregate functions are resolved against, when it is another one.
    outer: the resolver of the query around a subquery.
    exposed: filled in: the columns used that are not in the frame's own output.
    lateral: aliases of the same select list, as far as they are known.
    """

    def __init__(
        self,
        context: AnalysisContext,
        frame: Frame,
        subqueries: AnalyzeSubquery,
        *,
        outer: Resolver | None = None,
        below: bool = False,
        aggregate_input: Frame | None = None,
    ) -> None:
        self.context = context
        self.frame = frame
        self.outer = outer
        self.below = below
        self.aggregate_input = aggregate_input
        self.exposed: dict[int, Attribute] = {}
        self.lateral: dict[str, list[Attribute]] = {}
        self.lateral_used: set[int] = set()
        self._subqueries = subqueries
        self._in_window = False
        self._lambdas: list[dict[str, LambdaVariable]] = []
        self._case_sensitive = context.bind.case_sensitive

    # ------------------------------------------------------------------------------------------------- entry points

    def resolve(self, expression: Expression) -> Expression:
        """The expression with types; AnalysisError with Spark's condition where it has no meaning."""
        match expression:
            case UnresolvedAttribute():
                return self._attribute(expression)
            case UnresolvedFunction():
                return self._function(expression)
            case UnresolvedExtract(child=child, key=key):
                return names.extract(
                    self.resolve(child), self.resolve(key), self._case_sensitive, self.context.bind.ansi
                )
            case Cast():
                return self._cast(expression)
            case Alias(child=child):
                return replace(expression, child=self.resolve(child), expr_id=expression.expr_id or new_expr_id())
            case UnresolvedLambdaVariable(name=name):
                return self._lambda_variable(name)
            case UnresolvedSubquery():
                return self._subquery(expression)
            case WindowExpression():
                return self._window(expression)
            case UpdateFields():
                return self._update_fields(expression)
            case UnresolvedStar() | UnresolvedRegex():
                raise AnalysisError("INVALID_USAGE_OF_STAR_OR_REGEX", elem="'*'", prettyName="expression")
            case MultiAlias(child=child, names=given):
                resolved = self.resolve(child)
                if not isinstance(resolved, GeneratorCall):
                    raise AnalysisError(
                        "MULTI_ALIAS_WITHOUT_GENERATOR", expr=f'"{self.text(child)}"', names=", ".join(given)
                    )
                return replace(expression, child=resolved)
            case UnresolvedNamedArgument(value=value):
                return self.resolve(value)
            case PythonUDF(args=args):
                return replace(expression, args=tuple(self.resolve(a) for a in self.expand_arguments(args)))
            case _:
                return map_children(expression, self.resolve)

    def text(self, expression: Expression) -> str:
        """The column name that Spark gives the expression."""
        return column_name(self._without_stars(expression), self.describe)

    def _without_stars(self, expression: Expression) -> Expression:
        def expand(e: Expression) -> Expression:
            if not isinstance(e, UnresolvedFunction) or e.name == "count":
                return e
            return replace(e, args=self.expand_arguments(e.args))

        return transform_up(expression, expand) if contains(expression, UnresolvedStar) else expression

    @property
    def describe(self) -> Describe:
        zone = self.context.bind.session_time_zone
        return Describe(self._column_text, lambda e: dtype_of(self.resolve(e)), zone, self._function_name)

    def _function_name(self, name: str) -> str:
        """The name of a function as it was registered, where it is the user's."""
        user = self.context.resolve_function(name) if lookup(name) is None else None
        return name if user is None else user[0].name

    def named(self, expression: Expression) -> tuple[Expression, ...]:
        """What one item of a select list gives: Attributes, Aliases, or a MultiAlias or Alias over a generator."""
        match expression:
            case UnresolvedStar() | UnresolvedRegex():
                return self.expand(expression)
            case Alias(child=child, name=name, metadata=metadata):
                resolved = self.resolve(child)
                if isinstance(resolved, Alias):
                    metadata = resolved.metadata if metadata is None else metadata
                    resolved = resolved.child
                if metadata is None and isinstance(resolved, FunctionCall) and resolved.name == "window_time":
                    metadata = window_time_metadata(resolved.args[0])
                return (Alias(resolved, name, expression.expr_id or new_expr_id(), metadata),)
            case MultiAlias() | Attribute():
                return (self.resolve(expression),)
            case UnresolvedAttribute():
                resolved = self.resolve(expression)
                name = self._column_text(expression).rpartition(".")[2] if len(expression.parts) > 1 else ""
                name = expression.parts[-1] if name != expression.parts[-1] else name
                if isinstance(resolved, Attribute) and resolved.name == name:
                    return (resolved,)
                return (Alias(resolved, name, new_expr_id()),)
            case Cast(child=UnresolvedAttribute() | Alias() as child):
                name = child.name if isinstance(child, Alias) else child.parts[-1]
                return (Alias(self.resolve(expression), name, new_expr_id()),)
            case SortOrder(child=child):
                return self.named(child)
            case _:
                resolved = self.resolve(expression)
                if isinstance(resolved, GeneratorCall):
                    return (MultiAlias(resolved, ()),)
                metadata = None
                if isinstance(resolved, FunctionCall) and resolved.name == "window_time":
                    metadata = window_time_metadata(resolved.args[0])
                return (Alias(resolved, self._name(expression, resolved), new_expr_id(), metadata),)

    def _name(self, expression: Expression, resolved: Expression) -> str:
        if (
            isinstance(expression, UnresolvedFunction)
            and expression.name in _SEEDED
            and isinstance(resolved, FunctionCall)
            and len(expression.args) < len(resolved.args)
        ):
            return self.text(resolved)
        return self.text(expression)

    def above(self, frame: Frame) -> Resolver:
        """A resolver for what stands above a frame that was made from this one's; it sees an aggregate's input too."""
        inner = frame.inputs[0] if frame.groupings is not None else None
        return Resolver(self.context, frame, self._subqueries, outer=self.outer, below=True, aggregate_input=inner)

    def condition(self, expression: Expression) -> Expression:
        """A resolved boolean condition."""
        return boolean_condition(self.resolve(expression), self.text(expression))

    def call(self, name: str, *args: Expression) -> Expression:
        """A built-in scalar function over resolved arguments."""
        entry = lookup(name)
        if not isinstance(entry, ScalarFunction):
            raise unsupported(f"the function {name}")
        return entry.bind(self.context.bind, args)

    # -------------------------------------------------------------------------------------------------------- stars

    def expand(self, star: UnresolvedStar | UnresolvedRegex) -> tuple[Expression, ...]:
        """The columns that a star or a regular expression stands for."""
        if isinstance(star, UnresolvedStar) and star.excepted:
            return self._but(self.expand(replace(star, excepted=())), star.excepted)
        columns = self._columns_of(star.plan_id)
        if isinstance(star, UnresolvedRegex):
            flags = re.NOFLAG if self._case_sensitive else re.IGNORECASE
            pattern = re.compile(star.pattern.strip("`"), flags)
            return tuple(a for a in columns if pattern.fullmatch(a.name))
        if not star.target:
            return columns
        target = star.target
        qualified = tuple(
            a
            for a in columns
            if len(a.qualifier) >= len(target)
            and all(
                names.same_name(p, q, self._case_sensitive)
                for p, q in zip(target, a.qualifier[len(a.qualifier) - len(target) :], strict=True)
            )
        )
        if qualified:
            return qualified
        try:
            struct = self.resolve(UnresolvedAttribute(target, star.plan_id))
        except AnalysisError as error:
            raise AnalysisError(
                "CANNOT_RESOLVE_STAR_EXPAND",
                targetString=names.quoted(target),
                columns=", ".join(names.quoted([a.name]) for a in columns),
            ) from error
        dtype = dtype_of(struct)
        if not isinstance(dtype, StructType):
            raise AnalysisError("_LEGACY_ERROR_TEMP_1050", attributes=f"ArrayBuffer({', '.join(target)})")
        return tuple(Alias(_field_at(struct, dtype, i), f.name, new_expr_id()) for i, f in enumerate(dtype.fields))

    def _columns_of(self, plan_id: int | None) -> tuple[Attribute, ...]:
        if plan_id is None:
            return self.frame.columns
        here = {a.expr_id: a for a in self.frame.columns}
        for frame in frames_with_plan_id(self.frame, plan_id):
            found = tuple(here[a.expr_id] for a in frame.columns if a.expr_id in here)
            if found:
                return found
            visible = tuple(a for a in frame.columns if self._reachable(a))
            if visible:
                return visible
        raise AnalysisError("CANNOT_RESOLVE_DATAFRAME_COLUMN", name="`*`")

    def _but(self, columns: tuple[Expression, ...], excepted: Sequence[str]) -> tuple[Expression, ...]:
        named = [c for c in columns if isinstance(c, Attribute | Alias)]
        for name in excepted:
            kept = [c for c in named if not names.same_name(c.name, name, self._case_sensitive)]
            if len(kept) == len(named):
                raise names.unresolved((name,), self.frame.columns)
            named = kept
        return tuple(named)

    def expand_arguments(self, args: Sequence[Expression]) -> tuple[Expression, ...]:
        """Arguments of a call with stars replaced by columns."""
        result: list[Expression] = []
        for argument in args:
            if isinstance(argument, UnresolvedStar | UnresolvedRegex):
                result.extend(self.expand(argument))
            else:
                result.append(argument)
        return tuple(result)

    # -------------------------------------------------------------------------------------------------------- names

    def _attribute(self, column: UnresolvedAttribute) -> Expression:
        match = self._match(column)
        if match is not None:
            return names.nested(match, self._case_sensitive)
        if len(column.parts) == 1 and column.plan_id is None and column.parts[0].lower() in _NAME_ONLY_FUNCTIONS:
            return self._function(UnresolvedFunction(column.parts[0].lower(), ()))
        if column.plan_id is not None:
            raise AnalysisError("CANNOT_RESOLVE_DATAFRAME_COLUMN", name=names.quoted(column.parts))
        raise names.unresolved(column.parts, self.frame.columns)

    def _column_text(self, column: UnresolvedAttribute) -> str:
        match = self._match(column)
        return ".".join(column.parts) if match is None else ".".join((match.name, *match.nested))

    def _match(self, column: UnresolvedAttribute) -> names.Match | None:
        if column.plan_id is not None:
            found = self._match_in_frame(column, column.plan_id)
        elif len(column.parts) == 1 and (variable := self._find_variable(column.parts[0])) is not None:
            return names.Match(variable, column.parts[0], ())  # type: ignore[arg-type]
        else:
            found = self._match_by_name(column.parts)
        if found is None and self.outer is not None:
            return self.outer._match(column)
        return found

    def _match_by_name(self, parts: tuple[str, ...]) -> names.Match | None:
        for columns in (self.frame.columns, self.frame.hidden):
            match = self._only(parts, columns)
            if match is not None:
                return self._use(match)
        lateral = self.lateral.get(parts[0].lower(), [])
        if len(lateral) > 1:
            raise AnalysisError("AMBIGUOUS_LATERAL_COLUMN_ALIAS", name=names.quoted(parts[:1]), n=len(lateral))
        if lateral:
            self.lateral_used.add(lateral[0].expr_id)
            return names.Match(lateral[0], parts[0], tuple(parts[1:]))
        if self.aggregate_input is not None:
            match = self._only(parts, self.aggregate_input.columns)
            if match is not None:
                return match
        frame = self.frame
        while self.below and len(frame.inputs) == 1:
            frame = frame.inputs[0]
            reachable = [a for a in (*frame.columns, *frame.hidden) if self._reachable(a)]
            match = self._only(parts, reachable)
            if match is not None:
                return self._use(match)
        return None

    def _only(self, parts: tuple[str, ...], columns: Sequence[Attribute]) -> names.Match | None:
        found = names.matches(parts, columns, self._case_sensitive)
        if len(found) > 1:
            raise names.ambiguous(parts, found)
        return found[0] if found else None

    def _match_in_frame(self, column: UnresolvedAttribute, plan_id: int) -> names.Match | None:
        candidates: dict[int, names.Match] = {}
        here = {a.expr_id: a for a in self.frame.columns}
        hidden = {a.expr_id: a for a in self.frame.hidden}
        beneath = {a.expr_id for a in self.aggregate_input.columns} if self.aggregate_input is not None else set()
        seen = False
        for frame in frames_with_plan_id(self.frame, plan_id):
            seen = True
            match = self._only(column.parts, frame.columns) or self._only(
                column.parts, (*frame.hidden, *hidden_of(frame.plan))
            )
            if match is None:
                raise names.unresolved(column.parts, frame.columns)
            known = here.get(match.attribute.expr_id) or hidden.get(match.attribute.expr_id)
            if known is None and match.attribute.expr_id in beneath:
                return match
            if known is not None:
                candidates[known.expr_id] = replace(match, attribute=known)
            elif self.below and self._reachable(match.attribute):
                candidates[match.attribute.expr_id] = match
        if len(candidates) > 1:
            raise AnalysisError("AMBIGUOUS_COLUMN_REFERENCE", name=f'"{".".join(column.parts)}"')
        if not candidates:
            if seen and self.outer is None:
                raise AnalysisError("CANNOT_RESOLVE_DATAFRAME_COLUMN", name=names.quoted(column.parts))
            return None
        return self._use(next(iter(candidates.values())))

    def _reachable(self, attribute: Attribute) -> bool:
        return can_expose(self.frame.plan, attribute.expr_id)

    def _use(self, match: names.Match) -> names.Match:
        attribute = match.attribute
        if all(a.expr_id != attribute.expr_id for a in self.frame.plan.output):
            self.exposed[attribute.expr_id] = attribute
        return match

    # ---------------------------------------------------------------------------------------------------- functions

    def _function(self, call: UnresolvedFunction) -> Expression:
        if call.name == "count" and any(isinstance(a, UnresolvedStar) and not a.target for a in call.args):
            call = call if call.distinct else replace(call, args=(Literal(1, IntegerType()),))
        entry = lookup(call.name)
        args = self.expand_arguments(call.args)
        if entry is None or isinstance(entry, Refused):
            user = self.context.resolve_function(call.name)
            if user is not None:
                argument_names = tuple(a.name if isinstance(a, UnresolvedNamedArgument) else None for a in args)
                resolved = tuple(self.resolve(a) for a in args)
                return PythonUDF(user[0], resolved, user[1], True, argument_names)
        if call.name == "input_file_name" and not args:
            return self._input_file_name()
        if call.name in ("grouping", "grouping_id") and entry is None:
            dtype: DataType = ByteType() if call.name == "grouping" else LongType()
            return FunctionCall(call.name, tuple(self.resolve(a) for a in args), dtype, False)
        if entry is None and call.name in CAST_FUNCTIONS:
            check_arity(call.name, args, 1)
            return self._cast(Cast(args[0], CAST_FUNCTIONS[call.name]))
        if entry is None:
            raise AnalysisError(
                "UNRESOLVED_ROUTINE",
                routineName=names.quoted(call.name.split(".")),
                searchPath=SEARCH_PATH,
            )
        if isinstance(entry, Refused):
            raise unsupported(f"the function {call.name}", entry.why)
        for argument in args:
            if isinstance(argument, UnresolvedNamedArgument):
                raise AnalysisError("NAMED_PARAMETERS_NOT_SUPPORTED", functionName=names.quoted([call.name]))
        if isinstance(entry, AggregateFunction):
            return self._aggregate(call, entry, args)
        if call.distinct or call.filter is not None:
            raise AnalysisError(
                "INVALID_SQL_SYNTAX.FUNCTION_WITH_UNSUPPORTED_SYNTAX"
                if call.ignore_nulls is None
                else "FUNCTION_WITH_UNSUPPORTED_SYNTAX",
                prettyName=names.quoted([call.name]),
                syntax="DISTINCT" if call.distinct else "FILTER clause",
            )
        bound = tuple(a if isinstance(a, UnresolvedLambda) else self.resolve(a) for a in args)
        if any(isinstance(a, GeneratorCall) for a in bound):
            raise AnalysisError("UNSUPPORTED_GENERATOR.NESTED_IN_EXPRESSIONS", expression=f'"{self.text(call)}"')
        if isinstance(entry, WindowOnlyFunction) and not self._in_window:
            raise AnalysisError("WINDOW_FUNCTION_WITHOUT_OVER_CLAUSE", funcName=f'"{self.text(call)}"')
        if call.ignore_nulls and isinstance(entry, WindowOnlyFunction):
            raise unsupported(f"IGNORE NULLS on {call.name}")
        if isinstance(entry, ScalarFunction):
            if call.name in _SEEDED and not bound and call.name != "uuid":
                bound = (Literal(random.Random().randrange(-(2**63), 2**63), LongType()),)
            return entry.bind(replace(self.context.bind, resolve_lambda=self.resolve_lambda), bound)
        if isinstance(entry, GeneratorFunction):
            return replace(entry.bind(self.context.bind, bound), name=entry.name)
        return entry.bind(self.context.bind, bound)

    def _input_file_name(self) -> Expression:
        """The URI of the row's file, with three slashes where `_metadata.file_path` has one; empty for other rows."""
        try:
            path = self.resolve(UnresolvedAttribute((METADATA_COLUMN, "file_path")))
        except AnalysisError as error:
            if not error.condition.startswith("UNRESOLVED_COLUMN"):
                raise
            return Literal("", StringType())
        start = Literal(len("file:") + 1, IntegerType())
        return self.call("concat", Literal("file://", StringType()), self.call("substring", path, start))

    def _aggregate(
        self, call: UnresolvedFunction, entry: AggregateFunction, args: tuple[Expression, ...]
    ) -> Expression:
        saved = self.frame, self.below
        if self.aggregate_input is not None:
            self.frame = self.aggregate_input
        try:
            resolved = tuple(self.resolve(a) for a in args)
            condition = None if call.filter is None else self.condition(call.filter)
        finally:
            self.frame, self.below = saved
        if call.ignore_nulls and call.name in _IGNORE_NULLS_ARGUMENT and len(resolved) == 1:
            resolved = (*resolved, Literal(True, BooleanType()))
        if any(contains_aggregate(a) for a in resolved):
            raise AnalysisError("NESTED_AGGREGATE_FUNCTION")
        if condition is not None and contains_aggregate(condition):
            raise AnalysisError(
                "INVALID_AGGREGATE_FILTER.CONTAINS_AGGREGATE",
                filterExpr=f'"{self.text(call.filter)}"' if call.filter else "",
                aggExpr=f'"{self.text(call)}"',
            )
        bound = entry.bind(self.context.bind, resolved)
        if call.distinct or condition is not None:
            bound = replace(bound, distinct=call.distinct or bound.distinct, filter=condition)
        return bound

    # ------------------------------------------------------------------------------------------------------ lambdas

    def resolve_lambda(self, function: UnresolvedLambda, parameters: Sequence[tuple[DataType, bool]]) -> LambdaFunction:
        """The lambda with its parameters typed, and its body resolved with them in scope."""
        variables = tuple(
            LambdaVariable(name, t, n, new_expr_id()) for name, (t, n) in zip(function.params, parameters, strict=True)
        )
        self._lambdas.append({v.name.lower(): v for v in variables})
        try:
            return LambdaFunction(self.resolve(function.body), variables)
        finally:
            self._lambdas.pop()

    def _find_variable(self, name: str) -> LambdaVariable | None:
        return next((scope[name.lower()] for scope in reversed(self._lambdas) if name.lower() in scope), None)

    def _lambda_variable(self, name: str) -> Expression:
        parts = name.split(".")
        variable = self._find_variable(parts[0])
        if variable is None:
            return self._attribute(UnresolvedAttribute(tuple(parts)))
        result: Expression = variable
        for part in parts[1:]:
            result = names.extract(result, Literal(part, StringType()), self._case_sensitive)
        return result

    # ------------------------------------------------------------------------------------------- the other kinds

    def _cast(self, expression: Cast) -> Expression:
        target = expression.dtype
        if target is None:
            target = self.context.parse_type(expression.type_text or "")
        mode = expression.mode or (CastMode.ANSI if self.context.bind.ansi else CastMode.LEGACY)
        return cast(self.resolve(expression.child), target, mode, self.text(expression.child))

    def _window(self, expression: WindowExpression) -> Expression:
        self._in_window = True
        try:
            function = self.resolve(expression.function)
        finally:
            self._in_window = False
        if not isinstance(function, AggregateCall | PythonUDF) and not (
            isinstance(function, FunctionCall) and isinstance(lookup(function.name), WindowOnlyFunction)
        ):
            raise AnalysisError("UNSUPPORTED_EXPR_FOR_WINDOW", sqlExpr=f'"{self.text(expression.function)}"')
        orders = tuple(self.resolve(o) for o in expression.order_by)
        if isinstance(function, FunctionCall) and not orders:
            raise AnalysisError("_LEGACY_ERROR_TEMP_1037", wf=self.text(expression.function))
        frame = expression.frame
        if frame is not None:
            frame = WindowFrame(
                frame.kind,
                None if frame.lower is None else self.resolve(frame.lower),
                None if frame.upper is None else self.resolve(frame.upper),
            )
        return WindowExpression(
            function,
            tuple(self.resolve(e) for e in expression.partition_by),
            orders,
            frame,
            dtype_of(function),
            nullable_of(function),
        )

    def _update_fields(self, expression: UpdateFields) -> Expression:
        child = self.resolve(expression.child)
        value = None if expression.value is None else self.resolve(expression.value)
        path = tuple(p.replace("`", "") for p in re.findall(r"`[^`]+`|[^.`]+", expression.field_name))
        return with_field(child, path, value)

    def _subquery(self, expression: UnresolvedSubquery) -> Expression:
        frame = self._subqueries(expression.plan, self)
        plan = frame.plan
        if plan.is_streaming:
            raise AnalysisError("INVALID_SUBQUERY_EXPRESSION.STREAMING_QUERY")
        output = plan.output
        match expression.kind:
            case "scalar":
                if len(output) != 1:
                    raise AnalysisError(
                        "INVALID_SUBQUERY_EXPRESSION.SCALAR_SUBQUERY_RETURN_MORE_THAN_ONE_OUTPUT_COLUMN",
                        number=len(output),
                    )
                return SubqueryExpression("scalar", plan, (), output[0].dtype, True)
            case "exists":
                return SubqueryExpression("exists", plan, (), BooleanType(), False)
            case _:
                return self._in_subquery(tuple(self.resolve(a) for a in expression.args), plan)

    def _in_subquery(self, args: tuple[Expression, ...], plan: Relation) -> Expression:
        output = plan.output
        if len(args) != len(output):
            raise AnalysisError(
                "DATATYPE_MISMATCH.IN_SUBQUERY_LENGTH_MISMATCH",
                sqlExpr='"IN"',
                leftLength=len(args),
                rightLength=len(output),
                leftColumns=", ".join(f'"{column_name(a, self.describe)}"' for a in args),
                rightColumns=", ".join(f'"{a.name}"' for a in output),
            )
        left: list[Expression] = []
        right: list[Expression] = []
        for value, column in zip(args, output, strict=True):
            target = common_type(dtype_of(value), column.dtype, self.context.bind.ansi)
            if target is None:
                raise AnalysisError(
                    "DATATYPE_MISMATCH.IN_SUBQUERY_DATA_TYPE_MISMATCH",
                    sqlExpr='"IN"',
                    mismatchedColumns=f'"{column_name(value, self.describe)}", "{column.name}"',
                    leftType=f'"{dtype_of(value).simpleString().upper()}"',
                    rightType=f'"{column.dtype.simpleString().upper()}"',
                )
            left.append(coerce(value, target, self.context.bind))
            casted = coerce(column, target, self.context.bind)
            right.append(column if casted is column else Alias(casted, column.name, new_expr_id()))
        if any(not isinstance(e, Attribute) for e in right):
            plan = Project(child=plan, expressions=tuple(right))
        nullable = any(nullable_of(e) for e in (*left, *right))
        return SubqueryExpression("in", plan, tuple(left), BooleanType(), nullable)


def _field_at(struct: Expression, dtype: StructType, ordinal: int) -> Expression:
    field = dtype.fields[ordinal]
    return GetField(struct, ordinal, field.name, field.dataType, nullable_of(struct) or field.nullable)
