"""`durable run`: which instances it drives, which it leaves alone, and how it stops."""

from __future__ import annotations

from signal import SIGINT, SIGTERM

import pytest

from tests.support.cli_harness import CliHarness
from tests.support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("replay_always")


def test_a_run_leaves_other_instances_alone(hub: CliHarness) -> None:
    hub("start", "work", "--id", "other", "--input", '"other"')
    hub("start", "counts", "--id", "counting", "--input", '"elsewhere"')
    assert hub.run("scope", "parent", "--id", "mine").out == '["child",1]\n'
    assert hub.read_runs() == [["child"]]
    assert hub.read_status("other")["runtimeStatus"] == "Pending"
    assert hub.read_status("counting")["runtimeStatus"] == "Pending"
    assert not hub.client.entity("@counter@elsewhere")
    hub.assert_sound()
    hub.run_until_idle("scope")
    assert hub.read_status("other")["output"] == "other"
    assert hub.read_status("counting")["output"] == 1
    assert sorted(hub.read_runs()) == [["child"], ["other"]]
    hub.assert_sound()


def test_a_run_leaves_instances_of_an_earlier_engine_alone(hub: CliHarness) -> None:
    daemon = hub.start_daemon("scope")
    hub("start", "work", "--id", "busy", "--input", '"busy"')
    hub("start", "hold", "--id", "sleeping", "--input", '"other"')
    wait_until(
        lambda: ["busy"] in hub.read_runs() and hub.client.get_status("sleeping").waiting_for,
        description="both have begun",
    )
    daemon.kill()
    before = hub.read_status("sleeping")
    ran = hub.read_runs()
    hub.run("scope", "parent", "--id", "mine")
    assert hub.read_runs() == [*ran, ["child"]]
    assert hub.read_status("sleeping")["lastUpdatedTime"] == before["lastUpdatedTime"]
    hub.assert_sound()


def test_a_run_with_all_drives_everything(hub: CliHarness) -> None:
    hub("start", "work", "--id", "other", "--input", '"other"')
    run = hub.start("run", "rests", "--all", app="scope")
    assert hub.client.wait("other", 20).output == "other"
    hub.release()
    assert run.wait_for_exit() == 0, run.output


def test_a_run_drives_instances_that_its_activities_start(hub: CliHarness) -> None:
    hub("start", "work", "--id", "other", "--input", '"other"')
    done = hub.run("scope", "starts", "--input", f'"{hub.root}"')
    assert done.out == '["thread","process"]\n'
    assert hub.read_status("other")["runtimeStatus"] == "Pending"


def test_a_needed_entity_lock_is_released(hub: CliHarness) -> None:
    """The lock's holder was started by an earlier engine; others wait for the lock before the run's own instance."""
    daemon = hub.start_daemon("scope")
    for id in ("first", "second"):
        hub("start", "hold", "--id", id, "--input", '"a"')
        wait_until(lambda id=id: hub.client.get_status(id).waiting_for, description=f"{id} waits")  # type: ignore[misc]
    daemon.kill()
    assert hub.run("scope", "counts", "--input", '"a"').out == "1\n"
    hub.assert_sound()


def test_a_run_lets_dispatched_activities_finish(hub: CliHarness) -> None:
    run = hub.start("run", "leaves_behind", "--id", "l", app="scope")
    wait_until(lambda: (status := hub.client.get_status("l")) and status.ended, description="the instance ends")
    hub.release()
    assert run.wait_for_exit() == 0, run.output
    assert '"left"' in run.output
    assert hub.read_runs() == [["late"]]
    assert hub.client.entity("@counter@left").state == {"value": 1}
    hub.assert_sound()


def test_a_signal_to_a_run_that_waits_for_a_daemon_leaves_the_instance_to_it(hub: CliHarness) -> None:
    hub.start_daemon("scope")
    run = hub.start("run", "rest_twice", "--id", "r", "--input", "3", app="scope")
    wait_until(hub.read_runs, description="the activity begins")
    run.send_signal(SIGINT)
    assert run.wait_for_exit() == 130
    assert "stopped by SIGINT; the running engine continues r" in run.output


@pytest.mark.parametrize("number", [SIGINT, SIGTERM])
def test_a_signal_drains_a_run_which_prints_how_to_continue(hub: CliHarness, number: int) -> None:
    run = hub.start("run", "rest_twice", "--id", "r", "--input", "0.5", app="scope")  # ends while the run drains
    wait_until(hub.read_runs, description="the activity begins")
    run.send_signal(number)
    assert run.wait_for_exit() == 128 + number
    stopped = f"stopped by {'SIGINT' if number == SIGINT else 'SIGTERM'}"
    assert f"{stopped}; the next durable run-daemon continues r" in run.output
    assert "Traceback" not in run.output
    assert hub.read_runs() == [["begin"], ["end"]]
    hub.assert_sound()
    assert hub.read_status("r")["runtimeStatus"] == "Running"
    assert '"clean":true' in (hub.root / "hub.json").read_text()
    hub.run_until_idle("scope")
    assert hub.read_status("r")["runtimeStatus"] == "Completed"
    assert hub.read_runs() == [["begin"], ["end"]] * 2


def test_a_second_run_waits_names_the_first_and_takes_over(hub: CliHarness) -> None:
    first = hub.start("run", "rests", "--id", "a", app="scope")
    wait_until(hub.read_runs, description="the first one works")
    second = hub.start("run", "work", "--id", "b", "--input", '"b"', app="scope")
    second.wait_for_output("b is still Pending")
    assert str(first.pid) in second.output
    hub.release()
    assert first.wait_for_exit() == 0
    assert second.wait_for_exit() == 0
    assert second.output.endswith('"b"\n')
    assert hub.read_runs()[-1] == ["b"]
