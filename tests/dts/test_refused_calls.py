"""What an orchestrator can not ask another engine for, as the protocol has no words for it: a clear failure."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

import durablecli as df
from tests.dts.test_turn_requests import make_requests, run, start

Flow = Generator[Any, Any, Any]


@df.orchestrator
def refused(context: df.DurableOrchestrationContext) -> Flow:
    match context.get_input():
        case "cancel":
            context.call_activity("step").cancel()
        case "fail fast":
            yield context.task_all([context.call_activity("step")], fail_fast=True)
        case "timeout":
            yield context.call_activity("step", timeout=5)
        case _:
            yield context.call_activity("step", priority=1)


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("cancel", "calls can't be cancelled on another engine"),
        ("fail fast", "calls can't be cancelled on another engine"),
        ("timeout", "Declare time-outs at the activity"),
        ("priority", "the Durable Task protocol can't carry them"),
    ],
)
def test_what_the_protocol_cannot_carry_fails_the_orchestration(what: str, text: str) -> None:
    events = start("refused")
    events[1].executionStarted.input.value = f'"{what}"'
    response = run(make_requests(refused), [], events).response
    assert response is not None
    details = response.actions[-1].completeOrchestration.failureDetails
    assert text in details.errorMessage
