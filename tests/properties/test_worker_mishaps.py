"""Workers that leave, stay silent, abandon work or answer late, at random, with and without sessions: every instance
ends with its output, and nothing stays behind in the pool."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

import pytest

from durablecli.engine import remote_work_pool
from durablecli.engine.remote_queues import WorkerLimits, WorkFilters
from durablecli.engine.remote_turns import RemoteTurnRunner
from durablecli.model import events as ev
from durablecli.replay.remote_work import RemoteTurn, RemoteWork
from tests.support.remote_workers import (
    Decisions,
    RemoteWorker,
    Script,
    ServingEnvironment,
    call,
    completed,
    to_raw,
    value_of,
)

EXAMPLES = int(os.environ.get("DURABLE_LAWS_EXAMPLES", "60"))
Orchestration = Generator[Decisions, Any, ev.Decision]
COUNTER = "@counter@x"


def chain(started: ev.ExecutionStarted) -> Orchestration:
    results = []
    for n in range(4):
        results.append(value_of((yield call("Echo", n))))
    return completed(results)


def gather(started: ev.ExecutionStarted) -> Orchestration:
    results = [value_of((yield [call("Echo", n) for n in range(3)]))]
    for _ in range(2):
        results.append(value_of((yield [])))
    return completed(sorted(results))


def loop(started: ev.ExecutionStarted) -> Orchestration:
    count = value_of(started) or 0
    if count == 3:
        return completed("looped")
    yield call("Echo", count)
    return ev.ContinueAsNew(to_raw(count + 1))


def parent(started: ev.ExecutionStarted) -> Orchestration:
    child = yield ev.SubOrchestrationInstanceCreated("chain", f"{started.instance}-child", to_raw(1))
    added = yield ev.EntityOperationCalled(f"@counter@{started.instance}", "add", to_raw(2), request="r")
    return completed([value_of(child), value_of(added)])


def add(state: Any, name: str, value: Any) -> tuple[Any, Any]:
    total = (state or 0) + value
    return total, total


SCRIPTS: dict[str, Script] = {"chain": chain, "gather": gather, "loop": loop, "parent": parent}
OUTPUTS = {"chain": [0, 1, 2, 3], "gather": [0, 1, 2], "loop": "looped", "parent": [[0, 1, 2, 3], 2]}
KINDS = (None, None, WorkFilters(None, {}, {}), WorkFilters({}, None, None))


class Mishaps:
    """A hub with a few workers, and what may happen to them."""

    def __init__(self, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.random = random.Random(seed)
        self.monkeypatch = monkeypatch
        self.hub = ServingEnvironment()
        self.hub._options = replace(self.hub._options, live_instances=self.random.choice([1, 2, 50]))
        self.hub.restart_serving()
        self.started: list[tuple[str, str]] = []
        self.late: list[tuple[RemoteWorker, RemoteWork]] = []

    def connect(self) -> None:
        limits = WorkerLimits(self.random.choice([0, 1, 3]), self.random.choice([0, 1, 3]))
        self.add_worker(filters=self.random.choice(KINDS), limits=limits)

    def add_worker(self, **options: Any) -> None:
        keeps = self.random.random() < 0.6
        functions = (SCRIPTS, {"Echo": lambda n: n}, {"counter": add})
        self.hub.connect(*functions, keeps_sessions=keeps, **options)

    def start(self) -> None:
        name = self.random.choice([*SCRIPTS])
        self.started.append((self.hub.client.start_new(name, f"{name}-{len(self.started)}"), name))

    def step(self) -> None:
        self.hub.engine.step()

    def take(self) -> None:
        """Take work and answer it, abandon it, answer it later, or never."""
        worker = self.random.choice(self.hub.workers)
        if (work := worker.connection.take()) is None:
            return
        if isinstance(work, RemoteTurn) and work.previous is not None:
            assert worker.connection.keeps_sessions
        chance = self.random.random()
        if chance < 0.7:
            self.hub.remote_pool.answer(worker.run(work), worker.told.append)
        elif chance < 0.8:
            self.hub.remote_pool.abandon(work.key)
        elif chance < 0.95:
            self.late.append((worker, work))

    def forget_sessions(self) -> None:
        self.random.choice(self.hub.workers).sessions.clear()

    def answer_late(self) -> None:
        if self.late:
            worker, work = self.late.pop(self.random.randrange(len(self.late)))
            self.hub.remote_pool.answer(worker.run(work), worker.told.append)

    def leave(self) -> None:
        if len(self.hub.workers) > 1:
            worker = self.hub.workers.pop(self.random.randrange(len(self.hub.workers)))
            worker.connection.close(self.random.choice([0, 60]))
            if self.random.random() < 0.3:
                worker.connection.close()

    def end_leases(self) -> None:
        with self.monkeypatch.context() as patch:
            patch.setattr(remote_work_pool, "TURN_LEASE", -1.0)
            self.hub.remote_pool.maintain()

    def restart(self) -> None:
        self.hub.restart_serving()
        self.connect()

    def suspend(self) -> None:
        running = [id for id, _ in self.started if not self.hub.client.get_status(id).ended]
        if running:
            id = self.random.choice(running)
            self.hub.client.suspend(id, "for a while")
            self.step()
            if not self.hub.client.get_status(id).ended:
                self.hub.client.resume(id, "again")

    def finish(self) -> None:
        """Let what is late come, and then one worker do the rest, which has no mishaps."""
        while self.late:
            self.answer_late()
        self.hub.run()
        self.hub.restart_serving()
        self.add_worker()
        assert {id: self.hub.finish(id).output for id, _ in self.started} == {
            id: OUTPUTS[name] for id, name in self.started
        }


def fail_at_times(monkeypatch: pytest.MonkeyPatch, name: str, chance: Callable[[], bool]) -> None:
    """Have a step of a turn fail unexpectedly, before or after it."""
    step = getattr(RemoteTurnRunner, name)

    def run(self: RemoteTurnRunner, *arguments: Any) -> Any:
        if chance():
            raise RuntimeError("before")
        result = step(self, *arguments)
        if chance():
            raise RuntimeError("after")
        return result

    monkeypatch.setattr(RemoteTurnRunner, name, run)


@pytest.mark.parametrize("seed", range(EXAMPLES))
def test_mishaps_of_workers_lose_nothing(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    mishaps = Mishaps(seed, monkeypatch)
    chances = random.Random(seed)
    moves = {
        mishaps.start: 12, mishaps.step: 33, mishaps.take: 30, mishaps.answer_late: 6, mishaps.leave: 7,
        mishaps.connect: 9, mishaps.end_leases: 6, mishaps.restart: 2, mishaps.suspend: 2, mishaps.forget_sessions: 3,
    }  # fmt: skip
    with monkeypatch.context() as failing:
        if seed % 2:
            for name in ("prepare", "_record"):
                fail_at_times(failing, name, lambda: chances.random() < 0.005)
        mishaps.connect()
        for move in mishaps.random.choices([*moves], [*moves.values()], k=200):
            move()
    mishaps.finish()
    pool = mishaps.hub.remote_pool
    assert len(pool.turns) == pool.queue_length == len(pool.start_times()) == 0
    assert [worker.in_flight for worker in pool.list_workers()] == [{}]
