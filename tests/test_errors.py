"""The error tree: messages, classes on the wire, and that every raise in the source tree names a known condition."""

from __future__ import annotations

import ast
import pickle
import string
from pathlib import Path

import pytest

import runnel
from runnel import errors
from runnel.error_conditions import CONDITIONS, RUNNEL_CONDITIONS
from runnel.errors import AnalysisError, ExecutionError, NumberFormatError, ParseError, QueryContext, RunnelError

SOURCE = Path(runnel.__file__).parent


def fields(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


def test_message_has_sparks_layout() -> None:
    raised = AnalysisError("PATH_NOT_FOUND", path="file:/in")
    assert str(raised) == "[PATH_NOT_FOUND] There is nothing at file:/in. Check the path. SQLSTATE: 42K03"
    assert (raised.condition, raised.sqlstate) == ("PATH_NOT_FOUND", "42K03")
    assert raised.message_parameters == {"path": "file:/in"}


def test_legacy_message_is_bare() -> None:
    raised = errors.error("_LEGACY_ERROR_TEMP_3102", msg="no")
    assert isinstance(raised, AnalysisError)
    assert (str(raised), raised.sqlstate) == ("no", None)


def test_braces_in_values_are_text() -> None:
    assert "{x}" in str(AnalysisError("PATH_NOT_FOUND", path="{x}"))


def test_raising_never_fails_by_itself() -> None:
    assert str(RunnelError("NO_SUCH", a=1, b="x")) == "[NO_SUCH] a=1, b=x"
    assert "<path>" in str(AnalysisError("PATH_NOT_FOUND"))
    assert type(errors.error("NO_SUCH")) is RunnelError


def test_parameters_in_a_mapping() -> None:
    condition = "INVALID_INTERVAL_FORMAT.UNSUPPORTED_FROM_TO_EXPRESSION"
    raised = errors.error(condition, {"from": "day", "to": "year"}, input="i")
    assert raised.message_parameters == {"from": "day", "to": "year", "input": "i"}
    assert "<" not in raised.message


def test_context_follows_the_message() -> None:
    raised = ParseError("PARSE_SYNTAX_ERROR", error="'x'", hint="", context=QueryContext("x y", 0, 2, 1, 0))
    assert str(raised).endswith("SQLSTATE: 42601\n== SQL (line 1, position 1) ==\nx y\n^^^")


def test_class_names_from_special_to_general() -> None:
    assert ParseError("PARSE_EMPTY_STATEMENT").spark_classes == (
        "org.apache.spark.sql.catalyst.parser.ParseException",
        "org.apache.spark.sql.AnalysisException",
        "org.apache.spark.SparkException",
    )


def test_client_knows_every_class() -> None:
    connect = pytest.importorskip("pyspark.errors.exceptions.connect")
    assert {kind.spark_class for kind in errors.KINDS.values()} <= set(connect.EXCEPTION_CLASS_MAPPING)


def test_pickles() -> None:
    raised = NumberFormatError("CAST_INVALID_INPUT", expression="'a'", sourceType="STRING", targetType="INT")
    copy = pickle.loads(pickle.dumps(raised))
    assert type(copy) is NumberFormatError
    assert (str(copy), copy.message_parameters) == (str(raised), raised.message_parameters)


def test_streaming_error_wraps_its_cause() -> None:
    cause = ExecutionError("NULL_MAP_KEY")
    wrapped = errors.StreamingQueryError.wrap(cause, query_id="q", run_id="r")
    assert wrapped.__cause__ is cause
    assert wrapped.message_parameters == {"id": "q", "runId": "r", "message": cause.message}
    other = errors.StreamingQueryError.wrap(KeyError("k"), query_id="q", run_id="r")
    assert other.message_parameters["message"] == "KeyError: 'k'"


def test_unsupported() -> None:
    raised = errors.unsupported("PIVOT in a view", "Use a table.")
    expected = "PIVOT in a view is not supported by Runnel. Use a table. SQLSTATE: 0A000"
    assert str(raised) == f"[UNSUPPORTED_FEATURE.NOT_IN_RUNNEL] {expected}"
    assert "{" not in str(errors.unsupported("x"))


@pytest.mark.parametrize("name", CONDITIONS)
def test_row_is_sound(name: str) -> None:
    row = CONDITIONS[name]
    assert row.kind in errors.KINDS
    assert row.template == row.template.strip()
    assert row.sqlstate is None or (len(row.sqlstate) == 5 and row.sqlstate.isalnum())
    filled = errors.render(name, dict.fromkeys(fields(row.template), "v"))
    assert "<" not in filled


def test_own_conditions_stay_apart() -> None:
    assert set(RUNNEL_CONDITIONS) <= set(CONDITIONS)


def raises() -> list[tuple[str, str, set[str] | None]]:
    """Every construction of an error with a constant condition: where, condition, parameters (None: not constant)."""
    constructors = {kind.__name__ for kind in errors.KINDS.values()} | {"error"}
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            called = node.func
            name = (
                called.id if isinstance(called, ast.Name) else called.attr if isinstance(called, ast.Attribute) else ""
            )
            condition = node.args[0]
            if (
                isinstance(called, ast.Attribute) and ast.unparse(called.value) != "errors"
            ):  # a logger has an error, too
                continue
            if name not in constructors or not isinstance(condition, ast.Constant) or type(condition.value) is not str:
                continue
            parameters: set[str] | None = {k.arg for k in node.keywords if k.arg not in (None, "context")}  # type: ignore[misc]
            mapping = node.args[1] if len(node.args) > 1 else None
            if any(keyword.arg is None for keyword in node.keywords):
                parameters = None
            elif isinstance(mapping, ast.Dict) and all(isinstance(key, ast.Constant) for key in mapping.keys):
                parameters = (parameters or set()) | {
                    str(key.value) for key in mapping.keys if isinstance(key, ast.Constant)
                }
            elif mapping is not None:
                parameters = None
            found.append((f"{path.relative_to(SOURCE)}:{node.lineno}", condition.value, parameters))
    return found


def test_every_raise_names_a_condition_with_its_parameters() -> None:
    problems = []
    for where, condition, parameters in raises():
        row = CONDITIONS.get(condition)
        if row is None:
            problems.append(f"{where}: unknown condition {condition}")
        elif parameters is not None and (missing := fields(row.template) - parameters):
            problems.append(f"{where}: {condition} lacks {sorted(missing)}")
    assert not problems, "\n".join(problems)
