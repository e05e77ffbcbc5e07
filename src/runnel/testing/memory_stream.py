"""A stream that a test writes to, as a PySpark streaming frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pyspark.sql.types import StructType

from runnel.sources import memory
from runnel.sql import parse_schema

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession


class MemoryStream:
    """Rows that are there when the test says so.

    >>> events = MemoryStream("word string, at timestamp")  # doctest: +SKIP
    >>> query = events.to_df(spark).groupBy("word").count().writeStream...start()  # doctest: +SKIP
    >>> events.add_data([{"word": "hello", "at": datetime(2024, 4, 6, 10, 5)}])  # doctest: +SKIP
    >>> query.processAllAvailable()  # doctest: +SKIP

    Each `add_data` is one offset; a query reads everything that is there in one batch. Any number of queries may read
    the stream, and a restarted one goes on from its checkpoint as long as the process lives.
    """

    def __init__(self, schema: str | StructType) -> None:
        self._stream = memory.MemoryStream(parse_schema(schema) if isinstance(schema, str) else schema)

    @property
    def schema(self) -> StructType:
        return self._stream.schema

    def add_data(self, rows: pa.Table | Sequence[Mapping[str, Any] | tuple[Any, ...]]) -> int:
        """Adds rows: dicts, tuples in the schema's order, or an Arrow table; returns their offset.

        Naive datetimes are taken as UTC.
        """
        return self._stream.add_data(rows)

    def to_df(self, spark: SparkSession) -> DataFrame:
        """The stream as a frame of this session."""
        return spark.readStream.format("memory").option("stream", self._stream.id).load()
