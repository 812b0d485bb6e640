"""Records of one execution as events of the protocol: turns, single arrivals and single decisions.

The id of an event is the one that remote code gave its decision, or else the record's number. What the protocol has no
event for is left out: waits for events, canceled timers and custom statuses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec
from google.protobuf.wrappers_pb2 import StringValue
from msgspec import Raw

from durablecli.model import events as ev
from durablecli.model.trace_context import TraceContext
from durablecli.protocol.generated import pb
from durablecli.protocol.values import STATUSES, execution_id, make_failure, make_payload, make_text, make_time
from durablecli.replay.remote_work import ParentName
from durablecli.replay.runtime_state import Turn

NO_ID = -1
"""The id of an event that nothing refers to."""


class HistoryTranslator:
    """Translates the records of one execution, in their order.

    It remembers the decisions that it has translated, because their outcomes name the decision by its id. Those in
    `decisions`, by number, are known from the start.
    """

    def __init__(
        self,
        started: ev.ExecutionStarted,
        parent: ParentName | None = None,
        decisions: Mapping[int, ev.Decision] | None = None,
    ) -> None:
        self._started = started
        self._parent = parent
        self._decisions: dict[int, Any] = dict(decisions or {})

    def translate_turns(self, turns: Iterable[Turn]) -> Iterator[pb.HistoryEvent]:
        """Yield the events of turns. Arrivals that were applied together have one `orchestratorStarted`."""
        last: Turn | None = None
        for turn in turns:
            yield from self.translate_start(turn, last)
            for record in turn.decisions:
                yield from self.translate_decision(record)
            last = turn

    def translate_start(self, turn: Turn, last: Turn | None) -> Iterator[pb.HistoryEvent]:
        """Yield the arrival of a turn, after an `orchestratorStarted` unless it was applied together with the last."""
        if last is None or last.decisions or last.at != turn.at:
            yield make_orchestrator_started(turn.at)
        yield from self.translate_arrival(turn.arrival)

    def translate_arrival(self, record: ev.Record) -> Iterator[pb.HistoryEvent]:
        """Yield the event for an arrival; none for the outcome of a decision that isn't known."""
        make = _ARRIVALS.get(type(record.event))
        if make is not None and (fields := make(self, record.event)) is not None:
            first = isinstance(record.event, ev.ExecutionStarted)
            yield pb.HistoryEvent(eventId=0 if first else NO_ID, timestamp=make_time(record.at), **fields)

    def translate_decision(self, record: ev.Record) -> Iterator[pb.HistoryEvent]:
        """Yield the events for a decision."""
        event: Any = record.event
        self._decisions[record.n] = event
        if isinstance(event, ev.EntityUnlockSent):
            yield from self._make_unlocks(record, event)
            return
        make = _DECISIONS.get(type(event))
        if make is not None:
            id = self._find_id(record.n) if hasattr(event, "id") else NO_ID
            yield pb.HistoryEvent(eventId=id, timestamp=make_time(record.at), **make(self, record.n, event))

    # ── references ───────────────────────────────────────────────────────────────────────────────────────────────

    def _find_id(self, n: int) -> int:
        id: int | None = self._decisions[n].id
        return n if id is None else id

    def _find_request(self, n: int) -> str:
        return self._decisions[n].request or str(n)

    # ── arrivals ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _make_start(self, event: ev.ExecutionStarted) -> dict[str, Any]:
        started = pb.ExecutionStartedEvent(
            name=event.name,
            version=make_text(event.version),
            input=make_payload(event.input),
            orchestrationInstance=make_instance(event.instance, event.execution),
            parentInstance=self._make_parent(event.parent),
            scheduledStartTimestamp=make_time(event.start_at),
            parentTraceContext=make_trace(event.trace),
            tags=event.tags,
        )
        return {"executionStarted": started}

    def _make_parent(self, origin: ev.Origin | None) -> pb.ParentInstanceInfo | None:
        if origin is None:
            return None
        return pb.ParentInstanceInfo(
            taskScheduledId=self._parent.id if self._parent else origin.n,
            name=make_text(self._parent.name if self._parent else None),
            orchestrationInstance=make_instance(origin.instance, origin.execution),
        )

    def _make_outcome(self, event: Any) -> dict[str, Any] | None:
        """Return the fields of the outcome of an activity or a sub-orchestration."""
        if event.task not in self._decisions:
            return None
        field, kind = _OUTCOMES[type(event)]
        id = self._find_id(event.task)
        if hasattr(event, "failure"):
            return {field: kind(taskScheduledId=id, failureDetails=make_failure(event.failure))}
        return {field: kind(taskScheduledId=id, result=make_payload(event.result))}

    def _make_timer_fired(self, event: ev.TimerFired) -> dict[str, Any] | None:
        timer = self._decisions.get(event.timer)
        if timer is None:
            return None
        fired = pb.TimerFiredEvent(timerId=self._find_id(event.timer), fireAt=make_time(timer.fire_at))
        return {"timerFired": fired}

    def _make_event_raised(self, event: ev.EventRaised) -> dict[str, Any]:
        return {"eventRaised": pb.EventRaisedEvent(name=event.name, input=make_payload(event.input))}

    def _make_operation_completed(self, event: ev.EntityOperationCompleted) -> dict[str, Any] | None:
        if event.task not in self._decisions:
            return None
        request = self._find_request(event.task)
        completed = pb.EntityOperationCompletedEvent(requestId=request, output=make_payload(event.result))
        return {"entityOperationCompleted": completed}

    def _make_operation_failed(self, event: ev.EntityOperationFailed) -> dict[str, Any] | None:
        if event.task not in self._decisions:
            return None
        request = self._find_request(event.task)
        failed = pb.EntityOperationFailedEvent(requestId=request, failureDetails=make_failure(event.failure))
        return {"entityOperationFailed": failed}

    def _make_lock_granted(self, event: ev.EntityLockGranted) -> dict[str, Any] | None:
        if event.task not in self._decisions:
            return None
        granted = pb.EntityLockGrantedEvent(criticalSectionId=self._find_request(event.task))
        return {"entityLockGranted": granted}

    def _make_suspended(self, event: ev.ExecutionSuspended) -> dict[str, Any]:
        return {"executionSuspended": pb.ExecutionSuspendedEvent(input=make_text(event.reason or None))}

    def _make_resumed(self, event: ev.ExecutionResumed) -> dict[str, Any]:
        return {"executionResumed": pb.ExecutionResumedEvent(input=make_text(event.reason or None))}

    def _make_terminated(self, event: ev.ExecutionTerminated) -> dict[str, Any]:
        output = event.output or Raw(msgspec.json.encode(event.reason))
        return {"executionTerminated": pb.ExecutionTerminatedEvent(input=make_payload(output))}

    def _make_rewound(self, event: ev.ExecutionRewound) -> dict[str, Any]:
        return {"executionRewound": pb.ExecutionRewoundEvent(reason=make_text(event.reason or None))}

    # ── decisions ────────────────────────────────────────────────────────────────────────────────────────────────

    def _make_task(self, _: int, event: ev.TaskScheduled) -> dict[str, Any]:
        scheduled = pb.TaskScheduledEvent(
            name=event.name, version=make_text(event.version), input=make_payload(event.input), tags=event.tags
        )
        return {"taskScheduled": scheduled}

    def _make_timer(self, _: int, event: ev.TimerCreated) -> dict[str, Any]:
        return {"timerCreated": pb.TimerCreatedEvent(fireAt=make_time(event.fire_at))}

    def _make_child(self, _: int, event: ev.SubOrchestrationInstanceCreated) -> dict[str, Any]:
        created = pb.SubOrchestrationInstanceCreatedEvent(
            instanceId=event.instance,
            name=event.name,
            version=make_text(event.version),
            input=make_payload(event.input),
            tags=event.tags,
        )
        return {"subOrchestrationInstanceCreated": created}

    def _make_event_sent(self, _: int, event: ev.EventSent) -> dict[str, Any]:
        sent = pb.EventSentEvent(instanceId=event.instance, name=event.name, input=make_payload(event.input))
        return {"eventSent": sent}

    def _make_call(self, n: int, event: ev.EntityOperationCalled) -> dict[str, Any]:
        called = pb.EntityOperationCalledEvent(
            requestId=self._find_request(n),
            operation=event.name,
            scheduledTime=make_time(event.scheduled_time),
            input=make_payload(event.input),
            parentInstanceId=self._own_id,
            parentExecutionId=make_text(execution_id(self._started.instance, self._started.execution)),
            targetInstanceId=make_text(event.entity),
        )
        return {"entityOperationCalled": called}

    def _make_signal(self, n: int, event: ev.EntityOperationSignaled) -> dict[str, Any]:
        signaled = pb.EntityOperationSignaledEvent(
            requestId=self._find_request(n),
            operation=event.name,
            scheduledTime=make_time(event.scheduled_time),
            input=make_payload(event.input),
            targetInstanceId=make_text(event.entity),
        )
        return {"entityOperationSignaled": signaled}

    def _make_lock_request(self, n: int, event: ev.EntityLockRequested) -> dict[str, Any]:
        requested = pb.EntityLockRequestedEvent(
            criticalSectionId=self._find_request(n), lockSet=event.entities, parentInstanceId=self._own_id
        )
        return {"entityLockRequested": requested}

    def _make_unlocks(self, record: ev.Record, event: ev.EntityUnlockSent) -> Iterator[pb.HistoryEvent]:
        """Yield one event for each entity; remote code has recorded each of them by itself."""
        lock = self._decisions.get(event.lock)
        request = event.request or (self._find_request(event.lock) if lock is not None else "")
        entities = [event.entity] if event.entity else getattr(lock, "entities", ())
        for entity in entities:
            sent = pb.EntityUnlockSentEvent(
                criticalSectionId=request, parentInstanceId=self._own_id, targetInstanceId=make_text(entity)
            )
            yield pb.HistoryEvent(
                eventId=self._find_id(record.n), timestamp=make_time(record.at), entityUnlockSent=sent
            )

    def _make_continuation(self, _: int, event: ev.ContinueAsNew) -> dict[str, Any]:
        return {"continueAsNew": pb.ContinueAsNewEvent(input=make_payload(event.input))}

    def _make_completion(self, _: int, event: ev.ExecutionCompleted) -> dict[str, Any]:
        completed = pb.ExecutionCompletedEvent(
            orchestrationStatus=STATUSES[event.status],
            result=make_payload(event.result),
            failureDetails=make_failure(event.failure),
        )
        return {"executionCompleted": completed}

    @property
    def _own_id(self) -> StringValue:
        return StringValue(value=self._started.instance)


