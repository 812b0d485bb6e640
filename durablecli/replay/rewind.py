"""Rewind: which records of a failed execution are forgotten, and which are void, so that it goes on from its failure.

*Forgotten* are the failed outcomes that ended it. *Void* are the decisions of the turns from the first of them on, with
their outcomes. All else is kept: other results, and events, which a void wait leaves unread again.

A critical section isn't rewound into: its locks were given back, and others have changed the entities since.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from durablecli.errors import WrongState
from durablecli.model import events as ev
from durablecli.replay.runtime_state import RuntimeState, Turn, answered_decision

_CONFLICT_TYPE = "durablecli.errors.Conflict"


class ChildAttempt(NamedTuple):
    """The decision to start a sub-orchestration, for the first time or once more."""

    n: int
    at: datetime
    created: ev.SubOrchestrationInstanceCreated


@dataclass(frozen=True)
class RewindPlan:
    """What one rewind takes back. `children`, `activities` and `calls` are those whose failure is forgotten.

    `attempts` are all attempts of each of these children, which an earlier failure of a retried one makes void;
    `never_begun` are those that couldn't be started, as their id was taken.
    """

    start: int
    forgotten: tuple[int, ...]
    void: tuple[int, ...]
    children: tuple[tuple[int, ev.SubOrchestrationInstanceCreated], ...] = ()
    activities: tuple[tuple[int, ev.TaskScheduled], ...] = ()
    calls: tuple[tuple[int, ev.EntityOperationCalled], ...] = ()
    attempts: Mapping[int, tuple[ChildAttempt, ...]] = field(default_factory=dict)
    never_started: frozenset[int] = frozenset()

    def to_event(self, reason: str, message: str | None = None) -> ev.ExecutionRewound:
        return ev.ExecutionRewound(self.start, reason, self.forgotten, self.void, message, resets_timeouts=True)


def plan_rewind(state: RuntimeState) -> RewindPlan:
    """The cut of a failed execution, whose ledger keeps its script.

    WrongState for one that hasn't failed, or whose failure lies in a critical section or before its end.
    """
    if state.status != "Failed" or state.turns is None:
        raise WrongState(f"{state.instance} is {state.status}: only a failed instance can be rewound")
    if not state.causes:
        _check_no_critical_section(state, state.turns, state.turns[-1:])
        start = state.turns[-1].arrival.n if state.turns else state.completed_n
        return RewindPlan(start, (), (state.completed_n,))
    start = state.rewind_from or state.causes[0]
    first = next((i for i, turn in enumerate(state.turns) if turn.arrival.n >= start), len(state.turns))
    _check_no_critical_section(state, state.turns, state.turns[first:])
    decided = [record.n for turn in state.turns[first:] for record in turn.decisions]
    void_decisions = frozenset(decided)
    answered = [
        turn.arrival.n for turn in state.turns[first:] if answered_decision(turn.arrival.event) in void_decisions
    ]
    asked = {n: event for turn in state.turns for n, _, event in turn.decisions}
    failed = [answered_decision(turn.arrival.event) for turn in state.turns if turn.arrival.n in state.causes]
    again = [(n, asked[n]) for n in failed if n in asked and n not in void_decisions]
    children = tuple((n, e) for n, e in again if isinstance(e, ev.SubOrchestrationInstanceCreated))
    return RewindPlan(
        start,
        state.causes,
        tuple(sorted({*decided, *answered})),
        children,
        tuple((n, e) for n, e in again if isinstance(e, ev.TaskScheduled)),
        tuple((n, e) for n, e in again if isinstance(e, ev.EntityOperationCalled)),
        _collect_attempts({n for n, _ in children}, state.turns),
        frozenset(
            answered_decision(turn.arrival.event) for turn in state.turns if _is_start_conflict(turn.arrival.event)
        ),
    )


def _collect_attempts(children: Collection[int], turns: Sequence[Turn]) -> dict[int, tuple[ChildAttempt, ...]]:
    """The attempts of each child, from the one that is asked for again to the last."""
    decided = (record for turn in turns for record in turn.decisions)
    created = [ChildAttempt(n, at, e) for n, at, e in decided if isinstance(e, ev.SubOrchestrationInstanceCreated)]
    first = {each.created.retry_of or each.n: each.n for each in created if each.n in children}
    found: dict[int, list[ChildAttempt]] = {n: [] for n in first.values()}
    for each in created:
        n = first.get(each.created.retry_of or each.n)
        if n is not None and each.n >= n:
            found[n].append(each)
    return {n: tuple(attempts) for n, attempts in found.items()}


def _is_start_conflict(event: ev.AnyEvent) -> bool:
    """Whether this says that a child couldn't be started, as its id was taken."""
    return isinstance(event, ev.SubOrchestrationInstanceFailed) and event.failure.type == _CONFLICT_TYPE


def _check_no_critical_section(state: RuntimeState, turns: Sequence[Turn], undone: Sequence[Turn]) -> None:
    """Refuse what would go on in a critical section whose locks are given back: by a turn undone, or by the end."""
    decided = [record for turn in turns for record in turn.decisions]
    given_back = {record.event.lock for record in decided if isinstance(record.event, ev.EntityUnlockSent)}
    if any(isinstance(event, ev.EntityLockRequested) and n not in given_back for n, _, event in decided):
        raise WrongState(f"{state.instance} can't be rewound: it failed while it held or waited for locks")
    if any(isinstance(record.event, ev.EntityUnlockSent) for turn in undone for record in turn.decisions):
        raise WrongState(f"{state.instance} can't be rewound: it has released locks since its failure")
