"""The ledger: the fold of a history that needs no user code. O(1) a record; the same code live and from a file.

It knows which arrivals count, what is held back, open, waited for, suspended and blocked. What an instance owes the
world is what is open here, plus the arrivals it holds: there is no other queue.

A *held* arrival is recorded and not yet applied; an `OrchestratorStarted{upto}` applies it. A rewind makes the arrivals
from its starting point on held once more, except those it forgets.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from msgspec import Raw

from durablecli.model import events as ev
from durablecli.model.failures import Failure

Owed = (
    ev.TaskScheduled
    | ev.TimerCreated
    | ev.SubOrchestrationInstanceCreated
    | ev.EntityOperationCalled
    | ev.EntityLockRequested
)


@dataclass(slots=True)
class Turn:
    """One arrival as it was applied, and the decisions that followed."""

    arrival: ev.Record
    at: datetime
    decisions: list[ev.Record] = field(default_factory=list)


class Ledger:
    """What one execution's history says. `script` holds its turns while a machine is to be built from them.

    `open` is what is asked for and not answered, `locks` what was granted and not given back. Of a failed execution the
    calls of entities stay open: what they did can't be asked for twice, and a rewind makes a late answer count.

    `attempts` has the later attempts of retried sub-orchestrations, by the first.

    After a rewind `kept` holds the decisions of a turn that is to be taken again, and `reopened` when the open calls
    were given more time.
    """

    def __init__(self, *, keep_script: bool = False) -> None:
        self.started = ev.ExecutionStarted("", "", "")
        self.created: datetime = datetime.min
        self.updated: datetime = datetime.min
        self.last_n = 0
        self.size = 0
        self.open: dict[int, Owed] = {}
        self.locks: dict[int, ev.EntityLockRequested] = {}
        self.scheduled_at: dict[int, datetime] = {}
        self.held: deque[ev.Record] = deque()
        self.waits: dict[int, tuple[str, datetime]] = {}
        self._lines: dict[str, dict[int, None]] = {}
        self.unread: dict[str, int] = {}
        self.kept: list[ev.Record] = []
        self.reopened: dict[int, datetime] = {}
        self.attempts: dict[int, list[int]] = {}
        self.begun = False
        self.torn = False
        self.status_ended: str | None = None
        self.result: Raw = ev.ABSENT
        self.failure: Failure | None = None
        self.is_failure_named = False
        self.causes: tuple[int, ...] = ()
        self.rewind_from = 0
        self.completed_n = 0
        self.custom_status: Raw = ev.ABSENT
        self.suspended: str | None = None
        self.suspended_at: datetime | None = None
        self.blocked: str | None = None
        self.blocked_at: datetime | None = None
        self.script: list[Turn] | None = [] if keep_script else None

    # ── what others ask ────────────────────────────────────────────────────────────────────────────────────────

    @property
    def instance(self) -> str:
        return self.started.instance

    @property
    def execution(self) -> str:
        return self.started.execution

    @property
    def ended(self) -> bool:
        return self.status_ended is not None

    @property
    def status(self) -> str:
        """The runtime status in Durable Functions' word."""
        if self.status_ended is not None:
            return self.status_ended
        if self.suspended is not None:
            return "Suspended"
        return "Running" if self.begun else "Pending"

    def accepts(self, event: ev.AnyEvent) -> bool:
        """Whether an outcome answers something open here. What answers nothing is dropped by the caller."""
        match event:
            case ev.TaskCompleted() | ev.TaskFailed():
                return isinstance(self.open.get(event.task), ev.TaskScheduled)
            case ev.SubOrchestrationInstanceCompleted() | ev.SubOrchestrationInstanceFailed():
                return isinstance(self.open.get(event.task), ev.SubOrchestrationInstanceCreated)
            case ev.TimerFired():
                return isinstance(self.open.get(event.timer), ev.TimerCreated)
            case ev.EntityOperationCompleted() | ev.EntityOperationFailed():
                return isinstance(self.open.get(event.task), ev.EntityOperationCalled)
            case ev.EntityLockGranted():
                return isinstance(self.open.get(event.task), ev.EntityLockRequested)
            case _:
                return True

    @property
    def must_hold(self) -> bool:
        """Whether an arrival may not be applied now: earlier ones are still held, or nothing moves at all."""
        return bool(self.held) or self.suspended is not None or self.blocked is not None or self.ended

    def appliable(self, now: datetime) -> ev.Record | None:
        """The held arrival that may be applied next, if one may."""
        if not self.held or self.suspended is not None or self.ended:
            return None
        first = self.held[0]
        start_at = first.event.start_at if isinstance(first.event, ev.ExecutionStarted) else None
        return first if start_at is None or start_at <= now else None

    # ── the fold ───────────────────────────────────────────────────────────────────────────────────────────────

    def apply(self, record: ev.Record) -> None:
        """Fold one record in."""
        n, at, event = record
        self.last_n = n
        self.updated = at
        match event:
            case ev.TaskScheduled() | ev.TimerCreated() | ev.SubOrchestrationInstanceCreated():
                self._asked(record, event)
            case (
                ev.TaskCompleted()
                | ev.TaskFailed()
                | ev.SubOrchestrationInstanceCompleted()
                | ev.SubOrchestrationInstanceFailed()
            ):
                self._answered(event.task)
                self._arrived(record, event.held)
            case ev.TimerFired():
                self._answered(event.timer)
                self._arrived(record, event.held)
            case ev.EventRaised():
                self._arrived(record, event.held or self.ended)
            case ev.ExecutionStarted():
                self.started = event
                self.created = at
                self.custom_status = event.custom_status
                self._arrived(record, event.held)
            case ev.OrchestratorStarted():
                self._release(event.upto, at)
            case ev.CustomStatusSet():
                self.custom_status = event.status
            case ev.EventAwaited():
                self._awaited(n, event.name, at)
                self._decided(record)
            case ev.TimerCanceled():
                self._answered(event.timer)
                self._decided(record)
            case ev.EventSent() | ev.EntityOperationSignaled():
                self._decided(record)
            case ev.ExecutionCompleted():
                self._completed(n, event)
                self._decided(record)
            case ev.ContinueAsNew():
                self._close("ContinuedAsNew")
                self._decided(record)
            case ev.ExecutionRewound():
                self._rewound(event, at)
            case _:
                if not self._of_entities(record, event):
                    self._marked(event, at)

    def _of_entities(self, record: ev.Record, event: ev.AnyEvent) -> bool:
        """Fold in what concerns calls and locks of entities; False for what doesn't."""
        match event:
            case ev.EntityOperationCalled() | ev.EntityLockRequested():
                self._asked(record, event)
            case ev.EntityOperationCompleted() | ev.EntityOperationFailed():
                self._answered(event.task)
                self._arrived(record, event.held or self.ended)
            case ev.EntityLockGranted():
                self._settled(event)
                self._arrived(record, event.held)
            case ev.EntityUnlockSent():
                self._settled(event)
                self._decided(record)
            case _:
                return False
        return True

    def _marked(self, event: ev.AnyEvent, at: datetime) -> None:
        match event:
            case ev.ExecutionSuspended():
                self.suspended, self.suspended_at = event.reason, at
            case ev.ExecutionResumed():
                self.suspended = self.suspended_at = None
            case ev.ExecutionBlocked():
                self.blocked, self.blocked_at = event.reason, at
            case ev.ExecutionUnblocked():
                self.blocked = self.blocked_at = None
            case ev.EventWaitsChanged():
                self._set_waits(event, at)
            case ev.ExecutionTerminated():
                pass
            case _:
                raise AssertionError(f"{type(event).__name__} has no place in the fold")

    def _asked(self, record: ev.Record, event: Owed) -> None:
        self.open[record.n] = event
        self.scheduled_at[record.n] = record.at
        if type(event) is ev.SubOrchestrationInstanceCreated and event.retry_of is not None:
            self.attempts.setdefault(event.retry_of, []).append(record.n)
        self._decided(record)

    def _settled(self, event: ev.AnyEvent) -> None:
        """Close what is answered or taken back. Granted locks are kept, also while the grant is held."""
        n = answers(event)
        request = self.open.get(n)
        self._answered(n)
        if isinstance(event, ev.EntityUnlockSent):
            self.locks.pop(n, None)
        elif isinstance(request, ev.EntityLockRequested):
            self.locks[n] = request

    def _answered(self, n: int) -> None:
        self.open.pop(n, None)
        self.scheduled_at.pop(n, None)

    def _arrived(self, record: ev.Record, held: bool) -> None:
        if held:
            self.held.append(record)
        else:
            self._applied(record, record.at)

    def _release(self, upto: int, at: datetime) -> None:
        while self.held and self.held[0].n <= upto:
            self._applied(self.held.popleft(), at)

    def _applied(self, record: ev.Record, at: datetime) -> None:
        self.begun = True
        self.torn = False
        event = record.event
        if isinstance(event, ev.EventRaised):
            self._event_read(event.name.casefold())
        kept, self.kept = self.kept, []
        if self.script is not None:
            self.script.append(Turn(record, at, kept))

    def _decided(self, record: ev.Record) -> None:
        self.torn = False
        if self.script:
            self.script[-1].decisions.append(record)

    def _awaited(self, n: int, name: str, at: datetime) -> None:
        folded = name.casefold()
        if self.unread.get(folded):
            self.unread[folded] -= 1
        else:
            self._wait(n, name, at)

    def _wait(self, n: int, name: str, since: datetime) -> None:
        self.waits[n] = (name, since)
        self._lines.setdefault(name.casefold(), {})[n] = None

    def _event_read(self, name: str) -> None:
        line = self._lines.get(name)
        if not line:
            self.unread[name] = self.unread.get(name, 0) + 1
            return
        n = next(iter(line))
        del line[n], self.waits[n]

    def _set_waits(self, event: ev.EventWaitsChanged, at: datetime) -> None:
        before, self.waits, self._lines = self.waits, {}, {}
        for n, name in event.waits:
            self._wait(n, name, before[n][1] if n in before else at)
        self.unread = dict(event.unread)

    def is_waiting_for(self, waits: Mapping[int, str], unread: Mapping[str, int]) -> bool:
        """Whether these are the waits, in their order for each name, and the unread events. The fold knows nothing of
        waits that sleep: only the machine does."""
        lines: dict[str, list[int]] = {}
        for n, name in waits.items():
            lines.setdefault(name.casefold(), []).append(n)
        known = {name: list(line) for name, line in self._lines.items() if line}
        return lines == known and {name: count for name, count in self.unread.items() if count} == unread

    def _completed(self, n: int, event: ev.ExecutionCompleted) -> None:
        self._close(event.status)
        self.result, self.failure, self.is_failure_named = event.result, event.failure, event.named
        self.causes, self.completed_n, self.rewind_from = event.causes, n, event.rewind_from

    def _close(self, status: str) -> None:
        self.status_ended = status
        late = status == "Failed"
        self.open = {n: event for n, event in self.open.items() if late and isinstance(event, ev.EntityOperationCalled)}
        self.scheduled_at = {n: self.scheduled_at[n] for n in self.open}
        self.locks.clear()
        self.waits.clear()
        self._lines.clear()
        self.suspended = self.suspended_at = self.blocked = self.blocked_at = None

    # ── rewind ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _rewound(self, event: ev.ExecutionRewound, at: datetime) -> None:
        """Take the end back. The turns from `from` on are held again, but for what is forgotten or void."""
        self.status_ended = None
        self.result, self.failure = ev.ABSENT, None
        self.causes, self.completed_n, self.rewind_from = (), 0, 0
        self.torn = True
        if self.script is not None:
            self._rewrite(self.script, frozenset(event.forgotten), frozenset(event.void), event.start)
            if event.resets_timeouts:
                self.reopened.update((_first_attempt(n, asked), at) for n, asked in self.open.items())

    def _rewrite(self, script: list[Turn], forgotten: frozenset[int], void: frozenset[int], start: int) -> None:
        first = next((i for i, turn in enumerate(script) if turn.arrival.n >= start), len(script))
        again = [
            turn.arrival
            for turn in script[first:]
            if turn.arrival.n not in forgotten and answers(turn.arrival.event) not in void
        ]
        self.kept = [record for turn in script[first:] for record in turn.decisions if record.n not in void]
        # An event may be forgotten that came before `start`, when nothing read it: its turn has decided nothing.
        script[:] = [turn for turn in script[:first] if turn.arrival.n not in forgotten or turn.decisions]
        for turn in script:
            turn.decisions = [record for record in turn.decisions if record.n not in void]
        behind = [r for r in self.held if answers(r.event) not in void]
        self.held = deque([*again, *behind])
        self.torn = start in void
        self._recount(script)

    def _recount(self, script: list[Turn]) -> None:
        """Find what is open and waited for once more, from the turns that are left and the arrivals that are held.

        Locks there are none: the end has given them back, and nobody is rewound into a critical section.
        """
        self.waits, self._lines, self.unread, self.open, self.scheduled_at = {}, {}, {}, {}, {}
        for turn in script:
            if isinstance(turn.arrival.event, ev.EventRaised):
                self._event_read(turn.arrival.event.name.casefold())
            self._count(turn.decisions)
        self._count(self.kept)
        for turn in script:
            for record in (turn.arrival, *turn.decisions):
                self._answered(answers(record.event))
        for record in (*self.kept, *self.held):
            self._answered(answers(record.event))

    def _count(self, decisions: Iterable[ev.Record]) -> None:
        for n, at, event in decisions:
            if isinstance(event, ev.EventAwaited):
                self._awaited(n, event.name, at)
            elif isinstance(event, Owed):
                self.open[n] = event
                self.scheduled_at[n] = at


