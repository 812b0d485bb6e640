"""The tasks of one execution that wait for an outcome: calls, timers and requests for locks, with their retries.

Changed code may make a decision after the history has its outcome: the outcome is kept until then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple, get_args

from msgspec.structs import replace

from durablecli.model import events as ev
from durablecli.model.entity_id import EntityId
from durablecli.model.failures import Failure
from durablecli.model.ids import make_child_id
from durablecli.model.retries import RetryPolicy, retry_delay
from durablecli.replay.critical_section import NESTED, CriticalSection, LockOwner, LockTask
from durablecli.replay.decision_log import DecisionLog
from durablecli.replay.tasks import CallTask, TaskOwner, TimerTask

_NO_POLICY = "not tried again: neither the call nor the activity has a retry policy"
CallDecision = ev.TaskScheduled | ev.SubOrchestrationInstanceCreated | ev.EntityOperationCalled
"""The decision that starts a call."""


class RetryState(NamedTuple):
    """An open call with a retry policy: all that its next attempt needs."""

    task: CallTask[Any]
    decision: ev.TaskScheduled | ev.SubOrchestrationInstanceCreated
    policy: RetryPolicy
    first_n: int
    first_at: datetime
    attempt: int
    failed_outcomes: tuple[int, ...]


class OpenTasks:
    """The open tasks by the number of their decision. `section` is the critical section that is requested or held.

    `timeout_resets` has the times from which the retry timeouts of calls count after a rewind.
    """

    def __init__(
        self, started: ev.ExecutionStarted, decisions: DecisionLog, timeout_resets: Mapping[int, datetime]
    ) -> None:
        self.section: CriticalSection | None = None
        self._started = started
        self._decisions = decisions
        self._timeout_resets = timeout_resets
        self._calls: dict[int, CallTask[Any]] = {}
        self._retries: dict[int, RetryState] = {}
        """Of the calls that have a retry policy."""
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
        return frozenset(n for n, task in self._calls.items() if task.is_joined)

    def find_retry(self, timer: int) -> RetryState | None:
        """Return the attempt that this timer delays."""
        return self._retry_timers.get(timer)

    def clear(self) -> None:
        """Forget all tasks: their executor is closed."""
        if self.section is not None:
            self.section.close()
            self.section = None
        for tasks in (self._calls, self._retries, self._retry_timers, self._timers):
            tasks.clear()

    # ── opening ──────────────────────────────────────────────────────────────────────────────────────────────────

    def start_call(
        self,
        owner: TaskOwner,
        decision: CallDecision,
        label: str,
        annotation: Any,
        make_task: type[CallTask[Any]] = CallTask,
    ) -> CallTask[Any]:
        """Start a call to an activity, a sub-orchestration or an entity."""
        n = self._decisions.decide(decision)
        task = make_task(owner, n, label, annotation)
        self._calls[n] = task
        if self._early_outcomes:
            self._apply_early_outcome(n)
        return task

    def start_call_with_retry(
        self,
        owner: TaskOwner,
        decision: ev.TaskScheduled | ev.SubOrchestrationInstanceCreated,
        label: str,
        annotation: Any,
        policy: RetryPolicy,
    ) -> CallTask[Any]:
        """Make the first attempt of a call to an activity or a sub-orchestration."""
        n = self._decisions.decide(decision)
        task: CallTask[Any] = CallTask(owner, n, label, annotation)
        first_at = self._timeout_resets.get(n, self._decisions.now)
        self._calls[n] = task
        self._retries[n] = RetryState(task, decision, policy, n, first_at, 1, ())
        self._apply_early_outcome(n)
        return task

    def create_timer(self, owner: TaskOwner, fire_at: datetime) -> TimerTask:
        """Start a timer."""
        n = self._decisions.decide(ev.TimerCreated(fire_at))
        task = self._timers[n] = TimerTask(owner, n, fire_at)
        if self._early_outcomes:
            self._apply_early_outcome(n)
        return task

    def cancel_timer(self, n: int) -> None:
        """Cancel a timer."""
        self._decisions.decide(ev.TimerCanceled(n))
        self._timers.pop(n, None)

    def cancel_call(self, n: int) -> None:
        """Cancel the call that awaits the outcome of decision `n`: of an attempt, or of the timer before one."""
        self._decisions.check_may_cancel()
        self._decisions.decide(ev.TaskCanceled(n))
        for tasks in (self._calls, self._retries, self._retry_timers):
            tasks.pop(n, None)

    def request_locks(self, owner: LockOwner, entities: tuple[EntityId, ...]) -> LockTask:
        """Request the locks of these entities, which are in locking order. Begins the critical section."""
        if self.section is not None:
            raise RuntimeError(NESTED)
        n = self._decisions.decide(ev.EntityLockRequested(tuple(map(str, entities))))
        self.section = CriticalSection(owner, n, entities)
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
        event = arrival.event
        apply = _APPLY.get(type(event))
        if apply is None:
            raise AssertionError(f"{type(event).__name__} is applied by the runtime state, not by the executor")
        apply(self, arrival, event)

    def _complete_call(self, arrival: ev.Record, event: _CallCompleted) -> None:
        task = self._calls.pop(event.task, None)
        if task is None:
            self._keep_early_outcome(event.task, arrival)
            return
        if self._retries:
            self._retries.pop(event.task, None)
        task.complete(event.result)

    def _fail_call(self, arrival: ev.Record, event: _CallFailed) -> None:
        task = self._calls.pop(event.task, None)
        if task is None:
            self._keep_early_outcome(event.task, arrival)
        elif (retry := self._retries.pop(event.task, None)) is not None:
            self._retry_or_fail(retry, arrival.n, event.failure)
        else:
            failure = event.failure
            if failure.retry_after is not None:
                failure = replace(failure, message=f"{failure.message} ({_NO_POLICY})")
            task.fail(failure, (arrival.n,))

    def _fire_timer(self, arrival: ev.Record, event: ev.TimerFired) -> None:
        """Complete a timer, or make the attempt that waits for it."""
        if (task := self._timers.pop(event.timer, None)) is not None:
            task.fire()
        elif (retry := self._retry_timers.pop(event.timer, None)) is not None:
            n = self._decide_attempt(retry)
            self._calls[n] = retry.task
            self._retries[n] = retry
            retry.task.open_n = n
            self._apply_early_outcome(n)
        else:
            self._keep_early_outcome(event.timer, arrival)

    def _grant_locks(self, arrival: ev.Record, event: ev.EntityLockGranted) -> None:
        if self.section is not None and self.section.id == event.task:
            self.section.grant()
        else:
            self._keep_early_outcome(event.task, arrival)

    def _keep_early_outcome(self, decision: int, arrival: ev.Record) -> None:
        """Keep an outcome whose decision is still expected. Any other outcome is of a decision that was cancelled."""
        if self._decisions.expects(decision):
            self._early_outcomes[decision] = arrival

    def _apply_early_outcome(self, decision: int) -> None:
        """Apply the outcome of a decision that was just made, if the history has it already."""
        arrival = self._early_outcomes.pop(decision, None)
        if arrival is not None:
            self.apply(arrival)

    def _retry_or_fail(self, retry: RetryState, n: int, failure: Failure) -> None:
        failed = (*retry.failed_outcomes, n)
        seed = f"{self._started.instance}/{self._started.execution}/{n}"
        delay = retry_delay(retry.policy, retry.attempt, retry.first_at, self._decisions.now, failure, seed)
        if delay is None:
            retry.task.fail(failure, failed)
            return
        fire_at, attempts = self._decisions.now + delay, retry.policy.max_number_of_attempts
        timer = self._decisions.decide(ev.TimerCreated(fire_at, retry.first_n, attempts))
        retry.task.open_n = timer
        self._retry_timers[timer] = retry._replace(attempt=retry.attempt + 1, failed_outcomes=failed)
        self._apply_early_outcome(timer)

    def _decide_attempt(self, retry: RetryState) -> int:
        """Decide on another attempt. A child whose id wasn't chosen gets a new one."""
        decision = replace(retry.decision, attempt=retry.attempt, retry_of=retry.first_n)
        if isinstance(decision, ev.SubOrchestrationInstanceCreated) and not decision.explicit:
            started = self._started
            child = make_child_id(started.instance, started.execution, self._decisions.next_n)
            decision = replace(decision, instance=child)
        return self._decisions.decide(decision)


_CallCompleted = ev.TaskCompleted | ev.SubOrchestrationInstanceCompleted | ev.EntityOperationCompleted
_CallFailed = ev.TaskFailed | ev.SubOrchestrationInstanceFailed | ev.EntityOperationFailed
_APPLY: dict[type, Callable[[OpenTasks, ev.Record, Any], None]] = {
    **dict.fromkeys(get_args(_CallCompleted), OpenTasks._complete_call),
    **dict.fromkeys(get_args(_CallFailed), OpenTasks._fail_call),
    ev.TimerFired: OpenTasks._fire_timer,
    ev.EntityLockGranted: OpenTasks._grant_locks,
}
"""How each kind of outcome is applied."""
