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

from durablecli.model.failures import Failure, task_failure_text
from durablecli.replay.raised_failures import attach_outcomes
from durablecli.replay.yield_hints import describe_type

T = TypeVar("T")


class TaskOwner(Protocol):
    """What a task needs of the machine that made it."""

    def on_task_completed(self, task: Task[Any]) -> None: ...
    def count_failure(self) -> int: ...
    def on_misfit_seen(self, event: EventTask[Any]) -> None: ...
    def cancel_timer(self, timer: int) -> None: ...
    def deactivate(self, event: EventTask[Any]) -> None: ...
    def is_racing(self, tasks: list[Task[Any]]) -> bool: ...
    def make_exception(self, failure: Failure, message: str) -> Exception: ...


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

    __slots__ = ("_done", "_error", "_owner", "_value", "_waiters", "failure_order", "id", "is_joined", "outcomes")

    def __init__(self, owner: TaskOwner, id: int = 0) -> None:
        self._owner = owner
        self.id = id
        self.is_joined = False
        """Whether it was ever put into a task_all or a task_any: then somebody meant to wait for it."""
        self.outcomes: tuple[int, ...] = ()
        self._done = False
        self._value: Any = None
        self._error: Callable[[], BaseException] | None = None
        self._waiters: dict[CompositeTask[Any], None] | None = None

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
            self.failure_order: int = self._owner.count_failure()
            """The position of its failure among all of the execution, in time. Only a task that failed has one."""
        waiters, self._waiters = self._waiters, None
        self._owner.on_task_completed(self)
        for waiter in waiters or ():
            waiter._on_child_completed(self)

    def _add_waiter(self, waiter: CompositeTask[Any]) -> None:
        if self._waiters is None:
            self._waiters = {}
        self._waiters[waiter] = None

    def _remove_waiter(self, waiter: CompositeTask[Any]) -> None:
        if self._waiters is not None:
            self._waiters.pop(waiter, None)


class CallTask(Task[T]):
    """An activity or a sub-orchestration, with all its attempts where it is retried."""

    __slots__ = ("_failure", "annotation", "label")

    def __init__(self, owner: TaskOwner, label: str, annotation: Any) -> None:
        super().__init__(owner)
        self.label = label
        self.annotation = annotation
        self._failure: Failure | None = None

    def fail(self, failure: Failure, outcomes: tuple[int, ...]) -> None:
        """Complete with a recorded failure; `outcomes` are the records that said so."""
        self._failure = failure
        self.outcomes = outcomes
        self._complete(error=self._make_error)

    def _make_error(self) -> BaseException:
        assert self._failure is not None
        error = self._owner.make_exception(self._failure, task_failure_text(self.label, self._failure))
        attach_outcomes(error, self.outcomes)
        return error


class TimerTask(Task[None]):
    """A durable timer. `cancel()` it when it isn't needed any more."""

    __slots__ = ("fire_at", "is_cancelled")

    def __init__(self, owner: TaskOwner, id: int, fire_at: datetime) -> None:
        super().__init__(owner, id)
        self.fire_at = fire_at
        self.is_cancelled = False

    def cancel(self) -> None:
        """Take the timer back; ValueError when it has fired or was cancelled already."""
        if self._done:
            raise ValueError("Cannot cancel a completed task.")
        self._owner.cancel_timer(self.id)
        self.is_cancelled = True
        self._complete(error=lambda: RuntimeError("the timer was cancelled"))


