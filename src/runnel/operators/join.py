"""Stream-stream joins: both sides buffer their rows until the watermark says that no partner can come.

A batch, in Spark's order (StreamingSymmetricHashJoinExec; reference §7.5): new left rows meet the buffered right rows;
new right rows meet all left rows, this batch's among them; the new rows are buffered; rows past the state watermark go,
and those of a preserved side that never had a partner come out with nulls.

Candidates are found through an index by the hash of the key, so a batch costs its own rows and their partners. The
condition itself is decided by DuckDB, by a join of the new rows and their candidates that gives pairs of positions.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql.types import BooleanType, LongType

from runnel.errors import error
from runnel.lowering.datatypes import arrow_schema
from runnel.lowering.expressions import LoweringOptions
from runnel.lowering.fragment import Fragment
from runnel.lowering.relations import lower
from runnel.operators.base import OperatorBatch, OperatorMetrics, OperatorPlan, Prepare, RunFragment, StoreSpec
from runnel.operators.event_time import WATERMARK_MARK, event_time_position, event_times, without_late
from runnel.operators.join_condition import JoinCondition, all_of, references, split_condition
from runnel.operators.join_state import BufferedSide, Ints, Mask, SideLayout
from runnel.operators.join_watermarks import StateWatermark, state_watermarks
from runnel.plan.expressions import Alias, Attribute, Expression, FunctionCall, dtype_of, new_expr_id, nullable_of
from runnel.plan.relations import Filter, Join, Project, Relation, StageInput
from runnel.plan.schema import schema_of
from runnel.state.arrow import ascending
from runnel.state.hashing import U64
from runnel.state.store import KeyedStore

_PRESERVED = {"left": ("left",), "right": ("right",), "full": ("left", "right")}
"""By join kind: the sides whose rows come out even without a partner."""

_COUNTED_REMOVALS = {"inner": ("left", "right"), "semi": ("left", "right"), "left": ("right",), "right": ("left",)}
"""By join kind: the sides whose evictions Spark counts; those that make outer rows are not counted."""

_NO_ROWS = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class JoinSide:
    """What the plan says about one side.

    checks: whether its input table has one more column than the layout, telling which rows can have a partner at all.
    needed: the columns, by position, that the condition looks at.
    """

    layout: SideLayout
    event_time: int | None
    watermark: StateWatermark | None
    checks: bool
    needed: tuple[int, ...]
    preserved: bool


def plan_join(node: Join, options: LoweringOptions) -> OperatorPlan:
    """The operator of a resolved Join of two streams; without an equality between them, one that fails when opened."""
    condition = split_condition(node)
    if not condition.keys:
        return OperatorPlan((), RefusedJoin(), node.output)
    left_rows, right_rows = node.left.output, node.right.output
    watermarks = state_watermarks(left_rows, right_rows, condition.keys, condition.others)
    keys = tuple(_key_columns([getattr(key, name) for key in condition.keys]) for name in ("left", "right"))
    sides = []
    for name, rows, (key_columns, computed), watermark, conditions in zip(
        ("left", "right"), (left_rows, right_rows), keys, watermarks, (condition.left, condition.right), strict=True
    ):
        columns = (*rows, *(Attribute(a.name, dtype_of(a), nullable_of(a), a.expr_id) for a in computed))
        at = {a.expr_id: i for i, a in enumerate(columns)}
        # Spark looks partners up by whole keys, nulls included. Only a full join lets null keys get that far.
        positions = tuple(
            (at[a.expr_id], key.null_safe or node.kind == "full")
            for a, key in zip(key_columns, condition.keys, strict=True)
        )
        expiry = None
        if watermark is not None:
            expiry = watermark.column if watermark.key is None else positions[watermark.key][0]
        used = set().union(*(references(part) for part in condition.both)) if condition.both else set()
        needed = sorted({*(at[i] for i in used if i in at), *(position for position, _ in positions)})
        sides.append(
            JoinSide(
                SideLayout(name, rows, columns[len(rows) :], positions, expiry),
                event_time_position(rows),
                watermark,
                conditions.passes is not None,
                tuple(needed),
                name in _PRESERVED.get(node.kind, ()),
            )
        )
    inputs = (
        _input(node.left, condition.left.filter, keys[0][1], condition.left.passes, options),
        _input(node.right, condition.right.filter, keys[1][1], condition.right.passes, options),
    )
    pairs = _pairs(condition, sides[0], sides[1], options)
    return OperatorPlan(inputs, JoinOperator(node.kind, sides[0], sides[1], pairs, node.output), node.output)


def _key_columns(keys: Sequence[Expression]) -> tuple[list[Attribute], list[Alias]]:
    """The column of each key, and those that have to be computed."""
    columns: list[Attribute] = []
    computed: list[Alias] = []
    for i, key in enumerate(keys):
        if isinstance(key, Attribute):
            columns.append(key)
        else:
            computed.append(Alias(key, f"key{i}", new_expr_id(), {}))
            columns.append(Attribute(f"key{i}", dtype_of(key), nullable_of(key), computed[-1].expr_id))
    return columns, computed


def _input(
    child: Relation,
    condition: Expression | None,
    computed: list[Alias],
    passes: Expression | None,
    opts: LoweringOptions,
) -> Fragment:
    """The statement of one side's input: its rows, computed keys, and whether a row can have a partner."""
    if condition is not None:
        child = Filter(child=child, condition=condition)
    checks = () if passes is None else (Alias(passes, "passes", new_expr_id(), {}),)
    if computed or checks:
        child = Project(child=child, expressions=(*child.output, *computed, *checks))
    return lower(child, opts)


