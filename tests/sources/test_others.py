"""Rate, socket and memory sources."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from pyspark.sql.types import StructType

from runnel.clock import ManualClock
from runnel.errors import AnalysisError, IllegalArgumentError, RunnelError
from runnel.plan.relations import StreamingScan
from runnel.sources.base import Source, SourceContext
from runnel.sources.memory import MemoryStream
from runnel.sources.registry import create_source, source_schema
from runnel.sql import parse_schema


@pytest.fixture
def context(tmp_path: Path) -> SourceContext:
    return SourceContext(tmp_path / "0", ManualClock(1000), "UTC", {}, 2, threading.Event())


def make(kind: str, context: SourceContext, **options: str) -> Source:
    return create_source(StreamingScan(source_key=1, format=kind, schema=StructType(), options=options), context)


def test_rate(context: SourceContext) -> None:
    source = make("rate", context, rowsPerSecond="2")
    assert source.initial_offset() == "0"
    context.clock.advance(2500)  # type: ignore[attr-defined]
    assert source.latest_offset("0", limited=True) == "2"
    table = source.batch("1", "2")
    assert table.column(1).to_pylist() == [2, 3]
    assert table.column(0).to_pylist() == [datetime(1970, 1, 1, 0, 0, 2), datetime(1970, 1, 1, 0, 0, 2, 500000)]  # noqa: DTZ001
    assert (context.metadata_path / "0").read_text() == "v1\n1000"
    assert make("rate", context).latest_offset("0", limited=True) == "2"


def test_rate_ramps_up_without_gaps(context: SourceContext) -> None:
    source = make("rate", context, rowsPerSecond="10", rampUpTime="4s")
    values = [source.batch(str(s), str(s + 1)).column(1).to_pylist() for s in range(8)]
    assert [v for second in values for v in second] == list(range(sum(map(len, values))))
    assert [len(v) for v in values] == [2, 4, 6, 8, 10, 10, 10, 10]


def test_rate_micro_batch(context: SourceContext) -> None:
    source = make("rate-micro-batch", context, rowsPerBatch="3", startTimestamp="500")
    start = source.initial_offset()
    assert start == '{"offset":0,"timestamp":500}'
    end = source.latest_offset(start, limited=True)
    assert end == '{"offset":3,"timestamp":1500}'
    assert source.batch(start, end).column(1).to_pylist() == [0, 1, 2]
    with pytest.raises(RunnelError) as caught:
        source.batch(end, start)
    assert caught.value.condition == "MALFORMED_STATE_IN_RATE_PER_MICRO_BATCH_SOURCE.INVALID_OFFSET"


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("rate", {"rowsPerSecond": "0"}),
        ("rate", {"numPartitions": "-1"}),
        ("rate", {"rampUpTime": "-1s"}),
        ("rate-micro-batch", {}),
    ],
)
def test_rate_refuses(context: SourceContext, kind: str, options: dict[str, str]) -> None:
    with pytest.raises(IllegalArgumentError):
        make(kind, context, **options)


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def test_socket(context: SourceContext, server: socket.socket) -> None:
    port = str(server.getsockname()[1])
    source = make("socket", context, host="127.0.0.1", port=port, includeTimestamp="true")
    assert source.schema.simpleString() == "struct<value:string,timestamp:timestamp>"
    assert source.initial_offset() == "-1"
    assert source.latest_offset(None, limited=True) == "-1"
    peer, _ = server.accept()
    with peer:
        peer.sendall(b"a\r\n\xff\n")
        wait_for(source, context, "1")
        table = source.batch("-1", "1")
        assert table.column(0).to_pylist() == ["a", "\ufffd"]
        assert table.column(1).to_pylist()[0] == datetime(1970, 1, 1, 0, 0, 1)  # noqa: DTZ001
        source.commit("1")
        peer.sendall(b"rest")
    wait_for(source, context, "2")
    assert source.batch("1", "2").column(0).to_pylist() == ["rest"]
    with pytest.raises(RunnelError):
        source.batch("-1", "2")
    source.stop()
    source.stop()


def wait_for(source: Source, context: SourceContext, offset: str) -> None:
    while source.latest_offset("-1", limited=True) != offset:
        assert context.wake.wait(10)
        context.wake.clear()


def test_socket_says_who_refused(context: SourceContext, server: socket.socket) -> None:
    port = server.getsockname()[1]
    server.close()
    with pytest.raises(RunnelError, match=f"127.0.0.1:{port}"):
        make("socket", context, host="127.0.0.1", port=str(port))


@pytest.mark.parametrize(
    ("options", "condition"), [({"port": "1"}, "_LEGACY_ERROR_TEMP_1295"), ({"host": "h"}, "_LEGACY_ERROR_TEMP_1296")]
)
def test_socket_needs_an_address(options: dict[str, str], condition: str) -> None:
    with pytest.raises(AnalysisError) as caught:
        source_schema("socket", options, None, (), {})
    assert caught.value.condition == condition


def test_memory(context: SourceContext) -> None:
    stream = MemoryStream(parse_schema("a int, b string"))
    source = make("memory", context, stream=stream.id)
    assert source.latest_offset(None, limited=True) is None
    assert stream.add_data([(1, "x"), {"a": 2, "b": None}]) == 0
    assert context.wake.is_set()
    source.prepare_for_available_now()
    stream.add_data([(3, "y")])
    assert source.latest_offset("-1", limited=True) == "0"
    assert source.batch("-1", "0").to_pylist() == [{"a": 1, "b": "x"}, {"a": 2, "b": None}]
    assert source.batch("0", "1").num_rows == 1
    source.stop()
