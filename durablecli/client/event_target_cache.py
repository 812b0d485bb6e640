"""Remembers that an instance takes events, so that whoever sends many isn't slowed down by their number.

Looking whether it does means reading its history and what waits for it, and both grow with every event. What was
written since the last look is enough to know whether that look still holds.
"""

from __future__ import annotations

from typing import NamedTuple

from durablecli.store.end_detector import EndDetector, WritePosition

_MOST = 1_000


class _Known(NamedTuple):
    mark: WritePosition
    posted: int


class Standing:
    """The instances that took events when they were looked at."""

    def __init__(self, watch: EndDetector) -> None:
        self._watch = watch
        self._known: dict[str, _Known] = {}
        self._posted = 0

    def mark(self, instance: str) -> WritePosition:
        """The moment before a look at the instance."""
        return self._watch.read_position(instance)

    def holds(self, instance: str) -> bool:
        """Whether it took events at the last look, and nothing can have ended it since."""
        known = self._known.pop(instance, None)
        if known is None:
            return False
        now = self._watch.advance_if_live(known.mark, instance, self._posted - known.posted)
        if now is not None:
            self._known[instance] = _Known(now, self._posted)
        return now is not None

    def looked(self, instance: str, mark: WritePosition) -> None:
        """It takes events: a look after this mark says so."""
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[instance] = _Known(mark, self._posted)

    def posted(self) -> None:
        """The client has posted an event to the inbox."""
        self._posted += 1
