"""What a request costs on the event loop, counted in function calls: below the server, without the threads."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette

from durablecli.client import Client
from durablecli.daemon.embedded_engine import embedded
from durablecli.http.asgi_app import make_app
from durablecli.registry import Registry
from tests.http import conftest
from tests.http.conftest import BASE
from tests.support.call_counter import count_calls


@pytest.fixture
def registry() -> Registry:
    registry = Registry()
    registry.add_module(sys.modules[conftest.__name__])
    return registry


@pytest.fixture
def client(tmp_path: Path, registry: Registry) -> Iterator[Client]:
    with embedded(registry, tmp_path / ".state") as client:
        yield client


def count_calls_of_request(app: Starlette, method: str, path: str, expected: int) -> int:
    """Count the calls of a request after another of its kind."""
    statuses: list[int] = []
    scope = {"type": "http", "scheme": "http", "method": method, "path": path, "raw_path": path.encode()}
    scope |= {"root_path": "", "query_string": b"", "headers": [(b"host", b"127.0.0.1")]}

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        statuses.append(message.get("status", expected))

    with asyncio.Runner() as runner:
        run = runner.get_loop().run_until_complete
        run(app(dict(scope), receive, send))
        # The fewest of some: now and then a request also starts a thread.
        count = min(count_calls(lambda: run(app(dict(scope), receive, send))) for _ in range(5))
    assert set(statuses) == {expected}
    return count


def test_a_read_of_a_status_takes_few_calls(client: Client) -> None:
    instance = client.start_new("echo", client_input=1)
    client.wait(instance, 20)
    assert count_calls_of_request(make_app(client), "GET", f"{BASE}/instances/{instance}", 200) < 350


def test_a_start_takes_few_calls(client: Client, registry: Registry) -> None:
    assert count_calls_of_request(make_app(client, registry=registry), "POST", f"{BASE}/orchestrators/echo", 202) < 450
