"""Analysis: an unresolved plan in, a resolved plan of core nodes out, in one pass from the leaves up.

Every occurrence of a subtree is resolved by itself and gets attribute ids of its own, so the two sides of a self-join
never clash.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from pyspark.sql.types import ArrayType, DataType, IntegerType, LongType, MapType, StringType, StructField, StructType

from runnel.analysis import aggregates, joins, names, statistics, surface, user_state
from runnel.analysis.context import AnalysisContext
from runnel.analysis.expressions import Resolver
from runnel.analysis.frames import Frame, expose, hidden_of
from runnel.analysis.projection import has_aggregate, make_generate, only_aggregate_free, project, select_list
from runnel.analysis.renewal import is_resolved, renew
from runnel.analysis.time_windows import replace_windows
from runnel.analysis.watermarks import with_watermark
from runnel.errors import AnalysisError, unsupported
from runnel.functions.catalogue import lookup
from runnel.functions.registry import GeneratorFunction
from runnel.plan.expressions import (
    Alias,
    Attribute,
    Expression,
    GeneratorCall,
    Literal,
    SortOrder,
    UnresolvedFunction,
    UnresolvedStar,
    WindowExpression,
    new_expr_id,
    to_attribute,
)
from runnel.plan.relations import (
    Aggregate,
    CachedRelation,
    Deduplicate,
    Drop,
    DropNa,
    Empty,
    FileScan,
    FillNa,
    Filter,
    FlatMapGroupsWithState,
    Generate,
    GroupMap,
    Hint,
    Join,
    Limit,
    LocalData,
    MapPartitions,
    NamedTable,
    Observe,
    Offset,
    ParseText,
    Project,
    Range,
    Read,
    Relation,
    Repartition,
    ReplaceNa,
    Sample,
    SetOperation,
    Sort,
    StageInput,
    StreamingScan,
    SubqueryAlias,
    Summary,
    TableValuedFunction,
    Tail,
    ToDF,
    ToSchema,
    TransformWithState,
    Unary,
    Unpivot,
    WithColumns,
    WithColumnsRenamed,
    WithCTE,
    WithWatermark,
)
from runnel.plan.schema import attributes_of
from runnel.plan.traverse import walk


def analyze(plan: Relation, context: AnalysisContext) -> Relation:
    """The resolved plan. Raises AnalysisError with Spark's condition, or the refusal of what Runnel does not support."""
    return Analyzer(context).frame(plan).plan


