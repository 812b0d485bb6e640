"""Retries that the failing activity steers, and policies that an activity declares."""

from __future__ import annotations

from datetime import timedelta

import pytest

from durablecli.model import events as ev
from tests.e2e.flows.retrying import DELAY
from tests.support.cli_harness import CliHarness

pytestmark = pytest.mark.usefixtures("replay_always")


def test_an_activity_says_when_its_next_attempt_begins(hub: CliHarness) -> None:
    assert hub.run("retrying", "asks_for_time", "--id", "patient").out == "[3,3,3,3]\n"
    records = hub.client.get_history("patient")
    timers = [(record.at, record.event) for record in records if isinstance(record.event, ev.TimerCreated)]
    assert [timer.fire_at - at for at, timer in timers] == [timedelta(seconds=DELAY)] * 8
    asked = [record.event.failure.retry_after for record in records if isinstance(record.event, ev.TaskFailed)]
    assert asked == [DELAY] * 8
    hub.assert_sound()


@pytest.mark.parametrize("policy", ["none", "off"])
def test_without_a_policy_the_call_fails_and_says_why(hub: CliHarness, policy: str) -> None:
    ended = hub.run("retrying", "asks_in_vain", "--input", f'"{policy}"', code=6)
    assert (
        "RetryAfter: try again in 0.25 s (not tried again: neither the call nor the activity has a retry " in ended.err
    )
