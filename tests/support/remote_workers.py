"""Workers of remote code for tests of the engine: they speak to its pool, without any protocol.

A remote orchestrator is a generator. It yields decisions, one or a list at a time, and is sent the outcome of the first
open one, as `(event)`; events raised from outside are sent as they come. As an SDK does, a worker replays all of a
history on each turn, and answers with the decisions that the history doesn't have.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import replace as replace_option
from datetime import timedelta
from typing import Any

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from durablecli import testing
from durablecli.engine.engine_options import EngineOptions
from durablecli.engine.remote_connections import WorkerConnection
from durablecli.engine.remote_queues import WorkerLimits, WorkFilters
from durablecli.engine.remote_work_pool import RemoteWorkPool
from durablecli.model import events as ev
from durablecli.model.failures import Failure
from durablecli.replay.remote_work import (
    ActivityAnswer,
    Answer,
    EntityBatchAnswer,
    OperationAnswer,
    RemoteActivity,
    RemoteEntityBatch,
    RemoteTurn,
    RemoteWork,
    TurnAnswer,
)
from durablecli.replay.runtime_state import Turn
from durablecli.store.memory_disk import MemoryDisk

Decisions = ev.Decision | list[ev.Decision]
Script = Callable[[ev.ExecutionStarted], Generator[Decisions, Any, ev.Decision]]


def to_raw(value: Any) -> Raw:
    return Raw(msgspec.json.encode(value))


def call(name: str, value: Any = None) -> ev.TaskScheduled:
    return ev.TaskScheduled(name, to_raw(value))


def completed(value: Any = None) -> ev.ExecutionCompleted:
    return ev.ExecutionCompleted("Completed", result=to_raw(value))


def failed(message: str) -> ev.ExecutionCompleted:
    return ev.ExecutionCompleted("Failed", failure=Failure("Error", message))


def value_of(event: Any) -> Any:
    """The value of an outcome, of a raised event, or the input of an execution."""
    payload = event.input if hasattr(event, "input") else getattr(event, "result", ev.NULL)
    return msgspec.json.decode(payload)


def decide(script: Script, turn: RemoteTurn) -> TurnAnswer:
    """Answer with the decisions that the history of this turn doesn't have, with the ids that the worker gives them.

    What has arrived after `continue_as_new` is carried over.
    """
    generator = script(turn.started)
    decided: list[ev.Decision] = []
    arrivals = [*(each.arrival for each in turn.past), *turn.arrivals]
    known = sum(len(each.decisions) for each in turn.past)
    ids = iter(range(1, 1_000_000))

    def take(yielded: Decisions) -> None:
        for one in yielded if isinstance(yielded, list) else [yielded]:
            is_end = isinstance(one, ev.ExecutionCompleted | ev.ContinueAsNew | ev.EntityUnlockSent)
            decided.append(one if is_end or not hasattr(one, "id") else replace(one, id=next(ids)))

    carried: tuple[ev.EventRaised, ...] = ()
    for i, record in enumerate(arrivals):
        try:
            take(next(generator) if isinstance(record.event, ev.ExecutionStarted) else generator.send(record.event))
        except StopIteration as end:
            take(end.value)
            carried = tuple(later.event for later in arrivals[i + 1 :] if isinstance(later.event, ev.EventRaised))
            break
    return TurnAnswer(turn.key, tuple(decided[known:]), carried=carried)


class RemoteWorker:
    """One worker of the pool, with the remote functions that it runs."""

    def __init__(
        self,
        pool: RemoteWorkPool,
        orchestrators: dict[str, Script],
        activities: dict[str, Callable[[Any], Any]] | None = None,
        entities: dict[str, Callable[[Any, str, Any], tuple[Any, Any]]] | None = None,
        *,
        filters: WorkFilters | None = None,
        limits: WorkerLimits = WorkerLimits(),  # noqa: B008 - immutable
        keeps_sessions: bool = False,
    ) -> None:
        self._pool = pool
        self._orchestrators = orchestrators
        self._activities = activities or {}
        self._entities = entities or {}
        self.connection: WorkerConnection = pool.connect(
            filters, limits, lambda: None, "worker", keeps_sessions=keeps_sessions
        )
        self.sessions: dict[str, RemoteTurn] = {}
        """The last turn of each instance, with all before it; the orchestrators run from the beginning all the same."""
        self.taken: list[RemoteWork] = []
        self.told: list[str | None] = []
        """What it was told of its answers."""

    def work(self, most: int = 1_000_000) -> int:
        """Take and answer what is there, at most so many items; returns how many it was."""
        done = 0
        while done < most and (work := self.connection.take()) is not None:
            self.taken.append(work)
            self._pool.answer(self.run(work), self.told.append)
            done += 1
        return done

    def run(self, work: RemoteWork) -> Answer:
        match work:
            case RemoteTurn():
                return self._run_turn(work)
            case RemoteActivity():
                try:
                    result = self._activities[work.task.name](msgspec.json.decode(work.task.input))
                    return ActivityAnswer(work.key, to_raw(result))
                except ValueError as error:
                    return ActivityAnswer(work.key, failure=Failure("ValueError", str(error)))
            case RemoteEntityBatch():
                return self._run_batch(work)

    def _run_turn(self, work: RemoteTurn) -> TurnAnswer:
        known = self.sessions.pop(work.key.instance, None)
        turn = work
        if work.previous is not None:
            if known is None or known.key != work.previous:
                return TurnAnswer(work.key, (), requires_history=True)
            turn = work._replace(past=known.past)
        answer = decide(self._orchestrators[work.started.name], turn)
        if work.keeps_session:
            decisions = [ev.Record(0, work.key.time, decision) for decision in answer.decisions]
            applied = [Turn(record, work.key.time, []) for record in work.arrivals]
            applied[-1].decisions.extend(decisions)
            self.sessions[work.key.instance] = turn._replace(past=(*turn.past, *applied))
        return answer

    def _run_batch(self, work: RemoteEntityBatch) -> EntityBatchAnswer:
        operate = self._entities[work.key.entity.split("@")[1]]
        state = msgspec.json.decode(work.state) if work.state else None
        results: list[OperationAnswer] = []
        for one in work.operations:
            state, result = operate(state, one.name, msgspec.json.decode(one.input))
            results.append(OperationAnswer(to_raw(result)))
        return EntityBatchAnswer(work.key, tuple(results), ev.ABSENT if state is None else to_raw(state))


class ServingEnvironment(testing.TestEnvironment):
    """A hub in memory that serves workers; they work in `run`."""

    __test__ = False

    def __enter__(self) -> ServingEnvironment:
        return self

    def __init__(self, *functions: Any, disk: MemoryDisk | None = None) -> None:
        self.remote_pool = RemoteWorkPool()
        self.workers: list[RemoteWorker] = []
        options = EngineOptions(use_threads=False, turn_budget=timedelta.max, remote_work=self.remote_pool)
        super().__init__(testing.build_registry(*functions), testing.START, options, disk)

    def connect(self, *args: Any, **kwargs: Any) -> RemoteWorker:
        """Connect a worker."""
        worker = RemoteWorker(self.remote_pool, *args, **kwargs)
        self.workers.append(worker)
        return worker

    def run(self) -> None:
        super().run()
        while True:
            worked = sum([worker.work() for worker in self.workers])
            super().run()
            if not worked and not any(worker.connection.has_ready for worker in self.workers):
                return

    def step_until_ready(self, worker: RemoteWorker) -> None:
        """Step the engine until it has prepared a turn for a worker, which hasn't taken it yet."""
        for _ in range(100):
            if worker.connection.has_ready:
                return
            if (work := worker.connection.take()) is not None:
                worker.taken.append(work)
                self.remote_pool.answer(worker.run(work), worker.told.append)
            self.engine.step()
        raise AssertionError("no turn was prepared")

    def restart_serving(self) -> None:
        """Kill the engine and open the hub again; no worker is connected then."""
        self.remote_pool = RemoteWorkPool()
        self.workers.clear()
        self._options = replace_option(self._options, remote_work=self.remote_pool)
        self.restart()


def only(*activities: str) -> WorkFilters:
    """The filter of a worker that runs these activities and nothing else."""
    return WorkFilters({}, {name: frozenset() for name in activities}, {})


def serve(*functions: Any) -> ServingEnvironment:
    return ServingEnvironment(*functions)


def kinds(events: Iterable[ev.AnyEvent]) -> list[str]:
    return [type(event).__name__ for event in events]
