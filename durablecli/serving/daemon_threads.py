"""Threads for calls that would block an event loop."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")
_Queue = SimpleQueue[Callable[[], None] | None]


class DaemonThreadPool:
    """Threads that run calls in order of arrival, started as needed.

    They end when the pool is garbage-collected, and the exit of the process doesn't wait for them.
    """

    def __init__(self, max_threads: int, name: str) -> None:
        self._max_threads = max_threads
        self._name = name
        self._started = 0
        self._idle = threading.Semaphore(0)
        self._queue: _Queue = SimpleQueue()
        weakref.finalize(self, _stop_threads, self._queue, max_threads)

    async def run(self, call: Callable[[], T]) -> T:
        """Return the result of a call in one of the threads, or raise its error."""
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[T] = loop.create_future()
        in_context = partial(copy_context().run, call)  # with the current span, for one
        self._queue.put(lambda: _run_call(in_context, waiting, loop))
        if not self._idle.acquire(blocking=False) and self._started < self._max_threads:
            thread = threading.Thread(target=_run_calls, args=(self._queue, self._idle), name=self._name, daemon=True)
            thread.start()
            self._started += 1
        return await waiting


def _run_calls(queue: _Queue, idle: threading.Semaphore) -> None:
    pid = os.getpid()
    while (call := queue.get()) is not None:
        call()
        if os.getpid() != pid:
            os._exit(0)  # a child that the call forked has returned from it, and must not run the next one
        del call  # a reference from here could keep the pool, and so this thread, alive
        idle.release()


def _stop_threads(queue: _Queue, count: int) -> None:
    for _ in range(count):
        queue.put(None)


def _run_call(call: Callable[[], T], waiting: asyncio.Future[T], loop: asyncio.AbstractEventLoop) -> None:
    if waiting.cancelled():
        return  # the caller is gone
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001 - the caller gets it
        set_outcome: Callable[[], None] = partial(waiting.set_exception, error)
    else:
        set_outcome = partial(waiting.set_result, result)
    with suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(lambda: None if waiting.done() else set_outcome())
