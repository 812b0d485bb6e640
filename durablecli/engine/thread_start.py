"""Starting threads where the system may have none left: then the work waits, and a line says so."""

from __future__ import annotations

import logging
import threading
from time import monotonic

_WARN_EVERY = 60.0
_log = logging.getLogger("durablecli")
_warned = -_WARN_EVERY


def start_thread(thread: threading.Thread) -> bool:
    """Start it. False when the system has no thread left: try again later."""
    global _warned  # noqa: PLW0603 - the limit is the process's, so one line for all is enough
    try:
        thread.start()
    except (RuntimeError, MemoryError):
        if monotonic() - _warned >= _WARN_EVERY:
            _warned = monotonic()
            _log.warning(
                "no new thread can be started (%d are running): work waits until one can; "
                "raise the limit on processes (ulimit -u) or lower concurrency.activities",
                threading.active_count(),
            )
        return False
    return True
