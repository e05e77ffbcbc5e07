"""Relation messages to relation nodes, one function a kind."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import pyarrow as pa
from pyspark.sql.connect.proto import relations_pb2 as rel
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import DoubleType, IntegerType

from runnel import sql
from runnel.connect.arrow_values import convert_table, to_physical
from runnel.connect.decode_expressions import (
    DecodeContext,
    decode_alias,
    decode_all,
    decode_expression,
    decode_literal,
    decode_python_function,
    decode_sort_order,
    name_parts,
)
from runnel.connect.decode_types import as_struct, decode_schema_text, decode_type
from runnel.errors import InvalidPlanError, unsupported
from runnel.plan.expressions import Alias, Cast, Expression, Literal, UnresolvedAttribute, UnresolvedFunction
from runnel.plan.relations import (
    Aggregate,
    CachedRelation,
    Deduplicate,
    Drop,
    DropNa,
    Empty,
    FillNa,
    Filter,
    FlatMapGroupsWithState,
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
    SubqueryAlias,
    Summary,
    TableValuedFunction,
    Tail,
    ToDF,
    ToSchema,
    TransformWithState,
    Unpivot,
    WithColumns,
    WithColumnsRenamed,
    WithCTE,
    WithWatermark,
)


def decode_relation(ctx: DecodeContext, message: rel.Relation) -> Relation:
    """One relation with all below it; raises the refusal of a kind that is not supported."""
    kind = message.WhichOneof("rel_type")
    if kind is None:
        raise InvalidPlanError("CONNECT_INVALID_PLAN.RELATION_TYPE_NOT_SET")
    decoder = RELATIONS.get(kind)
    if decoder is None:
        raise unsupported(f"The Spark Connect relation {kind}", REFUSED_RELATIONS.get(kind, ""))
    node = decoder(ctx, getattr(message, kind))
    if message.HasField("common") and message.common.HasField("plan_id"):
        node = dataclasses.replace(node, plan_id=message.common.plan_id)
    return node


def _input(ctx: DecodeContext, message: Any) -> Relation:
    return decode_relation(ctx, message.input) if message.HasField("input") else Empty()


# ----------------------------------------------------------------------------------------------------------- leaves


def _read(_ctx: DecodeContext, message: rel.Read) -> Relation:
    match message.WhichOneof("read_type"):
        case "named_table":
            table = message.named_table
            return NamedTable(
                parts=name_parts(table.unparsed_identifier),
                options=dict(table.options),
                streaming=message.is_streaming,
            )
        case "data_source":
            source = message.data_source
            if source.predicates:
                raise unsupported("read.jdbc with predicates")
            return Read(
                format=source.format if source.HasField("format") and source.format else None,
                schema=decode_schema_text(source.schema) if source.schema else None,
                options=dict(source.options),
                paths=tuple(source.paths),
                streaming=message.is_streaming,
                source_name=source.source_name if source.HasField("source_name") else None,
            )
        case _:
            raise InvalidPlanError("CONNECT_INVALID_PLAN.RELATION_TYPE_NOT_SET")


def _range(_ctx: DecodeContext, message: rel.Range) -> Relation:
    return Range(
        start=message.start,
        end=message.end,
        step=message.step,
        num_partitions=message.num_partitions if message.HasField("num_partitions") else None,
    )


def local_data(chunks: Iterable[bytes], schema_text: str | None, *, prefer_timestamp_ntz: bool = False) -> LocalData:
    """Rows that came as Arrow IPC streams; the schema, where given, renames and casts the columns by position."""
    tables = []
    for chunk in chunks:
        with pa.ipc.open_stream(chunk) as reader:
            tables.append(reader.read_all())
    schema = decode_schema_text(schema_text) if schema_text else None
    if not tables:
        if schema is None:
            raise InvalidPlanError("CONNECT_INVALID_PLAN.LOCAL_RELATION_WITHOUT_SCHEMA")
        empty = pa.table({f"c{i}": pa.nulls(0) for i in range(len(schema.fields))})
        return LocalData(table=convert_table(empty, schema, to_physical), schema=schema)
    table = tables[0] if len(tables) == 1 else pa.concat_tables(tables)
    if schema is None:
        schema = from_arrow_schema(table.schema, prefer_timestamp_ntz=prefer_timestamp_ntz)
    return LocalData(table=convert_table(table, schema, to_physical), schema=schema)


def _local_relation(ctx: DecodeContext, message: rel.LocalRelation) -> Relation:
    return local_data(
        [message.data] if message.HasField("data") else [],
        message.schema if message.HasField("schema") else None,
        prefer_timestamp_ntz=ctx.prefer_timestamp_ntz,
    )


def _cached_local_relation(ctx: DecodeContext, message: rel.CachedLocalRelation) -> Relation:
    inner = rel.LocalRelation.FromString(ctx.artifact(f"cache/{message.hash}"))
    return _local_relation(ctx, inner)


def _chunked_local_relation(ctx: DecodeContext, message: rel.ChunkedCachedLocalRelation) -> Relation:
    schema = ctx.artifact(f"cache/{message.schemaHash}").decode() if message.HasField("schemaHash") else None
    chunks = (ctx.artifact(f"cache/{name}") for name in message.dataHashes)
    return local_data(chunks, schema, prefer_timestamp_ntz=ctx.prefer_timestamp_ntz)


def _cached_remote(_ctx: DecodeContext, message: rel.CachedRemoteRelation) -> Relation:
    return CachedRelation(relation_id=message.relation_id)


def _table_function(ctx: DecodeContext, message: rel.UnresolvedTableValuedFunction) -> Relation:
    return TableValuedFunction(name=message.function_name.lower(), args=decode_all(ctx, message.arguments))


def _literals_or_expressions(ctx: DecodeContext, message: rel.SQL) -> Any:
    named: dict[str, Expression] = {k: decode_literal(v) for k, v in message.args.items()}
    named.update({k: decode_expression(ctx, v) for k, v in message.named_arguments.items()})
    if named:
        return named
    return [decode_literal(v) for v in message.pos_args] + list(decode_all(ctx, message.pos_arguments))


def parse_sql(ctx: DecodeContext, message: rel.SQL) -> Any:
    """The relation, or the command, that the text of an SQL message says."""
    return sql.parse_statement(message.query, _literals_or_expressions(ctx, message))


def _sql(ctx: DecodeContext, message: rel.SQL) -> Relation:
    parsed = parse_sql(ctx, message)
    if not isinstance(parsed, Relation):
        raise unsupported("An SQL command inside a frame's plan", "Run it with spark.sql(…) by itself.")
    return parsed


# ------------------------------------------------------------------------------------------------ rows and columns


def _project(ctx: DecodeContext, message: rel.Project) -> Relation:
    return Project(child=_input(ctx, message), expressions=decode_all(ctx, message.expressions))


def _filter(ctx: DecodeContext, message: rel.Filter) -> Relation:
    return Filter(child=_input(ctx, message), condition=decode_expression(ctx, message.condition))


def _with_columns(ctx: DecodeContext, message: rel.WithColumns) -> Relation:
    return WithColumns(child=_input(ctx, message), columns=tuple(decode_alias(ctx, alias) for alias in message.aliases))


def _with_columns_renamed(ctx: DecodeContext, message: rel.WithColumnsRenamed) -> Relation:
    renames = tuple((r.col_name, r.new_col_name) for r in message.renames)
    return WithColumnsRenamed(
        child=_input(ctx, message), renames=renames or tuple(sorted(message.rename_columns_map.items()))
    )


def _drop(ctx: DecodeContext, message: rel.Drop) -> Relation:
    return Drop(child=_input(ctx, message), columns=decode_all(ctx, message.columns), names=tuple(message.column_names))


def _to_df(ctx: DecodeContext, message: rel.ToDF) -> Relation:
    return ToDF(child=_input(ctx, message), names=tuple(message.column_names))


def _to_schema(ctx: DecodeContext, message: rel.ToSchema) -> Relation:
    return ToSchema(child=_input(ctx, message), schema=as_struct(decode_type(message.schema)))


def _subquery_alias(ctx: DecodeContext, message: rel.SubqueryAlias) -> Relation:
    return SubqueryAlias(child=_input(ctx, message), alias=message.alias)


def _unpivot(ctx: DecodeContext, message: rel.Unpivot) -> Relation:
    return Unpivot(
        child=_input(ctx, message),
        ids=decode_all(ctx, message.ids),
        values=decode_all(ctx, message.values.values) if message.HasField("values") else None,
        variable_name=message.variable_column_name,
        value_name=message.value_column_name,
    )


def _parse(ctx: DecodeContext, message: rel.Parse) -> Relation:
    formats = {rel.Parse.PARSE_FORMAT_CSV: "csv", rel.Parse.PARSE_FORMAT_JSON: "json"}
    if message.format not in formats:
        raise unsupported("Reading XML")
    return ParseText(
        child=_input(ctx, message),
        format=formats[message.format],
        schema=as_struct(decode_type(message.schema)) if message.HasField("schema") else None,
        options=dict(message.options),
    )


# ----------------------------------------------------------------------------------------------- order and numbers


def _sort(ctx: DecodeContext, message: rel.Sort) -> Relation:
    orders = tuple(decode_sort_order(ctx, o) for o in message.order)
    is_global = message.is_global if message.HasField("is_global") else True
    return Sort(child=_input(ctx, message), orders=orders, is_global=is_global)


def _limit(ctx: DecodeContext, message: rel.Limit) -> Relation:
    return Limit(child=_input(ctx, message), count=message.limit)


def _offset(ctx: DecodeContext, message: rel.Offset) -> Relation:
    return Offset(child=_input(ctx, message), count=message.offset)


def _tail(ctx: DecodeContext, message: rel.Tail) -> Relation:
    return Tail(child=_input(ctx, message), count=message.limit)


def _sample(ctx: DecodeContext, message: rel.Sample) -> Relation:
    return Sample(
        child=_input(ctx, message),
        lower=message.lower_bound,
        upper=message.upper_bound,
        with_replacement=message.with_replacement,
        seed=message.seed if message.HasField("seed") else None,
    )


def _repartition(ctx: DecodeContext, message: rel.Repartition) -> Relation:
    return Repartition(child=_input(ctx, message), num_partitions=message.num_partitions)


def _repartition_by(ctx: DecodeContext, message: rel.RepartitionByExpression) -> Relation:
    return Repartition(
        child=_input(ctx, message),
        num_partitions=message.num_partitions if message.HasField("num_partitions") else None,
        expressions=decode_all(ctx, message.partition_exprs),
    )


def _hint(ctx: DecodeContext, message: rel.Hint) -> Relation:
    return Hint(child=_input(ctx, message), name=message.name)


def _deduplicate(ctx: DecodeContext, message: rel.Deduplicate) -> Relation:
    return Deduplicate(
        child=_input(ctx, message),
        columns=tuple(message.column_names),
        all_columns=message.all_columns_as_keys,
        within_watermark=message.within_watermark,
    )


def _with_watermark(ctx: DecodeContext, message: rel.WithWatermark) -> Relation:
    return WithWatermark(child=_input(ctx, message), event_time=message.event_time, delay=message.delay_threshold)


def _observe(ctx: DecodeContext, message: rel.CollectMetrics) -> Relation:
    return Observe(child=_input(ctx, message), name=message.name, metrics=decode_all(ctx, message.metrics))


# ---------------------------------------------------------------------------------------------- groups, sets, joins

_GROUPS = {
    rel.Aggregate.GROUP_TYPE_GROUPBY: "groupby",
    rel.Aggregate.GROUP_TYPE_ROLLUP: "rollup",
    rel.Aggregate.GROUP_TYPE_CUBE: "cube",
    rel.Aggregate.GROUP_TYPE_PIVOT: "pivot",
    rel.Aggregate.GROUP_TYPE_GROUPING_SETS: "grouping_sets",
}


def _aggregate(ctx: DecodeContext, message: rel.Aggregate) -> Relation:
    kind = _GROUPS.get(message.group_type)
    if kind is None:
        raise InvalidPlanError("CONNECT_INVALID_PLAN.AGGREGATE_GROUP_TYPE_NOT_SET")
    groupings = list(decode_all(ctx, message.grouping_expressions))
    sets = []
    for one in message.grouping_sets:
        members = decode_all(ctx, one.grouping_set)
        groupings += [e for e in dict.fromkeys(members) if e not in groupings]
        sets.append(tuple(groupings.index(e) for e in members))
    pivot = message.HasField("pivot")
    return Aggregate(
        child=_input(ctx, message),
        groupings=tuple(groupings),
        aggregates=decode_all(ctx, message.aggregate_expressions),
        kind=kind,
        grouping_sets=tuple(sets),
        pivot_column=decode_expression(ctx, message.pivot.col) if pivot else None,
        pivot_values=tuple(decode_literal(v) for v in message.pivot.values) if pivot else (),
    )


_JOINS = {
    rel.Join.JOIN_TYPE_INNER: "inner",
    rel.Join.JOIN_TYPE_FULL_OUTER: "full",
    rel.Join.JOIN_TYPE_LEFT_OUTER: "left",
    rel.Join.JOIN_TYPE_RIGHT_OUTER: "right",
    rel.Join.JOIN_TYPE_LEFT_ANTI: "anti",
    rel.Join.JOIN_TYPE_LEFT_SEMI: "semi",
    rel.Join.JOIN_TYPE_CROSS: "cross",
}


def _join(ctx: DecodeContext, message: rel.Join | rel.LateralJoin) -> Relation:
    kind = _JOINS.get(message.join_type)
    if kind is None:
        raise InvalidPlanError("CONNECT_INVALID_PLAN.JOIN_TYPE_NOT_SET")
    using: tuple[str, ...] = ()
    if isinstance(message, rel.Join):
        using = tuple(message.using_columns)
        if message.HasField("join_data_type"):
            raise unsupported("joinWith", "It is part of the Scala API.")
    return Join(
        left=decode_relation(ctx, message.left),
        right=decode_relation(ctx, message.right),
        kind=kind,
        condition=decode_expression(ctx, message.join_condition) if message.HasField("join_condition") else None,
        using=using,
        lateral=isinstance(message, rel.LateralJoin),
    )


_SET_OPERATIONS = {
    rel.SetOperation.SET_OP_TYPE_INTERSECT: "intersect",
    rel.SetOperation.SET_OP_TYPE_UNION: "union",
    rel.SetOperation.SET_OP_TYPE_EXCEPT: "except",
}


def _set_operation(ctx: DecodeContext, message: rel.SetOperation) -> Relation:
    kind = _SET_OPERATIONS.get(message.set_op_type)
    if kind is None:
        raise InvalidPlanError("CONNECT_INVALID_PLAN.SET_OP_TYPE_NOT_SET")
    return SetOperation(
        inputs=(decode_relation(ctx, message.left_input), decode_relation(ctx, message.right_input)),
        kind=kind,
        all=message.is_all,
        by_name=message.by_name,
        allow_missing=message.allow_missing_columns,
    )


def _with_relations(ctx: DecodeContext, message: rel.WithRelations) -> Relation:
    definitions = []
    for reference in message.references:
        plan = decode_relation(ctx, reference)
        if isinstance(plan, SubqueryAlias):
            definitions.append((plan.alias, plan.child))
        if reference.HasField("common") and reference.common.HasField("plan_id"):
            ctx.references[reference.common.plan_id] = plan
    root = decode_relation(ctx, message.root)
    if message.root.WhichOneof("rel_type") == "sql" and definitions:
        return WithCTE(child=root, definitions=tuple(definitions))
    return root


# ------------------------------------------------------------------------------------------------- Python functions


def _map_partitions(ctx: DecodeContext, message: rel.MapPartitions) -> Relation:
    function, dtype = decode_python_function(message.func)
    return MapPartitions(child=_input(ctx, message), function=function, schema=as_struct(dtype))


def _group_map(ctx: DecodeContext, message: rel.GroupMap) -> Relation:
    if message.HasField("transform_with_state_info"):
        return _transform_with_state(ctx, message)
    if message.is_map_groups_with_state or message.HasField("state_schema"):
        raise unsupported("mapGroupsWithState", "It is part of the Scala API.")
    function, dtype = decode_python_function(message.func)
    return GroupMap(
        child=_input(ctx, message),
        groupings=decode_all(ctx, message.grouping_expressions),
        function=function,
        schema=as_struct(dtype),
    )


def _transform_with_state(ctx: DecodeContext, message: rel.GroupMap) -> Relation:
    function, _ = decode_python_function(message.func)
    info = message.transform_with_state_info
    return TransformWithState(
        child=_input(ctx, message),
        groupings=decode_all(ctx, message.grouping_expressions),
        function=function,
        schema=as_struct(decode_type(info.output_schema)),
        output_mode=message.output_mode,
        time_mode=info.time_mode,
        event_time_column=info.event_time_column_name,
        initial=decode_relation(ctx, message.initial_input) if message.HasField("initial_input") else None,
        initial_groupings=decode_all(ctx, message.initial_grouping_expressions),
    )


def _apply_in_pandas_with_state(ctx: DecodeContext, message: rel.ApplyInPandasWithState) -> Relation:
    function, _ = decode_python_function(message.func)
    return FlatMapGroupsWithState(
        child=_input(ctx, message),
        groupings=decode_all(ctx, message.grouping_expressions),
        function=function,
        schema=decode_schema_text(message.output_schema),
        state_schema=decode_schema_text(message.state_schema),
        output_mode=message.output_mode,
        timeout=message.timeout_conf,
    )


# ------------------------------------------------------------------------------------------------------ nulls, stats


def _fill_na(ctx: DecodeContext, message: rel.NAFill) -> Relation:
    values = tuple(decode_literal(v) for v in message.values)
    return FillNa(child=_input(ctx, message), columns=tuple(message.cols), values=values)


def _drop_na(ctx: DecodeContext, message: rel.NADrop) -> Relation:
    return DropNa(
        child=_input(ctx, message),
        columns=tuple(message.cols),
        min_non_nulls=message.min_non_nulls if message.HasField("min_non_nulls") else None,
    )


def _replace(ctx: DecodeContext, message: rel.NAReplace) -> Relation:
    pairs = tuple((decode_literal(r.old_value), decode_literal(r.new_value)) for r in message.replacements)
    return ReplaceNa(child=_input(ctx, message), columns=tuple(message.cols), replacements=pairs)


def _summary(ctx: DecodeContext, message: rel.StatSummary) -> Relation:
    given = tuple(message.statistics) or ("count", "mean", "stddev", "min", "25%", "50%", "75%", "max")
    return Summary(child=_input(ctx, message), columns=(), statistics=given)


def _describe(ctx: DecodeContext, message: rel.StatDescribe) -> Relation:
    given = ("count", "mean", "stddev", "min", "max")
    return Summary(child=_input(ctx, message), columns=tuple(message.cols), statistics=given)


def _quantiles(ctx: DecodeContext, message: rel.StatApproxQuantile) -> Relation:
    """One row with an array of each column's quantiles; nulls are left out, as are NaNs."""
    fractions = UnresolvedFunction("array", tuple(Literal(p, DoubleType()) for p in message.probabilities))
    columns = []
    for name in message.cols:
        number = Cast(UnresolvedAttribute(name_parts(name)), DoubleType())
        known = UnresolvedFunction("nanvl", (number, Literal(None, DoubleType())))
        columns.append(UnresolvedFunction("percentile_approx", (known, fractions)))
    listed = Alias(UnresolvedFunction("array", tuple(columns)), "quantiles")
    return Aggregate(child=_input(ctx, message), groupings=(), aggregates=(listed,))


