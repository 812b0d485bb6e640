"""Entities in a real engine on a memory disk: operations, signals, locks, deletion, compaction and missing code."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from datetime import timedelta
from typing import Any

import pytest
from msgspec import Raw

import durablecli as df
from durablecli import testing
from durablecli.engine import entity_compaction
from durablecli.engine.workers.entity_batch import EntityBatchCall
from durablecli.model import events as ev
from durablecli.replay.entity_state import EntityRuntimeState, fold_entity_log
from durablecli.store.history.file import history_path
from durablecli.store.inbox.messages import MessageItem

A, B, C = (df.EntityId("counter", key) for key in "abc")
Steps = Generator[Any, Any, Any]


@df.entity
def counter(context: df.DurableEntityContext) -> Any:
    value = context.get_state(lambda: 0)
    match context.operation_name:
        case "add":
            context.set_state(value + context.get_input())
        case "get":
            return value
        case "pass_on":
            context.signal_entity(df.EntityId("counter", context.get_input()), "add", value)
        case "later":
            context.signal_entity(context.entity_id, "add", 1, at=timedelta(hours=1))
        case "begin":
            context.start_new("add_one", context.get_input(), str(context.entity_id))
        case "fail":
            context.set_state(99)
            context.signal_entity(df.EntityId("counter", "b"), "add", 99)
            raise ValueError("not today")
        case "fail in silence":
            raise KeyboardInterrupt
    return None


@df.orchestrator
def add_one(context: df.DurableOrchestrationContext) -> None:
    context.signal_entity(context.get_input(), "add", 1)


@df.orchestrator
def fan_out(context: df.DurableOrchestrationContext) -> Steps:
    for _ in range(context.get_input()):
        context.signal_entity(A, "add", 1)
    return (yield context.call_entity(A, "get"))


@df.orchestrator
def call(context: df.DurableOrchestrationContext) -> Steps:
    return (yield context.call_entity(A, context.get_input(), "b"))


@df.orchestrator
def hold(context: df.DurableOrchestrationContext) -> Steps:
    """Lock what is named, and keep it until the event; `then` says how to leave."""
    keys, then = context.get_input()
    with (yield context.lock_entities([df.EntityId("counter", key) for key in keys])):
        context.set_custom_status("inside")
        yield context.wait_for_external_event("Go")
        if then == "raise":
            raise ValueError("out")
        if then == "again":
            context.continue_as_new([keys, "return"])
    return "left"


@df.orchestrator
def twice(context: df.DurableOrchestrationContext) -> Steps:
    """Give locks back and ask for others at once, one of them the same."""
    with (yield context.lock_entities([A, B])):
        yield context.wait_for_external_event("Go")
    with (yield context.lock_entities([B, C])):
        return (yield context.call_entity(B, "get"))


@df.orchestrator
def twice_unheld(context: df.DurableOrchestrationContext) -> Steps:
    """Two locks one after the other, and nothing done inside."""
    for _ in range(2):
        with (yield context.lock_entities([A])):
            pass


FUNCTIONS = (counter, add_one, fan_out, call, hold, twice, twice_unheld)


@pytest.fixture(params=[False, True], ids=["live", "replayed"])
def hub(request: pytest.FixtureRequest) -> Iterator[testing.TestEnvironment]:
    with testing.hub(*FUNCTIONS, replay_always=request.param) as found:
        yield found


def read_log(hub: testing.TestEnvironment, id: df.EntityId) -> list[ev.AnyEvent]:
    """The events in the file of an entity."""
    hub.run()
    return [record.event for record in hub.client.get_entity_history(id)]


def read_runtime_state(hub: testing.TestEnvironment, id: df.EntityId) -> EntityRuntimeState:
    hub.run()
    history = hub.client.get_entity_history(id)
    return fold_entity_log(history, sum(len(line) for line in file_lines(hub, id)))


def file_lines(hub: testing.TestEnvironment, id: df.EntityId) -> list[bytes]:
    return hub.disk.read(history_path("hub", str(id))).splitlines(keepends=True)


def read_state(hub: testing.TestEnvironment, id: df.EntityId) -> Any:
    hub.run()
    return hub.client.read_entity_state(id).entity_state


def start_holding(hub: testing.TestEnvironment, instance: str, keys: str, then: str = "return") -> None:
    hub.client.start_new(hold, instance, [list(keys), then])
    hub.run()


def lock_holder(hub: testing.TestEnvironment, id: df.EntityId) -> str | None:
    lock = read_runtime_state(hub, id).lock
    return lock.sender.instance if lock is not None else None


# ── operations ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_signals_of_a_fan_out_are_applied_before_the_call_behind_them(hub: testing.TestEnvironment) -> None:
    assert hub.finish(hub.client.start_new(fan_out, client_input=20)).output == 20


def test_a_fan_out_too_big_for_one_commit_arrives_completely(hub: testing.TestEnvironment) -> None:
    assert hub.finish(hub.client.start_new(fan_out, client_input=9_000)).output == 9_000
    assert read_state(hub, A) == 9_000


def test_signals_of_one_cycle_are_run_as_one_batch(hub: testing.TestEnvironment) -> None:
    hub.finish(hub.client.start_new(fan_out, client_input=20))
    assert sum(isinstance(event, ev.EntityBatch) for event in read_log(hub, A)) <= 2


def test_a_failed_call_leaves_state_and_signals_as_they_were(hub: testing.TestEnvironment) -> None:
    hub.client.signal_entity(A, "add", 5)
    status = hub.finish(hub.client.start_new(call, client_input="fail"))
    assert status.output == "Operation 'fail' of entity @counter@a failed: ValueError: not today"
    assert read_state(hub, A) == 5
    assert not hub.client.read_entity_state(B).entity_exists
    failure = read_runtime_state(hub, A).last_failure
    assert failure is not None
    assert (failure.name, failure.failure.type, failure.failure.message) == ("fail", "builtins.ValueError", "not today")


def test_a_failure_without_a_message_shows_its_type(hub: testing.TestEnvironment) -> None:
    status = hub.finish(hub.client.start_new(call, client_input="fail in silence"))
    assert status.output == "Operation 'fail in silence' of entity @counter@a failed: KeyboardInterrupt"


def test_a_failed_signal_is_logged_and_the_next_one_runs(hub: testing.TestEnvironment) -> None:
    hub.client.signal_entity(A, "fail")
    hub.client.signal_entity(A, "add", 2)
    assert read_state(hub, A) == 2
    assert read_runtime_state(hub, A).failures == 1


def test_an_entity_signals_another(hub: testing.TestEnvironment) -> None:
    hub.client.signal_entity(A, "add", 7)
    hub.client.signal_entity(A, "pass_on", "b")
    assert read_state(hub, B) == 7
    received = [event for event in read_log(hub, B) if isinstance(event, ev.EntityOperationReceived)]
    assert [event.sender.instance for event in received if event.sender] == [str(A)]


def test_a_signal_for_later_waits_for_its_time_also_over_a_restart(hub: testing.TestEnvironment) -> None:
    hub.client.signal_entity(A, "later")
    hub.advance(timedelta(minutes=59))
    hub.restart()
    assert not hub.client.read_entity_state(A).entity_exists
    hub.advance(timedelta(minutes=2))
    assert read_state(hub, A) == 1
    hub.advance(timedelta(hours=2))
    assert read_state(hub, A) == 1


def test_an_entity_starts_an_orchestration_once(hub: testing.TestEnvironment) -> None:
    hub.client.signal_entity(A, "begin", "child")
    hub.run()
    assert hub.client.get_status("child").ended
    assert read_state(hub, A) == 1


def test_a_start_whose_id_is_taken_is_noted_and_not_carried_out(hub: testing.TestEnvironment) -> None:
    start_holding(hub, "child", "b")
    hub.client.signal_entity(A, "begin", "child")
    starts = [start for event in read_log(hub, A) if isinstance(event, ev.EntityBatch) for start in event.starts]
    assert [start.undelivered for start in starts] == [True]
    assert hub.client.get_status("child").name == "hold"


def test_a_message_that_is_posted_twice_has_its_effect_once(hub: testing.TestEnvironment) -> None:
    hub.client.signal_entity(A, "add", 1)
    hub.restart()
    assert read_state(hub, A) == 1


def test_an_outcome_that_a_crash_swallowed_is_made_again_and_applied_once(hub: testing.TestEnvironment) -> None:
    hub.client.signal_entity(A, "add", 3)
    assert hub.pool.waiting
    hub.restart()
    assert read_state(hub, A) == 3


# ── deletion and purge ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_deletion_is_queued_and_the_entity_can_be_created_again(hub: testing.TestEnvironment) -> None:
    hub.client.signal_entity(A, "add", 3)
    hub.client.delete_entity(A)
    hub.client.signal_entity(A, "add", 4)
    assert read_state(hub, A) == 4


def test_a_purged_entity_leaves_nothing_behind(hub: testing.TestEnvironment) -> None:
    hub.client.signal_entity(A, "add", 3)
    hub.run()
    hub.client.delete_entity(A)
    hub.run()
    hub.client.purge_entities([A])
    hub.run()
    assert not [name for name in hub.disk.listdir("hub/entities") if hub.disk.listdir(f"hub/entities/{name}")]
    hub.restart()
    hub.client.signal_entity(A, "add", 1)
    assert read_state(hub, A) == 1


# ── functions that aren't loaded ───────────────────────────────────────────────────────────────────────────────────


def test_an_entity_whose_function_is_missing_keeps_its_operations() -> None:
    with testing.hub(add_one) as hub:
        hub.client.start_new(add_one, client_input=str(A))
        hub.run()
        assert read_runtime_state(hub, A).blocked == "entity 'counter' isn't loaded"
        hub.restart(*FUNCTIONS)
        assert read_state(hub, A) == 1
        assert read_runtime_state(hub, A).blocked is None


def test_an_entity_whose_function_is_missing_can_be_deleted_with_all_that_waits() -> None:
    with testing.hub(add_one, call, hold) as hub:
        hub.client.start_new(add_one, client_input=str(A))
        hub.client.start_new(call, "caller", "get")
        start_holding(hub, "owner", "a")
        hub.client.delete_entity(A)
        hub.run()
        status = hub.client.get_status("caller")
        assert "entity 'counter' isn't loaded, and the entity was deleted" in status.output
        assert lock_holder(hub, A) == "owner"
        hub.client.raise_event("owner", "Go")
        hub.run()
        assert read_runtime_state(hub, A).is_disposable
        hub.client.purge_entities([A])
        hub.run()
        assert not hub.client.entity(A)


def submit(hub: testing.TestEnvironment, kind: str, items: list[MessageItem]) -> None:
    posted = hub.engine.submit(kind, items)
    while not posted.done.is_set():
        hub.engine.step()


def force_delete(hub: testing.TestEnvironment, id: df.EntityId) -> None:
    submit(hub, "delete", [MessageItem(str(id), force=True)])


def test_a_forced_deletion_drops_what_waits_and_what_runs(hub: testing.TestEnvironment) -> None:
    hub.client.start_new(call, "caller", "get")
    hub.engine.step()
    assert hub.pool.waiting, "the operation isn't given out"
    force_delete(hub, A)
    assert not hub.pool.waiting
    hub.client.signal_entity(A, "add", 4)
    hub.run()
    assert "failed: NotFound: the entity was deleted" in hub.client.get_status("caller").output
    assert read_state(hub, A) == 4


def test_what_a_dropped_operation_still_brings_is_not_applied(hub: testing.TestEnvironment) -> None:
    hub.client.signal_entity(A, "add", 1)
    hub.engine.step()
    (work,) = hub.pool.waiting.values()
    force_delete(hub, A)
    assert isinstance(work, EntityBatchCall)
    hub.pool.report(work.run())
    hub.run()
    assert not hub.client.read_entity_state(A).entity_exists
    hub.restart()
    hub.run()
    assert not hub.client.read_entity_state(A).entity_exists


def test_a_forced_deletion_waits_for_the_holder_of_the_lock(hub: testing.TestEnvironment) -> None:
    start_holding(hub, "owner", "a")
    hub.client.signal_entity(A, "add", 1)
    force_delete(hub, A)
    assert read_runtime_state(hub, A).queued == 2
    hub.client.terminate("owner")
    assert read_runtime_state(hub, A).is_disposable


def test_nothing_is_blocked_where_nothing_waits() -> None:
    with testing.hub(add_one) as hub:
        hub.client.start_new(add_one, client_input=str(A))
        hub.run()
        hub.client.delete_entity(A)
        assert read_runtime_state(hub, A).blocked is None


# ── time ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_signal_for_later_is_never_early_though_the_clock_goes_back(hub: testing.TestEnvironment) -> None:
    hub.client.signal_entity(A, "add", 1)
    hub.run()
    hub.clock.move_to(hub.clock.now() - timedelta(hours=2))
    hub.client.signal_entity(A, "add", 10, at=hub.clock.now() + timedelta(hours=1))
    assert read_state(hub, A) == 1
    hub.advance(timedelta(hours=1))
    assert read_state(hub, A) == 11


def test_a_signal_for_a_time_that_is_over_is_run_at_once(hub: testing.TestEnvironment) -> None:
    hub.client.signal_entity(A, "add", 1, at=hub.clock.now() - timedelta(days=1))
    assert read_state(hub, A) == 1


def test_timers_of_what_was_carried_over_dont_pile_up(
    hub: testing.TestEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entity_compaction, "_MIN_COMPACT_BYTES", 1)
    for _ in range(20):
        hub.client.signal_entity(A, "later")
    for _ in range(200):
        hub.client.signal_entity(A, "add", 1)
        hub.run()
    assert len(hub.engine.timers) < 1_100
    hub.advance(timedelta(hours=1))
    assert read_state(hub, A) == 220


# ── locks ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_others_wait_while_an_entity_is_locked(hub: testing.TestEnvironment) -> None:
    start_holding(hub, "first", "ab")
    hub.client.signal_entity(A, "add", 1)
    assert not hub.client.read_entity_state(A).entity_exists
    hub.client.raise_event("first", "Go")
    assert read_state(hub, A) == 1
    assert lock_holder(hub, A) is None


def test_the_next_in_line_gets_the_lock(hub: testing.TestEnvironment) -> None:
    start_holding(hub, "first", "ab")
    start_holding(hub, "second", "bc")
    start_holding(hub, "third", "ac")
    assert [lock_holder(hub, id) for id in (A, B)] == ["first", "first"]
    hub.client.raise_event("first", "Go")
    assert [lock_holder(hub, id) for id in (A, B, C)] == ["third", "second", "third"]
    hub.restart()
    for name in ("second", "third"):
        hub.client.raise_event(name, "Go")
        hub.run()
    assert [hub.client.get_status(name).output for name in ("second", "third")] == ["left", "left"]


SECTION_EXITS: dict[str, Callable[[testing.TestEnvironment], object]] = {
    "return": lambda hub: hub.client.raise_event("owner", "Go"),
    "terminate": lambda hub: hub.client.terminate("owner"),
    "purge": lambda hub: hub.client.purge_instance_history("owner", force=True),
    "replace": lambda hub: hub.client.start_new(add_one, "owner", "@counter@d", if_exists="replace"),
}


@pytest.mark.parametrize("leave", SECTION_EXITS)
@pytest.mark.parametrize("restarted", [False, True])
def test_every_way_out_gives_the_locks_back(hub: testing.TestEnvironment, leave: str, restarted: bool) -> None:
    start_holding(hub, "owner", "ab")
    if restarted:
        hub.restart()
    SECTION_EXITS[leave](hub)
    assert [lock_holder(hub, id) for id in (A, B)] == [None, None]
    start_holding(hub, "next", "ab")
    assert lock_holder(hub, B) == "next"


def test_an_exception_inside_gives_the_locks_back(hub: testing.TestEnvironment) -> None:
    start_holding(hub, "owner", "ab", "raise")
    hub.client.raise_event("owner", "Go")
    assert [lock_holder(hub, id) for id in (A, B)] == [None, None]


def test_continuing_as_new_inside_gives_the_locks_back_before_it_asks_again(hub: testing.TestEnvironment) -> None:
    start_holding(hub, "owner", "ab", "again")
    start_holding(hub, "next", "ab")
    hub.client.raise_event("owner", "Go")
    assert [lock_holder(hub, id) for id in (A, B)] == ["next", "next"]
    hub.client.raise_event("next", "Go")
    assert [lock_holder(hub, id) for id in (A, B)] == ["owner", "owner"]
    hub.client.raise_event("owner", "Go")
    assert [lock_holder(hub, id) for id in (A, B)] == [None, None]


@pytest.mark.parametrize("leave", ["terminate", "purge", "replace"])
def test_an_execution_that_ends_while_waiting_for_its_second_lock_releases_all(
    hub: testing.TestEnvironment, leave: str
) -> None:
    start_holding(hub, "first", "b")
    start_holding(hub, "owner", "abc")
    start_holding(hub, "next", "ac")
    assert [lock_holder(hub, id) for id in (A, B)] == ["owner", "first"]
    SECTION_EXITS[leave](hub)
    assert [lock_holder(hub, id) for id in (A, B, C)] == ["next", "first", "next"]
    hub.client.raise_event("first", "Go")
    assert lock_holder(hub, B) is None
    assert not read_runtime_state(hub, B).queue


def test_asking_again_right_after_giving_back_is_one_in_line_again(hub: testing.TestEnvironment) -> None:
    hub.client.start_new(twice, "owner")
    start_holding(hub, "next", "b")
    assert lock_holder(hub, B) == "owner"
    hub.client.raise_event("owner", "Go")
    assert [lock_holder(hub, id) for id in (A, B)] == [None, "next"]
    hub.client.raise_event("next", "Go")
    hub.run()
    assert hub.client.get_status("owner").ended
    assert [lock_holder(hub, id) for id in (B, C)] == [None, None]


def test_asking_again_with_an_empty_queue_is_granted_at_once(hub: testing.TestEnvironment) -> None:
    hub.client.start_new(twice, "owner")
    hub.run()
    hub.client.raise_event("owner", "Go")
    hub.run()
    assert hub.client.get_status("owner").output == 0
    assert [lock_holder(hub, id) for id in (A, B, C)] == [None, None, None]


def test_a_suspended_owner_keeps_its_locks_and_a_terminated_one_doesnt(hub: testing.TestEnvironment) -> None:
    start_holding(hub, "first", "a")
    start_holding(hub, "owner", "ab")
    hub.client.suspend("owner")
    hub.client.raise_event("first", "Go")
    hub.run()
    assert [lock_holder(hub, id) for id in (A, B)] == ["owner", "owner"]
    hub.client.terminate("owner")
    assert [lock_holder(hub, id) for id in (A, B)] == [None, None]


# ── the file ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_long_log_is_compacted_to_a_snapshot(hub: testing.TestEnvironment) -> None:
    for _ in range(3):
        hub.finish(hub.client.start_new(fan_out, client_input=3_000))
    events = read_log(hub, A)
    assert isinstance(events[0], ev.EntitySnapshot)
    assert read_runtime_state(hub, A).size < 200_000
    assert read_state(hub, A) == 9_000
    numbers = [record.n for record in hub.client.get_entity_history(A)]
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    hub.restart()
    assert hub.finish(hub.client.start_new(fan_out, client_input=1)).output == 9_001


def test_a_log_stays_short_however_the_signals_come(hub: testing.TestEnvironment) -> None:
    sizes = []
    for round in range(3):
        for _ in range(800):
            hub.client.signal_entity(A, "add", 1)
            hub.run()
        hub.finish(hub.client.start_new(fan_out, client_input=2_000))
        sizes.append(sum(map(len, file_lines(hub, A))))
        assert read_state(hub, A) == 2_800 * (round + 1)
    assert max(sizes) < 200_000


def test_the_log_of_an_entity_that_is_only_locked_stays_short(hub: testing.TestEnvironment) -> None:
    for _ in range(600):
        hub.finish(hub.client.start_new(twice_unheld))
    assert sum(map(len, file_lines(hub, A))) < 200_000


def test_thousands_of_requests_are_taken_back_in_no_time(hub: testing.TestEnvironment) -> None:
    """One look at each other request for each of them would take minutes."""
    start_holding(hub, "owner", "a")
    waiters = [f"waiter-{number}" for number in range(3_000)]
    submit(hub, "start", [MessageItem(waiter, "hold", Raw(b'[["a"],"return"]')) for waiter in waiters])
    hub.run()
    assert read_runtime_state(hub, A).queued == len(waiters)
    submit(hub, "terminate", [MessageItem(waiter) for waiter in waiters])
    assert read_runtime_state(hub, A).queued == 0
    hub.client.raise_event("owner", "Go")
    assert read_runtime_state(hub, A).is_disposable


def test_what_waits_is_carried_into_the_new_file(hub: testing.TestEnvironment) -> None:
    hub.client.signal_entity(A, "later")
    for _ in range(3):
        hub.finish(hub.client.start_new(fan_out, client_input=3_000), limit=timedelta(minutes=1))
    assert isinstance(read_log(hub, A)[0], ev.EntitySnapshot)
    hub.restart()
    hub.advance(timedelta(hours=2))
    assert read_state(hub, A) == 9_001
