"""Summaries of instances and entities: their rows in the index, and what an instance is waiting for."""

from __future__ import annotations

from datetime import datetime
from itertools import islice

from durablecli.model import events as ev
from durablecli.model.entity_id import parse_entity_name
from durablecli.model.failure_report import make_brief_cause
from durablecli.model.status import MAX_LISTED_WAITS, InstanceSummary, PendingWait
from durablecli.replay.entity_state import EntityRuntimeState
from durablecli.replay.pending import awaits_turn, has_pending_work, next_due, scheduled_start_time
from durablecli.replay.runtime_state import RuntimeState


def summarize_instance(state: RuntimeState) -> InstanceSummary:
    """The row of this instance in the index."""
    started, ended = state.started, state.ended
    return InstanceSummary(
        id=started.instance,
        name=started.name,
        status=state.status,
        execution=started.execution,
        parent=started.parent.instance if started.parent else None,
        version=started.version,
        created=state.created,
        updated=state.updated,
        records=state.last_n,
        bytes=state.size,
        next_due=None if ended else next_due(state),
        has_pending_work=not ended and has_pending_work(state),
        waiting=() if ended else pending_waits(state, MAX_LISTED_WAITS),
        blocked=state.blocked,
        blocked_at=state.blocked_at,
        failure=make_brief_cause(state.failure) if state.failure is not None else None,
        tags=started.tags,
    )


def summarize_entity(entity: EntityRuntimeState) -> InstanceSummary:
    """The row of this entity in the index."""
    return InstanceSummary(
        id=entity.id,
        name=parse_entity_name(entity.id),
        status="Exists" if entity.exists else "Empty",
        execution=entity.execution,
        parent=None,
        version=None,
        created=entity.created,
        updated=entity.updated,
        records=entity.last_n,
        bytes=entity.size,
        next_due=min((at for _, at in entity.scheduled_times()), default=None),
        has_pending_work=bool(entity.runnable) or entity.blocked is not None,
        waiting=(),
        blocked=entity.blocked,
        blocked_at=entity.blocked_at,
        locked_by=entity.lock.sender.instance if entity.lock is not None else None,
        queued=entity.queued,
    )


def pending_waits(state: RuntimeState, limit: int | None = None) -> tuple[PendingWait, ...]:
    """What an instance is waiting for, in the order in which it began to."""
    if state.ended:
        return ()
    first = islice(state.open_decisions.items(), limit)
    found = [_to_pending_wait(n, event, state.scheduled_at[n]) for n, event in first]
    found += [PendingWait("event", n, name, since) for n, (name, since) in state.event_waits.active.items()]
    if not state.has_started and (start_at := scheduled_start_time(state)):
        found.append(PendingWait("start", since=state.created, fire_at=start_at))
    elif awaits_turn(state):
        found.append(PendingWait("turn", name=state.started.name, since=state.held[0].at if state.held else None))
    if state.suspended is not None:
        found.append(PendingWait("suspended", name=state.suspended, since=state.suspended_at))
    if len(found) > 1:
        found.sort(key=lambda one: one.id or 0)
    return tuple(found[:limit])


def _to_pending_wait(n: int, event: ev.Event, since: datetime) -> PendingWait:
    match event:
        case ev.TaskScheduled():
            return PendingWait("activity", n, event.name, since, attempt=event.attempt, label=event.label)
        case ev.SubOrchestrationInstanceCreated():
            attempt, label = event.attempt, event.label
            return PendingWait("child", n, event.name, since, child=event.instance, attempt=attempt, label=label)
        case ev.TimerCreated():
            kind = "timer" if event.retry_of is None else "retry"
            return PendingWait(kind, n, None, since, fire_at=event.fire_at)
        case ev.EntityOperationCalled():
            return PendingWait("entity", n, event.name, since, entity=event.entity)
        case ev.EntityLockRequested():
            return PendingWait("lock", n, None, since, entities=event.entities)
        case _:
            raise AssertionError(f"{type(event).__name__} is never open")
