"""What a StatefulProcessor is given: PySpark's StatefulProcessorHandle and state classes over Runnel's stores.

`init` runs once beforehand, to learn the variables (`declared`), and then in every batch, as in Spark.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pyspark.sql.streaming.stateful_processor import ListState, MapState, StatefulProcessorHandle, ValueState
from pyspark.sql.types import StructType

from runnel.errors import error, unsupported
from runnel.operators.state_variables import Definition, ListVariable, MapVariable, ValueVariable, Variable
from runnel.operators.timers import Timers

_UNUSABLE = frozenset('/\\:*?"<>|')

ParseSchema = Callable[[str], StructType]


class _ListState(ListState):
    """Reads without the cursor that PySpark needs to talk to another process."""

    def get(self) -> Iterator[tuple[Any, ...]]:
        variable: Any = self._listStateClient
        found: Iterator[tuple[Any, ...]] = variable.iterate()
        return found


class _MapState(MapState):
    def _entries(self) -> list[tuple[tuple[Any, ...], tuple[Any, ...]]]:
        variable: Any = self._mapStateClient
        found: list[tuple[tuple[Any, ...], tuple[Any, ...]]] = variable.entries()
        return found

    def iterator(self) -> Iterator[tuple[tuple[Any, ...], tuple[Any, ...]]]:
        return iter(self._entries())

    def keys(self) -> Iterator[tuple[Any, ...]]:
        return (key for key, _ in self._entries())

    def values(self) -> Iterator[tuple[Any, ...]]:
        return (value for _, value in self._entries())


class ProcessorHandle(StatefulProcessorHandle):
    """One batch's handle, or with `variables` None the one that only learns what `init` declares.

    `time_mode` is none, processingtime or eventtime. Raises Spark's conditions for what is out of place:
    STATEFUL_PROCESSOR_CANNOT_PERFORM_OPERATION_WITH_INVALID_HANDLE_STATE, ….INVALID_TIME_MODE,
    STATEFUL_PROCESSOR_DUPLICATE_STATE_VARIABLE_DEFINED, STATEFUL_PROCESSOR_INCORRECT_TIME_MODE_TO_ASSIGN_TTL,
    STATEFUL_PROCESSOR_TTL_DURATION_MUST_BE_POSITIVE.
    """

    def __init__(
        self,
        time_mode: str,
        parse_schema: ParseSchema,
        variables: Mapping[str, Variable] | None = None,
        timers: Timers | None = None,
    ) -> None:
        self._time_mode = time_mode
        self._parse_schema = parse_schema
        self._variables = variables
        self._timers = timers
        self._state = "PRE_INIT" if variables is None else "CREATED"
        self.declared: dict[str, Definition] = {}
        self.deleted: set[str] = set()

    def initialized(self) -> None:
        """`init` is over: variables can no longer be declared, timers can be used."""
        self._state = "INITIALIZED"

    # ---- variables

    def getValueState(self, stateName: str, schema: StructType | str, ttlDurationMs: int | None = None) -> ValueState:
        variable = self._declare("get_value_state", stateName, "value", schema, ttlDurationMs)
        return ValueState(variable, stateName)

    def getListState(self, stateName: str, schema: StructType | str, ttlDurationMs: int | None = None) -> ListState:
        variable = self._declare("get_list_state", stateName, "list", schema, ttlDurationMs)
        return _ListState(variable, stateName)

    def getMapState(
        self,
        stateName: str,
        userKeySchema: StructType | str,
        valueSchema: StructType | str,
        ttlDurationMs: int | None = None,
    ) -> MapState:
        user_key = self._schema(userKeySchema)
        variable = self._declare("get_map_state", stateName, "map", valueSchema, ttlDurationMs, user_key)
        return _MapState(variable, stateName)

    def deleteIfExists(self, stateName: str) -> None:
        self._only_in_init("delete_if_exists")
        self.declared.pop(stateName, None)
        self.deleted.add(stateName)

    def _schema(self, schema: StructType | str) -> StructType:
        return self._parse_schema(schema) if isinstance(schema, str) else schema

    def _declare(
        self,
        operation: str,
        name: str,
        kind: str,
        schema: StructType | str,
        ttl_ms: int | None,
        user_key: StructType | None = None,
    ) -> Any:
        self._only_in_init(operation)
        if name in self.declared:
            raise error("STATEFUL_PROCESSOR_DUPLICATE_STATE_VARIABLE_DEFINED", stateVarName=name)
        if ttl_ms is not None:
            if self._time_mode != "processingtime":
                raise error(
                    "STATEFUL_PROCESSOR_INCORRECT_TIME_MODE_TO_ASSIGN_TTL", stateName=name, timeMode=self._time_mode
                )
            if ttl_ms <= 0:
                raise error("STATEFUL_PROCESSOR_TTL_DURATION_MUST_BE_POSITIVE", stateName=name, operationType=operation)
        if not name or name.startswith("$") or _UNUSABLE & set(name):
            raise unsupported(f"a state variable named {name!r}", "Use letters, digits and underscores.")
        definition = Definition(name, kind, self._schema(schema), ttl_ms, user_key)
        self.declared[name] = definition
        if self._variables is None:
            return None
        variable = self._variables.get(name)
        if variable is None or variable.definition != definition:
            raise unsupported(
                f"init that declares the variable {name} in some batches only, or differently",
                "Declare the same variables whenever init is called.",
            )
        return variable

    def _only_in_init(self, operation: str) -> None:
        if self._state not in ("PRE_INIT", "CREATED"):
            raise self._wrong_state(operation)

    def _wrong_state(self, operation: str) -> Exception:
        return error(
            "STATEFUL_PROCESSOR_CANNOT_PERFORM_OPERATION_WITH_INVALID_HANDLE_STATE",
            operationType=operation,
            handleState=self._state,
        )

    # ---- timers

    def registerTimer(self, expiryTimestampMs: int) -> None:
        self._usable_timers("register_timer").register(int(expiryTimestampMs))

    def deleteTimer(self, expiryTimestampMs: int) -> None:
        self._usable_timers("delete_timer").delete(int(expiryTimestampMs))

    def listTimers(self) -> Iterator[int]:
        return iter(self._usable_timers("list_timers").current())

    def _usable_timers(self, operation: str) -> Timers:
        if self._timers is None and self._time_mode == "none":
            raise error(
                "STATEFUL_PROCESSOR_CANNOT_PERFORM_OPERATION_WITH_INVALID_TIME_MODE",
                operationType=operation,
                timeMode=self._time_mode,
            )
        if self._timers is None or self._state != "INITIALIZED":
            raise self._wrong_state(operation)
        return self._timers


def make_variable(definition: Definition, *args: Any) -> ValueVariable | ListVariable | MapVariable:
    """The variable of a definition."""
    kinds: dict[str, type[ValueVariable] | type[ListVariable] | type[MapVariable]] = {
        "value": ValueVariable,
        "list": ListVariable,
        "map": MapVariable,
    }
    return kinds[definition.kind](definition, *args)
