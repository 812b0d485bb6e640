"""The hub in memory that authors test with: what it says when an instance doesn't end."""

from __future__ import annotations

from typing import Any

import pytest

import durablecli as df
from durablecli import testing
from durablecli.errors import TimedOut

Context = df.DurableOrchestrationContext


@df.orchestrator
def waits(context: Context) -> Any:
    return (yield context.wait_for_external_event("Go"))


@df.orchestrator
def lacks(context: Context) -> Any:
    return (yield context.call_activity("missing"))


@df.orchestrator
def parent(context: Context) -> Any:
    return (yield context.call_sub_orchestrator(context.get_input(), None, "c"))


@pytest.fixture
def hub() -> testing.TestEnvironment:
    return testing.hub(waits, lacks, parent)


def refusal(hub: testing.TestEnvironment, instance: str) -> str:
    with pytest.raises(TimedOut) as caught:
        hub.finish(instance)
    return str(caught.value)


def test_an_instance_that_waits_says_for_what(hub: testing.TestEnvironment) -> None:
    hub.client.start_new(waits, "w")
    assert refusal(hub, "w") == "w hasn't ended: it waits for event Go"


def test_a_blocked_instance_says_so_and_why(hub: testing.TestEnvironment) -> None:
    hub.client.start_new(lacks, "b")
    text = refusal(hub, "b")
    assert text.startswith("b hasn't ended: it is blocked: ")
    assert "'missing'" in text


def test_a_suspended_instance_says_so(hub: testing.TestEnvironment) -> None:
    hub.client.start_new(waits, "s")
    hub.client.suspend("s", "audit")
    assert refusal(hub, "s") == "s hasn't ended: it is suspended: audit"


def test_an_instance_that_waits_for_a_blocked_child_says_why_that_is_blocked(hub: testing.TestEnvironment) -> None:
    hub.client.start_new(parent, "p", "lacks")
    text = refusal(hub, "p")
    assert text.startswith("p hasn't ended: it waits for child lacks; c: it is blocked: ")
    assert "'missing'" in text


def test_an_unknown_instance_says_so(hub: testing.TestEnvironment) -> None:
    assert refusal(hub, "x") == "x hasn't ended: there is no such instance"
