"""call_http across processes: a daemon that calls itself, and one that is killed between the polls of a 202."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from durablecli.model.http_messages import HTTP_ORCHESTRATOR
from tests.support.cli_harness import CliHarness, DurableProcess
from tests.support.http_stub import StubResponse, StubServer, run_stub_server
from tests.support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("replay_always")


@pytest.fixture
def server() -> Iterator[StubServer]:
    with run_stub_server() as made:
        yield made


def start_http_daemon(hub: CliHarness, **settings: str) -> tuple[DurableProcess, str]:
    """A daemon that answers HTTP, and where."""
    daemon = hub.start_daemon("calls", "--http", "127.0.0.1:0", NO_PROXY="127.0.0.1", **settings)
    daemon.wait_for_output("listening on ")
    found = re.search(r"listening on (http://127\.0\.0\.1:\d+)", daemon.output)
    assert found is not None
    return daemon, found[1]


def test_an_orchestration_calls_its_own_daemon(hub: CliHarness) -> None:
    daemon, origin = start_http_daemon(hub)
    hub("start", "through_the_door", "--id", "outer", "--input", json.dumps(origin))
    status, body = json.loads(hub("wait", "outer", "--timeout", "60", timeout=80).out)
    assert status == 200
    assert json.loads(body)["output"] == 42
    daemon.send_signal(15)
    assert daemon.wait_for_exit() == 0
    hub.assert_sound()


def test_a_daemon_killed_between_polls_continues_polling(hub: CliHarness, server: StubServer) -> None:
    """Three kills while it sleeps; each poll is made when it is due, none is left out and none is made twice."""
    promise = StubResponse(202, {"Location": "/status?code=secret", "Retry-After": "2"})
    server.set_responses("/status?code=secret", promise, promise, StubResponse(200, {}, b"done"))
    asked = {"method": "POST", "uri": server.set_responses("/work", promise), "content": {"n": 1}}
    hub("start", "call", "--id", "patient", "--input", json.dumps(asked))
    for polls in (1, 2, 3):
        daemon = hub.start_daemon("calls", NO_PROXY="127.0.0.1")
        wait_until(lambda polls=polls: len(server.requests) >= polls, description=f"poll {polls}:\n{daemon.output}")  # type: ignore[misc]
        wait_until(lambda: waits_for_timer(hub), description="the timer")
        daemon.kill()
        hub.assert_sound()
    hub.start_daemon("calls", NO_PROXY="127.0.0.1")
    found = json.loads(hub("wait", "patient", "--timeout", "30").out)
    assert (found["statusCode"], found["content"]) == (200, "done")
    assert server.request_lines() == ["POST /work", *["GET /status?code=secret"] * 3]
    assert [asked.body for asked in server.requests] == ['{"n":1}', "", "", ""]
    assert not [process.log for process in hub.processes if "secret" in process.output]


def waits_for_timer(hub: CliHarness) -> bool:
    """Whether the orchestration that polls waits for a timer, and nothing else."""
    found = [one for one in hub.client.get_status_all() if one.name == HTTP_ORCHESTRATOR]
    return [wait.kind for one in found for wait in one.waiting_for] == ["timer"]


def test_a_refused_call_names_the_address(hub: CliHarness) -> None:
    """Nobody listens there."""
    hub("start", "call", "--id", "lost", "--input", '{"method": "GET", "uri": "http://127.0.0.1:9/a?code=secret"}')
    hub.run_until_idle("calls")
    shown = hub.read_status("lost")
    assert shown["runtimeStatus"] == "Failed"
    assert "connection refused" in json.dumps(shown["output"])


def test_poll_interval_and_timeout_come_from_settings(hub: CliHarness, server: StubServer) -> None:
    over = threading.Event()
    server.set_responses("/status", StubResponse(after=over))
    asked = {"method": "GET", "uri": server.set_responses("/work", StubResponse(202, {"Location": "/status"}))}
    hub("start", "call", "--id", "impatient", "--input", json.dumps(asked))
    hub.start_daemon("calls", NO_PROXY="127.0.0.1", DURABLE_CALL_HTTP__POLL="0.1s", DURABLE_CALL_HTTP__TIMEOUT="2s")
    assert "no response within 2 s" in hub("wait", "impatient", "--timeout", "20", code=6).err
    assert server.request_lines() == ["GET /work", "GET /status"]
    over.set()


def test_built_ins_are_not_listed_and_not_started(hub: CliHarness) -> None:
    daemon, origin = start_http_daemon(hub)
    refused = httpx.post(f"{origin}/api/orchestrators/{HTTP_ORCHESTRATOR}", json={})
    assert refused.status_code == 400
    assert "known orchestrator functions: 'call', 'doubled', 'through_the_door'" in refused.text
    assert "BuiltIn" not in hub("functions", "--app", str(Path(__file__).parent / "flows" / "calls.py")).out
    assert "known: call, doubled" in hub("start", "BuiltIn__HttpPollOrchestrator", code=3).err
    assert "BuiltIn" not in daemon.output
