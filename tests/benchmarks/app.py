"""The functions that are measured. Daemons load this file, so it is small."""

from __future__ import annotations

from collections.abc import Generator
from datetime import datetime, timedelta
from typing import Any

import durablecli as df


@df.activity
def hello(city: str) -> str:
    return f"Hello {city}!"


@df.activity
async def hello_async(city: str) -> str:
    return f"Hello {city}!"


@df.activity(executor="process")
def hello_process(city: str) -> str:
    return f"Hello {city}!"


@df.orchestrator
def hello5(context: df.DurableOrchestrationContext) -> Generator[Any, Any, list[str]]:
    said = []
    for city in ("Tokyo", "Seattle", "London", "Paris", "Lima"):
        said.append((yield context.call_activity(hello, city)))
    return said


@df.orchestrator
def sleeper(context: df.DurableOrchestrationContext) -> Generator[Any, Any, None]:
    yield context.create_timer(context.current_utc_datetime + timedelta(hours=72))


@df.orchestrator
def wake_at(context: df.DurableOrchestrationContext) -> Generator[Any, Any, None]:
    yield context.create_timer(datetime.fromisoformat(context.get_input()))


@df.orchestrator
def return_at_once(context: df.DurableOrchestrationContext) -> str:
    return "done"


@df.orchestrator
def chain(context: df.DurableOrchestrationContext) -> Generator[Any, Any, str]:
    for step in range(context.get_input()):
        yield context.call_activity(hello, str(step))
    return "done"


@df.orchestrator
def chain_then_wait(context: df.DurableOrchestrationContext) -> Generator[Any, Any, str]:
    for step in range(context.get_input()):
        yield context.call_activity(hello, str(step))
    yield context.wait_for_external_event("go")
    return "done"


@df.orchestrator
def fan_out(context: df.DurableOrchestrationContext) -> Generator[Any, Any, int]:
    given = context.get_input()
    calls = [context.call_activity(given["activity"], str(number)) for number in range(given["count"])]
    results: list[str] = yield context.task_all(calls)
    return len(results)


@df.orchestrator
def count_events(context: df.DurableOrchestrationContext) -> Generator[Any, Any, str]:
    for _ in range(context.get_input()):
        yield context.wait_for_external_event("go")
    return "done"


@df.entity
def tally(context: df.DurableEntityContext) -> None:
    context.set_state(context.get_state(lambda: 0) + context.get_input())
    context.set_result(context.get_state())


@df.orchestrator
def fan_out_signals(context: df.DurableOrchestrationContext) -> str:
    given = context.get_input()
    keys = [f"{given['round']}-{key}" for key in range(given["entities"])]
    for number in range(given["signals"]):
        context.signal_entity(df.EntityId("tally", keys[number % len(keys)]), "add", 1)
    return "sent"


@df.orchestrator
def call_entity(context: df.DurableOrchestrationContext) -> Generator[Any, Any, int]:
    """Call an entity `input` times, each time after the result of the call before."""
    total = 0
    for _ in range(context.get_input()):
        total = yield context.call_entity(df.EntityId("tally", context.instance_id), "add", 1)
    return total


@df.orchestrator
def fan_out_calls(context: df.DurableOrchestrationContext) -> Generator[Any, Any, int]:
    """Make `input` calls at once, spread over a thousand entities."""
    ids = [df.EntityId("tally", f"{context.instance_id}-{key}") for key in range(1_000)]
    calls = [context.call_entity(ids[number % 1_000], "add", 1) for number in range(context.get_input())]
    results: list[int] = yield context.task_all(calls)
    return sum(results)
