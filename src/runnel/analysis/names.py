"""Column names to attributes: qualifiers, nested fields, ambiguity, and the nearest names when there is none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from pyspark.sql.types import ArrayType, MapType, StringType, StructType

from runnel.errors import AnalysisError
from runnel.functions.arrays import bind_item
from runnel.functions.maps_structs import bind_array_field
from runnel.functions.pretty import pretty, pretty_type
from runnel.functions.registry import BindContext
from runnel.plan.expressions import (
    Attribute,
    Expression,
    FunctionCall,
    GetField,
    Literal,
    dtype_of,
    nullable_of,
)


@dataclass(frozen=True, slots=True)
class Match:
    """A column that a name means, the name as the user wrote it, and the parts of the name that lie inside it."""

    attribute: Attribute
    name: str
    nested: tuple[str, ...]


def same_name(a: str, b: str, case_sensitive: bool = False) -> bool:
    return a == b if case_sensitive else a.lower() == b.lower()


def quoted(parts: Iterable[str]) -> str:
    """`` `a`.`b` ``, as Spark shows names in errors."""
    return ".".join("`" + p.replace("`", "``") + "`" for p in parts)


def matches(parts: Sequence[str], columns: Sequence[Attribute], case_sensitive: bool = False) -> list[Match]:
    """The columns that a dotted name can mean; the longest matching qualifier wins, then the plain name."""

    def same(a: str, b: str) -> bool:
        return same_name(a, b, case_sensitive)

    longest = min(len(parts) - 1, max((len(a.qualifier) for a in columns), default=0))
    for depth in range(longest, -1, -1):
        found = [
            Match(a, parts[depth], tuple(parts[depth + 1 :]))
            for a in columns
            if same(a.name, parts[depth])
            and len(a.qualifier) >= depth
            and all(same(p, q) for p, q in zip(parts[:depth], a.qualifier[len(a.qualifier) - depth :], strict=True))
        ]
        unique = list({m.attribute.expr_id: m for m in found}.values())
        if unique:
            return unique
    return []


def ambiguous(parts: Sequence[str], found: Sequence[Match]) -> AnalysisError:
    names = ", ".join(sorted(quoted((*m.attribute.qualifier, m.attribute.name)) for m in found))
    return AnalysisError("AMBIGUOUS_REFERENCE", name=quoted(parts), referenceNames=f"[{names}]")


def unresolved(parts: Sequence[str], columns: Sequence[Attribute]) -> AnalysisError:
    """UNRESOLVED_COLUMN with the five nearest names of the columns there are."""
    if not columns:
        return AnalysisError("UNRESOLVED_COLUMN.WITHOUT_SUGGESTION", objectName=quoted(parts))
    return AnalysisError(
        "UNRESOLVED_COLUMN.WITH_SUGGESTION", objectName=quoted(parts), proposal=proposal(parts, columns)
    )


def proposal(parts: Sequence[str], columns: Sequence[Attribute]) -> str:
    """The five names nearest to the one that was not found, as Spark lists them: it measures them with back-quotes."""
    wanted = ".".join(parts)
    several = len(parts) > 1 or len({a.qualifier for a in columns}) > 1
    names = [(a.qualifier[-1:] if several else ()) + (a.name,) for a in columns]
    found = sorted({quoted(n) for n in names})
    return ", ".join(sorted(found, key=lambda n: levenshtein(n.lower(), wanted.lower()))[:5])


def levenshtein(a: str, b: str) -> int:
    """Edit distance between two short texts."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        above, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (x != y))
    return row[-1]


def struct_field(child: Expression, name: str, dtype: StructType, case_sensitive: bool) -> Expression:
    ordinal = field_ordinal(dtype, name, case_sensitive)
    found = dtype.fields[ordinal]
    return GetField(child, ordinal, found.name, found.dataType, nullable_of(child) or found.nullable)


def field_ordinal(dtype: StructType, name: str, case_sensitive: bool = False) -> int:
    """Where a struct has a field of the name; FIELD_NOT_FOUND, AMBIGUOUS_REFERENCE_TO_FIELDS."""
    found = [i for i, f in enumerate(dtype.fields) if same_name(f.name, name, case_sensitive)]
    if not found:
        raise AnalysisError(
            "FIELD_NOT_FOUND", fieldName=quoted([name]), fields=", ".join(quoted([f.name]) for f in dtype.fields)
        )
    if len(found) > 1:
        raise AnalysisError("AMBIGUOUS_REFERENCE_TO_FIELDS", field=quoted([name]), count=len(found))
    return found[0]


def extract(child: Expression, key: Expression, case_sensitive: bool = False, ansi: bool = True) -> Expression:
    """`child[key]` or `child.key`: a struct's field, an array's element, a map's value, a field of each struct."""
    dtype = dtype_of(child)
    text = key.value if isinstance(key, Literal) and isinstance(key.dtype, StringType) else None
    match dtype:
        case StructType() if text is not None:
            return struct_field(child, text, dtype, case_sensitive)
        case ArrayType(elementType=StructType() as element) if text is not None:
            return bind_array_field(child, text, field_ordinal(element, text, case_sensitive))
        case ArrayType() | MapType():
            item = bind_item(BindContext(ansi=ansi), child, key)
            # Spark reports an element as nullable whatever the array or map says.
            return replace(item, nullable=True) if isinstance(item, FunctionCall) else item
        case _:
            raise AnalysisError("INVALID_EXTRACT_BASE_FIELD_TYPE", base=f'"{pretty(child)}"', other=pretty_type(dtype))


def nested(match: Match, case_sensitive: bool = False) -> Expression:
    """The expression that a match stands for."""
    result: Expression = match.attribute
    for name in match.nested:
        result = extract(result, Literal(name, StringType()), case_sensitive)
    return result
