"""Activities that say when their next attempt is to begin, in all three executors."""

from collections.abc import Generator
from typing import Any

import durablecli as df

DELAY = 0.25
POLICY = df.RetryPolicy(first="1h", max_attempts=3)


def _ask_for_time(context: df.ActivityContext) -> int:
    if context.attempt < 3:
        raise df.RetryAfter(DELAY)
    return context.attempt


@df.activity(retry=POLICY)
def in_a_thread(_: None, context: df.ActivityContext) -> int:
    return _ask_for_time(context)


@df.activity(retry=POLICY)
async def on_the_loop(_: None, context: df.ActivityContext) -> int:
    return _ask_for_time(context)


@df.activity(retry=POLICY, executor="process")
def in_a_process(_: None, context: df.ActivityContext) -> int:
    return _ask_for_time(context)


@df.activity
def without_policy(_: None, context: df.ActivityContext) -> int:
    return _ask_for_time(context)


@df.orchestrator
def asks_for_time(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
    calls: list[Any] = [in_a_thread, on_the_loop, "in_a_process", "IN_A_THREAD"]
    return (yield context.task_all([context.call_activity(each) for each in calls]))


@df.orchestrator
def asks_in_vain(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
    if context.get_input() == "off":
        return (yield context.call_activity(in_a_thread, retry=False))
    return (yield context.call_activity(without_policy))
