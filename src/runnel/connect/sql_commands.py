"""SQL commands: each becomes calls of the session, and its result the rows that Spark's command gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyspark.sql.types import StructType

from runnel.errors import unsupported

if TYPE_CHECKING:
    from runnel.connect.service import SparkConnectService


def run_sql_command(service: SparkConnectService, command: Any) -> tuple[pa.Table, StructType]:
    """Runs a parsed command; its rows in physical types, often none."""
    raise unsupported(f"The SQL command {type(command).__name__}")
