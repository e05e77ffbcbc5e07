"""Streaming commands: starting a query, asking and steering it, the manager, the stream of listener events."""

from __future__ import annotations

import json
import queue
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pyspark.sql.connect.proto import base_pb2, commands_pb2

from runnel.connect.decode_relations import decode_relation
from runnel.connect.references import resolve
from runnel.errors import IllegalArgumentError, InvalidPlanError, RunnelError, unsupported, user_error
from runnel.plan.relations import Relation
from runnel.plan.write_spec import ForeachBatch, StreamWriteSpec, Trigger
from runnel.runtime.listeners import QueryEvent, QueryIdle, QueryProgress, QueryStarted, QueryTerminated
from runnel.runtime.progress import format_ms
from runnel.runtime.query import StreamingQuery

if TYPE_CHECKING:
    from runnel.connect.operations import Operation
    from runnel.connect.service import SparkConnectService

Responses = Iterator[base_pb2.ExecutePlanResponse]
Execute = base_pb2.ExecutePlanResponse
Start = commands_pb2.WriteStreamOperationStart


# ------------------------------------------------------------------------------------------------------------- start


def start_query(service: SparkConnectService, message: Start, operation: Operation) -> Responses:
    """Starts a query; its started event travels with the answer, since the client delivers that one itself."""
    query = service.session.start_stream(decode_stream_write(service, message, operation.tags))
    started = {
        "id": query.id,
        "runId": query.run_id,
        "name": query.name,
        "timestamp": format_ms(service.session.application.clock.now_ms()),
        "jobTags": sorted(operation.tags),
    }
    result = commands_pb2.WriteStreamOperationStartResult(
        query_id=_instance_id(query), name=query.name or "", query_started_event_json=json.dumps(started)
    )
    yield Execute(write_stream_operation_start_result=result)


def decode_stream_write(service: SparkConnectService, message: Start, tags: frozenset[str]) -> StreamWriteSpec:
    """The writer's settings as data."""
    destination = message.WhichOneof("sink_destination")
    return StreamWriteSpec(
        plan=decode_relation(service.decode_context(), message.input),
        format=message.format or None,
        options=dict(message.options),
        output_mode=message.output_mode or "append",
        query_name=message.query_name or None,
        trigger=_trigger(message),
        path=message.path if destination == "path" else None,
        table_name=message.table_name if destination == "table_name" else None,
        partition_by=tuple(message.partitioning_column_names),
        cluster_by=tuple(message.clustering_column_names),
        foreach_batch=foreach_batch(service, message) if message.HasField("foreach_batch") else None,
        foreach_writer=_foreach_writer(message) if message.HasField("foreach_writer") else None,
        job_tags=tuple(sorted(tags)),
    )


def _trigger(message: Start) -> Trigger:
    match message.WhichOneof("trigger"):
        case "processing_time_interval":
            return Trigger("processing_time", message.processing_time_interval)
        case "available_now" if message.available_now:
            return Trigger("available_now")
        case "once" if message.once:
            return Trigger("once")
        case "continuous_checkpoint_interval":
            return Trigger("continuous", message.continuous_checkpoint_interval)
        case "real_time_batch_duration":
            return Trigger("real_time", message.real_time_batch_duration)
        case _:
            return Trigger()


def _python_object(function: commands_pb2.StreamingForeachFunction, what: str) -> Any:
    if function.WhichOneof("function") != "python_function":
        raise unsupported(f"A Scala function for {what}", "Write it in Python.")
    return resolve(function.python_function.command)


def _foreach_writer(message: Start) -> Any:
    writer = _python_object(message.foreach_writer, "foreach")
    if isinstance(writer, tuple):
        raise unsupported("foreach from another process", "Use foreachBatch.")
    return writer


def foreach_batch(service: SparkConnectService, message: Start) -> ForeachBatch:
    """What the engine calls once a batch: it makes the user's frame and calls the user's function.

    The frame's client session has the id of the session that started the query, so that the frame can be joined with
    frames from outside, and a channel of its own to the clone that the engine hands in.
    """
    from runnel.connect.client import client_session, current_in_thread

    function = _python_object(message.foreach_batch, "foreachBatch")
    session_id = service.client_session_id
    opened: dict[int, Any] = {}

    def run(clone: Any, relation: Relation, batch_id: int) -> None:
        spark = opened.get(id(clone))
        if spark is None:
            opened.clear()
            spark = opened[id(clone)] = client_session(service.around(clone), session_id)
        relation_id = clone.hold_relation(relation, str(uuid.uuid4()))
        try:
            with current_in_thread(spark):
                function(spark._create_remote_dataframe(relation_id), batch_id)
        except RunnelError:
            raise
        except Exception as problem:
            raise user_error(problem) from problem
        finally:
            clone.release_relation(relation_id)

    return run


# ------------------------------------------------------------------------------------------------------------- query


def _instance_id(query: StreamingQuery) -> commands_pb2.StreamingQueryInstanceId:
    return commands_pb2.StreamingQueryInstanceId(id=query.id, run_id=query.run_id)


def _find(service: SparkConnectService, query_id: commands_pb2.StreamingQueryInstanceId) -> StreamingQuery:
    query = service.session.streams.find(query_id.id, query_id.run_id)
    if query is None:
        raise InvalidPlanError("CONNECT_INVALID_PLAN.STREAMING_QUERY_NOT_FOUND", id=query_id.id)
    return query


