"""Takes the screenshots of docs/dashboard.md: `python -m tests.http.dashboard.screenshots [FOLDER]`, then look at them.

Each page is taken in light; with a FOLDER other than docs/assets/dashboard also in dark and narrow.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import sync_playwright

from tests.http.dashboard.conftest import APP, BROWSER_ARGUMENTS, RunningDashboard, open_page, run_dashboard
from tests.http.dashboard.find_browser import find_browser

if TYPE_CHECKING:
    from playwright.sync_api import Page

DOCS = Path(__file__).parents[3] / "docs" / "assets" / "dashboard"
VIEWS = {
    "": {"viewport": {"width": 1180, "height": 720}, "color_scheme": "light"},
    "-dark": {"viewport": {"width": 1180, "height": 720}, "color_scheme": "dark"},
    "-narrow": {"viewport": {"width": 360, "height": 720}, "color_scheme": "light"},
}


def fill_hub(dashboard: RunningDashboard) -> None:
    """Start what the pages show: instances in every status."""
    start = dashboard.start
    for number in range(1, 6):
        start("greet", f"hello-{number}", f"guest {number}", "Completed")
    start("orders", "orders-2026-11", 12, "Failed")
    start("family", "family-1", None, "Running")
    start("count", "count-1", "main", "Completed")
    start("approval", "invoice-17", None, "Running")
    start("approval", "invoice-18", None, "Running")
    dashboard.client.suspend("invoice-18", "waits for the auditor")
    start("approval", "invoice-16", None, "Running")
    dashboard.client.terminate("invoice-16", "paid by hand")
    start("fan_out", "import-42", {"count": 900, "seconds": 1.5}, "Running")


def copy_app(folder: Path) -> str:
    """Copy the app into the folder of the daemon, as a user has it, and return its path."""
    app = folder / "workflows" / "shop.py"
    app.parent.mkdir()
    shutil.copy(APP, app)
    return str(app)


def show_call(page: Page) -> None:
    """One call that failed."""
    page.goto("/ui/instances/orders-2026-11")
    page.locator("table.failures a").first.click()
    page.get_by_role("heading", name="What it printed and logged").wait_for()


def show_bulk(page: Page) -> None:
    """The page that says what a verb will do to how many."""
    page.goto("/?prefix=invoice-")
    page.locator("#bulk-verb").select_option("terminate")
    page.get_by_role("button", name="Preview…").click()
    page.get_by_role("heading", name="Terminate").wait_for()


def show_verb(page: Page) -> None:
    """The form of a verb, in a dialog above the page of its instance."""
    page.goto("/ui/instances/family-1")
    page.get_by_role("link", name="Terminate…").click()
    page.get_by_role("dialog", name="Terminate").wait_for()


def show_wrong_start(page: Page) -> None:
    """The form that starts, with what is wrong in it."""
    page.goto("/ui/start?name=greet")
    page.get_by_label("Input").fill('{"name": "Ada",\n "age" 36}')
    page.get_by_role("button", name="Start").click()
    page.get_by_role("alert").wait_for()


PAGES: dict[str, Callable[[Page], object]] = {
    "instances": lambda page: page.goto("/"),
    "bulk": show_bulk,
    "verb": show_verb,
    "start": show_wrong_start,
    "entities": lambda page: page.goto("/ui/entities"),
    "entity": lambda page: page.goto("/ui/entities/%40counter%40main"),
    "functions": lambda page: page.goto("/ui/functions"),
    "hub": lambda page: page.goto("/ui/hub"),
    "instance-failed": lambda page: page.goto("/ui/instances/orders-2026-11"),
    "instance-call": show_call,
    "instance-running": lambda page: page.goto("/ui/instances/import-42"),
    "instance-messages": lambda page: page.goto("/ui/instances/count-1?view=messages"),
}
"""Each page by the name of its picture, and how to get there."""


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as hub,
        run_dashboard(Path(hub), app=copy_app(Path(hub))) as dashboard,
        sync_playwright() as playwright,
    ):
        fill_hub(dashboard)
        browser = playwright.chromium.launch(executable_path=find_browser(), args=BROWSER_ARGUMENTS)
        for name, go in PAGES.items():
            for suffix, options in VIEWS.items():
                if suffix and folder == DOCS:
                    continue
                with open_page(browser, dashboard.url, **options) as page:
                    go(page)
                    page.wait_for_timeout(1200)  # the page has its live content by then
                    page.screenshot(path=folder / f"{name}{suffix}.png", full_page="narrow" in suffix)
                    print(folder / f"{name}{suffix}.png")
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DOCS)
