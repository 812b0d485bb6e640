"""Activities that use up the process's file handles and threads."""

import os
import time
from collections.abc import Generator
from typing import Any

import durablecli as df

Steps = Generator[Any, Any, Any]


@df.activity
def hogs(seconds: float) -> int:
    """Occupy all file handles for a while."""
    held: list[int] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            held.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            time.sleep(0.01)
    for handle in held:
        os.close(handle)
    return len(held)


@df.activity
async def adds_one(value: int) -> int:
    return value + 1


@df.activity
def doubles(value: int) -> int:
    time.sleep(0.05)
    return 2 * value


@df.activity(executor="process")
def squares(value: int) -> int:
    return value * value


@df.entity
async def tally(context: df.DurableEntityContext) -> None:
    context.set_state(context.get_state(lambda: 0) + 1)


@df.orchestrator
def hungry(context: df.DurableOrchestrationContext) -> Steps:
    held = context.call_activity(hogs, context.get_input())
    value = 0
    while not held.is_completed:
        value = yield context.call_activity(doubles, value + 1)
        context.set_custom_status(value)
        value = yield context.call_activity(adds_one, 1)
        yield context.call_entity(df.EntityId("tally", "t"), "add")
    yield held
    return (yield context.call_activity(squares, 7))


@df.orchestrator
def crowd(context: df.DurableOrchestrationContext) -> Steps:
    values = yield context.task_all([context.call_activity(doubles, i) for i in range(context.get_input())])
    return sum(values)
