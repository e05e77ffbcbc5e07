"""Streaming aggregation as text: partial over a batch, merge with what is stored, final from what is stored.

A *partial table* has one row a group: the grouping keys `k0`, `k1`, … in the order of `Aggregate.groupings`, then the
buffer fields of each distinct aggregate call, `b<i>_<field>` (`b0_sum`, `b0_count`, `b1_max`, …). The keyed store holds
the same columns: keys as key, buffers as value.

    rows of a batch ── partial ──► partial table ── merge (beside the stored rows) ──► buffers to store
    partial table with several rows a group ── reduce ──► one row a group
    keys and buffers ── final ──► the Aggregate's output (and, in the same statement, the plan above it)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from pyspark.sql.types import BooleanType, DataType, LongType, StructField, StructType

from runnel.errors import internal_error, unsupported
from runnel.functions import catalogue
from runnel.functions.registry import AggregateFunction, Buffer
from runnel.lowering.datatypes import duckdb_type, quote
from runnel.lowering.expressions import ExpressionLowering, LoweringOptions, column
from runnel.lowering.fragment import Fragment
from runnel.lowering.relations import RelationLowering
from runnel.lowering.sessions import is_session, merged_sessions
from runnel.plan.expressions import AggregateCall, Attribute, new_expr_id
from runnel.plan.relations import Aggregate, Relation, StageInput
from runnel.plan.schema import schema_of
from runnel.plan.traverse import walk


@dataclass(frozen=True, slots=True)
class _Call:
    """One distinct aggregate call of the Aggregate, with its buffer fields as columns."""

    call: AggregateCall
    function: AggregateFunction
    fields: tuple[Attribute, ...]
    names: tuple[str, ...]

    @property
    def columns(self) -> Callable[[str], str]:
        """From a field's own name to the SQL of its column."""
        return {name: column(f) for name, f in zip(self.names, self.fields, strict=True)}.__getitem__


