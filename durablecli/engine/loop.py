"""Asynchronous activities: an event loop in a thread of its own, at most so many calls at once."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Iterable

from durablecli.engine.activity import Call
from durablecli.engine.executors import Key, Report, Work


class Loop:
    """Runs coroutines. A batch of calls costs one wake-up of the loop."""

    def __init__(self, most: int, report: Report) -> None:
        self._most = most
        self._report = report
        self._waiting: deque[Call] = deque()
        self._running: dict[Key, asyncio.Task[None]] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="durable-async", daemon=True)
        self._thread.start()

    def start(self, calls: Iterable[Work]) -> None:
        self._waiting.extend(call for call in calls if isinstance(call, Call))
        self._loop.call_soon_threadsafe(self._fill)

    def cancel(self, key: Key) -> None:
        self._loop.call_soon_threadsafe(self._cancel, key)

    def hold_back(self) -> None:
        self._waiting.clear()

    @property
    def busy(self) -> bool:
        return bool(self._running)

    def stop(self) -> None:
        """End the loop. What still runs is cancelled, and has one turn of the loop to hear of it."""
        for key in list(self._running):
            self.cancel(key)
        self._loop.call_soon_threadsafe(lambda: self._loop.call_soon(self._loop.stop))
        self._thread.join(1.0)
        if not self._thread.is_alive():
            self._loop.close()

    def _fill(self) -> None:
        while self._waiting and len(self._running) < self._most:
            call = self._waiting.popleft()
            if call.cancellation.asked:
                self._report(call.dropped())
                continue
            self._running[call.key] = self._loop.create_task(self._run(call))

    async def _run(self, call: Call) -> None:
        try:
            outcome = await call.run_async()
        except BaseException as error:  # noqa: BLE001 - a task that was cancelled before its first step
            outcome = call.failed(error)
        self._running.pop(call.key, None)
        self._report(outcome)
        self._fill()

    def _cancel(self, key: Key) -> None:
        task = self._running.get(key)
        if task is not None:
            task.cancel()
