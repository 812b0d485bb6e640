"""The timeline of an execution: spans from the records of its history."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from durablecli.client.timeline import Timeline, build_timeline
from durablecli.model import events as ev
from durablecli.model.failures import Failure

START = datetime(2026, 11, 22, 9, tzinfo=UTC)
NO = Failure("builtins.ValueError", "no")
STARTED = ev.ExecutionStarted("tour-7", "2a", "tour")


def timeline_of(*events: ev.AnyEvent) -> Timeline:
    """The timeline of these events, one second apart."""
    found = build_timeline(ev.Record(n, START + timedelta(seconds=n - 1), event) for n, event in enumerate(events, 1))
    assert found is not None
    return found


def spans(timeline: Timeline) -> list[str]:
    """Each call with its spans: `activity hello: attempt failed 1-2, back-off fired 2-3`."""

    def second(at: datetime | None) -> str:
        return "" if at is None else f"{(at - START).total_seconds():g}"

    return [
        f"{call.kind} {call.name}: "
        + ", ".join(f"{span.kind} {span.outcome} {second(span.since)}-{second(span.until)}" for span in call.spans)
        for call in timeline.calls
    ]


def test_an_empty_history_has_no_timeline() -> None:
    assert build_timeline([]) is None


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([ev.TaskScheduled("hello")], ["activity hello: attempt open 1-"]),
        ([ev.TaskScheduled("hello"), ev.TaskCompleted(2)], ["activity hello: attempt completed 1-2"]),
        ([ev.TaskScheduled("hello"), ev.TaskFailed(2, NO)], ["activity hello: attempt failed 1-2"]),
        (
            [ev.SubOrchestrationInstanceCreated("c", "c-1"), ev.SubOrchestrationInstanceFailed(2, NO)],
            ["child c: attempt failed 1-2"],
        ),
        ([ev.EntityOperationCalled("@a@1", "x"), ev.EntityOperationCompleted(2)], ["entity x: attempt completed 1-2"]),
        ([ev.TimerCreated(START), ev.TimerFired(2)], ["timer timer: wait fired 1-2"]),
        ([ev.TimerCreated(START), ev.TimerCanceled(2)], ["timer timer: wait canceled 1-2"]),
        ([ev.EventAwaited("Go"), ev.EventRaised("GO")], ["event Go: wait received 1-2"]),
        ([ev.EventRaised("Go"), ev.EventAwaited("go")], ["event go: wait received 2-2"]),
        ([ev.EventAwaited("Go"), ev.EventRaised("Go", held=True)], ["event Go: wait open 1-"]),
        (
            [ev.EventAwaited("Go"), ev.EventRaised("Go", held=True), ev.OrchestratorStarted(3)],
            ["event Go: wait received 1-3"],
        ),
        (
            [ev.EventAwaited("Go"), ev.EventAwaited("Go"), ev.EventRaised("Go")],
            ["event Go: wait received 1-3", "event Go: wait open 2-"],
        ),
        (
            [ev.EventAwaited("Go"), ev.EventWaitsChanged(), ev.EventWaitsChanged(((2, "Go"),))],
            ["event Go: wait canceled 1-2, wait open 3-"],
        ),
        (
            [ev.EntityLockRequested(("@a@1", "@b@1")), ev.EntityLockGranted(2), ev.EntityUnlockSent(2)],
            ["lock @a@1, @b@1: wait granted 1-2, held released 2-3"],
        ),
        (
            [ev.TaskScheduled("a"), ev.ExecutionCompleted("Completed")],
            ["activity a: attempt unfinished 1-2"],
        ),
    ],
)  # fmt: skip
def test_a_call_has_spans(events: list[ev.AnyEvent], expected: list[str]) -> None:
    assert spans(timeline_of(STARTED, *events)) == expected


def test_a_retried_call_is_one_call_with_its_back_off() -> None:
    found = timeline_of(
        STARTED,
        ev.TaskScheduled("hello"),
        ev.TaskFailed(2, NO),
        ev.TimerCreated(START, retry_of=2),
        ev.TimerFired(4),
        ev.TaskScheduled("hello", attempt=2, retry_of=2),
        ev.TaskCompleted(6),
    )
    assert spans(found) == ["activity hello: attempt failed 1-2, back-off fired 3-4, attempt completed 5-6"]
    (call,) = found.calls
    assert (call.attempts, call.outcome, call.failure) == (2, "completed", NO)
    assert call.length(START) == timedelta(seconds=5)


def test_a_call_between_two_attempts_is_open() -> None:
    retried = (STARTED, ev.TaskScheduled("hello"), ev.TaskFailed(2, NO), ev.TimerCreated(START, retry_of=2))
    assert timeline_of(*retried).calls[0].outcome == "open"
    assert timeline_of(*retried, ev.TimerFired(4)).calls[0].outcome == "open"


def test_a_rewind_opens_what_failed_again_and_marks_what_is_void() -> None:
    failed = (
        STARTED,
        ev.TaskScheduled("good"),
        ev.TaskScheduled("bad"),
        ev.TaskFailed(3, NO),
        ev.TaskScheduled("clean up"),
        ev.ExecutionCompleted("Failed", failure=NO, causes=(4,)),
    )
    assert timeline_of(*failed).ended == START + timedelta(seconds=5)
    found = timeline_of(*failed, ev.ExecutionRewound(4, "mended", (4,), (5, 6)), ev.TaskCompleted(3))
    assert spans(found) == [
        "activity good: attempt open 1-",
        "activity bad: attempt failed 2-3, attempt completed 6-7",
        "activity clean up: attempt void 4-6",
    ]
    assert found.ended is None
    assert [(mark.kind, mark.name) for mark in found.marks] == [("rewound", "mended")]


def test_pauses_have_a_beginning_an_end_and_a_reason() -> None:
    found = timeline_of(
        STARTED, ev.ExecutionSuspended("audit"), ev.ExecutionResumed(), ev.ExecutionBlocked("the code differs")
    )
    assert [(each.kind, each.reason, each.until) for each in found.pauses] == [
        ("suspended", "audit", START + timedelta(seconds=2)),
        ("blocked", "the code differs", None),
    ]


def test_what_takes_no_time_is_a_mark() -> None:
    found = timeline_of(
        STARTED, ev.EventSent("other", "Go"), ev.EntityOperationSignaled("@a@1", "add"), ev.EventRaised("Late")
    )
    assert [(mark.kind, mark.name, mark.target) for mark in found.marks] == [
        ("sent", "Go", "other"),
        ("signal", "add", "@a@1"),
        ("event", "Late", None),
    ]
