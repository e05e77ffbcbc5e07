"""From JSON text to typed values, in DuckDB SQL, by the rules of Spark's reader.

`convert` works on the text of one JSON value in DuckDB's own compact form: what `json_transform` gives for the type JSON,
null where the field is missing or null. The rules are strict about tokens: a string is no number, a fraction no integer.
A value that does not fit is null; inside a struct that costs the field, inside an array or a map the whole of it.
`convert_struct` does the same for the fields of an object that is parsed once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Final

from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    ByteType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    MapType,
    NullType,
    ShortType,
    StringType,
    StructType,
    TimestampNTZType,
    TimestampType,
)

from runnel.errors import unsupported
from runnel.functions import cast_text
from runnel.functions.casts import quoted, type_sql, unique_field_names
from runnel.functions.date_patterns import text_literal
from runnel.functions.datetime_text import parse_date, parse_timestamp, quick_timestamp
from runnel.functions.json_options import JsonOptions
from runnel.functions.json_repair import Liberties, repair_function
from runnel.functions.registry import LoweringContext
from runnel.plan.expressions import Expression, PythonUDF

_INTEGERS: Final[dict[type[DataType], str]] = {ShortType: "SMALLINT", IntegerType: "INTEGER", LongType: "BIGINT"}
_BASE64: Final = "'([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?'"
_DECIMAL: Final = r"'[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?'"


@dataclass(frozen=True, slots=True)
class Converted:
    """SQL of a value, and conditions on the same text (never null).

    unusable: the value does not fit its type and is null. damaged: something inside it does not (SQL, or None if that
    cannot be). Only asked for where somebody looks at them.
    """

    value: str
    unusable: str
    damaged: str | None = None

    @property
    def corrupt(self) -> str:
        return self.unusable if self.damaged is None else f"({self.unusable} OR {self.damaged})"


@dataclass(slots=True)
class Converter:
    """Makes the SQL for one schema. Names its lambda variables apart."""

    context: LoweringContext
    options: JsonOptions
    _ids: count[int] = field(default_factory=count)

    def convert(self, text: str, dtype: DataType) -> Converted:
        """`text`: SQL of a JSON value's text, cheap to repeat (a column or a lambda's variable)."""
        match dtype:
            case StructType():
                return self._struct(text, dtype)
            case ArrayType():
                return self._array(text, dtype)
            case MapType():
                return self._map(text, dtype)
            case _:
                value = self._scalar(text, dtype)
                return Converted(value, f"({text} IS NOT NULL AND ({value}) IS NULL)")

    def fields(self, parsed: str, schema: StructType) -> list[Converted]:
        """One conversion a field of `parsed`, an object that was read with `structure(schema)`."""
        return [
            self.convert(f"CAST(struct_extract({parsed}, {text_literal(f.name)}) AS VARCHAR)", f.dataType)
            for f in schema.fields
        ]

    # ------------------------------------------------------------------------------------------------- scalars

    def _scalar(self, x: str, dtype: DataType) -> str:
        match dtype:
            case StringType():
                return self._string(x)
            case ByteType():
                # Jackson takes an unsigned byte for a byte
                return self._let(
                    f"CASE WHEN NOT contains({x}, '.') AND NOT contains({x}, 'e') THEN TRY_CAST({x} AS SMALLINT) END",
                    lambda v: (
                        f"CASE WHEN {v} BETWEEN -128 AND 127 THEN CAST({v} AS TINYINT) "
                        f"WHEN {v} BETWEEN 128 AND 255 THEN CAST({v} - 256 AS TINYINT) END"
                    ),
                )
            case ShortType() | IntegerType() | LongType():
                # what is left after these two tests and is no integer has quotes, brackets or letters
                return (
                    f"CASE WHEN NOT contains({x}, '.') AND NOT contains({x}, 'e') "
                    f"THEN TRY_CAST({x} AS {_INTEGERS[type(dtype)]}) END"
                )
            case DoubleType():
                return _double(x)
            case FloatType():
                return self._let(
                    _double(x),
                    lambda v: (
                        f"CASE WHEN isfinite({v}) AND abs({v}) >= 3.4028235677973366e38 "
                        f"THEN CASE WHEN {v} > 0 THEN CAST('inf' AS FLOAT) ELSE CAST('-inf' AS FLOAT) END "
                        f"ELSE CAST({v} AS FLOAT) END"
                    ),
                )
            case BooleanType():
                return f"CASE {x} WHEN 'true' THEN TRUE WHEN 'false' THEN FALSE END"
            case DecimalType():
                number = f"CASE WHEN starts_with({x}, '\"') THEN replace({_unquoted(x)}, ',', '') ELSE {x} END"
                return self._let(
                    number,
                    lambda v: (
                        f"CASE WHEN regexp_matches({v}, '[eE]-[0-9]{{3}}') THEN CAST(0 AS {type_sql(dtype)}) "
                        f"WHEN regexp_full_match({v}, {_DECIMAL}) THEN TRY_CAST({v} AS {type_sql(dtype)}) END"
                    ),
                )
            case BinaryType():
                return self._from_string(
                    x, lambda v: f"CASE WHEN regexp_full_match({v}, {_BASE64}) THEN from_base64({v}) END"
                )
            case DateType():
                return self._from_string(x, lambda v: parse_date(self.context, v, self.options.date_format))
            case TimestampNTZType():
                return self._from_string(
                    x,
                    lambda v: parse_timestamp(
                        self.context, v, self.options.timestamp_ntz_format, self.options.time_zone, with_zone=False
                    ),
                )
            case TimestampType():
                of_string = self._from_string(
                    x,
                    lambda v: parse_timestamp(
                        self.context, v, self.options.timestamp_format, self.options.time_zone, with_zone=True
                    ),
                )
                made = f"make_timestamp(CAST({x} AS BIGINT) * 1000000)"
                seconds = f"CASE WHEN regexp_full_match({x}, '-?[0-9]{{1,12}}') THEN {made} END"
                quick = ""
                if self.options.timestamp_format is None:
                    quick = quick_timestamp(self.context, x, self.options.time_zone, quote='"')
                return f"CASE {quick} WHEN starts_with({x}, '\"') THEN {of_string} ELSE {seconds} END"
            case NullType():
                return "CAST(NULL AS INTEGER)"
            case _:
                raise unsupported(f"JSON with a field of type {dtype.simpleString()}", "Read it as a string.")

    def _string(self, x: str) -> str:
        number = self._let(f"TRY_CAST({x} AS DOUBLE)", lambda v: cast_text.double_text(v))
        return (
            f"CASE WHEN starts_with({x}, '\"') THEN {_unquoted(x)} "
            f"WHEN regexp_matches({x}, '^-?[0-9][0-9]*[.eE]') THEN {number} ELSE {x} END"
        )

    def _from_string(self, x: str, then: Callable[[str], str]) -> str:
        return self._let(f"CASE WHEN starts_with({x}, '\"') THEN {_unquoted(x)} END", then)

    def _let(self, value: str, then: Callable[[str], str]) -> str:
        name = f"v{next(self._ids)}"
        return f"list_transform([{value}], lambda {name}: {then(name)})[1]"

    # -------------------------------------------------------------------------------------------------- nested

    def _struct(self, x: str, dtype: StructType) -> Converted:
        name = f"v{next(self._ids)}"
        fields = self.fields(name, dtype)
        is_object = f"starts_with({x}, '{{')"
        parsed = f"[json_transform({x}, {text_literal(structure(dtype))})]"
        value = f"list_transform({parsed}, lambda {name}: {pack(dtype, [f.value for f in fields])})[1]"
        damaged = " OR ".join(f.corrupt for f in fields) or "FALSE"
        return Converted(
            f"CASE WHEN {is_object} THEN {value} END",
            f"({x} IS NOT NULL AND NOT {is_object})",
            f"({x} IS NOT NULL AND {is_object} AND list_transform({parsed}, lambda {name}: {damaged})[1])",
        )

    def _array(self, x: str, dtype: ArrayType) -> Converted:
        name = f"v{next(self._ids)}"
        element = self.convert(name, dtype.elementType)
        items = f"CAST(json_transform({x}, '[\"JSON\"]') AS VARCHAR[])"
        fits = f"(starts_with({x}, '[') AND NOT {_any(items, name, element.unusable)})"
        return Converted(
            f"CASE WHEN {fits} THEN list_transform({items}, lambda {name}: {element.value}) END",
            f"({x} IS NOT NULL AND NOT {fits})",
            None
            if element.damaged is None
            else f"({x} IS NOT NULL AND {fits} AND {_any(items, name, element.damaged)})",
        )

    def _map(self, x: str, dtype: MapType) -> Converted:
        if not isinstance(dtype.keyType, StringType):
            raise unsupported(f"JSON with the map {dtype.simpleString()}", "Keys of a map in JSON are strings.")
        key, name = f"v{next(self._ids)}", f"v{next(self._ids)}"
        value = self.convert(name, dtype.valueType)
        keys = f"json_keys({x})"
        items = f"list_transform(CAST(json_extract({x}, '$.*') AS VARCHAR[]), lambda {name}: nullif({name}, 'null'))"
        fits = f"(starts_with({x}, '{{') AND NOT {_any(items, name, value.unusable)})"
        values = f"list_transform({items}, lambda {name}: {value.value})"
        # of equal keys the last one counts
        last = f"lambda {key}, {key}i: NOT list_contains({keys}[{key}i + 1:], {key}.key)"
        pairs = f"list_transform(list_zip({keys}, {values}), lambda {key}: {{'key': {key}[1], 'value': {key}[2]}})"
        made = f"map_from_entries(list_filter({pairs}, {last}))"
        return Converted(
            f"CASE WHEN {fits} THEN {made} END",
            f"({x} IS NOT NULL AND NOT {fits})",
            None if value.damaged is None else f"({x} IS NOT NULL AND {fits} AND {_any(items, name, value.damaged)})",
        )


def structure(schema: StructType) -> str:
    """The structure argument of `json_transform` that reads each field as its own JSON text.

    Errors: UnsupportedOperationError for fields that differ in case alone, which DuckDB cannot tell apart.
    """
    seen: set[str] = set()
    for f in schema.fields:
        if f.name.lower() in seen:
            raise unsupported(f"JSON with two fields called {f.name!r} (but for case)", "Rename one of them.")
        seen.add(f.name.lower())
    return json.dumps({f.name: "JSON" for f in schema.fields}, ensure_ascii=False)


def liberties_for(options: JsonOptions, dtype: DataType) -> Liberties:
    """The reader's liberties for values of a type: where there are decimals, long numbers must not pass for doubles."""
    if has_decimal(dtype):
        return replace(options.liberties, quote_long_numbers=True)
    return options.liberties


