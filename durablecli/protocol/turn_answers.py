"""The answer of a worker to a turn: its actions as decisions, in their order and with the worker's ids."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from durablecli.errors import UsageError
from durablecli.model import events as ev
from durablecli.model.entity_id import is_entity_id
from durablecli.model.ids import shorten_child_id
from durablecli.model.validation import check_one_line_name, check_operation_name, check_tags, check_version
from durablecli.protocol.answer_fields import (
    read_entity_id,
    read_failure,
    read_instance_id,
    read_request_id,
    read_time,
    read_version,
)
from durablecli.protocol.generated import pb
from durablecli.protocol.values import STATUS_NAMES, execution_id, field_payload, field_text
from durablecli.replay.critical_section import to_lock_order
from durablecli.replay.remote_work import TurnAnswer, TurnKey

_END_STATUSES = ("Completed", "Failed", "Terminated")


class _End(NamedTuple):
    """How a turn ended its execution, and the events that it carries over to the next one."""

    decision: ev.ContinueAsNew | ev.ExecutionCompleted
    carried: tuple[ev.EventRaised, ...] | None = None


def read_turn_answer(response: pb.OrchestratorResponse, key: TurnKey) -> TurnAnswer:
    """Return the decisions in a response; raises UsageError for what no orchestrator can decide.

    A worker that requires the history has decided nothing. The end of the execution is the last decision, wherever its
    action stands. A failed one has no `causes` yet.
    """
    if response.requiresHistory:
        return TurnAnswer(key, (), requires_history=True)
    decisions: list[ev.Decision] = []
    end: _End | None = None
    ids: set[int] = set()
    for action in response.actions:
        kind = action.WhichOneof("orchestratorActionType")
        if kind == "completeOrchestration":
            if end is not None:
                raise UsageError("an orchestrator can end only once in a turn")
            end = _read_end(action.completeOrchestration)
            continue
        decision = _read_decision(action, kind, key)
        if not isinstance(decision, ev.EntityUnlockSent):  # one for each entity, which may share an id
            if action.id in ids:
                raise UsageError(f"two actions of one turn have the id {action.id}")
            ids.add(action.id)
        decisions.append(decision)
    if end is not None:
        decisions.append(end.decision)
    status = field_payload(response, "customStatus") if response.HasField("customStatus") else None
    return TurnAnswer(key, tuple(decisions), status, None if end is None else end.carried)


def _read_decision(action: pb.OrchestratorAction, kind: str | None, key: TurnKey) -> ev.Decision:
    if kind is None:
        raise UsageError(f"action {action.id} has no type, or one that this version doesn't know")
    if action.id < 0 and kind != "sendEntityMessage":
        raise UsageError(f"the id of an action can't be negative: {action.id}")
    if kind == "sendEntityMessage":
        return _read_entity_message(action.sendEntityMessage, action.id)
    read = _ACTIONS.get(kind)
    if read is None:
        raise UsageError(f"an orchestrator can't use the action '{kind}' here")
    return read(getattr(action, kind), action.id, key)


# ── the end of an execution ──────────────────────────────────────────────────────────────────────────────────────────


def _read_end(action: pb.CompleteOrchestrationAction) -> _End:
    status = STATUS_NAMES.get(action.orchestrationStatus)
    if status == "ContinuedAsNew":
        carried = tuple(map(_read_carried_event, action.carryoverEvents))
        version = check_version(field_text(action, "newVersion"))
        return _End(ev.ContinueAsNew(field_payload(action, "result"), version=version), carried)
    if status not in _END_STATUSES:
        raise UsageError(f"an orchestrator can't end with the status {status or action.orchestrationStatus}")
    if status != "Failed":
        return _End(ev.ExecutionCompleted(status, result=field_payload(action, "result")))
    if action.HasField("failureDetails"):
        return _End(ev.ExecutionCompleted(status, failure=read_failure(action.failureDetails)))
    text = field_text(action, "result") or field_text(action, "details") or "the orchestrator has failed"
    failure = read_failure(pb.TaskFailureDetails(errorType="Error", errorMessage=text))
    return _End(ev.ExecutionCompleted(status, failure=failure))


def _read_carried_event(event: pb.HistoryEvent) -> ev.EventRaised:
    if not event.HasField("eventRaised"):
        kind = event.WhichOneof("eventType")
        raise UsageError(f"only events that were raised can be carried over to the next execution, not '{kind}'")
    raised = event.eventRaised
    return ev.EventRaised(check_one_line_name(raised.name, "an event"), field_payload(raised, "input"))


# ── tasks and events ─────────────────────────────────────────────────────────────────────────────────────────────────


def _read_task(action: pb.ScheduleTaskAction, id: int, _: TurnKey) -> ev.Decision:
    return ev.TaskScheduled(
        check_one_line_name(action.name, "an activity"),
        field_payload(action, "input"),
        id=id,
        version=read_version(action),
        tags=check_tags(dict(action.tags)),
    )


def _read_timer(action: pb.CreateTimerAction, id: int, _: TurnKey) -> ev.Decision:
    fire_at = read_time(action, "fireAt", "the time of a timer")
    if fire_at is None:
        raise UsageError("a timer needs a time")
    return ev.TimerCreated(fire_at, id=id)


def _read_child(action: pb.CreateSubOrchestrationAction, id: int, key: TurnKey) -> ev.Decision:
    chosen = shorten_child_id(action.instanceId, key.instance)
    return ev.SubOrchestrationInstanceCreated(
        check_one_line_name(action.name, "an orchestrator"),
        read_instance_id(chosen) if chosen else f"{execution_id(key.instance, key.execution)}:{id:04x}",
        field_payload(action, "input"),
        read_version(action),
        explicit=bool(chosen),
        id=id,
        tags=check_tags(dict(action.tags)),
    )


def _read_event(action: pb.SendEventAction, id: int, _: TurnKey) -> ev.Decision:
    target = action.instance.instanceId
    if is_entity_id(target):
        raise UsageError(
            f"an event can't be sent to the entity {target}: the worker has to send entity messages as such "
            "(in .NET, set ConvertOrchestrationEntityEvents)"
        )
    name = check_one_line_name(action.name, "an event")
    return ev.EventSent(read_instance_id(target), name, field_payload(action, "data"), id=id)


_ACTIONS: dict[str, Callable[[Any, int, TurnKey], ev.Decision]] = {
    "scheduleTask": _read_task,
    "createTimer": _read_timer,
    "createSubOrchestration": _read_child,
    "sendEvent": _read_event,
}


# ── entities ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _read_entity_message(action: pb.SendEntityMessageAction, id: int) -> ev.Decision:
    kind = action.WhichOneof("EntityMessageType")
    if kind is None:
        raise UsageError(f"action {id} has no entity message, or one that this version doesn't know")
    if id < 0 and kind != "entityUnlockSent":
        raise UsageError(f"the id of an action can't be negative: {id}")
    return _ENTITY_MESSAGES[kind](getattr(action, kind), id)


def _read_call(message: pb.EntityOperationCalledEvent, id: int) -> ev.Decision:
    return ev.EntityOperationCalled(
        read_entity_id(message.targetInstanceId.value),
        check_operation_name(message.operation),
        field_payload(message, "input"),
        id=id,
        request=read_request_id(message.requestId, "a call of an entity"),
        scheduled_time=read_time(message, "scheduledTime", "the time of a call"),
    )


def _read_signal(message: pb.EntityOperationSignaledEvent, id: int) -> ev.Decision:
    return ev.EntityOperationSignaled(
        read_entity_id(message.targetInstanceId.value),
        check_operation_name(message.operation),
        field_payload(message, "input"),
        read_time(message, "scheduledTime", "the time of a signal"),
        id=id,
        request=read_request_id(message.requestId, "a signal") if message.requestId else None,
    )


def _read_lock_request(message: pb.EntityLockRequestedEvent, id: int) -> ev.Decision:
    try:
        entities = to_lock_order(message.lockSet)
    except ValueError as error:
        raise UsageError(str(error)) from None
    request = read_request_id(message.criticalSectionId, "a critical section")
    return ev.EntityLockRequested(tuple(map(str, entities)), id=id, request=request)


def _read_unlock(message: pb.EntityUnlockSentEvent, id: int) -> ev.Decision:
    request = read_request_id(message.criticalSectionId, "a critical section")
    return ev.EntityUnlockSent(0, id=id, request=request, entity=read_entity_id(message.targetInstanceId.value))


_ENTITY_MESSAGES: dict[str, Callable[[Any, int], ev.Decision]] = {
    "entityOperationCalled": _read_call,
    "entityOperationSignaled": _read_signal,
    "entityLockRequested": _read_lock_request,
    "entityUnlockSent": _read_unlock,
}
