"""What the aggregate families share: one description of an aggregate gives its batch and its streaming form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from runnel.functions.registry import AggregateFunction, BindContext, Buffer, LoweringContext
from runnel.plan.expressions import AggregateCall, Expression, Literal


def _condition(filter_sql: str) -> str:
    """The condition of `FILTER (WHERE condition)`; text without that frame is the condition itself."""
    text = filter_sql.strip()
    if not text.upper().startswith("FILTER"):
        return text
    return text[text.upper().index("WHERE") + 5 : text.rindex(")")].strip()


@dataclass(frozen=True, slots=True)
class Over:
    """The rows that an aggregate takes: `over("sum", "x")` is `sum(x)` with the DISTINCT and FILTER of the call."""

    distinct: bool
    condition: str

    def __call__(self, function: str, arguments: str, *, where: str = "", distinct: bool | None = None) -> str:
        """SQL of the DuckDB aggregate; `where` narrows the rows further, `distinct` overrides the call's."""
        conditions = [f"({c})" for c in (self.condition, where) if c]
        only = f" FILTER (WHERE {' AND '.join(conditions)})" if conditions else ""
        unique = self.distinct if distinct is None else distinct
        mark = "DISTINCT " if unique and arguments != "*" else ""
        return f"{function}({mark}{arguments}){only}"


Fields = Callable[[LoweringContext, AggregateCall, tuple[str, ...], Over], tuple[Buffer, ...]]
Final = Callable[[LoweringContext, AggregateCall, Callable[[str], str]], str]


def aggregate(
    name: str,
    bind: Callable[[BindContext, tuple[Expression, ...]], AggregateCall],
    fields: Fields,
    final: Final,
    *,
    aliases: tuple[str, ...] = (),
) -> AggregateFunction:
    """An aggregate whose batch form is `final` over its partials."""

    def direct(ctx: LoweringContext, call: AggregateCall, args: tuple[str, ...], distinct: str, filter_sql: str) -> str:
        parts = {b.name: b.partial for b in fields(ctx, call, args, Over(bool(distinct), _condition(filter_sql)))}
        return final(ctx, call, parts.__getitem__)

    def buffers(
        ctx: LoweringContext, call: AggregateCall, args: tuple[str, ...], filter_sql: str
    ) -> tuple[Buffer, ...]:
        return fields(ctx, call, args, Over(call.distinct, _condition(filter_sql)))

    return AggregateFunction(name, bind, direct, buffers, final, aliases)


def one_of(field_name: str) -> Final:
    """A final step that is one buffer field as it stands."""
    return lambda ctx, call, field: field(field_name)


def either(operator: str, a: str, b: str) -> str:
    """`a operator b`, or the one that is not null."""
    return f"COALESCE({a} {operator} {b}, {a}, {b})"


def both(junction: str) -> Callable[[str, str], str]:
    """AND or OR that passes over nulls."""
    return lambda a, b: f"(COALESCE({a}, {b}) {junction} COALESCE({b}, {a}))"


def literal_value(expression: Expression) -> Any:
    """A literal's value; None for anything else."""
    return expression.value if isinstance(expression, Literal) else None
