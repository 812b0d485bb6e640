"""Futures that other threads complete."""

from __future__ import annotations

import asyncio
import threading

import pytest

from durablecli.serving.loop_futures import LoopFutures


def test_threads_complete_futures_with_results_and_errors() -> None:
    async def run() -> list[int | BaseException]:
        futures: LoopFutures[int] = LoopFutures()
        made = [futures.make() for _ in range(50)]

        def complete() -> None:
            for number, (_, done) in enumerate(made):
                done(ValueError(number) if number % 10 == 9 else number)

        threading.Thread(target=complete).start()
        return await asyncio.gather(*(waiting for waiting, _ in made), return_exceptions=True)

    outcomes = asyncio.run(run())
    assert [each for each in outcomes if isinstance(each, int)] == [n for n in range(50) if n % 10 != 9]
    assert sum(isinstance(each, ValueError) for each in outcomes) == 5


def test_one_that_nobody_waits_for_or_that_is_completed_twice_harms_no_other() -> None:
    async def run() -> int:
        futures: LoopFutures[int] = LoopFutures()
        gone, first_done = futures.make()
        gone.cancel()
        waiting, done = futures.make()
        for each in (first_done, done, done):
            each(7)
        return await waiting

    assert asyncio.run(run()) == 7


def test_a_closed_loop_is_no_error() -> None:
    async def make() -> object:
        return LoopFutures[int]().make()[1]

    done = asyncio.run(make())
    assert callable(done)
    done(1)


@pytest.mark.parametrize("count", [1, 1000])
def test_one_wakeup_resumes_all_that_are_done(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> int:
        loop = asyncio.get_running_loop()
        wakeups = 0
        call_soon = loop.call_soon_threadsafe

        def count_wakeups(*arguments: object, **more: object) -> object:
            nonlocal wakeups
            wakeups += 1
            return call_soon(*arguments, **more)  # type: ignore[arg-type]

        monkeypatch.setattr(loop, "call_soon_threadsafe", count_wakeups)
        futures: LoopFutures[int] = LoopFutures()
        made = [futures.make() for _ in range(count)]
        for _, done in made:
            done(1)
        await asyncio.gather(*(waiting for waiting, _ in made))
        return wakeups

    assert asyncio.run(run()) == 1
