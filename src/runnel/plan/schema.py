"""Schemas and attributes: one from the other."""

from __future__ import annotations

from collections.abc import Iterable

from pyspark.sql.types import StructField, StructType

from runnel.plan.expressions import Attribute, new_expr_id


def attributes_of(schema: StructType) -> tuple[Attribute, ...]:
    """New attributes, one a field, with ids of their own."""
    return tuple(Attribute(f.name, f.dataType, f.nullable, new_expr_id(), f.metadata or {}) for f in schema.fields)


def schema_of(attributes: Iterable[Attribute]) -> StructType:
    """The schema that a frame with these columns reports."""
    return StructType([StructField(a.name, a.dtype, a.nullable, dict(a.metadata)) for a in attributes])
