"""Exact decimal arithmetic in DuckDB with Spark's result types.

DuckDB multiplies into DECIMAL(p1+p2, s1+s2) and knows no decimal division; where its own types are too narrow the
digits are computed as HUGEINT (128 bits), products beyond that in limbs of 19 digits.
"""

from __future__ import annotations

from typing import Final

from pyspark.sql.types import DecimalType

_WIDE: Final = 38


def type_name(t: DecimalType) -> str:
    """DuckDB's name of the type."""
    return f"DECIMAL({t.precision},{t.scale})"


def fit(sql: str, target: DecimalType, null_on_overflow: bool) -> str:
    """A decimal rounded half-up to `target`; overflow raises, or gives null."""
    return f"{'TRY_CAST' if null_on_overflow else 'CAST'}({sql} AS {type_name(target)})"


def additive(
    operator: str, a: str, left: DecimalType, b: str, right: DecimalType, result: DecimalType, lenient: bool
) -> str:
    """`a + b` or `a - b`."""
    scale = max(left.scale, right.scale)
    digits = max(left.precision - left.scale, right.precision - right.scale) + scale
    common = DecimalType(min(digits, _WIDE), scale)
    left_sql = a if left == common else fit(a, common, lenient)
    right_sql = b if right == common else fit(b, common, lenient)
    total = f"({left_sql} {operator} {right_sql})"
    if digits + 1 > _WIDE and lenient:
        # not TRY: its argument may hold error(), which DuckDB does not allow there
        limit = 0.999999999999 * 10.0 ** (_WIDE - scale)
        near = f"abs(CAST({a} AS DOUBLE) {operator} CAST({b} AS DOUBLE))"
        total = f"CASE WHEN {near} < {limit!r}::DOUBLE THEN {total} END"
    return fit(total, result, lenient)


def unscaled(sql: str, t: DecimalType) -> str:
    """The digits without the point, as HUGEINT."""
    if t.scale == 0:
        return f"CAST({sql} AS HUGEINT)"
    if t.precision + t.scale <= _WIDE:
        return f"CAST({sql} * {10**t.scale}::DECIMAL({t.scale + 1},0) AS HUGEINT)"
    return f"CAST(replace(CAST({sql} AS VARCHAR), '.', '') AS HUGEINT)"


def scaled(hugeint_sql: str, target: DecimalType, lenient: bool) -> str:
    """The decimal whose digits without the point are given; beyond the target's precision: overflow."""
    cast = "TRY_CAST" if lenient else "CAST"
    digits = f"{cast}({hugeint_sql} AS DECIMAL({target.precision},0))"
    if target.scale == 0:
        return digits
    if target.precision + target.scale <= _WIDE:
        unit = f"0.{'0' * (target.scale - 1)}1::DECIMAL({target.scale + 1},{target.scale})"
        return f"CAST({digits} * {unit} AS {type_name(target)})"
    padded = f"lpad(CAST(abs({digits}) AS VARCHAR), {_WIDE + 1}, '0')"
    text = f"left({padded}, -{target.scale}) || '.' || right({padded}, {target.scale})"
    return f"CAST(CASE WHEN {digits} < 0 THEN '-' ELSE '' END || {text} AS {type_name(target)})"


def multiply(a: str, left: DecimalType, b: str, right: DecimalType, result: DecimalType, lenient: bool) -> str:
    """`a * b`, rounded half-up to the result's scale."""
    if left.precision + right.precision <= _WIDE:
        return fit(f"({a} * {b})", result, lenient)
    drop = left.scale + right.scale - result.scale
    # the product in limbs of 10^19: h*10^38 + m*10^19 + l, each limb of an operand below 10^19
    limb = 10**19
    product = (
        f"list_transform([{{'u': {unscaled(a, left)}, 'v': {unscaled(b, right)}}}], lambda _p: "
        f"{{'s': CASE WHEN (_p.u < 0) <> (_p.v < 0) THEN -1 ELSE 1 END, "
        f"'a': CAST(abs(_p.u) // {limb} AS UHUGEINT), 'b': CAST(abs(_p.u) % {limb} AS UHUGEINT), "
        f"'c': CAST(abs(_p.v) // {limb} AS UHUGEINT), 'd': CAST(abs(_p.v) % {limb} AS UHUGEINT)}})"
    )
    carried = (
        f"list_transform({product}, lambda _p: {{'s': _p.s, 'h': _p.a * _p.c, "
        f"'m': _p.a * _p.d + _p.b * _p.c + (_p.b * _p.d) // {limb}::UHUGEINT, 'l': (_p.b * _p.d) % {limb}::UHUGEINT}})"
    )
    normal = (
        f"list_transform({carried}, lambda _p: {{'s': _p.s, 'h': _p.h + _p.m // {limb}::UHUGEINT, "
        f"'m': _p.m % {limb}::UHUGEINT, 'l': _p.l}})"
    )
    # the product is h * 10^38 + low, low = m * 10^19 + l < 10^38
    body = _rounded_product(drop, limb)
    if lenient and drop < _WIDE:
        body = f"CASE WHEN _p.h < {10 ** max(drop, 0)}::UHUGEINT THEN {body} END"
    magnitude = f"list_transform({normal}, lambda _p: CAST(_p.s AS HUGEINT) * {body})[1]"
    overflowing = f"CASE WHEN ({a}) IS NOT NULL AND ({b}) IS NOT NULL THEN {magnitude} END"
    return scaled(overflowing, result, lenient)


