"""Critical sections: which locks are requested, what is allowed meanwhile, and when they are released."""

from __future__ import annotations

import gc
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

import durablecli as df
from durablecli.errors import UsageError
from durablecli.model import events as ev
from durablecli.model.entity_id import EntityId
from durablecli.replay import pending
from durablecli.replay.runtime_state import fold_history
from durablecli.replay.summary import pending_waits
from tests.support.executor_harness import START, ExecutorHarness, format_record

Context = df.DurableOrchestrationContext
A, B, C = "@account@a", "@account@b", "@account@c"
REQUEST = "2 EntityLockRequested @account@a @account@b"


def transfer(context: Context) -> Any:
    with (yield context.lock_entities([B, A])):
        balance = yield context.call_entity(A, "get")
        yield context.task_all([context.call_entity(A, "add", -1), context.call_entity(B, "add", 1)])
    return balance


async def transfer_awaiting(context: Context) -> Any:
    with await context.lock_entities([B, A]):
        balance = await context.call_entity(A, "get")
        await context.task_all([context.call_entity(A, "add", -1), context.call_entity(B, "add", 1)])
    return balance


@pytest.mark.parametrize("flow", [transfer, transfer_awaiting])
def test_locks_are_held_until_the_block_is_left(flow: Any) -> None:
    harness = ExecutorHarness(flow)
    assert harness.first_decisions == [REQUEST]
    assert harness.grant_lock(2) == ["4 EntityOperationCalled @account@a get null"]
    assert harness.complete_operation(4, 7) == [
        "6 EntityOperationCalled @account@a add -1",
        "7 EntityOperationCalled @account@b add 1",
    ]
    assert harness.complete_operation(7) == []
    assert pending.unreleased_locks(harness.runtime_state) == [(2, (A, B))]
    assert harness.complete_operation(6) == ["10 EntityUnlockSent 2", "11 ExecutionCompleted Completed 7"]


def test_locks_are_asked_for_in_one_order_and_each_once() -> None:
    def flow(context: Context) -> Any:
        named: list[EntityId | str] = ["@b@x", EntityId("A", "z"), "@A@y", "@a@y", "@a@Y", "@b@x"]
        with (yield context.lock_entities(named)) as section:
            return [str(entity) for entity in section.entities]

    harness = ExecutorHarness(flow)
    assert harness.first_decisions == ["2 EntityLockRequested @a@Y @a@y @a@z @b@x"]
    harness.grant_lock(2)
    assert harness.output == ["@a@Y", "@a@y", "@a@z", "@b@x"]


@pytest.mark.parametrize(
    ("wrong", "error", "text"),
    [
        ([], ValueError, "1 to 100 entities, not 0"),
        ([f"@account@{key}" for key in range(101)], ValueError, "1 to 100 entities, not 101"),
        (A, ValueError, r"takes a list of entities: lock_entities\(\['@account@a'\]\)"),
        (EntityId("account", "a"), ValueError, "takes a list"),
        (["account"], UsageError, "as @name@key"),
        ([transfer], UsageError, "as @name@key"),
    ],
    ids=["none", "too many", "a string", "one entity", "no entity", "a function"],
)
def test_what_cannot_be_locked_is_refused(wrong: Any, error: type[Exception], text: str) -> None:
    def flow(context: Context) -> Any:
        with pytest.raises(error, match=text):
            context.lock_entities(wrong)

    assert ExecutorHarness(flow).first_decisions == ["2 ExecutionCompleted Completed null"]


def test_a_hundred_entities_can_be_locked() -> None:
    def flow(context: Context) -> Any:
        yield context.lock_entities([f"@account@{key}" for key in range(100)])

    assert len(ExecutorHarness(flow).first_decisions) == 1


# ── the rules ────────────────────────────────────────────────────────────────────────────────────────────────────────


def signal_one_of_them(context: Context) -> Any:
    context.signal_entity(A, "add", 1)


def call_another(context: Context) -> Any:
    context.call_entity(C, "get")


def call_twice_at_once(context: Context) -> Any:
    context.call_entity(A, "get")
    context.call_entity(A, "get")


def lock_more(context: Context) -> Any:
    context.lock_entities([C])


