"""What a ledger owes the world, and how that is told to people: the rows of lists and what an instance waits for."""

from __future__ import annotations

from datetime import datetime

import msgspec

from durablecli.model import events as ev
from durablecli.model.failures import Failure
from durablecli.model.status import Summary, Waiting
from durablecli.replay.runtime_state import Ledger

_SHOWN = 20
"""A row names this many waits; an instance with ten thousand open tasks says how it goes on with the first."""


def activities(ledger: Ledger) -> list[tuple[int, ev.TaskScheduled]]:
    """The activities that are scheduled and not answered."""
    return [(n, event) for n, event in ledger.open.items() if isinstance(event, ev.TaskScheduled)]


def timers(ledger: Ledger) -> list[tuple[int, ev.TimerCreated]]:
    """The timers that are neither fired nor cancelled."""
    return [(n, event) for n, event in ledger.open.items() if isinstance(event, ev.TimerCreated)]


def children(ledger: Ledger) -> list[tuple[int, ev.SubOrchestrationInstanceCreated]]:
    """The sub-orchestrations that haven't answered."""
    return [(n, e) for n, e in ledger.open.items() if isinstance(e, ev.SubOrchestrationInstanceCreated)]


def calls(ledger: Ledger) -> list[tuple[int, ev.EntityOperationCalled]]:
    """The operations of entities that haven't answered; of a failed execution too."""
    return [(n, event) for n, event in ledger.open.items() if isinstance(event, ev.EntityOperationCalled)]


def locks(ledger: Ledger) -> list[tuple[int, tuple[str, ...]]]:
    """The locks that are asked for or held, by request: what is given back when the execution ends."""
    asked = [(n, e.entities) for n, e in ledger.open.items() if isinstance(e, ev.EntityLockRequested)]
    return [*((n, request.entities) for n, request in ledger.locks.items()), *asked]


def child_outcome(child: Ledger, n: int) -> ev.SubOrchestrationInstanceCompleted | ev.SubOrchestrationInstanceFailed:
    """The answer of a child that has ended to its parent's decision `n`."""
    if child.status == "Completed":
        return ev.SubOrchestrationInstanceCompleted(n, child.result or ev.NULL)
    return ev.SubOrchestrationInstanceFailed(n, child.failure or _terminated(child.result))


def _terminated(result: msgspec.Raw) -> Failure:
    reason = msgspec.json.decode(result) if result else ""
    return Failure("durablecli.Terminated", f"terminated: {reason}" if reason else "terminated")


def ever_created(ledger: Ledger) -> list[str]:
    """The ids of all sub-orchestrations that this execution has created; the ledger keeps its script."""
    decided = (record.event for turn in ledger.script or () for record in turn.decisions)
    return [event.instance for event in decided if isinstance(event, ev.SubOrchestrationInstanceCreated)]


def delayed_start(ledger: Ledger) -> datetime | None:
    """When a start that is still held may be applied; None when nothing stands in its way."""
    first = ledger.held[0].event if ledger.held else None
    return first.start_at if isinstance(first, ev.ExecutionStarted) else None


def next_due(ledger: Ledger) -> datetime | None:
    """The earliest time at which the clock alone moves this instance."""
    due = [timer.fire_at for _, timer in timers(ledger)]
    start_at = delayed_start(ledger)
    if start_at is not None:
        due.append(start_at)
    return min(due, default=None)


def owes(ledger: Ledger) -> bool:
    """Whether an engine that opens the hub must look at this instance at once: activities, pending retries, held
    arrivals, cut turns."""
    if ledger.ended:
        return False
    if ledger.blocked is not None or ledger.torn:
        return True
    if ledger.held and ledger.suspended is None and delayed_start(ledger) is None:
        return True
    return any(_is_work(event) for event in ledger.open.values())


def _is_work(event: ev.AnyEvent) -> bool:
    return type(event) is ev.TaskScheduled or (type(event) is ev.TimerCreated and event.retry_of is not None)


def waiting(ledger: Ledger, most: int | None = None) -> tuple[Waiting, ...]:
    """What it waits for, in the order in which it began to."""
    if ledger.ended:
        return ()
    found = [_open(n, event, ledger.scheduled_at[n]) for n, event in _first(ledger, most)]
    found += [Waiting("event", n, name, since) for n, (name, since) in ledger.waits.items()]
    if not ledger.begun and (start_at := delayed_start(ledger)):
        found.append(Waiting("start", since=ledger.created, fire_at=start_at))
    if ledger.suspended is not None:
        found.append(Waiting("suspended", name=ledger.suspended, since=ledger.suspended_at))
    return tuple(sorted(found, key=lambda one: one.id or 0)[:most])


def _first(ledger: Ledger, most: int | None) -> list[tuple[int, ev.Event]]:
    found: list[tuple[int, ev.Event]] = []
    for n, event in ledger.open.items():
        if most is not None and len(found) >= most:
            break
        found.append((n, event))
    return found


def _open(n: int, event: ev.Event, since: datetime) -> Waiting:
    match event:
        case ev.TaskScheduled():
            return Waiting("activity", n, event.name, since, attempt=event.attempt)
        case ev.SubOrchestrationInstanceCreated():
            return Waiting("child", n, event.name, since, child=event.instance, attempt=event.attempt)
        case ev.TimerCreated():
            return Waiting("timer", n, None, since, fire_at=event.fire_at)
        case ev.EntityOperationCalled():
            return Waiting("entity", n, event.name, since, entity=event.entity)
        case ev.EntityLockRequested():
            return Waiting("lock", n, None, since, entities=event.entities)
        case _:
            raise AssertionError(f"{type(event).__name__} is never open")


def summary(ledger: Ledger) -> Summary:
    """The row of this instance in the index."""
    parent = ledger.started.parent
    return Summary(
        id=ledger.instance,
        name=ledger.started.name,
        status=ledger.status,
        execution=ledger.execution,
        parent=parent.instance if parent else None,
        version=ledger.started.version,
        created=ledger.created,
        updated=ledger.updated,
        records=ledger.last_n,
        bytes=ledger.size,
        next_due=None if ledger.ended else next_due(ledger),
        owes=owes(ledger),
        waiting=waiting(ledger, _SHOWN),
        blocked=ledger.blocked,
        blocked_at=ledger.blocked_at,
    )
