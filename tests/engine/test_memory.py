"""What instances leave in memory, ended or evicted, in any kind of work: nothing that only the collector frees."""

from __future__ import annotations

import gc
from collections import Counter
from datetime import timedelta
from types import CoroutineType, GeneratorType
from typing import Any

import durablecli as df
from durablecli import testing
from durablecli.engine.engine_options import EngineOptions
from durablecli.model.retries import RetryPolicy
from durablecli.replay.context import DurableOrchestrationContext
from durablecli.replay.executor import OrchestrationExecutor
from durablecli.replay.runtime_state import RuntimeState
from durablecli.replay.tasks import Task
from tests.support.cyclic_garbage import collect_cyclic_garbage, without_collector

Context = df.DurableOrchestrationContext
HOUR = timedelta(hours=1)
POLICY = RetryPolicy(timedelta(seconds=5), 2)


@df.activity
def hello(name: str) -> str:
    return f"Hello {name}!"


@df.activity
async def hello_async(name: str) -> str:
    return f"Hello {name}!"


@df.activity
def failing(name: str) -> str:
    raise ValueError(name)


@df.entity
class Account(df.DurableEntity):
    value: int = 0

    def add(self, amount: int) -> int:
        self.value += amount
        return self.value

    def fail(self) -> None:
        raise ValueError(self.entity_context.entity_key)


@df.entity
def tally(context: df.DurableEntityContext) -> None:
    context.set_state(context.get_state(lambda: 0) + 1)
    context.signal_entity("@Account@sum", "add", 1)


@df.orchestrator
def chain(context: Context) -> Any:
    first = yield context.call_activity(hello, "a")
    return (yield context.call_activity(hello_async, first))


@df.orchestrator
async def fails(context: Context) -> Any:
    try:
        await context.call_activity_with_retry(failing, POLICY, "a")
    except ValueError as error:
        raise RuntimeError("no") from error


@df.orchestrator
def family(context: Context) -> Any:
    results = yield context.task_all([context.call_sub_orchestrator(chain) for _ in range(2)])
    try:
        yield context.call_sub_orchestrator(fails)
    except RuntimeError:
        return results


@df.orchestrator
def race(context: Context) -> Any:
    late = context.create_timer(HOUR)
    yield context.task_any([context.wait_for_external_event("never"), late, context.call_activity(hello, "a")])
    late.cancel()


@df.orchestrator
def entities(context: Context) -> Any:
    key = context.instance_id
    with (yield context.lock_entities([f"@Account@{key}"])):
        yield context.call_entity(f"@Account@{key}", "add", 1)
        try:
            yield context.call_entity(f"@Account@{key}", "fail")
        except ValueError:
            context.signal_entity(f"@tally@{key}", "note")
    yield context.call_entity(f"@tally@{key}", "note")


@df.orchestrator
def again(context: Context) -> Any:
    count = context.get_input()
    yield context.create_timer(timedelta(seconds=1))
    if count:
        context.continue_as_new(count - 1)


@df.orchestrator
def sleeper(context: Context) -> Any:
    waits = [context.create_timer(HOUR * 72), context.wait_for_external_event("wake")]
    yield context.task_any([context.task_all(waits), context.call_sub_orchestrator(sleeping_child)])


@df.orchestrator
async def sleeping_child(context: Context) -> Any:
    await context.wait_for_external_event("wake")


FUNCTIONS = testing.build_registry(
    *(hello, hello_async, failing, Account, tally, chain, fails, family, race, entities, again, sleeper, sleeping_child)
)

ENDING = (chain, fails, family, race, entities, again)
COUNTED = (OrchestrationExecutor, DurableOrchestrationContext, Task, RuntimeState, GeneratorType, CoroutineType)


def run_instances(hub: testing.TestEnvironment, name: str) -> None:
    """Run one instance of each kind: most to their ends, and two sleep."""
    for function in ENDING:
        hub.client.start_new(function, f"{name}-{function.__name__}", client_input=2)
        hub.finish(f"{name}-{function.__name__}")
    hub.client.start_new(sleeper, f"{name}-sleeper")
    hub.run()


def count_live_objects() -> Counter[str]:
    """Count the objects of executors that this test has made and that aren't freed."""
    return Counter(type(each).__name__ for each in gc.get_objects() if isinstance(each, COUNTED))


def open_hub(live_instances: int) -> testing.TestEnvironment:
    options = EngineOptions(use_threads=False, turn_budget=timedelta.max, live_instances=live_instances)
    return testing.TestEnvironment(FUNCTIONS, testing.START, options)


def test_instances_leave_no_garbage_for_the_collector() -> None:
    with open_hub(1) as hub:
        run_instances(hub, "first")
        with collect_cyclic_garbage() as garbage:
            run_instances(hub, "second")
    assert garbage == {}


def test_the_live_objects_do_not_grow_with_the_instances() -> None:
    with without_collector(), open_hub(3) as hub:
        run_instances(hub, "a")
        first = count_live_objects()
        for name in ("b", "c", "d"):
            run_instances(hub, name)
        assert count_live_objects() == first


def test_a_closed_engine_leaves_no_executor() -> None:
    with without_collector():
        with open_hub(1000) as hub:
            run_instances(hub, "a")
            assert count_live_objects()["OrchestrationExecutor"] == 2
        assert count_live_objects()["OrchestrationExecutor"] == 0
