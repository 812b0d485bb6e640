"""The machine: runs one orchestrator function. Arrivals that count go in, decisions come out.

    What it decides is a pure function of the arrivals it was given.

Everything that affects a decision comes in through `apply`: the arrival, and `at`, which is the function's clock. A
machine that replays a history holds the recorded decisions as `expected` and compares: by kind, name, entity and order.
Inputs, due times and custom statuses are not compared. The first difference is the non-determinism error.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from msgspec import Raw
from msgspec.structs import replace

from durablecli.model import events as ev
from durablecli.model.entities import EntityId
from durablecli.model.failures import Failure, from_exception, to_exception
from durablecli.model.payloads import PAYLOAD_LIMIT, decode, encode
from durablecli.model.retries import RetryPolicy, delay
from durablecli.replay.outcomes import causes_of
from durablecli.replay.sections import NESTED, CriticalSection, LockTask
from durablecli.replay.tasks import CallTask, Composite, EventTask, Race, Task, TimerTask, WhenAny
from durablecli.replay.verdicts import NonDeterminism, Runaway, Sealed, alike

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
    """One live execution. `ended` once its function has returned, raised, or continued as new."""

    def __init__(
        self,
        function: Callable[[Any], Any],
        started: ev.ExecutionStarted,
        signatures: Signatures,
        expected: Sequence[ev.Record] = (),
        *,
        torn: bool = False,
        payload_limit: int = PAYLOAD_LIMIT,
    ) -> None:
        self.started = started
        self.signatures = signatures
        self.encode: Callable[[Any], Raw] = partial(encode, limit=payload_limit)
        self.ended = False
        self.is_replaying = False
        self.now: datetime = datetime.min
        self.custom_status: Any = decode(started.custom_status) if started.custom_status else None
        self.will_continue_as_new = False
        self.section: CriticalSection | None = None
        self.said: list[tuple[int, str, tuple[Any, ...]]] = []
        self._function = function
        self._expected = deque(expected)
        self._torn = torn
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
        self._waits: dict[str, dict[EventTask[Any], None]] = {}
        self._unread: dict[str, deque[int]] = {}
        self._arrived: dict[int, ev.EventRaised] = {}
        self._continue: tuple[Raw, bool] | None = None

    # ── one turn ───────────────────────────────────────────────────────────────────────────────────────────────

    def apply(self, arrival: ev.Record, at: datetime, n: int, *, replaying: bool = False) -> list[ev.Record]:
        """Apply one arrival; `at` is the function's clock, `n` the next free number. Returns the new decisions."""
        self.is_replaying = replaying
        self.now = at
        self._next = n
        self._fresh = []
        self._in_turn = 0
        self._accept(arrival)
        if self._verdict is None and not self.ended:
            self._run()
        if self._verdict is not None:
            raise self._verdict
        return self._fresh

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
            case ev.TaskFailed() | ev.SubOrchestrationInstanceFailed() | ev.EntityOperationFailed():
                if call := self._calls.pop(event.task, None):
                    self._attempt_failed(call, n, event.failure)
            case ev.TimerFired():
                self._timer_fired(event.timer)
            case ev.EventRaised():
                self._event_raised(n, event)
            case ev.EntityLockGranted():
                if self.section is not None and self.section.id == event.task:
                    self.section.granted()
            case ev.ExecutionStarted():
                self._begin()
            case _:
                raise AssertionError(f"{type(event).__name__} is for the ledger, not for the machine")

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

    def _timer_fired(self, timer: int) -> None:
        if task := self._timers.pop(timer, None):
            task._complete()
        elif call := self._back_off.pop(timer, None):
            self._calls[call.make(call.attempt, call.first)] = call

    def _event_raised(self, n: int, event: ev.EventRaised) -> None:
        name = event.name.casefold()
        for task in self._waits.get(name, ()):
            del self._waits[name][task]
            self._settle(task, event.input, task.annotation)
            return
        self._unread.setdefault(name, deque()).append(n)
        self._arrived[n] = event

    # ── running the function ───────────────────────────────────────────────────────────────────────────────────

    def _begin(self) -> None:
        from durablecli.replay.context import DurableOrchestrationContext  # the context is the machine's face

        try:
            self._enter(DurableOrchestrationContext(self))
        except BaseException as error:  # noqa: BLE001 - user code may raise anything
            self._threw(error)

    def _enter(self, context: Any) -> None:
        outcome = self._function(context)
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
                elif task._done or (isinstance(task, WhenAny) and self._won(task)):
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
                yielded = flow.throw(TypeError(_not_a_task(yielded)))
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
        if isinstance(task, EventTask):
            self._wake(task)
        elif isinstance(task, WhenAny):
            if self._race is None or not self.races(task.children):
                self._race = Race(task.children)
            for event in list(self._race.events):
                self._wake(event)
        elif isinstance(task, Composite) and not task._done:
            for event in list(task.events()):
                self._wake(event)

    def _won(self, task: WhenAny) -> bool:
        race = self._race
        if race is None or not race.finished:
            return False
        winner = race.finished[0]
        task.win(winner)
        for event in race.events:
            if not event._done:
                self.sleep(event)
        race.leave(winner)
        return True

    def _wake(self, task: EventTask[Any]) -> None:
        if task.dormant and not task._done:
            task.dormant = False
            self._listen(task)

    def _listen(self, task: EventTask[Any]) -> None:
        name = task.name.casefold()
        unread = self._unread.get(name)
        if not unread:
            self._waits.setdefault(name, {})[task] = None
            return
        event = self._arrived.pop(unread.popleft())
        self._settle(task, event.input, task.annotation)

    # ── the end ────────────────────────────────────────────────────────────────────────────────────────────────

    def _finish(self, value: Any) -> None:
        if self._continue is not None:
            self._end(ev.ContinueAsNew(*self._continue))
            return
        if isinstance(value, Task):
            raise TypeError("the orchestrator returned a task: did you forget `yield` or `await`?")
        try:
            result = self.encode(value)
        except Exception as error:  # noqa: BLE001 - a value may have code of the author's
            self._fail(error, retryable=False)
            return
        self._end(ev.ExecutionCompleted("Completed", result=result))

    def _fail(self, error: BaseException, *, retryable: bool = True) -> None:
        failure = from_exception(error)
        if not retryable:
            failure = replace(failure, retryable=False)
        try:
            self._end(ev.ExecutionCompleted("Failed", failure=failure, causes=causes_of(error)))
        except (NonDeterminism, Runaway) as verdict:
            self._verdict = verdict

    def _end(self, event: ev.ExecutionCompleted | ev.ContinueAsNew) -> None:
        self.decide(event)
        self.ended = True
        self._flow = self._race = self._awaiting = self.section = None  # no cycle is left for the garbage collector

    def unread(self) -> list[ev.EventRaised]:
        """The events that no wait has taken, in order of arrival: they move on with continue_as_new."""
        return list(self._arrived.values())

    def close(self) -> None:
        """Drop the function. It may run its `finally` blocks; nothing it does there counts."""
        self._sealed = True
        flow, self._flow = self._flow, None
        self._race = self._awaiting = None
        if flow is not None:
            try:
                flow.close()
            except BaseException as ignored:  # noqa: BLE001 - a function that refuses to end is dropped all the same
                del ignored

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
        task.id = make(1, None)
        self._calls[task.id] = Call(task, make, policy, task.id, self.now, 1, ())
        return task

    def timer(self, fire_at: datetime) -> TimerTask:
        n = self.decide(ev.TimerCreated(fire_at))
        task = self._timers[n] = TimerTask(self, n, fire_at)
        return task

    def wait(self, name: str, annotation: Any) -> EventTask[Any]:
        task: EventTask[Any] = EventTask(self, self.decide(ev.EventAwaited(name)), name, annotation)
        self._listen(task)
        return task

    def lock(self, entities: tuple[EntityId, ...]) -> LockTask:
        """Ask for the locks of these entities, which are in their order: `section` is there from now on."""
        if self.section is not None:
            raise RuntimeError(NESTED)
        n = self.decide(ev.EntityLockRequested(tuple(map(str, entities))))
        self.section = CriticalSection(self, n, entities)
        return self.section.ask()

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

    def say(self, level: int, text: str, arguments: tuple[Any, ...] = ()) -> None:
        """Keep one log line until the turn is published; a replayed turn has said it already."""
        if not self.is_replaying and not self._sealed:
            self.said.append((level, text, arguments))

    def next_id(self) -> int:
        """The counter behind new_uuid and new_guid."""
        self._ids += 1
        return self._ids

    @property
    def following(self) -> int:
        """The number that the next decision will have: never used twice, so what a sub-orchestration's id ends in."""
        return self._expected[0].n if self._expected else self._next

    # ── for tasks ──────────────────────────────────────────────────────────────────────────────────────────────

    def completed(self, task: Task[Any]) -> None:
        if self._race is not None:
            self._race.completed(task)

    def races(self, tasks: list[Task[Any]]) -> bool:
        """Whether these are the tasks of the race that is on, in its order."""
        return self._race is not None and self._race.is_for(tasks)

    def sleep(self, event: EventTask[Any]) -> None:
        """Let a wait that lost take nothing, until it is yielded again."""
        event.dormant = True
        self._waits.get(event.name.casefold(), {}).pop(event, None)

    def cancel_timer(self, timer: int) -> None:
        self.decide(ev.TimerCanceled(timer))
        self._timers.pop(timer, None)

    def raised(self, failure: Failure, message: str) -> Exception:
        return to_exception(failure, message, self._globals())

    def _globals(self) -> Mapping[str, Any]:
        return getattr(inspect.unwrap(self._function), "__globals__", {})

    def line(self) -> str:
        """`file:line` of the yield that the function stands at, or of the line that it runs."""
        frame = getattr(self._flow, "gi_frame", None) or getattr(self._flow, "cr_frame", None)
        if frame is None:
            code = getattr(inspect.unwrap(self._function), "__code__", None)
            return f"{code.co_filename}:{code.co_firstlineno}" if code else "?"
        return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _not_a_task(value: object) -> str:
    kind = type(value).__name__
    if isinstance(value, list | tuple):
        return f"an orchestrator may yield tasks only, not a {kind}: use context.task_all or context.task_any"
    return f"an orchestrator may yield or await the context's own tasks only, not {kind}"
