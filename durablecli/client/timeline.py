"""The timeline of one execution: its calls, waits and pauses as spans of time, from the records of its history.

A call is everything that one decision of the orchestrator set off: an activity with all its attempts and the back-off
between them, a sub-orchestration, an operation of an entity, a lock, a timer, or a wait for an event. A history doesn't
record when a worker began an attempt; an attempt counts from the moment it was scheduled.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

from durablecli.client.wait_summary import format_entities
from durablecli.model import events as ev
from durablecli.model.failures import Failure

OPEN = "open"
UNFINISHED = "unfinished"
VOID = "void"
FAILED = "failed"


class CallSpan(msgspec.Struct, gc=False):
    """One span of a call. `kind` is attempt, back-off, wait, or held (a lock).

    `outcome` is completed, failed, fired, canceled, received, granted, released, open, `unfinished` if the execution
    ended before it, or `void` if a rewind has undone it. `n` is the record that began it, and `outcome_n` the one that
    ended it. `until` is None while it is open.
    """

    n: int
    kind: str
    since: datetime
    until: datetime | None = None
    outcome: str = OPEN
    outcome_n: int = 0
    attempt: int = 1
    due: datetime | None = None
    failure: Failure | None = None

    def end(self, at: datetime, outcome: str, n: int = 0) -> None:
        self.until, self.outcome, self.outcome_n = max(at, self.since), outcome, n


class TimelineCall(msgspec.Struct, gc=False):
    """One call: `kind` is activity, child, entity, lock, timer or event; `target` is the child or the entity."""

    n: int
    kind: str
    name: str
    spans: list[CallSpan]
    target: str | None = None
    label: str | None = None

    @property
    def since(self) -> datetime:
        return self.spans[0].since

    @property
    def until(self) -> datetime | None:
        """When its last span ended; None while it is open."""
        return self.spans[-1].until

    @property
    def outcome(self) -> str:
        """The outcome so far. A call between two attempts is open."""
        last = self.spans[-1]
        return OPEN if last.kind == "back-off" and last.outcome in (OPEN, "fired") else last.outcome

    @property
    def attempts(self) -> int:
        return sum(span.kind == "attempt" for span in self.spans)

    @property
    def failure(self) -> Failure | None:
        """The failure of the last attempt that failed."""
        return next((span.failure for span in reversed(self.spans) if span.failure is not None), None)

    def length(self, now: datetime) -> timedelta:
        """How long it took, or has taken until now."""
        return max((self.until or now) - self.since, timedelta(0))


class TimelinePause(msgspec.Struct, gc=False):
    """A time in which the instance was suspended or blocked; `until` is None while it is."""

    kind: str
    since: datetime
    reason: str
    until: datetime | None = None


class TimelineMark(msgspec.Struct, frozen=True, gc=False):
    """Something that took no time: `kind` is event, signal, sent, rewound, terminated, status or continued."""

    n: int
    at: datetime
    kind: str
    name: str
    target: str | None = None


class Timeline(msgspec.Struct):
    """The timeline of one execution. `ended` is None while it runs; `updated` is the time of the last record."""

    started: datetime
    updated: datetime
    ended: datetime | None
    calls: list[TimelineCall]
    pauses: list[TimelinePause]
    marks: list[TimelineMark]


def build_timeline(records: Iterable[ev.Record]) -> Timeline | None:
    """Build the timeline of a history; None of an empty one."""
    builder: _TimelineBuilder | None = None
    for record in records:
        builder = builder or _TimelineBuilder(record.at)
        builder.add(record)
    return builder.finish() if builder is not None else None


_CALLS = (ev.TaskScheduled, ev.SubOrchestrationInstanceCreated, ev.EntityOperationCalled)
_COMPLETED = (ev.TaskCompleted, ev.SubOrchestrationInstanceCompleted, ev.EntityOperationCompleted)
_FAILURES = (ev.TaskFailed, ev.SubOrchestrationInstanceFailed, ev.EntityOperationFailed)


class _TimelineBuilder:
    """`_open` has the open span of each decision; `_answered` the span that each outcome ended."""

    def __init__(self, at: datetime) -> None:
        self._timeline = Timeline(at, at, None, [], [], [])
        self._calls: dict[int, TimelineCall] = {}
        self._open: dict[int, CallSpan] = {}
        self._answered: dict[int, tuple[TimelineCall, int]] = {}
        self._waits: dict[str, list[int]] = {}
        self._unread: dict[str, list[int]] = {}
        self._held_events: deque[tuple[int, str]] = deque()

    def finish(self) -> Timeline:
        timeline = self._timeline
        if timeline.ended is not None:
            self._close_all(timeline.ended)
        return timeline

    def _close_all(self, at: datetime) -> None:
        for span in self._open.values():
            span.end(at, "released" if span.kind == "held" else UNFINISHED)
        for pause in self._timeline.pauses:
            pause.until = pause.until or at
        self._open.clear()
        self._waits.clear()

    def add(self, record: ev.Record) -> None:
        event, timeline = record.event, self._timeline
        timeline.updated = max(timeline.updated, record.at)
        if isinstance(event, _CALLS):
            self._add_call(record, event)
        elif isinstance(event, _COMPLETED):
            self._end(event.task, record, "completed")
        elif isinstance(event, _FAILURES):
            span = self._end(event.task, record, FAILED)
            if span is not None:
                span.failure = event.failure
        else:
            self._add_wait_or_timer(record)

    def _add_call(
        self, record: ev.Record, event: ev.TaskScheduled | ev.SubOrchestrationInstanceCreated | ev.EntityOperationCalled
    ) -> None:
        if isinstance(event, ev.EntityOperationCalled):
            self._begin(record, TimelineCall(record.n, "entity", event.name, [], event.entity), "attempt")
            return
        first = self._calls.get(event.retry_of or 0)
        kind, target = (
            ("child", event.instance) if isinstance(event, ev.SubOrchestrationInstanceCreated) else ("", None)
        )
        call = first or TimelineCall(
            record.n, kind or "activity", event.name, [], target, getattr(event, "label", None)
        )
        if first is not None and target is not None:
            first.target = target  # of a retried child, the link goes to its last attempt
        self._begin(record, call, "attempt").attempt = event.attempt

    def _begin(self, record: ev.Record, call: TimelineCall, kind: str) -> CallSpan:
        if not call.spans:
            self._timeline.calls.append(call)
        span = CallSpan(record.n, kind, record.at)
        call.spans.append(span)
        self._calls[record.n], self._open[record.n] = call, span
        return span

    def _end(self, decision: int, record: ev.Record, outcome: str) -> CallSpan | None:
        span = self._open.pop(decision, None)
        if span is not None:
            span.end(record.at, outcome, record.n)
            self._answered[record.n] = self._calls[decision], decision
        return span

    def _add_wait_or_timer(self, record: ev.Record) -> None:
        event = record.event
        match event:
            case ev.TimerCreated():
                first = self._calls.get(event.retry_of or 0)
                call = first or TimelineCall(record.n, "timer", "timer", [])
                self._begin(record, call, "back-off" if first else "wait").due = event.fire_at
            case ev.TimerFired():
                self._end(event.timer, record, "fired")
            case ev.TimerCanceled():
                self._end(event.timer, record, "canceled")
            case ev.TaskCanceled():
                self._end(event.task, record, "canceled")
            case ev.EntityLockRequested():
                target = event.entities[0] if len(event.entities) == 1 else None
                call = TimelineCall(record.n, "lock", format_entities(event.entities), [], target)
                self._begin(record, call, "wait")
            case ev.EntityLockGranted():
                if self._end(event.task, record, "granted") is not None:
                    call = self._calls[event.task]
                    self._open[event.task] = held = CallSpan(record.n, "held", record.at)
                    call.spans.append(held)
            case ev.EntityUnlockSent():
                span = self._open.get(event.lock)
                self._end(event.lock, record, "released" if span is not None and span.kind == "held" else "canceled")
            case _:
                self._add_event(record)

    def _add_event(self, record: ev.Record) -> None:
        event = record.event
        match event:
            case ev.EventAwaited():
                self._begin(record, TimelineCall(record.n, "event", event.name, []), "wait")
                self._waits.setdefault(event.name.casefold(), []).append(record.n)
                self._deliver(event.name, record)
            case ev.EventRaised():
                self._mark(record, "event", event.name, event.sender.instance if event.sender else None)
                if event.held:
                    self._held_events.append((record.n, event.name))
                else:
                    self._unread.setdefault(event.name.casefold(), []).append(record.n)
                    self._deliver(event.name, record)
            case ev.OrchestratorStarted():
                while self._held_events and self._held_events[0][0] <= event.upto:
                    n, name = self._held_events.popleft()
                    self._unread.setdefault(name.casefold(), []).append(n)
                    self._deliver(name, record)
            case ev.EventWaitsChanged():
                self._replace_waits(record, event)
            case ev.EntityOperationSignaled():
                self._mark(record, "signal", event.name, event.entity)
            case ev.EventSent():
                self._mark(record, "sent", event.name, event.instance)
            case ev.CustomStatusSet():
                self._mark(record, "status", "custom status")
            case _:
                self._add_control(record)

    def _deliver(self, name: str, record: ev.Record) -> None:
        """Give the first unread event of a name to its first wait, if there are both."""
        waits, unread = self._waits.get(name.casefold()), self._unread.get(name.casefold())
        while waits and unread:
            n, raised = waits.pop(0), unread.pop(0)
            span = self._open.pop(n, None)
            if span is not None:
                span.end(record.at, "received", raised)
                self._answered[raised] = self._calls[n], n

    def _replace_waits(self, record: ev.Record, event: ev.EventWaitsChanged) -> None:
        """Take over the active waits: a wait that lost a race is inactive until the orchestrator yields it again."""
        active = {n for n, _ in event.waits}
        for n in [n for waits in self._waits.values() for n in waits if n not in active]:
            span = self._open.pop(n, None)
            if span is not None:
                span.end(record.at, "canceled", record.n)
        self._waits = {}
        for n, name in event.waits:
            self._waits.setdefault(name.casefold(), []).append(n)
            if n not in self._open and n in self._calls:
                self._begin(record, self._calls[n], "wait")
                self._open[n] = self._open.pop(record.n)
                self._calls.pop(record.n)

    def _add_control(self, record: ev.Record) -> None:
        event, timeline = record.event, self._timeline
        match event:
            case ev.ExecutionSuspended():
                timeline.pauses.append(TimelinePause("suspended", record.at, event.reason))
            case ev.ExecutionBlocked():
                timeline.pauses.append(TimelinePause("blocked", record.at, event.reason))
            case ev.ExecutionResumed():
                self._end_pause("suspended", record.at)
            case ev.ExecutionUnblocked():
                self._end_pause("blocked", record.at)
            case ev.ExecutionTerminated():
                self._mark(record, "terminated", event.reason or "terminated")
            case ev.ContinueAsNew():
                self._mark(record, "continued", "continue_as_new")
                timeline.ended = record.at
            case ev.ExecutionCompleted():
                timeline.ended = record.at
            case ev.ExecutionRewound():
                self._rewind(record, event)
            case _:
                pass

    def _end_pause(self, kind: str, at: datetime) -> None:
        for pause in reversed(self._timeline.pauses):
            if pause.kind == kind and pause.until is None:
                pause.until = at
                return

    def _rewind(self, record: ev.Record, event: ev.ExecutionRewound) -> None:
        """Open the calls again whose outcomes are forgotten, and mark what is void."""
        timeline = self._timeline
        ended, timeline.ended = timeline.ended, None
        self._mark(record, "rewound", event.reason or "rewound")
        void = frozenset(event.void)
        if ended is not None:
            for pause in timeline.pauses:
                pause.until = pause.until or ended
        for n in event.forgotten:
            call, decision = self._answered.pop(n, (None, 0))
            if call is not None and decision not in void:
                last = call.spans[-1]
                again = CallSpan(decision, "attempt", record.at, attempt=last.attempt)
                call.spans.append(again)
                self._open[decision] = again
        for n in void:
            if (call := self._calls.get(n)) is not None:
                for span in call.spans:
                    if span.n == n:
                        span.end(span.until or record.at, VOID, span.outcome_n)
                self._open.pop(n, None)

    def _mark(self, record: ev.Record, kind: str, name: str, target: str | None = None) -> None:
        self._timeline.marks.append(TimelineMark(record.n, record.at, kind, name, target))
