"""A sender of many events doesn't look at the instance before each of them, and yet isn't deceived for long."""

from __future__ import annotations

from pathlib import Path

import pytest

from durablecli import Client
from durablecli.client.reading import Reader
from durablecli.client.standing import Standing
from durablecli.errors import WrongState
from durablecli.model.events import ExecutionCompleted, ExecutionStarted
from tests.client.scribe import scribe


def test_it_holds_for_a_moment_and_until_something_was_seen() -> None:
    standing = Standing()
    assert not standing.holds("a")
    standing.looked("a", since=0.0)
    assert standing.holds("a")
    assert not standing.holds("b")
    standing.forget()
    assert not standing.holds("a")


def test_a_hundred_events_take_few_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[str] = []
    look = Reader.status

    def counted(self: Reader, instance: str) -> object:
        looks.append(instance)
        return look(self, instance)

    monkeypatch.setattr(Reader, "status", counted)
    client = Client(tmp_path / ".state")
    client.start_new("f", "a")
    looks.clear()
    for number in range(100):
        client.raise_event("a", "e", number)
    assert 1 <= len(looks) < 20


def test_what_the_client_has_seen_end_takes_no_event_any_more(tmp_path: Path) -> None:
    client = Client(tmp_path / ".state")
    client.start_new("f", "a")
    client.raise_event("a", "e")
    with scribe(client.root) as hub:
        taken = hub.hub.inbox.waiting()
        hub.write("a", ExecutionStarted("a", "1", "f"), ExecutionCompleted("Completed"), taken=taken)
    assert client.get_status("a").ended
    with pytest.raises(WrongState):
        client.raise_event("a", "e")
