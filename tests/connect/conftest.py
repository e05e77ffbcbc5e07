"""A client session over a recording session, for the front's own tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from runnel.connect.install import install

install()

from runnel.connect.client import client_session, current_in_thread  # noqa: E402
from runnel.connect.service import SparkConnectService  # noqa: E402

from .fakes import FakeSession  # noqa: E402


@pytest.fixture
def session() -> FakeSession:
    return FakeSession()


@pytest.fixture
def spark(session: FakeSession) -> Iterator[Any]:
    """The official client's session; requests end in `session`."""
    made = client_session(SparkConnectService(session, owner=True))  # type: ignore[arg-type]
    with current_in_thread(made):
        yield made
    made.stop()
