"""The worker pool of a hub in memory: it runs calls in the thread of the test, when the test lets it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from durablecli.engine.clock import VirtualClock
from durablecli.engine.workers.activity import ActivityCall, ActivityResult
from durablecli.engine.workers.decided_tasks import WorkKey
from durablecli.engine.workers.entity_batch import EntityBatchResult
from durablecli.engine.workers.pool import ReportResult, WorkItem
from durablecli.resources.loop_scope import close_loop_scopes, has_resources
from durablecli.testing.virtual_loop import VirtualEventLoop

_PATIENCE = 10.0
"""For how many real seconds the clock waits for a socket, a process or a thread from which nothing comes."""
_LONGEST_PATIENCE = 60.0
"""The same while nothing else is due."""
_CLOSE_LIMIT = 5.0
"""Seconds that the tear-down of async resources may take."""


class _RunningCall(NamedTuple):
    order: int
    task: asyncio.Task[None]


class InlinePool:
    """The worker pool of all activities and entities. In `run_next` it begins one call, and runs it as far as it gets.

    A call ends there, unless it is one of an async activity or entity that waits. Those share an event loop, whose time
    is virtual: `continue_calls` runs them after the clock was moved.
    """

    def __init__(self, clock: VirtualClock | None = None) -> None:
        self.report: ReportResult = lambda result: None
        self.waiting: dict[WorkKey, WorkItem] = {}
        """The calls that haven't begun."""
        self._clock = clock or VirtualClock()
        self._loop: VirtualEventLoop | None = None
        self._running: dict[WorkKey, _RunningCall] = {}
        self._ended: list[tuple[int, ActivityResult | EntityBatchResult]] = []
        self._begun = 0
        self._must_run_loop = False

    def start(self, calls: Iterable[WorkItem]) -> None:
        for call in calls:
            self.waiting[call.key] = call

    def run_next(self, key: WorkKey | None = None) -> bool:
        """Begin the oldest call, or the one with this key; return False if there is none."""
        if not self.waiting:
            return False
        call = self.waiting.pop(next(iter(self.waiting)) if key is None else key)
        if _is_async(call):
            self._begin(call)
            self._run_loop()
        else:
            self.report(call.run())
        return True

    def continue_calls(self) -> bool:
        """Run the calls that have begun, as far as they get at the present time; return whether one has ended."""
        return self.has_ready and self._run_loop()

    def wait_outside(self, limit: float | None) -> bool:
        """Wait in real time for what running calls may wait for outside the clock, at most `limit` seconds; return
        whether something has come. `limit` is the virtual time until something else is due."""
        loop = self._loop
        if loop is None or not self._running or not loop.waits_outside:
            return False
        patience = _LONGEST_PATIENCE if limit is None else min(limit, _PATIENCE)
        has_heard = loop.run_ready(None if loop.has_jobs else patience)
        self._report_ended()
        return has_heard

    @property
    def has_ready(self) -> bool:
        """Whether calls that have begun can continue at the present time."""
        if self._loop is None:
            return False
        due = self._loop.due_at
        return self._must_run_loop or (due is not None and due <= self._clock.now())

    @property
    def due_at(self) -> datetime | None:
        """When asyncio's next timer is due."""
        return None if self._loop is None else self._loop.due_at

    def _begin(self, call: WorkItem) -> None:
        if self._loop is None:
            self._loop = VirtualEventLoop(self._clock)
        if call.cancellation.timer is not None:
            call.cancellation.timer.begin(call)
        self._begun += 1
        self._running[call.key] = _RunningCall(self._begun, self._loop.create_task(self._run(call, self._begun)))

    async def _run(self, call: WorkItem, order: int) -> None:
        result: ActivityResult | EntityBatchResult
        try:
            result = await call.run_async()
        except BaseException as error:  # noqa: BLE001 - a task that was cancelled before its first step
            result = call.make_failed_result(error)
        if call.cancellation.settle():
            self._running.pop(call.key, None)
            self._ended.append((order, result))

    def _run_loop(self) -> bool:
        assert self._loop is not None
        self._must_run_loop = False
        self._loop.run_ready()
        return self._report_ended()

    def _report_ended(self) -> bool:
        """Report the calls that have ended: of those that end at one time, the one first that has begun first."""
        ended, self._ended = sorted(self._ended, key=lambda each: each[0]), []
        for _, result in ended:
            self.report(result)
        return bool(ended)

    def cancel(self, key: WorkKey) -> None:
        call = self.waiting.pop(key, None)
        if call is not None:
            self.report(call.make_cancelled_result())
        elif (running := self._running.get(key)) is not None:
            self._cancel_task(running)

    def expire(self, call: WorkItem) -> None:
        """Cancel a call that has timed out."""
        running = self._running.pop(call.key, None)
        if running is not None:
            self._cancel_task(running)

    def _cancel_task(self, running: _RunningCall) -> None:
        running.task.cancel()
        self._must_run_loop = True

    def notify_cancel(self, key: WorkKey) -> None: ...

    def pause(self) -> None:
        self.waiting.clear()

    def maintain(self) -> None: ...

    @property
    def is_busy(self) -> bool:
        return bool(self._running)

    @property
    def capacity(self) -> int:
        return 1

    @property
    def queue_length(self) -> int:
        return len(self.waiting)

    def start_times(self) -> dict[WorkKey, float]:
        return {}

    def close_resources(self) -> None:
        """Tear down the async resources of the calls."""
        if self._loop is not None and has_resources(self._loop):
            self._loop.run_to_end(close_loop_scopes(), _CLOSE_LIMIT)

    def stop(self) -> None:
        """Cancel the running calls, which get one chance to react, and tear down async resources."""
        self.waiting.clear()
        loop, self._loop = self._loop, None
        if loop is None or loop.is_closed():
            return
        for running in self._running.values():
            running.task.cancel()
        if self._running:
            loop.run_ready()
            self._running.clear()
        if has_resources(loop):
            loop.run_to_end(close_loop_scopes(), _CLOSE_LIMIT)
        loop.end()


def _is_async(call: WorkItem) -> bool:
    if isinstance(call, ActivityCall):
        return call.function.executor == "async"
    return call.function.newest.has_async_operations
