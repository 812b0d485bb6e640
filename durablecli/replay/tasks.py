"""Tasks: what an orchestrator yields or awaits. A task is completed once, by an arrival, and keeps its outcome.

An event wait is active until it is awaited for the first time, and from then on exactly while something that is awaited
needs it. The awaited task needs its children, and these need theirs, until each of them is complete; an event wait
counts how many need it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from datetime import datetime
from enum import Enum
from typing import Any, Generic, NoReturn, Protocol, TypeVar

from msgspec import Raw

from durablecli.model.failures import Failure, task_failure_text
from durablecli.model.payloads import decode
from durablecli.replay.raised_failures import attach_outcomes

T = TypeVar("T")
MakeError = Callable[[], BaseException]
"""Makes the exception of a failed task: a new one each time it is raised."""


class TaskOwner(Protocol):
    """What a task needs of the executor that made it."""

    def on_task_completed(self, task: Task[Any]) -> None: ...
    def count_failure(self) -> int: ...
    def on_misfit_seen(self, event: EventTask[Any]) -> None: ...
    def cancel_timer(self, timer: int) -> None: ...
    def deactivate(self, event: EventTask[Any]) -> None: ...
    def is_racing(self, tasks: list[Task[Any]]) -> bool: ...
    def make_exception(self, failure: Failure, message: str) -> Exception: ...


class Waiter(Protocol):
    """A task that waits for others."""

    def on_child_completed(self, child: Task[Any]) -> None: ...


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
        """Whether it was ever part of a task_all or a task_any, so that the author meant to wait for it."""
        self.outcomes: tuple[int, ...] = ()
        self._done = False
        self._value: Any = None
        self._error: MakeError | None = None
        self._waiters: dict[Waiter, None] | None = None

    @property
    def is_completed(self) -> bool:
        return self._done

    @property
    def is_faulted(self) -> bool:
        return self._done and self._error is not None

    @property
    def state(self) -> TaskState:
        """`is_completed` and `is_faulted` as one value, as Azure's SDK has it."""
        if not self.is_completed:
            return TaskState.RUNNING
        return TaskState.FAILED if self.is_faulted else TaskState.SUCCEEDED

    @property
    def result(self) -> Any:
        if not self._done:
            return None
        return self._value if self._error is None else self._error()

    def get_result(self) -> T:
        """Return the value. Raises the failure of a failed task, and RuntimeError while the task runs."""
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

    def _complete(self, value: Any = None, error: MakeError | None = None) -> None:
        self._done = True
        self._value = value
        self._error = error
        if error is not None:
            self.failure_order: int = self._owner.count_failure()
            """The position of its failure among all of the execution, in time. Only a task that failed has one."""
        waiters, self._waiters = self._waiters, None
        self._owner.on_task_completed(self)
        for waiter in waiters or ():
            waiter.on_child_completed(self)


# ── for the executor and for tasks made of tasks: none of this counts as the author's code looking at a task ─────────


def is_done(task: Task[Any]) -> bool:
    """Whether a task is complete."""
    return task._done


def get_outcome(task: Task[Any]) -> tuple[Any, MakeError | None]:
    """The value of a complete task, and what makes its error if it has failed."""
    return task._value, task._error


def add_waiter(task: Task[Any], waiter: Waiter) -> None:
    """Have a waiter called when a task completes."""
    if task._waiters is None:
        task._waiters = {}
    task._waiters[waiter] = None


def remove_waiter(task: Task[Any], waiter: Waiter) -> None:
    """Have a waiter called no longer."""
    if task._waiters is not None:
        task._waiters.pop(waiter, None)


# ── tasks that arrivals complete ─────────────────────────────────────────────────────────────────────────────────────


class CallTask(Task[T]):
    """A call to an activity, a sub-orchestration or an entity, with all its attempts if it is retried."""

    __slots__ = ("_failure", "annotation", "label")

    def __init__(self, owner: TaskOwner, label: str, annotation: Any) -> None:
        super().__init__(owner)
        self.label = label
        self.annotation = annotation
        self._failure: Failure | None = None

    def complete(self, result: Raw) -> None:
        """Complete with a recorded result. One that doesn't fit its annotation fails the task."""
        try:
            value = decode(result, self.annotation)
        except Exception as error:  # noqa: BLE001 - decoding may run code of the author's
            mismatch = error
            self._complete(error=lambda: mismatch)
        else:
            self._complete(value)

    def fail(self, failure: Failure, outcomes: tuple[int, ...]) -> None:
        """Fail with a recorded failure; `outcomes` are the records of all failed attempts."""
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
        """Cancel the timer. Raises ValueError if it has fired or was cancelled already."""
        if self._done:
            raise ValueError("Cannot cancel a completed task.")
        self._owner.cancel_timer(self.id)
        self.is_cancelled = True
        self._complete(error=lambda: RuntimeError("the timer was cancelled"))

    def fire(self) -> None:
        """Complete, because the time has come."""
        self._complete()


class EventTask(Task[T]):
    """A wait for an external event. `inactive` while it takes no events: it was awaited, and is no longer needed."""

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

    def receive(self, value: T) -> None:
        """Complete with the payload of an event."""
        self._complete(value)

    def fail_with_misfit(self, n: int, failure: Failure) -> None:
        """Fail, because event `n` doesn't fit the annotation."""
        self._misfit_failure = failure
        self.outcomes = (n,)
        if self.is_joined:
            self.mark_misfit_seen()
        self._complete(error=self._make_error)

    def mark_misfit_seen(self) -> None:
        """Note that the function can know of the misfit from now on."""
        if self._misfit_failure is not None:
            self._owner.on_misfit_seen(self)

    def _make_error(self) -> BaseException:
        assert self._misfit_failure is not None
        self.mark_misfit_seen()
        text = (
            f"Event '{self.name}' (record {self.outcomes[0]}) doesn't fit the type that its wait expects: "
            f"{self._misfit_failure.message}. Rewind the instance to drop this event, then raise it again"
        )
        error = self._owner.make_exception(self._misfit_failure, text)
        attach_outcomes(error, self.outcomes)
        return error

    # ── how many need it ─────────────────────────────────────────────────────────────────────────────────────────

    @property
    def must_activate(self) -> bool:
        """Whether it is needed and inactive."""
        return self.inactive and self._need_count > 0 and not self._done

    def acquire(self, to_activate: list[EventTask[Any]]) -> None:
        """Count one more that needs it."""
        self._need_count += 1
        if self.inactive:
            to_activate.append(self)

    def release(self) -> None:
        """Count one less that needs it."""
        self._need_count -= 1
        self.deactivate_if_unneeded()

    def deactivate_if_unneeded(self) -> None:
        """Take no more events, unless something needs it."""
        if not self._need_count and not self._done:
            self._owner.deactivate(self)
