"""Commands from text."""

from __future__ import annotations

import pytest

from runnel.errors import ParseError
from runnel.plan.relations import Empty, ToDF
from runnel.sql import commands, parse_statement
from runnel.sql.commands import Command
from tests.sql.builders import lit, select, table

ONE = select(Empty(), lit(1))
V = ("v",)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("create view v as select 1", commands.CreateView(V, ONE)),
        ("create or replace temp view v as select 1", commands.CreateView(V, ONE, replace=True, temporary=True)),
        ("CREATE TEMPORARY VIEW `v` AS SELECT 1;", commands.CreateView(V, ONE, temporary=True)),
        ("create global temporary view v as select 1",
         commands.CreateView(V, ONE, is_global=True, temporary=True)),
        ("create view if not exists a.v as select 1",
         commands.CreateView(("a", "v"), ONE, if_not_exists=True)),
        ("create temp view v (a comment 'first') comment 'c' tblproperties ('k' = 'v') as select 1",
         commands.CreateView(V, ToDF(child=ONE, names=("a",)), temporary=True)),
        ("drop view v", commands.DropView(V)),
        ("drop view if exists a.v", commands.DropView(("a", "v"), if_exists=True)),
        ("set", commands.SetConf()),
        ("set -v", commands.SetConf()),
        ("set spark.sql.shuffle.partitions", commands.SetConf("spark.sql.shuffle.partitions")),
        ("SET spark.sql.shuffle.partitions=2", commands.SetConf("spark.sql.shuffle.partitions", "2")),
        ("set a.b = c d;", commands.SetConf("a.b", "c d")),
        ("set a = b = c", commands.SetConf("a", "b = c")),
        ("set `a b` = `c`", commands.SetConf("a b", "c")),
        ("set time zone 'Europe/Oslo'", commands.SetConf("spark.sql.session.timeZone", "Europe/Oslo")),
        ("set time zone interval '-01:30' hour to minute", commands.SetConf("spark.sql.session.timeZone", "-01:30")),
        ("reset", commands.ResetConf()),
        ("reset a.b", commands.ResetConf("a.b")),
        ("show tables", commands.ShowTables()),
        ("show tables in d like 'a*'", commands.ShowTables(("d",), "a*")),
        ("show tables 'a*'", commands.ShowTables(None, "a*")),
        ("show views from d", commands.ShowViews(("d",))),
        ("show columns in v", commands.ShowColumns(V)),
        ("show columns in v in d", commands.ShowColumns(("d", "v"))),
        ("describe v", commands.Describe(V)),
        ("desc table extended v", commands.Describe(V, extended=True)),
        ("describe query select 1", commands.DescribeQuery(ONE)),
        ("describe select 1", commands.DescribeQuery(ONE)),
        ("explain select 1", commands.Explain(ONE)),
        ("explain extended table v", commands.Explain(table("v"), "extended")),
        ("cache table v", commands.CacheTable(V)),
        ("cache lazy table v options ('storageLevel' = 'DISK_ONLY') as select 1",
         commands.CacheTable(V, ONE, lazy=True)),
        ("uncache table if exists v", commands.UncacheTable(V, if_exists=True)),
        ("clear cache", commands.ClearCache()),
        ("refresh table v", commands.RefreshTable(V)),
        ("use d", commands.UseDatabase(("d",))),
        ("use database d", commands.UseDatabase(("d",))),
    ],
)  # fmt: skip
def test_command(text: str, expected: Command) -> None:
    assert parse_statement(text) == expected


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("create table t (a int) using parquet", "CREATE TABLE"),
        ("create or replace table t as select 1", "CREATE TABLE"),
        ("create function f as 'x'", "CREATE FUNCTION"),
        ("create temporary view v using parquet options (path '/x')", "CREATE TEMPORARY VIEW … USING"),
        ("drop table if exists t", "DROP TABLE"),
        ("alter table t add columns (b int)", "ALTER TABLE"),
        ("insert into t select 1", "INSERT INTO"),
        ("insert overwrite t values (1)", "INSERT OVERWRITE"),
        ("merge into t using s on a = b when matched then delete", "MERGE"),
        ("delete from t where a = 1", "DELETE"),
        ("show databases", "SHOW DATABASES"),
        ("describe function f", "DESCRIBE FUNCTION"),
        ("explain set a = b", "EXPLAIN of a command"),
    ],
)
def test_known_and_not_executed(text: str, name: str) -> None:
    assert parse_statement(text) == commands.Unsupported(name)


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("foo bar", "PARSE_SYNTAX_ERROR"),
        ("create something v", "PARSE_SYNTAX_ERROR"),
        ("drop temporary view v", "PARSE_SYNTAX_ERROR"),
        ("create view v", "PARSE_SYNTAX_ERROR"),
        ("show everything", "PARSE_SYNTAX_ERROR"),
        ("set a b", "INVALID_SET_SYNTAX"),
        ("create temp view if not exists v as select 1", "_LEGACY_ERROR_TEMP_0053"),
    ],
)
def test_errors(text: str, condition: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse_statement(text)
    assert caught.value.condition == condition
