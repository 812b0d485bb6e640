"""Rewind: which records of a failed execution are forgotten or void, so that it continues from before its failure.

*Forgotten* are the failed outcomes that ended it. *Void* are the decisions of the turns from the first of them on, with
their outcomes. Everything else is kept: other results, and events, which are unread again if their wait is void.

A rewind to record N undoes all from N on: later outcomes are forgotten, also those that succeeded. A rewind of failed
calls forgets the failures of all calls that have failed for good, whether they ended the execution or were caught.

An instance isn't rewound into a critical section: its locks were released, and the entities have changed since.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from durablecli.errors import WrongState
from durablecli.model import events as ev
from durablecli.replay.runtime_state import RuntimeState, Turn, answered_decision, is_call_outcome

_CALLS = (ev.TaskScheduled, ev.SubOrchestrationInstanceCreated, ev.EntityOperationCalled)
_FAILURES = (ev.TaskFailed, ev.SubOrchestrationInstanceFailed, ev.EntityOperationFailed)
_CONFLICT_TYPE = "durablecli.errors.Conflict"


class ChildAttempt(NamedTuple):
    """The decision to start a sub-orchestration: the first attempt or a later one."""

    n: int
    at: datetime
    created: ev.SubOrchestrationInstanceCreated


class RewindScope(NamedTuple):
    """What a rewind undoes: the failures that ended the execution; with `to` all from that record on, with
    `failed_calls` the failures of all calls."""

    to: int = 0
    failed_calls: bool = False


CAUSES_ONLY = RewindScope()


@dataclass(frozen=True)
class RewindPlan:
    """What one rewind undoes. `children`, `activities` and `calls` are those whose outcome is forgotten.

    `attempts` are all attempts of each of these children; an earlier failure of a retried one makes later ones void.
    `never_started` are the children that couldn't be started because their id existed, and `canceled` the calls whose
    cancellation is void.
    """

    start: int
    forgotten: tuple[int, ...]
    void: tuple[int, ...]
    children: tuple[tuple[int, ev.SubOrchestrationInstanceCreated], ...] = ()
    activities: tuple[tuple[int, ev.TaskScheduled], ...] = ()
    calls: tuple[tuple[int, ev.EntityOperationCalled], ...] = ()
    attempts: Mapping[int, tuple[ChildAttempt, ...]] = field(default_factory=dict)
    never_started: frozenset[int] = frozenset()
    canceled: frozenset[int] = frozenset()

    def to_event(self, reason: str, message: str | None = None) -> ev.ExecutionRewound:
        return ev.ExecutionRewound(self.start, reason, self.forgotten, self.void, message, resets_timeouts=True)


def plan_rewind(state: RuntimeState, scope: RewindScope = CAUSES_ONLY) -> RewindPlan:
    """Plan the rewind of a failed execution, whose runtime state has its turns.

    Raises WrongState if it hasn't failed, or has failed in a critical section or before the end of one, and if there is
    nothing to undo in the scope.
    """
    if state.status != "Failed" or state.turns is None:
        raise WrongState(f"{state.instance} is {state.status}: only a failed instance can be rewound")
    if scope.to:
        return _plan_rewind_to(state, state.turns, scope.to)
    causes, start = state.causes, state.rewind_from
    if scope.failed_calls:
        causes, start = _collect_failures(state.turns), 0
        if not causes:
            raise WrongState(f"{state.instance} has no failed activity: rewind it without --failed-activities")
    if not causes:
        _check_no_critical_section(state, state.turns, state.turns[-1:])
        start = state.turns[-1].arrival.n if state.turns else state.completed_n
        return RewindPlan(start, (), (state.completed_n,))
    start = start or causes[0]
    decided = [record.n for turn in state.turns if turn.arrival.n >= start for record in turn.decisions]
    return _make_plan(state, state.turns, start, causes, decided)


def _plan_rewind_to(state: RuntimeState, turns: Sequence[Turn], to: int) -> RewindPlan:
    """Undo all from record `to` on, except events and timers that have fired: the turns repeat with them."""
    if not 1 < to <= state.completed_n:
        raise WrongState(f"{state.instance} can be rewound to records 2 to {state.completed_n}, not to {to}")
    start = next(
        (turn.arrival.n for turn in turns if turn.arrival.n >= to or (turn.decisions and turn.decisions[-1].n >= to)),
        state.completed_n,
    )
    decided = [record.n for turn in turns for record in turn.decisions if record.n >= to]
    void = frozenset(decided)
    outcomes = [turn.arrival for turn in turns if turn.arrival.n >= to and is_call_outcome(turn.arrival.event)]
    forgotten = tuple(record.n for record in outcomes if answered_decision(record.event) not in void)
    return _make_plan(state, turns, start, forgotten, decided)


def _collect_failures(turns: Sequence[Turn]) -> tuple[int, ...]:
    """The failed outcomes of all attempts of each call whose last attempt has failed."""
    asked = {record.n: record.event for turn in turns for record in turn.decisions}
    outcomes = {answered_decision(turn.arrival.event): turn.arrival for turn in turns}
    attempts: dict[int, list[int]] = {}
    for n, event in asked.items():
        if isinstance(event, _CALLS):
            attempts.setdefault(getattr(event, "retry_of", None) or n, []).append(n)
    failed: list[int] = []
    for numbers in attempts.values():
        last = outcomes.get(numbers[-1])
        if last is not None and isinstance(last.event, _FAILURES):
            failed += [outcomes[n].n for n in numbers if n in outcomes]
    return tuple(sorted(failed))


def _make_plan(
    state: RuntimeState, turns: Sequence[Turn], start: int, forgotten: tuple[int, ...], decided: Sequence[int]
) -> RewindPlan:
    """The plan that forgets these outcomes and voids the `decided` decisions, in the turns from `start` on."""
    first = next((i for i, turn in enumerate(turns) if turn.arrival.n >= start), len(turns))
    _check_no_critical_section(state, turns, turns[first:])
    void_decisions = frozenset(decided)
    answered = [turn.arrival.n for turn in turns[first:] if answered_decision(turn.arrival.event) in void_decisions]
    asked = {record.n: record.event for turn in turns for record in turn.decisions}
    repeated = [answered_decision(turn.arrival.event) for turn in turns if turn.arrival.n in forgotten]
    again = [(n, asked[n]) for n in repeated if n in asked and n not in void_decisions]
    children = tuple((n, e) for n, e in again if isinstance(e, ev.SubOrchestrationInstanceCreated))
    return RewindPlan(
        start,
        forgotten,
        tuple(sorted({*decided, *answered})),
        children,
        tuple((n, e) for n, e in again if isinstance(e, ev.TaskScheduled)),
        tuple((n, e) for n, e in again if isinstance(e, ev.EntityOperationCalled)),
        _collect_attempts({n for n, _ in children}, turns),
        frozenset(answered_decision(turn.arrival.event) for turn in turns if _is_start_conflict(turn.arrival.event)),
        frozenset(event.task for n in void_decisions if isinstance(event := asked.get(n), ev.TaskCanceled)),
    )


def _collect_attempts(children: Collection[int], turns: Sequence[Turn]) -> dict[int, tuple[ChildAttempt, ...]]:
    """The attempts of each child, from the one that is repeated to the last."""
    decided = (record for turn in turns for record in turn.decisions)
    created = [
        ChildAttempt(record.n, record.at, event)
        for record in decided
        if isinstance(event := record.event, ev.SubOrchestrationInstanceCreated)
    ]
    first = {each.created.retry_of or each.n: each.n for each in created if each.n in children}
    found: dict[int, list[ChildAttempt]] = {n: [] for n in first.values()}
    for each in created:
        n = first.get(each.created.retry_of or each.n)
        if n is not None and each.n >= n:
            found[n].append(each)
    return {n: tuple(attempts) for n, attempts in found.items()}


def _is_start_conflict(event: ev.AnyEvent) -> bool:
    """Whether a child couldn't be started because its id existed."""
    return isinstance(event, ev.SubOrchestrationInstanceFailed) and event.failure.type == _CONFLICT_TYPE


def _check_no_critical_section(state: RuntimeState, turns: Sequence[Turn], undone: Sequence[Turn]) -> None:
    """Raise WrongState if the execution would continue in a critical section whose locks are released."""
    decided = [record for turn in turns for record in turn.decisions]
    given_back = {record.event.lock for record in decided if isinstance(record.event, ev.EntityUnlockSent)}
    if any(isinstance(each.event, ev.EntityLockRequested) and each.n not in given_back for each in decided):
        raise WrongState(f"{state.instance} can't be rewound: it failed while it held or waited for locks")
    if any(isinstance(record.event, ev.EntityUnlockSent) for turn in undone for record in turn.decisions):
        raise WrongState(f"{state.instance} can't be rewound: it has released locks since its failure")
