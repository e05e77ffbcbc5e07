"""What becomes of a file source's files once they are processed: deleted, moved into an archive, or left alone."""

from __future__ import annotations

import fnmatch
import logging
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from runnel.checkpoint.compactible_log import SINK_LOG_NAME
from runnel.errors import IllegalArgumentError, UnsupportedOperationError
from runnel.files import path_to_uri, uri_to_path
from runnel.sources.file_listing import expand_braces, is_glob
from runnel.sources.file_options import FileSourceOptions

log = logging.getLogger("runnel.sources")


class FileCleaner:
    """Deletes or archives in a background thread. A file that cannot be cleaned is a warning, and stays."""

    def __init__(self, options: FileSourceOptions, root: str) -> None:
        """root: the source's path or pattern.

        Errors: UnsupportedOperationError for a file sink's directory; IllegalArgumentError for an archive directory
        inside what the source reads.
        """
        self._archive: str | None = None
        base = root if not is_glob(root) else os.path.dirname(root)  # noqa: PTH120
        if os.path.isdir(os.path.join(base, SINK_LOG_NAME)):  # noqa: PTH112, PTH118
            raise UnsupportedOperationError("_LEGACY_ERROR_TEMP_2261")
        if options.clean_source == "archive":
            self._archive = os.path.abspath(uri_to_path(options.source_archive_dir or ""))  # noqa: PTH100
            if _overlap(root, self._archive):
                raise IllegalArgumentError(
                    "_LEGACY_ERROR_TEMP_3102",
                    {"msg": f"The archive directory {path_to_uri(self._archive)} must not lie where the source "
                            f"reads ({root}), nor the reverse."},
                )  # fmt: skip
        self._pool = (
            ThreadPoolExecutor(options.cleaner_threads, "file-cleaner") if options.cleaner_threads > 0 else None
        )

    def clean(self, paths: Iterable[str]) -> None:
        """Takes files to be cleaned. Returns at once unless there are no threads."""
        for path in paths:
            if self._pool is None:
                self._clean(path)
            else:
                self._pool.submit(self._clean, path)

    def _clean(self, path: str) -> None:
        try:
            if self._archive is None:
                os.unlink(path)  # noqa: PTH108
                return
            target = os.path.join(self._archive, os.path.splitdrive(path)[1].lstrip("/\\"))  # noqa: PTH118
            os.makedirs(os.path.dirname(target), exist_ok=True)  # noqa: PTH103, PTH120
            os.replace(path, target)  # noqa: PTH105
        except FileNotFoundError:
            return
        except OSError as problem:
            log.warning("The processed file %s could not be cleaned: %s", path, problem)

    def stop(self) -> None:
        """Waits for what was taken."""
        if self._pool is not None:
            self._pool.shutdown(wait=True)


def _overlap(pattern: str, archive: str) -> bool:
    """Whether the pattern and the archive's path match at the smaller of both depths."""
    for plain in expand_braces(os.path.abspath(pattern)):  # noqa: PTH100
        source, target = Path(plain).parts, Path(archive).parts
        depth = min(len(source), len(target))
        if all(fnmatch.fnmatchcase(t, s) for s, t in zip(source[:depth], target[:depth], strict=True)):
            return True
    return False
