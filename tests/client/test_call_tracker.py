"""The counts of the calls of an execution, and what is known of their retries."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from durablecli.client import CallTracker, TaskCounts
from durablecli.model import events as ev
from durablecli.model.failures import Failure
from durablecli.model.status import PendingWait

AT = datetime(2026, 11, 22, 9, tzinfo=UTC)
NO = Failure("builtins.ValueError", "no\nmore")


def track(*events: ev.AnyEvent) -> CallTracker:
    return CallTracker(ev.Record(n, AT, event) for n, event in enumerate(events, 1))


def test_a_call_counts_once_with_all_its_attempts() -> None:
    tracker = track(
        ev.TaskScheduled("a"),
        ev.TaskFailed(1, NO),
        ev.TimerCreated(AT, retry_of=1, attempts=3),
        ev.TaskScheduled("a", attempt=2, retry_of=1),
    )
    assert tracker.count() == TaskCounts(total=1, queued=1)
    tracker.apply(ev.Record(5, AT, ev.TaskCompleted(4)))
    assert tracker.count() == TaskCounts(total=1, completed=1)


def test_each_state_is_counted_apart() -> None:
    tracker = track(
        *[ev.TaskScheduled("a")] * 5,
        ev.SubOrchestrationInstanceCreated("child", "p:1:6"),
        ev.TaskCompleted(1),
        ev.TaskFailed(2, NO),
        ev.TaskFailed(3, NO),
        ev.TimerCreated(AT, retry_of=3, attempts=3),
        ev.TimerCreated(AT),
        ev.EntityOperationCalled("@counter@a", "get"),
    )
    assert tracker.count() == TaskCounts(total=6, completed=1, failed=1, retrying=1, queued=2, running=1)
    assert tracker.count().with_running(1) == TaskCounts(6, 1, 1, 1, 1, 2)
    assert tracker.count().with_running(9) == TaskCounts(6, 1, 1, 1, 0, 3)
    assert (tracker.count().done, tracker.open_count) == (2, 4)


def test_calls_that_nobody_waits_for_at_the_end_are_only_in_the_total() -> None:
    tracker = track(*[ev.TaskScheduled("a")] * 3, ev.TaskCompleted(1), ev.ExecutionCompleted("Completed"))
    assert tracker.count() == TaskCounts(total=3, completed=1)


def test_a_rewind_opens_calls_again_and_removes_void_ones() -> None:
    tracker = track(
        ev.TaskScheduled("a"),
        ev.SubOrchestrationInstanceCreated("child", "p:1:2"),
        ev.TaskFailed(1, NO),
        ev.SubOrchestrationInstanceFailed(2, NO),
        ev.ExecutionCompleted("Failed", failure=NO),
        ev.ExecutionRewound(3, forgotten=(3,), void=(2,)),
    )
    assert tracker.count() == TaskCounts(total=1, queued=1)


def test_a_retry_is_explained_by_what_came_before() -> None:
    due = AT + timedelta(seconds=1)
    tracker = track(
        ev.TaskScheduled("send"),
        ev.TaskFailed(1, NO),
        ev.TimerCreated(due, retry_of=1, attempts=5),
        ev.TimerFired(3),
        ev.TaskScheduled("send", attempt=2, retry_of=1),
    )
    running = tracker.explain_retry(PendingWait("activity", 5, "send", AT, attempt=2))
    assert (running.attempts, running.last_error) == (5, "ValueError: no")
    tracker.apply(ev.Record(6, AT, ev.TaskFailed(5, Failure("app.Busy", "x" * 1000))))
    tracker.apply(ev.Record(7, AT, ev.TimerCreated(due, retry_of=1, attempts=5)))
    waiting = tracker.explain_retry(PendingWait("retry", 7, None, AT, fire_at=due))
    assert (waiting.name, waiting.attempt, waiting.attempts) == ("send", 3, 5)
    assert waiting.last_error == f"Busy: {'x' * 194}…"


def test_a_wait_without_a_failure_stays_as_it_is() -> None:
    tracker, wait = track(ev.TaskScheduled("send")), PendingWait("activity", 1, "send", AT, attempt=1)
    assert tracker.explain_retry(wait) is wait
