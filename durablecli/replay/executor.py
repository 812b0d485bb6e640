"""The executor runs one orchestrator function: arrivals go in, decisions come out.

Invariant: the decisions are a pure function of the arrivals.

Everything that affects a decision comes in through `apply`: the arrival, and `at`, which is the function's clock. An
executor that replays a history compares the decisions with those recorded (see decision_log).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from msgspec import Raw
from msgspec.structs import replace

from durablecli.limits import PAYLOAD_LIMIT
from durablecli.model import events as ev
from durablecli.model.entity_id import EntityId
from durablecli.model.failures import Failure, from_exception, to_exception
from durablecli.model.payloads import decode, encode
from durablecli.model.reported_progress import ReportedProgress, make_progress
from durablecli.model.round_trip import check_no_subclass_fields_lost, find_field_classes
from durablecli.replay.author_function import AuthorFunction
from durablecli.replay.critical_section import CriticalSection, LockTask
from durablecli.replay.decision_log import DecisionLog
from durablecli.replay.errors import NonDeterminismError, TooManyDecisions
from durablecli.replay.event_waits import EventWaits
from durablecli.replay.function_marks import FindTraits, return_annotation
from durablecli.replay.open_tasks import OpenTasks
from durablecli.replay.race import AwaitedTask
from durablecli.replay.raised_failures import collect_causes
from durablecli.replay.runtime_state import RuntimeState
from durablecli.replay.tasks import EventTask, Task, TaskWaiters, TimerTask
from durablecli.replay.turn_log import OutputLine, running_turn
from durablecli.replay.yield_hints import NO_ASYNCIO, RETURNED_TASK, explain_non_result, is_missing_event_loop


class OrchestrationExecutor:
    """One live execution. `ended` once its function has returned, raised, or continued as new.

    `make_context` makes what the function is called with, and `make_decision_log` what compares its decisions with the
    history. With `azure` the texts of failures are those that an app of Azure expects.
    """

    progress: ReportedProgress | None = None
    """What the present turn has reported."""

    def __init__(
        self,
        function: Callable[[Any], Any],
        started: ev.ExecutionStarted,
        find_traits: FindTraits,
        expected: Iterable[ev.Record] = (),
        *,
        make_context: Callable[[OrchestrationExecutor], Any],
        incomplete: bool = False,
        payload_limit: int = PAYLOAD_LIMIT,
        timeout_resets: Mapping[int, datetime] | None = None,
        azure: bool = False,
        make_decision_log: Callable[..., DecisionLog] = DecisionLog,
    ) -> None:
        self.function = function
        self.started = started
        self.azure = azure
        self.find_traits = find_traits
        self.ended = False
        self.custom_status: Any = decode(started.custom_status) if started.custom_status else None
        self.will_continue_as_new = False
        self.log_lines: list[OutputLine] = []
        self._make_context = make_context
        self._author_function = AuthorFunction(function)
        self._decisions = make_decision_log(expected, incomplete, self._author_function.current_line)
        self.event_waits = EventWaits()
        self.waiters = TaskWaiters()
        self._awaited = AwaitedTask(self.event_waits, self.waiters)
        self._open_tasks = OpenTasks(started, self._decisions, timeout_resets or {})
        self._id_count = 0
        self._failure_count = 0
        self._continue_as_new: tuple[Raw, bool, str | None] | None = None
        # Bound once: these are called for nearly every task.
        self.encode: Callable[[Any], Raw] = partial(encode, limit=payload_limit)
        self.decide = self._decisions.decide
        self.start_call = self._open_tasks.start_call
        self.start_call_with_retry = self._open_tasks.start_call_with_retry
        self.cancel_call = self._open_tasks.cancel_call
        self.cancel_timer = self._open_tasks.cancel_timer
        self.check_may_cancel = self._decisions.check_may_cancel
        self.find_retry = self._open_tasks.find_retry
        self.on_task_completed = self._awaited.on_task_completed

    # ── one turn ─────────────────────────────────────────────────────────────────────────────────────────────────

    def apply(self, arrival: ev.Record, at: datetime, n: int, *, replaying: bool = False) -> list[ev.Record]:
        """Apply one arrival; `at` is the function's clock, `n` the next free number. Returns the new decisions."""
        decisions = self._decisions
        decisions.begin_turn(at, n, replaying)
        self.event_waits.arrival_n = arrival.n
        token, event = running_turn.set(self), arrival.event
        try:
            if type(event) is ev.EventRaised:
                self.event_waits.add_event(arrival.n, event)
            elif type(event) is ev.ExecutionStarted:
                self._call_function()
            else:
                self._open_tasks.apply(arrival)
            if decisions.stop_error is None and not self.ended:
                self._run()
        finally:
            running_turn.reset(token)
        return decisions.end_turn()

    def expect(self, decisions: Iterable[ev.Record]) -> None:
        """Compare the next turn with these decisions, which a rewind has kept."""
        self._decisions.expect(decisions)

    def finish_replay(self) -> None:
        """End the replay; raises NonDeterminismError for decisions that the code didn't make again."""
        self._decisions.finish_replay()

    # ── running the function ─────────────────────────────────────────────────────────────────────────────────────

    def _call_function(self) -> None:
        function = self._author_function
        try:
            result = function.call(self._make_context(self))
            if not function.is_running:
                self._complete_with_result(result)
        except BaseException as error:  # noqa: BLE001 - user code may raise anything
            self._handle_user_error(error)

    def _run(self) -> None:
        """Resume the function for as long as the task that it awaits is complete. What it raises ends the execution."""
        function, awaited, decisions = self._author_function, self._awaited, self._decisions
        try:
            while function.is_running and decisions.stop_error is None:
                task = None
                if awaited.task is not None and (task := awaited.take_completed()) is None:
                    return
                awaited.set(function.resume(task))
        except StopIteration as stop:
            self._return_result(stop.value)
        except BaseException as error:  # noqa: BLE001 - user code may raise anything
            self._handle_user_error(error)

    def _return_result(self, value: Any) -> None:
        try:
            self._complete_with_result(value)
        except BaseException as error:  # noqa: BLE001 - user code may raise anything
            self._handle_user_error(error)

    def _handle_user_error(self, error: BaseException) -> None:
        """End the execution with what user code has raised, unless it is what stops the executor."""
        kind = type(error)  # isinstance would ask `error.__class__`, which may be the author's code
        if issubclass(kind, NonDeterminismError) or issubclass(kind, TooManyDecisions):
            self._decisions.stop(error)
        elif self._decisions.stop_error is None:
            self._complete_with_failure(error)

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────────────

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
                annotation = return_annotation(self.function)
                check_no_subclass_fields_lost(value, find_field_classes(annotation), "$")
            result = self.encode(value)
        except Exception as error:  # noqa: BLE001 - encoding may run code of the author's
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
        rewind_from = self.event_waits.rewind_start(causes)
        try:
            self._end_execution(ev.ExecutionCompleted("Failed", ev.ABSENT, failure, causes, rewind_from, self.azure))
        except (NonDeterminismError, TooManyDecisions) as stop_error:
            self._decisions.stop(stop_error)

    def _end_execution(self, event: ev.ExecutionCompleted | ev.ContinueAsNew) -> None:
        self.decide(event)
        self.ended = True
        self._author_function.drop()
        self._awaited.clear()
        self._open_tasks.section = None

    def abandoned_calls(self) -> frozenset[int]:
        """The open calls that were part of a composite task, such as losers of a race."""
        return self._open_tasks.abandoned_calls()

    def unread_events(self) -> list[ev.EventRaised]:
        """The events that no wait has taken, in order of arrival: they move on with continue_as_new."""
        return self.event_waits.unread_events

    def close(self) -> None:
        """Drop the function, and let go of its tasks. It may run its `finally` blocks; nothing it does there counts."""
        self._decisions.close()
        self._awaited.clear()
        token = running_turn.set(self)
        try:
            self._author_function.close()
        except BaseException as ignored:  # noqa: BLE001 - a function that refuses to end is dropped all the same
            del ignored
        finally:
            running_turn.reset(token)
        self._let_go()

    def _let_go(self) -> None:
        """Forget all that refers to this executor, so that reference counting frees it."""
        self._decisions.stop_error = None  # by its traceback
        self.log_lines = []  # a record may have a traceback
        self._open_tasks.clear()
        self.event_waits.clear()
        self.waiters.clear()

    # ── for the context ──────────────────────────────────────────────────────────────────────────────────────────

    @property
    def now(self) -> datetime:
        """The time of the turn."""
        return self._decisions.now

    @property
    def is_replaying(self) -> bool:
        """Whether the turn is one of the history."""
        return self._decisions.is_replaying

    @property
    def section(self) -> CriticalSection | None:
        """The critical section that is requested or held."""
        return self._open_tasks.section

    @property
    def next_decision_n(self) -> int:
        """The number that the next decision will have. It is never used twice, so ids of children end in it."""
        return self._decisions.next_n

    def create_timer(self, fire_at: datetime) -> TimerTask:
        """Start a timer."""
        return self._open_tasks.create_timer(self, fire_at)

    def wait_for_event(self, name: str, annotation: Any) -> EventTask[Any]:
        """Wait for an external event."""
        task: EventTask[Any] = EventTask(self, self.decide(ev.EventAwaited(name)), name, annotation)
        self.event_waits.add_wait(task)
        return task

    def request_locks(self, entities: tuple[EntityId, ...]) -> LockTask:
        """Request the locks of these entities, which are in locking order. Begins the critical section."""
        return self._open_tasks.request_locks(self, entities)

    def continue_as_new(self, value: Raw, save_events: bool, version: str | None = None) -> None:
        """Continue as new when the function returns, with `version` if that is given."""
        self._continue_as_new = (value, save_events, version)
        self.will_continue_as_new = True

    def set_custom_status(self, value: Any) -> None:
        """Record a custom status."""
        if self._decisions.decide_uncompared(ev.CustomStatusSet(self.encode(value))):
            self.custom_status = value

    def next_id(self) -> int:
        """The counter behind new_uuid and new_guid."""
        self._id_count += 1
        return self._id_count

    # ── for the engine ───────────────────────────────────────────────────────────────────────────────────────────

    @property
    def is_silent(self) -> bool:
        """Whether log lines are dropped: they were shown before, or belong to no turn."""
        return self._decisions.is_replaying or self._decisions.is_closed

    def log(self, line: OutputLine) -> None:
        """Keep a line until the turn is published; drop it during a replay."""
        if not self.is_silent:
            self.log_lines.append(line)

    def report_progress(self, done: object, total: object, message: object) -> None:
        """Keep a report of progress until the turn is published; drop it during a replay."""
        reported = make_progress(done, total, message, self._decisions.now)
        if not self.is_silent:
            self.progress = reported

    def take_waits_change(self, state: RuntimeState) -> ev.EventWaitsChanged | None:
        """The record of the event waits after a turn; None where the runtime state has them already."""
        return self.event_waits.take_change(state)

    @property
    def pending_decisions(self) -> set[int]:
        """The numbers of the decisions whose outcome is awaited."""
        return self._open_tasks.numbers

    def current_line(self) -> str:
        """`file:line` of the yield at which the function waits, or of the line that it runs."""
        return self._author_function.current_line()

    # ── for tasks ────────────────────────────────────────────────────────────────────────────────────────────────

    def is_racing(self, tasks: list[Task[Any]]) -> bool:
        """Whether these are the tasks of the present race, in its order."""
        return self._awaited.is_racing(tasks)

    def deactivate(self, event: EventTask[Any]) -> None:
        """Let an event wait take no events until it is needed."""
        self.event_waits.deactivate(event)

    def on_misfit_seen(self, event: EventTask[Any]) -> None:
        """Note that the function knows from this turn on that an event doesn't fit."""
        self.event_waits.on_misfit_seen(event)

    def count_failure(self) -> int:
        """The position of a failure among all of this execution, in time."""
        self._failure_count += 1
        return self._failure_count

    def release_locks(self, section: CriticalSection) -> None:
        """Release the locks of a critical section."""
        self._open_tasks.release_locks(section)

    def make_exception(self, failure: Failure, message: str) -> Exception:
        """The exception to raise for a failure: of a class that the function's module knows."""
        return to_exception(failure, message, self._author_function.globals)


def _set_cause(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error
