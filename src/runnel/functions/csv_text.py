"""CSV functions: `to_csv`, `from_csv`, `schema_of_csv`. Schemas and options are constants.

A text is cut into fields by `csv_records`, the same that reads files; `csv_values` turns fields into values.
"""

from __future__ import annotations

from typing import Final

from pyspark.sql.types import DataType, StructType, VariantType

from runnel.errors import AnalysisError
from runnel.functions.casts import unique_field_names
from runnel.functions.constants import literal_options, options_of
from runnel.functions.csv_options import csv_options
from runnel.functions.csv_writing import csv_line
from runnel.functions.date_patterns import text_literal
from runnel.functions.pretty import pretty, pretty_type
from runnel.functions.registry import BindContext, CatalogueEntry, LoweringContext, ScalarFunction
from runnel.functions.typing import STRING, check_arity
from runnel.plan.expressions import Attribute, Expression, FunctionCall, dtype_of

Args = tuple[Expression, ...]


# ------------------------------------------------------------------------------------------------------- to_csv


def _bind_to_csv(context: BindContext, args: Args) -> Expression:
    check_arity("to_csv", args, 1, 2)
    dtype = dtype_of(args[0])
    if not isinstance(dtype, StructType) or any(_is_variant(f.dataType) for f in dtype.fields):
        raise AnalysisError(
            "DATATYPE_MISMATCH.UNSUPPORTED_INPUT_TYPE",
            {
                "functionName": "`to_csv`",
                "dataType": pretty_type(dtype),
                "sqlExpr": f'"to_csv({", ".join(pretty(a) for a in args)})"',
            },
        )
    given = options_of(args, 1)
    csv_options(given)
    return FunctionCall("to_csv", (args[0], literal_options(given)), STRING, True)


def _is_variant(dtype: DataType) -> bool:
    return isinstance(dtype, VariantType)


def _lower_to_csv(context: LoweringContext, call: FunctionCall, args: tuple[str, ...]) -> str:
    options = csv_options(options_of(call.args, 1))
    source = call.args[0]
    dtype = dtype_of(source)
    assert isinstance(dtype, StructType)
    zone = options.time_zone or context.session_time_zone
    types = [f.dataType for f in dtype.fields]
    if isinstance(source, FunctionCall) and source.name == "struct" and _are_columns(source.args):
        return csv_line(context, [context.lower(a) for a in source.args], types, options, zone)
    values = [f"struct_extract(_c, {text_literal(n)})" for n in unique_field_names(dtype)]
    line = csv_line(context, values, types, options, zone)
    return f"list_transform([{args[0]}], lambda _c: CASE WHEN _c IS NOT NULL THEN {line} END)[1]"


def _are_columns(args: Args) -> bool:
    return all(isinstance(a, Attribute) for a in args)


FUNCTIONS: Final[tuple[CatalogueEntry, ...]] = (ScalarFunction("to_csv", _bind_to_csv, _lower_to_csv),)
