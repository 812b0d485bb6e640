"""What is due when: one heap. An entry is a hint; whether the timer is still open, the ledger says when it is due."""

from __future__ import annotations

from datetime import datetime
from heapq import heappop, heappush
from typing import NamedTuple


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

    def set(self, at: datetime, instance: str, execution: str, n: int | None, *, back_off: bool = False) -> None:
        """`back_off`: between two attempts of a call, which counts as work and not as waiting."""
        self._order += 1
        heappush(self._heap, Due(at, self._order, instance, execution, n, back_off))

    def next(self) -> datetime | None:
        """The earliest due time."""
        return self._heap[0].at if self._heap else None

    def take(self, now: datetime) -> Due | None:
        """The next entry that is due, if one is."""
        return heappop(self._heap) if self._heap and self._heap[0].at <= now else None

    def back_offs(self) -> list[Due]:
        """Every entry that stands for a pending retry."""
        return [due for due in self._heap if due.back_off]

    def __len__(self) -> int:
        return len(self._heap)
