"""Admission of new instances: what has begun goes first, and starts wait while enough instances are under way.

An instance is under way while one of its calls is queued or running. If all starts began at once, every one of them
would have to be kept in memory until the last has had its turn, or be replayed for each of its results.

What waits is on disk: the rest of a batch in the inbox, and any other start as a held record of its instance.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import NamedTuple

from durablecli.engine.cycle import Cycle

_MIN_BATCH_LIMIT = 200
"""The number of instances under way from which starts of a batch wait; twice the number of workers, if that is more.
Further instances wouldn't keep the workers busier."""
_MAX_CALLS = 10_000
"""The same for calls, of which one instance may have very many."""
_TRICKLE_INTERVAL = 1.0
_TRICKLE_STARTS = 10
"""Starts of batches, and as many others, that begin in each interval in any case: their orchestrations may need none of
the workers, and what occupies the workers may wait for them."""


class WorkInFlight(NamedTuple):
    """How many calls are queued or running, to how many executions they belong, and how many could run at once."""

    calls: int
    executions: int
    capacity: int


class _Trickle:
    """A few starts in each interval."""

    def __init__(self) -> None:
        self._taken_at = 0.0

    @property
    def is_due(self) -> bool:
        return monotonic() - self._taken_at >= _TRICKLE_INTERVAL

    def take(self) -> int:
        """Return how many starts may begin now; no more may until the next interval."""
        if not self.is_due:
            return 0
        self._taken_at = monotonic()
        return _TRICKLE_STARTS


class Admission:
    """Says how many instances may begin in this cycle."""

    def __init__(self, cycle: Cycle, live_instances: int, count_in_flight: Callable[[], WorkInFlight]) -> None:
        self._cycle = cycle
        self._max_instances = max(1, live_instances // 2)
        self._max_batch_instances = max(1, live_instances // 4)
        self._count_in_flight = count_in_flight
        self._trickle = _Trickle()
        self._batch_trickle = _Trickle()

    @property
    def has_room(self) -> bool:
        """Whether an instance that isn't of a batch may begin at once."""
        return self._count_instances() < self._max_instances

    @property
    def has_held_room(self) -> bool:
        """Whether an instance whose start is held may begin."""
        return self.has_room or self._trickle.is_due

    def take_held_room(self) -> int:
        """How many instances whose starts are held may begin before this is asked again."""
        return 1 if self.has_room else self._trickle.take()

    @property
    def has_batch_room(self) -> bool:
        """Whether an instance of a batch may begin."""
        return self._count_batch_room() > 0 or self._batch_trickle.is_due

    def take_batch_room(self) -> int:
        """How many instances of a batch may begin now."""
        room = self._count_batch_room()
        return room if room > 0 else self._batch_trickle.take()

    def _count_batch_room(self) -> int:
        decided = self._cycle.undispatched_count + len(self._cycle.builder.activity_tasks)
        in_flight = self._count_in_flight()
        limit = min(self._max_batch_instances, max(_MIN_BATCH_LIMIT, 2 * in_flight.capacity))
        return min(limit - in_flight.executions, _MAX_CALLS - in_flight.calls) - decided

    def _count_instances(self) -> int:
        """The instances under way; each call that is decided and not dispatched yet counts as one."""
        decided = self._cycle.undispatched_count + len(self._cycle.builder.activity_tasks)
        return self._count_in_flight().executions + decided
