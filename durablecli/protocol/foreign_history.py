"""Reads the history that another engine keeps of an execution: its events as arrivals and decisions of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from durablecli.model import events as ev
from durablecli.model.boxed_text import from_text
from durablecli.protocol.generated import pb
from durablecli.protocol.values import (
    STATUS_NAMES,
    field_payload_or_null,
    field_text,
    field_time,
    to_datetime,
    to_failure,
)

REPEAT_TAG = "durablecli.repeat"
"""On a rewind: the ids of the calls that are made once more."""
LAST_ID_TAG = "durablecli.last-id"
"""On a rewind: the highest id before it, so that none is used twice."""
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)


class ForeignArrival(NamedTuple):
    """One arrival, the time of its turn, and for a timer the time for which the engine had set it."""

    record: ev.Record
    at: datetime
    fire_at: datetime | None = None


class ForeignHistory:
    """Reads the events of one execution in their order, all at once or bit by bit.

    `decisions` are those read so far; `last_id` is the highest id of an event, and `time` that of the last turn.
    `ended` is the status of an execution that has ended. `is_rewound` says that it is to be rewound, or was and has
    taken no turn since; `repeated` are then the calls to make once more.
    """

    def __init__(self, instance: str) -> None:
        self.instance = instance
        self.started: ev.ExecutionStarted | None = None
        self.decisions: list[ev.Record] = []
        self.last_id = 0
        self.ended: str | None = None
        self.is_rewound = False
        self.repeated: tuple[int, ...] = ()
        self.event_count = 0
        self._began: datetime | None = None
        self.time = _EARLIEST
        self._arrivals: list[ForeignArrival] = []
        self._ids: set[int] = set()
        self._calls: dict[str, int] = {}
        self._locks: dict[str, int] = {}
        self._released: set[str] = set()

    def read(self, events: Iterable[pb.HistoryEvent]) -> list[ForeignArrival]:
        """Read the next events, and return the arrivals among them."""
        self._arrivals = []
        for event in events:
            self.event_count += 1
            kind = event.WhichOneof("eventType")
            if (read := _READERS.get(kind)) is not None:
                read(self, event, getattr(event, kind))
        return self._arrivals

    def add_request(self, request: str, record: ev.Record) -> None:
        """Note the id of a request to entities that the next events don't repeat."""
        requests = self._calls if isinstance(record.event, ev.EntityOperationCalled) else self._locks
        requests[request] = record.n

    # ── arrivals ───────────────────────────────────────────────────────────────────────────────────────────────

    def _arrive(self, event: ev.AnyEvent, fire_at: datetime | None = None) -> None:
        self._arrivals.append(ForeignArrival(ev.Record(self.event_count, self.time, event), self.time, fire_at))

    def _read_turn_start(self, event: pb.HistoryEvent, body: Any) -> None:
        self.time = max(self.time, to_datetime(event.timestamp))
        self.is_rewound = False

    @property
    def began(self) -> datetime:
        """The time of the first turn."""
        return self._began or self.time

    def _read_start(self, event: pb.HistoryEvent, body: pb.ExecutionStartedEvent) -> None:
        execution = body.orchestrationInstance.executionId.value
        parent = _read_parent(body) if body.HasField("parentInstance") else None
        if not execution:  # an engine that tells none tells no parents either; ids of ours end in EXECUTION:NUMBER
            execution = f"{int(self.time.timestamp() * 1_000_000):x}"
            parent = parent or _guess_parent(self.instance)
        self.started = ev.ExecutionStarted(
            self.instance,
            execution,
            body.name,
            field_payload_or_null(body, "input"),
            body.version.value or None,
            parent,
            field_time(body, "scheduledStartTimestamp"),
            tags=dict(body.tags),
        )
        self._began = self.time
        self._arrive(self.started)

    def _read_task_completed(self, event: pb.HistoryEvent, body: Any) -> None:
        self._arrive(ev.TaskCompleted(body.taskScheduledId, field_payload_or_null(body, "result")))

    def _read_task_failed(self, event: pb.HistoryEvent, body: Any) -> None:
        self._arrive(ev.TaskFailed(body.taskScheduledId, to_failure(body.failureDetails)))

    def _read_child_completed(self, event: pb.HistoryEvent, body: Any) -> None:
        self._arrive(ev.SubOrchestrationInstanceCompleted(body.taskScheduledId, field_payload_or_null(body, "result")))

    def _read_child_failed(self, event: pb.HistoryEvent, body: Any) -> None:
        self._arrive(ev.SubOrchestrationInstanceFailed(body.taskScheduledId, to_failure(body.failureDetails)))

    def _read_timer_fired(self, event: pb.HistoryEvent, body: Any) -> None:
        self._arrive(ev.TimerFired(body.timerId), field_time(body, "fireAt"))

    def _read_event(self, event: pb.HistoryEvent, body: Any) -> None:
        self._arrive(ev.EventRaised(body.name, field_payload_or_null(body, "input")))

    def _read_operation_completed(self, event: pb.HistoryEvent, body: Any) -> None:
        if (call := self._calls.get(body.requestId)) is not None:
            self._arrive(ev.EntityOperationCompleted(call, field_payload_or_null(body, "output")))

    def _read_operation_failed(self, event: pb.HistoryEvent, body: Any) -> None:
        if (call := self._calls.get(body.requestId)) is not None:
            self._arrive(ev.EntityOperationFailed(call, to_failure(body.failureDetails)))

    def _read_lock_granted(self, event: pb.HistoryEvent, body: Any) -> None:
        if (lock := self._locks.get(body.criticalSectionId)) is not None:
            self._arrive(ev.EntityLockGranted(lock))

    def _read_terminated(self, event: pb.HistoryEvent, body: Any) -> None:
        self._arrive(ev.ExecutionTerminated(output=from_text(field_text(body, "input"))))

    def _read_suspended(self, event: pb.HistoryEvent, body: Any) -> None:
        self._arrive(ev.ExecutionSuspended(body.input.value))

    def _read_resumed(self, event: pb.HistoryEvent, body: Any) -> None:
        self._arrive(ev.ExecutionResumed(body.input.value))

    def _read_rewound(self, event: pb.HistoryEvent, body: Any) -> None:
        self.is_rewound = True
        self.repeated = tuple(int(n) for n in body.tags.get(REPEAT_TAG, "").split(",") if n.isdigit())
        last_id = body.tags.get(LAST_ID_TAG, "")
        self.last_id = max(self.last_id, int(last_id) if last_id.isdigit() else 0)

    # ── decisions ──────────────────────────────────────────────────────────────────────────────────────────────

    def _decide(self, event: pb.HistoryEvent, decision: ev.Decision) -> bool:
        """Take a decision, unless it was read before: one that was repeated has the same id."""
        self.last_id = max(self.last_id, event.eventId)
        if event.eventId in self._ids:
            return False
        self._ids.add(event.eventId)
        self.decisions.append(ev.Record(event.eventId, self.time, decision))
        return True

    def _read_scheduled(self, event: pb.HistoryEvent, body: Any) -> None:
        self._decide(event, ev.TaskScheduled(body.name))

    def _read_timer_created(self, event: pb.HistoryEvent, body: Any) -> None:
        self._decide(event, ev.TimerCreated(to_datetime(body.fireAt)))

    def _read_child_created(self, event: pb.HistoryEvent, body: Any) -> None:
        self._decide(event, ev.SubOrchestrationInstanceCreated(body.name, body.instanceId))

    def _read_event_sent(self, event: pb.HistoryEvent, body: Any) -> None:
        self._decide(event, ev.EventSent(body.instanceId, body.name))

    def _read_operation_called(self, event: pb.HistoryEvent, body: Any) -> None:
        self._calls[body.requestId] = event.eventId
        self._decide(event, ev.EntityOperationCalled(body.targetInstanceId.value, body.operation))

    def _read_operation_signaled(self, event: pb.HistoryEvent, body: Any) -> None:
        self._decide(event, ev.EntityOperationSignaled(body.targetInstanceId.value, body.operation))

    def _read_lock_requested(self, event: pb.HistoryEvent, body: Any) -> None:
        self._locks[body.criticalSectionId] = event.eventId
        self._decide(event, ev.EntityLockRequested(tuple(body.lockSet)))

    def _read_unlock(self, event: pb.HistoryEvent, body: Any) -> None:
        """The first entity that is released releases all of them."""
        self.last_id = max(self.last_id, event.eventId)
        section = body.criticalSectionId
        if section not in self._released:
            self._released.add(section)
            self._decide(event, ev.EntityUnlockSent(self._locks.get(section, 0)))

    def _read_end(self, event: pb.HistoryEvent, body: Any) -> None:
        self.ended = STATUS_NAMES.get(body.orchestrationStatus, "Completed")


