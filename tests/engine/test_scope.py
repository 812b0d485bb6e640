"""An engine that drives one instance and what belongs to it: everything else is recorded, held, and runs later."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

import durablecli as df
from durablecli import testing
from durablecli.engine.engine_options import EngineOptions
from durablecli.engine.turns import TurnRunner
from durablecli.store.inbox.messages import MessageItem

Context = df.DurableOrchestrationContext
COUNTER = df.EntityId("counter", "a")
runs: list[Any] = []


@pytest.fixture(autouse=True)
def clear_runs() -> None:
    runs.clear()


@df.activity
def note(value: Any) -> Any:
    runs.append(value)
    return value


@df.entity
class Counter:
    value: int = 0

    def add(self, by: int) -> int:
        self.value += by
        return self.value


@df.orchestrator
def work(context: Context) -> Any:
    return (yield context.call_activity(note, context.get_input()))


@df.orchestrator
def sleeps(context: Context) -> Any:
    yield context.create_timer(timedelta(minutes=1))
    return (yield context.call_activity(note, context.get_input()))


@df.orchestrator
def listens(context: Context) -> Any:
    return (yield context.wait_for_external_event("Go"))


@df.orchestrator
def parent(context: Context) -> Any:
    word = yield context.call_sub_orchestrator(sleeps, "child")
    context.send_event("other", "Go", "sent")
    return [word, (yield context.call_entity(COUNTER, "add", 1))]


@df.orchestrator
def holds(context: Context) -> Any:
    with (yield context.lock_entities([COUNTER])):
        yield context.create_timer(timedelta(minutes=1))


@df.orchestrator
def holds_one(context: Context) -> Any:
    with (yield context.lock_entities([df.EntityId("counter", context.instance_id)])):
        yield context.call_activity(note, context.instance_id)


@df.orchestrator
def needs_both(context: Context) -> Any:
    return (yield context.task_all([context.call_entity(df.EntityId("counter", key), "add", 1) for key in "xy"]))


FUNCTIONS = [note, Counter, work, sleeps, listens, parent, holds, holds_one, needs_both]
OpenHub = Callable[[str | None], testing.TestEnvironment]


@pytest.fixture
def open_hub_for(replay_always: bool) -> Iterator[OpenHub]:
    """Open the same hub once more, for one instance or for all."""
    made: list[testing.TestEnvironment] = []

    def open_hub(only: str | None) -> testing.TestEnvironment:
        options = EngineOptions(
            replay_always=replay_always, use_threads=False, turn_budget=timedelta.max, only_instance=only
        )
        clock, disk = (made[-1].clock.now(), made[-1].disk) if made else (testing.START, None)
        if made:
            made[-1].close()
        made.append(testing.TestEnvironment(testing.build_registry(*FUNCTIONS), clock, options, disk))
        return made[-1]

    yield open_hub
    made[-1].close()


def post_start(hub: testing.TestEnvironment, name: str, id: str, value: str = "null", run: str | None = None) -> None:
    """Start an orchestration from another process."""
    from msgspec import Raw

    from durablecli.store.inbox.inbox import Inbox
    from durablecli.store.inbox.messages import RUN_VARIABLE

    with pytest.MonkeyPatch.context() as patch:
        if run is not None:
            patch.setenv(RUN_VARIABLE, run)
        Inbox(hub.disk, "hub").post("start", [MessageItem(id, name, Raw(value.encode()))])
    hub.engine.wake()


def test_others_are_recorded_and_held_until_an_engine_drives_them(open_hub_for: OpenHub) -> None:
    hub = open_hub_for("mine")
    post_start(hub, "work", "other", '"other"')
    hub.client.start_new(parent, "mine")
    hub.run()
    assert runs == []
    assert hub.engine.is_quiescent
    hub.advance(timedelta(minutes=2))
    assert hub.client.get_status("mine").output == ["child", 1]
    assert (runs, hub.client.get_status("other").runtime_status) == (["child"], df.OrchestrationRuntimeStatus.Pending)
    hub = open_hub_for(None)
    assert hub.finish("other").output == "other"
    assert runs == ["child", "other"]


def test_what_others_wait_for_is_held_for_them(open_hub_for: OpenHub) -> None:
    hub = open_hub_for(None)
    hub.client.start_new(listens, "other")
    hub.client.start_new(sleeps, "late", "late")
    hub.run()
    hub = open_hub_for("mine")
    hub.client.start_new(parent, "mine")
    hub.advance(timedelta(minutes=2))
    assert hub.client.get_status("mine").ended
    assert not hub.client.get_status("other").ended
    assert runs == ["child"]
    hub = open_hub_for(None)
    hub.run()
    assert hub.client.get_status("other").output == "sent"
    assert hub.client.get_status("late").output == "late"


def test_an_instance_is_resumed_with_its_children(open_hub_for: OpenHub) -> None:
    hub = open_hub_for("mine")
    hub.client.start_new(parent, "mine")
    hub.run()
    hub = open_hub_for("mine")
    assert hub.finish("mine").output == ["child", 1]


def test_the_lock_holder_of_a_needed_entity_is_driven(open_hub_for: OpenHub) -> None:
    hub = open_hub_for(None)
    for id in ("first", "second"):
        hub.client.start_new(holds, id)
        hub.run()
    hub = open_hub_for("mine")
    hub.client.start_new(parent, "mine")
    assert hub.finish("mine").output == ["child", 1]
    assert hub.client.get_status("second").ended


def test_what_this_run_has_posted_is_driven(open_hub_for: OpenHub) -> None:
    hub = open_hub_for("mine")
    post_start(hub, "work", "own", '"own"', run="mine")
    post_start(hub, "work", "foreign", '"foreign"', run="another")
    hub.run()
    assert runs == ["own"]


def test_a_closed_scope_holds_what_still_arrives(open_hub_for: OpenHub) -> None:
    hub = open_hub_for("mine")
    hub.client.start_new(work, "mine", "mine")
    hub.engine.scope.close()
    hub.run()
    assert runs == ["mine"]
    assert not hub.client.get_status("mine").ended
    hub = open_hub_for(None)
    assert hub.finish("mine").output == "mine"
    assert runs == ["mine"]


def test_needed_instances_continue_when_the_cycle_is_rolled_back(
    open_hub_for: OpenHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = open_hub_for(None)
    for id in "xy":
        hub.client.start_new(holds_one, id)
    hub.engine.flush()
    assert runs == []
    original, failures = TurnRunner.restore, iter([True])

    def fail_once(self: TurnRunner, instance: Any, **options: Any) -> None:
        original(self, instance, **options)
        if instance.id == "y" and next(failures, False):
            raise RuntimeError("boom")

    monkeypatch.setattr(TurnRunner, "restore", fail_once)
    hub = open_hub_for("mine")
    hub.client.start_new(needs_both, "mine")
    hub.run()
    assert "x" in runs
