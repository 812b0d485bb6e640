"""Fork: a new instance that begins with the records of another one before record N, and continues from there.

The records are copied with their numbers; only the start names the new instance. What was open at record N runs again
for the fork: activities, operations of entities, and sub-orchestrations under ids of their own. Timers keep their
times. What was decided and answered before N isn't repeated, and the original isn't touched.

An instance isn't forked in a critical section: the locks belong to the original.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from durablecli.errors import WrongState
from durablecli.model import events as ev
from durablecli.model.ids import make_child_id
from durablecli.replay import pending
from durablecli.replay.runtime_state import RuntimeState, fold_history

_DROPPED = (ev.ExecutionTerminated, ev.ExecutionSuspended)
"""Records that don't count if they are the last ones before record N."""


@dataclass(frozen=True)
class ForkPlan:
    """The records of a fork, and what is open after them: it runs again."""

    records: list[ev.Record]
    activities: list[tuple[int, ev.TaskScheduled]]
    children: list[tuple[int, ev.SubOrchestrationInstanceCreated]]
    calls: list[tuple[int, ev.EntityOperationCalled]]
    timers: list[tuple[int, ev.TimerCreated]]
    is_suspended: bool


def plan_fork(records: Sequence[ev.Record], before: int, target: str, execution: str) -> ForkPlan:
    """Plan the fork of a history before record `before`, as instance `target`.

    Raises WrongState if there is no such record, and for a record after the end or in a critical section.
    """
    kept = [record for record in records if record.n < before]
    while kept and isinstance(kept[-1].event, _DROPPED):
        kept.pop()
    source = records[0].event
    assert isinstance(source, ev.ExecutionStarted)
    last = records[-1].n
    if before < 2 or before > last + 1 or not kept:
        raise WrongState(f"{source.instance} can be forked from records 2 to {last + 1}, not from {before}")
    state = fold_history(kept)
    _check(source.instance, state, before)
    origin = ev.Origin(source.instance, source.execution, before)
    started = replace(
        source, instance=target, execution=execution, parent=None, start_at=None, message=None, depth=0, trace=None,
        forked_from=origin,
    )  # fmt: skip
    open_children = {n: _rename_child(n, event, target, execution) for n, event in pending.children(state)}
    copied = [
        ev.Record(each.n, each.at, open_children.get(each.n, started if each.n == 1 else each.event)) for each in kept
    ]
    return ForkPlan(
        copied,
        pending.activities(state),
        list(open_children.items()),
        pending.entity_calls(state),
        pending.timers(state),
        state.suspended is not None,
    )


def _check(source: str, state: RuntimeState, before: int) -> None:
    if state.ended:
        raise WrongState(f"{source} has ended before record {before}: fork it from record {state.completed_n} at most")
    if locks := pending.unreleased_locks(state):
        names = ", ".join(name for _, entities in locks for name in entities)
        raise WrongState(
            f"{source} can't be forked from record {before}: it held or waited for the locks of {names}, which a fork "
            f"can't hold; choose a record outside of the critical section"
        )
    for n, event in pending.children(state):
        if event.explicit:
            raise WrongState(
                f"{source} can't be forked from record {before}: its sub-orchestration {event.instance} (record {n}) "
                f"was open, and the fork can't start another one with this id; choose record {n} or an earlier one"
            )


def _rename_child(
    n: int, event: ev.SubOrchestrationInstanceCreated, target: str, execution: str
) -> ev.SubOrchestrationInstanceCreated:
    return replace(event, instance=make_child_id(target, execution, n))
