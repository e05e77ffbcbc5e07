"""The grammar of queries: SELECT and its clauses, FROM, joins, set operations, WITH."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product

from pyspark.sql.types import IntegerType, LongType, StringType, YearMonthIntervalType

from runnel.errors import AnalysisError, ParseError, unsupported
from runnel.functions.catalogue import lookup
from runnel.functions.registry import AggregateFunction
from runnel.plan.expressions import (
    Alias,
    Expression,
    Literal,
    MultiAlias,
    SortOrder,
    UnresolvedAttribute,
    UnresolvedFunction,
    UnresolvedStar,
    WindowExpression,
)
from runnel.plan.relations import (
    Aggregate,
    Deduplicate,
    Drop,
    Empty,
    Filter,
    Join,
    Limit,
    NamedTable,
    Offset,
    Project,
    Read,
    Relation,
    Sample,
    SetOperation,
    Sort,
    SubqueryAlias,
    TableValuedFunction,
    Unpivot,
    WithColumns,
    WithCTE,
    WithWatermark,
)
from runnel.plan.traverse import expression_children, transform_down
from runnel.sql.cursor import END, NUMBER, QUOTED, STRING, words
from runnel.sql.expressions import ExpressionParser, WindowReference, WindowSpec

AUTO_ALIAS = "__auto_generated_subquery_name"

_QUALIFY = "__qualify"
_NOT_TABLE_ALIASES = words(
    """ANTI CROSS EXCEPT FULL INNER INTERSECT JOIN LATERAL LEFT MINUS NATURAL ON RIGHT SEMI SETMINUS UNION USING WHERE
    HAVING QUALIFY LIMIT OFFSET WINDOW TABLESAMPLE PIVOT UNPIVOT SELECT AS AND OR FROM INSERT SET WHEN FOR WITH OUTER
    WATERMARK"""
) | {"GROUP BY", "ORDER BY", "SORT BY", "CLUSTER BY", "DISTRIBUTE BY", "PARTITION BY", "GROUPING SETS"}
_FILE_FORMATS = frozenset({"avro", "binaryfile", "csv", "delta", "json", "orc", "parquet", "text", "xml"})


@dataclass(frozen=True, slots=True)
class _Grouping:
    """What GROUP BY says: the keys in order, and how they are combined."""

    keys: tuple[Expression, ...]
    kind: str = "groupby"
    sets: tuple[tuple[int, ...], ...] = ()


class QueryParser(ExpressionParser):
    """Queries over the tokens of one text."""

    _windows: Mapping[str, WindowSpec] = {}

    def query(self) -> Relation:
        """`[WITH …] query [ORDER BY …] [LIMIT …] [OFFSET …]`"""
        definitions = self._definitions() if self.at("WITH") else ()
        plan = self._organized(self._union())
        if self.at("|>"):
            raise unsupported("The pipe syntax (|>)", "Write the query with SELECT.")
        return WithCTE(child=plan, definitions=definitions) if definitions else plan

    def _definitions(self) -> tuple[tuple[str, Relation], ...]:
        self.expect("WITH")
        if self.at("RECURSIVE") and self.is_name(1):
            raise unsupported("WITH RECURSIVE")
        found = self.listed(self._definition)
        names = [name.lower() for name, _ in found]
        repeated = [n for n in dict.fromkeys(names) if names.count(n) > 1]
        if repeated:
            shown = ", ".join(f"`{n}`" for n in repeated)
            raise self.fail_at(0, "DUPLICATED_CTE_NAMES", duplicateNames=shown)
        return found

    def _definition(self) -> tuple[str, Relation]:
        name = self.name()
        columns = self.enclosed(self.name) if self.at("(") else ()
        self.accept("AS")
        plan = self._enclosed_query()
        return name, SubqueryAlias(child=plan, alias=name, columns=columns)

    # --------------------------------------------------------------------------------------------- set operations

    def _union(self) -> Relation:
        left = self._intersect()
        while self.key in ("UNION", "EXCEPT", "MINUS", "SETMINUS"):
            kind = "union" if self.advance().text.upper() == "UNION" else "except"
            left = self._set_operation(left, kind)
        return left

    def _intersect(self) -> Relation:
        left = self._query_primary()
        while self.accept("INTERSECT"):
            left = self._set_operation(left, "intersect")
        return left

    def _set_operation(self, left: Relation, kind: str) -> Relation:
        every = self.accept("ALL")
        if not every:
            self.accept("DISTINCT")
        right = self._query_primary() if kind == "intersect" else self._intersect()
        return SetOperation(inputs=(left, right), kind=kind, all=every)

    def _query_primary(self) -> Relation:
        match self.key:
            case "SELECT":
                return self._select(None)
            case "FROM":
                return self._from_first()
            case "VALUES":
                self.advance()
                return self._values()
            case "TABLE":
                self.advance()
                return NamedTable(parts=self.dotted_name())
            case "(":
                self.advance()
                plan = self.query()
                self.expect(")")
                return plan
            case _:
                raise self.fail()

    def _from_first(self) -> Relation:
        source = self._from()
        if self.at("INSERT"):
            raise unsupported("FROM … INSERT INTO …")
        if self.at("SELECT"):
            return self._select(source)
        return Project(child=source, expressions=(UnresolvedStar(),))

    def _organized(self, plan: Relation) -> Relation:
        if self.accept("ORDER BY"):
            plan = Sort(child=plan, orders=self.listed(self._order))
        elif self.accept("CLUSTER BY"):
            keys = self.listed(self.expression)
            plan = Sort(child=plan, orders=tuple(SortOrder(k) for k in keys), is_global=False)
        else:
            if self.accept("DISTRIBUTE BY"):
                self.listed(self.expression)
            if self.accept("SORT BY"):
                plan = Sort(child=plan, orders=self.listed(self._order), is_global=False)
        count = offset = None
        if self.accept("LIMIT") and not self.accept("ALL"):
            count = self._row_count("limit")
        if self.accept("OFFSET"):
            offset = self._row_count("offset")
        if offset is not None:
            plan = Offset(child=plan, count=offset)
        return plan if count is None else Limit(child=plan, count=count)

    def _order(self) -> SortOrder:
        order = self.sort_order()
        return replace(order, child=self._with_windows(order.child))

    def _row_count(self, name: str) -> int:
        start = self.index
        value = _constant(self.expression())
        shown = f'"{self.source(start)}"'
        if value is None:
            raise AnalysisError("INVALID_LIMIT_LIKE_EXPRESSION.IS_UNFOLDABLE", name=name, expr=shown)
        if value < 0:
            raise AnalysisError("INVALID_LIMIT_LIKE_EXPRESSION.IS_NEGATIVE", name=name, expr=shown, v=value)
        return value

    # ----------------------------------------------------------------------------------------------------- SELECT

    def _select(self, source: Relation | None) -> Relation:
        self.expect("SELECT")
        self.accept("/*+")
        distinct = self.key == "DISTINCT" and self.next_key not in (",", ".", END, "FROM")
        if distinct or (self.key == "ALL" and self.next_key not in (",", ".", END, "FROM", "(")):
            self.advance()
        start = self.index
        items = self.listed(self.named_expression)
        plan = source
        if plan is None:
            plan = self._from() if self.at("FROM") else Empty()
        else:
            plan = self._lateral_views(plan)
        if self.accept("WHERE"):
            plan = Filter(child=plan, condition=self.expression())
        grouping = self._group_by(items) if self.accept("GROUP BY") else None
        having = self.expression() if self.accept("HAVING") else None
        qualify = self.expression() if self.accept("QUALIFY") else None
        self._windows = self._window_clause() if self.accept("WINDOW") else {}
        items = tuple(self._with_windows(item) for item in items)
        if qualify is not None:
            items = (*items, Alias(self._with_windows(qualify), _QUALIFY))
        if grouping is None and having is None:
            plan = Project(child=plan, expressions=items)
        else:
            grouping = grouping or _Grouping(())
            plan = Aggregate(
                child=plan,
                groupings=grouping.keys,
                aggregates=items,
                kind=grouping.kind,
                grouping_sets=grouping.sets,
                implicit_keys=False,
                having=having,
            )
        if qualify is not None:
            kept = Filter(child=plan, condition=UnresolvedAttribute((_QUALIFY,)))
            plan = Drop(child=kept, names=(_QUALIFY,))
        self._refuse_references(items, start)
        return Deduplicate(child=plan, all_columns=True) if distinct else plan

    def _window_clause(self) -> dict[str, WindowSpec]:
        found: dict[str, WindowSpec] = {}
        while True:
            name = self.name().lower()
            self.expect("AS")
            if name in found:
                raise self.fail_at(0, "INVALID_SQL_SYNTAX.REPETITIVE_WINDOW_DEFINITION", windowName=f"`{name}`")
            if self.is_name():
                other = self.name().lower()
                if other not in found:
                    raise self.fail_at(0, "INVALID_SQL_SYNTAX.UNRESOLVED_WINDOW_REFERENCE", windowName=f"`{other}`")
                found[name] = found[other]
            else:
                found[name] = self.window_spec()
            if not self.accept(","):
                return found

    def _with_windows(self, expression: Expression) -> Expression:
        if not self._windows:
            return expression

        def named(node: Expression) -> Expression:
            if isinstance(node, WindowReference) and (spec := self._windows.get(node.name.lower())) is not None:
                return spec.over(node.function)
            return node

        return transform_down(expression, named)

    def _refuse_references(self, items: tuple[Expression, ...], start: int) -> None:
        for item in items:
            name = missing_window(item)
            if name is not None:
                raise self.fail_at(start, "MISSING_WINDOW_SPECIFICATION", windowName=name)

    # --------------------------------------------------------------------------------------------------- GROUP BY

    def _group_by(self, items: tuple[Expression, ...]) -> _Grouping:
        if self.at("ALL") and self.next_key not in (",", ".", "("):
            self.advance()
            return _Grouping(_keys_of_all(items))
        elements = self.listed(self._grouping_element)
        if self.accept("WITH"):
            kind = self.advance().text.lower()
            if kind not in ("cube", "rollup"):
                raise self.fail()
            return _Grouping(tuple(key for keys, _ in elements for key in _keys(keys)), kind)
        if self.accept("GROUPING SETS"):
            keys = tuple(key for keys, _ in elements for key in _keys(keys))
            sets = self.enclosed(self._grouping_set)
            return _indexed(keys, [tuple(s) for s in sets])
        if all(kind == "plain" for _, kind in elements):
            return _Grouping(tuple(_keys(keys)[0] for keys, _ in elements))
        if len(elements) == 1 and elements[0][1] in ("cube", "rollup"):
            keys_only, kind = elements[0]
            if all(len(group) == 1 for group in keys_only):
                return _Grouping(tuple(_keys(keys_only)), kind)
        return _combined(elements)

    def _grouping_element(self) -> tuple[tuple[tuple[Expression, ...], ...], str]:
        """One element of GROUP BY as groups of keys, and what it is: plain, cube, rollup, sets."""
        if self.key in ("CUBE", "ROLLUP") and self.next_key == "(":
            kind = self.advance().text.lower()
            return self.enclosed(self._grouping_set), kind
        if self.accept("GROUPING SETS"):
            nested = self.enclosed(self._nested_sets)
            return tuple(s for sets in nested for s in sets), "sets"
        if self.at("(", ")"):
            self.expect("(", ")")
            return ((),), "sets"
        return ((self.expression(),),), "plain"

    def _nested_sets(self) -> tuple[tuple[Expression, ...], ...]:
        if self.at("GROUPING SETS") or (self.key in ("CUBE", "ROLLUP") and self.next_key == "("):
            groups, kind = self._grouping_element()
            return _expanded(groups, kind)
        return (self._grouping_set(),)

    def _grouping_set(self) -> tuple[Expression, ...]:
        """`a`, `(a, b)` or `()`."""
        if self.accept("(", ")"):
            return ()
        value = self.expression()
        if isinstance(value, UnresolvedFunction) and value.name == "struct":
            return value.args
        return (value,)

    # ------------------------------------------------------------------------------------------------------- FROM

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
            count = _constant(value)
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
                raise self.fail_at(self.index, "REQUIRES_EXPLICIT_NAME_IN_WATERMARK_CLAUSE", sqlExpr="the expression")
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


# ----------------------------------------------------------------------------------------------------------- helpers


def missing_window(expression: Expression) -> str | None:
    """The name of a window that is used and not defined."""
    if isinstance(expression, WindowReference):
        return expression.name
    return next((n for child in expression_children(expression) if (n := missing_window(child)) is not None), None)


def _delay_text(delay: Literal) -> str:
    if isinstance(delay.dtype, YearMonthIntervalType):
        return f"{delay.value} months"
    whole, rest = divmod(delay.value, 1_000_000)
    return f"{delay.value} microseconds" if rest else f"{whole} seconds"


def _constant(expression: Expression) -> int | None:
    """The value of a whole-number expression without columns."""
    match expression:
        case Literal(value=int() as value, dtype=IntegerType() | LongType()):
            return value
        case Literal(value=str() as text, dtype=StringType()) if text.strip().isdigit():
            return int(text)
        case UnresolvedFunction(name="negative" | "positive" as name, args=(only,)):
            inner = _constant(only)
            return None if inner is None else -inner if name == "negative" else inner
        case UnresolvedFunction(name="+" | "-" | "*" as name, args=(first, second)):
            a, b = _constant(first), _constant(second)
            if a is None or b is None:
                return None
            return a + b if name == "+" else a - b if name == "-" else a * b
        case _:
            return None


def _has_aggregate(expression: Expression) -> bool:
    if isinstance(expression, WindowExpression | WindowReference):
        return any(_has_aggregate(c) for f in expression_children(expression) for c in expression_children(f))
    if isinstance(expression, UnresolvedFunction) and isinstance(lookup(expression.name), AggregateFunction):
        return True
    return any(_has_aggregate(child) for child in expression_children(expression))


def _keys_of_all(items: tuple[Expression, ...]) -> tuple[Expression, ...]:
    """GROUP BY ALL: every item of the select list that has no aggregate function in it."""
    keys = []
    for item in items:
        inner = item.child if isinstance(item, Alias | MultiAlias) else item
        if isinstance(inner, UnresolvedStar):
            raise unsupported("GROUP BY ALL with a star in the select list", "Name the columns.")
        if not _has_aggregate(inner):
            keys.append(inner)
    return tuple(keys)


def _keys(groups: tuple[tuple[Expression, ...], ...]) -> list[Expression]:
    return [key for group in groups for key in group]


def _expanded(groups: tuple[tuple[Expression, ...], ...], kind: str) -> tuple[tuple[Expression, ...], ...]:
    """The grouping sets that one element of GROUP BY stands for."""
    match kind:
        case "rollup":
            prefixes = [groups[:n] for n in range(len(groups), -1, -1)]
        case "cube":
            count = len(groups)
            prefixes = [
                tuple(g for i, g in enumerate(groups) if not absent >> (count - 1 - i) & 1)
                for absent in range(1 << count)
            ]
        case _:
            return groups
    return tuple(tuple(_keys(p)) for p in prefixes)


def _combined(elements: tuple[tuple[tuple[tuple[Expression, ...], ...], str], ...]) -> _Grouping:
    """Several elements multiply: each set of one with each set of the others."""
    parts = [_expanded(groups, kind) for groups, kind in elements]
    sets = [tuple(key for part in chosen for key in part) for chosen in product(*parts)]
    keys = tuple(dict.fromkeys(key for groups, _ in elements for key in _keys(groups)))
    return _indexed(keys, sets)


def _indexed(keys: tuple[Expression, ...], sets: list[tuple[Expression, ...]]) -> _Grouping:
    distinct = tuple(dict.fromkeys((*keys, *(key for s in sets for key in s))))
    positions = {key: i for i, key in enumerate(distinct)}
    return _Grouping(distinct, "grouping_sets", tuple(tuple(dict.fromkeys(positions[k] for k in s)) for s in sets))
