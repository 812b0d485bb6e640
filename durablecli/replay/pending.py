"""Queries of a runtime state: the work that is pending, what is open by kind, and when the clock alone moves it."""

from __future__ import annotations

from datetime import datetime

import msgspec

from durablecli.model import events as ev
from durablecli.model.failures import Failure
from durablecli.model.payloads import decode, to_displayable
from durablecli.replay.runtime_state import RuntimeState


def activities(state: RuntimeState) -> list[tuple[int, ev.TaskScheduled]]:
    """The activities without an outcome."""
    return [(n, event) for n, event in state.open_decisions.items() if isinstance(event, ev.TaskScheduled)]


def timers(state: RuntimeState) -> list[tuple[int, ev.TimerCreated]]:
    """The timers that haven't fired and weren't cancelled."""
    return [(n, event) for n, event in state.open_decisions.items() if isinstance(event, ev.TimerCreated)]


def children(state: RuntimeState) -> list[tuple[int, ev.SubOrchestrationInstanceCreated]]:
    """The sub-orchestrations without an outcome."""
    return [(n, e) for n, e in state.open_decisions.items() if isinstance(e, ev.SubOrchestrationInstanceCreated)]


def entity_calls(state: RuntimeState) -> list[tuple[int, ev.EntityOperationCalled]]:
    """The entity calls without an outcome, also of a failed execution."""
    return [(n, event) for n, event in state.open_decisions.items() if isinstance(event, ev.EntityOperationCalled)]


def unreleased_locks(state: RuntimeState) -> list[tuple[int, tuple[str, ...]]]:
    """The locks that are requested or held, by request: all that is released when the execution ends."""
    asked = [(n, e.entities) for n, e in state.open_decisions.items() if isinstance(e, ev.EntityLockRequested)]
    return [*((n, request.entities) for n, request in state.locks.items()), *asked]


def child_outcome(
    child: RuntimeState, n: int
) -> ev.SubOrchestrationInstanceCompleted | ev.SubOrchestrationInstanceFailed:
    """The outcome of a child that has ended, for its parent's decision `n`."""
    if child.status == "Completed":
        return ev.SubOrchestrationInstanceCompleted(n, child.result or ev.NULL)
    return ev.SubOrchestrationInstanceFailed(n, child.failure or _terminated_failure(child.result))


def _terminated_failure(result: msgspec.Raw) -> Failure:
    output = decode(result) if result else ""
    reason = output if isinstance(output, str) else bytes(to_displayable(result)).decode()
    return Failure("durablecli.Terminated", f"terminated: {reason}" if output else "terminated")


def created_children(state: RuntimeState) -> list[str]:
    """The ids of all sub-orchestrations that this execution has created. The state must have its turns."""
    decided = (record.event for turn in state.turns or () for record in turn.decisions)
    return [event.instance for event in decided if isinstance(event, ev.SubOrchestrationInstanceCreated)]


def scheduled_start_time(state: RuntimeState) -> datetime | None:
    """The time at which a held start may be applied; None if it has none."""
    first = state.held[0].event if state.held else None
    return first.start_at if isinstance(first, ev.ExecutionStarted) else None


def next_due(state: RuntimeState) -> datetime | None:
    """The earliest time at which a timer or a scheduled start is due."""
    due = [event.fire_at for event in state.open_decisions.values() if type(event) is ev.TimerCreated]
    if (start_at := scheduled_start_time(state)) is not None:
        due.append(start_at)
    return min(due, default=None)


def awaits_turn(state: RuntimeState) -> bool:
    """Whether there are arrivals to apply, or a turn to complete, and nothing but the code's next turn is missing."""
    if state.ended or state.suspended is not None or state.blocked is not None:
        return False
    return bool(state.held or state.incomplete) and scheduled_start_time(state) is None


def has_pending_work(state: RuntimeState) -> bool:
    """Whether an engine must work on this instance as soon as it opens the hub.

    Reasons are open activities, pending retries, held arrivals and incomplete turns.
    """
    if state.ended:
        return False
    if state.blocked is not None or state.incomplete:
        return True
    if state.held and state.suspended is None and scheduled_start_time(state) is None:
        return True
    return any(_is_pending_work(event) for event in state.open_decisions.values())


def _is_pending_work(event: ev.AnyEvent) -> bool:
    return type(event) is ev.TaskScheduled or (type(event) is ev.TimerCreated and event.retry_of is not None)
