"""SQL text of Spark's casts.

`cast_sql` is total over what `can_cast` allows. The three modes differ in what a bad value does: ANSI raises
CAST_INVALID_INPUT, CAST_OVERFLOW or NUMERIC_VALUE_OUT_OF_RANGE, TRY gives null, LEGACY wraps integers around and gives null
for the rest. The text may mention its input several times; DuckDB evaluates common sub-expressions once.
"""

from __future__ import annotations

from typing import Final

from pyspark.sql.types import (
    ArrayType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    MapType,
    StructType,
    TimestampNTZType,
    TimestampType,
    TimeType,
)

from runnel.errors import AnalysisError
from runnel.functions import cast_text
from runnel.functions.arithmetic import integer_bits, integer_name, wrapped
from runnel.functions.pretty import pretty_type
from runnel.functions.registry import LoweringContext
from runnel.functions.typing import (
    INT,
    LONG,
    is_binary,
    is_boolean,
    is_calendar,
    is_date,
    is_datetime,
    is_day_time,
    is_decimal,
    is_floating,
    is_integral,
    is_interval,
    is_null,
    is_numeric,
    is_string,
    is_timestamp,
    is_year_month,
    same_but_for_nulls,
)
from runnel.plan.expressions import CastMode

_ATOMIC: Final = {
    "boolean": "BOOLEAN",
    "tinyint": "TINYINT",
    "smallint": "SMALLINT",
    "int": "INTEGER",
    "bigint": "BIGINT",
    "float": "FLOAT",
    "double": "DOUBLE",
    "string": "VARCHAR",
    "binary": "BLOB",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
    "timestamp_ntz": "TIMESTAMP",
    "interval": "INTERVAL",
    "void": "INTEGER",
}
_MICROS: Final = 1_000_000


def type_sql(t: DataType) -> str:
    """DuckDB's name of a type in the engine's physical form."""
    match t:
        case DecimalType(precision=precision, scale=scale):
            return f"DECIMAL({precision},{scale})"
        case ArrayType(elementType=element):
            return f"{type_sql(element)}[]"
        case MapType(keyType=key, valueType=value):
            return f"MAP({type_sql(key)}, {type_sql(value)})"
        case StructType():
            parts = (
                f"{quoted(n)} {type_sql(f.dataType)}" for n, f in zip(unique_field_names(t), t.fields, strict=True)
            )
            return f"STRUCT({', '.join(parts)})"
        case TimeType():
            return "TIME"
        case _ if is_day_time(t):
            return "BIGINT"
        case _ if is_year_month(t):
            return "INTEGER"
        case _ if is_string(t):
            return "VARCHAR"
        case _:
            return _ATOMIC[t.simpleString()]


def quoted(name: str) -> str:
    """An SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def unique_field_names(struct: StructType) -> tuple[str, ...]:
    """A struct's field names as DuckDB can tell them apart (case ignored, none empty), by position."""
    taken: set[str] = set()
    names = []
    for position, name in enumerate(struct.names):
        candidate, suffix = name or f"_{position + 1}", 1
        while candidate.lower() in taken:
            candidate, suffix = f"{name}_{suffix}", suffix + 1
        taken.add(candidate.lower())
        names.append(candidate)
    return tuple(names)


# ------------------------------------------------------------------------------------------------ what is allowed


