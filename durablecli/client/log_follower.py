"""Following the log of an instance: the entries that are written after those already read."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from durablecli.client.polling import Poller
from durablecli.model.log_entry import LogEntry
from durablecli.store.logs.log_reader import LogReader

_MIN_POLL_INTERVAL = 0.02
_LAST_LINES_TIME = 0.3
"""Seconds after the end of an instance in which its last lines are written."""


class LogFollower:
    """Follows one log until `has_ended` returns true, which is asked whenever the token has changed."""

    def __init__(self, reader: LogReader, read_token: Callable[[], object], has_ended: Callable[[], bool]) -> None:
        self._reader = reader
        self._read_token = read_token
        self._has_ended = has_ended

    def follow(self, activity: int | str | None, tail: int | None) -> Iterator[LogEntry]:
        """Yield the selected entries; `tail` limits those that exist already."""
        token: object = None
        ending: Poller | None = None
        poller = Poller(min_interval=_MIN_POLL_INTERVAL)
        while True:
            is_last = ending is not None and ending.is_expired()
            if ending is None and (new := self._read_token()) != token:
                token = new
                if self._has_ended():
                    ending = Poller(_LAST_LINES_TIME)
            entries = select_entries(self._reader.read_new(), activity, tail)
            tail = None
            yield from entries
            if is_last:
                return
            poller = Poller(min_interval=_MIN_POLL_INTERVAL) if entries or ending else poller
            poller.pause()


def select_entries(entries: list[LogEntry], activity: int | str | None, tail: int | None) -> list[LogEntry]:
    """Return the entries of one activity or operation, if one is given, and of those only the last `tail`."""
    if activity is not None:
        entries = [entry for entry in entries if entry.belongs_to(activity)]
    return entries if tail is None else entries[max(0, len(entries) - tail) :]
