"""The history of an instance of another engine as records, for people to read.

Records are numbered in the order of the history. What an event refers to by an id or a request becomes the number of
its record. The beginnings and ends of turns, which say nothing to people, are left out. An event without a time of its
own has that of the one before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Raw

from durablecli.model import events as ev
from durablecli.model.boxed_text import from_text
from durablecli.model.payloads import to_displayable
from durablecli.protocol.generated import pb
from durablecli.protocol.values import STATUS_NAMES, field_text, field_time, to_datetime, to_failure

_UNKNOWN_TIME = datetime(1970, 1, 1, tzinfo=UTC)


def to_records(events: Iterable[pb.HistoryEvent], instance: str) -> list[ev.Record]:
    """Return the records of a history."""
    numbering = _Numbering(instance)
    for event in events:
        numbering.add(event)
    return numbering.records


class _Numbering:
    """Numbers the events of one history, and remembers which number each id and request has."""

    def __init__(self, instance: str) -> None:
        self.records: list[ev.Record] = []
        self._instance = instance
        self._numbers: dict[tuple[str, int | str], int] = {}
        self._last_time = _UNKNOWN_TIME

    def add(self, message: pb.HistoryEvent) -> None:
        kind = message.WhichOneof("eventType")
        convert = _CONVERTERS.get(kind or "")
        at = field_time(message, "timestamp")
        if at is not None and at != _UNKNOWN_TIME:
            self._last_time = at
        if convert is None:
            return
        n = len(self.records) + 1
        body = getattr(message, kind)
        self.records.append(ev.Record(n, self._last_time, convert(self, body)))
        # Ids repeat: some SDKs use that of a call again for its next attempt. The last one is meant.
        if kind in _DECISIONS:
            self._numbers[_DECISIONS[kind], message.eventId] = n
        elif kind in _REQUESTS:
            self._numbers["request", getattr(body, _REQUESTS[kind])] = n

    def find(self, kind: str, key: int | str) -> int:
        """Return the number of the decision that an outcome names; 0 if it isn't in this history."""
        return self._numbers.get((kind, key), 0)

    # ── one method a kind ──────────────────────────────────────────────────────────────────────────────────────

    def execution_started(self, body: pb.ExecutionStartedEvent) -> ev.ExecutionStarted:
        parent = None
        if body.HasField("parentInstance"):
            origin = body.parentInstance.orchestrationInstance
            parent = ev.Origin(origin.instanceId, origin.executionId.value, body.parentInstance.taskScheduledId)
        return ev.ExecutionStarted(
            body.orchestrationInstance.instanceId or self._instance,
            body.orchestrationInstance.executionId.value,
            body.name,
            _read_payload(body, "input"),
            body.version.value or None,
            parent,
            field_time(body, "scheduledStartTimestamp"),
            tags=dict(body.tags),
        )

    def execution_completed(self, body: pb.ExecutionCompletedEvent) -> ev.ExecutionCompleted:
        failed = body.HasField("failureDetails")
        return ev.ExecutionCompleted(
            STATUS_NAMES.get(body.orchestrationStatus, "Unknown"),
            ev.ABSENT if failed else _read_payload(body, "result"),
            to_failure(body.failureDetails) if failed else None,
        )

    def task_completed(self, body: pb.TaskCompletedEvent) -> ev.TaskCompleted:
        return ev.TaskCompleted(self.find("task", body.taskScheduledId), _read_payload(body, "result"))

    def task_failed(self, body: pb.TaskFailedEvent) -> ev.TaskFailed:
        return ev.TaskFailed(self.find("task", body.taskScheduledId), to_failure(body.failureDetails))

    def child_created(self, body: pb.SubOrchestrationInstanceCreatedEvent) -> ev.SubOrchestrationInstanceCreated:
        version, tags = body.version.value or None, dict(body.tags)
        return ev.SubOrchestrationInstanceCreated(
            body.name, body.instanceId, _read_payload(body, "input"), version, tags=tags
        )

    def child_completed(self, body: pb.SubOrchestrationInstanceCompletedEvent) -> ev.SubOrchestrationInstanceCompleted:
        task = self.find("child", body.taskScheduledId)
        return ev.SubOrchestrationInstanceCompleted(task, _read_payload(body, "result"))

    def child_failed(self, body: pb.SubOrchestrationInstanceFailedEvent) -> ev.SubOrchestrationInstanceFailed:
        task = self.find("child", body.taskScheduledId)
        return ev.SubOrchestrationInstanceFailed(task, to_failure(body.failureDetails))

    def timer_fired(self, body: pb.TimerFiredEvent) -> ev.TimerFired:
        return ev.TimerFired(self.find("timer", body.timerId))

    def operation_completed(self, body: pb.EntityOperationCompletedEvent) -> ev.EntityOperationCompleted:
        return ev.EntityOperationCompleted(self.find("request", body.requestId), _read_payload(body, "output"))

    def operation_failed(self, body: pb.EntityOperationFailedEvent) -> ev.EntityOperationFailed:
        return ev.EntityOperationFailed(self.find("request", body.requestId), to_failure(body.failureDetails))

    def lock_granted(self, body: pb.EntityLockGrantedEvent) -> ev.EntityLockGranted:
        return ev.EntityLockGranted(self.find("request", body.criticalSectionId))

    def unlock_sent(self, body: pb.EntityUnlockSentEvent) -> ev.EntityUnlockSent:
        return ev.EntityUnlockSent(
            self.find("request", body.criticalSectionId), entity=field_text(body, "targetInstanceId")
        )


