"""Tasks: what an orchestrator yields or awaits. A task is completed once, by an arrival, and keeps its outcome.

An event wait is active until it is awaited for the first time, and from then on exactly while something that is awaited
needs it. The awaited task needs its children, and these need theirs, until each of them is complete; an event wait
counts how many need it.

A task refers to its executor, and a composite task to its children; nothing here refers back to a task, and no task
holds an exception, whose traceback would refer to the frames that hold the task. So once an executor has let go of its
open tasks, reference counting frees everything.
"""

from __future__ import annotations

from collections.abc import Generator
from datetime import datetime
from enum import Enum
from typing import Any, Generic, NoReturn, Protocol, TypeVar

from msgspec import Raw

from durablecli.errors import Mismatch, TaskCanceledError
from durablecli.model.failures import Failure, qualified_name, task_failure_text
from durablecli.model.payloads import decode
from durablecli.replay.raised_failures import attach_outcomes

T = TypeVar("T")
_ALREADY_COMPLETED = "Cannot cancel a completed task."
_CANCELED_BASES = tuple(map(qualified_name, TaskCanceledError.__mro__[1:-2]))


class TaskOwner(Protocol):
    """What a task needs of the executor that made it."""

    @property
    def waiters(self) -> TaskWaiters: ...
    def on_task_completed(self, task: Task[Any]) -> None: ...
    def count_failure(self) -> int: ...
    def on_misfit_seen(self, event: EventTask[Any]) -> None: ...
    def cancel_timer(self, timer: int) -> None: ...
    def cancel_call(self, call: int) -> None: ...
    def check_may_cancel(self) -> None: ...
    def deactivate(self, event: EventTask[Any]) -> None: ...
    def is_racing(self, tasks: list[Task[Any]]) -> bool: ...
    def make_exception(self, failure: Failure, message: str) -> Exception: ...


class Waiter(Protocol):
    """A task that waits for others."""

    def on_child_completed(self, child: Task[Any]) -> None: ...


class TaskWaiters:
    """The tasks that wait for other tasks, in the order in which they began to."""

    __slots__ = ("_waiters",)

    def __init__(self) -> None:
        self._waiters: dict[Task[Any], dict[Waiter, None]] = {}

    def add(self, task: Task[Any], waiter: Waiter) -> None:
        """Have a waiter called when a task completes."""
        self._waiters.setdefault(task, {})[waiter] = None

    def remove(self, task: Task[Any], waiter: Waiter) -> None:
        """Have a waiter called no longer."""
        waiters = self._waiters.get(task)
        if waiters is not None and waiter in waiters:
            del waiters[waiter]
            if not waiters:
                del self._waiters[task]

    def on_task_completed(self, task: Task[Any]) -> None:
        """Call the waiters of a task that has completed."""
        if self._waiters:
            for waiter in self._waiters.pop(task, ()):
                waiter.on_child_completed(task)

    def clear(self) -> None:
        """Forget all of them."""
        self._waiters.clear()


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

    __slots__ = ("_done", "_failed", "_owner", "_value", "failure_order", "id", "is_joined", "outcomes")

    def __init__(self, owner: TaskOwner, id: int = 0) -> None:
        self._owner = owner
        self.id = id
        self.is_joined = False
        """Whether it was ever part of a task_all or a task_any, so that the author meant to wait for it."""
        self.outcomes: tuple[int, ...] = ()
        self._done = False
        self._failed = False
        self._value: Any = None
        """The result. Of a failed task that from which its exception is made."""

    @property
    def is_completed(self) -> bool:
        return self._done

    @property
    def is_faulted(self) -> bool:
        return self._done and self._failed

    @property
    def is_complete(self) -> bool:
        """The same as `is_completed`, as the newer SDK has it."""
        return self.is_completed

    @property
    def is_failed(self) -> bool:
        """The same as `is_faulted`, as the newer SDK has it."""
        return self.is_faulted

    def get_exception(self) -> BaseException:
        """Return the exception of a failed task; raises ValueError for any other."""
        if not self.is_faulted:
            raise ValueError("the task has not failed")
        return self._make_error()

    @property
    def state(self) -> TaskState:
        """`is_completed` and `is_faulted` as one value, as Azure's SDK has it."""
        if not self.is_completed:
            return TaskState.RUNNING
        return TaskState.FAILED if self.is_faulted else TaskState.SUCCEEDED

    @property
    def result(self) -> Any:
        return self._make_error() if self._failed else self._value

    def get_result(self) -> T:
        """Return the value. Raises the failure of a failed task, and RuntimeError while the task runs."""
        if not self._done:
            raise RuntimeError("the task hasn't completed: yield or await it first")
        if self._failed:
            raise self._make_error()
        value: T = self._value
        return value

    def __await__(self) -> Generator[Task[T], Any, T]:
        value: T = yield self
        return value

    def __iter__(self) -> NoReturn:
        raise TypeError("a task can't be iterated: did you forget `yield` or `await`?")

    def _complete(self, value: Any = None) -> None:
        self._done = True
        self._value = value
        self._owner.on_task_completed(self)

    def _fail(self, reason: Any = None) -> None:
        self.failure_order: int = self._owner.count_failure()
        """The position of its failure among all of the execution, in time. Only a task that failed has one."""
        self._failed = True
        self._complete(reason)

    def _make_error(self) -> BaseException:
        """Make the exception of a failed task: a new one each time it is raised. Each subclass that can fail does."""
        raise NotImplementedError


