"""What all tests share: real Spark as the reference, where it is installed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

SPARK_PYTHON = "RUNNEL_SPARK_PYTHON"


def _why_no_spark() -> str | None:
    """Why tests against real Spark cannot run here; None if they can."""
    python = os.environ.get(SPARK_PYTHON)
    if not python:
        return f"real Spark: {SPARK_PYTHON} is not set (see CONTRIBUTING.md)"
    if not Path(python).exists():
        return f"real Spark: {SPARK_PYTHON} names {python}, which does not exist"
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        return "real Spark: there is no Java"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips tests marked `java` with the reason why real Spark is missing."""
    reason = _why_no_spark()
    if reason is None:
        return
    for item in items:
        if item.get_closest_marker("java") is not None:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def spark_python() -> str:
    """The Python that has the full `pyspark` package. Only for tests marked `java`."""
    return os.environ[SPARK_PYTHON]
