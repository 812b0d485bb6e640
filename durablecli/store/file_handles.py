"""File handles: where the process or the system has none left, what needs one waits until another is closed.

Opening comes before writing, so nothing has happened yet that another attempt could repeat.
"""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
from collections.abc import Callable
from time import monotonic, sleep
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 300.0
"""Seconds to wait for a handle."""
_AGAIN = 0.05
_WARN_EVERY = 10.0
_NO_HANDLES = (errno.EMFILE, errno.ENFILE)
_log = logging.getLogger("durablecli")


def patiently(attempt: Callable[[], T]) -> T:
    """What `attempt` returns; while there is no file handle for it, it is tried again."""
    try:
        return attempt()
    except (OSError, sqlite3.OperationalError) as error:
        if not _lacks_handle(error):
            raise
    return _try_again(attempt)


def _try_again(attempt: Callable[[], T]) -> T:
    began = monotonic()
    warn_at = began
    while True:
        try:
            return attempt()
        except (OSError, sqlite3.OperationalError) as error:
            now = monotonic()
            if not _lacks_handle(error) or now - began > PATIENCE:
                raise
            if now >= warn_at:
                warn_at = now + _WARN_EVERY
                _log.warning("no file handle is left: waiting until one is closed (ulimit -n sets the limit)")
        sleep(_AGAIN)


def _lacks_handle(error: OSError | sqlite3.OperationalError) -> bool:
    if isinstance(error, OSError):
        return error.errno in _NO_HANDLES
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_CANTOPEN and not _has_handle()


def _has_handle() -> bool:
    """SQLite doesn't say why it couldn't open a file."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        return error.errno not in _NO_HANDLES
    return True
