"""AnalyzePlan: questions about a plan that are answered without running it, one function a question."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pyspark.sql.connect.proto import base_pb2, common_pb2, relations_pb2
from pyspark.sql.types import DataType, StructType, _parse_datatype_json_value

from runnel import sql
from runnel.connect.decode_relations import decode_relation
from runnel.connect.encode import encode_type
from runnel.errors import InvalidPlanError, ParseError, unsupported
from runnel.plan.relations import FileScan, LocalData, Relation
from runnel.plan.traverse import walk_relations
from runnel.show import schema_tree

if TYPE_CHECKING:
    from runnel.connect.service import SparkConnectService

SPARK_VERSION = "4.2.0"

Request = base_pb2.AnalyzePlanRequest
Response = base_pb2.AnalyzePlanResponse

_EXPLAIN_MODES = {
    Request.Explain.EXPLAIN_MODE_SIMPLE: "simple",
    Request.Explain.EXPLAIN_MODE_EXTENDED: "extended",
    Request.Explain.EXPLAIN_MODE_CODEGEN: "codegen",
    Request.Explain.EXPLAIN_MODE_COST: "cost",
    Request.Explain.EXPLAIN_MODE_FORMATTED: "formatted",
}


def analyze(service: SparkConnectService, request: Request) -> Response:
    """The answer to the request's question."""
    kind = str(request.WhichOneof("analyze"))
    handler = HANDLERS.get(kind)
    if handler is None:
        raise unsupported(f"The Spark Connect analysis {kind}")
    return handler(service, getattr(request, kind))


def _plan(service: SparkConnectService, plan: base_pb2.Plan) -> Relation:
    from_root = plan.WhichOneof("op_type") == "root"
    if not from_root:
        raise InvalidPlanError("CONNECT_INVALID_PLAN.PLAN_IS_NOT_A_RELATION")
    return _relation(service, plan.root)


def _relation(service: SparkConnectService, message: relations_pb2.Relation) -> Relation:
    return decode_relation(service.decode_context(), message)


def _schema(service: SparkConnectService, message: Request.Schema) -> Response:
    schema = service.session.schema(_plan(service, message.plan))
    return Response(schema=Response.Schema(schema=encode_type(schema)))


def _explain(service: SparkConnectService, message: Request.Explain) -> Response:
    mode = _EXPLAIN_MODES.get(message.explain_mode, "simple")
    text = service.session.explain(_plan(service, message.plan), mode)
    return Response(explain=Response.Explain(explain_string=text))


def _tree_string(service: SparkConnectService, message: Request.TreeString) -> Response:
    schema = service.session.schema(_plan(service, message.plan))
    level = message.level if message.HasField("level") else None
    return Response(tree_string=Response.TreeString(tree_string=schema_tree(schema, level)))


def _is_local(service: SparkConnectService, message: Request.IsLocal) -> Response:
    local = isinstance(_plan(service, message.plan), LocalData)
    return Response(is_local=Response.IsLocal(is_local=local))


def _is_streaming(service: SparkConnectService, message: Request.IsStreaming) -> Response:
    resolved = service.session.analyze(_plan(service, message.plan))
    return Response(is_streaming=Response.IsStreaming(is_streaming=resolved.is_streaming))


def _input_files(service: SparkConnectService, message: Request.InputFiles) -> Response:
    resolved = service.session.analyze(_plan(service, message.plan))
    scans = [node for node in walk_relations(resolved) if isinstance(node, FileScan)]
    files = sorted({path for scan in scans for path in scan.paths})
    return Response(input_files=Response.InputFiles(files=files))


def _spark_version(_service: SparkConnectService, _message: Request.SparkVersion) -> Response:
    return Response(spark_version=Response.SparkVersion(version=SPARK_VERSION))


def _ddl_parse(_service: SparkConnectService, message: Request.DDLParse) -> Response:
    return Response(ddl_parse=Response.DDLParse(parsed=encode_type(parse_ddl(message.ddl_string))))


def parse_ddl(text: str) -> DataType:
    """A DDL text as Spark's clients mean it: a type by itself, or else the columns of a struct."""
    try:
        return sql.parse_type(text)
    except ParseError:
        return sql.parse_schema(text)


def _json_to_ddl(_service: SparkConnectService, message: Request.JsonToDDL) -> Response:
    dtype = _parse_datatype_json_value(json.loads(message.json_string))
    return Response(json_to_ddl=Response.JsonToDDL(ddl_string=ddl_text(dtype)))


def ddl_text(schema: Any) -> str:
    """A schema as DDL, `name TYPE, …`; names are quoted where they must be."""
    if not isinstance(schema, StructType):
        return str(schema.simpleString()).upper()
    fields = []
    for field in schema.fields:
        name = field.name
        if not (name.isascii() and name.isidentifier()):
            name = "`" + name.replace("`", "``") + "`"
        nullable = "" if field.nullable else " NOT NULL"
        fields.append(f"{name} {field.dataType.simpleString().upper()}{nullable}")
    return ",".join(fields)


def _same_semantics(service: SparkConnectService, message: Request.SameSemantics) -> Response:
    same = _fingerprint(message.target_plan.root) == _fingerprint(message.other_plan.root)
    return Response(same_semantics=Response.SameSemantics(result=same))


def _semantic_hash(service: SparkConnectService, message: Request.SemanticHash) -> Response:
    number = zlib.crc32(_fingerprint(message.plan.root))
    return Response(semantic_hash=Response.SemanticHash(result=number - 2**32 if number >= 2**31 else number))


def _fingerprint(relation: relations_pb2.Relation) -> bytes:
    """The message's bytes without the ids that the client gives each frame anew."""
    copy = relations_pb2.Relation()
    copy.CopyFrom(relation)
    _forget_ids(copy)
    return bytes(copy.SerializeToString(deterministic=True))


def _forget_ids(message: Any) -> None:
    for field, value in message.ListFields():
        if field.name in ("common", "plan_id"):
            message.ClearField(field.name)
        elif field.message_type is not None:
            if field.is_repeated:
                entries = value.values() if field.message_type.GetOptions().map_entry else value
                for entry in entries:
                    if hasattr(entry, "ListFields"):
                        _forget_ids(entry)
            else:
                _forget_ids(value)


def _persist(service: SparkConnectService, message: Request.Persist) -> Response:
    service.session.cache(_relation(service, message.relation))
    return Response(persist=Response.Persist())


def _unpersist(service: SparkConnectService, message: Request.Unpersist) -> Response:
    service.session.uncache(_relation(service, message.relation))
    return Response(unpersist=Response.Unpersist())


def _storage_level(service: SparkConnectService, message: Request.GetStorageLevel) -> Response:
    cached = service.session.storage_level(_relation(service, message.relation)) is not None
    level = common_pb2.StorageLevel(use_disk=cached, use_memory=cached, deserialized=cached, replication=1)
    return Response(get_storage_level=Response.GetStorageLevel(storage_level=level))


HANDLERS: dict[str, Callable[[SparkConnectService, Any], Response]] = {
    "schema": _schema,
    "explain": _explain,
    "tree_string": _tree_string,
    "is_local": _is_local,
    "is_streaming": _is_streaming,
    "input_files": _input_files,
    "spark_version": _spark_version,
    "ddl_parse": _ddl_parse,
    "json_to_ddl": _json_to_ddl,
    "same_semantics": _same_semantics,
    "semantic_hash": _semantic_hash,
    "persist": _persist,
    "unpersist": _unpersist,
    "get_storage_level": _storage_level,
}
