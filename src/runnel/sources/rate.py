"""The rate sources: rows made by the clock (`rate`), or a fixed number a batch (`rate-micro-batch`)."""

from __future__ import annotations

import json
from typing import Any, Final

import numpy as np
import pyarrow as pa
from pyspark.sql.types import LongType, StructField, StructType, TimestampType

from runnel.config import parse_duration_ms
from runnel.errors import IllegalArgumentError, RunnelError, RunnelStateError, internal_error
from runnel.files import DurableDirectory
from runnel.options import lowered
from runnel.sources.base import Offset, SourceContext

SCHEMA: Final = StructType([StructField("timestamp", TimestampType(), True), StructField("value", LongType(), True)])
_ARROW: Final = pa.schema([("timestamp", pa.timestamp("us")), ("value", pa.int64())])


def _number(options: dict[str, str], name: str, default: int | None, least: int) -> int:
    text = options.get(name.lower())
    if text is None:
        if default is None:
            raise _invalid(name, "", "must be given")
        return default
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if number < least:
        raise _invalid(name, text, "must be positive" if least else "must not be negative")
    return number


def _invalid(name: str, value: str, problem: str) -> IllegalArgumentError:
    return IllegalArgumentError(
        "_LEGACY_ERROR_TEMP_3102", {"msg": f"Invalid value '{value}'. The option '{name}' {problem}"}
    )


