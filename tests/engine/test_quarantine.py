"""Quarantine: an instance with a damaged history is left alone, messages for it are kept, and all others run."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from msgspec import Raw

import durablecli as df
from durablecli import testing
from durablecli.engine.turns import TurnRunner
from durablecli.errors import InstanceSetAside
from durablecli.store import quarantine, quarantined_messages
from durablecli.store.history.file import history_path
from durablecli.store.hub import checkpoint
from durablecli.store.inbox.messages import MessageItem
from durablecli.store.query import Query
from tests.support.flows import counter, echo

Context = df.DurableOrchestrationContext
ROOT = "hub"


@df.orchestrator
def calls(context: Context) -> Any:
    first = yield context.call_activity(echo, 1)
    second = yield context.call_activity(echo, 2)
    return [first, second]


@df.orchestrator
def waits(context: Context) -> Any:
    got = []
    for _ in range(3):
        got.append((yield context.wait_for_external_event("Go")))
    return got


@df.orchestrator
def sleeps(context: Context) -> Any:
    yield context.create_timer(context.current_utc_datetime + timedelta(hours=1))
    return "woken"


@df.orchestrator
def parent(context: Context) -> Any:
    try:
        return (yield context.call_sub_orchestrator("waits", None, "child"))
    except Exception as error:  # noqa: BLE001 - whatever is answered
        return str(error)


@df.orchestrator
def sends(context: Context) -> Any:
    yield context.wait_for_external_event("Now")
    context.send_event("w", "Go", 7)
    return "sent"


@df.orchestrator
def adds(context: Context) -> Any:
    entity = df.EntityId("counter", "a")
    context.signal_entity(entity, "add", 1)
    return (yield context.call_entity(entity, "add", 10))


@df.orchestrator
def locks(context: Context) -> Any:
    entity = df.EntityId("counter", "a")
    with (yield context.lock_entities([entity])):
        yield context.wait_for_external_event("Go")
        return (yield context.call_entity(entity, "add", 100))


FUNCTIONS = [echo, calls, waits, sleeps, parent, sends, adds, locks, counter]
COUNTER = "@counter@a"


@pytest.fixture
def hub(replay_always: bool) -> Any:
    with testing.hub(*FUNCTIONS, replay_always=replay_always) as hub:
        yield hub


def damage(hub: testing.TestEnvironment, id: str, line: int = 1) -> Callable[[], None]:
    """Flip a bit in a line (counted from 0) of a history in its file; what is given takes it back."""
    hub.engine.flush()
    checkpoint(hub.engine.hub)  # else the journal has all of it
    data = hub.disk.files[history_path(ROOT, id)].data
    at = sum(len(each) + 1 for each in bytes(data).split(b"\n")[:line]) + 12
    data[at] ^= 1

    def undo() -> None:
        data[at] ^= 1

    return undo


def evict(hub: testing.TestEnvironment, id: str) -> None:
    """As an engine does that has too many instances in mind."""
    hub.engine.instances.evict(id)


def read_quarantine(hub: testing.TestEnvironment) -> set[str]:
    return set(quarantine.read_quarantine(hub.disk, ROOT))


def force_purge(hub: testing.TestEnvironment, id: str) -> None:
    hub.client.purge_instance_history(id, force=True)
    hub.run()


def output_of(hub: testing.TestEnvironment, id: str) -> Any:
    return hub.client.get_status(id).output


def has_ended(hub: testing.TestEnvironment, id: str) -> bool:
    return hub.client.get_status(id).ended


def test_a_damaged_history_stops_no_engine(hub: testing.TestEnvironment) -> None:
    hub.client.start_new("waits", "w")
    hub.client.start_new("waits", "other")
    hub.run()
    undo = damage(hub, "w")
    hub.restart()
    hub.client.raise_event("other", "Go", 1)
    for number in (2, 3):
        hub.client.raise_event("other", "Go", number)
    hub.run()
    assert output_of(hub, "other") == [1, 2, 3]
    hub.engine.submit("raise-event", [MessageItem("w", "Go")])
    hub.run()
    assert read_quarantine(hub) == {"w"}
    undo()
    hub.restart()
    hub.run()
    assert read_quarantine(hub) == set()


def test_messages_for_it_are_kept_in_order_and_delivered_once(hub: testing.TestEnvironment) -> None:
    hub.client.start_new("waits", "w")
    hub.run()
    undo = damage(hub, "w")
    hub.restart()
    for number in (b"1", b"2"):
        hub.engine.submit("raise-event", [MessageItem("w", "Go", Raw(number))])
        hub.run()
    hub.restart()
    hub.engine.submit("raise-event", [MessageItem("w", "Go", Raw(b"3"))])
    hub.run()
    assert len(quarantined_messages.read_quarantined_messages(hub.disk, ROOT, "w")) == 3
    undo()
    hub.restart()
    hub.run()
    assert output_of(hub, "w") == [1, 2, 3]
    assert quarantined_messages.read_quarantined_messages(hub.disk, ROOT, "w") == []
    hub.restart()
    assert output_of(hub, "w") == [1, 2, 3]


def test_an_outcome_for_it_is_kept(hub: testing.TestEnvironment) -> None:
    hub.client.start_new("calls", "c")
    hub.engine.step()
    undo = damage(hub, "c")
    evict(hub, "c")
    hub.run()
    assert read_quarantine(hub) == {"c"}
    undo()
    hub.restart()
    hub.run()
    assert output_of(hub, "c") == [1, 2]


def test_its_timer_fires_after_the_repair(hub: testing.TestEnvironment) -> None:
    hub.client.start_new("sleeps", "s")
    hub.run()
    undo = damage(hub, "s")
    hub.restart()
    hub.advance(timedelta(hours=2))
    assert read_quarantine(hub) == {"s"}
    undo()
    hub.restart()
    hub.run()
    assert output_of(hub, "s") == "woken"


def test_a_child_answers_a_quarantined_parent(hub: testing.TestEnvironment) -> None:
    hub.client.start_new("parent", "p")
    hub.run()
    undo = damage(hub, "p")
    hub.restart()
    for number in range(3):
        hub.client.raise_event("child", "Go", number)
    hub.run()
    assert has_ended(hub, "child")
    assert read_quarantine(hub) == {"p"}
    undo()
    hub.restart()
    hub.run()
    assert output_of(hub, "p") == [0, 1, 2]


def test_what_a_sender_sends_to_it_is_kept(hub: testing.TestEnvironment) -> None:
    hub.client.start_new("waits", "w")
    hub.client.start_new("sends", "s")
    hub.run()
    undo = damage(hub, "w")
    hub.restart()
    hub.client.raise_event("s", "Now")
    hub.run()
    assert has_ended(hub, "s")
    undo()
    hub.restart()
    hub.client.raise_event("w", "Go", 8)
    hub.client.raise_event("w", "Go", 9)
    hub.run()
    assert output_of(hub, "w") == [7, 8, 9]


def test_operations_for_a_damaged_entity_are_kept(hub: testing.TestEnvironment) -> None:
    hub.client.signal_entity(COUNTER, "add", 5)
    hub.run()
    undo = damage(hub, COUNTER)
    hub.restart()
    hub.client.start_new("adds", "a")
    hub.run()
    hub.client.start_new("locks", "l")
    hub.run()
    assert not has_ended(hub, "a")
    assert read_quarantine(hub) == {COUNTER}
    undo()
    hub.restart()
    hub.run()
    assert output_of(hub, "a") == 16
    hub.client.raise_event("l", "Go")
    hub.run()
    assert output_of(hub, "l") == 116


def test_a_quarantined_holder_keeps_its_lock(hub: testing.TestEnvironment) -> None:
    hub.client.start_new("locks", "l")
    hub.run()
    undo = damage(hub, "l")
    hub.restart()
    hub.client.signal_entity(COUNTER, "add", 1)
    hub.run()
    assert hub.client.entity(COUNTER).locked_by is not None
    undo()
    hub.restart()
    hub.client.raise_event("l", "Go")
    hub.run()
    assert output_of(hub, "l") == 100
    assert hub.client.read_entity_state(COUNTER).entity_state == 101


@pytest.mark.parametrize("line", [0, 1, 3])
def test_a_forced_purge_takes_it_away(hub: testing.TestEnvironment, line: int) -> None:
    hub.client.start_new("waits", "w")
    hub.run()
    hub.client.raise_event("w", "Go", 1)
    hub.run()
    damage(hub, "w", line)
    hub.restart()
    hub.engine.submit("raise-event", [MessageItem("w", "Go")])
    hub.run()
    force_purge(hub, "w")
    assert not hub.client.get_status("w")
    assert (read_quarantine(hub), quarantined_messages.read_quarantined_messages(hub.disk, ROOT, "w")) == (set(), [])
    hub.restart()
    assert not hub.client.get_status("w")


def test_a_forced_purge_fails_those_who_wait_for_it(hub: testing.TestEnvironment) -> None:
    hub.client.start_new("parent", "p")
    hub.client.start_new("locks", "l")
    hub.run()
    damage(hub, "child", 1)
    damage(hub, "l", 3)
    hub.restart()
    hub.client.signal_entity(COUNTER, "add", 1)
    for id in ("child", "l"):
        force_purge(hub, id)
    assert "purged" in output_of(hub, "p")
    assert hub.client.read_entity_state(COUNTER).entity_state == 1


def test_a_start_that_replaces_takes_its_place(hub: testing.TestEnvironment) -> None:
    hub.client.start_new("waits", "w")
    hub.run()
    damage(hub, "w")
    hub.restart()
    with pytest.raises(InstanceSetAside):
        hub.client.start_new("calls", "w")
    hub.client.start_new("calls", "w", if_exists="replace")
    hub.run()
    assert output_of(hub, "w") == [1, 2]


def test_the_client_refuses_what_cant_reach_it(hub: testing.TestEnvironment) -> None:
    hub.client.start_new("waits", "w")
    hub.run()
    damage(hub, "w")
    hub.restart()
    for refused in (
        lambda: hub.client.raise_event("w", "Go"),
        lambda: hub.client.terminate("w"),
        lambda: hub.client.purge_instance_history("w"),
        lambda: hub.client.restart("w"),
    ):
        with pytest.raises(InstanceSetAside, match=r"w\.jsonl.*doctor"):
            refused()


def test_an_instance_is_quarantined_for_another_reason(hub: testing.TestEnvironment) -> None:
    """As after an unexpected error: its file is intact, and the next engine continues it."""
    hub.client.start_new("waits", "w")
    hub.run()
    hub.engine.instances.quarantine("w", "an unexpected error")
    hub.engine.submit("raise-event", [MessageItem("w", "Go")])
    hub.run()
    assert read_quarantine(hub) == {"w"}
    hub.restart()
    for _ in range(2):
        hub.client.raise_event("w", "Go")
    hub.run()
    assert has_ended(hub, "w")
    assert read_quarantine(hub) == set()


def test_what_is_kept_comes_first_also_where_delivering_it_fails(
    hub: testing.TestEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.client.start_new("waits", "w")
    hub.run()
    undo = damage(hub, "w")
    hub.restart()
    for number in (1, 2):
        hub.engine.submit("raise-event", [MessageItem("w", "Go", Raw(b"%d" % number))])
    hub.run()
    undo()
    original, failures = TurnRunner._run_turn, iter([True])

    def fail_once(self: TurnRunner, instance: Any, event: Any) -> bool:
        if next(failures, False):
            raise RuntimeError("boom")
        return original(self, instance, event)

    monkeypatch.setattr(TurnRunner, "_run_turn", fail_once)
    hub.restart()
    assert not quarantined_messages.read_quarantined_messages(hub.disk, ROOT, "w")
    hub.engine.submit("raise-event", [MessageItem("w", "Go", Raw(b"3"))])
    hub.run()
    hub.restart()
    hub.run()
    assert output_of(hub, "w") == [1, 2, 3]


def test_lists_and_statuses_show_it(hub: testing.TestEnvironment) -> None:
    hub.client.start_new("waits", "w")
    hub.client.start_new("waits", "first")
    hub.client.signal_entity(COUNTER, "add", 1)
    hub.run()
    damage(hub, "w")
    damage(hub, "first", 0)
    damage(hub, COUNTER)
    hub.restart()
    hub.engine.submit("raise-event", [MessageItem("w", "Go"), MessageItem("first", "Go")])
    hub.engine.submit("signal", [MessageItem(COUNTER, "add", Raw(b"1"))])
    hub.run()
    rows = {row.id: row for row in hub.client.page(Query()).rows}
    rows |= {row.id: row for row in hub.client.list_entities().rows}
    for id in ("w", "first", COUNTER):
        status = hub.client.entity(id) if id == COUNTER else hub.client.get_status(id)
        assert status
        assert status.set_aside is not None
        assert status.set_aside.kept == 1
        assert status.payload()["setAside"] == status.set_aside
        assert rows[id].set_aside == status.set_aside.reason
    assert {row.id for row in hub.client.page(Query(blocked=True)).rows} == {"w", "first"}
    assert {status.instance_id for status in hub.client.get_status_all()} == {"first", "w"}
