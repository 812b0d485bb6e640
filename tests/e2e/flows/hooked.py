"""Functions for the tests of hooks."""

from __future__ import annotations

from typing import Any

import durablecli as df

Context = df.DurableOrchestrationContext


@df.activity
def charge(order: dict[str, Any]) -> None:
    raise ValueError(f"card of {order['id']} refused")


@df.orchestrator
def order(context: Context) -> Any:
    yield context.call_activity(charge, context.get_input(), name="the card")


@df.orchestrator
def order_batch(context: Context) -> Any:
    yield context.call_sub_orchestrator(order, context.get_input(), "part")


@df.orchestrator
def greet(context: Context) -> Any:
    yield context.wait_for_external_event("go")
    return {"greeting": "hello"}


@df.orchestrator
def needy(context: Context) -> Any:
    yield context.call_activity("missing")