class Analyzer:
    """One analysis. `frame` resolves a relation; `outer` is the resolver around a subquery; `ctes` the names of WITH."""

    def __init__(
        self,
        context: AnalysisContext,
        outer: Resolver | None = None,
        ctes: Mapping[str, tuple[Relation, Mapping[str, object]]] = MappingProxyType({}),
    ) -> None:
        self._context = context
        self._outer = outer
        self._ctes: Mapping[str, tuple[Relation, Mapping[str, object]]] = ctes

    def frame(self, plan: Relation) -> Frame:
        """The resolved frame of a relation."""
        spine: list[Unary] = []
        while isinstance(plan, Unary):
            spine.append(plan)
            plan = plan.child
        frame = self._leaf(plan)
        for node in reversed(spine):
            frame = replace(self._unary(node, frame), plan_id=node.plan_id)
        return frame

    def _resolver(self, frame: Frame, *, below: bool = False) -> Resolver:
        return Resolver(self._context, frame, self._subquery, outer=self._outer, below=below)

    def _subquery(self, plan: Relation, outer: Resolver) -> Frame:
        return Analyzer(self._context, outer, self._ctes).frame(plan)

    # ------------------------------------------------------------------------------------------ leaves, two inputs

    def _leaf(self, node: Relation) -> Frame:
        match node:
            case Join():
                frame = self._join(node)
            case SetOperation():
                frames = [self.frame(i) for i in node.inputs]
                frame = joins.set_operation(self._resolver(frames[0]), frames, node)
            case TransformWithState():
                frame = self._transform_with_state(node)
            case WithCTE():
                frame = self._with(node)
            case NamedTable():
                frame = self._table(node)
            case Read():
                frame = self._given(self._context.resolve_read(node))
            case CachedRelation(relation_id=relation_id):
                frame = self._given(self._context.resolve_cached(relation_id))
            case TableValuedFunction():
                frame = self._table_function(node)
            case LocalData(schema=schema) | FileScan(schema=schema) | StreamingScan(schema=schema):
                frame = _leaf_frame(replace(node, attributes=attributes_of(schema)))
            case Range():
                identifier = Attribute("id", LongType(), False, new_expr_id())
                frame = _leaf_frame(replace(node, attributes=(identifier,)))
            case Empty() | StageInput():
                frame = _leaf_frame(node)
            case _:
                raise unsupported(f"the relation {type(node).__name__}")
        return replace(frame, plan_id=node.plan_id)

    def _given(self, plan: Relation) -> Frame:
        """The frame of a plan that the session handed over."""
        if is_resolved(plan):
            renewed = renew(plan)
            return Frame(renewed, renewed.output, hidden_of(renewed))
        return Analyzer(self._context).frame(plan)

    def _table(self, node: NamedTable) -> Frame:
        definition = self._ctes.get(node.parts[0].lower()) if len(node.parts) == 1 else None
        if definition is not None:
            visible: Mapping[str, object] = definition[1]
            frame = Analyzer(self._context, self._outer, visible).frame(definition[0])  # type: ignore[arg-type]
        else:
            frame = self._given(self._context.resolve_table(node))
        return _qualified(frame, node.parts)

    def _with(self, node: WithCTE) -> Frame:
        visible = dict(self._ctes)
        for name, plan in node.definitions:
            visible[name.lower()] = (plan, dict(visible))
        return Analyzer(self._context, self._outer, visible).frame(node.child)

    def _join(self, node: Join) -> Frame:
        left = self.frame(node.left)
        if node.lateral:
            return self._lateral_join(node, left)
        right = self.frame(node.right)
        both = Frame(
            Join(left=left.plan, right=right.plan, kind="inner"),
            (*left.columns, *right.columns),
            (*left.hidden, *right.hidden),
            inputs=(left, right),
        )
        return joins.join(self._resolver(both), left, right, node)

    def _lateral_join(self, node: Join, left: Frame) -> Frame:
        right, aliases = node.right, []
        while isinstance(right, SubqueryAlias):
            aliases.append(right)
            right = right.child
        if not isinstance(right, TableValuedFunction) or node.kind not in ("inner", "cross", "left"):
            raise unsupported("a LATERAL subquery", "Write it as a join.")
        call = self._resolver(left).resolve(UnresolvedFunction(right.name, right.args))
        if not isinstance(call, GeneratorCall):
            raise AnalysisError("UNRESOLVABLE_TABLE_VALUED_FUNCTION", name=names.quoted([right.name]))
        given = next((a.columns for a in reversed(aliases) if a.columns), ())
        made = make_generate(left.plan, call, given, outer=node.kind == "left")
        qualifier = (aliases[0].alias,) if aliases else ()
        added = tuple(replace(a, qualifier=qualifier) for a in made.attributes)
        return Frame(made, (*left.columns, *added), left.hidden, inputs=(left,))

    def _transform_with_state(self, node: TransformWithState) -> Frame:
        frame = self.frame(node.child)
        initial = None if node.initial is None else self.frame(node.initial)
        over_initial = None if initial is None else self._resolver(initial)
        return user_state.transform_with_state(self._resolver(frame), over_initial, frame, initial, node)

    def _table_function(self, node: TableValuedFunction) -> Frame:
        frame = _leaf_frame(Empty())
        resolver = self._resolver(frame)
        if node.name == "range":
            return _range(tuple(resolver.resolve(a) for a in node.args))
        if not isinstance(lookup(node.name), GeneratorFunction):
            raise AnalysisError("UNRESOLVABLE_TABLE_VALUED_FUNCTION", name=names.quoted([node.name]))
        call = resolver.resolve(UnresolvedFunction(node.name, node.args))
        assert isinstance(call, GeneratorCall)
        made = make_generate(frame.plan, call)
        return Frame(made, made.attributes, inputs=(frame,))

    # ------------------------------------------------------------------------------------------------------ one input

    def _unary(self, node: Unary, frame: Frame) -> Frame:
        match node:
            case Project(expressions=expressions):
                return self._project(frame, expressions)
            case WithColumns():
                return self._project(frame, surface.with_columns(self._resolver(frame), frame, node))
            case Filter(condition=condition):
                return self._filter(frame, condition)
            case Aggregate():
                return aggregates.aggregate(self._resolver(frame), frame, node)
            case Sort():
                return self._sort(frame, node)
            case SubqueryAlias(alias=alias, columns=columns):
                if columns:
                    frame = surface.to_df(frame, ToDF(child=node.child, names=columns))
                return _qualified(frame, (alias,))
            case Deduplicate():
                return self._deduplicate(frame, node)
            case WithWatermark():
                return with_watermark(self._resolver(frame), frame, node)
            case Limit(count=count) | Offset(count=count) | Tail(count=count):
                if count < 0:
                    raise AnalysisError(
                        "INVALID_LIMIT_LIKE_EXPRESSION.IS_NEGATIVE",
                        name=type(node).__name__.lower(),
                        expr=f'"{count}"',
                        v=count,
                    )
                return frame.derive(replace(node, child=frame.plan))
            case Sample(seed=seed):
                chosen = seed if seed is not None else random.randrange(2**63)
                return frame.derive(replace(node, child=frame.plan, seed=chosen))
            case Observe(metrics=metrics):
                resolver = self._resolver(frame)
                resolved = tuple(e for m in metrics for e in resolver.named(m))
                return frame.derive(replace(node, child=frame.plan, metrics=resolved))
            case MapPartitions(schema=schema) | GroupMap(schema=schema):
                return self._python(frame, node, schema)
            case FlatMapGroupsWithState():
                return user_state.flat_map_groups_with_state(self._resolver(frame), frame, node)
            case Generate():
                return self._generate(frame, node)
            case ParseText():
                return self._parse_text(frame, node)
            case _:
                return self._surface(frame, node)

    def _surface(self, frame: Frame, node: Unary) -> Frame:
        resolver = self._resolver(frame)
        match node:
            case WithColumnsRenamed():
                return surface.renamed(resolver, frame, node)
            case Drop():
                return surface.drop(resolver, frame, node)
            case ToDF():
                return surface.to_df(frame, node)
            case ToSchema():
                return surface.to_schema(resolver, frame, node)
            case Repartition(expressions=expressions):
                for e in expressions:
                    resolver.resolve(e)
                return Frame(frame.plan, frame.columns, frame.hidden, inputs=(frame,))
            case Hint():
                return Frame(frame.plan, frame.columns, frame.hidden, inputs=(frame,))
            case Unpivot():
                return surface.unpivot(resolver, frame, node)
            case FillNa():
                return surface.fill_na(resolver, frame, node)
            case Summary():
                return statistics.summary(resolver, frame, node)
            case DropNa():
                return surface.drop_na(resolver, frame, node)
            case ReplaceNa():
                return surface.replace_na(resolver, frame, node)
            case _:
                raise unsupported(f"the relation {type(node).__name__}")

    def _project(self, frame: Frame, expressions: Sequence[Expression]) -> Frame:
        resolver = self._resolver(frame)
        items = select_list(resolver, expressions)
        if has_aggregate(items):
            return aggregates.global_aggregate(resolver, frame, items)
        return project(resolver, frame, items)

    def _filter(self, frame: Frame, condition: Expression) -> Frame:
        resolver = self._resolver(frame, below=True)
        if frame.groupings is not None:
            return aggregates.filter_above(resolver, frame, condition)
        resolved = resolver.condition(condition)
        if not only_aggregate_free(resolved):
            offending = [e for e in walk(resolved) if not only_aggregate_free(e)]
            raise AnalysisError(
                "INVALID_WHERE_CONDITION",
                condition=f'"{resolver.text(condition)}"',
                expressionList=resolver.text(offending[-1]),
            )
        plan = expose(frame.plan, tuple(resolver.exposed.values()))
        windowed = replace_windows(resolver, plan, (resolved,))
        made: Relation = Filter(child=windowed.plan, condition=windowed.expressions[0])
        return frame.derive(_narrowed(made, frame))

    def _sort(self, frame: Frame, node: Sort) -> Frame:
        resolver = self._resolver(frame, below=True)
        if frame.groupings is not None:
            resolver = resolver.above(frame)
        orders = tuple(self._order(resolver, frame, o) for o in node.orders)
        plan = expose(frame.plan, tuple(resolver.exposed.values()))
        if frame.groupings is not None:
            above = aggregates.over_aggregate(resolver, frame, orders)
            plan = above.plan
            orders = tuple(o for o in above.expressions if isinstance(o, SortOrder))
        elif any(not only_aggregate_free(o) and not _has_window(o) for o in orders):
            raise AnalysisError(
                "MISSING_AGGREGATION", expression=f'"{frame.columns[0].name}"', expressionAnyValue='"any_value"'
            )
        windowed = replace_windows(resolver, plan, orders)
        orders = tuple(o for o in windowed.expressions if isinstance(o, SortOrder))
        return frame.derive(_narrowed(Sort(child=windowed.plan, orders=orders, is_global=node.is_global), frame))

    def _order(self, resolver: Resolver, frame: Frame, order: SortOrder) -> SortOrder:
        child = order.child
        if isinstance(child, Literal) and isinstance(child.dtype, IntegerType) and child.value is not None:
            if not 1 <= child.value <= len(frame.columns):
                raise AnalysisError("ORDER_BY_POS_OUT_OF_RANGE", index=child.value, size=len(frame.columns))
            return replace(order, child=frame.columns[child.value - 1])
        resolved = resolver.resolve(child)
        return replace(order, child=resolved.child if isinstance(resolved, Alias) else resolved)

    def _deduplicate(self, frame: Frame, node: Deduplicate) -> Frame:
        keys = list(frame.columns)
        if not node.all_columns and node.columns:
            keys = []
            for name in node.columns:
                found = [a for a in frame.columns if names.same_name(a.name, name, self._context.bind.case_sensitive)]
                if not found:
                    raise AnalysisError(
                        "UNRESOLVED_COLUMN_AMONG_FIELD_NAMES",
                        colName=f'"{name}"',
                        fieldNames=", ".join(a.name for a in frame.columns),
                    )
                keys += found
        unique = tuple({a.expr_id: a for a in keys}.values())
        for key in unique:
            if _has_map(key.dtype):
                raise AnalysisError(
                    "UNSUPPORTED_FEATURE.SET_OPERATION_ON_MAP_TYPE",
                    colName=f"`{key.name}`",
                    dataType=f'"{key.dtype.simpleString().upper()}"',
                )
        if node.as_aggregation and frame.plan.is_streaming:
            grouped = Aggregate(child=frame.plan, groupings=unique, aggregates=frame.columns, implicit_keys=False)
            return frame.derive(grouped)
        return frame.derive(replace(node, child=frame.plan, keys=unique))

    def _python(self, frame: Frame, node: MapPartitions | GroupMap, schema: StructType) -> Frame:
        attributes = attributes_of(schema)
        if isinstance(node, GroupMap):
            resolver = self._resolver(frame)
            groupings = tuple(e for g in node.groupings for e in resolver.named(g))
            made: Relation = replace(node, child=frame.plan, groupings=groupings, attributes=attributes)
        else:
            made = replace(node, child=frame.plan, attributes=attributes)
        return frame.derive(made, attributes)

    def _generate(self, frame: Frame, node: Generate) -> Frame:
        """LATERAL VIEW: a generator over the child's columns, its own columns named and qualified by `attributes`."""
        call = self._resolver(frame).resolve(node.generator)
        if not isinstance(call, GeneratorCall):
            raise AnalysisError("UNSUPPORTED_GENERATOR.NOT_GENERATOR", functionName="``", classCanonicalName="")
        made = make_generate(frame.plan, call, tuple(a.name for a in node.attributes), node.outer)
        qualifier = node.attributes[0].qualifier if node.attributes else ()
        added = tuple(replace(a, qualifier=qualifier) for a in made.attributes)
        return Frame(made, (*frame.columns, *added), frame.hidden, inputs=(frame,))

    def _parse_text(self, frame: Frame, node: ParseText) -> Frame:
        if len(frame.columns) != 1 or not isinstance(frame.columns[0].dtype, StringType):
            raise AnalysisError("PARSE_INPUT_NOT_STRING_TYPE", format=node.format)
        schema = node.schema
        if isinstance(schema, str):
            parsed = self._context.parse_type(schema)
            schema = parsed if isinstance(parsed, StructType) else StructType([StructField("value", parsed)])
        if schema is None:
            schema = self._context.text_schema(node, frame.plan)
        resolver = self._resolver(frame)
        column = frame.columns[0]
        nonempty = Filter(child=frame.plan, condition=resolver.call("isnotnull", column))
        options = [Literal(str(t), StringType()) for pair in node.options.items() for t in pair]
        args: list[Expression] = [column, Literal(schema.json(), StringType())]
        if options:
            args.append(resolver.call("map", *options))
        parsed_text = Alias(resolver.call(f"from_{node.format}", *args), "parsed", new_expr_id())
        made = Project(child=nonempty, expressions=(parsed_text,))
        inner = frame.derive(made, (to_attribute(parsed_text),))
        return self._project(inner, (UnresolvedStar(("parsed",)),))


