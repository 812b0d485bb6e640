"""The external events of one execution: which wait takes which, and the events that no wait has taken yet.

Events of one name, without case, are taken first come, first served. A wait that sleeps takes none; one that wakes
takes an event that is kept, or waits behind the others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from durablecli.model import events as ev
from durablecli.replay.runtime_state import Ledger
from durablecli.replay.tasks import EventTask

Take = Callable[[EventTask[Any], int, ev.EventRaised], None]


class EventWaits:
    """The waits that take events, and the events that are kept. `take` completes a wait with event number `n`.

    `has_moved` says that a wait went to sleep or woke since it was last cleared.
    """

    def __init__(self, take: Take) -> None:
        self._take = take
        self._awake: dict[str, dict[EventTask[Any], None]] = {}
        self._kept: dict[str, deque[int]] = {}
        self._arrived: dict[int, ev.EventRaised] = {}
        self.has_moved = True
        self.last: dict[str, int] = {}
        """The number of the last event of each name."""

    def raised(self, n: int, event: ev.EventRaised) -> None:
        """Give an event to the wait that is first in line, or keep it."""
        name = event.name.casefold()
        self.last[name] = n
        for task in self._awake.get(name, ()):
            del self._awake[name][task]
            self._take(task, n, event)
            return
        self._kept.setdefault(name, deque()).append(n)
        self._arrived[n] = event

    def listen(self, task: EventTask[Any]) -> None:
        """Let a wait take an event: one that is kept, or the next that comes after those in line before it."""
        name = task.name.casefold()
        kept = self._kept.get(name)
        if not kept:
            self._awake.setdefault(name, {})[task] = None
            return
        n = kept.popleft()
        self._take(task, n, self._arrived.pop(n))

    def sleep(self, task: EventTask[Any]) -> None:
        """Let a wait take no events until it wakes."""
        if not task.dormant:
            task.dormant = self.has_moved = True
            self._awake.get(task.name.casefold(), {}).pop(task, None)

    def wake(self, task: EventTask[Any]) -> None:
        task.dormant = False
        self.has_moved = True
        self.listen(task)

    @property
    def unread(self) -> list[ev.EventRaised]:
        """The events that no wait has taken, in order of arrival."""
        return list(self._arrived.values())

    def in_line(self) -> dict[int, str]:
        """The waits that take events, by number, in their order for each name."""
        return {task.id: task.name for tasks in self._awake.values() for task in tasks}

    def kept(self) -> dict[str, int]:
        """How many events of each name no wait has taken."""
        return {name: len(numbers) for name, numbers in self._kept.items() if numbers}


def changed_waits(events: EventWaits, ledger: Ledger) -> ev.EventWaitsChanged | None:
    """What a ledger has to be told after a turn; None where it knows the waits already."""
    if not events.has_moved:
        return None
    events.has_moved = False
    waits, unread = events.in_line(), events.kept()
    if ledger.is_waiting_for(waits, unread):
        return None
    return ev.EventWaitsChanged(tuple(waits.items()), unread)
