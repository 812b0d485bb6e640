"""Answers of workers: what is read from them, and that what can't be read is refused in words."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import StringValue
from hypothesis import given, settings
from hypothesis import strategies as st

from durablecli.errors import UsageError
from durablecli.model import events as ev
from durablecli.protocol.activity_answers import read_activity_answer
from durablecli.protocol.entity_answers import read_entity_answer
from durablecli.protocol.generated import pb
from durablecli.protocol.turn_answers import read_turn_answer
from durablecli.protocol.values import execution_id
from durablecli.replay.remote_work import ActivityKey, EntityBatchKey, TurnAnswer, TurnKey

KEY = TurnKey("i", "1f", 1, 3, datetime(2026, 1, 2, tzinfo=UTC))


def text(value: str) -> StringValue:
    return StringValue(value=value)


def read(*actions: pb.OrchestratorAction, **fields: Any) -> TurnAnswer:
    return read_turn_answer(pb.OrchestratorResponse(actions=actions, **fields), KEY)


def message(**fields: Any) -> pb.OrchestratorAction:
    return pb.OrchestratorAction(id=1, sendEntityMessage=pb.SendEntityMessageAction(**fields))


def complete(status: Any, **fields: Any) -> pb.OrchestratorAction:
    end = pb.CompleteOrchestrationAction(orchestrationStatus=status, **fields)
    return pb.OrchestratorAction(id=-1, completeOrchestration=end)


def test_the_ids_of_the_worker_are_kept_and_0_is_one() -> None:
    answer = read(
        pb.OrchestratorAction(id=0, scheduleTask=pb.ScheduleTaskAction(name="a", version=text("2"), tags={"k": "v"})),
        pb.OrchestratorAction(id=1, createTimer=pb.CreateTimerAction(fireAt=Timestamp(seconds=1))),
    )
    assert answer.decisions == (
        ev.TaskScheduled("a", id=0, version="2", tags={"k": "v"}),
        ev.TimerCreated(datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), id=1),
    )
    assert answer.custom_status is None
    assert answer.carried is None


def test_the_id_of_a_child_that_the_worker_made_from_a_long_one_is_shortened() -> None:
    parent = "p" * 252
    answer = read_turn_answer(
        pb.OrchestratorResponse(actions=[create_child(f"{parent}:0001"), create_child(f"{parent}:0002", id=2)]),
        KEY._replace(instance=parent),
    )
    first, second = (decision.instance for decision in answer.decisions)  # type: ignore[union-attr]
    assert (len(first), first[-5:], second[-5:]) == (69, ":0001", ":0002")
    assert first[:-5] == second[:-5]
    with pytest.raises(UsageError, match="must not exceed 256 characters"):
        read(create_child("c" * 257))


def create_child(instance: str, id: int = 1) -> pb.OrchestratorAction:
    action = pb.CreateSubOrchestrationAction(name="c", instanceId=instance)
    return pb.OrchestratorAction(id=id, createSubOrchestration=action)


def test_a_child_without_an_id_is_named_after_the_execution() -> None:
    answer = read(pb.OrchestratorAction(id=17, createSubOrchestration=pb.CreateSubOrchestrationAction(name="c")))
    (child,) = answer.decisions
    assert child == ev.SubOrchestrationInstanceCreated("c", f"{execution_id('i', '1f')}:0011", id=17)
    assert len(execution_id("i", "1f")) == 32


def test_an_id_that_the_worker_gives_a_child_may_be_taken_by_others() -> None:
    created = pb.CreateSubOrchestrationAction(name="c", instanceId="x", version=text("1"), tags={"a": "b"})
    answer = read(pb.OrchestratorAction(id=1, createSubOrchestration=created))
    expected = ev.SubOrchestrationInstanceCreated("c", "x", version="1", explicit=True, id=1, tags={"a": "b"})
    assert answer.decisions == (expected,)


def test_entities_are_locked_in_the_order_that_all_code_uses() -> None:
    lock_set = ["@b@1", "@A@2", "@a@2", "@a-b@1"]
    request = pb.EntityLockRequestedEvent(criticalSectionId="s", lockSet=lock_set)
    unlocks = [
        pb.OrchestratorAction(
            id=5,
            sendEntityMessage=pb.SendEntityMessageAction(
                entityUnlockSent=pb.EntityUnlockSentEvent(criticalSectionId="s", targetInstanceId=text(entity))
            ),
        )
        for entity in ("@A@2", "@b@1")
    ]
    answer = read(message(entityLockRequested=request), *unlocks)
    assert answer.decisions == (
        ev.EntityLockRequested(("@a@2", "@a-b@1", "@b@1"), id=1, request="s"),
        ev.EntityUnlockSent(0, id=5, request="s", entity="@a@2"),
        ev.EntityUnlockSent(0, id=5, request="s", entity="@b@1"),
    )


def test_the_end_is_the_last_decision() -> None:
    answer = read(
        complete(pb.ORCHESTRATION_STATUS_COMPLETED, result=text("not JSON")),
        pb.OrchestratorAction(id=1, scheduleTask=pb.ScheduleTaskAction(name="a")),
        customStatus=text('"s"'),
    )
    assert [type(decision) for decision in answer.decisions] == [ev.TaskScheduled, ev.ExecutionCompleted]
    assert bytes(answer.decisions[1].result) == b'{"$text":"not JSON"}'  # type: ignore[union-attr]
    assert answer.custom_status is not None
    assert bytes(answer.custom_status) == b'"s"'


def test_the_next_execution_has_a_version_and_events() -> None:
    raised = pb.HistoryEvent(eventRaised=pb.EventRaisedEvent(name="Go", input=text("1")))
    answer = read(
        complete(
            pb.ORCHESTRATION_STATUS_CONTINUED_AS_NEW, result=text("5"), newVersion=text("2"), carryoverEvents=[raised]
        )
    )
    (decision,) = answer.decisions
    assert isinstance(decision, ev.ContinueAsNew)
    assert (bytes(decision.input), decision.save_events, decision.version) == (b"5", True, "2")
    assert answer.carried is not None
    assert [(event.name, bytes(event.input)) for event in answer.carried] == [("Go", b"1")]


def test_a_failure_without_details_has_a_text() -> None:
    (decision,) = read(complete(pb.ORCHESTRATION_STATUS_FAILED, result=text("oh"))).decisions
    assert isinstance(decision, ev.ExecutionCompleted)
    assert decision.failure is not None
    assert decision.failure.message == "oh"


def test_a_failure_is_limited_in_size() -> None:
    details = pb.TaskFailureDetails(errorType="a.B", errorMessage="x" * 1_000_000, isNonRetriable=True)
    for _ in range(60):
        details = pb.TaskFailureDetails(errorType="a.C", errorMessage="y" * 10_000, innerFailure=details)
    answer = read_activity_answer(pb.ActivityResponse(failureDetails=details), ActivityKey("i", "1", 2))
    links = []
    failure = answer.failure
    while failure is not None:
        links.append(failure)
        failure = failure.cause
    assert len(links) == 20
    assert (links[0].type, links[-1].type, links[-1].retryable) == ("a.C", "a.B", False)
    assert sum(len(link.message) for link in links) < 100_000


TASK = pb.ScheduleTaskAction(name="a")
CALL = pb.EntityOperationCalledEvent(requestId="r", operation="o", targetInstanceId=text("@a@b"))


def called(**fields: Any) -> pb.OrchestratorAction:
    call = pb.EntityOperationCalledEvent()
    call.CopyFrom(CALL)
    call.MergeFrom(pb.EntityOperationCalledEvent(**fields))
    return message(entityOperationCalled=call)


@pytest.mark.parametrize(
    ("actions", "reason"),
    [
        ([pb.OrchestratorAction(id=3)], "action 3 has no type"),
        ([pb.OrchestratorAction(id=-2, scheduleTask=TASK)], "can't be negative: -2"),
        ([pb.OrchestratorAction(id=1, scheduleTask=TASK)] * 2, "two actions of one turn have the id 1"),
        ([pb.OrchestratorAction(id=1, scheduleTask=pb.ScheduleTaskAction())], "the name of an activity must be"),
        ([pb.OrchestratorAction(id=1, scheduleTask=pb.ScheduleTaskAction(name="a\nb"))], "control characters"),
        ([pb.OrchestratorAction(id=1, scheduleTask=pb.ScheduleTaskAction(name="a" * 257))], "257 characters"),
        ([pb.OrchestratorAction(id=1, scheduleTask=pb.ScheduleTaskAction(name="a", tags={"": "x"}))], "key of a tag"),
        ([pb.OrchestratorAction(id=1, createTimer=pb.CreateTimerAction())], "a timer needs a time"),
        (
            [pb.OrchestratorAction(id=1, createTimer=pb.CreateTimerAction(fireAt=Timestamp(seconds=10**15)))],
            "the time of a timer must lie between",
        ),
        (
            [pb.OrchestratorAction(id=1, sendEvent=pb.SendEventAction(name="x"))],
            "ids must not be empty",
        ),
        (
            [
                pb.OrchestratorAction(
                    id=1,
                    sendEvent=pb.SendEventAction(name="op", instance=pb.OrchestrationInstance(instanceId="@a@b")),
                )
            ],
            "set ConvertOrchestrationEntityEvents",
        ),
        ([pb.OrchestratorAction(id=1, rewindOrchestration=pb.RewindOrchestrationAction())], "'rewindOrchestration'"),
        (
            [pb.OrchestratorAction(id=1, terminateOrchestration=pb.TerminateOrchestrationAction(instanceId="x"))],
            "'terminateOrchestration'",
        ),
        ([message()], "no entity message"),
        ([called(targetInstanceId=text("a"))], "name the entity as @name@key"),
        ([message(entityOperationCalled=pb.EntityOperationCalledEvent(targetInstanceId=text("@a@b")))], "a call of an"),
        ([message(entityLockRequested=pb.EntityLockRequestedEvent(criticalSectionId="s"))], "locks 1 to 100 entities"),
        ([complete(pb.ORCHESTRATION_STATUS_RUNNING)], "with the status Running"),
        ([complete(77)], "with the status 77"),
        ([complete(pb.ORCHESTRATION_STATUS_COMPLETED)] * 2, "only once"),
        (
            [complete(pb.ORCHESTRATION_STATUS_CONTINUED_AS_NEW, carryoverEvents=[pb.HistoryEvent()])],
            "can be carried over",
        ),
    ],
)
def test_what_no_orchestrator_can_decide_is_refused(actions: list[pb.OrchestratorAction], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        read(*actions)


def test_an_unknown_action_of_a_later_version_is_refused() -> None:
    with pytest.raises(UsageError, match="has no type, or one that this version doesn't know"):
        read(pb.OrchestratorAction.FromString(b"\x08\x01\xa2\x06\x00"))  # field 100


def test_results_of_entity_operations() -> None:
    key = EntityBatchKey("@a@b", "1", 3)
    result = pb.EntityBatchResult(
        results=[
            pb.OperationResult(success=pb.OperationResultSuccess(result=text(""))),
            pb.OperationResult(success=pb.OperationResultSuccess(result=text("1"))),
            pb.OperationResult(
                failure=pb.OperationResultFailure(failureDetails=pb.TaskFailureDetails(errorType="E", errorMessage="m"))
            ),
        ],
        actions=[
            pb.OperationAction(sendSignal=pb.SendSignalAction(instanceId="@C@k", name="op", input=text("2"))),
            pb.OperationAction(startNewOrchestration=pb.StartNewOrchestrationAction(name="o", version=text("1"))),
        ],
        entityState=text("null"),
    )
    answer = read_entity_answer(result, key)
    assert [bytes(each.result) for each in answer.results] == [b"null", b"1", b"null"]
    assert answer.results[2].failure is not None
    assert bytes(answer.state) == b'{"$text":"null"}'
    assert [(each.entity, each.name, bytes(each.input)) for each in answer.signals] == [("@c@k", "op", b"2")]
    assert answer.starts == (ev.EntityOperationStart("", "o", version="1"),)


@pytest.mark.parametrize(
    "result",
    [
        pb.EntityBatchResult(results=[pb.OperationResult()]),
        pb.EntityBatchResult(actions=[pb.OperationAction()]),
        pb.EntityBatchResult(actions=[pb.OperationAction(sendSignal=pb.SendSignalAction(instanceId="x", name="y"))]),
        pb.EntityBatchResult(actions=[pb.OperationAction(startNewOrchestration=pb.StartNewOrchestrationAction())]),
    ],
)
def test_a_result_that_says_nothing_is_refused(result: pb.EntityBatchResult) -> None:
    with pytest.raises(UsageError):
        read_entity_answer(result, EntityBatchKey("@a@b", "1", 3))


# ── any message at all ───────────────────────────────────────────────────────────────────────────────────────────────

ODD_TEXTS = st.sampled_from(
    ["", "x", "@a@b", "@", "@a@", "a/b", "\x00", "\n", "é", "x" * 300, "null", '{"$text":1}', "1"]
)


@st.composite
def messages(draw: st.DrawFn, kind: Any, depth: int = 0) -> Any:
    """Any message of a kind: each field is left out, or has an odd value."""
    found = kind()
    for field in kind.DESCRIPTOR.fields:
        nested = field.message_type
        if depth > 6 or draw(st.integers(0, 3 if depth > 1 else 1)) == 0:
            continue
        if nested is not None and nested.GetOptions().map_entry:
            entry = nested.fields_by_name["value"].message_type
            if entry is None:
                getattr(found, field.name)[draw(ODD_TEXTS)] = draw(ODD_TEXTS)
            else:
                getattr(found, field.name)[draw(ODD_TEXTS)].CopyFrom(draw(messages(entry._concrete_class, depth + 1)))
            continue
        value = _odd_value(draw, field) if nested is None else draw(messages(nested._concrete_class, depth + 1))
        if field.is_repeated:
            getattr(found, field.name).append(value)
        elif nested is None:
            setattr(found, field.name, value)
        else:
            getattr(found, field.name).CopyFrom(value)
    return found


def _odd_value(draw: st.DrawFn, field: Any) -> Any:
    kind = field.type
    if kind == field.TYPE_STRING:
        return draw(ODD_TEXTS)
    if kind == field.TYPE_BOOL:
        return draw(st.booleans())
    if kind in (field.TYPE_DOUBLE, field.TYPE_FLOAT):
        return draw(st.sampled_from([0.0, 1.5, float("nan"), float("inf"), 1e300]))
    if kind == field.TYPE_INT64:
        return draw(st.sampled_from([0, 1, -1, 2**62, -(2**62), 253402300799]))
    return draw(st.sampled_from([0, 1, -1, 2, 7, 99, 2**31 - 1, -(2**31)]))


def _refusal(read: Callable[[], object]) -> str:
    """Why an answer is refused; empty if it isn't."""
    try:
        read()
    except UsageError as error:
        return str(error) or "?"
    return ""


@settings(max_examples=400, deadline=None)
@given(response=messages(pb.OrchestratorResponse))
def test_any_response_is_read_or_refused_in_one_line(response: pb.OrchestratorResponse) -> None:
    assert _refusal(lambda: read_turn_answer(response, KEY)).isprintable()


@settings(max_examples=200, deadline=None)
@given(result=messages(pb.EntityBatchResult), response=messages(pb.ActivityResponse))
def test_any_result_is_read_or_refused_in_one_line(result: pb.EntityBatchResult, response: pb.ActivityResponse) -> None:
    assert _refusal(lambda: read_entity_answer(result, EntityBatchKey("@a@b", "1", 3))).isprintable()
    assert _refusal(lambda: read_activity_answer(response, ActivityKey("i", "1", 2))) == ""
