"""The decisions whose outcomes are held."""

from __future__ import annotations

from datetime import UTC, datetime

from durablecli.model import events as ev
from durablecli.model.failures import Failure
from durablecli.replay.runtime_state import RuntimeState, fold_history

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BOTH = (
    ev.ExecutionStarted("i", "1", "o"),
    ev.TaskScheduled("a"),
    ev.TimerCreated(NOW),
    ev.EntityOperationCalled("@a@b", "get"),
    ev.TaskScheduled("b"),
    ev.TaskCompleted(2, held=True),
    ev.TimerFired(3, held=True),
    ev.EntityOperationCompleted(4, held=True),
    ev.TaskCompleted(5),
)


def fold(*events: ev.AnyEvent) -> RuntimeState:
    return fold_history([ev.Record(n, NOW, event) for n, event in enumerate(events, 1)])


def test_they_are_known_until_the_outcomes_are_applied() -> None:
    assert fold(*BOTH).answered == {2: BOTH[1], 3: BOTH[2], 4: BOTH[3]}
    assert fold(*BOTH, ev.OrchestratorStarted(7)).answered == {4: BOTH[3]}
    assert fold(*BOTH, ev.OrchestratorStarted(8)).answered == {}


def test_a_rewind_holds_outcomes_again() -> None:
    state = fold(
        ev.ExecutionStarted("i", "1", "o"),
        ev.TaskScheduled("a"),
        ev.TaskScheduled("b"),
        ev.TaskFailed(2, Failure("E", "no")),
        ev.TaskCompleted(3),
        ev.ExecutionCompleted("Failed", failure=Failure("E", "no"), causes=(4,)),
        ev.ExecutionRewound(4, "again", (4,), (6,)),
    )
    assert list(state.open_decisions) == [2]
    assert state.answered == {3: ev.TaskScheduled("b")}
