"""What the client uploads: pieces of local data by hash, and files."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterable

from pyspark.sql.connect.proto import base_pb2

from runnel.errors import InvalidPlanError


class ArtifactStore:
    """Uploaded bytes by name (`cache/<hash>`, `pyfiles/…`). Files need no place of their own: the process has them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._data: dict[str, bytes] = {}

    def get(self, name: str) -> bytes:
        """The bytes of an artifact; InvalidPlanError if it was never uploaded."""
        with self._lock:
            data = self._data.get(name)
        if data is None:
            raise InvalidPlanError("INTERNAL_ERROR", message=f"The artifact {name} was not uploaded.")
        return data

    def has(self, name: str) -> bool:
        with self._lock:
            return name in self._data

    def add(self, requests: Iterable[base_pb2.AddArtifactsRequest]) -> list[tuple[str, bool]]:
        """Takes whole and chunked uploads; gives each name and whether its checksum was right."""
        summary: list[tuple[str, bool]] = []
        name, ok = "", True
        pieces: list[bytes] = []

        def store(name: str, data: bytes, ok: bool) -> None:
            if ok and name.startswith("cache/"):
                with self._lock:
                    self._data[name] = data
            summary.append((name, ok))

        for request in requests:
            match request.WhichOneof("payload"):
                case "batch":
                    for one in request.batch.artifacts:
                        store(one.name, one.data.data, _intact(one.data))
                case "begin_chunk":
                    if pieces:
                        store(name, b"".join(pieces), ok)
                    chunk = request.begin_chunk.initial_chunk
                    name, pieces, ok = request.begin_chunk.name, [chunk.data], _intact(chunk)
                case "chunk":
                    pieces.append(request.chunk.data)
                    ok = ok and _intact(request.chunk)
        if pieces:
            store(name, b"".join(pieces), ok)
        return summary


def _intact(chunk: base_pb2.AddArtifactsRequest.ArtifactChunk) -> bool:
    return zlib.crc32(chunk.data) == chunk.crc