def make_orchestrator_started(at: datetime) -> pb.HistoryEvent:
    """Return the event that begins a turn, at the current time of the turn."""
    return pb.HistoryEvent(eventId=NO_ID, timestamp=make_time(at), orchestratorStarted=pb.OrchestratorStartedEvent())


def make_instance(instance: str, execution: str) -> pb.OrchestrationInstance:
    """Return an instance with its execution."""
    return pb.OrchestrationInstance(instanceId=instance, executionId=make_text(execution_id(instance, execution)))


def make_trace(trace: TraceContext | None) -> pb.TraceContext | None:
    """Return the parent of a span; None if there is none."""
    if trace is None:
        return None
    parts = trace.traceparent.split("-")
    return pb.TraceContext(
        traceParent=trace.traceparent,
        spanID=parts[2] if len(parts) > 2 else "",
        traceState=make_text(trace.tracestate or None),
    )


_OUTCOMES: dict[type, tuple[str, Any]] = {
    ev.TaskCompleted: ("taskCompleted", pb.TaskCompletedEvent),
    ev.TaskFailed: ("taskFailed", pb.TaskFailedEvent),
    ev.SubOrchestrationInstanceCompleted: (
        "subOrchestrationInstanceCompleted",
        pb.SubOrchestrationInstanceCompletedEvent,
    ),
    ev.SubOrchestrationInstanceFailed: ("subOrchestrationInstanceFailed", pb.SubOrchestrationInstanceFailedEvent),
}

