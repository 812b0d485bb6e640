"""Waiting for another thread or process: by looking, never by a fixed sleep."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, sleep
from typing import Any


def wait_until(
    condition: Callable[[], Any], seconds: float = 20.0, description: str = "", interval: float = 0.005
) -> Any:
    """Evaluate the condition every `interval` seconds until it is true; return its value."""
    deadline = monotonic() + seconds
    while not (value := condition()):
        assert monotonic() < deadline, f"waited {seconds} s in vain: {description}"
        sleep(interval)
    return value
