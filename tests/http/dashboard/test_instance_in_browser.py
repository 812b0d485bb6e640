"""The page of one instance in a browser: it follows what happens, and opens what is folded."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.http.dashboard.conftest import RunningDashboard, check_accessibility, open_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


def test_a_running_fan_out_is_followed_without_a_reload(dashboard: RunningDashboard, page: Page) -> None:
    dashboard.start("fan_out", "inst-live", {"count": 400, "seconds": 0.3}, "Running")
    page.goto("/ui/instances/inst-live")
    page.evaluate("window.isTheSamePage = true")
    summary, progress = page.locator(".instance-summary"), page.locator("#progress-title")
    expect(summary).to_contain_text("Running")
    expect(progress).to_contain_text(re.compile("of 400 calls done"))
    before = progress.inner_text()
    expect(progress).not_to_have_text(before)
    expect(summary).to_contain_text("Completed", timeout=20_000)
    expect(progress).to_have_count(0)
    expect(page.get_by_role("row", name=re.compile("work *× 400"))).to_contain_text("400 calls, median")
    assert page.evaluate("window.isTheSamePage")
    assert page.locator("[data-live]").count() == 0  # it has ended, so nothing is asked any more
    page.get_by_text("Show each call").click()
    expect(page.locator(".calls .timeline tr")).to_have_count(50)
    page.get_by_role("button", name="350 more").click()
    expect(page.locator(".calls .timeline tr")).to_have_count(100)


def test_equal_records_are_folded_and_payloads_come_when_asked_for(dashboard: RunningDashboard, page: Page) -> None:
    dashboard.start("greet", "inst-long", "x" * 50_000, "Completed")
    dashboard.start("fan_out", "inst-fold", {"count": 30, "seconds": 0.01}, "Completed")
    page.goto("/ui/instances/inst-fold?view=history")
    expect(page.locator("tr.record")).to_have_count(4)
    page.locator("tr.record").nth(1).get_by_text("Show 30 records").click()
    expect(page.locator(".folded tr.record")).to_have_count(30)
    page.goto("/ui/instances/inst-long?view=history")
    expect(page.locator("pre.payload")).to_have_count(0)
    page.locator("tr.record").first.get_by_text("Show all").click()
    expect(page.locator("pre.payload")).to_contain_text("xxxx")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download all").first.click()
    assert download.value.suggested_filename == "record-1-input.json"


def test_new_records_are_added_to_the_history(dashboard: RunningDashboard, page: Page) -> None:
    dashboard.start("approval", "inst-tail", None, "Running")
    page.goto("/ui/instances/inst-tail?view=history")
    expect(page.locator("tr.record").last).to_contain_text("EventAwaited")
    page.evaluate("document.querySelector('tr.record').dataset.isTheSame = 'yes'")
    dashboard.client.raise_event("inst-tail", "Approved", {"by": "the boss"})
    expect(page.locator("tr.record").last).to_contain_text("ExecutionCompleted")
    expect(page.get_by_text("EventRaised")).to_have_count(1)
    expect(page.locator("tr.record").first).to_have_attribute("data-is-the-same", "yes")
    expect(page.locator(".instance-summary")).to_contain_text("Completed")
    expect(page.locator("[data-live]")).to_have_count(0)


def test_a_failed_instance_shows_the_line_the_traceback_and_the_log(dashboard: RunningDashboard, page: Page) -> None:
    dashboard.start("orders", "inst-failed", 20, "Failed")
    page.goto("/ui/instances/inst-failed")
    expect(page.get_by_role("heading", name="ValueError raised by activity check")).to_be_visible()
    expect(page.locator(".alert .source").first).to_contain_text(re.compile(r"dashboard_app\.py:\d+"))
    traceback = page.locator("#traceback pre")
    expect(traceback).to_be_hidden()
    page.get_by_text("Traceback", exact=True).click()
    expect(traceback).to_contain_text("raise ValueError(")
    expect(traceback).not_to_contain_text("durablecli/")
    expect(page.locator(".failures tbody tr").first).to_contain_text("ValueError 3 is not what was ordered")
    page.get_by_role("link", name="Logs").click()
    rows = page.locator(".log tbody tr")
    expect(rows).to_have_count(20)
    rows.first.get_by_role("link", name="check").click()
    expect(rows).to_have_count(1)


def test_parents_and_children_lead_to_each_other(dashboard: RunningDashboard, page: Page) -> None:
    dashboard.start("family", "inst-family", None, "Running")
    page.goto("/ui/instances/inst-family?view=family")
    page.get_by_role("link", name="inst-family-approval").click()
    expect(page).to_have_url(re.compile("/ui/instances/inst-family-approval$"))
    page.get_by_role("link", name="inst-family", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("inst-family")
    page.get_by_role("link", name="Messages").click()
    page.get_by_text("As text").click()
    expect(page.get_by_role("listitem").filter(has_text="greet → orchestration: result")).to_be_visible()


def test_the_page_is_used_with_the_keyboard_alone(dashboard: RunningDashboard, page: Page) -> None:
    dashboard.start("fan_out", "inst-keys", {"count": 50, "seconds": 0.01}, "Completed")
    page.goto("/ui/instances/inst-keys")
    page.get_by_role("link", name="Overview").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="History")).to_be_visible()
    page.get_by_role("link", name="Logs").focus()
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Show 50 records":
            break
    page.keyboard.press("Enter")
    expect(page.locator(".folded tr.record")).to_have_count(50)


def test_each_view_fits_a_dark_narrow_window(browser: Browser, dashboard: RunningDashboard) -> None:
    id = dashboard.start("orders", "inst-narrow-" + 60 * "x", 50, "Failed")
    with open_page(browser, dashboard.url, viewport={"width": 360, "height": 720}, color_scheme="dark") as page:
        for view in ("overview", "history", "messages", "family", "logs"):
            page.goto(f"/ui/instances/{id}?view={view}")
            expect(page.get_by_role("heading", level=1)).to_have_text(id)
            assert page.evaluate("document.documentElement.scrollWidth") <= 360
            check_accessibility(page)
