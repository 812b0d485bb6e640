"""The tasks of one execution that wait for an outcome: calls, timers and requests for locks, with their retries.

Changed code may make a decision after the history has its outcome: the outcome is kept until then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from durablecli.model import events as ev
from durablecli.model.entity_id import EntityId
from durablecli.model.failures import Failure
from durablecli.model.retries import RetryPolicy, retry_delay
from durablecli.replay.critical_section import NESTED, CriticalSection, LockOwner, LockTask
from durablecli.replay.decision_log import DecisionLog
from durablecli.replay.tasks import CallTask, TimerTask

Schedule = Callable[[int, int | None], int]
"""Decides one attempt of a call, by its number from 1 and the number of the first attempt's decision."""


class RetryState(NamedTuple):
    """An open call, with all that its next attempt needs."""

    task: CallTask[Any]
    schedule: Schedule
    policy: RetryPolicy | None
    first_n: int
    first_at: datetime
    attempt: int
    failed_outcomes: tuple[int, ...]


class OpenTasks:
    """The open tasks by the number of their decision. `section` is the critical section that is requested or held.

    `timeout_resets` has the times from which the retry timeouts of calls count after a rewind.
    """

    def __init__(self, owner: LockOwner, decisions: DecisionLog, timeout_resets: Mapping[int, datetime]) -> None:
        self.section: CriticalSection | None = None
        self._owner = owner
        self._decisions = decisions
        self._timeout_resets = timeout_resets
        self._calls: dict[int, RetryState] = {}
        self._retry_timers: dict[int, RetryState] = {}
        self._timers: dict[int, TimerTask] = {}
        self._early_outcomes: dict[int, ev.Record] = {}

    @property
    def numbers(self) -> set[int]:
        """The numbers of the decisions whose outcome is awaited."""
        found = {*self._calls, *self._timers, *self._retry_timers}
        if self.section is not None and not self.section.is_held:
            found.add(self.section.id)
        return found

    def abandoned_calls(self) -> frozenset[int]:
        """The open calls that were part of a composite task, such as losers of a race."""
        return frozenset(n for n, call in self._calls.items() if call.task.is_joined)

    # ── opening ──────────────────────────────────────────────────────────────────────────────────────────────────

    def start_call(self, label: str, annotation: Any, policy: RetryPolicy | None, schedule: Schedule) -> CallTask[Any]:
        """Make the first attempt of a call to an activity, a sub-orchestration or an entity."""
        task: CallTask[Any] = CallTask(self._owner, label, annotation)
        task.id = n = schedule(1, None)
        first_at = self._decisions.now
        if self._timeout_resets:
            first_at = self._timeout_resets.get(n, first_at)
        self._calls[n] = RetryState(task, schedule, policy, n, first_at, 1, ())
        if self._early_outcomes:
            self._apply_early_outcome(n)
        return task

    def create_timer(self, fire_at: datetime) -> TimerTask:
        """Start a timer."""
        n = self._decisions.decide(ev.TimerCreated(fire_at))
        task = self._timers[n] = TimerTask(self._owner, n, fire_at)
        if self._early_outcomes:
            self._apply_early_outcome(n)
        return task

    def cancel_timer(self, n: int) -> None:
        """Cancel a timer."""
        self._decisions.decide(ev.TimerCanceled(n))
        self._timers.pop(n, None)

    def request_locks(self, entities: tuple[EntityId, ...]) -> LockTask:
        """Request the locks of these entities, which are in locking order. Begins the critical section."""
        if self.section is not None:
            raise RuntimeError(NESTED)
        n = self._decisions.decide(ev.EntityLockRequested(tuple(map(str, entities))))
        self.section = CriticalSection(self._owner, n, entities)
        lock_task = self.section.create_lock_task()
        self._apply_early_outcome(n)
        return lock_task

    def release_locks(self, section: CriticalSection) -> None:
        """Release the locks. A closed executor keeps them, because the execution continues elsewhere."""
        if not self._decisions.is_closed:
            self.section = None
            self._decisions.decide(ev.EntityUnlockSent(section.id))

    # ── outcomes ─────────────────────────────────────────────────────────────────────────────────────────────────

    def apply(self, arrival: ev.Record) -> None:
        """Apply the outcome of a task."""
        n, _, event = arrival
        match event:
            case ev.TaskCompleted() | ev.SubOrchestrationInstanceCompleted() | ev.EntityOperationCompleted():
                if call := self._calls.pop(event.task, None):
                    call.task.complete(event.result)
                else:
                    self._keep_early_outcome(event.task, arrival)
            case ev.TaskFailed() | ev.SubOrchestrationInstanceFailed() | ev.EntityOperationFailed():
                if call := self._calls.pop(event.task, None):
                    self._retry_or_fail(call, n, event.failure)
                else:
                    self._keep_early_outcome(event.task, arrival)
            case ev.TimerFired():
                if not self._fire_timer(event.timer):
                    self._keep_early_outcome(event.timer, arrival)
            case ev.EntityLockGranted():
                if self.section is not None and self.section.id == event.task:
                    self.section.grant()
                else:
                    self._keep_early_outcome(event.task, arrival)
            case _:
                raise AssertionError(f"{type(event).__name__} is applied by the runtime state, not by the executor")

    def _keep_early_outcome(self, decision: int, arrival: ev.Record) -> None:
        """Keep an outcome whose decision is still expected. Any other outcome is of a decision that was cancelled."""
        if self._decisions.expects(decision):
            self._early_outcomes[decision] = arrival

    def _apply_early_outcome(self, decision: int) -> None:
        """Apply the outcome of a decision that was just made, if the history has it already."""
        arrival = self._early_outcomes.pop(decision, None)
        if arrival is not None:
            self.apply(arrival)

    def _retry_or_fail(self, call: RetryState, n: int, failure: Failure) -> None:
        failed = (*call.failed_outcomes, n)
        delay = None
        if call.policy is not None:
            delay = retry_delay(call.policy, call.attempt, call.first_at, self._decisions.now, failure)
        if delay is None:
            call.task.fail(failure, failed)
            return
        timer = self._decisions.decide(ev.TimerCreated(self._decisions.now + delay, call.first_n))
        self._retry_timers[timer] = call._replace(attempt=call.attempt + 1, failed_outcomes=failed)
        self._apply_early_outcome(timer)

    def _fire_timer(self, timer: int) -> bool:
        """Complete a timer, or make the attempt that waits for it. False where there is no such timer."""
        if task := self._timers.pop(timer, None):
            task.fire()
        elif call := self._retry_timers.pop(timer, None):
            n = call.schedule(call.attempt, call.first_n)
            self._calls[n] = call
            self._apply_early_outcome(n)
        else:
            return False
        return True
