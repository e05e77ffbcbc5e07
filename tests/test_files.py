"""Durable writes, listings, URIs and locks."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnel import files
from runnel.files import DurableDirectory, FileLock, LockHeldError


@pytest.mark.parametrize("sync", [True, False])
def test_write_and_replace(tmp_path: Path, sync: bool) -> None:
    target = tmp_path / "a"
    files.write_atomic(target, b"1", sync=sync)
    (tmp_path / ".a.crc").write_bytes(b"crc")
    files.write_atomic(target, b"22", sync=sync)
    assert target.read_bytes() == b"22"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_no_overwrite_keeps_the_first(tmp_path: Path) -> None:
    files.write_atomic(tmp_path / "a", b"1", overwrite=False)
    with pytest.raises(FileExistsError):
        files.write_atomic(tmp_path / "a", b"2", overwrite=False)
    assert (tmp_path / "a").read_bytes() == b"1"
    assert files.list_names(tmp_path, hidden=True) == ["a"]


def test_missing_directory(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        files.write_atomic(tmp_path / "no" / "a", b"")
    assert files.list_names(tmp_path / "no") == []


@pytest.mark.skipif(os.name != "posix", reason="Windows renames without links")
@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP])
def test_no_overwrite_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def refuse(source: str, target: str) -> None:
        raise OSError(code, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    with DurableDirectory(tmp_path) as directory:
        directory.write("a", b"1", overwrite=False)
        with pytest.raises(FileExistsError):
            directory.write("a", b"2", overwrite=False)
    assert files.list_names(tmp_path, hidden=True) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"1"


def test_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "disk full")

    monkeypatch.setattr(files, "_sync_file", full)
    with pytest.raises(OSError, match="disk full"):
        files.write_atomic(tmp_path / "a", b"1")
    assert files.list_names(tmp_path, hidden=True) == []


def test_exactly_one_of_many_writers_wins(tmp_path: Path) -> None:
    won: list[int] = []
    barrier = threading.Barrier(8)
    directory = DurableDirectory(tmp_path)

    def write(number: int) -> None:
        barrier.wait()
        try:
            directory.write("a", b"%d" % number, overwrite=False)
        except FileExistsError:
            return
        won.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    directory.close()
    assert len(won) == 1
    assert (tmp_path / "a").read_bytes() == b"%d" % won[0]


def test_durable_directory(tmp_path: Path) -> None:
    directory = DurableDirectory(tmp_path / "x" / "y")
    directory.write("b", b"b")
    directory.write("a", b"a")
    (directory.path / ".b.crc").write_bytes(b"")
    assert directory.names() == ["a", "b"]
    assert directory.read("b") == b"b"
    assert directory.remove("b")
    assert not directory.remove("b")
    assert not directory.exists("b")
    directory.close()
    directory.write("c", b"")
    directory.close()
    assert directory.names(hidden=True) == ["a", "c"]
    with pytest.raises(FileNotFoundError):
        DurableDirectory(tmp_path / "none", create=False)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.json", True),
        ("_SUCCESS", False),
        ("_k=1", True),
        (".a.crc", False),
        ("a._COPYING_", False),
        ("_metadata", True),
        ("_common_metadata", True),
        ("_spark_metadata", False),
    ],
)
def test_data_names(name: str, data: bool) -> None:
    assert files.is_data_name(name) is data


def test_walk(tmp_path: Path) -> None:
    for name in ("a", "k=1/b", "k=1/_tmp/c", "_SUCCESS", ".h/d"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(b"xy")
        os.utime(path, (1_700_000_000, 1_700_000_000))
    found = sorted(files.walk_files(tmp_path), key=lambda entry: entry.path)
    assert [Path(entry.path).relative_to(tmp_path).as_posix() for entry in found] == ["a", "k=1/b"]
    assert {(entry.size, entry.modified_ms) for entry in found} == {(2, 1_700_000_000_000)}
    assert [entry.path for entry in files.walk_files(tmp_path, recursive=False)] == [str(tmp_path / "a")]
    with pytest.raises(FileNotFoundError):
        list(files.walk_files(tmp_path / "none"))


# The right column is what Spark 4.2 wrote for these names
URIS = [
    ("/data/in/f1.json", "file:///data/in/f1.json"),
    ("/in dir/b c%.json", "file:///in%20dir/b%20c%25.json"),
    ("/k=1&é.json", "file:///k=1&é.json"),
    ("/d+e,f;g.json", "file:///d+e,f;g.json"),
    ("/h[1]^`{|}.json", "file:///h%5B1%5D%5E%60%7B%7C%7D.json"),
    ("/u\u00a0\u2003x~!'()@$.json", "file:///u%C2%A0%E2%80%83x~!'()@$.json"),
    ("/g#q.json", "file:///g%23q.json"),
    ("/a b?c.json", "file:///a%20b%3Fc.json"),
]


@pytest.mark.parametrize(("path", "uri"), URIS)
def test_uri(path: str, uri: str) -> None:
    assert files.path_to_uri(path, windows=False) == uri
    assert files.uri_to_path(uri, windows=False) == path


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("file:/a%20b", "/a b"),
        ("file://localhost/a", "/a"),
        ("/a%20b", "/a%20b"),
        ("FILE:///a", "/a"),
        ("/a:b", "/a:b"),
    ],
)
def test_other_forms_of_uri(uri: str, path: str) -> None:
    assert files.uri_to_path(uri, windows=False) == path


def test_windows_uri() -> None:
    assert files.path_to_uri("C:\\a b\\c.json", windows=True) == "file:///C:/a%20b/c.json"
    assert files.uri_to_path("file:///C:/a%20b/c.json", windows=True) == "C:/a b/c.json"
    assert files.uri_to_path("C:\\a", windows=True) == "C:\\a"


@pytest.mark.parametrize("uri", ["s3://b/a", "file://other/a"])
def test_not_local(uri: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        files.uri_to_path(uri, windows=False)


def test_relative_path_has_no_uri() -> None:
    with pytest.raises(ValueError, match="absolute"):
        files.path_to_uri("a/b", windows=False)


@given(st.binary(max_size=40).filter(lambda name: b"\0" not in name))
def test_uri_both_ways(name: bytes) -> None:
    path = "/" + name.decode(errors="surrogateescape")
    uri = files.path_to_uri(path, windows=False)
    uri.encode()  # text that a log file can hold
    assert files.uri_to_path(uri, windows=False) == path


def test_lock_names_its_holder(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    with first:
        assert first.held
        with pytest.raises(LockHeldError) as caught:
            second.acquire()
        assert caught.value.holder is not None
        assert caught.value.holder.pid == os.getpid()
        assert f"process {os.getpid()} on " in str(caught.value)
        with pytest.raises(RuntimeError, match="twice"):
            first.acquire()
    assert not first.held
    assert first.holder() is None
    with second:
        pass


def test_lock_between_processes(tmp_path: Path) -> None:
    code = (
        "import sys; from runnel.files import FileLock; lock = FileLock(sys.argv[1]);"
        "lock.acquire(); print('held', flush=True); sys.stdin.read(1); import os; os._exit(1)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdin and child.stdout
    with child:
        assert child.stdout.readline() == "held\n"
        lock = FileLock(tmp_path / "lock")
        with pytest.raises(LockHeldError) as caught:
            lock.acquire()
        assert caught.value.holder and caught.value.holder.pid == child.pid
        child.stdin.write("x")
    lock.acquire()  # died without releasing: the system did
    lock.release()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_forked_child_does_not_hold_the_lock(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    lock.acquire()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(write)
        os.read(read, 1)
        os._exit(1 if lock.held else 0)
    os.close(read)
    lock.release()
    with FileLock(tmp_path / "lock"):
        os.close(write)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