class EventTask(Task[T]):
    """A wait for an external event. `dormant` while it takes no events: it was awaited, and is no longer needed."""

    __slots__ = ("_misfit_failure", "_need_count", "annotation", "inactive", "name")

    def __init__(self, owner: TaskOwner, id: int, name: str, annotation: Any) -> None:
        super().__init__(owner, id)
        self.name = name
        self.annotation = annotation
        self.inactive = False
        self._misfit_failure: Failure | None = None
        self._need_count = 0

    @property
    def is_completed(self) -> bool:
        self.mark_misfit_seen()
        return self._done

    @property
    def is_faulted(self) -> bool:
        self.mark_misfit_seen()
        return super().is_faulted

    def fail_with_misfit(self, n: int, failure: Failure) -> None:
        """Fail with what came of reading event `n`."""
        self._misfit_failure = failure
        self.outcomes = (n,)
        if self.is_joined:
            self.mark_misfit_seen()
        self._complete(error=self._make_error)

    def mark_misfit_seen(self) -> None:
        """Say that the function can know of its failure from now on."""
        if self._misfit_failure is not None:
            self._owner.on_misfit_seen(self)

    def _make_error(self) -> BaseException:
        assert self._misfit_failure is not None
        self.mark_misfit_seen()
        text = (
            f"Event '{self.name}' (record {self.outcomes[0]}) doesn't fit the type that its wait expects: "
            f"{self._misfit_failure.message}. A rewind drops this event; then raise it again"
        )
        error = self._owner.make_exception(self._misfit_failure, text)
        attach_outcomes(error, self.outcomes)
        return error

    @property
    def must_activate(self) -> bool:
        """Whether it is needed and doesn't take events yet."""
        return self.inactive and self._need_count > 0 and not self._done

    def acquire(self, to_activate: list[EventTask[Any]]) -> None:
        """Count one more that needs it."""
        self._need_count += 1
        if self.inactive:
            to_activate.append(self)

    def release(self) -> None:
        """Count one less; a wait that nothing needs takes no events."""
        self._need_count -= 1
        self.deactivate_if_unneeded()

    def deactivate_if_unneeded(self) -> None:
        """Take no events, unless something needs it."""
        if not self._need_count and not self._done:
            self._owner.deactivate(self)


class CompositeTask(Task[T]):
    """A task made of tasks."""

    __slots__ = ("_acquired_waits", "_deactivated", "_need_count", "_nested_waits", "children")

    def __init__(self, owner: TaskOwner, children: Iterable[Task[Any]], verb: str) -> None:
        super().__init__(owner)
        self.children = list(children)
        self._need_count = 0
        self._deactivated = False
        self._nested_waits: list[WaitTask] | None = None
        self._acquired_waits: list[WaitTask] = []
        if owner.is_racing(self.children):
            return  # the same tasks as a moment ago, but the winner: they needn't be looked at one by one
        kinds = dict.fromkeys(map(type, self.children))
        for kind in kinds:
            if not issubclass(kind, Task):
                raise TypeError(f"{verb} takes tasks only, not {describe_type(kind)}")
        for child in self.children:
            child.is_joined = True
        if EventTask in kinds:
            for child in self.children:
                if isinstance(child, EventTask):
                    child.mark_misfit_seen()

    def acquire(self, to_activate: list[EventTask[Any]]) -> None:
        """Count one more that needs it. The first makes it need its children, as far as they aren't complete."""
        self._need_count += 1
        if self._need_count == 1:
            self._acquired_waits = acquire_waits(self._get_nested_waits(), to_activate)

    def release(self) -> None:
        """Count one less. What nothing needs doesn't need its children."""
        self._need_count -= 1
        if not self._need_count:
            self._release_waits()

    def deactivate_if_unneeded(self) -> None:
        """Let the waits below take no events, unless something needs them: this was awaited, and is complete."""
        if not self._deactivated:
            self._deactivated = True
            for each in self._get_nested_waits():
                each.deactivate_if_unneeded()

    def _get_nested_waits(self) -> list[WaitTask]:
        if self._nested_waits is None:
            self._nested_waits = find_wait_tasks(self.children)
        return self._nested_waits

    def _release_waits(self) -> None:
        acquired, self._acquired_waits = self._acquired_waits, []
        release_waits(acquired)

    def _complete(self, value: Any = None, error: Callable[[], BaseException] | None = None) -> None:
        self._release_waits()
        super()._complete(value, error)

    def _on_child_completed(self, child: Task[Any]) -> None:
        raise NotImplementedError


WaitTask = EventTask[Any] | CompositeTask[Any]
"""The tasks that are waits for events, or may have some below them."""
WAIT_TASK_TYPES = (EventTask, CompositeTask)


def find_wait_tasks(tasks: list[Task[Any]]) -> list[WaitTask]:
    """The tasks that matter to waits, each once. Of thousands of calls only the types are looked at, in C."""
    for kind in set(map(type, tasks)):
        if issubclass(kind, WAIT_TASK_TYPES):
            return list(dict.fromkeys([task for task in tasks if isinstance(task, WAIT_TASK_TYPES)]))
    return []


def acquire_waits(tasks: Iterable[WaitTask], to_activate: list[EventTask[Any]]) -> list[WaitTask]:
    """Need all that aren't complete, and return them. No wait is woken yet: the first to wake may complete others."""
    acquired = []
    for task in tasks:
        if not task._done:
            acquired.append(task)
            task.acquire(to_activate)
        elif isinstance(task, CompositeTask):
            task.deactivate_if_unneeded()
    return acquired


def release_waits(tasks: Iterable[WaitTask]) -> None:
    """Release those that aren't complete."""
    for task in tasks:
        if not task._done:
            task.release()


