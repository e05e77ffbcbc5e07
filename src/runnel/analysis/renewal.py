"""Plans that are already resolved, given ids of their own, so that one plan can stand at two places of another."""

from __future__ import annotations

from dataclasses import replace

from runnel.plan.expressions import (
    Alias,
    Attribute,
    Cast,
    Expression,
    LambdaVariable,
    MultiAlias,
    SubqueryExpression,
    UnresolvedAttribute,
    UnresolvedExtract,
    UnresolvedFunction,
    UnresolvedLambda,
    UnresolvedLambdaVariable,
    UnresolvedNamedArgument,
    UnresolvedRegex,
    UnresolvedStar,
    UnresolvedSubquery,
    UpdateFields,
    new_expr_id,
)
from runnel.plan.relations import (
    CachedRelation,
    Deduplicate,
    Drop,
    DropNa,
    FileScan,
    FillNa,
    FlatMapGroupsWithState,
    GroupMap,
    Hint,
    LocalData,
    MapPartitions,
    NamedTable,
    ParseText,
    Range,
    Read,
    Relation,
    Repartition,
    ReplaceNa,
    SetOperation,
    StreamingScan,
    SubqueryAlias,
    Summary,
    TableValuedFunction,
    ToDF,
    ToSchema,
    TransformWithState,
    Unpivot,
    WithColumns,
    WithColumnsRenamed,
    WithCTE,
    WithWatermark,
)
from runnel.plan.traverse import expressions_of, map_children, map_expressions, map_relations, walk, walk_relations

_UNRESOLVED = (
    MultiAlias,
    UnresolvedAttribute,
    UnresolvedExtract,
    UnresolvedFunction,
    UnresolvedLambda,
    UnresolvedLambdaVariable,
    UnresolvedNamedArgument,
    UnresolvedRegex,
    UnresolvedStar,
    UnresolvedSubquery,
    UpdateFields,
)
_SURFACE = (
    CachedRelation, Drop, DropNa, FillNa, Hint, NamedTable, ParseText, Read, Repartition, ReplaceNa, SubqueryAlias, Summary,
    TableValuedFunction, ToDF, ToSchema, Unpivot, WithColumns, WithColumnsRenamed, WithCTE,
)  # fmt: skip


def is_resolved(plan: Relation) -> bool:
    """Whether analysis has nothing left to do in the plan."""
    return all(_node_resolved(node) for node in walk_relations(plan))


def _node_resolved(node: Relation) -> bool:
    match node:
        case LocalData() | FileScan() | StreamingScan():
            if not node.attributes and node.schema.fields:
                return False
        case Range() | SetOperation() | MapPartitions() | GroupMap() | FlatMapGroupsWithState() | TransformWithState():
            if not node.attributes:
                return False
        case WithWatermark(attribute=None) | Deduplicate(keys=()):
            return False
    if isinstance(node, _SURFACE):
        return False
    return not any(_unresolved(e) for top in expressions_of(node) for e in walk(top))


def _unresolved(e: Expression) -> bool:
    return (
        isinstance(e, _UNRESOLVED)
        or (isinstance(e, Alias) and not e.expr_id)
        or (isinstance(e, Cast) and (e.dtype is None or e.mode is None))
    )


def renew(plan: Relation) -> Relation:
    """The same resolved plan with new ids for everything that it defines."""
    ids: dict[int, int] = {}

    def new_id(old: int) -> int:
        if old < 0:
            return -new_id(-old)
        if old not in ids:
            ids[old] = new_expr_id()
        return ids[old]

    def renewed(e: Expression) -> Expression:
        e = map_children(e, renewed)
        match e:
            case Attribute() | Alias() | LambdaVariable():
                return replace(e, expr_id=new_id(e.expr_id))
            case SubqueryExpression(plan=inner):
                return replace(e, plan=node(inner))
            case _:
                return e

    def node(relation: Relation) -> Relation:
        return map_expressions(map_relations(relation, node), renewed)

    return node(plan)
