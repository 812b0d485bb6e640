"""The state of one execution as its history gives it, without user code. O(1) a record, the same live and from a file.

It knows which arrivals count, and what is held, open, waited for, suspended and blocked. There is no other queue: the
pending work of an instance is what is open here, and the arrivals that it holds.

A *held* arrival is recorded and not yet applied; an `OrchestratorStarted{upto}` applies it. A rewind holds the arrivals
from its starting point on once more, except those that it drops.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, get_args

import msgspec
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


class Turn(msgspec.Struct, gc=False):
    """One arrival as it was applied, and the decisions that followed.

    `mark` is the record that applied a held arrival, and others with it; 0 if it was applied as it came.
    """

    arrival: ev.Record
    at: datetime
    decisions: list[ev.Record]
    mark: int = 0


class RuntimeState:
    """The fold of one history. `turns` holds its turns while an executor is to be built from them.

    `open_decisions` are those without an outcome, `answered` those whose outcome is held, and `locks` those granted and
    not released. Calls of entities stay open
    when the execution has failed: they can't be repeated, and after a rewind a late outcome counts.

    `later_attempts` has the later attempts of retried sub-orchestrations, by the first. `interventions` are the records
    of what was done to the execution from outside, while turns are kept: suspended, resumed, terminated, rewound.

    After a rewind `kept_decisions` holds the decisions of a turn that is taken again, and `timeout_resets` the times
    from which the retry timeouts of open calls count.
    """

    started = ev.ExecutionStarted("", "", "")
    created: datetime = datetime.min
    updated: datetime = datetime.min
    last_n = 0
    size = 0
    has_started = False
    incomplete = False
    end_status: str | None = None
    result: Raw = ev.ABSENT
    failure: Failure | None = None
    failure_has_name_prefix = False
    causes: tuple[int, ...] = ()
    rewind_from = 0
    completed_n = 0
    custom_status: Raw = ev.ABSENT
    suspended: str | None = None
    suspended_at: datetime | None = None
    blocked: str | None = None
    blocked_at: datetime | None = None

    def __init__(self, *, keep_turns: bool = False) -> None:
        self.open_decisions: dict[int, OpenDecision] = {}
        self.answered: dict[int, OpenDecision] = {}
        self.locks: dict[int, ev.EntityLockRequested] = {}
        self.scheduled_at: dict[int, datetime] = {}
        self.held: deque[ev.Record] = deque()
        self.event_waits = RecordedWaits()
        self.kept_decisions: list[ev.Record] = []
        self.timeout_resets: dict[int, datetime] = {}
        self.later_attempts: dict[int, list[int]] = {}
        self.turns: list[Turn] | None = [] if keep_turns else None
        self.interventions: list[ev.Record] = []

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
        self.last_n = record.n
        self.updated = record.at
        event = record.event
        apply = _APPLY.get(type(event))
        if apply is None:
            raise AssertionError(f"{type(event).__name__} isn't a record of an orchestration")
        apply(self, record, event)

    def _open_decision(self, record: ev.Record, event: OpenDecision) -> None:
        self.open_decisions[record.n] = event
        self.scheduled_at[record.n] = record.at
        self._add_decision(record, event)

    def _open_child(self, record: ev.Record, event: ev.SubOrchestrationInstanceCreated) -> None:
        if event.retry_of is not None:
            self.later_attempts.setdefault(event.retry_of, []).append(record.n)
        self._open_decision(record, event)

    def _apply_outcome(self, record: ev.Record, event: _Outcome) -> None:
        self._close_decision(event.task, held=event.held)
        self._add_arrival(record, event.held)

    def _apply_timer_fired(self, record: ev.Record, event: ev.TimerFired) -> None:
        self._close_decision(event.timer, held=event.held)
        self._add_arrival(record, event.held)

    def _apply_late_arrival(self, record: ev.Record, event: ev.EventRaised | _OperationOutcome) -> None:
        """Apply an arrival that an execution may still receive when it has ended: a rewind can make it count."""
        held = event.held or self.ended
        if not isinstance(event, ev.EventRaised):
            self._close_decision(event.task, held=held)
        self._add_arrival(record, held)

    def _apply_start(self, record: ev.Record, event: ev.ExecutionStarted) -> None:
        self.started = event
        self.created = record.at
        self.custom_status = event.custom_status
        self._add_arrival(record, event.held)

    def _apply_event_wait(self, record: ev.Record, event: ev.EventAwaited) -> None:
        self.event_waits.add_wait(record.n, event.name, record.at)
        self._add_decision(record, event)

    def _cancel(self, record: ev.Record, event: ev.TimerCanceled | ev.TaskCanceled) -> None:
        self._close_decision(answered_decision(event))
        self._add_decision(record, event)

    def _set_custom_status(self, record: ev.Record, event: ev.CustomStatusSet) -> None:
        self.custom_status = event.status

    def _grant_locks(self, record: ev.Record, event: ev.EntityLockGranted) -> None:
        """Close a request for locks. They stay, even while the grant is held."""
        request = self.open_decisions.get(event.task)
        if isinstance(request, ev.EntityLockRequested):
            self.locks[event.task] = request
        self._apply_outcome(record, event)

    def _release_locks(self, record: ev.Record, event: ev.EntityUnlockSent) -> None:
        self.locks.pop(event.lock, None)
        self._close_decision(event.lock)
        self._add_decision(record, event)

    def _apply_control_event(self, record: ev.Record, event: _ControlEvent) -> None:
        self._keep_intervention(record)
        match event:
            case ev.ExecutionSuspended():
                self.suspended, self.suspended_at = event.reason, record.at
            case ev.ExecutionResumed():
                self.suspended = self.suspended_at = None
            case ev.ExecutionBlocked():
                self.blocked, self.blocked_at = event.reason, record.at
            case ev.ExecutionUnblocked():
                self.blocked = self.blocked_at = None
            case ev.EventWaitsChanged():
                self.event_waits.replace(event, record.at)
            case ev.ExecutionTerminated():
                pass

    def _keep_intervention(self, record: ev.Record) -> None:
        if self.turns is not None and isinstance(record.event, _Intervention):
            self.interventions.append(record)

    def _close_decision(self, n: int, *, held: bool = False) -> None:
        decision = self.open_decisions.pop(n, None)
        self.scheduled_at.pop(n, None)
        if held and decision is not None:
            self.answered[n] = decision

    def _add_arrival(self, record: ev.Record, held: bool) -> None:
        if held:
            self.held.append(record)
        else:
            self._start_turn(record, record.at)

    def _apply_held(self, record: ev.Record, event: ev.OrchestratorStarted) -> None:
        while self.held and self.held[0].n <= event.upto:
            arrival = self.held.popleft()
            self.answered.pop(answered_decision(arrival.event), None)
            self._start_turn(arrival, event.time or record.at, record.n)

    def _start_turn(self, record: ev.Record, at: datetime, mark: int = 0) -> None:
        self.has_started = True
        self.incomplete = False
        event = record.event
        if type(event) is ev.EventRaised:
            self.event_waits.add_event(event.name)
        if self.turns is not None:
            self.turns.append(Turn(record, at, self.kept_decisions, mark))
            self.kept_decisions = []
        elif self.kept_decisions:
            self.kept_decisions = []

    def _add_decision(self, record: ev.Record, event: ev.AnyEvent) -> None:
        self.incomplete = False
        if self.turns:
            self.turns[-1].decisions.append(record)

    def _complete(self, record: ev.Record, event: ev.ExecutionCompleted) -> None:
        self._end_execution(event.status)
        self.result, self.failure, self.failure_has_name_prefix = (
            event.result,
            event.failure,
            event.failure_has_name_prefix,
        )
        self.causes, self.completed_n, self.rewind_from = event.causes, record.n, event.rewind_from
        self._add_decision(record, event)

    def _continue_as_new(self, record: ev.Record, event: ev.ContinueAsNew) -> None:
        self._end_execution("ContinuedAsNew")
        self._add_decision(record, event)

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

    def _rewind(self, record: ev.Record, event: ev.ExecutionRewound) -> None:
        """Undo the end. The turns from `start` on are held again, except what is forgotten or void."""
        self._keep_intervention(record)
        self.end_status = None
        self.result, self.failure = ev.ABSENT, None
        self.causes, self.completed_n, self.rewind_from = (), 0, 0
        self.incomplete = True
        if self.turns is not None:
            before = self.scheduled_at
            self._rewind_turns(self.turns, frozenset(event.forgotten), frozenset(event.void), event.start)
            self.scheduled_at |= {n: record.at for n in self.open_decisions if n not in before}  # asked again only now
            if event.resets_timeouts:
                self.timeout_resets.update(
                    (_first_attempt(n, asked), record.at) for n, asked in self.open_decisions.items()
                )

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
        self.open_decisions, self.answered, self.scheduled_at = {}, {}, {}
        for turn in turns:
            if isinstance(turn.arrival.event, ev.EventRaised):
                self.event_waits.add_event(turn.arrival.event.name)
            self._add_open_decisions(turn.decisions)
        self._add_open_decisions(self.kept_decisions)
        for turn in turns:
            for record in (turn.arrival, *turn.decisions):
                self._close_decision(answered_decision(record.event))
        for record in self.kept_decisions:
            self._close_decision(answered_decision(record.event))
        for record in self.held:
            self._close_decision(answered_decision(record.event), held=True)

    def _add_open_decisions(self, decisions: Iterable[ev.Record]) -> None:
        for record in decisions:
            event = record.event
            if isinstance(event, ev.EventAwaited):
                self.event_waits.add_wait(record.n, event.name, record.at)
            elif isinstance(event, OpenDecision):
                self.open_decisions[record.n] = event
                self.scheduled_at[record.n] = record.at


def _first_attempt(n: int, asked: OpenDecision) -> int:
    """The number of a call's first attempt, from that of any attempt or of the timer before one."""
    return getattr(asked, "retry_of", None) or n


