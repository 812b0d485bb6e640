"""A history as it grows: what is on disk beyond what was seen before, until the instance has ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import NamedTuple

from durablecli.client.status_reader import StatusReader, parse_records
from durablecli.model.events import Record

_MIN_POLL_INTERVAL = 0.002
_MAX_POLL_INTERVAL = 0.2
_RECHECK_INTERVAL = 5.0  # a stamp that didn't change is believed for so long


class HistoryLine(NamedTuple):
    """A record and the line that it was read from."""

    text: bytes
    record: Record


class HistoryFollower:
    """Follows one instance from its first record, over `continue_as_new` too, or an entity from the first there is."""

    def __init__(self, reader: StatusReader, instance: str) -> None:
        self._reader = reader
        self._instance = instance
        self._execution = ""
        self._last_n = 0

    def new_lines(self) -> list[HistoryLine]:
        """The records that weren't there at the last call; those of a new execution from its first on.

        While a start waits that replaces the execution on disk, that one has no news any more.
        """
        found = self._reader.read_lines(self._instance)
        if found is None or (found.execution != self._execution and self._reader.will_be_replaced(self._instance)):
            return []
        if found.execution != self._execution:
            self._execution, self._last_n = found.execution, 0
        # By number: the log of an entity begins anew now and then, with what was long done in one record.
        fresh = found._replace(lines=found.lines[max(0, self._last_n - found.first + 1) :])
        # A file that is being mended is shorter for a moment; what was given out isn't given out again.
        self._last_n = max(self._last_n, found.last)
        return [HistoryLine(text, record) for text, record in zip(fresh.lines, parse_records(fresh), strict=True)]


class Poller:
    """How often those who wait look: soon at first, then five times a second, and never for long in all."""

    def __init__(self, timeout: timedelta | None = None) -> None:
        self._deadline = None if timeout is None else time.monotonic() + timeout.total_seconds()

    def is_expired(self) -> bool:
        """Whether the time allowed is over."""
        return self._deadline is not None and time.monotonic() >= self._deadline

    def wait_for_change(self, stamp: Callable[[], object], before: object) -> None:
        """Return when the stamp is another than before, when the time is over, or after a while in any case."""
        pause, latest = _MIN_POLL_INTERVAL, time.monotonic() + _RECHECK_INTERVAL
        while not self.is_expired() and time.monotonic() < latest:
            time.sleep(pause if self._deadline is None else max(0.0, min(pause, self._deadline - time.monotonic())))
            if stamp() != before:
                return
            pause = min(pause * 1.5, _MAX_POLL_INTERVAL)


def follow_history(reader: StatusReader, instance: str, has_ended: Callable[[], bool]) -> Iterator[HistoryLine]:
    """Every record as it is written, until `ended` says so and all of them have been given."""
    tail, pace = HistoryFollower(reader, instance), Poller()
    while True:
        stamp = reader.change_token(instance)
        last = has_ended()
        yield from tail.new_lines()
        if last:
            return
        pace.wait_for_change(lambda: reader.change_token(instance), stamp)
