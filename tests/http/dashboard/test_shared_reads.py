"""Reads that several pages share."""

from __future__ import annotations

import asyncio

import pytest

from durablecli.http.dashboard.shared_reads import SharedReads


async def _read_together(reads: SharedReads, calls: list[float]) -> None:
    began = asyncio.Event()

    async def read() -> int:
        calls.append(asyncio.get_running_loop().time())
        began.set()
        await asyncio.sleep(0.02)
        return len(calls)

    assert await asyncio.gather(*(reads.read("a", read) for _ in range(5))) == [1] * 5
    running = asyncio.ensure_future(reads.read("a", read))
    began.clear()
    await began.wait()
    # This one has to see what changed since the running read began.
    assert await reads.read("a", read) == 3
    assert await running == 2


def test_those_that_wait_share_the_next_read_and_reads_leave_a_pause() -> None:
    calls: list[float] = []
    asyncio.run(_read_together(SharedReads(), calls))
    assert len(calls) == 3
    assert calls[1] - calls[0] > 0.1  # five times what the first one took


async def _fail(reads: SharedReads) -> None:
    async def read() -> int:
        raise ValueError("no")

    results = await asyncio.gather(*(reads.read("a", read) for _ in range(2)), return_exceptions=True)
    assert [type(each) for each in results] == [ValueError, ValueError]
    with pytest.raises(ValueError, match="no"):
        await reads.read("b", read)


def test_an_error_reaches_all_that_wait() -> None:
    asyncio.run(_fail(SharedReads()))
