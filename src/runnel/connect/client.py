"""Official client sessions over services of this process."""

from __future__ import annotations

import atexit
import contextlib
from collections.abc import Iterator
from typing import Any

from pyspark.sql.connect.session import SparkSession

from runnel.connect.channel import InProcessChannelBuilder
from runnel.connect.service import SparkConnectService
from runnel.connect.shims import apply_shims


def client_session(service: SparkConnectService, session_id: str | None = None) -> Any:
    """A `pyspark.sql.connect` session whose requests go to the service as method calls.

    `session_id` is given where two client sessions must pass for one to the client.
    """
    apply_shims()
    builder: Any = InProcessChannelBuilder(service, session_id)
    spark = SparkSession(connection=builder)
    service.client_session_id = spark.session_id
    client = spark._client
    client.disable_reattachable_execute()
    client._plan_compression_threshold, client._plan_compression_algorithm = -1, "NONE"
    atexit.unregister(client._on_exit)  # it asks the server to clean its models, when the engine may be gone
    return spark


def service_of(spark: Any) -> SparkConnectService | None:
    """The service behind a client session; None if it is a remote one."""
    service = getattr(spark._client._channel, "service", None)
    return service if isinstance(service, SparkConnectService) else None


@contextlib.contextmanager
def current_in_thread(spark: Any) -> Iterator[None]:
    """Makes the session the active one of this thread for a while."""
    local = SparkSession._active_session
    before = getattr(local, "session", None)
    local.session = spark
    try:
        yield
    finally:
        local.session = before