_OperationOutcome = ev.EntityOperationCompleted | ev.EntityOperationFailed
_Outcome = (
    ev.TaskCompleted
    | ev.TaskFailed
    | ev.SubOrchestrationInstanceCompleted
    | ev.SubOrchestrationInstanceFailed
    | ev.EntityLockGranted
)
_Intervention = ev.ExecutionSuspended | ev.ExecutionResumed | ev.ExecutionTerminated | ev.ExecutionRewound
_ControlEvent = (
    ev.ExecutionSuspended
    | ev.ExecutionResumed
    | ev.ExecutionTerminated
    | ev.ExecutionBlocked
    | ev.ExecutionUnblocked
    | ev.EventWaitsChanged
)
_APPLY: dict[type, Callable[[RuntimeState, ev.Record, Any], None]] = {
    **dict.fromkeys(get_args(OpenDecision), RuntimeState._open_decision),
    ev.SubOrchestrationInstanceCreated: RuntimeState._open_child,
    **dict.fromkeys(get_args(_Outcome), RuntimeState._apply_outcome),
    ev.EntityLockGranted: RuntimeState._grant_locks,
    **dict.fromkeys((ev.EventRaised, *get_args(_OperationOutcome)), RuntimeState._apply_late_arrival),
    ev.TimerFired: RuntimeState._apply_timer_fired,
    ev.ExecutionStarted: RuntimeState._apply_start,
    ev.OrchestratorStarted: RuntimeState._apply_held,
    ev.EventAwaited: RuntimeState._apply_event_wait,
    ev.TimerCanceled: RuntimeState._cancel,
    ev.TaskCanceled: RuntimeState._cancel,
    ev.EntityUnlockSent: RuntimeState._release_locks,
    ev.CustomStatusSet: RuntimeState._set_custom_status,
    **dict.fromkeys((ev.EventSent, ev.EntityOperationSignaled), RuntimeState._add_decision),
    ev.ExecutionCompleted: RuntimeState._complete,
    ev.ContinueAsNew: RuntimeState._continue_as_new,
    ev.ExecutionRewound: RuntimeState._rewind,
    **dict.fromkeys(get_args(_ControlEvent), RuntimeState._apply_control_event),
}
"""How each kind of record is applied."""

_NAMES_TASK = frozenset({*get_args(_Outcome), *get_args(_OperationOutcome)})
_CALL_OUTCOMES = _NAMES_TASK - {ev.EntityLockGranted}


def is_call_outcome(event: ev.AnyEvent) -> bool:
    """Whether an event is the outcome of an activity, a sub-orchestration or an operation."""
    return type(event) in _CALL_OUTCOMES


def answered_decision(event: ev.AnyEvent) -> int:
    """The number of the decision that an event answers or cancels; 0 where there is none."""
    if type(event) in _NAMES_TASK:
        n: int = event.task  # type: ignore[union-attr]
        return n
    match event:
        case ev.TimerFired() | ev.TimerCanceled():
            return event.timer
        case ev.TaskCanceled():
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
