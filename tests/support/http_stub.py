"""A small HTTP server of the tests' own: each path has a script of answers, the last of which is given for ever."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple


class StubResponse(NamedTuple):
    """What the server says. It holds its tongue until `after` is set, where there is one."""

    status: int = 200
    headers: Mapping[str, str] = {}
    body: bytes = b""
    after: threading.Event | None = None


class RecordedRequest(NamedTuple):
    """What the server was asked."""

    method: str
    path: str
    headers: Message
    body: str


class StubServer:
    """The server: `script` it, then look at what it was `asked`."""

    def __init__(self) -> None:
        self.requests: list[RecordedRequest] = []
        self._responses: dict[str, list[StubResponse]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._make_handler())
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def set_responses(self, path: str, *answers: StubResponse) -> str:
        """Say what comes back for a path; returns its address."""
        self._responses[path] = list(answers)
        return self.url + path

    def request_lines(self) -> list[str]:
        """What was asked for, in order."""
        return [f"{asked.method} {asked.path}" for asked in self.requests]

    def run(self) -> None:
        self._server.serve_forever(poll_interval=0.01)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _next_response(self, path: str) -> StubResponse:
        script = self._responses.get(path)
        if not script:
            return StubResponse(404)
        return script.pop(0) if len(script) > 1 else script[0]

    def _make_handler(server) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - `self` is the handler in here
        class Handler(BaseHTTPRequestHandler):
            def handle_request(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                server.requests.append(RecordedRequest(self.command, self.path, self.headers, body.decode()))
                given = server._next_response(self.path)
                if given.after is not None:
                    given.after.wait(20)
                with suppress(ConnectionError):  # whoever asked may have gone
                    self.send(given)

            def send(self, given: StubResponse) -> None:
                self.send_response(given.status)
                for name, value in {"Content-Length": str(len(given.body)), **given.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(given.body if self.command != "HEAD" else b"")

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = handle_request  # noqa: N815 - names of http.server

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler


@contextmanager
def run_stub_server() -> Iterator[StubServer]:
    """A server that runs for a while, in a thread of its own."""
    made = StubServer()
    thread = threading.Thread(target=made.run, name="web", daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.close()
        thread.join()
