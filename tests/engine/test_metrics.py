"""What an engine counts and measures: what took effect, once."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import durablecli as df
from durablecli import testing
from durablecli.engine import metrics as metrics_module
from durablecli.engine.metrics import (
    ACTIVITY_COMPLETED,
    ACTIVITY_FAILED,
    CONTINUED_AS_NEW,
    OPERATION_COMPLETED,
    OPERATION_FAILED,
    OTHER_FUNCTIONS,
    STARTED,
    Histogram,
    Metrics,
)
from durablecli.store.disk_usage import DISK_PARTS, DiskUsageMeter, measure_disk_usage
from tests.support.flows import calls, counter, echo

Context = df.DurableOrchestrationContext


@df.activity
def fragile(attempts: int) -> int:
    raise ValueError("broken")


@df.orchestrator
def retrying(context: Context) -> Any:
    return (yield context.call_activity_with_retry(fragile, df.RetryOptions(1_000, 3), 1))


@df.orchestrator
def counting(context: Context) -> Any:
    left = context.get_input()
    yield context.create_timer(timedelta(hours=1))
    if left:
        context.continue_as_new(left - 1)


@df.orchestrator
def adding(context: Context) -> Any:
    yield context.call_entity(df.EntityId("counter", "a"), "add", 1)
    try:
        yield context.call_entity(df.EntityId("counter", "a"), "add", "no number")
    except df.TaskFailedError:
        return "failed"


@df.orchestrator
def parent(context: Context) -> Any:
    return (yield context.call_sub_orchestrator(calls, 1))


FUNCTIONS = (echo, fragile, calls, retrying, counting, adding, parent, counter)


def counted(env: testing.TestEnvironment) -> dict[tuple[str, str], int]:
    return dict(env.engine.metrics.snapshot().counts)


def test_starts_ends_attempts_and_operations_are_counted_by_function(replay_always: bool) -> None:
    with testing.hub(*FUNCTIONS, replay_always=replay_always) as hub:
        for name in ("retrying", "adding", "parent"):
            hub.finish(hub.client.start_new(name))
        hub.finish(hub.client.start_new("counting", client_input=2))
        assert counted(hub) == {
            (STARTED, "retrying"): 1,
            (ACTIVITY_FAILED, "fragile"): 3,
            ("Failed", "retrying"): 1,
            (STARTED, "adding"): 1,
            (OPERATION_COMPLETED, "counter"): 1,
            (OPERATION_FAILED, "counter"): 1,
            ("Completed", "adding"): 1,
            (STARTED, "parent"): 1,
            (STARTED, "calls"): 1,
            (ACTIVITY_COMPLETED, "echo"): 1,
            ("Completed", "calls"): 1,
            ("Completed", "parent"): 1,
            (STARTED, "counting"): 1,
            (CONTINUED_AS_NEW, "counting"): 2,
            ("Completed", "counting"): 1,
        }


def test_a_terminated_instance_counts_as_such() -> None:
    with testing.hub(*FUNCTIONS) as hub:
        instance = hub.client.start_new("counting", client_input=0)
        hub.run()
        hub.client.terminate(instance, "enough")
        hub.run()
        assert counted(hub)["Terminated", "counting"] == 1
        assert hub.engine.metrics.snapshot().total("Terminated") == 1


def test_turns_and_commits_are_measured() -> None:
    with testing.hub(*FUNCTIONS) as hub:
        hub.finish(hub.client.start_new("calls", client_input=1))
        snapshot = hub.engine.metrics.snapshot()
        assert snapshot.turns == 2 == snapshot.turn_seconds.count
        assert snapshot.commits == snapshot.commit_seconds.count > 1
        assert 0 < snapshot.turn_seconds.sum < 10
        assert 0 < snapshot.commit_seconds.sum < 10
        assert snapshot.last_minute.turns == 2
        assert snapshot.last_minute.started == snapshot.last_minute.completed == snapshot.last_minute.activities == 1
        assert sum(minute.started for minute in hub.engine.metrics.minutes()) == 1


def test_timers_that_fire_late_are_measured() -> None:
    with testing.hub(*FUNCTIONS) as hub:
        hub.client.start_new("counting", client_input=0)
        hub.run()
        hub.clock.move_to(hub.clock.now() + timedelta(hours=1, seconds=30))
        hub.run()
        lateness = hub.engine.metrics.snapshot().timer_lateness
        assert lateness.count == 1
        assert lateness.sum == pytest.approx(30, abs=1)


def test_queues_are_shown() -> None:
    with testing.hub(*FUNCTIONS) as hub:
        hub.client.start_new("counting", client_input=0)
        hub.run()
        assert hub.engine.metrics.snapshot().queues.timers == 1


def test_an_engine_that_cycles_is_not_stalled(monkeypatch: pytest.MonkeyPatch) -> None:
    with testing.hub(*FUNCTIONS) as hub:
        hub.run()
        monitor = hub.engine.metrics
        assert monitor.why_stalled() is None
        monkeypatch.setattr("durablecli.engine.monitor._STALLED_AFTER", -1.0)
        assert "no cycle" in str(monitor.why_stalled())


def test_names_are_counted_together_once_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_module, "_MAX_KEYS", 2)
    metrics = Metrics()
    for name in ("a", "b", "c", "d", "a"):
        counts = metrics_module.Counts(int)
        counts[STARTED, name] = 1
        metrics.count_commit(counts, 0, 0.0, 1.0)
    assert metrics.counts == {(STARTED, "a"): 2, (STARTED, "b"): 1, (STARTED, OTHER_FUNCTIONS): 2}


def test_a_minute_is_forgotten_after_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 1_000_000.0
    monkeypatch.setattr(metrics_module, "monotonic", lambda: clock)
    metrics = Metrics()
    counts = metrics_module.Counts(int)
    counts[STARTED, "a"] = 5
    metrics.count_commit(counts, 3, 0.3, clock)
    assert (metrics.last_minute().started, metrics.last_minute().turns) == (5, 3)
    clock += 600
    assert metrics.last_minute().started == 0
    assert [(each.minutes_ago, each.started) for each in metrics.minutes() if each.started] == [(10, 5)]
    clock += 3_600
    assert not any(each.started for each in metrics.minutes())


def test_a_histogram_counts_values_up_to_each_bound() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 9.0):
        histogram.observe(value)
    histogram.observe(0.25, 4)
    snapshot = histogram.snapshot()
    assert snapshot.counts == (6, 1, 1)
    assert snapshot.sum == 13.0
    assert (snapshot.quantile(0.5), snapshot.quantile(0.8), snapshot.quantile(1)) == (1.0, 2.0, float("inf"))
    assert Histogram((1.0,)).snapshot().quantile(0.5) == 0.0


def test_disk_usage_is_added_up_by_part(tmp_path: Path) -> None:
    for path, size in {"instances/aa/x.jsonl": 10, "instances/b": 1, "index.sqlite": 5, "index.sqlite-wal": 2}.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"x" * size)
    (tmp_path / "hub.json").write_bytes(b"{}")
    usage = measure_disk_usage(str(tmp_path))
    assert {part: size for part, size in usage.parts.items() if size} == {"instances": 11, "index": 7, "other": 2}
    assert set(usage.parts) == set(DISK_PARTS)
    assert usage.total == 20
    assert usage.free > 0


def test_the_disk_is_not_measured_each_time(tmp_path: Path) -> None:
    meter = DiskUsageMeter(str(tmp_path))
    before = meter.read()
    (tmp_path / "hub.json").write_text("{}")
    assert meter.read() is before
    assert DiskUsageMeter(str(tmp_path)).read().total == before.total + 2
