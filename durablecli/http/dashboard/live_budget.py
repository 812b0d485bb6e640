"""The budget of live pages: all of them together take at most a small share of the processor from the engine."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from time import monotonic, process_time, thread_time
from typing import TypeVar

from durablecli.client import Client
from durablecli.serving.engine_bridge import EngineBridge

T = TypeVar("T")
SHARE = 0.02
"""Of one processor, as the engine's thread uses one."""
IDLE_SHARE = 0.2
"""The same while the process has little else to do, as when all activities wait for something."""
_BUSY_LOAD = 0.3
_MIN_WINDOW = 0.2
_MAX_DELAY = 30.0
is_update: ContextVar[bool] = ContextVar("is_update", default=False)
"""Whether the request at hand is for an update of a page that is open."""


class LiveBudget:
    """Counts the processor time of updates, and says when pages may ask for the next ones.

    Pages that users open don't count, and never wait.
    """

    def __init__(
        self, clock: Callable[[], float] = monotonic, processor_clock: Callable[[], float] = process_time
    ) -> None:
        self._clock, self._processor_clock = clock, processor_clock
        self._free_at = 0.0
        self._is_busy = True  # until it is measured
        self._measured_at, self._measured = clock(), processor_clock()

    def spend(self, seconds: float) -> None:
        """Count processor time."""
        now = self._clock()
        self._measure_load(now, seconds)
        share = SHARE if self._is_busy else IDLE_SHARE
        self._free_at = min(max(now, self._free_at) + seconds / share, now + _MAX_DELAY)

    def _measure_load(self, now: float, seconds: float) -> None:
        """Find out whether the process has used much processor time, apart from these seconds."""
        if (window := now - self._measured_at) < _MIN_WINDOW:
            self._measured += seconds
            return
        used = self._processor_clock()
        self._is_busy = (used - self._measured - seconds) / window > _BUSY_LOAD
        self._measured_at, self._measured = now, used

    @property
    def is_spent(self) -> bool:
        """Whether live pages have to wait."""
        return self._clock() < self._free_at


class MeasuredBridge(EngineBridge):
    """A bridge whose reads are counted, if they are for an update of a page."""

    def __init__(self, client: Client, budget: LiveBudget) -> None:
        super().__init__(client)
        self._budget = budget

    async def read(self, operation: Callable[[Client], T]) -> T:
        """Run an operation that only reads."""

        if not is_update.get():
            return await super().read(operation)

        def measured(client: Client) -> T:
            began = thread_time()
            try:
                return operation(client)
            finally:
                self._budget.spend(thread_time() - began)

        return await super().read(measured)
