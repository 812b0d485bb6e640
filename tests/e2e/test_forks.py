"""Children that activities fork in the engine's process: they never act as the engine."""

from __future__ import annotations

import os
import signal
from collections import Counter

import pytest

from tests.support.cli_harness import CliHarness
from tests.support.waiting import wait_until


@pytest.mark.parametrize("verb", ["run-daemon", "run"])
def test_forked_children_terminate_and_never_act_as_the_engine(hub: CliHarness, verb: str) -> None:
    if verb == "run":
        hub.run("forks", "forks", "--id", "f")
    else:
        hub.start_daemon("forks")
        hub("start", "forks", "--id", "f")
        assert hub.client.wait("f", 60).ended
    assert hub.read_status("f")["output"] == [-signal.SIGTERM, [4, 4], [1, 0, 0], [0, 1, 2, 3]]
    assert Counter(line[1] for line in hub.read_runs()) == dict.fromkeys("0123", 1)


def test_a_child_that_outlives_a_killed_engine_keeps_neither_its_hub_nor_its_port(hub: CliHarness) -> None:
    first = hub.start("run-daemon", "--http", "0", app="forks")
    first.wait_for_output("listening on http://127.0.0.1:")
    port = first.output.partition("listening on http://127.0.0.1:")[2].split()[0]
    hub("start", "leaves", "--id", "l")
    wait_until(lambda: len(hub.read_runs()) == 1, description="the child")
    first.kill()
    try:
        second = hub.start("run-daemon", "--http", port, app="forks")
        second.wait_for_output(f"listening on http://127.0.0.1:{port}")
        wait_until(lambda: len(hub.read_runs()) == 2, description="the activity once more")
    finally:
        for line in hub.read_runs():
            os.kill(int(line[1]), signal.SIGKILL)
