"""What `durable run` drives, what it leaves alone, and how it stops."""

from __future__ import annotations

from signal import SIGINT, SIGTERM

import pytest

from tests.support.cli_harness import Hub, until

pytestmark = pytest.mark.usefixtures("replay_always")


def test_a_run_leaves_other_instances_alone(hub: Hub) -> None:
    hub("start", "work", "--id", "other", "--input", '"other"')
    hub("start", "counts", "--id", "counting", "--input", '"elsewhere"')
    assert hub.run("scope", "parent", "--id", "mine").out == '["child",1]\n'
    assert hub.ran() == [["child"]]
    assert hub.status("other")["runtimeStatus"] == "Pending"
    assert hub.status("counting")["runtimeStatus"] == "Pending"
    assert not hub.client.entity("@counter@elsewhere")
    hub.is_sound()
    hub.finish("scope")
    assert hub.status("other")["output"] == "other"
    assert hub.status("counting")["output"] == 1
    assert sorted(hub.ran()) == [["child"], ["other"]]
    hub.is_sound()


def test_a_run_leaves_alone_what_an_earlier_engine_has_begun(hub: Hub) -> None:
    daemon = hub.daemon("scope")
    hub("start", "work", "--id", "busy", "--input", '"busy"')
    hub("start", "hold", "--id", "sleeping", "--input", '"other"')
    until(lambda: ["busy"] in hub.ran() and hub.client.get_status("sleeping").waiting_for, what="both have begun")
    daemon.kill()
    before = hub.status("sleeping")
    ran = hub.ran()
    hub.run("scope", "parent", "--id", "mine")
    assert hub.ran() == [*ran, ["child"]]
    assert hub.status("sleeping")["lastUpdatedTime"] == before["lastUpdatedTime"]
    hub.is_sound()


def test_a_run_with_all_drives_everything(hub: Hub) -> None:
    hub("start", "work", "--id", "other", "--input", '"other"')
    hub.run("scope", "rests", "--input", "1.5", "--all")
    assert hub.status("other")["output"] == "other"


def test_what_activities_start_through_a_client_is_driven(hub: Hub) -> None:
    hub("start", "work", "--id", "other", "--input", '"other"')
    done = hub.run("scope", "starts", "--input", f'"{hub.root}"')
    assert done.out == '["thread","process"]\n'
    assert hub.status("other")["runtimeStatus"] == "Pending"


def test_an_entity_that_is_needed_comes_free(hub: Hub) -> None:
    """The lock's holder was begun by an engine that is gone; others wait in line before the run's own instance."""
    daemon = hub.daemon("scope")
    for id in ("first", "second"):
        hub("start", "hold", "--id", id, "--input", '"a"')
        until(lambda id=id: hub.client.get_status(id).waiting_for, what=f"{id} waits")  # type: ignore[misc]
    daemon.kill()
    assert hub.run("scope", "counts", "--input", '"a"').out == "1\n"
    hub.is_sound()


def test_a_run_lets_what_it_began_finish(hub: Hub) -> None:
    assert hub.run("scope", "leaves_behind", "--id", "l").out == '"left"\n'
    assert hub.ran() == [["late"]]
    assert hub.client.entity("@counter@left").state == {"value": 1}
    hub.is_sound()


@pytest.mark.parametrize("number", [SIGINT, SIGTERM])
def test_a_signal_drains_a_run_and_it_says_how_to_go_on(hub: Hub, number: int) -> None:
    run = hub.begin("run", "rest_twice", "--id", "r", "--input", "0.5", app="scope")
    until(hub.ran, what="the activity begins")
    run.signal(number)
    assert run.ends() == 128 + number
    assert f"stopped by {'SIGINT' if number == SIGINT else 'SIGTERM'}: r goes on" in run.said
    assert "durable run-daemon" in run.said
    assert "Traceback" not in run.said
    assert hub.ran() == [["begin"], ["end"]]
    hub.is_sound()
    assert hub.status("r")["runtimeStatus"] == "Running"
    assert '"clean":true' in (hub.root / "hub.json").read_text()
    hub.finish("scope")
    assert hub.status("r")["runtimeStatus"] == "Completed"
    assert hub.ran() == [["begin"], ["end"]] * 2


def test_a_second_run_waits_says_for_whom_and_takes_over(hub: Hub) -> None:
    first = hub.begin("run", "rest_twice", "--id", "a", "--input", "5", app="scope")
    until(hub.ran, what="the first one works")
    second = hub.run("scope", "work", "--id", "b", "--input", '"b"')
    assert second.out == '"b"\n'
    assert "b is still Pending" in second.err
    assert str(first.pid) in second.err
    assert first.ends() == 0
    assert hub.ran()[-1] == ["b"]
