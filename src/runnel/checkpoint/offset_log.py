"""``offsets/N``: what batch N reads, written before any data is touched.

```
v1
{"batchWatermarkMs":0,"batchTimestampMs":1795369384387,"conf":{…}}
<offset JSON of source 0>
-
```

Version 2 (Spark 4.2, ``offsetLog.formatVersion``) names the source of each line: ``0:{"logOffset":3}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from runnel.checkpoint.metadata_log import MetadataLog, check_version, read_lines, read_long, read_object, to_json
from runnel.errors import RunnelStateError

NO_OFFSET = "-"
NEWEST_VERSION = 2

_KNOWN = ("batchWatermarkMs", "batchTimestampMs", "conf")


@dataclass(frozen=True, slots=True)
class OffsetSeqMetadata:
    """What a batch is run with: watermark and time in ms since the epoch, and the pinned configuration.

    ``extra`` holds what else the line carried (Spark's version 2 adds ``sourceMetadataInfo``), so that it is not lost.
    """

    batch_watermark_ms: int = 0
    batch_timestamp_ms: int = 0
    conf: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OffsetSeq:
    """The end offset of each source, in plan order, as JSON text; None for a source without one.

    ``metadata`` is None in logs so old that they have none. ``source_ids`` are the names of version 2, and None in
    version 1, where the position is the name; a version 2 log of unnamed sources counts from "0".
    """

    offsets: tuple[str | None, ...]
    metadata: OffsetSeqMetadata | None = None
    source_ids: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.source_ids is not None and len(self.source_ids) != len(self.offsets):
            raise ValueError(f"{len(self.source_ids)} source ids for {len(self.offsets)} offsets")


class OffsetLog(MetadataLog[OffsetSeq]):
    """The write-ahead log of a query. Both versions are read; ``version`` is written."""

    def __init__(self, directory: Path | str, *, version: int = 1, sync: bool = True) -> None:
        """A log that has entries keeps the version of its newest one; ``version`` counts for an empty log only.

        Raises RunnelStateError if the newest entry has no version or one that is too new.
        """
        super().__init__(directory, sync=sync)
        if version not in (1, 2):
            raise ValueError(f"offset log version {version}")
        newest = self.latest_id()
        if newest is not None:
            path = self.path / str(newest)
            version = check_version(read_lines(path.read_bytes(), path)[0], NEWEST_VERSION, path)
        self.version = version
        self._conf: tuple[Mapping[str, str], str] = ({}, "{}")

    def _encode(self, value: OffsetSeq) -> bytes:
        lines = [f"v{self.version}", self._encode_metadata(value.metadata)]
        offsets = (NO_OFFSET if offset is None else offset for offset in value.offsets)
        if self.version == 1:
            lines.extend(offsets)
        else:
            ids = value.source_ids or tuple(str(index) for index in range(len(value.offsets)))
            lines.extend(f"{source}:{offset}" for source, offset in zip(ids, offsets, strict=True))
        for line in lines:
            if "\n" in line:
                raise ValueError(f"an offset must be one line: {line!r}")
        return "\n".join(lines).encode()

    def _encode_metadata(self, metadata: OffsetSeqMetadata | None) -> str:
        if metadata is None:
            return ""
        conf, conf_text = self._conf
        if metadata.conf != conf:  # the same from batch to batch, and by far the longest part
            conf, conf_text = self._conf = dict(metadata.conf), to_json(dict(metadata.conf))
        extra = dict(metadata.extra)
        if self.version == 2:
            extra.setdefault("sourceMetadataInfo", {})
        more = "," + to_json(extra)[1:-1] if extra else ""
        return (
            f'{{"batchWatermarkMs":{metadata.batch_watermark_ms},"batchTimestampMs":{metadata.batch_timestamp_ms},'
            f'"conf":{conf_text}{more}}}'
        )

    def _decode(self, data: bytes, path: Path) -> OffsetSeq:
        lines = read_lines(data, path)
        version = check_version(lines[0], NEWEST_VERSION, path)
        if len(lines) < 2:
            raise RunnelStateError("INCOMPLETE_LOG_FILE", path=path)
        metadata = _decode_metadata(lines[1], path) if lines[1] else None
        if version == 1:
            return OffsetSeq(tuple(map(_offset, lines[2:])), metadata)
        ids, offsets = [], []
        for line in lines[2:]:
            source, colon, offset = line.partition(":")
            if not colon:
                raise RunnelStateError("MALFORMED_LOG_FILE", path=path, text=line)
            ids.append(source)
            offsets.append(_offset(offset))
        return OffsetSeq(tuple(offsets), metadata, tuple(ids))


def _offset(line: str) -> str | None:
    return None if line == NO_OFFSET else line


def _decode_metadata(line: str, path: Path) -> OffsetSeqMetadata:
    entry = read_object(line, path)
    conf = entry.get("conf", {})
    if not isinstance(conf, dict):
        raise RunnelStateError("MALFORMED_LOG_FILE", path=path, text=line)
    return OffsetSeqMetadata(
        read_long(entry, "batchWatermarkMs", 0, path),
        read_long(entry, "batchTimestampMs", 0, path),
        {str(key): str(value) for key, value in conf.items()},
        {key: value for key, value in entry.items() if key not in _KNOWN},
    )
