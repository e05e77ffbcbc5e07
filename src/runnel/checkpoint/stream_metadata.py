"""``metadata``: the id of a query, a UUID that stays the same for the life of its checkpoint."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path

from runnel.checkpoint.metadata_log import read_object, to_json
from runnel.errors import RunnelStateError
from runnel.files import list_names, make_directories, write_atomic

FILE_NAME = "metadata"


@dataclass(frozen=True, slots=True)
class StreamMetadata:
    """What the file holds: ``{"id":"<uuid>"}``."""

    id: str

    @classmethod
    def read(cls, checkpoint: Path) -> StreamMetadata | None:
        """None if there is no file. Raises RunnelStateError for a file without an id."""
        path = checkpoint / FILE_NAME
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        if not text:
            raise RunnelStateError("INCOMPLETE_LOG_FILE", path=path)
        query_id = read_object(text, path).get("id")
        if not isinstance(query_id, str):
            raise RunnelStateError("MALFORMED_LOG_FILE", path=path, text=text)
        return cls(query_id)

    @classmethod
    def read_or_create(
        cls, checkpoint: Path, *, new_id: str | None = None, verify: bool = True, sync: bool = True
    ) -> StreamMetadata:
        """Read the file, or make one with ``new_id`` (a random UUID if None); creates the directory.

        ``verify`` is ``spark.sql.streaming.checkpoint.verifyMetadataExists.enabled``: a checkpoint that has logs but
        lost this file is refused with STREAMING_CHECKPOINT_MISSING_METADATA_FILE, as its query is no longer known.
        """
        found = cls.read(checkpoint)
        if found is not None:
            return found
        if verify and any(list_names(checkpoint / log) for log in ("offsets", "commits")):
            raise RunnelStateError("STREAMING_CHECKPOINT_MISSING_METADATA_FILE", checkpointLocation=checkpoint)
        created = cls(new_id or str(uuid.uuid4()))
        make_directories(checkpoint, sync=sync)
        write_atomic(checkpoint / FILE_NAME, to_json({"id": created.id}).encode(), overwrite=False, sync=sync)
        return created
