"""Estimates of how much room an event takes in a commit, which decide whether a turn is split."""

from __future__ import annotations

from durablecli.model import events as ev

_ENVELOPE = 128
_PAYLOADS = {
    **dict.fromkeys((ev.TaskScheduled, ev.ContinueAsNew, ev.ExecutionStarted), ("input", 1)),
    **dict.fromkeys(
        (ev.EventSent, ev.SubOrchestrationInstanceCreated, ev.EntityOperationCalled, ev.EntityOperationSignaled),
        ("input", 2),
    ),
    **dict.fromkeys(
        (
            ev.TaskCompleted,
            ev.SubOrchestrationInstanceCompleted,
            ev.EntityOperationCompleted,
            ev.ExecutionCompleted,
        ),
        ("result", 1),
    ),
}
"""The field of an event that may be large, and how often it counts: what is also delivered elsewhere counts twice."""
_RECIPIENTS = {
    ev.EventSent: "instance",
    ev.SubOrchestrationInstanceCreated: "instance",
    ev.EntityOperationCalled: "entity",
    ev.EntityOperationSignaled: "entity",
}
"""The field of a decision that names its one recipient."""


def get_recipient(event: ev.AnyEvent) -> str | None:
    """The instance or entity that a decision sends something to."""
    field = _RECIPIENTS.get(type(event))
    if field is not None:
        recipient: str = getattr(event, field)
        return recipient
    return event.entities[0] if type(event) is ev.EntityLockRequested else None


def estimate_size(event: ev.AnyEvent) -> int:
    """Roughly the bytes that an event adds to the commit."""
    payload = _PAYLOADS.get(type(event))
    if payload is not None:
        field, times = payload
        size = times * len(getattr(event, field)) + _ENVELOPE
        return size if type(event) is not ev.TaskCompleted else size + _estimate_outputs(event)
    if isinstance(event, ev.EntityLockRequested):
        return 2 * sum(map(len, event.entities)) + _ENVELOPE
    return _ENVELOPE


def _estimate_outputs(event: ev.TaskCompleted) -> int:
    """The bytes of values set on output bindings, which are rare."""
    outputs = event.outputs
    return sum(len(each.value) + _ENVELOPE for each in outputs) if outputs else 0