def _pairs(condition: JoinCondition, left: JoinSide, right: JoinSide, options: LoweringOptions) -> Fragment:
    """Needed columns and position of left rows, the same of right rows, to (left position, right position)."""
    numbers = [Attribute(name, LongType(), False, new_expr_id()) for name in ("#left", "#right")]
    inputs = []
    for i, side in enumerate((left, right)):
        columns = side.layout.columns
        inputs.append(StageInput(index=i, attributes=(*(columns[p] for p in side.needed), numbers[i])))
    equal = [
        FunctionCall(
            "<=>" if null_safe else "==",
            (left.layout.columns[at_left], right.layout.columns[at_right]),
            BooleanType(),
            not null_safe,
        )
        for (at_left, null_safe), (at_right, _) in zip(left.layout.keys, right.layout.keys, strict=True)
    ]
    joined = Join(left=inputs[0], right=inputs[1], kind="inner", condition=all_of([*equal, *condition.both]))
    return lower(Project(child=joined, expressions=tuple(numbers)), options)


@dataclass(frozen=True, slots=True)
class _Arrived:
    """One side's rows of a batch that are not late and can have a partner, in the side's layout."""

    rows: pa.Table
    hashes: U64
    joinable: Mask

    @property
    def key_hashes(self) -> U64:
        return self.hashes[self.joinable]


@dataclass(frozen=True, slots=True)
class _Found:
    """Which new rows have partners."""

    left_matched: Mask
    right_matched: Mask


