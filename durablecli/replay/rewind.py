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
from durablecli.replay.runtime_state import Ledger, Turn, answers

_CONFLICT = "durablecli.errors.Conflict"


class Attempt(NamedTuple):
    """The decision to start a sub-orchestration, for the first time or once more."""

    n: int
    at: datetime
    created: ev.SubOrchestrationInstanceCreated


@dataclass(frozen=True)
class Cut:
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
    attempts: Mapping[int, tuple[Attempt, ...]] = field(default_factory=dict)
    never_begun: frozenset[int] = frozenset()

    def event(self, reason: str, message: str | None = None) -> ev.ExecutionRewound:
        return ev.ExecutionRewound(self.start, reason, self.forgotten, self.void, message, resets_timeouts=True)


def cut(ledger: Ledger) -> Cut:
    """The cut of a failed execution, whose ledger keeps its script.

    WrongState for one that hasn't failed, or whose failure lies in a critical section or before its end.
    """
    if ledger.status != "Failed" or ledger.script is None:
        raise WrongState(f"{ledger.instance} is {ledger.status}: only a failed instance can be rewound")
    if not ledger.causes:
        _refuse_sections(ledger, ledger.script, ledger.script[-1:])
        start = ledger.script[-1].arrival.n if ledger.script else ledger.completed_n
        return Cut(start, (), (ledger.completed_n,))
    start = ledger.rewind_from or ledger.causes[0]
    first = next((i for i, turn in enumerate(ledger.script) if turn.arrival.n >= start), len(ledger.script))
    _refuse_sections(ledger, ledger.script, ledger.script[first:])
    decided = [record.n for turn in ledger.script[first:] for record in turn.decisions]
    gone = frozenset(decided)
    answered = [turn.arrival.n for turn in ledger.script[first:] if answers(turn.arrival.event) in gone]
    asked = {n: event for turn in ledger.script for n, _, event in turn.decisions}
    failed = [answers(turn.arrival.event) for turn in ledger.script if turn.arrival.n in ledger.causes]
    again = [(n, asked[n]) for n in failed if n in asked and n not in gone]
    children = tuple((n, e) for n, e in again if isinstance(e, ev.SubOrchestrationInstanceCreated))
    return Cut(
        start,
        ledger.causes,
        tuple(sorted({*decided, *answered})),
        children,
        tuple((n, e) for n, e in again if isinstance(e, ev.TaskScheduled)),
        tuple((n, e) for n, e in again if isinstance(e, ev.EntityOperationCalled)),
        _attempts({n for n, _ in children}, ledger.script),
        frozenset(answers(turn.arrival.event) for turn in ledger.script if _is_conflict(turn.arrival.event)),
    )


def _attempts(children: Collection[int], script: Sequence[Turn]) -> dict[int, tuple[Attempt, ...]]:
    """The attempts of each child, from the one that is asked for again to the last."""
    decided = (record for turn in script for record in turn.decisions)
    created = [Attempt(n, at, e) for n, at, e in decided if isinstance(e, ev.SubOrchestrationInstanceCreated)]
    first = {each.created.retry_of or each.n: each.n for each in created if each.n in children}
    found: dict[int, list[Attempt]] = {n: [] for n in first.values()}
    for each in created:
        n = first.get(each.created.retry_of or each.n)
        if n is not None and each.n >= n:
            found[n].append(each)
    return {n: tuple(attempts) for n, attempts in found.items()}


def _is_conflict(event: ev.AnyEvent) -> bool:
    """Whether this says that a child couldn't be started, as its id was taken."""
    return isinstance(event, ev.SubOrchestrationInstanceFailed) and event.failure.type == _CONFLICT


def _refuse_sections(ledger: Ledger, script: Sequence[Turn], undone: Sequence[Turn]) -> None:
    """Refuse what would go on in a critical section whose locks are given back: by a turn undone, or by the end."""
    decided = [record for turn in script for record in turn.decisions]
    given_back = {record.event.lock for record in decided if isinstance(record.event, ev.EntityUnlockSent)}
    if any(isinstance(event, ev.EntityLockRequested) and n not in given_back for n, _, event in decided):
        raise WrongState(f"{ledger.instance} failed while it held or waited for locks: it can't be rewound into them")
    if any(isinstance(record.event, ev.EntityUnlockSent) for turn in undone for record in turn.decisions):
        raise WrongState(f"{ledger.instance} has given locks back as it failed or later: it can't be rewound into them")
