"""Reads that several pages share: many viewers of one instance cost about as much as one.

Pages that follow an instance ask again whenever it has changed. All that ask for the same before a read begins get its
result, and after a read that took long the next one begins later, so that reads take at most a sixth of the time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

_PAUSE_FACTOR = 5
_MAX_PAUSE = 5.0
_MAX_REMEMBERED = 256


class SharedReads:
    """The reads of each key: at most one runs, and one waits."""

    def __init__(self) -> None:
        self._queues: dict[object, _ReadQueue] = {}

    async def read(self, key: object, read: Callable[[], Awaitable[Any]]) -> Any:
        """Return the result of a read that begins after this call; it may be shared with others of the same key."""
        if len(self._queues) >= _MAX_REMEMBERED:
            self._queues = {each: queue for each, queue in self._queues.items() if queue.is_busy}
        queue = self._queues.setdefault(key, _ReadQueue())
        return await asyncio.shield(queue.join(read))


class _ReadQueue:
    def __init__(self) -> None:
        self._waiting: asyncio.Task[Any] | None = None
        self._running = asyncio.Lock()
        self._next_at = 0.0

    @property
    def is_busy(self) -> bool:
        return self._waiting is not None or self._running.locked()

    def join(self, read: Callable[[], Awaitable[Any]]) -> asyncio.Task[Any]:
        if self._waiting is None:
            self._waiting = asyncio.ensure_future(self._read(read))
        return self._waiting

    async def _read(self, read: Callable[[], Awaitable[Any]]) -> Any:
        loop = asyncio.get_running_loop()
        async with self._running:
            await asyncio.sleep(max(0.0, self._next_at - loop.time()))
            self._waiting = None  # who asks from now on may have seen a later change
            begin = loop.time()
            try:
                return await read()
            finally:
                end = loop.time()
                self._next_at = end + min(_PAUSE_FACTOR * (end - begin), _MAX_PAUSE)
