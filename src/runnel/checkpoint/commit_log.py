"""``commits/N``: batch N is complete; written after the sink and the state.

```
v1
{"nextBatchWatermarkMs":1704067202000}
```

Version 2 adds the ids of RocksDB checkpoints; it is read, never written.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from runnel.checkpoint.metadata_log import MetadataLog, check_version, read_lines, read_long, read_object

NEWEST_VERSION = 2


@dataclass(frozen=True, slots=True)
class CommitMetadata:
    """The watermark, in ms since the epoch, with which the next batch starts."""

    next_batch_watermark_ms: int = 0


class CommitLog(MetadataLog[CommitMetadata]):
    """The batches that are complete."""

    def _encode(self, value: CommitMetadata) -> bytes:
        return f'v1\n{{"nextBatchWatermarkMs":{value.next_batch_watermark_ms}}}'.encode()

    def _decode(self, data: bytes, path: Path) -> CommitMetadata:
        lines = read_lines(data, path)
        check_version(lines[0], NEWEST_VERSION, path)
        if len(lines) < 2 or not lines[1]:
            return CommitMetadata()
        return CommitMetadata(read_long(read_object(lines[1], path), "nextBatchWatermarkMs", 0, path))