def _has_window(expression: Expression) -> bool:
    return any(isinstance(e, WindowExpression) for e in walk(expression))


def _leaf_frame(plan: Relation) -> Frame:
    return Frame(plan, plan.output, hidden_of(plan))


def _has_map(dtype: DataType) -> bool:
    match dtype:
        case MapType():
            return True
        case ArrayType(elementType=element):
            return _has_map(element)
        case StructType(fields=fields):
            return any(_has_map(f.dataType) for f in fields)
        case _:
            return False


def _qualified(frame: Frame, qualifier: tuple[str, ...]) -> Frame:
    columns = tuple(replace(a, qualifier=qualifier) for a in frame.columns)
    hidden = tuple(replace(a, qualifier=qualifier) for a in frame.hidden if a.name == "_metadata")
    return Frame(frame.plan, columns, hidden, inputs=(frame,))


def _narrowed(plan: Relation, frame: Frame) -> Relation:
    """The plan with just the frame's columns, when others had to be brought up for it."""
    if len(plan.output) == len(frame.columns):
        return plan
    return Project(child=plan, expressions=frame.columns)


def _range(args: tuple[Expression, ...]) -> Frame:
    numbers = [a.value for a in args if isinstance(a, Literal) and isinstance(a.value, int)]
    if len(numbers) != len(args) or not 1 <= len(args) <= 4:
        raise AnalysisError(
            "UNEXPECTED_INPUT_TYPE",
            functionName="`range`",
            paramIndex="first",
            requiredType='"BIGINT"',
            inputSql=", ".join(str(getattr(a, "value", a)) for a in args),
            inputType='"UNKNOWN"',
        )
    start, end = (0, numbers[0]) if len(numbers) == 1 else (numbers[0], numbers[1])
    step = numbers[2] if len(numbers) > 2 else 1
    identifier = Attribute("id", LongType(), False, new_expr_id())
    return _leaf_frame(Range(start=start, end=end, step=step, attributes=(identifier,)))
