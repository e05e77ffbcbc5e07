"""The grammar of statements: queries, and the commands around views, settings and the cache."""

from __future__ import annotations

import re
from collections.abc import Callable

from runnel.errors import ParseError
from runnel.plan.relations import Relation, ToDF
from runnel.sql import commands
from runnel.sql.commands import Command
from runnel.sql.cursor import END, STRING, words
from runnel.sql.queries import QueryParser

_TIME_ZONE = "spark.sql.session.timeZone"
_SET = re.compile(r"\s*SET\b(?P<rest>.*?)\s*;?\s*", re.IGNORECASE | re.DOTALL)
_RESET = re.compile(r"\s*RESET\b\s*(?P<key>.*?)\s*;?\s*", re.IGNORECASE | re.DOTALL)
_KEY = re.compile(r"`(?P<quoted>[^`]+)`|(?P<plain>[\w.:-]+)")

_QUERIES = frozenset({"SELECT", "WITH", "VALUES", "TABLE", "FROM", "("})
_REFUSED: dict[str, frozenset[str]] = {
    "CREATE": frozenset({"TABLE", "DATABASE", "SCHEMA", "FUNCTION", "NAMESPACE", "VARIABLE"}),
    "DROP": frozenset({"TABLE", "DATABASE", "SCHEMA", "FUNCTION", "NAMESPACE", "VARIABLE"}),
    "ALTER": frozenset({"TABLE", "VIEW", "DATABASE", "SCHEMA", "NAMESPACE"}),
    "SHOW": frozenset(
        {
            "DATABASES",
            "SCHEMAS",
            "NAMESPACES",
            "FUNCTIONS",
            "PARTITIONS",
            "TBLPROPERTIES",
            "CREATE",
            "CATALOGS",
            "CURRENT",
        }
    ),
    "INSERT": frozenset({"INTO", "OVERWRITE"}),
    "DESCRIBE": frozenset({"FUNCTION", "DATABASE", "SCHEMA", "NAMESPACE"}),
    "REFRESH": frozenset({"FUNCTION"}),
    **{
        word: frozenset()
        for word in words(
            """MERGE UPDATE DELETE TRUNCATE ANALYZE LOAD MSCK ADD LIST DECLARE EXECUTE BEGIN COMMENT GRANT REVOKE CALL
            REPAIR LOCK UNLOCK EXPORT IMPORT REPLACE"""
        )
    },
}
"""Statements that are refused by name: the first word, and which second words belong to the name."""


