"""The state of one execution as its history gives it, without user code. O(1) a record, the same live and from a file.

It knows which arrivals count, and what is held, open, waited for, suspended and blocked. There is no other queue: the
pending work of an instance is what is open here, and the arrivals that it holds.

A *held* arrival is recorded and not yet applied; an `OrchestratorStarted{upto}` applies it. A rewind holds the arrivals
from its starting point on once more, except those that it drops.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from msgspec import Raw

from durablecli.model import events as ev
from durablecli.model.failures import Failure
from durablecli.replay.recorded_waits import RecordedWaits

OpenDecision = (
    ev.TaskScheduled
    | ev.TimerCreated
    | ev.SubOrchestrationInstanceCreated
    | ev.EntityOperationCalled
    | ev.EntityLockRequested
)


_ANSWERED_TYPE: dict[type[ev.AnyEvent], type[OpenDecision]] = {
    ev.TaskCompleted: ev.TaskScheduled,
    ev.TaskFailed: ev.TaskScheduled,
    ev.SubOrchestrationInstanceCompleted: ev.SubOrchestrationInstanceCreated,
    ev.SubOrchestrationInstanceFailed: ev.SubOrchestrationInstanceCreated,
    ev.TimerFired: ev.TimerCreated,
    ev.EntityOperationCompleted: ev.EntityOperationCalled,
    ev.EntityOperationFailed: ev.EntityOperationCalled,
    ev.EntityLockGranted: ev.EntityLockRequested,
}
"""For each kind of outcome the kind of decision that it answers."""


@dataclass(slots=True)
class Turn:
    """One arrival as it was applied, and the decisions that followed."""

    arrival: ev.Record
    at: datetime
    decisions: list[ev.Record] = field(default_factory=list)


class RuntimeState:
    """The fold of one history. `turns` holds its turns while an executor is to be built from them.

    `open_decisions` are those without an outcome, `locks` those granted and not released. Calls of entities stay open
    when the execution has failed: they can't be repeated, and after a rewind a late outcome counts.

    `later_attempts` has the later attempts of retried sub-orchestrations, by the first.

    After a rewind `kept_decisions` holds the decisions of a turn that is taken again, and `timeout_resets` the times
    from which the retry timeouts of open calls count.
    """

    def __init__(self, *, keep_turns: bool = False) -> None:
        self.started = ev.ExecutionStarted("", "", "")
        self.created: datetime = datetime.min
        self.updated: datetime = datetime.min
        self.last_n = 0
        self.size = 0
        self.open_decisions: dict[int, OpenDecision] = {}
        self.locks: dict[int, ev.EntityLockRequested] = {}
        self.scheduled_at: dict[int, datetime] = {}
        self.held: deque[ev.Record] = deque()
        self.event_waits = RecordedWaits()
        self.kept_decisions: list[ev.Record] = []
        self.timeout_resets: dict[int, datetime] = {}
        self.later_attempts: dict[int, list[int]] = {}
        self.has_started = False
        self.incomplete = False
        self.end_status: str | None = None
        self.result: Raw = ev.ABSENT
        self.failure: Failure | None = None
        self.failure_has_name_prefix = False
        self.causes: tuple[int, ...] = ()
        self.rewind_from = 0
        self.completed_n = 0
        self.custom_status: Raw = ev.ABSENT
        self.suspended: str | None = None
        self.suspended_at: datetime | None = None
        self.blocked: str | None = None
        self.blocked_at: datetime | None = None
        self.turns: list[Turn] | None = [] if keep_turns else None

    # ── queries ──────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def instance(self) -> str:
        return self.started.instance

    @property
    def execution(self) -> str:
        return self.started.execution

    @property
    def ended(self) -> bool:
        return self.end_status is not None

    @property
    def status(self) -> str:
        """The runtime status, as Durable Functions names it."""
        if self.end_status is not None:
            return self.end_status
        if self.suspended is not None:
            return "Suspended"
        return "Running" if self.has_started else "Pending"

    def accepts(self, event: ev.AnyEvent) -> bool:
        """Whether an arrival is no outcome, or answers an open decision. The caller drops what isn't accepted."""
        decision = _ANSWERED_TYPE.get(type(event))
        return decision is None or type(self.open_decisions.get(answered_decision(event))) is decision

    @property
    def must_hold(self) -> bool:
        """Whether an arrival can't be applied now: earlier ones are still held, or the execution doesn't run."""
        return bool(self.held) or self.suspended is not None or self.blocked is not None or self.ended

    def next_held(self, now: datetime) -> ev.Record | None:
        """The held arrival that can be applied next; None if none can."""
        if not self.held or self.suspended is not None or self.ended:
            return None
        first = self.held[0]
        start_at = first.event.start_at if isinstance(first.event, ev.ExecutionStarted) else None
        return first if start_at is None or start_at <= now else None

    # ── the fold ─────────────────────────────────────────────────────────────────────────────────────────────────

    def apply(self, record: ev.Record) -> None:
        """Apply one record."""
        n, at, event = record
        self.last_n = n
        self.updated = at
        match event:
            case ev.TaskScheduled() | ev.TimerCreated() | ev.SubOrchestrationInstanceCreated():
                self._open_decision(record, event)
            case (
                ev.TaskCompleted()
                | ev.TaskFailed()
                | ev.SubOrchestrationInstanceCompleted()
                | ev.SubOrchestrationInstanceFailed()
            ):
                self._close_decision(event.task)
                self._add_arrival(record, event.held)
            case ev.TimerFired():
                self._close_decision(event.timer)
                self._add_arrival(record, event.held)
            case ev.EventRaised():
                self._add_arrival(record, event.held or self.ended)
            case ev.ExecutionStarted():
                self.started = event
                self.created = at
                self.custom_status = event.custom_status
                self._add_arrival(record, event.held)
            case ev.OrchestratorStarted():
                self._apply_held(event.upto, at)
            case ev.CustomStatusSet():
                self.custom_status = event.status
            case ev.EventAwaited():
                self.event_waits.add_wait(n, event.name, at)
                self._add_decision(record)
            case ev.TimerCanceled():
                self._close_decision(event.timer)
                self._add_decision(record)
            case ev.EventSent() | ev.EntityOperationSignaled():
                self._add_decision(record)
            case ev.ExecutionCompleted():
                self._complete(n, event)
                self._add_decision(record)
            case ev.ContinueAsNew():
                self._end_execution("ContinuedAsNew")
                self._add_decision(record)
            case ev.ExecutionRewound():
                self._rewind(event, at)
            case _:
                if not self._apply_entity_event(record, event):
                    self._apply_control_event(event, at)

    def _apply_entity_event(self, record: ev.Record, event: ev.AnyEvent) -> bool:
        """Apply a record about calls and locks of entities; False for any other."""
        match event:
            case ev.EntityOperationCalled() | ev.EntityLockRequested():
                self._open_decision(record, event)
            case ev.EntityOperationCompleted() | ev.EntityOperationFailed():
                self._close_decision(event.task)
                self._add_arrival(record, event.held or self.ended)
            case ev.EntityLockGranted():
                self._apply_lock_event(event)
                self._add_arrival(record, event.held)
            case ev.EntityUnlockSent():
                self._apply_lock_event(event)
                self._add_decision(record)
            case _:
                return False
        return True

    def _apply_control_event(self, event: ev.AnyEvent, at: datetime) -> None:
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
                self.event_waits.replace(event, at)
            case ev.ExecutionTerminated():
                pass
            case _:
                raise AssertionError(f"{type(event).__name__} isn't a record of an orchestration")

    def _open_decision(self, record: ev.Record, event: OpenDecision) -> None:
        self.open_decisions[record.n] = event
        self.scheduled_at[record.n] = record.at
        if type(event) is ev.SubOrchestrationInstanceCreated and event.retry_of is not None:
            self.later_attempts.setdefault(event.retry_of, []).append(record.n)
        self._add_decision(record)

    def _apply_lock_event(self, event: ev.AnyEvent) -> None:
        """Close a request for locks that is granted or cancelled. Granted locks stay, even while the grant is held."""
        n = answered_decision(event)
        request = self.open_decisions.get(n)
        self._close_decision(n)
        if isinstance(event, ev.EntityUnlockSent):
            self.locks.pop(n, None)
        elif isinstance(request, ev.EntityLockRequested):
            self.locks[n] = request

    def _close_decision(self, n: int) -> None:
        self.open_decisions.pop(n, None)
        self.scheduled_at.pop(n, None)

    def _add_arrival(self, record: ev.Record, held: bool) -> None:
        if held:
            self.held.append(record)
        else:
            self._start_turn(record, record.at)

    def _apply_held(self, upto: int, at: datetime) -> None:
        while self.held and self.held[0].n <= upto:
            self._start_turn(self.held.popleft(), at)

    def _start_turn(self, record: ev.Record, at: datetime) -> None:
        self.has_started = True
        self.incomplete = False
        event = record.event
        if isinstance(event, ev.EventRaised):
            self.event_waits.add_event(event.name)
        decisions, self.kept_decisions = self.kept_decisions, []
        if self.turns is not None:
            self.turns.append(Turn(record, at, decisions))

    def _add_decision(self, record: ev.Record) -> None:
        self.incomplete = False
        if self.turns:
            self.turns[-1].decisions.append(record)

    def _complete(self, n: int, event: ev.ExecutionCompleted) -> None:
        self._end_execution(event.status)
        self.result, self.failure, self.failure_has_name_prefix = (
            event.result,
            event.failure,
            event.failure_has_name_prefix,
        )
        self.causes, self.completed_n, self.rewind_from = event.causes, n, event.rewind_from

    def _end_execution(self, status: str) -> None:
        self.end_status = status
        late = status == "Failed"
        self.open_decisions = {
            n: event for n, event in self.open_decisions.items() if late and isinstance(event, ev.EntityOperationCalled)
        }
        self.scheduled_at = {n: self.scheduled_at[n] for n in self.open_decisions}
        self.locks.clear()
        self.event_waits.clear()
        self.suspended = self.suspended_at = self.blocked = self.blocked_at = None

    # ── rewind ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _rewind(self, event: ev.ExecutionRewound, at: datetime) -> None:
        """Undo the end. The turns from `start` on are held again, except what is forgotten or void."""
        self.end_status = None
        self.result, self.failure = ev.ABSENT, None
        self.causes, self.completed_n, self.rewind_from = (), 0, 0
        self.incomplete = True
        if self.turns is not None:
            self._rewind_turns(self.turns, frozenset(event.forgotten), frozenset(event.void), event.start)
            if event.resets_timeouts:
                self.timeout_resets.update((_first_attempt(n, asked), at) for n, asked in self.open_decisions.items())

    def _rewind_turns(self, turns: list[Turn], forgotten: frozenset[int], void: frozenset[int], start: int) -> None:
        first = next((i for i, turn in enumerate(turns) if turn.arrival.n >= start), len(turns))
        again = [
            turn.arrival
            for turn in turns[first:]
            if turn.arrival.n not in forgotten and answered_decision(turn.arrival.event) not in void
        ]
        self.kept_decisions = [record for turn in turns[first:] for record in turn.decisions if record.n not in void]
        # An event may be forgotten that came before `start`, when nothing read it: its turn has decided nothing.
        turns[:] = [turn for turn in turns[:first] if turn.arrival.n not in forgotten or turn.decisions]
        for turn in turns:
            turn.decisions = [record for record in turn.decisions if record.n not in void]
        behind = [r for r in self.held if answered_decision(r.event) not in void]
        self.held = deque([*again, *behind])
        self.incomplete = start in void
        self._rebuild_open_decisions(turns)

    def _rebuild_open_decisions(self, turns: list[Turn]) -> None:
        """Find what is open and waited for, from the remaining turns and the held arrivals.

        There are no locks: the end has released them, and an instance isn't rewound into a critical section.
        """
        self.event_waits = RecordedWaits()
        self.open_decisions, self.scheduled_at = {}, {}
        for turn in turns:
            if isinstance(turn.arrival.event, ev.EventRaised):
                self.event_waits.add_event(turn.arrival.event.name)
            self._add_open_decisions(turn.decisions)
        self._add_open_decisions(self.kept_decisions)
        for turn in turns:
            for record in (turn.arrival, *turn.decisions):
                self._close_decision(answered_decision(record.event))
        for record in (*self.kept_decisions, *self.held):
            self._close_decision(answered_decision(record.event))

    def _add_open_decisions(self, decisions: Iterable[ev.Record]) -> None:
        for n, at, event in decisions:
            if isinstance(event, ev.EventAwaited):
                self.event_waits.add_wait(n, event.name, at)
            elif isinstance(event, OpenDecision):
                self.open_decisions[n] = event
                self.scheduled_at[n] = at


def _first_attempt(n: int, asked: OpenDecision) -> int:
    """The number of a call's first attempt, from that of any attempt or of the timer before one."""
    return getattr(asked, "retry_of", None) or n


def answered_decision(event: ev.AnyEvent) -> int:
    """The number of the decision that an event answers or cancels; 0 where there is none."""
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


def fold_history(records: Iterable[ev.Record], size: int = 0, *, keep_turns: bool = True) -> RuntimeState:
    """The state after a whole history of `size` bytes. A rewind can't be folded without the turns."""
    if not keep_turns:
        records = list(records)
        keep_turns = any(isinstance(record.event, ev.ExecutionRewound) for record in records)
    state = RuntimeState(keep_turns=keep_turns)
    for record in records:
        state.apply(record)
    state.size = size
    return state
