"""Cancelled calls through the command: for each executor what runs is stopped, and what follows isn't disturbed."""

from __future__ import annotations

import pytest

from tests.support.cli_harness import CliHarness
from tests.support.waiting import wait_until


@pytest.mark.parametrize("name", ["asks_in_thread", "asks_in_loop", "asks_in_process"])
def test_a_cancelled_activity_is_stopped_and_told_why(hub: CliHarness, name: str) -> None:
    hub.start_daemon("timeouts")
    hub("start", "cancels", "--id", "c", "--input", f'"{name}"')
    wait_until(hub.read_runs)
    hub("raise-event", "c", "stop")
    assert hub.client.wait("c", 30).output == f"Activity function '{name}' was cancelled by the orchestrator"
    wait_until(lambda: hub.read_runs() == [["begin"], ["cancelled", "by", "the", "orchestrator"]])
    assert "TaskCanceled" in hub("history", "c").out
    hub.assert_sound()


def test_a_task_all_that_fails_fast_stops_the_others(hub: CliHarness) -> None:
    assert "f Failed: ValueError: broken" in hub.run("timeouts", "fails_fast", "--id", "f", code=6).err
    wait_until(lambda: ["cancelled", "by", "the", "orchestrator"] in hub.read_runs())
    assert hub("list", "--all", "--name", "waits", "--status", "Terminated", "--count").out.strip() == "1"
    hub.assert_sound()
