"""Remote orchestrators, activities and entities, beside local ones."""

from __future__ import annotations

from collections.abc import Generator
from datetime import timedelta
from typing import Any

import pytest

import durablecli as df
from durablecli.client import Query
from durablecli.engine.remote_queues import WorkerLimits, WorkFilters
from durablecli.model import events as ev
from durablecli.replay.remote_work import (
    ActivityAnswer,
    EntityBatchAnswer,
    OperationAnswer,
    RemoteActivity,
    RemoteEntityBatch,
    RemoteTurn,
    RemoteWork,
)
from tests.support.remote_workers import (
    Decisions,
    RemoteWorker,
    ServingEnvironment,
    call,
    completed,
    failed,
    kinds,
    only,
    serve,
    to_raw,
    value_of,
)

Orchestration = Generator[Decisions, Any, ev.Decision]


def chain(started: ev.ExecutionStarted) -> Orchestration:
    results = []
    for city in ("a", "b", "c"):
        outcome = yield call("Hello", city)
        results.append(value_of(outcome))
    return completed(results)


def greet(city: str) -> str:
    return f"hello {city}"


@df.activity(name="Hello")
def local_hello(city: str) -> str:
    return f"local {city}"


def test_a_remote_orchestrator_calls_remote_activities() -> None:
    with serve() as hub:
        worker = hub.connect({"chain": chain}, {"Hello": greet})
        status = hub.finish(hub.client.start_new("chain"))
        assert status.output == ["hello a", "hello b", "hello c"]
        assert worker.told == [None] * 7


def test_a_local_function_goes_first() -> None:
    with serve(local_hello) as hub:
        hub.connect({"chain": chain}, {"Hello": greet})
        assert hub.finish(hub.client.start_new("chain")).output == ["local a", "local b", "local c"]


def test_a_local_orchestrator_calls_a_remote_activity() -> None:
    @df.orchestrator
    def local(context: df.DurableOrchestrationContext) -> Any:
        result = yield context.call_activity("Hello", "x")
        try:
            yield context.call_activity("Fails", "x")
        except df.TaskFailedError as error:
            return [result, str(error)]

    def fails(value: Any) -> None:
        raise ValueError("no")

    with serve(local) as hub:
        hub.connect({}, {"Hello": greet, "Fails": fails})
        output = hub.finish(hub.client.start_new("local")).output
        assert output[0] == "hello x"
        assert "no" in output[1]


def test_what_waits_for_a_worker_is_not_blocked_and_goes_on_when_one_comes() -> None:
    with serve() as hub:
        id = hub.client.start_new("chain")
        hub.run()
        status = hub.client.get_status(id)
        assert status.status_name == "Pending"
        assert status.blocked is None
        hub.connect({"chain": chain}, {"Hello": greet})
        assert hub.finish(id).output == ["hello a", "hello b", "hello c"]


def test_a_turn_has_all_that_arrived_before_it_was_handed_out() -> None:
    def gather(started: ev.ExecutionStarted) -> Orchestration:
        yield [call("Hello", n) for n in range(3)]
        for _ in range(2):
            yield []
        return completed("all")

    with serve() as hub:
        worker = hub.connect({"gather": gather}, {})
        id = hub.client.start_new("gather")
        hub.step_until_ready(worker)
        assert worker.work(1) == 1
        hub.workers.clear()
        worker.connection.close()
        activities = hub.connect({}, {"Hello": lambda n: n}, filters=only("Hello"))
        hub.run()
        assert len(activities.taken) == 3
        second = hub.connect({"gather": gather})
        assert hub.finish(id).output == "all"
        assert [len(work.arrivals) for work in second.taken if isinstance(work, RemoteTurn)] == [3]


def test_a_timer_an_event_and_a_child_move_a_remote_orchestrator() -> None:
    def parent(started: ev.ExecutionStarted) -> Orchestration:
        yield ev.TimerCreated(hub.clock.now() + timedelta(minutes=5))
        event = yield []
        child = yield ev.SubOrchestrationInstanceCreated("child", "kid", to_raw(value_of(event)))
        return completed(value_of(child))

    def child(started: ev.ExecutionStarted) -> Orchestration:
        result = yield call("Hello", value_of(started))
        return completed([value_of(result)])

    with serve() as hub:
        hub.connect({"parent": parent, "child": child}, {"Hello": greet})
        id = hub.client.start_new("parent")
        hub.advance(timedelta(minutes=5))
        hub.client.raise_event(id, "Go", 7)
        assert hub.finish(id).output == ["hello 7"]


