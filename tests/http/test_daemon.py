"""`durable run-daemon --http` as a process, called over a socket by an independent client."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from durablecli.config import Config
from durablecli.daemon.foreground import serve
from durablecli.errors import DurableError
from durablecli.http.server import _Server
from tests.support.cli_harness import CliHarness, DurableProcess
from tests.support.waiting import wait_until

DAEMON_APP = str(Path(__file__).with_name("daemon_app.py"))
BASE = "/runtime/webhooks/durabletask"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[CliHarness]:
    made = CliHarness(tmp_path)
    yield made
    made.close()


def start_http_daemon(hub: CliHarness, listen: str = "0", **settings: str) -> tuple[DurableProcess, str]:
    """Start a daemon with HTTP; returns it and its URL."""
    daemon = hub.start("run-daemon", "--app", DAEMON_APP, "--http", listen, **settings)
    daemon.wait_for_output("listening on ")
    found = re.search(r"listening on (http://\S+) \(hub ", daemon.output)
    assert found is not None
    return daemon, found[1]


def send_request(
    url: str, method: str = "GET", body: bytes | None = None, **headers: str
) -> tuple[int, dict[str, str], Any]:
    """Send a request with the standard library; returns status, headers and JSON."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    try:
        connection.request(method, f"{parts.path}{'?' + parts.query if parts.query else ''}", body, headers)
        answer = connection.getresponse()
        data = answer.read()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, data and json.loads(data)
    finally:
        connection.close()


def test_the_async_http_api_works_as_documented(hub: CliHarness) -> None:
    _, url = start_http_daemon(hub)
    code, headers, body = send_request(f"{url}/api/orchestrators/DoWork", "POST")
    assert code == 202
    assert headers["content-type"] == "application/json"
    where = headers["location"]
    assert where == f"{url}{BASE}/instances/{body['id']}"
    code, headers, body = send_request(where)
    assert code == 202
    assert headers["location"] == where
    assert body["runtimeStatus"] in ("Pending", "Running")
    wait_until(lambda: send_request(where)[0] == 200, description="completed")
    code, headers, body = send_request(where)
    assert (headers["content-type"], body["runtimeStatus"]) == ("application/json", "Completed")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", body["lastUpdatedTime"])
    assert body["output"] == "done"


def test_an_event_is_raised_as_documented(hub: CliHarness) -> None:
    _, url = start_http_daemon(hub)
    where = send_request(f"{url}/api/orchestrators/Approval", "POST")[1]["location"]
    wait_until(lambda: send_request(where)[2]["runtimeStatus"] == "Running", description="running")
    raised = send_request(f"{where}/raiseEvent/ApprovalEvent", "POST", b"true", **{"Content-Type": "application/json"})
    assert raised[0] == 202
    wait_until(lambda: send_request(where)[0] == 200, description="completed")
    assert send_request(where)[2]["output"] is True
    assert (
        send_request(f"{where}/raiseEvent/ApprovalEvent", "POST", b"true", **{"Content-Type": "application/json"})[0]
        == 410
    )


def test_an_acknowledged_start_is_on_disk(hub: CliHarness) -> None:
    daemon, url = start_http_daemon(hub)

    def start(number: int) -> str:
        code, _, body = send_request(f"{url}/api/orchestrators/Approval", "POST", str(number).encode())
        assert code == 202
        return str(body["id"])

    with ThreadPoolExecutor(8) as threads:
        ids = [*threads.map(start, range(100))]
    daemon.kill()
    assert {status.instance_id for status in hub.client.get_status_all()} == set(ids)
    hub.assert_sound()


def test_a_shutdown_finishes_a_running_request_and_accepts_no_more(hub: CliHarness) -> None:
    daemon, url = start_http_daemon(hub)
    with ThreadPoolExecutor(1) as threads:
        path = f"{url}{BASE}/orchestrators/Approval/waited-for?timeout=60&pollingInterval=0.1"
        waiting = threads.submit(send_request, path, "POST")
        wait_until(lambda: send_request(f"{url}{BASE}/instances/waited-for")[0] == 202, description="started")
        daemon.send_signal(signal.SIGTERM)
        code, _, body = waiting.result(20)
    assert (code, body["id"]) == (202, "waited-for")
    assert daemon.wait_for_exit() == 0
    with pytest.raises(ConnectionError):
        send_request(url)


def error_lines(text: str) -> list[str]:
    """The lines, except the one that reports the created hub."""
    return [line for line in text.splitlines() if not line.startswith("created the hub ")]


