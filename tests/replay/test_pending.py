"""What a parent gets from a child that was terminated, and whether a turn is waited for."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from msgspec import Raw

from durablecli.model import events as ev
from durablecli.model.boxed_text import from_text
from durablecli.replay.pending import awaits_turn, child_outcome
from durablecli.replay.runtime_state import RuntimeState, fold_history

AT = datetime(2026, 11, 22, 9, tzinfo=UTC)


def fold(*events: ev.AnyEvent) -> RuntimeState:
    return fold_history([ev.Record(n, AT, event) for n, event in enumerate(events, 1)])


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (Raw(b'"enough"'), "terminated: enough"),
        (Raw(b'""'), "terminated"),
        (Raw(b"null"), "terminated"),
        (Raw(b'{"code":7}'), 'terminated: {"code":7}'),
        (from_text("plain words"), "terminated: plain words"),
    ],
)
def test_the_failure_of_a_terminated_child_has_its_output(output: Raw, message: str) -> None:
    child = fold(ev.ExecutionStarted("c", "1", "f"), ev.ExecutionCompleted("Terminated", output))
    outcome = child_outcome(child, 4)
    assert isinstance(outcome, ev.SubOrchestrationInstanceFailed)
    assert outcome.failure.message == message


HELD = ev.ExecutionStarted("a", "1", "f", held=True)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([HELD], True),
        ([HELD, ev.OrchestratorStarted(1)], False),
        ([HELD, ev.OrchestratorStarted(1), ev.EventRaised("Go", held=True)], True),
        ([HELD, ev.ExecutionBlocked("no")], False),
        ([HELD, ev.ExecutionSuspended("no")], False),
        ([ev.ExecutionStarted("a", "1", "f", start_at=AT, held=True)], False),
        ([HELD, ev.OrchestratorStarted(1), ev.ExecutionCompleted("Completed"), ev.EventRaised("Go", held=True)], False),
    ],
)
def test_a_turn_is_waited_for_if_nothing_but_the_code_is_missing(events: list[ev.AnyEvent], expected: bool) -> None:
    assert awaits_turn(fold(*events)) is expected
