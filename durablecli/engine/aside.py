"""Running synchronous code beside an event loop: in a thread of its own, so that whatever blocks delays nobody else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from typing import Any


async def aside(function: Callable[..., Any], *arguments: Any) -> None:
    """Wait until a function has run, with the context of whoever waits.

    Not asyncio.to_thread: its threads are few, so some that block for ever would hold up all others, and at exit Python
    waits for them.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    context = copy_context()

    def settle(error: BaseException | None) -> None:
        if done.done():
            return  # whoever waited was cancelled
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    def work() -> None:
        error: BaseException | None = None
        try:
            context.run(function, *arguments)
        except BaseException as raised:  # noqa: BLE001 - it belongs to whoever waits
            error = raised
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, error)

    threading.Thread(target=work, name="durable-aside", daemon=True).start()
    await done