def call_child(context: Context) -> Any:
    context.call_sub_orchestrator("child")


def call_child_with_retry(context: Context) -> Any:
    context.call_sub_orchestrator_with_retry("child", df.RetryOptions(1000, 2))


INSIDE: list[tuple[Callable[[Context], Any], str, int]] = [
    (signal_one_of_them, "Must not signal a locked entity from a critical section.", 0),
    (
        call_twice_at_once,
        "Must not call an entity from a critical section while a prior call to the same entity is still pending.",
        1,
    ),
    (call_another, "Must not call an entity from a critical section if it is not one of the locked entities.", 0),
    (lock_more, "Must not enter another critical section from within a critical section.", 0),
    (call_child, "While holding locks, cannot call suborchestrators.", 0),
    (call_child_with_retry, "While holding locks, cannot call suborchestrators.", 0),
]


@pytest.mark.parametrize(("wrong", "text", "decided"), INSIDE, ids=lambda part: getattr(part, "__name__", None))
def test_breaking_a_rule_of_the_section_is_reported_and_decides_nothing(wrong: Any, text: str, decided: int) -> None:
    def flow(context: Context) -> Any:
        with (yield context.lock_entities([A, B])):
            try:
                wrong(context)
            except RuntimeError as error:
                return str(error)

    harness = ExecutorHarness(flow)
    assert len(harness.grant_lock(2)) == decided + 2
    assert harness.output == text


def call_one_of_them(context: Context) -> Any:
    context.call_entity(A, "get")


BEFORE = [
    (signal_one_of_them, "Must not signal a locked entity from a critical section."),
    (call_one_of_them, "Must not call an entity while the request for its lock is pending: yield the lock first."),
    (lock_more, "Must not enter another critical section from within a critical section."),
]


@pytest.mark.parametrize(("wrong", "text"), BEFORE, ids=lambda part: getattr(part, "__name__", None))
def test_some_rules_begin_with_the_request(wrong: Any, text: str) -> None:
    def flow(context: Context) -> Any:
        context.lock_entities([A, B])
        try:
            wrong(context)
        except RuntimeError as error:
            return str(error)

    harness = ExecutorHarness(flow)
    assert len(harness.first_decisions) == 2
    assert harness.output == text


@pytest.mark.parametrize("allowed", [call_another, call_child, call_child_with_retry])
def test_other_work_continues_until_the_grant(allowed: Any) -> None:
    def flow(context: Context) -> Any:
        lock = context.lock_entities([A, B])
        allowed(context)
        yield lock

    harness = ExecutorHarness(flow)
    assert len(harness.first_decisions) == 2
    assert harness.runtime_state.status == "Running"


def test_others_may_be_signaled_and_a_locked_one_called_again_when_it_has_answered() -> None:
    def flow(context: Context) -> Any:
        with (yield context.lock_entities([A])):
            context.signal_entity(C, "note")
            yield context.call_activity("F1")
            yield context.call_entity(A, "get")
            yield context.call_entity(A, "get")

    harness = ExecutorHarness(flow)
    assert harness.grant_lock(2) == ["4 EntityOperationSignaled @account@c note null", "5 TaskScheduled F1 null"]
    harness.complete_task(5)
    assert harness.complete_operation(7) == ["9 EntityOperationCalled @account@a get null"]


def test_nothing_is_forbidden_any_more_behind_the_section() -> None:
    def flow(context: Context) -> Any:
        with (yield context.lock_entities([A])):
            pass
        for wrong in (signal_one_of_them, call_another, call_twice_at_once, call_child):
            wrong(context)
        with (yield context.lock_entities([A])):
            pass

    harness = ExecutorHarness(flow)
    assert len(harness.grant_lock(2)) == 7
    assert harness.grant_lock(10) == ["12 EntityUnlockSent 10", "13 ExecutionCompleted Completed null"]


def test_a_failed_call_leaves_its_entity_free_for_the_next() -> None:
    def flow(context: Context) -> Any:
        with (yield context.lock_entities([A])):
            try:
                yield context.call_entity(A, "withdraw")
            except ValueError:
                yield context.call_entity(A, "get")

    harness = ExecutorHarness(flow)
    harness.grant_lock(2)
    assert harness.fail_operation(4) == ["6 EntityOperationCalled @account@a get null"]


