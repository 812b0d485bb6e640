"""What happens to instances, noted while a commit is built, for the lines that the daemon prints once it is on disk.

A note only refers to what exists already. Its text is made when it is printed.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from durablecli.engine.instance_cache import CachedEntity, CachedInstance
from durablecli.model import events as ev
from durablecli.model.failures import Failure
from durablecli.replay.open_tasks import RetryState
from durablecli.replay.runtime_state import OpenDecision, answered_decision

NOT_NOTED: frozenset[type] = frozenset()
NOTED = frozenset[type](
    (
        ev.ExecutionStarted,
        ev.ExecutionCompleted,
        ev.ContinueAsNew,
        ev.ExecutionSuspended,
        ev.ExecutionResumed,
        ev.ExecutionRewound,
        ev.ExecutionUnblocked,
        ev.TaskFailed,
        ev.SubOrchestrationInstanceFailed,
        ev.TimerCreated,
        ev.EntityBatch,
    )
)
"""The events of which something is printed at the level info or above."""
NOTED_IN_DETAIL = NOTED | {
    ev.TaskScheduled,
    ev.TaskCompleted,
    ev.SubOrchestrationInstanceCompleted,
    ev.EntityOperationFailed,
    ev.EntityOperationCompleted,
    ev.EventRaised,
    ev.TimerFired,
    ev.TaskCanceled,
}
"""The events of which something is printed at the level debug."""
_OUTCOMES = frozenset(
    (
        ev.TaskFailed,
        ev.TaskCompleted,
        ev.SubOrchestrationInstanceFailed,
        ev.SubOrchestrationInstanceCompleted,
        ev.EntityOperationFailed,
        ev.EntityOperationCompleted,
        ev.TaskCanceled,
    )
)


class InstanceNote(NamedTuple):
    """One event of an instance or entity, and what is known of the instance at that moment.

    `began` is the start of the execution, `call` what an outcome answers, and `retry` the attempt that a timer delays.
    """

    id: str
    name: str
    is_child: bool
    began: datetime
    at: datetime
    n: int
    event: ev.AnyEvent
    call: OpenDecision | None = None
    retry: RetryState | None = None
    failed_operations: tuple[tuple[int, str, Failure], ...] = ()


def make_note(instance: CachedInstance | CachedEntity, record: ev.Record) -> InstanceNote | None:
    """Make the note of a record that is about to be applied to the instance; None if there is nothing to print."""
    event = record.event
    if isinstance(instance, CachedEntity):
        return _make_entity_note(instance, record, event) if isinstance(event, ev.EntityBatch) else None
    state = instance.runtime_state
    started = event if isinstance(event, ev.ExecutionStarted) else state.started
    began = record.at if isinstance(event, ev.ExecutionStarted) else state.created
    call: OpenDecision | None = None
    retry: RetryState | None = None
    if isinstance(event, ev.TimerCreated):
        if event.retry_of is None:
            return None
        retry = instance.executor.find_retry(record.n) if instance.executor is not None else None
    elif type(event) in _OUTCOMES:
        call = state.open_decisions.get(answered_decision(event))
    return InstanceNote(
        instance.id, started.name, started.parent is not None, began, record.at, record.n, event, call, retry
    )


def _make_entity_note(entity: CachedEntity, record: ev.Record, batch: ev.EntityBatch) -> InstanceNote | None:
    """Make the note of the operations that have failed."""
    failures = {each.n: each.failure for each in batch.results if each.failure is not None}
    if not failures:
        return None
    state = entity.runtime_state
    failed = [
        (queued.n, queued.event.name, failures[queued.n])
        for queued in state.runnable
        if queued.n in failures and isinstance(queued.event, ev.EntityOperationReceived)
    ]
    return InstanceNote(
        entity.id, "", False, state.created, record.at, record.n, batch, failed_operations=tuple(failed)
    )
