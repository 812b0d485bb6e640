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

from durablecli.model import events as ev
from durablecli.model.entity_id import EntityId
from durablecli.model.failures import Failure, from_exception, to_exception
from durablecli.model.payloads import PAYLOAD_LIMIT, decode, encode
from durablecli.model.retries import RetryPolicy, delay
from durablecli.model.round_trip import check, classes_in
from durablecli.replay.critical_section import NESTED, CriticalSection, LockTask
from durablecli.replay.errors import NonDeterminism, Runaway, Sealed, alike
from durablecli.replay.event_waits import EventWaits
from durablecli.replay.function_marks import return_annotation
from durablecli.replay.raised_failures import causes_of
from durablecli.replay.tasks import WAITS, CallTask, EventTask, Race, Task, TimerTask, Waits, WhenAny
from durablecli.replay.turn_log import Line, running
from durablecli.replay.yield_hints import NO_ASYNCIO, RETURNED_TASK, needs_a_loop, not_a_result, not_a_task

MOST_DECISIONS = 100_000
_MOST_REFUSALS = 1_000
RUNAWAY = f"one turn decided more than {MOST_DECISIONS:,} things: is there a loop without a yield?"

Signatures = Callable[[str], Any]
"""From an activity's or orchestrator's name to its return annotation, `Any` where nothing is known."""


class Call(NamedTuple):
    """A retried call between its attempts: how to make the next one."""

    task: CallTask[Any]
    make: Callable[[int, int | None], int]
    policy: RetryPolicy | None
    first: int
    first_at: datetime
    attempt: int
    failed: tuple[int, ...]


