"""Children that activities fork in the engine's process, which are no part of the engine."""

from __future__ import annotations

import os
import signal
from collections import Counter

import pytest

from tests.support.cli_harness import Hub, until


@pytest.mark.parametrize("verb", ["run-daemon", "run"])
def test_forked_children_end_when_they_are_told_to_and_never_act_as_the_engine(hub: Hub, verb: str) -> None:
    if verb == "run":
        hub.run("forks", "forks", "--id", "f")
    else:
        hub.daemon("forks")
        hub("start", "forks", "--id", "f")
        assert hub.client.wait("f", 60).ended
    assert hub.status("f")["output"] == [-signal.SIGTERM, [4, 4], [1, 0, 0], [0, 1, 2, 3]]
    assert Counter(line[1] for line in hub.ran()) == dict.fromkeys("0123", 1)


def test_a_child_that_outlives_a_killed_engine_keeps_neither_its_hub_nor_its_port(hub: Hub) -> None:
    first = hub.begin("run-daemon", "--http", "0", app="forks")
    first.says("answers at http://127.0.0.1:")
    port = first.said.partition("answers at http://127.0.0.1:")[2].split(",")[0]
    hub("start", "leaves", "--id", "l")
    until(lambda: len(hub.ran()) == 1, what="the child")
    first.kill()
    try:
        second = hub.begin("run-daemon", "--http", port, app="forks")
        second.says(f"answers at http://127.0.0.1:{port}")
        until(lambda: len(hub.ran()) == 2, what="the activity once more")
    finally:
        for line in hub.ran():
            os.kill(int(line[1]), signal.SIGKILL)
