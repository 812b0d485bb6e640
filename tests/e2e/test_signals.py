"""Stopping: what Ctrl-C and SIGTERM do to a daemon and to a run, and what becomes of activities that still run."""

from __future__ import annotations

from signal import SIGINT, SIGTERM
from time import monotonic

import pytest

import durablecli as df
from tests.support.cli_harness import Hub, until


def begins(hub: Hub, *arguments: str) -> None:
    """Start an instance and wait until its activity runs."""
    before = len(hub.ran())
    hub("start", *arguments)
    until(lambda: len(hub.ran()) > before, what="the activity begins")


@pytest.mark.parametrize("number", [SIGINT, SIGTERM])
def test_a_signal_drains(hub: Hub, number: int) -> None:
    daemon = hub.daemon("plain")
    begins(hub, "rest", "--id", "r", "--input", "0.7")
    daemon.signal(number)
    daemon.says("draining")
    assert daemon.ends() == 0
    assert [line[0] for line in hub.ran()] == ["begin", "end"]
    assert hub.status("r")["output"] == "rested"
    hub.is_sound()


def test_what_is_posted_while_it_drains_waits_for_the_next(hub: Hub) -> None:
    daemon = hub.daemon("plain")
    begins(hub, "rest", "--id", "r", "--input", "1")
    daemon.signal(SIGINT)
    daemon.says("draining")
    hub("start", "hello", "--id", "h", "--input", '"Ada"')
    assert daemon.ends() == 0
    hub.finish("plain")
    assert hub.status("h")["output"] == "Hello Ada!"


@pytest.mark.parametrize("number", [SIGINT, SIGTERM])
def test_a_second_signal_ends_at_once_and_loses_nothing(hub: Hub, number: int) -> None:
    daemon = hub.daemon("plain")
    begins(hub, "rest", "--id", "r", "--input", "1.5")
    began = monotonic()
    daemon.signal(number)
    daemon.says("draining")
    daemon.signal(number)
    assert daemon.ends() == 128 + number
    assert monotonic() - began < 1.4
    hub.is_sound()
    hub.finish("plain")
    assert hub.status("r")["output"] == "rested"
    assert hub.ran() == [["begin", "False"], ["begin", "True"], ["end", "True"]]


def test_draining_takes_no_longer_than_its_time_and_what_still_runs_runs_again(hub: Hub) -> None:
    daemon = hub.daemon("plain", DURABLE_DRAIN="300ms")
    begins(hub, "rest", "--id", "r", "--input", "2")
    began = monotonic()
    daemon.signal(SIGTERM)
    assert daemon.ends() == 0
    assert 0.3 <= monotonic() - began < 1.9
    assert hub.status("r")["runtimeStatus"] == "Running"
    hub.finish("plain")
    assert hub.status("r")["output"] == "rested"
    assert hub.ran() == [["begin", "False"], ["begin", "True"], ["end", "True"]]


def test_ctrl_c_in_run_leaves_the_instance_running_and_says_how_to_go_on(hub: Hub) -> None:
    run = hub.begin("run", "rest", "--id", "r", "--input", "1", app="plain")
    until(hub.ran, what="the activity begins")
    run.signal(SIGINT)
    assert run.ends(5) == 130
    assert "durable run-daemon" in run.said
    assert "durable wait r" in run.said
    assert "Traceback" not in run.said
    assert hub.status("r")["runtimeStatus"] == "Running"
    hub.is_sound()
    hub.finish("plain")
    assert hub.status("r")["output"] == "rested"


def test_ctrl_c_while_a_run_only_waits_leaves_the_daemon_alone(hub: Hub) -> None:
    daemon = hub.daemon("plain")
    run = hub.begin("run", "rest", "--id", "r", "--input", "1", app="plain")
    until(hub.ran, what="the activity begins")
    run.signal(SIGINT)
    assert run.ends(5) == 130
    assert hub.client.wait("r", 20).output == "rested"
    assert daemon.alive


def test_a_daemon_that_is_stopped_while_it_starts_says_no_traceback(hub: Hub) -> None:
    daemon = hub.begin("run-daemon", app="plain")
    daemon.says("hub ")
    daemon.signal(SIGINT)
    assert daemon.ends() in (0, 130)
    assert "Traceback" not in daemon.said


def test_a_thread_learns_that_its_orchestration_was_terminated(hub: Hub) -> None:
    hub.daemon("plain")
    begins(hub, "rest_until_told", "--id", "t")
    hub("terminate", "t")
    until(lambda: hub.ran()[-1] == ["told", "True"], what="the activity is told")
    assert hub.client.wait("t", 10).runtime_status is df.OrchestrationRuntimeStatus.Terminated
    assert [record.event.__class__.__name__ for record in hub.client.get_history("t")][-1] == "ExecutionCompleted"


def test_an_async_activity_of_a_terminated_orchestration_is_cancelled(hub: Hub) -> None:
    hub.daemon("executors")
    begins(hub, "wait_async", "--id", "t")
    hub("terminate", "t")
    until(lambda: hub.ran()[-1] == ["cancelled"], what="the activity is cancelled")


def test_a_worker_of_a_terminated_orchestration_gets_term_and_then_kill(hub: Hub) -> None:
    hub.daemon("executors")
    begins(hub, "stubborn", "--id", "t")
    worker = int(hub.ran()[-1][1])
    began = monotonic()
    hub("terminate", "t")
    until(lambda: hub.ran()[-1] == ["term"], 5, what="TERM is heard")
    until(lambda: not runs(worker), 10, what="the worker is killed")
    assert monotonic() - began >= 1.9
    hub("start", "in_a_process", "--id", "p", "--input", "4")
    assert hub.client.wait("p", 20).output == 16


def runs(pid: int) -> bool:
    """Whether a process is there and isn't only waiting to be buried."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
