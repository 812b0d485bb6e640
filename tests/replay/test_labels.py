"""Names of calls: recorded for people, and of no consequence for a replay."""

from __future__ import annotations

from collections.abc import Callable, Generator
from datetime import timedelta
from typing import Any

import pytest

from durablecli.decorators import activity, orchestrator
from durablecli.errors import BadName
from durablecli.model import events as ev
from durablecli.model.retries import RetryPolicy
from durablecli.replay.context import DurableOrchestrationContext
from durablecli.replay.summary import pending_waits
from tests.support.executor_harness import ExecutorHarness

RETRY = RetryPolicy(timedelta(seconds=1), 2)
Steps = Generator[Any, Any, Any]


@activity
def bill(number: int) -> int:
    return number


@orchestrator
def child(context: DurableOrchestrationContext) -> None: ...


def labels(harness: ExecutorHarness) -> list[str | None]:
    return [
        record.event.label
        for record in harness.records
        if isinstance(record.event, ev.TaskScheduled | ev.SubOrchestrationInstanceCreated)
    ]


def test_a_call_has_the_name_that_the_orchestrator_gives_to_it_on_each_attempt() -> None:
    def flow(context: DurableOrchestrationContext) -> Steps:
        yield context.call_activity(bill, 17, name="invoice 17")
        yield context.call_activity_with_retry(bill, RETRY, 18, name="invoice 18")
        yield context.call_sub_orchestrator(child, 19, "c", name="invoice 19")
        yield context.call_sub_orchestrator_with_retry(child, RETRY, name="invoice 20")
        yield context.call_activity("bill", 21)

    harness = ExecutorHarness(flow)
    assert [(one.name, one.label) for one in pending_waits(harness.runtime_state)] == [("bill", "invoice 17")]
    harness.complete_task(2, 1)
    harness.fail_task(4)
    harness.fire_timer(6)
    harness.complete_task(8, 1)
    assert pending_waits(harness.runtime_state)[0].label == "invoice 19"
    harness.complete_child(10)
    harness.complete_child(12)
    assert labels(harness) == ["invoice 17", "invoice 18", "invoice 18", "invoice 19", "invoice 20", None]


def test_without_a_first_argument_the_name_is_the_function_as_in_azure() -> None:
    def flow(context: DurableOrchestrationContext) -> Steps:
        yield context.call_activity(name="bill", input_=17)
        yield context.call_activity_with_retry(name=bill, retry_options=RETRY, input_=18)
        yield context.call_sub_orchestrator(name="child", input_=19, instance_id="c", version="2")
        yield context.call_sub_orchestrator_with_retry(name="child", retry_options=RETRY, input_=20, instance_id="d")

    harness = ExecutorHarness(flow)
    assert harness.first_decisions == ["2 TaskScheduled bill 17"]
    assert harness.complete_task(2, 1) == ["4 TaskScheduled bill 18"]
    assert harness.complete_task(4, 1) == ["6 SubOrchestrationInstanceCreated child c 19"]
    assert harness.complete_child(6) == ["8 SubOrchestrationInstanceCreated child d 20"]
    assert labels(harness) == [None, None, None, None]


@pytest.mark.parametrize("now", ["another name", None])
def test_a_replay_takes_calls_with_other_names_for_the_same(now: str | None) -> None:
    def make(label: str | None) -> Callable[[DurableOrchestrationContext], Steps]:
        def flow(context: DurableOrchestrationContext) -> Steps:
            yield context.call_activity(bill, 17, name=label)
            yield context.call_sub_orchestrator(child, 1, name=label)

        return flow

    harness = ExecutorHarness(make("invoice 17"))
    harness.complete_task(2, 1)
    harness.replay(make(now))


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda context: context.call_activity(), TypeError, "call_activity needs a function"),
        (lambda context: context.call_activity(bill, 1, name=bill), BadName, "must be a string, not function"),
        (lambda context: context.call_activity(bill, 1, name="a\nb"), BadName, "control characters"),
        (lambda context: context.call_activity(bill, 1, name="x" * 257), BadName, "257 characters, at most 256"),
        (lambda context: context.call_activity(bill, 1, name="\ud800"), BadName, "valid Unicode"),
        (lambda context: context.call_activity_with_retry(bill, input_=1), TypeError, "needs retry_options"),
        (lambda context: context.call_sub_orchestrator(input_=1), TypeError, "needs a function"),
    ],
)
def test_a_wrong_call_fails_where_it_is_made(
    call: Callable[[DurableOrchestrationContext], object], error: type[Exception], text: str
) -> None:
    def flow(context: DurableOrchestrationContext) -> Steps:
        with pytest.raises(error, match=text):
            call(context)
        yield context.call_activity(bill, 1)

    assert ExecutorHarness(flow).first_decisions == ["2 TaskScheduled bill 1"]


def test_a_line_without_a_name_does_not_grow() -> None:
    def flow(context: DurableOrchestrationContext) -> Steps:
        yield context.call_activity(bill, 1, name="")

    assert labels(ExecutorHarness(flow)) == [None]


def test_progress_is_taken_from_a_live_turn_and_dropped_in_a_replay() -> None:
    def flow(context: DurableOrchestrationContext) -> Steps:
        context.progress(0, 2)
        yield context.call_activity(bill, 1)
        context.progress(1, 2, "billing")
        yield context.call_activity(bill, 2)

    harness = ExecutorHarness(flow)
    assert harness.executor.progress is not None
    assert (harness.executor.progress.done, harness.executor.progress.total) == (0, 2)
    harness.complete_task(2, 1)
    assert harness.executor.progress.message == "billing"
    assert harness.executor.progress.at == harness.now
    assert harness.replay().progress is None
    assert [type(record.event).__name__ for record in harness.records] == [
        "ExecutionStarted", "TaskScheduled", "TaskCompleted", "TaskScheduled",
    ]  # fmt: skip
