"""Outputs as objects of a type: of a status, and of a wait."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import durablecli as df
from durablecli import testing
from durablecli.errors import (
    Mismatch,
    NotFound,
    OrchestrationFailed,
    OrchestrationTerminated,
    TimedOut,
    WrongState,
)
from tests.support.flows import waits


@dataclass
class Outcome:
    city: str
    degrees: float


@df.orchestrator
def measure(context: df.DurableOrchestrationContext) -> Outcome:
    if context.get_input() == "Atlantis":
        raise ValueError("no such city")
    return Outcome(context.get_input(), 21.5)


@pytest.fixture
def hub() -> Iterator[testing.TestEnvironment]:
    with testing.hub(measure, waits) as hub:
        yield hub


def test_the_output_of_a_status_has_the_type(hub: testing.TestEnvironment) -> None:
    status = hub.finish(hub.client.start_new(measure, client_input="Wien"))
    assert status.output == {"city": "Wien", "degrees": 21.5}
    outcome: Outcome = status.get_output(Outcome)
    assert outcome == Outcome("Wien", 21.5)
    assert status.get_output() == status.output
    assert status.get_output(Outcome | None) == outcome


def test_an_output_of_another_type_is_refused_with_its_path(hub: testing.TestEnvironment) -> None:
    @dataclass
    class Other:
        city: int

    status = hub.finish(hub.client.start_new(measure, client_input="Wien"))
    with pytest.raises(Mismatch, match=r"^\$\.city: Expected `int`, got `str`"):
        status.get_output(Other)
    with pytest.raises(TypeError, match="expected_type must be a type, not 'Other'"):
        status.get_output("Other")


def test_an_instance_without_an_output_says_why(hub: testing.TestEnvironment) -> None:
    failed = hub.finish(hub.client.start_new(measure, "f", "Atlantis"))
    with pytest.raises(OrchestrationFailed, match=r"^f has failed: ValueError: no such city$") as caught:
        failed.get_output(Outcome)
    assert caught.value.failure is failed.failure
    assert caught.value.exit_code == 6
    hub.client.start_new(waits, "w")
    hub.run()
    with pytest.raises(WrongState, match=r"^w has no output yet: it is Running$"):
        hub.client.get_status("w").get_output(Outcome)
    hub.client.terminate("w", "too late")
    hub.run()
    with pytest.raises(OrchestrationTerminated, match=r"^w was terminated: too late$"):
        hub.client.get_status("w").get_output(Outcome)
    with pytest.raises(NotFound, match=r"^no instance 'x'$"):
        hub.client.get_status("x").get_output(Outcome)


def test_a_wait_that_takes_too_long_says_what_blocks_the_instance() -> None:
    with testing.hub(waits) as hub:
        hub.client.start_new(waits, "w")
        hub.run()
        hub.restart(measure)
        hub.client.raise_event("w", "Go")
        hub.run()
        with pytest.raises(TimedOut, match=r"^w is still Running, and blocked: orchestrator 'waits' isn't loaded;"):
            hub.client.wait("w", 0)


def test_a_wait_returns_an_object(tmp_path: Path) -> None:
    with df.embedded([measure, waits], tmp_path / "hub") as client:
        outcome = client.wait(client.start_new(measure, client_input="Wien"), 60, expected_type=Outcome)
        assert outcome == Outcome("Wien", 21.5)
        assert client.wait(client.start_new(measure, client_input="Wien"), 60).output["city"] == "Wien"
        with pytest.raises(OrchestrationFailed):
            client.wait(client.start_new(measure, client_input="Atlantis"), 60, expected_type=Outcome)
        with pytest.raises(TimedOut):
            client.wait(client.start_new(waits), 0, expected_type=Outcome)


def test_an_async_wait_returns_an_object(tmp_path: Path) -> None:
    async def run() -> Any:
        async with df.embedded(measure, tmp_path / "hub") as client:
            instance = await client.start_new(measure, client_input="Wien")
            typed: Outcome = await client.wait(instance, 60, expected_type=Outcome)
            return typed, (await client.wait(instance, 60)).output

    assert asyncio.run(run()) == (Outcome("Wien", 21.5), {"city": "Wien", "degrees": 21.5})
