"""String and binary functions.

Positions count characters from 1. Regular expressions are evaluated by RE2: look-around, back references inside a pattern
and possessive quantifiers of Java's expressions are not available and are reported by DuckDB as an invalid pattern.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from pyspark.sql.types import ArrayType, DataType

from runnel.functions.casts import type_sql
from runnel.functions.registry import BindContext, CatalogueEntry, LoweringContext, Refused, ScalarFunction
from runnel.functions.typing import (
    BINARY,
    BOOLEAN,
    DOUBLE,
    INT,
    LONG,
    STRING,
    Family,
    check_arity,
    coerce,
    coerce_arguments,
    coerce_to_common,
    data_diff_types,
    implicit_type,
    is_binary,
    is_integral,
    is_numeric,
    is_string,
    non_foldable,
    same_as,
    simple,
    unexpected_input,
)
from runnel.plan.expressions import Expression, FunctionCall, Literal, dtype_of, nullable_of

Args = tuple[Expression, ...]
Sql = tuple[str, ...]
STRINGS: Final = ArrayType(STRING, True)
PLAIN_STRINGS: Final = ArrayType(STRING, False)


def _text(name: str, sql: str, *aliases: str) -> ScalarFunction:
    return simple(name, (STRING,), STRING, sql, aliases=aliases)


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


# ------------------------------------------------------------------------------------------------------- concat


def _bind_concat(context: BindContext, args: Args) -> Expression:
    """Strings, binaries or arrays; no argument gives the empty string."""
    if not args:
        return Literal("", STRING)
    types = [dtype_of(a) for a in args]
    if any(isinstance(t, ArrayType) for t in types):
        common = coerce_to_common(args, context)
        if common is None:
            raise data_diff_types("concat", args)
        coerced, target = common
    else:
        target = BINARY if all(is_binary(t) for t in types) else STRING
        for i, t in enumerate(types):
            if implicit_type(t, target, context.ansi) is None:
                raise unexpected_input("concat", args, i, '("STRING" or "BINARY" or "ARRAY")')
        coerced = tuple(coerce(a, target, context) for a in args)
    return FunctionCall("concat", coerced, target, any(nullable_of(a) for a in coerced))


def _lower_concat(ctx: LoweringContext, call: FunctionCall, args: Sql) -> str:
    if isinstance(call.dtype, ArrayType):
        joined = args[0]
        for other in args[1:]:
            joined = f"list_concat({joined}, {other})"
        missing = " OR ".join(f"({a}) IS NULL" for a in args)
        return f"CASE WHEN {missing} THEN NULL ELSE {joined} END"
    return f"({' || '.join(args)})"


def _bind_concat_ws(context: BindContext, args: Args) -> Expression:
    check_arity("concat_ws", args, 1, -1)
    coerced = [coerce_arguments("concat_ws", args[:1], (STRING,), context)[0]]
    for i, argument in enumerate(args[1:], start=1):
        t = dtype_of(argument)
        if isinstance(t, ArrayType):
            coerced.append(coerce(argument, ArrayType(STRING, t.containsNull), context))
        elif implicit_type(t, STRING, context.ansi) is None:
            raise unexpected_input("concat_ws", args, i, '("ARRAY<STRING>" or "STRING")')
        else:
            coerced.append(coerce(argument, STRING, context))
    return FunctionCall("concat_ws", tuple(coerced), STRING, nullable_of(coerced[0]))


def _lower_concat_ws(ctx: LoweringContext, call: FunctionCall, args: Sql) -> str:
    lists = [
        sql if isinstance(dtype_of(a), ArrayType) else f"[{sql}]"
        for a, sql in zip(call.args[1:], args[1:], strict=True)
    ]
    if not lists:
        return f"CASE WHEN ({args[0]}) IS NOT NULL THEN '' END"
    joined = lists[0]
    for other in lists[1:]:
        joined = f"list_concat({joined}, {other})"
    # array_to_string passes over nulls, as Spark does
    return f"CASE WHEN ({args[0]}) IS NOT NULL THEN COALESCE(array_to_string({joined}, {args[0]}), '') END"


# --------------------------------------------------------------------------------------------------- parts of text


def _lower_substring(ctx: LoweringContext, call: FunctionCall, args: Sql) -> str:
    """Position 0 is position 1; a negative one counts from the end, and may start before the text."""
    x, position = args[0], args[1]
    length = f"{'octet_length' if is_binary(dtype_of(call.args[0])) else 'length'}({x})"
    start = (
        f"(CASE WHEN {position} > 0 THEN CAST({position} AS BIGINT) - 1 "
        f"WHEN {position} < 0 THEN {length} + CAST({position} AS BIGINT) ELSE 0 END)"
    )
    first = f"greatest({start}, 0)"
    if len(args) == 2:
        count = f"greatest({length} - {first}, 0)"
    else:
        end = f"least({start} + CAST({args[2]} AS BIGINT), {length})"
        count = f"greatest({end} - {first}, 0)"
    if is_binary(dtype_of(call.args[0])):
        return f"unhex(substring(hex({x}), CAST({first} * 2 + 1 AS BIGINT), CAST({count} * 2 AS BIGINT)))"
    return f"substring({x}, CAST({first} + 1 AS BIGINT), CAST({count} AS BIGINT))"


def _lower_left(ctx: LoweringContext, call: FunctionCall, args: Sql) -> str:
    return f"left({args[0]}, greatest({args[1]}, 0))"


def _lower_right(ctx: LoweringContext, call: FunctionCall, args: Sql) -> str:
    return f"CASE WHEN {args[1]} <= 0 AND ({args[0]}) IS NOT NULL THEN '' ELSE right({args[0]}, {args[1]}) END"


def _lower_length(ctx: LoweringContext, call: FunctionCall, args: Sql) -> str:
    function = "octet_length" if is_binary(dtype_of(call.args[0])) else "length"
    return f"CAST({function}({args[0]}) AS INTEGER)"


def _lower_octets(factor: int) -> Callable[[LoweringContext, FunctionCall, Sql], str]:
    def lower(ctx: LoweringContext, call: FunctionCall, args: Sql) -> str:
        x = args[0] if is_binary(dtype_of(call.args[0])) else f"encode({args[0]})"
        return f"CAST(octet_length({x}) * {factor} AS INTEGER)"

    return lower


def _lower_pad(side: str) -> Callable[[LoweringContext, FunctionCall, Sql], str]:
    def lower(ctx: LoweringContext, call: FunctionCall, args: Sql) -> str:
        x, length = args[0], args[1]
        fill = args[2] if len(args) == 3 else "' '"
        padded = f"{side}({x}, greatest({length}, 0), {fill})"
        return f"CASE WHEN {fill} = '' THEN left({x}, greatest({length}, 0)) ELSE {padded} END"

    return lower


def _lower_trim(function: str, text: int) -> Callable[[LoweringContext, FunctionCall, Sql], str]:
    """With two arguments `text` is the place of the text: trim, ltrim and rtrim take the characters first, btrim last."""

    def lower(ctx: LoweringContext, call: FunctionCall, args: Sql) -> str:
        if len(args) == 1:
            return f"{function}({args[0]}, ' ')"
        return f"{function}({args[text]}, {args[1 - text]})"

    return lower


def _lower_locate(ctx: LoweringContext, call: FunctionCall, args: Sql) -> str:
    part, x = args[0], args[1]
    if len(args) == 2:
        return f"CAST(strpos({x}, {part}) AS INTEGER)"
    position = args[2]
    found = f"strpos(substring({x}, greatest({position}, 1)), {part})"
    return (
        f"CASE WHEN {position} IS NULL THEN 0 WHEN ({x}) IS NULL OR ({part}) IS NULL THEN NULL "
        f"WHEN {position} < 1 THEN 0 WHEN {part} = '' THEN 1 WHEN {position} > length({x}) THEN 0 "
        f"WHEN {found} = 0 THEN 0 ELSE CAST({found} + {position} - 1 AS INTEGER) END"
    )


def _lower_substring_index(ctx: LoweringContext, call: FunctionCall, args: Sql) -> str:
    x, delimiter, count = args
    parts = f"string_split({x}, {delimiter})"
    head = f"array_to_string(list_slice({parts}, 1, {count}), {delimiter})"
    tail = f"array_to_string(list_slice({parts}, greatest(len({parts}) + {count} + 1, 1), len({parts})), {delimiter})"
    return f"CASE WHEN {count} = 0 OR {delimiter} = '' THEN '' WHEN {count} > 0 THEN {head} WHEN {count} < 0 THEN {tail} END"


def _lower_split_part(ctx: LoweringContext, call: FunctionCall, args: Sql) -> str:
    x, delimiter, position = args
    whole = f"CASE WHEN {delimiter} = '' THEN [{x}] ELSE string_split({x}, {delimiter}) END"
    zero = ctx.error("INVALID_INDEX_OF_ZERO", call.dtype)
    return (
        f"CASE WHEN {position} = 0 THEN {zero} WHEN ({x}) IS NOT NULL AND ({delimiter}) IS NOT NULL "
        f"AND {position} IS NOT NULL THEN COALESCE(({whole})[{position}], '') END"
    )


def _lower_overlay(ctx: LoweringContext, call: FunctionCall, args: Sql) -> str:
    x, replacement, position = args[0], args[1], args[2]
    length = args[3] if len(args) == 4 else "-1"
    taken = f"CASE WHEN {length} >= 0 THEN {length} ELSE length({replacement}) END"
    return (
        f"(left({x}, greatest({position} - 1, 0)) || {replacement} || "
        f"substring({x}, CAST({position} + {taken} AS BIGINT)))"
    )


# ------------------------------------------------------------------------------------------------------- case


def _lower_initcap(ctx: LoweringContext, call: FunctionCall, args: Sql) -> str:
    words = f"string_split(lower({args[0]}), ' ')"
    return f"array_to_string(list_transform({words}, lambda _w: upper(left(_w, 1)) || substring(_w, 2)), ' ')"


# ------------------------------------------------------------------------------------------------------ patterns


def java_pattern(pattern: str) -> str:
    """Java's pattern in RE2's words where only the spelling differs (named groups, \\Z, \\h)."""
    changed = re.sub(r"\(\?<([A-Za-z][A-Za-z0-9]*)>", r"(?P<\1>", pattern)
    return changed.replace(r"\Z", r"\z").replace(r"\h", r"[ \t]")


def _pattern(call: FunctionCall, index: int, sql: str) -> str:
    argument = call.args[index]
    if isinstance(argument, Literal) and isinstance(argument.value, str):
        return _quote(java_pattern(argument.value))
    return sql


def _java_replacement(replacement: str) -> str:
    """`$1` and `\\$` of Java as RE2's `\\1` and `$`."""
    result, i = "", 0
    while i < len(replacement):
        c = replacement[i]
        if c == "\\" and i + 1 < len(replacement):
            following = replacement[i + 1]
            result += "\\\\" if following == "\\" else following
            i += 2
        elif c == "$" and i + 1 < len(replacement) and replacement[i + 1].isdigit():
            result += "\\" + replacement[i + 1]
            i += 2
        else:
            result += c
            i += 1
    return result


