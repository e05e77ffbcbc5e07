"""A resolved plan to one DuckDB SELECT: relations nest as subqueries, each yielding exactly its `output`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import pyarrow as pa
from pyspark.sql.types import LongType, StructField, StructType

from runnel.errors import internal_error, unsupported
from runnel.functions import catalogue
from runnel.functions.registry import GeneratorFunction
from runnel.lowering.datatypes import duckdb_type, null_literal, quote
from runnel.lowering.expressions import ExpressionLowering, LoweringOptions, column, column_name
from runnel.lowering.fragment import Fragment
from runnel.lowering.scans import lower_scan
from runnel.lowering.sessions import is_session, merged_sessions
from runnel.plan.expressions import (
    Alias,
    Attribute,
    Expression,
    SortOrder,
    SubqueryExpression,
    dtype_of,
    nullable_of,
)
from runnel.plan.relations import (
    Aggregate,
    Deduplicate,
    Empty,
    Expand,
    FileScan,
    Filter,
    Generate,
    Join,
    Limit,
    LocalData,
    Observe,
    Offset,
    Project,
    Range,
    Relation,
    Sample,
    SetOperation,
    Sort,
    StageInput,
    SubqueryAlias,
    Tail,
    WithWatermark,
)
from runnel.plan.schema import schema_of
from runnel.plan.traverse import walk

_NO_COLUMNS = '1 AS "#"'
"""What a relation without columns selects: SQL has none, and the rows count."""

_JOINS = {"inner": "JOIN", "left": "LEFT JOIN", "right": "RIGHT JOIN", "full": "FULL JOIN"}
_HALF_JOINS = {"semi": "SEMI JOIN", "anti": "ANTI JOIN"}
_SET_OPERATIONS = {"union": "UNION", "intersect": "INTERSECT", "except": "EXCEPT"}


def lower(plan: Relation, options: LoweringOptions | None = None) -> Fragment:
    """One statement for a resolved plan without streaming scans and without Python stages.

    The fragment's schema is the plan's output; an output without columns comes back as one column to be dropped.
    """
    return RelationLowering(options or LoweringOptions()).fragment(plan)


def lower_grouped(child: Relation, groupings: Sequence[Expression], options: LoweringOptions | None = None) -> Fragment:
    """The child's rows, one group after the other, for a function over groups.

    Columns: the child's, then the values of the groupings (`k0`, `k1`, …), then `group` (bigint, from 1, ascending, in
    the order of the keys; nulls first). Within a group rows keep the child's order.
    """
    lowering = RelationLowering(options or LoweringOptions())
    keys = [Attribute(f"k{i}", dtype_of(g), nullable_of(g), 0) for i, g in enumerate(groupings)]
    values = "".join(f", {lowering.expressions.lower(g)} AS {column(k)}" for g, k in zip(groupings, keys, strict=True))
    rows = f'SELECT *{values}, row_number() OVER () AS "#n" FROM ({lowering.relation(child)})'
    orders = ", ".join(f"{column(k)} ASC NULLS FIRST" for k in keys)
    group = f"dense_rank() OVER (ORDER BY {orders})" if keys else "CAST(1 AS BIGINT)"
    columns = ", ".join(column(a) for a in (*child.output, *keys))
    sql = f'SELECT {columns}, {group} AS "group" FROM ({rows}) ORDER BY "group", "#n"'
    schema = StructType([*schema_of((*child.output, *keys)).fields, StructField("group", LongType(), False)])
    return lowering.finish(sql, schema)


class RelationLowering:
    """Lowers relations and gathers the tables, inputs and functions that their text reads. For one fragment."""

    def __init__(self, options: LoweringOptions) -> None:
        self.expressions = ExpressionLowering(options, self.relation)
        self.substitutes: dict[int, str] = {}
        """SELECTs that stand for relations, by the relation's `id`."""
        self._inputs: dict[int, tuple[Attribute, ...]] = {}
        self._tables: dict[int, tuple[str, LocalData]] = {}

    def fragment(self, plan: Relation) -> Fragment:
        return self.finish(self.relation(plan), schema_of(plan.output))

    def finish(self, sql: str, schema: StructType) -> Fragment:
        """The fragment of a SELECT made with this object."""
        return Fragment(
            sql=sql,
            schema=schema,
            inputs={i: tuple(column_name(a) for a in attributes) for i, attributes in self._inputs.items()},
            input_schemas={i: schema_of(attributes) for i, attributes in self._inputs.items()},
            tables={name: _local_table(data) for name, data in self._tables.values()},
            table_schemas={name: data.schema for name, data in self._tables.values()},
            streams=dict(self.expressions.streams),
            parameters=tuple(sorted(self.expressions.parameters)),
            functions=tuple(self.expressions.functions),
        )

    def relation(self, plan: Relation) -> str:
        """A SELECT yielding `plan.output` under its SQL names."""
        if id(plan) in self.substitutes:
            return self.substitutes[id(plan)]
        match plan:
            case Project():
                child, expressions = self._one_project(plan)
                return f"SELECT {self.named(expressions)} FROM ({self.relation(child)})"
            case Filter(child=child, condition=condition):
                return f"SELECT * FROM ({self.relation(child)}) WHERE {self._sql(condition)}"
            case Aggregate():
                return self._aggregate(plan)
            case Join():
                return self._join(plan)
            case Expand():
                return self._expand(plan)
            case Generate():
                return self._generate(plan)
            case SetOperation():
                return self._set_operation(plan)
            case Deduplicate():
                return self._deduplicate(plan)
            case Sort(child=child, orders=orders):
                return f"SELECT * FROM ({self.relation(child)}){self._order_by(orders)}"
            case Limit(child=child, count=count):
                return f"SELECT * FROM ({self.relation(child)}) LIMIT {count}"
            case Offset(child=child, count=count):
                return f"SELECT * FROM ({self.relation(child)}) OFFSET {count}"
            case Tail(child=child, count=count):
                rows = f'SELECT *, row_number() OVER () AS "#n", count(*) OVER () AS "#c" FROM ({self.relation(child)})'
                return f'SELECT {_columns(plan.output)} FROM ({rows}) WHERE "#n" > "#c" - {count} ORDER BY "#n"'
            case Sample():
                return self._sample(plan)
            case LocalData():
                return self._local_data(plan)
            case StageInput():
                return self._stage_input(plan)
            case Range(start=start, end=end, step=step, attributes=(attribute,)):
                return f"SELECT range AS {column(attribute)} FROM range({start}, {end}, {step})"
            case Empty():
                return f"SELECT {_NO_COLUMNS}"
            case FileScan():
                return lower_scan(plan, self.expressions)
            case WithWatermark(child=child) | Observe(child=child) | SubqueryAlias(child=child):
                return self.relation(child)
            case _:
                raise internal_error(f"{type(plan).__name__} has no form in SQL.")

    # -------------------------------------------------------------------------------------------------- pieces

    def _sql(self, expression: Expression) -> str:
        return self.expressions.lower(expression)

    def _one_project(self, plan: Project) -> tuple[Relation, tuple[Expression, ...]]:
        """The Project with those below it, as long as it only hands on what they compute.

        A chain of `withColumn` is one SELECT then; DuckDB copies a plan at each execution, so its size counts.
        """
        child, expressions = plan.child, plan.expressions
        while isinstance(child, Project) and id(child) not in self.substitutes:
            computed = {e.expr_id: e for e in child.expressions if isinstance(e, Alias)}
            handed_on = [e.expr_id for e in expressions if isinstance(e, Attribute) and e.expr_id in computed]
            inside = [node for e in expressions if not isinstance(e, Attribute) for node in walk(e)]
            if len(set(handed_on)) < len(handed_on) or any(
                isinstance(node, SubqueryExpression) or (isinstance(node, Attribute) and node.expr_id in computed)
                for node in inside
            ):
                break
            expressions = tuple(computed.get(e.expr_id, e) if isinstance(e, Attribute) else e for e in expressions)
            child = child.child
        return child, expressions

    def named(self, expressions: Sequence[Expression]) -> str:
        """The SELECT list that gives named expressions their SQL names."""
        from_expression = []
        for expression in expressions:
            if isinstance(expression, Attribute):
                from_expression.append(column(expression))
            else:
                name = f"{expression.name}#{expression.expr_id}"  # type: ignore[attr-defined]
                from_expression.append(f"{self._sql(expression)} AS {quote(name)}")
        return ", ".join(from_expression) or _NO_COLUMNS

    def _order_by(self, orders: Iterable[SortOrder]) -> str:
        items = ", ".join(self.expressions.order(o) for o in orders)
        return f" ORDER BY {items}" if items else ""

    # -------------------------------------------------------------------------------------------------- leaves

    def _local_data(self, data: LocalData) -> str:
        """One registered table per distinct node; a second use of it renames by position."""
        if not data.attributes:
            return f"SELECT {_NO_COLUMNS} FROM range({data.table.num_rows})"
        known = self._tables.get(id(data))
        if known is None:
            known = self._tables[id(data)] = (f"table_{len(self._tables)}", data)
        return f"SELECT {_columns(data.attributes)} FROM {known[0]}"

    def _stage_input(self, stage: StageInput) -> str:
        names = self._inputs.setdefault(stage.index, stage.attributes)
        if not names:
            return f"SELECT {_NO_COLUMNS} FROM input_{stage.index}"
        return f"SELECT {_renamed(names, stage.attributes)} FROM input_{stage.index}"

    # -------------------------------------------------------------------------------------------- aggregation

    def _aggregate(self, plan: Aggregate) -> str:
        keys = [g for g in plan.groupings if isinstance(g, Attribute)]
        if len(keys) != len(plan.groupings) or plan.kind != "groupby":
            raise internal_error("An Aggregate whose groupings are not attributes.")
        source = self.relation(plan.child)
        for session in (k for k in keys if is_session(k)):
            source = merged_sessions(source, plan.child.output, session, [k for k in keys if k is not session])
        grouped = f" GROUP BY {_columns(keys)}" if keys else ""
        if not plan.aggregates and not keys:
            return f"SELECT {_NO_COLUMNS}"
        return f"SELECT {self.named(plan.aggregates)} FROM ({source}){grouped}"

    def _deduplicate(self, plan: Deduplicate) -> str:
        source = self.relation(plan.child)
        keys = {k.expr_id for k in plan.keys}
        if all(a.expr_id in keys for a in plan.child.output):
            return f"SELECT DISTINCT * FROM ({source})"
        if not keys:
            return f"SELECT * FROM ({source}) LIMIT 1"
        return f"SELECT DISTINCT ON ({_columns(plan.keys)}) * FROM ({source})"

    # -------------------------------------------------------------------------------------------------- shapes

    def _expand(self, plan: Expand) -> str:
        """Through UNNEST of a list of structs, so that the child is read once."""
        if len(plan.projections) == 1:
            return self._unnamed(plan.projections[0], plan.attributes, self.relation(plan.child))
        rows = []
        for projection in plan.projections:
            fields = (
                f"c{i} := CAST({self._sql(e)} AS {duckdb_type(a.dtype)})"
                for i, (e, a) in enumerate(zip(projection, plan.attributes, strict=True))
            )
            rows.append(f"struct_pack({', '.join(fields)})")
        unnested = f'SELECT unnest([{", ".join(rows)}]) AS "#row" FROM ({self.relation(plan.child)})'
        return f"SELECT {_fields(plan.attributes)} FROM ({unnested})"

    def _unnamed(self, expressions: Sequence[Expression], attributes: Sequence[Attribute], source: str) -> str:
        items = (f"{self._sql(e)} AS {column(a)}" for e, a in zip(expressions, attributes, strict=True))
        return f"SELECT {', '.join(items)} FROM ({source})"

    def _generate(self, plan: Generate) -> str:
        call = plan.generator
        entry = catalogue.lookup(call.name)
        if not isinstance(entry, GeneratorFunction):
            raise internal_error(f"{call.name} is not a generator.")
        rows = entry.lower(self.expressions, call, tuple(self._sql(a) for a in call.args))
        if plan.outer or entry.outer:
            nulls = ", ".join(f"c{i} := {null_literal(c.dtype)}" for i, c in enumerate(call.columns))
            rows = f"CASE WHEN coalesce(len({rows}), 0) = 0 THEN [struct_pack({nulls})] ELSE {rows} END"
        kept = plan.child.output if plan.keep is None else plan.keep
        prefix = _columns(kept) + ", " if kept else ""
        unnested = f'SELECT {prefix}unnest({rows}) AS "#row" FROM ({self.relation(plan.child)})'
        return f"SELECT {prefix}{_fields(plan.attributes)} FROM ({unnested})"

    def _join(self, plan: Join) -> str:
        left, right = self.relation(plan.left), self.relation(plan.right)
        lateral = "LATERAL " if plan.lateral else ""
        condition = "TRUE" if plan.condition is None else self._sql(plan.condition)
        sides = f'({left}) AS "#l"', f'{lateral}({right}) AS "#r"'
        if plan.kind in _HALF_JOINS:
            if plan.condition is None:
                some = "EXISTS" if plan.kind == "semi" else "NOT EXISTS"
                return f"SELECT * FROM {sides[0]} WHERE {some} (SELECT 1 FROM {sides[1]})"
            return f"SELECT {_columns(plan.output)} FROM {sides[0]} {_HALF_JOINS[plan.kind]} {sides[1]} ON {condition}"
        if plan.kind == "cross" or (plan.kind == "inner" and plan.condition is None):
            where = "" if plan.condition is None else f" WHERE {condition}"
            return f"SELECT {_columns(plan.output)} FROM {sides[0]} CROSS JOIN {sides[1]}{where}"
        if plan.kind not in _JOINS:
            raise unsupported(f"A {plan.kind} join")
        return f"SELECT {_columns(plan.output)} FROM {sides[0]} {_JOINS[plan.kind]} {sides[1]} ON {condition}"

    def _set_operation(self, plan: SetOperation) -> str:
        word = _SET_OPERATIONS[plan.kind] + (" ALL" if plan.all else "")
        branches = []
        for child in plan.inputs:
            items = _cast_renamed(child.output, plan.attributes)
            branches.append(f"(SELECT {items} FROM ({self.relation(child)}))")
        return f"SELECT * FROM ({f' {word} '.join(branches)})"

    def _sample(self, plan: Sample) -> str:
        """Reproducible for a seed: the row's number decides. Not Spark's own choice of rows, which hangs on partitions."""
        seed = plan.seed if plan.seed is not None else 0
        drawn = f'(hash(row_number() OVER (), {seed}) >> 11) / {float(1 << 53)!r} AS "#u"'
        numbered = f"SELECT *, {drawn} FROM ({self.relation(plan.child)})"
        if not plan.with_replacement:
            return (
                f"SELECT {_columns(plan.output)} FROM ({numbered}) "
                f'WHERE "#u" >= {plan.lower!r} AND "#u" < {plan.upper!r}'
            )
        bounds = ", ".join(map(repr, _poisson_bounds(plan.upper - plan.lower)))
        copies = f'len(list_filter([{bounds}], lambda b: "#u" >= b))'
        repeated = f'SELECT *, unnest(range({copies})) AS "#copy" FROM ({numbered})'
        return f"SELECT {_columns(plan.output)} FROM ({repeated})"


