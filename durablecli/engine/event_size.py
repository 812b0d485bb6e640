"""Estimates of how much room an event takes in a commit, which decide whether a turn is split."""

from __future__ import annotations

from durablecli.model import events as ev

_ENVELOPE = 128
_WITH_INPUT = frozenset({ev.TaskScheduled, ev.ContinueAsNew, ev.ExecutionStarted})
_WITH_INPUT_SENT = frozenset(
    {ev.EventSent, ev.SubOrchestrationInstanceCreated, ev.EntityOperationCalled, ev.EntityOperationSignaled}
)
_WITH_RESULT = frozenset(
    {ev.TaskCompleted, ev.SubOrchestrationInstanceCompleted, ev.EntityOperationCompleted, ev.ExecutionCompleted}
)


def get_recipient(event: ev.AnyEvent) -> str | None:
    """The instance or entity that a decision sends something to."""
    if isinstance(event, ev.EventSent | ev.SubOrchestrationInstanceCreated):
        return event.instance
    if isinstance(event, ev.EntityOperationCalled | ev.EntityOperationSignaled):
        return event.entity
    return event.entities[0] if isinstance(event, ev.EntityLockRequested) else None


def estimate_size(event: ev.AnyEvent) -> int:
    """Roughly the bytes that an event adds to the commit. What is also delivered elsewhere counts twice."""
    kind = type(event)
    if kind in _WITH_INPUT:
        return memoryview(event.input).nbytes + _ENVELOPE  # type: ignore[union-attr]  # each of these has an input
    if kind in _WITH_INPUT_SENT:
        return 2 * memoryview(event.input).nbytes + _ENVELOPE  # type: ignore[union-attr]
    if kind in _WITH_RESULT:
        return memoryview(event.result).nbytes + _ENVELOPE + _estimate_outputs(event)  # type: ignore[union-attr]
    if isinstance(event, ev.EntityLockRequested):
        return 2 * sum(map(len, event.entities)) + _ENVELOPE
    return _ENVELOPE


def _estimate_outputs(event: ev.AnyEvent) -> int:
    """The bytes of values set on output bindings, which are rare."""
    outputs = event.outputs if isinstance(event, ev.TaskCompleted) else ()
    return sum(memoryview(each.value).nbytes + _ENVELOPE for each in outputs) if outputs else 0
