"""The grammar of queries: SELECT and its clauses, FROM, joins, set operations, WITH."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from runnel.errors import AnalysisError, unsupported
from runnel.plan.expressions import (
    Alias,
    Expression,
    SortOrder,
    UnresolvedAttribute,
    UnresolvedStar,
)
from runnel.plan.relations import (
    Aggregate,
    Deduplicate,
    Drop,
    Empty,
    Filter,
    Limit,
    NamedTable,
    Offset,
    Project,
    Relation,
    SetOperation,
    Sort,
    SubqueryAlias,
    WithCTE,
)
from runnel.plan.traverse import transform_down
from runnel.sql.cursor import END
from runnel.sql.grouping import Grouping
from runnel.sql.tables import TableParser, constant
from runnel.sql.windows import WindowReference, WindowSpec, missing_window

_QUALIFY = "__qualify"


class QueryParser(TableParser):
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
        value = constant(self.expression())
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
            grouping = grouping or Grouping(())
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
        return Deduplicate(child=plan, all_columns=True, as_aggregation=True) if distinct else plan

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