class JoinOperator:
    """Keeps the rows of both sides that may still find partners."""

    name = "symmetricHashJoin"

    def __init__(
        self, kind: str, left: JoinSide, right: JoinSide, pairs: Fragment, output: Sequence[Attribute]
    ) -> None:
        self._kind = kind
        self._left_side = left
        self._right_side = right
        self._pairs_fragment = pairs
        names = [str(i) for i in range(len(output))]
        self._schema = pa.schema(
            [f.with_name(name) for f, name in zip(arrow_schema(schema_of(output)), names, strict=True)]
        )
        self.metrics = OperatorMetrics()
        self._left: BufferedSide
        self._right: BufferedSide
        self._pairs: RunFragment

    # ------------------------------------------------------------------------------------------------ declarations

    @property
    def stores(self) -> tuple[StoreSpec, ...]:
        return (self._left_side.layout.spec(), self._right_side.layout.spec())

    def open(self, stores: Mapping[str, KeyedStore], prepare: Prepare) -> None:
        left, right = self._left_side.layout, self._right_side.layout
        for layout in (left, right):
            _check_event_times(layout.attributes)
        self._left = BufferedSide(left, stores[left.spec().name])
        self._right = BufferedSide(right, stores[right.spec().name])
        self._pairs = prepare(self._pairs_fragment)

    def wants_another_batch(self, batch: OperatorBatch, next_watermark_ms: int) -> bool:
        evicts = self._left_side.watermark is not None or self._right_side.watermark is not None
        return evicts and batch.eviction_watermark_ms is not None and next_watermark_ms > batch.eviction_watermark_ms

    def output_watermark_ms(self, input_ms: int) -> int | None:
        sides = (self._left_side.watermark, self._right_side.watermark)
        return min([input_ms, *(w.at(input_ms) for w in sides if w is not None)])

    # --------------------------------------------------------------------------------------------------- a batch

    def process(self, inputs: Sequence[pa.Table], batch: OperatorBatch) -> pa.Table:
        metrics = self.metrics = OperatorMetrics()
        started = time.perf_counter()
        out: list[pa.Table] = []
        left = self._arrive(self._left_side, self._left, inputs[0], batch, out)
        right = self._arrive(self._right_side, self._right, inputs[1], batch, out)
        found = self._match(left, right, batch, out)
        self._store(left, right, found, batch)
        metrics.all_updates_ms = round((time.perf_counter() - started) * 1000)
        started = time.perf_counter()
        self._evict(self._left_side, self._left, batch, out)
        self._evict(self._right_side, self._right, batch, out)
        metrics.all_removals_ms = round((time.perf_counter() - started) * 1000)
        return pa.concat_tables(out) if out else self._schema.empty_table()

    def _arrive(
        self, side: JoinSide, buffered: BufferedSide, table: pa.Table, batch: OperatorBatch, out: list[pa.Table]
    ) -> _Arrived:
        """A side's input without late rows and without those that can have no partner; of a preserved side the latter
        come out at once."""
        rows, dropped = without_late(table, side.event_time, batch.late_watermark_ms)
        self.metrics.num_rows_dropped_by_watermark += dropped
        if side.checks:
            passes = pc.fill_null(rows.column(rows.num_columns - 1), False)
            rows = rows.select(range(rows.num_columns - 1))
            if not pc.all(passes).as_py():
                if side.preserved:
                    self._give_alone(side, rows.filter(pc.invert(passes)), out)
                rows = rows.filter(passes)
        rows = rows.combine_chunks()
        return _Arrived(rows, buffered.hashes(rows), buffered.joinable(rows))

    def _match(self, left: _Arrived, right: _Arrived, batch: OperatorBatch, out: list[pa.Table]) -> _Found:
        """Gives out the pairs of this batch and marks the buffered rows in them."""
        semi = self._kind == "semi"
        left_matched = np.zeros(left.rows.num_rows, np.bool_)
        right_matched = np.zeros(right.rows.num_rows, np.bool_)

        old_right = self._right.partners(left.key_hashes) if left.rows.num_rows else _NO_ROWS
        new_at, old_at = self._pairs_of(
            left.rows.select(self._left_side.needed), self._right.gather(old_right, self._right_side.needed), batch
        )
        left_matched[new_at] = True
        if semi:
            self._give(left.rows.take(pa.array(np.flatnonzero(left_matched))), None, out)
        else:
            partners = self._right.gather(old_right[old_at], range(len(self._right_side.layout.attributes)))
            self._give(left.rows.take(pa.array(new_at)), partners, out)
        if self._right_side.preserved:
            self._right.mark_matched(old_right[old_at])

        old_left = self._left.partners(right.key_hashes) if right.rows.num_rows else _NO_ROWS
        left_at, right_at = self._pairs_of(
            _stacked(self._left.gather(old_left, self._left_side.needed), left.rows.select(self._left_side.needed)),
            right.rows.select(self._right_side.needed),
            batch,
        )
        right_matched[right_at] = True
        if semi:
            # A left row comes out once: not for its second partner, and not for one after the buffered ones above
            left_at = ascending(left_at)
            given = np.concatenate([np.zeros(len(old_left), np.bool_), left_matched])
            left_at = left_at[~given[left_at]]
        is_old = left_at < len(old_left)
        slots, new_at = old_left[left_at[is_old]], left_at[~is_old] - len(old_left)
        left_matched[new_at] = True
        buffered = self._left.gather(slots, range(len(self._left_side.layout.attributes)))
        new = left.rows.take(pa.array(new_at))
        self._give(buffered, None if semi else right.rows.take(pa.array(right_at[is_old])), out)
        self._give(new, None if semi else right.rows.take(pa.array(right_at[~is_old])), out)
        if semi:
            self._left.remove(slots)
            self.metrics.num_rows_removed += len(slots)
        elif self._left_side.preserved:
            self._left.mark_matched(slots)
        return _Found(left_matched, right_matched)

    def _pairs_of(self, left: pa.Table, right: pa.Table, batch: OperatorBatch) -> tuple[Ints, Ints]:
        """The positions of the rows that the condition pairs."""
        if not left.num_rows or not right.num_rows:
            return _NO_ROWS, _NO_ROWS
        found = self._pairs([_numbered(left), _numbered(right)], batch.parameters)
        return found.column(0).to_numpy(), found.column(1).to_numpy()

    def _store(self, left: _Arrived, right: _Arrived, found: _Found, batch: OperatorBatch) -> None:
        """Buffers the new rows. A right row that this batch evicts is left out, unless it is to come out with nulls; a
        left row of a semi join is done with when it has matched."""
        kept = ~self._is_past(self._right_side, right.rows, batch)
        if self._right_side.preserved:
            kept |= ~found.right_matched
        self._buffer(self._left, left, found.left_matched, ~found.left_matched if self._kind == "semi" else None)
        self._buffer(self._right, right, found.right_matched, kept)

    def _buffer(self, side: BufferedSide, arrived: _Arrived, matched: Mask, kept: Mask | None) -> None:
        rows, hashes, joinable = arrived.rows, arrived.hashes, arrived.joinable
        if kept is not None and not kept.all():
            rows, hashes, joinable, matched = rows.filter(pa.array(kept)), hashes[kept], joinable[kept], matched[kept]
        side.add(rows, hashes, joinable, matched)
        self.metrics.num_rows_updated += rows.num_rows

    # ------------------------------------------------------------------------------------------------- eviction

    def _threshold_us(self, side: JoinSide, batch: OperatorBatch) -> int | None:
        if side.watermark is None or batch.eviction_watermark_ms is None:
            return None
        limits = np.iinfo(np.int64)
        return min(max(side.watermark.at(batch.eviction_watermark_ms) * 1000, int(limits.min)), int(limits.max))

    def _is_past(self, side: JoinSide, rows: pa.Table, batch: OperatorBatch) -> Mask:
        """Which rows the state watermark of this batch has passed."""
        threshold, at = self._threshold_us(side, batch), side.layout.expiry
        if threshold is None or at is None or not rows.num_rows:
            return np.zeros(rows.num_rows, np.bool_)
        past: Mask = pc.fill_null(pc.less_equal(event_times(rows.column(at)), threshold), False).to_numpy()
        return past

    def _evict(self, side: JoinSide, buffered: BufferedSide, batch: OperatorBatch, out: list[pa.Table]) -> None:
        threshold = self._threshold_us(side, batch)
        if threshold is None:
            return
        slots = buffered.expired(threshold)
        if side.preserved and len(slots):
            alone = slots[~buffered.matched(slots)]
            self._give_alone(side, buffered.gather(alone, range(len(side.layout.attributes))), out)
        buffered.remove(slots)
        if side.layout.name in _COUNTED_REMOVALS.get(self._kind, ()):
            self.metrics.num_rows_removed += len(slots)

    # --------------------------------------------------------------------------------------------------- output

    def _give(self, left: pa.Table, right: pa.Table | None, out: list[pa.Table]) -> None:
        """Left rows beside right rows; left rows alone for a semi join."""
        if not left.num_rows:
            return
        columns = left.columns[: len(self._left_side.layout.attributes)]
        if right is not None:
            columns += right.columns[: len(self._right_side.layout.attributes)]
        out.append(_as_table(columns, self._schema, left.num_rows))

    def _give_alone(self, side: JoinSide, rows: pa.Table, out: list[pa.Table]) -> None:
        """Rows of one side, with nulls for the other."""
        if not rows.num_rows:
            return
        columns = rows.columns[: len(side.layout.attributes)]
        missing = len(self._schema) - len(columns)
        on_right = side is self._left_side
        types = self._schema.types[len(columns) :] if on_right else self._schema.types[:missing]
        nulls = [pa.chunked_array([pa.nulls(rows.num_rows, t)]) for t in types]
        out.append(_as_table(columns + nulls if on_right else nulls + columns, self._schema, rows.num_rows))


