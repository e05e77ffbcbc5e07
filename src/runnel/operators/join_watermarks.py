"""When a buffered row of a stream-stream join can have no further partner: Spark's state watermarks.

If a key of the join carries a watermark, rows of both sides go by that key. Otherwise a side that has an event-time
column goes by it, as far as the condition bounds it from below by the other side's event time:
`other + c1 < mine + c2` means that once no `other` at or below the watermark can come, no partner can come for
`mine <= watermark + c1 - c2`.

The derivation is StreamingJoinHelper's, and keeps what follows from its working on any comparison: a constant lower
bound of a column of the side counts as one, in milliseconds if it is a number (`n > 5` bounds the state watermark by
5 ms), and of equal terms of a sum one counts (`t + interval 5 seconds + interval 5 seconds` moves by 5 seconds).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pyspark.sql.types import (
    CalendarIntervalType,
    DataType,
    DateType,
    DayTimeIntervalType,
    NumericType,
    StringType,
    TimestampNTZType,
    TimestampType,
)

from runnel.functions.intervals import parse_interval_or_none
from runnel.operators.event_time import WATERMARK_MARK, event_time_position
from runnel.operators.join_condition import Key, references
from runnel.plan.expressions import Alias, Attribute, Cast, Expression, FunctionCall, Literal, dtype_of
from runnel.plan.traverse import walk

_DAY_US = 86_400_000_000
_SECOND_US = 1_000_000


@dataclass(frozen=True, slots=True)
class Bound:
    """A state watermark: (`factor` times the watermark + `offset_us`), in whole milliseconds, less 1 if `inclusive`."""

    factor: int
    offset_us: float
    inclusive: bool

    def at(self, watermark_ms: int) -> int:
        return int((self.factor * watermark_ms * 1000.0 + self.offset_us) / 1000.0) - self.inclusive


@dataclass(frozen=True, slots=True)
class StateWatermark:
    """Which rows of one side go: those whose event time, at `key` among the keys or else at `column` of the row, is at
    most the least of the bounds."""

    key: int | None
    column: int | None
    bounds: tuple[Bound, ...]

    def at(self, watermark_ms: int) -> int:
        """The state watermark, in milliseconds."""
        return min(bound.at(watermark_ms) for bound in self.bounds)


def state_watermarks(
    left: Sequence[Attribute], right: Sequence[Attribute], keys: Sequence[Key], others: Sequence[Expression]
) -> tuple[StateWatermark | None, StateWatermark | None]:
    """Those of the two sides; None for a side whose rows stay for ever. `others`: the conjuncts besides the keys."""
    timed = [i for i, key in enumerate(keys) if _carries_watermark(key.left, key)]
    timed += [i for i, key in enumerate(keys) if _carries_watermark(key.right, key)]
    if timed:
        by_key = StateWatermark(timed[0], None, (Bound(1, 0.0, False),))
        return by_key, by_key
    return _by_value(left, right, others), _by_value(right, left, others)


def _carries_watermark(expression: Expression, key: Key) -> bool:
    return not key.null_safe and isinstance(expression, Attribute) and WATERMARK_MARK in expression.metadata


def _by_value(
    mine: Sequence[Attribute], theirs: Sequence[Attribute], others: Sequence[Expression]
) -> StateWatermark | None:
    column = event_time_position(mine)
    if column is None or event_time_position(theirs) is None:
        return None
    bounds = tuple(_bounds(mine, theirs, others))
    return StateWatermark(None, column, bounds) if bounds else None


def _bounds(mine: Sequence[Attribute], theirs: Sequence[Attribute], others: Sequence[Expression]) -> Iterator[Bound]:
    for part in others:
        match part:
            case FunctionCall(name=("<" | "<=") as name, args=(less, greater)):
                pass
            case FunctionCall(name=(">" | ">=") as name, args=(greater, less)):
                pass
            case _:
                continue
        bound = _solved(less, greater, mine, theirs, inclusive=name in ("<=", ">="))
        if bound is not None:
            yield bound


@dataclass(frozen=True, slots=True)
class _Term:
    """A part of a sum, all on one side: a column or a constant, perhaps subtracted."""

    negated: bool
    attribute: Attribute | None = None
    value_us: float = 0.0


class _Unsolvable(Exception):
    """The comparison is of a form that says nothing about times."""


def _solved(
    less: Expression, greater: Expression, mine: Sequence[Attribute], theirs: Sequence[Attribute], *, inclusive: bool
) -> Bound | None:
    """`less < greater` solved for the one column of `mine` in it."""
    own, other = ({a.expr_id for a in side} for side in (mine, theirs))
    used = references(less) | references(greater)
    if len(used & own) > 1 or len(used & other) > 1:
        return None
    try:
        terms = dict.fromkeys([*_terms(less, False), *_terms(greater, True)])
    except _Unsolvable:
        return None
    about = [t for t in terms if t.attribute is not None and t.attribute.expr_id in own]
    if len(about) != 1 or not about[0].negated:
        return None
    factor, offset_us = 0, 0.0
    rest = [t for t in terms if t is not about[0]]
    for term in rest:
        sign = -1 if term.negated else 1
        if term.attribute is None:
            offset_us += sign * term.value_us
        elif term.attribute.expr_id in other and _marked(term.attribute, theirs):
            factor += sign
        else:
            return None
    return Bound(factor, offset_us, inclusive) if rest else None


def _marked(attribute: Attribute, side: Sequence[Attribute]) -> bool:
    return any(a.expr_id == attribute.expr_id and WATERMARK_MARK in a.metadata for a in side)


def _terms(expression: Expression, negated: bool) -> Iterator[_Term]:
    folded = _constant(expression)
    if folded is not None:
        yield _Term(negated, None, _micros(*folded))
        return
    match expression:
        case FunctionCall(name="-", args=(left, right)) if _is_time(left):
            if _is_time(right):
                raise _Unsolvable  # the difference of two times is an interval, which Spark does not look into
            yield from _terms(left, negated)
            yield from _terms(FunctionCall("negative", (right,), dtype_of(right), True), negated)
        case FunctionCall(name=("+" | "-") as name, args=(left, right)):
            if isinstance(dtype_of(left), DateType):
                raise _Unsolvable
            yield from _terms(left, negated)
            yield from _terms(right, negated if name == "+" else not negated)
        case FunctionCall(name="negative", args=(child,)):
            yield from _terms(child, not negated)
        case Cast(child=child, dtype=NumericType() | TimestampType()) | Alias(child=child):
            yield from _terms(child, negated)
        case Attribute():
            yield _Term(negated, expression)
        case _:
            raise _Unsolvable


def _is_time(expression: Expression) -> bool:
    return isinstance(dtype_of(expression), TimestampType | TimestampNTZType | DateType)


def _micros(value: Any, dtype: DataType) -> float:
    """Microseconds of a constant; numbers count as seconds."""
    match dtype:
        case CalendarIntervalType():
            months, days, micros = value
            if months:
                raise _Unsolvable
            return float(days * _DAY_US + micros)
        case DayTimeIntervalType():
            return float(value)
        case NumericType() | TimestampType():
            return float(value) * _SECOND_US
        case _:
            raise _Unsolvable


def _constant(expression: Expression) -> tuple[Any, DataType] | None:
    """The value, in internal form, of an expression without columns that arithmetic can be done on here; None else."""
    if any(isinstance(part, Attribute) for part in walk(expression)):
        return None
    match expression:
        case Literal(value=value, dtype=dtype):
            return None if value is None else (value, dtype)
        case Alias(child=child):
            return _constant(child)
        case Cast(child=child, dtype=dtype) if dtype is not None:
            return _cast(_constant(child), dtype)
        case FunctionCall(name=name, args=args, dtype=dtype):
            values = [_constant(a) for a in args]
            known = [v for v in values if v is not None]
            return _computed(name, known, dtype) if len(known) == len(args) else None
        case _:
            return None


def _cast(constant: tuple[Any, DataType] | None, dtype: DataType) -> tuple[Any, DataType] | None:
    if constant is None:
        return None
    value, source = constant
    if isinstance(source, StringType) and isinstance(dtype, CalendarIntervalType | DayTimeIntervalType):
        interval = parse_interval_or_none(str(value))
        if interval is None:
            return None
        parts = (interval.months, interval.days, interval.micros)
        if isinstance(dtype, CalendarIntervalType):
            return parts, dtype
        return None if interval.months else (interval.days * _DAY_US + interval.micros, dtype)
    if isinstance(source, NumericType) and isinstance(dtype, NumericType):
        return value, dtype
    same = type(source) is type(dtype) and isinstance(dtype, DayTimeIntervalType | CalendarIntervalType | TimestampType)
    return (value, dtype) if same else None


def _computed(name: str, args: list[tuple[Any, DataType]], dtype: DataType) -> tuple[Any, DataType] | None:
    values = [value for value, _ in args]
    parts = isinstance(dtype, CalendarIntervalType)
    if name == "make_interval":
        years, months, weeks, days, hours, minutes, seconds = values
        micros = (hours * 3600 + minutes * 60) * _SECOND_US + int(Decimal(seconds) * _SECOND_US)
        return (years * 12 + months, weeks * 7 + days, micros), dtype
    if name == "make_dt_interval":
        days, hours, minutes, seconds = values
        return days * _DAY_US + (hours * 3600 + minutes * 60) * _SECOND_US + int(Decimal(seconds) * _SECOND_US), dtype
    if not all(isinstance(d, NumericType | DayTimeIntervalType | CalendarIntervalType) for _, d in args):
        return None
    if name == "negative":
        return (tuple(-v for v in values[0]) if parts else -values[0]), dtype
    if name in ("+", "-"):
        sign = 1 if name == "+" else -1
        if parts:
            return tuple(a + sign * b for a, b in zip(*values, strict=True)), dtype
        return values[0] + sign * values[1], dtype
    if name == "*" and not parts:
        return values[0] * values[1], dtype
    return None
