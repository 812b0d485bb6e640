"""Schedules through the command: runs over kills, the verbs of `durable schedule`, mistakes, `--until-idle`."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from durablecli.client import Query
from tests.support.cli_harness import FLOWS, CliHarness
from tests.support.waiting import wait_until

APP = ("--app", str(FLOWS / "scheduled.py"))


def schedule(hub: CliHarness, verb: str, *arguments: str, code: int = 0) -> str:
    done = hub("schedule", verb, *arguments, *APP, code=code)
    return done.out if code == 0 else done.err


def show(hub: CliHarness, name: str) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(schedule(hub, "show", name, "-o", "json"))
    return shown


def list_runs(hub: CliHarness) -> list[str]:
    return sorted(hub.client.iter_ids(Query(tags={"durable.schedule": "each_second"})))


def to_time(run: str) -> datetime:
    text = run.removeprefix("each_second-")
    return datetime.fromisoformat(text)


def test_no_due_time_is_lost_or_has_two_runs_over_kills(hub: CliHarness) -> None:
    for count in (2, 4, 6):
        daemon = hub.start_daemon("scheduled")
        wait_until(lambda count=count: len(list_runs(hub)) >= count, 40)  # type: ignore[misc]
        daemon.kill()
    hub.assert_sound()
    daemon = hub.start_daemon("scheduled")
    wait_until(lambda: len(list_runs(hub)) >= 8, 40)
    schedule(hub, "pause", "each_second")
    wait_until(lambda: show(hub, "each_second")["pausedAt"], 20)
    runs = list_runs(hub)
    for each in runs:
        assert hub.client.wait(each, 30).output == each
    times = sorted(map(to_time, runs))
    assert times == [times[0] + index * timedelta(seconds=1) for index in range(len(times))]
    state = show(hub, "each_second")
    assert (state["started"], state["skipped"], state["missed"]) == (len(runs), 0, 0)
    daemon.kill()
    hub.assert_sound()


def test_the_verbs_need_no_daemon(hub: CliHarness) -> None:
    rows = [line.split()[:2] for line in schedule(hub, "list").splitlines()]
    assert rows == [["NAME", "STATUS"], ["each_second", "New"], ["nightly", "New"]]
    schedule(hub, "pause", "nightly")
    assert show(hub, "nightly")["status"] == "Paused"
    assert "is paused already" in schedule(hub, "pause", "nightly", code=5)
    schedule(hub, "resume", "nightly")
    assert "isn't paused" in schedule(hub, "resume", "nightly", code=5)
    assert "did you mean 'nightly'?" in schedule(hub, "show", "nightli", code=3)
    times = json.loads(schedule(hub, "next", "nightly", "400", "-o", "json"))
    assert len(times) == 400
    assert {each[11:16] for each in times} == {"02:30", "03:00"}  # in spring the clocks skip 02:30 once
    run = schedule(hub, "trigger", "nightly").strip()
    assert hub.read_status(run)["runtimeStatus"] == "Pending"
    schedule(hub, "pause", "each_second")
    hub.run_until_idle("scheduled")
    assert hub.read_status(run)["output"] == {"depth": 3}
    assert [each["instanceId"] for each in show(hub, "nightly")["runs"]] == [run]


def test_schedules_keep_no_daemon_busy_and_appear_in_no_list_of_instances(hub: CliHarness) -> None:
    schedule(hub, "pause", "each_second")
    said = hub.run_until_idle("scheduled")
    assert "scheduled.py:29: the schedule of mistaken is off: invalid schedule '61 * * * *'" in said
    assert "idle: waiting only for timers or events" in said
    assert list(hub.client.iter_ids(Query())) == []
    assert show(hub, "nightly")["status"] == "Active"
    assert hub.run("scheduled", "mistaken").out == '"by hand"\n'
    hub("purge", "--all", "--yes", code=None)
    assert show(hub, "nightly")["status"] == "Active"
    hub("schedule", "list", "--app", str(FLOWS / "plain.py"))
    other = json.loads(hub("schedule", "show", "nightly", "--app", str(FLOWS / "plain.py"), "-o", "json").out)
    assert other["status"] == "Not loaded"
    assert other["nextDue"] is None


def test_durable_yaml_declares_schedules(hub: CliHarness) -> None:
    (hub.folder / "durable.yaml").write_text(
        "schedules:\n"
        "  nightly: {orchestrator: nightly, schedule: '@hourly', input: 7}\n"
        "  weekly: {orchestrator: nightli, schedule: '0 5 * * sun', overlap: queue}\n"
        "  each_second: {orchestrator: each_second, schedule: '@yearly', timezone: America/New_York}\n"
    )
    out = json.loads(schedule(hub, "list", "-o", "json"))[1]
    assert (out["name"], out["schedule"], out["declaredIn"]) == ("nightly", "@hourly", "durable.yaml")
    said = hub.run_until_idle("scheduled")
    assert "durable.yaml: schedule 'weekly': orchestrator 'nightli' isn't loaded; did you mean 'nightly'?" in said
    assert show(hub, "each_second")["nextDue"].endswith("-01-01T00:00:00-05:00")


def test_an_input_that_does_not_fit_is_refused_when_the_code_is_loaded(hub: CliHarness) -> None:
    (hub.folder / "durable.yaml").write_text(
        "schedules:\n"
        "  wrong: {orchestrator: order, schedule: '@daily', input: {id: x, city: Wien}}\n"
        "  right: {orchestrator: sweep, schedule: '@daily', input: {steps: 2}}\n"
    )
    app, line = ("--app", str(FLOWS / "typed.py")), "durable.yaml: schedule 'wrong' is off: its input doesn't fit order"
    done = hub("schedule", "list", "-o", "json", *app)
    assert [each["name"] for each in json.loads(done.out)] == ["right"]
    assert f"{line}: $.id: expected int, got" in done.err
    assert f"{line}: $.id: expected int, got" in hub("schedule", "trigger", "wrong", *app, code=2).err
    assert list(hub.client.iter_ids(Query())) == []
    hub("schedule", "trigger", "right", *app)
    assert f"{line}: $.id" in hub.run_until_idle("typed")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{orchestrator: nightly, schedule: 'x'}", "$.schedules.a: invalid schedule 'x'"),
        ("{orchestrator: nightly, schedule: '@daily', timezone: Europe/Wien}", "unknown time zone 'Europe/Wien'"),
        ("{orchestrator: nightly, schedule: '@daily', overlap: sometimes}", "'sometimes'"),
        ("{orchestrator: nightly}", "schedule"),
        ("{orchestrator: nightly, schedule: '@daily', catchup: true}", "catchup"),
    ],
)
def test_a_mistake_in_durable_yaml_is_a_configuration_error(hub: CliHarness, entry: str, message: str) -> None:
    (hub.folder / "durable.yaml").write_text(f"schedules: {{a: {entry}}}\n")
    assert message in hub("functions", code=78).err
