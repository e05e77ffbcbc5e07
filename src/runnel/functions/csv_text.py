"""CSV functions: `to_csv`, `from_csv`, `schema_of_csv`. Schemas and options are constants.

A text is cut into fields by `csv_records`, the same that reads files; `csv_values` turns fields into values.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Final

import pyarrow as pa
from pyspark.sql.types import (
    ArrayType,
    DataType,
    MapType,
    NullType,
    StringType,
    StructField,
    StructType,
    TimeType,
    VariantType,
)

from runnel.csv_records import record_of
from runnel.errors import AnalysisError
from runnel.functions.casts import unique_field_names
from runnel.functions.constants import constant_text, literal_options, options_of, schema_of
from runnel.functions.csv_inference import wider
from runnel.functions.csv_options import CsvOptions, csv_options
from runnel.functions.csv_values import csv_value
from runnel.functions.csv_writing import csv_line
from runnel.functions.date_patterns import text_literal
from runnel.functions.json_options import DROPMALFORMED, FAILFAST
from runnel.functions.json_values import pack
from runnel.functions.pretty import pretty, pretty_type
from runnel.functions.registry import BindContext, CatalogueEntry, LoweringContext, ScalarFunction
from runnel.functions.typing import STRING, check_arity, coerce, is_string
from runnel.plan.expressions import Attribute, Expression, FunctionCall, Literal, PythonFunction, PythonUDF, dtype_of

Args = tuple[Expression, ...]
SCALAR_ARROW: Final = 250
"""PySpark's evaluation type of functions from Arrow arrays to an Arrow array (SQL_SCALAR_ARROW_UDF)."""


# ------------------------------------------------------------------------------------------------------- to_csv


def _bind_to_csv(context: BindContext, args: Args) -> Expression:
    check_arity("to_csv", args, 1, 2)
    dtype = dtype_of(args[0])
    if not isinstance(dtype, StructType) or any(_is_variant(f.dataType) for f in dtype.fields):
        raise AnalysisError(
            "DATATYPE_MISMATCH.UNSUPPORTED_INPUT_TYPE",
            {
                "functionName": "`to_csv`",
                "dataType": pretty_type(dtype),
                "sqlExpr": f'"to_csv({", ".join(pretty(a) for a in args)})"',
            },
        )
    given = options_of(args, 1)
    csv_options(given)
    return FunctionCall("to_csv", (args[0], literal_options(given)), STRING, True)


def _is_variant(dtype: DataType) -> bool:
    return isinstance(dtype, VariantType)


def _lower_to_csv(context: LoweringContext, call: FunctionCall, args: tuple[str, ...]) -> str:
    options = csv_options(options_of(call.args, 1))
    source = call.args[0]
    dtype = dtype_of(source)
    assert isinstance(dtype, StructType)
    zone = options.time_zone or context.session_time_zone
    types = [f.dataType for f in dtype.fields]
    if isinstance(source, FunctionCall) and source.name == "struct" and _are_columns(source.args):
        return csv_line(context, [context.lower(a) for a in source.args], types, options, zone)
    values = [f"struct_extract(_c, {text_literal(n)})" for n in unique_field_names(dtype)]
    line = csv_line(context, values, types, options, zone)
    return f"list_transform([{args[0]}], lambda _c: CASE WHEN _c IS NOT NULL THEN {line} END)[1]"


def _are_columns(args: Args) -> bool:
    return all(isinstance(a, Attribute) for a in args)


# ----------------------------------------------------------------------------------------------------- from_csv


def _bind_from_csv(context: BindContext, args: Args) -> Expression:
    check_arity("from_csv", args, 2, 3)
    schema = schema_of(args[1])
    if not isinstance(schema, StructType):
        raise AnalysisError(
            "INVALID_SCHEMA.NON_STRUCT_TYPE",
            {"inputSchema": f'"{constant_text(args[1])}"', "dataType": pretty_type(schema)},
        )
    for field in schema.fields:
        if isinstance(field.dataType, ArrayType | MapType | StructType | NullType | TimeType):
            raise AnalysisError("UNSUPPORTED_DATATYPE", {"typeName": pretty_type(field.dataType)})
    given = options_of(args, 2)
    conf = context.conf or {}
    if "spark.sql.columnNameOfCorruptRecord" in conf and "columnnameofcorruptrecord" not in {k.lower() for k in given}:
        given["columnNameOfCorruptRecord"] = conf["spark.sql.columnNameOfCorruptRecord"]
    if csv_options(given).mode == DROPMALFORMED:
        raise AnalysisError("PARSE_MODE_UNSUPPORTED", {"funcName": "`from_csv`", "mode": DROPMALFORMED})
    text = args[0]
    if isinstance(dtype_of(text), NullType):
        text = coerce(text, STRING, context)
    elif not is_string(dtype_of(text)):
        raise AnalysisError(
            "DATATYPE_MISMATCH.UNEXPECTED_INPUT_TYPE",
            {
                "sqlExpr": f'"from_csv({pretty(text)})"',
                "paramIndex": "first",
                "requiredType": '"STRING"',
                "inputSql": f'"{pretty(text)}"',
                "inputType": pretty_type(dtype_of(text)),
            },
        )
    nullable = StructType([StructField(f.name, f.dataType, True, f.metadata) for f in schema.fields])
    return FunctionCall("from_csv", (text, literal_options(given)), nullable, True)