def test_a_port_in_use_is_reported_in_one_line(hub: CliHarness) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = hub("run-daemon", "--app", DAEMON_APP, "--http", str(port), code=78)
    assert len(error_lines(done.err)) == 1
    assert str(port) in done.err
    assert not (hub.root / "engine.json").exists()


@pytest.mark.parametrize("listen", ["here", "127.0.0.1:http", "1:2:3:99999", "", "no.such.host.invalid:0"])
def test_an_invalid_address_is_reported_in_one_line(hub: CliHarness, listen: str) -> None:
    done = hub("run-daemon", "--app", DAEMON_APP, f"--http={listen}", code=78)
    assert len(error_lines(done.err)) == 1


def test_the_settings_can_enable_http(hub: CliHarness) -> None:
    daemon = hub.start(
        "run-daemon", "--app", DAEMON_APP, DURABLE_HTTP__LISTEN="127.0.0.1:0", DURABLE_HTTP__KEYS__SYSTEM="k"
    )
    daemon.wait_for_output("listening on ")
    found = re.search(r"listening on (http://\S+) ", daemon.output)
    assert found is not None
    assert send_request(f"{found[1]}{BASE}/instances")[0] == 401
    assert send_request(f"{found[1]}{BASE}/instances?code=k")[0] == 200


def test_a_public_address_shows_its_key_once(hub: CliHarness) -> None:
    daemon, url = start_http_daemon(hub, "0.0.0.0:0")
    assert url.startswith("http://127.0.0.1:")
    key = json.loads((hub.root / "keys.json").read_text())["system"]
    assert key in daemon.output
    assert send_request(f"{url}{BASE}/instances")[0] == 401
    assert send_request(f"{url}{BASE}/instances?code={key}")[0] == 200
    assert send_request(f"{url}{BASE}/instances", **{"x-functions-key": key})[0] == 200
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait_for_exit() == 0
    assert daemon.output.count(key) == 1
    again, _ = start_http_daemon(hub, "0.0.0.0:0")
    assert key not in again.output
    hub.assert_sound()


def test_a_shutdown_does_not_wait_for_a_body(hub: CliHarness) -> None:
    daemon, url = start_http_daemon(hub)
    send_request(f"{url}/api/orchestrators/Chain", "POST", b"0.05")
    where = urlsplit(url)
    with socket.create_connection((where.hostname or "", where.port or 0), timeout=10) as connection:
        head = b"POST /api/orchestrators/DoWork HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n1"
        connection.sendall(head)
        wait_until(lambda: len(hub.read_runs()) > 2, description="begun")
        daemon.send_signal(signal.SIGTERM)
        begun = len(hub.read_runs())
        assert connection.recv(1000).startswith(b"HTTP/1.1 503 ")
    assert daemon.wait_for_exit() == 0
    assert len(hub.read_runs()) <= begun + 2
    assert "Exception in ASGI" not in daemon.output
    hub.assert_sound()


def test_a_shutdown_cancels_a_request_that_takes_too_long(hub: CliHarness) -> None:
    daemon, url = start_http_daemon(hub, DURABLE_DRAIN="2s")
    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(send_request, f"{url}/api/slow")
        wait_until(hub.read_runs, description="begun")
        daemon.send_signal(signal.SIGTERM)
        assert slow.result(10)[0] == 503
    assert daemon.wait_for_exit() == 0
    assert "Exception in ASGI" not in daemon.output


def test_a_server_failure_stops_the_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def break_down(self: _Server, counter: int) -> bool:
        if counter > 2:
            raise ZeroDivisionError("nothing works")
        return False

    monkeypatch.setattr(_Server, "on_tick", break_down)
    config = Config(app=(DAEMON_APP,), base=str(tmp_path))
    with pytest.raises(DurableError, match="nothing works"):
        serve(config, state_dir=str(tmp_path / "hub"), listen="0", echo=lambda text: None)


def test_the_url_has_the_configured_host_name(hub: CliHarness) -> None:
    _, url = start_http_daemon(hub, "127.1:0")  # a name of the loopback address that isn't known otherwise
    assert url.startswith("http://127.1:")
    assert send_request(f"{url}{BASE}/instances")[0] == 200
    assert send_request(f"{url}/api/orchestrators/DoWork", "POST")[1]["location"].startswith(url)
    assert send_request(f"{url}{BASE}/instances", Host="127.2")[0] == 403
