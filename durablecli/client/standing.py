"""Remembers for a moment that an instance takes events, so that whoever sends many isn't slowed down by their number.

Looking whether it does means reading its history and what waits for it, and both grow with every event. Between looking
and taking an instance may end in any case; a moment more of that changes nothing.
"""

from __future__ import annotations

from time import monotonic

_AT_LEAST = 0.2
_TIMES = 10
_MOST = 1_000


class Standing:
    """Until when each instance needn't be looked at again: the longer the last look took, the later."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def holds(self, instance: str) -> bool:
        """Whether it was looked at just now, and took events."""
        return monotonic() < self._until.get(instance, 0.0)

    def looked(self, instance: str, since: float) -> None:
        """It takes events: a look that began at `since` says so."""
        if len(self._until) >= _MOST:
            self._until.clear()
        now = monotonic()
        self._until[instance] = now + max(_AT_LEAST, _TIMES * (now - since))

    def forget(self) -> None:
        """Something has been seen or done that may have changed it."""
        self._until.clear()
