"""Cancellation: an activity whose result is no longer needed is notified, and stopped where possible."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Generator, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import SimpleQueue
from threading import Event
from typing import Any

import msgspec
import pytest
from msgspec import Raw

import durablecli as df
from durablecli import testing
from durablecli.cli.status_text import describe_reasons
from durablecli.client import ActivityWait, Client
from durablecli.config import ConcurrencyConfig
from durablecli.daemon.embedded_engine import embedded
from durablecli.engine.info_writer import EngineInfoWriter
from durablecli.engine.progress_reports import ProgressReports
from durablecli.engine.workers.activity import ActivityResult
from durablecli.engine.workers.decided_tasks import ActivityTask
from durablecli.engine.workers.dispatcher import Dispatcher
from durablecli.engine.workers.entity_batch import EntityBatchResult
from durablecli.engine.workers.slot_warnings import SlotWarnings
from durablecli.errors import WrongState
from durablecli.model import events as ev
from durablecli.store.disk import LocalDisk
from tests.support.waiting import wait_until

Steps = Generator[Any, Any, Any]
calls: list[str] = []
gate = Event()


@df.activity
def slow(name: str, context: df.ActivityContext) -> str:
    """Works until it is cancelled, or the gate opens."""
    calls.append(f"{name} begins")
    while not context.cancelled:
        if gate.wait(0.005):
            return f"{name} done"
    calls.append(f"{name} stops")
    return f"{name} half done"


@df.activity
async def slow_async(name: str) -> str:
    calls.append(f"{name} begins")
    try:
        await asyncio.to_thread(gate.wait, 20)
    except asyncio.CancelledError:
        calls.append(f"{name} stops")
        raise
    calls.append(f"{name} done")
    return name


@df.activity
def deaf(name: str) -> str:
    calls.append(f"{name} begins")
    gate.wait(20)
    calls.append(f"{name} done")
    return name


@df.activity
def boom(value: Any) -> None:
    if not gate.is_set():
        raise ValueError("boom")


@df.orchestrator
def loses_race(context: df.DurableOrchestrationContext) -> Steps:
    tasks = [context.call_activity(name, name) for name in ("slow", "slow_async")]
    while len(calls) < 2:  # both are to have begun
        yield context.create_timer(context.current_utc_datetime + timedelta(milliseconds=20))
    yield context.task_any([*tasks, context.create_timer(context.current_utc_datetime)])
    return "late"


@df.orchestrator
def goes_on(context: df.DurableOrchestrationContext) -> Steps:
    if context.get_input() == 1:
        yield context.wait_for_external_event("end")
        return
    task = context.call_activity(slow, "slow")
    yield context.task_any([task, context.wait_for_external_event("go")])
    context.continue_as_new(1)


@df.orchestrator
def tells_and_returns(context: df.DurableOrchestrationContext) -> Steps:
    yield context.create_timer(context.current_utc_datetime)
    context.call_activity(deaf, "deaf")
    context.call_activity(slow_async, "slow_async")


@df.orchestrator
def fails_in_a_race(context: df.DurableOrchestrationContext) -> Steps:
    task = context.call_activity(slow, "slow")
    yield context.task_any([task, context.wait_for_external_event("go")])
    yield context.call_activity(boom)
    return (yield task)


@df.orchestrator
def crowd(context: df.DurableOrchestrationContext) -> Steps:
    yield context.task_all([context.call_activity(deaf, f"d{i}") for i in range(21)])


FLOWS = (slow, slow_async, deaf, boom, loses_race, goes_on, tells_and_returns, fails_in_a_race, crowd)


@pytest.fixture(autouse=True)
def _reset() -> Iterator[None]:
    calls.clear()
    gate.clear()
    yield
    gate.set()


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with embedded(testing.build_registry(*FLOWS), tmp_path / "hub") as made:
        yield made
        gate.set()


# ── ended orchestrations ───────────────────────────────────────────────────────────────────────────────────────────


def test_what_lost_a_race_is_stopped_when_the_orchestration_ends(client: Client) -> None:
    client.start_new("loses_race", "x")
    assert client.wait("x", 20).output == "late"
    wait_until(lambda: {"slow stops", "slow_async stops"} <= set(calls))


def test_the_loser_of_a_race_keeps_running_while_the_orchestration_runs(client: Client) -> None:
    client.start_new("fails_in_a_race", "x")
    wait_until(lambda: "slow begins" in calls)
    gate.set()
    with suppress(WrongState):  # on a slow machine it may have ended already
        client.raise_event("x", "go", None)
    assert client.wait("x", 20).output == "slow done"


def test_what_lost_a_race_is_stopped_when_the_orchestration_continues_as_new(client: Client) -> None:
    client.start_new("goes_on", "x")
    wait_until(lambda: "slow begins" in calls)
    client.raise_event("x", "go", None)
    wait_until(lambda: "slow stops" in calls)
    assert not client.get_status("x").ended


def test_an_activity_that_is_never_awaited_still_runs(client: Client) -> None:
    client.start_new("tells_and_returns", "x")
    assert client.wait("x", 20).ended
    wait_until(lambda: {"deaf begins", "slow_async begins"} <= set(calls))
    gate.set()
    wait_until(lambda: {"deaf done", "slow_async done"} <= set(calls))


def test_an_activity_that_was_stopped_runs_again_after_a_rewind(client: Client) -> None:
    client.start_new("fails_in_a_race", "x")
    wait_until(lambda: "slow begins" in calls)
    client.raise_event("x", "go", None)
    assert client.wait("x", 20).runtime_status is df.OrchestrationRuntimeStatus.Failed
    gate.set()
    client.rewind("x", "again")
    assert client.wait("x", 20).output == "slow done"


# ── the dispatcher ───────────────────────────────────────────────────────────────────────────────────────────────────

Outcomes = SimpleQueue[ActivityResult | EntityBatchResult]


def make_dispatcher(outcomes: Outcomes, **limits: int) -> Dispatcher:
    return Dispatcher(testing.build_registry(*FLOWS), outcomes.put, ConcurrencyConfig(**limits))


def make_task(name: str, n: int = 2) -> ActivityTask:
    return ActivityTask("x", "1", n, ev.TaskScheduled(name, Raw(b'"%s"' % name.encode())))


def test_a_repeated_activity_waits_for_its_earlier_call(tmp_path: Path) -> None:
    outcomes: Outcomes = SimpleQueue()
    dispatcher = make_dispatcher(outcomes)
    dispatcher.dispatch_activities([make_task("deaf")])
    wait_until(lambda: "deaf begins" in calls)
    dispatcher.end_execution("x", "1", frozenset({2}))
    assert (dispatcher.in_flight_count, dispatcher.awaited_count) == (1, 0)
    dispatcher.dispatch_activities([make_task("deaf")])
    assert (dispatcher.in_flight_count, dispatcher.awaited_count) == (1, 1)
    gate.set()
    assert dispatcher.complete(outcomes.get(timeout=20)) is None
    assert dispatcher.complete(outcomes.get(timeout=20)) is not None
    assert (dispatcher.in_flight_count, dispatcher.awaited_count) == (0, 0)
    dispatcher.stop()


def test_an_outcome_counts_in_a_shutdown_unless_its_activity_has_seen_it() -> None:
    outcomes: Outcomes = SimpleQueue()
    dispatcher = make_dispatcher(outcomes)
    dispatcher.dispatch_activities([make_task("slow", 2), make_task("deaf", 3)])
    wait_until(lambda: {"slow begins", "deaf begins"} <= set(calls))
    dispatcher.pause()
    first = outcomes.get(timeout=20)
    assert (first.key[2], dispatcher.complete(first)) == (2, None)
    gate.set()
    second = outcomes.get(timeout=20)
    assert second.key[2] == 3
    assert dispatcher.complete(second) is not None
    dispatcher.stop()


def test_an_activity_that_stops_its_loop_fails_alone() -> None:
    outcomes: Outcomes = SimpleQueue()

    @df.activity
    async def stops_the_loop(how: str) -> None:
        loop = asyncio.get_running_loop()
        if how == "exit":
            task = loop.create_task(leaves())
            await asyncio.sleep(0)
            await task
        elif how == "later":
            loop.call_soon(loop.stop)
            await asyncio.sleep(100)
        elif how == "past":
            asyncio.BaseEventLoop.stop(loop)  # type: ignore[arg-type]
        else:
            loop.stop()

    async def leaves() -> None:
        raise SystemExit(3)

    dispatcher = Dispatcher(testing.build_registry(slow_async, stops_the_loop), outcomes.put, ConcurrencyConfig())
    dispatcher.dispatch_activities([make_task("slow_async", 2)])
    wait_until(lambda: calls)
    for n, (how, failed) in enumerate([("now", True), ("later", True), ("exit", True), ("past", False)], 3):
        dispatcher.dispatch_activities(
            [ActivityTask("x", "1", n, ev.TaskScheduled("stops_the_loop", Raw(b'"%s"' % how.encode())))]
        )
        outcome = outcomes.get(timeout=20)
        assert isinstance(outcome, ActivityResult)
        assert (outcome.key[2], outcome.failure is not None) == (n, failed), how
    gate.set()
    last = outcomes.get(timeout=20)
    assert isinstance(last, ActivityResult)
    assert (last.key[2], last.result) == (2, Raw(b'"slow_async"'))
    dispatcher.stop()


# ── what people see ────────────────────────────────────────────────────────────────────────────────────────────────


def test_status_distinguishes_queued_from_running_activities(client: Client) -> None:
    client.start_new("crowd", "x")
    wait_until(lambda: sum(f"d{at} begins" in calls for at in range(21)) == 20)

    def activity_waits() -> list[ActivityWait]:
        return [one for one in client.get_status("x").waiting_for if isinstance(one, ActivityWait)]

    wait_until(lambda: sorted(one.state or "" for one in activity_waits()) == ["queued", *["running"] * 20])
    [queued] = [one for one in activity_waits() if one.state == "queued"]
    assert queued.behind is not None
    assert (queued.behind.executor, queued.behind.running) == ("thread", 20)
    shown = [text for _, text in describe_reasons(client.get_status("x"), datetime.now(UTC))]
    assert sum("running for" in line for line in shown) == 10
    status = msgspec.structs.replace(client.get_status("x"), waiting_for=(queued,))
    first, second = [text for _, text in describe_reasons(status, datetime.now(UTC))][:2]
    assert "queued for" in first
    assert second.startswith("20 threads are busy, the longest with deaf of x for")


def test_the_log_names_activities_that_occupy_slots_or_do_not_stop() -> None:
    said: list[str] = []
    ahead = iter((0.0, 0.0, 2.0, 30.0, 40.0, 50.0, 60.0, 70.0))
    outcomes: Outcomes = SimpleQueue()
    dispatcher = make_dispatcher(outcomes, activities=1)
    log = SlotWarnings(said.append, lambda: time.monotonic() + next(ahead))
    dispatcher.dispatch_activities([make_task("deaf", 2), make_task("slow", 3)])
    wait_until(lambda: calls)
    for _ in range(4):
        log.check(dispatcher)
    assert len(said) == 1
    assert said[0].startswith(
        "1 activity waits: all 1 threads (concurrency.activities) are busy, with deaf of x (id 2)"
    )
    dispatcher.end_execution("x", "1", frozenset({2}))
    for _ in range(3):
        log.check(dispatcher)
    assert len(said) == 2
    assert said[1].startswith("deaf of x (id 2) for ")
    assert "it was cancelled" in said[1]
    gate.set()
    dispatcher.stop()


def test_engine_info_lists_running_and_queued_activities(tmp_path: Path) -> None:
    outcomes: Outcomes = SimpleQueue()
    dispatcher = make_dispatcher(outcomes, activities=1)
    dispatcher.dispatch_activities([make_task("deaf", 2), make_task("slow", 3)])
    wait_until(lambda: calls)
    EngineInfoWriter(LocalDisk(), str(tmp_path), testing.build_registry(slow)).update(
        dispatcher, datetime(2026, 1, 1, tzinfo=UTC), ProgressReports()
    )
    said = json.loads((tmp_path / "engine.json").read_text())
    assert [(each["name"], each["executor"]) for each in said["running"]] == [("deaf", "thread")]
    assert [(each["name"], each["executor"]) for each in said["queued"]] == [("slow", "thread")]
    assert said["limits"] == {"thread": 1}
    gate.set()
    dispatcher.stop()
