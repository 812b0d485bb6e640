"""The hub in memory for tests of workflows: its messages about an instance that doesn't end."""

from __future__ import annotations

from typing import Any

import pytest

import durablecli as df
from durablecli import testing
from durablecli.errors import TimedOut
from tests.support.flows import waits

Context = df.DurableOrchestrationContext


@df.orchestrator
def lacks(context: Context) -> Any:
    return (yield context.call_activity("missing"))


@df.orchestrator
def parent(context: Context) -> Any:
    return (yield context.call_sub_orchestrator(context.get_input(), None, "c"))


@pytest.fixture
def hub() -> testing.TestEnvironment:
    return testing.hub(waits, lacks, parent)


def timeout_message(hub: testing.TestEnvironment, instance: str) -> str:
    with pytest.raises(TimedOut) as caught:
        hub.finish(instance)
    return str(caught.value)


def test_a_timeout_names_what_an_instance_waits_for(hub: testing.TestEnvironment) -> None:
    hub.client.start_new(waits, "w")
    assert timeout_message(hub, "w") == "w hasn't ended: it is waiting for event Go"


def test_a_timeout_names_the_reason_of_a_block(hub: testing.TestEnvironment) -> None:
    hub.client.start_new(lacks, "b")
    text = timeout_message(hub, "b")
    assert text.startswith("b hasn't ended: it is blocked: ")
    assert "'missing'" in text


def test_a_timeout_names_a_suspension(hub: testing.TestEnvironment) -> None:
    hub.client.start_new(waits, "s")
    hub.client.suspend("s", "audit")
    assert timeout_message(hub, "s") == "s hasn't ended: it is suspended: audit"


def test_a_timeout_explains_a_blocked_child(hub: testing.TestEnvironment) -> None:
    hub.client.start_new(parent, "p", "lacks")
    text = timeout_message(hub, "p")
    assert text.startswith("p hasn't ended: it is waiting for child lacks; c: it is blocked: ")
    assert "'missing'" in text


def test_a_timeout_names_an_unknown_instance(hub: testing.TestEnvironment) -> None:
    assert timeout_message(hub, "x") == "x hasn't ended: no such instance"
