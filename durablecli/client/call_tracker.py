"""Counts the calls of one execution and explains its retries, from its records as they come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from durablecli.model import events as ev
from durablecli.model.failures import Failure, failure_text
from durablecli.model.status import PendingWait

_MAX_ERROR_LENGTH = 200
_Call = ev.TaskScheduled | ev.SubOrchestrationInstanceCreated


class TaskCounts(msgspec.Struct, frozen=True):
    """The calls of activities and sub-orchestrations in one execution. A call counts once, with all its attempts.

    `failed` ones are not retried any more, `canceled` ones were cancelled by the orchestrator, and `retrying` ones wait
    for their next attempt. `running` ones are activities that a running engine reports, and sub-orchestrations that
    have not ended; the other open ones are `queued`. Calls that nobody waits for when the execution has ended are only
    in `total`.
    """

    total: int = 0
    completed: int = 0
    failed: int = 0
    retrying: int = 0
    queued: int = 0
    running: int = 0
    canceled: int = 0

    @property
    def done(self) -> int:
        """The number of calls that have completed, failed or were cancelled."""
        return self.completed + self.failed + self.canceled

    def with_running(self, activities: int) -> TaskCounts:
        """Return the same counts, with this many of the queued calls counted as running."""
        moved = min(activities, self.queued)
        return msgspec.structs.replace(self, queued=self.queued - moved, running=self.running + moved)


class _Retry:
    """A call that has failed at least once: the number of its last attempt, and of the attempts that it has."""

    def __init__(self, failure: Failure, attempt: int) -> None:
        self.failure = failure
        self.attempt = attempt
        self.attempts: int | None = None


class CallTracker:
    """Follows the calls of one execution. Each record costs O(1); calls are named by the `n` of their first attempt."""

    def __init__(self, records: Iterable[ev.Record] = ()) -> None:
        self._calls: dict[int, _Call] = {}
        self._states: dict[int, str] = {}
        self._counts: Counter[str] = Counter()
        self._outcomes: dict[int, int] = {}
        """The call of each outcome, which a rewind may forget."""
        self._later_attempts: dict[int, int] = {}
        """The call of each later attempt, and of each timer before one."""
        self._retries: dict[int, _Retry] = {}
        self.ended = False
        for record in records:
            self.apply(record)

    def apply(self, record: ev.Record) -> None:
        """Apply the next record."""
        apply = _APPLY.get(type(record.event))
        if apply is not None:
            apply(self, record.n, record.event)

    def count(self) -> TaskCounts:
        """Return the counts. Only an engine knows which activities are running: here they are queued."""
        total, found = len(self._states), self._counts
        completed, failed, canceled = found["completed"], found["failed"], found["canceled"]
        if self.ended:
            return TaskCounts(total, completed, failed, canceled=canceled)
        return TaskCounts(total, completed, failed, found["retrying"], found["open"], found["child"], canceled)

    @property
    def open_count(self) -> int:
        """The number of calls without a final outcome."""
        return self._counts["open"] + self._counts["child"] + self._counts["retrying"]

    def explain_retry(self, wait: PendingWait) -> PendingWait:
        """Return the same wait; if it belongs to a call that has failed before, it names attempt and last error."""
        first = self._later_attempts.get(wait.id or 0)
        retry = None if first is None else self._retries.get(first)
        if first is None or retry is None:
            return wait
        error = failure_text(retry.failure).partition("\n")[0]
        shown = error if len(error) <= _MAX_ERROR_LENGTH else f"{error[:_MAX_ERROR_LENGTH]}…"
        call = self._calls.get(first)
        found: dict[str, Any] = {"attempts": retry.attempts, "last_error": shown}
        if wait.kind == "retry":
            found |= {"name": call and call.name, "label": call and call.label, "attempt": retry.attempt + 1}
        return msgspec.structs.replace(wait, **found)

    def _set_state(self, call: int, state: str | None) -> None:
        before = self._states.pop(call, None) if state is None else self._states.get(call)
        if before is not None:
            self._counts[before] -= 1
        if state is not None:
            self._states[call] = state
            self._counts[state] += 1

    def _start(self, n: int, event: _Call) -> None:
        call = event.retry_of or n
        if call != n:
            self._later_attempts[n] = call
            if (retry := self._retries.get(call)) is not None:
                retry.attempt = event.attempt
        if call == n or call not in self._calls:
            self._calls[call] = event
        self._reopen(call)

    def _reopen(self, call: int) -> None:
        is_child = isinstance(self._calls[call], ev.SubOrchestrationInstanceCreated)
        self._set_state(call, "child" if is_child else "open")

    def _complete(self, n: int, event: ev.TaskCompleted | ev.SubOrchestrationInstanceCompleted) -> None:
        call = self._outcomes[n] = self._later_attempts.get(event.task, event.task)
        if call in self._states:
            self._set_state(call, "completed")

    def _fail(self, n: int, event: ev.TaskFailed | ev.SubOrchestrationInstanceFailed) -> None:
        call = self._outcomes[n] = self._later_attempts.get(event.task, event.task)
        if call not in self._states:
            return
        self._set_state(call, "failed")
        retry = self._retries.get(call)
        if retry is None:
            self._retries[call] = _Retry(event.failure, 1)
        else:
            retry.failure = event.failure

    def _cancel(self, n: int, event: ev.TaskCanceled) -> None:
        call = self._outcomes[n] = self._later_attempts.get(event.task, event.task)
        if call in self._states:
            self._set_state(call, "canceled")

    def _wait_for_retry(self, n: int, event: ev.TimerCreated) -> None:
        call = event.retry_of
        if call is None or call not in self._states:
            return
        self._later_attempts[n] = call
        self._set_state(call, "retrying")
        if (retry := self._retries.get(call)) is not None:
            retry.attempts = event.attempts

    def _rewind(self, n: int, event: ev.ExecutionRewound) -> None:
        """Reopen the calls whose outcomes are forgotten, and remove those that are void."""
        self.ended = False
        for outcome in event.forgotten:
            call = self._outcomes.pop(outcome, None)
            if call in self._states:
                self._reopen(call)
        for decision in event.void:
            self._later_attempts.pop(decision, None)
            if decision in self._states:
                self._set_state(decision, None)
                del self._calls[decision]
                self._retries.pop(decision, None)
            elif (call := self._outcomes.pop(decision, None)) in self._states and self._states[call] == "canceled":
                self._reopen(call)

    def _end(self, n: int, event: ev.AnyEvent) -> None:
        self.ended = True


_APPLY: dict[type, Callable[[CallTracker, int, Any], None]] = {
    ev.TaskScheduled: CallTracker._start,
    ev.SubOrchestrationInstanceCreated: CallTracker._start,
    ev.TaskCompleted: CallTracker._complete,
    ev.SubOrchestrationInstanceCompleted: CallTracker._complete,
    ev.TaskFailed: CallTracker._fail,
    ev.SubOrchestrationInstanceFailed: CallTracker._fail,
    ev.TimerCreated: CallTracker._wait_for_retry,
    ev.TaskCanceled: CallTracker._cancel,
    ev.ExecutionRewound: CallTracker._rewind,
    ev.ExecutionCompleted: CallTracker._end,
    ev.ContinueAsNew: CallTracker._end,
}