@dataclass(slots=True)
class StreamingAggregation:
    """The texts of one resolved Aggregate (`kind` groupby). Raises UnsupportedOperationError for what has no state form.

    keys: the grouping attributes. buffers: the buffer columns, as attributes made here.
    session: position among the keys of the session window column, or None.
    """

    aggregate: Aggregate
    options: LoweringOptions = field(default_factory=LoweringOptions)
    keys: tuple[Attribute, ...] = field(init=False)
    buffers: tuple[Attribute, ...] = field(init=False)
    session: int | None = field(init=False)
    _calls: tuple[_Call, ...] = field(init=False)

    def __post_init__(self) -> None:
        if any(not isinstance(g, Attribute) for g in self.aggregate.groupings):
            raise internal_error("An Aggregate whose groupings are not attributes.")
        self.keys = tuple(g for g in self.aggregate.groupings if isinstance(g, Attribute))
        self.session = next((i for i, k in enumerate(self.keys) if is_session(k)), None)
        self._calls = tuple(self._describe(i, c) for i, c in enumerate(_calls_of(self.aggregate)))
        self.buffers = tuple(f for call in self._calls for f in call.fields)

    @property
    def key_schema(self) -> StructType:
        """Spark types of `k0`, `k1`, …"""
        return StructType([StructField(f"k{i}", k.dtype, True, dict(k.metadata)) for i, k in enumerate(self.keys)])

    @property
    def buffer_schema(self) -> StructType:
        """Spark types of `b0_…`, all nullable."""
        return schema_of(self.buffers)

    @property
    def partial_schema(self) -> StructType:
        """Keys, then buffers: the schema of a partial table."""
        return StructType([*self.key_schema.fields, *self.buffer_schema.fields])

    # -------------------------------------------------------------------------------------------------- fragments

    def partial(self, child: Relation | None = None) -> Fragment:
        """A batch's rows to a partial table, one row a group. `child` stands for the Aggregate's own child.

        Without keys the result has exactly one row, also for a batch without rows. With a session window the key holds
        the merged session of the batch's rows.
        """
        child = self.aggregate.child if child is None else child
        lowering = RelationLowering(self.options)
        source = lowering.relation(child)
        if self.session is not None:
            session = self.keys[self.session]
            others = [k for k in self.keys if k is not session]
            source = merged_sessions(source, child.output, session, others)
        items = [f"{column(k)} AS k{i}" for i, k in enumerate(self.keys)]
        for call in self._calls:
            for attribute, buffer in zip(call.fields, self._lowered(lowering.expressions, call.call), strict=True):
                items.append(f"CAST({buffer.partial} AS {duckdb_type(attribute.dtype)}) AS {column(attribute)}")
        select = ", ".join(items)
        grouped = f" GROUP BY {', '.join(column(k) for k in self.keys)}" if self.keys else ""
        if not items:
            select = '1 AS "#"'
            grouped = " LIMIT 1"
        return lowering.finish(f"SELECT {select} FROM ({source}){grouped}", self.partial_schema)

    @property
    def merge_input_schema(self) -> StructType:
        """`found` (boolean: the group is stored), `old_…` (stored buffers, null where not found), `new_…` (the batch's)."""
        return schema_of(self._merge_inputs())

    def merge(self) -> Fragment:
        """Aligned rows of stored and new buffers (input 0, see `merge_input_schema`) to the buffers to store.

        One row out for one in, in the same order.
        """
        lowering = RelationLowering(self.options)
        inputs = self._merge_inputs()
        source = lowering.relation(StageInput(index=0, attributes=inputs))
        return lowering.finish(f"SELECT {self._merged(lowering, inputs)} FROM ({source})", self.buffer_schema)

    @property
    def merge_final_input_schema(self) -> StructType:
        """The keys, then what `merge_input_schema` says."""
        return schema_of(self.keys + self._merge_inputs())

    def merge_final(self) -> Fragment:
        """`merge` and `final` in one statement: rows of `merge_final_input_schema` (input 0) to the buffers to store,
        then the Aggregate's output. One row out for one in, in the same order.
        """
        lowering = RelationLowering(self.options)
        inputs = self._merge_inputs()
        source = lowering.relation(StageInput(index=0, attributes=self.keys + inputs))
        keys = "".join(f"{column(k)}, " for k in self.keys)
        merged = f"SELECT {keys}{self._merged(lowering, inputs)} FROM ({source})"
        buffers = "".join(f"{column(b)}, " for b in self.buffers)
        schema = StructType([*self.buffer_schema.fields, *schema_of(self.aggregate.output).fields])
        return lowering.finish(f"SELECT {buffers}{self._results(lowering)} FROM ({merged})", schema)

    def _merged(self, lowering: RelationLowering, inputs: tuple[Attribute, ...]) -> str:
        """The select list of the merged buffers over `_merge_inputs`."""
        found, pairs = inputs[0], len(self.buffers)
        sources = {f: (inputs[1 + i], inputs[1 + pairs + i]) for i, f in enumerate(self.buffers)}
        items = []
        for call in self._calls:
            old = {n: column(sources[f][0]) for n, f in zip(call.names, call.fields, strict=True)}
            new = {n: column(sources[f][1]) for n, f in zip(call.names, call.fields, strict=True)}
            for attribute, buffer in zip(call.fields, self._lowered(lowering.expressions, call.call), strict=True):
                merged = buffer.merge(old.__getitem__, new.__getitem__)
                chosen = f"CASE WHEN {column(found)} THEN {merged} ELSE {column(sources[attribute][1])} END"
                items.append(f"CAST({chosen} AS {duckdb_type(attribute.dtype)}) AS {column(attribute)}")
        return ", ".join(items) or "1"

    def _results(self, lowering: RelationLowering) -> str:
        """The select list of the Aggregate's output over keys and buffers."""
        results = []
        for call in self._calls:
            if call.function.final is None:
                raise internal_error(f"{call.function.name} has buffers and no result.")
            results.append((call.call, call.function.final(lowering.expressions, call.call, call.columns)))
        lowering.expressions.results = tuple(results)
        select = lowering.named(self.aggregate.aggregates)
        lowering.expressions.results = ()
        return select

    @property
    def reduce_input_schema(self) -> StructType:
        """`group` (bigint), `position` (bigint, the order in time within the group), then the buffers."""
        return schema_of(self._reduce_inputs())

    def reduce(self) -> Fragment:
        """Many buffer rows of a group (input 0, see `reduce_input_schema`) to one: `group`, then the buffers; any order.

        Rows are merged from the lowest position to the highest, the lower as the stored one.
        """
        lowering = RelationLowering(self.options)
        inputs = self._reduce_inputs()
        group, position = column(inputs[0]), column(inputs[1])
        source = lowering.relation(StageInput(index=0, attributes=inputs))
        schema = StructType([StructField("group", LongType(), False), *self.buffer_schema.fields])
        if not self.buffers:
            return lowering.finish(f"SELECT DISTINCT {group} FROM ({source})", schema)
        packed = ", ".join(f"{quote(_slot(i))} := {column(b)}" for i, b in enumerate(self.buffers))
        slots = {b: _slot(i) for i, b in enumerate(self.buffers)}
        steps = []
        for call in self._calls:
            pairs = [(n, slots[f]) for n, f in zip(call.names, call.fields, strict=True)]
            old = {n: f"struct_extract(_old, '{slot}')" for n, slot in pairs}
            new = {n: f"struct_extract(_new, '{slot}')" for n, slot in pairs}
            for attribute, buffer in zip(call.fields, self._lowered(lowering.expressions, call.call), strict=True):
                merged = buffer.merge(old.__getitem__, new.__getitem__)
                steps.append(f"{quote(slots[attribute])} := CAST({merged} AS {duckdb_type(attribute.dtype)})")
        folded = (
            f"list_reduce(list(struct_pack({packed}) ORDER BY {position}), "
            f"lambda _old, _new: struct_pack({', '.join(steps)}))"
        )
        grouped = f'SELECT {group}, {folded} AS "#folded" FROM ({source}) GROUP BY {group}'
        items = ", ".join(f"struct_extract(\"#folded\", '{slots[b]}') AS {column(b)}" for b in self.buffers)
        return lowering.finish(f"SELECT {group}, {items} FROM ({grouped})", schema)

    def final(self, above: Relation | None = None) -> Fragment:
        """Keys and buffers (input 0, a partial table) to the Aggregate's output.

        above: a plan that contains the Aggregate (the very object); the fragment then gives that plan's output. Its own
        stage inputs must have other indexes than 0.
        """
        lowering = RelationLowering(self.options)
        source = lowering.relation(StageInput(index=0, attributes=self.keys + self.buffers))
        select = self._results(lowering)
        lowering.substitutes[id(self.aggregate)] = f"SELECT {select} FROM ({source})"
        return lowering.fragment(self.aggregate if above is None else above)

    # ------------------------------------------------------------------------------------------------------ pieces

    def _describe(self, index: int, call: AggregateCall) -> _Call:
        function = catalogue.lookup(call.name)
        if not isinstance(function, AggregateFunction):
            raise internal_error(f"{call.name} is not an aggregate function.")
        buffers = self._lowered(ExpressionLowering(self.options, _no_relation), call)
        fields = tuple(Attribute(f"b{index}_{b.name}", b.dtype, True, new_expr_id()) for b in buffers)
        return _Call(call, function, fields, tuple(b.name for b in buffers))

    @staticmethod
    def _lowered(expressions: ExpressionLowering, call: AggregateCall) -> tuple[Buffer, ...]:
        function = catalogue.lookup(call.name)
        assert isinstance(function, AggregateFunction)
        if call.distinct:
            raise unsupported(f"{call.name}(DISTINCT …) over a stream", "Use approx_count_distinct instead.")
        if function.buffers is None:
            raise unsupported(f"{call.name} over a stream", function.why_not_streaming)
        suffix = f" FILTER (WHERE {expressions.lower(call.filter)})" if call.filter is not None else ""
        return function.buffers(expressions, call, tuple(expressions.lower(a) for a in call.args), suffix)

    def _merge_inputs(self) -> tuple[Attribute, ...]:
        old = (Attribute(f"old_{b.name}", b.dtype, True, b.expr_id) for b in self.buffers)
        new = (Attribute(f"new_{b.name}", b.dtype, True, b.expr_id) for b in self.buffers)
        return (_helper("found", BooleanType()), *old, *new)

    def _reduce_inputs(self) -> tuple[Attribute, ...]:
        return (_helper("group", LongType()), _helper("position", LongType()), *self.buffers)


def _calls_of(aggregate: Aggregate) -> Iterator[AggregateCall]:
    """The distinct aggregate calls, in the order of their first occurrence."""
    seen: list[AggregateCall] = []
    for expression in aggregate.aggregates:
        for node in walk(expression):
            if isinstance(node, AggregateCall) and node not in seen:
                seen.append(node)
                yield node


def _helper(name: str, dtype: DataType) -> Attribute:
    return Attribute(name, dtype, False, 0)


def _slot(index: int) -> str:
    return f"b{index}"


def _no_relation(plan: Relation) -> str:
    raise unsupported(f"A subquery ({type(plan).__name__}) inside an aggregate function of a stream")
