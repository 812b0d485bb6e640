"""The external events of one execution: which wait takes which, and the events that no wait has taken yet.

Events of one name, without case, are taken first come, first served. A wait that sleeps takes none; one that wakes
takes an event that is kept, or waits behind the others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from durablecli.model import events as ev
from durablecli.replay.runtime_state import RuntimeState
from durablecli.replay.tasks import EventTask

CompleteWait = Callable[[EventTask[Any], int, ev.EventRaised], None]


class EventWaits:
    """The waits that take events, and the events that are kept. `take` completes a wait with event number `n`.

    `has_moved` says that a wait went to sleep or woke since it was last cleared.
    """

    def __init__(self, complete_wait: CompleteWait) -> None:
        self._complete_wait = complete_wait
        self._active: dict[str, dict[EventTask[Any], None]] = {}
        self._unread_by_name: dict[str, deque[int]] = {}
        self._unread: dict[int, ev.EventRaised] = {}
        self.has_changed = True
        self.last_event_by_name: dict[str, int] = {}
        """The number of the last event of each name."""

    def add_event(self, n: int, event: ev.EventRaised) -> None:
        """Give an event to the wait that is first in line, or keep it."""
        name = event.name.casefold()
        self.last_event_by_name[name] = n
        for task in self._active.get(name, ()):
            del self._active[name][task]
            self._complete_wait(task, n, event)
            return
        self._unread_by_name.setdefault(name, deque()).append(n)
        self._unread[n] = event

    def add_wait(self, task: EventTask[Any]) -> None:
        """Let a wait take an event: one that is kept, or the next that comes after those in line before it."""
        name = task.name.casefold()
        kept = self._unread_by_name.get(name)
        if not kept:
            self._active.setdefault(name, {})[task] = None
            return
        n = kept.popleft()
        self._complete_wait(task, n, self._unread.pop(n))

    def deactivate(self, task: EventTask[Any]) -> None:
        """Let a wait take no events until it wakes."""
        if not task.inactive:
            task.inactive = self.has_changed = True
            self._active.get(task.name.casefold(), {}).pop(task, None)

    def activate(self, task: EventTask[Any]) -> None:
        task.inactive = False
        self.has_changed = True
        self.add_wait(task)

    @property
    def unread_events(self) -> list[ev.EventRaised]:
        """The events that no wait has taken, in order of arrival."""
        return list(self._unread.values())

    def active_waits(self) -> dict[int, str]:
        """The waits that take events, by number, in their order for each name."""
        return {task.id: task.name for tasks in self._active.values() for task in tasks}

    def unread_counts(self) -> dict[str, int]:
        """How many events of each name no wait has taken."""
        return {name: len(numbers) for name, numbers in self._unread_by_name.items() if numbers}


def make_waits_changed(events: EventWaits, state: RuntimeState) -> ev.EventWaitsChanged | None:
    """What a ledger has to be told after a turn; None where it knows the waits already."""
    if not events.has_changed:
        return None
    events.has_changed = False
    waits, unread = events.active_waits(), events.unread_counts()
    if state.matches_waits(waits, unread):
        return None
    return ev.EventWaitsChanged(tuple(waits.items()), unread)
