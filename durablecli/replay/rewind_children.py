"""The sub-orchestrations of an execution that is rewound.

A child whose failure is forgotten answers with its present outcome: it may have been rewound or restarted by hand
since, and work that it has completed must not be repeated. One that is still Failed is rewound with its parent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from durablecli.errors import WrongState
from durablecli.model import events as ev
from durablecli.replay.rewind import ChildAttempt, RewindPlan
from durablecli.replay.runtime_state import RuntimeState

FindInstance = Callable[[str], RuntimeState | None]
"""From an instance id to its runtime state; None if there is no such instance."""
ChildCreated = ev.SubOrchestrationInstanceCreated


def find_child(parent: RuntimeState, n: int, created: ChildCreated, find: FindInstance) -> RuntimeState | None:
    """The child that was started by decision `n`; None if there is none."""
    child = find(created.instance)
    origin = ev.Origin(parent.instance, parent.execution, n)
    return child if child is not None and child.started.parent == origin else None


def find_completed_child(parent: RuntimeState, n: int, plan: RewindPlan, find: FindInstance) -> RuntimeState | None:
    """The instance that has completed a child's work since its failure: the latest of its attempts that did."""
    for found in _current_instances(parent, n, plan, find):
        if found.status == "Completed":
            return found
    return None


def children_to_rewind(parent: RuntimeState, plan: RewindPlan, find: FindInstance) -> list[str]:
    """The failed children that are rewound with their parent.

    Raises WrongState if a later attempt, rewound by hand, is still running: the work would be done twice.
    """
    found = []
    for n, created in plan.children:
        if find_completed_child(parent, n, plan, find) is not None:
            continue
        for attempt in plan.attempts[n][1:]:
            other = find_child(parent, attempt.n, attempt.created, find)
            if other is not None and not other.ended:
                raise _still_running_error(other, parent)
        child = find_child(parent, n, created, find)
        if child is not None and child.status == "Failed":
            found.append(child.instance)
    return found


def check_replacements(parent: RuntimeState, plan: RewindPlan, find: FindInstance) -> None:
    """Raise WrongState if a replacement of a child, started by hand, is still running.

    The parent would fail again, because the id exists.
    """
    for n, _ in plan.children:
        for attempt in plan.attempts[n]:
            other = _find_replacement(n, attempt, plan, find)
            if other is not None and not other.ended:
                raise _still_running_error(other, parent)


def _still_running_error(other: RuntimeState, parent: RuntimeState) -> WrongState:
    return WrongState(f"{other.instance} is still running: rewind {parent.instance} after it has ended")


def _current_instances(parent: RuntimeState, n: int, plan: RewindPlan, find: FindInstance) -> Iterator[RuntimeState]:
    """The instances of a child's attempts, the last first."""
    for attempt in reversed(plan.attempts[n]):
        child = find_child(parent, attempt.n, attempt.created, find) or _find_replacement(n, attempt, plan, find)
        if child is not None:
            yield child


def _find_replacement(n: int, attempt: ChildAttempt, plan: RewindPlan, find: FindInstance) -> RuntimeState | None:
    """The instance that was started by hand with a child's id and function, after the child."""
    found = find(attempt.created.instance)
    if found is None or found.started.parent is not None:
        return None
    if found.started.name.casefold() != attempt.created.name.casefold():
        return None
    is_later = found.created > attempt.at or (found.created == attempt.at and n not in plan.never_started)
    return found if is_later else None
