"""Schemas of JSON records, by Spark's rules: fields sorted by name, types merged over all records."""

from __future__ import annotations

import json
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from pyspark.sql.types import (
    ArrayType,
    BooleanType,
    DataType,
    DecimalType,
    DoubleType,
    LongType,
    NullType,
    StringType,
    StructField,
    StructType,
)

from runnel.errors import AnalysisError
from runnel.functions.json_options import DROPMALFORMED, FAILFAST, JsonOptions
from runnel.functions.json_repair import repaired


def infer_json(texts: Iterable[str], options: JsonOptions) -> StructType:
    """The schema of records, each a JSON text: fields sorted by name, types merged, null-only fields string."""
    found: DataType = NullType()
    corrupt = False
    for text in texts:
        value = _loaded(text, options)
        items = value if isinstance(value, list) else [value]
        for item in items:
            if not isinstance(item, dict):
                corrupt = True
                continue
            found = merge(found, _json_type(item, options))
    if corrupt and options.mode == FAILFAST:
        raise AnalysisError(
            "_LEGACY_ERROR_TEMP_3102",
            {"msg": "Malformed records are detected in schema inference. Parse Mode: FAILFAST."},
        )
    schema = found if isinstance(found, StructType) else StructType([])
    if corrupt and options.mode != DROPMALFORMED and options.corrupt_column not in schema.names:
        schema = StructType([*schema.fields, StructField(options.corrupt_column, StringType(), True)])
        schema = StructType(sorted(schema.fields, key=lambda f: f.name))
    return _canonical(schema, options) or StructType([])


def _loaded(text: str, options: JsonOptions) -> Any:
    try:
        return json.loads(text, parse_float=Decimal)
    except ValueError:
        fixed = repaired(text, options.liberties)
        return None if fixed is None else json.loads(fixed, parse_float=Decimal)


def _json_type(value: Any, options: JsonOptions) -> DataType:
    match value:
        case None:
            return NullType()
        case dict():
            fields = [StructField(k, _json_type(v, options), True) for k, v in sorted(value.items())]
            return StructType(fields)
        case list():
            element: DataType = NullType()
            for item in value:
                element = merge(element, _json_type(item, options))
            return ArrayType(element, True)
        case _ if options.primitives_as_string:
            return StringType()
        case bool():
            return BooleanType()
        case int():
            if -(2**63) <= value < 2**63:
                return LongType()
            digits = len(str(abs(value)))
            return DecimalType(digits, 0) if digits <= 38 else DoubleType()
        case Decimal() | float():
            if options.prefers_decimal and isinstance(value, Decimal):
                _, figures, exponent = value.as_tuple()
                scale = max(0, -int(exponent))
                precision = max(len(figures) + max(0, int(exponent)), scale)
                if precision <= 38:
                    return DecimalType(precision, scale)
            return DoubleType()
        case _:
            return StringType()


def infer_value(text: str, options: JsonOptions) -> DataType | None:
    """The type of one JSON text; None if it is malformed."""
    try:
        value = json.loads(text, parse_float=Decimal)
    except ValueError:
        fixed = repaired(text, options.liberties)
        if fixed is None:
            return None
        value = json.loads(fixed, parse_float=Decimal)
    found: DataType | None = _canonical(_json_type(value, options), options)
    return StructType([]) if found is None else found


def merge(a: DataType, b: DataType) -> DataType:
    """The type that holds values of both."""
    if type(a) is type(b) and a == b:
        return a
    match a, b:
        case NullType(), _:
            return b
        case _, NullType():
            return a
        case StructType(), StructType():
            by_name = {f.name: f.dataType for f in a.fields}
            for f in b.fields:
                by_name[f.name] = merge(by_name.get(f.name, NullType()), f.dataType)
            return StructType([StructField(name, by_name[name], True) for name in sorted(by_name)])
        case ArrayType(), ArrayType():
            return ArrayType(merge(a.elementType, b.elementType), True)
        case (LongType() | DoubleType() | DecimalType(), LongType() | DoubleType() | DecimalType()):
            if isinstance(a, DoubleType) or isinstance(b, DoubleType):
                return DoubleType()
            x, y = _as_decimal(a), _as_decimal(b)
            scale = max(x.scale, y.scale)
            whole = max(x.precision - x.scale, y.precision - y.scale)
            return DecimalType(whole + scale, scale) if whole + scale <= 38 else DoubleType()
        case _:
            return StringType()


def _as_decimal(dtype: DataType) -> DecimalType:
    return dtype if isinstance(dtype, DecimalType) else DecimalType(20, 0)


def _canonical(dtype: DataType, options: JsonOptions) -> Any:
    """Without types that only nulls have; None for what disappears (a struct without fields)."""
    match dtype:
        case StructType():
            kept = []
            for f in dtype.fields:
                if options.drop_field_if_all_null and isinstance(f.dataType, NullType):
                    continue
                inner = _canonical(f.dataType, options)
                if inner is not None:
                    kept.append(StructField(f.name, inner, True))
            return StructType(kept) if kept else None
        case ArrayType():
            inner = _canonical(dtype.elementType, options)
            return None if inner is None else ArrayType(inner, True)
        case NullType():
            return StringType()
        case _:
            return dtype
