"""Session windows in one statement: overlapping [start, end) intervals of one key become one.

Rows of a key are taken in the order of their starts; a row joins the session before it if its start is not after the
greatest end so far (exactly the gap later still joins, as in Spark).
"""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql.types import StructType

from runnel.lowering.datatypes import field_names, string_literal
from runnel.lowering.expressions import column
from runnel.plan.expressions import Attribute

SESSION_MARK = "spark.sessionWindow"


def is_session(attribute: Attribute) -> bool:
    """Whether a grouping column is what `session_window` made."""
    return bool(attribute.metadata.get(SESSION_MARK))


def merged_sessions(source: str, output: Sequence[Attribute], session: Attribute, keys: Sequence[Attribute]) -> str:
    """`source` with the session column widened to the whole session that each row belongs to.

    Rows with equal starts count together (RANGE frames), so no order among them is assumed.
    """
    assert isinstance(session.dtype, StructType)
    first, last = field_names(session.dtype)
    start, end = (f"struct_extract({column(session)}, {string_literal(name)})" for name in (first, last))
    partition = ", ".join(column(k) for k in keys)
    by_key = f"PARTITION BY {partition} " if keys else ""
    reached = f"max({end}) OVER ({by_key}ORDER BY {start}, {end} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"
    opened = f'SELECT *, CASE WHEN {start} <= {reached} THEN 0 ELSE 1 END AS "#opens" FROM ({source})'
    running = f'sum("#opens") OVER ({by_key}ORDER BY {start} RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)'
    numbered = f'SELECT *, {running} AS "#session" FROM ({opened})'
    within = f'OVER (PARTITION BY {partition + ", " if keys else ""}"#session")'
    whole = f'struct_pack("{first}" := min({start}) {within}, "{last}" := max({end}) {within})'
    items = [f"{whole} AS {column(a)}" if a.expr_id == session.expr_id else column(a) for a in output]
    return f"SELECT {', '.join(items)} FROM ({numbered})"
