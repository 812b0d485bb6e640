"""Runs asynchronous activities on one event loop, in a thread of its own.

All of them share the loop, so none may end it for the others. A stop is refused, and fails the activity that asked for
it; a loop that ends anyway (SystemExit in a task that an activity has created) is run again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from time import monotonic
from typing import NamedTuple

from durablecli.engine.thread_start import start_thread
from durablecli.engine.workers.activity import ActivityCall
from durablecli.engine.workers.call_queue import CallQueue
from durablecli.engine.workers.decided_tasks import WorkKey
from durablecli.engine.workers.fork_guard import exit_if_forked
from durablecli.engine.workers.pool import ReportResult, WorkItem
from durablecli.resources.loop_scope import close_loop_scopes, has_resources
from durablecli.resources.shared_scopes import close_thread_scopes
from durablecli.store.file_handles import check_handles_for_event_loop

_STOP_REFUSED = "an activity may not stop the event loop that it shares with others; return or raise instead"
_current_key: ContextVar[WorkKey | None] = ContextVar("durable_activity", default=None)
_CLOSE_TIMEOUT = 5.0
"""Seconds that the tear-down of async resources may take."""
_log = logging.getLogger("durablecli")


class _Running(NamedTuple):
    since: float
    task: asyncio.Task[None]


class AsyncPool:
    """Runs coroutines, up to its capacity at the same time. A batch of calls costs one wake-up of the loop."""

    def __init__(self, capacity: int, report: ReportResult) -> None:
        self._capacity = capacity
        self._report = report
        self._queue: CallQueue[ActivityCall] = CallQueue()
        self._running: dict[WorkKey, _Running] = {}
        self._stop_errors: dict[WorkKey, RuntimeError] = {}
        self._stopping = False
        self._engine_pid = os.getpid()
        self._loop: _SharedLoop | None = None
        self._thread: threading.Thread | None = None
        self._closing: asyncio.Task[None] | None = None
        self.maintain()

    def start(self, calls: Iterable[WorkItem]) -> None:
        self._queue.extend(call for call in calls if isinstance(call, ActivityCall))
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._start_queued)

    def maintain(self) -> None:
        """Create the loop and its thread; until the system has a file handle and a thread for them, calls wait."""
        if self._thread is not None:
            return
        if self._loop is None:
            try:
                check_handles_for_event_loop()
                self._loop = _SharedLoop(self._refuse_stop)
            except OSError as error:
                _log.warning("async activities wait: can't create an event loop: %s", error.strerror)
                return
        thread = threading.Thread(target=self._run_loop, args=(self._loop,), name="durable-async", daemon=True)
        if start_thread(thread):
            self._thread = thread
            self._loop.call_soon_threadsafe(self._start_queued)

    def cancel(self, key: WorkKey) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._cancel, key)

    def expire(self, call: WorkItem) -> None:
        """Cancel a call that has timed out. One that doesn't end at that occupies no slot any more."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._expire, call.key)

    def notify_cancel(self, key: WorkKey) -> None: ...

    def pause(self) -> None:
        self._queue.clear()

    @property
    def is_busy(self) -> bool:
        return bool(self._running)

    @property
    def capacity(self) -> int:
        return self._capacity

    @property
    def queue_length(self) -> int:
        return len(self._queue)

    def start_times(self) -> dict[WorkKey, float]:
        return {key: since for key, (since, _) in self._running.copy().items()}

    def stop(self) -> None:
        """End the loop. Running calls are cancelled, and get one iteration of the loop to react."""
        loop, thread = self._loop, self._thread
        if loop is None:
            return
        for key in list(self._running):
            self.cancel(key)
        timeout = _CLOSE_TIMEOUT if has_resources(loop) else 1.0
        loop.call_soon_threadsafe(lambda: loop.call_soon(self._finish, loop))
        if thread is not None:
            thread.join(timeout)
        if thread is None or not thread.is_alive():
            loop.close()

    def _finish(self, loop: _SharedLoop) -> None:
        """Tear down the resources of the loop, and end it."""
        if has_resources(loop):
            self._closing = loop.create_task(close_loop_scopes())
            self._closing.add_done_callback(lambda _: self._end_loop(loop))
        else:
            self._end_loop(loop)

    def _end_loop(self, loop: _SharedLoop) -> None:
        self._stopping = True
        loop.end_loop()

    def _run_loop(self, loop: _SharedLoop) -> None:
        while not self._stopping:
            cause = "a stop"
            try:
                loop.run_forever()
            except BaseException as error:  # noqa: BLE001 - SystemExit in a task that an activity has created
                cause = type(error).__name__
            if not self._stopping:
                _log.warning("an async activity ended the event loop with %s; the loop runs again", cause)
        close_thread_scopes()

    def _refuse_stop(self) -> None:
        """Refuse to stop the loop, and fail the activity that asked for it, if it is known."""
        key = _current_key.get()
        if key is not None and self._loop is not None:
            self._stop_errors[key] = RuntimeError(_STOP_REFUSED)
            self._loop.call_soon_threadsafe(self._cancel, key)
        raise RuntimeError(_STOP_REFUSED)

    def _start_queued(self) -> None:
        while self._queue and len(self._running) < self._capacity:
            call = self._queue.popleft()
            if call.cancellation.abandoned:
                self._report(call.make_cancelled_result())
                continue
            if call.cancellation.timer is not None:
                call.cancellation.timer.begin(call)
            task = asyncio.get_running_loop().create_task(self._run(call))
            self._running[call.key] = _Running(monotonic(), task)

    async def _run(self, call: ActivityCall) -> None:
        _current_key.set(call.key)
        try:
            result = await call.run_async()
        except BaseException as error:  # noqa: BLE001 - a task that was cancelled before its first step
            result = call.make_failed_result(error)
        exit_if_forked(self._engine_pid, result)
        if call.cancellation.timer is not None and not call.cancellation.timer.settle():
            return
        self._running.pop(call.key, None)
        refused = self._stop_errors.pop(call.key, None)
        self._report(result if refused is None else call.make_failed_result(refused))
        self._start_queued()

    def _cancel(self, key: WorkKey) -> None:
        running = self._running.get(key)
        if running is not None:
            running.task.cancel()

    def _expire(self, key: WorkKey) -> None:
        running = self._running.pop(key, None)
        if running is not None:
            running.task.cancel()
            self._start_queued()


class _SharedLoop(asyncio.SelectorEventLoop):
    """An event loop that only its owner can stop."""

    def __init__(self, refuse: Callable[[], None]) -> None:
        super().__init__()
        self._refuse = refuse

    def stop(self) -> None:
        self._refuse()

    def end_loop(self) -> None:
        super().stop()