def can_cast(source: DataType, target: DataType, ansi: bool = True) -> bool:
    """Whether Spark has the cast at all (and Runnel knows it)."""
    if same_but_for_nulls(source, target) or is_null(source):
        return True
    match source, target:
        case ArrayType(), ArrayType():
            return can_cast(source.elementType, target.elementType, ansi)
        case MapType(), MapType():
            return can_cast(source.keyType, target.keyType, ansi) and can_cast(source.valueType, target.valueType, ansi)
        case StructType(), StructType():
            return len(source.fields) == len(target.fields) and all(
                can_cast(a.dataType, b.dataType, ansi) for a, b in zip(source.fields, target.fields, strict=True)
            )
    if is_string(target):
        return True
    if any(isinstance(t, (ArrayType, MapType, StructType)) for t in (source, target)):
        return False
    if is_string(source):
        return is_calendar(target) or not is_interval(target)
    if is_numeric(source) or is_boolean(source):
        numeric = is_numeric(target) or is_boolean(target)
        return numeric or (isinstance(target, TimestampType) and (is_numeric(source) or not ansi))
    if isinstance(source, TimestampType):
        return is_datetime(target) or isinstance(target, TimeType) or is_numeric(target)
    if isinstance(source, TimestampNTZType):
        return is_datetime(target) or isinstance(target, TimeType)
    if is_date(source):
        return is_timestamp(target) or (not ansi and (is_numeric(target) or is_boolean(target)))
    return (is_day_time(source) and is_day_time(target)) or (is_year_month(source) and is_year_month(target))


def cast_not_allowed(sql_text: str, source: DataType, target: DataType) -> AnalysisError:
    """DATATYPE_MISMATCH.CAST_WITHOUT_SUGGESTION; `sql_text` is the cast's text."""
    return AnalysisError(
        "DATATYPE_MISMATCH.CAST_WITHOUT_SUGGESTION",
        {"srcType": pretty_type(source), "targetType": pretty_type(target), "sqlExpr": f'"{sql_text}"'},
    )


# ---------------------------------------------------------------------------------------------------- the casts


def cast_sql(
    ctx: LoweringContext, sql: str, source: DataType, target: DataType, mode: CastMode = CastMode.ANSI, depth: int = 0
) -> str:
    """SQL text of the cast; `depth` numbers lambda parameters of nested element-wise casts."""
    if same_but_for_nulls(source, target):
        return sql
    if is_null(source):
        return f"CAST(NULL AS {type_sql(target)})"
    if not can_cast(source, target, ansi=mode is not CastMode.LEGACY):
        raise cast_not_allowed("CAST", source, target)
    if is_string(target):
        return to_string(ctx, sql, source, depth)
    match source, target:
        case ArrayType(), ArrayType():
            element = f"_e{depth}"
            inner = cast_sql(ctx, element, source.elementType, target.elementType, mode, depth + 1)
            return sql if inner == element else f"list_transform({sql}, lambda {element}: {inner})"
        case MapType(), MapType():
            return _map(ctx, sql, source, target, mode, depth)
        case StructType(), StructType():
            return _struct(ctx, sql, source, target, mode, depth)
    if is_string(source):
        return _from_string(ctx, sql, target, mode)
    if is_boolean(target):
        return f"({sql} <> 0)" if is_numeric(source) else f"CAST(NULL AS {type_sql(target)})"
    if is_numeric(target):
        return _to_number(ctx, sql, source, target, mode)
    if is_datetime(target) or isinstance(target, TimeType):
        return _to_datetime(ctx, sql, source, target, mode)
    return sql


def _or_error(ctx: LoweringContext, tried: str, sql: str, target: DataType, condition: str, **params: str) -> str:
    """`tried`, but the condition where it is null and the input is not."""
    return f"COALESCE({tried}, CASE WHEN ({sql}) IS NOT NULL THEN {ctx.error(condition, target, **params)} END)"


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _invalid(ctx: LoweringContext, tried: str, sql: str, source: DataType, target: DataType, mode: CastMode) -> str:
    if mode is not CastMode.ANSI:
        return tried
    shown = f"(chr(39) || {sql} || chr(39))" if is_string(source) else to_string(ctx, sql, source, 0)
    return _or_error(
        ctx,
        tried,
        sql,
        target,
        "CAST_INVALID_INPUT",
        expression=shown,
        sourceType=_text(pretty_type(source)),
        targetType=_text(pretty_type(target)),
        ansiConfig=_text('"spark.sql.ansi.enabled"'),
    )


