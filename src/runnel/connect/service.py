"""The Spark Connect service of one server session: routing only.

Each RPC of the protocol is a method of its name in snake case; it takes the request message (or an iterator of them)
and gives the response message (or an iterator). Errors leave as they are; the channel or the server translates them.
"""

from __future__ import annotations

import collections
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
from pyspark.sql.connect.proto import base_pb2

from runnel.connect.analyze import analyze
from runnel.connect.artifacts import ArtifactStore
from runnel.connect.commands import run_command
from runnel.connect.decode_expressions import DecodeContext
from runnel.connect.encode import encode_error_details
from runnel.connect.operations import Operation, Operations
from runnel.connect.results import run_relation
from runnel.connect.settings import configure
from runnel.connect.streaming import EventStream
from runnel.errors import InvalidPlanError, RunnelError, unsupported

if TYPE_CHECKING:
    from runnel.session import Session

M = TypeVar("M")

_REMEMBERED_ERRORS = 100


class SparkConnectService:
    """Serves one server session.

    `owner`: releasing the session ends the application too. `clones` are the services of its clones, by client session
    id, shared among them. `client_session_id` is the id that the session's client has.
    """

    def __init__(
        self, session: Session, *, owner: bool = False, clones: dict[str, SparkConnectService] | None = None
    ) -> None:
        self.session = session
        self.owner = owner
        self.client_session_id: str | None = None
        self.event_streams: list[EventStream] = []
        self.server_session_id = str(uuid.uuid4())
        self.clones: dict[str, SparkConnectService] = {} if clones is None else clones
        self.artifacts = ArtifactStore()
        self.operations = Operations()
        self._errors: collections.OrderedDict[str, RunnelError] = collections.OrderedDict()
        self._lock = threading.Lock()

    def clone(self) -> SparkConnectService:
        """A service over a clone of the session."""
        return self.around(self.session.clone())

    def around(self, session: Session) -> SparkConnectService:
        """A service over a session that was derived from this one's; uploads are shared."""
        service = SparkConnectService(session, clones=self.clones)
        service.artifacts = self.artifacts
        return service

    def end_event_streams(self) -> None:
        """Ends what the client's bus of listeners reads from."""
        while self.event_streams:
            stream = self.event_streams.pop()
            self.session.streams.remove_listener(stream)
            stream.end()

    def decode_context(self) -> DecodeContext:
        """What a plan of this session is decoded with; a new one for each plan."""
        ntz = self.session.conf.get_option("spark.sql.timestampType") == "TIMESTAMP_NTZ"
        return DecodeContext(artifact=self.artifacts.get, prefer_timestamp_ntz=ntz)

    def handler(self, method: str) -> Callable[[Any], Any]:
        """The method that serves an RPC, by its name in the protocol."""
        handlers: dict[str, Callable[[Any], Any]] = {
            "ExecutePlan": self.execute_plan,
            "AnalyzePlan": self.analyze_plan,
            "Config": self.config,
            "AddArtifacts": self.add_artifacts,
            "ArtifactStatus": self.artifact_status,
            "Interrupt": self.interrupt,
            "ReattachExecute": self.reattach_execute,
            "ReleaseExecute": self.release_execute,
            "ReleaseSession": self.release_session,
            "FetchErrorDetails": self.fetch_error_details,
            "CloneSession": self.clone_session,
            "GetStatus": self.get_status,
        }
        return handlers[method]

    # ------------------------------------------------------------------------------------------------------- plans

    def execute_plan(self, request: base_pb2.ExecutePlanRequest) -> Iterator[base_pb2.ExecutePlanResponse]:
        plan = expand(request.plan)
        waits = str(plan.command.WhichOneof("command_type")).startswith("streaming_query")
        tags = frozenset(request.tags)
        with self.operations.running(request.operation_id, tags, computes=not waits) as operation:
            for response in self._responses(plan, operation):
                response.session_id = request.session_id
                response.server_side_session_id = self.server_session_id
                response.operation_id = operation.id
                response.response_id = str(uuid.uuid4())
                yield response

    def _responses(self, plan: base_pb2.Plan, operation: Operation) -> Iterator[base_pb2.ExecutePlanResponse]:
        match plan.WhichOneof("op_type"):
            case "root":
                yield from run_relation(self, plan.root)
            case "command":
                yield from run_command(self, plan.command, operation)
            case _:
                raise InvalidPlanError("CONNECT_INVALID_PLAN.PLAN_OP_TYPE_NOT_SET")
        yield base_pb2.ExecutePlanResponse(result_complete=base_pb2.ExecutePlanResponse.ResultComplete())

    def analyze_plan(self, request: base_pb2.AnalyzePlanRequest) -> base_pb2.AnalyzePlanResponse:
        return self._signed(request, analyze(self, request))

    def config(self, request: base_pb2.ConfigRequest) -> base_pb2.ConfigResponse:
        return self._signed(request, configure(self.session.conf, request.operation))

    # ---------------------------------------------------------------------------------------- artifacts, operations

    def add_artifacts(self, requests: Iterable[base_pb2.AddArtifactsRequest]) -> base_pb2.AddArtifactsResponse:
        session_id = ""

        def seen() -> Iterator[base_pb2.AddArtifactsRequest]:
            nonlocal session_id
            for request in requests:
                session_id = request.session_id
                yield request

        summary = self.artifacts.add(seen())
        response = base_pb2.AddArtifactsResponse(session_id=session_id, server_side_session_id=self.server_session_id)
        for name, intact in summary:
            response.artifacts.add(name=name, is_crc_successful=intact)
        return response

    def artifact_status(self, request: base_pb2.ArtifactStatusesRequest) -> base_pb2.ArtifactStatusesResponse:
        response = self._signed(request, base_pb2.ArtifactStatusesResponse())
        for name in request.names:
            response.statuses[name].exists = self.artifacts.has(name)
        return response

    def interrupt(self, request: base_pb2.InterruptRequest) -> base_pb2.InterruptResponse:
        interrupted = self.operations.interrupt(request)
        if interrupted:
            self.session.interrupt()
        ids = [operation.id for operation in interrupted]
        return self._signed(request, base_pb2.InterruptResponse(interrupted_ids=ids))

    def get_status(self, request: base_pb2.GetStatusRequest) -> base_pb2.GetStatusResponse:
        statuses = self.operations.statuses(list(request.operation_status.operation_ids))
        return self._signed(request, base_pb2.GetStatusResponse(operation_statuses=statuses))

    def reattach_execute(self, _request: base_pb2.ReattachExecuteRequest) -> Iterator[base_pb2.ExecutePlanResponse]:
        raise unsupported("Reattaching to an execution", "Responses are never lost inside one process.")

    def release_execute(self, request: base_pb2.ReleaseExecuteRequest) -> base_pb2.ReleaseExecuteResponse:
        return self._signed(request, base_pb2.ReleaseExecuteResponse(operation_id=request.operation_id))

    # ----------------------------------------------------------------------------------------------------- sessions

    def release_session(self, request: base_pb2.ReleaseSessionRequest) -> base_pb2.ReleaseSessionResponse:
        self.clones.pop(request.session_id, None)
        self.release()
        return self._signed(request, base_pb2.ReleaseSessionResponse())

    def release(self) -> None:
        """Stops the session's queries and ends its streams of events; an owner's application ends with it."""
        self.session.stop()
        self.end_event_streams()
        if self.owner:
            self.session.application.close()

    def clone_session(self, request: base_pb2.CloneSessionRequest) -> base_pb2.CloneSessionResponse:
        service = self.clone()
        new_id = request.new_session_id or str(uuid.uuid4())
        self.clones[new_id] = service
        response = base_pb2.CloneSessionResponse(
            new_session_id=new_id, new_server_side_session_id=service.server_session_id
        )
        return self._signed(request, response)

    def remember_error(self, error: RunnelError) -> str:
        """Keeps an error for FetchErrorDetails; gives the id to ask with."""
        error_id = str(uuid.uuid4())
        with self._lock:
            self._errors[error_id] = error
            while len(self._errors) > _REMEMBERED_ERRORS:
                self._errors.popitem(last=False)
        return error_id

    def fetch_error_details(self, request: base_pb2.FetchErrorDetailsRequest) -> base_pb2.FetchErrorDetailsResponse:
        response = self._signed(request, base_pb2.FetchErrorDetailsResponse())
        with self._lock:
            error = self._errors.get(request.error_id)
        if error is not None:
            response.root_error_idx = 0
            response.errors.append(encode_error_details(error))
        return response

    def _signed(self, request: Any, response: M) -> M:
        signed: Any = response
        signed.session_id = request.session_id
        signed.server_side_session_id = self.server_session_id
        return response


def expand(plan: base_pb2.Plan) -> base_pb2.Plan:
    """The plan itself, decompressed if the client compressed it."""
    if plan.WhichOneof("op_type") != "compressed_operation":
        return plan
    packed = plan.compressed_operation
    with pa.CompressedInputStream(pa.BufferReader(packed.data), "zstd") as stream:
        data = stream.read()
    expanded = base_pb2.Plan()
    if packed.op_type == base_pb2.Plan.CompressedOperation.OP_TYPE_RELATION:
        expanded.root.ParseFromString(data)
    else:
        expanded.command.ParseFromString(data)
    return expanded