def test_continue_as_new_carries_events_over() -> None:
    def loop(started: ev.ExecutionStarted) -> Orchestration:
        count = value_of(started) or 0
        yield []
        if count == 2:
            return completed(count)
        return ev.ContinueAsNew(to_raw(count + 1))

    with serve() as hub:
        hub.connect({"loop": loop})
        id = hub.client.start_new("loop")
        for _ in range(3):
            hub.client.raise_event(id, "Next")
        assert hub.finish(id).output == 2


def test_a_remote_entity_keeps_its_state_and_answers() -> None:
    @df.orchestrator
    def local(context: df.DurableOrchestrationContext) -> Any:
        yield context.call_entity(df.EntityId("counter", "x"), "add", 2)
        total = yield context.call_entity(df.EntityId("counter", "x"), "add", 3)
        return total

    def counter(state: Any, name: str, value: Any) -> tuple[Any, Any]:
        return (state or 0) + value, (state or 0) + value

    with serve(local) as hub:
        hub.connect({}, {}, {"counter": counter})
        assert hub.finish(hub.client.start_new("local")).output == 5


def test_a_failure_names_all_failed_outcomes_and_a_rewind_calls_again() -> None:
    calls: list[str] = []

    def once(started: ev.ExecutionStarted) -> Orchestration:
        good = yield call("Good", "a")
        bad = yield call("Bad", "b")
        return failed("broken") if isinstance(bad, ev.TaskFailed) else completed([value_of(good), value_of(bad)])

    def note(value: str) -> str:
        calls.append(value)
        if len(calls) == 2:
            raise ValueError("not yet")
        return value

    with serve() as hub:
        hub.connect({"once": once}, {"Good": note, "Bad": note})
        id = hub.client.start_new("once")
        assert hub.finish(id).status_name == "Failed"
        hub.client.rewind(id)
        assert hub.finish(id).output == ["a", "b"]
        assert calls == ["a", "b", "b"]


def test_an_orchestrator_that_failed_by_itself_takes_its_last_turn_again_after_a_rewind() -> None:
    attempts = []

    def flaky(started: ev.ExecutionStarted) -> Orchestration:
        result = yield call("Hello", "x")
        attempts.append(1)
        return completed(value_of(result)) if len(attempts) > 1 else failed("by itself")

    with serve() as hub:
        hub.connect({"flaky": flaky}, {"Hello": greet})
        id = hub.client.start_new("flaky")
        assert hub.finish(id).status_name == "Failed"
        hub.client.rewind(id)
        assert hub.finish(id).output == "hello x"


def test_a_suspended_instance_gets_no_turn_and_a_terminated_one_no_answer() -> None:
    def waits(started: ev.ExecutionStarted) -> Orchestration:
        event = yield []
        return completed(value_of(event))

    with serve() as hub:
        worker = hub.connect({"waits": waits})
        id, other = hub.client.start_new("waits"), hub.client.start_new("waits")
        hub.run()
        hub.client.suspend(id)
        hub.client.raise_event(id, "Go", 1)
        hub.run()
        assert hub.client.get_status(id).status_name == "Suspended"
        hub.client.resume(id)
        assert hub.finish(id).output == 1
        hub.client.raise_event(other, "Go", 2)
        hub.step_until_ready(worker)
        turn = worker.connection.take()
        assert isinstance(turn, RemoteTurn)
        assert turn.key.instance == other
        hub.client.terminate(other, "stop")
        told: list[str | None] = []
        hub.remote_pool.answer(worker.run(turn), told.append)
        hub.run()
        status = hub.client.get_status(other)
        assert (status.status_name, status.output) == ("Terminated", "stop")
        assert told == ["the turn was answered before, or its execution can't go on"]


def test_the_first_answer_wins_and_others_are_acknowledged() -> None:
    with serve() as hub:
        worker = hub.connect({"chain": chain}, {"Hello": greet})
        id = hub.client.start_new("chain")
        hub.step_until_ready(worker)
        turn = worker.connection.take()
        assert isinstance(turn, RemoteTurn)
        told: list[str | None] = []
        for _ in range(3):
            hub.remote_pool.answer(worker.run(turn), told.append)
        assert hub.finish(id).output == ["hello a", "hello b", "hello c"]
        assert told[0] is None
        assert all(told[1:])
        scheduled = [record for record in hub.client.get_history(id) if isinstance(record.event, ev.TaskScheduled)]
        assert len(scheduled) == 3


def test_an_answer_counts_after_a_restart_of_the_engine() -> None:
    with serve() as hub:
        worker = hub.connect({"chain": chain}, {"Hello": greet})
        id = hub.client.start_new("chain")
        hub.step_until_ready(worker)
        turn = worker.connection.take()
        assert turn is not None
        hub.restart_serving()
        told: list[str | None] = []
        hub.remote_pool.answer(worker.run(turn), told.append)
        hub.connect({"chain": chain}, {"Hello": greet})
        assert hub.finish(id).output == ["hello a", "hello b", "hello c"]
        assert told == [None]