def _first_attempt(n: int, asked: Owed) -> int:
    """The number of a call's first attempt, from that of any attempt or of the timer before one."""
    return getattr(asked, "retry_of", None) or n


def answers(event: ev.AnyEvent) -> int:
    """The number of the decision that an arrival answers or another takes back; 0 where there is none."""
    match event:
        case ev.TimerFired() | ev.TimerCanceled():
            return event.timer
        case (
            ev.TaskCompleted()
            | ev.TaskFailed()
            | ev.SubOrchestrationInstanceCompleted()
            | ev.SubOrchestrationInstanceFailed()
            | ev.EntityOperationCompleted()
            | ev.EntityOperationFailed()
            | ev.EntityLockGranted()
        ):
            return event.task
        case ev.EntityUnlockSent():
            return event.lock
        case _:
            return 0


def fold(records: Iterable[ev.Record], size: int = 0, *, keep_script: bool = True) -> Ledger:
    """The ledger of a whole history of `size` bytes. A rewind can't be folded without the script."""
    if not keep_script:
        records = list(records)
        keep_script = any(isinstance(record.event, ev.ExecutionRewound) for record in records)
    ledger = Ledger(keep_script=keep_script)
    for record in records:
        ledger.apply(record)
    ledger.size = size
    return ledger
