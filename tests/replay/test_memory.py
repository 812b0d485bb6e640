"""A closed executor, and all that its function made, is freed by reference counting alone: no cycle is left."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

import durablecli as df
from durablecli.errors import Mismatch
from durablecli.model import events as ev
from durablecli.model.retries import RetryPolicy
from durablecli.replay.errors import NonDeterminismError
from tests.support.cyclic_garbage import collect_cyclic_garbage
from tests.support.executor_harness import ExecutorHarness

Context = df.DurableOrchestrationContext
Run = Callable[[], None]
SECOND = timedelta(seconds=1)
POLICY = RetryPolicy(timedelta(seconds=5), 3)


def run(function: Callable[[Any], Any], *steps: Callable[[ExecutorHarness], object], input: Any = None) -> Run:
    """Run a function over these steps, compare each with a replay, and close the executor."""

    def scenario() -> None:
        harness = ExecutorHarness(function, input)
        for step in steps:
            step(harness)
        harness.executor.close()

    return scenario


def complete(task: int, value: Any = None) -> Callable[[ExecutorHarness], object]:
    return lambda harness: harness.complete_task(task, value)


def fail(task: int) -> Callable[[ExecutorHarness], object]:
    return lambda harness: harness.fail_task(task)


def fire(timer: int) -> Callable[[ExecutorHarness], object]:
    return lambda harness: harness.fire_timer(timer)


def send(name: str, value: Any = None) -> Callable[[ExecutorHarness], object]:
    return lambda harness: harness.raise_event(name, value)


def plain(context: Context) -> str:
    context.set_custom_status("busy")
    context.signal_entity("@counter@a", "add", 1)
    context.send_event("other", "hello")
    return f"{context.new_uuid()} {context.new_guid()}"


def chain(context: Context) -> Any:
    first = yield context.call_activity("F1", 1)
    return (yield context.call_activity("F2", first))


async def chain_async(context: Context) -> Any:
    first = await context.call_activity("F1", 1)
    return await context.call_activity("F2", first)


def caught(context: Context) -> Any:
    kept = None
    try:
        yield context.call_activity("F1")
    except df.TaskFailedError as error:
        kept = error
    yield context.call_activity("F2")
    return str(kept)


async def caught_async(context: Context) -> Any:
    kept = None
    try:
        await context.call_activity("F1")
    except df.TaskFailedError as error:
        kept = error
    await context.call_activity("F2")
    if kept is not None:
        raise kept


def raised_from(context: Context) -> Any:
    task = context.call_activity("F1")
    try:
        yield task
    except df.TaskFailedError as error:
        raise RuntimeError("no") from error


def looks_at_failure(context: Context) -> Any:
    task = context.call_activity("F1")
    yield context.task_any([task])
    return f"{task.result} {task.is_faulted}"


def mismatched(context: Context) -> Any:
    task = context.call_activity("F1", expected_type=int)
    with suppress(Mismatch):
        yield task
    yield task


def retried(context: Context) -> Any:
    return (yield context.call_activity_with_retry("F1", POLICY))


def timers(context: Context) -> Any:
    slow = context.create_timer(SECOND * 60)
    yield context.create_timer(SECOND)
    slow.cancel()
    try:
        yield slow
    except RuntimeError:
        return "cancelled"


def waits(context: Context) -> Any:
    first = yield context.wait_for_external_event("a")
    second = yield context.wait_for_external_event("b", int)
    return [first, second]


def all_of(context: Context) -> Any:
    return (yield context.task_all([context.call_activity("F1", n) for n in range(2)]))


def race(context: Context) -> Any:
    losers = [context.call_activity("F1"), context.create_timer(SECOND), context.wait_for_external_event("a")]
    winner = yield context.task_any(losers)
    yield context.task_any([task for task in losers if task is not winner])
    yield context.wait_for_external_event("b")


def nested(context: Context) -> Any:
    event = context.wait_for_external_event("a")
    either = context.task_any([event, context.call_activity("F1")])
    return (yield context.task_any([context.task_all([either, context.create_timer(SECOND)]), event]))


def children(context: Context) -> Any:
    yield context.call_sub_orchestrator("child")
    yield context.call_sub_orchestrator_with_retry("child", POLICY)


def entities(context: Context) -> Any:
    with (yield context.lock_entities(["@counter@a"])):
        yield context.call_entity("@counter@a", "get")
    request = context.lock_entities(["@counter@b"])
    yield context.call_entity("@counter@a", "get")
    request.cancel()
    yield context.lock_entities(["@counter@c"])


def logs(context: Context) -> Any:
    try:
        raise ValueError("no")
    except ValueError:
        context.logger.exception("failed")
    yield context.call_activity("F1")


def again(context: Context) -> Any:
    event = yield context.wait_for_external_event("a")
    context.continue_as_new(event)


def delegates(context: Context) -> Any:
    return (yield from chain(context))


async def cleans_up(context: Context) -> Any:
    try:
        await context.call_activity("F1")
    finally:
        await context.call_activity("F2")


def yields_nonsense(context: Context) -> Any:
    try:
        yield 1
    except TypeError:
        yield context.call_activity("F1")


ENDED = {
    "plain": run(plain),
    "chain": run(chain, complete(2), complete(3)),
    "chain_async": run(chain_async, complete(2), complete(3)),
    "failed": run(chain, fail(2)),
    "caught": run(caught, fail(2), complete(3)),
    "caught_async": run(caught_async, fail(2), complete(3)),
    "raised_from": run(raised_from, fail(2)),
    "looks_at_failure": run(looks_at_failure, fail(2)),
    "mismatched": run(mismatched, complete(2, "no number")),
    "retried": run(retried, fail(2), fire(4), fail(6), fire(8), fail(10)),
    "timers": run(timers, fire(3)),
    "waits": run(waits, send("a"), send("b", "no number")),
    "all_of": run(all_of, complete(2), complete(3)),
    "all_of_failed": run(all_of, fail(3), complete(2)),
    "race": run(race, send("a"), complete(2), send("b")),
    "nested": run(nested, complete(3), fire(4)),
    "children": run(
        children,
        lambda harness: harness.complete_child(2),
        lambda harness: harness.fail_child(4),
        lambda harness: harness.fire_timer(6),
        lambda harness: harness.complete_child(8),
    ),
    "again": run(again, send("b"), send("a")),
    "delegates": run(delegates, complete(2), fail(3)),
}

OPEN = {
    "chain": run(chain, complete(2)),
    "chain_async": run(chain_async),
    "caught": run(caught, fail(2)),
    "caught_async": run(caught_async, fail(2)),
    "retry_waits": run(retried, fail(2)),
    "retried": run(retried, fail(2), fire(4)),
    "timers": run(timers),
    "waits": run(waits, send("c"), send("a")),
    "all_of": run(all_of, fail(2)),
    "race": run(race),
    "race_lost": run(race, send("a")),
    "nested": run(nested),
    "children": run(children),
    "lock_requested": run(entities),
    "lock_held": run(entities, lambda harness: harness.grant_lock(2)),
    "lock_requested_again": run(
        entities,
        lambda harness: harness.grant_lock(2),
        lambda harness: harness.complete_operation(4),
        lambda harness: harness.complete_operation(8),
    ),
    "logs": run(logs),
    "delegates": run(delegates, complete(2)),
    "cleans_up": run(cleans_up),
    "yields_nonsense": run(yields_nonsense),
}


@pytest.mark.parametrize("name", ENDED)
def test_an_ended_executor_leaves_no_cycle(name: str) -> None:
    ENDED[name]()  # what is made once is made
    with collect_cyclic_garbage() as garbage:
        ENDED[name]()
    assert garbage == {}


@pytest.mark.parametrize("name", OPEN)
def test_an_evicted_executor_leaves_no_cycle(name: str) -> None:
    OPEN[name]()
    with collect_cyclic_garbage() as garbage:
        OPEN[name]()
    assert garbage == {}


@pytest.mark.parametrize("function", [plain, race, all_of, chain_async])
def test_a_replay_that_differs_from_its_history_leaves_no_cycle(function: Callable[[Any], Any]) -> None:
    def scenario() -> None:
        harness = ExecutorHarness(caught)
        harness.fail_task(2)
        with pytest.raises(NonDeterminismError):
            harness.replay(function)
        harness.executor.close()

    scenario()
    with collect_cyclic_garbage() as garbage:
        scenario()
    assert garbage == {}


def test_a_live_turn_that_is_stopped_leaves_no_cycle() -> None:
    def scenario() -> None:
        harness = ExecutorHarness(chain, check=False)
        harness.executor.expect([ev.Record(9, harness.now, ev.TaskScheduled("Other"))])
        with pytest.raises(NonDeterminismError):
            harness.complete_task(2)
        harness.executor.close()

    scenario()
    with collect_cyclic_garbage() as garbage:
        scenario()
    assert garbage == {}
