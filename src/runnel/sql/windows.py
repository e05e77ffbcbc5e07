"""Sort orders, and what follows OVER and WINDOW."""

from __future__ import annotations

from dataclasses import dataclass

from runnel.plan.expressions import Expression, Literal, SortOrder, WindowExpression, WindowFrame
from runnel.plan.traverse import expression_children
from runnel.sql.interval_syntax import IntervalParser
from runnel.sql.nodes import CURRENT_ROW, call


@dataclass(frozen=True, slots=True)
class WindowReference(Expression):
    """`function OVER name`, until the query's WINDOW clause has been read."""

    function: Expression
    name: str


@dataclass(frozen=True, slots=True)
class WindowSpec:
    """What OVER and the WINDOW clause say."""

    partition_by: tuple[Expression, ...]
    order_by: tuple[SortOrder, ...]
    frame: WindowFrame | None

    def over(self, function: Expression) -> WindowExpression:
        return WindowExpression(function, self.partition_by, self.order_by, self.frame)


def missing_window(expression: Expression) -> str | None:
    """The name of a window that is used and not defined."""
    if isinstance(expression, WindowReference):
        return expression.name
    return next((n for child in expression_children(expression) if (n := missing_window(child)) is not None), None)


class WindowParser(IntervalParser):
    """Window specifications and sort orders; `expression` comes with the class that extends it."""

    def expression(self) -> Expression:
        """A boolean expression, or what binds tighter."""
        raise NotImplementedError

    def _over(self, function: Expression) -> Expression:
        if self.is_name():
            return WindowReference(function, self.name())
        if self.at("(") and self.is_name(1) and self.key_at(2) == ")":
            self.advance()
            reference = WindowReference(function, self.name())
            self.expect(")")
            return reference
        return self.window_spec().over(function)

    def window_spec(self) -> WindowSpec:
        """`(PARTITION BY … ORDER BY … ROWS …)`"""
        self.expect("(")
        partition: tuple[Expression, ...] = ()
        order: tuple[SortOrder, ...] = ()
        if self.accept("CLUSTER BY"):
            partition = self.listed(self.expression)
            order = tuple(SortOrder(e) for e in partition)
        else:
            if self.accept("PARTITION BY") or self.accept("DISTRIBUTE BY"):
                partition = self.listed(self.expression)
            if self.accept("ORDER BY") or self.accept("SORT BY"):
                order = self.listed(self.sort_order)
        frame = self._frame() if self.key in ("ROWS", "RANGE") else None
        self.expect(")")
        return WindowSpec(partition, order, frame)

    def _frame(self) -> WindowFrame:
        kind = self.advance().text.lower()
        if self.accept("BETWEEN"):
            lower = self._bound()
            self.expect("AND")
            return WindowFrame(kind, lower, self._bound())
        return WindowFrame(kind, self._bound(), CURRENT_ROW)

    def _bound(self) -> Expression | None:
        if self.accept("CURRENT", "ROW"):
            return CURRENT_ROW
        if self.accept("UNBOUNDED"):
            if not (self.accept("PRECEDING") or self.accept("FOLLOWING")):
                raise self.fail()
            return None
        offset = self.expression()
        if self.accept("FOLLOWING"):
            return offset
        self.expect("PRECEDING")
        if isinstance(offset, Literal) and offset.value is not None:
            return Literal(-offset.value, offset.dtype)
        return call("negative", offset)

    def sort_order(self) -> SortOrder:
        """`expression [ASC | DESC] [NULLS FIRST | LAST]`"""
        child = self.expression()
        ascending = not self.accept("DESC")
        if ascending:
            self.accept("ASC")
        nulls_first = ascending
        if self.accept("NULLS", "FIRST"):
            nulls_first = True
        elif self.accept("NULLS", "LAST"):
            nulls_first = False
        return SortOrder(child, ascending, nulls_first)
