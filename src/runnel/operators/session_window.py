"""Session windows: per key the list of open sessions, merged with each batch's rows.

Rules: reference §6.2 and §5.3 (Spark's merging-session operators). A row starts as the session [t, t+gap); sessions of a
key merge while the next start is at most the current end. Append gives out sessions whose end the watermark has passed;
complete gives out all and, unlike other aggregations, still drops late rows.

State: one row a key, holding its sessions in order of their starts as a list of structs (start, end, buffers), and the
earliest end, by which keys are found for eviction.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql.types import ArrayType, LongType, StructField, StructType, TimestampType

from runnel.errors import error
from runnel.lowering.aggregation import StreamingAggregation
from runnel.lowering.datatypes import arrow_schema, arrow_type
from runnel.lowering.fragment import Fragment
from runnel.lowering.relations import lower
from runnel.operators.base import OperatorBatch, OperatorMetrics, OperatorPlan, Prepare, RunFragment, StoreSpec
from runnel.operators.event_time import event_time_position, without_late
from runnel.plan.relations import Aggregate, StageInput
from runnel.state.store import KeyedStore

Ints = np.ndarray[tuple[int], np.dtype[np.int64]]


def plan_session_window(node: Aggregate, aggregation: StreamingAggregation) -> OperatorPlan:
    """The operator of a resolved Aggregate that groups by a session window."""
    child = node.child
    operator = SessionWindowOperator(
        aggregation,
        aggregation.partial(StageInput(index=0, attributes=child.output)),
        event_time_position(child.output),
    )
    return OperatorPlan((lower(child, aggregation.options),), operator, node.output)


class SessionWindowOperator:
    """Keeps the open sessions of each key."""

    name = "sessionWindowStateStoreSaveExec"

    def __init__(self, aggregation: StreamingAggregation, partial: Fragment, child_event_time: int | None) -> None:
        assert aggregation.session is not None
        self._aggregation = aggregation
        self._partial_fragment = partial
        self._session = aggregation.session
        self._session_type = arrow_type(aggregation.keys[self._session].dtype)
        self._num_keys = len(aggregation.keys)
        self._others = [i for i in range(self._num_keys) if i != self._session]
        self._has_watermark = event_time_position(aggregation.keys) is not None
        self._child_event_time = child_event_time
        self._open_sessions = 0
        self.metrics = OperatorMetrics()
        self._store: KeyedStore
        self._partial: RunFragment
        self._group: RunFragment
        self._reduce: RunFragment
        self._final: RunFragment

    # ------------------------------------------------------------------------------------------------ declarations

    @property
    def stores(self) -> tuple[StoreSpec, ...]:
        aggregation = self._aggregation
        keys = StructType([aggregation.key_schema.fields[i] for i in self._others])
        spark_key = StructType(
            [
                *(_field(aggregation.keys[i].name, aggregation, i) for i in self._others),
                StructField("sessionStartTime", TimestampType(), False),
            ]
        )
        spark_value = StructType(
            [
                StructField("session_window", aggregation.keys[self._session].dtype, False),
                *(_field(aggregation.keys[i].name, aggregation, i) for i in self._others),
                *aggregation.buffer_schema.fields,
            ]
        )
        values = StructType(
            [StructField("expiry", LongType()), StructField("sessions", ArrayType(self._session_struct()))]
        )
        return (
            StoreSpec(
                "default",
                arrow_schema(keys),
                arrow_schema(values),
                spark_key.json(),
                spark_value.json(),
                "expiry",
                num_cols_prefix_key=len(self._others),
            ),
        )

    def _session_struct(self) -> StructType:
        return StructType(
            [StructField("start", LongType()), StructField("end", LongType()), *self._aggregation.buffer_schema.fields]
        )

    def open(self, stores: Mapping[str, KeyedStore], prepare: Prepare) -> None:
        if not self._others:
            raise error("_LEGACY_ERROR_TEMP_3068")
        self._store = stores["default"]
        self._partial = prepare(self._partial_fragment)
        self._group = prepare(self._grouping())
        self._reduce = prepare(self._aggregation.reduce())
        self._final = prepare(self._aggregation.final())
        held = self._store.gather(self._store.all_slots(), ["sessions"]).column(0)
        self._open_sessions = pc.sum(pc.list_value_length(held)).as_py() or 0

    def _grouping(self) -> Fragment:
        """Rows (keys, start, end, position) to (position, key number, session number), both numbers from 1 without gaps.

        The session numbers ascend with the key numbers, and within a key with time.
        """
        aggregation = self._aggregation
        names = tuple(f"k{i}" for i in self._others)
        columns = ", ".join(names)
        schema = StructType(
            [
                *(aggregation.key_schema.fields[i] for i in self._others),
                StructField("start", LongType()),
                StructField("end", LongType()),
                StructField("position", LongType()),
            ]
        )
        reached = (
            'max("end") OVER (PARTITION BY "#key" ORDER BY "start", "end" '
            "ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"
        )
        keyed = f'SELECT *, dense_rank() OVER (ORDER BY {columns}) AS "#key" FROM input_0'
        opened = f'SELECT *, CASE WHEN "start" <= {reached} THEN 0 ELSE 1 END AS "#opens" FROM ({keyed})'
        running = 'sum("#opens") OVER (ORDER BY "#key", "start", "end", "position" ROWS UNBOUNDED PRECEDING)'
        sql = f'SELECT "position", "#key"::BIGINT AS "key", ({running})::BIGINT AS "session" FROM ({opened})'
        out = StructType([StructField(n, LongType(), False) for n in ("position", "key", "session")])
        return Fragment(sql, out, inputs={0: (*names, "start", "end", "position")}, input_schemas={0: schema})

    # --------------------------------------------------------------------------------------------------- a batch

    def process(self, inputs: Sequence[pa.Table], batch: OperatorBatch) -> pa.Table:
        metrics = self.metrics = OperatorMetrics()
        started = time.perf_counter()
        rows, metrics.num_rows_dropped_by_watermark = self._not_late(inputs[0], batch)
        if rows.num_rows:
            metrics.num_rows_updated = self._merge(self._partial([rows], batch.parameters), batch)
        metrics.all_updates_ms = round((time.perf_counter() - started) * 1000)
        started = time.perf_counter()
        if batch.output_mode == "complete":
            given_out = self._all_sessions()
        else:
            given_out = self._evict(batch)
            metrics.num_rows_removed = given_out.num_rows
            self._open_sessions -= given_out.num_rows
        metrics.all_removals_ms = round((time.perf_counter() - started) * 1000)
        metrics.num_rows_total = self._open_sessions
        return self._final([given_out], batch.parameters)

    def _not_late(self, rows: pa.Table, batch: OperatorBatch) -> tuple[pa.Table, int]:
        """A row is late if the end of its own one-row session is at or below the watermark."""
        if not self._has_watermark:
            return rows, 0
        session = self._aggregation.keys[self._session]
        position = self._aggregation.aggregate.child.output.index(session)
        return without_late(rows, position, batch.late_watermark_ms)

    def _merge(self, partial: pa.Table, batch: OperatorBatch) -> int:
        """Merges a partial table into the store; the number of sessions written."""
        keys = partial.select(self._others)
        slots = self._store.find(keys)
        window = partial.column(self._session)
        fresh = _Sessions(
            keys, _micros(window, 0), _micros(window, 1), partial.select(range(self._num_keys, partial.num_columns))
        )
        stored_slots = np.unique(slots[slots >= 0])
        every = _joined(self._sessions_at(stored_slots), fresh)
        numbers = self._group([every.numbered()], batch.parameters)
        position = numbers.column(0).to_numpy()
        by_position = np.argsort(position, kind="stable")
        key_of = numbers.column(1).to_numpy()[by_position]
        session_of = numbers.column(2).to_numpy()[by_position]
        merged, session_key, first_of_key = self._reduced(every, key_of, session_of, batch)
        self._store.upsert(every.keys.take(pa.array(first_of_key)), self._values(merged, session_key))
        self._open_sessions += len(session_key) - (every.length - fresh.length)
        return len(session_key)

    def _reduced(
        self, every: _Sessions, key_of: Ints, session_of: Ints, batch: OperatorBatch
    ) -> tuple[_Sessions, Ints, Ints]:
        """One row a session, in session order, with each one's key number; and a row of each key, in key order."""
        count = int(session_of.max())
        start = np.full(count, np.iinfo(np.int64).max)
        end = np.full(count, np.iinfo(np.int64).min)
        np.minimum.at(start, session_of - 1, every.start)
        np.maximum.at(end, session_of - 1, every.end)
        session_key = np.empty(count, np.int64)
        session_key[session_of - 1] = key_of
        first_of_key = np.empty(int(key_of.max()), np.int64)
        first_of_key[key_of - 1] = np.arange(len(key_of))
        if count == every.length:
            order = pa.array(np.argsort(session_of))
            buffers = every.buffers.take(order)
        else:
            # Stored sessions come first in `every`, so the position is the order in time of arrival.
            named = [f"b{i}" for i in range(every.buffers.num_columns)]
            grouped = pa.table(
                [pa.array(session_of), pa.array(np.arange(every.length)), *every.buffers.columns],
                names=["group", "position", *named],
            )
            reduced = self._reduce([grouped], batch.parameters)
            order = pa.array(np.argsort(reduced.column(0).to_numpy()))
            buffers = reduced.select(range(1, reduced.num_columns)).take(order)
        return _Sessions(pa.table({}), start, end, buffers), session_key, first_of_key

    def _values(self, sessions: _Sessions, key_of: Ints) -> pa.Table:
        """Value rows, one a key: sessions come in key order, then in order of their starts."""
        counts = np.bincount(key_of)[1:]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        structs = pa.StructArray.from_arrays(
            [pa.array(sessions.start), pa.array(sessions.end), *(_one(c) for c in sessions.buffers.columns)],
            fields=list(arrow_type(self._session_struct())),
        )
        expiry = np.minimum.reduceat(sessions.end, offsets[:-1]) if len(counts) else np.empty(0, np.int64)
        return pa.table({"expiry": expiry, "sessions": pa.ListArray.from_arrays(pa.array(offsets), structs)})

    # ------------------------------------------------------------------------------------------------- giving out

    def _sessions_at(self, slots: Ints) -> _Sessions:
        """The stored sessions of these keys, key by key, each key's in order of time."""
        lists = _one(self._store.gather(slots, ["sessions"]).column(0))
        parents = lists.value_parent_indices()
        flat = lists.flatten()
        columns = [pc.struct_field(flat, i) for i in range(flat.type.num_fields)]
        keys = self._store.gather_keys(slots).take(parents)
        names = self._aggregation.buffer_schema.names
        buffers = pa.Table.from_arrays(columns[2:], names=_unique(names)) if names else _no_columns(len(flat))
        return _Sessions(keys, columns[0].to_numpy(), columns[1].to_numpy(), buffers)

    def _all_sessions(self) -> pa.Table:
        return self._partial_table(self._sessions_at(self._store.all_slots()))

    def _evict(self, batch: OperatorBatch) -> pa.Table:
        """Takes the sessions that the watermark has passed out of the store; them, as a partial table."""
        threshold = (
            None
            if batch.eviction_watermark_ms is None or not self._has_watermark
            else batch.eviction_watermark_ms * 1000
        )
        slots = np.empty(0, np.int64) if threshold is None else self._store.scan_expired(threshold)
        sessions = self._sessions_at(slots)
        if threshold is None or not len(slots):
            return self._partial_table(sessions)
        past = sessions.end <= threshold
        self._keep(slots, sessions, ~past)
        return self._partial_table(sessions.where(past))

    def _keep(self, slots: Ints, sessions: _Sessions, keep: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> None:
        """Leaves these keys with the sessions to keep; keys without any go."""
        lengths = pc.list_value_length(_one(self._store.gather(slots, ["sessions"]).column(0))).to_numpy()
        owner = np.repeat(np.arange(len(slots)), lengths)
        left = np.bincount(owner[keep], minlength=len(slots))
        self._store.remove(slots[left == 0])
        staying = slots[left > 0]
        if len(staying):
            renumber = np.cumsum(left > 0, dtype=np.int64)
            keys = self._store.gather_keys(staying)
            self._store.upsert(
                keys, self._values(sessions.where(keep), np.asarray(renumber[owner[keep]], np.int64)), staying
            )

    def _partial_table(self, sessions: _Sessions) -> pa.Table:
        """Sessions in the layout of the aggregation's partial table."""
        window = pa.StructArray.from_arrays(
            [pa.array(sessions.start).cast(pa.timestamp("us")), pa.array(sessions.end).cast(pa.timestamp("us"))],
            fields=list(self._session_type),
        )
        keys: list[pa.Array | pa.ChunkedArray] = []
        others = iter(sessions.keys.columns)
        for i in range(self._num_keys):
            keys.append(window if i == self._session else next(others))
        columns = [*keys, *sessions.buffers.columns]
        return pa.table(columns, names=[str(i) for i in range(len(columns))])

    def wants_another_batch(self, batch: OperatorBatch, next_watermark_ms: int) -> bool:
        return batch.output_mode != "complete" and next_watermark_ms > (batch.eviction_watermark_ms or 0)

    def output_watermark_ms(self, input_ms: int) -> int | None:
        return input_ms


class _Sessions:
    """Sessions as columns: the other keys, start and end in µs, the buffers."""

    def __init__(self, keys: pa.Table, start: Ints, end: Ints, buffers: pa.Table) -> None:
        self.keys = keys
        self.start = start
        self.end = end
        self.buffers = buffers

    @property
    def length(self) -> int:
        return len(self.start)

    def where(self, mask: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> _Sessions:
        keep = pa.array(mask)
        return _Sessions(self.keys.filter(keep), self.start[mask], self.end[mask], self.buffers.filter(keep))

    def numbered(self) -> pa.Table:
        """Keys, start, end and the row's position."""
        columns = [*self.keys.columns, pa.array(self.start), pa.array(self.end), pa.array(np.arange(self.length))]
        return pa.table(columns, names=[str(i) for i in range(len(columns))])


def _joined(first: _Sessions, second: _Sessions) -> _Sessions:
    if not first.length:
        return second
    return _Sessions(
        _stacked(first.keys, second.keys),
        np.concatenate([first.start, second.start]),
        np.concatenate([first.end, second.end]),
        _stacked(first.buffers, second.buffers),
    )


def _stacked(first: pa.Table, second: pa.Table) -> pa.Table:
    """The rows of both, by position, in the types of the first."""
    if not first.num_columns:
        return _no_columns(first.num_rows + second.num_rows)
    columns = [
        pa.chunked_array([*a.chunks, *b.cast(a.type).chunks], a.type)
        for a, b in zip(first.columns, second.columns, strict=True)
    ]
    return pa.Table.from_arrays(columns, names=_unique(first.column_names))


def _field(name: str, aggregation: StreamingAggregation, index: int) -> StructField:
    key = aggregation.keys[index]
    return StructField(name, key.dtype, key.nullable, dict(key.metadata))


def _micros(window: pa.ChunkedArray, field: int) -> Ints:
    found: Ints = pc.struct_field(window, field).cast(pa.int64()).to_numpy()
    return found


def _one(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _unique(names: Sequence[str]) -> list[str]:
    return [f"{i}_{name}" for i, name in enumerate(names)]


def _no_columns(rows: int) -> pa.Table:
    return pa.table({"#": pa.nulls(rows)}).select([])
