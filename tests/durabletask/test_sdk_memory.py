"""An orchestrator of the SDK that has ended leaves nothing that only the garbage collector can free."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from durabletask import task
from durabletask.entities import EntityInstanceId

from durablecli.durabletask.sdk_orchestrators import wrap_orchestrator
from tests.support.cyclic_garbage import collect_cyclic_garbage
from tests.support.executor_harness import ExecutorHarness

SECOND = timedelta(seconds=1)
Step = Callable[[ExecutorHarness], object]


def plain(ctx: task.OrchestrationContext, _: Any) -> Any:
    return ctx.new_uuid()


def joined(ctx: task.OrchestrationContext, _: Any) -> Any:
    tasks: list[task.Task[Any]] = [ctx.call_activity("work", input=1), ctx.create_timer(SECOND)]
    return (yield task.when_all(tasks))


def racing(ctx: task.OrchestrationContext, _: Any) -> Any:
    event = ctx.wait_for_external_event("go")
    timer = ctx.create_timer(SECOND)
    winner = yield task.when_any([event, timer])
    timer.cancel()
    return winner.get_result()


def caught(ctx: task.OrchestrationContext, _: Any) -> Any:
    try:
        yield ctx.call_activity("work")
    except task.TaskFailedError as error:
        return error.details.message


def uncaught(ctx: task.OrchestrationContext, _: Any) -> Any:
    tasks: list[task.Task[Any]] = [ctx.call_activity("work")]
    yield task.when_all(tasks)


def calling(ctx: task.OrchestrationContext, _: Any) -> Any:
    return (yield ctx.call_entity(EntityInstanceId("counter", "a"), "add", 1))


def complete(n: int) -> Step:
    return lambda harness: harness.complete_task(n, "done")


def fail(n: int) -> Step:
    return lambda harness: harness.fail_task(n)


def fire(n: int) -> Step:
    return lambda harness: harness.fire_timer(n)


def send(name: str) -> Step:
    return lambda harness: harness.raise_event(name, 1)


@pytest.mark.parametrize(
    ("function", "steps"),
    [
        (plain, ()),
        (joined, (complete(2), fire(3))),
        (racing, (send("go"),)),
        (caught, (fail(2),)),
        (uncaught, (fail(2),)),
        (calling, ()),
    ],
)
def test_nothing_is_left(function: Callable[..., Any], steps: tuple[Step, ...]) -> None:
    def scenario() -> None:
        harness = ExecutorHarness(wrap_orchestrator(function), None)
        for step in steps:
            step(harness)
        assert harness.executor.ended or function is calling
        harness.executor.close()

    scenario()  # what is imported and cached at the first run
    with collect_cyclic_garbage() as garbage:
        scenario()
    assert not garbage
