"""What becomes of the sub-orchestrations of an execution that is rewound.

A child whose failure is forgotten answers with its present outcome: it may have been rewound or restarted by hand
since, and what it has completed must not be done a second time. One that is still Failed is rewound with its parent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from durablecli.errors import WrongState
from durablecli.model import events as ev
from durablecli.replay.rewind import Attempt, Cut
from durablecli.replay.runtime_state import Ledger

Find = Callable[[str], Ledger | None]
"""From an instance id to its ledger, None where there is no such instance."""
Created = ev.SubOrchestrationInstanceCreated


def child_of(parent: Ledger, n: int, created: Created, find: Find) -> Ledger | None:
    """The child that answers to decision `n`; None where no instance does."""
    child = find(created.instance)
    origin = ev.Origin(parent.instance, parent.execution, n)
    return child if child is not None and child.started.parent == origin else None


def completed_child(parent: Ledger, n: int, plan: Cut, find: Find) -> Ledger | None:
    """Who has completed the work of a child since its failure: the latest of its attempts that did."""
    for found in _present(parent, n, plan, find):
        if found.status == "Completed":
            return found
    return None


def children_to_rewind(parent: Ledger, plan: Cut, find: Find) -> list[str]:
    """The failed children that are rewound with their parent.

    WrongState where a later attempt still runs, as it was rewound by hand: the work would be done twice.
    """
    found = []
    for n, created in plan.children:
        if completed_child(parent, n, plan, find) is not None:
            continue
        for attempt in plan.attempts[n][1:]:
            other = child_of(parent, attempt.n, attempt.created, find)
            if other is not None and not other.ended:
                raise _still_runs(other, parent)
        child = child_of(parent, n, created, find)
        if child is not None and child.status == "Failed":
            found.append(child.instance)
    return found


def check_replacements(parent: Ledger, plan: Cut, find: Find) -> None:
    """Raise WrongState where what was started by hand in the place of a child still runs: the parent would fail again,
    as the id is taken."""
    for n, _ in plan.children:
        for attempt in plan.attempts[n]:
            other = _replacement(n, attempt, plan, find)
            if other is not None and not other.ended:
                raise _still_runs(other, parent)


def _still_runs(other: Ledger, parent: Ledger) -> WrongState:
    return WrongState(f"{other.instance} still runs: rewind {parent.instance} once it has ended")


def _present(parent: Ledger, n: int, plan: Cut, find: Find) -> Iterator[Ledger]:
    """The instances that stand for a child: of each attempt, the last first."""
    for attempt in reversed(plan.attempts[n]):
        child = child_of(parent, attempt.n, attempt.created, find) or _replacement(n, attempt, plan, find)
        if child is not None:
            yield child


def _replacement(n: int, attempt: Attempt, plan: Cut, find: Find) -> Ledger | None:
    """An instance that somebody started by hand under the id of a child, after it, with the same function."""
    found = find(attempt.created.instance)
    if found is None or found.started.parent is not None:
        return None
    if found.started.name.casefold() != attempt.created.name.casefold():
        return None
    is_later = found.created > attempt.at or (found.created == attempt.at and n not in plan.never_begun)
    return found if is_later else None
