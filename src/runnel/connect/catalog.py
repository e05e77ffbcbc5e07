"""`spark.catalog`: questions about views and tables, answered as rows."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyspark.sql.connect.proto import catalog_pb2
from pyspark.sql.types import ArrayType, BooleanType, StringType, StructField, StructType

from runnel.connect.arrow_values import physical_type
from runnel.connect.decode_expressions import name_parts
from runnel.errors import AnalysisError, RunnelError, unsupported
from runnel.plan.relations import NamedTable

if TYPE_CHECKING:
    from runnel.connect.service import SparkConnectService

Rows = tuple[pa.Table, StructType]

_CATALOG = "spark_catalog"
_DATABASE = "default"
_TABLE = StructType(
    [
        StructField("name", StringType(), False),
        StructField("catalog", StringType()),
        StructField("namespace", ArrayType(StringType())),
        StructField("description", StringType()),
        StructField("tableType", StringType(), False),
        StructField("isTemporary", BooleanType(), False),
    ]
)
_DATABASES = StructType(
    [
        StructField("name", StringType(), False),
        StructField("catalog", StringType()),
        StructField("description", StringType()),
        StructField("locationUri", StringType(), False),
    ]
)
_DEFAULT_ROW = (_DATABASE, _CATALOG, "default database", "")
_CATALOGS = StructType([StructField("name", StringType(), False), StructField("description", StringType())])
_FUNCTION = StructType(
    [
        StructField("name", StringType(), False),
        StructField("catalog", StringType()),
        StructField("namespace", ArrayType(StringType())),
        StructField("description", StringType()),
        StructField("className", StringType(), False),
        StructField("isTemporary", BooleanType(), False),
    ]
)
_COLUMN = StructType(
    [
        StructField("name", StringType(), False),
        StructField("description", StringType()),
        StructField("dataType", StringType(), False),
        *(StructField(flag, BooleanType(), False) for flag in ("nullable", "isPartition", "isBucket", "isCluster")),
    ]
)


def rows_of_values(schema: StructType, rows: Sequence[tuple[Any, ...]]) -> Rows:
    """Python rows as a table in physical types, with its schema."""
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(schema.fields)
    arrays = [pa.array(c, physical_type(f.dataType)) for c, f in zip(columns, schema.fields, strict=True)]
    return pa.Table.from_arrays(arrays, names=schema.names), schema


def _value(value: bool | str) -> Rows:
    dtype = BooleanType() if isinstance(value, bool) else StringType()
    return rows_of_values(StructType([StructField("value", dtype, False)]), [(value,)])


def nothing() -> Rows:
    """No rows and no columns: what an action answers."""
    return pa.table({}), StructType([])


def run_catalog(service: SparkConnectService, message: catalog_pb2.Catalog) -> Rows:
    """The answer to one question (or the result of one action) as rows in physical types."""
    kind = str(message.WhichOneof("cat_type"))
    handler = HANDLERS.get(kind)
    if handler is None:
        raise unsupported(f"The catalogue operation {kind}")
    return handler(service, getattr(message, kind))


def _parts(name: str, database: str = "") -> tuple[str, ...]:
    parts = name_parts(name)
    return (database, *parts) if database and len(parts) == 1 else parts


def exists(service: SparkConnectService, parts: tuple[str, ...]) -> bool:
    """Whether there is a view or table of this name."""
    try:
        service.session.schema(NamedTable(parts=parts))
    except RunnelError as error:
        if error.condition.startswith(("TABLE_OR_VIEW_NOT_FOUND", "SCHEMA_NOT_FOUND")):
            return False
        raise
    return True


def _table_row(name: str, *, temporary: bool) -> tuple[Any, ...]:
    if temporary:
        return (name, None, [], None, "TEMPORARY", True)
    return (name, _CATALOG, [_DATABASE], None, "MANAGED", False)


def _matches(name: str, message: Any) -> bool:
    return matches_pattern(name, message.pattern if message.HasField("pattern") else None)


def matches_pattern(name: str, pattern: str | None) -> bool:
    """Spark's patterns of names: `*` for any text, `|` between alternatives, without regard to case."""
    if pattern is None:
        return True
    return any(fnmatch.fnmatchcase(name.lower(), one.strip().lower()) for one in pattern.split("|"))


def _list_tables(service: SparkConnectService, message: catalog_pb2.ListTables) -> Rows:
    views = [_table_row(name, temporary=True) for name in service.session.view_names()]
    return rows_of_values(_TABLE, [row for row in views if _matches(row[0], message)])


