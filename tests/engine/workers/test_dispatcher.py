"""The dispatcher: starts each call and batch once, drops cancelled ones, and lets unrelated ones not wait."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from threading import Event
from typing import Any

import pytest
from msgspec import Raw

import durablecli as df
from durablecli import testing
from durablecli.config import ConcurrencyConfig
from durablecli.engine.info_writer import EngineInfoWriter
from durablecli.engine.progress_reports import ProgressReports
from durablecli.engine.workers.activity import ActivityCall, ActivityResult
from durablecli.engine.workers.decided_tasks import ActivityTask, EntityBatchTask, EntityOperation, WorkKey
from durablecli.engine.workers.dispatcher import Dispatcher
from durablecli.engine.workers.entity_batch import EntityBatchResult
from durablecli.engine.workers.pool import WorkItem
from durablecli.model import events as ev
from durablecli.store.disk import LocalDisk
from tests.support.waiting import wait_until

Results = SimpleQueue[ActivityResult | EntityBatchResult]
started: list[Any] = []
gate = Event()
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@df.activity
async def in_the_loop(value: int) -> None:
    started.append(value)
    await asyncio.to_thread(gate.wait, 20)


@df.activity
def in_a_thread(value: int) -> None:
    started.append(value)
    gate.wait(20)


@df.activity(max_concurrency=1)
def one_at_a_time(value: int) -> None:
    started.append(value)
    gate.wait(20)


@pytest.mark.parametrize("name", ["in_the_loop", "in_a_thread", "one_at_a_time"])
def test_a_call_that_is_cancelled_while_queued_never_starts(name: str) -> None:
    started.clear()
    gate.clear()
    results: Results = SimpleQueue()
    limits = ConcurrencyConfig(activities=8 if name == "one_at_a_time" else 1, async_activities=1)
    dispatcher = Dispatcher(testing.build_registry(in_the_loop, in_a_thread, one_at_a_time), results.put, limits)
    dispatcher.dispatch_activities(
        [ActivityTask(f"x{i}", "1", 2, ev.TaskScheduled(name, Raw(b"%d" % i))) for i in range(4)]
    )
    for i in (1, 2):
        dispatcher.cancel_execution(f"x{i}", "1")
    gate.set()
    answered = {}
    while dispatcher.in_flight_count:
        result = results.get(timeout=20)
        answered[result.key[0]] = dispatcher.complete(result) is not None
    dispatcher.stop()
    assert answered == {"x0": True, "x1": False, "x2": False, "x3": True}
    assert started == [0, 3]


def test_workers_of_another_pool_are_no_room_for_queued_calls() -> None:
    """Otherwise a batch would queue a thousand calls for twenty threads, once an `async def` activity has run."""
    results: Results = SimpleQueue()
    limits = ConcurrencyConfig(activities=1, async_activities=100)
    dispatcher = Dispatcher(testing.build_registry(in_the_loop, in_a_thread), results.put, limits)
    gate.clear()
    try:
        dispatcher.dispatch_activities(
            [ActivityTask(name, "1", 2, ev.TaskScheduled(name, Raw(b"1"))) for name in ("in_the_loop", "in_a_thread")]
        )
        wait_until(lambda: not any(pool.queue_length for pool in dispatcher.pools.values()))
        assert dispatcher.capacity == 101
        dispatcher.dispatch_activities([ActivityTask("more", "1", 2, ev.TaskScheduled("in_a_thread", Raw(b"1")))])
        assert dispatcher.capacity == 1
    finally:
        gate.set()
        dispatcher.stop()


class StalledPool:
    """A worker pool that keeps what it is given."""

    capacity = queue_length = 0
    is_busy = False

    def __init__(self) -> None:
        self.calls: list[WorkItem] = []

    def start(self, calls: Iterable[WorkItem]) -> None:
        self.calls.extend(calls)

    def start_times(self) -> dict[WorkKey, float]:
        return {}

    def cancel(self, key: WorkKey) -> None: ...
    def expire(self, call: WorkItem) -> None: ...
    def notify_cancel(self, key: WorkKey) -> None: ...
    def pause(self) -> None: ...
    def stop(self) -> None: ...
    def maintain(self) -> None: ...


@df.activity(rate="100/s", timeout="1h")
def timed(value: int) -> None: ...


@pytest.mark.parametrize("is_asked_to_stop", [False, True])
def test_a_call_whose_worker_has_died_begins_again_with_its_timeout(is_asked_to_stop: bool) -> None:
    pool, results = StalledPool(), SimpleQueue[ActivityResult | EntityBatchResult]()
    dispatcher = Dispatcher(
        testing.build_registry(timed), results.put, ConcurrencyConfig(), make_pool=lambda kind: pool, use_threads=False
    )
    dispatcher.dispatch_activities([ActivityTask("x", "1", 2, ev.TaskScheduled("timed", Raw(b"1")))])
    (first,) = pool.calls
    assert isinstance(first, ActivityCall)
    timer = first.cancellation.timer
    assert timer is not None
    timer.begin(first)
    assert timer.suspend()
    if is_asked_to_stop:
        dispatcher.end_execution("x", "1", frozenset())
    assert dispatcher.complete(ActivityResult(first.key, ev.NULL, None, must_rerun=True)) is None
    if is_asked_to_stop:
        assert (len(pool.calls), dispatcher.in_flight_count) == (1, 0)
        return
    again = pool.calls[-1]
    assert isinstance(again, ActivityCall)
    assert (len(pool.calls), again.redelivered) == (2, True)
    timer.begin(again)
    assert dispatcher.deadlines.next_due_in is not None
    assert timer.settle(), "its result counts"
    assert dispatcher.complete(ActivityResult(first.key, ev.NULL, None)) is not None
    dispatcher.stop()


# ── entities ───────────────────────────────────────────────────────────────────────────────────────────────────────


@df.entity
def patient(context: df.DurableEntityContext) -> str:
    if context.operation_name == "wait":
        gate.wait(20)
    return context.entity_key


@df.entity
async def swift(context: df.DurableEntityContext) -> str:
    return context.entity_key


def make_batch(entity: str, *names: str) -> EntityBatchTask:
    operations = [EntityOperation(n, name, ev.NULL, True) for n, name in enumerate(names, 2)]
    return EntityBatchTask(entity, "1", Raw(), operations, NOW)


def make_dispatcher(results: Results, **limits: int) -> Dispatcher:
    gate.clear()
    return Dispatcher(testing.build_registry(patient, swift, in_a_thread), results.put, ConcurrencyConfig(**limits))


@pytest.mark.parametrize("name", ["patient", "swift"])
def test_a_batch_runs_once_and_completes_once(name: str) -> None:
    results: Results = SimpleQueue()
    dispatcher = make_dispatcher(results)
    dispatcher.dispatch_entity_batches([make_batch(f"@{name}@a", "x", "y"), make_batch("@nobody@a", "x")])
    dispatcher.dispatch_entity_batches([make_batch(f"@{name}@a", "x", "y")])
    assert dispatcher.in_flight_count == 1
    result = results.get(timeout=20)
    assert isinstance(result, EntityBatchResult)
    assert (result.key, result.event.upto) == ((f"@{name}@a", "1", 3), 3)
    assert [bytes(each.result) for each in result.event.results] == [b'"a"', b'"a"']
    assert dispatcher.complete(result) is not None
    assert dispatcher.complete(result) is None
    assert (dispatcher.in_flight_count, results.empty()) == (0, True)
    dispatcher.stop()


def test_blocked_entities_delay_no_other_while_threads_are_free() -> None:
    results: Results = SimpleQueue()
    dispatcher = make_dispatcher(results, entities=8)
    dispatcher.dispatch_entity_batches([make_batch(f"@patient@{i}", "wait") for i in range(7)])
    for i in range(100):
        dispatcher.dispatch_entity_batches([make_batch(f"@patient@quick{i}", "go")])
        result = results.get(timeout=20)
        assert result.key[0] == f"@patient@quick{i}"
        dispatcher.complete(result)
    assert dispatcher.in_flight_count == 7
    gate.set()
    assert {results.get(timeout=20).key[0] for _ in range(7)} == {f"@patient@{i}" for i in range(7)}
    dispatcher.stop()


def test_neither_entities_nor_activities_wait_for_the_others() -> None:
    results: Results = SimpleQueue()
    dispatcher = make_dispatcher(results, entities=2, activities=1)
    dispatcher.dispatch_entity_batches([make_batch("@patient@a", "wait")])
    dispatcher.dispatch_activities([ActivityTask("x", "1", 2, ev.TaskScheduled("in_a_thread", Raw(b"1")))])
    dispatcher.dispatch_entity_batches([make_batch("@swift@a", "go")])
    assert results.get(timeout=20).key[0] == "@swift@a"
    gate.set()
    assert {results.get(timeout=20).key[0] for _ in range(2)} == {"x", "@patient@a"}
    dispatcher.stop()


def test_a_batch_that_is_cancelled_while_queued_never_starts() -> None:
    results: Results = SimpleQueue()
    dispatcher = make_dispatcher(results, entities=1)
    dispatcher.dispatch_entity_batches([make_batch(f"@patient@{i}", "wait") for i in range(3)])
    dispatcher.cancel_execution("@patient@1", "1")
    gate.set()
    found = [results.get(timeout=20) for _ in range(3)]
    assert [dispatcher.complete(result) is not None for result in found] == [True, False, True]
    dropped = found[1]
    assert isinstance(dropped, EntityBatchResult)
    assert [each.failure is not None for each in dropped.event.results] == [True]
    dispatcher.stop()


def test_a_paused_dispatcher_starts_no_batch() -> None:
    results: Results = SimpleQueue()
    dispatcher = make_dispatcher(results)
    dispatcher.pause()
    dispatcher.dispatch_entity_batches([make_batch("@patient@a", "go"), make_batch("@swift@a", "go")])
    assert dispatcher.in_flight_count == 0
    dispatcher.stop()
    assert results.empty()


def test_a_running_batch_is_listed_in_engine_json(tmp_path: Path) -> None:
    results: Results = SimpleQueue()
    dispatcher = make_dispatcher(results)
    dispatcher.dispatch_entity_batches([make_batch("@patient@A", "wait")])
    while not dispatcher.start_times():
        pass
    EngineInfoWriter(LocalDisk(), str(tmp_path), testing.build_registry(patient)).update(
        dispatcher, NOW, ProgressReports()
    )
    gate.set()
    dispatcher.stop()
    said = json.loads((tmp_path / "engine.json").read_text())
    [shown] = said["running"]
    assert shown.pop("since") <= "2026-01-01T00:00:00Z"
    assert shown == {
        "instance": "@patient@A", "execution": "1", "id": 2, "name": "patient", "attempt": 1, "executor": "entity",
    }  # fmt: skip
    assert said["queued"] == []
    assert [(each["name"], each["kind"]) for each in said["functions"]] == [("patient", "entity")]
