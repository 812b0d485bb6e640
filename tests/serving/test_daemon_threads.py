"""The threads for calls that block: few, reused, and never waited for."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from time import sleep

import pytest

from durablecli.serving.daemon_threads import DaemonThreadPool
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


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of a fork while threads are running
def test_a_child_that_a_call_forks_ends_with_the_call() -> None:
    child = asyncio.run(DaemonThreadPool(1, "fork").run(os.fork))
    assert os.waitpid(child, 0)[1] == 0


def test_an_idle_thread_takes_the_next_call() -> None:
    async def run_in_turn() -> set[int]:
        pool = DaemonThreadPool(8, "idle")
        idents = set()
        for _ in range(20):
            idents.add(await pool.run(threading.get_ident))
            await asyncio.sleep(0.01)
        return idents

    assert len(asyncio.run(run_in_turn())) < 8
