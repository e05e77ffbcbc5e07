"""Things said once, through logging at info level: what is accepted for Spark's sake and has no effect here."""

from __future__ import annotations

import logging
import threading

log = logging.getLogger("runnel")
_lock = threading.Lock()
_said: set[str] = set()


def say_once(key: str, message: str, *arguments: object) -> None:
    """Logs the message unless one with this key was logged before in this process."""
    with _lock:
        if key in _said:
            return
        _said.add(key)
    log.info(message, *arguments)


def unneeded_setting(name: str) -> None:
    """Says that a setting only means something on a JVM or a cluster."""
    say_once(name, "%s is not needed: there is no JVM and no cluster. It is kept and has no effect.", name)
