"""The rate sources: numbered rows made at a steady pace, by time (`rate`) or a batch at a time (`rate-micro-batch`).

Replayable: a row depends on nothing but its number, the options and, for `rate`, the creation time that the checkpoint
holds. Rules: reference §8.2 and §8.3 (Spark's RateStreamProvider, RatePerMicroBatchProvider).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql.types import LongType, StructField, StructType, TimestampType

from runnel.config import parse_duration_ms
from runnel.errors import IllegalArgumentError, RunnelStateError, error, internal_error
from runnel.files import write_atomic
from runnel.plan.relations import StreamingScan
from runnel.sources.base import Offset, SourceContext

RATE_SCHEMA = StructType([StructField("timestamp", TimestampType()), StructField("value", LongType())])


def rate_schema(options: Mapping[str, str], user_schema: StructType | None) -> StructType:
    """Both sources have one schema, and refuse a user's."""
    if user_schema is not None:
        raise error("_LEGACY_ERROR_TEMP_2242", provider="RateStreamProvider")
    return RATE_SCHEMA


def _number(options: Mapping[str, str], name: str, default: int | None, least: int) -> int:
    text = options.get(name.lower())
    if text is None and default is not None:
        return default
    try:
        value = int(text or "")
    except ValueError:
        value = least - 1
    if value < least:
        raise IllegalArgumentError(
            "INVALID_SOURCE_OPTION", {"option": name, "value": str(text), "expected": f"a whole number from {least}"}
        )
    return value


class RateSource:
    """`rowsPerSecond` rows a second. Offsets are whole seconds since the query's creation."""

    announces = False
    supports_available_now = False

    def __init__(self, scan: StreamingScan, context: SourceContext) -> None:
        options = {key.lower(): value for key, value in scan.options.items()}
        self._rate = _number(options, "rowsPerSecond", 1, 1)
        _number(options, "numPartitions", context.default_parallelism, 1)
        self._ramp_s = parse_duration_ms(options.get("rampuptime", "0s")) // 1000
        if self._ramp_s < 0:
            raise IllegalArgumentError(
                "INVALID_SOURCE_OPTION",
                {"option": "rampUpTime", "value": options["rampuptime"], "expected": "a duration from 0"},
            )
        self._clock = context.clock
        self._created_ms = self._creation_time(context)
        self._last_s = 0

    @staticmethod
    def _creation_time(context: SourceContext) -> int:
        """From the checkpoint, or now, and then kept there."""
        path = context.metadata_path / "0"
        try:
            lines = path.read_text("utf-8").split("\n")
        except FileNotFoundError:
            now = context.clock.now_ms()
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, f"v1\n{now}".encode())
            return now
        try:
            return int(lines[1])
        except (IndexError, ValueError) as bad:
            raise RunnelStateError("MALFORMED_LOG_FILE", {"text": "\n".join(lines), "path": str(path)}) from bad

    @property
    def schema(self) -> StructType:
        return RATE_SCHEMA

    @property
    def description(self) -> str:
        return f"RateStreamV2[rowsPerSecond={self._rate}, rampUpTimeSeconds={self._ramp_s}, numPartitions=default]"

    def _rows_until(self, second: int) -> int:
        """Rows made in the first `second` seconds: the rate grows evenly while it ramps up."""
        ramp = self._ramp_s
        if not ramp:
            return second * self._rate
        delta = self._rate // (ramp + 1)
        if second <= ramp:
            return delta * second * (second + 1) // 2
        return self._rows_until(ramp) + (second - ramp) * self._rate

    def initial_offset(self) -> Offset | None:
        return "0"

    def latest_offset(self, start: Offset | None, *, limited: bool) -> Offset | None:
        now_s = (self._clock.now_ms() - self._created_ms) // 1000
        self._last_s = max(self._last_s, now_s, 0 if start is None else int(start))
        return str(self._last_s)

    def prepare_for_available_now(self) -> None:
        raise internal_error("The rate source cannot say where its data ends.")

    def batch(self, start: Offset | None, end: Offset) -> pa.Table:
        first_s, last_s = 0 if start is None else int(start), int(end)
        low, high = self._rows_until(first_s), self._rows_until(last_s)
        values = np.arange(low, high, dtype=np.int64)
        span_ms = (last_s - first_s) * 1000
        offsets = np.rint((values - low) * (span_ms / max(high - low, 1))).astype(np.int64)
        times = (self._created_ms + first_s * 1000 + offsets) * 1000
        return pa.table({"timestamp": pa.array(times).cast(pa.timestamp("us")), "value": values})

    def commit(self, end: Offset) -> None:
        """Nothing is held."""

    def reported_latest(self) -> Offset | None:
        return str(self._last_s)

    def metrics(self) -> dict[str, Any]:
        return {}

    def stop(self) -> None:
        """Nothing is held."""


class RateMicroBatchSource:
    """`rowsPerBatch` rows in every batch. Offsets are `{"offset":rows so far,"timestamp":ms of the next batch}`."""

    announces = False
    supports_available_now = True

    def __init__(self, scan: StreamingScan, context: SourceContext) -> None:
        options = {key.lower(): value for key, value in scan.options.items()}
        self._rows = _number(options, "rowsPerBatch", None, 1)
        self._start_ms = _number(options, "startTimestamp", 0, 0)
        self._advance_ms = _number(options, "advanceMillisPerBatch", 1000, 0)
        _number(options, "numPartitions", context.default_parallelism, 1)
        self._frozen = False
        self._taken = False
        self._latest: Offset | None = None
        context.wake.set()

    @property
    def schema(self) -> StructType:
        return RATE_SCHEMA

    @property
    def description(self) -> str:
        return f"RatePerMicroBatchStream[rowsPerBatch={self._rows}, numPartitions=default, startTimestamp={self._start_ms}, advanceMsPerBatch={self._advance_ms}]"

    def _offset(self, rows: int, ms: int) -> Offset:
        return json.dumps({"offset": rows, "timestamp": ms}, separators=(",", ":"))

    def initial_offset(self) -> Offset | None:
        return self._offset(0, self._start_ms)

    def latest_offset(self, start: Offset | None, *, limited: bool) -> Offset | None:
        if self._frozen and self._taken:
            return start
        at = json.loads(start if start is not None else self._offset(0, self._start_ms))
        self._taken = True
        self._latest = self._offset(at["offset"] + self._rows, at["timestamp"] + self._advance_ms)
        return self._latest

    def prepare_for_available_now(self) -> None:
        """Exactly one more batch, as in Spark."""
        self._frozen, self._taken = True, False

    def batch(self, start: Offset | None, end: Offset) -> pa.Table:
        low = json.loads(start if start is not None else self._offset(0, self._start_ms))
        high = json.loads(end)
        if high["offset"] < low["offset"] or high["timestamp"] < low["timestamp"]:
            raise error(
                "MALFORMED_STATE_IN_RATE_PER_MICRO_BATCH_SOURCE.INVALID_OFFSET", startOffset=start, endOffset=end
            )
        values = np.arange(low["offset"], high["offset"], dtype=np.int64)
        times = np.full(len(values), low["timestamp"] * 1000, np.int64)
        return pa.table({"timestamp": pa.array(times).cast(pa.timestamp("us")), "value": values})

    def commit(self, end: Offset) -> None:
        """Nothing is held."""

    def reported_latest(self) -> Offset | None:
        return self._latest

    def metrics(self) -> dict[str, Any]:
        return {}

    def stop(self) -> None:
        """Nothing is held."""
