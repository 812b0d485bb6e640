"""Histories of other engines as records."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import StringValue
from msgspec import Raw

from durablecli.model import events as ev
from durablecli.model.failures import Failure
from durablecli.protocol.foreign_records import to_records
from durablecli.protocol.generated import pb

T0 = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def stamp(seconds: float) -> Timestamp:
    made = Timestamp()
    made.FromDatetime((T0 + timedelta(seconds=seconds)).replace(tzinfo=None))
    return made


def text(value: str) -> StringValue:
    return StringValue(value=value)


def event(id: int = -1, seconds: float | None = 0, **body: Any) -> pb.HistoryEvent:
    return pb.HistoryEvent(eventId=id, timestamp=None if seconds is None else stamp(seconds), **body)


def convert(*events: pb.HistoryEvent) -> list[ev.AnyEvent]:
    return [record.event for record in to_records(events, "a")]


def test_records_are_numbered_without_gaps_and_have_the_time_of_their_turn() -> None:
    records = to_records(
        [
            event(seconds=1, orchestratorStarted=pb.OrchestratorStartedEvent()),
            event(seconds=None, executionStarted=pb.ExecutionStartedEvent(name="tour")),
            event(1, seconds=2, timerCreated=pb.TimerCreatedEvent(fireAt=stamp(60))),
            event(seconds=2, orchestratorCompleted=pb.OrchestratorCompletedEvent()),
            pb.HistoryEvent(timestamp=Timestamp(), timerFired=pb.TimerFiredEvent(timerId=1)),
        ],
        "a",
    )
    assert [(record.n, (record.at - T0).total_seconds(), record.event) for record in records] == [
        (1, 1, ev.ExecutionStarted("a", "", "tour")),
        (2, 2, ev.TimerCreated(T0 + timedelta(seconds=60))),
        (3, 2, ev.TimerFired(2)),
    ]


def test_a_start_has_its_parent_version_tags_and_time() -> None:
    started = pb.ExecutionStartedEvent(
        name="tour",
        version=text("2"),
        input=text('{"a": 1}'),
        orchestrationInstance=pb.OrchestrationInstance(instanceId="a", executionId=text("x")),
        parentInstance=pb.ParentInstanceInfo(
            taskScheduledId=7,
            orchestrationInstance=pb.OrchestrationInstance(instanceId="p", executionId=text("y")),
        ),
        scheduledStartTimestamp=stamp(5),
        tags={"k": "v"},
    )
    assert convert(event(executionStarted=started)) == [
        ev.ExecutionStarted(
            "a", "x", "tour", Raw(b'{"a": 1}'), "2", ev.Origin("p", "y", 7), T0 + timedelta(seconds=5), tags={"k": "v"}
        )
    ]


@pytest.mark.parametrize(
    ("given", "shown"), [("", b"null"), ("1", b"1"), ("plain words", b'"plain words"'), ("null", b"null")]
)
def test_a_payload_of_any_text_is_shown_as_json(given: str, shown: bytes) -> None:
    (found,) = convert(event(eventRaised=pb.EventRaisedEvent(name="Go", input=text(given))))
    assert found == ev.EventRaised("Go", Raw(shown))


def test_an_outcome_names_the_last_call_with_its_id() -> None:
    failed = pb.TaskFailureDetails(errorType="ValueError", errorMessage="bad", stackTrace=text("where"))
    assert convert(
        event(1, taskScheduled=pb.TaskScheduledEvent(name="x", input=text("1"))),
        event(taskFailed=pb.TaskFailedEvent(taskScheduledId=1, failureDetails=failed)),
        event(1, taskScheduled=pb.TaskScheduledEvent(name="x", input=text("1"))),
        event(taskCompleted=pb.TaskCompletedEvent(taskScheduledId=1, result=text("2"))),
        event(taskCompleted=pb.TaskCompletedEvent(taskScheduledId=9)),
    ) == [
        ev.TaskScheduled("x", Raw(b"1")),
        ev.TaskFailed(1, Failure("ValueError", "bad", traceback="where")),
        ev.TaskScheduled("x", Raw(b"1")),
        ev.TaskCompleted(3, Raw(b"2")),
        ev.TaskCompleted(0),
    ]


def test_ids_of_calls_children_and_timers_are_apart() -> None:
    child = pb.SubOrchestrationInstanceCreatedEvent(name="y", instanceId="a:1", input=text("1"), version=text("3"))
    assert convert(
        event(0, taskScheduled=pb.TaskScheduledEvent(name="x")),
        event(0, subOrchestrationInstanceCreated=child),
        event(subOrchestrationInstanceCompleted=pb.SubOrchestrationInstanceCompletedEvent(taskScheduledId=0)),
        event(taskCompleted=pb.TaskCompletedEvent(taskScheduledId=0)),
    )[1:] == [
        ev.SubOrchestrationInstanceCreated("y", "a:1", Raw(b"1"), "3"),
        ev.SubOrchestrationInstanceCompleted(2),
        ev.TaskCompleted(1),
    ]


def test_operations_and_locks_are_matched_by_their_requests() -> None:
    call = pb.EntityOperationCalledEvent(requestId="r", operation="add", targetInstanceId=text("@c@k"), input=text("1"))
    signal = pb.EntityOperationSignaledEvent(
        requestId="s", operation="add", targetInstanceId=text("@c@k"), scheduledTime=stamp(9)
    )
    failed = pb.TaskFailureDetails(errorType="E", errorMessage="m")
    assert convert(
        event(0, entityLockRequested=pb.EntityLockRequestedEvent(criticalSectionId="cs", lockSet=["@c@k", "@d@k"])),
        event(entityLockGranted=pb.EntityLockGrantedEvent(criticalSectionId="cs")),
        event(1, entityOperationCalled=call),
        event(entityOperationCompleted=pb.EntityOperationCompletedEvent(requestId="r", output=text("2"))),
        event(2, entityOperationSignaled=signal),
        event(entityOperationFailed=pb.EntityOperationFailedEvent(requestId="?", failureDetails=failed)),
        event(3, entityUnlockSent=pb.EntityUnlockSentEvent(criticalSectionId="cs", targetInstanceId=text("@c@k"))),
    ) == [
        ev.EntityLockRequested(("@c@k", "@d@k")),
        ev.EntityLockGranted(1),
        ev.EntityOperationCalled("@c@k", "add", Raw(b"1")),
        ev.EntityOperationCompleted(3, Raw(b"2")),
        ev.EntityOperationSignaled("@c@k", "add", scheduled_time=T0 + timedelta(seconds=9)),
        ev.EntityOperationFailed(0, Failure("E", "m")),
        ev.EntityUnlockSent(1, entity="@c@k"),
    ]


def test_ends_and_interruptions() -> None:
    assert convert(
        event(executionSuspended=pb.ExecutionSuspendedEvent(input=text("lunch"))),
        event(executionResumed=pb.ExecutionResumedEvent(input=text('"back"'))),
        event(executionTerminated=pb.ExecutionTerminatedEvent(input=text('"no use"'))),
        event(executionRewound=pb.ExecutionRewoundEvent(reason=text("again"))),
        event(continueAsNew=pb.ContinueAsNewEvent(input=text("3"))),
        event(2, eventSent=pb.EventSentEvent(instanceId="b", name="Go", input=text("4"))),
        event(
            executionCompleted=pb.ExecutionCompletedEvent(
                orchestrationStatus=pb.ORCHESTRATION_STATUS_COMPLETED, result=text("5")
            )
        ),
    ) == [
        ev.ExecutionSuspended("lunch"),
        ev.ExecutionResumed("back"),
        ev.ExecutionTerminated("no use", output=Raw(b'"no use"')),
        ev.ExecutionRewound(0, "again"),
        ev.ContinueAsNew(Raw(b"3")),
        ev.EventSent("b", "Go", Raw(b"4")),
        ev.ExecutionCompleted("Completed", Raw(b"5")),
    ]
