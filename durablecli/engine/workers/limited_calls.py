"""The calls of functions with limits, between the dispatcher and the pools: each is started when its limits let it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from durablecli.engine.workers.activity import ActivityCall, to_failed_result
from durablecli.engine.workers.call_limiter import CallLimiter
from durablecli.engine.workers.decided_tasks import WorkKey
from durablecli.engine.workers.pool import ReportResult
from durablecli.registry import Function
from durablecli.store.rate_file import RateFile


def is_limited(function: Function) -> bool:
    """Whether calls of a function pass through here."""
    return function.options.max_concurrency is not None or function.options.rate is not None


class LimitedCalls:
    """Starts calls by `start`; those that were cancelled before, or whose key can't be made, get a result at once."""

    def __init__(
        self,
        start: Callable[[Iterable[ActivityCall]], None],
        report: ReportResult,
        find_function: Callable[[str], Function | None],
        clock: Callable[[], float],
        rate_file: RateFile | None,
    ) -> None:
        self._start = start
        self._report = report
        self._clock = clock
        self.limiter = CallLimiter(self._drop, find_function, clock, rate_file)
        self._paused = False

    def add(self, calls: Iterable[ActivityCall]) -> None:
        """Start calls as soon as their limits let them. One whose key can't be made fails."""
        for call in calls:
            try:
                self.limiter.add(call)
            except BaseException as error:  # noqa: BLE001 - decoding the input and the key function are user code
                self._report(to_failed_result(call.key, error, retryable=False))
        self.start_ready()

    def leave(self, key: WorkKey) -> None:
        """Note that a call has ended."""
        self.limiter.leave(key)
        self.start_ready()

    def start_ready(self) -> None:
        """Start the calls that their limits let through."""
        if not self._paused and (ready := self.limiter.take_ready()):
            self._start(ready)

    def take_new_options(self) -> None:
        """Apply the limits that the functions declare now, because their code was loaded again."""
        self.limiter.take_new_options()
        self.start_ready()

    def maintain(self) -> None:
        """Start what a rate lets begin now."""
        if self.limiter.maintain():
            self.start_ready()

    def pause(self) -> None:
        """Start nothing more."""
        self._paused = True

    @property
    def next_start_in(self) -> float | None:
        """In how many seconds a rate may let a call begin; None if none waits for that."""
        due = self.limiter.next_due
        return None if due is None or self._paused else max(0.0, due - self._clock())

    def _drop(self, call: ActivityCall) -> None:
        self._report(call.make_cancelled_result())
