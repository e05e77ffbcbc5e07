"""Generators: explode, posexplode, inline (and their outer kinds), stack."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pyspark.sql.types import ArrayType, DataType, MapType, StructType

from runnel.errors import AnalysisError
from runnel.functions.casts import type_sql
from runnel.functions.pretty import pretty_type
from runnel.functions.registry import BindContext, CatalogueEntry, GeneratorFunction, LoweringContext
from runnel.functions.typing import (
    INT,
    call_text,
    check_arity,
    coerce,
    is_integral,
    is_null,
    non_foldable,
    same_but_for_nulls,
    unexpected_input,
    wrong_number_of_arguments,
)
from runnel.plan.expressions import Expression, GeneratorCall, GeneratorColumn, Literal, dtype_of

Args = tuple[Expression, ...]
SqlArgs = tuple[str, ...]


def _bind_explode(name: str, *, position: bool, outer: bool) -> Callable[[BindContext, Args], GeneratorCall]:
    def bind(context: BindContext, args: Args) -> GeneratorCall:
        check_arity(name, args, 1)
        columns = [GeneratorColumn("pos", INT, outer)] if position else []
        match dtype_of(args[0]):
            case ArrayType(elementType=element, containsNull=contains_null):
                columns.append(GeneratorColumn("col", element, outer or contains_null))
            case MapType(keyType=key, valueType=value, valueContainsNull=contains_null):
                columns.append(GeneratorColumn("key", key, outer))
                columns.append(GeneratorColumn("value", value, outer or contains_null))
            case _:
                raise unexpected_input(name, args, 0, '("ARRAY" or "MAP")')
        return GeneratorCall(name, args, tuple(columns))

    return bind


def _lower_explode(*, position: bool) -> Callable[[LoweringContext, GeneratorCall, SqlArgs], str]:
    def lower(context: LoweringContext, call: GeneratorCall, args: SqlArgs) -> str:
        source = args[0]
        fields = ["_e"]
        if isinstance(dtype_of(call.args[0]), MapType):
            source, fields = f"map_entries({args[0]})", ["struct_extract_at(_e, 1)", "struct_extract_at(_e, 2)"]
        if position:
            fields.insert(0, "CAST(_i - 1 AS INTEGER)")
        params = "_e, _i" if position else "_e"
        return f"list_transform({source}, lambda {params}: {_row(fields)})"

    return lower


def _row(fields: list[str]) -> str:
    return "struct_pack(" + ", ".join(f"c{i} := {f}" for i, f in enumerate(fields)) + ")"


def _bind_inline(name: str, *, outer: bool) -> Callable[[BindContext, Args], GeneratorCall]:
    def bind(context: BindContext, args: Args) -> GeneratorCall:
        check_arity(name, args, 1)
        match dtype_of(args[0]):
            case ArrayType(elementType=StructType() as struct, containsNull=contains_null):
                columns = (
                    GeneratorColumn(f.name, f.dataType, outer or contains_null or f.nullable) for f in struct.fields
                )
                return GeneratorCall(name, args, tuple(columns))
            case _:
                raise unexpected_input(name, args, 0, '"ARRAY<STRUCT>"')

    return bind


def _lower_inline(context: LoweringContext, call: GeneratorCall, args: SqlArgs) -> str:
    fields = [f"struct_extract_at(_e, {i + 1})" for i in range(len(call.columns))]
    return f"list_transform({args[0]}, lambda _e: {_row(fields)})"


def _bind_stack(context: BindContext, args: Args) -> GeneratorCall:
    if len(args) < 2:
        raise wrong_number_of_arguments("stack", "> 1", len(args))
    count = args[0]
    if not isinstance(count, Literal):
        raise non_foldable("stack", args, 0, "n", '"INT"')
    if not is_integral(count.dtype):
        raise unexpected_input("stack", args, 0, '"INT"')
    if count.value is None or count.value <= 0:
        raise AnalysisError(
            "DATATYPE_MISMATCH.VALUE_OUT_OF_RANGE",
            {
                "sqlExpr": call_text("stack", args),
                "exprName": "`n`",
                "valueRange": "(0, 2147483647]",
                "currentValue": str(count.value),
            },
        )
    values, rows = args[1:], int(count.value)
    width = -(-len(values) // rows)
    columns, cells = [], list(values)
    for c in range(width):
        dtype: DataType = dtype_of(values[c])
        for i in range(c, len(values), width):
            other = dtype_of(values[i])
            if is_null(dtype):
                dtype = other
            if not is_null(other) and not same_but_for_nulls(dtype, other):
                raise AnalysisError(
                    "DATATYPE_MISMATCH.STACK_COLUMN_DIFF_TYPES",
                    {
                        "sqlExpr": call_text("stack", args),
                        "columnIndex": str(c),
                        "leftParamIndex": str(c + 1),
                        "leftType": pretty_type(dtype),
                        "rightParamIndex": str(i + 1),
                        "rightType": pretty_type(other),
                    },
                )
        for i in range(c, len(values), width):
            cells[i] = coerce(values[i], dtype, context)
        columns.append(GeneratorColumn(f"col{c}", dtype, True))
    padding = (Literal(None, columns[i % width].dtype) for i in range(len(values), rows * width))
    return GeneratorCall("stack", (*cells, *padding), tuple(columns))


def _lower_stack(context: LoweringContext, call: GeneratorCall, args: SqlArgs) -> str:
    width = len(call.columns)
    rows = (
        _row([f"CAST({a} AS {type_sql(c.dtype)})" for a, c in zip(args[i : i + width], call.columns, strict=True)])
        for i in range(0, len(args), width)
    )
    return f"[{', '.join(rows)}]"


def _explode(name: str, *, position: bool, outer: bool) -> GeneratorFunction:
    bind = _bind_explode(name, position=position, outer=outer)
    return GeneratorFunction(name, bind, _lower_explode(position=position), outer=outer)


FUNCTIONS: Final[tuple[CatalogueEntry, ...]] = (
    _explode("explode", position=False, outer=False),
    _explode("explode_outer", position=False, outer=True),
    _explode("posexplode", position=True, outer=False),
    _explode("posexplode_outer", position=True, outer=True),
    GeneratorFunction("inline", _bind_inline("inline", outer=False), _lower_inline),
    GeneratorFunction("inline_outer", _bind_inline("inline_outer", outer=True), _lower_inline, outer=True),
    GeneratorFunction("stack", _bind_stack, _lower_stack),
)
