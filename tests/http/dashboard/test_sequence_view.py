"""The layout of the sequence diagram."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from durablecli.client.sequence import build_sequence
from durablecli.http.dashboard.sequence_view import lay_out_sequence
from durablecli.model import events as ev

START = datetime(2026, 11, 22, 9, tzinfo=UTC)


def test_arrows_lead_from_column_to_column_and_each_step_is_also_a_line() -> None:
    steps = [event for at in range(9) for event in (ev.TaskScheduled("step" * 9), ev.TaskCompleted(3 + 2 * at))]
    events = [ev.ExecutionStarted("tour-7", "2a", "tour"), ev.EventAwaited("Go"), *steps]
    found = lay_out_sequence(
        build_sequence(ev.Record(n, START + timedelta(seconds=n), event) for n, event in enumerate(events, 1))
    )
    assert [(column.kind, column.name) for column in found.columns] == [
        ("client", "client"),
        ("orchestration", "orchestration"),
        ("activity", "stepstepstepstepst…"),
    ]
    start, note, call, result = found.arrows
    assert (start.x1, start.x2) == (found.columns[0].x, found.columns[1].x)
    assert (note.x1, note.head, note.text) == (note.x2, "", "waits for event Go")
    assert (call.x1, call.x2) == (result.x2, result.x1)
    assert [frame.text for frame in found.frames] == ["loop × 9"]
    assert found.lines[2:] == (
        "9 times:",
        f"  +2 s orchestration → {'step' * 9}: call",
        f"  +3 s {'step' * 9} → orchestration: result",
    )
    assert all(0 < arrow.y < found.height for arrow in found.arrows)