class Machine:
    """One live execution. `ended` once its function has returned, raised, or continued as new.

    With `azure` the texts of failures are those that an app of Azure expects.
    """

    def __init__(
        self,
        function: Callable[[Any], Any],
        started: ev.ExecutionStarted,
        signatures: Signatures,
        expected: Sequence[ev.Record] = (),
        *,
        torn: bool = False,
        payload_limit: int = PAYLOAD_LIMIT,
        reopened: Mapping[int, datetime] | None = None,
        azure: bool = False,
    ) -> None:
        self.started = started
        self.azure = azure
        self.signatures = signatures
        self.encode: Callable[[Any], Raw] = partial(encode, limit=payload_limit)
        self.ended = False
        self.is_replaying = False
        self.now: datetime = datetime.min
        self.custom_status: Any = decode(started.custom_status) if started.custom_status else None
        self.will_continue_as_new = False
        self.section: CriticalSection | None = None
        self.said: list[Line] = []
        self.function = function
        self._expected = deque(expected)
        self._torn = torn
        self._reopened = reopened or {}
        self._sealed = False
        self._refused = 0
        self._verdict: BaseException | None = None
        self._flow: Generator[Any, Any, Any] | Coroutine[Any, Any, Any] | None = None
        self._awaiting: Task[Any] | None = None
        self._race: Race | None = None
        self._fresh: list[ev.Record] = []
        self._next = 0
        self._in_turn = 0
        self._ids = 0
        self._calls: dict[int, Call] = {}
        self._back_off: dict[int, Call] = {}
        self._timers: dict[int, TimerTask] = {}
        self._early: dict[int, ev.Record] = {}
        self._failures = 0
        self._taken_in: dict[int, int] = {}
        self._noticed_in: dict[int, int] = {}
        self._arrival = 0
        self.events = EventWaits(self._take_event)
        self._continue: tuple[Raw, bool] | None = None

    # ── one turn ───────────────────────────────────────────────────────────────────────────────────────────────

    def apply(self, arrival: ev.Record, at: datetime, n: int, *, replaying: bool = False) -> list[ev.Record]:
        """Apply one arrival; `at` is the function's clock, `n` the next free number. Returns the new decisions."""
        self.is_replaying = replaying
        self.now = at
        self._next = n
        self._fresh = []
        self._in_turn = 0
        self._arrival = arrival.n
        token = running.set(self)
        try:
            self._accept(arrival)
            if self._verdict is None and not self.ended:
                self._run()
        finally:
            running.reset(token)
        if self._expected and not replaying and self._verdict is None:
            self._verdict = NonDeterminism(self._expected[0], None, self.line())
        if self._verdict is not None:
            raise self._verdict
        return self._fresh

    def expect(self, decisions: Iterable[ev.Record]) -> None:
        """Compare the next turn with these decisions: a rewind has kept them of a turn that is taken again."""
        self._expected.extend(decisions)

    def caught_up(self) -> None:
        """Say that the replay is over; raises NonDeterminism for decisions that the code didn't make again."""
        self._torn = False
        if self._expected:
            raise NonDeterminism(self._expected[0], None, self.line())

    def _accept(self, arrival: ev.Record) -> None:
        n, _, event = arrival
        match event:
            case ev.TaskCompleted() | ev.SubOrchestrationInstanceCompleted() | ev.EntityOperationCompleted():
                if call := self._calls.pop(event.task, None):
                    self._settle(call.task, event.result, call.task.annotation)
                else:
                    self._keep_early(event.task, arrival)
            case ev.TaskFailed() | ev.SubOrchestrationInstanceFailed() | ev.EntityOperationFailed():
                if call := self._calls.pop(event.task, None):
                    self._attempt_failed(call, n, event.failure)
                else:
                    self._keep_early(event.task, arrival)
            case ev.TimerFired():
                if not self._timer_fired(event.timer):
                    self._keep_early(event.timer, arrival)
            case ev.EventRaised():
                self.events.raised(n, event)
            case ev.EntityLockGranted():
                if self.section is not None and self.section.id == event.task:
                    self.section.granted()
                else:
                    self._keep_early(event.task, arrival)
            case ev.ExecutionStarted():
                self._begin()
            case _:
                raise AssertionError(f"{type(event).__name__} is for the ledger, not for the machine")

    def _keep_early(self, decision: int, arrival: ev.Record) -> None:
        """Keep an outcome whose decision is still expected. Any other outcome answers what was taken back meanwhile."""
        if self._expected and decision >= self._expected[0].n:
            self._early[decision] = arrival

    def _use_early(self, decision: int) -> None:
        """Apply the outcome of a decision that was just made, if the history has it already."""
        arrival = self._early.pop(decision, None)
        if arrival is not None:
            self._accept(arrival)

    def _settle(self, task: Task[Any], raw: Raw, annotation: Any) -> None:
        try:
            value = decode(raw, annotation)
        except Exception as error:  # noqa: BLE001 - a payload that doesn't fit its annotation fails the task that carries it
            mismatch = error
            task._complete(error=lambda: mismatch)
        else:
            task._complete(value)

    def _attempt_failed(self, call: Call, n: int, failure: Failure) -> None:
        failed = (*call.failed, n)
        wait = None
        if call.policy is not None:
            wait = delay(call.policy, call.attempt, call.first_at, self.now, failure)
        if wait is None:
            call.task.fail(failure, failed)
            return
        timer = self.decide(ev.TimerCreated(self.now + wait, call.first))
        self._back_off[timer] = call._replace(attempt=call.attempt + 1, failed=failed)
        self._use_early(timer)

    def _timer_fired(self, timer: int) -> bool:
        """Complete a timer, or make the attempt that has waited for it. False where there is no such timer."""
        if task := self._timers.pop(timer, None):
            task._complete()
        elif call := self._back_off.pop(timer, None):
            n = call.make(call.attempt, call.first)
            self._calls[n] = call
            self._use_early(n)
        else:
            return False
        return True

    def _take_event(self, task: EventTask[Any], n: int, event: ev.EventRaised) -> None:
        """Complete a wait with an event. One that doesn't fit fails it, and is what a rewind has to take back."""
        try:
            value = decode(event.input, task.annotation)
        except Exception as error:  # noqa: BLE001 - a payload that doesn't fit its annotation fails the wait that took it
            self._taken_in[n] = self._arrival
            task.misfit(n, from_exception(error))
        else:
            task._complete(value)

    # ── running the function ───────────────────────────────────────────────────────────────────────────────────

    def _begin(self) -> None:
        from durablecli.replay.context import DurableOrchestrationContext  # the context is the machine's face

        try:
            self._enter(DurableOrchestrationContext(self))
        except BaseException as error:  # noqa: BLE001 - user code may raise anything
            self._threw(error)

    def _enter(self, context: Any) -> None:
        outcome = self.function(context)
        if inspect.isgenerator(outcome) or inspect.iscoroutine(outcome):
            self._flow = outcome
        elif inspect.isasyncgen(outcome):
            raise TypeError("an orchestrator is a generator (yield) or a coroutine (await), not both at once")
        else:
            self._finish(outcome)

    def _run(self) -> None:
        """Go on for as long as what the function waits for has an outcome. What user code raises ends the execution."""
        try:
            while self._flow is not None and self._verdict is None:
                task = self._awaiting
                if task is None:
                    self._step(None, None)
                elif self._is_over(task) if isinstance(task, WhenAny) else task._done:
                    self._awaiting = None
                    self._step(task._value, task._error)
                else:
                    return
        except BaseException as error:  # noqa: BLE001 - user code may raise anything
            self._threw(error)

    def _step(self, value: Any, error: Callable[[], BaseException] | None) -> None:
        """Run to the next yield. What is yielded must be a task: else the author is told right there."""
        flow = self._flow
        assert flow is not None
        try:
            yielded = flow.throw(error()) if error is not None else flow.send(value)
            while not isinstance(yielded, Task):
                yielded = flow.throw(TypeError(not_a_task(yielded)))
        except StopIteration as stop:
            self._finish(stop.value)
            return
        self._await(yielded)

    def _threw(self, error: BaseException) -> None:
        """User code has raised: that ends the execution, but for the machine's own verdicts."""
        kind = type(error)  # isinstance would ask `error.__class__`, which may be the author's code
        if issubclass(kind, NonDeterminism) or issubclass(kind, Runaway):
            self._verdict = error
        elif self._verdict is None:
            self._fail(error)

    def _await(self, task: Task[Any]) -> None:
        self._awaiting = task
        if isinstance(task, WAITS):
            self._wake_for(task)

    def _wake_for(self, task: Waits) -> None:
        """Wake the waits that an awaited task needs, in order."""
        to_wake: list[EventTask[Any]] = []
        race: Race | None = None
        if isinstance(task, EventTask):
            task.need(to_wake)
        elif task._done:
            task.pass_over()
        elif isinstance(task, WhenAny):
            race = self._race
            if race is None or not race.is_for(task.children):
                self._race = race = Race(task.children)
            race.need(to_wake)
        else:
            task.need(to_wake)
        for event in to_wake:
            if race is not None and race.finished:
                return  # the first to wake took an event that was kept: the others aren't needed any more
            if event.must_wake:
                self.events.wake(event)

    def _is_over(self, task: WhenAny) -> bool:
        """Whether the awaited `task_any` is complete. The waits that lost it sleep from then on."""
        race = self._race
        if race is None:
            return task._done
        if not task._done:
            if not race.finished:
                return False
            winner = race.finished[0]
            task.win(winner)
            race.rest()
            race.leave(winner)
        else:
            race.rest()
        return True

    # ── the end ────────────────────────────────────────────────────────────────────────────────────────────────

    def _finish(self, value: Any) -> None:
        if self._continue is not None:
            self._end(ev.ContinueAsNew(*self._continue))
            return
        if isinstance(value, Task):
            raise TypeError(RETURNED_TASK)
        if (hint := not_a_result(value)) is not None:
            raise TypeError(hint)
        try:
            if self.started.parent is not None:
                check(value, classes_in(return_annotation(self.function)), "$")
            result = self.encode(value)
        except Exception as error:  # noqa: BLE001 - a value may have code of the author's
            self._fail(error, retryable=False)
            return
        self._end(ev.ExecutionCompleted("Completed", result=result))

    def _fail(self, error: BaseException, *, retryable: bool = True) -> None:
        if needs_a_loop(error):
            error = _caused(RuntimeError(NO_ASYNCIO), error)
        failure = from_exception(error)
        if not retryable:
            failure = replace(failure, retryable=False)
        causes = causes_of(error)
        first = min((self._noticed_in.get(n, n) for n in causes), default=0)
        rewind_from = first if causes and first != causes[0] else 0
        try:
            self._end(ev.ExecutionCompleted("Failed", ev.ABSENT, failure, causes, rewind_from, self.azure))
        except (NonDeterminism, Runaway) as verdict:
            self._verdict = verdict

    def _end(self, event: ev.ExecutionCompleted | ev.ContinueAsNew) -> None:
        self.decide(event)
        self.ended = True
        self._flow = self._race = self._awaiting = self.section = None  # no cycle is left for the garbage collector

    def abandoned(self) -> frozenset[int]:
        """The open calls that lost a race. One that nobody was ever to wait for isn't among them."""
        return frozenset(n for n, call in self._calls.items() if call.task.is_joined)

    def unread(self) -> list[ev.EventRaised]:
        """The events that no wait has taken, in order of arrival: they move on with continue_as_new."""
        return self.events.unread

    def close(self) -> None:
        """Drop the function. It may run its `finally` blocks; nothing it does there counts."""
        self._sealed = True
        flow, self._flow = self._flow, None
        self._race = self._awaiting = None
        if flow is not None:
            token = running.set(self)
            try:
                flow.close()
            except BaseException as ignored:  # noqa: BLE001 - a function that refuses to end is dropped all the same
                del ignored
            finally:
                running.reset(token)

    # ── deciding: what the context calls ───────────────────────────────────────────────────────────────────────

    def decide(self, event: ev.Decision) -> int:
        """Decide one thing: match it against the history, or make it a new record. Returns its `n`."""
        if not self._may_decide():
            return 0
        if self._expected:
            record = self._expected.popleft()
            if not alike(record.event, event):
                self._verdict = NonDeterminism(record, event, self.line())
                raise self._verdict
            return record.n
        if self.is_replaying and not self._torn:
            self._verdict = NonDeterminism(None, event, self.line())
            raise self._verdict
        return self._record(event)

    def _may_decide(self) -> bool:
        """Raises what stops this turn. False for a function that catches it over and over: it goes on to its yield."""
        if not self._sealed and self._verdict is None:
            self._in_turn += 1
            if self._in_turn <= MOST_DECISIONS:
                return True
            self._verdict = Runaway(RUNAWAY)
        self._refused += 1
        if self._refused > _MOST_REFUSALS:
            return False
        raise self._verdict if self._verdict is not None else Sealed

    def _record(self, event: ev.Decision) -> int:
        n = self._next
        self._next = n + 1
        self._fresh.append(ev.Record(n, self.now, event))
        return n

    def call(
        self,
        label: str,
        annotation: Any,
        policy: RetryPolicy | None,
        make: Callable[[int, int | None], int],
    ) -> CallTask[Any]:
        """Make the first attempt of an activity, a child or an operation; `make(attempt, retry_of)` decides it."""
        task: CallTask[Any] = CallTask(self, label, annotation)
        task.id = n = make(1, None)
        first_at = self._reopened.get(n, self.now) if self._reopened else self.now
        self._calls[n] = Call(task, make, policy, n, first_at, 1, ())
        if self._early:
            self._use_early(n)
        return task

    def timer(self, fire_at: datetime) -> TimerTask:
        n = self.decide(ev.TimerCreated(fire_at))
        task = self._timers[n] = TimerTask(self, n, fire_at)
        if self._early:
            self._use_early(n)
        return task

    def wait(self, name: str, annotation: Any) -> EventTask[Any]:
        task: EventTask[Any] = EventTask(self, self.decide(ev.EventAwaited(name)), name, annotation)
        self.events.listen(task)
        return task

    def lock(self, entities: tuple[EntityId, ...]) -> LockTask:
        """Ask for the locks of these entities, which are in their order: `section` is there from now on."""
        if self.section is not None:
            raise RuntimeError(NESTED)
        n = self.decide(ev.EntityLockRequested(tuple(map(str, entities))))
        self.section = CriticalSection(self, n, entities)
        asked = self.section.ask()
        self._use_early(n)
        return asked

    def unlock(self, section: CriticalSection) -> None:
        """Give locks back. A sealed machine keeps them: the execution goes on elsewhere."""
        if not self._sealed:
            self.section = None
            self.decide(ev.EntityUnlockSent(section.id))

    def continue_as_new(self, value: Raw, save_events: bool) -> None:
        self._continue = (value, save_events)
        self.will_continue_as_new = True

    def set_custom_status(self, value: Any) -> None:
        raw = self.encode(value)
        if not self._may_decide():
            return
        self.custom_status = value
        if not self.is_replaying or (self._torn and not self._expected):
            self._record(ev.CustomStatusSet(raw))

    @property
    def is_silent(self) -> bool:
        """Whether what it logs and prints was said before, or belongs to no turn."""
        return self.is_replaying or self._sealed

    def say(self, line: Line) -> None:
        """Keep a line until the turn is published."""
        if not self.is_silent:
            self.said.append(line)

    def next_id(self) -> int:
        """The counter behind new_uuid and new_guid."""
        self._ids += 1
        return self._ids

    @property
    def following(self) -> int:
        """The number that the next decision will have: never used twice, so what a sub-orchestration's id ends in."""
        return self._expected[0].n if self._expected else self._next

    @property
    def pending(self) -> set[int]:
        """The numbers of the decisions whose outcome it waits for."""
        found = {*self._calls, *self._timers, *self._back_off}
        if self.section is not None and not self.section.is_held:
            found.add(self.section.id)
        return found

    # ── for tasks ──────────────────────────────────────────────────────────────────────────────────────────────

    def completed(self, task: Task[Any]) -> None:
        if self._race is not None:
            self._race.completed(task)

    def races(self, tasks: list[Task[Any]]) -> bool:
        """Whether these are the tasks of the race that is on, in its order."""
        return self._race is not None and self._race.is_for(tasks)

    def sleep(self, event: EventTask[Any]) -> None:
        """Let a wait that isn't needed take nothing, until it is."""
        self.events.sleep(event)

    def noticed(self, event: EventTask[Any]) -> None:
        """Remember the turn from which on the function knows that an event doesn't fit: a rewind takes it again.

        Where other events of this name have come since, taking it away changes which wait has taken which of them.
        """
        (n,) = event.outcomes
        if n not in self._noticed_in:
            is_last = self.events.last[event.name.casefold()] == n
            self._noticed_in[n] = self._arrival if is_last else self._taken_in[n]

    def count_failure(self) -> int:
        """The position of a failure among all of this execution, in time."""
        self._failures += 1
        return self._failures

    def cancel_timer(self, timer: int) -> None:
        self.decide(ev.TimerCanceled(timer))
        self._timers.pop(timer, None)

    def raised(self, failure: Failure, message: str) -> Exception:
        return to_exception(failure, message, self._globals())

    def _globals(self) -> Mapping[str, Any]:
        return getattr(inspect.unwrap(self.function), "__globals__", {})

    def line(self) -> str:
        """`file:line` of the yield that the function stands at, or of the line that it runs."""
        frame = getattr(self._flow, "gi_frame", None) or getattr(self._flow, "cr_frame", None)
        if frame is None:
            code = getattr(inspect.unwrap(self.function), "__code__", None)
            return f"{code.co_filename}:{code.co_firstlineno}" if code else "?"
        return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error