def _read_payload(body: Any, field: str) -> Raw:
    """Return a payload as people see it; null for an empty text too, which some engines write for none."""
    return to_displayable(from_text(field_text(body, field) or None))


def _read_reason(body: Any, field: str = "input") -> str:
    """Return the reason in a field, which some SDKs write as JSON and others as it is."""
    text = field_text(body, field) or ""
    try:
        return msgspec.json.decode(text, type=str)
    except msgspec.MsgspecError:
        return text


def _make_task(_: _Numbering, body: pb.TaskScheduledEvent) -> ev.TaskScheduled:
    return ev.TaskScheduled(
        body.name, _read_payload(body, "input"), version=body.version.value or None, tags=dict(body.tags)
    )


def _make_lock_request(_: _Numbering, body: pb.EntityLockRequestedEvent) -> ev.EntityLockRequested:
    return ev.EntityLockRequested(tuple(body.lockSet))


def _make_call(_: _Numbering, body: pb.EntityOperationCalledEvent) -> ev.EntityOperationCalled:
    return ev.EntityOperationCalled(body.targetInstanceId.value, body.operation, _read_payload(body, "input"))


def _make_signal(_: _Numbering, body: pb.EntityOperationSignaledEvent) -> ev.EntityOperationSignaled:
    due = field_time(body, "scheduledTime")
    return ev.EntityOperationSignaled(body.targetInstanceId.value, body.operation, _read_payload(body, "input"), due)


def _make_termination(_: _Numbering, body: pb.ExecutionTerminatedEvent) -> ev.ExecutionTerminated:
    return ev.ExecutionTerminated(_read_reason(body), output=_read_payload(body, "input"))


_CONVERTERS: dict[str, Callable[[_Numbering, Any], ev.AnyEvent]] = {
    "executionStarted": _Numbering.execution_started,
    "executionCompleted": _Numbering.execution_completed,
    "executionTerminated": _make_termination,
    "executionSuspended": lambda _, body: ev.ExecutionSuspended(_read_reason(body)),
    "executionResumed": lambda _, body: ev.ExecutionResumed(_read_reason(body)),
    "executionRewound": lambda _, body: ev.ExecutionRewound(0, _read_reason(body, "reason")),
    "taskScheduled": _make_task,
    "taskCompleted": _Numbering.task_completed,
    "taskFailed": _Numbering.task_failed,
    "subOrchestrationInstanceCreated": _Numbering.child_created,
    "subOrchestrationInstanceCompleted": _Numbering.child_completed,
    "subOrchestrationInstanceFailed": _Numbering.child_failed,
    "timerCreated": lambda _, body: ev.TimerCreated(to_datetime(body.fireAt)),
    "timerFired": _Numbering.timer_fired,
    "eventSent": lambda _, body: ev.EventSent(body.instanceId, body.name, _read_payload(body, "input")),
    "eventRaised": lambda _, body: ev.EventRaised(body.name, _read_payload(body, "input")),
    "continueAsNew": lambda _, body: ev.ContinueAsNew(_read_payload(body, "input")),
    "entityOperationCalled": _make_call,
    "entityOperationSignaled": _make_signal,
    "entityOperationCompleted": _Numbering.operation_completed,
    "entityOperationFailed": _Numbering.operation_failed,
    "entityLockRequested": _make_lock_request,
    "entityLockGranted": _Numbering.lock_granted,
    "entityUnlockSent": _Numbering.unlock_sent,
}
_DECISIONS = {"taskScheduled": "task", "subOrchestrationInstanceCreated": "child", "timerCreated": "timer"}
_REQUESTS = {"entityOperationCalled": "requestId", "entityLockRequested": "criticalSectionId"}
