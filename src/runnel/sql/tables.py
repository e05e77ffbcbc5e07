"""The grammar of FROM: tables, joins, lateral views, samples, watermarks, inline tables."""

from __future__ import annotations

from pyspark.sql.types import IntegerType, LongType, StringType, YearMonthIntervalType

from runnel.errors import AnalysisError, ParseError, unsupported
from runnel.plan.expressions import (
    Alias,
    Expression,
    Literal,
    UnresolvedAttribute,
    UnresolvedFunction,
    UnresolvedStar,
)
from runnel.plan.relations import (
    Drop,
    Empty,
    Filter,
    Join,
    Limit,
    NamedTable,
    Project,
    Read,
    Relation,
    Sample,
    SetOperation,
    SubqueryAlias,
    TableValuedFunction,
    Unpivot,
    WithColumns,
    WithWatermark,
)
from runnel.sql.cursor import END, NUMBER, QUOTED, STRING, words
from runnel.sql.grouping import GroupingParser

AUTO_ALIAS = "__auto_generated_subquery_name"
"""The qualifier of a subquery that has no alias, as Spark calls it."""

_NOT_TABLE_ALIASES = words(
    """ANTI CROSS EXCEPT FULL INNER INTERSECT JOIN LATERAL LEFT MINUS NATURAL ON RIGHT SEMI SETMINUS UNION USING WHERE
    HAVING QUALIFY LIMIT OFFSET WINDOW TABLESAMPLE PIVOT UNPIVOT SELECT AS AND OR FROM INSERT SET WHEN FOR WITH OUTER
    WATERMARK"""
) | {"GROUP BY", "ORDER BY", "SORT BY", "CLUSTER BY", "DISTRIBUTE BY", "PARTITION BY", "GROUPING SETS"}
_FILE_FORMATS = frozenset({"avro", "binaryfile", "csv", "delta", "json", "orc", "parquet", "text", "xml"})
_FILE_FORMATS = frozenset({"avro", "binaryfile", "csv", "delta", "json", "orc", "parquet", "text", "xml"})


