"""The timers that wait until they are due, in one heap.

An entry may be stale: the runtime state shows whether its timer is still open.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from durablecli.store.query import from_micros

_MIN_CANCELLED = 1_000


class TimerEntry(NamedTuple):
    """`n` is the timer's decision; None means all timers of an instance that isn't in memory."""

    at: datetime
    order: int
    instance: str
    execution: str
    n: int | None
    back_off: bool = False


class Timers:
    """Due times in order; equal ones in the order in which they were set."""

    def __init__(self) -> None:
        self._heap: list[TimerEntry] = []
        self._order = 1
        self._stored: list[tuple[int, str]] = []
        """Loaded due times, in microseconds, the earliest last. The one before them is in the heap."""
        self._cancelled: set[tuple[str, str, int | None]] = set()

    def load(self, due_times: list[tuple[int, str]]) -> None:
        """Set the timers of instances that aren't in memory: the times in microseconds since 1970, the latest first.

        As there may be very many, they become entries only when they are next.
        """
        self._stored = due_times
        self._push_stored()

    def _push_stored(self) -> None:
        """Make an entry of the earliest loaded timer. Its order is below those of entries that were set."""
        if self._stored:
            due, instance = self._stored.pop()
            heappush(self._heap, TimerEntry(from_micros(due), -len(self._stored), instance, "", None))

    def set(
        self,
        at: datetime,
        instance: str,
        execution: str,
        n: int | None,
        *,
        back_off: bool = False,
        restored: bool = False,
    ) -> None:
        """Set a timer. `back_off` marks the time between two attempts of a call, which counts as pending work.

        A `restored` one was set before an earlier engine stopped: it comes before equal ones that are set now.
        """
        self._order += 1
        self._cancelled.discard((instance, execution, n))  # a rewind may have opened it again
        heappush(self._heap, TimerEntry(at, 1 if restored else self._order, instance, execution, n, back_off))

    def cancel(self, instance: str, execution: str, n: int) -> None:
        """Cancel a timer. Cancelled entries stay in the heap until they make up half of it."""
        self._cancelled.add((instance, execution, n))
        if len(self._cancelled) > max(_MIN_CANCELLED, len(self._heap) // 2):
            self._heap = [entry for entry in self._heap if entry[2:5] not in self._cancelled]
            heapify(self._heap)
            self._cancelled.clear()

    def next_due_time(self) -> datetime | None:
        """The earliest due time."""
        return self._heap[0].at if self._heap else None

    def pop_due(self, now: datetime) -> TimerEntry | None:
        """Take the next entry that is due, if there is one."""
        while self._heap and self._heap[0].at <= now:
            entry = heappop(self._heap)
            if entry.order <= 0:
                self._push_stored()
            if entry[2:5] not in self._cancelled:
                return entry
            self._cancelled.discard(entry[2:5])
        return None

    def put_back(self, entry: TimerEntry) -> None:
        """Put back an entry that was taken."""
        heappush(self._heap, entry)

    def remove_instances(self, instances: Collection[str]) -> None:
        """Remove all entries of these instances."""
        self._stored = [each for each in self._stored if each[1] not in instances]
        self._heap = [entry for entry in self._heap if entry.instance not in instances]
        heapify(self._heap)
        if not any(entry.order <= 0 for entry in self._heap):
            self._push_stored()
        self._cancelled = {key for key in self._cancelled if key[0] not in instances}

    def list_back_offs(self) -> list[TimerEntry]:
        """The entries of pending retries."""
        return [entry for entry in self._heap if entry.back_off]

    def __len__(self) -> int:
        return len(self._heap) + len(self._stored)
