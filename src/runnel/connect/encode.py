"""Schemas, rows, constants and errors to the client's messages."""

from __future__ import annotations

import datetime
import decimal
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pyarrow as pa
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from pyspark.sql.connect.proto import base_pb2, expressions_pb2, types_pb2
from pyspark.sql.connect.types import pyspark_types_to_proto_types
from pyspark.sql.types import DataType, StructType

from runnel.connect.arrow_values import convert_table, to_wire
from runnel.errors import RunnelError, describe, internal_error

log = logging.getLogger("runnel.connect")

_BATCH_BYTES = 4 * 1024 * 1024
_ERROR_CODE = grpc.StatusCode.INTERNAL
_DETAILS_KEY = "grpc-status-details-bin"


def encode_type(dtype: DataType) -> types_pb2.DataType:
    """A Spark type as a message."""
    message: types_pb2.DataType = pyspark_types_to_proto_types(dtype)
    return message


def encode_rows(table: pa.Table, schema: StructType, zone: str) -> Iterator[base_pb2.ExecutePlanResponse.ArrowBatch]:
    """The rows as Arrow IPC streams of bounded size, at least one. `table` is in physical types."""
    count = table.num_rows
    wire = convert_table(table, schema, lambda array, dtype: to_wire(array, dtype, zone))
    batches: list[pa.RecordBatch] = []
    if not schema.fields:
        rows = pa.array([{}] * count, pa.struct([]))
        batches = [pa.RecordBatch.from_struct_array(rows)]
    elif count:
        rows_a_batch = max(1, int(count * _BATCH_BYTES / max(1, wire.nbytes)))
        batches = wire.to_batches(max_chunksize=rows_a_batch)
    else:
        batches = [pa.RecordBatch.from_arrays([pa.nulls(0, f.type) for f in wire.schema], schema=wire.schema)]
    offset = 0
    for batch in batches:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        yield base_pb2.ExecutePlanResponse.ArrowBatch(
            row_count=batch.num_rows, data=sink.getvalue().to_pybytes(), start_offset=offset
        )
        offset += batch.num_rows


def encode_value(value: Any) -> expressions_pb2.Expression.Literal:
    """A Python value, as observed metrics have them, as a constant."""
    literal = expressions_pb2.Expression.Literal()
    match value:
        case None:
            literal.null.null.SetInParent()
        case bool():
            literal.boolean = value
        case int():
            literal.long = value
        case float():
            literal.double = value
        case str():
            literal.string = value
        case bytes():
            literal.binary = value
        case decimal.Decimal():
            literal.decimal.value = str(value)
        case datetime.datetime():
            moment = value if value.tzinfo else value.replace(tzinfo=datetime.UTC)
            epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
            literal.timestamp = (moment - epoch) // datetime.timedelta(microseconds=1)
        case datetime.date():
            literal.date = (value - datetime.date(1970, 1, 1)).days
        case list() | tuple():
            literal.array.element_type.null.SetInParent()
            literal.array.elements.extend([encode_value(v) for v in value])
        case _:
            literal.string = str(value)
    return literal


# ------------------------------------------------------------------------------------------------------------ errors


class InProcessRpcError(grpc.RpcError):  # type: ignore[misc]
    """What a failed request raises in the client: a call's status, with Spark's details packed in."""

    def __init__(self, status: status_pb2.Status) -> None:
        super().__init__(status.message)
        self._status = status

    def code(self) -> grpc.StatusCode:
        return _ERROR_CODE

    def details(self) -> str:
        return str(self._status.message)

    def trailing_metadata(self) -> tuple[tuple[str, bytes], ...]:
        return ((_DETAILS_KEY, self._status.SerializeToString()),)


def as_runnel_error(problem: BaseException) -> RunnelError:
    """The error itself if it has a condition, else the one that says that something of ours went wrong."""
    if isinstance(problem, RunnelError):
        return problem
    log.debug("a request failed in an unexpected way", exc_info=problem)
    return internal_error(describe(problem)).caused_by(problem)


def encode_error(problem: BaseException, remember: Callable[[RunnelError], str]) -> InProcessRpcError:
    """An error as the client's RPC error; `remember` keeps it for FetchErrorDetails and gives its id."""
    error = as_runnel_error(problem)
    info = error_details_pb2.ErrorInfo(reason=error.spark_classes[0], domain="org.apache.spark")
    info.metadata["classes"] = json.dumps(list(error.spark_classes))
    info.metadata["errorClass"] = error.condition
    if error.sqlstate:
        info.metadata["sqlState"] = error.sqlstate
    info.metadata["messageParameters"] = json.dumps(error.message_parameters)
    if error.context is not None:
        info.metadata["errorId"] = remember(error)
    details = any_pb2.Any()
    details.Pack(info)
    return InProcessRpcError(status_pb2.Status(code=_ERROR_CODE.value[0], message=error.message, details=[details]))


def encode_error_details(error: RunnelError) -> base_pb2.FetchErrorDetailsResponse.Error:
    """The whole error, with the piece of the user's text that it is about."""
    message = base_pb2.FetchErrorDetailsResponse.Error(
        error_type_hierarchy=list(error.spark_classes), message=error.message
    )
    throwable = message.spark_throwable
    throwable.error_class = error.condition
    if error.sqlstate:
        throwable.sql_state = error.sqlstate
    for name, value in error.message_parameters.items():
        throwable.message_parameters[name] = value
    if error.context is not None:
        throwable.query_contexts.add(
            context_type=base_pb2.FetchErrorDetailsResponse.QueryContext.SQL,
            start_index=error.context.start,
            stop_index=error.context.stop,
            fragment=error.context.fragment,
            summary=str(error.context),
        )
    return message
