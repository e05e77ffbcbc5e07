"""Parts of URLs, and text to bytes: `parse_url`, `to_binary` and their forms that give null for what is not one."""

from __future__ import annotations

from typing import Final

from runnel.errors import unsupported
from runnel.functions.registry import BindContext, CatalogueEntry, LoweringContext, ScalarFunction
from runnel.functions.typing import BINARY, STRING, check_arity, coerce_arguments
from runnel.plan.expressions import Expression, FunctionCall, Literal

Args = tuple[Expression, ...]

# RFC 3986, appendix B, in DuckDB's text: scheme, authority, path, query, fragment. Java's URI refuses blanks and these.
_URL: Final = "'^(([^:/?#]+):)?(//([^/?#]*))?([^?#]*)(\\?([^#]*))?(#(.*))?$'"
_NO_URL: Final = "'[\\s\"<>\\\\^`{|}]|%([^0-9A-Fa-f]|.[^0-9A-Fa-f]|.?$)'"


def _parse_url(name: str) -> ScalarFunction:
    def bind(context: BindContext, args: Args) -> Expression:
        check_arity(name, args, 2, 3)
        return FunctionCall(name, coerce_arguments(name, args, (STRING,) * len(args), context), STRING, True)

    def lower(context: LoweringContext, call: FunctionCall, args: tuple[str, ...]) -> str:
        def part(group: int) -> str:
            return f"regexp_extract(_u, {_URL}, {group})"

        def present(group: int, marker: int) -> str:
            return f"CASE WHEN {part(marker)} <> '' THEN {part(group)} END"

        host = f"nullif(regexp_extract({part(4)}, '^([^@]*@)?(\\[[^\\]]*\\]|[^:]*)', 2), '')"
        user = f"nullif(regexp_extract({part(4)}, '^(([^@]*)@)?', 2), '')"
        query = present(7, 6)
        if len(args) == 3:
            key = f"regexp_escape({args[2]})"
            found = f"regexp_extract_all({query}, '(?:^|&)' || {key} || '=([^&]*)', 1)[1]"
            chosen = f"CASE WHEN {args[1]} = 'QUERY' THEN {found} END"
        else:
            chosen = (
                f"CASE {args[1]} WHEN 'HOST' THEN {host} WHEN 'PATH' THEN {part(5)} WHEN 'QUERY' THEN {query} "
                f"WHEN 'REF' THEN {present(9, 8)} WHEN 'PROTOCOL' THEN {present(2, 1)} "
                f"WHEN 'FILE' THEN {part(5)} || {part(6)} WHEN 'AUTHORITY' THEN nullif({part(4)}, '') "
                f"WHEN 'USERINFO' THEN {user} END"
            )
        wrong = context.error("INVALID_URL", STRING, url="_u") if name == "parse_url" and context.ansi else "NULL"
        checked = f"CASE WHEN _u IS NULL THEN NULL WHEN regexp_matches(_u, {_NO_URL}) THEN {wrong} ELSE {chosen} END"
        return f"list_transform([{args[0]}], lambda _u: {checked})[1]"

    return ScalarFunction(name, bind, lower)


_FORMATS: Final = ("hex", "utf-8", "utf8", "base64")


def _to_binary(name: str) -> ScalarFunction:
    def bind(context: BindContext, args: Args) -> Expression:
        check_arity(name, args, 1, 2)
        given = args[1] if len(args) == 2 else Literal("hex", STRING)
        if not isinstance(given, Literal) or str(given.value).lower() not in _FORMATS:
            raise unsupported(f"{name} with another format than the constants hex, utf-8 and base64")
        text = coerce_arguments(name, args[:1], (STRING,), context)[0]
        return FunctionCall(name, (text, given), BINARY, True)

    def lower(context: LoweringContext, call: FunctionCall, args: tuple[str, ...]) -> str:
        form = call.args[1]
        assert isinstance(form, Literal)
        kind = str(form.value).lower()
        if kind.startswith("utf"):
            return f"encode({args[0]})"
        if kind == "hex":
            even = "CASE WHEN length(_t) % 2 = 1 THEN '0' || _t ELSE _t END"
            good, made = "regexp_full_match(_t, '[0-9A-Fa-f]*')", f"unhex({even})"
        else:
            good, made = (
                "regexp_full_match(_t, '([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?')",
                ("from_base64(_t)"),
            )
        wrong = "NULL"
        if name == "to_binary":
            wrong = context.error(
                "CONVERSION_INVALID_INPUT", BINARY, str="'''' || _t || ''''", fmt=f"'''{kind.upper()}'''",
                targetType="'\"BINARY\"'", suggestion="'`try_to_binary`'",
            )  # fmt: skip
        checked = f"CASE WHEN _t IS NULL THEN NULL WHEN {good} THEN {made} ELSE {wrong} END"
        return f"list_transform([{args[0]}], lambda _t: {checked})[1]"

    return ScalarFunction(name, bind, lower)


FUNCTIONS: Final[tuple[CatalogueEntry, ...]] = (
    _parse_url("parse_url"),
    _parse_url("try_parse_url"),
    _to_binary("to_binary"),
    _to_binary("try_to_binary"),
)
