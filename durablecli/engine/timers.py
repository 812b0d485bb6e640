"""What is due when: one heap. An entry is a hint; whether the timer is still open, the ledger says when it is due."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from heapq import heapify, heappop, heappush
from typing import NamedTuple

_MIN_CANCELLED = 1_000


class TimerEntry(NamedTuple):
    """`n` is the timer's decision; None asks to look at all that this instance has due."""

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
        """`back_off`: between two attempts of a call, which counts as work and not as waiting."""
        self._order += 1
        self._cancelled.discard((instance, execution, n))  # a rewind has opened it again
        heappush(self._heap, TimerEntry(at, self._order, instance, execution, n, back_off))

    def cancel(self, instance: str, execution: str, n: int) -> None:
        """Nobody waits for this timer any more. The heap is cleared of such where they are the half of it."""
        self._cancelled.add((instance, execution, n))
        if len(self._cancelled) > max(_MIN_CANCELLED, len(self._heap) // 2):
            self._heap = [due for due in self._heap if due[2:5] not in self._cancelled]
            heapify(self._heap)
            self._cancelled.clear()

    def next_due_time(self) -> datetime | None:
        """The earliest due time."""
        return self._heap[0].at if self._heap else None

    def pop_due(self, now: datetime) -> TimerEntry | None:
        """The next entry that is due, if one is."""
        while self._heap and self._heap[0].at <= now:
            due = heappop(self._heap)
            if due[2:5] not in self._cancelled:
                return due
            self._cancelled.discard(due[2:5])
        return None

    def put_back(self, entry: TimerEntry) -> None:
        """Let an entry that was taken be due again."""
        heappush(self._heap, entry)

    def remove_instances(self, instances: Collection[str]) -> None:
        """Remove all entries of these instances."""
        self._heap = [due for due in self._heap if due.instance not in instances]
        heapify(self._heap)
        self._cancelled = {key for key in self._cancelled if key[0] not in instances}

    def list_back_offs(self) -> list[TimerEntry]:
        """Every entry that stands for a pending retry."""
        return [due for due in self._heap if due.back_off]

    def __len__(self) -> int:
        return len(self._heap)
