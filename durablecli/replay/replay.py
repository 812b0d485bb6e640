"""Replay: an executor rebuilt from the turns of a runtime state, by applying the same arrivals again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from durablecli.limits import PAYLOAD_LIMIT
from durablecli.model import events as ev
from durablecli.replay.context import DurableOrchestrationContext
from durablecli.replay.errors import NonDeterminismError
from durablecli.replay.executor import OrchestrationExecutor
from durablecli.replay.function_marks import FindTraits
from durablecli.replay.runtime_state import RuntimeState, Turn, answered_decision

create_executor = partial(OrchestrationExecutor, make_context=DurableOrchestrationContext)
"""Creates the executor of an execution that has no turns yet."""


def replay(
    function: Callable[[Any], Any],
    state: RuntimeState,
    find_traits: FindTraits,
    *,
    incomplete: bool = False,
    payload_limit: int = PAYLOAD_LIMIT,
    azure: bool = False,
) -> tuple[OrchestrationExecutor, list[ev.Record]]:
    """Return the executor after the last turn, and the decisions that an incomplete last turn lacks.

    Raises NonDeterminismError if the function decides differently from the history.
    """
    turns = state.turns
    assert turns is not None, "the runtime state was folded without its turns"
    incomplete = incomplete or state.incomplete
    executor = create_executor(
        function,
        state.started,
        find_traits,
        comparable_decisions(record for turn in turns for record in turn.decisions),
        incomplete=incomplete,
        payload_limit=payload_limit,
        timeout_resets=state.timeout_resets,
        azure=azure,
    )
    try:
        new_decisions = _apply_turns(executor, state, turns)
    except BaseException:
        executor.close()
        raise
    executor.expect(comparable_decisions(state.kept_decisions))
    return executor, new_decisions


def _apply_turns(executor: OrchestrationExecutor, state: RuntimeState, turns: Iterable[Turn]) -> list[ev.Record]:
    new_decisions: list[ev.Record] = []
    next_n = state.last_n + 1
    for turn in turns:
        if decisions := executor.apply(turn.arrival, turn.at, next_n, replaying=True):
            new_decisions += decisions
            next_n += len(decisions)
    executor.finish_replay()
    if not (executor.ended or state.ended):
        _check_pending(executor, state, new_decisions)
    return new_decisions


def comparable_decisions(decisions: Iterable[ev.Record]) -> list[ev.Record]:
    """Return the decisions that a replay compares: all except custom statuses."""
    return [record for record in decisions if type(record.event) is not ev.CustomStatusSet]


def _check_pending(executor: OrchestrationExecutor, state: RuntimeState, new_decisions: Iterable[ev.Record]) -> None:
    """Raise NonDeterminismError if the function waits for an outcome that can't come any more."""
    lost = executor.pending_decisions.difference(state.open_decisions)
    if lost:
        lost.difference_update(answered_decision(held.event) for held in state.held)
        lost.difference_update(record.n for record in new_decisions)
        lost.difference_update(answered_decision(kept.event) for kept in state.kept_decisions)  # about to be cancelled
    if lost:
        decided = (record for turn in state.turns or () for record in turn.decisions if record.n in lost)
        raise NonDeterminismError(
            next(decided, None), None, executor.current_line(), "waits for its outcome, which can't come any more"
        )
