"""Time-outs through the command: what runs too long is stopped, and the orchestrator can handle it."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from tests.support.cli_harness import CliHarness
from tests.support.waiting import wait_until


@pytest.mark.parametrize("name", ["in_thread", "in_loop", "in_process"])
def test_a_time_out_is_caught_and_its_activity_stopped(hub: CliHarness, name: str) -> None:
    assert '"ran longer than 0.3 s"' in hub.run("timeouts", "catches", "--input", f'"{name}"').out
    if name == "in_thread":
        assert hub.read_runs() == [["thread", "timed_out:_ran_longer_than_0.3_s"]]
    if name == "in_loop":
        assert hub.read_runs() == [["loop"]]
    hub.assert_sound()


@pytest.mark.parametrize("name", ["in_thread", "in_loop", "in_process"])
def test_a_time_out_is_retried_as_any_failure(hub: CliHarness, name: str) -> None:
    text = hub.run("timeouts", "retries", "--id", "r", "--input", f'"{name}"').out
    assert f"Activity function '{name}' failed: ActivityTimedOut: ran longer than 0.3 s" in text
    wait_until(lambda: len(hub.read_runs()) == 3, description="three attempts")
    if name == "in_process":
        assert max(Counter(pid for _, pid in hub.read_runs()).values()) == 1
    hub.assert_sound()


@pytest.mark.parametrize("name", ["asks_in_thread", "asks_in_process"])
def test_an_activity_sees_the_reason_of_a_termination(hub: CliHarness, name: str) -> None:
    hub.start_daemon("timeouts")
    hub("start", "asks", "--id", "a", "--input", f'"{name}"')
    wait_until(hub.read_runs)
    hub("terminate", "a", "--reason", "out of stock")
    wait_until(lambda: hub.read_runs() == [["begin"], ["terminated:", "out", "of", "stock"]])


def test_heartbeats_are_shown_and_their_absence_is_a_time_out(hub: CliHarness) -> None:
    hub.start_daemon("timeouts")
    hub("start", "beating", "--id", "b")
    wait_until(lambda: re.search(r'running for .*, last heartbeat \d+ s ago: {"page":\d+}', hub("status", "b").out))
    [shown] = hub.read_status("b")["waitingFor"]
    assert shown["heartbeat"]["details"]["page"] >= 0
    hub.release()
    assert hub.client.wait("b", 30).output == [
        "done", "Activity function 'beats' failed: ActivityTimedOut: sent no heartbeat for 0.3 s",
    ]  # fmt: skip
