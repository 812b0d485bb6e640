"""One turn of an execution whose history another engine keeps: which actions answer which events."""

from __future__ import annotations

from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import durablecli as df
from durablecli.dts.turn_requests import TurnOutcome, TurnRequests
from durablecli.engine.watchdog import CurrentTurn
from durablecli.model.versions import VersionPolicy
from durablecli.protocol.generated import pb
from durablecli.protocol.values import make_text, make_time
from durablecli.protocol.work_items import CONTINUES_PROPERTY, SESSION_PROPERTY
from durablecli.testing import build_registry

START = datetime(2026, 1, 1, tzinfo=UTC)
Flow = Generator[Any, Any, Any]


@df.orchestrator
def steps(context: df.DurableOrchestrationContext) -> Flow:
    context.set_custom_status("begun")
    done = []
    for step in range(3):
        done.append((yield context.call_activity("step", step)))
    return done


@df.orchestrator
def sleeps(context: df.DurableOrchestrationContext) -> Flow:
    yield context.create_timer(timedelta(days=7))
    return context.current_utc_datetime.isoformat()


@df.orchestrator
def again(context: df.DurableOrchestrationContext) -> Flow:
    yield context.wait_for_external_event("Go")
    context.continue_as_new(1)


@df.orchestrator
def locks(context: df.DurableOrchestrationContext) -> Flow:
    with (yield context.lock_entities(["@a@1", "@b@2"])):
        pass
    yield context.call_activity("step")


def make_requests(*functions: Any, versions: VersionPolicy | None = None, **options: Any) -> TurnRequests:
    registry = build_registry(*(functions or (steps, sleeps, again, locks)))
    return TurnRequests(registry, versions or VersionPolicy(), 1 << 20, CurrentTurn(), **options)


def turn_start(minutes: float = 0) -> pb.HistoryEvent:
    at = make_time(START + timedelta(minutes=minutes))
    return pb.HistoryEvent(eventId=-1, timestamp=at, orchestratorStarted=pb.OrchestratorStartedEvent())


def start(name: str, version: str | None = None) -> list[pb.HistoryEvent]:
    instance = pb.OrchestrationInstance(instanceId="i", executionId=make_text("e"))
    started = pb.ExecutionStartedEvent(name=name, version=make_text(version), orchestrationInstance=instance)
    return [turn_start(), pb.HistoryEvent(eventId=-1, executionStarted=started)]


def scheduled(n: int, name: str = "step") -> pb.HistoryEvent:
    return pb.HistoryEvent(eventId=n, taskScheduled=pb.TaskScheduledEvent(name=name))


def completed(n: int, result: str) -> pb.HistoryEvent:
    event = pb.TaskCompletedEvent(taskScheduledId=n, result=make_text(result))
    return pb.HistoryEvent(eventId=-1, taskCompleted=event)


def raised(name: str) -> pb.HistoryEvent:
    return pb.HistoryEvent(eventId=-1, eventRaised=pb.EventRaisedEvent(name=name))


def run(requests: TurnRequests, past: list[pb.HistoryEvent], new: list[pb.HistoryEvent]) -> TurnOutcome:
    return requests.run(pb.OrchestratorRequest(instanceId="i", pastEvents=past, newEvents=new), "t")


def actions(outcome: TurnOutcome) -> list[tuple[int, str]]:
    assert outcome.response is not None, outcome.reason
    return [(each.id, each.WhichOneof("orchestratorActionType") or "") for each in outcome.response.actions]


def test_a_turn_answers_with_the_next_decision() -> None:
    requests = make_requests()
    assert actions(run(requests, [], start("steps"))) == [(1, "scheduleTask")]
    past = [*start("steps"), scheduled(1)]
    assert actions(run(requests, past, [turn_start(1), completed(1, "1")])) == [(2, "scheduleTask")]
    past += [turn_start(1), completed(1, "1"), scheduled(2), turn_start(2), completed(2, "2"), scheduled(3)]
    outcome = run(requests, past, [turn_start(3), completed(3, "3")])
    assert actions(outcome) == [(4, "completeOrchestration")]
    assert outcome.response is not None
    assert outcome.response.actions[0].completeOrchestration.result.value == "[1,2,3]"
    assert outcome.response.customStatus.value == '"begun"'


