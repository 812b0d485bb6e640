"""Orchestrations that call HTTP: any address, and the daemon's own API."""

from collections.abc import Generator
from datetime import timedelta
from typing import Any

import durablecli as df

Flow = Generator[Any, Any, Any]


@df.orchestrator
def call(context: df.DurableOrchestrationContext) -> Flow:
    """Send the request in the input."""
    return (yield context.call_http(**context.get_input()))


@df.activity
def double(number: int) -> int:
    return 2 * number


@df.orchestrator
def doubled(context: df.DurableOrchestrationContext) -> Flow:
    yield context.wait_for_external_event("Go")
    return (yield context.call_activity(double, context.get_input()))


@df.orchestrator
def through_the_door(context: df.DurableOrchestrationContext) -> Flow:
    """Start an orchestration, raise its event and wait for its end, all with the daemon's HTTP API."""
    origin = context.get_input()
    started = yield context.call_http("PUT", f"{origin}/nowhere", {})
    assert started.status_code == 404
    work = context.call_http("POST", f"{origin}/runtime/webhooks/durabletask/orchestrators/doubled/the-work", 21)
    go = f"{origin}/runtime/webhooks/durabletask/instances/the-work/raiseEvent/Go"
    while (raised := (yield context.call_http("POST", go, True))).status_code != 202:
        assert raised.status_code == 404, raised  # the start is still on its way
        yield context.create_timer(timedelta(seconds=0.1))
    ended = yield work
    return [ended.status_code, ended["content"]]
