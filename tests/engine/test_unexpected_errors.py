"""Unexpected errors: an unexpected error costs one message, instance or entity, and all others continue."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import Raw

import durablecli as df
from durablecli import testing
from durablecli.client import Client
from durablecli.daemon.embedded_engine import embedded
from durablecli.engine import intake, message_handler
from durablecli.engine.decision_applier import DecisionApplier
from durablecli.engine.entity_scheduler import EntityScheduler
from durablecli.engine.message_handler import MessageHandler
from durablecli.engine.turn_recorder import TurnRecorder
from durablecli.engine.turns import TurnRunner
from durablecli.errors import DurableError, StorageError
from durablecli.store.hub import checkpoint
from durablecli.store.inbox import batches
from durablecli.store.inbox.inbox import Inbox
from durablecli.store.inbox.messages import MessageItem
from tests.support.flows import counter, waits

Context = df.DurableOrchestrationContext
step_runs: list[Any] = []


@df.activity
def step(value: Any) -> Any:
    step_runs.append(value)
    return value


@df.orchestrator
def steps(context: Context) -> Any:
    for at in range(3):
        yield context.call_activity(step, [context.instance_id, at])
    yield context.create_timer(timedelta(seconds=60))
    return "done"


@df.orchestrator
def calls(context: Context) -> Any:
    return (yield context.call_entity(df.EntityId("counter", "k"), "add", 1))


FUNCTIONS = [step, steps, waits, calls, counter]


@pytest.fixture
def hub(replay_always: bool) -> Iterator[testing.TestEnvironment]:
    step_runs.clear()
    with testing.hub(*FUNCTIONS, replay_always=replay_always) as made:
        made.run()
        yield made


@pytest.fixture
def inject_failure(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Let a method raise when its work is done, if `when` says so of its arguments, until the hub is opened again."""

    def inject(owner: type, name: str, when: Callable[..., bool], error: type[Exception] = RuntimeError) -> None:
        original = getattr(owner, name)

        def failing(*arguments: Any, **options: Any) -> Any:
            result = original(*arguments, **options)
            if is_armed and when(*arguments, **options):
                raise error("boom")
            return result

        is_armed.append(True)
        monkeypatch.setattr(owner, name, failing)

    yield inject
    is_armed.clear()


is_armed: list[bool] = []


def restart(hub: testing.TestEnvironment) -> None:
    """Open the hub again, without the cause of the failures."""
    is_armed.clear()
    hub.restart()
    hub.run()


def assert_finished(hub: testing.TestEnvironment, *ids: str) -> None:
    """These end as if nothing had been, and nothing ran twice."""
    for id in ids:
        assert hub.finish(id).output == "done"
        assert [each for each in step_runs if each[0] == id] == [[id, at] for at in range(3)]


@pytest.mark.parametrize("kind", ["raise-event", "terminate", "suspend", "resume", "rewind", "purge", "restart"])
def test_a_failing_message_is_quarantined_and_the_rest_of_its_cycle_commits(
    hub: testing.TestEnvironment, inject_failure: Callable[..., None], kind: str
) -> None:
    hub.client.start_new(waits, "victim")
    hub.client.start_new(steps, "before")
    hub.pool.run_next()
    inject_failure(MessageHandler, "_handle_item", lambda _, message, item: item.instance == "victim")
    other = Client("hub", None, hub.disk)
    other.start_new(steps, "first")
    Inbox(hub.disk, "hub").post(kind, [MessageItem("victim", "Go", new_instance="new" if kind == "restart" else None)])
    other.start_new(steps, "second")
    hub.run()
    assert_finished(hub, "before", "first", "second")
    assert hub.client.get_status("victim").runtime_status.value == "Running"  # type: ignore[union-attr]
    assert not hub.client.get_status("new")
    (name,) = hub.engine.hub.inbox.failed_messages.names()
    why = hub.engine.hub.inbox.failed_messages.read_failure(name)
    assert why is not None
    assert (why.kind, why.error) == (kind, "RuntimeError: boom")
    assert any("failed and is kept in inbox/failed: RuntimeError: boom" in line for line in hub.output_lines)
    restart(hub)
    hub.client.raise_event("victim", "Go", 1)
    hub.run()
    assert hub.client.get_status("victim").output == 1


