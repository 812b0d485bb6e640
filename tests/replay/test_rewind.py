"""Rewind and entities: which calls are repeated, and that no instance is rewound into a critical section."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

import durablecli as df
from durablecli.errors import WrongState
from durablecli.model import events as ev
from durablecli.replay.rewind import plan_rewind
from durablecli.replay.runtime_state import RuntimeState, fold_history
from tests.support.executor_harness import ExecutorHarness

Context = df.DurableOrchestrationContext
A = "@account@a"


def rewind(harness: ExecutorHarness) -> RuntimeState:
    """Return the runtime state after a rewind of the failure."""
    plan = plan_rewind(harness.runtime_state)
    last = len(harness.records)
    return fold_history([*harness.records, ev.Record(last + 1, harness.now, plan.to_event("mended"))])


def calls_two(context: Context) -> Any:
    other = context.call_entity("@counter@b", "add")
    value = yield context.call_entity(A, "withdraw", 1)
    context.signal_entity("@log@x", "note")
    return [value, (yield other)]


def test_a_call_whose_failure_is_forgotten_is_asked_again_and_no_other() -> None:
    harness = ExecutorHarness(calls_two)
    harness.fail_operation(3)
    plan = plan_rewind(harness.runtime_state)
    assert (plan.start, plan.forgotten, plan.void) == (4, (4,), (5,))
    assert plan.calls == ((3, ev.EntityOperationCalled(A, "withdraw", plan.calls[0][1].input)),)
    assert (plan.activities, plan.children) == ((), ())
    assert list(rewind(harness).open_decisions) == [2, 3]


def test_a_call_that_is_asked_again_waits_since_the_rewind() -> None:
    harness = ExecutorHarness(calls_two)
    began = harness.runtime_state.scheduled_at[2]
    harness.fail_operation(3)
    harness.now += timedelta(hours=1)
    assert rewind(harness).scheduled_at == {2: began, 3: harness.now}


def test_an_answer_that_came_behind_the_end_counts_once_it_is_rewound() -> None:
    harness = ExecutorHarness(calls_two)
    harness.fail_operation(3)
    late = harness.add_held(ev.EntityOperationCompleted(2))
    runtime_state = rewind(harness)
    assert list(runtime_state.open_decisions) == [3]
    assert list(runtime_state.held) == [late]
    assert not runtime_state.accepts(ev.EntityOperationCompleted(2))


def fails_behind_its_signal(context: Context) -> Any:
    yield context.call_activity("F1")
    call = context.call_entity(A, "add", 1)
    context.signal_entity("@log@x", "note")
    yield context.call_activity("F2")
    return (yield call)


def test_a_call_that_is_void_takes_no_answer_any_more() -> None:
    def caught(context: Context) -> Any:
        try:
            yield context.call_activity("F1")
        except ValueError as error:
            yield context.call_entity(A, "add", 1)
            raise RuntimeError from error

    harness = ExecutorHarness(caught)
    harness.fail_task(2)
    harness.complete_operation(4)
    assert harness.runtime_state.causes == (3,)
    plan = plan_rewind(harness.runtime_state)
    assert plan.void == (4, 5, 6)
    assert plan.calls == ()
    runtime_state = rewind(harness)
    assert not runtime_state.accepts(ev.EntityOperationCompleted(4))
    assert list(runtime_state.open_decisions) == [2]
    assert not runtime_state.held


def test_an_answer_behind_the_end_to_a_call_that_becomes_void_is_dropped() -> None:
    def caught(context: Context) -> Any:
        try:
            yield context.call_activity("F1")
        except ValueError as error:
            context.call_entity(A, "add", 1)
            raise RuntimeError from error

    harness = ExecutorHarness(caught)
    harness.fail_task(2)
    assert harness.runtime_state.accepts(ev.EntityOperationCompleted(4))
    harness.add_held(ev.EntityOperationCompleted(4))
    runtime_state = rewind(harness)
    assert not runtime_state.held
    assert list(runtime_state.open_decisions) == [2]


def test_calls_and_signals_before_the_failure_are_kept() -> None:
    harness = ExecutorHarness(fails_behind_its_signal)
    harness.complete_task(2)
    harness.fail_task(6)
    runtime_state = rewind(harness)
    assert list(runtime_state.open_decisions) == [4, 6]
    assert runtime_state.accepts(ev.EntityOperationCompleted(4))


# ── critical sections ────────────────────────────────────────────────────────────────────────────────────────────────


def section(context: Context) -> Any:
    yield context.call_activity("F1")
    with (yield context.lock_entities([A])):
        yield context.call_activity("F2")
    yield context.call_activity("F3")
    return (yield context.call_activity("F4"))


def held(context: Context) -> Any:
    yield context.lock_entities([A])
    yield context.call_activity("F1")


def waited(context: Context) -> Any:
    context.lock_entities([A])
    yield context.call_activity("F1")


def by_itself(context: Context) -> Any:
    with (yield context.lock_entities([A])):
        raise ValueError("too little")


def section_behind_the_failure(context: Context) -> Any:
    try:
        yield context.call_activity("F1")
    except ValueError as error:
        with (yield context.lock_entities([A])):
            pass
        raise RuntimeError from error


def failed_inside() -> ExecutorHarness:
    harness = ExecutorHarness(section)
    harness.complete_task(2)
    harness.grant_lock(4)
    harness.fail_task(6)
    return harness


def failed_holding() -> ExecutorHarness:
    harness = ExecutorHarness(held)
    harness.grant_lock(2)
    harness.fail_task(4)
    return harness


def failed_waiting() -> ExecutorHarness:
    harness = ExecutorHarness(waited)
    harness.fail_task(3)
    return harness


def failed_by_itself() -> ExecutorHarness:
    harness = ExecutorHarness(by_itself)
    harness.grant_lock(2)
    return harness


def failed_after_section() -> ExecutorHarness:
    harness = ExecutorHarness(section_behind_the_failure)
    harness.fail_task(2)
    harness.grant_lock(4)
    return harness


@pytest.mark.parametrize(
    "make", [failed_inside, failed_holding, failed_waiting, failed_by_itself, failed_after_section]
)
def test_an_instance_is_not_rewound_into_a_critical_section(make: Any) -> None:
    harness = make()
    assert harness.runtime_state.status == "Failed"
    with pytest.raises(WrongState, match="can't be rewound: it"):
        plan_rewind(harness.runtime_state)


def test_a_section_that_was_left_before_the_failure_is_no_obstacle() -> None:
    harness = ExecutorHarness(section)
    harness.complete_task(2)
    harness.grant_lock(4)
    harness.complete_task(6)
    harness.fail_task(9)
    runtime_state = rewind(harness)
    assert (runtime_state.status, list(runtime_state.open_decisions), runtime_state.locks) == ("Running", [9], {})


def test_a_request_that_was_taken_back_before_the_failure_is_no_obstacle() -> None:
    def flow(context: Context) -> Any:
        context.lock_entities([A]).cancel()
        yield context.call_activity("F1")

    harness = ExecutorHarness(flow)
    harness.fail_task(4)
    runtime_state = rewind(harness)
    assert (list(runtime_state.open_decisions), runtime_state.locks) == ([4], {})
