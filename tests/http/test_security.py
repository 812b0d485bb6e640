"""Access and limits: hosts, origins, keys, sizes and timeouts."""

from __future__ import annotations

import asyncio
import errno
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import timedelta
from pathlib import Path

import pytest

from durablecli.config import ByteSize, HttpConfig
from durablecli.http.server import _LoopErrorHandler
from durablecli.serving.addresses import AllowedHosts
from durablecli.serving.api_keys import ApiKeys
from tests.http.conftest import BASE, RunningServer, run_server
from tests.support.waiting import wait_until

START_PATH = f"{BASE}/orchestrators/echo"
KEYS = ApiKeys(function="f" * 32, system="s" * 32, master="m" * 32)


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    soon = timedelta(seconds=0.3)
    settings = HttpConfig(body_limit=ByteSize(1000), header_timeout=soon, body_timeout=soon)
    with run_server(tmp_path_factory.mktemp("hub"), settings=settings) as made:
        yield made


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with run_server(tmp_path_factory.mktemp("hub"), keys=KEYS) as made:
        yield made


def exchange_bytes(url: str, data: bytes, *, seconds: float = 5.0) -> bytes:
    """Send bytes, and return everything the server sends until it closes the connection."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=seconds) as connection:
        connection.sendall(data)
        found = b""
        while part := connection.recv(65536):
            found += part
    return found


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 202),
        ("localhost:80", 202),
        ("LOCALHOST", 202),
        ("localhost.", 202),
        ("127.0.0.1:7071", 202),
        ("[::1]:7071", 202),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("evil.example:7071", 403),
        ("10.0.0.1", 403),
        ("localhost@evil.example", 403),
        ("evil.example@localhost", 403),
        ("localhost/evil", 403),
        ("localhost#@evil.example", 403),
        ("evil.example#@localhost", 403),
        ('localhost:80"><script>', 403),
        ("localhost:abc", 403),
        ("localhost..", 403),
        ("localhost:1:2", 403),
        ("", 403),
    ],
)
def test_only_allowed_host_names_are_accepted(strict: RunningServer, host: str, status: int) -> None:
    assert strict.http.post(START_PATH, headers={"host": host}).status_code == status
    assert strict.http.get("/nothing", headers={"host": host}).status_code == (404 if status == 202 else 403)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 202),
        ({"sec-fetch-site": "same-origin"}, 202),
        ({"sec-fetch-site": "none"}, 202),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"origin": "http://localhost:7071"}, 202),
        ({"origin": "http://localhost:8000"}, 403),
        ({"origin": "https://localhost:7071"}, 403),
        ({"origin": "http://evil.example@localhost:7071"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://localhost:7071", "sec-fetch-site": "cross-site"}, 403),
    ],
)
def test_a_request_of_another_site_changes_nothing(strict: RunningServer, headers: dict[str, str], status: int) -> None:
    headers = {"host": "localhost:7071", **headers}
    answer = strict.http.post(START_PATH, headers=headers)
    assert answer.status_code == status
    assert not any(name.startswith("access-control-") for name in answer.headers)
    assert strict.http.delete(f"{BASE}/instances/x", headers=headers).status_code == (404 if status == 202 else 403)
    assert strict.http.get(f"{BASE}/instances", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("key", "management", "start"),
    [
        (None, 401, 401),
        ("", 401, 401),
        ("x" * 32, 401, 401),
        ("s" * 31, 401, 401),
        ("f" * 32, 401, 401),
        ("ß", 401, 401),
        ("s" * 32, 200, 202),
        ("m" * 32, 200, 202),
    ],
)
def test_a_key_gives_access_up_to_its_level(keyed: RunningServer, key: str | None, management: int, start: int) -> None:
    in_header = {} if key is None else {b"x-functions-key": key.encode()}
    in_query = {} if key is None else {"code": key}
    path = f"{BASE}/instances"
    assert keyed.http.get(path, headers=in_header).status_code == management
    assert keyed.http.get(path, params=in_query).status_code == management
    assert keyed.http.post("/api/orchestrators/echo", params=in_query).status_code == start
    assert keyed.http.get(f"{BASE}/nothing").status_code == 401


def test_links_carry_the_key_that_is_in_force(keyed: RunningServer) -> None:
    body = keyed.http.post(START_PATH, headers={"x-functions-key": "m" * 32}).json()
    assert body["statusQueryGetUri"].endswith(f"?code={'s' * 32}")
    assert body["terminatePostUri"].endswith(f"/terminate?reason={{text}}&code={'s' * 32}")
    assert keyed.http.get(body["statusQueryGetUri"]).status_code in (200, 202)


def test_a_public_server_accepts_ip_addresses_but_not_every_name() -> None:
    hosts = AllowedHosts("0.0.0.0", ["durable.example"])  # noqa: S104  the point of the test
    known = ["10.1.2.3:80", "[fe80::1]:80", "localhost", "durable.example:443", socket.gethostname()]
    assert all(map(hosts.allows, known))
    assert not any(map(hosts.allows, ["evil.example", "10.1.2.3.evil.example", ""]))


def test_requests_that_are_too_large_are_errors(strict: RunningServer) -> None:
    post = strict.http.post
    assert post(START_PATH, json="x" * 900).status_code == 202
    assert post(START_PATH, json="x" * 1000).status_code == 413
    assert post(START_PATH, content=iter([b'"' + b"x" * 600, b"x" * 600 + b'"'])).status_code == 413
    assert strict.http.get(f"{BASE}/instances?x={'y' * 7000}").status_code == 200
    assert strict.http.get(f"{BASE}/instances?x={'y' * 8192}").status_code == 414
    assert strict.http.get(f"{BASE}/instances", headers={"x": "y" * 15_000}).status_code == 200
    assert strict.http.get(f"{BASE}/instances", headers={"x": "y" * 17_000}).status_code == 431
    assert strict.http.get(f"{BASE}/instances", headers={"x": "y" * 1_000_000}).status_code in (400, 431)
    assert strict.http.get(f"{BASE}/instances").status_code == 200


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"", b"HTTP/1.1 408 "),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX", b"HTTP/1.1 408 "),
        (b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n1" % START_PATH.encode(), b"HTTP/1.1 408 "),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 no HTTP\r\n\r\n", b"HTTP/1.1 400 "),
        (b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 400 "),
        (
            b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            % START_PATH.encode(),
            b"HTTP/1.1 400 ",
        ),
    ],
    ids=["nothing", "half a head", "half a body", "no HTTP", "no host", "two lengths"],
)
def test_slow_or_malformed_requests_get_an_error_and_are_closed(
    strict: RunningServer, sent: bytes, answer: bytes
) -> None:
    said = exchange_bytes(strict.url, sent)
    assert said.startswith(answer), said
    assert b"nosniff" in said


def test_a_slow_header_times_out(strict: RunningServer) -> None:
    host, _, port = strict.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=0.1) as connection:
        said = b""
        for _ in range(80):  # so many tenths of a second are less than the usual timeout
            connection.sendall(b"G")
            with suppress(TimeoutError):
                said = connection.recv(1000)
                break
    assert said.startswith(b"HTTP/1.1 408 ")


def test_a_connection_is_kept_alive(strict: RunningServer) -> None:
    ask = b"GET %b/instances HTTP/1.1\r\nHost: localhost\r\n" % BASE.encode()
    said = exchange_bytes(strict.url, ask + b"\r\n" + ask + b"Connection: close\r\n\r\n")
    assert said.count(b"HTTP/1.1 200 ") == 2


def test_keys_never_appear_in_the_log(keyed: RunningServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "uvicorn")
    caplog.set_level("DEBUG", "durablecli")
    assert keyed.http.post(f"{START_PATH}?code={'s' * 32}").status_code == 202
    assert keyed.http.post(f"{START_PATH}?code={'w' * 32}").status_code == 401
    assert "s" * 32 not in caplog.text
    assert "w" * 32 not in caplog.text


@pytest.mark.parametrize(
    ("head", "answer"),
    [
        (b"GET %b/instances/nope" % BASE.encode(), b"HTTP/1.1 404 "),
        (b"POST %b" % START_PATH.encode(), b"HTTP/1.1 408 "),
    ],
    ids=["not waited for", "waited for"],
)
def test_a_slow_body_times_out(strict: RunningServer, head: bytes, answer: bytes) -> None:
    host, _, port = strict.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=0.1) as connection:
        connection.sendall(head + b" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900\r\n\r\n")
        said, is_closed = b"", False
        for _ in range(80):
            try:
                connection.sendall(b"1")
                part = connection.recv(1000)
                said, is_closed = said + part, not part
            except TimeoutError:
                continue
            except OSError:
                is_closed = True
            if is_closed:
                break
    assert is_closed
    assert said.startswith(answer)
    assert b"connection: close" in said.lower()


def test_a_client_that_is_still_sending_can_read_the_error(strict: RunningServer) -> None:
    host, _, port = strict.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(
            b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3000000\r\n\r\n" % START_PATH.encode()
        )
        connection.sendall(b"1" * 3_000_000)
        assert connection.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_a_client_that_does_not_read_is_disconnected(strict: RunningServer) -> None:
    host, _, port = strict.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        ask = b"GET %b/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" % BASE.encode()

        def ask_on() -> None:
            while True:  # until the server has read its fill, and then for as long as the socket waits
                connection.sendall(ask)

        with pytest.raises(OSError, match=r"reset|pipe"):
            ask_on()


def test_connections_are_limited_below_the_file_handle_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (20, 20))
    with run_server(tmp_path) as made, ExitStack() as stack:
        host, _, port = made.url.removeprefix("http://").partition(":")
        for _ in range(10):
            stack.enter_context(socket.create_connection((host, int(port))))
        assert exchange_bytes(made.url, b"").startswith(b"HTTP/1.1 503 ")
        stack.close()
        wait_until(lambda: made.http.get(f"{BASE}/instances").status_code == 200)


def test_running_out_of_file_handles_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    complaints, loop = _LoopErrorHandler(), asyncio.new_event_loop()
    for _ in range(100):
        complaints(loop, {"message": "out of system resource", "exception": OSError(errno.EMFILE, "Too many")})
    complaints(loop, {"message": "something else"})
    loop.close()
    assert len(caplog.records) == 2
