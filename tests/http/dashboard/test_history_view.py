"""The rows of the history: equal records are folded, and only the beginning of a payload is shown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from msgspec import Raw

from durablecli.http.dashboard.history_view import (
    PAGE_SIZE,
    make_call_view,
    make_history_page,
)
from durablecli.http.dashboard.payload_view import MAX_SHOWN_BYTES, show_payload
from durablecli.http.dashboard.template_filters import format_first_wait
from durablecli.model import events as ev
from durablecli.model.failures import Failure
from durablecli.model.status import PendingWait

START = datetime(2026, 11, 22, 9, tzinfo=UTC)
STARTED = ev.ExecutionStarted("tour-7", "2a", "tour")


def records(*events: ev.AnyEvent) -> list[ev.Record]:
    return [ev.Record(n, START + timedelta(seconds=n - 1), event) for n, event in enumerate(events, 1)]


def test_each_record_is_a_row() -> None:
    page = make_history_page(
        records(
            STARTED,
            ev.TaskScheduled("hello", Raw(b'"Tokyo"')),
            ev.TaskFailed(2, Failure("builtins.ValueError", "no\nmore")),
            ev.TimerCreated(START + timedelta(seconds=8), retry_of=2),
            ev.ExecutionCompleted("Completed", Raw(b"7")),
        )
    )
    assert [(row.n, row.kind, row.offset, row.text) for row in page.rows] == [
        (1, "ExecutionStarted", "+0 ms", "tour"),
        (2, "TaskScheduled", "+1 s", "hello"),
        (3, "TaskFailed", "+2 s", "hello: ValueError: no"),
        (4, "TimerCreated", "+3 s", "back-off of 5 s"),
        (5, "ExecutionCompleted", "+4 s", "Completed"),
    ]
    assert [each.text for row in page.rows for each in row.payloads] == ['"Tokyo"', "7"]
    assert (page.rows[2].refs, page.rows[2].style, page.rows[2].has_more) == ((2,), "failed", True)


def test_equal_records_in_a_row_are_folded_and_can_be_unfolded() -> None:
    calls = [ev.TaskScheduled("square") for _ in range(10_000)]
    found = records(STARTED, *calls, *[ev.TaskCompleted(n) for n in range(2, 10_002)])
    page = make_history_page(found)
    assert [(row.n, row.last_n, row.count) for row in page.rows] == [
        (1, 1, 1),
        (2, 10_001, 10_000),
        (10_002, 20_001, 10_000),
    ]
    assert page.rows[1].text == "square × 10,000, within 2 h 46 min"
    unfolded = make_history_page(found, 2, 10_001, fold=False)
    assert len(unfolded.rows) == PAGE_SIZE
    assert unfolded.next == 2 + PAGE_SIZE
    assert make_history_page(found, 10_000, 10_001, fold=False).next == 0


def test_a_payload_is_cut() -> None:
    big = Raw(b'"' + "é".encode() * 8_000_000 + b'"')
    page = make_history_page(records(STARTED, ev.TaskScheduled("hello", big)))
    (preview,) = page.rows[1].payloads
    assert (len(preview.text) < 200, preview.size, preview.is_cut) == (True, 16_000_002, True)
    shown = show_payload("input", big)
    assert (shown.size, shown.is_cut, len(shown.text.encode()) <= MAX_SHOWN_BYTES) == (16_000_002, True, True)


def test_a_payload_is_formatted() -> None:
    assert show_payload("input", Raw(b'{"a":[1]}')).text == '{\n  "a": [\n    1\n  ]\n}'


def test_a_payload_that_is_nested_too_deeply_is_shown_as_it_is() -> None:
    deep = Raw(b"[" * 100_000 + b"]" * 100_000)
    assert show_payload("state", deep).text.startswith("[[[")


def test_an_empty_history_has_no_rows() -> None:
    assert make_history_page([]).rows == ()


def test_a_call_is_shown_with_all_its_attempts_and_nothing_else() -> None:
    frames = 'Traceback (most recent call last):\n  File "/app/tour.py", line 8, in check\n    raise ValueError\n'
    found = records(
        STARTED,
        ev.TaskScheduled("hello", Raw(b'"Oslo"'), label="first"),
        ev.TaskScheduled("hello", Raw(b'"Bern"')),
        ev.TaskFailed(2, Failure("builtins.ValueError", "no", traceback=f"{frames}ValueError: no")),
        ev.TaskCompleted(3, Raw(b"1")),
        ev.TimerCreated(START + timedelta(seconds=8), retry_of=2),
        ev.TimerFired(6),
        ev.TaskScheduled("hello", Raw(b'"Oslo"'), label="first", attempt=2, retry_of=2),
        ev.TaskCompleted(8, Raw(b"2")),
    )
    call = make_call_view(found, 2)
    assert call is not None
    assert (call.n, call.title, call.more) == (2, "hello [first]", 0)
    assert [step.row.n for step in call.steps] == [2, 4, 6, 7, 8, 9]
    assert all(make_call_view(found, n) == call for n in (4, 6, 7, 8, 9))
    assert [one.text for step in call.steps for one in step.payloads] == ['"Oslo"', '"Oslo"', "2"]
    failure = call.steps[1].failure
    assert failure is not None
    assert failure.at is not None
    assert (failure.at.file, failure.at.line) == ("/app/tour.py", 8)
    assert make_call_view(found, 99) is None


def test_a_timer_is_named_after_what_else_an_instance_waits_for() -> None:
    timer, event = PendingWait("timer", 2, fire_at=START + timedelta(hours=2)), PendingWait("event", 3, "Approval")
    assert format_first_wait([timer, event], START) == "event Approval +1"
    assert format_first_wait([timer], START) == "timer in 2 h"
    calls = [PendingWait("activity", n, "work") for n in range(2, 22)]
    assert format_first_wait(calls, START) == "activity work +19 or more"  # a list has no more of them
    assert format_first_wait(calls[1:], START) == "activity work +18"
