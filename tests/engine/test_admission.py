"""Admission: what has begun goes first, starts wait on disk for room, and nothing else waits for them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

import durablecli as df
from durablecli import testing
from durablecli.engine import admission, commit_builder, message_intake
from durablecli.engine.engine_options import EngineOptions
from durablecli.engine.instance_cache import InstanceCache
from durablecli.store.inbox.inbox import Inbox
from durablecli.store.inbox.messages import MessageItem

BATCH = 1_500


@df.activity
def echo(value: Any) -> Any:
    return value


@df.orchestrator
def works(context: df.DurableOrchestrationContext) -> Any:
    yield context.call_activity(echo, 1)
    return (yield context.call_activity(echo, 2))


@df.orchestrator
def waits(context: df.DurableOrchestrationContext) -> Any:
    return (yield context.wait_for_external_event("Go"))


@df.orchestrator
def works_and_waits(context: df.DurableOrchestrationContext) -> Any:
    yield context.call_activity(echo, 1)
    return (yield context.wait_for_external_event("Go"))


@df.orchestrator
def sends(context: df.DurableOrchestrationContext) -> Any:
    yield context.wait_for_external_event("Send")
    context.send_event(context.get_input(), "Go", "sent")
    return "sent"


@df.orchestrator
def sleeps(context: df.DurableOrchestrationContext) -> Any:
    yield context.create_timer(context.current_utc_datetime + timedelta(minutes=1))
    return "slept"


@df.orchestrator
def parent(context: df.DurableOrchestrationContext) -> Any:
    results = yield context.task_all([context.call_sub_orchestrator(works) for _ in range(context.get_input())])
    return sum(results)


@df.orchestrator
def forever(context: df.DurableOrchestrationContext) -> Any:
    context.continue_as_new(None)
    return None


REGISTRY = testing.build_registry(echo, works, waits, works_and_waits, sends, sleeps, parent, forever)


def open_hub(**options: Any) -> testing.TestEnvironment:
    return testing.TestEnvironment(
        REGISTRY, testing.START, EngineOptions(use_threads=False, turn_budget=timedelta.max, **options)
    )


@pytest.fixture
def hub() -> Iterator[testing.TestEnvironment]:
    with open_hub(live_instances=200) as found:
        yield found


@pytest.fixture
def no_trickle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "_TRICKLE_STARTS", 0)


def step(hub: testing.TestEnvironment, count: int = 20) -> None:
    """Cycle without letting any activity run."""
    with hub.engine.log_capture:
        for _ in range(count):
            hub.engine.step()


def in_flight(hub: testing.TestEnvironment) -> int:
    assert hub.engine.dispatcher is not None
    return hub.engine.dispatcher.in_flight_count


@pytest.fixture
def crowded(hub: testing.TestEnvironment, no_trickle: None) -> list[str]:
    """The ids of a batch whose first instances fill the engine, while no activity ends."""
    ids = hub.client.start_many(works, [None] * BATCH)
    step(hub)
    assert in_flight(hub) == 50
    return ids


def test_a_batch_begins_no_more_than_there_is_room_for(hub: testing.TestEnvironment, crowded: list[str]) -> None:
    assert hub.engine.stats["started"] == 50
    assert not hub.client.get_status(crowded[-1]).taken
    hub.run()
    assert hub.engine.stats["ended"] == BATCH


def test_no_instance_of_a_batch_is_replayed(hub: testing.TestEnvironment) -> None:
    ids = hub.client.start_many(works, [None] * BATCH)
    hub.run()
    assert hub.client.get_status(ids[-1]).output == 2
    assert hub.engine.stats["replays"] == 0


def test_no_instance_of_many_single_starts_is_replayed(hub: testing.TestEnvironment) -> None:
    for i in range(400):
        hub.engine.submit("start", [MessageItem(f"s-{i}", "works")])
    hub.run()
    assert hub.engine.stats["ended"] == 400
    assert hub.engine.stats["replays"] == 0


def test_children_wait_for_room(hub: testing.TestEnvironment, no_trickle: None) -> None:
    hub.client.start_new(parent, "p", 300)
    step(hub)
    assert in_flight(hub) == 100
    hub.run()
    assert hub.client.get_status("p").output == 600
    assert hub.engine.stats["replays"] <= 1  # of the parent: one whose answers all come at once isn't kept


@pytest.mark.usefixtures("crowded")
def test_messages_and_timers_pass_a_batch_that_waits(hub: testing.TestEnvironment) -> None:
    hub.client.start_new(waits, "w")
    hub.client.start_new(waits, "t")
    hub.client.start_new(sleeps, "z")
    step(hub, 2)
    assert [hub.client.get_status(id).status_name for id in "wtz"] == ["Running"] * 3
    hub.client.raise_event("w", "Go", 1)
    hub.client.terminate("t", "no more")
    hub.clock.move_to(hub.clock.now() + timedelta(minutes=2))
    step(hub, 2)
    assert hub.client.get_status("w").output == 1
    assert hub.client.get_status("t").status_name == "Terminated"
    assert hub.client.get_status("z").output == "slept"
    assert hub.engine.stats["started"] == 53


def test_messages_pass_any_number_of_batches(
    monkeypatch: pytest.MonkeyPatch, hub: testing.TestEnvironment, no_trickle: None
) -> None:
    monkeypatch.setattr(message_intake, "_MAX_QUEUED_MESSAGES", 2)
    ids = []
    for _ in range(3):
        ids = hub.client.start_many(works, [None] * BATCH)
        step(hub)
    Inbox(hub.disk, "hub").post("start", [MessageItem("w", "waits")])
    for _ in range(20):  # on a slow machine a cycle has no time left for a new instance
        step(hub)
        if hub.client.get_status("w").status_name == "Running":
            break
    assert hub.client.get_status("w").status_name == "Running"
    assert any(not hub.client.get_status(id).taken for id in ids)


def test_an_event_starts_an_instance_of_a_waiting_batch(hub: testing.TestEnvironment, no_trickle: None) -> None:
    hub.client.start_many(works, [None] * BATCH)
    ids = hub.client.start_many(waits, [None] * BATCH)
    step(hub)
    hub.client.raise_event(ids[-1], "Go", "in time")
    step(hub, 1)
    assert hub.client.get_status(ids[-1]).output == "in time"
    assert not hub.client.get_status(ids[-2]).taken
    hub.run()
    assert hub.client.get_status(ids[-2]).status_name == "Running"


def test_an_orchestration_reaches_an_instance_of_a_waiting_batch(
    hub: testing.TestEnvironment, no_trickle: None
) -> None:
    hub.client.start_many(works, [None] * BATCH)
    ids = hub.client.start_many(waits, [None] * BATCH)
    hub.client.start_new(sends, "s", ids[-1])
    step(hub)
    hub.client.raise_event("s", "Send")
    step(hub, 3)
    assert hub.client.get_status("s").output == "sent"
    assert hub.client.get_status(ids[-1]).output == "sent"
    assert not hub.client.get_status(ids[-2]).taken


def test_a_batch_never_stands_still(monkeypatch: pytest.MonkeyPatch, hub: testing.TestEnvironment) -> None:
    now = 0.0
    monkeypatch.setattr(admission, "monotonic", lambda: now)
    ids = hub.client.start_many(works_and_waits, [None] * BATCH)
    step(hub)
    assert hub.engine.stats["started"] == 50
    now = 10.0
    step(hub)
    assert hub.engine.stats["started"] == 60
    hub.run()
    assert hub.client.get_status(ids[-1]).status_name == "Running"


def test_single_starts_never_stand_still(monkeypatch: pytest.MonkeyPatch, hub: testing.TestEnvironment) -> None:
    """What keeps the workers busy may wait for them."""
    now = 0.0
    monkeypatch.setattr(admission, "monotonic", lambda: now)
    for i in range(105):
        hub.client.start_new(works, f"s-{i}")
    hub.client.start_new(waits, "w")
    step(hub)
    assert in_flight(hub) == 100
    assert hub.client.get_status("w").status_name == "Pending"
    hub.engine.flush()
    assert hub.engine._limit_wait(0.5) > 0.1
    now = 10.0
    assert hub.engine._limit_wait(0.5) < 0.1
    step(hub)
    assert hub.client.get_status("w").status_name == "Running"


def test_a_batch_that_waits_is_no_work(hub: testing.TestEnvironment, crowded: list[str]) -> None:
    """Otherwise the engine would spin until an activity ends."""
    hub.engine.flush()  # the histories of the first instances, which an idle engine would write now
    assert hub.engine._limit_wait(0.5) > 0.1
    assert not hub.engine.is_idle
    assert hub.pool.run_next()
    step(hub, 2)
    assert hub.engine.stats["started"] == 50  # the activity was the first of two: its instance is still under way
    hub.engine.flush()
    assert hub.engine._limit_wait(0.5) > 0.1


def test_a_purge_that_waits_for_its_batch_does_not_make_the_engine_spin(
    hub: testing.TestEnvironment, crowded: list[str]
) -> None:
    """After a crash the batch would start the instance again, so the purge comes after the batch."""
    purge = hub.engine.submit("purge", [MessageItem(crowded[-1], force=True)])
    step(hub)
    hub.engine.flush()
    step(hub)
    assert not purge.done.is_set()
    assert hub.engine._limit_wait(0.5) > 0
    hub.run()
    assert purge.done.is_set()
    assert not hub.client.get_status(crowded[-1])


def test_a_batch_does_not_wait_for_instances_whose_purge_waits_for_it(
    hub: testing.TestEnvironment, no_trickle: None
) -> None:
    ids = hub.client.start_many(works, [None] * BATCH)
    for id in ids[-60:]:
        hub.engine.submit("purge", [MessageItem(id, force=True)])
    step(hub)
    assert in_flight(hub) > 50  # more than the batch has room for
    while hub.pool.run_next():
        step(hub, 2)
    assert hub.engine.stats["started"] == BATCH
    assert not any(hub.client.get_status(id) for id in ids[-60:])
    assert hub.client.get_status(ids[-61]).output == 2


def test_all_workers_are_kept_busy(monkeypatch: pytest.MonkeyPatch, no_trickle: None) -> None:
    monkeypatch.setattr(testing.InlinePool, "capacity", 1_000)
    with open_hub() as hub:
        hub.client.start_many(works, [None] * 2 * BATCH)
        step(hub, 100)
        assert in_flight(hub) == 2_000


def test_one_instance_with_many_calls_holds_up_a_batch_and_no_other_start(
    monkeypatch: pytest.MonkeyPatch, hub: testing.TestEnvironment, no_trickle: None
) -> None:
    monkeypatch.setattr(admission, "_MAX_CALLS", 10)
    hub.client.start_many(works, [None] * BATCH)
    step(hub)
    assert in_flight(hub) == 10
    hub.client.start_new(works, "x")
    step(hub, 2)
    assert in_flight(hub) == 11


def test_held_starts_survive_a_crash_and_begin_in_order(hub: testing.TestEnvironment, no_trickle: None) -> None:
    submitted = [hub.engine.submit("start", [MessageItem(f"s-{i}", "works")]) for i in range(200)]
    step(hub)
    assert all(each.done.is_set() for each in submitted)
    assert in_flight(hub) == 100
    assert hub.client.get_status("s-199").status_name == "Pending"
    hub.restart()
    step(hub)
    assert in_flight(hub) == 100
    hub.run()
    assert all(hub.client.get_status(f"s-{i}").output == 2 for i in range(200))


def test_starts_progress_while_others_never_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each cycle is full of the turns of instances that are always ready."""
    with open_hub() as hub:
        for i in range(40):
            hub.client.start_new(forever, f"f-{i}")
        ids = hub.client.start_many(waits, [None] * BATCH)
        monkeypatch.setattr(commit_builder, "MAX_COMMIT_RECORDS", 40)
        step(hub, 1_000)
        assert hub.client.get_status(ids[-1]).status_name == "Running"
        hub.client.start_new(waits, "w")
        step(hub, 4)
        assert hub.client.get_status("w").status_name == "Running"


def test_a_cycle_looks_at_no_more_messages_than_it_handles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the cost of each would grow with the number of those that wait."""
    with open_hub() as hub:
        for i in range(2_000):
            hub.engine.submit("start", [MessageItem(f"w-{i}", "waits")])
        monkeypatch.setattr(commit_builder, "MAX_COMMIT_RECORDS", 40)
        looked_up = 0
        original = InstanceCache.get

        def count(self: InstanceCache, id: str) -> Any:
            nonlocal looked_up
            looked_up += 1
            return original(self, id)

        monkeypatch.setattr(InstanceCache, "get", count)
        while hub.engine.stats["started"] < 2_000:
            hub.engine.step()
        assert looked_up <= 3 * 2_000
