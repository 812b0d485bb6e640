"""`durable run-daemon --http` as people meet it: a process, a socket, and a client that knows nothing of us."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import pytest

from durablecli.config import Config
from durablecli.daemon import serve
from durablecli.errors import DurableError
from durablecli.http.server import _Server
from tests.support.cli_harness import Hub, Process, until

FLOW = str(Path(__file__).with_name("daemon_app.py"))
BASE = "/runtime/webhooks/durabletask"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    made = Hub(tmp_path)
    yield made
    made.close()


def serving(hub: Hub, listen: str = "0", **settings: str) -> tuple[Process, str]:
    """A daemon that answers HTTP, and where."""
    daemon = hub.begin("run-daemon", "--app", FLOW, "--http", listen, **settings)
    daemon.says("answers at ")
    found = re.search(r"answers at (http://\S+), hub ", daemon.said)
    assert found is not None
    return daemon, found[1]


def ask(url: str, method: str = "GET", body: bytes | None = None, **headers: str) -> tuple[int, dict[str, str], Any]:
    """Status, headers and JSON, by the client of the standard library."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    try:
        connection.request(method, f"{parts.path}{'?' + parts.query if parts.query else ''}", body, headers)
        answer = connection.getresponse()
        data = answer.read()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, data and json.loads(data)
    finally:
        connection.close()


def test_the_async_http_api_goes_as_the_documentation_says(hub: Hub) -> None:
    _, url = serving(hub)
    code, headers, body = ask(f"{url}/api/orchestrators/DoWork", "POST")
    assert code == 202
    assert headers["content-type"] == "application/json"
    where = headers["location"]
    assert where == f"{url}{BASE}/instances/{body['id']}"
    code, headers, body = ask(where)
    assert code == 202
    assert headers["location"] == where
    assert body["runtimeStatus"] in ("Pending", "Running")
    until(lambda: ask(where)[0] == 200, what="completed")
    code, headers, body = ask(where)
    assert (headers["content-type"], body["runtimeStatus"]) == ("application/json", "Completed")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", body["lastUpdatedTime"])
    assert body["output"] == "done"


def test_an_event_is_raised_as_the_documentation_says(hub: Hub) -> None:
    _, url = serving(hub)
    where = ask(f"{url}/api/orchestrators/Approval", "POST")[1]["location"]
    until(lambda: ask(where)[2]["runtimeStatus"] == "Running", what="running")
    raised = ask(f"{where}/raiseEvent/ApprovalEvent", "POST", b"true", **{"Content-Type": "application/json"})
    assert raised[0] == 202
    until(lambda: ask(where)[0] == 200, what="completed")
    assert ask(where)[2]["output"] is True
    assert ask(f"{where}/raiseEvent/ApprovalEvent", "POST", b"true", **{"Content-Type": "application/json"})[0] == 410


def test_what_was_answered_is_on_disk(hub: Hub) -> None:
    daemon, url = serving(hub)

    def start(number: int) -> str:
        code, _, body = ask(f"{url}/api/orchestrators/Approval", "POST", str(number).encode())
        assert code == 202
        return str(body["id"])

    with ThreadPoolExecutor(8) as threads:
        ids = [*threads.map(start, range(100))]
    daemon.kill()
    assert {status.instance_id for status in hub.client.get_status_all()} == set(ids)
    hub.is_sound()


def test_stopping_lets_a_request_end_and_takes_no_more(hub: Hub) -> None:
    daemon, url = serving(hub)
    with ThreadPoolExecutor(1) as threads:
        path = f"{url}{BASE}/orchestrators/Approval/waited-for?timeout=60&pollingInterval=0.1"
        waiting = threads.submit(ask, path, "POST")
        until(lambda: ask(f"{url}{BASE}/instances/waited-for")[0] == 202, what="started")
        daemon.signal(signal.SIGTERM)
        code, _, body = waiting.result(20)
    assert (code, body["id"]) == (202, "waited-for")
    assert daemon.ends() == 0
    with pytest.raises(ConnectionError):
        ask(url)


def complaints(text: str) -> list[str]:
    """The lines but for the one that says that the hub was created."""
    return [line for line in text.splitlines() if not line.startswith("created the hub ")]