def _lower_regexp_replace(ctx: LoweringContext, call: FunctionCall, args: Sql) -> str:
    replacement = args[2]
    if isinstance(call.args[2], Literal) and isinstance(call.args[2].value, str):
        replacement = _quote(_java_replacement(call.args[2].value))
    else:
        backslashes = f"replace({args[2]}, chr(92), chr(92) || chr(92))"
        replacement = f"regexp_replace({backslashes}, '\\$([0-9])', '\\\\\\1', 'g')"
    pattern = _pattern(call, 1, args[1])

    def replaced(text: str) -> str:
        return f"regexp_replace({text}, {pattern}, {replacement}, 'g')"

    if len(args) == 3:
        return replaced(args[0])
    start = args[3]
    return f"(left({args[0]}, {start} - 1) || {replaced(f'substring({args[0]}, {start})')})"


def _group_check(ctx: LoweringContext, call: FunctionCall, group: str, body: str) -> str:
    argument = call.args[2]
    if isinstance(argument, Literal) and isinstance(argument.value, int) and 0 <= argument.value <= 9:
        return body
    refused = ctx.error(
        "INVALID_PARAMETER_VALUE.REGEX_GROUP_INDEX",
        call.dtype,
        parameter="'`idx`'",
        functionName=_quote(f"`{call.name}`"),
        groupCount="'9'",
        groupIndex=f"CAST({group} AS VARCHAR)",
    )
    return f"CASE WHEN {group} < 0 OR {group} > 9 THEN {refused} ELSE {body} END"