def hand_out_first_turn(hub: ServingEnvironment) -> tuple[str, RemoteWorker, RemoteWork | None]:
    """Start a chain, and let a worker that never answers take its first turn."""
    silent = hub.connect({"chain": chain}, {"Hello": greet})
    id = hub.client.start_new("chain")
    hub.step_until_ready(silent)
    hub.workers.clear()
    return id, silent, silent.connection.take()


def test_what_a_lost_worker_had_is_given_to_another() -> None:
    with serve() as hub:
        id, first, taken = hand_out_first_turn(hub)
        first.connection.close()
        second = hub.connect({"chain": chain}, {"Hello": greet})
        assert hub.finish(id).output == ["hello a", "hello b", "hello c"]
        assert second.taken[0] == taken


def test_a_turn_that_is_taken_again_applies_only_what_it_applied_before() -> None:
    """An outcome that came after the failure belongs to the turn after: its call is a decision of this one."""
    is_mended = False

    def flawed(_: ev.ExecutionStarted) -> Orchestration:
        get = ev.EntityOperationCalled("@counter@a", "get", request="r")
        if not is_mended:
            return [get, failed("by itself")]  # type: ignore[return-value]
        outcome = yield get
        return completed(value_of(outcome))

    with serve() as hub:
        worker = hub.connect({"flawed": flawed}, {}, {"counter": lambda state, name, value: (3, 3)})
        id = hub.client.start_new("flawed")
        hub.run()
        assert hub.client.get_status(id).status_name == "Failed"
        is_mended = True
        hub.client.rewind(id)
        assert hub.finish(id).output == 3
        turns = [work for work in worker.taken if isinstance(work, RemoteTurn)]
        applied = [kinds(record.event for record in turn.arrivals) for turn in turns]
        assert applied == [["ExecutionStarted"], ["ExecutionStarted"], ["EntityOperationCompleted"]]
        calls = [each for each in hub.client.get_history(id) if isinstance(each.event, ev.EntityOperationCalled)]
        assert len(calls) == 1


def test_kinds_of_a_history() -> None:
    with serve() as hub:
        hub.connect({"chain": chain}, {"Hello": greet})
        id = hub.client.start_new("chain")
        hub.finish(id)
        found = kinds(record.event for record in hub.client.get_history(id))
        assert found[:3] == ["ExecutionStarted", "OrchestratorStarted", "TaskScheduled"]


def test_a_worker_that_keeps_sessions_is_sent_only_what_is_new() -> None:
    with serve() as hub:
        worker = hub.connect({"chain": chain}, {"Hello": greet}, keeps_sessions=True)
        assert hub.finish(hub.client.start_new("chain")).output == ["hello a", "hello b", "hello c"]
        turns = [work for work in worker.taken if isinstance(work, RemoteTurn)]
        assert [len(turn.past) for turn in turns] == [0, 0, 0, 0]
        assert [turn.previous for turn in turns] == [None, *(turn.key for turn in turns[:-1])]
        names = [[asked.name for asked in turn.answered.values()] for turn in turns]  # type: ignore[union-attr]
        assert names == [[], ["Hello"], ["Hello"], ["Hello"]]


def test_a_worker_that_has_lost_its_session_is_sent_the_history() -> None:
    with serve() as hub:
        worker = hub.connect({"chain": chain}, keeps_sessions=True, filters=WorkFilters(None, {}, {}))
        id = hub.client.start_new("chain")
        hub.run()
        worker.sessions.clear()
        hub.connect({}, {"Hello": greet}, filters=only("Hello"))
        assert hub.finish(id).output == ["hello a", "hello b", "hello c"]
        turns = [work for work in worker.taken if isinstance(work, RemoteTurn)]
        assert [len(turn.past) for turn in turns] == [0, 0, 1, 0, 0]


def test_a_session_ends_with_its_worker() -> None:
    with serve() as hub:
        first = hub.connect({"chain": chain}, keeps_sessions=True, filters=WorkFilters(None, {}, {}))
        id = hub.client.start_new("chain")
        hub.run()
        first.connection.close()
        hub.workers.clear()
        second = hub.connect({"chain": chain}, {"Hello": greet}, keeps_sessions=True)
        assert hub.finish(id).output == ["hello a", "hello b", "hello c"]
        assert [len(work.past) for work in second.taken if isinstance(work, RemoteTurn)] == [1, 0, 0]


