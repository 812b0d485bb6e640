"""Histories of remote code: the doctor finds nothing in them, and after damage nothing is decided or applied twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any

import pytest

from durablecli.model import events as ev
from durablecli.store.check import checker
from durablecli.store.check.history_repair import HistoryRepair
from durablecli.store.history.file import history_path
from durablecli.store.hub import checkpoint, close_hub, open_hub
from durablecli.store.inbox.messages import MessageItem
from durablecli.store.index import Index
from durablecli.store.layout import QUARANTINE_FILE
from tests.support.remote_workers import (
    Decisions,
    RemoteWorker,
    ServingEnvironment,
    call,
    completed,
    serve,
    to_raw,
    value_of,
)

Orchestration = Generator[Decisions, Any, ev.Decision]
ROOT = "hub"
A, B = "@cart@a", "@cart@b"


def order(started: ev.ExecutionStarted) -> Orchestration:
    """Calls two activities together, adds to two entities while it holds their locks, and waits for an event."""
    first = yield [call("Ship", "one"), call("Ship", "two")]
    second = yield []
    yield ev.EntityLockRequested((A, B), request="section")
    yield ev.EntityOperationCalled(A, "add", to_raw(1), request="a")
    yield ev.EntityOperationCalled(B, "add", to_raw(10), request="b")
    released = [ev.EntityUnlockSent(0, request="section", entity=entity) for entity in (A, B)]
    go = yield [*released, ev.CustomStatusSet(to_raw("released"))]
    return completed([*sorted([value_of(first), value_of(second)]), value_of(go)])


class Shop:
    """The functions of the worker, and how often each ran."""

    def __init__(self) -> None:
        self.ran: Counter[str] = Counter()

    def ship(self, what: str) -> str:
        self.ran[what] += 1
        return f"shipped {what}"

    def connect(self, hub: ServingEnvironment) -> RemoteWorker:
        return hub.connect({"Order": order}, {"Ship": self.ship}, {"cart": self.add})

    def add(self, state: Any, operation: str, value: Any) -> tuple[Any, Any]:
        return (state or 0) + value, (state or 0) + value


def change_lines(hub: ServingEnvironment, id: str, change: Callable[[list[bytes]], list[bytes]]) -> None:
    """Change the lines of a file, and forget the journal, so that nothing else has them."""
    hub.engine.flush()
    checkpoint(hub.engine.hub)
    file = hub.disk.files[history_path(ROOT, id)]
    lines = change(bytes(file.data).split(b"\n")[:-1])
    file.data[:] = b"".join(line + b"\n" for line in lines)


def repair(hub: ServingEnvironment) -> list[str]:
    """What `durable doctor --repair` does with histories."""
    hub.close()
    close_hub(open_hub(ROOT, hub.disk, lock=False, index=Index()))

    def keep_file(file: str, *, copy: bool = False) -> None:
        if not copy:
            hub.disk.unlink(file)

    found = list(HistoryRepair(hub.disk, ROOT, keep_file).run())
    with suppress(FileNotFoundError):
        hub.disk.unlink(f"{ROOT}/{QUARANTINE_FILE}")
    return found


def list_findings(hub: ServingEnvironment) -> list[str]:
    hub.engine.flush()
    return [each for each in checker.check_hub(ROOT, hub.disk).findings if "index" not in each]


def finish(hub: ServingEnvironment) -> None:
    hub.client.raise_event("o", "Go", "go")
    hub.run()
    status = hub.client.get_status("o")
    assert status.output == ["shipped one", "shipped two", "go"], status
    assert [hub.client.read_entity_state(id).entity_state for id in (A, B)] == [1, 10]
    assert not any(hub.client.entity(id).locked_by for id in (A, B))
    assert list_findings(hub) == []


def test_the_doctor_finds_nothing_in_histories_of_remote_code() -> None:
    with serve() as hub:
        Shop().connect(hub)
        hub.client.start_new("Order", "o")
        hub.run()
        assert list_findings(hub) == []
        kinds = Counter(type(line.record.event).__name__ for line in hub.client.get_lines("o"))
        assert kinds["EntityUnlockSent"] == 2
        finish(hub)


def count_lines() -> int:
    with serve() as hub:
        Shop().connect(hub)
        hub.client.start_new("Order", "o")
        hub.run()
        return len(list(hub.client.get_lines("o")))


LINES = count_lines()


@pytest.mark.parametrize("kept", range(1, LINES))
def test_a_truncated_history_is_repaired_and_goes_on(kept: int) -> None:
    shop = Shop()
    with serve() as hub:
        shop.connect(hub)
        hub.client.start_new("Order", "o")
        hub.run()
        change_lines(hub, "o", lambda lines: [*lines[:kept], b"x" * 20, *lines[kept + 1 :]])
        found = repair(hub)
        assert any("o has lost" in line for line in found)
        hub.restart_serving()
        hub.run()
        assert not hub.client.get_status("o").blocked
        shop.connect(hub)
        hub.run()
        finish(hub)


def test_without_workers_a_repaired_turn_is_blocked_and_goes_on_when_they_are_served() -> None:
    shop = Shop()
    with serve() as hub:
        shop.connect(hub)
        hub.client.start_new("Order", "o")
        hub.run()
        change_lines(hub, "o", lambda lines: [*lines[:2], b"x" * 20])
        repair(hub)
        served, hub._options = hub._options, hub._options.__class__(use_threads=False)
        hub.restart()
        hub.run()
        blocked = hub.client.get_status("o").blocked
        assert blocked is not None
        assert blocked.reason == "orchestrator 'Order' isn't loaded"
        hub._options = served
        hub.restart_serving()
        shop.connect(hub)
        hub.run()
        finish(hub)


def test_a_termination_behind_a_gap_is_repeated_with_its_output() -> None:
    with serve() as hub:
        Shop().connect(hub)
        hub.client.start_new("Order", "o")
        hub.run()
        hub.client.control("terminate", [MessageItem("o", reason="enough", output=to_raw({"code": 7}))])
        hub.run()
        assert hub.client.get_status("o").output == {"code": 7}
        change_lines(hub, "o", lambda lines: [*lines[:2], b"x" * 20, *lines[3:]])
        repair(hub)
        hub.restart_serving()
        hub.run()
        status = hub.client.get_status("o")
        assert (status.status_name, status.output) == ("Terminated", {"code": 7})