def _bind_regexp_extract(name: str, result: DataType) -> ScalarFunction:
    def bind(context: BindContext, args: Args) -> Expression:
        check_arity(name, args, 2, 3)
        if len(args) == 2:
            args = (*args, Literal(1, INT))
        coerced = coerce_arguments(name, args, (STRING, STRING, INT), context)
        return FunctionCall(name, coerced, result, any(nullable_of(a) for a in coerced))

    function = "regexp_extract" if result == STRING else "regexp_extract_all"

    def lower(ctx: LoweringContext, call: FunctionCall, args: Sql) -> str:
        body = f"{function}({args[0]}, {_pattern(call, 1, args[1])}, {args[2]})"
        return _group_check(ctx, call, args[2], body)

    return ScalarFunction(name, bind, lower)


def _lower_split(ctx: LoweringContext, call: FunctionCall, args: Sql) -> str:
    x, pattern = args[0], _pattern(call, 1, args[1])
    literal = call.args[1].value if isinstance(call.args[1], Literal) else None
    if literal == "":
        # an empty pattern splits into characters
        parts = f"CASE WHEN {x} = '' THEN [''] ELSE string_split({x}, '') END"
    elif isinstance(literal, str) and not re.search(r"[\\^$.|?*+()\[\]{}]", literal):
        parts = f"string_split({x}, {_quote(literal)})"
    else:
        parts = f"string_split_regex({x}, {pattern})"
    if len(args) == 2:
        return parts
    limit = args[2]
    # the limit's last part is the rest: everything behind the matches that were used up
    matched = f"regexp_extract_all({x}, {pattern}, 0)"
    heads = f"list_slice({parts}, 1, {limit} - 1)"
    used = (
        f"(COALESCE(list_sum(list_transform({heads}, lambda _p: length(_p))), 0) + "
        f"COALESCE(list_sum(list_transform(list_slice({matched}, 1, {limit} - 1), lambda _p: length(_p))), 0))"
    )
    rest = f"substring({x}, CAST({used} + 1 AS BIGINT))"
    return f"CASE WHEN {limit} <= 0 OR len({parts}) <= {limit} THEN {parts} ELSE list_append({heads}, {rest}) END"


