"""Executing a relation: its rows as responses, and the relations that are only known as a plan's last step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pyarrow as pa
from pyspark.sql.connect.proto import base_pb2, relations_pb2
from pyspark.sql.types import StringType, StructField, StructType

from runnel.connect.arrow_values import convert_table, to_wire
from runnel.connect.catalog import run_catalog
from runnel.connect.decode_relations import decode_relation
from runnel.connect.encode import encode_rows, encode_type, encode_value
from runnel.plan.relations import Aggregate, Limit, Observe, Relation
from runnel.plan.schema import schema_of
from runnel.plan.traverse import walk_relations
from runnel.show import html_text, table_text

if TYPE_CHECKING:
    from runnel.connect.service import SparkConnectService

Responses = Iterator[base_pb2.ExecutePlanResponse]


def run_relation(service: SparkConnectService, message: relations_pb2.Relation) -> Responses:
    """Executes a plan and gives its schema, its rows and what it observed."""
    match message.WhichOneof("rel_type"):
        case "show_string":
            yield from _show(service, message.show_string)
        case "html_string":
            yield from _html(service, message.html_string)
        case "catalog":
            yield from rows_of(service, *run_catalog(service, message.catalog))
        case _:
            plan = decode_relation(service.decode_context(), message)
            table, schema = run_plan(service, plan)
            yield from rows_of(service, table, schema)
            yield from observed(service, plan)


def run_plan(service: SparkConnectService, plan: Relation) -> tuple[pa.Table, StructType]:
    """A batch plan's rows, in physical types, and its schema."""
    resolved = service.session.analyze(plan)
    return service.session.run_resolved(resolved), schema_of(resolved.output)


def rows_of(service: SparkConnectService, table: pa.Table, schema: StructType) -> Responses:
    """A result in physical types as responses: the schema first, then at least one batch of rows."""
    yield base_pb2.ExecutePlanResponse(schema=encode_type(schema))
    for batch in encode_rows(table, schema, service.session.conf.time_zone):
        yield base_pb2.ExecutePlanResponse(arrow_batch=batch)


def observed(service: SparkConnectService, plan: Relation) -> Responses:
    """What the plan's `observe` counts, a response a name: each is an aggregate over the rows that pass there."""
    for node in walk_relations(plan):
        if not isinstance(node, Observe):
            continue
        counted = Aggregate(child=node.child, groupings=(), aggregates=node.metrics)
        table, schema = run_plan(service, counted)
        entry = base_pb2.ExecutePlanResponse.ObservedMetrics(
            name=node.name,
            keys=schema.names,
            values=[encode_value(column[0].as_py()) for column in table.columns],
        )
        yield base_pb2.ExecutePlanResponse(observed_metrics=[entry])


def as_local_relation(service: SparkConnectService, table: pa.Table, schema: StructType) -> relations_pb2.Relation:
    """Rows at hand as a relation message that the client can build on."""
    wire = convert_table(table, schema, lambda array, dtype: to_wire(array, dtype, service.session.conf.time_zone))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, wire.schema) as writer:
        writer.write_table(wire)
    local = relations_pb2.LocalRelation(data=sink.getvalue().to_pybytes(), schema=schema.json())
    return relations_pb2.Relation(local_relation=local)


def _first_rows(service: SparkConnectService, plan: Relation, count: int) -> tuple[pa.Table, StructType]:
    return run_plan(service, Limit(child=plan, count=max(0, min(count, 2**31 - 2)) + 1))


def _text(service: SparkConnectService, name: str, text: str) -> Responses:
    schema = StructType([StructField(name, StringType(), False)])
    return rows_of(service, pa.table({name: pa.array([text], pa.string())}), schema)


def _show(service: SparkConnectService, message: relations_pb2.ShowString) -> Responses:
    plan = decode_relation(service.decode_context(), message.input)
    table, schema = _first_rows(service, plan, message.num_rows)
    text = table_text(
        table,
        schema,
        service.session.conf.time_zone,
        num_rows=message.num_rows,
        truncate=message.truncate,
        vertical=message.vertical,
    )
    yield from _text(service, "show_string", text)


def _html(service: SparkConnectService, message: relations_pb2.HtmlString) -> Responses:
    plan = decode_relation(service.decode_context(), message.input)
    table, schema = _first_rows(service, plan, message.num_rows)
    zone = service.session.conf.time_zone
    text = html_text(table, schema, zone, num_rows=message.num_rows, truncate=message.truncate)
    yield from _text(service, "html_string", text)
