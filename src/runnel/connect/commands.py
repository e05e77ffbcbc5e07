"""Commands of the DataFrame API, one function a command."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from pyspark.sql.connect.proto import base_pb2, commands_pb2, expressions_pb2, relations_pb2

from runnel.connect.decode_expressions import decode_python_function
from runnel.connect.decode_relations import decode_relation, parse_sql
from runnel.connect.results import as_local_relation, observed, run_plan
from runnel.connect.sql_commands import run_sql_command
from runnel.connect.streaming import listener_bus_command, manager_command, query_command, start_query
from runnel.errors import InvalidPlanError, unsupported
from runnel.plan.relations import Relation
from runnel.plan.write_spec import WriteSpec

if TYPE_CHECKING:
    from runnel.connect.operations import Operation
    from runnel.connect.service import SparkConnectService

Responses = Iterator[base_pb2.ExecutePlanResponse]
Execute = base_pb2.ExecutePlanResponse


def run_command(service: SparkConnectService, command: commands_pb2.Command, operation: Operation) -> Responses:
    """Runs one command and gives its responses; refuses those that are not supported by name."""
    kind = command.WhichOneof("command_type")
    if kind is None:
        raise InvalidPlanError("CONNECT_INVALID_PLAN.PLAN_OP_TYPE_NOT_SET")
    handler = COMMANDS.get(kind)
    if handler is None:
        raise unsupported(f"The Spark Connect command {kind}", REFUSED_COMMANDS.get(kind, ""))
    yield from handler(service, getattr(command, kind), operation)


def _decode(service: SparkConnectService, message: relations_pb2.Relation) -> Relation:
    return decode_relation(service.decode_context(), message)


# --------------------------------------------------------------------------------------------------------------- SQL


def _sql_command(service: SparkConnectService, message: commands_pb2.SqlCommand, _operation: Operation) -> Responses:
    """A query is handed back as the relation it is; a command runs now, and its rows are handed back."""
    relation = message.input
    if not message.HasField("input"):
        relation = relations_pb2.Relation(sql=relations_pb2.SQL(query=message.sql, pos_args=message.pos_args))
        relation.sql.args.MergeFrom(message.args)
        relation.sql.named_arguments.MergeFrom(message.named_arguments)
        relation.sql.pos_arguments.extend(message.pos_arguments)
    if relation.WhichOneof("rel_type") == "sql":
        parsed = parse_sql(service.decode_context(), relation.sql)
        if not isinstance(parsed, Relation):
            rows = as_local_relation(service, *run_sql_command(service, parsed))
            yield Execute(sql_command_result=Execute.SqlCommandResult(relation=rows))
            return
    yield Execute(sql_command_result=Execute.SqlCommandResult(relation=relation))


def _create_view(
    service: SparkConnectService, message: commands_pb2.CreateDataFrameViewCommand, _operation: Operation
) -> Responses:
    plan = _decode(service, message.input)
    service.session.create_view(message.name, plan, replace_existing=message.replace, is_global=message.is_global)
    yield from ()


# ------------------------------------------------------------------------------------------------------------ writers

_SAVE_MODES = {
    commands_pb2.WriteOperation.SAVE_MODE_UNSPECIFIED: "error",
    commands_pb2.WriteOperation.SAVE_MODE_APPEND: "append",
    commands_pb2.WriteOperation.SAVE_MODE_OVERWRITE: "overwrite",
    commands_pb2.WriteOperation.SAVE_MODE_ERROR_IF_EXISTS: "error",
    commands_pb2.WriteOperation.SAVE_MODE_IGNORE: "ignore",
}


def _write(service: SparkConnectService, message: commands_pb2.WriteOperation, _operation: Operation) -> Responses:
    if message.with_schema_evolution:
        raise unsupported("Writing with schema evolution")
    save = message.WhichOneof("save_type")
    mode = _SAVE_MODES[message.mode]
    table_name = message.table.table_name if save == "table" else None
    if save == "table" and message.table.save_method == message.table.TABLE_SAVE_METHOD_INSERT_INTO:
        mode = "overwrite" if mode == "overwrite" else "append"
    buckets = None
    if message.HasField("bucket_by"):
        buckets = (message.bucket_by.num_buckets, tuple(message.bucket_by.bucket_column_names))
    plan = _decode(service, message.input)
    service.session.write(
        WriteSpec(
            plan=plan,
            format=message.source if message.HasField("source") and message.source else None,
            options=dict(message.options),
            mode=mode,
            path=message.path if save == "path" else None,
            table_name=table_name,
            partition_by=tuple(message.partitioning_columns),
            sort_by=tuple(message.sort_column_names),
            bucket_by=buckets,
        )
    )
    yield from observed(service, plan)


_V2_MODES = {
    commands_pb2.WriteOperationV2.MODE_CREATE: "error",
    commands_pb2.WriteOperationV2.MODE_APPEND: "append",
    commands_pb2.WriteOperationV2.MODE_REPLACE: "overwrite",
    commands_pb2.WriteOperationV2.MODE_CREATE_OR_REPLACE: "overwrite",
}


def _write_v2(service: SparkConnectService, message: commands_pb2.WriteOperationV2, _operation: Operation) -> Responses:
    mode = _V2_MODES.get(message.mode)
    if mode is None or message.HasField("overwrite_condition"):
        raise unsupported("writeTo(…).overwrite", "Use write.mode('overwrite').saveAsTable(…).")
    if message.with_schema_evolution:
        raise unsupported("Writing with schema evolution")
    columns = []
    for expression in message.partitioning_columns:
        if expression.WhichOneof("expr_type") != "unresolved_attribute":
            raise unsupported("Partitioning by a transform of a column")
        columns.append(expression.unresolved_attribute.unparsed_identifier)
    service.session.write(
        WriteSpec(
            plan=_decode(service, message.input),
            format=message.provider if message.HasField("provider") else None,
            options=dict(message.options),
            mode=mode,
            table_name=message.table_name,
            partition_by=tuple(columns),
        )
    )
    yield from ()


# --------------------------------------------------------------------------------------------- functions, checkpoints


def _register_function(
    service: SparkConnectService, message: expressions_pb2.CommonInlineUserDefinedFunction, _operation: Operation
) -> Responses:
    function, dtype = decode_python_function(message)
    service.session.register_function(message.function_name, function, dtype)
    yield from ()


def _get_resources(
    _service: SparkConnectService, _message: commands_pb2.GetResourcesCommand, _operation: Operation
) -> Responses:
    yield Execute(get_resources_command_result=commands_pb2.GetResourcesCommandResult())


def _checkpoint(
    service: SparkConnectService, message: commands_pb2.CheckpointCommand, _operation: Operation
) -> Responses:
    """Rows computed once and held by the session until the client lets go of the frame."""
    rows = service.session.local_relation(*run_plan(service, _decode(service, message.relation)))
    relation_id = service.session.hold_relation(rows)
    relation = relations_pb2.CachedRemoteRelation(relation_id=relation_id)
    yield Execute(checkpoint_command_result=base_pb2.CheckpointCommandResult(relation=relation))


def _release(
    service: SparkConnectService, message: commands_pb2.RemoveCachedRemoteRelationCommand, _operation: Operation
) -> Responses:
    service.session.release_relation(message.relation.relation_id)
    yield from ()


def _ml(_service: SparkConnectService, message: Any, _operation: Operation) -> Responses:
    """The client cleans its model cache at exit: there is none."""
    if message.WhichOneof("command") not in ("clean_cache", "delete"):
        raise unsupported("Spark ML")
    yield from ()


COMMANDS: dict[str, Callable[[SparkConnectService, Any, Operation], Responses]] = {
    "sql_command": _sql_command,
    "create_dataframe_view": _create_view,
    "write_operation": _write,
    "write_operation_v2": _write_v2,
    "write_stream_operation_start": start_query,
    "streaming_query_command": query_command,
    "streaming_query_manager_command": manager_command,
    "streaming_query_listener_bus_command": listener_bus_command,
    "register_function": _register_function,
    "get_resources_command": _get_resources,
    "checkpoint_command": _checkpoint,
    "remove_cached_remote_relation_command": _release,
    "ml_command": _ml,
}

REFUSED_COMMANDS: dict[str, str] = {
    "register_table_function": "Use mapInPandas or explode.",
    "register_data_source": "Read the data with Python and createDataFrame, or write the source for Runnel.",
    "create_resource_profile_command": "There are no executors to choose resources for.",
    "merge_into_table_command": "Write the merge with your target's own client inside foreachBatch.",
    "execute_external_command": "Use the other system's own client.",
    "pipeline_command": "Declarative pipelines are not part of Runnel.",
    "extension": "It is part of a plugin.",
}
