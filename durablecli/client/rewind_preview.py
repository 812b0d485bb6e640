"""The preview of a rewind: which work it would retry, and whether it is possible at all."""

from __future__ import annotations

from collections.abc import Callable

from durablecli.replay.rewind import CAUSES_ONLY, RewindPlan, RewindScope, plan_rewind
from durablecli.replay.rewind_children import check_replacements, children_to_rewind, find_completed_child
from durablecli.replay.runtime_state import RuntimeState

StateFinder = Callable[[str], RuntimeState | None]
"""Returns the runtime state of an instance; None if it has no history."""


def describe_rewind(instance: str, find_state: StateFinder, scope: RewindScope = CAUSES_ONLY) -> list[str]:
    """Describe, one line each, the activities, operations and sub-orchestrations that a rewind would retry.

    Raises WrongState if the instance, or a sub-orchestration that is rewound with it, can't be rewound.
    """
    state = find_state(instance)
    if state is None:
        return []
    plan = plan_rewind(state, scope)
    check_replacements(state, plan, find_state)
    _check_descendants(state, plan, find_state)
    return [
        *(f"activity {event.name}{_label(event.label)} (id {n})" for n, event in plan.activities),
        *(f"operation {event.name} of {event.entity} (id {n})" for n, event in plan.calls),
        *(
            f"sub-orchestration {event.name}{_label(event.label)}, instance {event.instance}"
            for n, event in plan.children
            if find_completed_child(state, n, plan, find_state) is None
        ),
    ]


def _label(label: str | None) -> str:
    return f" [{label}]" if label else ""


def _check_descendants(state: RuntimeState, plan: RewindPlan, find_state: StateFinder) -> None:
    """Raise WrongState if a descendant that is rewound too can't be; a loop, because trees may be deep."""
    queue = children_to_rewind(state, plan, find_state)
    while queue:
        child = find_state(queue.pop())
        if child is not None:
            queue += children_to_rewind(child, plan_rewind(child), find_state)
