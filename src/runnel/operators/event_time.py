"""Where an operator's rows have their event time, and which rows are late.

Spark's rule for both roles: a row or a group is past when its event time (of a window: its end) is at or below the
watermark; null is neither late nor ever evicted.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql.types import StructType

from runnel.plan.expressions import Attribute

WATERMARK_MARK = "spark.watermarkDelayMs"


def event_time_position(attributes: Sequence[Attribute]) -> int | None:
    """The position of the column that carries the watermark's mark, None if there is none."""
    return next((i for i, a in enumerate(attributes) if WATERMARK_MARK in a.metadata), None)


def event_times(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Microseconds of a timestamp column, or of the ends of a window column; null where either is null."""
    if pa.types.is_struct(column.type):
        column = pc.struct_field(column, 1)
    return column.cast(pa.int64())


def without_late(table: pa.Table, position: int | None, watermark_ms: int | None) -> tuple[pa.Table, int]:
    """The rows that are not late, and how many were dropped."""
    if position is None or watermark_ms is None or not table.num_rows:
        return table, 0
    late = pc.less_equal(event_times(table.column(position)), watermark_ms * 1000)
    dropped = pc.sum(late).as_py() or 0
    if not dropped:
        return table, 0
    return table.filter(pc.invert(pc.fill_null(late, False))), int(dropped)


def eviction_path(name: str, attribute: Attribute) -> tuple[str, ...] | str:
    """The eviction column of a store whose column `name` holds `attribute`: of a window, its end."""
    if isinstance(attribute.dtype, StructType):
        return (name, attribute.dtype.fields[1].name)
    return name
