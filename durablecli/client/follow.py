"""A history as it grows: what is on disk beyond what was seen before, until the instance has ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import NamedTuple

from durablecli.client.status_reader import Reader, parse
from durablecli.model.events import Record

_FIRST_PAUSE = 0.002
_LONGEST_PAUSE = 0.2
_BLIND = 5.0  # a stamp that didn't change is believed for so long


class Line(NamedTuple):
    """A record and the line that it was read from."""

    text: bytes
    record: Record


class Tail:
    """Follows one instance from its first record, over `continue_as_new` too, or an entity from the first there is."""

    def __init__(self, reader: Reader, instance: str) -> None:
        self._reader = reader
        self._instance = instance
        self._execution = ""
        self._seen = 0

    def news(self) -> list[Line]:
        """The records that weren't there at the last call; those of a new execution from its first on.

        While a start waits that replaces the execution on disk, that one has no news any more.
        """
        found = self._reader.lines(self._instance)
        if found is None or (found.execution != self._execution and self._reader.is_replaced(self._instance)):
            return []
        if found.execution != self._execution:
            self._execution, self._seen = found.execution, 0
        # By number: the log of an entity begins anew now and then, with what was long done in one record.
        fresh = found._replace(lines=found.lines[max(0, self._seen - found.first + 1) :])
        # A file that is being mended is shorter for a moment; what was given out isn't given out again.
        self._seen = max(self._seen, found.last)
        return [Line(text, record) for text, record in zip(fresh.lines, parse(fresh), strict=True)]


class Pace:
    """How often those who wait look: soon at first, then five times a second, and never for long in all."""

    def __init__(self, deadline: timedelta | None = None) -> None:
        self._until = None if deadline is None else time.monotonic() + deadline.total_seconds()

    def expired(self) -> bool:
        """Whether the time allowed is over."""
        return self._until is not None and time.monotonic() >= self._until

    def until_changed(self, stamp: Callable[[], object], before: object) -> None:
        """Return when the stamp is another than before, when the time is over, or after a while in any case."""
        pause, latest = _FIRST_PAUSE, time.monotonic() + _BLIND
        while not self.expired() and time.monotonic() < latest:
            time.sleep(pause if self._until is None else max(0.0, min(pause, self._until - time.monotonic())))
            if stamp() != before:
                return
            pause = min(pause * 1.5, _LONGEST_PAUSE)


def follow(reader: Reader, instance: str, ended: Callable[[], bool]) -> Iterator[Line]:
    """Every record as it is written, until `ended` says so and all of them have been given."""
    tail, pace = Tail(reader, instance), Pace()
    while True:
        stamp = reader.stamp(instance)
        last = ended()
        yield from tail.news()
        if last:
            return
        pace.until_changed(lambda: reader.stamp(instance), stamp)
