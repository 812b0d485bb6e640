"""The task that an orchestrator waits for. For a `task_any` it is a race between its tasks.

A `task_any` over the same tasks but the winner takes over the race of the one before, so a loop over 10,000 tasks as
they complete doesn't look at all of them each time.
"""

from __future__ import annotations

from typing import Any

from durablecli.replay.composite_tasks import (
    WAIT_TASK_TYPES,
    WaitTask,
    WhenAny,
    acquire_waits,
    find_wait_tasks,
    release_waits,
)
from durablecli.replay.event_waits import EventWaits
from durablecli.replay.tasks import EventTask, Task, TaskWaiters, is_done


class Race:
    """The contenders of the `task_any` that is awaited, and those that have finished, in order."""

    __slots__ = ("_acquired_waits", "_contenders", "_contenders_in_order", "_nested_waits", "finished")

    def __init__(self, children: list[Task[Any]]) -> None:
        self._contenders_in_order = list(dict.fromkeys(children))
        self._contenders = set(children)
        for child in children:
            if isinstance(child, WhenAny):
                child.watch_children()
        self._nested_waits = find_wait_tasks(self._contenders_in_order)
        self._acquired_waits: list[WaitTask] = []
        self.finished = [child for child in self._contenders_in_order if is_done(child)]

    def is_over(self, children: list[Task[Any]]) -> bool:
        """Whether these are its contenders, in their order."""
        return children == self._contenders_in_order  # tasks compare by identity, so this is one pass in C

    def on_task_completed(self, task: Task[Any]) -> None:
        """Note a contender that has finished."""
        if task in self._contenders:
            self.finished.append(task)

    def acquire(self, to_activate: list[EventTask[Any]]) -> None:
        """Need its tasks, because it is awaited."""
        self._acquired_waits = acquire_waits(self._nested_waits, to_activate)

    def release(self) -> None:
        """Need its tasks no longer."""
        acquired, self._acquired_waits = self._acquired_waits, []
        release_waits(acquired)

    def remove_winner(self, winner: Task[Any]) -> None:
        """Prepare for the next wait for the same tasks without the winner."""
        self._contenders.discard(winner)
        self._contenders_in_order.remove(winner)
        self.finished.remove(winner)
        if isinstance(winner, WAIT_TASK_TYPES):
            self._nested_waits.remove(winner)


class AwaitedTask:
    """The task that the function has yielded last, None while the function runs."""

    __slots__ = ("_event_waits", "_race", "_waiters", "task")

    def __init__(self, event_waits: EventWaits, waiters: TaskWaiters) -> None:
        self.task: Task[Any] | None = None
        self._race: Race | None = None
        self._event_waits = event_waits
        self._waiters = waiters

    def set(self, task: Task[Any]) -> None:
        """Wait for a task, and activate the event waits that it needs."""
        self.task = task
        if isinstance(task, WAIT_TASK_TYPES):
            self._activate_waits(task)

    def clear(self) -> None:
        """Wait for nothing any more."""
        self.task = self._race = None

    def take_completed(self) -> Task[Any] | None:
        """Return the task, and wait for nothing; None while it isn't complete.

        The event waits that lost a race are inactive from then on.
        """
        task = self.task
        assert task is not None
        if not (self._is_any_complete(task) if type(task) is WhenAny else is_done(task)):
            return None
        self.task = None
        return task

    def on_task_completed(self, task: Task[Any]) -> None:
        """Note that a task is complete, and tell those that wait for it."""
        if self._race is not None:
            self._race.on_task_completed(task)
        self._waiters.on_task_completed(task)

    def is_racing(self, tasks: list[Task[Any]]) -> bool:
        """Whether these are the tasks of the present race, in its order."""
        return self._race is not None and self._race.is_over(tasks)

    def _activate_waits(self, task: WaitTask) -> None:
        """Activate the event waits that an awaited task needs, in order."""
        to_activate: list[EventTask[Any]] = []
        race: Race | None = None
        if isinstance(task, EventTask):
            task.acquire(to_activate)
        elif is_done(task):
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
                return  # the first to be activated took an unread event, so the others aren't needed any more
            if event.must_activate:
                self._event_waits.activate(event)

    def _is_any_complete(self, task: WhenAny) -> bool:
        race = self._race
        if race is None:
            return is_done(task)
        if not is_done(task):
            if not race.finished:
                return False
            winner = race.finished[0]
            task.complete_with(winner)
            race.release()
            race.remove_winner(winner)
        else:
            race.release()
        return True
