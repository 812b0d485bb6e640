"""Starting threads when the system may have none left: the work waits, and a warning is logged."""

from __future__ import annotations

import logging
import threading
from time import monotonic

_WARN_INTERVAL = 60.0
_log = logging.getLogger("durablecli")
_warned_at = -_WARN_INTERVAL


def start_thread(thread: threading.Thread) -> bool:
    """Start a thread. False if the system has none left; try again later."""
    global _warned_at  # noqa: PLW0603 - the limit is the process's, so one line for all is enough
    try:
        thread.start()
    except (RuntimeError, MemoryError):
        if monotonic() - _warned_at >= _WARN_INTERVAL:
            _warned_at = monotonic()
            _log.warning(
                "cannot start a thread (%d are running); work waits until one can be started: "
                "raise the limit on processes (ulimit -u) or lower concurrency.activities",
                threading.active_count(),
            )
        return False
    return True
