"""`df.shell`: arguments, results, failures, the log, and the end of a command that is to stop."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from tests.support.cli_harness import FLOWS, CliHarness
from tests.support.waiting import wait_until


def test_values_stay_single_arguments(hub: CliHarness) -> None:
    hostile = ["a b", "$(touch stolen)", "`touch stolen`", "'; touch stolen; '", '"', "*", "\\", "new\nline", "ü"]
    printed = hub.run("commands", "shows", "--input", json.dumps(hostile)).out
    assert json.loads(printed) == "|".join(["before", *hostile, "after"]) + "|"
    path = hub.folder / '$(touch stolen) "it\'s".txt'
    path.write_text("b a b a a")
    printed = hub.run("commands", "counts", "--input", json.dumps({"path": str(path), "lines": 1})).out
    assert json.loads(printed).split() == ["3", "a"]
    assert not (hub.folder / "stolen").exists()


def test_a_failure_has_the_code_and_the_last_lines(hub: CliHarness) -> None:
    code, lines = json.loads(hub.run("commands", "catches").out)
    assert code == 3
    assert sorted(lines) == ["begins", "{a} wrong"]
    message = hub.run("commands", "breaks", code=6).err
    assert "/bin/sh exited with code 3:" in message
    assert "{a} wrong" in message


def test_a_missing_field_is_not_retried(hub: CliHarness) -> None:
    message = hub.run("commands", "lacks", code=6).err
    assert "$.words: the command needs this field, and the input lacks it" in message


def test_a_command_is_listed_with_its_place(hub: CliHarness) -> None:
    listed = hub("functions", "--app", str(FLOWS / "commands.py")).out
    assert any(line.startswith("sleeps") and "commands.py:13" in line for line in listed.splitlines()), listed


def has_ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def start_sleeping(hub: CliHarness) -> int:
    hub("start", "waits", "--id", "w")
    file = Path(hub.folder / "pid")
    wait_until(lambda: file.exists() and file.read_text().endswith("\n"), description="the command")
    wait_until(lambda: any(each.text == "waiting" for each in hub.client.get_logs("w")), description="the log")
    return int(file.read_text())


def test_a_terminated_command_is_killed(hub: CliHarness) -> None:
    daemon = hub.start_daemon("commands")
    pid = start_sleeping(hub)
    hub("terminate", "w")
    wait_until(lambda: has_ended(pid), description="the end of the command")
    assert daemon.alive


def test_a_daemon_that_stops_ends_its_commands(hub: CliHarness) -> None:
    daemon = hub.start_daemon("commands")
    pid = start_sleeping(hub)
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait_for_exit() == 0
    assert has_ended(pid)
    assert hub.read_status("w")["runtimeStatus"] == "Running"