def _lower_regexp_instr(ctx: LoweringContext, call: FunctionCall, args: Sql) -> str:
    x, pattern = args[0], _pattern(call, 1, args[1])
    # the text before the first match is the first part of a split
    position = f"length(string_split_regex({x}, {pattern})[1]) + 1"
    return (
        f"CASE WHEN regexp_matches({x}, {pattern}) THEN CAST({position} AS INTEGER) "
        f"WHEN ({x}) IS NOT NULL AND ({pattern}) IS NOT NULL THEN 0 END"
    )


# ------------------------------------------------------------------------------------------------------ formatting

_DIRECTIVE: Final = re.compile(r"%(?:(\d+)\$)?([-#+ 0,(]*)(\d+)?(?:\.(\d+))?([bBhHsScCdoxXeEfgGaA%n])")


def _bind_format_string(context: BindContext, args: Args) -> Expression:
    check_arity("format_string", args, 1, -1)
    if not (isinstance(args[0], Literal) and isinstance(args[0].value, str)):
        raise non_foldable("format_string", args, 0, "strfmt", '"STRING"')
    return FunctionCall("format_string", args, STRING, any(nullable_of(a) for a in args[:1]))


def _lower_format_string(ctx: LoweringContext, call: FunctionCall, args: Sql) -> str:
    """Java's format: each directive becomes a piece of SQL of its own; null prints as null."""
    template = call.args[0]
    assert isinstance(template, Literal)
    pieces: list[str] = []
    position, serial = 0, 0
    for m in _DIRECTIVE.finditer(str(template.value)):
        if m.start() > position:
            pieces.append(_quote(template.value[position : m.start()]))
        position = m.end()
        index, flags, width, precision, kind = m.groups()
        if kind in "%n":
            pieces.append("'%'" if kind == "%" else "chr(10)")
            continue
        if index is None:
            serial += 1
        which = int(index) if index else serial
        if which >= len(args):
            pieces.append(ctx.error("INTERNAL_ERROR", STRING, message=_quote(f"Format specifier '{m.group()}'")))
            continue
        pieces.append(_directive(ctx, call.args[which], args[which], flags, width, precision, kind))
    if position < len(template.value):
        pieces.append(_quote(template.value[position:]))
    return f"({' || '.join(pieces) or _quote('')})"