class StatementParser(QueryParser):
    """One statement over the tokens of a text."""

    def statement(self) -> Relation | Command:
        """A query's plan or a command. ParseError for what is neither."""
        if self.key == END:
            raise ParseError("PARSE_EMPTY_STATEMENT")
        key = self.key
        if key in _QUERIES:
            return self.query()
        rule = self._rules().get(key)
        command = None if rule is None else rule()
        if command is not None:
            return command
        return self._refused()

    def _rules(self) -> dict[str, Callable[[], Command | None]]:
        return {
            "CREATE": self._create,
            "DROP": self._drop,
            "SET": self._set,
            "RESET": self._reset,
            "SHOW": self._show,
            "DESCRIBE": self._describe,
            "DESC": self._describe,
            "EXPLAIN": self._explain,
            "CACHE": self._cache,
            "UNCACHE": self._uncache,
            "CLEAR": self._clear,
            "REFRESH": self._refresh,
            "USE": self._use,
        }

    def _refused(self) -> Command:
        first = self.key
        seconds = _REFUSED.get("DESCRIBE" if first == "DESC" else first)
        if seconds is None or (seconds and self.next_key not in seconds and first not in ("CREATE", "DROP")):
            raise self.fail()
        self.advance()
        while self.key in ("OR", "REPLACE", "EXTERNAL", "TEMP", "TEMPORARY", "GLOBAL"):
            self.advance()
        if seconds and self.key not in seconds:
            raise self.fail()
        name = f"{first} {self.key}" if seconds else first
        while self.key != END:
            self.advance()
        return commands.Unsupported(name)

    # ------------------------------------------------------------------------------------------------------ views

    def _create(self) -> Command | None:
        start = self.index
        self.expect("CREATE")
        replaces = self.accept("OR", "REPLACE")
        is_global = self.accept("GLOBAL")
        temporary = self.accept("TEMPORARY") or self.accept("TEMP")
        if not self.accept("VIEW") or (is_global and not temporary):
            self.back(start)
            return None
        if_not_exists = self.accept("IF", "NOT", "EXISTS")
        if if_not_exists and temporary:
            raise self.fail_at(start, "_LEGACY_ERROR_TEMP_0053")
        name = self.dotted_name()
        columns = self.enclosed(self._view_column) if self.at("(") else ()
        while not self.accept("AS"):
            if self.accept("COMMENT"):
                self.string()
            elif self.accept("TBLPROPERTIES"):
                self.enclosed(self._option)
            elif self.at("USING") and temporary:
                return self._rest("CREATE TEMPORARY VIEW … USING")
            else:
                raise self.fail()
        plan = self.query()
        if columns:
            plan = ToDF(child=plan, names=columns)
        return commands.CreateView(name, plan, replaces, is_global, temporary, if_not_exists)

    def _rest(self, name: str) -> Command:
        while self.key != END:
            self.advance()
        return commands.Unsupported(name)

    def _view_column(self) -> str:
        name = self.name()
        if self.accept("COMMENT"):
            self.string()
        return name

    def _drop(self) -> Command | None:
        if not self.accept("DROP", "VIEW"):
            return None
        if_exists = self.accept("IF", "EXISTS")
        return commands.DropView(self.dotted_name(), if_exists)

    # --------------------------------------------------------------------------------------------------- settings

    def _set(self) -> Command | None:
        match = _SET.fullmatch(self.text)
        rest = match["rest"].strip() if match else ""
        if self.at("SET", "TIME", "ZONE"):
            return self._set_time_zone()
        if self.next_key in ("CATALOG", "VARIABLE", "VAR", "ROLE") and self.key_at(2) not in ("=", ".", END):
            return self._rest(f"SET {self.next_key}")
        while self.key != END:
            self.advance()
        if not rest or rest.lower() == "-v":
            return commands.SetConf()
        key, sign, value = rest.partition("=")
        found = _KEY.fullmatch(key.strip())
        if found is None:
            raise self.fail_at(0, "INVALID_SET_SYNTAX")
        name = found["quoted"] or found["plain"]
        if not sign:
            return commands.SetConf(name)
        value = value.strip()
        if len(value) > 1 and value[0] == value[-1] == "`":
            value = value[1:-1]
        return commands.SetConf(name, value)

    def _set_time_zone(self) -> Command:
        self.expect("SET", "TIME", "ZONE")
        if self.key == STRING:
            return commands.SetConf(_TIME_ZONE, self.string())
        if self.accept("LOCAL"):
            return commands.Unsupported("SET TIME ZONE LOCAL")
        if self.at("INTERVAL"):
            seconds = self.interval().value // 1_000_000
            sign = "-" if seconds < 0 else "+"
            hours, rest = divmod(abs(seconds), 3600)
            return commands.SetConf(_TIME_ZONE, f"{sign}{hours:02}:{rest // 60:02}")
        zone = self.name()
        return commands.SetConf(_TIME_ZONE, zone)

    def _reset(self) -> Command:
        match = _RESET.fullmatch(self.text)
        key = match["key"].strip("`") if match else ""
        while self.key != END:
            self.advance()
        return commands.ResetConf(key or None)

    # -------------------------------------------------------------------------------------------------- questions

    def _show(self) -> Command | None:
        if self.accept("SHOW", "TABLES"):
            return commands.ShowTables(*self._place_and_pattern())
        if self.accept("SHOW", "VIEWS"):
            return commands.ShowViews(*self._place_and_pattern())
        if self.accept("SHOW", "COLUMNS"):
            if not (self.accept("IN") or self.accept("FROM")):
                raise self.fail()
            name = self.dotted_name()
            if self.accept("IN") or self.accept("FROM"):
                name = (*self.dotted_name(), *name)
            return commands.ShowColumns(name)
        return None

    def _place_and_pattern(self) -> tuple[tuple[str, ...] | None, str | None]:
        place = self.dotted_name() if self.accept("IN") or self.accept("FROM") else None
        liked = self.accept("LIKE")
        return place, self.string() if liked or self.key == STRING else None

    def _describe(self) -> Command | None:
        start = self.index
        self.advance()
        if self.key in _REFUSED["DESCRIBE"] and self.is_name(1):
            self.back(start)
            return None
        if self.key in _QUERIES and not (self.key == "TABLE" and self.is_name(1)):
            return commands.DescribeQuery(self.query())
        if self.at("QUERY") and self.next_key in _QUERIES:
            self.advance()
            return commands.DescribeQuery(self.query())
        self.accept("TABLE")
        extended = self.key in ("EXTENDED", "FORMATTED") and self.is_name(1)
        if extended:
            self.advance()
        name = self.dotted_name()
        if self.key == "PARTITION" or self.is_name() or self.key == "AS":
            return self._rest("DESCRIBE of a column or a partition")
        return commands.Describe(name, extended)

    def _explain(self) -> Command:
        self.expect("EXPLAIN")
        mode = "simple"
        if self.key in ("EXTENDED", "CODEGEN", "COST", "FORMATTED", "LOGICAL"):
            mode = self.advance().text.lower()
        inner = self.statement()
        return (
            commands.Explain(inner, mode)
            if isinstance(inner, Relation)
            else commands.Unsupported("EXPLAIN of a command")
        )

    # ------------------------------------------------------------------------------------------------------ cache

    def _cache(self) -> Command:
        self.expect("CACHE")
        lazy = self.accept("LAZY")
        self.expect("TABLE")
        name = self.dotted_name()
        if self.accept("OPTIONS"):
            self.enclosed(self._option)
        query = self.accept("AS") or self.key in _QUERIES
        return commands.CacheTable(name, self.query() if query else None, lazy)

    def _uncache(self) -> Command:
        self.expect("UNCACHE", "TABLE")
        if_exists = self.accept("IF", "EXISTS")
        return commands.UncacheTable(self.dotted_name(), if_exists)

    def _clear(self) -> Command:
        self.expect("CLEAR", "CACHE")
        return commands.ClearCache()

    def _refresh(self) -> Command | None:
        if self.at("REFRESH", "FUNCTION"):
            return None
        self.expect("REFRESH")
        if self.key == STRING:
            return self._rest("REFRESH of a path")
        if self.is_name(1):
            self.accept("TABLE")
        return commands.RefreshTable(self.dotted_name())

    def _use(self) -> Command:
        self.expect("USE")
        if self.key in ("DATABASE", "SCHEMA", "NAMESPACE") and self.is_name(1):
            self.advance()
        return commands.UseDatabase(self.dotted_name())