class RateSource:
    """`rowsPerSecond` rows a second since the source was first made, numbered from 0. Replayable.

    An offset is a whole number of seconds. With `rampUpTime` the rate grows linearly until then.
    """

    announces = False
    supports_available_now = False

    def __init__(self, options: dict[str, str], context: SourceContext) -> None:
        """Errors: IllegalArgumentError for options; RunnelStateError for an unreadable creation time."""
        given = lowered(options)
        self._rate = _number(given, "rowsPerSecond", 1, 1)
        self._partitions = _number(given, "numPartitions", context.default_parallelism, 1)
        ramp_ms = parse_duration_ms(given.get("rampuptime", "0s"))
        if ramp_ms < 0:
            raise _invalid("rampUpTime", given["rampuptime"], "must not be negative")
        self._ramp_s = ramp_ms // 1000
        self._context = context
        self._created_ms = self._creation_time()
        self._last_ms = self._created_ms

    @property
    def schema(self) -> StructType:
        return SCHEMA

    @property
    def description(self) -> str:
        return (
            f"RateStreamV2[rowsPerSecond={self._rate}, rampUpTimeSeconds={self._ramp_s}, "
            f"numPartitions={self._partitions}]"
        )

    def _creation_time(self) -> int:
        path = self._context.metadata_path
        try:
            text = (path / "0").read_text().splitlines()
        except FileNotFoundError:
            now = self._context.clock.now_ms()
            with DurableDirectory(path) as directory:
                directory.write("0", f"v1\n{now}".encode())
            return now
        if len(text) != 2 or text[0] != "v1" or not text[1].lstrip("-").isdigit():
            raise RunnelStateError("MALFORMED_LOG_FILE", {"path": str(path / "0"), "text": "\n".join(text)})
        return int(text[1])

    def initial_offset(self) -> Offset | None:
        return "0"

    def latest_offset(self, start: Offset | None, *, limited: bool) -> Offset | None:
        # a clock that goes back must not take rows away
        self._last_ms = max(self._last_ms, self._context.clock.now_ms())
        return str((self._last_ms - self._created_ms) // 1000)

    def prepare_for_available_now(self) -> None:
        raise internal_error("The rate source was asked to freeze its end.")

    def batch(self, start: Offset | None, end: Offset) -> pa.Table:
        first_s, last_s = int(start or 0), int(end)
        if first_s > last_s:
            raise RunnelError("INTERNAL_ERROR", {"message": f"rate source: start {first_s} is after end {last_s}"})
        low, high = self._value_at(first_s), self._value_at(last_s)
        values = np.arange(low, high, dtype=np.int64)
        ms_per_value = (last_s - first_s) * 1000 / (high - low) if high > low else 0.0
        position = np.floor((values - low) * ms_per_value + 0.5).astype(np.int64)
        micros = (self._created_ms + first_s * 1000 + position) * 1000
        return pa.Table.from_arrays([pa.array(micros).cast(pa.timestamp("us")), pa.array(values)], schema=_ARROW)

    def _value_at(self, second: int) -> int:
        """How many values come before the end of this second."""
        if second <= 0:
            return 0
        step = self._rate // (self._ramp_s + 1)
        if second <= self._ramp_s:
            return self._rate * (second - 1) // 2 if step == 0 and second % 2 else step * second * (second + 1) // 2
        ramp = step * self._ramp_s * (self._ramp_s + 1) // 2 if self._ramp_s else 0
        return ramp + (second - self._ramp_s) * self._rate

    def commit(self, end: Offset) -> None:
        pass

    def reported_latest(self) -> Offset | None:
        return self.latest_offset(None, limited=False)

    def metrics(self) -> dict[str, Any]:
        return {}

    def stop(self) -> None:
        pass


class RateMicroBatchSource:
    """`rowsPerBatch` rows a batch, all with the batch's time. Deterministic; there is always a next batch."""

    announces = False
    supports_available_now = True

    def __init__(self, options: dict[str, str], context: SourceContext) -> None:
        """Errors: IllegalArgumentError for options."""
        given = lowered(options)
        self._rows = _number(given, "rowsPerBatch", None, 1)
        self._partitions = _number(given, "numPartitions", context.default_parallelism, 1)
        self._start_ms = _number(given, "startTimestamp", 0, 0)
        self._advance_ms = _number(given, "advanceMillisPerBatch", 1000, 0)
        self._frozen = False

    @property
    def schema(self) -> StructType:
        return SCHEMA

    @property
    def description(self) -> str:
        return (
            f"RatePerMicroBatchStream[rowsPerBatch={self._rows}, numPartitions={self._partitions}, "
            f"startTimestamp={self._start_ms}, advanceMsPerBatch={self._advance_ms}]"
        )

    def initial_offset(self) -> Offset | None:
        return _position(0, self._start_ms)

    def latest_offset(self, start: Offset | None, *, limited: bool) -> Offset | None:
        offset, timestamp = _read_position(start) if start is not None else (0, self._start_ms)
        self._check(offset, timestamp)
        if self._frozen:
            return start
        self._frozen = self._once
        return _position(offset + self._rows, timestamp + self._advance_ms)

    _once = False

    def _check(self, offset: int, timestamp: int) -> None:
        if timestamp < self._start_ms:
            raise RunnelError(
                "MALFORMED_STATE_IN_RATE_PER_MICRO_BATCH_SOURCE.INVALID_TIMESTAMP",
                {"startTimestamp": str(self._start_ms), "endTimestamp": str(timestamp)},
            )

    def prepare_for_available_now(self) -> None:
        """One batch is what is there now."""
        self._once = True

    def batch(self, start: Offset | None, end: Offset) -> pa.Table:
        first, first_ms = _read_position(start) if start is not None else (0, self._start_ms)
        last, last_ms = _read_position(end)
        if last < first:
            raise RunnelError(
                "MALFORMED_STATE_IN_RATE_PER_MICRO_BATCH_SOURCE.INVALID_OFFSET",
                {"startOffset": str(first), "endOffset": str(last)},
            )
        if last_ms < first_ms:
            raise RunnelError(
                "MALFORMED_STATE_IN_RATE_PER_MICRO_BATCH_SOURCE.INVALID_TIMESTAMP",
                {"startTimestamp": str(first_ms), "endTimestamp": str(last_ms)},
            )
        values = np.arange(first, last, dtype=np.int64)
        micros = np.full(len(values), first_ms * 1000, np.int64)
        return pa.Table.from_arrays([pa.array(micros).cast(pa.timestamp("us")), pa.array(values)], schema=_ARROW)

    def commit(self, end: Offset) -> None:
        pass

    def reported_latest(self) -> Offset | None:
        return None

    def metrics(self) -> dict[str, Any]:
        return {}

    def stop(self) -> None:
        pass


def _position(offset: int, timestamp: int) -> Offset:
    return f'{{"offset":{offset},"timestamp":{timestamp}}}'


def _read_position(text: Offset) -> tuple[int, int]:
    found = json.loads(text)
    return int(found["offset"]), int(found["timestamp"])