def _directive(
    ctx: LoweringContext,
    argument: Expression,
    sql: str,
    flags: str,
    width: str | None,
    precision: str | None,
    kind: str,
) -> str:
    t = dtype_of(argument)
    if kind in "dxXo" and is_integral(t):
        grouping = "," if "," in flags else ""
        body = {
            "d": f"format('{{:{grouping}}}', CAST({sql} AS BIGINT))",
            "x": f"format('{{:x}}', CAST({sql} AS BIGINT))",
            "X": f"format('{{:X}}', CAST({sql} AS BIGINT))",
            "o": f"format('{{:o}}', CAST({sql} AS BIGINT))",
        }[kind]
    elif kind in "eEfgG" and is_numeric(t):
        places = precision or "6"
        grouping = "," if "," in flags else ""
        spec = {"f": "f", "e": "e", "E": "E", "g": "g", "G": "G"}[kind]
        body = f"format('{{:{grouping}.{places}{spec}}}', CAST({sql} AS DOUBLE))"
    else:
        body = ctx.cast(sql, t, STRING)
        if precision:
            body = f"left({body}, {precision})"
        if kind.isupper():
            body = f"upper({body})"
    if "+" in flags and is_numeric(t):
        body = f"(CASE WHEN {sql} >= 0 THEN '+' ELSE '' END || {body})"
    body = f"COALESCE({body}, 'null')"
    if width is None:
        return body
    if "-" in flags:
        return f"rpad({body}, CAST(greatest({width}, length({body})) AS INTEGER), ' ')"
    if "0" in flags and is_numeric(t):
        sign = f"CASE WHEN regexp_matches({body}, '^[+-]') THEN left({body}, 1) ELSE '' END"
        digits = f"ltrim({body}, '+-')"
        return f"({sign} || lpad({digits}, CAST(greatest({width} - length({sign}), length({digits})) AS INTEGER), '0'))"
    return f"lpad({body}, CAST(greatest({width}, length({body})) AS INTEGER), ' ')"


def _bind_format_number(context: BindContext, args: Args) -> Expression:
    check_arity("format_number", args, 2)
    t = dtype_of(args[0])
    if not is_numeric(t):
        args = (coerce_arguments("format_number", args[:1], (DOUBLE,), context)[0], args[1])
    if not is_integral(dtype_of(args[1])):
        raise unexpected_input("format_number", args, 1, '("INT" or "STRING")')
    return FunctionCall("format_number", (args[0], coerce(args[1], INT, context)), STRING, True)


def _lower_format_number(ctx: LoweringContext, call: FunctionCall, args: Sql) -> str:
    x, places = args
    # half-even, as java.text.DecimalFormat
    rounded = f"CAST({x} AS DOUBLE)"
    options = " ".join(f"WHEN {n} THEN format('{{:,.{n}f}}', {rounded})" for n in range(19))
    return f"CASE WHEN {places} >= 0 THEN CASE {places} {options} END END"


# -------------------------------------------------------------------------------------------------------- coding


def _lower_ascii(ctx: LoweringContext, call: FunctionCall, args: Sql) -> str:
    return f"CASE WHEN {args[0]} = '' THEN 0 ELSE CAST(unicode({args[0]}) AS INTEGER) END"


def _lower_chr(ctx: LoweringContext, call: FunctionCall, args: Sql) -> str:
    return f"CASE WHEN {args[0]} < 0 THEN '' ELSE chr(CAST({args[0]} % 256 AS INTEGER)) END"


def _charset(call: FunctionCall) -> str:
    name = call.args[1]
    value = str(name.value).upper() if isinstance(name, Literal) else ""
    return value.replace("_", "-")


