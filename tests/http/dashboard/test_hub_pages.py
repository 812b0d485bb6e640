"""The pages of the functions and of the hub, with an engine in the process of the server and without."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from durablecli.client import Client
from durablecli.config import HttpConfig
from durablecli.engine.metrics import Throughput
from durablecli.http.dashboard.hub_page import make_bars
from durablecli.http.server import HttpServer, bind_socket
from durablecli.registry import Registry
from durablecli.serving.api_keys import ApiKeys
from tests.http.conftest import RunningServer
from tests.support.cli_harness import CliHarness
from tests.support.waiting import wait_until


@pytest.fixture
def browser(served: RunningServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, headers={"accept": "text/html"}, timeout=20) as made:
        yield made


def text_of(page: httpx.Response) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page.text)).split())


def test_functions_have_their_place_and_their_work(served: RunningServer, browser: httpx.Client) -> None:
    served.client.start_new("waiter", "hub-running")
    served.client.start_new("failing", "hub-failed")
    served.wait_for_status("hub-running", "Running")
    served.wait_for_status("hub-failed", "Failed")
    wait_until(served.client.published)
    text = text_of(browser.get("/ui/functions"))
    assert re.search(r"waiter \(context: DurableOrchestrationContext\)[^()]* \S*conftest\.py:\d+", text)
    assert re.search(r"shout \(text: str\) -> str \S*conftest\.py:\d+", text)
    page = browser.get("/ui/functions").text
    assert '/?name=failing&amp;status=Failed"' in page
    assert "/ui/start?name=echo" in page


def test_the_hub_page_has_the_numbers_of_the_engine(served: RunningServer, browser: httpx.Client) -> None:
    served.client.start_new("echo", "hub-echo")
    served.wait_for_status("hub-echo", "Completed")
    page = browser.get("/ui/hub")
    text = text_of(page)
    assert "Engine State running" in text
    assert int(re.findall(r"Instances started ([\d,]+)", text)[0].replace(",", "")) >= 1
    assert re.search(r"Commit ≤ [\d.]+ m?s", text)
    assert "Free on its disk" in text
    assert "To repair" not in text


def test_without_an_engine_the_pages_say_so(tmp_path: Path) -> None:
    client = Client(tmp_path / ".state", check_names=False)
    client.start_new("f", "a")
    with bind_socket("127.0.0.1:0") as port:
        server = HttpServer(
            port, client, Registry(), ApiKeys(), HttpConfig(), timedelta(seconds=1), on_stopped=lambda: None
        )
        try:
            server.start()
            with httpx.Client(base_url=server.url, headers={"accept": "text/html"}, timeout=20) as browser:
                hub = text_of(browser.get("/ui/hub"))
                assert "No engine is running" in hub
                assert "Messages in the inbox 1" in hub
                assert "Turns" not in hub
                assert "No engine has run on this hub yet" in text_of(browser.get("/ui/functions"))
                assert "No engine is running: the start is kept" in text_of(browser.get("/ui/start"))
                sent = browser.post(
                    "/ui/do/suspend", params={"id": "a"}, data={"reason": "x"}, headers={"origin": server.url}
                )
                assert sent.status_code == 303
                assert "Posted. No engine is running" in text_of(browser.get("/ui/hub"))
                assert "suspend" in client.get_status("a").requested
        finally:
            server.close()


def test_the_bars_of_the_chart_fit_into_it() -> None:
    minutes = [Throughput(59 - at, completed=at, activities=10 * at) for at in range(60)]
    bars = make_bars(minutes)
    assert len(bars) == 60
    assert bars[0].height == 0
    assert bars[-1].height == max(bar.height for bar in bars) == 80
    assert bars[1].height >= 1.5
    assert all(bar.y + bar.height <= 80.1 and bar.x + bar.width <= 600 for bar in bars)
    assert bars[-1].title == "the last minute: 59 instances ended, 590 activity calls"


def test_the_daemon_shows_what_its_app_could_not_load(tmp_path: Path) -> None:
    (tmp_path / "workflows").mkdir()
    (tmp_path / "workflows" / "broken.py").write_text("import nothing_like_this\n")
    (tmp_path / "workflows" / "sound.py").write_text(
        "import durablecli as df\n\n\n@df.activity\ndef work(count: int) -> int:\n    return count\n"
    )
    hub = CliHarness(tmp_path)
    try:
        daemon = hub.start("run-daemon", "--http", "0")
        daemon.wait_for_output("listening on ")
        url = re.findall(r"listening on (\S+) ", daemon.output)[0]
        with httpx.Client(base_url=url, headers={"accept": "text/html"}, timeout=20) as browser:
            wait_until(lambda: "1 problem when the app was loaded" in text_of(browser.get("/ui/functions")))
            text = text_of(browser.get("/ui/functions"))
            assert "can't import broken: workflows/broken.py:1: ModuleNotFoundError" in text
            assert "work (count: int) -> int workflows/sound.py:4" in text
            assert "Engine State running" in text_of(browser.get("/ui/hub"))
    finally:
        hub.close()
