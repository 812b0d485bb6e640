"""Hooks across processes: addresses and commands are called once something has happened, also over kills."""

from __future__ import annotations

import json
import stat
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from durablecli.model.hook_delivery import HOOK_ORCHESTRATOR
from durablecli.store.query import Query
from tests.support.cli_harness import CliHarness
from tests.support.http_stub import StubResponse, StubServer, run_stub_server
from tests.support.waiting import wait_until

ORDER = ("--id", "shop-1", "--input", '{"id": 7}')


@pytest.fixture
def server() -> Iterator[StubServer]:
    with run_stub_server() as made:
        yield made


@pytest.fixture
def hooked(hub: CliHarness) -> CliHarness:
    hub.environment["NO_PROXY"] = "127.0.0.1"
    return hub


def configure(hub: CliHarness, **hooks: list[dict[str, Any]]) -> None:
    """Write a durable.yaml with these hooks, for each event."""
    (hub.folder / "durable.yaml").write_text(f"on: {json.dumps(hooks)}\n")


def write_script(hub: CliHarness, text: str) -> str:
    """Write a Python script, and return the command that runs it."""
    path = hub.folder / "notify.py"
    path.write_text(f"#!{sys.executable}\n{text}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return "./notify.py"


def deliveries(hub: CliHarness) -> dict[str, str]:
    """The deliveries with their statuses."""
    return {row.id: row.status for row in hub.client.page(Query(name=HOOK_ORCHESTRATOR)).rows}


def posted(server: StubServer) -> list[dict[str, Any]]:
    return [json.loads(request.body) for request in server.requests]


def test_a_failure_is_posted_with_the_failed_activity(hooked: CliHarness, server: StubServer) -> None:
    url = server.set_responses("/failed", StubResponse(204))
    configure(hooked, failed=[{"url": url, "name": "order*", "headers": {"Authorization": "Bearer ${AUTH}"}}])
    hooked.environment["AUTH"] = "hunter2"
    hooked.run("hooked", "order", *ORDER, "--tag", "team=shop", code=6)
    (request,) = server.requests
    assert request.headers["Authorization"] == "Bearer hunter2"
    assert request.headers["Content-Type"] == "application/json"
    (event,) = posted(server)
    assert request.headers["Idempotency-Key"] == event["id"]
    activity = event.pop("activity")
    assert activity.pop("error") == event["error"]
    assert event.pop("error").pop("location").startswith("/")
    assert activity == {
        "kind": "activity",
        "name": "charge",
        "instance": "shop-1",
        "attempt": 1,
        "label": "the card",
        "input": '{"id":7}',
    }
    assert {key: event[key] for key in ("version", "event", "instance", "name", "status", "tags", "hub", "text")} == {
        "version": 1,
        "event": "failed",
        "instance": "shop-1",
        "name": "order",
        "status": "Failed",
        "tags": {"team": "shop"},
        "hub": str(hooked.root),
        "text": "shop-1 (order) failed: ValueError: card of 7 refused",
    }
    assert "hunter2" not in "".join(path.read_text() for path in hooked.root.rglob("*.jsonl"))
    assert "durable-hook" not in hooked("list").out
    assert "durable-hook" in hooked("list", "--all").out
    hooked.assert_sound()


def test_the_failed_activity_of_a_child_is_found_and_the_child_has_no_hook(
    hooked: CliHarness, server: StubServer
) -> None:
    configure(hooked, failed=[{"url": server.set_responses("/failed", StubResponse())}])
    hooked.run("hooked", "order_batch", *ORDER, code=6)
    (event,) = posted(server)
    assert (event["instance"], event["activity"]["instance"], event["activity"]["name"]) == ("shop-1", "part", "charge")


def test_a_command_reads_the_event(hooked: CliHarness) -> None:
    script = """
import json, os, sys
print(json.load(sys.stdin)["output"], os.environ["DURABLE_INSTANCE"], os.getcwd())
open("seen", "a").write("once ")
"""
    command = write_script(hooked, script)
    hook = {"run": f"{command} --x 'a b'", "name": ["other", "GREET"]}
    configure(hooked, completed=[hook], failed=[{"run": command, "name": "greet"}])
    hooked("start", "greet", "--id", "one")
    hooked("raise-event", "one", "go")
    hooked.run_until_idle("hooked")
    (id,) = deliveries(hooked)
    assert f'{{"greeting":"hello"}} one {hooked.folder}' in hooked("logs", id).out
    assert (hooked.folder / "seen").read_text() == "once "


def test_blocked_is_said_once_for_each_reason(hooked: CliHarness, server: StubServer) -> None:
    configure(hooked, blocked=[{"url": server.set_responses("/blocked", StubResponse())}])
    hooked("start", "needy", "--id", "stuck")
    hooked.run_until_idle("hooked")
    hooked.run_until_idle("hooked")
    (event,) = posted(server)
    assert (event["event"], event["status"], event["reason"]) == (
        "blocked",
        "Running",
        "activity 'missing' isn't loaded",
    )


def test_terminated_has_its_reason(hooked: CliHarness, server: StubServer) -> None:
    configure(hooked, terminated=[{"url": server.set_responses("/terminated", StubResponse())}])
    hooked("start", "greet", "--id", "one")
    hooked.run_until_idle("hooked")
    daemon = hooked.start_daemon("hooked")
    hooked("terminate", "one", "--reason", "enough")
    wait_until(lambda: server.requests, description=daemon.output)
    assert posted(server)[0]["output"] == '"enough"'


@pytest.mark.parametrize("kill_at", ["before", "during"])
def test_a_kill_before_or_during_a_delivery_repeats_it(hooked: CliHarness, server: StubServer, kill_at: str) -> None:
    answer = threading.Event()
    url = server.set_responses("/failed", StubResponse(200, after=answer), StubResponse())
    configure(hooked, failed=[{"url": url}])
    hooked("start", "order", *ORDER)
    if kill_at == "before":
        hooked.environment["DURABLE_DRAIN"] = "0"
    daemon = hooked.start_daemon("hooked")
    if kill_at == "during":
        wait_until(lambda: server.requests, description=daemon.output)
    else:
        wait_until(lambda: hooked.client.has_ended("shop-1"), description=daemon.output, interval=0.0005)
    daemon.kill()
    ended = hooked.read_status("shop-1")
    answer.set()
    hooked.run_until_idle("hooked")
    assert {event["id"] for event in posted(server)} == {posted(server)[0]["id"]}
    assert len(posted(server)) >= (2 if kill_at == "during" else 1)
    assert set(deliveries(hooked).values()) == {"Completed"}
    assert hooked.read_status("shop-1") == ended
    hooked.assert_sound()


def test_dead_hooks_hold_nothing_up_and_are_tried_again(hooked: CliHarness, server: StubServer) -> None:
    never = threading.Event()
    hanging = server.set_responses("/hangs", StubResponse(200, after=never))
    bad = write_script(hooked, "import sys\nprint('no mail server')\nsys.exit(1)\n")
    hooks: list[dict[str, Any]] = [
        {"url": "http://127.0.0.1:9/secret?code=1"},
        {"url": hanging, "timeout": "200ms"},
        {"run": "sleep 600", "timeout": "200ms"},
        {"run": bad, "attempts": 1},
        {"run": "./nothing.sh"},
        {"url": "${NOT_SET}"},
        {"url": server.set_responses("/moved", StubResponse(302, {"Location": "/hangs"}))},
    ]
    configure(hooked, failed=hooks)
    hooked("start", "order", *ORDER)
    output = hooked.run_until_idle("hooked")
    never.set()
    assert hooked.read_status("shop-1")["runtimeStatus"] == "Failed"
    found = deliveries(hooked)
    assert sorted(found.values()) == ["Failed"] + ["Running"] * 6
    errors = [(status.custom_status or {}).get("error", "") for status in map(hooked.client.get_status, sorted(found))]
    assert errors == [
        "http://127.0.0.1:9/secret: connection refused",
        f"{hanging}: no response within 0.2 s",
        "sleep 600 took longer than 0.2 s and was killed",
        "",
        "./nothing.sh can't be run: No such file or directory",
        "${NOT_SET}: the environment variable NOT_SET, which the hook names, isn't set",
        f"{server.url}/moved answered 302: redirects are not followed",
    ]
    assert "was not delivered in 1 attempt: ./notify.py exited with code 1: no mail server" in output
    assert "Traceback" not in output
    hooked.assert_sound()
