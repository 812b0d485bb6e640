"""The agent: it asks before it spends money, escalates after four hours, and takes no late answer for another call."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from docs.examples import agent
from durablecli.testing import TestEnvironment

MakeHub = Callable[..., TestEnvironment]


@pytest.fixture
def hub(durable_hub: MakeHub) -> TestEnvironment:
    hub = durable_hub(agent, replay_always=True)
    hub.client.start_new(agent.agent, "a", "Where is my money?")
    hub.run()
    return hub


def test_an_approved_call_is_made(hub: TestEnvironment, capsys: pytest.CaptureFixture[str]) -> None:
    hub.advance(timedelta(hours=3))
    hub.client.raise_event("a", "Approval-2", True)
    assert hub.finish("a").output == "About your order: 40 were refunded."
    assert capsys.readouterr().out.startswith("refund of 40 for order 7, key a/")


def test_silence_escalates_and_then_refuses(hub: TestEnvironment, capsys: pytest.CaptureFixture[str]) -> None:
    began = hub.clock.now()
    assert hub.finish("a").output == "About your order: refund was not approved."
    assert capsys.readouterr().out.startswith("to the head of service: may I refund")
    assert hub.clock.now() - began == timedelta(hours=8)


def test_the_second_person_may_approve_after_a_restart(hub: TestEnvironment) -> None:
    hub.advance(timedelta(hours=5))
    hub.restart()
    hub.client.raise_event("a", "Approval-2", True)
    assert hub.finish("a").output == "About your order: 40 were refunded."


def test_a_late_answer_approves_no_later_call(durable_hub: MakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    def insist(messages: list[dict[str, str]]) -> agent.Reply:
        results = [message["content"] for message in messages if message["role"] == "tool"]
        if len(results) < 2:
            return agent.Reply(tool="refund", arguments={"order": 7, "amount": 40})
        return agent.Reply(text=", ".join(results))

    monkeypatch.setattr(agent, "model", insist)
    hub = durable_hub(agent)
    hub.client.start_new(agent.agent, "a", "Money!")
    hub.advance(timedelta(hours=9))
    hub.client.raise_event("a", "Approval-1", True)
    assert hub.finish("a").output == "refund was not approved, refund was not approved"


def test_an_agent_that_finds_no_answer_fails(durable_hub: MakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent, "model", lambda messages: agent.Reply(tool="find_order"))
    hub = durable_hub(agent)
    hub.client.start_new(agent.agent, "a", "Hm?")
    failure = hub.finish("a").failure
    assert failure is not None
    assert failure.message == "no answer after 20 steps"