class TableParser(GroupingParser):
    """Relations over the tokens of one text."""

    def _from(self) -> Relation:
        self.expect("FROM")
        plan = self._relation(None)
        while self.accept(","):
            plan = self._relation(plan)
        return self._lateral_views(plan)

    def _relation(self, left: Relation | None) -> Relation:
        """A relation and the joins that follow it; `left` is what stands before a comma."""
        lateral = self.at("LATERAL") and self.next_key != "VIEW"
        if lateral:
            self.advance()
        right = self._table()
        if lateral and left is None:
            raise self._lateral_alone()
        plan = right if left is None else Join(left=left, right=right, kind="inner", lateral=lateral)
        while (joined := self._join(plan)) is not None:
            plan = joined
        return plan

    def _lateral_alone(self) -> ParseError:
        return self.fail_at(self.index, "INVALID_SQL_SYNTAX.LATERAL_WITHOUT_SUBQUERY_OR_TABLE_VALUED_FUNC")

    def _join(self, left: Relation) -> Relation | None:
        start = self.index
        natural = self.accept("NATURAL")
        kind = self._join_kind()
        if not self.accept("JOIN"):
            if natural or self.index != start:
                raise self.fail()
            return None
        lateral = self.accept("LATERAL")
        right = self._table()
        condition = None
        using: tuple[str, ...] = ()
        if not natural:
            if self.accept("ON"):
                condition = self.expression()
            elif self.accept("USING"):
                using = self.enclosed(self.name)
        return Join(
            left=left, right=right, kind=kind, condition=condition, using=using, natural=natural, lateral=lateral
        )

    def _join_kind(self) -> str:
        for word in ("INNER", "CROSS", "SEMI", "ANTI"):
            if self.key == word and self.next_key == "JOIN":
                self.advance()
                return word.lower()
        for word in ("LEFT", "RIGHT", "FULL"):
            if self.key == word and self.next_key in ("JOIN", "OUTER", "SEMI", "ANTI"):
                self.advance()
                if word == "LEFT" and self.key in ("SEMI", "ANTI"):
                    return self.advance().text.lower()
                self.accept("OUTER")
                return word.lower()
        return "inner"

    def _lateral_views(self, plan: Relation) -> Relation:
        while self.at("LATERAL", "VIEW"):
            self.expect("LATERAL", "VIEW")
            outer = self.key == "OUTER"
            if outer:
                self.advance()
            name = ".".join(self.dotted_name()).lower()
            self.expect("(")
            args = () if self.at(")") else self.listed(self.expression)
            self.expect(")")
            alias = AUTO_ALIAS
            if self._is_table_alias():
                alias = self.name()
            columns: tuple[str, ...] = ()
            if self.accept("AS") or self._is_table_alias():
                columns = self.listed(self.name)
            view = SubqueryAlias(child=TableValuedFunction(name=name, args=args), alias=alias, columns=columns)
            plan = Join(left=plan, right=view, kind="left" if outer else "inner", lateral=True)
        return plan

    def _table(self) -> Relation:
        """One relation, with its sample, watermark, alias and pivot."""
        if self.at("("):
            plan = self._parenthesized_table()
        elif self.at("VALUES"):
            self.advance()
            return self._aliased(self._values())
        elif (
            self.at("STREAM")
            and (self.is_name(1) or self.next_key == "(")
            and (self.next_key not in _NOT_TABLE_ALIASES)
        ):
            plan = self._stream()
        elif self.at("TABLE", "("):
            raise unsupported("TABLE(…) in FROM", "Name the table function itself.")
        else:
            plan = self._named_table()
        if self.at("PIVOT", "("):
            raise unsupported("PIVOT in SQL", "Use groupBy(…).pivot(…).")
        if self.at("UNPIVOT"):
            plan = self._unpivot(plan)
        return plan

    def _unpivot(self, plan: Relation) -> Relation:
        """`UNPIVOT [INCLUDE NULLS] (value FOR name IN (a, b))`: all other columns are kept."""
        self.expect("UNPIVOT")
        include_nulls = self.accept("INCLUDE", "NULLS")
        if not include_nulls:
            self.accept("EXCLUDE", "NULLS")
        self.expect("(")
        if self.at("("):
            raise unsupported("UNPIVOT into several value columns", "Use stack(…).")
        value = self.name()
        self.expect("FOR")
        variable = self.name()
        self.expect("IN")
        columns = self.enclosed(self._unpivoted)
        self.expect(")")
        made: Relation = Unpivot(
            child=plan,
            ids=(UnresolvedStar(),),
            values=tuple(UnresolvedAttribute((c,)) for c in columns),
            variable_name=variable,
            value_name=value,
        )
        made = Drop(child=made, names=columns)
        if not include_nulls:
            made = Filter(child=made, condition=UnresolvedFunction("isnotnull", (UnresolvedAttribute((value,)),)))
        return self._aliased(made)

    def _unpivoted(self) -> str:
        name = self.name()
        if self.key not in (",", ")"):
            raise unsupported("UNPIVOT of qualified or renamed columns", "Rename them in a subquery.")
        return name

    def _parenthesized_table(self) -> Relation:
        start = self.index
        if self._query_begins(1):
            plan = self._enclosed_query()
            plan = self._sampled(plan)
            return self._aliased(plan, AUTO_ALIAS)
        as_query = self.attempt(self._enclosed_query)
        if as_query is not None:
            return self._aliased(self._sampled(as_query), AUTO_ALIAS)
        self.back(start)
        self.expect("(")
        plan = self._relation(None)
        self.expect(")")
        return self._aliased(self._sampled(plan))

    def _stream(self) -> Relation:
        self.expect("STREAM")
        if self.accept("("):
            parts = self.dotted_name()
            self.expect(")")
        else:
            parts = self.dotted_name()
        options = self._options()
        return self._aliased(NamedTable(parts=parts, options=options, streaming=True))

    def _named_table(self) -> Relation:
        quoted = self.key_at(2) == QUOTED
        if self.at("IDENTIFIER", "("):
            parts = self._identifier_clause()
        else:
            if not self.is_name() or (self.key in _NOT_TABLE_ALIASES and self.key != "WATERMARK"):
                raise self.fail()
            parts = self.dotted_name()
            if self.at("("):
                return self._aliased(self._table_function(".".join(parts).lower()))
        if self.at("FOR") and self.next_key in ("VERSION", "TIMESTAMP", "SYSTEM_VERSION", "SYSTEM_TIME"):
            raise unsupported("Time travel (FOR VERSION AS OF)", "Give the version as an option of the reader.")
        if len(parts) == 2 and quoted and parts[0].lower() in _FILE_FORMATS:
            plan: Relation = Read(format=parts[0].lower(), paths=(parts[1],), options=self._options())
        else:
            plan = NamedTable(parts=parts, options=self._options())
        return self._aliased(self._sampled(plan))

    def _identifier_clause(self) -> tuple[str, ...]:
        self.expect("IDENTIFIER", "(")
        value = self.expression()
        if not isinstance(value, Literal) or not isinstance(value.value, str):
            raise unsupported("IDENTIFIER(…) over anything but a string literal")
        self.expect(")")
        inner = type(self)(value.value)
        parts = inner.dotted_name()
        inner.expect_end()
        return parts

    def _options(self) -> dict[str, str]:
        if not self.at("WITH", "("):
            return {}
        self.expect("WITH", "(")
        options = dict(self.listed(self._option))
        self.expect(")")
        return options

    def _option(self) -> tuple[str, str]:
        key = self.string() if self.key == STRING else ".".join(self.dotted_name())
        self.accept("=")
        if self.key == STRING:
            return key, self.string()
        return key, self.advance().text

    def _table_function(self, name: str) -> Relation:
        self.expect("(")
        args = () if self.at(")") else self.listed(self._argument)
        self.expect(")")
        return TableValuedFunction(name=name, args=args)

    def _sampled(self, plan: Relation) -> Relation:
        if not self.accept("TABLESAMPLE"):
            return plan
        self.expect("(")
        start = self.index
        if self.accept("BUCKET"):
            numerator = self._whole_number()
            self.expect("OUT", "OF")
            denominator = self._whole_number()
            if self.accept("ON"):
                raise unsupported("TABLESAMPLE (BUCKET … ON …)")
            self.expect(")")
            return Sample(child=plan, lower=0.0, upper=numerator / denominator, with_replacement=False, seed=None)
        value = self.value(7)
        if self.accept("ROWS"):
            count = constant(value)
            if count is None:
                raise self.fail_at(start, "PARSE_SYNTAX_ERROR", error=self.source(start), hint="")
            self.expect(")")
            return Limit(child=plan, count=count)
        self.expect("PERCENT", ")")
        if not isinstance(value, Literal) or isinstance(value.value, str | bool) or value.value is None:
            raise unsupported("TABLESAMPLE by an expression")
        seed = None
        if self.accept("REPEATABLE", "("):
            seed = self._whole_number()
            self.expect(")")
        upper = float(value.value) / 100
        if not 0 <= upper <= 1:
            raise self.fail_at(start, "_LEGACY_ERROR_TEMP_0064", msg=f"Sampling fraction ({upper}) must be in [0, 1]")
        return Sample(child=plan, lower=0.0, upper=upper, with_replacement=False, seed=seed)

    def _whole_number(self) -> int:
        if self.key != NUMBER or not self.token_text().isdigit():
            raise self.fail()
        return int(self.advance().text)

    # ----------------------------------------------------------------------------------------- aliases, watermarks

    def _is_table_alias(self) -> bool:
        return self.key == QUOTED or (self.is_word() and self.key not in _NOT_TABLE_ALIASES)

    def _aliased(self, plan: Relation, otherwise: str = "") -> Relation:
        start = self.index
        watermark = self._watermark()
        alias = otherwise
        columns: tuple[str, ...] = ()
        named = self.accept("AS")
        if named or self._is_table_alias():
            alias = self.name()
            columns = self.enclosed(self.name) if self.at("(") else ()
        if alias:
            plan = SubqueryAlias(child=plan, alias=alias, columns=columns)
        if watermark is None:
            return plan
        column, delay = watermark
        match column:
            case UnresolvedAttribute(parts=parts):
                name = ".".join(parts)
            case Alias(name=name):
                plan = WithColumns(child=plan, columns=(column,))
            case _:
                shown = self.source(start)
                raise self.fail_at(start, "REQUIRES_EXPLICIT_NAME_IN_WATERMARK_CLAUSE", sqlExpr=shown)
        return WithWatermark(child=plan, event_time=name, delay=delay)

    def _watermark(self) -> tuple[Expression, str] | None:
        """`WATERMARK column DELAY OF INTERVAL 10 MINUTES`: the column, and the delay as withWatermark takes it."""
        if not self.at("WATERMARK") or self.next_key in (",", ")", END) or self.next_key in _NOT_TABLE_ALIASES:
            return None
        self.expect("WATERMARK")
        column = self.expression()
        if self.accept("AS") or (self.is_name() and self.key != "DELAY"):
            column = Alias(column, self.name())
        self.expect("DELAY", "OF")
        delay = self.interval()
        return column, _delay_text(delay)

    # ----------------------------------------------------------------------------------------------------- VALUES

    def _values(self) -> Relation:
        rows = self.listed(self._row)
        width = len(rows[0])
        if any(len(row) != width for row in rows):
            raise AnalysisError("INVALID_INLINE_TABLE.NUM_COLUMNS_MISMATCH", expectedNumCols=width,
                                actualNumCols=next(len(r) for r in rows if len(r) != width),
                                rowIndex=next(i for i, r in enumerate(rows) if len(r) != width))  # fmt: skip
        plans = tuple(
            Project(child=Empty(), expressions=tuple(Alias(e, f"col{i}") for i, e in enumerate(row, 1))) for row in rows
        )
        return plans[0] if len(plans) == 1 else SetOperation(inputs=plans, kind="union", all=True)

    def _row(self) -> tuple[Expression, ...]:
        value = self.expression()
        if isinstance(value, UnresolvedFunction) and value.name == "struct":
            return tuple(e.child if isinstance(e, Alias) else e for e in value.args)
        return (value,)


def _delay_text(delay: Literal) -> str:
    if isinstance(delay.dtype, YearMonthIntervalType):
        return f"{delay.value} months"
    whole, rest = divmod(delay.value, 1_000_000)
    return f"{delay.value} microseconds" if rest else f"{whole} seconds"


def constant(expression: Expression) -> int | None:
    """The value of a whole-number expression without columns."""
    match expression:
        case Literal(value=int() as value, dtype=IntegerType() | LongType()):
            return value
        case Literal(value=str() as text, dtype=StringType()) if text.strip().isdigit():
            return int(text)
        case UnresolvedFunction(name="negative" | "positive" as name, args=(only,)):
            inner = constant(only)
            return None if inner is None else -inner if name == "negative" else inner
        case UnresolvedFunction(name="+" | "-" | "*" as name, args=(first, second)):
            a, b = constant(first), constant(second)
            if a is None or b is None:
                return None
            return a + b if name == "+" else a - b if name == "-" else a * b
        case _:
            return None
