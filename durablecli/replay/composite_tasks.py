"""Tasks made of tasks. Completing a child is O(1): a `task_all` counts down.

A `task_any` that is yielded isn't a waiter of its tasks: the executor keeps a race for it. One inside another composite
task is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from durablecli.replay.raised_failures import attach_outcomes
from durablecli.replay.tasks import (
    CallTask,
    EntityCallTask,
    EventTask,
    T,
    Task,
    TaskOwner,
    TimerTask,
    get_value,
    has_failed,
    is_done,
    make_error,
)
from durablecli.replay.yield_hints import describe_type


class CompositeTask(Task[T]):
    """A task that waits for others."""

    __slots__ = ("_acquired_waits", "_deactivated", "_need_count", "_nested_waits", "children")

    def __init__(self, owner: TaskOwner, children: Iterable[Task[Any]], verb: str) -> None:
        super().__init__(owner)
        self.children = list(children)
        self._need_count = 0
        self._deactivated = False
        self._nested_waits: list[WaitTask] | None = None
        self._acquired_waits: list[WaitTask] = []
        if owner.is_racing(self.children):
            return  # the same tasks as in the last race without its winner: they needn't be checked one by one
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
        """Count one more that needs it. The first makes it need its incomplete children."""
        self._need_count += 1
        if self._need_count == 1:
            self._acquired_waits = acquire_waits(self._get_nested_waits(), to_activate)

    def release(self) -> None:
        """Count one less that needs it. After the last it needs its children no longer."""
        self._need_count -= 1
        if not self._need_count:
            self._release_waits()

    def deactivate_if_unneeded(self) -> None:
        """Let the event waits below take no events unless something needs them: this was awaited, and is complete."""
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

    def _complete(self, value: Any = None) -> None:
        self._release_waits()
        super()._complete(value)

    def on_child_completed(self, child: Task[Any]) -> None:
        """React to the completion of a child; each subclass does."""
        raise NotImplementedError


WaitTask = EventTask[Any] | CompositeTask[Any]
"""The tasks that are event waits, or may contain some."""
WAIT_TASK_TYPES = (EventTask, CompositeTask)


def find_wait_tasks(tasks: list[Task[Any]]) -> list[WaitTask]:
    """Find the event waits and composites among tasks, each once. Of thousands of calls only types are checked."""
    for kind in set(map(type, tasks)):
        if issubclass(kind, WAIT_TASK_TYPES):
            return list(dict.fromkeys([task for task in tasks if isinstance(task, WAIT_TASK_TYPES)]))
    return []


def acquire_waits(tasks: Iterable[WaitTask], to_activate: list[EventTask[Any]]) -> list[WaitTask]:
    """Need the incomplete tasks, and return them. They are activated later, as the first may complete others."""
    acquired = []
    for task in tasks:
        if not is_done(task):
            acquired.append(task)
            task.acquire(to_activate)
        elif isinstance(task, CompositeTask):
            task.deactivate_if_unneeded()
    return acquired


def release_waits(tasks: Iterable[WaitTask]) -> None:
    """Need the incomplete tasks no longer."""
    for task in tasks:
        if not is_done(task):
            task.release()


class WhenAll(CompositeTask[list[Any]]):
    """Waits for all tasks. The result is a list in input order, or the first failure in time.

    With `fail_fast` it fails as soon as one of them does, and cancels those that are open.
    """

    __slots__ = ("_fail_fast", "_remaining")

    def __init__(self, owner: TaskOwner, children: Iterable[Task[Any]], *, fail_fast: bool = False) -> None:
        if fail_fast:
            owner.check_may_cancel()
        super().__init__(owner, children, "task_all")
        self._fail_fast = fail_fast
        open_children = {child: None for child in self.children if not is_done(child)}
        self._remaining = len(open_children)
        for child in open_children:
            owner.waiters.add(child, self)
            if isinstance(child, WhenAny):
                child.watch_children()
        if self._done:
            return  # a task_any among them has completed, and failed all at once
        if self._remaining == 0:
            self._finish()
        elif fail_fast and (failed := list(filter(has_failed, self.children))):
            self._fail_at_once(min(failed, key=lambda child: child.failure_order))

    def on_child_completed(self, child: Task[Any]) -> None:
        if self._done:
            return
        self._remaining -= 1
        if self._fail_fast and has_failed(child):
            self._fail_at_once(child)
        elif self._remaining == 0:
            self._finish()

    def _fail_at_once(self, failed: Task[Any]) -> None:
        """Fail with the failure of one child, and cancel the others."""
        self.outcomes = failed.outcomes
        self._fail(failed)
        cancel_open(self.children)

    def _finish(self) -> None:
        failed = list(filter(has_failed, self.children))
        if failed:
            self.outcomes = tuple(sorted({n for child in failed for n in child.outcomes}))
            self._fail(min(failed, key=lambda child: child.failure_order))
        else:
            self._complete(list(map(get_value, self.children)))

    def _make_error(self) -> BaseException:
        error = make_error(self._value)  # of the first child that has failed
        attach_outcomes(error, self.outcomes)  # of all of them
        return error


def cancel_open(tasks: Iterable[Task[Any]]) -> None:
    """Cancel the calls and timers among tasks that haven't completed, and those below them. Others are left alone:
    waits for events end by themselves when nothing needs them, and calls of entities can't be cancelled."""
    waiting = list(tasks)
    waiting.reverse()
    while waiting:
        task = waiting.pop()
        if is_done(task):
            continue
        if isinstance(task, CompositeTask):
            waiting.extend(reversed(task.children))
        elif isinstance(task, TimerTask) or (isinstance(task, CallTask) and not isinstance(task, EntityCallTask)):
            task.cancel()


class WhenAny(CompositeTask[Task[Any]]):
    """Waits for the first task. The result is that task, failed or not; None of an empty list."""

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
        """Return the winning task; raises RuntimeError while there is none."""
        self._find_winner()
        return super().get_result()

    def _find_winner(self) -> None:
        """Find the winner if this was not awaited: the result must agree with `is_completed`."""
        if not self._done:
            winner = next((child for child in self.children if child.is_completed), None)
            if winner is not None:
                self.complete_with(winner)

    def watch_children(self) -> None:
        """Become a waiter of the children, because this is inside another composite."""
        if self._is_watching_children or self._done:
            return
        self._is_watching_children = True
        for child in self.children:
            if isinstance(child, WhenAny):
                child.watch_children()
        for child in self.children:
            if is_done(child):
                self.on_child_completed(child)
                return
            self._owner.waiters.add(child, self)

    def on_child_completed(self, child: Task[Any]) -> None:
        if not self._done:
            self.complete_with(child)

    def complete_with(self, winner: Task[Any]) -> None:
        if self._is_watching_children:
            for child in self.children:
                self._owner.waiters.remove(child, self)
        self._complete(winner)