def test_a_message_of_this_process_is_refused(
    hub: testing.TestEnvironment, inject_failure: Callable[..., None]
) -> None:
    hub.client.start_new(waits, "victim")
    inject_failure(MessageHandler, "_handle_item", lambda _, message, item: message.kind == "terminate")
    with pytest.raises(DurableError, match="internal error: RuntimeError: boom"):
        hub.client.terminate("victim", "")
    hub.client.raise_event("victim", "Go", 1)
    hub.run()
    assert hub.client.get_status("victim").output == 1
    assert not hub.engine.hub.inbox.failed_messages.names()


@pytest.mark.parametrize("sliced", [False, True])
def test_only_the_failing_item_of_a_batch_is_quarantined(
    hub: testing.TestEnvironment, inject_failure: Callable[..., None], monkeypatch: pytest.MonkeyPatch, sliced: bool
) -> None:
    monkeypatch.setattr(message_handler, "_MAX_WHOLE_STARTS", 10)
    monkeypatch.setattr(intake, "_MAX_BATCH_STARTS", 10)
    inject_failure(MessageHandler, "_start", lambda _, message, item: item.instance == "b-17")
    Inbox(hub.disk, "hub").post("start", [MessageItem(f"b-{at}", "steps", Raw(b"null")) for at in range(30)])
    hub.run()
    assert_finished(hub, *(f"b-{at}" for at in range(30) if at != 17))
    assert not hub.client.get_status("b-17")
    assert len(hub.engine.hub.inbox.failed_messages.names()) == 1


def test_an_instance_whose_turn_fails_is_blocked(
    hub: testing.TestEnvironment, inject_failure: Callable[..., None]
) -> None:
    hub.client.start_new(steps, "before")
    hub.client.start_new(waits, "victim")
    hub.pool.run_next()
    inject_failure(
        TurnRecorder, "record_turn", lambda _, instance, records: instance.id == "victim" and len(records) > 1
    )
    hub.client.raise_event("victim", "Go", 1)
    hub.client.start_new(steps, "after")
    assert_finished(hub, "before", "after")
    status = hub.client.get_status("victim")
    assert status.blocked is not None
    assert status.blocked.reason == "internal error: RuntimeError: boom"


def test_a_blocked_instance_resumes_when_the_cause_is_gone(
    hub: testing.TestEnvironment, inject_failure: Callable[..., None]
) -> None:
    hub.client.start_new(waits, "victim")
    hub.run()
    inject_failure(TurnRecorder, "record_turn", lambda _, instance, records: instance.id == "victim")
    hub.client.raise_event("victim", "Go", 1)
    hub.run()
    restart(hub)
    assert hub.client.get_status("victim").output == 1


def test_outcomes_of_a_cycle_that_is_given_up_count_once(
    hub: testing.TestEnvironment, inject_failure: Callable[..., None]
) -> None:
    hub.client.start_new(steps, "one")
    hub.client.start_new(calls, "two")
    hub.client.start_new(waits, "victim")
    while hub.pool.run_next():
        pass  # every result is back now, and none is handled
    failures = iter([True])
    inject_failure(MessageHandler, "_handle_item", lambda _, message, item: next(failures, False))
    with pytest.raises(DurableError, match="internal error"):
        hub.client.raise_event("victim", "Go")
    hub.run()
    assert_finished(hub, "one")
    assert hub.client.get_status("two").output == 1
    assert hub.client.read_entity_state(df.EntityId("counter", "k")).entity_state == 1


