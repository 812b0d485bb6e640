"""Following a history: the records that are on disk beyond those already read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from durablecli.client.polling import Poller
from durablecli.client.status_builder import parse_records
from durablecli.client.status_reader import StatusReader
from durablecli.model.events import Record


class HistoryLine(NamedTuple):
    """A record and the line that it was read from."""

    text: bytes
    record: Record


class HistoryFollower:
    """Follows one instance from its first record, across `continue_as_new`; or an entity from its oldest record."""

    def __init__(self, reader: StatusReader, instance: str) -> None:
        self._reader = reader
        self._instance = instance
        self._execution = ""
        self._last_n = 0

    def new_lines(self) -> list[HistoryLine]:
        """Return the records written since the last call; those of a new execution from its first record.

        While a pending start is about to replace the execution on disk, that execution yields nothing more.
        """
        found = self._reader.read_lines(self._instance)
        if found is None or (found.execution != self._execution and self._reader.will_be_replaced(self._instance)):
            return []
        if found.execution != self._execution:
            self._execution, self._last_n = found.execution, 0
        # By number: the log of an entity is rewritten now and then, with its older records folded into one.
        fresh = found._replace(lines=found.lines[max(0, self._last_n - found.first + 1) :])
        # A file that is being repaired is shorter for a moment; no record is returned twice.
        self._last_n = max(self._last_n, found.last)
        return [HistoryLine(text, record) for text, record in zip(fresh.lines, parse_records(fresh), strict=True)]


def follow_history(reader: StatusReader, instance: str, has_ended: Callable[[], bool]) -> Iterator[HistoryLine]:
    """Yield every record as it is written, until `has_ended` returns true and all records have been yielded."""
    follower, poller = HistoryFollower(reader, instance), Poller()
    while True:
        token = reader.change_token(instance)
        is_last = has_ended()
        yield from follower.new_lines()
        if is_last:
            return
        poller.wait_for_change(lambda: reader.change_token(instance), token)
