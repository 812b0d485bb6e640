"""Local functions that clients of gRPC use."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import durablecli as df


@df.activity
def shout(text: str) -> str:
    return text.upper()


@df.orchestrator
def greeting(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
    return (yield context.call_activity(shout, context.get_input()))


@df.orchestrator
def waiter(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
    context.set_custom_status("waiting")
    return (yield context.wait_for_external_event("Go"))


@df.orchestrator
def failing(context: df.DurableOrchestrationContext) -> None:
    raise ValueError("nothing works")


@df.orchestrator
def parent(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
    return (yield context.call_sub_orchestrator(waiter, "in", instance_id=f"{context.instance_id}-child"))


@df.entity
def counter(context: df.DurableEntityContext) -> None:
    if context.operation_name == "delete":
        context.destruct_on_exit()
    else:
        context.set_state(context.get_state(lambda: 0) + (context.get_input() or 1))
