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
from tests.support.cli_harness import Hub, Process, until
from tests.support.http_stub import Answer, Web, web

pytestmark = pytest.mark.usefixtures("replay_always")


@pytest.fixture
def server() -> Iterator[Web]:
    with web() as made:
        yield made


def serving(hub: Hub, **settings: str) -> tuple[Process, str]:
    """A daemon that answers HTTP, and where."""
    daemon = hub.daemon("calls", "--http", "127.0.0.1:0", NO_PROXY="127.0.0.1", **settings)
    daemon.says("answers at ")
    found = re.search(r"answers at (http://127\.0\.0\.1:\d+)", daemon.said)
    assert found is not None
    return daemon, found[1]


def test_an_orchestration_calls_its_own_daemon(hub: Hub) -> None:
    daemon, origin = serving(hub)
    hub("start", "through_the_door", "--id", "outer", "--input", json.dumps(origin))
    status, body = json.loads(hub("wait", "outer", "--timeout", "60", timeout=80).out)
    assert status == 200
    assert json.loads(body)["output"] == 42
    daemon.signal(15)
    assert daemon.ends() == 0
    hub.is_sound()


def test_a_daemon_killed_between_the_polls_goes_on(hub: Hub, server: Web) -> None:
    """Three kills while it sleeps; each poll is made when it is due, none is left out and none is made twice."""
    promise = Answer(202, {"Location": "/status?code=secret", "Retry-After": "2"})
    server.script("/status?code=secret", promise, promise, Answer(200, {}, b"done"))
    asked = {"method": "POST", "uri": server.script("/work", promise), "content": {"n": 1}}
    hub("start", "call", "--id", "patient", "--input", json.dumps(asked))
    for polls in (1, 2, 3):
        daemon = hub.daemon("calls", NO_PROXY="127.0.0.1")
        until(lambda polls=polls: len(server.asked) >= polls, what=f"poll {polls}:\n{daemon.said}")  # type: ignore[misc]
        until(lambda: sleeps(hub), what="the timer")
        daemon.kill()
        hub.is_sound()
    hub.daemon("calls", NO_PROXY="127.0.0.1")
    found = json.loads(hub("wait", "patient", "--timeout", "30").out)
    assert (found["statusCode"], found["content"]) == (200, "done")
    assert server.paths() == ["POST /work", *["GET /status?code=secret"] * 3]
    assert [asked.body for asked in server.asked] == ['{"n":1}', "", "", ""]
    assert not [process.log for process in hub.processes if "secret" in process.said]


def sleeps(hub: Hub) -> bool:
    """Whether the orchestration that polls waits for a timer, and nothing else."""
    found = [one for one in hub.client.get_status_all() if one.name == HTTP_ORCHESTRATOR]
    return [wait.kind for one in found for wait in one.waiting_for] == ["timer"]


def test_a_refused_call_says_what_refused(hub: Hub) -> None:
    """Nobody listens there."""
    hub("start", "call", "--id", "lost", "--input", '{"method": "GET", "uri": "http://127.0.0.1:9/a?code=secret"}')
    hub.finish("calls")
    shown = hub.status("lost")
    assert shown["runtimeStatus"] == "Failed"
    assert "connection refused" in json.dumps(shown["output"])


def test_settings_say_how_often_is_polled_and_how_long_is_waited(hub: Hub, server: Web) -> None:
    over = threading.Event()
    server.script("/status", Answer(after=over))
    asked = {"method": "GET", "uri": server.script("/work", Answer(202, {"Location": "/status"}))}
    hub("start", "call", "--id", "impatient", "--input", json.dumps(asked))
    hub.daemon("calls", NO_PROXY="127.0.0.1", DURABLE_CALL_HTTP__POLL="0.1s", DURABLE_CALL_HTTP__TIMEOUT="0.5s")
    assert "no answer within 0.5 s" in hub("wait", "impatient", "--timeout", "20", code=6).err
    assert server.paths() == ["GET /work", "GET /status"]
    over.set()


def test_built_ins_are_not_listed_and_not_started(hub: Hub) -> None:
    daemon, origin = serving(hub)
    refused = httpx.post(f"{origin}/api/orchestrators/{HTTP_ORCHESTRATOR}", json={})
    assert refused.status_code == 400
    assert "known orchestrator functions: 'call', 'doubled', 'through_the_door'" in refused.text
    assert "BuiltIn" not in hub("functions", "--app", str(Path(__file__).parent / "flows" / "calls.py")).out
    assert "known are: call, doubled" in hub("start", "BuiltIn__HttpPollOrchestrator", code=3).err
    assert "BuiltIn" not in daemon.said
