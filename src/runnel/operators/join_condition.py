"""A stream-stream join's condition taken apart as Spark's optimizer and planner take it apart.

Conjuncts over one side alone become filters of that side's input where the join type lets them (inner and semi: both
sides; left outer: the right side; right outer: the left side); the others are kept for the operator, since a preserved
row that fails them still comes out with nulls. Equalities between the sides are the keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

from pyspark.sql.types import BooleanType

from runnel.functions import catalogue
from runnel.functions.registry import ScalarFunction
from runnel.plan.expressions import (
    Alias,
    Attribute,
    Cast,
    Expression,
    FunctionCall,
    PythonUDF,
    SubqueryExpression,
    nullable_of,
)
from runnel.plan.relations import Join
from runnel.plan.traverse import expressions_of, walk, walk_relations

FILTERED_SIDES = {"inner": ("left", "right"), "semi": ("left", "right"), "left": ("right",), "right": ("left",)}
"""By join kind: the sides whose rows can be dropped before the join when they cannot match; of a full join none."""

_NEGATED = {"<": ">=", "<=": ">", ">": "<=", ">=": "<"}
_NULL_IF_OPERAND_IS = {"==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "not", "negative"}


@dataclass(frozen=True, slots=True)
class Key:
    """One equality between the sides. `null_safe`: `<=>`, where null equals null."""

    left: Expression
    right: Expression
    null_safe: bool


@dataclass(frozen=True, slots=True)
class SideConditions:
    """What concerns one side alone. Rows that do not satisfy `filter` are no input of the join; those that do not
    satisfy `passes` can have no partner and are not kept."""

    filter: Expression | None
    passes: Expression | None


@dataclass(frozen=True, slots=True)
class JoinCondition:
    """`others`: conjuncts besides the keys that the operator has to do with, in the order written; `both`: those of
    them that look at both sides. `kept`: all that is no filter of one side's input."""

    keys: tuple[Key, ...]
    left: SideConditions
    right: SideConditions
    both: tuple[Expression, ...]
    others: tuple[Expression, ...]
    kept: tuple[Expression, ...]


def split_condition(node: Join) -> JoinCondition:
    """Takes a resolved join's condition apart. There may be no keys."""
    ids = {"left": _ids(node.left.output), "right": _ids(node.right.output)}
    keys: list[Key] = []
    others: list[Expression] = []
    filters: dict[str, list[Expression]] = {"left": [], "right": []}
    passes: dict[str, list[Expression]] = {"left": [], "right": []}
    both: list[Expression] = []
    filtered = FILTERED_SIDES.get(node.kind, ())
    every = tuple(conjuncts(node.condition))
    kept: list[Expression] = []
    for part in every:
        used = references(part)
        sides = [side for side in ("left", "right") if used <= ids[side]] if is_deterministic(part) else []
        pushed = next((side for side in sides if side in filtered), None)
        key = _key(part, ids["left"], ids["right"])
        if key is not None:
            keys.append(key)
            kept.append(part)
        elif pushed is not None:
            filters[pushed].append(part)
        else:
            others.append(part)
            kept.append(part)
            for side in sides:
                passes[side].append(part)
            if not sides:
                both.append(part)
    for side, plan in (("left", node.left), ("right", node.right)):
        if side in filtered:
            never_null = _never_null(every)
            filters[side] += [_is_not_null(a) for a in plan.output if a.nullable and a.expr_id in never_null]
    left, right = (SideConditions(all_of(filters[s]), all_of(passes[s])) for s in ("left", "right"))
    return JoinCondition(tuple(keys), left, right, tuple(both), tuple(others), tuple(kept))


def conjuncts(condition: Expression | None) -> Iterator[Expression]:
    """The parts that `and` connects, negations taken inwards as Spark's optimizer does."""
    match condition:
        case None:
            return
        case FunctionCall(name="and", args=args):
            for part in args:
                yield from conjuncts(part)
        case FunctionCall(name="not", args=(FunctionCall(name="not", args=(inner,)),)):
            yield from conjuncts(inner)
        case FunctionCall(name="not", args=(FunctionCall(name="or", args=args),)):
            for part in args:
                yield from conjuncts(FunctionCall("not", (part,), BooleanType(), nullable_of(part)))
        case FunctionCall(name="not", args=(FunctionCall(name=name, args=args) as compared,)) if name in _NEGATED:
            yield FunctionCall(_NEGATED[name], args, BooleanType(), compared.nullable)
        case _:
            yield condition


def references(expression: Expression) -> set[int]:
    """The ids of the columns that an expression uses; those of a correlated subquery's plan included."""
    found: set[int] = set()
    for part in walk(expression):
        if isinstance(part, Attribute):
            found.add(part.expr_id)
        elif isinstance(part, SubqueryExpression):
            for below in walk_relations(part.plan):
                found.update(e.expr_id for top in expressions_of(below) for e in walk(top) if isinstance(e, Attribute))
    return found


def all_of(parts: Sequence[Expression]) -> Expression | None:
    """The conjunction; None of nothing."""
    if not parts:
        return None
    return reduce(lambda a, b: FunctionCall("and", (a, b), BooleanType(), nullable_of(a) or nullable_of(b)), parts)


def is_deterministic(expression: Expression) -> bool:
    """Whether an expression gives the same for the same row, however often it is evaluated."""
    for part in walk(expression):
        match part:
            case FunctionCall(name=name):
                entry = catalogue.lookup(name)
                if isinstance(entry, ScalarFunction) and not entry.deterministic:
                    return False
            case PythonUDF(function=function) if not function.deterministic:
                return False
    return True


def _key(part: Expression, left: set[int], right: set[int]) -> Key | None:
    match part:
        case FunctionCall(name=("==" | "<=>") as name, args=(a, b)):
            used_a, used_b = references(a), references(b)
            if not used_a or not used_b or not is_deterministic(part):
                return None
            if used_a <= left and used_b <= right:
                return Key(a, b, name == "<=>")
            if used_a <= right and used_b <= left:
                return Key(b, a, name == "<=>")
    return None


def _ids(attributes: Sequence[Attribute]) -> set[int]:
    return {a.expr_id for a in attributes}


def _never_null(parts: Sequence[Expression]) -> set[int]:
    """The columns that must have a value for the conjuncts to be true."""
    found: set[int] = set()

    def scan(expression: Expression) -> None:
        match expression:
            case Attribute(expr_id=expr_id):
                found.add(expr_id)
            case Cast(child=child) | Alias(child=child):
                scan(child)
            case FunctionCall(name=name, args=args) if name in _NULL_IF_OPERAND_IS:
                for a in args:
                    scan(a)

    for part in parts:
        scan(part)
    return found


def _is_not_null(attribute: Attribute) -> Expression:
    return FunctionCall("isnotnull", (attribute,), BooleanType(), False)
