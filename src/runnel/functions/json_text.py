"""JSON functions: `from_json`, `to_json`, `get_json_object`, `json_tuple`, `schema_of_json` …

`from_json` reads by the rules of `json_values`, the same that files are read by. Schemas and options are constants.
"""

from __future__ import annotations

import json
import re
from typing import Final

from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    DataType,
    DateType,
    DayTimeIntervalType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    MapType,
    NullType,
    StringType,
    StructType,
    TimestampNTZType,
    TimestampType,
    YearMonthIntervalType,
)

from runnel.errors import AnalysisError, unsupported
from runnel.functions import cast_text
from runnel.functions.casts import unique_field_names
from runnel.functions.constants import constant_text, literal_options, options_of, schema_of
from runnel.functions.date_patterns import text_literal, written_timestamp
from runnel.functions.json_inference import infer_value
from runnel.functions.json_options import FAILFAST, JsonOptions, from_json_mode, json_options
from runnel.functions.json_repair import Liberties
from runnel.functions.json_values import Converter, liberties_for, pack, readable, structure
from runnel.functions.pretty import pretty, pretty_type
from runnel.functions.registry import (
    BindContext,
    CatalogueEntry,
    GeneratorFunction,
    LoweringContext,
    ScalarFunction,
)
from runnel.functions.typing import STRING, check_arity, coerce, is_string, wrong_number_of_arguments
from runnel.plan.expressions import (
    Expression,
    FunctionCall,
    GeneratorCall,
    GeneratorColumn,
    Literal,
    dtype_of,
)

Args = tuple[Expression, ...]


def _needs_string(name: str, args: Args) -> Expression:
    if not is_string(dtype_of(args[0])):
        raise AnalysisError(
            "DATATYPE_MISMATCH.UNEXPECTED_INPUT_TYPE",
            {
                "sqlExpr": f'"{name}({", ".join(pretty(a) for a in args)})"',
                "paramIndex": "first",
                "requiredType": '"STRING"',
                "inputSql": f'"{pretty(args[0])}"',
                "inputType": pretty_type(dtype_of(args[0])),
            },
        )
    return args[0]


# --------------------------------------------------------------------------------------------------- from_json


def _bind_from_json(context: BindContext, args: Args) -> Expression:
    check_arity("from_json", args, 2, 3)
    schema = _nullable(schema_of(args[1]))
    if not isinstance(schema, StructType | ArrayType | MapType):
        raise AnalysisError(
            "DATATYPE_MISMATCH.INVALID_JSON_SCHEMA",
            {"sqlExpr": f'"from_json({pretty(args[0])})"', "schema": pretty_type(schema)},
        )
    given = options_of(args, 2)
    conf = context.conf or {}
    if "spark.sql.columnNameOfCorruptRecord" in conf and "columnnameofcorruptrecord" not in {k.lower() for k in given}:
        given["columnNameOfCorruptRecord"] = conf["spark.sql.columnNameOfCorruptRecord"]
    from_json_mode(json_options(given))
    text = (
        coerce(args[0], STRING, context)
        if isinstance(dtype_of(args[0]), NullType)
        else _needs_string("from_json", args)
    )
    return FunctionCall("from_json", (text, literal_options(given)), schema, True)


def _nullable(dtype: DataType) -> DataType:
    """The type with nulls allowed everywhere: what is read from a text may be missing."""
    match dtype:
        case StructType():
            return StructType([f.__class__(f.name, _nullable(f.dataType), True, f.metadata) for f in dtype.fields])
        case ArrayType():
            return ArrayType(_nullable(dtype.elementType), True)
        case MapType():
            return MapType(_nullable(dtype.keyType), _nullable(dtype.valueType), True)
        case _:
            return dtype


def _lower_from_json(context: LoweringContext, call: FunctionCall, args: tuple[str, ...]) -> str:
    options = json_options(options_of(call.args, 1))
    text, dtype = call.args[0], call.dtype
    sql = args[0]
    converter = Converter(context, options)
    root = f"ltrim({readable(context, text, liberties_for(options, dtype))})"
    present = f"NOT regexp_full_match({sql}, '[\\x00-\\x20]*')"
    if isinstance(dtype, StructType):
        body = _struct_body(context, converter, dtype, options, sql)
    else:
        # one object stands for an array of it
        inner = "_r"
        if isinstance(dtype, ArrayType) and isinstance(dtype.elementType, StructType):
            inner = "CASE WHEN starts_with(_r, '{') THEN '[' || _r || ']' ELSE _r END"
        converted = converter.convert("_j", dtype)
        compact = f"CAST(CAST({inner} AS JSON) AS VARCHAR)"
        made = _or_fail(context, converted.value, converted.corrupt, dtype, options, sql)
        body = f"list_transform([{compact}], lambda _j: {made})[1]"
    return f"CASE WHEN {present} THEN list_transform([{root}], lambda _r: {body})[1] END"