def _columns(attributes: Iterable[Attribute]) -> str:
    return ", ".join(column(a) for a in attributes) or _NO_COLUMNS


def _renamed(sources: Sequence[Attribute], targets: Sequence[Attribute]) -> str:
    return ", ".join(
        column(source) if column(source) == column(target) else f"{column(source)} AS {column(target)}"
        for source, target in zip(sources, targets, strict=True)
    )


def _cast_renamed(sources: Sequence[Attribute], targets: Sequence[Attribute]) -> str:
    """Analysis has made the types equal, but for names of nested fields, which DuckDB would match by name."""
    items = []
    for source, target in zip(sources, targets, strict=True):
        source_type, target_type = duckdb_type(source.dtype), duckdb_type(target.dtype)
        sql = column(source) if source_type == target_type else f"CAST({column(source)} AS {target_type})"
        items.append(f"{sql} AS {column(target)}")
    return ", ".join(items) or _NO_COLUMNS


def _fields(attributes: Sequence[Attribute]) -> str:
    items = (f"struct_extract(\"#row\", 'c{i}') AS {column(a)}" for i, a in enumerate(attributes))
    return ", ".join(items)


def _local_table(data: LocalData) -> pa.Table:
    return data.table.rename_columns([column_name(a) for a in data.attributes])


def _poisson_bounds(mean: float) -> list[float]:
    """Cumulative probabilities of a Poisson distribution: the number of bounds that u reaches is the draw."""
    term = total = math.exp(-mean)
    bounds = [total]
    count = 0
    while total < 1 - 1e-12 and count < 1000:
        count += 1
        term *= mean / count
        total += term
        bounds.append(total)
    return bounds
