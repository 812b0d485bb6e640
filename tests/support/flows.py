"""Functions that several tests run: the simplest of each kind."""

from __future__ import annotations

from typing import Any

import durablecli as df


@df.activity
def echo(value: Any) -> Any:
    return value


@df.orchestrator
def calls(context: df.DurableOrchestrationContext) -> Any:
    return (yield context.call_activity(echo, context.get_input()))


@df.orchestrator
def waits(context: df.DurableOrchestrationContext) -> Any:
    return (yield context.wait_for_external_event("Go"))


@df.entity
def counter(context: df.DurableEntityContext) -> None:
    context.set_state(context.get_state(lambda: 0) + context.get_input())
    context.set_result(context.get_state())