def test_an_ended_execution_that_is_sent_again_decides_nothing() -> None:
    ended = pb.ExecutionCompletedEvent(orchestrationStatus=pb.ORCHESTRATION_STATUS_COMPLETED)
    past = [*start("steps")]
    for n in (1, 2, 3):
        past += [scheduled(n), turn_start(n), completed(n, str(n))]
    past.append(pb.HistoryEvent(eventId=-1, executionCompleted=ended))
    outcome = run(make_requests(), past, [turn_start(9), raised("Late")])
    assert actions(outcome) == []
    assert outcome.response is not None
    assert outcome.response.customStatus.value == '"begun"'


def test_a_result_that_comes_twice_counts_once() -> None:
    past = [*start("steps"), scheduled(1)]
    assert actions(run(make_requests(), past, [turn_start(1), completed(1, "1"), completed(1, "1")])) == [
        (2, "scheduleTask")
    ]


def test_code_that_differs_from_the_history_gives_no_answer() -> None:
    past = [*start("steps"), scheduled(1, "other")]
    outcome = run(make_requests(), past, [turn_start(1), completed(1, "1")])
    assert outcome.response is None
    assert "non-deterministic" in outcome.reason


def test_code_that_differs_fails_the_instance_where_the_settings_say_so() -> None:
    past = [*start("steps"), scheduled(1, "other")]
    outcome = run(make_requests(fail_on_nondeterminism=True), past, [turn_start(1), completed(1, "1")])
    assert actions(outcome) == [(2, "completeOrchestration")]
    assert outcome.response is not None
    assert outcome.response.actions[0].completeOrchestration.failureDetails.errorType == "durablecli.NonDeterminism"


def test_an_orchestrator_that_is_not_loaded_gives_no_answer() -> None:
    outcome = run(make_requests(), [], start("unknown"))
    assert (outcome.response, outcome.reason) == (None, "orchestrator 'unknown' isn't loaded")


@pytest.mark.parametrize(
    ("match", "fails", "version", "answer"),
    [
        ("strict", False, "2.0", [(1, "scheduleTask")]),
        ("strict", False, "1.0", None),
        ("strict", True, "1.0", [(1, "completeOrchestration")]),
        ("current_or_older", False, "1.0", [(1, "scheduleTask")]),
        ("current_or_older", False, "3.0", None),
    ],
)
def test_the_version_policy_holds(match: str, fails: bool, version: str, answer: list[tuple[int, str]] | None) -> None:
    requests = make_requests(versions=VersionPolicy("2.0", match, fails))
    outcome = run(requests, [], start("steps", version))
    assert (None if outcome.response is None else actions(outcome)) == answer


def test_a_long_timer_is_set_again_until_it_is_due() -> None:
    requests = make_requests()
    outcome = run(requests, [], start("sleeps"))
    assert outcome.response is not None
    first = outcome.response.actions[0].createTimer.fireAt.ToDatetime(UTC)
    assert first == START + timedelta(days=3)
    past = [*start("sleeps"), pb.HistoryEvent(eventId=1, timerCreated=pb.TimerCreatedEvent(fireAt=make_time(first)))]
    for days, due in ((3, 6), (6, 7)):
        at = make_time(START + timedelta(days=days))
        fired = pb.HistoryEvent(eventId=-1, timerFired=pb.TimerFiredEvent(timerId=1, fireAt=at))
        new = [turn_start(days * 24 * 60), fired]
        outcome = run(requests, past, new)
        assert actions(outcome) == [(1, "createTimer")]
        assert outcome.response is not None
        fire_at = outcome.response.actions[0].createTimer.fireAt
        assert fire_at.ToDatetime(UTC) == START + timedelta(days=due)
        past += [*new, pb.HistoryEvent(eventId=1, timerCreated=pb.TimerCreatedEvent(fireAt=fire_at))]
    fired = pb.TimerFiredEvent(timerId=1, fireAt=make_time(START + timedelta(days=7)))
    outcome = run(requests, past, [turn_start(7 * 24 * 60), pb.HistoryEvent(eventId=-1, timerFired=fired)])
    assert actions(outcome) == [(2, "completeOrchestration")]


def test_events_after_a_continue_as_new_move_on() -> None:
    outcome = run(make_requests(), [], [*start("again"), raised("Go"), raised("Later"), raised("Last")])
    assert outcome.response is not None
    action = outcome.response.actions[0].completeOrchestration
    assert action.orchestrationStatus == pb.ORCHESTRATION_STATUS_CONTINUED_AS_NEW
    assert [each.eventRaised.name for each in action.carryoverEvents] == ["Later", "Last"]


