"""What a ledger owes the world, and how that is told to people: the rows of lists and what an instance waits for."""

from __future__ import annotations

from datetime import datetime

import msgspec

from durablecli.model import events as ev
from durablecli.model.failures import Failure
from durablecli.model.status import InstanceSummary, PendingWait
from durablecli.replay.runtime_state import RuntimeState

_MAX_SHOWN_WAITS = 20
"""A row names this many waits; an instance with ten thousand open tasks says how it goes on with the first."""


def activities(state: RuntimeState) -> list[tuple[int, ev.TaskScheduled]]:
    """The activities that are scheduled and not answered."""
    return [(n, event) for n, event in state.open_decisions.items() if isinstance(event, ev.TaskScheduled)]


def timers(state: RuntimeState) -> list[tuple[int, ev.TimerCreated]]:
    """The timers that are neither fired nor cancelled."""
    return [(n, event) for n, event in state.open_decisions.items() if isinstance(event, ev.TimerCreated)]


def children(state: RuntimeState) -> list[tuple[int, ev.SubOrchestrationInstanceCreated]]:
    """The sub-orchestrations that haven't answered."""
    return [(n, e) for n, e in state.open_decisions.items() if isinstance(e, ev.SubOrchestrationInstanceCreated)]


def entity_calls(state: RuntimeState) -> list[tuple[int, ev.EntityOperationCalled]]:
    """The operations of entities that haven't answered; of a failed execution too."""
    return [(n, event) for n, event in state.open_decisions.items() if isinstance(event, ev.EntityOperationCalled)]


def unreleased_locks(state: RuntimeState) -> list[tuple[int, tuple[str, ...]]]:
    """The locks that are asked for or held, by request: what is given back when the execution ends."""
    asked = [(n, e.entities) for n, e in state.open_decisions.items() if isinstance(e, ev.EntityLockRequested)]
    return [*((n, request.entities) for n, request in state.locks.items()), *asked]


def child_outcome(
    child: RuntimeState, n: int
) -> ev.SubOrchestrationInstanceCompleted | ev.SubOrchestrationInstanceFailed:
    """The answer of a child that has ended to its parent's decision `n`."""
    if child.status == "Completed":
        return ev.SubOrchestrationInstanceCompleted(n, child.result or ev.NULL)
    return ev.SubOrchestrationInstanceFailed(n, child.failure or _terminated_failure(child.result))


def _terminated_failure(result: msgspec.Raw) -> Failure:
    reason = msgspec.json.decode(result) if result else ""
    return Failure("durablecli.Terminated", f"terminated: {reason}" if reason else "terminated")


def created_children(state: RuntimeState) -> list[str]:
    """The ids of all sub-orchestrations that this execution has created; the ledger keeps its script."""
    decided = (record.event for turn in state.turns or () for record in turn.decisions)
    return [event.instance for event in decided if isinstance(event, ev.SubOrchestrationInstanceCreated)]


def scheduled_start_time(state: RuntimeState) -> datetime | None:
    """When a start that is still held may be applied; None when nothing stands in its way."""
    first = state.held[0].event if state.held else None
    return first.start_at if isinstance(first, ev.ExecutionStarted) else None


def next_due(state: RuntimeState) -> datetime | None:
    """The earliest time at which the clock alone moves this instance."""
    due = [timer.fire_at for _, timer in timers(state)]
    start_at = scheduled_start_time(state)
    if start_at is not None:
        due.append(start_at)
    return min(due, default=None)


def has_pending_work(state: RuntimeState) -> bool:
    """Whether an engine that opens the hub must look at this instance at once: activities, pending retries, held
    arrivals, cut turns."""
    if state.ended:
        return False
    if state.blocked is not None or state.incomplete:
        return True
    if state.held and state.suspended is None and scheduled_start_time(state) is None:
        return True
    return any(_is_pending_work(event) for event in state.open_decisions.values())


def _is_pending_work(event: ev.AnyEvent) -> bool:
    return type(event) is ev.TaskScheduled or (type(event) is ev.TimerCreated and event.retry_of is not None)


def waits(state: RuntimeState, limit: int | None = None) -> tuple[PendingWait, ...]:
    """What it waits for, in the order in which it began to."""
    if state.ended:
        return ()
    found = [_to_pending_wait(n, event, state.scheduled_at[n]) for n, event in _first_open_decisions(state, limit)]
    found += [PendingWait("event", n, name, since) for n, (name, since) in state.event_waits.items()]
    if not state.has_started and (start_at := scheduled_start_time(state)):
        found.append(PendingWait("start", since=state.created, fire_at=start_at))
    if state.suspended is not None:
        found.append(PendingWait("suspended", name=state.suspended, since=state.suspended_at))
    return tuple(sorted(found, key=lambda one: one.id or 0)[:limit])


def _first_open_decisions(state: RuntimeState, limit: int | None) -> list[tuple[int, ev.Event]]:
    found: list[tuple[int, ev.Event]] = []
    for n, event in state.open_decisions.items():
        if limit is not None and len(found) >= limit:
            break
        found.append((n, event))
    return found


def _to_pending_wait(n: int, event: ev.Event, since: datetime) -> PendingWait:
    match event:
        case ev.TaskScheduled():
            return PendingWait("activity", n, event.name, since, attempt=event.attempt)
        case ev.SubOrchestrationInstanceCreated():
            return PendingWait("child", n, event.name, since, child=event.instance, attempt=event.attempt)
        case ev.TimerCreated():
            return PendingWait("timer", n, None, since, fire_at=event.fire_at)
        case ev.EntityOperationCalled():
            return PendingWait("entity", n, event.name, since, entity=event.entity)
        case ev.EntityLockRequested():
            return PendingWait("lock", n, None, since, entities=event.entities)
        case _:
            raise AssertionError(f"{type(event).__name__} is never open")


def summarize_instance(state: RuntimeState) -> InstanceSummary:
    """The row of this instance in the index."""
    parent = state.started.parent
    return InstanceSummary(
        id=state.instance,
        name=state.started.name,
        status=state.status,
        execution=state.execution,
        parent=parent.instance if parent else None,
        version=state.started.version,
        created=state.created,
        updated=state.updated,
        records=state.last_n,
        bytes=state.size,
        next_due=None if state.ended else next_due(state),
        has_pending_work=has_pending_work(state),
        waiting=waits(state, _MAX_SHOWN_WAITS),
        blocked=state.blocked,
        blocked_at=state.blocked_at,
    )
