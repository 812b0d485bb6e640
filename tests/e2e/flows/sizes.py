"""Turns and batches of any size, and a clock that shows how late timers get meanwhile."""

from collections.abc import Generator
from datetime import timedelta
from typing import Any

import durablecli as df

Steps = Generator[Any, Any, Any]
LARGE = 16 * 1024 * 1024 - 1024


@df.activity
def length(text: str) -> int:
    return len(text)


@df.orchestrator
def large(context: df.DurableOrchestrationContext) -> Steps:
    """So many inputs of 16 MiB in one turn."""
    text = "x" * LARGE
    lengths = yield context.task_all([context.call_activity(length, text) for _ in range(context.get_input())])
    return sum(lengths)


@df.orchestrator
def leaf(context: df.DurableOrchestrationContext) -> Any:
    return context.get_input()


@df.orchestrator
def brood(context: df.DurableOrchestrationContext) -> Steps:
    """So many children in one turn."""
    values = yield context.task_all([context.call_sub_orchestrator(leaf, i) for i in range(context.get_input())])
    return sum(values)


@df.orchestrator
def clock(context: df.DurableOrchestrationContext) -> Steps:
    stop = context.wait_for_external_event("stop")
    while not stop.is_completed:
        yield context.task_any([stop, context.create_timer(timedelta(milliseconds=50))])
    return None
