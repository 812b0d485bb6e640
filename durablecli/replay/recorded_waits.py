"""The event waits of an execution and its unread events, as the records of its history give them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from durablecli.model import events as ev


class RecordedWaits:
    """Part of the runtime state: `active` has name and beginning of each active wait by its number.

    `unread_counts` counts the events of each name, in lower case, that no wait has taken.
    """

    def __init__(self) -> None:
        self.active: dict[int, tuple[str, datetime]] = {}
        self.unread_counts: dict[str, int] = {}
        self._by_name: dict[str, dict[int, None]] = {}

    def add_event(self, name: str) -> None:
        """Give an event to the first wait of its name, or count it as unread."""
        folded = name.casefold()
        waits = self._by_name.get(folded)
        if not waits:
            self.unread_counts[folded] = self.unread_counts.get(folded, 0) + 1
            return
        n = next(iter(waits))
        del waits[n], self.active[n]

    def add_wait(self, n: int, name: str, at: datetime) -> None:
        """Give a new wait an unread event, or let it wait."""
        folded = name.casefold()
        if self.unread_counts.get(folded):
            self.unread_counts[folded] -= 1
        else:
            self._activate(n, name, at)

    def _activate(self, n: int, name: str, since: datetime) -> None:
        self.active[n] = (name, since)
        self._by_name.setdefault(name.casefold(), {})[n] = None

    def replace(self, event: ev.EventWaitsChanged, at: datetime) -> None:
        """Take over the waits that a record gives."""
        before, self.active, self._by_name = self.active, {}, {}
        for n, name in event.waits:
            self._activate(n, name, before[n][1] if n in before else at)
        self.unread_counts = dict(event.unread)

    def clear(self) -> None:
        """Forget the waits, because the execution has ended. Unread events stay."""
        self.active.clear()
        self._by_name.clear()

    def matches(self, waits: Mapping[int, str], unread: Mapping[str, int]) -> bool:
        """Whether these are the waits, in their order for each name, and the unread events.

        The history doesn't show which waits are inactive: only the executor knows.
        """
        given: dict[str, list[int]] = {}
        for n, name in waits.items():
            given.setdefault(name.casefold(), []).append(n)
        known = {name: list(line) for name, line in self._by_name.items() if line}
        return given == known and {name: count for name, count in self.unread_counts.items() if count} == unread
