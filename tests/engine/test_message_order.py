"""Message order: what was acknowledged earlier is handled earlier, whether from the inbox or submitted in process."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from msgspec import Raw

import durablecli as df
from durablecli import testing
from durablecli.client import Client, Query
from durablecli.engine import intake, message_handler, message_intake
from durablecli.engine.engine_options import EngineOptions
from durablecli.store.inbox import batches
from durablecli.store.inbox.inbox import Inbox
from durablecli.store.inbox.inbox_consumer import InboxConsumer
from durablecli.store.inbox.messages import MessageItem
from tests.support.flows import waits

Context = df.DurableOrchestrationContext
outside_actions: list[Any] = []
"""What the activity `act` does, as a program of its own would: through a client that posts to the inbox."""


@df.orchestrator
def collects(context: Context) -> Any:
    got = []
    for _ in range(context.get_input()):
        got.append((yield context.wait_for_external_event("Go")))
    return got


@df.activity
def act(_: Any) -> None:
    outside_actions[0]()


@df.orchestrator
def acts_then_sends(context: Context) -> Any:
    yield context.call_activity(act)
    for target, value in context.get_input():
        context.send_event(target, "Go", value)


@df.orchestrator
def acts_then_signals(context: Context) -> Any:
    yield context.call_activity(act)
    context.signal_entity(df.EntityId("log", "k"), "add", "orchestration")


@df.orchestrator
def acts_then_calls(context: Context) -> Any:
    yield context.call_activity(act)
    return (yield context.call_entity(df.EntityId("log", "k"), "add", "orchestration"))


@df.orchestrator
def races(context: Context) -> Any:
    event, activity = context.wait_for_external_event("Go"), context.call_activity(act)
    winner = yield context.task_any([event, activity])
    return "event" if winner is event else "activity"


@df.orchestrator
def parent(context: Context) -> Any:
    event = context.wait_for_external_event("Go")
    child = context.call_sub_orchestrator(acts_then_sends, [])
    winner = yield context.task_any([event, child])
    return "event" if winner is event else "child"


@df.orchestrator
def races_a_timer(context: Context) -> Any:
    event, timer = context.wait_for_external_event("Go"), context.create_timer(timedelta(seconds=10))
    winner = yield context.task_any([event, timer])
    return "event" if winner is event else "timer"


@df.entity
class Log:
    lines: tuple[str, ...] = ()

    def add(self, line: str) -> tuple[str, ...]:
        self.lines = (*self.lines, line)
        return self.lines

    def act(self) -> None:
        outside_actions[0]()


@df.orchestrator
def calls_acting_entity(context: Context) -> Any:
    event, call = context.wait_for_external_event("Go"), context.call_entity(df.EntityId("log", "k"), "act")
    winner = yield context.task_any([event, call])
    return "event" if winner is event else "entity"


@df.orchestrator
def twice(context: Context) -> str:
    return "done"


@df.orchestrator
def again(context: Context) -> Any:
    """A second execution ends it, which doesn't know the message that has started the first one."""
    if context.get_input() is None:
        context.continue_as_new(1)
    return "done"


FUNCTIONS = [
    again, waits, collects, act, acts_then_sends, acts_then_signals, acts_then_calls, races, parent, races_a_timer, Log,
    calls_acting_entity, twice,
]  # fmt: skip


@pytest.fixture
def hub(replay_always: bool) -> Iterator[testing.TestEnvironment]:
    with testing.hub(*FUNCTIONS, replay_always=replay_always) as made:
        made.run()
        yield made
    outside_actions.clear()


def open_other_client(hub: testing.TestEnvironment) -> Client:
    """A client in another process."""
    return Client("hub", None, hub.disk)


def output_of(hub: testing.TestEnvironment, id: str) -> Any:
    return hub.client.get_status(id).output


def test_an_event_through_the_engine_s_process_follows_a_start_in_the_inbox(hub: testing.TestEnvironment) -> None:
    open_other_client(hub).start_new(waits, "x")
    hub.client.raise_event("x", "Go", 42)
    hub.run()
    assert output_of(hub, "x") == 42
    assert not hub.engine.stats["undelivered"]


@pytest.mark.parametrize("verb", ["terminate", "suspend"])
def test_any_other_verb_follows_a_start_in_the_inbox(hub: testing.TestEnvironment, verb: str) -> None:
    open_other_client(hub).start_new(waits, "x")
    getattr(hub.client, verb)("x", "stop")
    hub.run()
    status = hub.client.get_status("x").runtime_status
    assert status is not None
    assert status.value == {"terminate": "Terminated", "suspend": "Suspended"}[verb]


