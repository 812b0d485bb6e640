"""Decisions of an execution whose history another engine keeps.

Such a history has no waits for events, no cancelled timers and no custom statuses. So these are numbered apart, and not
compared. The number of any other decision is the id of its action, and of the event in the history.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from durablecli.model import events as ev
from durablecli.replay.decision_log import DecisionLog

_NO_CALL_OPTIONS = (
    "a call can't have a timeout, heartbeat_timeout or priority of its own on another engine: the Durable Task "
    "protocol can't carry them. Declare time-outs at the activity, @df.activity(timeout=...)"
)
_UNRECORDED = frozenset({ev.EventAwaited, ev.TimerCanceled})


class ForeignDecisionLog(DecisionLog):
    """Compares decisions with the history of another engine.

    `decided` has the decisions that can have an outcome, by their number.
    """

    def __init__(self, expected: Iterable[ev.Record], incomplete: bool, current_line: Callable[[], str]) -> None:
        super().__init__(expected, incomplete, current_line)
        self.decided: dict[int, ev.Decision] = {}
        self.end: ev.ExecutionCompleted | ev.ContinueAsNew | None = None
        """How the function has ended; None if it hasn't."""
        self._made: list[int] = []
        self._last_wait = 0

    @property
    def free_n(self) -> int:
        """The first number that no decision of the turn has."""
        return self._next_n

    def decide(self, event: ev.Decision) -> int:
        """Compare a decision with the history, or record it. Returns its number; that of a wait is negative."""
        if type(event) in _UNRECORDED:
            if not self.count_decision():
                return 0
            self._last_wait -= 1
            return self._last_wait
        if isinstance(event, ev.TaskScheduled) and (event.timeout or event.heartbeat_timeout or event.priority):
            raise NotImplementedError(_NO_CALL_OPTIONS)
        n = super().decide(event)
        if isinstance(event, ev.ExecutionCompleted | ev.ContinueAsNew):
            self.end = event
            return n
        self.decided[n] = event
        self._made.append(n)
        if isinstance(event, ev.EntityUnlockSent):
            # One action releases the lock of one entity, and each has an id of its own.
            self._next_n = max(self._next_n, n + max(1, len(self.locked_entities(event.lock))))
        return n

    def take_made(self) -> list[int]:
        """Return the numbers of the decisions that were made since the last call."""
        made, self._made = self._made, []
        return made

    def locked_entities(self, lock: int) -> tuple[str, ...]:
        """The entities of a request for locks."""
        request = self.decided.get(lock)
        return request.entities if isinstance(request, ev.EntityLockRequested) else ()

    def due_time(self, timer: int) -> datetime | None:
        """When a timer is to fire."""
        created = self.decided.get(timer)
        return created.fire_at if isinstance(created, ev.TimerCreated) else None

    def check_may_cancel(self) -> None:
        """Refuse: an engine that speaks the protocol can't be asked to cancel a call."""
        raise NotImplementedError(
            "calls can't be cancelled on another engine (task.cancel, task_all with fail_fast): the Durable Task "
            "protocol has no action for that"
        )

    def decide_uncompared(self, event: ev.Decision) -> bool:
        """Count a decision that is neither compared nor recorded. False where no more are taken."""
        return self.count_decision()
