"""The file source: order, limits, memory of what was seen, cleaning, restarts."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from runnel.clock import ManualClock
from runnel.errors import AnalysisError, IllegalArgumentError, InvalidPlanError, RunnelError
from runnel.plan.relations import FileScan, StreamingScan
from runnel.sources.base import SourceContext
from runnel.sources.file_listing import expand_braces
from runnel.sources.files import FileStreamSource, SeenFiles
from runnel.sources.registry import create_source, source_schema
from runnel.sql import parse_schema

DAY_S = 86_400


def context(tmp_path: Path, **conf: str) -> SourceContext:
    return SourceContext(tmp_path / "checkpoint/sources/0", ManualClock(10**12), "UTC", conf, 2, threading.Event())


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    path = tmp_path / "in"
    path.mkdir()
    return path


def put(inbox: Path, name: str, at_s: int = 1_700_000_000, content: str = '{"a":1}') -> Path:
    path = inbox / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    os.utime(path, (at_s, at_s))
    return path


def make(tmp_path: Path, inbox: Path | str, **options: str) -> FileStreamSource:
    schema = source_schema("json", options, parse_schema("a int"), (str(inbox),), {})
    scan = StreamingScan(source_key=1, format="json", schema=schema, options=options, paths=(str(inbox),))
    source = create_source(scan, context(tmp_path))
    assert isinstance(source, FileStreamSource)
    return source


def names(source: FileStreamSource, start: str | None, end: str | None) -> list[str]:
    assert end is not None
    scan = source.batch(start, end)
    assert isinstance(scan, FileScan)
    return [Path(p).name for p in scan.paths]


def drain(source: FileStreamSource) -> list[list[str]]:
    """All batches until nothing is new."""
    batches, start = [], None
    while True:
        end = source.latest_offset(start, limited=True)
        if end is None or end == start:
            source.stop()
            return batches
        batches.append(names(source, start, end))
        start = end


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [["c", "b", "a"]]),
        ({"maxFilesPerTrigger": "2"}, [["c", "b"], ["a"]]),
        ({"latestFirst": "true", "maxFilesPerTrigger": "2"}, [["a", "b"], ["c"]]),
        ({"maxBytesPerTrigger": "15"}, [["c", "b"], ["a"]]),
        ({"maxBytesPerTrigger": "1"}, [["c"], ["b"], ["a"]]),
    ],
)
def test_order_and_limits(tmp_path: Path, inbox: Path, options: dict[str, str], expected: list[list[str]]) -> None:
    for name, at in (("a", 300), ("b", 200), ("c", 100)):
        put(inbox, name, at)
    assert drain(make(tmp_path, inbox, **options)) == expected


def test_what_is_no_data(tmp_path: Path, inbox: Path) -> None:
    for name in ("_x", ".y", "z._COPYING_", "sub/plain", "ok"):
        put(inbox, name)
    assert drain(make(tmp_path, inbox)) == [["ok"]]


def test_recursive_and_pattern(tmp_path: Path, inbox: Path) -> None:
    for name in ("sub/a.json", "b.json", "c.txt"):
        put(inbox, name)
    options = {"recursiveFileLookup": "true", "pathGlobFilter": "*.{json,csv}"}
    assert sorted(drain(make(tmp_path, inbox, **options))[0]) == ["a.json", "b.json"]


def test_restart_goes_on_behind_the_log(tmp_path: Path, inbox: Path) -> None:
    put(inbox, "a")
    first = make(tmp_path, inbox)
    assert first.latest_offset(None, limited=True) == '{"logOffset":0}'
    first.stop()
    log = (tmp_path / "checkpoint/sources/0/0").read_text().splitlines()
    assert log[0] == "v1"
    assert json.loads(log[1])["batchId"] == 0
    put(inbox, "b")
    put(inbox, "a", content='{"a":2}')
    again = make(tmp_path, inbox)
    assert again.latest_offset('{"logOffset":0}', limited=True) == '{"logOffset":1}'
    assert names(again, '{"logOffset":0}', '{"logOffset":1}') == ["b"]
    assert names(again, None, '{"logOffset":1}') == ["a", "b"]
    again.stop()


def test_new_files_after_the_first_listing(tmp_path: Path, inbox: Path) -> None:
    source = make(tmp_path, inbox)
    assert source.latest_offset(None, limited=True) is None
    put(inbox, "a")
    end = source.latest_offset(None, limited=True)
    assert names(source, None, end) == ["a"]
    assert source.latest_offset(end, limited=True) == end
    source.stop()


def test_too_old_is_ignored_for_ever(tmp_path: Path, inbox: Path) -> None:
    put(inbox, "new", 100 * DAY_S)
    source = make(tmp_path, inbox, maxFileAge="1d")
    end = source.latest_offset(None, limited=True)
    put(inbox, "old", 98 * DAY_S)
    put(inbox, "fresh", 99 * DAY_S)
    after = source.latest_offset(end, limited=True)
    assert names(source, end, after) == ["fresh"]
    source.stop()


def test_seen_files_by_name_and_purge() -> None:
    seen = SeenFiles(10, name_only=True)
    seen.add("/x/a", 100)
    assert not seen.is_new("/y/a", 105)
    seen.add("/x/b", 200)
    seen.purge()
    assert len(seen) == 1
    assert not seen.is_new("/x/c", 189)
    assert seen.is_new("/x/c", 190)


def test_available_now_ends_at_what_was_there(tmp_path: Path, inbox: Path) -> None:
    for name, at in (("a", 1), ("b", 2), ("c", 3)):
        put(inbox, name, at)
    source = make(tmp_path, inbox, maxFilesPerTrigger="2")
    source.prepare_for_available_now()
    put(inbox, "later", 4)
    assert drain(source) == [["a", "b"], ["c"]]


@pytest.mark.parametrize("clean", ["delete", "archive"])
def test_cleaning(tmp_path: Path, inbox: Path, clean: str) -> None:
    path = put(inbox, "a")
    archive = tmp_path / "archive"
    source = make(tmp_path, inbox, cleanSource=clean, sourceArchiveDir=str(archive))
    end = source.latest_offset(None, limited=True)
    assert end is not None
    source.commit(end)
    source.stop()
    assert not path.exists()
    moved = archive / path.relative_to(path.anchor)
    assert moved.exists() == (clean == "archive")


@pytest.mark.parametrize(
    "options",
    [
        {"maxFilesPerTrigger": "0"},
        {"maxFilesPerTrigger": "x"},
        {"maxFilesPerTrigger": "1", "maxBytesPerTrigger": "1"},
        {"modifiedAfter": "2024-01-01T00:00:00"},
        {"cleanSource": "maybe"},
        {"cleanSource": "archive"},
        {"discardCachedInputRatio": "2"},
        {"latestFirst": "perhaps"},
    ],
)
def test_bad_options(tmp_path: Path, inbox: Path, options: dict[str, str]) -> None:
    with pytest.raises(IllegalArgumentError):
        make(tmp_path, inbox, **options)


def test_archive_inside_the_source(tmp_path: Path, inbox: Path) -> None:
    with pytest.raises(IllegalArgumentError):
        make(tmp_path, inbox, cleanSource="archive", sourceArchiveDir=str(inbox / "done"))


def test_partitions_are_found_when_the_query_is_made(tmp_path: Path, inbox: Path) -> None:
    put(inbox, "k=1/a")
    put(inbox, "beside")
    schema = source_schema("json", {}, parse_schema("a int"), (str(inbox),), {})
    assert schema.simpleString() == "struct<a:int,k:int>"
    source = make(tmp_path, inbox)
    end = source.latest_offset(None, limited=True)
    assert end is not None
    scan = source.batch(None, end)
    assert (scan.partition_columns, scan.partition_values) == (("k",), (("1",),))
    source.stop()


def refused(**arguments: object) -> RunnelError:
    with pytest.raises(RunnelError) as caught:
        source_schema(**arguments)  # type: ignore[arg-type]
    return caught.value


def test_refusals_at_load(tmp_path: Path, inbox: Path) -> None:
    schema = parse_schema("a int")
    missing = {"options": {}, "user_schema": schema, "conf": {}}
    assert refused(format_name="json", paths=(str(tmp_path / "no"),), **missing).condition == "PATH_NOT_FOUND"
    assert refused(format_name="json", paths=(), **missing).condition == "_LEGACY_ERROR_TEMP_2047"
    assert refused(format_name="nope", paths=(), **missing).condition == "DATA_SOURCE_NOT_FOUND"
    assert refused(format_name="kafka", paths=(), **missing).condition == "_LEGACY_ERROR_TEMP_1140"
    assert refused(format_name="rate", paths=(), **missing).condition == "_LEGACY_ERROR_TEMP_2242"
    none = {"options": {}, "user_schema": None, "conf": {}}
    assert refused(format_name="json", paths=(str(inbox),), **none).condition == "_LEGACY_ERROR_TEMP_2048"
    assert isinstance(refused(format_name="json", paths=("a", "b"), **missing), InvalidPlanError)


def test_conflicting_directories(inbox: Path) -> None:
    put(inbox, "plain/a")
    put(inbox, "k=1/a")
    with pytest.raises(AnalysisError) as caught:
        source_schema("json", {}, parse_schema("a int"), (str(inbox),), {})
    assert caught.value.condition == "CONFLICTING_DIRECTORY_STRUCTURES"


def test_schema_inference_of_a_stream(inbox: Path) -> None:
    put(inbox, "a", content='{"b":1.5,"a":[{"x":1},{"y":null}]}\n{"c":{},"a":null}')
    conf = {"spark.sql.streaming.schemaInference": "true"}
    schema = source_schema("json", {}, None, (str(inbox),), conf)
    assert schema.simpleString() == "struct<a:array<struct<x:bigint,y:string>>,b:double>"


def test_braces() -> None:
    assert expand_braces("a{b,c{d,e}}f{1,2}") == ["abf1", "abf2", "acdf1", "acdf2", "acef1", "acef2"]
