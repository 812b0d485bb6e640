"""Workers and daemons that die: what they had is given out again, and nothing is lost or decided twice."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from durabletask import task
from durabletask.client import OrchestrationStatus
from durabletask.entities import DurableEntity, EntityContext, EntityInstanceId
from durabletask.worker import ConcurrencyOptions

from tests.docs.pages import ROOT
from tests.sdk.backends import DaemonBackend, daemon_only, run_daemon
from tests.sdk.python.sdk_hub import Context, SdkHub, Turns, new_key
from tests.support.waiting import wait_until

pytestmark = daemon_only

calls: Counter[str] = Counter()
running: Counter[str] = Counter()
most: Counter[str] = Counter()
lock = threading.Lock()


def held_activity(_: task.ActivityContext, value: int) -> int:
    return value + 1


def held_orchestrator(context: Context, value: int) -> Turns:
    return (yield context.call_activity(held_activity, input=value))


def held_entity(context: EntityContext, value: int) -> int:
    context.set_state(context.get_state(int, 0) + value)
    return context.get_state(int, 0)


def call_activity(context: Context, value: int) -> Turns:
    return (yield context.call_activity(held_activity, input=value))


def call_entity(context: Context, key: str) -> Turns:
    return (yield context.call_entity(EntityInstanceId("held_entity", key), "add", 5))


def count_activity(_: task.ActivityContext, key: str) -> str:
    with lock:
        calls[key] += 1
        running[key.partition(".")[0]] += 1
        most[key.partition(".")[0]] = max(most[key.partition(".")[0]], running[key.partition(".")[0]])
    threading.Event().wait(0.02)
    with lock:
        running[key.partition(".")[0]] -= 1
    return key


def steps(context: Context, what: list[Any]) -> Turns:
    key, count = what
    done = []
    for n in range(count):
        done.append((yield context.call_activity(count_activity, input=f"{key}.{n}")))
    return done


def fan(context: Context, what: list[Any]) -> Turns:
    key, count = what
    return len((yield task.when_all([context.call_activity(count_activity, input=f"{key}.{n}") for n in range(count)])))


class Total(DurableEntity):
    """A number."""

    def add(self, value: int) -> int:
        self.set_state(self.get_state(int, 0) + value)
        return self.get_state(int, 0)


def add_and_wait(context: Context, key: str) -> Turns:
    total = yield context.call_entity(EntityInstanceId("Total", key), "add", 1)
    yield context.wait_for_external_event("Go")
    return total


@contextmanager
def stuck_worker(hub: SdkHub, folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A process that takes the first item that it is given, and keeps it."""
    begun = folder / "begun"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.sdk.python.stuck_worker", hub.address, str(begun)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process, begun
    finally:
        process.kill()
        process.wait()


def has_begun(file: Path) -> None:
    wait_until(file.exists, description="the worker that gets stuck")


def test_an_activity_of_a_worker_that_is_killed(hub: SdkHub, tmp_path: Path) -> None:
    with hub.worker(call_activity, filters=True), stuck_worker(hub, tmp_path) as (process, begun):
        instance = hub.start(call_activity, 1)
        has_begun(begun)
        process.kill()
        with hub.worker(held_activity, filters=True):
            assert hub.wait(instance).get_output() == 2


def test_a_turn_of_a_worker_that_is_killed(hub: SdkHub, tmp_path: Path) -> None:
    with stuck_worker(hub, tmp_path) as (process, begun):
        instance = hub.start(held_orchestrator, 1)
        has_begun(begun)
        process.kill()
        with hub.worker(held_orchestrator, held_activity, filters=True):
            assert hub.wait(instance).get_output() == 2


def test_an_entity_batch_of_a_worker_that_is_killed(hub: SdkHub, tmp_path: Path) -> None:
    key = new_key()
    worker = hub.make_worker(call_entity)
    worker.use_work_item_filters()
    worker.start()
    with stuck_worker(hub, tmp_path) as (process, begun):
        instance = hub.start(call_entity, key)
        has_begun(begun)
        hub.client.signal_entity(EntityInstanceId("held_entity", key), "add", 6)
        process.kill()
        other = hub.make_worker()
        other.add_entity(held_entity)
        other.use_work_item_filters()
        other.start()
        assert hub.wait(instance).get_output() == 5
        hub.wait_for_entity_state(EntityInstanceId("held_entity", key), 11)
        other.stop()
    worker.stop()


def test_a_worker_never_has_more_than_it_takes(hub: SdkHub) -> None:
    limits = ConcurrencyOptions(
        maximum_concurrent_activity_work_items=3, maximum_concurrent_orchestration_work_items=2,
        maximum_thread_pool_workers=16,
    )  # fmt: skip
    with hub.worker(fan, count_activity, filters=True, concurrency_options=limits):
        assert hub.run(fan, [key := new_key(), 30]) == 30
    assert most[key] <= 3


def test_a_worker_that_stops_loses_nothing(hub: SdkHub) -> None:
    key = new_key()
    with hub.worker(steps, count_activity, filters=True):
        instances = [hub.start(steps, [f"{key}{n}", 10]) for n in range(5)]
        wait_until(lambda: sum(calls[each] for each in list(calls) if each.startswith(key)) > 5)
    with hub.worker(steps, count_activity, filters=True):
        outputs = [hub.wait(each).get_output() for each in instances]
    assert outputs == [[f"{key}{n}.{step}" for step in range(10)] for n in range(5)]


def is_reachable(hub: SdkHub) -> bool:
    """A channel pauses before it connects again."""
    try:
        hub.client.get_orchestration_state("nobody")
    except grpc.RpcError:
        return False
    return True


def check_kills(daemon: DaemonBackend, hub: SdkHub, key: str) -> None:
    instances = [hub.start(steps, [f"{key}{n}", 15]) for n in range(6)]
    adders = [hub.start(add_and_wait, key) for _ in range(5)]
    wait_until(lambda: sum(calls[each] for each in list(calls) if each.startswith(key)) > 10)
    daemon.kill()
    daemon.start()
    wait_until(lambda: is_reachable(hub), description="a connection after the restart")
    for each in adders:
        hub.client.raise_orchestration_event(each, "Go")
    states = [hub.wait(each, 40) for each in instances]
    assert [state.runtime_status for state in states] == [OrchestrationStatus.COMPLETED] * 6
    assert [len(state.get_output()) for state in states] == [15] * 6
    assert sorted(hub.wait(each, 40).get_output() for each in adders) == [1, 2, 3, 4, 5]
    assert hub.entity_state(EntityInstanceId("Total", key)) == 5


def test_a_daemon_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    """Workers reconnect by themselves. An activity that was in flight runs again; an entity's operation never twice."""
    with (
        run_daemon(tmp_path) as daemon,
        SdkHub(daemon.address) as hub,
        hub.worker(steps, count_activity, add_and_wait, Total),
    ):
        check_kills(daemon, hub, new_key())
