"""Runs the HTTP functions of an app: coroutines on an event loop of their own, all others in threads.

A function that blocks, perhaps because it sends a request to this very server, then holds up only its own app.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Mapping
from typing import Any

from durablecli.registry import Function
from durablecli.serving.daemon_threads import DaemonThreadPool

FunctionOutcome = tuple[Any, BaseException | None]
"""The return value of a function, and its exception. The latter is passed as a value, because a raised SystemExit would
end the loop, and a raised CancelledError would look like the cancellation of the request."""

_MAX_THREADS = 100


class FunctionRunner:
    """The threads and the event loop of one app."""

    def __init__(self) -> None:
        self._threads = DaemonThreadPool(_MAX_THREADS, "durable-function")
        self._loop: asyncio.AbstractEventLoop | None = None

    async def run(self, function: Function, arguments: Mapping[str, Any]) -> FunctionOutcome:
        """Call a function, whatever it returns or raises."""
        if function.executor == "async":
            called = asyncio.run_coroutine_threadsafe(_call_async(function, arguments), self._get_loop())
            return await asyncio.wrap_future(called)
        return await self._threads.run(lambda: _call(function, arguments))

    def _get_loop(self) -> asyncio.AbstractEventLoop:
        """The event loop: it runs from its first use until the runner is garbage-collected."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=_run_loop, args=(self._loop,), name="durable-functions", daemon=True).start()
            weakref.finalize(self, self._loop.call_soon_threadsafe, self._loop.stop)
        return self._loop


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    loop.close()


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