class RefusedJoin:
    """A join without an equality: as in Spark, the query starts and then fails with `_LEGACY_ERROR_TEMP_1181`."""

    name = JoinOperator.name
    stores: tuple[StoreSpec, ...] = ()
    metrics = OperatorMetrics()

    def open(self, stores: Mapping[str, KeyedStore], prepare: Prepare) -> None:
        raise error("_LEGACY_ERROR_TEMP_1181")

    def process(self, inputs: Sequence[pa.Table], batch: OperatorBatch) -> pa.Table:
        raise error("_LEGACY_ERROR_TEMP_1181")

    def wants_another_batch(self, batch: OperatorBatch, next_watermark_ms: int) -> bool:
        return False

    def output_watermark_ms(self, input_ms: int) -> int | None:
        return input_ms


def _check_event_times(attributes: Sequence[Attribute]) -> None:
    """As Spark does when the query runs: a side has one event time, or it is not clear what is late."""
    marked = [a.name for a in attributes if WATERMARK_MARK in a.metadata]
    if len(marked) > 1:
        raise error("_LEGACY_ERROR_TEMP_3077", eventTimeCols=", ".join(marked))


def _as_table(columns: list[pa.ChunkedArray], schema: pa.Schema, rows: int) -> pa.Table:
    if not columns:
        return pa.table({"#": pa.nulls(rows)}).select([])
    typed = [c if c.type == f.type else c.cast(f.type) for c, f in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(typed, schema=schema)


def _numbered(rows: pa.Table) -> pa.Table:
    """The rows with their positions as one more column."""
    columns = [*rows.columns, pa.array(np.arange(rows.num_rows))]
    return pa.Table.from_arrays(columns, names=[str(i) for i in range(len(columns))])


def _stacked(first: pa.Table, second: pa.Table) -> pa.Table:
    """The rows of both, by position."""
    if not first.num_rows:
        return second
    names = [str(i) for i in range(first.num_columns)]
    return pa.concat_tables([first.rename_columns(names), second.rename_columns(names)])