def _struct_body(
    context: LoweringContext, converter: Converter, dtype: StructType, options: JsonOptions, sql: str
) -> str:
    corrupt = [i for i, f in enumerate(dtype.fields) if f.name.lower() == options.corrupt_column.lower()]
    fields = StructType([f for i, f in enumerate(dtype.fields) if i not in corrupt])
    converted = converter.fields("_s", fields)
    broken = " OR ".join(["NOT starts_with(coalesce(_r, ''), '{')", *(c.corrupt for c in converted)])
    values = [c.value for c in converted]
    for place in corrupt:
        values.insert(place, f"CASE WHEN {broken} THEN {sql} END")
    parsed = f"json_transform(CASE WHEN starts_with(_r, '{{') THEN _r END, {text_literal(structure(fields))})"
    if not fields.fields:
        parsed = "NULL"
    made = _or_fail(context, pack(dtype, values), f"({broken})", dtype, options, sql)
    return f"list_transform([{parsed}], lambda _s: {made})[1]"


def _or_fail(context: LoweringContext, value: str, broken: str, dtype: DataType, options: JsonOptions, sql: str) -> str:
    if options.mode != FAILFAST:
        return value
    failure = context.error(
        "MALFORMED_RECORD_IN_PARSING.WITHOUT_SUGGESTION", dtype, badRecord=sql, failFastMode="'FAILFAST'"
    )
    return f"CASE WHEN {broken} THEN {failure} ELSE {value} END"


# ----------------------------------------------------------------------------------------------------- to_json


def _bind_to_json(context: BindContext, args: Args) -> Expression:
    check_arity("to_json", args, 1, 2)
    dtype = dtype_of(args[0])
    if not isinstance(dtype, StructType | ArrayType | MapType):
        raise AnalysisError(
            "DATATYPE_MISMATCH.INVALID_JSON_SCHEMA",
            {"sqlExpr": f'"to_json({pretty(args[0])})"', "schema": pretty_type(dtype)},
        )
    given = options_of(args, 1)
    if json_options(given).pretty:
        raise unsupported("to_json with the option pretty", "Format the text where it is shown.")
    return FunctionCall("to_json", (args[0], literal_options(given)), STRING, True)


def _lower_to_json(context: LoweringContext, call: FunctionCall, args: tuple[str, ...]) -> str:
    options = json_options(options_of(call.args, 1))
    return _written(context, args[0], dtype_of(call.args[0]), options, 0)