def test_a_port_that_is_taken_is_said_in_one_line(hub: Hub) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = hub("run-daemon", "--app", FLOW, "--http", str(port), code=78)
    assert len(complaints(done.err)) == 1
    assert str(port) in done.err
    assert not (hub.root / "engine.json").exists()


@pytest.mark.parametrize("listen", ["here", "127.0.0.1:http", "1:2:3:99999", "", "no.such.host.invalid:0"])
def test_an_address_that_is_none_is_said_in_one_line(hub: Hub, listen: str) -> None:
    done = hub("run-daemon", "--app", FLOW, f"--http={listen}", code=78)
    assert len(complaints(done.err)) == 1


def test_the_settings_may_turn_it_on(hub: Hub) -> None:
    daemon = hub.begin("run-daemon", "--app", FLOW, DURABLE_HTTP__LISTEN="127.0.0.1:0", DURABLE_HTTP__KEYS__SYSTEM="k")
    daemon.says("answers at ")
    found = re.search(r"answers at (http://\S+),", daemon.said)
    assert found is not None
    assert ask(f"{found[1]}{BASE}/instances")[0] == 401
    assert ask(f"{found[1]}{BASE}/instances?code=k")[0] == 200


def test_a_public_address_shows_its_key_once(hub: Hub) -> None:
    daemon, url = serving(hub, "0.0.0.0:0")
    assert url.startswith("http://127.0.0.1:")
    key = json.loads((hub.root / "keys.json").read_text())["system"]
    assert key in daemon.said
    assert ask(f"{url}{BASE}/instances")[0] == 401
    assert ask(f"{url}{BASE}/instances?code={key}")[0] == 200
    assert ask(f"{url}{BASE}/instances", **{"x-functions-key": key})[0] == 200
    daemon.signal(signal.SIGTERM)
    assert daemon.ends() == 0
    assert daemon.said.count(key) == 1
    again, _ = serving(hub, "0.0.0.0:0")
    assert key not in again.said
    hub.is_sound()


def test_stopping_waits_for_no_body_and_begins_nothing_more(hub: Hub) -> None:
    daemon, url = serving(hub)
    ask(f"{url}/api/orchestrators/Chain", "POST", b"0.05")
    where = urlsplit(url)
    with socket.create_connection((where.hostname or "", where.port or 0), timeout=10) as connection:
        head = b"POST /api/orchestrators/DoWork HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n1"
        connection.sendall(head)
        until(lambda: len(hub.ran()) > 2, what="begun")
        daemon.signal(signal.SIGTERM)
        begun = len(hub.ran())
        before = monotonic()
        assert connection.recv(1000).startswith(b"HTTP/1.1 503 ")
    assert daemon.ends() == 0
    assert monotonic() - before < 4
    assert len(hub.ran()) <= begun + 2
    assert "Exception in ASGI" not in daemon.said
    hub.is_sound()


def test_stopping_cuts_a_request_that_takes_longer(hub: Hub) -> None:
    daemon, url = serving(hub, DURABLE_DRAIN="2s")
    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(ask, f"{url}/api/slow")
        until(hub.ran, what="begun")
        before = monotonic()
        daemon.signal(signal.SIGTERM)
        assert slow.result(10)[0] == 503
    assert monotonic() - before < 1.8
    assert daemon.ends() == 0
    assert "Exception in ASGI" not in daemon.said


def test_a_server_that_breaks_stops_the_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def break_down(self: _Server, counter: int) -> bool:
        if counter > 2:
            raise ZeroDivisionError("nothing works")
        return False

    monkeypatch.setattr(_Server, "on_tick", break_down)
    config = Config(app=(FLOW,), base=str(tmp_path))
    with pytest.raises(DurableError, match="nothing works"):
        serve(config, state_dir=str(tmp_path / "hub"), listen="0", echo=lambda text: None)


def test_a_server_is_known_by_the_name_that_was_given_for_it(hub: Hub) -> None:
    _, url = serving(hub, "127.1:0")  # a name of the loopback address that isn't known otherwise
    assert url.startswith("http://127.1:")
    assert ask(f"{url}{BASE}/instances")[0] == 200
    assert ask(f"{url}/api/orchestrators/DoWork", "POST")[1]["location"].startswith(url)
    assert ask(f"{url}{BASE}/instances", Host="127.2")[0] == 403