def _read_parent(body: pb.ExecutionStartedEvent) -> ev.Origin:
    parent = body.parentInstance
    instance = parent.orchestrationInstance
    return ev.Origin(instance.instanceId, instance.executionId.value, parent.taskScheduledId)


def _guess_parent(instance: str) -> ev.Origin | None:
    """The parent that the id of a child of ours names."""
    parent, _, rest = instance.rpartition(":")
    name, colon, execution = parent.rpartition(":")
    try:
        return ev.Origin(name, execution, int(rest, 16)) if colon and name and int(execution, 16) else None
    except ValueError:
        return None


_READERS: dict[str | None, Callable[[ForeignHistory, pb.HistoryEvent, Any], None]] = {
    "orchestratorStarted": ForeignHistory._read_turn_start,
    "executionStarted": ForeignHistory._read_start,
    "taskCompleted": ForeignHistory._read_task_completed,
    "taskFailed": ForeignHistory._read_task_failed,
    "subOrchestrationInstanceCompleted": ForeignHistory._read_child_completed,
    "subOrchestrationInstanceFailed": ForeignHistory._read_child_failed,
    "timerFired": ForeignHistory._read_timer_fired,
    "eventRaised": ForeignHistory._read_event,
    "entityOperationCompleted": ForeignHistory._read_operation_completed,
    "entityOperationFailed": ForeignHistory._read_operation_failed,
    "entityLockGranted": ForeignHistory._read_lock_granted,
    "executionTerminated": ForeignHistory._read_terminated,
    "executionSuspended": ForeignHistory._read_suspended,
    "executionResumed": ForeignHistory._read_resumed,
    "executionRewound": ForeignHistory._read_rewound,
    "taskScheduled": ForeignHistory._read_scheduled,
    "timerCreated": ForeignHistory._read_timer_created,
    "subOrchestrationInstanceCreated": ForeignHistory._read_child_created,
    "eventSent": ForeignHistory._read_event_sent,
    "entityOperationCalled": ForeignHistory._read_operation_called,
    "entityOperationSignaled": ForeignHistory._read_operation_signaled,
    "entityLockRequested": ForeignHistory._read_lock_requested,
    "entityUnlockSent": ForeignHistory._read_unlock,
    "executionCompleted": ForeignHistory._read_end,
}
"""How each kind of event is read; the others mean nothing to a worker."""
