"""One text for a value, whoever computed it."""

from __future__ import annotations

import datetime
import decimal
import json
import math
from typing import Any


def show(value: Any) -> str:
    """Floats with 11 significant digits, binary as hex, timestamps without zone, intervals in microseconds."""
    match value:
        case None:
            return "NULL"
        case bool():
            return str(value).lower()
        case float():
            if math.isnan(value):
                return "NaN"
            return format(value, ".11g")
        case int():
            return str(value)
        case decimal.Decimal():
            return format(value, "f")
        case str():
            return json.dumps(value, ensure_ascii=False)
        case bytes() | bytearray():
            return f"X'{bytes(value).hex()}'"
        case datetime.datetime():
            return value.isoformat(" ")
        case datetime.date():
            return value.isoformat()
        case datetime.timedelta():
            return str(value // datetime.timedelta(microseconds=1))
        case dict():
            return "{" + ", ".join(f"{show(k)}: {show(v)}" for k, v in value.items()) + "}"
        case tuple():
            return "(" + ", ".join(show(v) for v in value) + ")"
        case list():
            return "[" + ", ".join(show(v) for v in value) + "]"
        case _:
            raise TypeError(f"no text for {value!r}")
