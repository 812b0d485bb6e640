"""Histories as clients read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec import Raw

from durablecli.model import events as ev
from durablecli.model.failures import Failure
from durablecli.model.trace_context import TraceContext
from durablecli.protocol.generated import pb
from durablecli.protocol.history_events import make_history
from durablecli.protocol.values import execution_id, to_datetime
from durablecli.replay.runtime_state import fold_history

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(second: int) -> datetime:
    return START + timedelta(seconds=second)


def history(*events: ev.AnyEvent) -> list[pb.HistoryEvent]:
    """The history of an execution whose records are a second apart from each other."""
    records = [ev.Record(n, at(n), event) for n, event in enumerate(events, 1)]
    return list(make_history(fold_history(records)))


def told(events: list[pb.HistoryEvent]) -> list[tuple[str | None, int, int]]:
    """Kind, id and second of each event."""
    seconds = [round((to_datetime(event.timestamp) - START).total_seconds()) for event in events]
    return [(each.WhichOneof("eventType"), each.eventId, second) for each, second in zip(events, seconds, strict=True)]


def test_the_decisions_of_local_code_have_their_numbers_as_ids() -> None:
    events = history(
        ev.ExecutionStarted("i", "1f", "o", Raw(b"5"), "2", tags={"k": "v"}),
        ev.TaskScheduled("a", Raw(b"[1]")),
        ev.EventAwaited("go"),
        ev.TimerCreated(at(60)),
        ev.TaskCompleted(2, Raw(b"7")),
        ev.TimerCanceled(4),
        ev.CustomStatusSet(Raw(b"1")),
        ev.SubOrchestrationInstanceCreated("c", "i:1", Raw(b"1"), "3"),
        ev.SubOrchestrationInstanceFailed(8, Failure("E", "no")),
        ev.ExecutionCompleted("Completed", Raw(b'"x"')),
    )
    assert told(events) == [
        ("orchestratorStarted", -1, 1),
        ("executionStarted", 0, 1),
        ("taskScheduled", 2, 2),
        ("timerCreated", 4, 4),
        ("orchestratorStarted", -1, 5),
        ("taskCompleted", -1, 5),
        ("subOrchestrationInstanceCreated", 8, 8),
        ("orchestratorStarted", -1, 9),
        ("subOrchestrationInstanceFailed", -1, 9),
        ("executionCompleted", -1, 10),
    ]
    started = events[1].executionStarted
    assert (started.name, started.version.value, started.input.value, dict(started.tags)) == ("o", "2", "5", {"k": "v"})
    assert started.orchestrationInstance.executionId.value == execution_id("i", "1f")
    assert not started.HasField("parentInstance")
    assert (events[2].taskScheduled.name, events[2].taskScheduled.input.value) == ("a", "[1]")
    assert not events[2].taskScheduled.HasField("version")
    assert (events[5].taskCompleted.taskScheduledId, events[5].taskCompleted.result.value) == (2, "7")
    assert events[8].subOrchestrationInstanceFailed.failureDetails.errorMessage == "no"
    assert events[9].executionCompleted.orchestrationStatus == pb.ORCHESTRATION_STATUS_COMPLETED
    assert events[9].executionCompleted.result.value == '"x"'


def test_messages_to_entities_of_local_code() -> None:
    events = history(
        ev.ExecutionStarted("i", "1", "o"),
        ev.EntityLockRequested(("@a@1", "@b@2")),
        ev.EntityLockGranted(2),
        ev.EntityOperationCalled("@a@1", "get"),
        ev.EntityOperationCompleted(4, Raw(b"3")),
        ev.EntityOperationSignaled("@c@1", "add", Raw(b"1"), at(99)),
        ev.EntityOperationCalled("@b@2", "get"),
        ev.EntityOperationFailed(7, Failure("E", "no")),
        ev.EntityUnlockSent(2),
    )
    kinds = [kind for kind, _, _ in told(events) if kind != "orchestratorStarted"]
    assert kinds == [
        "executionStarted",
        "entityLockRequested",
        "entityLockGranted",
        "entityOperationCalled",
        "entityOperationCompleted",
        "entityOperationSignaled",
        "entityOperationCalled",
        "entityOperationFailed",
        "entityUnlockSent",
        "entityUnlockSent",
    ]
    found = {each.WhichOneof("eventType"): each for each in events}
    called, failed = found["entityOperationCalled"], found["entityOperationFailed"]
    assert called.entityOperationCalled.requestId == failed.entityOperationFailed.requestId != ""
    assert called.entityOperationCalled.parentInstanceId.value == "i"
    requested = found["entityLockRequested"].entityLockRequested
    assert list(requested.lockSet) == ["@a@1", "@b@2"]
    assert requested.criticalSectionId == found["entityLockGranted"].entityLockGranted.criticalSectionId
    unlocks = [each.entityUnlockSent for each in events if each.HasField("entityUnlockSent")]
    assert [each.targetInstanceId.value for each in unlocks] == ["@a@1", "@b@2"]
    assert {each.criticalSectionId for each in unlocks} == {requested.criticalSectionId}


def test_arrivals_that_one_turn_applied_share_its_time() -> None:
    events = history(
        ev.ExecutionStarted("i", "1", "o", held=True),
        ev.EventRaised("a", held=True),
        ev.OrchestratorStarted(2, at(50)),
        ev.TaskScheduled("t", id=0),
        ev.TaskCompleted(4, held=True),
        ev.EventRaised("b", held=True),
        ev.OrchestratorStarted(5, at(60)),
        ev.TaskScheduled("t", id=0),
    )
    assert told(events) == [
        ("orchestratorStarted", -1, 50),
        ("executionStarted", 0, 1),
        ("eventRaised", -1, 2),
        ("taskScheduled", 0, 4),
        ("orchestratorStarted", -1, 60),
        ("taskCompleted", -1, 5),
        ("taskScheduled", 0, 8),
    ]
    assert events[5].taskCompleted.taskScheduledId == 0


def test_what_was_done_from_outside_is_told_in_its_place() -> None:
    events = history(
        ev.ExecutionStarted("i", "1", "o"),
        ev.TaskScheduled("t"),
        ev.ExecutionSuspended("wait"),
        ev.TaskCompleted(2, held=True),
        ev.ExecutionResumed("go"),
        ev.OrchestratorStarted(4),
        ev.TaskScheduled("t"),
        ev.ExecutionTerminated("stop", output=Raw(b'{"a":1}')),
        ev.ExecutionCompleted("Terminated", Raw(b'{"a":1}')),
    )
    kinds = [kind for kind, _, _ in told(events)]
    assert kinds == [
        "orchestratorStarted",
        "executionStarted",
        "taskScheduled",
        "executionSuspended",
        "executionResumed",
        "orchestratorStarted",
        "taskCompleted",
        "taskScheduled",
        "executionTerminated",
        "executionCompleted",
    ]
    assert (events[3].executionSuspended.input.value, events[4].executionResumed.input.value) == ("wait", "go")
    assert events[8].executionTerminated.input.value == '{"a":1}'
    assert events[9].executionCompleted.orchestrationStatus == pb.ORCHESTRATION_STATUS_TERMINATED


def test_an_instance_that_was_terminated_before_its_first_turn_has_a_history() -> None:
    events = history(
        ev.ExecutionStarted("i", "1", "o", start_at=at(99), held=True),
        ev.ExecutionTerminated("stop"),
        ev.ExecutionCompleted("Terminated", Raw(b'"stop"')),
    )
    kinds = [kind for kind, _, _ in told(events)]
    assert kinds == ["orchestratorStarted", "executionStarted", "executionTerminated", "executionCompleted"]
    assert events[2].executionTerminated.input.value == '"stop"'


def test_what_is_still_held_is_not_part_of_the_history() -> None:
    assert history(ev.ExecutionStarted("i", "1", "o", held=True)) == []


def test_a_rewound_history_has_neither_the_failure_nor_the_end() -> None:
    events = history(
        ev.ExecutionStarted("i", "1", "o"),
        ev.TaskScheduled("t"),
        ev.TaskFailed(2, Failure("E", "no")),
        ev.ExecutionCompleted("Failed", failure=Failure("E", "no"), causes=(3,)),
        ev.ExecutionRewound(3, "again", (3,), (4,)),
    )
    kinds = [kind for kind, _, _ in told(events)]
    assert kinds == ["orchestratorStarted", "executionStarted", "taskScheduled", "executionRewound"]
    assert events[3].executionRewound.reason.value == "again"


def test_the_next_execution_and_the_parent_are_told() -> None:
    trace = TraceContext(f"00-{'a' * 32}-{'b' * 16}-01", "x=y")
    start_at = at(0)
    events = history(
        ev.ExecutionStarted("i:1", "2", "o", parent=ev.Origin("i", "1", 7), start_at=start_at, trace=trace),
        ev.ContinueAsNew(Raw(b"9")),
    )
    started = events[1].executionStarted
    parent = started.parentInstance
    assert (parent.taskScheduledId, parent.orchestrationInstance.instanceId) == (7, "i")
    assert parent.orchestrationInstance.executionId.value == execution_id("i", "1")
    assert to_datetime(started.scheduledStartTimestamp) == start_at
    assert (started.parentTraceContext.spanID, started.parentTraceContext.traceState.value) == ("b" * 16, "x=y")
    assert events[2].continueAsNew.input.value == "9"


@pytest.mark.parametrize(("execution", "id"), [("1", 5), ("0", 2)])
def test_the_name_of_the_parent_and_the_id_of_its_call_are_told(execution: str, id: int) -> None:
    """The id is known as long as the parent is in the same execution."""
    parent = fold_history(
        [
            ev.Record(1, at(1), ev.ExecutionStarted("i", "1", "caller")),
            ev.Record(2, at(1), ev.SubOrchestrationInstanceCreated("o", "i:1", id=5)),
        ]
    )
    started = ev.ExecutionStarted("i:1", "2", "o", parent=ev.Origin("i", execution, 2))
    events = list(make_history(fold_history([ev.Record(1, at(2), started)]), parent))
    told_parent = events[1].executionStarted.parentInstance
    assert (told_parent.name.value, told_parent.taskScheduledId) == ("caller", id)


@pytest.mark.parametrize("payload", [b"null", b""])
def test_null_and_no_payload_are_left_unset(payload: bytes) -> None:
    events = history(
        ev.ExecutionStarted("i", "1", "o", Raw(payload)),
        ev.EventSent("x", "e", Raw(payload)),
        ev.ExecutionCompleted("Completed", Raw(payload)),
    )
    fields: list[Any] = [events[1].executionStarted, events[2].eventSent]
    assert not any(each.HasField("input") for each in fields)
    assert not events[3].executionCompleted.HasField("result")


def test_a_turn_in_the_commit_of_a_resume_follows_it() -> None:
    events: tuple[ev.AnyEvent, ...] = (
        ev.ExecutionStarted("i", "1", "o"),
        ev.EventRaised("e", held=True),
        ev.ExecutionSuspended("wait"),
        ev.ExecutionResumed("go"),
        ev.OrchestratorStarted(2),
        ev.TaskScheduled("t"),
    )
    records = [ev.Record(n, at(1), event) for n, event in enumerate(events, 1)]
    kinds = [kind for kind, _, _ in told(list(make_history(fold_history(records))))]
    assert kinds == [
        "orchestratorStarted",
        "executionStarted",
        "executionSuspended",
        "executionResumed",
        "orchestratorStarted",
        "eventRaised",
        "taskScheduled",
    ]


def test_a_termination_while_suspended_follows_a_turn_that_decided_nothing() -> None:
    events = history(
        ev.ExecutionStarted("i", "1f", "o"),
        ev.ExecutionSuspended("wait"),
        ev.ExecutionTerminated("stop"),
        ev.ExecutionCompleted("Terminated", Raw(b'"stop"')),
    )
    kinds = [event.WhichOneof("eventType") for event in events]
    assert kinds[:2] == ["orchestratorStarted", "executionStarted"]
    assert kinds[2:] == ["executionSuspended", "executionTerminated", "executionCompleted"]


def test_a_termination_follows_a_turn_that_decided_nothing() -> None:
    events = history(
        ev.ExecutionStarted("i", "1", "o"),
        ev.ExecutionTerminated("stop"),
        ev.ExecutionCompleted("Terminated", Raw(b'"stop"')),
    )
    kinds = [kind for kind, _, _ in told(events)]
    assert kinds == ["orchestratorStarted", "executionStarted", "executionTerminated", "executionCompleted"]
