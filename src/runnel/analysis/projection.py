"""SELECT lists: stars, lateral aliases, time windows, generators, and the step to an aggregate without groups."""

from __future__ import annotations

from collections.abc import Sequence

from runnel.analysis.expressions import Resolver, contains, contains_aggregate
from runnel.analysis.frames import Frame, expose
from runnel.analysis.time_windows import replace_windows
from runnel.errors import AnalysisError
from runnel.functions.catalogue import lookup
from runnel.functions.registry import GeneratorFunction
from runnel.plan.expressions import (
    Alias,
    Attribute,
    Expression,
    GeneratorCall,
    MultiAlias,
    UnresolvedRegex,
    UnresolvedStar,
    WindowExpression,
    new_expr_id,
    to_attribute,
)
from runnel.plan.relations import Generate, Project, Relation
from runnel.plan.traverse import expression_children, transform_up, walk


def select_list(resolver: Resolver, expressions: Sequence[Expression]) -> tuple[Expression, ...]:
    """The resolved items of a select list; aliases become visible to the items after them."""
    items: list[Expression] = []
    for expression in expressions:
        found = resolver.named(expression)
        items += found
        if isinstance(expression, UnresolvedStar | UnresolvedRegex):
            continue
        for item in found:
            if isinstance(item, Alias) and not contains(item, (GeneratorCall, WindowExpression)):
                resolver.lateral.setdefault(item.name.lower(), []).append(to_attribute(item))
    return tuple(items)


def inline_lateral(items: Sequence[Expression], used: set[int]) -> tuple[Expression, ...]:
    """The items with references to earlier aliases replaced by what these stand for (right where aggregates are)."""
    known: dict[int, Expression] = {}
    result = []
    for item in items:
        replaced = transform_up(item, lambda e: known.get(e.expr_id, e) if isinstance(e, Attribute) else e)
        if isinstance(replaced, Alias) and replaced.expr_id in used:
            known[replaced.expr_id] = replaced.child
        result.append(replaced)
    return tuple(result)


def project(resolver: Resolver, frame: Frame, items: Sequence[Expression]) -> Frame:
    """The frame of a select list without aggregate functions; `items` are resolved against `frame`."""
    plan = expose(frame.plan, tuple(resolver.exposed.values()))
    plan, items = _lateral(plan, items, resolver.lateral_used)
    windowed = replace_windows(resolver, plan, items)
    plan, items = generate(resolver, windowed.plan, windowed.expressions)
    made = Project(child=plan, expressions=tuple(items))
    return Frame(made, tuple(_column(e) for e in items), frame.hidden, inputs=(frame,))


def _column(item: Expression) -> Attribute:
    return item if isinstance(item, Attribute) else to_attribute(item)


def _lateral(plan: Relation, items: Sequence[Expression], used: set[int]) -> tuple[Relation, tuple[Expression, ...]]:
    """Aliases that later items use are computed in a projection below."""
    result = list(items)
    for position, item in enumerate(items):
        if isinstance(item, Alias) and item.expr_id in used:
            plan = Project(child=plan, expressions=(*plan.output, item))
            result[position] = to_attribute(item)
    return plan, tuple(result)


# -------------------------------------------------------------------------------------------------------- generators


def generate(
    resolver: Resolver, plan: Relation, items: Sequence[Expression]
) -> tuple[Relation, tuple[Expression, ...]]:
    """Generators at the top of items become Generates below; nested ones are refused as Spark refuses them."""
    result: list[Expression] = []
    for item in items:
        child = item.child if isinstance(item, Alias | MultiAlias) else item
        if isinstance(child, GeneratorCall):
            refuse_generators(resolver, child.args, child)
            names = (item.name,) if isinstance(item, Alias) else item.names if isinstance(item, MultiAlias) else ()
            plan = make_generate(plan, child, names)
            assert isinstance(plan, Generate)
            result += plan.attributes
        else:
            refuse_generators(resolver, (child,), child)
            result.append(item)
    return plan, tuple(result)


def refuse_generators(resolver: Resolver, expressions: Sequence[Expression], around: Expression) -> None:
    """UNSUPPORTED_GENERATOR.NESTED_IN_EXPRESSIONS if there is a generator anywhere in them."""
    if any(isinstance(e, GeneratorCall) for top in expressions for e in walk(top)):
        raise AnalysisError("UNSUPPORTED_GENERATOR.NESTED_IN_EXPRESSIONS", expression=f'"{resolver.text(around)}"')


def make_generate(plan: Relation, call: GeneratorCall, names: Sequence[str] = (), outer: bool = False) -> Generate:
    """The Generate of a call with names for its columns (as many as it has, or none)."""
    if names and len(names) != len(call.columns):
        raise AnalysisError("UDTF_ALIAS_NUMBER_MISMATCH", aliasesSize=len(call.columns), aliasesNames=", ".join(names))
    entry = lookup(call.name)
    outer = outer or (isinstance(entry, GeneratorFunction) and entry.outer)
    attributes = tuple(
        Attribute(name, column.dtype, column.nullable or outer, new_expr_id())
        for name, column in zip(names or [c.name for c in call.columns], call.columns, strict=True)
    )
    return Generate(child=plan, generator=call, outer=outer, attributes=attributes)


def has_aggregate(items: Sequence[Expression]) -> bool:
    return any(contains_aggregate(item) for item in items)


def only_aggregate_free(expression: Expression) -> bool:
    """Whether neither aggregates, window functions nor generators occur: what WHERE and ON may hold."""
    return (
        not isinstance(expression, WindowExpression | GeneratorCall)
        and not contains_aggregate(expression)
        and all(only_aggregate_free(e) for e in expression_children(expression))
    )