def test_a_timer_of_a_cycle_that_is_given_up_fires_once_and_not_early(
    hub: testing.TestEnvironment, inject_failure: Callable[..., None]
) -> None:
    hub.client.start_new(steps, "one")
    hub.client.start_new(waits, "victim")
    hub.run()
    failures = iter([True])
    inject_failure(
        DecisionApplier,
        "record_and_carry_out",
        lambda self, instance, record: instance.id == "one" and next(failures, False),
    )
    hub.advance(timedelta(seconds=59))
    assert not hub.client.get_status("one").ended
    hub.advance(timedelta(seconds=2))
    status = hub.client.get_status("one")
    assert status.blocked is not None
    assert not status.ended
    restart(hub)
    assert hub.client.get_status("one").output == "done"


@pytest.mark.parametrize("what", ["outcomes", "timers"])
def test_what_waits_for_a_message_is_not_lost_with_the_cycle(
    hub: testing.TestEnvironment, inject_failure: Callable[..., None], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    original, waiting = MessageHandler._must_wait, [True]
    monkeypatch.setattr(
        MessageHandler,
        "_must_wait",
        lambda self, kind, item: (kind == "rewind" and bool(waiting)) or original(self, kind, item),
    )
    hub.client.start_new(steps, "one")
    hub.client.start_new(steps, "victim")
    if what == "timers":
        hub.run()
    failures = iter([True])
    inject_failure(
        DecisionApplier,
        "record_and_carry_out",
        lambda self, instance, record: instance.id == "victim" and next(failures, False),
    )
    Inbox(hub.disk, "hub").post(
        "rewind", [MessageItem("one")]
    )  # it has to wait, and what is for the same instance with it
    hub.engine.wake()
    while hub.pool.run_next():
        pass
    if what == "timers":
        hub.clock.advance(timedelta(seconds=61))
    for _ in range(5):
        hub.engine.step()
    waiting.clear()
    assert_finished(hub, "one")


def test_a_damaged_part_of_a_batch_stops_nothing(hub: testing.TestEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "MAX_PART_BYTES", 1_000)
    inbox = Inbox(hub.disk, "hub")
    inbox.post("start", [MessageItem(f"b-{at}", "steps", Raw(b"null")) for at in range(100)])
    (part,) = [name for name in hub.disk.listdir("hub/inbox/new") if name.endswith(".1.part")]
    hub.disk.files[f"hub/inbox/new/{part}"].data[20] ^= 1
    inbox.post("raise-event", [MessageItem("b-40", "Go")])
    hub.client.start_new(steps, "other")
    assert_finished(hub, "other")
    assert len(hub.engine.hub.inbox.failed_messages.names()) == 1


def test_an_item_of_a_batch_of_this_process_is_tried_once_more(
    hub: testing.TestEnvironment, inject_failure: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(message_handler, "_MAX_WHOLE_STARTS", 10)
    monkeypatch.setattr(intake, "_MAX_BATCH_STARTS", 10)
    inject_failure(MessageHandler, "_start", lambda _, message, item: item.instance == "b-17")
    hub.engine.submit("start", [MessageItem(f"b-{at}", "steps", Raw(b"null")) for at in range(30)])
    hub.run()
    checkpoint(hub.engine.hub)
    failed = hub.engine.hub.inbox.failed_messages
    (name,) = failed.names()
    failed.retry(name)
    restart(hub)
    assert_finished(hub, *(f"b-{at}" for at in range(30)))
    assert not failed.retried_names()


def test_a_new_instance_in_the_place_of_one_that_failed_is_tried(
    hub: testing.TestEnvironment, inject_failure: Callable[..., None]
) -> None:
    hub.client.start_new(waits, "victim")
    hub.run()
    inject_failure(TurnRecorder, "record_turn", lambda _, instance, records: instance.id == "victim")
    hub.client.raise_event("victim", "Go", 1)
    hub.run()
    assert hub.client.get_status("victim").blocked is not None
    is_armed.clear()
    hub.client.purge_instance_history("victim", force=True)
    hub.run()
    hub.client.start_new(steps, "victim")
    assert_finished(hub, "victim")


def test_an_entity_that_fails_leaves_the_rest_alone(
    hub: testing.TestEnvironment, inject_failure: Callable[..., None]
) -> None:
    inject_failure(EntityScheduler, "_record_batch", lambda *_: True)
    hub.client.start_new(calls, "caller")
    hub.client.start_new(steps, "one")
    assert_finished(hub, "one")
    assert not hub.client.get_status("caller").ended
    assert "RuntimeError: boom" in hub.output_lines[-1]
    restart(hub)
    assert hub.client.get_status("caller").output == 1


def test_an_error_of_the_disk_still_stops_the_engine(
    hub: testing.TestEnvironment, inject_failure: Callable[..., None]
) -> None:
    hub.client.start_new(waits, "victim")
    inject_failure(MessageHandler, "_handle_item", lambda *_: True, StorageError)
    with pytest.raises(StorageError):
        hub.client.terminate("victim", "")


def test_an_instance_that_fails_at_the_opening_is_blocked(
    hub: testing.TestEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    for id in ("a", "victim", "z"):
        hub.client.start_new(steps, id)
    original = TurnRunner.restore

    def restore_and_fail(self: TurnRunner, instance: Any, **options: Any) -> None:
        original(self, instance, **options)
        if instance.id == "victim":
            raise RuntimeError("boom")

    monkeypatch.setattr(TurnRunner, "restore", restore_and_fail)
    hub.restart()
    step_runs.clear()
    assert_finished(hub, "a", "z")
    blocked = hub.client.get_status("victim").blocked
    assert blocked is not None
    assert "boom" in blocked.reason


def open_embedded(path: Path) -> Any:
    return embedded(testing.build_registry(*FUNCTIONS), path)


@pytest.mark.parametrize("cured", [True, False])
def test_doctor_reports_quarantined_messages_and_repair_retries_them_once(
    tmp_path: Path, inject_failure: Callable[..., None], cured: bool
) -> None:
    outside = Client(tmp_path / "hub")
    outside.start_new(waits, "victim")
    inject_failure(MessageHandler, "_handle_item", lambda _, message, item: message.kind == "raise-event")
    with open_embedded(tmp_path / "hub") as client:
        client.start_new(calls, "other")
        assert client.wait("other").output == 1
        outside.raise_event("victim", "Go", 1)
        while not (found := outside.check().findings):
            pass
        assert "raise-event for victim failed" in found[0]
        assert "RuntimeError: boom; --repair handles it again" in found[0]
    if cured:
        is_armed.clear()
    report = outside.repair()
    assert "was put back into the inbox" in report.repaired[0]
    with open_embedded(tmp_path / "hub") as client:
        if cured:
            assert client.wait("victim").output == 1
        while not cured and not outside.check().findings:
            pass
    assert bool(outside.check().findings) is not cured
    outside.repair()
    assert not outside.check().findings
    assert len(list((tmp_path / "hub" / "damaged").glob("*"))) == (0 if cured else 2)
    with open_embedded(tmp_path / "hub") as client:
        assert client.get_status("victim").ended is cured


def test_a_message_that_cannot_be_read_is_named_and_moved_away(tmp_path: Path) -> None:
    outside = Client(tmp_path / "hub")
    outside.start_new(waits, "victim")
    outside.raise_event("victim", "Go", 1)
    _, event = sorted((tmp_path / "hub" / "inbox" / "new").glob("*.json"))
    event.write_bytes(b"[" * 5_000)
    with open_embedded(tmp_path / "hub") as client:
        while not client.get_status("victim").taken:
            pass
        while not (found := outside.check().findings):
            pass
    assert "can't be read" in found[0]
    outside.repair()
    assert not outside.check().findings