def has_decimal(dtype: DataType) -> bool:
    """Whether there are decimals anywhere in a type: they keep digits that a double would lose."""
    match dtype:
        case DecimalType():
            return True
        case StructType(fields=fields):
            return any(has_decimal(f.dataType) for f in fields)
        case ArrayType(elementType=element):
            return has_decimal(element)
        case MapType(valueType=value):
            return has_decimal(value)
        case _:
            return False


def readable(context: LoweringContext, text: Expression, liberties: Liberties) -> str:
    """SQL of `text` as strict JSON, null where it is malformed."""
    sql = context.lower(text)
    strict = f"json_valid({sql}) AND NOT contains({sql}, ',}}') AND NOT contains({sql}, ',]')"
    if liberties.quote_long_numbers:
        strict += f" AND NOT regexp_matches({sql}, '[0-9][0-9.]{{15}}')"
    if not liberties.not_numbers:
        strict += f" AND NOT regexp_matches({sql}, 'NaN|Infinity|INF')"
    repaired = context.lower(PythonUDF(repair_function(liberties), (text,), StringType()))
    return f"CASE WHEN {strict} THEN {sql} ELSE {repaired} END"


def pack(schema: StructType, values: Sequence[str]) -> str:
    """SQL of a struct of the schema's type from its fields' SQL."""
    names = unique_field_names(schema)
    if not names:
        return f"CAST(NULL AS {type_sql(schema)})"
    return "struct_pack(" + ", ".join(f"{quoted(n)} := {v}" for n, v in zip(names, values, strict=True)) + ")"


