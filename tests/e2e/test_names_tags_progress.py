"""Names of calls, tags and progress, as the command shows them."""

from __future__ import annotations

import json
from typing import Any

from tests.support.cli_harness import CliHarness
from tests.support.waiting import wait_until


def read_progress(status: dict[str, Any]) -> dict[str, Any]:
    """What the status of `reports` says, without times: of itself as `""`, of each call by its function."""
    found = {one["name"]: one.get("progress") for one in status["waitingFor"]} | {"": status.get("progress")}
    return {name: {k: v for k, v in one.items() if k != "at"} if one else None for name, one in found.items()}


def test_a_status_shows_the_progress_of_an_orchestration_and_of_its_activities(hub: CliHarness) -> None:
    daemon = hub.start_daemon("reporting")
    hub("start", "reports", "--id", "r")
    expected = {
        "": {"done": 2, "total": 3, "message": "billing"},
        "in_thread": {"done": 1, "total": 4, "message": "in a thread"},
        "in_loop": {"done": 0.5},
        "in_process": {"done": 1000, "total": 1000, "message": "in a process"},
        "waits": None,
    }
    wait_until(lambda: read_progress(hub.read_status("r")) == expected, description="all reports")
    text = hub("status", "r").out
    assert "progress   2 of 3 (67 %), billing" in text
    assert "activity in_thread [invoice 17] (id 2), running for" in text
    assert ", 1 of 4 (25 %), in a thread" in text
    assert ", 0.5 done" in text
    assert "sub-orchestration waits [the rest] (id 5)" in text

    history = (next((hub.root / "instances").rglob("r.jsonl"))).read_text()
    assert "billing" not in history
    assert '"label":"invoice 17"' in history
    hub.release()
    hub("raise-event", "child", "go")
    wait_until(lambda: len(hub.read_status("r")["waitingFor"]) == 1)
    wait_until(lambda: hub.read_status("child").get("progress", {}).get("done") == 1)

    daemon.kill()  # live, not durable: it is gone with the engine, and a replay brings none back
    assert "progress" not in hub.read_status("r")
    hub.start_daemon("reporting")
    hub("raise-event", "child", "go")
    assert hub.client.wait("r", 20).ended
    assert "progress" not in hub.read_status("r")
    assert "in_thread [invoice 17](null)" in hub("history", "r").out
    hub.assert_sound()


def test_an_activity_that_reports_for_ever_is_killed_like_any_other(hub: CliHarness) -> None:
    daemon = hub.start_daemon("reporting", DURABLE_DRAIN="0s")
    hub("start", "stubborn", "--id", "s")
    wait_until(lambda: hub.read_status("s")["waitingFor"][0].get("progress"), description="a report")
    hub("terminate", "s")
    wait_until(lambda: '"running":[]' in (hub.root / "engine.json").read_text(), 10, "the end of the activity")
    assert daemon.alive


def test_tags_are_given_on_the_command_line_and_filter_lists_and_verbs(hub: CliHarness) -> None:
    tags = ("--tag", "customer=42", "--tag", "env=a=b")
    hub("start", "waits", "--id", "tagged", *tags)
    hub("start", "waits", "--id", "other", "--tag", "customer=43")
    batch = hub.folder / "batch.jsonl"
    batch.write_text("1\n2\n")
    hub("start", "waits", "--batch", str(batch), *tags)
    assert hub.read_status("tagged")["tags"] == {"customer": "42", "env": "a=b"}
    assert hub("list", "--tag", "customer=42", "--count").out == "3\n"
    hub.start_daemon("reporting")
    wait_until(lambda: hub.read_status("tagged")["waitingFor"])
    assert hub("list", "--tag", "customer=42", "--count").out == "3\n"
    assert hub("list", "--tag", "customer=42", "--tag", "env=b", "--count").out == "0\n"
    assert "tags       customer=42, env=a=b" in hub("status", "tagged").out
    assert "waits(null), version 1, customer=42" not in hub("history", "other").out
    assert "waits(null), customer=43" in hub("history", "other").out
    assert "would terminate other" in hub("terminate", "--tag", "customer=43", "--dry-run").out
    hub("terminate", "--tag", "customer=43", "--yes")
    assert hub.client.wait("other", 20).tags == {"customer": "43"}
    rows = [json.loads(line) for line in hub("list", "--tag", "env=a=b", "-o", "jsonl").out.splitlines()]
    assert [row["tags"]["customer"] for row in rows] == ["42", "42", "42"]


def test_wrong_tags_are_refused_on_one_line(hub: CliHarness) -> None:
    for options, text in (
        (["--tag", "customer"], "invalid tag 'customer'; use KEY=VALUE"),
        (["--tag", "=1"], "invalid tag '=1'; use KEY=VALUE"),
        (["--tag", "a=1", "--tag", "a=2"], "tag 'a' is given twice, as '1' and '2'"),
        (["--tag", "a=x\ny"], "control characters"),
    ):
        for verb in (("start", "waits"), ("list",), ("terminate",)):
            result = hub(*verb, *options, code=2)
            assert text in result.err
    assert not hub.root.exists()


def test_run_tags_the_instance_that_it_runs(hub: CliHarness) -> None:
    hub.release()
    hub.run("plain", "hello", "--id", "g", "--input", '"Ada"', "--tag", "a=b")
    assert hub.read_status("g")["tags"] == {"a": "b"}
