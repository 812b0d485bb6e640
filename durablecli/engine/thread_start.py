"""Starting threads where the system may have none left: then the work waits, and a line says so."""

from __future__ import annotations

import logging
import threading
from time import monotonic

_WARN_INTERVAL = 60.0
_log = logging.getLogger("durablecli")
_warned_at = -_WARN_INTERVAL


def start_thread(thread: threading.Thread) -> bool:
    """Start it. False when the system has no thread left: try again later."""
    global _warned_at  # noqa: PLW0603 - the limit is the process's, so one line for all is enough
    try:
        thread.start()
    except (RuntimeError, MemoryError):
        if monotonic() - _warned_at >= _WARN_INTERVAL:
            _warned_at = monotonic()
            _log.warning(
                "no new thread can be started (%d are running): work waits until one can; "
                "raise the limit on processes (ulimit -u) or lower concurrency.activities",
                threading.active_count(),
            )
        return False
    return True
