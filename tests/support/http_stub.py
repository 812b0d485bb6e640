"""A small HTTP server of the tests' own: each path has a script of answers, the last of which is given for ever."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple


class Answer(NamedTuple):
    """What the server says. It holds its tongue until `after` is set, where there is one."""

    status: int = 200
    headers: Mapping[str, str] = {}
    body: bytes = b""
    after: threading.Event | None = None


class Asked(NamedTuple):
    """What the server was asked."""

    method: str
    path: str
    headers: Message
    body: str


class Web:
    """The server: `script` it, then look at what it was `asked`."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self._scripts: dict[str, list[Answer]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def script(self, path: str, *answers: Answer) -> str:
        """Say what comes back for a path; returns its address."""
        self._scripts[path] = list(answers)
        return self.url + path

    def paths(self) -> list[str]:
        """What was asked for, in order."""
        return [f"{asked.method} {asked.path}" for asked in self.asked]

    def run(self) -> None:
        self._server.serve_forever(poll_interval=0.01)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, path: str) -> Answer:
        script = self._scripts.get(path)
        if not script:
            return Answer(404)
        return script.pop(0) if len(script) > 1 else script[0]

    def _handler(web) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - `self` is the handler in here
        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                web.asked.append(Asked(self.command, self.path, self.headers, body.decode()))
                given = web._answer(self.path)
                if given.after is not None:
                    given.after.wait(20)
                with suppress(ConnectionError):  # whoever asked may have gone
                    self.say(given)

            def say(self, given: Answer) -> None:
                self.send_response(given.status)
                for name, value in {"Content-Length": str(len(given.body)), **given.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(given.body if self.command != "HEAD" else b"")

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = answer  # noqa: N815 - names of http.server

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler


@contextmanager
def web() -> Iterator[Web]:
    """A server that runs for a while, in a thread of its own."""
    made = Web()
    thread = threading.Thread(target=made.run, name="web", daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.close()
        thread.join()