def _rounded_product(drop: int, limb: int) -> str:
    low = f"(_p.m * {limb}::UHUGEINT + _p.l)"
    if drop <= 0:
        return f"(CASE WHEN _p.h = 0 THEN CAST({low} AS HUGEINT) ELSE CAST({10**38}::UHUGEINT * 2 AS HUGEINT) END)"
    unit = 10**drop if drop <= 38 else 0
    if drop <= 38:
        up = 10 ** (38 - drop)
        # h has at most 10^drop-ish digits to keep: h * 10^(38-drop) overflows only beyond 38 digits of result
        return (
            f"(CAST(_p.h AS HUGEINT) * {up}::HUGEINT + CAST({low} // {unit}::UHUGEINT AS HUGEINT)"
            f" + CASE WHEN {low} % {unit}::UHUGEINT >= {unit // 2}::UHUGEINT THEN 1 ELSE 0 END)"
        )
    rest = 10 ** (drop - 38)
    return (
        f"(CAST(_p.h // {rest}::UHUGEINT AS HUGEINT)"
        f" + CASE WHEN _p.h % {rest}::UHUGEINT >= {rest // 2}::UHUGEINT THEN 1 ELSE 0 END)"
    )


def divide(a: str, left: DecimalType, b: str, right: DecimalType, result: DecimalType, lenient: bool) -> str:
    """`a / b` rounded half-up to the result's scale. The divisor is not zero (null is null).

    Long division in two steps: whole part, then the fraction's digits from the remainder.
    """
    shift = result.scale + right.scale - left.scale
    numerator = f"{unscaled(a, left)}"
    denominator = f"{unscaled(b, right)}"
    if shift < 0:
        denominator = f"({denominator} * {10**-shift}::HUGEINT)"
        shift = 0
    steps = (
        f"list_transform([{{'n': {numerator}, 'd': {denominator}}}], lambda _p: "
        "{'s': CASE WHEN (_p.n < 0) <> (_p.d < 0) THEN -1 ELSE 1 END, 'n': CAST(abs(_p.n) AS UHUGEINT), "
        "'d': CAST(abs(_p.d) AS UHUGEINT), 'q': 0::UHUGEINT})"
    )
    # as many digits at once as the remainder has room for: the remainder is below the divisor
    chunk = max(1, _WIDE - right.precision - max(0, -(result.scale + right.scale - left.scale)))
    first = True
    remaining = shift
    while first or remaining > 0:
        take = 0 if first else min(chunk, remaining)
        unit = f"{10**take}::UHUGEINT"
        grown = f"(_p.n * {unit})"
        step = f"{{'s': _p.s, 'n': {grown} % _p.d, 'd': _p.d, 'q': _p.q * {unit} + {grown} // _p.d}}"
        if lenient and not first:
            room = f"{(2**128 - 1) // 10**take - 1}::UHUGEINT"
            step = f"CASE WHEN _p.n <= {room} AND _p.q <= {room} THEN {step} END"
        steps = f"list_transform({steps}, lambda _p: {step})"
        remaining -= take
        first = False
    # half-up: the remainder is at least half the divisor
    quotient = (
        f"list_transform({steps}, lambda _p: CAST(_p.s AS HUGEINT) * "
        "(CAST(_p.q AS HUGEINT) + CASE WHEN _p.n >= _p.d - _p.n THEN 1 ELSE 0 END))[1]"
    )
    guarded = f"CASE WHEN ({a}) IS NOT NULL AND ({b}) <> 0 THEN {quotient} END"
    return scaled(guarded, result, lenient)


def _aligned(a: str, left: DecimalType, b: str, right: DecimalType) -> tuple[str, str, int]:
    """Both operands' digits at the larger of the two scales."""
    scale = max(left.scale, right.scale)
    x, y = unscaled(a, left), unscaled(b, right)
    if scale > left.scale:
        x = f"({x} * {10 ** (scale - left.scale)}::HUGEINT)"
    if scale > right.scale:
        y = f"({y} * {10 ** (scale - right.scale)}::HUGEINT)"
    return x, y, scale


def remainder(
    a: str, left: DecimalType, b: str, right: DecimalType, result: DecimalType, lenient: bool, positive: bool
) -> str:
    """`a % b` with the dividend's sign, or pmod's."""
    x, y, scale = _aligned(a, left, b, right)
    r = f"({x} % nullif({y}, 0))"
    if positive:
        r = f"(CASE WHEN {r} < 0 THEN ({r} + {y}) % nullif({y}, 0) ELSE {r} END)"
    exact = DecimalType(_WIDE, scale)
    return fit(scaled(r, exact, lenient), result, lenient)


def integral_divide(a: str, left: DecimalType, b: str, right: DecimalType, lenient: bool) -> str:
    """`a div b` as BIGINT."""
    x, y, _ = _aligned(a, left, b, right)
    cast = "TRY_CAST" if lenient else "CAST"
    return f"{cast}({x} // nullif({y}, 0) AS BIGINT)"