def _two_columns(function: str) -> Callable[[DecodeContext, Any], Relation]:
    def decode(ctx: DecodeContext, message: rel.StatCov | rel.StatCorr) -> Relation:
        if isinstance(message, rel.StatCorr) and message.HasField("method") and message.method != "pearson":
            raise unsupported(f"Correlation by the method {message.method}")
        # A null counts as zero, as in Spark's StatFunctions; the SQL aggregates leave the row out.
        zero = Literal(0, IntegerType())
        columns = tuple(
            UnresolvedFunction("coalesce", (UnresolvedAttribute(name_parts(name)), zero))
            for name in (message.col1, message.col2)
        )
        call = Alias(UnresolvedFunction(function, columns), function.split("_", maxsplit=1)[0])
        return Aggregate(child=_input(ctx, message), groupings=(), aggregates=(call,))

    return decode


RELATIONS: dict[str, Callable[[DecodeContext, Any], Relation]] = {
    "read": _read,
    "range": _range,
    "local_relation": _local_relation,
    "cached_local_relation": _cached_local_relation,
    "chunked_cached_local_relation": _chunked_local_relation,
    "cached_remote_relation": _cached_remote,
    "unresolved_table_valued_function": _table_function,
    "sql": _sql,
    "project": _project,
    "filter": _filter,
    "with_columns": _with_columns,
    "with_columns_renamed": _with_columns_renamed,
    "drop": _drop,
    "to_df": _to_df,
    "to_schema": _to_schema,
    "subquery_alias": _subquery_alias,
    "unpivot": _unpivot,
    "parse": _parse,
    "sort": _sort,
    "limit": _limit,
    "offset": _offset,
    "tail": _tail,
    "sample": _sample,
    "repartition": _repartition,
    "repartition_by_expression": _repartition_by,
    "hint": _hint,
    "deduplicate": _deduplicate,
    "with_watermark": _with_watermark,
    "collect_metrics": _observe,
    "aggregate": _aggregate,
    "join": _join,
    "lateral_join": _join,
    "set_op": _set_operation,
    "with_relations": _with_relations,
    "map_partitions": _map_partitions,
    "group_map": _group_map,
    "apply_in_pandas_with_state": _apply_in_pandas_with_state,
    "fill_na": _fill_na,
    "drop_na": _drop_na,
    "replace": _replace,
    "summary": _summary,
    "describe": _describe,
    "approx_quantile": _quantiles,
    "cov": _two_columns("covar_samp"),
    "corr": _two_columns("corr"),
}

REFUSED_RELATIONS: dict[str, str] = {
    "show_string": "It is only known as the last step of a frame.",
    "html_string": "It is only known as the last step of a frame.",
    "catalog": "Catalogue questions are answered by themselves only.",
    "co_group_map": "Join the two frames first, then use groupBy(…).applyInPandas.",
    "as_of_join": "Write it as a join with a window function.",
    "nearest_by_join": "Write it as a join with a window function.",
    "common_inline_user_defined_table_function": "Use mapInPandas or explode.",
    "relation_changes": "Read the table's changes with its own format.",
    "transpose": "Use toPandas().T.",
    "crosstab": "Use groupBy(…).pivot(…).count().",
    "freq_items": "Use groupBy(…).count().",
    "sample_by": "Filter by the stratum, then sample.",
    "ml_relation": "Spark ML is not part of Runnel.",
    "extension": "It is part of a plugin.",
}
