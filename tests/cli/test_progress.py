"""What `durable run` draws while it works."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from msgspec import Raw

from durablecli.cli.progress import Progress
from durablecli.client import EntityWait, HistoryLine
from durablecli.model import events as ev
from durablecli.model.status import PendingWait
from durablecli.replay.runtime_state import RuntimeState


class FakeFollower:
    """A history that grows when the test says so."""

    def __init__(self) -> None:
        self.unread: list[HistoryLine] = []
        self.read_count = 0
        self._n = 0

    def add(self, *events: ev.AnyEvent) -> None:
        for event in events:
            self._n = 1 if isinstance(event, ev.ExecutionStarted) else self._n + 1
            self.unread.append(HistoryLine(b"", ev.Record(self._n, datetime.now(UTC), event)))

    def new_lines(self) -> list[HistoryLine]:
        self.read_count += 1
        fresh, self.unread = self.unread, []
        return fresh


@pytest.fixture
def follower() -> FakeFollower:
    return FakeFollower()


def make_progress(follower: FakeFollower) -> tuple[Progress, list[float]]:
    clock = [0.0]

    def tick() -> float:
        return clock[0]

    return Progress(follower, tick), clock


def test_before_the_start_only_the_time_is_shown(follower: FakeFollower) -> None:
    shown, clock = make_progress(follower)
    clock[0] = 3.0
    assert shown.render_lines() == ["waiting to start, 3 s"]


def test_tasks_are_counted_and_the_first_waits_named(follower: FakeFollower) -> None:
    shown, clock = make_progress(follower)
    follower.add(ev.ExecutionStarted("t", "1", "tour"), *[ev.TaskScheduled("hello") for _ in range(7)])
    follower.add(ev.TaskCompleted(2), ev.CustomStatusSet(Raw(b'"half"')))
    clock[0] = 1.0
    lines = shown.render_lines()
    assert lines[:2] == ["tour  Running, 1 s  1 of 7 tasks done", "  t"]
    assert lines[2] == '  "half"'
    assert lines[3].startswith("  activity hello, ")
    assert (len(lines), lines[-1]) == (9, "  …")


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (ev.EventAwaited("Go"), "  event Go, 0 s"),
        (ev.TimerCreated(datetime(2999, 1, 1, tzinfo=UTC)), "  timer at 2999-01-01 00:00:00Z"),
        (ev.SubOrchestrationInstanceCreated("child", "t:1:1"), "  sub-orchestration child t:1:1, 0 s"),
        (ev.TaskScheduled("hello", attempt=2), "  activity hello, attempt 2, 0 s"),
        (ev.EntityOperationCalled("@counter@a", "get"), "  operation get of @counter@a, 0 s"),
        (ev.EntityLockRequested(("@counter@a", "@counter@b")), "  lock of @counter@a, @counter@b, 0 s"),
        (ev.ExecutionBlocked("no code"), "  blocked: no code"),
    ],
)
def test_each_kind_of_wait_is_described(follower: FakeFollower, event: ev.AnyEvent, text: str) -> None:
    shown, _ = make_progress(follower)
    follower.add(ev.ExecutionStarted("t", "1", "tour"), event)
    assert shown.render_lines()[-1] == text


def test_the_reason_for_a_wait_is_shown_below_it(follower: FakeFollower) -> None:
    def tell(ledger: RuntimeState, waits: tuple[PendingWait, ...]) -> tuple[PendingWait, ...]:
        (wait,) = waits
        return (EntityWait(wait.kind, wait.id, wait.name, entity=wait.entity, blocked="entity 'gone' isn't loaded"),)

    follower.add(ev.ExecutionStarted("t", "1", "tour"), ev.EntityOperationCalled("@gone@a", "get"))
    assert Progress(follower, lambda: 0.0, tell).render_lines()[2:] == [
        "  operation get of @gone@a",
        "    @gone@a is blocked: entity 'gone' isn't loaded",
    ]


def test_a_new_execution_counts_from_the_start(follower: FakeFollower) -> None:
    shown, clock = make_progress(follower)
    follower.add(ev.ExecutionStarted("t", "1", "tour"), ev.TaskScheduled("hello"), ev.TaskCompleted(2))
    shown.render_lines()
    follower.add(ev.ExecutionStarted("t", "2", "tour"))
    clock[0] += timedelta(seconds=5).total_seconds()
    assert shown.render_lines() == ["tour  Running, 5 s", "  t"]


def test_drawing_often_does_not_read_often(follower: FakeFollower) -> None:
    shown, clock = make_progress(follower)
    for _ in range(100):
        clock[0] += 0.01
        shown.render_lines()
    assert follower.read_count <= 6
