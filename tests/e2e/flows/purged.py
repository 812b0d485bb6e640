"""Instances to be purged: some that end at once, with and without children, and one that waits."""

from __future__ import annotations

from typing import Any

import durablecli as df


@df.activity
def hello(name: str) -> str:
    print(f"hello {name}\n", end="")
    return f"Hello {name}"


@df.orchestrator
def greet(context: df.DurableOrchestrationContext) -> Any:
    return (yield context.call_activity(hello, context.get_input()))


@df.orchestrator
def parent(context: df.DurableOrchestrationContext) -> Any:
    return (yield context.call_sub_orchestrator(greet, context.get_input()))


@df.orchestrator
def waits(context: df.DurableOrchestrationContext) -> Any:
    yield context.wait_for_external_event("Go")