def _seconds(message: Any) -> float | None:
    return message.timeout_ms / 1000 if message.HasField("timeout_ms") else None


def query_command(
    service: SparkConnectService, message: commands_pb2.StreamingQueryCommand, _operation: Operation
) -> Responses:
    """One question to a query, or one order."""
    query = _find(service, message.query_id)
    result = commands_pb2.StreamingQueryCommandResult(query_id=message.query_id)
    match message.WhichOneof("command"):
        case "status":
            status = query.status()
            result.status.status_message = str(status["message"])
            result.status.is_data_available = bool(status["isDataAvailable"])
            result.status.is_trigger_active = bool(status["isTriggerActive"])
            result.status.is_active = query.is_active
        case "last_progress":
            last = query.last_progress()
            reports = [last] if last is not None else []
            result.recent_progress.recent_progress_json.extend(json.dumps(r.wire()) for r in reports)
            result.recent_progress.SetInParent()
        case "recent_progress":
            result.recent_progress.recent_progress_json.extend(json.dumps(r.wire()) for r in query.recent_progress())
            result.recent_progress.SetInParent()
        case "stop":
            query.stop()
        case "process_all_available":
            query.process_all_available()
        case "explain":
            result.explain.result = query.explain(message.explain.extended)
        case "exception":
            result.exception.SetInParent()
            error = query.exception()
            if error is not None:
                result.exception.exception_message = f"{error.spark_class}: {error.message}"
                result.exception.error_class = error.condition
        case "await_termination":
            result.await_termination.terminated = query.await_termination(_seconds(message.await_termination))
        case other:
            raise unsupported(f"The streaming query command {other}")
    yield Execute(streaming_query_command_result=result)


# ----------------------------------------------------------------------------------------------------------- manager


def _instance(query: StreamingQuery) -> commands_pb2.StreamingQueryManagerCommandResult.StreamingQueryInstance:
    return commands_pb2.StreamingQueryManagerCommandResult.StreamingQueryInstance(
        id=_instance_id(query), name=query.name
    )


def manager_command(
    service: SparkConnectService, message: commands_pb2.StreamingQueryManagerCommand, _operation: Operation
) -> Responses:
    """One question to the session's manager of queries."""
    streams = service.session.streams
    result = commands_pb2.StreamingQueryManagerCommandResult()
    match message.WhichOneof("command"):
        case "active":
            result.active.active_queries.extend(_instance(q) for q in streams.active())
            result.active.SetInParent()
        case "get_query":
            query = streams.get(_uuid(message.get_query))
            if query is not None:
                result.query.CopyFrom(_instance(query))
        case "await_any_termination":
            ended = streams.await_any_termination(_seconds(message.await_any_termination))
            result.await_any_termination.terminated = ended
        case "reset_terminated":
            streams.reset_terminated()
            result.reset_terminated = True
        case other:
            raise unsupported(f"The streaming manager command {other}", "Add listeners with spark.streams.addListener.")
    yield Execute(streaming_query_manager_command_result=result)


def _uuid(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise IllegalArgumentError("INVALID_QUERY_ID", id=text) from None


# --------------------------------------------------------------------------------------------------------- listeners

_EVENT_TYPES: dict[type[QueryEvent], Any] = {
    QueryProgress: commands_pb2.StreamingQueryEventType.QUERY_PROGRESS_EVENT,
    QueryTerminated: commands_pb2.StreamingQueryEventType.QUERY_TERMINATED_EVENT,
    QueryIdle: commands_pb2.StreamingQueryEventType.QUERY_IDLE_EVENT,
}


class EventStream:
    """The session's events on their way to the client, which hands them to the user's listeners in a thread of its own."""

    def __init__(self) -> None:
        self._events: queue.SimpleQueue[QueryEvent | None] = queue.SimpleQueue()

    def on_event(self, event: QueryEvent) -> None:
        """Called by the engine. Started events are left out: the client delivers those before `start()` returns."""
        if not isinstance(event, QueryStarted):
            self._events.put(event)

    def end(self) -> None:
        """No more events: the client's thread returns when it has delivered those before."""
        self._events.put(None)

    def responses(self) -> Responses:
        """The events until `end`, after a first response that says that listening has begun."""
        first = commands_pb2.StreamingQueryListenerEventsResult(listener_bus_listener_added=True)
        yield Execute(streaming_query_listener_events_result=first)
        while (event := self._events.get()) is not None:
            message = commands_pb2.StreamingQueryListenerEvent(
                event_json=json.dumps(event.wire()), event_type=_EVENT_TYPES[type(event)]
            )
            result = commands_pb2.StreamingQueryListenerEventsResult(events=[message])
            yield Execute(streaming_query_listener_events_result=result)


def listener_bus_command(
    service: SparkConnectService, message: commands_pb2.StreamingQueryListenerBusCommand, _operation: Operation
) -> Responses:
    """Begins or ends the stream of events to the client's bus of listeners. A session has at most one."""
    streams = service.session.streams
    match message.WhichOneof("command"):
        case "add_listener_bus_listener":
            stream = EventStream()
            service.event_streams.append(stream)
            streams.add_listener(stream)
            yield from stream.responses()
        case "remove_listener_bus_listener":
            streams.bus.drain()
            service.end_event_streams()
            yield from ()
        case other:
            raise unsupported(f"The listener command {other}")
