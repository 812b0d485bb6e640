"""Remembers which instances accept events, so that sending many events to one doesn't get slower with each.

Checking an instance means reading its history and its pending messages, and both grow with every event. What has been
written since the last check is enough to know whether its result still holds.
"""

from __future__ import annotations

from typing import NamedTuple

from durablecli.store.end_detector import EndDetector, WritePosition

_MAX_ENTRIES = 1_000


class _Entry(NamedTuple):
    position: WritePosition
    posted_count: int


class EventTargetCache:
    """The instances that accepted events when they were last checked."""

    def __init__(self, end_detector: EndDetector) -> None:
        self._end_detector = end_detector
        self._entries: dict[str, _Entry] = {}
        self._posted_count = 0

    def read_position(self, instance: str) -> WritePosition:
        """Return the present position; call it before the instance is read."""
        return self._end_detector.read_position(instance)

    def accepts_events(self, instance: str) -> bool:
        """Whether the instance accepted events at the last check and can't have ended since."""
        entry = self._entries.pop(instance, None)
        if entry is None:
            return False
        now = self._end_detector.advance_if_live(entry.position, instance, self._posted_count - entry.posted_count)
        if now is not None:
            self._entries[instance] = _Entry(now, self._posted_count)
        return now is not None

    def remember(self, instance: str, position: WritePosition) -> None:
        """Remember that the instance accepts events, as a read after this position showed."""
        if len(self._entries) >= _MAX_ENTRIES:
            self._entries.clear()
        self._entries[instance] = _Entry(position, self._posted_count)

    def count_posted_event(self) -> None:
        """Count an event that the client has posted to the inbox."""
        self._posted_count += 1