@pytest.mark.parametrize("doors", ["io", "oi", "ioi", "oio", "iioo"])
def test_events_keep_their_order_across_channels(hub: testing.TestEnvironment, doors: str) -> None:
    clients = {"i": hub.client, "o": open_other_client(hub)}
    hub.client.start_new(collects, "x", len(doors))
    hub.run()
    for at, door in enumerate(doors):
        clients[door].raise_event("x", "Go", at)
    hub.run()
    assert output_of(hub, "x") == list(range(len(doors)))


def test_signals_keep_their_order_across_channels(hub: testing.TestEnvironment) -> None:
    entity = df.EntityId("log", "k")
    for at, client in enumerate(
        [hub.client, open_other_client(hub), open_other_client(hub), hub.client, open_other_client(hub), hub.client]
    ):
        client.signal_entity(entity, "add", str(at))
    hub.run()
    state: Any = hub.client.read_entity_state(entity).entity_state
    assert state == {"lines": ["0", "1", "2", "3", "4", "5"]}


def test_an_orchestration_reaches_what_its_activity_has_started(hub: testing.TestEnvironment) -> None:
    def start_two() -> None:
        client = open_other_client(hub)
        client.start_new(waits, "first")
        client.start_new(waits, "second")

    outside_actions.append(start_two)
    id = hub.client.start_new(acts_then_sends, client_input=[["first", 1], ["second", 2]])
    hub.run()
    assert not [record for record in hub.client.get_history(id) if getattr(record.event, "undelivered", False)]
    assert [output_of(hub, "first"), output_of(hub, "second")] == [1, 2]


@pytest.mark.parametrize("function", [acts_then_signals, acts_then_calls])
def test_an_operation_follows_the_signal_that_an_activity_has_sent(hub: testing.TestEnvironment, function: Any) -> None:
    entity = df.EntityId("log", "k")
    outside_actions.append(lambda: open_other_client(hub).signal_entity(entity, "add", "activity"))
    hub.client.start_new(function)
    hub.run()
    state: Any = hub.client.read_entity_state(entity).entity_state
    assert state == {"lines": ["activity", "orchestration"]}


@pytest.mark.parametrize("function", [races, parent, calls_acting_entity])
def test_an_event_that_user_code_has_sent_comes_before_its_result(hub: testing.TestEnvironment, function: Any) -> None:
    outside_actions.append(lambda: open_other_client(hub).raise_event("x", "Go"))
    hub.client.start_new(function, "x", [])
    hub.run()
    assert output_of(hub, "x") == "event"


def test_a_timer_follows_an_event_that_was_acknowledged_before_it_was_due(hub: testing.TestEnvironment) -> None:
    hub.client.start_new(races_a_timer, "x")
    hub.run()
    open_other_client(hub).raise_event("x", "Go")
    hub.clock.advance(timedelta(seconds=11))
    hub.run()
    assert output_of(hub, "x") == "event"


