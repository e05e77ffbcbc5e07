"""Batch writes of files: `df.write.mode(…).partitionBy(…).save(path)`.

Files are made in a `_temporary` folder and moved into place when all are there, then `_SUCCESS` is written: a failed
write leaves the target as it was.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa
from pyspark.sql.types import StructType

from runnel.errors import AnalysisError, IllegalArgumentError, error
from runnel.files import uri_to_path
from runnel.plan.write_spec import WriteSpec
from runnel.sinks.file_formats import FileFormat, MakeRenderer, file_format, partition_positions, write_table

_MODES = {
    "append": "append",
    "overwrite": "overwrite",
    "ignore": "ignore",
    "error": "error",
    "errorifexists": "error",
    "default": "error",
}


def write_files(
    rows: Callable[[], pa.Table],
    schema: StructType,
    name: str,
    spec: WriteSpec,
    conf: Mapping[str, str],
    zone: str,
    make_renderer: MakeRenderer,
    parallelism: int,
) -> None:
    """Writes a frame. `rows` runs it, after all that can be refused was."""
    options = dict(spec.options)
    path = spec.path or options.get("path")
    mode = _MODES.get(spec.mode.lower())
    if mode is None:
        raise AnalysisError("INVALID_SAVE_MODE", {"mode": f'"{spec.mode}"'})
    if not path:
        raise error("_LEGACY_ERROR_TEMP_2047")
    if spec.bucket_by is not None:
        raise IllegalArgumentError("_LEGACY_ERROR_TEMP_1313", {"operation": "save"})
    partition_positions(schema, spec.partition_by)

    def format_of(body: StructType) -> FileFormat:
        return file_format(name, options, body, zone, make_renderer)

    # Without partitions the body is known before the frame runs: what cannot be written is refused first.
    whole = None if spec.partition_by else format_of(schema)
    target = Path(uri_to_path(path)).absolute()
    exists = target.exists()
    if exists and mode == "error":
        raise AnalysisError("PATH_ALREADY_EXISTS", {"outputPath": f"file:{target}"})
    if exists and mode == "ignore":
        return
    table = rows()
    work = target / "_temporary" / uuid.uuid4().hex
    try:
        made = write_table(
            table,
            work,
            schema,
            spec.partition_by,
            lambda body: whole or format_of(body),
            sync=False,
            parallelism=parallelism,
        )
        if mode == "overwrite" and exists:
            _clear(target, [p.parent.relative_to(work) for p in made], dynamic=_dynamic(options, conf))
        for file in made:
            place = target / file.relative_to(work)
            place.parent.mkdir(parents=True, exist_ok=True)
            file.replace(place)
    finally:
        shutil.rmtree(target / "_temporary", ignore_errors=True)
    (target / "_SUCCESS").touch()


def _dynamic(options: Mapping[str, str], conf: Mapping[str, str]) -> bool:
    low = {key.lower(): value for key, value in options.items()}
    mode = low.get("partitionoverwritemode") or conf.get("spark.sql.sources.partitionOverwriteMode", "static")
    return mode.lower() == "dynamic"


def _clear(target: Path, written: list[Path], *, dynamic: bool) -> None:
    """Removes what an overwrite replaces: everything, or only the partitions that are written."""
    if target.is_file():
        target.unlink()
        return
    places = {target / place for place in written if place != Path()} if dynamic else {target}
    for place in places or {target}:
        if not place.is_dir():
            continue
        for child in place.iterdir():
            if child.name == "_temporary":
                continue
            if child.is_dir() and not child.is_symlink():
                shutil.rmtree(child)
            else:
                child.unlink()
