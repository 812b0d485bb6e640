"""The lines about instances: what they say, and that many of them become a count."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from durablecli.engine import line_limiter
from durablecli.engine.instance_log import InstanceLog
from durablecli.engine.instance_notes import InstanceNote
from durablecli.engine.line_limiter import MAX_LINES
from durablecli.model import events as ev
from durablecli.model.failures import Failure

AT = datetime(2026, 11, 22, 9, tzinfo=UTC)


class ManualClock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    made = ManualClock()
    monkeypatch.setattr(line_limiter, "monotonic", made)
    return made


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[InstanceLog]:
    caplog.set_level(logging.INFO)
    made = InstanceLog(enabled=True)
    yield made
    made.flush()


def make_note(event: ev.AnyEvent, id: str = "a", n: int = 1, *, child: bool = False) -> InstanceNote:
    return InstanceNote(id, "tour", child, AT, AT + timedelta(seconds=1.2), n, event)


COMPLETED = make_note(ev.ExecutionCompleted("Completed"))
FAILED = make_note(ev.ExecutionCompleted("Failed", failure=Failure("builtins.ValueError", "empty city")))


def take_messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [record.getMessage() for record in caplog.records]
    caplog.clear()
    return found


@pytest.mark.parametrize(
    ("note", "level", "message"),
    [
        (make_note(ev.ExecutionStarted("a", "1", "tour")), "INFO", "a: tour started"),
        (
            make_note(ev.ExecutionStarted("a", "1", "tour", start_at=AT + timedelta(days=1))),
            "INFO",
            "a: tour is to start at 2026-11-23 09:00:00Z",
        ),
        (COMPLETED, "INFO", "a: tour completed in 1.2 s"),
        (make_note(ev.ExecutionCompleted("Terminated")), "INFO", "a: tour terminated after 1.2 s"),
        (FAILED, "ERROR", "a: tour failed after 1.2 s: ValueError: empty city"),
        (FAILED._replace(is_child=True), "WARNING", "a: tour failed after 1.2 s: ValueError: empty city"),
        (make_note(ev.ExecutionSuspended("for\x1b lunch")), "INFO", "a: suspended: for\\x1b lunch"),
        (make_note(ev.ExecutionResumed()), "INFO", "a: resumed"),
        (make_note(ev.ExecutionRewound(3, "again")), "INFO", "a: rewound: again"),
        (make_note(ev.ExecutionUnblocked()), "INFO", "a: unblocked"),
        (
            make_note(ev.TimerCreated(AT + timedelta(seconds=4.2), retry_of=2)),
            "WARNING",
            "a: retrying 1 task in 3 s",
        ),
    ],
)
def test_a_line_says_what_happened(
    log: InstanceLog, caplog: pytest.LogCaptureFixture, note: InstanceNote, level: str, message: str
) -> None:
    log.emit([note])
    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == (level, message)


def test_details_are_printed_at_the_level_debug_only(log: InstanceLog, caplog: pytest.LogCaptureFixture) -> None:
    details = [
        make_note(ev.ExecutionStarted("a", "1", "tour"), child=True),
        make_note(ev.TaskScheduled("visit"), n=2),
        make_note(ev.TaskCompleted(2))._replace(call=ev.TaskScheduled("visit")),
        make_note(ev.EventRaised("Go")),
        make_note(ev.TimerFired(4)),
        make_note(ev.ExecutionCompleted("Completed"), child=True),
    ]
    log.emit(details)
    assert take_messages(caplog) == []
    caplog.set_level(logging.DEBUG)
    log.emit(details)
    assert take_messages(caplog) == [
        "a: tour started",
        "a: activity visit (id 2) scheduled",
        "a: activity visit (id 2) completed",
        "a: event Go received",
        "a: timer 4 fired",
        "a: tour completed in 1.2 s",
    ]


def test_many_lines_in_one_second_are_counted_but_failures_are_printed(
    log: InstanceLog, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    log.emit([COMPLETED] * (MAX_LINES + 7) + [FAILED] * 3)
    assert len(take_messages(caplog)) == MAX_LINES + 3
    clock.now += 1
    log.emit([COMPLETED] * 5)  # after a busy second the next one is counted from its beginning
    assert take_messages(caplog) == ["… 7 more completed in the last second"]
    clock.now += 1
    log.emit([COMPLETED])
    assert take_messages(caplog) == ["… 5 more completed in the last second", "a: tour completed in 1.2 s"]
    clock.now += 1
    log.emit([COMPLETED] * (MAX_LINES + 1))
    take_messages(caplog)
    log.flush()
    assert take_messages(caplog) == ["… 1 more completed in the last second"]
    clock.now += 5
    log.emit([COMPLETED])
    assert take_messages(caplog) == ["a: tour completed in 1.2 s"]


def test_equal_failures_of_one_commit_share_a_line(log: InstanceLog, caplog: pytest.LogCaptureFixture) -> None:
    failure = Failure("builtins.ValueError", "empty city")
    call = ev.TaskScheduled("visit")
    notes = [make_note(ev.TaskFailed(n, failure), n=10 + n)._replace(call=call) for n in (2, 3, 4)]
    log.emit([*notes, make_note(ev.TaskFailed(5, Failure("builtins.KeyError", "'x'")), n=20)._replace(call=call)])
    assert take_messages(caplog) == [
        "a: activity visit (3 ×, such as id 2) failed: ValueError: empty city",
        "a: activity visit (id 5) failed: KeyError: 'x'",
    ]


def test_nothing_is_noted_unless_lines_are_wanted(caplog: pytest.LogCaptureFixture) -> None:
    assert not InstanceLog(enabled=False).noted
    caplog.set_level(logging.CRITICAL)
    assert not InstanceLog(enabled=True).noted
