"""Cancelled calls, and task_all that fails fast: decisions that a replay makes again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

import durablecli as df
from durablecli.model import events as ev
from durablecli.replay.errors import NonDeterminismError
from tests.support.executor_harness import ExecutorHarness

Context = df.DurableOrchestrationContext
HOUR = timedelta(hours=1)
RETRY = df.RetryPolicy(timedelta(seconds=2), 3)


def test_a_cancelled_call_completes_at_once_and_raises() -> None:
    def flow(context: Context) -> Any:
        task = context.call_activity("F", 1)
        yield context.wait_for_external_event("stop")
        task.cancel()
        assert (task.is_cancelled, task.is_completed, task.is_faulted) == (True, True, True)
        with pytest.raises(ValueError, match="Cannot cancel a completed task"):
            task.cancel()
        try:
            yield task
        except df.TaskCanceledError as error:
            return [str(error), getattr(error.failure, "type", "")]

    harness = ExecutorHarness(flow)
    assert harness.raise_event("stop")[0] == "5 TaskCanceled 2"
    assert harness.output == [
        "Activity function 'F' was cancelled by the orchestrator", "durablecli.errors.TaskCanceledError",
    ]  # fmt: skip


def test_an_outcome_after_the_cancellation_is_not_accepted_and_one_held_before_it_has_no_effect() -> None:
    def flow(context: Context) -> Any:
        first, second = context.call_activity("F", 1), context.call_sub_orchestrator("child", 2, "c")
        yield context.wait_for_external_event("stop")
        first.cancel()
        second.cancel()
        return (yield context.wait_for_external_event("end"))

    harness = ExecutorHarness(flow)
    completed = ev.TaskCompleted(2)
    assert harness.runtime_state.accepts(completed)
    stop = harness.add_held(ev.EventRaised("stop"))
    held = harness.add_held(completed)
    assert harness.release_held(stop) == ["8 TaskCanceled 2", "9 TaskCanceled 3", "10 EventAwaited end"]
    assert not harness.runtime_state.open_decisions
    assert harness.release_held(held) == []
    assert not harness.runtime_state.answered
    assert not harness.runtime_state.accepts(ev.SubOrchestrationInstanceCompleted(3))
    harness.raise_event("end", 5)
    assert harness.output == 5


def test_a_retried_call_is_cancelled_in_its_present_attempt_or_in_the_pause_before_one() -> None:
    def flow(context: Context) -> Any:
        running, pausing = (context.call_activity_with_retry("F", RETRY, i) for i in range(2))
        yield context.wait_for_external_event("stop")
        running.cancel()
        pausing.cancel()
        return [running.is_cancelled, pausing.is_cancelled]

    harness = ExecutorHarness(flow)
    assert harness.fail_task(2) == ["6 TimerCreated +0:00:02 of 2"]
    assert harness.fire_timer(6) == ["8 TaskScheduled F 0 of 2"]
    assert harness.fail_task(3) == ["10 TimerCreated +0:00:02 of 3"]
    assert harness.raise_event("stop") == [
        "12 TaskCanceled 8",
        "13 TaskCanceled 10",
        "14 ExecutionCompleted Completed [true,true]",
    ]


def test_what_has_completed_or_is_of_an_entity_cannot_be_cancelled() -> None:
    def flow(context: Context) -> Any:
        called = context.call_entity("@counter@a", "get")
        with pytest.raises(ValueError, match="a call of an entity can't be cancelled"):
            called.cancel()
        task = context.call_activity("F")
        yield task
        with pytest.raises(ValueError, match="Cannot cancel a completed task"):
            task.cancel()
        return task.is_cancelled

    harness = ExecutorHarness(flow)
    harness.complete_task(3)
    assert harness.output is False


def test_a_call_that_is_cancelled_as_it_is_made_is_recorded_with_its_cancellation() -> None:
    def flow(context: Context) -> Any:
        context.call_activity("F").cancel()
        return "done"
        yield

    assert ExecutorHarness(flow).first_decisions == [
        "2 TaskScheduled F null", "3 TaskCanceled 2", '4 ExecutionCompleted Completed "done"',
    ]  # fmt: skip


def test_a_cancelled_task_wins_a_race_and_fails_a_task_all() -> None:
    def flow(context: Context) -> Any:
        first, second = (context.call_activity("F", i) for i in range(2))
        yield context.wait_for_external_event("stop")
        first.cancel()
        winner = yield context.task_any([second, first])
        assert winner is first
        with pytest.raises(df.TaskCanceledError):
            yield context.task_all([first, second])
        return second.result

    harness = ExecutorHarness(flow)
    harness.raise_event("stop")
    harness.complete_task(3, "b")
    assert harness.output == "b"


def test_changed_code_that_cancels_another_call_is_not_deterministic() -> None:
    def make(which: int) -> Any:
        def flow(context: Context) -> Any:
            tasks = [context.call_activity("F", i) for i in range(2)]
            yield context.wait_for_external_event("stop")
            tasks[which].cancel()
            yield context.wait_for_external_event("end")

        return flow

    harness = ExecutorHarness(make(0))
    harness.raise_event("stop")
    with pytest.raises(
        NonDeterminismError, match=r"history  TaskCanceled of record 2\nnow      TaskCanceled of record 3"
    ):
        harness.replay(make(1))


# ── task_all that fails fast ─────────────────────────────────────────────────────────────────────────────────────────


def test_the_first_failure_is_raised_at_once_and_cancels_the_others() -> None:
    def flow(context: Context) -> Any:
        tasks: list[Any] = [context.call_activity("F", i) for i in range(3)]
        tasks += [context.call_sub_orchestrator("child", 1, "c"), context.create_timer(HOUR)]
        tasks += [context.wait_for_external_event("never"), context.call_entity("@counter@a", "get")]
        tasks += [context.call_activity_with_retry("F", RETRY, 9)]
        try:
            yield context.task_all(tasks, fail_fast=True)
        except ValueError as error:
            return [str(error), [getattr(task, "is_cancelled", None) for task in tasks]]

    harness = ExecutorHarness(flow)
    harness.complete_task(2)
    assert harness.fail_task(9, "once") == ["12 TimerCreated +0:00:02 of 9"]
    assert harness.fail_task(3, "broken")[:-1] == [
        "14 TaskCanceled 4", "15 TaskCanceled 5", "16 TimerCanceled 6", "17 TaskCanceled 12",
    ]  # fmt: skip
    text, cancelled = harness.output
    assert text == "Activity function 'F' failed: ValueError: broken"
    assert cancelled == [False, False, True, True, True, None, False, True]


@pytest.mark.parametrize("style", ["generator", "async"])
def test_it_works_nested_and_within_a_race(style: str) -> None:
    def make(context: Context) -> Any:
        a, b, c, d = (context.call_activity("F", i) for i in range(4))
        inner = context.task_all([a, context.task_any([b, context.create_timer(HOUR)])], fail_fast=True)
        return context.task_any([context.task_all([inner, c], fail_fast=True), d])

    def flow(context: Context) -> Any:
        winner = yield make(context)
        return winner.is_faulted

    async def flow_async(context: Context) -> Any:
        winner = await make(context)
        return winner.is_faulted

    harness = ExecutorHarness(flow if style == "generator" else flow_async)
    assert harness.fail_task(2)[:-1] == ["8 TaskCanceled 4", "9 TaskCanceled 3", "10 TimerCanceled 6"]
    assert harness.output is True


def test_a_failure_from_before_fails_it_at_once_and_success_is_as_without() -> None:
    def flow(context: Context) -> Any:
        first, second = (context.call_activity("F", i) for i in range(2))
        yield context.task_any([first])
        with pytest.raises(ValueError, match="no"):
            yield context.task_all([second, first], fail_fast=True)
        assert second.is_cancelled
        return (yield context.task_all([context.call_activity("F", i) for i in range(2)], fail_fast=True))

    harness = ExecutorHarness(flow)
    assert harness.fail_task(2) == ["5 TaskCanceled 3", "6 TaskScheduled F 0", "7 TaskScheduled F 1"]
    harness.complete_task(7, "b")
    harness.complete_task(6, "a")
    assert harness.output == ["a", "b"]


def test_a_failure_of_it_names_the_outcome_that_a_rewind_repeats() -> None:
    def flow(context: Context) -> Any:
        yield context.task_all([context.call_activity("F", i) for i in range(3)], fail_fast=True)

    harness = ExecutorHarness(flow)
    harness.fail_task(3, "broken")
    assert harness.error == "Activity function 'F' failed: ValueError: broken"
    assert harness.runtime_state.causes == (5,)
