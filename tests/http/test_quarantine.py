"""An instance with a damaged history: a client that polls for its end gets an error."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from durablecli.store.history.file import history_path
from tests.http.conftest import BASE, RunningServer, check_against_openapi, run_server
from tests.support.waiting import wait_until


@pytest.fixture
def served(tmp_path: Path) -> Iterator[RunningServer]:
    with run_server(tmp_path) as found:
        yield found


def test_a_damaged_instance_responds_with_409(served: RunningServer) -> None:
    instance = served.client.start_new("waiter", "damaged")
    file = Path(history_path(served.client.root, instance))
    wait_until(lambda: file.exists() and file.read_bytes().count(b"\n") > 1)
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(lines[0] + b"X" + lines[1][1:] + b"".join(lines[2:]))
    answer = wait_until(lambda: _get_conflict(served, instance))
    assert "quarantined" in answer.text
    check_against_openapi(answer)
    shown = served.http.get(f"{BASE}/instances/{instance}", params={"showWaiting": "true"})
    assert shown.json()["setAside"]


def _get_conflict(served: RunningServer, instance: str) -> httpx.Response | None:
    answer = served.http.get(f"{BASE}/instances/{instance}")
    return answer if answer.status_code == 409 else None
