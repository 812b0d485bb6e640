"""The list of instances in a browser: filters, live updates, verbs for many, the keyboard, dark, narrow and log-in."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.http.dashboard.conftest import RunningDashboard, check_accessibility, open_page, run_dashboard

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


def test_filters_are_in_the_url_and_back_undoes_them(dashboard: RunningDashboard, page: Page) -> None:
    dashboard.start("approval", "filter-waits", None, "Running")
    dashboard.start("greet", "filter-done", "you", "Completed")
    page.goto("/?prefix=filter-")
    rows = page.locator("tr[data-row]")
    expect(rows).to_have_count(2)
    page.get_by_role("link", name=re.compile("^Running")).click()
    expect(rows).to_have_count(1)
    expect(page).to_have_url(re.compile(r"/\?status=Running&prefix=filter-$"))
    page.get_by_label("Orchestrator", exact=True).fill("greet")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_text("No instance matches.")).to_be_visible()
    assert "name=greet" in page.url
    assert "before" not in page.url, "empty fields stay out of the URL"
    check_accessibility(page)
    page.go_back()
    page.go_back()
    expect(rows).to_have_count(2)
    page.get_by_role("link", name="Created").click()
    expect(rows.first).to_have_attribute("data-row", "filter-waits")
    page.get_by_role("link", name="Clear").click()
    expect(page).to_have_url(re.compile("/$"))


def test_the_list_follows_what_happens_without_a_reload(dashboard: RunningDashboard, page: Page) -> None:
    page.goto("/?prefix=live-")
    page.evaluate("window.isSameDocument = true")
    expect(page.get_by_text("No instance matches.")).to_be_visible()
    dashboard.start("approval", "live-1", None, "Running")
    row = page.locator("tr[data-row=live-1]")
    expect(row).to_contain_text("Running")
    expect(row).to_contain_text("event Approved")
    row.get_by_role("checkbox").check()
    row.get_by_role("link", name="live-1").focus()
    dashboard.client.raise_event("live-1", "Approved", "yes")
    expect(row).to_contain_text("Completed")
    expect(row.get_by_role("checkbox")).to_be_checked()
    expect(row.get_by_role("link", name="live-1")).to_be_focused()
    assert page.evaluate("window.isSameDocument")
    page.get_by_role("button", name="Live").click()
    dashboard.start("greet", "live-2", "you", "Completed")
    page.wait_for_timeout(1500)
    expect(page.locator("tr[data-row=live-2]")).to_have_count(0)
    page.get_by_role("button", name="Live").click()
    expect(page.locator("tr[data-row=live-2]")).to_be_visible()


def test_many_are_terminated_after_a_page_has_said_how_many(dashboard: RunningDashboard, page: Page) -> None:
    for number in range(3):
        dashboard.start("approval", f"many-{number}", None, "Running")
    page.goto("/?prefix=many-")
    page.get_by_role("checkbox", name="Tick many-1").check()
    expect(page.get_by_text("With 1 ticked:")).to_be_visible()
    page.get_by_role("checkbox", name="Tick many-2").check()
    page.get_by_label("With 2 ticked:").select_option("Terminate")
    page.get_by_role("button", name="Preview…").click()
    expect(page.get_by_role("heading", name="Terminate 2 instances?")).to_be_visible()
    check_accessibility(page)
    page.get_by_label("Reason").fill("no longer needed")
    page.get_by_role("button", name="Terminate 2 instances").click()
    expect(page.get_by_role("status")).to_contain_text("requested for 2 instances")
    expect(page.locator("tr[data-row=many-2]")).to_contain_text("Terminated")
    expect(page.locator("tr[data-row=many-0]")).to_contain_text("Running")
    assert dashboard.client.get_status("many-1").output == "no longer needed"


def test_the_keyboard_alone_is_enough(dashboard: RunningDashboard, page: Page) -> None:
    for number in range(3):
        dashboard.start("greet", f"key-{number}", "you", "Completed")
    page.goto("/?prefix=key-&sort=id")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(page.get_by_role("checkbox", name="Tick key-1")).to_be_checked()
    page.keyboard.press("k")
    expect(page.get_by_role("link", name="key-0")).to_be_focused()
    page.keyboard.press("/")
    expect(page.get_by_label("Id starts with")).to_be_focused()
    page.keyboard.type("key-2")
    page.keyboard.press("Enter")
    expect(page.locator("tr[data-row]")).to_have_count(1)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    check_accessibility(page)
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("i")
    expect(page).to_have_url(re.compile("/$"))


def test_dark_is_the_systems_choice_or_the_users(browser: Browser, dashboard: RunningDashboard) -> None:
    def is_dark() -> bool:
        color = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(int, re.findall(r"\d+", color)[:3])) < 200

    with open_page(browser, dashboard.url, color_scheme="dark") as page:
        page.goto("/")
        assert is_dark()
        check_accessibility(page)
        page.get_by_role("button", name="Switch between light and dark").click()
        assert not is_dark()
        page.reload()
        assert not is_dark()


def test_a_narrow_page_scrolls_in_one_direction_only(browser: Browser, dashboard: RunningDashboard) -> None:
    dashboard.start("approval", "narrow-" + "an-id-without-end-" * 8, None, "Running")
    with open_page(browser, dashboard.url, viewport={"width": 360, "height": 640}) as page:
        page.goto("/?prefix=narrow-")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        wide = page.evaluate(
            "[...document.querySelectorAll('.table-wrap')].map((each) => each.scrollWidth - each.clientWidth)"
        )
        assert max(wide) <= 0


def test_what_a_page_must_not_do_would_be_seen(browser: Browser, dashboard: RunningDashboard) -> None:
    def visit(url: str, code: str) -> None:
        with open_page(browser, dashboard.url) as page:
            page.goto(url)
            page.evaluate(f"{code}; 0")
            page.wait_for_timeout(100)
            assert not page.evaluate("window.ran")

    inline = "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}))"
    with pytest.raises(AssertionError, match="Content Security Policy"):
        visit("/", inline)
    with pytest.raises(AssertionError, match="another origin"):
        visit(dashboard.url.replace("127.0.0.1", "localhost"), "")
    with pytest.raises(AssertionError, match="broken"):
        visit("/", "setTimeout(() => { throw new Error('broken'); })")
    with pytest.raises(AssertionError, match="image-alt"):
        visit("/", "document.querySelector('main').append(document.createElement('img'))")


def test_a_key_logs_in(browser: Browser, tmp_path: Path) -> None:
    keys = {"DURABLE_HTTP__KEYS__SYSTEM": "s" * 32}
    with run_dashboard(tmp_path, **keys) as made, open_page(browser, made.url) as page:
        page.goto("/?status=Failed")
        page.get_by_label("Key", exact=True).fill("wrong")
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("alert")).to_contain_text("not the system or master key")
        check_accessibility(page)
        page.get_by_label("Key", exact=True).fill("s" * 32)
        page.get_by_role("button", name="Log in").click()
        expect(page).to_have_url(f"{made.url}/?status=Failed")
        page.get_by_role("button", name="Log out").click()
        expect(page).to_have_url(f"{made.url}/ui/login")
