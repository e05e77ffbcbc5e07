"""The in-process channel: the official client's requests as method calls, nothing serialised.

The client asks its channel for a callable an RPC and calls it with the request message. The channel decides the server
session, not the session id in the message: the frame that a `foreachBatch` function gets has the id of the user's
session (the client insists on that in joins), and a clone of it behind its channel.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pyspark.errors import PySparkException
from pyspark.sql.connect.client import ChannelBuilder

from runnel.connect.encode import InProcessRpcError, encode_error
from runnel.connect.service import SparkConnectService


class InProcessChannel:
    """What the client's stubs need of a gRPC channel, over a service object."""

    def __init__(self, service: SparkConnectService) -> None:
        self.service = service

    def unary_unary(self, method: str, *_args: Any, **_kwargs: Any) -> Callable[..., Any]:
        handler = self._handler(method)
        if method.endswith("/ExecutePlan"):
            return lambda request, **_: [*self._stream(handler, request)][-1]
        return lambda request, **_: self._call(handler, request)

    def unary_stream(self, method: str, *_args: Any, **_kwargs: Any) -> Callable[..., Iterator[Any]]:
        handler = self._handler(method)
        return lambda request, **_: self._stream(handler, request)

    def stream_unary(self, method: str, *_args: Any, **_kwargs: Any) -> Callable[..., Any]:
        handler = self._handler(method)
        return lambda requests, **_: self._call(handler, requests)

    def close(self) -> None:
        """The client calls this when its session object goes; the service outlives it."""

    def _handler(self, method: str) -> Callable[[Any], Any]:
        handler: Callable[[Any], Any] = self.service.handler(method.rpartition("/")[2])
        return handler

    def _call(self, handler: Callable[[Any], Any], request: Any) -> Any:
        try:
            return handler(request)
        except Exception as problem:
            raise self._translated(problem) from problem

    def _stream(self, handler: Callable[[Any], Iterable[Any]], request: Any) -> Iterator[Any]:
        try:
            yield from handler(request)
        except Exception as problem:
            raise self._translated(problem) from problem

    def _translated(self, problem: Exception) -> Exception:
        if isinstance(problem, PySparkException | InProcessRpcError):
            return problem
        return encode_error(problem, self.service.remember_error)


class InProcessChannelBuilder(ChannelBuilder):
    """Connects a client to a service of this process."""

    def __init__(self, service: SparkConnectService, session_id: str | None = None) -> None:
        super().__init__(params={ChannelBuilder.PARAM_SESSION_ID: session_id or str(uuid.uuid4())})
        self.service = service

    @property
    def host(self) -> str:
        return "in-process"

    def toChannel(self) -> InProcessChannel:
        session_id = self.session_id
        clone = self.service.clones.get(session_id) if session_id else None
        return InProcessChannel(clone or self.service)

    def __deepcopy__(self, memo: dict[int, Any]) -> InProcessChannelBuilder:
        return InProcessChannelBuilder(self.service, self.session_id)