def test_a_worker_that_leaves_gets_no_turns_and_what_it_was_not_sent_is_given_out_at_once() -> None:
    with serve() as hub:
        first = hub.connect({"chain": chain}, keeps_sessions=True, filters=WorkFilters(None, {}, {}))
        activities = hub.connect({}, {"Hello": greet}, filters=only("Hello"))
        id = hub.client.start_new("chain")
        hub.step_until_ready(first)
        hub.workers.clear()
        first.connection.close(60)  # a turn is prepared for it
        second = hub.connect({"chain": chain}, {"Hello": greet}, keeps_sessions=True)
        hub.workers.append(activities)
        assert hub.finish(id).output == ["hello a", "hello b", "hello c"]
        assert len([work for work in second.taken if isinstance(work, RemoteTurn)]) == 4


def test_a_worker_that_turns_out_to_be_gone_gives_back_what_it_had() -> None:
    with serve() as hub:
        first = hub.connect({"chain": chain}, {"Hello": greet})
        id = hub.client.start_new("chain")
        hub.step_until_ready(first)
        assert first.connection.take() is not None
        hub.workers.clear()
        first.connection.close(60)
        hub.connect({"chain": chain}, {"Hello": greet})
        hub.run()
        assert hub.client.get_status(id).status_name == "Pending", "it may still answer"
        first.connection.close()
        assert hub.finish(id).output == ["hello a", "hello b", "hello c"]


def test_a_scheduled_call_of_an_entity_waits_for_its_time() -> None:
    def later(started: ev.ExecutionStarted) -> Orchestration:
        due = hub.clock.now() + timedelta(minutes=5)
        outcome = yield ev.EntityOperationCalled("@counter@x", "add", to_raw(2), request="r", scheduled_time=due)
        return completed(value_of(outcome))

    with serve() as hub:
        began = hub.clock.now()
        hub.connect({"later": later}, {}, {"counter": lambda state, name, value: ((state or 0) + value, 7)})
        assert hub.finish(hub.client.start_new("later")).output == 7
        assert hub.clock.now() - began == timedelta(minutes=5)


def test_an_entity_starts_an_orchestration_at_a_later_time() -> None:
    with serve() as hub:
        worker = hub.connect({"chain": chain}, {"Hello": greet})
        due = hub.clock.now() + timedelta(hours=1)
        hub.client.signal_entity("@starter@x", "start")
        hub.engine.step()
        work = worker.connection.take()
        assert isinstance(work, RemoteEntityBatch)
        starts = (ev.EntityOperationStart("", "chain", start_at=due), ev.EntityOperationStart("now", "chain"))
        answer = EntityBatchAnswer(work.key, (OperationAnswer(),), starts=starts)
        hub.remote_pool.answer(answer, worker.told.append)
        hub.run()
        assert worker.told[0] is None
        (waiting,) = [row.id for row in hub.client.page(Query(status=("Pending",))).rows]
        assert hub.client.get_status("now").output == ["hello a", "hello b", "hello c"]
        assert hub.finish(waiting).status_name == "Completed"
        assert hub.clock.now() == due


@pytest.mark.parametrize(("limit", "wakes"), [(0, 0), (1, 1), (2, 1), (3, 0)])
def test_an_answer_wakes_a_worker_only_if_it_had_no_room(limit: int, wakes: int) -> None:
    """One that has room has taken already what there was for it."""

    def fan_out(started: ev.ExecutionStarted) -> Orchestration:
        yield [call("Hello", "a"), call("Hello", "b")]
        return completed()

    with serve() as hub:
        hub.connect({"fan_out": fan_out}, filters=WorkFilters(None, {}, {}))
        hub.client.start_new("fan_out")
        hub.run()
        woken: list[bool] = []
        limits = WorkerLimits(activities=limit)
        connection = hub.remote_pool.connect(only("Hello"), limits, lambda: woken.append(True))
        taken = connection.take()
        assert isinstance(taken, RemoteActivity)
        while connection.take() is not None:
            pass
        woken.clear()
        hub.remote_pool.answer(ActivityAnswer(taken.key), lambda error: None)
        assert len(woken) == wakes
        if limit == 1:
            assert connection.take() is not None


def test_a_turn_that_was_not_sent_is_given_to_another_worker_without_grace() -> None:
    with serve() as hub:
        first = hub.connect({"chain": chain}, {"Hello": greet})
        id = hub.client.start_new("chain")
        hub.step_until_ready(first)
        hub.workers.clear()
        first.connection.close(grace=5.0)
        hub.connect({"chain": chain}, {"Hello": greet})
        assert hub.finish(id).output == ["hello a", "hello b", "hello c"]


def test_the_grace_of_a_closed_worker_may_be_cut_short() -> None:
    with serve() as hub:
        id, first, taken = hand_out_first_turn(hub)
        first.connection.close(grace=5.0)
        second = hub.connect({"chain": chain}, {"Hello": greet})
        hub.run()
        assert not second.taken
        first.connection.close()
        assert hub.finish(id).output == ["hello a", "hello b", "hello c"]
        assert second.taken[0] == taken