# ── for the executor and for tasks made of tasks: none of this counts as the author's code looking at a task ─────────


def is_done(task: Task[Any]) -> bool:
    """Whether a task is complete."""
    return task._done


def has_failed(task: Task[Any]) -> bool:
    """Whether a task is complete and has failed."""
    return task._failed


def get_value(task: Task[Any]) -> Any:
    """The result of a task that has completed without a failure."""
    return task._value


def make_error(task: Task[Any]) -> BaseException:
    """Make the exception of a task that has failed."""
    return task._make_error()


# ── tasks that arrivals complete ─────────────────────────────────────────────────────────────────────────────────────


class CallTask(Task[T]):
    """A call to an activity, a sub-orchestration or an entity, with all its attempts if it is retried.

    `cancel()` it when its result isn't needed any more: the activity is stopped, or the sub-orchestration terminated.
    `open_n` is the decision whose outcome it awaits: its present attempt, or the timer before the next one.
    """

    __slots__ = ("annotation", "is_cancelled", "label", "open_n")

    def __init__(self, owner: TaskOwner, id: int, label: str, annotation: Any) -> None:
        super().__init__(owner, id)
        self.label = label
        self.annotation = annotation
        self.is_cancelled = False
        self.open_n = id

    def cancel(self) -> None:
        """Cancel the call, with all attempts that it may still have. Awaiting it raises a `df.TaskCanceledError`.

        Raises ValueError if it has completed, or was cancelled already.
        """
        if self._done:
            raise ValueError(_ALREADY_COMPLETED)
        self._owner.cancel_call(self.open_n)
        self.is_cancelled = True
        text = f"{self.label or 'The call'} was cancelled by the orchestrator"
        self._fail(Failure(qualified_name(TaskCanceledError), text, _CANCELED_BASES))

    def complete(self, result: Raw) -> None:
        """Complete with a recorded result. One that doesn't fit its annotation fails the task."""
        try:
            value = decode(result, self.annotation)
        except Exception:  # noqa: BLE001 - decoding may run code of the author's
            self._fail(result)
        else:
            self._complete(value)

    def fail(self, failure: Failure, outcomes: tuple[int, ...]) -> None:
        """Fail with a recorded failure; `outcomes` are the records of all failed attempts."""
        self.outcomes = outcomes
        self._fail(failure)

    def _make_error(self) -> BaseException:
        failure = self._value
        if not isinstance(failure, Failure):
            return self._make_mismatch(failure)
        if self.is_cancelled:
            return TaskCanceledError(failure.message, failure)
        error = self._owner.make_exception(failure, task_failure_text(self.label, failure))
        attach_outcomes(error, self.outcomes)
        return error

    def _make_mismatch(self, result: Raw) -> BaseException:
        """Make the exception of a result that doesn't fit, by decoding it again."""
        try:
            decode(result, self.annotation)
        except Exception as error:  # noqa: BLE001 - decoding may run code of the author's
            return error
        return Mismatch("$", "the result didn't fit when it arrived, and now it does: from_json must be deterministic")


class EntityCallTask(CallTask[T]):
    """A call of an operation of an entity. It can't be cancelled: the operation may run already."""

    __slots__ = ()

    def cancel(self) -> None:
        """Raise ValueError."""
        raise ValueError("a call of an entity can't be cancelled: its operation may have run already")


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
            raise ValueError(_ALREADY_COMPLETED)
        self._owner.cancel_timer(self.id)
        self.is_cancelled = True
        self._fail()

    def fire(self) -> None:
        """Complete, because the time has come."""
        self._complete()

    def _make_error(self) -> BaseException:
        return RuntimeError("the timer was cancelled")


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
        self._fail(failure)

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
