"""The threads for calls that block: few, reused, and never waited for."""

from __future__ import annotations

import asyncio
import gc
import threading
from time import sleep

import pytest

from durablecli.http.daemon_threads import DaemonThreadPool
from tests.support.waiting import wait_until


def test_threads_are_few_and_do_not_delay_shutdown() -> None:
    async def many(threads: DaemonThreadPool) -> list[str]:
        def name() -> str:
            sleep(0.001)
            assert threading.current_thread().daemon
            return threading.current_thread().name

        return await asyncio.gather(*(threads.run(name) for _ in range(50)))

    def alive() -> int:
        return sum(thread.name == "some" for thread in threading.enumerate())

    threads = DaemonThreadPool(3, "some")
    assert set(asyncio.run(many(threads))) == {"some"}
    assert alive() == 3
    del threads
    gc.collect()
    wait_until(lambda: alive() == 0)


def test_an_error_in_a_thread_is_raised_to_its_caller() -> None:
    async def ask() -> int:
        return await DaemonThreadPool(1, "one").run(lambda: int("none"))

    with pytest.raises(ValueError, match="none"):
        asyncio.run(ask())