def _written(context: LoweringContext, sql: str, dtype: DataType, options: JsonOptions, depth: int) -> str:
    """SQL of a value's JSON text, null for null."""
    name = f"_w{depth}"
    match dtype:
        case StructType():
            parts = []
            for f, field in zip(dtype.fields, unique_field_names(dtype), strict=True):
                inner = f"struct_extract({name}, {text_literal(field)})"
                text = _written(context, inner, f.dataType, options, depth + 1)
                if not options.ignore_null_fields:
                    text = f"coalesce({text}, 'null')"
                parts.append(f"{text_literal(_json_name(f.name) + ':')} || {text}")
            body = f"'{{' || concat_ws(',', {', '.join(parts)}) || '}}'" if parts else "'{}'"
            return f"list_transform([{sql}], lambda {name}: CASE WHEN {name} IS NOT NULL THEN {body} END)[1]"
        case ArrayType():
            element = f"coalesce({_written(context, name, dtype.elementType, options, depth + 1)}, 'null')"
            return f"'[' || array_to_string(list_transform({sql}, lambda {name}: {element}), ',') || ']'"
        case MapType():
            key = _key_text(context, f"{name}.key", dtype.keyType)
            value = _written(context, f"{name}.value", dtype.valueType, options, depth + 1)
            pair = f"CAST(to_json({key}) AS VARCHAR) || ':' || coalesce({value}, 'null')"
            return f"'{{' || array_to_string(list_transform(map_entries({sql}), lambda {name}: {pair}), ',') || '}}'"
        case StringType():
            return f"CAST(to_json({sql}) AS VARCHAR)"
        case BooleanType():
            return f"CAST({sql} AS VARCHAR)"
        case DoubleType() | FloatType():
            text = cast_text.double_text(name) if isinstance(dtype, DoubleType) else cast_text.float_text(name)
            shown = f"CASE WHEN isfinite({name}) THEN {text} ELSE '\"' || {text} || '\"' END"
            return f"list_transform([{sql}], lambda {name}: {shown})[1]"
        case DecimalType():
            if dtype.scale <= 6:
                return context.cast(sql, dtype, STRING)
            text = cast_text.decimal_text(name, context.cast(name, dtype, STRING), dtype.scale)
            return f"list_transform([{sql}], lambda {name}: {text})[1]"
        case BinaryType():
            return f"'\"' || to_base64({sql}) || '\"'"
        case TimestampType():
            return f"'\"' || {_timestamp_text(context, sql, options)} || '\"'"
        case TimestampNTZType():
            pattern = options.timestamp_ntz_format or "yyyy-MM-dd'T'HH:mm:ss[.SSS]"
            return f"'\"' || {written_timestamp(pattern, sql, sql, 'UTC')} || '\"'"
        case DateType():
            if options.date_format is None:
                return f"'\"' || {context.cast(sql, dtype, STRING)} || '\"'"
            stamp = f"CAST({sql} AS TIMESTAMP)"
            return f"'\"' || {written_timestamp(options.date_format, stamp, stamp, 'UTC')} || '\"'"
        case NullType():
            return "CAST(NULL AS VARCHAR)"
        case DayTimeIntervalType() | YearMonthIntervalType():
            return f"'\"' || {context.cast(sql, dtype, STRING)} || '\"'"
        case IntegerType() | LongType():
            return f"CAST({sql} AS VARCHAR)"
        case _:
            return context.cast(sql, dtype, STRING)


def _key_text(context: LoweringContext, sql: str, dtype: DataType) -> str:
    """SQL of a map key's text; dates and timestamps are the numbers that Spark keeps them as."""
    match dtype:
        case DateType():
            return f"CAST(CAST({sql} AS DATE) - DATE '1970-01-01' AS VARCHAR)"
        case TimestampType() | TimestampNTZType():
            return f"CAST(epoch_us({sql}) AS VARCHAR)"
        case _:
            return context.cast(sql, dtype, STRING)


def _timestamp_text(context: LoweringContext, sql: str, options: JsonOptions) -> str:
    zone = options.time_zone or context.session_time_zone
    if options.time_zone is None:
        local = context.local(sql)
    else:
        local = f"timezone({text_literal(zone)}, timezone('UTC', {sql}))"
    return written_timestamp(options.timestamp_format or "yyyy-MM-dd'T'HH:mm:ss.SSSXXX", local, sql, zone)


def _json_name(name: str) -> str:
    return json.dumps(name, ensure_ascii=False)


# --------------------------------------------------------------------------------------------- paths and pieces

_STEP: Final = re.compile(r"\.([^.\[\]]+)|\['([^']*)'\]|\[(\d+)\]|(\[\*\]|\.\*)")


def _json_path(path: str) -> str | None:
    """DuckDB's form of a path of `get_json_object`; None if it is no path."""
    if not path.startswith("$"):
        return None
    out, at = ["$"], 1
    while at < len(path):
        step = _STEP.match(path, at)
        if step is None:
            return None
        name = step.group(1) if step.group(1) is not None else step.group(2)
        if name is not None:
            out.append('."' + name.replace('"', '\\"') + '"')
        elif step.group(3) is not None:
            out.append(f"[{step.group(3)}]")
        else:
            out.append("[*]" if step.group(4) == "[*]" else ".*")
        at = step.end()
    return "".join(out)


def _bind_get(context: BindContext, args: Args) -> Expression:
    check_arity("get_json_object", args, 2, 2)
    return FunctionCall("get_json_object", tuple(coerce(a, STRING, context) for a in args), STRING, True)


