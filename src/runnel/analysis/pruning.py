"""Column pruning: scans keep only the columns that something above needs, in their order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from runnel.plan.expressions import Attribute, Expression, SubqueryExpression
from runnel.plan.relations import (
    Aggregate,
    Expand,
    FileScan,
    Filter,
    Generate,
    Join,
    Limit,
    Offset,
    Project,
    Relation,
    Sample,
    Sort,
    StreamingScan,
    Tail,
    WithWatermark,
)
from runnel.plan.traverse import map_children, map_relations, walk, walk_relations


def prune(plan: Relation) -> Relation:
    """The resolved plan with the columns that nobody needs left out of projections and scans; same rows, same output."""
    return _prune(plan, {a.expr_id for a in plan.output})


def references(expressions: Iterable[Expression]) -> set[int]:
    """The ids of the columns that expressions use, those of correlated subqueries included."""
    found: set[int] = set()
    for top in expressions:
        for e in walk(top):
            if isinstance(e, Attribute):
                found.add(e.expr_id)
            elif isinstance(e, SubqueryExpression):
                found |= _of_plan(e.plan)
    return found


def _of_plan(plan: Relation) -> set[int]:
    found: set[int] = set()
    for node in walk_relations(plan):
        match node:
            case Project(expressions=expressions):
                found |= references(expressions)
            case Filter(condition=condition):
                found |= references((condition,))
            case Join(condition=condition) if condition is not None:
                found |= references((condition,))
            case Aggregate(aggregates=aggregates, groupings=groupings):
                found |= references((*aggregates, *groupings))
            case Sort(orders=orders):
                found |= references(orders)
            case Generate(generator=generator):
                found |= references((generator,))
            case Expand(projections=projections):
                found |= references(e for row in projections for e in row)
    return found


def _pruned_subqueries(expression: Expression) -> Expression:
    if isinstance(expression, SubqueryExpression):
        expression = replace(expression, plan=prune(expression.plan))
    return map_children(expression, _pruned_subqueries)


def _all_of(plan: Relation) -> set[int]:
    return {a.expr_id for a in plan.output}


def _prune(plan: Relation, needed: set[int]) -> Relation:
    match plan:
        case FileScan(attributes=attributes) | StreamingScan(attributes=attributes):
            kept = _kept(attributes, needed)
            if isinstance(plan, FileScan) and plan.metadata_column and attributes[-1] not in kept:
                return replace(plan, attributes=kept, metadata_column=False)
            return plan if len(kept) == len(attributes) else replace(plan, attributes=kept)
        case Project(child=child, expressions=expressions):
            shown = tuple(_pruned_subqueries(e) for e in expressions if _id(e) in needed)
            return replace(plan, child=_prune(child, references(shown)), expressions=shown)
        case Filter(child=child, condition=condition):
            condition = _pruned_subqueries(condition)
            return replace(plan, child=_prune(child, needed | references((condition,))), condition=condition)
        case Aggregate(child=child, groupings=groupings, aggregates=aggregates):
            return replace(plan, child=_prune(child, references((*groupings, *aggregates))))
        case Generate(child=child, generator=generator, keep=keep):
            below = keep if keep is not None else child.output
            wanted = tuple(a for a in below if a.expr_id in needed)
            pruned = _prune(child, {a.expr_id for a in wanted} | references((generator,)))
            return replace(plan, child=pruned, keep=wanted)
        case Expand(child=child, projections=projections, attributes=attributes):
            positions = [i for i, a in enumerate(attributes) if a.expr_id in needed]
            rows = tuple(tuple(row[i] for i in positions) for row in projections)
            return replace(
                plan,
                child=_prune(child, references(e for row in rows for e in row)),
                projections=rows,
                attributes=tuple(attributes[i] for i in positions),
            )
        case Sort(child=child, orders=orders):
            return replace(plan, child=_prune(child, needed | references(orders)))
        case Limit(child=child) | Offset(child=child) | Tail(child=child) | Sample(child=child):
            return replace(plan, child=_prune(child, needed))
        case WithWatermark(child=child, attribute=attribute):
            marked = set() if attribute is None else {attribute.expr_id}
            return replace(plan, child=_prune(child, needed | marked))
        case Join(left=left, right=right, condition=condition):
            used = needed | (references((condition,)) if condition is not None else set())
            return replace(plan, left=_prune(left, used & _all_of(left)), right=_prune(right, used & _all_of(right)))
        case _:
            return _below_opaque(plan)


def _below_opaque(plan: Relation) -> Relation:
    """Operators that look at whole rows keep all their input."""
    return map_relations(plan, lambda child: _prune(child, _all_of(child)))


def _kept(attributes: tuple[Attribute, ...], needed: set[int]) -> tuple[Attribute, ...]:
    """The needed columns; of a scan that needs none the first, so that rows can still be counted."""
    return tuple(a for a in attributes if a.expr_id in needed) or attributes[:1]


def _id(expression: Expression) -> int:
    expr_id: int = getattr(expression, "expr_id", 0)
    return expr_id