def _overflow(ctx: LoweringContext, tried: str, sql: str, source: DataType, target: DataType, mode: CastMode) -> str:
    if mode is not CastMode.ANSI:
        return tried
    if isinstance(target, DecimalType):
        return _or_error(
            ctx,
            tried,
            sql,
            target,
            "NUMERIC_VALUE_OUT_OF_RANGE.WITH_SUGGESTION",
            value=to_string(ctx, sql, source, 0),
            precision=_text(str(target.precision)),
            scale=_text(str(target.scale)),
            config=_text('"spark.sql.ansi.enabled"'),
        )
    suffix = {"bigint": "L", "smallint": "S", "tinyint": "T", "double": "D", "decimal": "BD"}
    mark = suffix.get(source.simpleString().split("(")[0], "")
    return _or_error(
        ctx,
        tried,
        sql,
        target,
        "CAST_OVERFLOW",
        value=f"({to_string(ctx, sql, source, 0)} || '{mark}')",
        sourceType=_text(pretty_type(source)),
        targetType=_text(pretty_type(target)),
        ansiConfig=_text('"spark.sql.ansi.enabled"'),
    )


def _map(ctx: LoweringContext, sql: str, source: MapType, target: MapType, mode: CastMode, depth: int) -> str:
    entry = f"_e{depth}"
    key = cast_sql(ctx, f"{entry}.key", source.keyType, target.keyType, mode, depth + 1)
    value = cast_sql(ctx, f"{entry}.value", source.valueType, target.valueType, mode, depth + 1)
    moved = f"list_transform(map_entries({sql}), lambda {entry}: {{'key': {key}, 'value': {value}}})"
    return f"CASE WHEN ({sql}) IS NOT NULL THEN map_from_entries({moved}) END"


def _struct(ctx: LoweringContext, sql: str, source: StructType, target: StructType, mode: CastMode, depth: int) -> str:
    pairs = zip(unique_field_names(target), source.fields, target.fields, strict=True)
    parts = []
    for i, (name, a, b) in enumerate(pairs):
        value = cast_sql(ctx, f"struct_extract_at({sql}, {i + 1})", a.dataType, b.dataType, mode, depth)
        parts.append(f"{quoted(name)} := {value}")
    return f"CASE WHEN ({sql}) IS NOT NULL THEN struct_pack({', '.join(parts)}) END"


def _from_string(ctx: LoweringContext, sql: str, target: DataType, mode: CastMode) -> str:
    text = cast_text.STRING
    if is_binary(target):
        return f"encode({sql})"
    if is_calendar(target):
        return cast_text.to_calendar_interval(sql)  # null for bad text in every mode, as in Spark
    if is_boolean(target):
        tried = cast_text.to_boolean(sql)
    elif is_integral(target):
        tried = cast_text.to_integer(sql, integer_name(target), legacy=mode is CastMode.LEGACY)
    elif isinstance(target, DecimalType):
        tried = cast_text.to_decimal(sql, type_sql(target))
        if mode is CastMode.ANSI:
            shaped = f"CASE WHEN {cast_text.is_number(sql)} THEN {sql} END"
            return _invalid(ctx, _overflow(ctx, tried, shaped, text, target, mode), sql, text, target, mode)
    elif is_floating(target):
        tried = cast_text.to_floating(sql, type_sql(target))
    elif is_date(target):
        tried = cast_text.to_date(sql)
    elif isinstance(target, TimestampType):
        tried = cast_text.to_timestamp(ctx, sql)
    elif isinstance(target, TimestampNTZType):
        tried = cast_text.to_timestamp_ntz(sql)
    elif isinstance(target, TimeType):
        tried = cast_text.to_time(sql)
    else:
        raise cast_not_allowed("CAST", text, target)
    return _invalid(ctx, tried, sql, text, target, mode)


