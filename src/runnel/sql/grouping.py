"""The grammar of GROUP BY."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from runnel.errors import unsupported
from runnel.functions.catalogue import lookup
from runnel.functions.registry import AggregateFunction
from runnel.plan.expressions import (
    Alias,
    Expression,
    MultiAlias,
    UnresolvedFunction,
    UnresolvedStar,
    WindowExpression,
)
from runnel.plan.traverse import expression_children
from runnel.sql.expressions import ExpressionParser
from runnel.sql.windows import WindowReference


@dataclass(frozen=True, slots=True)
class Grouping:
    """What GROUP BY says: the keys in order, and how they are combined."""

    keys: tuple[Expression, ...]
    kind: str = "groupby"
    sets: tuple[tuple[int, ...], ...] = ()


class GroupingParser(ExpressionParser):
    """GROUP BY: plain keys, ALL, cubes, rollups, grouping sets."""

    def _group_by(self, items: tuple[Expression, ...]) -> Grouping:
        if self.at("ALL") and self.next_key not in (",", ".", "("):
            self.advance()
            return Grouping(_keys_of_all(items))
        elements = self.listed(self._grouping_element)
        if self.accept("WITH"):
            kind = self.advance().text.lower()
            if kind not in ("cube", "rollup"):
                raise self.fail()
            return Grouping(tuple(key for keys, _ in elements for key in _keys(keys)), kind)
        if self.accept("GROUPING SETS"):
            keys = tuple(key for keys, _ in elements for key in _keys(keys))
            sets = self.enclosed(self._grouping_set)
            return _indexed(keys, [tuple(s) for s in sets])
        if all(kind == "plain" for _, kind in elements):
            return Grouping(tuple(_keys(keys)[0] for keys, _ in elements))
        if len(elements) == 1 and elements[0][1] in ("cube", "rollup"):
            keys_only, kind = elements[0]
            if all(len(group) == 1 for group in keys_only):
                return Grouping(tuple(_keys(keys_only)), kind)
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


def _combined(elements: tuple[tuple[tuple[tuple[Expression, ...], ...], str], ...]) -> Grouping:
    """Several elements multiply: each set of one with each set of the others."""
    parts = [_expanded(groups, kind) for groups, kind in elements]
    sets = [tuple(key for part in chosen for key in part) for chosen in product(*parts)]
    keys = tuple(dict.fromkeys(key for groups, _ in elements for key in _keys(groups)))
    return _indexed(keys, sets)


def _indexed(keys: tuple[Expression, ...], sets: list[tuple[Expression, ...]]) -> Grouping:
    distinct = tuple(dict.fromkeys((*keys, *(key for s in sets for key in s))))
    positions = {key: i for i, key in enumerate(distinct)}
    return Grouping(distinct, "grouping_sets", tuple(tuple(dict.fromkeys(positions[k] for k in s)) for s in sets))
