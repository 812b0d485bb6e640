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

from durablecli.registry import Function

FunctionOutcome = tuple[Any, BaseException | None]
_MAX_THREADS = 100


class FunctionRunner:
    """The threads and the loop of one app."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(_MAX_THREADS)
        self._loop: asyncio.AbstractEventLoop | None = None

    async def run(self, function: Function, arguments: Mapping[str, Any]) -> FunctionOutcome:
        """What a function returns, or what it raises, whatever that is."""
        if function.executor == "async":
            called = asyncio.run_coroutine_threadsafe(_call_async(function, arguments), self._get_loop())
            return await asyncio.wrap_future(called)
        async with self._slots:
            return await _run_in_thread(lambda: _call(function, arguments))

    def _get_loop(self) -> asyncio.AbstractEventLoop:
        """The loop: there from its first use until nobody has this stage any more."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=_run_loop, args=(self._loop,), name="durable-functions", daemon=True).start()
            weakref.finalize(self, self._loop.call_soon_threadsafe, self._loop.stop)
        return self._loop


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    loop.close()


# Errors are handed over as values: SystemExit would end the loop, and a cancellation would be taken for the request's.


async def _call_async(function: Function, arguments: Mapping[str, Any]) -> FunctionOutcome:
    try:
        return await function.call(**arguments), None
    except BaseException as error:  # noqa: BLE001 - user code may raise anything
        return None, error


def _call(function: Function, arguments: Mapping[str, Any]) -> FunctionOutcome:
    try:
        return function.call(**arguments), None
    except BaseException as error:  # noqa: BLE001 - user code may raise anything
        return None, error


async def _run_in_thread(call: Callable[[], FunctionOutcome]) -> FunctionOutcome:
    """In a thread that nobody waits for when the process ends."""
    loop = asyncio.get_running_loop()
    waiting: asyncio.Future[FunctionOutcome] = loop.create_future()

    def resolve(outcome: FunctionOutcome) -> None:
        if not waiting.done():
            waiting.set_result(outcome)

    def run() -> None:
        outcome = call()
        with suppress(RuntimeError):  # the loop is gone, and nobody waits any more
            loop.call_soon_threadsafe(resolve, outcome)

    threading.Thread(target=run, name="durable-function", daemon=True).start()
    return await waiting
