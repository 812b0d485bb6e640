"""Histories as the HTTP API shows them: a table of records in, rows out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec import Raw

from durablecli.model import events as ev
from durablecli.model.failures import Failure
from durablecli.model.history_projection import project_history

AT = datetime(2026, 11, 22, 9, tzinfo=UTC)
INNER = Failure("builtins.KeyError", "'x'", traceback="deep")
FAILURE = Failure("builtins.ValueError", "empty city", ("builtins.Exception",), "Traceback …", INNER)
DETAILS = {
    "ErrorType": "builtins.ValueError",
    "ErrorMessage": "empty city",
    "StackTrace": "Traceback …",
    "InnerFailure": {"ErrorType": "builtins.KeyError", "ErrorMessage": "'x'", "StackTrace": "deep"},
}


def at(n: int) -> str:
    return f"2026-11-22T09:00:{n:02d}.000000Z"


def project_rows(*events: ev.AnyEvent, **wanted: bool) -> list[dict[str, Any]]:
    records = [ev.Record(n, AT + timedelta(seconds=n), event) for n, event in enumerate(events, 1)]
    return project_history(records, **wanted)


def test_a_scheduled_task_is_folded_into_its_outcome() -> None:
    events: list[ev.AnyEvent] = [
        ev.TaskScheduled("hello", Raw(b'"Tokyo"')),
        ev.TaskCompleted(1, Raw(b'"Hello Tokyo!"')),
    ]
    row = {"EventType": "TaskCompleted", "Timestamp": at(2), "ScheduledTime": at(1), "FunctionName": "hello"}
    assert project_rows(*events) == [row]
    assert project_rows(*events, results=True) == [{**row, "Result": "Hello Tokyo!"}]
    assert project_rows(*events, results=True, inputs=True) == [{**row, "Input": "Tokyo", "Result": "Hello Tokyo!"}]


def test_a_failed_task_shows_its_failure() -> None:
    [row] = project_rows(ev.TaskScheduled("hello"), ev.TaskFailed(1, FAILURE))
    assert row == {
        "EventType": "TaskFailed",
        "Timestamp": at(2),
        "ScheduledTime": at(1),
        "FunctionName": "hello",
        "FailureDetails": DETAILS,
    }


def test_an_unfinished_task_stays_as_its_own_row() -> None:
    event = ev.TaskScheduled("hello", Raw(b"[1]"))
    assert project_rows(event) == [{"EventType": "TaskScheduled", "Timestamp": at(1), "Name": "hello"}]
    assert project_rows(event, inputs=True)[0]["Input"] == [1]


def test_sub_orchestrations_are_folded_alike() -> None:
    created = ev.SubOrchestrationInstanceCreated("child", "p:2a:1", Raw(b"1"))
    assert project_rows(created) == [
        {"EventType": "SubOrchestrationInstanceCreated", "Timestamp": at(1), "Name": "child", "InstanceId": "p:2a:1"}
    ]
    done = project_rows(created, ev.SubOrchestrationInstanceCompleted(1, Raw(b"2")), results=True, inputs=True)
    assert done == [
        {
            "EventType": "SubOrchestrationInstanceCompleted",
            "Timestamp": at(2),
            "ScheduledTime": at(1),
            "FunctionName": "child",
            "InstanceId": "p:2a:1",
            "Input": 1,
            "Result": 2,
        }
    ]
    [failed] = project_rows(created, ev.SubOrchestrationInstanceFailed(1, FAILURE))
    assert (failed["FunctionName"], failed["FailureDetails"]) == ("child", DETAILS)


def test_the_operation_of_an_entity_is_folded_into_its_outcome() -> None:
    called = ev.EntityOperationCalled("@counter@a", "add", Raw(b"1"))
    where = {"InstanceId": "@counter@a", "Operation": "add"}
    assert project_rows(called) == [{"EventType": "EntityOperationCalled", "Timestamp": at(1), **where}]
    done = project_rows(called, ev.EntityOperationCompleted(1, Raw(b"2")), results=True, inputs=True)
    head = {"EventType": "EntityOperationCompleted", "Timestamp": at(2), "ScheduledTime": at(1)}
    assert done == [{**head, **where, "Input": 1, "Result": 2}]
    assert project_rows(called, ev.EntityOperationFailed(1, FAILURE)) == [
        {**head, **where, "EventType": "EntityOperationFailed", "FailureDetails": DETAILS}
    ]


def test_a_critical_section_shows_what_it_locks_in_every_row() -> None:
    request = ev.EntityLockRequested(("@account@a", "@account@b"))
    lock_set = {"LockSet": ["@account@a", "@account@b"]}
    assert project_rows(request, ev.EntityLockGranted(1), ev.EntityUnlockSent(1)) == [
        {"EventType": "EntityLockRequested", "Timestamp": at(1), **lock_set},
        {"EventType": "EntityLockGranted", "Timestamp": at(2), **lock_set},
        {"EventType": "EntityUnlockSent", "Timestamp": at(3), **lock_set},
    ]


def test_a_task_that_was_answered_again_after_a_rewind_shows_both_answers() -> None:
    shown = project_rows(
        ev.TaskScheduled("hello"),
        ev.TaskFailed(1, FAILURE),
        ev.ExecutionCompleted("Failed", failure=FAILURE, causes=(2,)),
        ev.ExecutionRewound(2, "mended", (2,), (3,)),
        ev.TaskCompleted(1),
    )
    assert [row["EventType"] for row in shown] == [
        "TaskFailed",
        "ExecutionCompleted",
        "ExecutionRewound",
        "TaskCompleted",
    ]
    assert shown[2]["Reason"] == "mended"
    assert shown[3]["ScheduledTime"] == at(1)


@pytest.mark.parametrize(
    "event",
    [
        ev.OrchestratorStarted(1),
        ev.EventAwaited("Guide"),
        ev.TimerCanceled(1),
        ev.CustomStatusSet(Raw(b"1")),
        ev.ExecutionBlocked("why"),
        ev.ExecutionUnblocked("why"),
    ],
    ids=lambda event: type(event).__name__,
)
def test_our_own_kinds_are_left_out(event: ev.AnyEvent) -> None:
    assert project_rows(event, results=True, inputs=True) == []


ONE_ROW: list[tuple[ev.AnyEvent, dict[str, Any], dict[str, Any]]] = [
    (ev.ExecutionStarted("i", "2a", "tour", Raw(b'{"a":1}'), "1.2"), {"FunctionName": "tour"}, {"Input": {"a": 1}}),
    (
        ev.ExecutionStarted("i", "2a", "tour", start_at=AT),
        {"FunctionName": "tour", "ScheduledStartTime": at(0)},
        {"Input": None},
    ),
    (ev.EventRaised("Guide", Raw(b"true"), held=True), {"Name": "Guide"}, {"Input": True}),
    (ev.EventSent("other", "Go", Raw(b"0")), {"Name": "Go", "InstanceId": "other"}, {"Input": 0}),
    (
        ev.EntityOperationSignaled("@counter@a", "add", Raw(b"0")),
        {"InstanceId": "@counter@a", "Operation": "add"},
        {"Input": 0},
    ),
    (
        ev.EntityOperationSignaled("@counter@a", "add", scheduled_time=AT),
        {"InstanceId": "@counter@a", "Operation": "add", "ScheduledTime": at(0)},
        {"Input": None},
    ),
    (ev.TimerCreated(AT), {"FireAt": at(0)}, {}),
    (ev.ExecutionSuspended("audit"), {"Reason": "audit"}, {}),
    (ev.ExecutionResumed("go"), {"Reason": "go"}, {}),
    (ev.ExecutionTerminated("enough"), {"Reason": "enough"}, {}),
    (ev.ContinueAsNew(Raw(b"5")), {"OrchestrationStatus": "ContinuedAsNew"}, {"Result": 5}),
    (ev.ExecutionCompleted("Completed", Raw(b"[1]")), {"OrchestrationStatus": "Completed"}, {"Result": [1]}),
    (ev.ExecutionCompleted("Terminated"), {"OrchestrationStatus": "Terminated"}, {}),
    (
        ev.ExecutionCompleted("Failed", failure=FAILURE),
        {"OrchestrationStatus": "Failed", "FailureDetails": DETAILS},
        {},
    ),
]


@pytest.mark.parametrize(("event", "always", "asked_for"), ONE_ROW, ids=lambda part: type(part).__name__)
def test_a_row_shows_payloads_only_when_asked(
    event: ev.AnyEvent, always: dict[str, Any], asked_for: dict[str, Any]
) -> None:
    head = {"EventType": type(event).__name__, "Timestamp": at(1)}
    assert project_rows(event) == [{**head, **always}]
    assert project_rows(event, results=True, inputs=True) == [{**head, **always, **asked_for}]


def test_a_fired_timer_shows_when_it_was_due() -> None:
    shown = project_rows(ev.TimerCreated(AT), ev.TimerFired(1))
    assert shown[0] == {"EventType": "TimerCreated", "Timestamp": at(1), "FireAt": at(0)}
    assert shown[1] == {"EventType": "TimerFired", "Timestamp": at(2), "FireAt": at(0)}


def test_an_answer_whose_decision_is_missing_is_shown_as_it_is() -> None:
    assert project_rows(ev.TaskCompleted(9), ev.TimerFired(9), ev.EntityLockGranted(9)) == [
        {"EventType": "TaskCompleted", "Timestamp": at(1)},
        {"EventType": "TimerFired", "Timestamp": at(2)},
        {"EventType": "EntityLockGranted", "Timestamp": at(3)},
    ]


def test_the_attributes_of_an_exception_are_its_properties() -> None:
    failure = Failure("app.ApiError", "gone", attributes=Raw(b'{"status_code":404}'))
    (row,) = project_rows(ev.TaskFailed(1, failure))
    assert row["FailureDetails"] == {
        "ErrorType": "app.ApiError",
        "ErrorMessage": "gone",
        "StackTrace": None,
        "Properties": {"status_code": 404},
    }
