"""Flows that fail: activities with three different errors, a retried one, a child."""

from __future__ import annotations

import json
import logging
from collections.abc import Generator
from datetime import timedelta
from typing import Any

import durablecli as df

Flow = Generator[Any, Any, Any]


def check(city: str) -> None:
    if not city:
        raise ValueError("empty city\nwith a second line")


@df.activity
def visit(number: int) -> int:
    if number % 3 == 0:
        check("")
    if number % 3 == 1:
        json.loads("x")
    if number % 50 == 2:
        raise LookupError(f"no road to {number}\x1b[31m")
    return number


@df.orchestrator
def tour(context: df.DurableOrchestrationContext) -> Flow:
    count: int = context.get_input()
    return (yield context.task_all([context.call_activity(visit, number) for number in range(count)]))


@df.orchestrator
def grand_tour(context: df.DurableOrchestrationContext) -> Flow:
    return (yield context.call_sub_orchestrator(tour, 1, "child"))


@df.orchestrator
def stubborn(context: df.DurableOrchestrationContext) -> Flow:
    policy = df.RetryPolicy(timedelta(milliseconds=10), 3)
    try:
        yield context.call_activity_with_retry(visit, policy, 0)
    except df.TaskFailedError as error:
        raise RuntimeError("gave up") from error


@df.activity
def log_wrongly() -> None:
    logging.getLogger("failing").warning("bad %d", "x")


@df.orchestrator
def wrong_log(context: df.DurableOrchestrationContext) -> Flow:
    yield context.call_activity(log_wrongly)


@df.orchestrator
def patient(context: df.DurableOrchestrationContext) -> Flow:
    yield context.wait_for_external_event("Go")
    return "gone"


@df.orchestrator
def visits_of_one_kind(context: df.DurableOrchestrationContext) -> Flow:
    count: int = context.get_input()
    return (yield context.task_all([context.call_activity(visit, 0) for _ in range(count)]))