_ARRIVALS: dict[type, Callable[[HistoryTranslator, Any], dict[str, Any] | None]] = {
    **dict.fromkeys(_OUTCOMES, HistoryTranslator._make_outcome),
    ev.ExecutionStarted: HistoryTranslator._make_start,
    ev.TimerFired: HistoryTranslator._make_timer_fired,
    ev.EventRaised: HistoryTranslator._make_event_raised,
    ev.EntityOperationCompleted: HistoryTranslator._make_operation_completed,
    ev.EntityOperationFailed: HistoryTranslator._make_operation_failed,
    ev.EntityLockGranted: HistoryTranslator._make_lock_granted,
    ev.ExecutionSuspended: HistoryTranslator._make_suspended,
    ev.ExecutionResumed: HistoryTranslator._make_resumed,
    ev.ExecutionTerminated: HistoryTranslator._make_terminated,
    ev.ExecutionRewound: HistoryTranslator._make_rewound,
}

_DECISIONS: dict[type, Callable[[HistoryTranslator, int, Any], dict[str, Any]]] = {
    ev.TaskScheduled: HistoryTranslator._make_task,
    ev.TimerCreated: HistoryTranslator._make_timer,
    ev.SubOrchestrationInstanceCreated: HistoryTranslator._make_child,
    ev.EventSent: HistoryTranslator._make_event_sent,
    ev.EntityOperationCalled: HistoryTranslator._make_call,
    ev.EntityOperationSignaled: HistoryTranslator._make_signal,
    ev.EntityLockRequested: HistoryTranslator._make_lock_request,
    ev.ContinueAsNew: HistoryTranslator._make_continuation,
    ev.ExecutionCompleted: HistoryTranslator._make_completion,
}
