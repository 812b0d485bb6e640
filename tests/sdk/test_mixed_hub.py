"""One hub with code of two languages: local Python functions and a JavaScript worker call each other."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from durablecli import Client, EntityId, OrchestrationRuntimeStatus
from tests.sdk.backends import IN_MEMORY, run_daemon
from tests.sdk.javascript.find_node import PACKAGES, PROJECT, find_node
from tests.support.waiting import wait_until

pytestmark = pytest.mark.skipif(IN_MEMORY, reason="local code needs a daemon")

APP = Path(__file__).parent / "mixed_app.py"


@contextmanager
def javascript_worker(address: str, filters: str) -> Iterator[subprocess.Popen[str]]:
    node = find_node()
    assert node is not None, "Node.js is missing: make node"
    assert PACKAGES.is_dir(), "packages of tests/sdk/javascript are missing: make node"
    process = subprocess.Popen(
        [node, "mixed_worker.js"], cwd=PROJECT, env=os.environ | {"HUB_ADDRESS": address, "FILTERS": filters},
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module", params=["auto", "none"], ids=["filters", "no-filters"])
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of a hub that both serve. Without filters the worker is offered all that isn't loaded locally."""
    folder = tmp_path_factory.mktemp("mixed")
    with run_daemon(folder, APP) as daemon, javascript_worker(daemon.address, request.param):
        yield daemon.cli.client


def run(client: Client, name: str, input: Any = None) -> Any:
    instance = client.start_new(name, None, input)
    status = client.wait(instance, 20)
    assert status.runtime_status is OrchestrationRuntimeStatus.Completed, status
    return status.output


def test_a_local_orchestrator_calls_both_languages(client: Client) -> None:
    assert run(client, "python_chain", 20) == 41
    assert run(client, "python_fan_out", 8) == [2 * n for n in range(8)] * 2


def test_a_remote_orchestrator_calls_both_languages(client: Client) -> None:
    assert run(client, "javascriptChain", 20) == 42


def test_children_of_the_other_language(client: Client) -> None:
    assert run(client, "python_parent", 20) == 42
    assert run(client, "javascriptParent", 20) == 41


def test_failures_of_the_other_language(client: Client) -> None:
    assert "out of stock" in run(client, "python_catch")
    error_type, message = run(client, "javascriptCatch")
    assert "LookupError" in error_type
    assert message == "no such item"


def test_retries_of_a_remote_activity(client: Client) -> None:
    assert run(client, "python_retry", os.urandom(8).hex()) == 3


def test_a_remote_orchestrator_and_a_local_entity(client: Client) -> None:
    assert run(client, "javascriptEntity", key := os.urandom(8).hex()) == 5
    assert client.read_entity_state(EntityId("PythonCounter", key)).entity_state == {"value": 5}


def test_a_remote_entity_signals_a_local_one(client: Client) -> None:
    key = os.urandom(8).hex()
    client.signal_entity(EntityId("JavascriptCounter", key), "tellPython", 7)
    ours = EntityId("PythonCounter", key)
    wait_until(lambda: client.read_entity_state(ours).entity_state == {"value": 7})


def test_a_remote_orchestrator_sends_an_event_to_a_local_one(client: Client) -> None:
    target = client.start_new("python_waits")
    wait_until(lambda: client.get_status(target).custom_status == "waiting")
    assert run(client, "javascriptSends", target) == 2
    assert client.wait(target, 20).output == {"from": "JavaScript"}


def test_locks_across_both_languages(client: Client) -> None:
    """Sections of both languages exclude each other: both counters are always seen equal, and never twice the same."""
    key = os.urandom(8).hex()
    names = ["python_locks", "javascriptLocks"] * 4
    instances = [client.start_new(name, None, key) for name in names]
    outputs = [client.wait(each, 20).output for each in instances]
    assert sorted(outputs) == [[n, n] for n in range(8)]
    assert client.read_entity_state(EntityId("PythonCounter", key)).entity_state == {"value": 8}
    assert client.read_entity_state(EntityId("JavascriptCounter", key)).entity_state == 8
