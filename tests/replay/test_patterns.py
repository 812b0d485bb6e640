"""The Python patterns of the Durable Functions overview, unchanged, name by name.

The monitor needs two lines changed: it compares a time with its JSON form, and requests a dict as text.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import durablecli as df
from tests.support.executor_harness import ExecutorHarness


def chaining(context: df.DurableOrchestrationContext) -> Any:
    x = yield context.call_activity("F1", None)
    y = yield context.call_activity("F2", x)
    z = yield context.call_activity("F3", y)
    result = yield context.call_activity("F4", z)
    return result


def fan_out_fan_in(context: df.DurableOrchestrationContext) -> Any:
    # Get a list of N work items to process in parallel.
    work_batch = yield context.call_activity("F1", None)

    parallel_tasks = [context.call_activity("F2", b) for b in work_batch]

    outputs = yield context.task_all(parallel_tasks)

    # Aggregate all N outputs and send the result to F3.
    total = sum(outputs)
    yield context.call_activity("F3", total)


def monitor(context: df.DurableOrchestrationContext) -> Any:
    job = json.loads(context.get_input())
    job_id = job["jobId"]
    polling_interval = job["pollingInterval"]
    expiry_time = datetime.fromisoformat(job["expiryTime"])

    while context.current_utc_datetime < expiry_time:
        job_status = yield context.call_activity("GetJobStatus", job_id)
        if job_status == "Completed":
            # Perform an action when a condition is met.
            yield context.call_activity("SendAlert", job_id)
            break

        # Orchestration sleeps until this time.
        next_check = context.current_utc_datetime + timedelta(seconds=polling_interval)
        yield context.create_timer(next_check)

    # Perform more work here, or let the orchestration end.


def human_interaction(context: df.DurableOrchestrationContext) -> Any:
    yield context.call_activity("RequestApproval", None)

    due_time = context.current_utc_datetime + timedelta(hours=72)
    durable_timeout_task = context.create_timer(due_time)
    approval_event_task = context.wait_for_external_event("ApprovalEvent")

    winning_task = yield context.task_any([approval_event_task, durable_timeout_task])

    if approval_event_task == winning_task:
        durable_timeout_task.cancel()
        yield context.call_activity("ProcessApproval", approval_event_task.result)
    else:
        yield context.call_activity("Escalate", None)


def test_a_chain_hands_each_result_to_the_next_function() -> None:
    harness = ExecutorHarness(chaining)
    assert harness.first_decisions == ["2 TaskScheduled F1 null"]
    assert harness.complete_task(2, "a") == ['4 TaskScheduled F2 "a"']
    assert harness.complete_task(4, "b") == ['6 TaskScheduled F3 "b"']
    assert harness.complete_task(6, "c") == ['8 TaskScheduled F4 "c"']
    assert harness.complete_task(8, "d") == ['10 ExecutionCompleted Completed "d"']


def test_fan_out_fan_in_waits_for_all_and_sums_in_input_order() -> None:
    harness = ExecutorHarness(fan_out_fan_in)
    assert harness.complete_task(2, [1, 2, 3]) == [
        "4 TaskScheduled F2 1",
        "5 TaskScheduled F2 2",
        "6 TaskScheduled F2 3",
    ]
    assert harness.complete_task(6, 30) == []
    assert harness.complete_task(4, 10) == []
    assert harness.complete_task(5, 20) == ["10 TaskScheduled F3 60"]
    assert harness.complete_task(10) == ["12 ExecutionCompleted Completed null"]


def test_the_monitor_polls_until_the_job_is_done() -> None:
    harness = ExecutorHarness(
        monitor, json.dumps({"jobId": 7, "pollingInterval": 30, "expiryTime": "2026-11-22T10:00:00+00:00"})
    )
    assert harness.first_decisions == ["2 TaskScheduled GetJobStatus 7"]
    assert harness.complete_task(2, "Running") == ["4 TimerCreated +0:00:30"]
    assert harness.fire_timer(4) == ["6 TaskScheduled GetJobStatus 7"]
    assert harness.complete_task(6, "Completed") == ["8 TaskScheduled SendAlert 7"]
    assert harness.complete_task(8) == ["10 ExecutionCompleted Completed null"]


def test_the_monitor_stops_when_its_time_is_over() -> None:
    harness = ExecutorHarness(
        monitor, json.dumps({"jobId": 7, "pollingInterval": 3600, "expiryTime": "2026-11-22T10:00:00+00:00"})
    )
    harness.complete_task(2, "Running")
    assert harness.fire_timer(4) == ["6 ExecutionCompleted Completed null"]


def test_an_approval_in_time_cancels_the_timer() -> None:
    harness = ExecutorHarness(human_interaction)
    assert harness.complete_task(2) == ["4 TimerCreated +3 days, 0:00:00", "5 EventAwaited ApprovalEvent"]
    assert harness.raise_event("ApprovalEvent", True) == ["7 TimerCanceled 4", "8 TaskScheduled ProcessApproval true"]
    assert harness.complete_task(8) == ["10 ExecutionCompleted Completed null"]


def test_no_approval_in_time_escalates() -> None:
    harness = ExecutorHarness(human_interaction)
    harness.complete_task(2)
    assert harness.fire_timer(4) == ["7 TaskScheduled Escalate null"]
    assert harness.complete_task(7) == ["9 ExecutionCompleted Completed null"]
