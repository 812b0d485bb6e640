"""The machine: runs one orchestrator function. Arrivals that count go in, decisions come out.

    What it decides is a pure function of the arrivals it was given.

Everything that affects a decision comes in through `apply`: the arrival, and `at`, which is the function's clock. A
machine that replays a history holds the recorded decisions as `expected` and compares: by kind, name, entity and order.
Inputs, due times and custom statuses are not compared. The first difference is the non-determinism error.

Changed code may make a decision later than the history has its outcome: the outcome is then kept until the decision.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from msgspec import Raw
from msgspec.structs import replace

from durablecli.limits import PAYLOAD_LIMIT
from durablecli.model import events as ev
from durablecli.model.entity_id import EntityId
from durablecli.model.failures import Failure, from_exception, to_exception
from durablecli.model.payloads import decode, encode
from durablecli.model.retries import RetryPolicy, retry_delay
from durablecli.model.round_trip import check_no_subclass_fields_lost, find_field_classes
from durablecli.replay.critical_section import NESTED, CriticalSection, LockTask
from durablecli.replay.errors import ExecutorClosed, NonDeterminismError, TooManyDecisions, is_same_decision
from durablecli.replay.event_waits import EventWaits
from durablecli.replay.function_marks import return_annotation
from durablecli.replay.raised_failures import collect_causes
from durablecli.replay.tasks import WAIT_TASK_TYPES, CallTask, EventTask, Race, Task, TimerTask, WaitTask, WhenAny
from durablecli.replay.turn_log import OutputLine, running_turn
from durablecli.replay.yield_hints import (
    NO_ASYNCIO,
    RETURNED_TASK,
    explain_non_result,
    explain_non_task,
    is_missing_event_loop,
)

MAX_DECISIONS = 100_000
_MAX_REFUSED_DECISIONS = 1_000
TOO_MANY_DECISIONS = f"one turn decided more than {MAX_DECISIONS:,} things: is there a loop without a yield?"

ReturnTypes = Callable[[str], Any]
"""From an activity's or orchestrator's name to its return annotation, `Any` where nothing is known."""


class RetryState(NamedTuple):
    """A retried call between its attempts: how to make the next one."""

    task: CallTask[Any]
    schedule: Callable[[int, int | None], int]
    policy: RetryPolicy | None
    first_n: int
    first_at: datetime
    attempt: int
    failed_outcomes: tuple[int, ...]


class OrchestrationExecutor:
    """One live execution. `ended` once its function has returned, raised, or continued as new.

    With `azure` the texts of failures are those that an app of Azure expects.
    """

    def __init__(
        self,
        function: Callable[[Any], Any],
        started: ev.ExecutionStarted,
        return_types: ReturnTypes,
        expected: Sequence[ev.Record] = (),
        *,
        incomplete: bool = False,
        payload_limit: int = PAYLOAD_LIMIT,
        timeout_resets: Mapping[int, datetime] | None = None,
        azure: bool = False,
    ) -> None:
        self.started = started
        self.azure = azure
        self.return_types = return_types
        self.encode: Callable[[Any], Raw] = partial(encode, limit=payload_limit)
        self.ended = False
        self.is_replaying = False
        self.now: datetime = datetime.min
        self.custom_status: Any = decode(started.custom_status) if started.custom_status else None
        self.will_continue_as_new = False
        self.section: CriticalSection | None = None
        self.log_lines: list[OutputLine] = []
        self.function = function
        self._expected = deque(expected)
        self._incomplete = incomplete
        self._timeout_resets = timeout_resets or {}
        self._closed = False
        self._refused_decisions = 0
        self._stop_error: BaseException | None = None
        self._coroutine: Generator[Any, Any, Any] | Coroutine[Any, Any, Any] | None = None
        self._awaiting: Task[Any] | None = None
        self._race: Race | None = None
        self._new_decisions: list[ev.Record] = []
        self._next_n = 0
        self._decisions_in_turn = 0
        self._id_count = 0
        self._calls: dict[int, RetryState] = {}
        self._retry_timers: dict[int, RetryState] = {}
        self._timers: dict[int, TimerTask] = {}
        self._early_outcomes: dict[int, ev.Record] = {}
        self._failure_count = 0
        self._event_taken_in: dict[int, int] = {}
        self._misfit_seen_in: dict[int, int] = {}
        self._arrival_n = 0
        self.event_waits = EventWaits(self._complete_event_wait)
        self._continue_as_new: tuple[Raw, bool] | None = None

    # ── one turn ───────────────────────────────────────────────────────────────────────────────────────────────

    def apply(self, arrival: ev.Record, at: datetime, n: int, *, replaying: bool = False) -> list[ev.Record]:
        """Apply one arrival; `at` is the function's clock, `n` the next free number. Returns the new decisions."""
        self.is_replaying = replaying
        self.now = at
        self._next_n = n
        self._new_decisions = []
        self._decisions_in_turn = 0
        self._arrival_n = arrival.n
        token = running_turn.set(self)
        try:
            self._apply_arrival(arrival)
            if self._stop_error is None and not self.ended:
                self._run()
        finally:
            running_turn.reset(token)
        if self._expected and not replaying and self._stop_error is None:
            self._stop_error = NonDeterminismError(self._expected[0], None, self.current_line())
        if self._stop_error is not None:
            raise self._stop_error
        return self._new_decisions

    def expect(self, decisions: Iterable[ev.Record]) -> None:
        """Compare the next turn with these decisions: a rewind has kept them of a turn that is taken again."""
        self._expected.extend(decisions)

    def finish_replay(self) -> None:
        """Say that the replay is over; raises NonDeterminism for decisions that the code didn't make again."""
        self._incomplete = False
        if self._expected:
            raise NonDeterminismError(self._expected[0], None, self.current_line())

    def _apply_arrival(self, arrival: ev.Record) -> None:
        n, _, event = arrival
        match event:
            case ev.TaskCompleted() | ev.SubOrchestrationInstanceCompleted() | ev.EntityOperationCompleted():
                if call := self._calls.pop(event.task, None):
                    self._complete_from_payload(call.task, event.result, call.task.annotation)
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
            case ev.EventRaised():
                self.event_waits.add_event(n, event)
            case ev.EntityLockGranted():
                if self.section is not None and self.section.id == event.task:
                    self.section.grant()
                else:
                    self._keep_early_outcome(event.task, arrival)
            case ev.ExecutionStarted():
                self._start_function()
            case _:
                raise AssertionError(f"{type(event).__name__} is for the ledger, not for the machine")

    def _keep_early_outcome(self, decision: int, arrival: ev.Record) -> None:
        """Keep an outcome whose decision is still expected. Any other outcome answers what was taken back meanwhile."""
        if self._expected and decision >= self._expected[0].n:
            self._early_outcomes[decision] = arrival

    def _apply_early_outcome(self, decision: int) -> None:
        """Apply the outcome of a decision that was just made, if the history has it already."""
        arrival = self._early_outcomes.pop(decision, None)
        if arrival is not None:
            self._apply_arrival(arrival)

    def _complete_from_payload(self, task: Task[Any], raw: Raw, annotation: Any) -> None:
        try:
            value = decode(raw, annotation)
        except Exception as error:  # noqa: BLE001 - a payload that doesn't fit its annotation fails the task that carries it
            mismatch = error
            task._complete(error=lambda: mismatch)
        else:
            task._complete(value)

    def _retry_or_fail(self, call: RetryState, n: int, failure: Failure) -> None:
        failed = (*call.failed_outcomes, n)
        delay_before_retry = None
        if call.policy is not None:
            delay_before_retry = retry_delay(call.policy, call.attempt, call.first_at, self.now, failure)
        if delay_before_retry is None:
            call.task.fail(failure, failed)
            return
        timer = self.decide(ev.TimerCreated(self.now + delay_before_retry, call.first_n))
        self._retry_timers[timer] = call._replace(attempt=call.attempt + 1, failed_outcomes=failed)
        self._apply_early_outcome(timer)

    def _fire_timer(self, timer: int) -> bool:
        """Complete a timer, or make the attempt that has waited for it. False where there is no such timer."""
        if task := self._timers.pop(timer, None):
            task._complete()
        elif call := self._retry_timers.pop(timer, None):
            n = call.schedule(call.attempt, call.first_n)
            self._calls[n] = call
            self._apply_early_outcome(n)
        else:
            return False
        return True

    def _complete_event_wait(self, task: EventTask[Any], n: int, event: ev.EventRaised) -> None:
        """Complete a wait with an event. One that doesn't fit fails it, and is what a rewind has to take back."""
        try:
            value = decode(event.input, task.annotation)
        except Exception as error:  # noqa: BLE001 - a payload that doesn't fit its annotation fails the wait that took it
            self._event_taken_in[n] = self._arrival_n
            task.fail_with_misfit(n, from_exception(error))
        else:
            task._complete(value)

    # ── running the function ───────────────────────────────────────────────────────────────────────────────────

    def _start_function(self) -> None:
        from durablecli.replay.context import DurableOrchestrationContext  # the context is the machine's face

        try:
            self._call_function(DurableOrchestrationContext(self))
        except BaseException as error:  # noqa: BLE001 - user code may raise anything
            self._handle_user_error(error)

    def _call_function(self, context: Any) -> None:
        outcome = self.function(context)
        if inspect.isgenerator(outcome) or inspect.iscoroutine(outcome):
            self._coroutine = outcome
        elif inspect.isasyncgen(outcome):
            raise TypeError("an orchestrator is a generator (yield) or a coroutine (await), not both at once")
        else:
            self._complete_with_result(outcome)

    def _run(self) -> None:
        """Go on for as long as what the function waits for has an outcome. What user code raises ends the execution."""
        try:
            while self._coroutine is not None and self._stop_error is None:
                task = self._awaiting
                if task is None:
                    self._resume_function(None, None)
                elif self._is_any_complete(task) if isinstance(task, WhenAny) else task._done:
                    self._awaiting = None
                    self._resume_function(task._value, task._error)
                else:
                    return
        except BaseException as error:  # noqa: BLE001 - user code may raise anything
            self._handle_user_error(error)

    def _resume_function(self, value: Any, error: Callable[[], BaseException] | None) -> None:
        """Run to the next yield. What is yielded must be a task: else the author is told right there."""
        coroutine = self._coroutine
        assert coroutine is not None
        try:
            yielded = coroutine.throw(error()) if error is not None else coroutine.send(value)
            while not isinstance(yielded, Task):
                yielded = coroutine.throw(TypeError(explain_non_task(yielded)))
        except StopIteration as stop:
            self._complete_with_result(stop.value)
            return
        self._set_awaited_task(yielded)

    def _handle_user_error(self, error: BaseException) -> None:
        """User code has raised: that ends the execution, but for the machine's own verdicts."""
        kind = type(error)  # isinstance would ask `error.__class__`, which may be the author's code
        if issubclass(kind, NonDeterminismError) or issubclass(kind, TooManyDecisions):
            self._stop_error = error
        elif self._stop_error is None:
            self._complete_with_failure(error)

    def _set_awaited_task(self, task: Task[Any]) -> None:
        self._awaiting = task
        if isinstance(task, WAIT_TASK_TYPES):
            self._activate_waits(task)

    def _activate_waits(self, task: WaitTask) -> None:
        """Wake the waits that an awaited task needs, in order."""
        to_activate: list[EventTask[Any]] = []
        race: Race | None = None
        if isinstance(task, EventTask):
            task.acquire(to_activate)
        elif task._done:
            task.deactivate_if_unneeded()
        elif isinstance(task, WhenAny):
            race = self._race
            if race is None or not race.is_over(task.children):
                self._race = race = Race(task.children)
            race.acquire(to_activate)
        else:
            task.acquire(to_activate)
        for event in to_activate:
            if race is not None and race.finished:
                return  # the first to wake took an event that was kept: the others aren't needed any more
            if event.must_activate:
                self.event_waits.activate(event)

    def _is_any_complete(self, task: WhenAny) -> bool:
        """Whether the awaited `task_any` is complete. The waits that lost it sleep from then on."""
        race = self._race
        if race is None:
            return task._done
        if not task._done:
            if not race.finished:
                return False
            winner = race.finished[0]
            task.complete_with(winner)
            race.release()
            race.remove_winner(winner)
        else:
            race.release()
        return True

    # ── the end ────────────────────────────────────────────────────────────────────────────────────────────────

    def _complete_with_result(self, value: Any) -> None:
        if self._continue_as_new is not None:
            self._end_execution(ev.ContinueAsNew(*self._continue_as_new))
            return
        if isinstance(value, Task):
            raise TypeError(RETURNED_TASK)
        if (hint := explain_non_result(value)) is not None:
            raise TypeError(hint)
        try:
            if self.started.parent is not None:
                check_no_subclass_fields_lost(value, find_field_classes(return_annotation(self.function)), "$")
            result = self.encode(value)
        except Exception as error:  # noqa: BLE001 - a value may have code of the author's
            self._complete_with_failure(error, retryable=False)
            return
        self._end_execution(ev.ExecutionCompleted("Completed", result=result))

    def _complete_with_failure(self, error: BaseException, *, retryable: bool = True) -> None:
        if is_missing_event_loop(error):
            error = _set_cause(RuntimeError(NO_ASYNCIO), error)
        failure = from_exception(error)
        if not retryable:
            failure = replace(failure, retryable=False)
        causes = collect_causes(error)
        first = min((self._misfit_seen_in.get(n, n) for n in causes), default=0)
        rewind_from = first if causes and first != causes[0] else 0
        try:
            self._end_execution(ev.ExecutionCompleted("Failed", ev.ABSENT, failure, causes, rewind_from, self.azure))
        except (NonDeterminismError, TooManyDecisions) as verdict:
            self._stop_error = verdict

    def _end_execution(self, event: ev.ExecutionCompleted | ev.ContinueAsNew) -> None:
        self.decide(event)
        self.ended = True
        self._coroutine = self._race = self._awaiting = self.section = (
            None  # no cycle is left for the garbage collector
        )

    def abandoned_calls(self) -> frozenset[int]:
        """The open calls that lost a race. One that nobody was ever to wait for isn't among them."""
        return frozenset(n for n, call in self._calls.items() if call.task.is_joined)

    def unread_events(self) -> list[ev.EventRaised]:
        """The events that no wait has taken, in order of arrival: they move on with continue_as_new."""
        return self.event_waits.unread_events

    def close(self) -> None:
        """Drop the function. It may run its `finally` blocks; nothing it does there counts."""
        self._closed = True
        coroutine, self._coroutine = self._coroutine, None
        self._race = self._awaiting = None
        if coroutine is not None:
            token = running_turn.set(self)
            try:
                coroutine.close()
            except BaseException as ignored:  # noqa: BLE001 - a function that refuses to end is dropped all the same
                del ignored
            finally:
                running_turn.reset(token)

    # ── deciding: what the context calls ───────────────────────────────────────────────────────────────────────

    def decide(self, event: ev.Decision) -> int:
        """Decide one thing: match it against the history, or make it a new record. Returns its `n`."""
        if not self._check_may_decide():
            return 0
        if self._expected:
            record = self._expected.popleft()
            if not is_same_decision(record.event, event):
                self._stop_error = NonDeterminismError(record, event, self.current_line())
                raise self._stop_error
            return record.n
        if self.is_replaying and not self._incomplete:
            self._stop_error = NonDeterminismError(None, event, self.current_line())
            raise self._stop_error
        return self._record_decision(event)

    def _check_may_decide(self) -> bool:
        """Raises what stops this turn. False for a function that catches it over and over: it goes on to its yield."""
        if not self._closed and self._stop_error is None:
            self._decisions_in_turn += 1
            if self._decisions_in_turn <= MAX_DECISIONS:
                return True
            self._stop_error = TooManyDecisions(TOO_MANY_DECISIONS)
        self._refused_decisions += 1
        if self._refused_decisions > _MAX_REFUSED_DECISIONS:
            return False
        raise self._stop_error if self._stop_error is not None else ExecutorClosed

    def _record_decision(self, event: ev.Decision) -> int:
        n = self._next_n
        self._next_n = n + 1
        self._new_decisions.append(ev.Record(n, self.now, event))
        return n

    def start_call(
        self,
        label: str,
        annotation: Any,
        policy: RetryPolicy | None,
        schedule: Callable[[int, int | None], int],
    ) -> CallTask[Any]:
        """Make the first attempt of an activity, a child or an operation; `make(attempt, retry_of)` decides it."""
        task: CallTask[Any] = CallTask(self, label, annotation)
        task.id = n = schedule(1, None)
        first_at = self._timeout_resets.get(n, self.now) if self._timeout_resets else self.now
        self._calls[n] = RetryState(task, schedule, policy, n, first_at, 1, ())
        if self._early_outcomes:
            self._apply_early_outcome(n)
        return task

    def create_timer(self, fire_at: datetime) -> TimerTask:
        n = self.decide(ev.TimerCreated(fire_at))
        task = self._timers[n] = TimerTask(self, n, fire_at)
        if self._early_outcomes:
            self._apply_early_outcome(n)
        return task

    def wait_for_event(self, name: str, annotation: Any) -> EventTask[Any]:
        task: EventTask[Any] = EventTask(self, self.decide(ev.EventAwaited(name)), name, annotation)
        self.event_waits.add_wait(task)
        return task

    def request_locks(self, entities: tuple[EntityId, ...]) -> LockTask:
        """Ask for the locks of these entities, which are in their order: `section` is there from now on."""
        if self.section is not None:
            raise RuntimeError(NESTED)
        n = self.decide(ev.EntityLockRequested(tuple(map(str, entities))))
        self.section = CriticalSection(self, n, entities)
        lock_task = self.section.create_lock_task()
        self._apply_early_outcome(n)
        return lock_task

    def release_locks(self, section: CriticalSection) -> None:
        """Give locks back. A sealed machine keeps them: the execution goes on elsewhere."""
        if not self._closed:
            self.section = None
            self.decide(ev.EntityUnlockSent(section.id))

    def continue_as_new(self, value: Raw, save_events: bool) -> None:
        self._continue_as_new = (value, save_events)
        self.will_continue_as_new = True

    def set_custom_status(self, value: Any) -> None:
        raw = self.encode(value)
        if not self._check_may_decide():
            return
        self.custom_status = value
        if not self.is_replaying or (self._incomplete and not self._expected):
            self._record_decision(ev.CustomStatusSet(raw))

    @property
    def is_silent(self) -> bool:
        """Whether what it logs and prints was said before, or belongs to no turn."""
        return self.is_replaying or self._closed

    def log(self, line: OutputLine) -> None:
        """Keep a line until the turn is published."""
        if not self.is_silent:
            self.log_lines.append(line)

    def next_id(self) -> int:
        """The counter behind new_uuid and new_guid."""
        self._id_count += 1
        return self._id_count

    @property
    def next_decision_n(self) -> int:
        """The number that the next decision will have: never used twice, so what a sub-orchestration's id ends in."""
        return self._expected[0].n if self._expected else self._next_n

    @property
    def pending_decisions(self) -> set[int]:
        """The numbers of the decisions whose outcome it waits for."""
        found = {*self._calls, *self._timers, *self._retry_timers}
        if self.section is not None and not self.section.is_held:
            found.add(self.section.id)
        return found

    # ── for tasks ──────────────────────────────────────────────────────────────────────────────────────────────

    def on_task_completed(self, task: Task[Any]) -> None:
        if self._race is not None:
            self._race.on_task_completed(task)

    def is_racing(self, tasks: list[Task[Any]]) -> bool:
        """Whether these are the tasks of the race that is on, in its order."""
        return self._race is not None and self._race.is_over(tasks)

    def deactivate(self, event: EventTask[Any]) -> None:
        """Let a wait that isn't needed take nothing, until it is."""
        self.event_waits.deactivate(event)

    def on_misfit_seen(self, event: EventTask[Any]) -> None:
        """Remember the turn from which on the function knows that an event doesn't fit: a rewind takes it again.

        Where other events of this name have come since, taking it away changes which wait has taken which of them.
        """
        (n,) = event.outcomes
        if n not in self._misfit_seen_in:
            is_last = self.event_waits.last_event_by_name[event.name.casefold()] == n
            self._misfit_seen_in[n] = self._arrival_n if is_last else self._event_taken_in[n]

    def count_failure(self) -> int:
        """The position of a failure among all of this execution, in time."""
        self._failure_count += 1
        return self._failure_count

    def cancel_timer(self, timer: int) -> None:
        self.decide(ev.TimerCanceled(timer))
        self._timers.pop(timer, None)

    def make_exception(self, failure: Failure, message: str) -> Exception:
        return to_exception(failure, message, self._globals())

    def _globals(self) -> Mapping[str, Any]:
        return getattr(inspect.unwrap(self.function), "__globals__", {})

    def current_line(self) -> str:
        """`file:line` of the yield that the function stands at, or of the line that it runs."""
        frame = getattr(self._coroutine, "gi_frame", None) or getattr(self._coroutine, "cr_frame", None)
        if frame is None:
            code = getattr(inspect.unwrap(self.function), "__code__", None)
            return f"{code.co_filename}:{code.co_firstlineno}" if code else "?"
        return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _set_cause(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error
