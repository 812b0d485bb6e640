"""Futures of an event loop that other threads complete. One wake-up of the loop resumes all that are done."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")


class LoopFutures(Generic[T]):
    """The futures of the loop that is running when they are made."""

    def __init__(self) -> None:
        self._completed: deque[tuple[asyncio.Future[T], T | Exception]] = deque()
        self._wakeup_scheduled = False

    def make(self) -> tuple[asyncio.Future[T], Callable[[T | Exception], None]]:
        """Return a future, and the function that completes it, from any thread, with a result or an error."""
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[T] = loop.create_future()

        def complete(outcome: T | Exception) -> None:
            self._completed.append((waiting, outcome))
            if not self._wakeup_scheduled:
                self._wakeup_scheduled = True
                with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                    loop.call_soon_threadsafe(self._resolve)

        return waiting, complete

    def _resolve(self) -> None:
        self._wakeup_scheduled = False  # first, so that what is completed from now on schedules another wake-up
        while self._completed:
            waiting, outcome = self._completed.popleft()
            if waiting.done():
                continue  # the caller is gone, or it was completed twice
            if isinstance(outcome, Exception):
                waiting.set_exception(outcome)
            else:
                waiting.set_result(outcome)
