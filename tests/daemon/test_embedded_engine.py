"""An engine in a thread of the program: what a client beside it costs, counted."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import durablecli as df
from durablecli import testing
from durablecli.client import Client, Query
from durablecli.client.polling import Poller
from durablecli.daemon.embedded_engine import embedded
from durablecli.engine.end_watchers import EndWatchers
from durablecli.engine.engine_options import EngineOptions
from durablecli.errors import TimedOut
from tests.support.counting_disk import CountingDisk, count_syncs

CITIES = ("Tokyo", "Seattle", "London", "Paris", "Lima")


@df.activity
def hello(city: str) -> str:
    return f"Hello {city}!"


@df.orchestrator
def hello5(context: df.DurableOrchestrationContext) -> Any:
    said = []
    for city in CITIES:
        said.append((yield context.call_activity(hello, city)))
    return said


@df.orchestrator
def count_down(context: df.DurableOrchestrationContext) -> Any:
    yield context.wait_for_external_event("next")
    if left := context.get_input():
        context.continue_as_new(left - 1)
    return left


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with embedded(testing.build_registry(hello, hello5, count_down), tmp_path / "hub") as client:
        yield client


def test_a_wait_is_woken_and_reads_only_the_history(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = CountingDisk()
    waiting = Client(client.root, client.mailbox, disk)
    monkeypatch.setattr(Poller, "pause", None)  # no wait sleeps
    for _ in range(5):
        instance = waiting.start_new(hello5)
        disk.operations.clear()
        assert waiting.wait(instance, 60).output == [f"Hello {city}!" for city in CITIES]
        assert disk.count("read_from", within=f"{client.root}/instances") <= 2
        # One look at the journal, if a commit of the instance is on its way just as the wait begins.
        assert disk.count(within=f"{client.root}/journal") <= 3


def test_each_turn_costs_one_sync(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    client.wait(client.start_new(hello5), 60)
    synced = count_syncs(monkeypatch)
    client.wait(client.start_new(hello5), 60)
    assert len(synced) == 1 + len(CITIES)


def test_a_wait_goes_on_over_executions_until_the_last(client: Client) -> None:
    instance = client.start_new(count_down, client_input=3)
    for _ in range(4):
        with pytest.raises(TimedOut):
            client.wait(instance, 0.01)
        client.raise_event(instance, "next")
    assert client.wait(instance, timedelta(seconds=60)).output == 0


def test_a_wait_ends_when_its_engine_stops(tmp_path: Path) -> None:
    with embedded(testing.build_registry(count_down), tmp_path / "hub") as client:
        instance = client.start_new(count_down)
    with pytest.raises(TimedOut):
        client.wait(instance, 0.01)
    with embedded(testing.build_registry(count_down), tmp_path / "hub") as second:
        second.raise_event(instance, "next")
        assert client.wait(instance, 60).ended  # by the files, as its own engine is gone
        assert [row.status for row in client.page(Query()).rows] == ["Completed"]


def test_watchers_are_told_of_their_instance_only_and_of_the_stop() -> None:
    watchers = EndWatchers()
    first, second, other = threading.Event(), threading.Event(), threading.Event()
    with watchers.watch("a", first) as watched, watchers.watch("a", second), watchers.watch("b", other):
        assert watched
        watchers.notify(["a", "c"])
        assert (first.is_set(), second.is_set(), other.is_set()) == (True, True, False)
        watchers.close()
        assert other.is_set()
    with watchers.watch("a", first) as watched:
        assert not watched


@df.activity
def echo(value: int) -> int:
    return value


@df.orchestrator
def counts_up(context: df.DurableOrchestrationContext) -> Any:
    total = 0
    for _ in range(3):
        total += yield context.call_activity(echo, 1)
    return total


def test_a_client_in_the_process_of_the_engine_is_never_behind_one_outside() -> None:
    """A commit is in the journal, where others read it, before it takes effect."""
    options = EngineOptions(use_threads=False, sync_in_place=False)
    with testing.TestEnvironment(testing.build_registry(counts_up, echo), testing.START, options) as hub:
        inside, outside = Client("hub", hub.engine, hub.disk), Client("hub", None, hub.disk)
        hub.client.start_new(counts_up, "x")
        waiting = 0
        while not (status := inside.get_status("x")).ended:
            hub.pool.run_next()
            hub.engine.step()
            waiting += hub.engine.is_on_its_way("x")
            status, seen = inside.get_status("x"), outside.get_status("x")
            assert (status.status_name, status.waiting_for) == (seen.status_name, seen.waiting_for)
        assert status.output == 3
        assert waiting >= 3
