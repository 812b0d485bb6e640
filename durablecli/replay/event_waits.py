"""The external events of one execution: which wait takes which event, and the events that no wait has taken.

Waits take the events of their name, without case, first come, first served. An inactive wait takes none; one that is
activated takes an unread event, or queues behind the others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from durablecli.model import events as ev
from durablecli.model.failures import from_exception
from durablecli.model.payloads import decode
from durablecli.replay.runtime_state import RuntimeState
from durablecli.replay.tasks import EventTask


class EventWaits:
    """The active waits and the unread events.

    An event that doesn't fit its wait fails it. Here is also which turn a rewind has to take again for such an event.
    """

    def __init__(self) -> None:
        self._active: dict[str, dict[EventTask[Any], None]] = {}
        self._unread_by_name: dict[str, deque[int]] = {}
        self._unread: dict[int, ev.EventRaised] = {}
        self._has_changed = True
        self.arrival_n = 0
        """The arrival whose turn it is."""
        self._last_event_by_name: dict[str, int] = {}
        self._misfit_taken_in: dict[int, int] = {}
        self._misfit_seen_in: dict[int, int] = {}

    # ── events and waits ─────────────────────────────────────────────────────────────────────────────────────────

    def add_event(self, n: int, event: ev.EventRaised) -> None:
        """Give an event to the first wait in line, or keep it unread."""
        name = event.name.casefold()
        self._last_event_by_name[name] = n
        for task in self._active.get(name, ()):
            del self._active[name][task]
            self._complete(task, n, event)
            return
        self._unread_by_name.setdefault(name, deque()).append(n)
        self._unread[n] = event

    def add_wait(self, task: EventTask[Any]) -> None:
        """Give a wait an unread event, or let it queue for the next."""
        name = task.name.casefold()
        unread = self._unread_by_name.get(name)
        if not unread:
            self._active.setdefault(name, {})[task] = None
            return
        n = unread.popleft()
        self._complete(task, n, self._unread.pop(n))

    def deactivate(self, task: EventTask[Any]) -> None:
        """Let a wait take no events until it is activated."""
        if not task.inactive:
            task.inactive = self._has_changed = True
            self._active.get(task.name.casefold(), {}).pop(task, None)

    def activate(self, task: EventTask[Any]) -> None:
        """Let an inactive wait take events again."""
        task.inactive = False
        self._has_changed = True
        self.add_wait(task)

    def _complete(self, task: EventTask[Any], n: int, event: ev.EventRaised) -> None:
        try:
            value = decode(event.input, task.annotation)
        except Exception as error:  # noqa: BLE001 - a payload that doesn't fit its annotation fails the wait that took it
            self._misfit_taken_in[n] = self.arrival_n
            task.fail_with_misfit(n, from_exception(error))
        else:
            task.receive(value)

    def clear(self) -> None:
        """Forget the waits: their executor is closed."""
        self._active.clear()

    # ── what is recorded and moved on ────────────────────────────────────────────────────────────────────────────

    @property
    def unread_events(self) -> list[ev.EventRaised]:
        """The events that no wait has taken, in order of arrival."""
        return list(self._unread.values())

    def active_waits(self) -> dict[int, str]:
        """The names of the active waits by their number, in their order for each name."""
        return {task.id: task.name for tasks in self._active.values() for task in tasks}

    def unread_counts(self) -> dict[str, int]:
        """The number of unread events of each name."""
        return {name: len(numbers) for name, numbers in self._unread_by_name.items() if numbers}

    def take_change(self, state: RuntimeState) -> ev.EventWaitsChanged | None:
        """The record of the waits after a turn; None where the runtime state has them already."""
        if not self._has_changed:
            return None
        self._has_changed = False
        waits, unread = self.active_waits(), self.unread_counts()
        if state.event_waits.matches(waits, unread):
            return None
        return ev.EventWaitsChanged(tuple(waits.items()), unread)

    # ── events that don't fit, for rewind ────────────────────────────────────────────────────────────────────────

    def on_misfit_seen(self, task: EventTask[Any]) -> None:
        """Note the turn from which on the function knows that an event doesn't fit.

        Where other events of this name have come since, removing it changes which wait has taken which of them: then
        it is the turn in which it was taken.
        """
        (n,) = task.outcomes
        if n not in self._misfit_seen_in:
            is_last = self._last_event_by_name[task.name.casefold()] == n
            self._misfit_seen_in[n] = self.arrival_n if is_last else self._misfit_taken_in[n]

    def rewind_start(self, causes: Sequence[int]) -> int:
        """The first arrival whose turn a rewind takes again; 0 where that is the first of the causes."""
        first = min((self._misfit_seen_in.get(n, n) for n in causes), default=0)
        return first if causes and first != causes[0] else 0
