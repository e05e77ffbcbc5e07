"""Statements that are not queries, as values. Who executes them decides what they do."""

from __future__ import annotations

from dataclasses import dataclass

from runnel.plan.relations import Relation


@dataclass(frozen=True, slots=True)
class Command:
    """Base of all commands. Names of tables and views are their unquoted parts."""


@dataclass(frozen=True, slots=True)
class CreateView(Command):
    """`CREATE [OR REPLACE] [[GLOBAL] TEMPORARY] VIEW [IF NOT EXISTS] name AS query`"""

    name: tuple[str, ...]
    plan: Relation
    replace: bool = False
    is_global: bool = False
    temporary: bool = False
    if_not_exists: bool = False


@dataclass(frozen=True, slots=True)
class DropView(Command):
    name: tuple[str, ...]
    if_exists: bool = False


@dataclass(frozen=True, slots=True)
class SetConf(Command):
    """`SET key = value`; without a value it asks for the present one, without a key for all."""

    key: str | None = None
    value: str | None = None


@dataclass(frozen=True, slots=True)
class ResetConf(Command):
    """`RESET key`, or all settings."""

    key: str | None = None


@dataclass(frozen=True, slots=True)
class ShowTables(Command):
    """`SHOW TABLES [IN namespace] [LIKE 'pattern']`"""

    namespace: tuple[str, ...] | None = None
    pattern: str | None = None


@dataclass(frozen=True, slots=True)
class ShowViews(Command):
    """`SHOW VIEWS [IN namespace] [LIKE 'pattern']`"""

    namespace: tuple[str, ...] | None = None
    pattern: str | None = None


@dataclass(frozen=True, slots=True)
class ShowColumns(Command):
    """`SHOW COLUMNS IN name`"""

    name: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Describe(Command):
    """`DESCRIBE [TABLE] [EXTENDED] name`"""

    name: tuple[str, ...]
    extended: bool = False


@dataclass(frozen=True, slots=True)
class DescribeQuery(Command):
    """`DESCRIBE [QUERY] SELECT …`"""

    plan: Relation


@dataclass(frozen=True, slots=True)
class Explain(Command):
    """`EXPLAIN [mode] query`; mode: simple, extended, codegen, cost, formatted."""

    plan: Relation
    mode: str = "simple"


@dataclass(frozen=True, slots=True)
class CacheTable(Command):
    """`CACHE [LAZY] TABLE name [AS query]`"""

    name: tuple[str, ...]
    plan: Relation | None = None
    lazy: bool = False


@dataclass(frozen=True, slots=True)
class UncacheTable(Command):
    name: tuple[str, ...]
    if_exists: bool = False


@dataclass(frozen=True, slots=True)
class ClearCache(Command):
    pass


@dataclass(frozen=True, slots=True)
class RefreshTable(Command):
    name: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UseDatabase(Command):
    """`USE [DATABASE] name`"""

    name: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unsupported(Command):
    """A statement of Spark's that Runnel does not execute; `name` is what it is called, such as CREATE TABLE."""

    name: str
