"""Split turns: a turn too big for one commit, and the arrivals during it, survive the end of the engine."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

import durablecli as df
from durablecli import testing
from tests.support.engine_harness import limit_commit_records

A, B = (df.EntityId("counter", key) for key in "ab")
Steps = Generator[Any, Any, Any]


@df.entity
def counter(context: df.DurableEntityContext) -> Any:
    value = context.get_state(lambda: 0)
    if context.operation_name == "add":
        context.set_state(value + context.get_input())
    return value


@df.orchestrator
def call_and_signal(context: df.DurableOrchestrationContext) -> Steps:
    """Call, and say much in the same turn."""
    task = context.call_entity(A, "get")
    for _ in range(40):
        context.signal_entity(B, "add", 1)
    return (yield task)


@df.orchestrator
def lock_and_signal(context: df.DurableOrchestrationContext) -> Steps:
    """Ask for a lock, and say much in the same turn."""
    task = context.lock_entities([A])
    for _ in range(40):
        context.signal_entity(B, "add", 1)
    with (yield task):
        return (yield context.call_entity(A, "get"))


@df.orchestrator
def call_twice(context: df.DurableOrchestrationContext) -> Steps:
    """Two calls whose answers come together; the first of them causes a turn that is split."""
    first, second = context.call_entity(A, "add", 1), context.call_entity(A, "add", 1)
    yield first
    for _ in range(40):
        context.signal_entity(B, "add", 1)
    return (yield second)


@df.orchestrator
def listen_twice(context: df.DurableOrchestrationContext) -> Steps:
    """Two events that come together; the first of them causes a turn that is split."""
    context.call_sub_orchestrator("talk_twice", context.instance_id)
    yield context.wait_for_external_event("Go")
    for _ in range(40):
        context.signal_entity(B, "add", 1)
    return (yield context.wait_for_external_event("Go"))


@df.orchestrator
def talk_twice(context: df.DurableOrchestrationContext) -> None:
    for n in (1, 2):
        context.send_event(context.get_input(), "Go", n)


FUNCTIONS = (counter, call_and_signal, lock_and_signal, call_twice, listen_twice, talk_twice)


@pytest.fixture(autouse=True, params=[3, 8])
def small_commits(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commits hold a handful of records."""
    limit_commit_records(monkeypatch, request.param, measure_all=True)


@pytest.mark.parametrize(
    ("function", "result"), [(call_and_signal, 0), (lock_and_signal, 0), (call_twice, 1), (listen_twice, 2)]
)
@pytest.mark.parametrize("cycles", [0, 1, 2, 3, 4, 6, 8, 10])
def test_messages_for_a_split_turn_survive_a_restart(function: Any, result: int, cycles: int) -> None:
    """The engine is killed after each of the first cycles; the batches run as early as they can."""
    with testing.hub(*FUNCTIONS) as hub:
        instance = hub.client.start_new(function)
        for _ in range(cycles):
            hub.pool.run_next()
            hub.engine.step()
        hub.restart()
        assert hub.finish(instance).output == result


@df.orchestrator
def call_a_stranger(context: df.DurableOrchestrationContext) -> Steps:
    """Call an entity whose code is missing, and say much in the same turn."""
    task = context.call_entity("@stranger@a", "get")
    for _ in range(40):
        context.signal_entity(B, "add", 1)
    try:
        yield task
    except df.TaskFailedError:
        return "deleted"


@pytest.mark.parametrize("before", [1, 2, 3, 5])
@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_a_caller_with_a_split_turn_receives_a_deletion(before: int, after: int) -> None:
    with testing.hub(counter, call_a_stranger) as hub:
        instance = hub.client.start_new(call_a_stranger)
        for _ in range(before):
            hub.engine.step()
        hub.client.delete_entity("@stranger@a")
        for _ in range(after):
            hub.engine.step()
        hub.restart()
        assert hub.finish(instance).output == "deleted"
