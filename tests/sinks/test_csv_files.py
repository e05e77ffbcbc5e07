"""Files of CSV, JSON and text, byte for byte as Spark 4.2 was seen to write them."""

from __future__ import annotations

import bz2
import gzip
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from runnel.errors import RunnelError
from runnel.plan.write_spec import WriteSpec
from runnel.session import Session, session
from runnel.sql import parse_statement


@pytest.fixture(scope="module")
def running() -> Iterator[Session]:
    with session() as made:
        yield made


def written(running: Session, folder: Path, query: str, kind: str, options: dict[str, str]) -> Path:
    place = folder / "out"
    running.write(WriteSpec(plan=parse_statement(query), format=kind, options=options, path=str(place)))
    (file,) = place.glob("part-*")
    return file


CSV: list[tuple[str, dict[str, str], bytes]] = [
    ("SELECT 1 a, 2 `b,c`, 3 ` d`, 4 `e\"f`, 5 `#g`", {"header": "true"}, b'a,"b,c",d,"e\\"f",#g\n1,2,3,4,5\n'),
    ("SELECT 5 `#g`, 6 ` h`", {"header": "true"}, b'"#g",h\n5,6\n'),
    ("SELECT 5 g, 6 ` h `", {"header": "true", "quoteAll": "true", "ignoreLeadingWhiteSpace": "false",
                             "ignoreTrailingWhiteSpace": "false"}, b'"g"," h "\n"5","6"\n'),
    ("SELECT 1 a WHERE false", {"header": "true"}, b"a\n"),
    ("SELECT 1 a WHERE false", {}, b""),
    ("SELECT CAST(NULL AS STRING) a UNION ALL SELECT 'x' UNION ALL SELECT ''", {}, b'x\n""\n'),
    ("SELECT CAST(NULL AS STRING) a UNION ALL SELECT 'x'", {"nullValue": "N"}, b"N\nx\n"),
    ("SELECT CAST(NULL AS STRING) a, CAST(NULL AS INT) b", {}, b",\n"),
    ("SELECT 1 a UNION ALL SELECT 2", {"lineSep": "\r\n"}, b"1\r\n2\r\n"),
    ("SELECT 1 a, 'x' b", {"delimiter": "\\t"}, b"1\tx\n"),
    ("SELECT 'é' a", {"encoding": "ISO-8859-1"}, b"\xe9\n"),
    ("SELECT 'é' a", {"encoding": "UTF-16"}, b"\xfe\xff\x00\xe9\x00\n"),
    ("SELECT timestamp'2024-02-29 12:34:56' k, date'2024-01-02' d",
     {"timeZone": "America/New_York", "timestampFormat": "dd, MMM yyyy HH:mm XXX", "dateFormat": "d,M,y"},
     b'"29, Feb 2024 07:34 -05:00","2,1,2024"\n'),
]  # fmt: skip


@pytest.mark.parametrize(("query", "options", "expected"), CSV, ids=lambda v: str(v)[:40])
def test_csv(running: Session, tmp_path: Path, query: str, options: dict[str, str], expected: bytes) -> None:
    assert written(running, tmp_path, query, "csv", options).read_bytes() == expected


JSON = [
    ("SELECT map(date'2024-01-01', 1) b, map(timestamp'2024-01-01 00:00:00', 1) c, map(true, 2) d", {},
     '{"b":{"19723":1},"c":{"1704067200000000":1},"d":{"true":2}}\n'),
    ("SELECT CAST(0 AS DECIMAL(10, 8)) z, CAST(-0.00000012 AS DECIMAL(20, 8)) y, CAST(0.000001 AS DECIMAL(20, 10)) x",
     {}, '{"z":0E-8,"y":-1.2E-7,"x":0.0000010000}\n'),
    ("SELECT CAST(NULL AS INT) a, X'0041FF' b", {"ignoreNullFields": "false"}, '{"a":null,"b":"AEH/"}\n'),
    ("SELECT CAST(NULL AS INT) a", {}, "{}\n"),
]  # fmt: skip


@pytest.mark.parametrize(("query", "options", "expected"), JSON)
def test_json(running: Session, tmp_path: Path, query: str, options: dict[str, str], expected: str) -> None:
    assert written(running, tmp_path, query, "json", options).read_text() == expected


def test_compression(running: Session, tmp_path: Path) -> None:
    zipped = written(running, tmp_path / "a", "SELECT 1 a", "csv", {"codec": "gzip", "header": "true"})
    assert zipped.name.endswith(".csv.gz")
    assert gzip.decompress(zipped.read_bytes()) == b"a\n1\n"
    zipped = written(running, tmp_path / "b", "SELECT 'x' a", "text", {"compression": "bzip2"})
    assert zipped.name.endswith(".txt.bz2")
    assert bz2.decompress(zipped.read_bytes()) == b"x\n"


def test_instants_in_parquet_have_their_zone_at_any_depth(running: Session, tmp_path: Path) -> None:
    query = (
        "SELECT array(timestamp'2024-01-01 01:02:03') a, map(1, timestamp'2024-01-01 01:02:03') m, "
        "struct(timestamp_ntz'2024-01-01 01:02:03' AS n, timestamp'2024-01-01 01:02:03' AS t) s"
    )
    file = pq.ParquetFile(written(running, tmp_path, query, "parquet", {}))
    adjusted = ["isAdjustedToUTC=true" in str(file.schema.column(i).logical_type) for i in range(len(file.schema))]
    assert adjusted == [True, False, True, False, True]


REFUSED = [
    ("SELECT array(1) a", "csv", {}, "UNSUPPORTED_DATA_TYPE_FOR_DATASOURCE"),
    ("SELECT time'12:34:56' a", "csv", {}, "UNSUPPORTED_TIME_TYPE"),
    ("SELECT time'12:34:56' a", "json", {}, "UNSUPPORTED_TIME_TYPE"),
    ("SELECT array(make_interval(1)) a", "json", {}, "UNSUPPORTED_DATA_TYPE_FOR_DATASOURCE"),
    ("SELECT 1 a", "text", {}, "UNSUPPORTED_DATA_TYPE_FOR_DATASOURCE"),
    ("SELECT 1 a", "csv", {"compression": "bogus"}, "CODEC_NOT_AVAILABLE.WITH_AVAILABLE_CODECS_SUGGESTION"),
    ("SELECT 1 a", "csv", {"encoding": "nope"}, "INVALID_PARAMETER_VALUE.CHARSET"),
]


@pytest.mark.parametrize(("query", "kind", "options", "condition"), REFUSED)
def test_refusals(
    running: Session, tmp_path: Path, query: str, kind: str, options: dict[str, str], condition: str
) -> None:
    with pytest.raises(RunnelError) as raised:
        written(running, tmp_path, query, kind, options)
    assert raised.value.condition == condition
