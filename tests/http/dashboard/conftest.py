"""A daemon with the dashboard, and a browser that looks at it.

After every test that uses `page`, it must be true of everything the browser did: no request left the page's origin, the
content security policy was never violated, no script failed, and axe-core finds nothing serious on the last page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from durablecli import Client
from tests.http.dashboard.find_browser import find_browser
from tests.support.cli_harness import CliHarness, DurableProcess
from tests.support.waiting import wait_until

if TYPE_CHECKING:  # only the browser tests need it
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

APP = str(Path(__file__).with_name("dashboard_app.py"))
BROWSER_ARGUMENTS = (
    "--no-sandbox",  # root has none in a container
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_SERIOUS = frozenset({"serious", "critical"})


class RunningDashboard(NamedTuple):
    """A daemon that serves the dashboard, and its hub."""

    url: str
    daemon: DurableProcess
    hub: CliHarness

    @property
    def client(self) -> Client:
        return self.hub.client

    def start(self, name: str, id: str, data: object = None, *statuses: str) -> str:
        """Start an instance, and wait until it has one of these statuses."""
        self.client.start_new(name, id, data)
        if statuses:
            wait_until(lambda: self.client.get_status(id).status_name in statuses, description=f"{id} {statuses}")
        return id


@contextmanager
def run_dashboard(folder: Path, *, app: str = APP, **settings: str) -> Iterator[RunningDashboard]:
    """Run `durable run-daemon --http` on a free port, with the functions of `dashboard_app.py`."""
    hub = CliHarness(folder)
    try:
        daemon = hub.start("run-daemon", "--app", app, "--http", "0", **settings)
        daemon.wait_for_output("listening on ")
        found = re.search(r"listening on (http://\S+) \(hub ", daemon.output)
        assert found is not None
        yield RunningDashboard(found[1], daemon, hub)
    finally:
        hub.close()


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDashboard]:
    """One daemon for the tests of a module: let each begin its ids with something of its own."""
    with run_dashboard(tmp_path_factory.mktemp("dashboard")) as made:
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # Not for the whole session: its event loop runs in this thread, where other modules run their own.
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=30_000)
    path = find_browser()
    if path is None:
        pytest.fail("the tests of the dashboard need Chromium: make browser", pytrace=False)
    with sync_playwright() as playwright, ExitStack() as stack:
        made = playwright.chromium.launch(executable_path=path, args=BROWSER_ARGUMENTS)
        stack.callback(made.close)
        yield made


class Findings:
    """What a browser does that it must not."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.found: list[str] = []
        self._url = url
        context.on("request", lambda request: self._check_url(request.url))
        context.on("console", self._check_message)
        context.on("weberror", lambda error: self.found.append(f"script error: {error.error}"))

    def _check_url(self, url: str) -> None:
        if not url.startswith(f"{self._url}/"):
            self.found.append(f"request to another origin: {url}")

    def _check_message(self, message: ConsoleMessage) -> None:
        # A page that says that something is wrong has the status of an error, which the browser notes.
        is_status = re.match(r"Failed to load resource: the server responded with a status of 4\d\d", message.text)
        # A request that is under way when the browser leaves a page is aborted; htmx notes that as two errors.
        is_abort = re.match(r"htmx:(sendAbort|afterRequest), ", message.text)
        if message.type in ("error", "warning") and not is_status and not is_abort:
            self.found.append(f"console {message.type}: {message.text}")


@contextmanager
def open_page(browser: Browser, url: str, **options: object) -> Iterator[Page]:
    """Open a page in a fresh browser context, and check at the end what the browser did. `options` are those of the
    context, as `color_scheme` and `viewport`."""
    context = browser.new_context(base_url=url, reduced_motion="reduce", **options)  # type: ignore[arg-type]
    context.set_default_timeout(30_000)
    findings = Findings(context, url)
    try:
        page = context.new_page()
        yield page
        check_accessibility(page)
        assert findings.found == [], findings.found
    finally:
        context.close()


@pytest.fixture
def page(browser: Browser, dashboard: RunningDashboard) -> Iterator[Page]:
    """A page of the dashboard, not loaded yet; `page.goto("/")` loads the list."""
    with open_page(browser, dashboard.url) as made:
        yield made


def check_accessibility(page: Page) -> None:
    """Assert that axe-core finds nothing serious on the page as it is now."""
    if not page.url.startswith("http"):
        return
    page.evaluate(_read_axe())
    found = page.evaluate("async () => (await axe.run()).violations")
    serious = [
        f"{each['id']}: {each['help']}: {[node['html'][:200] for node in each['nodes']][:5]}"
        for each in found
        if each["impact"] in _SERIOUS
    ]
    assert serious == [], "\n".join(serious)


def _read_axe() -> str:
    return resources.files("axe_playwright_python").joinpath("axe.min.js").read_text()
