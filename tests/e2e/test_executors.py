"""Activities in threads, coroutines and processes, and the output while they run."""

from __future__ import annotations

import signal
from collections import Counter

from tests.support.cli_harness import CliHarness
from tests.support.waiting import wait_until


def test_only_the_activity_of_a_killed_worker_runs_again(hub: CliHarness) -> None:
    hub("start", "deaths", "--id", "d")
    hub.run_until_idle("executors")
    assert hub.read_status("d")["output"] == [0, 1, 4, 9, 16, 25, 7]
    counted = Counter(line[0] for line in hub.read_runs())
    assert counted == {"square": 6, "begin": 2}
    first, second = (line for line in hub.read_runs() if line[0] == "begin")
    assert first[2] == "False"
    assert second[2] == "True"
    assert first[1] != second[1]


def test_the_fifth_crash_fails_the_activity(hub: CliHarness) -> None:
    assert "died 5 times" in hub.run("executors", "hopeless", code=6).err
    assert len(hub.read_runs()) == 5
    assert len({line[1] for line in hub.read_runs()}) == 5


def max_concurrent(hub: CliHarness) -> int:
    now = most = 0
    for line in hub.read_runs():
        now += {"begin": 1, "end": -1}[line[0]]
        most = max(most, now)
    return most


def test_async_activities_run_at_the_same_time(hub: CliHarness) -> None:
    hub("start", "many_async", "--id", "a", "--input", "200")
    hub.run_until_idle("executors")
    assert hub.read_status("a")["output"] == 200
    assert max_concurrent(hub) == 200


def test_max_concurrency_limits_a_function(hub: CliHarness) -> None:
    hub("start", "many_narrow", "--id", "n", "--input", "9")
    hub.run_until_idle("executors")
    assert hub.read_status("n")["output"] == 36
    assert max_concurrent(hub) == 2


def test_the_context_identifies_the_call(hub: CliHarness) -> None:
    hub("start", "asks", "--id", "a")
    output = hub.run_until_idle("executors")
    (_, first, n1, key), (_, second, n2, again) = hub.read_runs()
    assert (first, second) == ("1", "2")
    assert n1 != n2
    assert key == again == f"a/1/{n1}"
    assert hub.read_status("a")["output"] == {
        "instance_id": "a",
        "task_id": int(n2),
        "name": "fields",
        "attempt": 2,
        "redelivered": False,
        "idempotency_key": key,
        "cancelled": False,
    }
    assert output.count("durablecli.activity.fields: asked by a") == 2


def test_orchestrator_output_is_logged_once_across_restarts(hub: CliHarness) -> None:
    hub("start", "talks", "--id", "t")
    output = hub.run_until_idle("executors")
    hub("raise-event", "t", "go")
    output += hub.run_until_idle("executors")
    daemon = hub.start_daemon("executors")
    hub("raise-event", "t", "go")
    assert hub.client.wait("t", 20).ended
    wait_until(lambda: "at the end" in daemon.output, description="the last line")
    output += daemon.output
    lines = output.splitlines()
    for line in ("before the first yield", "after the first yield", "at the end"):
        assert lines.count(line) == 1, output
    for logged in ("talks: logged before the first yield", "talks: logged after 1 yields"):
        assert output.count(logged) == 1, output


def test_no_file_of_the_hub_replaces_a_closed_standard_stream(hub: CliHarness) -> None:
    hub.command_prefix = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"]
    hub.run("executors", "streams", "--id", "s")
    hub.command_prefix = []
    assert hub.read_status("s")["output"] == ""
    assert b"written by an activity" not in b"".join(
        path.read_bytes() for path in hub.root.rglob("*") if path.is_file() and path.suffix != ".sqlite"
    )
    hub.assert_sound()


def test_activities_that_stop_with_the_engine_run_again_in_the_next_one(hub: CliHarness) -> None:
    daemon = hub.start_daemon("executors", DURABLE_DRAIN="60s")
    hub("start", "stops", "--id", "s")
    wait_until(lambda: len(hub.read_runs()) == 2, description="both activities")
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait_for_exit(40) == 0
    assert Counter(line[0] for line in hub.read_runs()) == {"begin": 2, "cancelled": 2}
    assert hub.read_status("s")["runtimeStatus"] == "Running"
    hub.run_until_idle("executors")
    assert hub.read_status("s")["output"] == ["done", "done"]
