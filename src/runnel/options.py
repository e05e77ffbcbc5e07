"""Options of readers and writers: their texts as values."""

from __future__ import annotations

from collections.abc import Mapping

from runnel.errors import IllegalArgumentError


def lowered(options: Mapping[str, str]) -> dict[str, str]:
    """Options by lower-case names, which is how Spark compares them."""
    return {name.lower(): value for name, value in options.items()}


def flag(options: Mapping[str, str], name: str, default: bool) -> bool:
    """A boolean option, looked up in lower case. Errors: IllegalArgumentError for what is neither true nor false."""
    text = options.get(name.lower())
    if text is None:
        return default
    match text.strip().lower():
        case "true":
            return True
        case "false":
            return False
        case _:
            raise IllegalArgumentError(
                "INVALID_PARAMETER_VALUE.BOOLEAN",
                {"parameter": f"`{name}`", "functionName": "`option`", "invalidValue": f"'{text}'"},
            )
