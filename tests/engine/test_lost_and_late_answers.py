"""Workers that leave, answer late, twice or about something else: what others are given, and what counts."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

import durablecli as df
from durablecli.engine import remote_work_pool
from durablecli.engine.remote_queues import ACTIVITIES, OfferedWork, WorkerLimits, WorkFilters, WorkHolder, WorkQueue
from durablecli.engine.remote_work_pool import RemoteWorkPool
from durablecli.engine.result_intake import ResultIntake
from durablecli.model import events as ev
from durablecli.replay.remote_work import (
    ActivityKey,
    EntityBatchAnswer,
    EntityBatchKey,
    OperationAnswer,
    RemoteActivity,
    RemoteTurn,
    TurnAnswer,
)
from durablecli.store.history.file import history_path
from durablecli.store.hub import checkpoint
from tests.support.remote_workers import (
    Decisions,
    RemoteWorker,
    ServingEnvironment,
    call,
    completed,
    failed,
    only,
    serve,
    value_of,
)

Orchestration = Generator[Decisions, Any, ev.Decision]
NO_CALLS = WorkFilters(None, {}, {})
GREETED = ["hello a", "hello b", "hello c"]


def chain(started: ev.ExecutionStarted) -> Orchestration:
    results = []
    for city in ("a", "b", "c"):
        outcome = yield call("Hello", city)
        results.append(value_of(outcome))
    return completed(results)


def greet(city: str) -> str:
    return f"hello {city}"


def run_activities(hub: ServingEnvironment) -> None:
    """Answer the activities that wait."""
    worker = RemoteWorker(hub.remote_pool, {}, {"Hello": greet}, filters=only("Hello"))
    hub.engine.step()
    while worker.work():
        hub.engine.step()
    worker.connection.close()


def take_turn(hub: ServingEnvironment, worker: RemoteWorker) -> RemoteTurn:
    """Return the next turn of a worker."""
    for _ in range(100):
        work = worker.connection.take()
        if isinstance(work, RemoteTurn):
            return work
        hub.engine.step()
    raise AssertionError("there was no turn")


@pytest.fixture
def hub() -> Generator[ServingEnvironment]:
    with serve() as environment:
        yield environment


def begin_session(hub: ServingEnvironment) -> tuple[str, RemoteWorker, RemoteTurn]:
    """A worker with the first turn of a session answered, and the second one taken."""
    worker = RemoteWorker(hub.remote_pool, {"chain": chain}, keeps_sessions=True, filters=NO_CALLS)
    id = hub.client.start_new("chain")
    first = take_turn(hub, worker)
    hub.remote_pool.answer(worker.run(first), worker.told.append)
    hub.run()
    run_activities(hub)
    second = take_turn(hub, worker)
    assert second.previous == first.key
    return id, worker, second


# ── sessions ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_turn_of_a_session_that_its_worker_loses_has_its_past_for_the_next_one(hub: ServingEnvironment) -> None:
    id, worker, _ = begin_session(hub)
    worker.connection.close()
    other = hub.connect({"chain": chain}, {"Hello": greet})
    assert hub.finish(id).output == GREETED
    turns = [work for work in other.taken if isinstance(work, RemoteTurn)]
    assert [turn.previous for turn in turns] == [None] * 3
    assert [len(turn.past) for turn in turns] == [1, 2, 3]


def test_a_request_for_the_past_that_comes_late_decides_nothing(hub: ServingEnvironment) -> None:
    id, worker, turn = begin_session(hub)
    worker.connection.close(grace=60)
    hub.remote_pool.answer(TurnAnswer(turn.key, (), requires_history=True), worker.told.append)
    hub.run()
    assert len(worker.told) == 2
    applied = [record for record in hub.client.get_history(id) if isinstance(record.event, ev.OrchestratorStarted)]
    assert len(applied) == 1


def test_a_request_for_the_past_decides_nothing_after_a_restart_of_the_engine(hub: ServingEnvironment) -> None:
    id, worker, turn = begin_session(hub)
    hub.restart_serving()
    hub.remote_pool.answer(TurnAnswer(turn.key, (), requires_history=True), worker.told.append)
    hub.connect({"chain": chain}, {"Hello": greet})
    assert hub.finish(id).output == GREETED


def test_a_session_ends_when_a_late_answer_counts(hub: ServingEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    id, worker, turn = begin_session(hub)
    expire_leases(hub, monkeypatch)
    other = RemoteWorker(hub.remote_pool, {"chain": chain}, filters=NO_CALLS)
    assert take_turn(hub, other).arrivals == turn.arrivals
    hub.remote_pool.answer(worker.run(turn), worker.told.append)
    hub.run()
    assert worker.told == [None, None]
    other.connection.close()
    run_activities(hub)
    third = take_turn(hub, worker)
    assert (third.key.instance, third.previous, len(third.past)) == (id, None, 2)


def expire_leases(hub: ServingEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(remote_work_pool, "TURN_LEASE", -1.0)
        hub.remote_pool.maintain()


# ── turns ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_answer_that_is_late_leaves_the_turn_after_it_with_its_worker(
    hub: ServingEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = RemoteWorker(hub.remote_pool, {"chain": chain}, filters=NO_CALLS)
    hub.client.start_new("chain")
    first = take_turn(hub, slow)
    quick = RemoteWorker(hub.remote_pool, {"chain": chain}, filters=NO_CALLS, limits=WorkerLimits(turns=1))
    expire_leases(hub, monkeypatch)
    hub.remote_pool.answer(quick.run(take_turn(hub, quick)), quick.told.append)
    hub.run()
    run_activities(hub)
    second = take_turn(hub, quick)
    hub.remote_pool.answer(slow.run(first), slow.told.append)
    hub.run()
    assert slow.connection.take() is None
    hub.run()
    assert slow.connection.take() is None, "the second turn is with two workers"
    hub.remote_pool.answer(quick.run(second), quick.told.append)
    hub.run()
    assert quick.told == [None, None]


def test_a_turn_whose_lease_ended_before_its_worker_took_it_is_not_sent_to_it(
    hub: ServingEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = RemoteWorker(hub.remote_pool, {"chain": chain}, filters=NO_CALLS)
    hub.client.start_new("chain")
    hub.step_until_ready(blocked)
    expire_leases(hub, monkeypatch)
    other = RemoteWorker(hub.remote_pool, {"chain": chain}, filters=NO_CALLS)
    take_turn(hub, other)
    assert blocked.connection.take() is None


def test_a_worker_that_leaves_keeps_no_turn_whose_lease_ended_before_it_was_sent(
    hub: ServingEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = RemoteWorker(hub.remote_pool, {"chain": chain}, keeps_sessions=True, filters=NO_CALLS)
    id = hub.client.start_new("chain")
    hub.remote_pool.answer(worker.run(take_turn(hub, worker)), worker.told.append)
    hub.run()
    run_activities(hub)
    hub.step_until_ready(worker)
    expire_leases(hub, monkeypatch)
    other = RemoteWorker(hub.remote_pool, {"chain": chain}, filters=NO_CALLS)
    assert take_turn(hub, other).key.instance == id
    worker.connection.close(grace=60)
    assert [key[0] for key in other.connection.iter_keys()] == [id]
    assert RemoteWorker(hub.remote_pool, {"chain": chain}).connection.take() is None


def test_the_turn_of_an_instance_that_ended_before_its_worker_took_it_is_not_sent(hub: ServingEnvironment) -> None:
    worker = RemoteWorker(hub.remote_pool, {"chain": chain}, limits=WorkerLimits(turns=1))
    id, other = hub.client.start_new("chain"), hub.client.start_new("chain")
    hub.step_until_ready(worker)
    hub.client.terminate(id, "enough")
    hub.run()
    assert take_turn(hub, worker).key.instance == other


def test_a_worker_with_room_is_woken_when_a_turn_prepared_for_it_is_withdrawn(hub: ServingEnvironment) -> None:
    woken: list[str] = []
    connection = hub.remote_pool.connect(NO_CALLS, WorkerLimits(turns=1), lambda: woken.append("woken"))
    id, other = hub.client.start_new("chain"), hub.client.start_new("chain")
    hub.run()
    assert connection.take() is None
    hub.client.terminate(id, "enough")
    woken.clear()
    for _ in range(5):
        hub.engine.step()
    assert woken
    for _ in range(5):
        hub.engine.step()
        connection.take()
    assert [key[0] for key in connection.iter_keys()] == [other]


def test_an_answer_whose_instance_turns_out_to_be_damaged_is_not_told_to_be_on_disk(hub: ServingEnvironment) -> None:
    def fails(started: ev.ExecutionStarted) -> Orchestration:
        yield call("Hello", "a")
        return failed("no")

    worker = RemoteWorker(hub.remote_pool, {"chain": fails}, keeps_sessions=True, filters=NO_CALLS)
    id = hub.client.start_new("chain")
    hub.remote_pool.answer(worker.run(take_turn(hub, worker)), worker.told.append)
    hub.run()
    run_activities(hub)
    turn = take_turn(hub, worker)
    hub.engine.flush()
    checkpoint(hub.engine.hub)
    hub.disk.files[history_path("hub", id)].data[40] ^= 1
    hub.remote_pool.answer(worker.run(turn), worker.told.append)
    hub.run()
    assert hub.engine.instances.is_quarantined(id)
    assert worker.told[0] is None
    assert worker.told[1] is not None


# ── calls ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_answer_of_another_kind_of_work_has_no_effect() -> None:
    @df.orchestrator
    def local(context: df.DurableOrchestrationContext) -> Any:
        return (yield context.call_activity("Hello", "x"))

    with serve(local) as hub:
        worker = RemoteWorker(hub.remote_pool, {}, {"Hello": greet})
        id = hub.client.start_new("local")
        hub.run()
        work = worker.connection.take()
        assert isinstance(work, RemoteActivity)
        told: list[str | None] = []
        hub.remote_pool.answer(EntityBatchAnswer(EntityBatchKey(*work.key), (OperationAnswer(),)), told.append)
        hub.run()
        assert told[0] is not None
        hub.remote_pool.answer(worker.run(work), told.append)
        assert hub.finish(id).output == "hello x"


def test_a_repeated_answer_is_acknowledged_after_the_first_one() -> None:
    @df.orchestrator
    def local(context: df.DurableOrchestrationContext) -> Any:
        return (yield context.call_activity("Hello", "x"))

    with serve(local) as hub:
        worker = RemoteWorker(hub.remote_pool, {}, {"Hello": greet})
        hub.client.start_new("local")
        hub.run()
        work = worker.connection.take()
        assert isinstance(work, RemoteActivity)
        told: list[str] = []
        for name in ("first", "second"):
            hub.remote_pool.answer(worker.run(work), lambda reason, name=name: told.append(name))  # type: ignore[misc]
        hub.run()
        assert told == ["first", "second"]


def test_a_new_worker_gets_at_once_what_one_that_left_has_abandoned() -> None:
    @df.orchestrator
    def local(context: df.DurableOrchestrationContext) -> Any:
        return (yield context.call_activity("Hello", "x"))

    with serve(local) as hub:
        hub.client.start_new("local")
        hub.run()
        for _ in range(20):
            worker = RemoteWorker(hub.remote_pool, {}, {"Hello": greet})
            hub.remote_pool.abandon(take_key(worker))
            assert worker.connection.take() is None
            worker.connection.close()
            del worker  # the next one may be at the same address


def test_a_repeated_answer_is_not_acknowledged_while_the_first_one_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    @df.orchestrator
    def local(context: df.DurableOrchestrationContext) -> Any:
        return (yield context.call_activity("Hello", "x"))

    with serve(local) as hub:
        worker = RemoteWorker(hub.remote_pool, {}, {"Hello": greet})
        hub.client.start_new("local")
        hub.run()
        work = worker.connection.take()
        assert work is not None
        with monkeypatch.context() as patch:
            patch.setattr(ResultIntake, "_may_handle", lambda self, result: False)
            for _ in range(3):
                hub.remote_pool.answer(worker.run(work), worker.told.append)
                hub.engine.step()
            hub.engine.flush()
            assert worker.told == []
        hub.run()
        assert worker.told == [None, None, None]


# ── order ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_a_worker_gives_back_comes_in_its_order_before_what_came_after_it() -> None:
    @df.orchestrator
    def fan(context: df.DurableOrchestrationContext) -> Any:
        yield context.task_all([context.call_activity("Hello", n) for n in range(4)])

    with serve(fan) as hub:
        worker = RemoteWorker(hub.remote_pool, {}, {"Hello": greet})
        hub.client.start_new("fan")
        hub.run()
        had = [take_key(worker) for _ in range(4)]
        hub.client.start_new("fan")
        hub.run()
        worker.connection.close()
        other = RemoteWorker(hub.remote_pool, {}, {"Hello": greet})
        assert [take_key(other) for _ in range(4)] == had


def take_key(worker: RemoteWorker) -> ActivityKey:
    work = worker.connection.take()
    assert isinstance(work, RemoteActivity)
    return work.key


def test_a_worker_that_abandons_much_finds_the_rest_without_a_look_at_all_of_it() -> None:
    queue, worker = WorkQueue(), RemoteWorkPool().connect(None, WorkerLimits(), lambda: None)
    seen = 0

    class Abandoned(dict[WorkHolder, float]):
        def get(self, connection: WorkHolder, default: float = 0.0) -> float:  # type: ignore[override]
            nonlocal seen
            seen += 1
            return 100.0

    for _ in range(1_000):
        item = OfferedWork(ACTIVITIES, "Hello", None, "1")
        item.rejected_by = Abandoned({worker: 100.0})
        queue.add(item)
    for _ in range(10):
        assert queue.pick(None, worker, now=1.0) is None
    assert seen <= 1_000
