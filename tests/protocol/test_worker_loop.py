"""Orchestrators of the Python SDK run on our records: turn by turn they decide the same, and never find that their
history doesn't fit."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from durabletask import task
from durabletask.entities import DurableEntity, EntityInstanceId

from durablecli.model import events as ev
from durablecli.model.boxed_text import to_text
from durablecli.protocol.generated import pb
from durablecli.protocol.history_events import make_history
from durablecli.replay.runtime_state import fold_history
from tests.protocol.worker_loop import WorkerLoop, make_worker

fails: dict[str, int] = {}
"""How often activities that fail do so, by name."""


def plus_one(_: Any, n: int) -> int:
    return n + 1


def flaky(_: Any, name: str) -> str:
    if fails.get(name, 0):
        fails[name] -= 1
        raise ValueError(f"{name} isn't ready")
    return f"{name} is ready"


class Counter(DurableEntity):
    def add(self, n: int) -> None:
        self.set_state(self.get_state(int, 0) + n)

    def get(self, _: Any) -> int:
        return self.get_state(int, 0)

    def fail(self, _: Any) -> None:
        raise ValueError("no")

    def pass_on(self, key: str) -> None:
        self.signal_entity(EntityInstanceId("Counter", key), "add", 10)
        self.schedule_new_orchestration("o_leaf", 7, "started-by-entity")


COUNTER = EntityInstanceId("Counter", "a")
OTHER = EntityInstanceId("Counter", "b")


def o_leaf(_: task.OrchestrationContext, n: int) -> int:
    return n * 2


def o_chain(ctx: task.OrchestrationContext, n: int) -> Any:
    for _ in range(3):
        n = yield ctx.call_activity(plus_one, input=n)
    return n


def o_fan_out(ctx: task.OrchestrationContext, n: int) -> Any:
    found = yield task.when_all([ctx.call_activity(plus_one, input=i) for i in range(n)])
    return sum(found)


def o_times(ctx: task.OrchestrationContext, _: None) -> Any:
    times = [ctx.current_utc_datetime]
    yield ctx.create_timer(timedelta(hours=1))
    times.append(ctx.current_utc_datetime)
    yield ctx.create_timer(timedelta(days=10))
    times.append(ctx.current_utc_datetime)
    return [(later - times[0]).total_seconds() // 60 for later in times]


def o_children(ctx: task.OrchestrationContext, n: int) -> Any:
    one = yield ctx.call_sub_orchestrator(o_chain, input=n)
    two = yield task.when_all(
        [ctx.call_sub_orchestrator(o_leaf, input=one), ctx.call_sub_orchestrator(o_chain, input=1)]
    )
    three = yield ctx.call_sub_orchestrator(o_parent_of, instance_id="chosen")
    return [one, *two, three]


def o_parent_of(ctx: task.OrchestrationContext, _: None) -> Any:
    yield ctx.call_activity(plus_one, input=1)
    return ctx.parent_instance_id


def o_retries(ctx: task.OrchestrationContext, names: list[str]) -> Any:
    policy = task.RetryPolicy(first_retry_interval=timedelta(seconds=5), max_number_of_attempts=3)
    found = []
    for name in names:
        found.append((yield ctx.call_activity(flaky, input=name, retry_policy=policy)))
    found.append((yield ctx.call_sub_orchestrator(o_flaky, input="child", retry_policy=policy)))
    return found


def o_flaky(ctx: task.OrchestrationContext, name: str) -> Any:
    return (yield ctx.call_activity(flaky, input=name))


def o_caught(ctx: task.OrchestrationContext, _: None) -> Any:
    try:
        yield ctx.call_activity(flaky, input="x")
    except task.TaskFailedError as error:
        return [error.details.error_type, error.details.message, (yield ctx.call_activity(plus_one, input=1))]


def o_events(ctx: task.OrchestrationContext, _: None) -> Any:
    first = yield ctx.wait_for_external_event("Go")
    timer = ctx.create_timer(timedelta(days=1))
    winner = yield task.when_any([timer, ctx.wait_for_external_event("go")])
    ctx.send_event("i2", "hello", data={"from": ctx.instance_id})
    return [first, winner is timer, (yield ctx.wait_for_external_event("GO"))]


def o_hello(ctx: task.OrchestrationContext, _: None) -> Any:
    return (yield ctx.wait_for_external_event("hello"))


def o_entities(ctx: task.OrchestrationContext, _: None) -> Any:
    ctx.signal_entity(COUNTER, "add", 3)
    ctx.signal_entity(OTHER, "add", 1, signal_time=ctx.current_utc_datetime + timedelta(hours=1))
    yield ctx.call_entity(COUNTER, "add", 4)
    try:
        yield ctx.call_entity(COUNTER, "fail")
        failed = False
    except task.TaskFailedError:
        failed = True
    yield ctx.call_entity(COUNTER, "pass_on", "z")
    both = yield task.when_all([ctx.call_entity(COUNTER, "get"), ctx.call_entity(OTHER, "get")])
    return [failed, *both]


def o_locks(ctx: task.OrchestrationContext, n: int) -> Any:
    with (yield ctx.lock_entities([OTHER, COUNTER, OTHER])):
        before = yield ctx.call_entity(COUNTER, "get")
        yield ctx.call_activity(plus_one, input=1)
        yield ctx.call_entity(COUNTER, "add", n)
        after = yield ctx.call_entity(COUNTER, "get")
    with (yield ctx.lock_entities([COUNTER])):
        pass
    yield ctx.call_activity(plus_one, input=1)
    return [before, after]


def o_eternal(ctx: task.OrchestrationContext, n: int) -> Any:
    yield ctx.call_activity(plus_one, input=n)
    ctx.set_custom_status({"n": n})
    if n < 4:
        ctx.continue_as_new(n + 1, save_events=True)
        return None
    return [n, (yield ctx.wait_for_external_event("kept"))]


def o_fails(ctx: task.OrchestrationContext, name: str) -> Any:
    one = yield ctx.call_activity(plus_one, input=1)
    text = yield ctx.call_activity(flaky, input=name)
    three = yield ctx.call_activity(plus_one, input=one)
    return [text, three]


def o_fails_in_child(ctx: task.OrchestrationContext, name: str) -> Any:
    yield ctx.create_timer(timedelta(hours=1))
    found = yield ctx.call_sub_orchestrator(o_fails, input=name)
    yield ctx.call_entity(COUNTER, "add", 1)
    return found


def o_raises(ctx: task.OrchestrationContext, _: None) -> Any:
    yield ctx.call_activity(plus_one, input=1)
    raise ValueError("by itself")


FUNCTIONS = (
    plus_one, flaky, Counter, o_leaf, o_chain, o_fan_out, o_times, o_children, o_parent_of, o_retries, o_flaky,
    o_caught, o_events, o_hello, o_entities, o_locks, o_eternal, o_fails, o_fails_in_child, o_raises,
)  # fmt: skip


@pytest.fixture(params=[False, True], ids=["one at a time", "together"])
def loop(request: pytest.FixtureRequest) -> WorkerLoop:
    fails.clear()
    return WorkerLoop(make_worker(*FUNCTIONS), together=request.param)


def output(end: ev.ExecutionCompleted) -> str | None:
    assert end.failure is None, end.failure
    return to_text(end.result)


@pytest.mark.parametrize(
    ("name", "input", "expected"),
    [
        ("o_leaf", b"4", "8"),
        ("o_chain", b"4", "7"),
        ("o_fan_out", b"20", "210"),
        ("o_times", b"null", "[0.0, 60.0, 14460.0]"),
        ("o_children", b"1", '[4, 8, 4, "i"]'),
        ("o_entities", b"null", "[true, 7, 1]"),
        ("o_locks", b"5", "[0, 5]"),
    ],
)
def test_an_orchestrator_runs_to_its_end(loop: WorkerLoop, name: str, input: bytes, expected: str) -> None:
    loop.start(name, input)
    assert output(loop.run()) == expected


def test_a_retry_uses_the_id_of_its_call_again(loop: WorkerLoop) -> None:
    fails.update(a=2, b=0, child=1)
    instance = loop.start("o_retries", b'["a", "b"]')
    assert output(loop.run()) == '["a is ready", "b is ready", "child is ready"]'
    ids = [record.event.id for record in instance.records if isinstance(record.event, ev.TaskScheduled)]
    assert ids == [1, 1, 1, 4]


def test_a_failure_reaches_the_orchestrator_with_its_type_and_text(loop: WorkerLoop) -> None:
    fails["x"] = 1
    loop.start("o_caught")
    assert output(loop.run()) == '["builtins.ValueError", "x isn\'t ready", 2]'


def test_events_are_read_in_their_order_and_sent_to_others(loop: WorkerLoop) -> None:
    loop.start("o_events")
    loop.start("o_hello", id="i2")
    for n in (b"1", b"2", b"3"):
        loop.raise_event("i", "gO", n)
    assert output(loop.run()) == "[1, false, 3]"
    assert output(loop.run("i2")) == '{"from": "i"}'


def test_locks_are_released_for_the_next_one(loop: WorkerLoop) -> None:
    loop.start("o_locks", b"5")
    loop.start("o_locks", b"7", id="i2")
    assert output(loop.run()) == "[0, 5]"
    assert output(loop.run("i2")) == "[5, 12]"
    assert loop.locks == {}


def test_an_entity_signals_others_and_starts_orchestrations(loop: WorkerLoop) -> None:
    loop.start("o_entities")
    loop.run()
    assert output(loop.run("started-by-entity")) == "14"
    assert to_text(loop.entities["@counter@z"]) == "10"


def test_the_next_execution_has_the_events_that_were_carried_over(loop: WorkerLoop) -> None:
    loop.start("o_eternal", b"1")
    loop.raise_event("i", "Kept", b'"yes"')
    assert output(loop.run()) == '[4, "yes"]'
    assert to_text(loop.instances["i"].state.custom_status) == '{"n": 4}'
    assert len(loop.histories["i"]) == 3


def test_the_current_time_is_that_of_the_turn(loop: WorkerLoop) -> None:
    loop.start("o_times")
    loop.run()
    times: list[datetime] = []
    for request in loop.requests:
        stamps = [
            each.timestamp for each in (*request.pastEvents, *request.newEvents) if each.HasField("orchestratorStarted")
        ]
        assert [stamp.ToDatetime() for stamp in stamps[:-1]] == times
        times.append(stamps[-1].ToDatetime())


@pytest.mark.parametrize("name", ["o_fails", "o_fails_in_child"])
def test_a_rewound_orchestration_continues_from_before_its_failure(loop: WorkerLoop, name: str) -> None:
    fails["x"] = 1
    instance = loop.start(name, b'"x"')
    end = loop.run()
    assert end.failure is not None
    before = len(instance.records)
    loop.rewind("i")
    assert output(loop.run()) == '["x is ready", 3]'
    again = [record.event.name for record in instance.records[before:] if isinstance(record.event, ev.TaskScheduled)]
    assert again == (["plus_one"] if name == "o_fails" else [])
    assert "executionRewound" in loop.history_kinds()


def test_a_failure_without_a_failed_task_is_rewound_to_the_last_turn(loop: WorkerLoop) -> None:
    loop.start("o_raises")
    assert loop.run().failure is not None
    loop.rewind("i")
    end = loop.run()
    assert end.failure is not None
    assert (end.failure.type, end.failure.message) == ("builtins.ValueError", "by itself")


@pytest.mark.parametrize("name", ["o_children", "o_entities", "o_locks", "o_retries", "o_times"])
def test_a_worker_is_told_what_it_was_told_before_and_what_it_decided_then(loop: WorkerLoop, name: str) -> None:
    fails["a"] = 1
    instance = loop.start(name, {"o_retries": b'["a"]', "o_times": b"null"}.get(name, b"1"))
    loop.run()
    requests = [request for request in loop.requests if request.instanceId == "i"]
    told: list[pb.HistoryEvent] = []
    for request in requests:
        past = list(request.pastEvents)
        assert past[: len(told)] == told
        assert all(event.eventId > 0 for event in past[len(told) :])  # its decisions
        told = [*past, *request.newEvents]
    read_by_client = list(make_history(fold_history(instance.records)))
    assert read_by_client[: len(told)] == told
    assert read_by_client[-1].HasField("executionCompleted")
