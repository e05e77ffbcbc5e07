"""A plan as a tree of text, for `explain` and for tests: one line a node, children below, as Spark draws them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from runnel.plan.expressions import Alias, Attribute, Expression, Literal, SortOrder
from runnel.plan.relations import Relation
from runnel.plan.traverse import expression_children

_HIDDEN = frozenset({"plan_id", "table", "source_key", "metadata", "parse_schema"})


def explain_text(plan: Relation) -> str:
    """The tree, resolved or not; every line ends with a line feed."""
    lines: list[str] = []
    _tree(plan, "", "", lines)
    return "".join(line + "\n" for line in lines)


def _tree(plan: Relation, first: str, rest: str, lines: list[str]) -> None:
    lines.append(first + _node(plan))
    children = plan.children
    for i, child in enumerate(children):
        last = i == len(children) - 1
        _tree(child, rest + ("+- " if last else ":- "), rest + ("   " if last else ":  "), lines)


def _node(plan: Relation) -> str:
    parts = [
        _value(getattr(plan, f.name)) for f in dataclasses.fields(plan) if f.name not in _HIDDEN and _shown(plan, f)
    ]
    return " ".join([type(plan).__name__, ", ".join(p for p in parts if p)]).rstrip()


def _shown(plan: Relation, field: dataclasses.Field[object]) -> bool:
    value = getattr(plan, field.name)
    if isinstance(value, Relation) or (isinstance(value, tuple) and any(isinstance(v, Relation) for v in value)):
        return False
    default = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
    return default is dataclasses.MISSING or bool(value != default)


def _value(value: object) -> str:
    match value:
        case Expression():
            return expression_text(value)
        case tuple():
            return f"[{_joined(value)}]"
        case _ if hasattr(value, "simpleString"):
            text: str = value.simpleString()
            return text
        case _:
            return str(value)


def _joined(values: Iterable[object]) -> str:
    return ", ".join(_value(v) for v in values)


def expression_text(expression: Expression) -> str:
    """One expression: attributes as `name#id`, calls by name, the rest by kind."""
    match expression:
        case Attribute(name=name, expr_id=expr_id):
            return f"{name}#{expr_id}"
        case Alias(child=child, name=name, expr_id=expr_id):
            return f"{expression_text(child)} AS {name}#{expr_id}"
        case Literal(value=value):
            return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
        case SortOrder(child=child, ascending=ascending, nulls_first=nulls_first):
            direction = "ASC" if ascending else "DESC"
            return f"{expression_text(child)} {direction} NULLS {'FIRST' if nulls_first else 'LAST'}"
    parts = getattr(expression, "parts", None)
    if isinstance(parts, tuple):
        return "'" + ".".join(parts)
    given = getattr(expression, "name", None)
    label = given if isinstance(given, str) else type(expression).__name__
    arguments = ", ".join(expression_text(e) for e in expression_children(expression))
    dtype = getattr(expression, "dtype", None)
    as_type = f" as {dtype.simpleString()}" if type(expression).__name__ == "Cast" and dtype is not None else ""
    return f"{label}({arguments}{as_type})"
