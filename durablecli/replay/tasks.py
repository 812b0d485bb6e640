"""Tasks: what an orchestrator yields or awaits. A task is completed by an arrival, once, and knows its outcome.

Completing is O(1) per event: a `task_all` counts down. A `task_any` that is yielded doesn't enlist with its tasks;
the machine keeps one *race* for it, which the next `task_any` over the same tasks but the winner takes over as it is,
so a loop over 10,000 tasks as they complete doesn't look at all of them again each time.

A wait takes events until it is awaited for the first time, and from then on exactly while something that is awaited
needs it. The awaited task needs its children, and these need theirs, until each of them is complete; a wait counts how
many need it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from datetime import datetime
from enum import Enum
from typing import Any, Generic, NoReturn, Protocol, TypeVar

from durablecli.model.failures import Failure, failed_text
from durablecli.replay.raised_failures import note_outcomes
from durablecli.replay.yield_hints import described

T = TypeVar("T")


class Keeper(Protocol):
    """What a task needs of the machine that made it."""

    def completed(self, task: Task[Any]) -> None: ...
    def count_failure(self) -> int: ...
    def noticed(self, event: EventTask[Any]) -> None: ...
    def cancel_timer(self, timer: int) -> None: ...
    def sleep(self, event: EventTask[Any]) -> None: ...
    def races(self, tasks: list[Task[Any]]) -> bool: ...
    def raised(self, failure: Failure, message: str) -> Exception: ...


class TaskState(Enum):
    """The state of a task, as Azure's SDK names it."""

    RUNNING = 0
    SUCCEEDED = 1
    FAILED = 2


class Task(Generic[T]):
    """One pending outcome. Compare tasks by identity; yield (or await) them for their result.

    `id` is the number of the decision in the history. `result` is the value, the exception of a failed task, or None
    while it runs; `get_result()` returns the value or raises.
    """

    __slots__ = ("_done", "_error", "_keeper", "_value", "_waiters", "failure_order", "id", "is_joined", "outcomes")

    def __init__(self, keeper: Keeper, id: int = 0) -> None:
        self._keeper = keeper
        self.id = id
        self.is_joined = False
        """Whether it was ever put into a task_all or a task_any: then somebody meant to wait for it."""
        self.outcomes: tuple[int, ...] = ()
        self._done = False
        self._value: Any = None
        self._error: Callable[[], BaseException] | None = None
        self._waiters: dict[Composite[Any], None] | None = None

    @property
    def is_completed(self) -> bool:
        return self._done

    @property
    def is_faulted(self) -> bool:
        return self._done and self._error is not None

    @property
    def state(self) -> TaskState:
        """The same as `is_completed` and `is_faulted`, in the word of Azure's SDK."""
        if not self.is_completed:
            return TaskState.RUNNING
        return TaskState.FAILED if self.is_faulted else TaskState.SUCCEEDED

    @property
    def result(self) -> Any:
        if not self._done:
            return None
        return self._value if self._error is None else self._error()

    def get_result(self) -> T:
        """The value; raises the failure of a failed task, and RuntimeError while it still runs."""
        if not self._done:
            raise RuntimeError("the task hasn't completed: yield or await it first")
        if self._error is not None:
            raise self._error()
        value: T = self._value
        return value

    def __await__(self) -> Generator[Task[T], Any, T]:
        value: T = yield self
        return value

    def __iter__(self) -> NoReturn:
        raise TypeError("a task can't be iterated: did you forget `yield` or `await`?")

    def _complete(self, value: Any = None, error: Callable[[], BaseException] | None = None) -> None:
        self._done = True
        self._value = value
        self._error = error
        if error is not None:
            self.failure_order: int = self._keeper.count_failure()
            """The position of its failure among all of the execution, in time. Only a task that failed has one."""
        waiters, self._waiters = self._waiters, None
        self._keeper.completed(self)
        for waiter in waiters or ():
            waiter._child_completed(self)

    def _enlist(self, waiter: Composite[Any]) -> None:
        if self._waiters is None:
            self._waiters = {}
        self._waiters[waiter] = None

    def _leave(self, waiter: Composite[Any]) -> None:
        if self._waiters is not None:
            self._waiters.pop(waiter, None)


class CallTask(Task[T]):
    """An activity or a sub-orchestration, with all its attempts where it is retried."""

    __slots__ = ("_failed", "annotation", "label")

    def __init__(self, keeper: Keeper, label: str, annotation: Any) -> None:
        super().__init__(keeper)
        self.label = label
        self.annotation = annotation
        self._failed: Failure | None = None

    def fail(self, failure: Failure, outcomes: tuple[int, ...]) -> None:
        """Complete with a recorded failure; `outcomes` are the records that said so."""
        self._failed = failure
        self.outcomes = outcomes
        self._complete(error=self._raised)

    def _raised(self) -> BaseException:
        assert self._failed is not None
        error = self._keeper.raised(self._failed, failed_text(self.label, self._failed))
        note_outcomes(error, self.outcomes)
        return error