def test_each_entity_that_is_unlocked_has_an_id_of_its_own() -> None:
    requests = make_requests()
    outcome = run(requests, [], start("locks"))
    assert outcome.response is not None
    request = outcome.response.actions[0].sendEntityMessage.entityLockRequested
    past = [*start("locks"), pb.HistoryEvent(eventId=1, entityLockRequested=request)]
    granted = pb.EntityLockGrantedEvent(criticalSectionId=request.criticalSectionId)
    outcome = run(requests, past, [turn_start(1), pb.HistoryEvent(eventId=-1, entityLockGranted=granted)])
    assert actions(outcome) == [(2, "sendEntityMessage"), (3, "sendEntityMessage"), (4, "scheduleTask")]


def test_what_is_terminated_while_it_is_suspended_ends() -> None:
    terminated = pb.ExecutionTerminatedEvent(input=make_text('"enough"'))
    suspended = pb.HistoryEvent(eventId=-1, executionSuspended=pb.ExecutionSuspendedEvent())
    past = [*start("steps"), scheduled(1), turn_start(1), suspended]
    assert actions(run(make_requests(), past, [turn_start(2), completed(1, "1")])) == []
    ended = pb.HistoryEvent(eventId=-1, executionTerminated=terminated)
    assert actions(run(make_requests(), past, [turn_start(2), ended])) == [(2, "completeOrchestration")]


# ── sessions ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def run_in_session(
    requests: TurnRequests, new: list[pb.HistoryEvent], token: str, before: str | None = None
) -> TurnOutcome:
    request = pb.OrchestratorRequest(instanceId="i", newEvents=new)
    request.properties[SESSION_PROPERTY].bool_value = True
    if before is not None:
        request.properties[CONTINUES_PROPERTY].string_value = before
    return requests.run(request, token)


def test_a_session_continues_with_the_new_events_only() -> None:
    requests = make_requests(sessions=10)
    assert actions(run_in_session(requests, start("steps"), "t1")) == [(1, "scheduleTask")]
    assert actions(run_in_session(requests, [turn_start(1), completed(1, "1")], "t2", "t1")) == [(2, "scheduleTask")]
    assert actions(run_in_session(requests, [turn_start(2), completed(2, "2")], "t3", "t2")) == [(3, "scheduleTask")]
    outcome = run_in_session(requests, [turn_start(3), completed(3, "3")], "t4", "t3")
    assert outcome.response is not None
    assert outcome.response.actions[0].completeOrchestration.result.value == "[1,2,3]"


def test_a_session_that_is_gone_requires_the_history() -> None:
    requests = make_requests(sessions=10)
    outcome = run_in_session(requests, [turn_start(1), completed(1, "1")], "t2", "t1")
    assert outcome.response is not None
    assert outcome.response.requiresHistory
    assert actions(outcome) == []


def test_a_session_of_another_turn_is_dropped() -> None:
    requests = make_requests(sessions=10)
    run_in_session(requests, start("steps"), "t1")
    outcome = run_in_session(requests, [turn_start(1), completed(1, "1")], "t3", "t2")
    assert outcome.response is not None
    assert outcome.response.requiresHistory


def test_the_oldest_session_gives_way() -> None:
    requests = make_requests(sessions=1)
    run_in_session(requests, start("steps"), "t1")
    request = pb.OrchestratorRequest(instanceId="j", newEvents=start("sleeps"))
    request.properties[SESSION_PROPERTY].bool_value = True
    requests.run(request, "t2")
    outcome = run_in_session(requests, [turn_start(1), completed(1, "1")], "t3", "t1")
    assert outcome.response is not None
    assert outcome.response.requiresHistory


def test_locks_are_granted_within_a_session() -> None:
    requests = make_requests(sessions=10)
    outcome = run_in_session(requests, start("locks"), "t1")
    assert outcome.response is not None
    section = outcome.response.actions[0].sendEntityMessage.entityLockRequested.criticalSectionId
    granted = pb.EntityLockGrantedEvent(criticalSectionId=section)
    new = [turn_start(1), pb.HistoryEvent(eventId=-1, entityLockGranted=granted)]
    assert actions(run_in_session(requests, new, "t2", "t1"))[-1] == (4, "scheduleTask")
