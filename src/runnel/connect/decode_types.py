"""Type messages to Spark types."""

from __future__ import annotations

import json

from pyspark.sql.connect.proto import types_pb2
from pyspark.sql.connect.types import proto_schema_to_pyspark_data_type
from pyspark.sql.types import DataType, StructType

from runnel import sql


def decode_type(message: types_pb2.DataType) -> DataType:
    """A type message, or the type that its unparsed text names."""
    if message.HasField("unparsed"):
        return sql.parse_type(message.unparsed.data_type_string)
    dtype: DataType = proto_schema_to_pyspark_data_type(message)
    return dtype


def as_struct(dtype: DataType, name: str = "value") -> StructType:
    """A struct as it is, any other type as the only column `name`."""
    return dtype if isinstance(dtype, StructType) else StructType().add(name, dtype)


def decode_schema_text(text: str) -> StructType:
    """A schema in JSON or in DDL, as the client sends either."""
    if text.lstrip().startswith(("{", '"')):
        parsed = json.loads(text)
        if isinstance(parsed, dict) and parsed.get("type") == "struct":
            return StructType.fromJson(parsed)
        from pyspark.sql.types import _parse_datatype_json_string

        return as_struct(_parse_datatype_json_string(text))
    return sql.parse_schema(text)