def _get_table(service: SparkConnectService, message: catalog_pb2.GetTable) -> Rows:
    parts = _parts(message.table_name, message.db_name)
    if not exists(service, parts):
        raise AnalysisError("TABLE_OR_VIEW_NOT_FOUND", relationName=".".join(f"`{p}`" for p in parts))
    temporary = parts[-1].lower() in {name.lower() for name in service.session.view_names()}
    return rows_of_values(_TABLE, [_table_row(parts[-1], temporary=temporary)])


def _list_columns(service: SparkConnectService, message: catalog_pb2.ListColumns) -> Rows:
    schema = service.session.schema(NamedTable(parts=_parts(message.table_name, message.db_name)))
    return rows_of_values(
        _COLUMN,
        [(f.name, None, f.dataType.simpleString(), f.nullable, False, False, False) for f in schema.fields],
    )


def _drop_view(service: SparkConnectService, message: catalog_pb2.DropTempView) -> Rows:
    return _value(service.session.drop_view(message.view_name, is_global=False))


def _drop_global_view(service: SparkConnectService, message: catalog_pb2.DropGlobalTempView) -> Rows:
    return _value(service.session.drop_view(message.view_name, is_global=True))


def _cache(service: SparkConnectService, message: catalog_pb2.CacheTable) -> Rows:
    service.session.cache(NamedTable(parts=_parts(message.table_name)))
    return nothing()


def _uncache(service: SparkConnectService, message: catalog_pb2.UncacheTable) -> Rows:
    service.session.uncache(NamedTable(parts=_parts(message.table_name)))
    return nothing()


def _clear_cache(service: SparkConnectService, _message: catalog_pb2.ClearCache) -> Rows:
    service.session.uncache_all()
    return nothing()


def _is_cached(service: SparkConnectService, message: catalog_pb2.IsCached) -> Rows:
    return _value(service.session.storage_level(NamedTable(parts=_parts(message.table_name))) is not None)


def _get_database(_service: SparkConnectService, message: catalog_pb2.GetDatabase) -> Rows:
    only_default(message.db_name)
    return rows_of_values(_DATABASES, [_DEFAULT_ROW])


def _list_functions(service: SparkConnectService, message: catalog_pb2.ListFunctions) -> Rows:
    names = [name for name in service.session.function_names() if _matches(name, message)]
    return rows_of_values(_FUNCTION, [_function_row(name) for name in names])


def _get_function(service: SparkConnectService, message: catalog_pb2.GetFunction) -> Rows:
    name = _parts(message.function_name)[-1].lower()
    service.session.check_function(name)
    return rows_of_values(_FUNCTION, [_function_row(name)])


def _function_row(name: str) -> tuple[Any, ...]:
    return (name, None, None, None, "", True)


def _function_exists(service: SparkConnectService, message: catalog_pb2.FunctionExists) -> Rows:
    name = _parts(message.function_name)[-1].lower()
    return _value(service.session.function_exists(name))


def only_default(name: str) -> Rows:
    """Accepts the one database there is; SCHEMA_NOT_FOUND for any other."""
    if name.lower() not in (_DATABASE, _CATALOG):
        raise AnalysisError("SCHEMA_NOT_FOUND", schemaName=f"`{name}`")
    return nothing()


HANDLERS: dict[str, Callable[[SparkConnectService, Any], Rows]] = {
    "current_database": lambda service, message: _value(_DATABASE),
    "current_catalog": lambda service, message: _value(_CATALOG),
    "set_current_database": lambda service, message: only_default(message.db_name),
    "set_current_catalog": lambda service, message: only_default(message.catalog_name),
    "list_databases": lambda service, message: rows_of_values(
        _DATABASES, [_DEFAULT_ROW] if _matches(_DATABASE, message) else []
    ),
    "database_exists": lambda service, message: _value(message.db_name.lower() == _DATABASE),
    "table_exists": lambda service, message: _value(exists(service, _parts(message.table_name, message.db_name))),
    "list_tables": _list_tables,
    "get_table": _get_table,
    "list_columns": _list_columns,
    "list_catalogs": lambda service, message: rows_of_values(
        _CATALOGS, [(_CATALOG, None)] if _matches(_CATALOG, message) else []
    ),
    "get_database": _get_database,
    "list_functions": _list_functions,
    "get_function": _get_function,
    "function_exists": _function_exists,
    "drop_temp_view": _drop_view,
    "drop_global_temp_view": _drop_global_view,
    "cache_table": _cache,
    "uncache_table": _uncache,
    "clear_cache": _clear_cache,
    "is_cached": _is_cached,
    "refresh_table": lambda service, message: nothing(),
    "refresh_by_path": lambda service, message: nothing(),
}