# ── releasing ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_locks_are_given_back_by_hand_and_only_once() -> None:
    def flow(context: Context) -> Any:
        section = yield context.lock_entities([A])
        section.release()
        section.release()
        with pytest.raises(RuntimeError, match="call lock_entities again"), section:
            pass
        with (yield context.lock_entities([B])) as other:
            other.release()

    harness = ExecutorHarness(flow)
    assert harness.grant_lock(2) == ["4 EntityUnlockSent 2", "5 EntityLockRequested @account@b"]
    assert harness.grant_lock(5) == ["7 EntityUnlockSent 5", "8 ExecutionCompleted Completed null"]


def test_a_section_that_fails_gives_its_locks_back_first() -> None:
    harness = ExecutorHarness(transfer)
    harness.grant_lock(2)
    failed = "7 ExecutionCompleted Failed Operation 'get' of entity @account@a failed: ValueError: no"
    assert harness.fail_operation(4) == ["6 EntityUnlockSent 2", failed]
    assert pending.unreleased_locks(harness.runtime_state) == []


def test_an_execution_may_end_and_go_on_from_inside_a_section() -> None:
    def flow(context: Context) -> Any:
        with (yield context.lock_entities([A])):
            context.continue_as_new(1)
            return

    harness = ExecutorHarness(flow)
    assert harness.grant_lock(2) == ["4 EntityUnlockSent 2", "5 ContinueAsNew 1"]


def never_gives_back(context: Context) -> Any:
    yield context.lock_entities([A])
    yield context.wait_for_external_event("E")
    context.continue_as_new(1)


def test_unreleased_locks_are_in_the_runtime_state_until_the_end() -> None:
    harness = ExecutorHarness(never_gives_back)
    assert pending.unreleased_locks(harness.runtime_state) == [(2, (A,))]
    harness.grant_lock(2)
    assert pending.unreleased_locks(harness.runtime_state) == [(2, (A,))]
    assert harness.raise_event("E") == ["6 ContinueAsNew 1"]
    assert pending.unreleased_locks(harness.runtime_state) == []


def test_with_without_yield_is_reported() -> None:
    def flow(context: Context) -> Any:
        with context.lock_entities([A]):
            yield context.call_entity(A, "get")

    assert "with (yield context.lock_entities(…)):" in ExecutorHarness(flow).error


@pytest.mark.parametrize("flow", [transfer, transfer_awaiting])
def test_an_executor_closed_inside_a_section_keeps_its_locks(flow: Any) -> None:
    harness = ExecutorHarness(flow)
    harness.grant_lock(2)
    written = list(harness.records)
    harness.executor.close()
    assert harness.records == written
    assert list(harness.runtime_state.locks) == [2]
    harness.executor = harness.replay()
    del harness
    gc.collect()  # nothing that a collector finds later may speak up


def test_code_that_catches_everything_releases_nothing_when_closed() -> None:
    reached = []

    def flow(context: Context) -> Any:
        section = yield context.lock_entities([A])
        try:
            yield context.call_entity(A, "get")
        finally:
            section.release()
            reached.append(1)

    harness = ExecutorHarness(flow, check=False)
    harness.grant_lock(2)
    harness.executor.close()
    assert reached
    assert list(fold_history(harness.records).locks) == [2]


# ── cancelling ───────────────────────────────────────────────────────────────────────────────────────────────────────


def impatient(context: Context) -> Any:
    lock = context.lock_entities([A, B])
    late = context.create_timer(timedelta(minutes=1))
    winner = yield context.task_any([lock, late])
    if winner is late:
        lock.cancel()
        context.signal_entity(A, "note")
        yield context.wait_for_external_event("E")
        return ["too late", lock.is_cancelled, lock.is_faulted]
    late.cancel()
    with lock.get_result():
        yield context.call_entity(A, "get")
    return "held"


