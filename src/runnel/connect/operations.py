"""What is being executed for a client: ids, tags, states, and breaking it off."""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pyspark.sql.connect.proto import base_pb2

_STATES = base_pb2.GetStatusResponse.OperationStatus
_REMEMBERED = 1000


@dataclass(slots=True)
class Operation:
    """One execution. `interrupted` is set when the client asked to break it off.

    `computes`: it runs a statement that can be broken off; waiting for a streaming query does not.
    """

    id: str
    tags: frozenset[str]
    computes: bool = True
    state: Any = _STATES.OPERATION_STATE_RUNNING
    interrupted: threading.Event = field(default_factory=threading.Event)


class Operations:
    """The executions of one session, running ones and the last that ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, Operation] = {}

    @contextlib.contextmanager
    def running(self, operation_id: str, tags: frozenset[str], *, computes: bool = True) -> Iterator[Operation]:
        """An execution while it lasts."""
        operation = Operation(operation_id or str(uuid.uuid4()), tags, computes)
        with self._lock:
            self._known[operation.id] = operation
            while len(self._known) > _REMEMBERED:
                self._known.pop(next(iter(self._known)))
        try:
            yield operation
        except Exception:
            cancelled = operation.interrupted.is_set()
            operation.state = _STATES.OPERATION_STATE_CANCELLED if cancelled else _STATES.OPERATION_STATE_FAILED
            raise
        else:
            operation.state = _STATES.OPERATION_STATE_SUCCEEDED

    def interrupt(self, request: base_pb2.InterruptRequest) -> list[Operation]:
        """Marks the running executions that the request means, and gives them."""
        kinds = base_pb2.InterruptRequest.InterruptType
        with self._lock:
            found = [o for o in self._known.values() if o.computes and o.state == _STATES.OPERATION_STATE_RUNNING]
        if request.interrupt_type == kinds.INTERRUPT_TYPE_TAG:
            found = [o for o in found if request.operation_tag in o.tags]
        elif request.interrupt_type == kinds.INTERRUPT_TYPE_OPERATION_ID:
            found = [o for o in found if o.id == request.operation_id]
        for operation in found:
            operation.interrupted.set()
        return found

    def statuses(self, ids: list[str]) -> list[base_pb2.GetStatusResponse.OperationStatus]:
        """The states of the executions with these ids, or of all."""
        with self._lock:
            known = dict(self._known)
        asked = ids or list(known)
        return [
            _STATES(operation_id=i, state=known[i].state if i in known else _STATES.OPERATION_STATE_UNKNOWN)
            for i in asked
        ]
