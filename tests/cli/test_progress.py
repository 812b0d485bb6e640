"""What `durable run` and `durable status --watch` draw while an instance works."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from msgspec import Raw

from durablecli.cli.progress import Progress
from durablecli.client import ActivityWait, EntityWait, HistoryLine
from durablecli.model import events as ev
from durablecli.model.failures import Failure
from durablecli.model.reported_progress import ReportedProgress
from durablecli.model.status import PendingWait
from durablecli.replay.runtime_state import RuntimeState

START = datetime(2026, 11, 22, 9, tzinfo=UTC)


class FakeFollower:
    """A history that grows when the test says so, and what an engine reports of it."""

    def __init__(self) -> None:
        self.unread: list[HistoryLine] = []
        self.read_count = 0
        self.running = 0
        self.alive = True
        self.progress: ReportedProgress | None = None
        self.explained: tuple[PendingWait, ...] | None = None
        self.at = START
        self._n = 0

    def add(self, *events: ev.AnyEvent) -> None:
        for event in events:
            self._n = 1 if isinstance(event, ev.ExecutionStarted) else self._n + 1
            self.unread.append(HistoryLine(b"", ev.Record(self._n, self.at, event)))

    def new_lines(self) -> list[HistoryLine]:
        self.read_count += 1
        fresh, self.unread = self.unread, []
        return fresh

    def explain_waits(self, state: RuntimeState, waits: tuple[PendingWait, ...]) -> tuple[PendingWait, ...]:
        return waits if self.explained is None else self.explained

    def count_running(self, state: RuntimeState) -> int:
        return self.running

    def read_progress(self, state: RuntimeState) -> ReportedProgress | None:
        return self.progress

    def engine_is_alive(self) -> bool:
        return self.alive


@pytest.fixture
def follower() -> FakeFollower:
    return FakeFollower()


def make_progress(follower: FakeFollower) -> tuple[Progress, list[float]]:
    """A view, and the seconds that have passed since START, which the test may change."""
    clock = [0.0]

    def tick() -> float:
        return clock[0]

    def now() -> datetime:
        return START + timedelta(seconds=clock[0])

    return Progress(follower, tick, now), clock


def test_before_the_start_only_the_time_is_shown(follower: FakeFollower) -> None:
    shown, clock = make_progress(follower)
    clock[0] = 3.0
    assert shown.render_lines() == ["waiting to start, 3 s"]
    follower.alive = False
    clock[0] = 65.0
    assert shown.render_lines(100) == [
        "waiting to start, 1 min 5 s; no daemon is running, start one with: durable run-daemon"
    ]


def test_a_fan_out_has_a_bar_a_rate_and_the_time_left(follower: FakeFollower) -> None:
    shown, clock = make_progress(follower)
    follower.add(ev.ExecutionStarted("t", "1", "tour"), *[ev.TaskScheduled("hello") for _ in range(10)])
    for task in range(2, 6):
        follower.at += timedelta(seconds=1)
        follower.add(ev.TaskCompleted(task))
    follower.running = 2
    clock[0] = 4.0
    lines = shown.render_lines()
    assert lines[:4] == [
        "tour  Running, 4 s",
        "  t",
        f"  {'█' * 12}{'░' * 18}  4 of 10, 1/s, 6 s left",
        "  4 of 10 completed, 4 queued, 2 running",
    ]
    assert lines[4] == "  activity hello, for 4 s"
    assert (len(lines), lines[-1]) == (10, "  …")
    assert shown.render_summary() == "t  tour  Running, 4 s; 4 of 10, 1/s, 6 s left"


def test_steps_one_after_another_have_no_bar(follower: FakeFollower) -> None:
    shown, _ = make_progress(follower)
    follower.add(ev.ExecutionStarted("t", "1", "tour"))
    for task in (2, 4, 6):
        follower.add(ev.TaskScheduled("hello"), ev.TaskCompleted(task))
    follower.add(ev.TaskScheduled("hello"))
    assert shown.render_lines()[2:] == ["  3 of 4 completed, 1 queued", "  activity hello, for 0 s"]


def test_a_second_fan_out_is_counted_from_its_own_begin(follower: FakeFollower) -> None:
    shown, _ = make_progress(follower)
    first, second = [ev.TaskScheduled("a")] * 3, [ev.TaskScheduled("b")] * 4
    follower.add(ev.ExecutionStarted("t", "1", "tour"), *first, *map(ev.TaskCompleted, (2, 3, 4)), *second)
    follower.add(ev.TaskCompleted(8))
    assert "  1 of 4" in shown.render_lines()[2]
    assert shown.render_lines()[3] == "  4 of 7 completed, 3 queued"


def test_failed_and_retried_calls_are_counted_apart(follower: FakeFollower) -> None:
    shown, _ = make_progress(follower)
    failure = Failure("builtins.ValueError", "no such city")
    follower.add(ev.ExecutionStarted("t", "1", "tour"), *[ev.TaskScheduled("hello")] * 3)
    follower.add(ev.TaskFailed(2, failure), ev.TaskFailed(3, failure))
    follower.add(ev.TimerCreated(START + timedelta(seconds=5), retry_of=3, attempts=4))
    lines = shown.render_lines()
    assert lines[3] == "  0 of 3 completed, 1 failed, 1 retrying, 1 queued"
    assert lines[4:6] == ["  retry of hello, attempt 2 of 4, next in 5 s", "    last error: ValueError: no such city"]


def test_an_event_that_is_awaited_comes_with_the_command_that_sends_it(follower: FakeFollower) -> None:
    shown, clock = make_progress(follower)
    follower.add(ev.ExecutionStarted("order 1", "1", "tour"), *[ev.TaskScheduled("hello")] * 30)
    follower.add(ev.EventAwaited("Approved"))
    clock[0] = 180.0
    assert shown.render_lines()[-2:] == [
        "  event Approved, for 3 min",
        "    durable raise-event 'order 1' Approved --data JSON",
    ]
    assert shown.render_lines(40)[-3:] == [
        "  event Approved, for 3 min",
        "    durable raise-event 'order 1'",
        "      Approved --data JSON",
    ]


@pytest.mark.parametrize("width", [20, 40, 80])
def test_no_line_is_wider_than_the_terminal(follower: FakeFollower, width: int) -> None:
    shown, _ = make_progress(follower)
    follower.add(ev.ExecutionStarted("t" * 100, "1", "tour"), *[ev.TaskScheduled("hello" * 20)] * 30)
    follower.add(ev.EventAwaited("Approved"), ev.CustomStatusSet(Raw(b'"' + b"x" * 5_000 + b'"')))
    assert max(map(len, shown.render_lines(width))) <= width


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (ev.TimerCreated(datetime(2026, 11, 22, 9, 0, 9, tzinfo=UTC)), "  timer at 09:00:09Z, in 9 s"),
        (ev.SubOrchestrationInstanceCreated("child", "t:1:1"), "  sub-orchestration child t:1:1, for 0 s"),
        (ev.TaskScheduled("hello", attempt=2), "  activity hello, attempt 2, for 0 s"),
        (ev.EntityOperationCalled("@counter@a", "get"), "  operation get of @counter@a, for 0 s"),
        (ev.EntityLockRequested(("@counter@a", "@counter@b")), "  lock of @counter@a, @counter@b, for 0 s"),
        (ev.ExecutionBlocked("no code"), "  blocked: no code"),
    ],
)
def test_each_kind_of_wait_is_described(follower: FakeFollower, event: ev.AnyEvent, text: str) -> None:
    shown, _ = make_progress(follower)
    follower.add(ev.ExecutionStarted("t", "1", "tour"), event)
    assert shown.render_lines()[-1] == text


def test_the_age_of_an_activity_counts_from_its_real_start(follower: FakeFollower) -> None:
    shown, clock = make_progress(follower)
    follower.add(ev.ExecutionStarted("t", "1", "tour"), ev.TaskScheduled("hello"))
    began = START + timedelta(seconds=50)
    follower.explained = (ActivityWait("activity", 2, "hello", START, state="running", state_since=began),)
    clock[0] = 60.0
    assert shown.render_lines()[-1] == "  activity hello, running for 10 s"


def test_the_reason_for_a_wait_is_shown_below_it(follower: FakeFollower) -> None:
    shown, _ = make_progress(follower)
    follower.add(ev.ExecutionStarted("t", "1", "tour"), ev.EntityOperationCalled("@gone@a", "get"))
    follower.explained = (
        EntityWait("entity", 2, "get", START, entity="@gone@a", blocked="entity 'gone' isn't loaded"),
    )
    assert shown.render_lines()[2:] == [
        "  operation get of @gone@a, for 0 s",
        "    @gone@a is blocked: entity 'gone' isn't loaded",
    ]


def test_a_new_execution_counts_from_the_start(follower: FakeFollower) -> None:
    shown, clock = make_progress(follower)
    follower.add(ev.ExecutionStarted("t", "1", "tour"), ev.TaskScheduled("hello"), ev.TaskCompleted(2))
    shown.render_lines()
    follower.at = START + timedelta(seconds=5)
    follower.add(ev.ExecutionStarted("t", "2", "tour"))
    clock[0] += 7
    assert shown.render_lines() == ["tour  Running, 2 s", "  t"]


def test_drawing_often_does_not_read_often(follower: FakeFollower) -> None:
    shown, clock = make_progress(follower)
    for _ in range(100):
        clock[0] += 0.01
        shown.render_lines()
    assert follower.read_count <= 6


def test_the_progress_that_the_orchestrator_reports_is_a_bar_with_its_rate(follower: FakeFollower) -> None:
    shown, clock = make_progress(follower)
    follower.add(ev.ExecutionStarted("t", "1", "tour"), ev.TaskScheduled("hello", label="Tokyo"))
    follower.progress = ReportedProgress(0, START, 100, "Tokyo")
    assert shown.render_lines()[2] == f"  {'░' * 30}  0 of 100, Tokyo"
    assert any("activity hello [Tokyo]" in line for line in shown.render_lines())
    clock[0] = 10.0
    follower.progress = ReportedProgress(50, START + timedelta(seconds=10), 100, "Tokyo")
    assert shown.render_lines()[2] == f"  {'█' * 15}{'░' * 15}  50 of 100, 5/s, 10 s left, Tokyo"
    clock[0] = 20.0
    follower.progress = ReportedProgress(7, START + timedelta(seconds=20))
    assert shown.render_lines()[2] == "  7 done"
    clock[0] = 30.0
    follower.add(ev.ExecutionCompleted("Completed"))
    assert "7 done" not in "".join(shown.render_lines())