class WhenAll(CompositeTask[list[Any]]):
    """Waits for all; then the results in input order, or the first failure in time."""

    __slots__ = ("_remaining",)

    def __init__(self, owner: TaskOwner, children: Iterable[Task[Any]]) -> None:
        super().__init__(owner, children, "task_all")
        open_children = {child: None for child in self.children if not child._done}
        self._remaining = len(open_children)
        for child in open_children:
            child._add_waiter(self)
            if isinstance(child, WhenAny):
                child.watch_children()
        if self._remaining == 0 and not self._done:
            self._finish()

    def _on_child_completed(self, child: Task[Any]) -> None:
        self._remaining -= 1
        if self._remaining == 0:
            self._finish()

    def _finish(self) -> None:
        failed = [child for child in self.children if child._error is not None]
        if failed:
            self.outcomes = tuple(sorted({n for child in failed for n in child.outcomes}))
            first = min(failed, key=lambda child: child.failure_order)
            self._complete(error=lambda: self._make_error(first))
        else:
            self._complete([child._value for child in self.children])

    def _make_error(self, first: Task[Any]) -> BaseException:
        error: BaseException = first.result
        attach_outcomes(error, self.outcomes)  # of all the failed children
        return error


class WhenAny(CompositeTask[Task[Any]]):
    """Waits for the first; its result is the winning task, failed or not. The losers go on. Of nothing it is None."""

    __slots__ = ("_is_watching_children",)

    def __init__(self, owner: TaskOwner, children: Iterable[Task[Any]]) -> None:
        self._is_watching_children = False
        super().__init__(owner, children, "task_any")
        if not self.children:
            self._complete(None)

    @property
    def is_completed(self) -> bool:
        return self._done or any(child.is_completed for child in self.children)

    @property
    def result(self) -> Any:
        self._find_winner()
        return super().result

    def get_result(self) -> Task[Any]:
        """The winning task; RuntimeError while there is none."""
        self._find_winner()
        return super().get_result()

    def _find_winner(self) -> None:
        """Find the winner of one that was not awaited: its result must agree with `is_completed`."""
        if not self._done:
            winner = next((child for child in self.children if child.is_completed), None)
            if winner is not None:
                self.complete_with(winner)

    def watch_children(self) -> None:
        """Be told by the children themselves: for one that stands inside another composite."""
        if self._is_watching_children or self._done:
            return
        self._is_watching_children = True
        for child in self.children:
            if isinstance(child, WhenAny):
                child.watch_children()
        for child in self.children:
            if child._done:
                self._on_child_completed(child)
                return
            child._add_waiter(self)

    def _on_child_completed(self, child: Task[Any]) -> None:
        if not self._done:
            self.complete_with(child)

    def complete_with(self, winner: Task[Any]) -> None:
        if self._is_watching_children:
            for child in self.children:
                child._remove_waiter(self)
        self._complete(winner)


class Race:
    """Who is in the running for the `task_any` that is being waited for, and who has finished, in order."""

    __slots__ = ("_acquired_waits", "_contenders", "_contenders_in_order", "_nested_waits", "finished")

    def __init__(self, children: list[Task[Any]]) -> None:
        self._contenders_in_order = list(dict.fromkeys(children))
        self._contenders = set(children)
        for child in children:
            if isinstance(child, WhenAny):
                child.watch_children()
        self._nested_waits = find_wait_tasks(self._contenders_in_order)
        self._acquired_waits: list[WaitTask] = []
        self.finished = [child for child in self._contenders_in_order if child._done]

    def is_over(self, children: list[Task[Any]]) -> bool:
        return children == self._contenders_in_order  # tasks compare by identity, so this is one pass in C

    def on_task_completed(self, task: Task[Any]) -> None:
        if task in self._contenders:
            self.finished.append(task)

    def acquire(self, to_activate: list[EventTask[Any]]) -> None:
        """It is awaited: its tasks are needed."""
        self._acquired_waits = acquire_waits(self._nested_waits, to_activate)

    def release(self) -> None:
        """It is no longer awaited: its tasks aren't needed any more."""
        acquired, self._acquired_waits = self._acquired_waits, []
        release_waits(acquired)

    def remove_winner(self, winner: Task[Any]) -> None:
        """Make ready for the next wait over the same tasks but the winner."""
        self._contenders.discard(winner)
        self._contenders_in_order.remove(winner)
        self.finished.remove(winner)
        if isinstance(winner, WAIT_TASK_TYPES):
            self._nested_waits.remove(winner)
