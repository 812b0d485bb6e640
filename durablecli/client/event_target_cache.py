"""Remembers that an instance takes events, so that whoever sends many isn't slowed down by their number.

Looking whether it does means reading its history and what waits for it, and both grow with every event. What was
written since the last look is enough to know whether that look still holds.
"""

from __future__ import annotations

from typing import NamedTuple

from durablecli.store.end_detector import EndDetector, WritePosition

_MAX_ENTRIES = 1_000


class _Entry(NamedTuple):
    position: WritePosition
    posted_count: int


class EventTargetCache:
    """The instances that took events when they were looked at."""

    def __init__(self, watch: EndDetector) -> None:
        self._end_detector = watch
        self._entries: dict[str, _Entry] = {}
        self._posted_count = 0

    def read_position(self, instance: str) -> WritePosition:
        """The moment before a look at the instance."""
        return self._end_detector.read_position(instance)

    def accepts_events(self, instance: str) -> bool:
        """Whether it took events at the last look, and nothing can have ended it since."""
        known = self._entries.pop(instance, None)
        if known is None:
            return False
        now = self._end_detector.advance_if_live(known.position, instance, self._posted_count - known.posted_count)
        if now is not None:
            self._entries[instance] = _Entry(now, self._posted_count)
        return now is not None

    def remember(self, instance: str, position: WritePosition) -> None:
        """It takes events: a look after this mark says so."""
        if len(self._entries) >= _MAX_ENTRIES:
            self._entries.clear()
        self._entries[instance] = _Entry(position, self._posted_count)

    def count_posted_event(self) -> None:
        """The client has posted an event to the inbox."""
        self._posted_count += 1
