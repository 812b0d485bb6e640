"""A sender of many events doesn't read the instance before each, and yet notices at once that it has ended."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from durablecli import Client
from durablecli.client.status_reader import StatusReader
from durablecli.errors import NotFound, WrongState
from durablecli.model import events as ev
from tests.support.history_writer import HubWriter, open_hub_writer

ENDED = ev.ExecutionCompleted("Completed")


@pytest.fixture
def status_reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The instances that were read, one after another."""
    found: list[str] = []
    original_status = StatusReader.read_status

    def counted(self: StatusReader, instance: str, **options: bool) -> object:
        found.append(instance)
        return original_status(self, instance, **options)

    monkeypatch.setattr(StatusReader, "read_status", counted)
    return found


def make_started(execution: str = "1", **fields: str) -> ev.ExecutionStarted:
    return ev.ExecutionStarted("a", execution, "f", **fields)  # type: ignore[arg-type]


def test_a_hundred_events_take_one_status_read(tmp_path: Path, status_reads: list[str]) -> None:
    client, other = Client(tmp_path / ".state"), Client(tmp_path / ".state")
    client.start_new("f", "a")
    status_reads.clear()
    for number in range(100):
        client.raise_event("a", "e", number)
        if number % 10 == 0:
            other.start_new("f")  # what others post about other instances changes nothing
    assert status_reads == ["a"]


def test_events_that_an_engine_consumes_meanwhile_need_no_status_read(tmp_path: Path, status_reads: list[str]) -> None:
    client = Client(tmp_path / ".state")
    with open_hub_writer(client.root) as hub:
        hub.write("a", make_started())
        for number in range(20):
            client.raise_event("a", "e", number)
            hub.write("a", ev.EventRaised("e"), consumed=hub.hub.inbox.take_next())
            hub.write("b", ev.ExecutionStarted("b", "1", "f"), ENDED) if number == 7 else None
    assert status_reads == ["a"]


def complete(hub: HubWriter, other: Client) -> None:
    hub.write("a", ENDED)


def complete_in_the_journal_only(hub: HubWriter, other: Client) -> None:
    publish = hub.hub.history_writer.publish
    hub.hub.history_writer.publish = lambda writes: None  # type: ignore[method-assign]
    hub.write("a", ENDED)
    hub.hub.history_writer.publish = publish  # type: ignore[method-assign]


def terminate(hub: HubWriter, other: Client) -> None:
    other.terminate("a")


def purge(hub: HubWriter, other: Client) -> None:
    other.purge_instance_history("a", force=True)


@pytest.mark.parametrize("end", [complete, complete_in_the_journal_only, terminate, purge])
def test_no_event_is_accepted_after_the_end(tmp_path: Path, end: Callable[[HubWriter, Client], None]) -> None:
    client = Client(tmp_path / ".state")
    with open_hub_writer(client.root) as hub:
        hub.write("a", make_started())
        client.raise_event("a", "e")
        hub.write("a", ev.EventRaised("e"), consumed=hub.hub.inbox.take_next())
        client.raise_event("a", "e")
        end(hub, Client(tmp_path / ".state"))
        with pytest.raises((WrongState, NotFound)):
            client.raise_event("a", "e")


def test_no_event_is_accepted_after_an_end_of_its_own(tmp_path: Path) -> None:
    client = Client(tmp_path / ".state")
    client.start_new("f", "a")
    client.raise_event("a", "e")
    client.terminate("a")
    with pytest.raises(WrongState):
        client.raise_event("a", "e")
    client.start_new("f", "a")
    client.raise_event("a", "e")