class TimerTask(Task[None]):
    """A durable timer. `cancel()` it when it isn't needed any more."""

    __slots__ = ("fire_at", "is_cancelled")

    def __init__(self, keeper: Keeper, id: int, fire_at: datetime) -> None:
        super().__init__(keeper, id)
        self.fire_at = fire_at
        self.is_cancelled = False

    def cancel(self) -> None:
        """Take the timer back; ValueError when it has fired or was cancelled already."""
        if self._done:
            raise ValueError("Cannot cancel a completed task.")
        self._keeper.cancel_timer(self.id)
        self.is_cancelled = True
        self._complete(error=lambda: RuntimeError("the timer was cancelled"))


class EventTask(Task[T]):
    """A wait for an external event. `dormant` while it takes no events: it was awaited, and is no longer needed."""

    __slots__ = ("_misfit", "_needs", "annotation", "dormant", "name")

    def __init__(self, keeper: Keeper, id: int, name: str, annotation: Any) -> None:
        super().__init__(keeper, id)
        self.name = name
        self.annotation = annotation
        self.dormant = False
        self._misfit: Failure | None = None
        self._needs = 0

    @property
    def is_completed(self) -> bool:
        self.notice()
        return self._done

    @property
    def is_faulted(self) -> bool:
        self.notice()
        return super().is_faulted

    def misfit(self, n: int, failure: Failure) -> None:
        """Fail with what came of reading event `n`."""
        self._misfit = failure
        self.outcomes = (n,)
        if self.is_joined:
            self.notice()
        self._complete(error=self._raised)

    def notice(self) -> None:
        """Say that the function can know of its failure from now on."""
        if self._misfit is not None:
            self._keeper.noticed(self)

    def _raised(self) -> BaseException:
        assert self._misfit is not None
        self.notice()
        text = (
            f"Event '{self.name}' (record {self.outcomes[0]}) doesn't fit the type that its wait expects: "
            f"{self._misfit.message}. A rewind drops this event; then raise it again"
        )
        error = self._keeper.raised(self._misfit, text)
        note_outcomes(error, self.outcomes)
        return error

    @property
    def must_wake(self) -> bool:
        """Whether it is needed and doesn't take events yet."""
        return self.dormant and self._needs > 0 and not self._done

    def need(self, to_wake: list[EventTask[Any]]) -> None:
        """Count one more that needs it."""
        self._needs += 1
        if self.dormant:
            to_wake.append(self)

    def release(self) -> None:
        """Count one less; a wait that nothing needs takes no events."""
        self._needs -= 1
        self.pass_over()

    def pass_over(self) -> None:
        """Take no events, unless something needs it."""
        if not self._needs and not self._done:
            self._keeper.sleep(self)


class Composite(Task[T]):
    """A task made of tasks."""

    __slots__ = ("_below", "_claims", "_needs", "_passed", "children")

    def __init__(self, keeper: Keeper, children: Iterable[Task[Any]], verb: str) -> None:
        super().__init__(keeper)
        self.children = list(children)
        self._needs = 0
        self._passed = False
        self._below: list[Waits] | None = None
        self._claims: list[Waits] = []
        if keeper.races(self.children):
            return  # the same tasks as a moment ago, but the winner: they needn't be looked at one by one
        kinds = dict.fromkeys(map(type, self.children))
        for kind in kinds:
            if not issubclass(kind, Task):
                raise TypeError(f"{verb} takes tasks only, not {described(kind)}")
        for child in self.children:
            child.is_joined = True
        if EventTask in kinds:
            for child in self.children:
                if isinstance(child, EventTask):
                    child.notice()

    def need(self, to_wake: list[EventTask[Any]]) -> None:
        """Count one more that needs it. The first makes it need its children, as far as they aren't complete."""
        self._needs += 1
        if self._needs == 1:
            self._claims = claim(self._waits_below(), to_wake)

    def release(self) -> None:
        """Count one less. What nothing needs doesn't need its children."""
        self._needs -= 1
        if not self._needs:
            self._let_go()

    def pass_over(self) -> None:
        """Let the waits below take no events, unless something needs them: this was awaited, and is complete."""
        if not self._passed:
            self._passed = True
            for each in self._waits_below():
                each.pass_over()

    def _waits_below(self) -> list[Waits]:
        if self._below is None:
            self._below = waits_among(self.children)
        return self._below

    def _let_go(self) -> None:
        claims, self._claims = self._claims, []
        let_go(claims)

    def _complete(self, value: Any = None, error: Callable[[], BaseException] | None = None) -> None:
        self._let_go()
        super()._complete(value, error)

    def _child_completed(self, child: Task[Any]) -> None:
        raise NotImplementedError


Waits = EventTask[Any] | Composite[Any]
"""The tasks that are waits for events, or may have some below them."""
WAITS = (EventTask, Composite)