def _bind_charset(name: str, source: DataType, result: DataType) -> Callable[[BindContext, Args], Expression]:
    def bind(context: BindContext, args: Args) -> Expression:
        check_arity(name, args, 2)
        coerced = coerce_arguments(name, args, (source, STRING), context)
        call = FunctionCall(name, coerced, result, True)
        if _charset(call) not in ("UTF-8", "UTF8", "US-ASCII", "ISO-8859-1"):
            raise non_foldable(name, args, 1, "charset", '"STRING"')
        return call

    return bind


def _lower_encode(ctx: LoweringContext, call: FunctionCall, args: Sql) -> str:
    if _charset(call) in ("UTF-8", "UTF8"):
        return f"encode({args[0]})"
    limit = 128 if _charset(call) == "US-ASCII" else 256
    code = f"CASE WHEN unicode(_c) < {limit} THEN printf('%02X', CAST(unicode(_c) AS INTEGER)) ELSE '3F' END"
    codes = f"list_transform(string_split({args[0]}, ''), lambda _c: {code})"
    return f"CASE WHEN {args[0]} = '' THEN ''::BLOB ELSE unhex(array_to_string({codes}, '')) END"


def _lower_decode(ctx: LoweringContext, call: FunctionCall, args: Sql) -> str:
    if _charset(call) in ("UTF-8", "UTF8"):
        return f"decode({args[0]})"
    pairs = f"regexp_extract_all(hex({args[0]}), '..')"
    codes = f"list_transform({pairs}, lambda _h: chr(CAST('0x' || _h AS INTEGER)))"
    return f"array_to_string({codes}, '')"


def _lower_soundex(ctx: LoweringContext, call: FunctionCall, args: Sql) -> str:
    x = args[0]
    codes = "translate(_c, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', '01230127022455012623017202')"
    # 0 is a vowel, 7 is H or W, which do not separate equal codes
    start = f"{{'o': '', 'p': {codes.replace('_c', f'left(upper({x}), 1)')}}}"
    code = f"CASE WHEN regexp_full_match(_c, '[A-Z]') THEN {codes} ELSE '0' END"
    letters = f"string_split(substring(upper({x}), 2), '')"
    steps = f"list_transform({letters}, lambda _c: {{'o': '', 'p': {code}}})"
    folded = (
        f"list_reduce(list_prepend({start}, {steps}), lambda _a, _b: "
        "{'o': CASE WHEN _b.p NOT IN ('0', '7') AND _b.p <> _a.p THEN _a.o || _b.p ELSE _a.o END, "
        "'p': CASE WHEN _b.p = '7' THEN _a.p ELSE _b.p END}).o"
    )
    return (
        f"CASE WHEN {x} = '' THEN '' WHEN NOT regexp_matches({x}, '^[A-Za-z]') THEN {x} "
        f"WHEN ({x}) IS NOT NULL THEN left(upper(left({x}, 1)) || {folded} || '000', 4) END"
    )


def _lower_levenshtein(ctx: LoweringContext, call: FunctionCall, args: Sql) -> str:
    distance = f"CAST(levenshtein({args[0]}, {args[1]}) AS INTEGER)"
    if len(args) == 2:
        return distance
    return f"CASE WHEN {distance} > {args[2]} THEN -1 ELSE {distance} END"


def _bind_elt(context: BindContext, args: Args) -> Expression:
    check_arity("elt", args, 2, -1)
    values = args[1:]
    target = BINARY if all(is_binary(dtype_of(v)) for v in values) else STRING
    coerced = (coerce_arguments("elt", args[:1], (INT,), context)[0], *(coerce(v, target, context) for v in values))
    return FunctionCall("elt", coerced, target, True)


def _lower_elt(ctx: LoweringContext, call: FunctionCall, args: Sql) -> str:
    n = args[0]
    branches = " ".join(f"WHEN {i} THEN {a}" for i, a in enumerate(args[1:], start=1))
    outside = f"CAST(NULL AS {type_sql(call.dtype)})"
    if ctx.ansi:
        outside = ctx.error(
            "INVALID_ARRAY_INDEX",
            call.dtype,
            indexValue=f"CAST({n} AS VARCHAR)",
            arraySize=_quote(str(len(args) - 1)),
            ansiConfig=_quote('"spark.sql.ansi.enabled"'),
        )
    return f"CASE WHEN {n} IS NULL THEN NULL ELSE CASE {n} {branches} ELSE {outside} END END"


