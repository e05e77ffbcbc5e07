"""Python objects handed from the client to the service of the same process by reference instead of by pickle.

The client pickles every function that it sends. In one process that costs time, fails for objects that cannot be
pickled, and breaks programs whose functions keep something in their closure (a `foreachBatch` that appends to a list).
So for requests that stay in this process a token takes the pickle's place, and `resolve` gives the very same object
back. User-defined functions go the same way: unlike in Spark they see later changes of what they close over.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import weakref
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from runnel.errors import InvalidPlanError
from runnel.plan.expressions import PythonFunction

_PREFIX = b"runnel-reference:"
_lock = threading.Lock()
_numbers = itertools.count(1)
_weak: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
_strong: dict[int, Any] = {}
_tokens: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
_local = threading.local()


@contextlib.contextmanager
def by_reference(*, keep: bool) -> Iterator[None]:
    """While open, in this thread, `ReferenceSerializer` makes tokens.

    `keep`: the client holds nothing but the token, so the object must be kept alive here.
    """
    before = getattr(_local, "mode", None)
    _local.mode = "keep" if keep else "weak"
    try:
        yield
    finally:
        _local.mode = before


def active() -> bool:
    """Whether tokens are wanted in this thread."""
    return getattr(_local, "mode", None) is not None


def put(value: Any) -> bytes:
    """A token for the object. One object has one token while it is only held weakly."""
    keep = getattr(_local, "mode", None) != "weak"
    with _lock:
        if not keep:
            try:
                number = _tokens.get(value)
                if number is None:
                    number = next(_numbers)
                    _weak[number] = value
                    _tokens[value] = number
                return _PREFIX + str(number).encode()
            except TypeError:
                pass  # neither hashable nor weakly referable: kept for the life of the process
        number = next(_numbers)
        _strong[number] = value
        return _PREFIX + str(number).encode()


def resolve(command: bytes) -> Any:
    """The object behind a token, or the unpickled object when the command is a pickle."""
    if command.startswith(_PREFIX):
        number = int(command[len(_PREFIX) :])
        with _lock:
            value = _strong[number] if number in _strong else _weak.get(number)
        if value is None:
            raise InvalidPlanError("INTERNAL_ERROR", message="A Python function was dropped before it was used.")
        return value
    from pyspark.serializers import CloudPickleSerializer

    serializer: Any = CloudPickleSerializer()
    return serializer.loads(command)


@lru_cache(maxsize=1024)
def python_function(command: bytes, name: str, eval_type: int, deterministic: bool) -> PythonFunction:
    """The function behind a command; the same one for the same command, so that equal plans stay equal."""
    value = resolve(command)
    func = value[0] if isinstance(value, tuple) else value
    return PythonFunction(name, func, eval_type, deterministic)
