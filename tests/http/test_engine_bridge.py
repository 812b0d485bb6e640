"""What is done beside the loop: in few threads, one after another where it has to be."""

from __future__ import annotations

import asyncio
import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from time import sleep

import pytest
from msgspec import Raw

from durablecli.http import instances_api
from durablecli.http.engine_bridge import DaemonThreadPool
from durablecli.http.requests import parse_body
from tests.http.conftest import BASE, RunningServer, wait_until


def test_of_several_who_take_an_instance_away_at_once_one_has_done_it(served: RunningServer) -> None:
    ids = [served.start_instance("echo", 1) for _ in range(20)]
    with ThreadPoolExecutor(3) as threads:
        for id in ids:
            served.wait_for_status(id, "Completed")
            answers = list(threads.map(served.http.delete, [f"{BASE}/instances/{id}"] * 3))
            assert sorted(answer.status_code for answer in answers) == [200, 404, 404]


@pytest.mark.parametrize(("size", "in_thread"), [(1000, False), (100_000, True)])
def test_a_large_body_is_parsed_outside_the_event_loop(
    served: RunningServer, monkeypatch: pytest.MonkeyPatch, size: int, in_thread: bool
) -> None:
    names: list[str] = []

    def parse(body: bytes, message: str = "") -> Raw:
        names.append(threading.current_thread().name)
        return parse_body(body, message)

    monkeypatch.setattr(instances_api, "parse_body", parse)
    waiting = served.start_instance("waiter", "x" * size)
    assert served.http.post(f"{BASE}/instances/{waiting}/raiseEvent/Go", json="x" * size).status_code == 202
    assert served.http.post(f"{BASE}/entities/counter/large?op=add", json=[1] * size).status_code == 202
    assert [name == "durable-http-call" for name in names] == [in_thread] * 3
    assert served.http.post(f"{BASE}/orchestrators/echo", content="[" + "1," * size).status_code in (400, 415)


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
