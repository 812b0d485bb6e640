"""Asynchronous activities: an event loop in a thread of its own, at most so many calls at once.

All of them share the loop, so one that stops it, or raises SystemExit in a task of its own, must not end the others:
a stop is refused, and fails the activity it came from; a loop that has ended all the same runs again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from time import monotonic
from typing import NamedTuple

from durablecli.engine.thread_start import start_thread
from durablecli.engine.workers.activity import Call
from durablecli.engine.workers.fork_guard import end_child_of
from durablecli.engine.workers.thread_pool import Key, Report, Work

_STOPS = "an activity may not stop the event loop, which it shares with others: return or raise instead"
_current: ContextVar[Key | None] = ContextVar("durable_activity", default=None)
_log = logging.getLogger("durablecli")


class _Running(NamedTuple):
    since: float
    task: asyncio.Task[None]


class Loop:
    """Runs coroutines. A batch of calls costs one wake-up of the loop."""

    def __init__(self, most: int, report: Report) -> None:
        self._most = most
        self._report = report
        self._waiting: deque[Call] = deque()
        self._running: dict[Key, _Running] = {}
        self._refused: dict[Key, RuntimeError] = {}
        self._stopping = False
        self._process = os.getpid()
        self._loop: _SharedLoop | None = None
        self._thread: threading.Thread | None = None
        self.tend()

    def start(self, calls: Iterable[Work]) -> None:
        self._waiting.extend(call for call in calls if isinstance(call, Call))
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._fill)

    def tend(self) -> None:
        """Make the loop and its thread, where the system has had no file handle or no thread left for them."""
        if self._thread is not None:
            return
        if self._loop is None:
            try:
                self._loop = _SharedLoop(self._refuse_stop)
            except OSError as error:
                _log.warning("async activities wait: no event loop can be made: %s", error.strerror)
                return
        thread = threading.Thread(target=self._run_loop, args=(self._loop,), name="durable-async", daemon=True)
        if start_thread(thread):
            self._thread = thread
            self._loop.call_soon_threadsafe(self._fill)

    def cancel(self, key: Key) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._cancel, key)

    def tell(self, key: Key) -> None: ...

    def hold_back(self) -> None:
        self._waiting.clear()

    @property
    def busy(self) -> bool:
        return bool(self._running)

    @property
    def most(self) -> int:
        return self._most

    @property
    def queued(self) -> int:
        return len(self._waiting)

    def running(self) -> dict[Key, float]:
        return {key: since for key, (since, _) in self._running.copy().items()}

    def stop(self) -> None:
        """End the loop. What still runs is cancelled, and has one turn of the loop to hear of it."""
        loop, thread = self._loop, self._thread
        if loop is None:
            return
        for key in list(self._running):
            self.cancel(key)
        loop.call_soon_threadsafe(lambda: loop.call_soon(self._end, loop))
        if thread is not None:
            thread.join(1.0)
        if thread is None or not thread.is_alive():
            loop.close()

    def _end(self, loop: _SharedLoop) -> None:
        self._stopping = True
        loop.end()

    def _run_loop(self, loop: _SharedLoop) -> None:
        while not self._stopping:
            what = "a stop"
            try:
                loop.run_forever()
            except BaseException as error:  # noqa: BLE001 - SystemExit in a task that an activity has made
                what = type(error).__name__
            if not self._stopping:
                _log.warning("an async activity ended the event loop with %s; the loop runs again", what)

    def _refuse_stop(self) -> None:
        """User code asks the loop to stop: fail the activity that it belongs to, where that is known."""
        key = _current.get()
        if key is not None and self._loop is not None:
            self._refused[key] = RuntimeError(_STOPS)
            self._loop.call_soon_threadsafe(self._cancel, key)
        raise RuntimeError(_STOPS)

    def _fill(self) -> None:
        while self._waiting and len(self._running) < self._most:
            call = self._waiting.popleft()
            if call.cancellation.dropped:
                self._report(call.dropped())
                continue
            task = asyncio.get_running_loop().create_task(self._run(call))
            self._running[call.key] = _Running(monotonic(), task)

    async def _run(self, call: Call) -> None:
        _current.set(call.key)
        try:
            outcome = await call.run_async()
        except BaseException as error:  # noqa: BLE001 - a task that was cancelled before its first step
            outcome = call.failed(error)
        end_child_of(self._process, outcome)
        self._running.pop(call.key, None)
        refused = self._refused.pop(call.key, None)
        self._report(outcome if refused is None else call.failed(refused))
        self._fill()

    def _cancel(self, key: Key) -> None:
        running = self._running.get(key)
        if running is not None:
            running.task.cancel()


class _SharedLoop(asyncio.SelectorEventLoop):
    """An event loop that only its owner may stop."""

    def __init__(self, refuse: Callable[[], None]) -> None:
        super().__init__()
        self._refuse = refuse

    def stop(self) -> None:
        self._refuse()

    def end(self) -> None:
        super().stop()
