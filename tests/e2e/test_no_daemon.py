"""What works while no daemon runs, and what happens when several want to."""

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
from tests.support.cli_harness import Hub, until

STARTERS = """
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


def test_a_later_daemon_carries_on_with_what_was_posted_without_one(hub: Hub) -> None:
    assert hub("start", "hello", "--id", "h", "--input", '"Ada"').out == "h\n"
    hub("start", "approval", "--id", "a")
    hub("raise-event", "a", "approval", "--data", '{"by": "Ada"}')
    assert hub.status("a")["runtimeStatus"] == "Pending"
    assert {row["instanceId"] for row in json.loads(hub("list", "-o", "json").out)} == {"h", "a"}
    hub("history", "a")
    hub.finish("plain")
    assert hub.status("h")["output"] == "Hello Ada!"
    assert hub.status("a")["output"] == {"by": "Ada"}
    hub.is_sound()


def test_mending_verbs_take_effect_at_once_without_a_daemon(hub: Hub) -> None:
    for name in ("a", "b", "c"):
        hub("start", "approval", "--id", name)
    hub("terminate", "a", "--reason", "no need")
    assert hub.status("a")["runtimeStatus"] == "Terminated"
    assert hub.status("a")["output"] == "no need"
    hub("suspend", "b")
    assert hub.status("b")["runtimeStatus"] == "Suspended"
    hub("raise-event", "b", "approval", "--data", "1")
    hub.finish("plain")
    assert hub.status("b")["runtimeStatus"] == "Suspended"
    hub("resume", "b")
    assert hub.status("b")["runtimeStatus"] in ("Running", "Pending")
    hub.finish("plain")
    assert hub.status("b")["output"] == 1
    hub("purge", "a", "--yes")
    hub("status", "a", code=3)
    assert hub.status("c")["runtimeStatus"] == "Running"
    hub.is_sound()


def hang(hub: Hub, when: str) -> None:
    """A daemon hangs in an orchestrator that never yields, and is killed."""
    hub("start", "endless", "--id", "e", "--input", f'"{when}"')
    daemon = hub.daemon("endless") if when == "later" else hub.begin("run-daemon", app="endless")
    if when == "later":
        until(lambda: hub.status("e")["runtimeStatus"] == "Running", what="it waits for the event")
        hub("raise-event", "e", "go")
    daemon.says("e has not yielded for 1 s")
    assert "endless.py:" in daemon.said
    daemon.kill()


@pytest.mark.parametrize("when", ["at once", "later"])
def test_an_orchestrator_that_never_yields_is_terminated_at_once(hub: Hub, when: str) -> None:
    hang(hub, when)
    hub("terminate", "e")
    assert hub.status("e")["runtimeStatus"] == "Terminated"
    hub("purge", "e", "--yes")
    hub("status", "e", code=3)
    hub.is_sound()


@pytest.mark.parametrize("when", ["at once", "later"])
def test_an_orchestrator_that_never_yields_doesnt_stop_the_next_daemon(hub: Hub, when: str) -> None:
    hang(hub, when)
    hub("start", "prompt", "--id", "p")
    hub.finish("endless")
    assert hub.status("p")["output"] == "done"
    stuck = hub.status("e")
    assert stuck["runtimeStatus"] == {"at once": "Pending", "later": "Running"}[when]
    assert "didn't yield" in json.dumps(stuck["blocked"])
    hub.finish("endless")  # and not the one after it either
    hub("suspend", "e")
    assert hub.status("e")["runtimeStatus"] == "Suspended"
    hub("resume", "e")
    hub("terminate", "e")
    assert hub.status("e")["runtimeStatus"] == "Terminated"
    hub.is_sound()


def test_the_second_daemon_names_the_first(hub: Hub) -> None:
    first = hub.daemon("plain")
    second = hub.begin("run-daemon", app="plain")
    assert second.ends() == 75
    assert str(first.pid) in second.said
    assert second.said.count("\n") == 1
    assert first.alive


def test_two_runs_at_once_both_end(hub: Hub) -> None:
    runs = [hub.begin("run", "rest", "--input", seconds, app="plain") for seconds in ("0.3", "0.9")]
    for run in runs:
        assert run.ends() == 0, run.said
        assert "rested" in run.said
    hub.is_sound()


def test_a_run_is_finished_by_another_when_the_first_is_killed(hub: Hub) -> None:
    first = hub.begin("run", "rest", "--input", "0.5", "--id", "a", app="plain")
    until(hub.ran, what="the activity begins")
    second = hub.begin("run", "rest", "--input", "0.1", "--id", "b", app="plain")
    until(lambda: hub.client.get_status("b"), what="the second start is posted")
    first.kill()
    assert second.ends() == 0, second.said
    hub.finish("plain")
    assert hub.status("a")["output"] == "rested"


def test_of_two_hundred_processes_starting_one_id_one_wins(hub: Hub) -> None:
    started = subprocess.run(
        [sys.executable, "-c", STARTERS, str(hub.root)], capture_output=True, text=True, timeout=60, check=True
    )
    assert sorted(map(int, started.stdout.split())) == [0] + [4] * 199, started.stderr
    hub.finish("plain")
    assert hub.client.get_status("the-one").output.startswith("Hello ")
    assert hub.client.count(Query()) == 1
    hub.is_sound()


def test_readers_never_keep_a_daemon_from_starting(hub: Hub) -> None:
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
            for _ in range(20):
                assert "loaded" in hub.finish("plain")
        finally:
            reading.set()
        assert sum(reader.result() for reader in readers) > 100


def test_ten_thousand_messages_of_one_sender_are_taken_in_order(hub: Hub) -> None:
    """The first half waits for a daemon, the second is sent while it takes them."""
    hub.client.start_new("listen", "l", 10_000)
    began = monotonic()
    for number in range(10_000):
        hub.client.raise_event("l", "number", number)
        if number == 5_000:
            hub.daemon("plain")
    posted = monotonic() - began
    assert hub.client.wait("l", 60).output == "in order"
    print(f"\nposted 10,000 events in {posted:.1f} s, taken after {monotonic() - began:.1f} s")
    hub.is_sound()


def test_a_run_whose_instance_is_purged_says_so_and_leaves(hub: Hub) -> None:
    run = hub.begin("run", "approval", "--id", "p", app="plain")
    until(lambda: hub.client.get_status("p").taken, what="the run takes its start")
    hub("purge", "p", "--force", "--yes")
    assert run.ends() == 3
    assert "purged" in run.said