def _to_number(ctx: LoweringContext, sql: str, source: DataType, target: DataType, mode: CastMode) -> str:
    if is_boolean(source):
        return f"CAST(CAST({sql} AS INTEGER) AS {type_sql(target)})"
    if is_date(source):
        return f"CAST(NULL AS {type_sql(target)})"
    if isinstance(source, TimestampType):
        if is_floating(target):
            return f"CAST(epoch_us({sql}) / 1000000.0::DOUBLE AS {type_sql(target)})"
        if isinstance(target, DecimalType):
            seconds = f"(CAST(epoch_us({sql}) AS DECIMAL(20,0)) * 0.000001::DECIMAL(7,6))"
            return _overflow(ctx, f"TRY_CAST({seconds} AS {type_sql(target)})", sql, source, target, mode)
        # floor, not truncation: one microsecond before the epoch is second -1
        seconds = f"((epoch_us({sql}) - ((epoch_us({sql}) % {_MICROS} + {_MICROS}) % {_MICROS})) // {_MICROS})"
        return seconds if target == LONG else _narrow(ctx, seconds, sql, source, target, mode)
    if is_floating(target):
        return f"CAST({sql} AS {type_sql(target)})"
    if isinstance(target, DecimalType):
        return _to_decimal(ctx, sql, source, target, mode)
    if is_integral(source):
        if integer_bits(source) <= integer_bits(target):
            return f"CAST({sql} AS {integer_name(target)})"
        return _narrow(ctx, sql, sql, source, target, mode)
    whole = f"trunc({sql})"
    if mode is not CastMode.LEGACY:
        return _overflow(ctx, f"TRY_CAST({whole} AS {integer_name(target)})", sql, source, target, mode)
    if is_decimal(source):
        return wrapped(f"CAST({whole} AS HUGEINT)", integer_bits(target))
    # Java: NaN is 0, what is out of range is the nearest long or int; smaller types then wrap around
    base = target if target in (INT, LONG) else INT
    top = (1 << integer_bits(base) - 1) - 1
    saturated = (
        f"CASE WHEN isnan({sql}) THEN 0 WHEN {sql} >= {top + 1}::DOUBLE THEN {top} "
        f"WHEN {sql} < {-top - 1}::DOUBLE THEN {-top - 1} ELSE CAST({whole} AS {integer_name(base)}) END"
    )
    if base == target:
        return f"CAST({saturated} AS {integer_name(base)})"
    return wrapped(f"CAST({saturated} AS HUGEINT)", integer_bits(target))


def _narrow(ctx: LoweringContext, value: str, sql: str, source: DataType, target: DataType, mode: CastMode) -> str:
    if mode is CastMode.LEGACY:
        return wrapped(f"CAST({value} AS HUGEINT)", integer_bits(target))
    return _overflow(ctx, f"TRY_CAST({value} AS {integer_name(target)})", sql, source, target, mode)


def _to_decimal(ctx: LoweringContext, sql: str, source: DataType, target: DecimalType, mode: CastMode) -> str:
    name = type_sql(target)
    if is_floating(source):
        # through the shortest decimal text, as Spark does: 0.285 is 0.285, not 0.28499…
        tried = f"TRY_CAST(CAST(CAST({sql} AS DOUBLE) AS VARCHAR) AS {name})"
        return _overflow(ctx, tried, sql, source, target, mode)
    if isinstance(source, DecimalType):
        wide_enough = target.precision - target.scale > source.precision - source.scale
        if wide_enough or (
            target.scale >= source.scale and target.precision - target.scale >= source.precision - source.scale
        ):
            return f"CAST({sql} AS {name})"
    elif target.precision - target.scale >= {8: 3, 16: 5, 32: 10, 64: 19}[integer_bits(source)]:
        return f"CAST({sql} AS {name})"
    return _overflow(ctx, f"TRY_CAST({sql} AS {name})", sql, source, target, mode)


