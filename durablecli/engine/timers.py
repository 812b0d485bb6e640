"""The timers that wait until they are due, in one heap.

An entry may be stale: the runtime state shows whether its timer is still open.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from heapq import heapify, heappop, heappush
from typing import NamedTuple

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
        self._order = 0
        self._cancelled: set[tuple[str, str, int | None]] = set()

    def set(self, at: datetime, instance: str, execution: str, n: int | None, *, back_off: bool = False) -> None:
        """Set a timer. `back_off` marks the time between two attempts of a call, which counts as pending work."""
        self._order += 1
        self._cancelled.discard((instance, execution, n))  # a rewind may have opened it again
        heappush(self._heap, TimerEntry(at, self._order, instance, execution, n, back_off))

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
            if entry[2:5] not in self._cancelled:
                return entry
            self._cancelled.discard(entry[2:5])
        return None

    def put_back(self, entry: TimerEntry) -> None:
        """Put back an entry that was taken."""
        heappush(self._heap, entry)

    def remove_instances(self, instances: Collection[str]) -> None:
        """Remove all entries of these instances."""
        self._heap = [entry for entry in self._heap if entry.instance not in instances]
        heapify(self._heap)
        self._cancelled = {key for key in self._cancelled if key[0] not in instances}

    def list_back_offs(self) -> list[TimerEntry]:
        """The entries of pending retries."""
        return [entry for entry in self._heap if entry.back_off]

    def __len__(self) -> int:
        return len(self._heap)
