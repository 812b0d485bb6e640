"""Our decisions as actions of the protocol."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from durablecli.model import events as ev
from durablecli.protocol.generated import pb
from durablecli.protocol.values import STATUSES, make_failure, make_payload, make_text, make_time

ATTEMPT_TAG = "durablecli.attempt"
"""The number of an attempt of a call with a retry policy, from 2 on."""
FIRST_ATTEMPT_TAG = "durablecli.first-attempt"
"""The id of the first attempt: it identifies the call over all attempts."""
LABEL_TAG = "durablecli.name"
"""The name that an orchestrator gives to a call."""
MAX_TIMER = timedelta(days=3)
"""The longest timer that engines take. A longer one is set again each time that it fires."""
_REQUESTS = uuid.UUID("c62aa1c5-1ddd-4dfc-94ab-a02c0b2ba4bd")


class ActionSource(NamedTuple):
    """The execution whose decisions are translated.

    `locked_entities` has the entities of a request for locks; `carried` are the events that move on with a
    continue_as_new.
    """

    started: ev.ExecutionStarted
    locked_entities: Callable[[int], Sequence[str]]
    carried: Sequence[ev.EventRaised] = ()

    def request_id(self, n: int) -> str:
        """The id of a request to an entity. It is the same whenever the decision is made again."""
        return str(uuid.uuid5(_REQUESTS, f"{self.started.instance}/{self.started.execution}/{n}"))


def make_actions(records: Iterable[ev.Record], source: ActionSource) -> Iterator[pb.OrchestratorAction]:
    """Yield the actions for decisions, in their order. The id of an action is the number of the decision."""
    for record in records:
        make = _MAKERS[type(record.event)]
        for offset, fields in enumerate(make(record, record.event, source)):
            yield pb.OrchestratorAction(id=record.n + offset, **fields)


def make_timer_action(n: int, fire_at: datetime, now: datetime) -> pb.OrchestratorAction:
    """Return the action that sets a timer, for a part of its time if it is a long one."""
    return pb.OrchestratorAction(
        id=n, createTimer=pb.CreateTimerAction(fireAt=make_time(min(fire_at, now + MAX_TIMER)))
    )


def make_termination(n: int, event: ev.ExecutionTerminated) -> pb.OrchestratorAction:
    """Return the action that ends an execution which was terminated."""
    action = pb.CompleteOrchestrationAction(
        orchestrationStatus=STATUSES["Terminated"], result=make_payload(event.output)
    )
    return pb.OrchestratorAction(id=n, completeOrchestration=action)


_Fields = dict[str, Any]


def _schedule_task(record: ev.Record, event: ev.TaskScheduled, source: ActionSource) -> Iterator[_Fields]:
    tags = {LABEL_TAG: event.label} if event.label else {}
    if event.retry_of is not None:
        tags |= {ATTEMPT_TAG: str(event.attempt), FIRST_ATTEMPT_TAG: str(event.retry_of)}
    yield {"scheduleTask": pb.ScheduleTaskAction(name=event.name, input=make_payload(event.input), tags=tags)}


def _create_timer(record: ev.Record, event: ev.TimerCreated, source: ActionSource) -> Iterator[_Fields]:
    yield {"createTimer": make_timer_action(record.n, event.fire_at, record.at).createTimer}


def _create_child(
    record: ev.Record, event: ev.SubOrchestrationInstanceCreated, source: ActionSource
) -> Iterator[_Fields]:
    yield {
        "createSubOrchestration": pb.CreateSubOrchestrationAction(
            instanceId=event.instance,
            name=event.name,
            input=make_payload(event.input),
            version=make_text(event.version),
            tags={LABEL_TAG: event.label} if event.label else {},
        )
    }


def _send_event(record: ev.Record, event: ev.EventSent, source: ActionSource) -> Iterator[_Fields]:
    target = pb.OrchestrationInstance(instanceId=event.instance)
    yield {"sendEvent": pb.SendEventAction(instance=target, name=event.name, data=make_payload(event.input))}


def _call_entity(record: ev.Record, event: ev.EntityOperationCalled, source: ActionSource) -> Iterator[_Fields]:
    called = pb.EntityOperationCalledEvent(
        requestId=source.request_id(record.n),
        operation=event.name,
        input=make_payload(event.input),
        parentInstanceId=make_text(source.started.instance),
        parentExecutionId=make_text(source.started.execution),
        targetInstanceId=make_text(event.entity),
    )
    yield {"sendEntityMessage": pb.SendEntityMessageAction(entityOperationCalled=called)}


def _signal_entity(record: ev.Record, event: ev.EntityOperationSignaled, source: ActionSource) -> Iterator[_Fields]:
    signaled = pb.EntityOperationSignaledEvent(
        requestId=source.request_id(record.n),
        operation=event.name,
        input=make_payload(event.input),
        targetInstanceId=make_text(event.entity),
        scheduledTime=make_time(event.scheduled_time),
    )
    yield {"sendEntityMessage": pb.SendEntityMessageAction(entityOperationSignaled=signaled)}


def _request_locks(record: ev.Record, event: ev.EntityLockRequested, source: ActionSource) -> Iterator[_Fields]:
    requested = pb.EntityLockRequestedEvent(
        criticalSectionId=source.request_id(record.n),
        lockSet=event.entities,
        position=0,
        parentInstanceId=make_text(source.started.instance),
    )
    yield {"sendEntityMessage": pb.SendEntityMessageAction(entityLockRequested=requested)}


def _release_locks(record: ev.Record, event: ev.EntityUnlockSent, source: ActionSource) -> Iterator[_Fields]:
    for entity in source.locked_entities(event.lock):
        sent = pb.EntityUnlockSentEvent(
            criticalSectionId=source.request_id(event.lock),
            parentInstanceId=make_text(source.started.instance),
            targetInstanceId=make_text(entity),
        )
        yield {"sendEntityMessage": pb.SendEntityMessageAction(entityUnlockSent=sent)}


def _continue_as_new(record: ev.Record, event: ev.ContinueAsNew, source: ActionSource) -> Iterator[_Fields]:
    action = pb.CompleteOrchestrationAction(
        orchestrationStatus=STATUSES["ContinuedAsNew"],
        result=make_payload(event.input),
        newVersion=make_text(event.version),
    )
    for carried in source.carried:
        raised = pb.EventRaisedEvent(name=carried.name, input=make_payload(carried.input))
        action.carryoverEvents.add(eventId=-1, timestamp=make_time(record.at), eventRaised=raised)
    yield {"completeOrchestration": action}


def _complete(record: ev.Record, event: ev.ExecutionCompleted, source: ActionSource) -> Iterator[_Fields]:
    action = pb.CompleteOrchestrationAction(
        orchestrationStatus=STATUSES[event.status],
        result=make_payload(event.result),
        failureDetails=make_failure(event.failure),
    )
    yield {"completeOrchestration": action}


_MAKERS: dict[type, Callable[[ev.Record, Any, ActionSource], Iterator[_Fields]]] = {
    ev.TaskScheduled: _schedule_task,
    ev.TimerCreated: _create_timer,
    ev.SubOrchestrationInstanceCreated: _create_child,
    ev.EventSent: _send_event,
    ev.EntityOperationCalled: _call_entity,
    ev.EntityOperationSignaled: _signal_entity,
    ev.EntityLockRequested: _request_locks,
    ev.EntityUnlockSent: _release_locks,
    ev.ContinueAsNew: _continue_as_new,
    ev.ExecutionCompleted: _complete,
}
