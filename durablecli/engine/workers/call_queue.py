"""The queue of calls that wait for a worker: the highest priority first, and in order within a priority."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from itertools import chain, count
from typing import Generic, Protocol, TypeVar


class Prioritized(Protocol):
    """Something with a priority: 0, or a higher number for what goes first, or a lower one for what goes last."""

    @property
    def priority(self) -> int: ...


T = TypeVar("T", bound=Prioritized)


class CallQueue(Generic[T]):
    """One thread appends, and any thread takes: each step is one operation of a list or a deque.

    Calls of priority 0 are in a deque, so that without other priorities the queue costs no more than one.
    """

    __slots__ = ("_others", "_plain", "_sequence")

    def __init__(self) -> None:
        self._plain: deque[T] = deque()
        self._others: list[tuple[int, int, T]] = []
        self._sequence = count()

    def append(self, call: T) -> None:
        """Add a call behind those of its priority."""
        if call.priority:
            heappush(self._others, (-call.priority, next(self._sequence), call))
        else:
            self._plain.append(call)

    def extend(self, calls: Iterable[T]) -> None:
        """Add calls, in this order."""
        for call in calls:
            self.append(call)

    def popleft(self) -> T:
        """Take the call that goes first. Raises IndexError if there is none."""
        if self._others:
            try:
                if self._others[0][0] < 0 or not self._plain:
                    return heappop(self._others)[2]
            except IndexError:  # another thread was quicker
                pass
        try:
            return self._plain.popleft()
        except IndexError:
            return heappop(self._others)[2]

    def clear(self) -> None:
        """Remove all calls."""
        self._plain.clear()
        self._others.clear()

    def __iter__(self) -> Iterator[T]:
        """Yield the calls in the order in which they are taken. Only for a queue that one thread uses."""
        ordered = sorted(self._others)
        yield from (call for priority, _, call in ordered if priority < 0)
        yield from chain(self._plain, (call for priority, _, call in ordered if priority > 0))

    def __len__(self) -> int:
        return len(self._plain) + len(self._others)
