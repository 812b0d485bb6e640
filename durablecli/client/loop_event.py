"""An event that a coroutine awaits and a thread sets."""

from __future__ import annotations

import asyncio
from contextlib import suppress


class LoopEvent:
    """Belongs to the running event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()

    def set(self) -> None:
        """Wake the coroutine; any thread may call this."""
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._event.set)

    @property
    def is_set(self) -> bool:
        return self._event.is_set()

    async def wait(self, seconds: float) -> None:
        """Return once the event is set, or after `seconds`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):  # wait_for may ignore that it is cancelled, before Python 3.12
                await self._event.wait()
