"""About how much room an event takes in a commit: what decides whether a turn has to be spread."""

from __future__ import annotations

from durablecli.model import events as ev


def target(event: ev.AnyEvent) -> str | None:
    """The instance that a decision sends something to."""
    if isinstance(event, ev.EventSent | ev.SubOrchestrationInstanceCreated):
        return event.instance
    return None


def weight(event: ev.AnyEvent) -> int:
    """About how many bytes an event adds to the commit; what is delivered elsewhere counts twice."""
    kind = type(event)
    if kind is ev.TaskScheduled or kind is ev.ContinueAsNew or kind is ev.ExecutionStarted:
        return memoryview(event.input).nbytes + 128  # type: ignore[union-attr]  # each of these has an input
    if kind is ev.EventSent or kind is ev.SubOrchestrationInstanceCreated:
        return 2 * memoryview(event.input).nbytes + 128  # type: ignore[union-attr]
    if kind is ev.TaskCompleted or kind is ev.SubOrchestrationInstanceCompleted or kind is ev.ExecutionCompleted:
        return memoryview(event.result).nbytes + 128  # type: ignore[union-attr]
    return 128
