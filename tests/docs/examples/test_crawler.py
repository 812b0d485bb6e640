"""The crawler: every page of two hosts once, within the rate of each, over failures, restarts and executions."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from docs.examples import crawler
from durablecli.testing import TestEnvironment

MakeHub = Callable[..., TestEnvironment]
PAGES = 12


class Site(ThreadingHTTPServer):
    """Serves pages 0 to 11, each with links to the next two, under every name of this machine.

    Page 3 links to page 3 of the other host, /gone and another site. Page 5 is unavailable when it is first asked for.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[tuple[str, str, datetime]] = []
        self.clock: Callable[[], datetime] | None = None

    def url(self, host: str, page: str = "0") -> str:
        return f"http://{host}:{self.server_port}/{page}"

    def asked_pages(self) -> list[str]:
        return [f"{host}/{page}" for host, page, _ in self.requests]


class _Handler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        host, page = self.headers["Host"].partition(":")[0], self.path.strip("/")
        is_first = (host, page) not in {each[:2] for each in self.server.requests}
        assert self.server.clock is not None
        self.server.requests.append((host, page, self.server.clock()))
        if page == "5" and is_first:
            return self._answer(503)
        if page == "4" and is_first:
            return self._answer(429, headers={"Retry-After": "30"})
        if page == "6":
            return self._answer(302, headers={"Location": "/7"})
        if page == "gone":
            return self._answer(404)
        links = [f"/{int(page) + step}" for step in (1, 2) if int(page) + step < PAGES]
        if page == "3":
            other = "localhost" if host == "127.0.0.1" else "127.0.0.1"
            links += [
                self.server.url(other, "3"),
                "/gone",
                "http://elsewhere.example/",
                "mailto:mia@example.org",
                "#top",
            ]
        return self._answer(200, "".join(f'<a class="x" href="{link}">page</a>' for link in links))

    def _answer(self, status: int, text: str = "", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(text))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Site]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.chdir(tmp_path)
    with Site() as site:
        threading.Thread(target=site.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield site
        site.shutdown()


def start(make_hub: MakeHub, site: Site, **crawl: Any) -> TestEnvironment:
    hub = make_hub(crawler)
    site.clock = hub.clock.now
    hub.client.start_new("crawl", "c", {"start": [site.url("127.0.0.1"), site.url("localhost")], **crawl})
    return hub


def expected_requests() -> list[str]:
    """Each page of each host, and again what failed at first."""
    pages = [*map(str, range(PAGES)), "4", "5", "gone"]
    return sorted(f"{host}/{page}" for host in ("127.0.0.1", "localhost") for page in pages)


def test_every_page_is_saved_once(durable_hub: MakeHub, site: Site) -> None:
    output = start(durable_hub, site).finish("c").output
    assert sorted(site.asked_pages()) == expected_requests()
    assert output["pages"] == 2 * PAGES
    assert output["failed"] == {site.url(host, "gone"): "404 Not Found" for host in ("127.0.0.1", "localhost")}
    assert len(list(Path("pages").iterdir())) == 2 * (PAGES - 1)  # all but the redirections


def test_the_rate_holds_for_each_host_by_itself(durable_hub: MakeHub, site: Site) -> None:
    start(durable_hub, site).finish("c")
    times = {name: [at for host, _, at in site.requests if host == name] for name in ("127.0.0.1", "localhost")}
    for each in times.values():
        assert all(later - sooner >= timedelta(seconds=1) for sooner, later in zip(each, each[5:], strict=False))
    assert times["127.0.0.1"] == times["localhost"]


def test_further_executions_and_restarts_fetch_nothing_twice(
    durable_hub: MakeHub, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crawler, "PAGES_PER_EXECUTION", 7)
    hub = start(durable_hub, site)
    for _ in range(5):
        hub.advance(timedelta(seconds=1))
        hub.restart()
    assert hub.finish("c").output["pages"] == 2 * PAGES
    assert sorted(site.asked_pages()) == expected_requests()
    assert int(hub.client.get_status("c").execution or "0", 16) > 3


def test_the_number_of_pages_is_limited(durable_hub: MakeHub, site: Site) -> None:
    assert start(durable_hub, site, max_pages=4).finish("c").output == {"pages": 4, "failed": {}}
    assert len(site.requests) == 4
