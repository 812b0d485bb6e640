"""The bridge to the engine: concurrent purges, and large bodies that are parsed in a thread."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from msgspec import Raw

from durablecli.http import entities_api, instances_api
from durablecli.http.requests import parse_body
from tests.http.conftest import BASE, RunningServer


def test_of_concurrent_purges_of_an_instance_one_reports_a_deletion(served: RunningServer) -> None:
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

    for module in (instances_api, entities_api):
        monkeypatch.setattr(module, "parse_body", parse)
    waiting = served.start_instance("waiter", "x" * size)
    assert served.http.post(f"{BASE}/instances/{waiting}/raiseEvent/Go", json="x" * size).status_code == 202
    assert served.http.post(f"{BASE}/entities/counter/large?op=add", json=[1] * size).status_code == 202
    assert [name == "durable-http-call" for name in names] == [in_thread] * 3
    assert served.http.post(f"{BASE}/orchestrators/echo", content="[" + "1," * size).status_code in (400, 415)