def _lower_mask(ctx: LoweringContext, call: FunctionCall, args: Sql) -> str:
    x = args[0]
    marks = (*args[1:], *("'X'", "'x'", "'n'", "NULL")[len(args) - 1 :])
    result = x
    # one pass a class; private-use characters keep what was replaced from being replaced again
    classes = ("[A-Z]", "[a-z]", "[0-9]", "[^A-Za-z0-9\ue000-\ue003]")
    for i, (pattern, mark) in enumerate(zip(classes, marks, strict=True)):
        if mark != "NULL":
            masked = f"regexp_replace({result}, '{pattern}', '{chr(0xE000 + i)}', 'g')"
            result = f"CASE WHEN {mark} IS NULL THEN {result} ELSE {masked} END"
    for i, mark in enumerate(marks):
        if mark != "NULL":
            result = f"replace({result}, '{chr(0xE000 + i)}', COALESCE({mark}, ''))"
    return result


_GRAPHIC: Final = "a sentence splitter of the Java library"

# Java's URLEncoder: a blank is +, the asterisk stays, the tilde does not
_URL_ENCODED: Final = "replace(replace(replace(url_encode({0}), '%20', '+'), '%2A', '*'), '~', '%7E')"
TWO_STRINGS: Final = (STRING, STRING)
ANY_TEXT: Final = Family('("STRING" or "BINARY")', lambda t: is_string(t) or is_binary(t), STRING, (STRING,))


def _pair(name: str, result: DataType, sql: str, *aliases: str) -> ScalarFunction:
    return simple(name, TWO_STRINGS, result, sql, aliases=aliases)