def test_a_request_can_win_against_a_timer() -> None:
    harness = ExecutorHarness(impatient)
    assert harness.grant_lock(2) == ["5 TimerCanceled 3", "6 EntityOperationCalled @account@a get null"]
    assert harness.complete_operation(6) == ["8 EntityUnlockSent 2", '9 ExecutionCompleted Completed "held"']


def test_a_request_that_takes_too_long_can_be_taken_back() -> None:
    harness = ExecutorHarness(impatient)
    assert harness.fire_timer(3)[:2] == ["5 EntityUnlockSent 2", "6 EntityOperationSignaled @account@a note null"]
    assert pending.unreleased_locks(harness.runtime_state) == []
    assert not harness.runtime_state.accepts(ev.EntityLockGranted(2))
    harness.raise_event("E")
    assert harness.output == ["too late", True, True]


def test_a_grant_that_was_held_while_its_request_was_taken_back_is_nothing() -> None:
    harness = ExecutorHarness(impatient, check=False)
    harness.now = START + timedelta(minutes=1)
    fired = harness.add_held(ev.TimerFired(3))
    grant = harness.add_held(ev.EntityLockGranted(2))
    assert pending.unreleased_locks(harness.runtime_state) == [(2, (A, B))]
    harness.release_held(fired)
    assert pending.unreleased_locks(harness.runtime_state) == []
    assert harness.release_held(grant) == []
    harness.raise_event("E")
    assert harness.output == ["too late", True, True]
    assert fold_history(harness.records).locks == {}


def test_a_grant_is_for_the_request_that_it_names() -> None:
    def flow(context: Context) -> Any:
        context.lock_entities([A]).cancel()
        yield context.lock_entities([A])

    harness = ExecutorHarness(flow)
    assert harness.grant_lock(2) == []
    assert harness.grant_lock(4) == ["7 ExecutionCompleted Completed null"]


def test_a_request_is_cancelled_once_and_never_when_it_is_granted() -> None:
    def flow(context: Context) -> Any:
        first = context.lock_entities([A])
        first.cancel()
        with pytest.raises(ValueError, match="Cannot cancel a completed task"):
            first.cancel()
        with pytest.raises(RuntimeError, match="the request for locks was cancelled"):
            yield first
        second = context.lock_entities([A])
        with (yield second), pytest.raises(ValueError, match="Cannot cancel a completed task"):
            second.cancel()
        return [first.is_completed, second.is_cancelled]

    harness = ExecutorHarness(flow)
    assert harness.first_decisions == [
        "2 EntityLockRequested @account@a",
        "3 EntityUnlockSent 2",
        "4 EntityLockRequested @account@a",
    ]
    assert harness.grant_lock(4) == ["6 EntityUnlockSent 4", "7 ExecutionCompleted Completed [true,false]"]


# ── the runtime state meanwhile ──────────────────────────────────────────────────────────────────────────────────────


def test_a_lock_request_is_a_wait_and_no_pending_work() -> None:
    harness = ExecutorHarness(transfer)
    [waiting] = pending_waits(harness.runtime_state)
    assert (waiting.kind, waiting.id, waiting.name, waiting.entities) == ("lock", 2, None, (A, B))
    assert not pending.has_pending_work(harness.runtime_state)
    assert not harness.runtime_state.accepts(ev.EntityOperationCompleted(2))
    assert harness.runtime_state.accepts(ev.EntityLockGranted(2))
    harness.grant_lock(2)
    assert not harness.runtime_state.accepts(ev.EntityLockGranted(2))


def test_a_held_grant_is_a_lock_that_is_held() -> None:
    harness = ExecutorHarness(transfer)
    grant = harness.add_held(ev.EntityLockGranted(2))
    assert list(harness.runtime_state.locks) == [2]
    assert harness.runtime_state.open_decisions == {}
    assert harness.release_held(grant) == ["5 EntityOperationCalled @account@a get null"]


def test_a_generator_and_a_coroutine_decide_the_same() -> None:
    def drive(flow: Any) -> list[str]:
        harness = ExecutorHarness(flow)
        harness.grant_lock(2)
        harness.complete_operation(4)
        harness.complete_operation(6)
        harness.complete_operation(7)
        return [format_record(record) for record in harness.records]

    assert drive(transfer) == drive(transfer_awaiting)
