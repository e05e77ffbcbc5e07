"""Identifiers, row numbers, and what the session and the engine say about themselves."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from typing import Final

from pyspark.sql.types import DataType

from runnel.functions.registry import BindContext, CatalogueEntry, Refused, ScalarFunction
from runnel.functions.typing import INT, LONG, STRING, check_arity
from runnel.plan.expressions import Expression, FunctionCall, Literal, dtype_of

Args = tuple[Expression, ...]
_VERSION: Final = "4.2.0 runnel"


def _constant(name: str, value: Callable[[], str], aliases: tuple[str, ...] = ()) -> ScalarFunction:
    """A function without arguments that binds to a text."""

    def bind(context: BindContext, args: Args) -> Expression:
        check_arity(name, args, 0)
        return Literal(value(), STRING)

    return ScalarFunction(name, bind, None, aliases)


def _nullary(name: str, dtype: DataType, sql: str, *, deterministic: bool = False) -> ScalarFunction:
    def bind(context: BindContext, args: Args) -> Expression:
        check_arity(name, args, 0)
        return FunctionCall(name, (), dtype, False)

    return ScalarFunction(name, bind, lambda context, call, args: sql, deterministic=deterministic)


def _bind_typeof(context: BindContext, args: Args) -> Expression:
    check_arity("typeof", args, 1)
    return Literal(dtype_of(args[0]).simpleString(), STRING)


def _refused(reason: str, *names: str) -> tuple[Refused, ...]:
    return tuple(Refused(name, reason) for name in names)


_SKETCH: Final = "Runnel keeps no sketches in Spark's binary formats"
_BITMAP: Final = "Runnel keeps no bitmaps in Spark's binary format"

FUNCTIONS: Final[tuple[CatalogueEntry, ...]] = (
    _nullary("uuid", STRING, "CAST(uuid() AS VARCHAR)"),
    _nullary("monotonically_increasing_id", LONG, "(row_number() OVER () - 1)"),
    _nullary("distributed_sequence_id", LONG, "(row_number() OVER () - 1)"),
    _nullary("spark_partition_id", INT, "CAST(0 AS INTEGER)"),
    ScalarFunction("typeof", _bind_typeof),
    _constant("version", lambda: _VERSION),
    _constant("input_file_name", str),  # of a row that is from no file; analysis knows the others
    _constant("current_user", getpass.getuser, ("user", "session_user")),
    _constant("current_database", lambda: "default", ("current_schema",)),
    _constant("current_catalog", lambda: "spark_catalog"),
    *_refused(
        "Runnel reads whole files; _metadata.file_path says which one a row is from",
        "input_file_block_start", "input_file_block_length",
    ),
    *_refused(_BITMAP, "bitmap_bit_position", "bitmap_bucket_number", "bitmap_count"),

    *_refused(_SKETCH, "hll_sketch_estimate", "hll_union",
              "theta_sketch_agg", "theta_sketch_estimate", "theta_union", "theta_union_agg", "theta_difference",
              "theta_intersection", "theta_intersection_agg", "kll_sketch_agg_bigint", "kll_sketch_agg_double",
              "kll_sketch_agg_float"),
    *_refused("Runnel runs no JVM to reflect upon", "java_method", "reflect", "try_reflect"),
)  # fmt: skip