def _lower_get(context: LoweringContext, call: FunctionCall, args: tuple[str, ...]) -> str:
    text = constant_text(call.args[1])
    if text is None:
        if isinstance(call.args[1], Literal):
            return "CAST(NULL AS VARCHAR)"
        raise unsupported("get_json_object with a path that is not a constant")
    path = _json_path(text)
    if path is None:
        return "CAST(NULL AS VARCHAR)"
    source = readable(context, call.args[0], Liberties())
    if "*" not in path:
        return f"json_extract_string({source}, {text_literal(path)})"
    one = "CAST(_l[1] AS VARCHAR)"
    many = "'[' || array_to_string(CAST(_l AS VARCHAR[]), ',') || ']'"
    shown = f"CASE WHEN len(_l) = 0 THEN NULL WHEN len(_l) = 1 THEN {one} ELSE {many} END"
    return f"list_transform([json_extract({source}, {text_literal(path)})], lambda _l: {shown})[1]"


def _bind_tuple(context: BindContext, args: Args) -> GeneratorCall:
    if len(args) < 2:
        raise wrong_number_of_arguments("json_tuple", "> 1", len(args))
    columns = tuple(GeneratorColumn(f"c{i}", STRING, True) for i in range(len(args) - 1))
    return GeneratorCall("json_tuple", tuple(coerce(a, STRING, context) for a in args), columns)


def _lower_tuple(context: LoweringContext, call: GeneratorCall, args: tuple[str, ...]) -> str:
    names = [constant_text(a) for a in call.args[1:]]
    if any(n is None for n in names):
        raise unsupported("json_tuple with field names that are not constants")
    source = readable(context, call.args[0], Liberties())
    paths = [text_literal('$."' + (n or "").replace('"', '\\"') + '"') for n in names]
    fields = ", ".join(f"c{i} := json_extract_string(_t, {p})" for i, p in enumerate(paths))
    return f"list_transform([{source}], lambda _t: struct_pack({fields}))"


def _bind_schema_of(context: BindContext, args: Args) -> Expression:
    check_arity("schema_of_json", args, 1, 2)
    text = constant_text(args[0])
    if text is None:
        raise AnalysisError(
            "DATATYPE_MISMATCH.NON_FOLDABLE_INPUT",
            {
                "sqlExpr": f'"schema_of_json({pretty(args[0])})"',
                "inputName": "`json`",
                "inputType": '"STRING"',
                "inputExpr": f'"{pretty(args[0])}"',
            },
        )
    found = infer_value(text, json_options(options_of(args, 1)))
    return Literal(_ddl(StringType() if found is None else found), STRING)


def _ddl(dtype: DataType) -> str:
    """A type as Spark writes it in SQL."""
    match dtype:
        case StructType():
            return "STRUCT<" + ", ".join(f"{_ddl_name(f.name)}: {_ddl(f.dataType)}" for f in dtype.fields) + ">"
        case ArrayType():
            return f"ARRAY<{_ddl(dtype.elementType)}>"
        case _:
            return dtype.simpleString().upper()


def _ddl_name(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) else "`" + name.replace("`", "``") + "`"


def _bind_text(name: str, result: DataType) -> ScalarFunction:
    def bind(context: BindContext, args: Args) -> Expression:
        check_arity(name, args, 1, 1)
        return FunctionCall(name, (coerce(args[0], STRING, context),), result, True)

    def lower(context: LoweringContext, call: FunctionCall, args: tuple[str, ...]) -> str:
        source = readable(context, call.args[0], Liberties())
        kind, made = {
            "json_array_length": ("[", "CAST(json_array_length(_t) AS INTEGER)"),
            "json_object_keys": ("{", "json_keys(_t)"),
        }[name]
        shown = f"CASE WHEN starts_with(ltrim(_t), '{kind}') THEN {made} END"
        return f"list_transform([{source}], lambda _t: {shown})[1]"

    return ScalarFunction(name, bind, lower)


FUNCTIONS: Final[tuple[CatalogueEntry, ...]] = (
    ScalarFunction("from_json", _bind_from_json, _lower_from_json),
    ScalarFunction("to_json", _bind_to_json, _lower_to_json),
    ScalarFunction("get_json_object", _bind_get, _lower_get),
    GeneratorFunction("json_tuple", _bind_tuple, _lower_tuple),
    ScalarFunction("schema_of_json", _bind_schema_of),
    _bind_text("json_array_length", IntegerType()),
    _bind_text("json_object_keys", ArrayType(STRING, True)),
)
