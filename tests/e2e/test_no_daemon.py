"""Commands while no daemon is running, and several daemons at once."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

import pytest

from durablecli import Client
from durablecli.client import Query
from tests.support.cli_harness import CliHarness
from tests.support.waiting import wait_until

STARTERS_SCRIPT = """
import os, sys
from durablecli.client import Client
from durablecli.errors import Conflict

gate, opener = os.pipe()
starters = []
for number in range(200):
    starters.append(os.fork())
    if starters[-1] == 0:
        os.close(opener)
        os.read(gate, 1)
        try:
            Client(sys.argv[1]).start_new("hello", "the-one", str(number), if_exists="fail")
        except Conflict as error:
            os._exit(error.exit_code)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(99)
        os._exit(0)
os.close(opener)  # the gate opens for all at once
print(*(os.waitstatus_to_exitcode(os.waitpid(starter, 0)[1]) for starter in starters))
"""


def test_a_daemon_executes_what_was_submitted_before_it_started(hub: CliHarness) -> None:
    assert hub("start", "hello", "--id", "h", "--input", '"Ada"').out == "h\n"
    hub("start", "approval", "--id", "a")
    hub("raise-event", "a", "approval", "--data", '{"by": "Ada"}')
    assert hub.read_status("a")["runtimeStatus"] == "Pending"
    assert {row["instanceId"] for row in json.loads(hub("list", "-o", "json").out)} == {"h", "a"}
    hub("history", "a")
    hub.run_until_idle("plain")
    assert hub.read_status("h")["output"] == "Hello Ada!"
    assert hub.read_status("a")["output"] == {"by": "Ada"}
    hub.assert_sound()


def test_control_commands_take_effect_at_once_without_a_daemon(hub: CliHarness) -> None:
    for name in ("a", "b", "c"):
        hub("start", "approval", "--id", name)
    hub("terminate", "a", "--reason", "no need")
    assert hub.read_status("a")["runtimeStatus"] == "Terminated"
    assert hub.read_status("a")["output"] == "no need"
    hub("suspend", "b")
    assert hub.read_status("b")["runtimeStatus"] == "Suspended"
    hub("raise-event", "b", "approval", "--data", "1")
    hub.run_until_idle("plain")
    assert hub.read_status("b")["runtimeStatus"] == "Suspended"
    hub("resume", "b")
    assert hub.read_status("b")["runtimeStatus"] in ("Running", "Pending")
    hub.run_until_idle("plain")
    assert hub.read_status("b")["output"] == 1
    hub("purge", "a", "--yes")
    hub("status", "a", code=3)
    assert hub.read_status("c")["runtimeStatus"] == "Running"
    hub.assert_sound()


def hang_and_kill(hub: CliHarness, when: str) -> None:
    """Kill a daemon that hangs in an orchestrator that never yields."""
    hub("start", "endless", "--id", "e", "--input", f'"{when}"')
    daemon = hub.start_daemon("endless") if when == "later" else hub.start("run-daemon", app="endless")
    if when == "later":
        wait_until(lambda: hub.read_status("e")["runtimeStatus"] == "Running", description="it waits for the event")
        hub("raise-event", "e", "go")
    daemon.wait_for_output("e has not yielded for 1 s")
    assert "endless.py:" in daemon.output
    daemon.kill()


@pytest.mark.parametrize("when", ["at once", "later"])
def test_an_orchestrator_that_never_yields_is_terminated_at_once(hub: CliHarness, when: str) -> None:
    hang_and_kill(hub, when)
    hub("terminate", "e")
    assert hub.read_status("e")["runtimeStatus"] == "Terminated"
    hub("purge", "e", "--yes")
    hub("status", "e", code=3)
    hub.assert_sound()


@pytest.mark.parametrize("when", ["at once", "later"])
def test_an_orchestrator_that_never_yields_doesnt_stop_the_next_daemon(hub: CliHarness, when: str) -> None:
    hang_and_kill(hub, when)
    hub("start", "prompt", "--id", "p")
    hub.run_until_idle("endless")
    assert hub.read_status("p")["output"] == "done"
    stuck = hub.read_status("e")
    assert stuck["runtimeStatus"] == {"at once": "Pending", "later": "Running"}[when]
    assert "didn't yield" in json.dumps(stuck["blocked"])
    hub.run_until_idle("endless")  # and not the one after it either
    hub("suspend", "e")
    assert hub.read_status("e")["runtimeStatus"] == "Suspended"
    hub("resume", "e")
    hub("terminate", "e")
    assert hub.read_status("e")["runtimeStatus"] == "Terminated"
    hub.assert_sound()


def test_the_second_daemon_names_the_first(hub: CliHarness) -> None:
    first = hub.start_daemon("plain")
    second = hub.start("run-daemon", app="plain")
    assert second.wait_for_exit() == 75
    assert str(first.pid) in second.output
    assert second.output.count("\n") == 1
    assert first.alive


def test_two_simultaneous_runs_both_end(hub: CliHarness) -> None:
    runs = [hub.start("run", "rest", app="plain") for _ in range(2)]
    wait_until(lambda: hub.client.count(Query()) == 2, description="both starts are posted")
    hub.release()
    for run in runs:
        assert run.wait_for_exit() == 0, run.output
        assert "rested" in run.output
    hub.assert_sound()


def test_another_run_finishes_the_instance_of_a_killed_run(hub: CliHarness) -> None:
    first = hub.start("run", "rest", "--id", "a", app="plain")
    wait_until(hub.read_runs, description="the activity begins")
    second = hub.start("run", "rest", "--id", "b", app="plain")
    wait_until(lambda: hub.client.get_status("b"), description="the second start is posted")
    first.kill()
    hub.release()
    assert second.wait_for_exit() == 0, second.output
    hub.run_until_idle("plain")
    assert hub.read_status("a")["output"] == "rested"


def test_of_two_hundred_processes_starting_one_id_one_wins(hub: CliHarness) -> None:
    started = subprocess.run(
        [sys.executable, "-c", STARTERS_SCRIPT, str(hub.root)], capture_output=True, text=True, timeout=60, check=True
    )
    assert sorted(map(int, started.stdout.split())) == [0] + [4] * 199, started.stderr
    hub.run_until_idle("plain")
    assert hub.client.get_status("the-one").output.startswith("Hello ")
    assert hub.client.count(Query()) == 1
    hub.assert_sound()


def test_readers_never_keep_a_daemon_from_starting(hub: CliHarness) -> None:
    hub("start", "approval", "--id", "a")
    reading = threading.Event()

    def read() -> int:
        client, count = Client(hub.root), 0
        while not reading.is_set():
            assert client.get_status("a").instance_id == "a"
            client.page(Query())
            count += 1
        return count

    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        try:
            for _ in range(12):
                assert "loaded" in hub.run_until_idle("plain")
        finally:
            reading.set()
        assert sum(reader.result() for reader in readers) > 100


@pytest.mark.timeout(300)
@pytest.mark.parametrize("count", [6_000, pytest.param(20_000, marks=pytest.mark.soak)])
def test_thousands_of_messages_from_one_sender_are_taken_in_order(hub: CliHarness, count: int) -> None:
    """More messages than fit into one commit wait for the daemon; the rest arrives while it takes them."""
    hub.client.start_new("listen", "l", count)
    began = monotonic()
    for number in range(count):
        hub.client.raise_event("l", "number", number)
        if number == 4_500:
            hub.start_daemon("plain")
    posted = monotonic() - began
    assert hub.client.wait("l", 240).output == "in order"
    print(f"\nposted {count:,} events in {posted:.1f} s, taken after {monotonic() - began:.1f} s")
    hub.assert_sound()


def test_a_run_whose_instance_is_purged_reports_it_and_exits(hub: CliHarness) -> None:
    run = hub.start("run", "approval", "--id", "p", app="plain")
    wait_until(lambda: hub.client.get_status("p").taken, description="the run takes its start")
    hub("purge", "p", "--force", "--yes")
    assert run.wait_for_exit() == 3
    assert "purged" in run.output
