"""Rewinds a failed execution whose history another engine keeps: the worker returns a new history.

As in the local engine, what is forgotten are the failed outcomes that ended it, and the decisions of the turns from the
first of them on, with their outcomes. The code may have changed since, so this is found out when the execution fails,
and kept with its failure. Failed sub-orchestrations are rewound by the engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from durablecli.model import events as ev
from durablecli.protocol.foreign_history import LAST_ID_TAG, REPEAT_TAG
from durablecli.protocol.generated import pb
from durablecli.protocol.values import REWIND_PROPERTY
from durablecli.replay.runtime_state import answered_decision


class ForeignRewindPlan(msgspec.Struct, frozen=True, omit_defaults=True):
    """The events that a rewind removes from a history, and those that it repeats.

    `dropped` are positions of events, from 1; `void` and `repeated` are ids of decisions, and `last_id` is the highest.
    With `refusal` the execution can't be rewound.
    """

    dropped: tuple[int, ...] = ()
    void: tuple[int, ...] = ()
    repeated: tuple[int, ...] = ()
    last_id: int = 0
    refusal: str = ""


def plan_foreign_rewind(
    end: ev.ExecutionCompleted,
    turns: Iterable[tuple[ev.Record, Sequence[int]]],
    decided: Mapping[int, ev.Decision],
    last_id: int,
) -> ForeignRewindPlan:
    """Plan the rewind of an execution that fails. `turns` are its arrivals, each with the decisions that followed."""
    causes = frozenset(end.causes)
    start = (end.rewind_from or min(causes)) if causes else None
    taken = list(turns)
    void = frozenset(n for arrival, made in taken if start is not None and arrival.n >= start for n in made)
    answers = {arrival.n: answered_decision(arrival.event) for arrival, _ in taken}
    dropped = causes | {position for position, decision in answers.items() if decision in void}
    failed = {answers.get(position, 0) for position in causes} - void
    repeated = sorted(n for n in failed if isinstance(decided.get(n), ev.TaskScheduled | ev.EntityOperationCalled))
    return ForeignRewindPlan(
        tuple(sorted(dropped)), tuple(sorted(void)), tuple(repeated), last_id, _find_refusal(decided, void)
    )


def _find_refusal(decided: Mapping[int, ev.Decision], void: frozenset[int]) -> str:
    released = {event.lock for event in decided.values() if isinstance(event, ev.EntityUnlockSent)}
    locks = {n for n, event in decided.items() if isinstance(event, ev.EntityLockRequested)}
    if locks - released:
        return "it can't be rewound: it failed while it held or waited for locks"
    if any(isinstance(decided.get(n), ev.EntityUnlockSent) for n in void):
        return "it can't be rewound: it has released locks since its failure"
    return ""


def add_plan(details: pb.TaskFailureDetails, plan: ForeignRewindPlan) -> None:
    """Keep a plan with the failure."""
    details.properties[REWIND_PROPERTY].string_value = msgspec.json.encode(plan).decode()


def read_plan(events: Iterable[pb.HistoryEvent]) -> ForeignRewindPlan:
    """Return the plan that the last failure of a history has. Another worker's failure has none: nothing is dropped."""
    text = ""
    for event in events:
        if event.HasField("executionCompleted"):
            properties = event.executionCompleted.failureDetails.properties
            text = properties[REWIND_PROPERTY].string_value if REWIND_PROPERTY in properties else ""
    try:
        return msgspec.json.decode(text, type=ForeignRewindPlan) if text else ForeignRewindPlan()
    except msgspec.MsgspecError:
        return ForeignRewindPlan()


def make_rewind(request: pb.OrchestratorRequest, plan: ForeignRewindPlan) -> pb.OrchestratorAction:
    """Return the action that gives the engine the new history."""
    history = [
        event
        for position, event in enumerate(request.pastEvents, 1)
        if position not in plan.dropped
        and not (event.eventId in plan.void and event.WhichOneof("eventType") in _DECISIONS)
        and event.WhichOneof("eventType") != "executionCompleted"
    ]
    for event in request.newEvents:
        copied = pb.HistoryEvent()
        copied.CopyFrom(event)
        if copied.HasField("executionRewound"):
            copied.executionRewound.tags[REPEAT_TAG] = ",".join(map(str, plan.repeated))
            copied.executionRewound.tags[LAST_ID_TAG] = str(plan.last_id)
        history.append(copied)
    return pb.OrchestratorAction(id=-1, rewindOrchestration=pb.RewindOrchestrationAction(newHistory=history))


_DECISIONS = frozenset(
    {
        "taskScheduled",
        "timerCreated",
        "subOrchestrationInstanceCreated",
        "eventSent",
        "entityOperationCalled",
        "entityOperationSignaled",
        "entityLockRequested",
        "entityUnlockSent",
    }
)