def _lower_from_csv(context: LoweringContext, call: FunctionCall, args: tuple[str, ...]) -> str:
    options = csv_options(options_of(call.args, 1))
    schema, sql = call.dtype, args[0]
    assert isinstance(schema, StructType)
    corrupt = {i for i, f in enumerate(schema.fields) if f.name.lower() == options.corrupt_column.lower()}
    data = [f for i, f in enumerate(schema.fields) if i not in corrupt]
    cut = context.lower(PythonUDF(_cutter(options), (call.args[0],), ArrayType(STRING, True)))
    texts = [f"_f[{place + 1}]" for place in range(len(data))]
    values = [csv_value(context, text, f.dataType, options) for text, f in zip(texts, data, strict=True)]
    unfit = [f"({text} IS NOT NULL AND ({value}) IS NULL)" for text, value in zip(texts, values, strict=True)]
    broken = f"(len(_f) > 0 AND ({' OR '.join([f'len(_f) <> {len(data)}', *unfit])}))"
    for place in sorted(corrupt):
        values.insert(place, f"CASE WHEN {broken} THEN {sql} END")
    made = pack(schema, values)
    if options.mode == FAILFAST:
        failure = context.error(
            "MALFORMED_RECORD_IN_PARSING.WITHOUT_SUGGESTION", schema, badRecord=sql, failFastMode="'FAILFAST'"
        )
        made = f"CASE WHEN {broken} THEN {failure} ELSE {made} END"
    return f"CASE WHEN {sql} IS NOT NULL THEN list_transform([{cut}], lambda _f: {made})[1] END"


@cache
def _cutter(options: CsvOptions) -> PythonFunction:
    """Texts to lists of fields, over Arrow arrays; the same object for the same options, as statements are cached by it."""

    def cut(texts: pa.Array) -> pa.Array:
        return pa.array(
            [None if t is None else record_of(t, options) for t in texts.to_pylist()], pa.list_(pa.string())
        )

    return PythonFunction("csv_fields", cut, SCALAR_ARROW)


# ------------------------------------------------------------------------------------------------- schema_of_csv


def _bind_schema_of_csv(context: BindContext, args: Args) -> Expression:
    check_arity("schema_of_csv", args, 1, 2)
    text = constant_text(args[0])
    if text is None:
        shown = {"sqlExpr": f'"schema_of_csv({pretty(args[0])})"', "exprName": "csv"}
        if isinstance(args[0], Literal):
            raise AnalysisError("DATATYPE_MISMATCH.UNEXPECTED_NULL", shown)
        raise AnalysisError(
            "DATATYPE_MISMATCH.NON_FOLDABLE_INPUT",
            {
                "sqlExpr": shown["sqlExpr"],
                "inputName": "`csv`",
                "inputType": '"STRING"',
                "inputExpr": f'"{pretty(args[0])}"',
            },
        )
    options = replace(csv_options(options_of(args, 1)), infer=True)
    types = [wider(NullType(), value, options) for value in record_of(text, options)]
    found = [StringType() if isinstance(t, NullType) else t for t in types]
    return Literal(
        "STRUCT<" + ", ".join(f"_c{i}: {t.simpleString().upper()}" for i, t in enumerate(found)) + ">", STRING
    )


FUNCTIONS: Final[tuple[CatalogueEntry, ...]] = (
    ScalarFunction("to_csv", _bind_to_csv, _lower_to_csv),
    ScalarFunction("from_csv", _bind_from_csv, _lower_from_csv),
    ScalarFunction("schema_of_csv", _bind_schema_of_csv),
)