def _to_datetime(ctx: LoweringContext, sql: str, source: DataType, target: DataType, mode: CastMode) -> str:
    match source, target:
        case DateType(), TimestampType():
            return ctx.instant(f"CAST({sql} AS TIMESTAMP)")
        case DateType(), _:
            return f"CAST({sql} AS TIMESTAMP)"
        case TimestampType(), DateType():
            return f"CAST({ctx.local(sql)} AS DATE)"
        case TimestampNTZType(), DateType():
            return f"CAST({sql} AS DATE)"
        case TimestampType(), TimestampNTZType():
            return ctx.local(sql)
        case TimestampNTZType(), TimestampType():
            return ctx.instant(sql)
        case TimestampType(), TimeType():
            return f"CAST({ctx.local(sql)} AS TIME)"
        case TimestampNTZType(), TimeType():
            return f"CAST({sql} AS TIME)"
    if is_boolean(source):
        return f"make_timestamp(CAST({sql} AS BIGINT))"
    if is_floating(source):
        micros = f"TRY_CAST(trunc(CAST({sql} AS DOUBLE) * {_MICROS}) AS BIGINT)"
        tried = f"make_timestamp({micros})"
        finite = f"CASE WHEN isfinite({sql}) THEN {tried} END"
        return _overflow(ctx, finite, sql, source, target, mode)
    if isinstance(source, DecimalType):
        return f"make_timestamp(CAST(trunc(CAST({sql} AS DECIMAL(38,6)) * {_MICROS}) AS BIGINT))"
    return f"make_timestamp(CAST({sql} AS BIGINT) * {_MICROS})"


# --------------------------------------------------------------------------------------------------- to string


def to_string(ctx: LoweringContext, sql: str, source: DataType, depth: int = 0) -> str:
    """SQL text of Spark's string form of a value (`cast(x as string)`)."""
    match source:
        case _ if is_string(source):
            return sql
        case DoubleType():
            return cast_text.double_text(sql)
        case FloatType():
            return cast_text.float_text(sql)
        case TimestampType():
            return f"CAST({ctx.local(sql)} AS VARCHAR)"
        case ArrayType(elementType=element):
            item = f"_e{depth}"
            inner = to_string(ctx, item, element, depth + 1)
            items = f"list_transform({sql}, lambda {item}: COALESCE({inner}, 'null'))"
            return (
                f"('[' || COALESCE(array_to_string({items}, ', '), '') || CASE WHEN ({sql}) IS NOT NULL THEN ']' END)"
            )
        case MapType(keyType=key, valueType=value):
            item = f"_e{depth}"
            left = to_string(ctx, f"{item}.key", key, depth + 1)
            right = to_string(ctx, f"{item}.value", value, depth + 1)
            items = f"list_transform(map_entries({sql}), lambda {item}: {left} || ' -> ' || COALESCE({right}, 'null'))"
            return (
                f"('{{' || COALESCE(array_to_string({items}, ', '), '') || CASE WHEN ({sql}) IS NOT NULL THEN '}}' END)"
            )
        case StructType(fields=fields):
            parts = []
            for i, field in enumerate(fields):
                inner = to_string(ctx, f"struct_extract_at({sql}, {i + 1})", field.dataType, depth)
                parts.append(f"COALESCE({inner}, 'null')")
            body = " || ', ' || ".join(parts) or "''"
            return f"CASE WHEN ({sql}) IS NOT NULL THEN '{{' || {body} || '}}' END"
        case _ if is_binary(source):
            return f"decode({sql})"
        case _ if is_day_time(source):
            return cast_text.day_time_text(sql, source)
        case _ if is_year_month(source):
            return cast_text.year_month_text(sql, source)
        case _ if is_calendar(source):
            return cast_text.calendar_text(sql)
        case _ if is_null(source):
            return "CAST(NULL AS VARCHAR)"
        case _:
            return f"CAST({sql} AS VARCHAR)"
