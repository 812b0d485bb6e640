"""The cost of a call of an activity: few function calls, the same for many, and nothing left for the collector."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from queue import SimpleQueue
from typing import Any

import pytest
from msgspec import Raw

import durablecli as df
from durablecli import testing
from durablecli.config import ConcurrencyConfig
from durablecli.engine.workers.activity import ActivityResult
from durablecli.engine.workers.decided_tasks import ActivityTask, EntityBatchTask, EntityOperation
from durablecli.engine.workers.dispatcher import Dispatcher
from durablecli.engine.workers.entity_batch import EntityBatchResult
from durablecli.engine.workers.pool import WorkItem
from durablecli.model import events as ev
from tests.support.call_counter import count_calls
from tests.support.cyclic_garbage import collect_cyclic_garbage

Results = SimpleQueue[ActivityResult | EntityBatchResult]
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@df.activity
def hello(name: str) -> str:
    return name


@df.activity
def failing(name: str, context: df.ActivityContext) -> str:
    raise ValueError(f"{name} {context.cancelled}")


@df.activity
async def failing_async(name: str) -> str:
    raise ValueError(name)


@df.activity
def failing_awaitable(name: str) -> Any:
    async def fail() -> None:
        raise ValueError(name)

    return fail()


@df.entity
class Account(df.DurableEntity):
    value: int = 0

    def add(self, amount: int) -> int:
        self.value += amount
        return self.value

    async def fail(self) -> None:
        raise ValueError(self.entity_context.entity_key)


REGISTRY = testing.build_registry(hello, failing, failing_async, failing_awaitable, Account)


class ListPool(testing.InlinePool):
    """A pool that only keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[WorkItem] = []

    def start(self, calls: Iterable[WorkItem]) -> None:
        self.calls += calls


def make_tasks(name: str, count: int) -> list[ActivityTask]:
    return [ActivityTask(f"x{i}", "1", 2, ev.TaskScheduled(name, Raw(b'"a"'))) for i in range(count)]


def dispatch(tasks: list[ActivityTask]) -> None:
    """Dispatch tasks, and complete them all."""
    pool = ListPool()
    dispatcher = Dispatcher(REGISTRY, lambda result: None, ConcurrencyConfig(), make_pool=lambda kind: pool)
    dispatcher.dispatch_activities(tasks)
    for call in pool.calls:
        assert dispatcher.complete(call.make_cancelled_result()) is call
    assert dispatcher.in_flight_count == 0


def run_activities(dispatcher: Dispatcher, results: Results, name: str, count: int = 20) -> None:
    dispatcher.dispatch_activities(make_tasks(name, count))
    for _ in range(count):
        assert dispatcher.complete(results.get(timeout=20)) is not None


def run_entity(dispatcher: Dispatcher, results: Results, name: str, count: int = 20) -> None:
    operations = [EntityOperation(n, name, Raw(b"1"), True) for n in range(2, 4)]
    dispatcher.dispatch_entity_batches(
        [EntityBatchTask(f"@Account@{n}", "1", Raw(b'{"value":1}'), operations, NOW) for n in range(count)]
    )
    for _ in range(count):
        assert dispatcher.complete(results.get(timeout=20)) is not None


def test_each_of_five_thousand_tasks_costs_as_little_as_each_of_a_hundred() -> None:
    dispatch(make_tasks("hello", 1))
    few, many = (count_calls(partial(dispatch, make_tasks("hello", size))) / size for size in (100, 5_000))
    assert many < few * 1.05
    assert many < 17


def test_a_call_takes_few_function_calls() -> None:
    pool = ListPool()
    dispatcher = Dispatcher(REGISTRY, lambda result: None, ConcurrencyConfig(), make_pool=lambda kind: pool)
    dispatcher.dispatch_activities(make_tasks("hello", 100))
    pool.calls[0].run()
    assert count_calls(lambda: [call.run() for call in pool.calls]) < 1_450


@pytest.mark.parametrize(
    "run",
    [
        partial(run_activities, name="hello"),
        partial(run_activities, name="failing"),
        partial(run_activities, name="failing_async"),
        partial(run_activities, name="failing_awaitable"),
        partial(run_entity, name="add"),
        partial(run_entity, name="fail"),
        partial(run_entity, name="no such operation"),
    ],
)
def test_calls_leave_nothing_to_the_garbage_collector(run: Callable[[Dispatcher, Results], None]) -> None:
    results: Results = SimpleQueue()
    dispatcher = Dispatcher(REGISTRY, results.put, ConcurrencyConfig(activities=2, entities=2))
    run(dispatcher, results)
    with collect_cyclic_garbage() as garbage:
        run(dispatcher, results)
    dispatcher.stop()
    assert garbage == {}
