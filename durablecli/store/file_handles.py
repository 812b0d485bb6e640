"""File handles: when the process or the system has run out of them, wait until another is closed.

Files are opened before anything is written, so another attempt repeats nothing.
"""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
from collections.abc import Callable
from time import monotonic, sleep
from typing import TypeVar

_T = TypeVar("_T")

HANDLE_TIMEOUT = 300.0
"""Seconds to wait for a handle."""
_RETRY_INTERVAL = 0.05
_WARNING_INTERVAL = 10.0
NO_HANDLE_ERRNOS = frozenset({errno.EMFILE, errno.ENFILE})
_HANDLES_OF_EVENT_LOOP = 3
"""A selector, and two sockets that wake it."""
_log = logging.getLogger("durablecli")


def wait_for_handle(attempt: Callable[[], _T]) -> _T:
    """Return the result of `attempt`, retrying it while no file handle is available."""
    try:
        return attempt()
    except (OSError, sqlite3.OperationalError) as error:
        if not _is_handle_shortage(error):
            raise
    return _retry(attempt)


def _retry(attempt: Callable[[], _T]) -> _T:
    began = monotonic()
    warn_at = began
    while True:
        try:
            return attempt()
        except (OSError, sqlite3.OperationalError) as error:
            now = monotonic()
            if not _is_handle_shortage(error) or now - began > HANDLE_TIMEOUT:
                raise
            if now >= warn_at:
                warn_at = now + _WARNING_INTERVAL
                _log.warning("no file handle is left: waiting until one is closed (ulimit -n sets the limit)")
        sleep(_RETRY_INTERVAL)


def _is_handle_shortage(error: OSError | sqlite3.OperationalError) -> bool:
    if isinstance(error, OSError):
        return error.errno in NO_HANDLE_ERRNOS
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_CANTOPEN and not _can_open_file()


def _can_open_file() -> bool:
    """Check for a free handle, because SQLite doesn't report why it couldn't open a file."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        return error.errno not in NO_HANDLE_ERRNOS
    return True


def check_handles_for_event_loop() -> None:
    """Raise OSError if there aren't enough file handles to create an event loop.

    A loop that is only half created prints a traceback as soon as it is freed.
    """
    handles: list[int] = []
    try:
        for _ in range(_HANDLES_OF_EVENT_LOOP):
            handles.append(os.open(os.devnull, os.O_RDONLY))
    finally:
        for each in handles:
            os.close(each)