FUNCTIONS: Final[tuple[CatalogueEntry, ...]] = (
    ScalarFunction("concat", _bind_concat, _lower_concat, ("||",)),
    ScalarFunction("concat_ws", _bind_concat_ws, _lower_concat_ws),
    _text("upper", "upper({0})", "ucase"),
    _text("lower", "lower({0})", "lcase"),
    simple("initcap", (STRING,), STRING, _lower_initcap),
    simple("length", (ANY_TEXT,), INT, _lower_length, aliases=("char_length", "character_length", "len")),
    simple("octet_length", (ANY_TEXT,), INT, _lower_octets(1)),
    simple("bit_length", (ANY_TEXT,), INT, _lower_octets(8)),
    simple("substring", (ANY_TEXT, INT, INT), same_as(0), _lower_substring, optional=1, aliases=("substr", "mid")),
    simple("left", (STRING, INT), STRING, _lower_left),
    simple("right", (STRING, INT), STRING, _lower_right, nullable=True),
    simple("trim", (STRING, STRING), STRING, _lower_trim("trim", 1), optional=1),
    simple("ltrim", (STRING, STRING), STRING, _lower_trim("ltrim", 1), optional=1),
    simple("rtrim", (STRING, STRING), STRING, _lower_trim("rtrim", 1), optional=1),
    simple("btrim", (STRING, STRING), STRING, _lower_trim("trim", 0), optional=1),
    simple("lpad", (STRING, INT, STRING), STRING, _lower_pad("lpad"), optional=1),
    simple("rpad", (STRING, INT, STRING), STRING, _lower_pad("rpad"), optional=1),
    simple("repeat", (STRING, INT), STRING, "repeat({0}, greatest({1}, 0))"),
    simple("space", (INT,), STRING, "repeat(' ', greatest({0}, 0))"),
    _pair("instr", INT, "CAST(strpos({0}, {1}) AS INTEGER)"),
    simple("locate", (STRING, STRING, INT), INT, _lower_locate, optional=1, aliases=("position", "charindex")),
    simple("translate", (STRING, STRING, STRING), STRING, "translate({0}, {1}, {2})"),
    simple(
        "replace",
        (STRING, STRING, STRING),
        STRING,
        {
            2: "CASE WHEN {1} = '' THEN {0} ELSE replace({0}, {1}, '') END",
            3: "CASE WHEN {1} = '' THEN {0} ELSE replace({0}, {1}, {2}) END",
        },
        optional=1,
    ),
    simple("overlay", (STRING, STRING, INT, INT), STRING, _lower_overlay, optional=1),
    simple("substring_index", (STRING, STRING, INT), STRING, _lower_substring_index),
    simple("split_part", (STRING, STRING, INT), STRING, _lower_split_part, nullable=True),
    simple("split", (STRING, STRING, INT), PLAIN_STRINGS, _lower_split, optional=1),
    _pair("startswith", BOOLEAN, "starts_with({0}, {1})"),
    _pair("endswith", BOOLEAN, "ends_with({0}, {1})"),
    _pair("contains", BOOLEAN, "contains({0}, {1})"),
    simple("regexp_replace", (STRING, STRING, STRING, INT), STRING, _lower_regexp_replace, optional=1),
    _bind_regexp_extract("regexp_extract", STRING),
    _bind_regexp_extract("regexp_extract_all", STRINGS),
    simple(
        "regexp_count",
        TWO_STRINGS,
        INT,
        lambda ctx, call, args: f"CAST(len(regexp_extract_all({args[0]}, {_pattern(call, 1, args[1])})) AS INTEGER)",
    ),
    simple(
        "regexp_substr",
        TWO_STRINGS,
        STRING,
        lambda ctx, call, args: (
            f"CASE WHEN regexp_matches({args[0]}, {_pattern(call, 1, args[1])}) "
            f"THEN regexp_extract({args[0]}, {_pattern(call, 1, args[1])}, 0) END"
        ),
        nullable=True,
    ),
    simple("regexp_instr", (STRING, STRING, INT), INT, _lower_regexp_instr, optional=1),
    ScalarFunction("format_string", _bind_format_string, _lower_format_string, ("printf",)),
    ScalarFunction("format_number", _bind_format_number, _lower_format_number),
    simple("ascii", (STRING,), INT, _lower_ascii),
    simple("chr", (LONG,), STRING, _lower_chr, aliases=("char",)),
    simple("base64", (BINARY,), STRING, "to_base64({0})"),
    simple("unbase64", (STRING,), BINARY, "from_base64(regexp_replace({0}, '[^A-Za-z0-9+/=]', '', 'g'))"),
    ScalarFunction("encode", _bind_charset("encode", STRING, BINARY), _lower_encode),
    ScalarFunction("decode", _bind_charset("decode", BINARY, STRING), _lower_decode),
    simple("soundex", (STRING,), STRING, _lower_soundex),
    simple("levenshtein", (STRING, STRING, INT), INT, _lower_levenshtein, optional=1),
    ScalarFunction("elt", _bind_elt, _lower_elt),
    simple(
        "find_in_set",
        TWO_STRINGS,
        INT,
        "CASE WHEN contains({0}, ',') THEN 0 ELSE CAST(COALESCE(list_position(string_split({1}, ','), {0}), 0) "
        "* CASE WHEN {0} IS NULL OR {1} IS NULL THEN NULL ELSE 1 END AS INTEGER) END",
    ),
    simple("mask", (STRING, STRING, STRING, STRING, STRING), STRING, _lower_mask, optional=4, nullable=True),
    simple("is_valid_utf8", (ANY_TEXT,), BOOLEAN, "CASE WHEN {0} IS NOT NULL THEN TRUE END"),
    simple(
        "quote",
        (STRING,),
        STRING,
        "(chr(39) || replace(replace({0}, chr(92), chr(92) || chr(92)), chr(39), chr(92) || chr(39)) || chr(39))",
        nullable=True,
    ),
    simple("url_encode", (STRING,), STRING, _URL_ENCODED),
    simple("url_decode", (STRING,), STRING, "url_decode(replace({0}, '+', ' '))"),
    simple("validate_utf8", (STRING,), STRING, "{0}"),
    simple("make_valid_utf8", (STRING,), STRING, "{0}"),
    Refused("sentences", f"it needs {_GRAPHIC}"),
    Refused("to_char", "number and date format models are not implemented", ("to_varchar",)),
    Refused("to_number", "number format models are not implemented"),
    Refused("try_to_number", "number format models are not implemented"),
)
