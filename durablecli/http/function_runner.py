"""Where the HTTP functions of an app run: a coroutine on a loop of their own, any other in a thread of its own.

So one that blocks, perhaps because it asks this very server, holds up nothing but its own app.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from durablecli.app import Function

Outcome = tuple[Any, BaseException | None]
_AT_ONCE = 100


class Stage:
    """The threads and the loop of one app."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._loop: asyncio.AbstractEventLoop | None = None

    async def run(self, function: Function, given: Mapping[str, Any]) -> Outcome:
        """What a function returns, or what it raises, whatever that is."""
        if function.executor == "async":
            called = asyncio.run_coroutine_threadsafe(_call_async(function, given), self._own_loop())
            return await asyncio.wrap_future(called)
        async with self._slots:
            return await _in_thread(lambda: _call(function, given))

    def _own_loop(self) -> asyncio.AbstractEventLoop:
        """The loop: there from its first use until nobody has this stage any more."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=_go_on, args=(self._loop,), name="durable-functions", daemon=True).start()
            weakref.finalize(self, self._loop.call_soon_threadsafe, self._loop.stop)
        return self._loop


def _go_on(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    loop.close()


# Errors are handed over as values: SystemExit would end the loop, and a cancellation would be taken for the request's.


async def _call_async(function: Function, given: Mapping[str, Any]) -> Outcome:
    try:
        return await function.call(**given), None
    except BaseException as error:  # noqa: BLE001 - user code may raise anything
        return None, error


def _call(function: Function, given: Mapping[str, Any]) -> Outcome:
    try:
        return function.call(**given), None
    except BaseException as error:  # noqa: BLE001 - user code may raise anything
        return None, error


async def _in_thread(call: Callable[[], Outcome]) -> Outcome:
    """In a thread that nobody waits for when the process ends."""
    loop = asyncio.get_running_loop()
    waiting: asyncio.Future[Outcome] = loop.create_future()

    def tell(outcome: Outcome) -> None:
        if not waiting.done():
            waiting.set_result(outcome)

    def run() -> None:
        outcome = call()
        with suppress(RuntimeError):  # the loop is gone, and nobody waits any more
            loop.call_soon_threadsafe(tell, outcome)

    threading.Thread(target=run, name="durable-function", daemon=True).start()
    return await waiting
