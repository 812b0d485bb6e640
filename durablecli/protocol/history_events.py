"""The history of an instance, whether its code runs here or elsewhere, as events of the protocol."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from durablecli.model import events as ev
from durablecli.protocol.generated import pb
from durablecli.protocol.history_translator import HistoryTranslator, make_orchestrator_started
from durablecli.replay.remote_work import ParentName
from durablecli.replay.runtime_state import RuntimeState, Turn


def make_history(state: RuntimeState, parent: RuntimeState | None = None) -> Iterator[pb.HistoryEvent]:
    """Yield the events of an execution whose state was folded with its turns: what was applied, decided and done to it.

    Arrivals that are still held are not part of it. The state of the parent, as far as it is known, tells its name.
    """
    translator = HistoryTranslator(state.started, _name_parent(state.started.parent, parent))
    turns = state.turns or []
    if not turns and state.ended:  # it was terminated before its first turn
        yield make_orchestrator_started(state.created)
        yield from translator.translate_arrival(ev.Record(1, state.created, state.started))
    interventions = deque(state.interventions)
    last: Turn | None = None
    for turn in turns:
        while interventions and _is_before(interventions[0], turn):
            yield from translator.translate_arrival(interventions.popleft())
            last = None
        yield from translator.translate_start(turn, last)
        for record in turn.decisions:
            if isinstance(record.event, ev.ExecutionCompleted):
                yield from _drain(interventions, translator)
            yield from translator.translate_decision(record)
        last = turn
    yield from _drain(interventions, translator)
    if not turns and state.completed_n:
        end = ev.ExecutionCompleted(state.end_status or "", result=state.result, failure=state.failure)
        yield from translator.translate_decision(ev.Record(state.completed_n, state.updated, end))


def _name_parent(origin: ev.Origin | None, parent: RuntimeState | None) -> ParentName | None:
    """Return the name of the parent, and the id of its call unless another execution of it has made that."""
    if origin is None or parent is None:
        return None
    decisions = (record for turn in parent.turns or () for record in turn.decisions if record.n == origin.n)
    call = next(decisions, None) if parent.execution == origin.execution else None
    id = getattr(call.event, "id", None) if call is not None else None
    return ParentName(parent.started.name, origin.n if id is None else id)


def _is_before(intervention: ev.Record, turn: Turn) -> bool:
    """Whether something was done to the execution before a turn. A held arrival may be older than its turn."""
    if isinstance(intervention.event, ev.ExecutionTerminated):
        return False  # no turn follows it
    n = intervention.n
    first = turn.decisions[0] if turn.decisions else None
    decided = 0 if first is None or _is_termination(first.event) else first.n
    return turn.arrival.n > n or turn.at > intervention.at or decided > n


def _is_termination(event: ev.AnyEvent) -> bool:
    """Whether an execution was ended from outside: no turn has decided that, though it stands with the last turn's."""
    return isinstance(event, ev.ExecutionCompleted) and event.status == "Terminated"


def _drain(records: deque[ev.Record], translator: HistoryTranslator) -> Iterator[pb.HistoryEvent]:
    while records:
        yield from translator.translate_arrival(records.popleft())
