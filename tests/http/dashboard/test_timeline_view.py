"""The rows of the timeline: bars in percent, and few of them however many calls there are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from durablecli.client.timeline import Timeline, build_timeline
from durablecli.http.dashboard.timeline_view import MAX_ROWS, lay_out_group, lay_out_timeline
from durablecli.model import events as ev
from durablecli.model.failures import Failure

START = datetime(2026, 11, 22, 9, tzinfo=UTC)
NO = Failure("builtins.ValueError", "no\nand more")
STARTED = ev.ExecutionStarted("tour-7", "2a", "tour")


def timeline_of(*events: ev.AnyEvent, seconds: float = 1) -> Timeline:
    found = build_timeline(
        ev.Record(n, START + (n - 1) * timedelta(seconds=seconds), event) for n, event in enumerate(events, 1)
    )
    assert found is not None
    return found


def test_a_call_is_a_row_with_a_bar_for_each_span() -> None:
    view = lay_out_timeline(
        timeline_of(
            STARTED, ev.TaskScheduled("hello"), ev.TaskFailed(2, NO), ev.TaskScheduled("b"), ev.TaskCompleted(4)
        ),
        START + timedelta(seconds=10),
    )
    hello, other = view.rows
    assert [(bar.x, bar.width, bar.style) for bar in hello.bars] == [("10", "10", "attempt failed")]
    assert [(bar.x, bar.width) for bar in other.bars] == [("30", "10")]
    assert (hello.outcome, hello.length, hello.n) == ("failed", "1 s", 2)
    assert hello.text == "failed +1 s, 1 s, ValueError: no"
    assert [tick.text for tick in view.ticks] == ["0", "+2.5 s", "+5 s", "+7.5 s", "+10 s"]


def test_an_open_call_reaches_until_now() -> None:
    view = lay_out_timeline(timeline_of(STARTED, ev.TaskScheduled("hello")), START + timedelta(seconds=4))
    assert [(bar.x, bar.width) for bar in view.rows[0].bars] == [("25", "75")]


def test_a_short_call_is_still_seen() -> None:
    view = lay_out_timeline(
        timeline_of(STARTED, ev.TaskScheduled("hello"), ev.TaskCompleted(2), seconds=0.001), START + timedelta(days=3)
    )
    assert float(view.rows[0].bars[0].width) > 0.3


def fan_out(count: int, *, failed: int = 0) -> Timeline:
    calls = [ev.TaskScheduled("square") for _ in range(count)]
    outcomes = [ev.TaskFailed(n, NO) if n < 2 + failed else ev.TaskCompleted(n) for n in range(2, 2 + count)]
    return timeline_of(STARTED, *calls, *outcomes, seconds=0.001)


@pytest.mark.parametrize("count", [MAX_ROWS + 1, 10_000])
def test_a_fan_out_is_one_row_of_bounded_size(count: int) -> None:
    view = lay_out_timeline(fan_out(count, failed=3), START)
    (row,) = view.rows
    assert (row.count, row.outcome, row.group) == (count, "failed", "activity:square")
    assert row.text.startswith(f"{count:,} calls, 3 failed, median ")
    assert len(row.bars) <= 240


def test_the_calls_of_a_group_are_shown_failed_ones_first_and_then_the_longest() -> None:
    timeline = fan_out(120, failed=1)
    rows, more = lay_out_group(timeline, START, "activity:square")
    assert (len(rows), more) == (50, 70)
    assert [row.outcome for row in rows[:2]] == ["failed", "completed"]
    rows, more = lay_out_group(timeline, START, "activity:square", 100)
    assert (len(rows), more) == (20, 0)
    assert lay_out_group(timeline, START, "activity:other") == ([], 0)


def test_many_functions_leave_calls_without_a_row() -> None:
    view = lay_out_timeline(timeline_of(STARTED, *(ev.TaskScheduled(f"f{at}") for at in range(100))), START)
    assert (len(view.rows), view.more, view.calls) == (MAX_ROWS, 60, 100)


def test_pauses_and_marks_have_rows_of_their_own() -> None:
    view = lay_out_timeline(
        timeline_of(STARTED, ev.ExecutionSuspended("audit"), ev.ExecutionResumed(), *[ev.EventRaised("Go")] * 3),
        START + timedelta(seconds=10),
    )
    pause, marks = view.rows
    assert (pause.kind, pause.length, pause.text) == ("suspended", "1 s", "suspended +1 s, for 1 s: audit")
    assert (marks.name, marks.text) == ("events received", "3 × Go")
