"""Rewind: which records of a failed execution are forgotten, and which are void, so that it goes on from its failure.

*Forgotten* are the failed outcomes that ended it. *Void* are the decisions of the turns from the first of them on, with
their outcomes. All else is kept: other results, and events, which a void wait leaves unread again.
"""

from __future__ import annotations

from dataclasses import dataclass

from durablecli.errors import WrongState
from durablecli.model import events as ev
from durablecli.replay.ledger import Ledger, answers


@dataclass(frozen=True)
class Cut:
    """What one rewind takes back; `children` are the sub-orchestrations whose failure is forgotten."""

    start: int
    forgotten: tuple[int, ...]
    void: tuple[int, ...]
    children: tuple[tuple[int, ev.SubOrchestrationInstanceCreated], ...]
    activities: tuple[tuple[int, ev.TaskScheduled], ...]

    def event(self, reason: str, message: str | None = None) -> ev.ExecutionRewound:
        return ev.ExecutionRewound(self.start, reason, self.forgotten, self.void, message)


def cut(ledger: Ledger) -> Cut:
    """The cut of a failed execution. The ledger keeps its script; WrongState for one that hasn't failed."""
    if ledger.status != "Failed" or ledger.script is None:
        raise WrongState(f"{ledger.instance} is {ledger.status}: only a failed instance can be rewound")
    if not ledger.causes:
        return Cut(ledger.completed_n, (), (ledger.completed_n,), (), ())
    start = ledger.causes[0]
    first = next((i for i, turn in enumerate(ledger.script) if turn.arrival.n >= start), len(ledger.script))
    decided = [record.n for turn in ledger.script[first:] for record in turn.decisions]
    gone = frozenset(decided)
    answered = [turn.arrival.n for turn in ledger.script[first:] if answers(turn.arrival.event) in gone]
    asked = {n: event for turn in ledger.script for n, _, event in turn.decisions}
    failed = [answers(turn.arrival.event) for turn in ledger.script if turn.arrival.n in ledger.causes]
    again = [(n, asked[n]) for n in failed if n in asked and n not in gone]
    return Cut(
        start,
        ledger.causes,
        tuple(sorted({*decided, *answered})),
        tuple((n, e) for n, e in again if isinstance(e, ev.SubOrchestrationInstanceCreated)),
        tuple((n, e) for n, e in again if isinstance(e, ev.TaskScheduled)),
    )
