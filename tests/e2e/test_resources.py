"""Resources of a daemon: one set-up for each scope, also in worker processes, and the tear-down when it ends."""

from __future__ import annotations

import signal
from collections import Counter

from tests.support.cli_harness import FLOWS, CliHarness


def test_each_scope_has_one_set_up_and_one_tear_down(hub: CliHarness) -> None:
    daemon = hub.start_daemon("resources")
    hub("start", "everywhere", "--id", "e")
    status = hub.client.wait("e", 30)
    assert status.output == [
        *["transaction of connection to db"] * 8,
        *[f"{n} by session of db" for n in range(8)],
        *[f"{n} with db" for n in range(8)],
    ], status
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait_for_exit(30) == 0
    lines = hub.read_runs()
    up = Counter(tuple(each[1:]) for each in lines if each[0] == "up")
    down = Counter(tuple(each[1:]) for each in lines if each[0] == "down")
    assert up == down
    assert set(up.values()) == {1}
    kinds = Counter(each[0] for each in up)
    assert kinds["session"] == 1
    assert kinds["settings"] >= 2  # the daemon, and each of its worker processes
    assert len({each for each in up if each[0] == "settings"}) == kinds["settings"]
    assert ("settings", str(daemon.pid)) in up
    assert Counter(each[0] for each in lines)["commit"] == 8
    of_daemon = [each[:2] for each in lines if each[1:] == ["settings", str(daemon.pid)] or each[1:] == ["session"]]
    assert of_daemon[-1] == ["down", "settings"]  # set up first, so torn down last


def test_a_resource_of_a_call_sees_the_failure(hub: CliHarness) -> None:
    result = hub.run("resources", "fails", code=6)
    assert "-1 is negative" in result.err
    names = [line[0:2] for line in hub.read_runs()]
    assert names == [
        ["up", "settings"],
        ["up", "connection"],
        ["rollback"],
        ["down", "connection"],
        ["down", "settings"],
    ]


def test_signatures_are_listed_without_resources(hub: CliHarness) -> None:
    listed = hub("functions", "--app", str(FLOWS / "resources.py"))
    assert "(value: int) -> str" in listed.out
    assert "Depend" not in listed.out + listed.err
    assert "transaction" not in listed.out