def waits_among(tasks: list[Task[Any]]) -> list[Waits]:
    """The tasks that matter to waits, each once. Of thousands of calls only the types are looked at, in C."""
    for kind in set(map(type, tasks)):
        if issubclass(kind, WAITS):
            return list(dict.fromkeys([task for task in tasks if isinstance(task, WAITS)]))
    return []


def claim(tasks: Iterable[Waits], to_wake: list[EventTask[Any]]) -> list[Waits]:
    """Need all that aren't complete, and return them. No wait is woken yet: the first to wake may complete others."""
    claimed = []
    for task in tasks:
        if not task._done:
            claimed.append(task)
            task.need(to_wake)
        elif isinstance(task, Composite):
            task.pass_over()
    return claimed


def let_go(claims: Iterable[Waits]) -> None:
    """Release those that aren't complete."""
    for task in claims:
        if not task._done:
            task.release()


class WhenAll(Composite[list[Any]]):
    """Waits for all; then the results in input order, or the first failure in time."""

    __slots__ = ("_left",)

    def __init__(self, keeper: Keeper, children: Iterable[Task[Any]]) -> None:
        super().__init__(keeper, children, "task_all")
        open_children = {child: None for child in self.children if not child._done}
        self._left = len(open_children)
        for child in open_children:
            child._enlist(self)
            if isinstance(child, WhenAny):
                child.enlist()
        if self._left == 0 and not self._done:
            self._finish()

    def _child_completed(self, child: Task[Any]) -> None:
        self._left -= 1
        if self._left == 0:
            self._finish()

    def _finish(self) -> None:
        failed = [child for child in self.children if child._error is not None]
        if failed:
            self.outcomes = tuple(sorted({n for child in failed for n in child.outcomes}))
            first = min(failed, key=lambda child: child.failure_order)
            self._complete(error=lambda: self._raised(first))
        else:
            self._complete([child._value for child in self.children])

    def _raised(self, first: Task[Any]) -> BaseException:
        error: BaseException = first.result
        note_outcomes(error, self.outcomes)  # of all the failed children
        return error


class WhenAny(Composite[Task[Any]]):
    """Waits for the first; its result is the winning task, failed or not. The losers go on. Of nothing it is None."""

    __slots__ = ("_enlisted",)

    def __init__(self, keeper: Keeper, children: Iterable[Task[Any]]) -> None:
        self._enlisted = False
        super().__init__(keeper, children, "task_any")
        if not self.children:
            self._complete(None)

    @property
    def is_completed(self) -> bool:
        return self._done or any(child.is_completed for child in self.children)

    @property
    def result(self) -> Any:
        self._look()
        return super().result

    def get_result(self) -> Task[Any]:
        """The winning task; RuntimeError while there is none."""
        self._look()
        return super().get_result()

    def _look(self) -> None:
        """Find the winner of one that was not awaited: its result must agree with `is_completed`."""
        if not self._done:
            winner = next((child for child in self.children if child.is_completed), None)
            if winner is not None:
                self.win(winner)

    def enlist(self) -> None:
        """Be told by the children themselves: for one that stands inside another composite."""
        if self._enlisted or self._done:
            return
        self._enlisted = True
        for child in self.children:
            if isinstance(child, WhenAny):
                child.enlist()
        for child in self.children:
            if child._done:
                self._child_completed(child)
                return
            child._enlist(self)

    def _child_completed(self, child: Task[Any]) -> None:
        if not self._done:
            self.win(child)

    def win(self, winner: Task[Any]) -> None:
        if self._enlisted:
            for child in self.children:
                child._leave(self)
        self._complete(winner)


class Race:
    """Who is in the running for the `task_any` that is being waited for, and who has finished, in order."""

    __slots__ = ("_below", "_claims", "_members", "_ordered", "finished")

    def __init__(self, children: list[Task[Any]]) -> None:
        self._ordered = list(dict.fromkeys(children))
        self._members = set(children)
        for child in children:
            if isinstance(child, WhenAny):
                child.enlist()
        self._below = waits_among(self._ordered)
        self._claims: list[Waits] = []
        self.finished = [child for child in self._ordered if child._done]

    def is_for(self, children: list[Task[Any]]) -> bool:
        return children == self._ordered  # tasks compare by identity, so this is one pass in C

    def completed(self, task: Task[Any]) -> None:
        if task in self._members:
            self.finished.append(task)

    def need(self, to_wake: list[EventTask[Any]]) -> None:
        """It is awaited: its tasks are needed."""
        self._claims = claim(self._below, to_wake)

    def rest(self) -> None:
        """It is no longer awaited: its tasks aren't needed any more."""
        claims, self._claims = self._claims, []
        let_go(claims)

    def leave(self, winner: Task[Any]) -> None:
        """Make ready for the next wait over the same tasks but the winner."""
        self._members.discard(winner)
        self._ordered.remove(winner)
        self.finished.remove(winner)
        if isinstance(winner, WAITS):
            self._below.remove(winner)