def test_the_order_holds_behind_more_messages_than_are_read_at_once(
    hub: testing.TestEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(message_intake, "_MAX_QUEUED_MESSAGES", 3)
    client = open_other_client(hub)
    for at in range(20):
        client.start_new(twice, f"filler-{at}")
    monkeypatch.setattr(InboxConsumer, "take_next", _three_at_a_time(InboxConsumer.take_next))
    client.start_new(waits, "x")
    hub.client.raise_event("x", "Go", 7)
    hub.run()
    assert output_of(hub, "x") == 7


def _three_at_a_time(waiting: Any) -> Any:
    return lambda inbox: waiting(inbox, 3)


# ── batches ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def slow_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message_handler, "_MAX_WHOLE_STARTS", 10)
    monkeypatch.setattr(intake, "_MAX_BATCH_STARTS", 10)


def post_batch(hub: testing.TestEnvironment, name: str, count: int = 1_000, prefix: str = "b") -> None:
    Inbox(hub.disk, "hub").post("start", [MessageItem(f"{prefix}-{at}", name, Raw(b"null")) for at in range(count)])


@pytest.mark.usefixtures("slow_batches")
@pytest.mark.parametrize("door", ["inbox", "process"])
def test_nothing_waits_for_a_whole_batch(hub: testing.TestEnvironment, door: str) -> None:
    hub.client.start_new(waits, "x")
    hub.run()
    post_batch(hub, "twice")
    client = open_other_client(hub) if door == "inbox" else hub.client
    client.raise_event("x", "Go", 1)
    for _ in range(5):
        hub.engine.step()
    assert output_of(hub, "x") == 1
    assert not hub.client.get_status("b-999").taken
    hub.run()
    assert output_of(hub, "b-999") == "done"


@pytest.mark.usefixtures("slow_batches")
def test_a_batch_does_not_wait_for_another_whole_batch(hub: testing.TestEnvironment) -> None:
    post_batch(hub, "twice")
    post_batch(hub, "twice", 20, "small")
    for _ in range(12):
        hub.engine.step()
    assert output_of(hub, "small-19") == "done"
    assert not hub.client.get_status("b-999").taken


@pytest.mark.usefixtures("slow_batches")
@pytest.mark.parametrize("door", ["inbox", "process"])
def test_an_instance_of_a_batch_is_started_early_for_what_is_sent_to_it(
    hub: testing.TestEnvironment, door: str
) -> None:
    post_batch(hub, "waits")
    client = open_other_client(hub) if door == "inbox" else hub.client
    client.raise_event("b-998", "Go", 1)
    for _ in range(20):
        hub.engine.step()
    assert output_of(hub, "b-998") == 1
    assert not hub.client.get_status("b-997").taken
    started = hub.client.get_status("b-998").execution
    hub.run()
    assert hub.client.get_status("b-998").execution == started
    assert hub.client.get_status("b-997").taken


@pytest.mark.usefixtures("slow_batches")
def test_one_started_early_and_purged_is_not_started_again(hub: testing.TestEnvironment) -> None:
    post_batch(hub, "waits")
    hub.client.raise_event("b-998", "Go", 1)
    hub.engine.step()
    hub.client.purge_instance_history("b-998", force=True)
    hub.run()
    assert not hub.client.get_status("b-998")
    assert hub.client.get_status("b-999").taken


@pytest.mark.usefixtures("slow_batches")
@pytest.mark.parametrize("in_parts", [False, True])
def test_a_purged_instance_of_a_batch_is_not_pending_again(
    monkeypatch: pytest.MonkeyPatch, hub: testing.TestEnvironment, in_parts: bool
) -> None:
    """Until the whole batch is taken, its message still holds the start."""
    if in_parts:
        monkeypatch.setattr(batches, "MAX_PART_BYTES", 1_000)
    post_batch(hub, "again")
    while not hub.client.get_status("b-0").ended:
        hub.engine.step()
    hub.engine.flush()
    hub.client.purge_instance_history("b-0")
    assert not hub.client.get_status("b-999").taken
    for client in (hub.client, open_other_client(hub)):
        assert not client.get_status("b-0")
        assert client.get_status("b-999")
        assert not client.page(Query(prefix="b-0")).rows
        assert client.page(Query(prefix="b-999")).rows


@pytest.mark.usefixtures("slow_batches")
def test_one_started_early_is_not_started_again_by_another_engine(hub: testing.TestEnvironment) -> None:
    post_batch(hub, "again", 100)
    hub.client.raise_event("b-98", "Go")
    while not hub.client.get_status("b-98").ended:
        hub.engine.step()
    started = hub.client.get_status("b-98").execution
    assert hub.engine.hub.partial_batches
    hub.restart()
    hub.run()
    assert hub.client.get_status("b-99").output == "done"
    assert hub.client.get_status("b-98").execution == started


@pytest.mark.usefixtures("slow_batches")
def test_an_orchestration_reaches_the_instances_of_a_batch(hub: testing.TestEnvironment) -> None:
    post_batch(hub, "waits")
    hub.client.start_new(acts_then_sends, client_input=[["b-997", 5]])
    outside_actions.append(lambda: None)
    hub.run()
    assert output_of(hub, "b-997") == 5


def test_a_busy_cycle_leaves_room_for_everything(replay_always: bool) -> None:
    options = EngineOptions(use_threads=False, turn_budget=timedelta(milliseconds=10), replay_always=replay_always)
    with testing.TestEnvironment(testing.build_registry(*FUNCTIONS), testing.START, options) as hub:
        post_batch(hub, "twice", 3_000)
        hub.client.start_new(waits, "x")
        hub.client.raise_event("x", "Go", 1)
        while not hub.client.get_status("x").ended:
            hub.engine.step()
        assert not hub.client.get_status("b-2999").taken
