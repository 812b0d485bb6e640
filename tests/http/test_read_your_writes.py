"""A change acknowledged by one channel is visible in all: HTTP, the client in the engine's process, and another one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from durablecli.client import Client
from durablecli.errors import WrongState
from tests.http.conftest import BASE, RunningServer, run_server


@pytest.fixture
def served(tmp_path: Path) -> Iterator[RunningServer]:
    with run_server(tmp_path) as found:
        yield found


def start_by_http(served: RunningServer, instance: str, data: int) -> None:
    answer = served.http.post(f"{BASE}/orchestrators/echo/{instance}", json=data)
    assert answer.status_code == 202, answer.text


def start_by_embedded_client(served: RunningServer, instance: str, data: int) -> None:
    served.client.start_new("echo", instance, data)


def start_by_other_client(served: RunningServer, instance: str, data: int) -> None:
    Client(served.client.root).start_new("echo", instance, data)


CHANNELS: list[Callable[[RunningServer, str, int], None]] = [
    start_by_http,
    start_by_embedded_client,
    start_by_other_client,
]


def read_output(served: RunningServer, channel: Callable[[RunningServer, str, int], None], instance: str) -> Any:
    """Read the output of an instance through a channel."""
    if channel is start_by_http:
        return served.http.get(f"{BASE}/instances/{instance}").json()["output"]
    client = served.client if channel is start_by_embedded_client else Client(served.client.root)
    return client.get_status(instance).output


@pytest.mark.parametrize("start", CHANNELS)
@pytest.mark.parametrize("look", CHANNELS)
def test_a_start_that_replaces_an_ended_instance_hides_its_output_at_once(
    served: RunningServer,
    start: Callable[[RunningServer, str, int], None],
    look: Callable[[RunningServer, str, int], None],
) -> None:
    for number in range(10):
        start(served, "x", number)
        assert read_output(served, look, "x") in (None, number)
        assert served.client.wait("x", 20).output == number


def test_an_instance_that_another_process_terminates_can_be_started_again(served: RunningServer) -> None:
    for number in range(10):
        served.client.start_new("waiter", "w")
        Client(served.client.root).terminate("w")
        start_by_http(served, "w", number)
        assert served.client.wait("w", 20).output == number


def test_nothing_is_accepted_right_after_the_end(served: RunningServer) -> None:
    other = Client(served.client.root)
    for number in range(5):
        instance = served.start_instance("waiter")
        served.wait_for_status(instance, "Running")
        other.raise_event(instance, "Other", number)
        served.client.raise_event(instance, "Go", number)
        assert served.client.wait(instance, 20).output == str(number)
        for client in (served.client, other):
            with pytest.raises(WrongState):
                client.raise_event(instance, "Go")
            for verb in (Client.suspend, Client.resume, Client.terminate, Client.rewind):
                with pytest.raises(WrongState):
                    verb(client, instance)
        for word in ("raiseevent/Go", "suspend", "resume", "terminate", "rewind"):
            answer = served.http.post(f"{BASE}/instances/{instance}/{word}", json=1)
            assert answer.status_code == 410, answer.text


def test_a_purged_instance_is_gone_on_every_channel_and_its_id_is_free(served: RunningServer) -> None:
    for number in range(10):
        start_by_http(served, "x", number)
        served.client.wait("x", 20)
        Client(served.client.root).purge_instance_history("x")
        assert served.http.get(f"{BASE}/instances/x").status_code == 404
        assert not served.client.get_status("x")