def _unquoted(x: str) -> str:
    """The content of a JSON string's text. Without a backslash there can be no quote inside."""
    return f"CASE WHEN contains({x}, '\\') THEN ({x} ->> '$') ELSE substr({x}, 2, length({x}) - 2) END"


def _double(x: str) -> str:
    words = "WHEN '\"NaN\"' THEN 'nan' " + " ".join(
        f"WHEN '\"{w}\"' THEN '{'-' if w[0] == '-' else ''}inf'"
        for w in ("Infinity", "+Infinity", "-Infinity", "+INF", "-INF")
    )
    word = f"CAST(CASE {x} {words} END AS DOUBLE)"
    # a number that was quoted for the sake of a decimal elsewhere in the record (see `liberties_for`)
    long = f"regexp_full_match({x}, '\"-?[0-9][0-9.eE+-]{{15,}}\"')"
    return (
        f"CASE WHEN NOT starts_with({x}, '\"') THEN TRY_CAST({x} AS DOUBLE) "
        f"WHEN {long} THEN TRY_CAST(substr({x}, 2, length({x}) - 2) AS DOUBLE) ELSE {word} END"
    )


def _any(items: str, name: str, condition: str) -> str:
    return f"(len(list_filter({items}, lambda {name}: {condition})) > 0)"
