"""A resolved relation together with what names mean above it, and columns brought up from below it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from pyspark.sql.types import LongType, StringType, StructField, StructType, TimestampType

from runnel.plan.expressions import Attribute, Expression
from runnel.plan.relations import (
    FileScan,
    Filter,
    Generate,
    Join,
    Limit,
    Offset,
    Project,
    Relation,
    Sample,
    Sort,
    StreamingScan,
    Tail,
    WithWatermark,
)

FILE_FORMATS: Final = frozenset({"csv", "json", "parquet", "orc", "text"})
METADATA_COLUMN: Final = "_metadata"
METADATA_TYPE: Final = StructType(
    [
        StructField("file_path", StringType(), False),
        StructField("file_name", StringType(), False),
        StructField("file_size", LongType(), False),
        StructField("file_block_start", LongType(), False),
        StructField("file_block_length", LongType(), False),
        StructField("file_modification_time", TimestampType(), False),
    ]
)


@dataclass(frozen=True, slots=True)
class Grouping:
    """One grouping expression of an aggregate: as resolved below the aggregate, and the attribute that stands for it."""

    expression: Expression
    key: Attribute


@dataclass(frozen=True, slots=True)
class Frame:
    """A resolved plan with its columns as names find them.

    columns: the plan's output, with the qualifiers that aliases gave.
    hidden: columns that a name may reach but that `*` does not show: `_metadata`, the other side of a USING join. They
        need `expose` before they can be used.
    inputs: the frames that this one was made from, for columns taken from a frame (`df["x"]`).
    groupings: of an aggregate, None for other plans.
    """

    plan: Relation
    columns: tuple[Attribute, ...]
    hidden: tuple[Attribute, ...] = ()
    plan_id: int | None = None
    inputs: tuple[Frame, ...] = ()
    groupings: tuple[Grouping, ...] | None = None

    def derive(self, plan: Relation, columns: tuple[Attribute, ...] | None = None) -> Frame:
        """The frame of a plan made from this one; columns and hidden columns stay unless given."""
        if columns is None:
            return Frame(plan, self.columns, self.hidden, inputs=(self,))
        return Frame(plan, columns, inputs=(self,))


def frames_with_plan_id(frame: Frame, plan_id: int) -> Iterator[Frame]:
    """Every place below (or at) the frame that the client knows by this id."""
    if frame.plan_id == plan_id:
        yield frame
        return
    for below in frame.inputs:
        yield from frames_with_plan_id(below, plan_id)


def can_expose(plan: Relation, expr_id: int) -> bool:
    """Whether `expose` can bring the attribute up to the plan's output."""
    return _exposed(plan, expr_id) is not None


def expose(plan: Relation, attributes: tuple[Attribute, ...]) -> Relation:
    """The plan with these attributes of relations below it added to its output, without changing its rows."""
    for attribute in attributes:
        exposed = _exposed(plan, attribute.expr_id)
        if exposed is None:
            raise TypeError(f"cannot be brought up: {attribute.name}")
        plan = exposed
    return plan


def _exposed(plan: Relation, expr_id: int) -> Relation | None:
    if any(a.expr_id == expr_id for a in plan.output):
        return plan
    match plan:
        case FileScan(attributes=attributes):
            metadata = next((a for a in hidden_of(plan) if a.expr_id == expr_id), None)
            return replace(plan, attributes=(*attributes, metadata), metadata_column=True) if metadata else None
        case StreamingScan(attributes=attributes):
            metadata = next((a for a in hidden_of(plan) if a.expr_id == expr_id), None)
            return replace(plan, attributes=(*attributes, metadata)) if metadata else None
        case Project(child=child, expressions=expressions):
            below = _exposed(child, expr_id)
            if below is None:
                return None
            added = next(a for a in below.output if a.expr_id == expr_id)
            return replace(plan, child=below, expressions=(*expressions, added))
        case Generate(child=child, keep=keep):
            below = _exposed(child, expr_id)
            if below is None:
                return None
            added = next(a for a in below.output if a.expr_id == expr_id)
            return replace(plan, child=below, keep=None if keep is None else (*keep, added))
        case Filter() | Sort() | Limit() | Offset() | Tail() | Sample() | WithWatermark():
            below = _exposed(plan.child, expr_id)
            return None if below is None else replace(plan, child=below)
        case Join(left=left, right=right, kind=kind):
            above_left = _exposed(left, expr_id)
            if above_left is not None:
                return replace(plan, left=above_left)
            above_right = None if kind in ("semi", "anti") else _exposed(right, expr_id)
            return None if above_right is None else replace(plan, right=above_right)
        case _:
            return None


def hidden_of(plan: Relation) -> tuple[Attribute, ...]:
    """The hidden `_metadata` column of a scan of files; its id follows from the scan's own attributes."""
    match plan:
        case FileScan(metadata_column=False, attributes=attributes):
            pass
        case StreamingScan(format=name, attributes=attributes) if name in FILE_FORMATS:
            pass
        case _:
            return ()
    if not attributes or any(a.name.lower() == METADATA_COLUMN for a in attributes):
        return ()
    return (Attribute(METADATA_COLUMN, METADATA_TYPE, False, -attributes[0].expr_id),)
