"""An event that a coroutine awaits."""

from __future__ import annotations

import asyncio

import pytest

from durablecli.client.loop_event import LoopEvent


@pytest.mark.parametrize("steps", range(5))
def test_a_coroutine_that_is_cancelled_while_it_is_woken_ends(steps: int) -> None:
    """The wakeup takes some steps of the event loop; the coroutine is cancelled before or after any of them."""

    async def wake_and_cancel() -> bool:
        event = LoopEvent()
        waiting = asyncio.create_task(event.wait(30))
        await asyncio.sleep(0.01)
        event.set()
        for _ in range(steps):
            await asyncio.sleep(0)
        has_ended = waiting.done()
        waiting.cancel()
        await asyncio.wait([waiting], timeout=2)
        return has_ended or waiting.cancelled()

    assert asyncio.run(wake_and_cancel())
