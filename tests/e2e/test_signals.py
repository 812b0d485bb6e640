"""Ctrl-C and SIGTERM: how a daemon and a run stop, and what happens to running activities."""

from __future__ import annotations

from signal import SIGINT, SIGTERM

import pytest

import durablecli as df
from tests.support.cli_harness import CliHarness
from tests.support.waiting import wait_until


def start_and_wait(hub: CliHarness, *arguments: str) -> None:
    """Start an instance and wait until its activity runs."""
    before = len(hub.read_runs())
    hub("start", *arguments)
    wait_until(lambda: len(hub.read_runs()) > before, description="the activity begins")


@pytest.mark.parametrize("number", [SIGINT, SIGTERM])
def test_a_signal_drains(hub: CliHarness, number: int) -> None:
    daemon = hub.start_daemon("plain")
    start_and_wait(hub, "rest", "--id", "r")
    daemon.send_signal(number)
    daemon.wait_for_output("stopping")
    hub.release()
    assert daemon.wait_for_exit() == 0
    assert [line[0] for line in hub.read_runs()] == ["begin", "end"]
    assert hub.read_status("r")["output"] == "rested"
    hub.assert_sound()


def test_messages_that_arrive_while_it_drains_wait_for_the_next_engine(hub: CliHarness) -> None:
    daemon = hub.start_daemon("plain")
    start_and_wait(hub, "rest", "--id", "r")
    daemon.send_signal(SIGINT)
    daemon.wait_for_output("stopping")
    hub("start", "hello", "--id", "h", "--input", '"Ada"')
    hub.release()
    assert daemon.wait_for_exit() == 0
    hub.run_until_idle("plain")
    assert hub.read_status("h")["output"] == "Hello Ada!"


@pytest.mark.parametrize("number", [SIGINT, SIGTERM])
def test_a_second_signal_exits_at_once_and_loses_nothing(hub: CliHarness, number: int) -> None:
    daemon = hub.start_daemon("plain")
    start_and_wait(hub, "rest", "--id", "r")
    daemon.send_signal(number)
    daemon.wait_for_output("shutting down")
    daemon.send_signal(number)
    assert daemon.wait_for_exit() == 128 + number
    hub.assert_sound()
    hub.release()
    hub.run_until_idle("plain")
    assert hub.read_status("r")["output"] == "rested"
    assert hub.read_runs() == [["begin", "False"], ["begin", "True"], ["end", "True"]]


def test_draining_has_a_time_limit_after_which_activities_run_again(hub: CliHarness) -> None:
    daemon = hub.start_daemon("plain", DURABLE_DRAIN="300ms")
    start_and_wait(hub, "rest", "--id", "r")
    daemon.send_signal(SIGTERM)
    assert daemon.wait_for_exit() == 0
    assert hub.read_status("r")["runtimeStatus"] == "Running"
    hub.release()
    hub.run_until_idle("plain")
    assert hub.read_status("r")["output"] == "rested"
    assert hub.read_runs() == [["begin", "False"], ["begin", "True"], ["end", "True"]]


def test_ctrl_c_in_run_leaves_the_instance_running_and_prints_how_to_continue(hub: CliHarness) -> None:
    run = hub.start("run", "rest", "--id", "r", app="plain")
    wait_until(hub.read_runs, description="the activity begins")
    run.send_signal(SIGINT)
    run.wait_for_output("shutting down")
    hub.release()
    assert run.wait_for_exit() == 130, run.output
    assert "the next durable run-daemon continues r" in run.output
    assert "Traceback" not in run.output
    assert hub.read_status("r")["runtimeStatus"] == "Running"
    hub.assert_sound()
    hub.run_until_idle("plain")
    assert hub.read_status("r")["output"] == "rested"


def test_ctrl_c_while_a_run_only_waits_leaves_the_daemon_alone(hub: CliHarness) -> None:
    daemon = hub.start_daemon("plain")
    run = hub.start("run", "rest", "--id", "r", app="plain")
    wait_until(hub.read_runs, description="the activity begins")
    run.send_signal(SIGINT)
    assert run.wait_for_exit() == 130, run.output
    hub.release()
    assert hub.client.wait("r", 20).output == "rested"
    assert daemon.alive


def test_a_daemon_stopped_during_startup_prints_no_traceback(hub: CliHarness) -> None:
    daemon = hub.start("run-daemon", app="plain")
    daemon.wait_for_output("hub ")
    daemon.send_signal(SIGINT)
    assert daemon.wait_for_exit() in (0, 130)
    assert "Traceback" not in daemon.output


def test_an_activity_in_a_thread_sees_that_its_orchestration_was_terminated(hub: CliHarness) -> None:
    hub.start_daemon("plain")
    start_and_wait(hub, "rest_until_cancelled", "--id", "t")
    hub("terminate", "t")
    wait_until(lambda: hub.read_runs()[-1] == ["cancelled", "True"], description="the activity sees it")
    assert hub.client.wait("t", 10).runtime_status is df.OrchestrationRuntimeStatus.Terminated
    assert [record.event.__class__.__name__ for record in hub.client.get_history("t")][-1] == "ExecutionCompleted"


def test_an_async_activity_of_a_terminated_orchestration_is_cancelled(hub: CliHarness) -> None:
    hub.start_daemon("executors")
    start_and_wait(hub, "wait_async", "--id", "t")
    hub("terminate", "t")
    wait_until(lambda: hub.read_runs()[-1] == ["cancelled"], description="the activity is cancelled")


def test_a_worker_of_a_terminated_orchestration_gets_term_and_then_kill(hub: CliHarness) -> None:
    hub.start_daemon("executors")
    start_and_wait(hub, "stubborn", "--id", "t")
    worker = int(hub.read_runs()[-1][1])
    hub("terminate", "t")
    wait_until(lambda: hub.read_runs()[-1] == ["term"], description="TERM is heard")
    wait_until(lambda: not is_running(worker), description="the worker is killed")
    hub("start", "in_a_process", "--id", "p", "--input", "4")
    assert hub.client.wait("p", 20).output == 16


def is_running(pid: int) -> bool:
    """Return whether a process is running and isn't a zombie."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
