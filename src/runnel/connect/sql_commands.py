"""SQL commands: each becomes calls of the session, and its result the rows that Spark's command gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
from pyspark.sql.types import BooleanType, StringType, StructField, StructType

from runnel.connect.catalog import Rows, exists, matches_pattern, nothing, only_default, rows_of_values
from runnel.connect.settings import apply, setting
from runnel.errors import AnalysisError, unsupported
from runnel.plan.relations import NamedTable
from runnel.sql import commands

if TYPE_CHECKING:
    from runnel.connect.service import SparkConnectService


def _strings(*names: str, nullable: tuple[str, ...] = ()) -> StructType:
    return StructType([StructField(name, StringType(), name in nullable) for name in names])


_KEY_VALUE = _strings("key", "value")
_DESCRIPTION = _strings("col_name", "data_type", "comment", nullable=("comment",))


def run_sql_command(service: SparkConnectService, command: commands.Command) -> tuple[pa.Table, StructType]:
    """Runs a parsed command; its rows in physical types, often none."""
    session = service.session
    match command:
        case commands.CreateView():
            return _create_view(service, command)
        case commands.DropView(name=name, if_exists=if_exists):
            found = session.drop_view(name[-1], is_global=_is_global(name))
            if not found and not if_exists:
                raise AnalysisError("TABLE_OR_VIEW_NOT_FOUND", relationName=_quoted(name))
            return nothing()
        case commands.SetConf(key=None):
            return rows_of_values(_KEY_VALUE, sorted(session.conf.all().items()))
        case commands.SetConf(key=str(key), value=None):
            return rows_of_values(_KEY_VALUE, [(key, setting(session.conf, key) or "<undefined>")])
        case commands.SetConf(key=str(key), value=str(value)):
            apply(session.conf, key, value)
            return rows_of_values(_KEY_VALUE, [(key, value)])
        case commands.ResetConf(key=key):
            for one in [key] if key is not None else [k for k in session.conf.all() if session.conf.may_set(k)]:
                session.conf.unset(one)
            return nothing()
        case commands.ShowTables(pattern=pattern):
            return _views(service, "tableName", pattern)
        case commands.ShowViews(pattern=pattern):
            return _views(service, "viewName", pattern)
        case commands.ShowColumns(name=name):
            names = session.schema(NamedTable(parts=name)).names
            return rows_of_values(_strings("col_name"), [(n,) for n in names])
        case commands.Describe(name=name):
            return _describe(session.schema(NamedTable(parts=name)))
        case commands.DescribeQuery(plan=plan):
            return _describe(session.schema(plan))
        case commands.Explain(plan=plan, mode=mode):
            return rows_of_values(_strings("plan"), [(session.explain(plan, mode),)])
        case commands.CacheTable(name=name, plan=plan):
            if plan is not None:
                session.create_view(name[-1], plan, replace_existing=False, is_global=False)
            session.cache(NamedTable(parts=name))
            return nothing()
        case commands.UncacheTable(name=name, if_exists=if_exists):
            if exists(service, name) or not if_exists:
                session.uncache(NamedTable(parts=name))
            return nothing()
        case commands.ClearCache():
            session.uncache_all()
            return nothing()
        case commands.RefreshTable(name=name):
            session.schema(NamedTable(parts=name))
            return nothing()
        case commands.UseDatabase(name=name):
            return only_default(".".join(name))
        case commands.Unsupported(name=statement):
            raise unsupported(f"The SQL statement {statement}")
        case _:
            raise unsupported(f"The SQL command {type(command).__name__}")


def _create_view(service: SparkConnectService, command: commands.CreateView) -> Rows:
    if not command.temporary and not command.is_global:
        raise unsupported("A view that outlives its session", "Write CREATE TEMPORARY VIEW.")
    parts = ("global_temp", command.name[-1]) if command.is_global else command.name
    if not (command.if_not_exists and exists(service, parts)):
        service.session.create_view(
            command.name[-1], command.plan, replace_existing=command.replace, is_global=command.is_global
        )
    return nothing()


def _is_global(name: tuple[str, ...]) -> bool:
    return len(name) == 2 and name[0].lower() == "global_temp"


def _quoted(name: tuple[str, ...]) -> str:
    return ".".join(f"`{part}`" for part in name)


def _views(service: SparkConnectService, column: str, pattern: str | None) -> Rows:
    schema = StructType([*_strings("namespace", column).fields, StructField("isTemporary", BooleanType(), False)])
    names = [name for name in service.session.view_names() if matches_pattern(name, pattern)]
    return rows_of_values(schema, [("", name, True) for name in names])


def _describe(schema: StructType) -> Rows:
    rows = [(f.name, f.dataType.simpleString(), (f.metadata or {}).get("comment")) for f in schema.fields]
    return rows_of_values(_DESCRIPTION, rows)
