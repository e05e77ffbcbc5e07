"""Traversal, written once: what a node's children are follows from its dataclass fields."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from runnel.plan.expressions import Expression
from runnel.plan.relations import Relation

T = TypeVar("T")


_NAMES: dict[type, tuple[str, ...]] = {}


def _field_names(cls: type[Any]) -> tuple[str, ...]:
    names = _NAMES.get(cls)
    if names is None:
        names = _NAMES[cls] = tuple(f.name for f in dataclasses.fields(cls))
    return names


def _map_value(value: Any, kind: type, fn: Callable[[Any], Any]) -> Any:
    """`fn` over every `kind` inside a field's value (itself, or inside tuples of any depth); same object if unchanged."""
    if isinstance(value, kind):
        return fn(value)
    if isinstance(value, tuple) and value:
        mapped = tuple(_map_value(v, kind, fn) for v in value)
        return value if all(a is b for a, b in zip(mapped, value, strict=True)) else mapped
    return value


def _map_fields(node: T, kind: type, fn: Callable[[Any], Any]) -> T:
    changes = {}
    for name in _field_names(type(node)):
        old = getattr(node, name)
        new = _map_value(old, kind, fn)
        if new is not old:
            changes[name] = new
    return dataclasses.replace(node, **changes) if changes else node  # type: ignore[type-var]


def _iter_value(value: Any, kind: type) -> Iterator[Any]:
    if isinstance(value, kind):
        yield value
    elif isinstance(value, tuple):
        for v in value:
            yield from _iter_value(v, kind)


def expression_children(expression: Expression) -> Iterator[Expression]:
    """The direct sub-expressions, in field order."""
    for name in _field_names(type(expression)):
        yield from _iter_value(getattr(expression, name), Expression)


def map_children(expression: Expression, fn: Callable[[Expression], Expression]) -> Expression:
    """The expression with `fn` applied to each direct sub-expression; the same object if nothing changed."""
    return _map_fields(expression, Expression, fn)


def transform_up(expression: Expression, fn: Callable[[Expression], Expression]) -> Expression:
    """Rewrites bottom-up: `fn` sees every node after its children."""
    return fn(map_children(expression, lambda e: transform_up(e, fn)))


def transform_down(expression: Expression, fn: Callable[[Expression], Expression]) -> Expression:
    """Rewrites top-down: children of what `fn` returns are visited."""
    return map_children(fn(expression), lambda e: transform_down(e, fn))


def walk(expression: Expression) -> Iterator[Expression]:
    """The expression and everything in it, parents first. Does not enter subquery plans."""
    yield expression
    for child in expression_children(expression):
        yield from walk(child)


def expressions_of(relation: Relation) -> Iterator[Expression]:
    """The expressions that a relation itself holds (not its children's)."""
    for name in _field_names(type(relation)):
        yield from _iter_value(getattr(relation, name), Expression)


def map_expressions(relation: Relation, fn: Callable[[Expression], Expression]) -> Relation:
    """The relation with `fn` applied to each of its own top-level expressions."""
    return _map_fields(relation, Expression, fn)


def map_relations(relation: Relation, fn: Callable[[Relation], Relation]) -> Relation:
    """The relation with `fn` applied to each direct child."""
    return _map_fields(relation, Relation, fn)


def transform_relations_up(relation: Relation, fn: Callable[[Relation], Relation]) -> Relation:
    """Rewrites a plan bottom-up."""
    return fn(map_relations(relation, lambda r: transform_relations_up(r, fn)))


def walk_relations(relation: Relation) -> Iterator[Relation]:
    """The relation and all below it, parents first."""
    yield relation
    for child in relation.children:
        yield from walk_relations(child)
