"""What is due when: one heap. An entry is a hint; whether the timer is still open, the ledger says when it is due."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from heapq import heapify, heappop, heappush
from typing import NamedTuple

_FEW = 1_000


class Due(NamedTuple):
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
        self._heap: list[Due] = []
        self._order = 0
        self._dropped: set[tuple[str, str, int | None]] = set()

    def set(self, at: datetime, instance: str, execution: str, n: int | None, *, back_off: bool = False) -> None:
        """`back_off`: between two attempts of a call, which counts as work and not as waiting."""
        self._order += 1
        self._dropped.discard((instance, execution, n))  # a rewind has opened it again
        heappush(self._heap, Due(at, self._order, instance, execution, n, back_off))

    def drop(self, instance: str, execution: str, n: int) -> None:
        """Nobody waits for this timer any more. The heap is cleared of such where they are the half of it."""
        self._dropped.add((instance, execution, n))
        if len(self._dropped) > max(_FEW, len(self._heap) // 2):
            self._heap = [due for due in self._heap if due[2:5] not in self._dropped]
            heapify(self._heap)
            self._dropped.clear()

    def next(self) -> datetime | None:
        """The earliest due time."""
        return self._heap[0].at if self._heap else None

    def take(self, now: datetime) -> Due | None:
        """The next entry that is due, if one is."""
        while self._heap and self._heap[0].at <= now:
            due = heappop(self._heap)
            if due[2:5] not in self._dropped:
                return due
            self._dropped.discard(due[2:5])
        return None

    def put_back(self, due: Due) -> None:
        """Let an entry that was taken be due again."""
        heappush(self._heap, due)

    def forget(self, instances: Collection[str]) -> None:
        """Remove all entries of these instances."""
        self._heap = [due for due in self._heap if due.instance not in instances]
        heapify(self._heap)
        self._dropped = {key for key in self._dropped if key[0] not in instances}

    def back_offs(self) -> list[Due]:
        """Every entry that stands for a pending retry."""
        return [due for due in self._heap if due.back_off]

    def __len__(self) -> int:
        return len(self._heap)
