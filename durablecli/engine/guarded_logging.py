"""Calls that log from the engine's thread: what they raise is printed, and doesn't stop the engine."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from contextlib import suppress


def log_guarded(log: Callable[..., object], *arguments: object, **keywords: object) -> None:
    """Call a function that logs. An author's handler or filter may raise anything, and a line is no reason to stop."""
    try:
        log(*arguments, **keywords)
    except Exception:  # noqa: BLE001 - user code
        with suppress(OSError, ValueError):  # standard error takes nothing
            traceback.print_exc()
