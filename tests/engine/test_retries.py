"""Retry policies: which failures are retried, and which are not because only side effects would be repeated."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import msgspec
import pytest

import durablecli as df
from durablecli import testing
from durablecli.errors import Unserializable
from durablecli.model.failures import Failure

Steps = Generator[Any, Any, Any]
runs: list[object] = []


@df.activity
def gives(kind: str) -> Any:
    runs.append(kind)
    match kind:
        case "object":
            return object()
        case "large":
            return "x" * (17 * 1024 * 1024)
        case "raised":
            raise Unserializable("$", "raised by a call inside the activity")
    return kind


@df.activity
async def gives_later(kind: str) -> Any:
    return gives(kind)


@df.activity
def wants_number(value: int) -> int:
    runs.append(value)
    return value


@df.orchestrator
def tries(context: df.DurableOrchestrationContext) -> Steps:
    name, value = context.get_input()
    try:
        return (yield context.call_activity_with_retry(name, df.RetryOptions(10, 3), value))
    except df.TaskFailedError as error:
        return str(error)


@df.orchestrator
def child(context: df.DurableOrchestrationContext) -> Steps:
    yield context.call_activity(gives, "fine")
    return object()


@df.orchestrator
def parent(context: df.DurableOrchestrationContext) -> Steps:
    try:
        yield context.call_sub_orchestrator_with_retry(child, df.RetryOptions(10, 3))
    except df.TaskFailedError as error:
        return str(error)


FLOWS = (gives, gives_later, wants_number, tries, child, parent)


def run_to_output(flow: Any, given: object = None, *, replay_always: bool = False) -> Any:
    runs.clear()
    with testing.hub(*FLOWS, replay_always=replay_always) as hub:
        status = hub.finish(hub.client.start_new(flow, client_input=given))
        return status.output


@pytest.mark.parametrize("replay_always", [False, True])
@pytest.mark.parametrize(
    ("name", "value", "times"),
    [
        ("gives", "object", 1),
        ("gives", "large", 1),
        ("gives", "raised", 3),
        ("gives_later", "object", 1),
        ("wants_number", "seven", 0),
    ],
)
def test_what_cannot_be_written_or_does_not_fit_is_not_tried_again(
    name: str, value: str, times: int, replay_always: bool
) -> None:
    assert "failed" in run_to_output(tries, [name, value], replay_always=replay_always)
    assert len(runs) == times


def test_a_sub_orchestration_whose_output_cannot_be_written_is_not_tried_again() -> None:
    assert "failed" in run_to_output(parent)
    assert runs == ["fine"]


def test_a_failure_of_an_earlier_release_is_tried_again_as_it_was() -> None:
    assert msgspec.json.decode(b'{"type":"a.B","message":"c"}', type=Failure).retryable
