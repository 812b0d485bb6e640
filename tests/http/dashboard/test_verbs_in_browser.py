"""The verbs, the form that starts, and the pages of entities, functions and the hub in a browser."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from tests.http.dashboard.conftest import RunningDashboard, check_accessibility, open_page
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


def test_an_event_is_raised_with_the_name_that_is_waited_for(dashboard: RunningDashboard, page: Page) -> None:
    id = dashboard.start("approval", "verb-raise", None, "Running")
    page.goto(f"/ui/instances/{id}")
    page.get_by_role("link", name="Raise event…").click()
    expect(page.get_by_role("dialog", name="Raise event").get_by_label("Name of the event")).to_have_value("Approved")
    page.get_by_label("Data").fill("{'a': 1}")
    page.get_by_role("button", name="Raise event").click()
    expect(page.get_by_text("line 1, column 2")).to_be_visible()
    expect(page.get_by_label("Data")).to_have_value("{'a': 1}")
    check_accessibility(page)
    page.get_by_label("Data").fill('{"a": 1}')
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("status")).to_have_text("The event was sent.")
    expect(page.locator(".instance-summary")).to_contain_text("Completed")
    assert dashboard.client.wait(id, 20).output == {"a": 1}


def test_terminate_says_what_ends_and_asks(dashboard: RunningDashboard, page: Page) -> None:
    id = dashboard.start("family", "verb-end", None, "Running")
    wait_until(lambda: dashboard.client.get_status("verb-end-approval").status_name == "Running")
    page.goto(f"/ui/instances/{id}")
    page.get_by_role("link", name="Terminate…").click()
    expect(page.get_by_text("1 sub-orchestration that has not ended will be terminated too:")).to_be_visible()
    expect(page.get_by_role("listitem").filter(has_text="verb-end-approval")).to_be_visible()
    page.get_by_role("link", name="Cancel").click()
    expect(page.get_by_role("dialog", name="Terminate")).to_have_count(0)
    assert dashboard.client.get_status(id).status_name == "Running"
    page.get_by_role("link", name="Terminate…").click()
    page.get_by_label("Reason").fill("by hand")
    page.get_by_role("button", name="Terminate").click()
    expect(page.locator(".instance-summary")).to_contain_text("Terminated")
    assert dashboard.client.wait(id, 20).output == "by hand"
    assert dashboard.client.wait("verb-end-approval", 20).status_name == "Terminated"


def test_an_error_in_a_dialog_is_shown_as_text(dashboard: RunningDashboard, page: Page) -> None:
    id = dashboard.start("approval", "<p id=verb><b>bold", None, "Running")
    page.add_init_script("sessionStorage.setItem('live', 'off')")
    page.goto(f"/ui/instances/{quote(id)}")
    link = page.get_by_role("link", name="Terminate…")
    dashboard.client.terminate(id, "gone")
    dashboard.client.wait(id, 20)
    dashboard.client.purge_instance_history(id)
    link.click()
    expect(page.locator("#verb-dialog")).to_contain_text("<p id=verb><b>bold")
    expect(page.locator("#verb-dialog b")).to_have_count(0)


def test_a_failed_instance_is_rewound(dashboard: RunningDashboard, page: Page) -> None:
    id = dashboard.start("orders", "verb-rewind", 5, "Failed")
    page.goto(f"/ui/instances/{id}")
    page.get_by_role("link", name="Rewind…").click()
    expect(page.get_by_text("1 call will run again:")).to_be_visible()
    expect(page.get_by_role("listitem").filter(has_text="activity check")).to_be_visible()
    check_accessibility(page)
    (dashboard.hub.folder / "mended").touch()
    page.get_by_role("button", name="Rewind").click()
    expect(page.locator(".instance-summary")).to_contain_text("Completed")
    assert dashboard.client.wait(id, 20).output == [0, 1, 2, 3, 4]


def test_an_orchestration_is_started_by_the_form(dashboard: RunningDashboard, page: Page) -> None:
    page.goto("/")
    page.get_by_role("link", name="Start", exact=True).click()
    page.get_by_label("Orchestrator").select_option("greet")
    page.get_by_label("Input").fill('"you')
    page.get_by_text("Id, tags, version and time").click()
    page.get_by_label("Instance id").fill("verb-start")
    page.get_by_label("Tags").fill("team=blue")
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("alert")).to_contain_text("Nothing was started: 1 field is wrong.")
    expect(page.get_by_text("the text that begins here has no closing quote")).to_be_visible()
    expect(page.get_by_label("Orchestrator")).to_have_value("greet")
    expect(page.get_by_label("Tags")).to_have_value("team=blue")
    check_accessibility(page)
    page.get_by_label("Input").fill('"you"')
    page.get_by_role("button", name="Start").click()
    expect(page).to_have_url(re.compile("/ui/instances/verb-start$"))
    found = dashboard.client.wait("verb-start", 20)
    assert (found.output, found.tags) == ("Hello, you!", {"team": "blue"})


def test_a_link_keeps_the_focus_when_the_page_follows_a_change(dashboard: RunningDashboard, page: Page) -> None:
    dashboard.client.signal_entity("@counter@focus", "add", 5)
    wait_until(lambda: dashboard.client.entity("@counter@focus").exists)
    page.goto("/ui/entities/@counter@focus")
    signal = page.get_by_role("link", name="Signal…")
    signal.focus()
    dashboard.client.signal_entity("@counter@focus", "add", 37)
    expect(page.locator("pre.payload")).to_contain_text("42")
    expect(signal).to_be_focused()


def test_the_page_of_an_entity_that_is_purged_says_so(dashboard: RunningDashboard, page: Page) -> None:
    dashboard.client.signal_entity("@counter@purged", "add", 5)
    wait_until(lambda: dashboard.client.entity("@counter@purged").exists)
    page.goto("/ui/entities/@counter@purged")
    expect(page.locator("pre.payload")).to_contain_text("5")
    dashboard.client.signal_entity("@counter@purged", "delete")
    wait_until(lambda: not dashboard.client.entity("@counter@purged").exists)
    dashboard.client.purge_instance_history("@counter@purged")
    expect(page.get_by_text("Nothing was ever sent to the entity @counter@purged.")).to_be_visible()


def test_a_verb_opens_in_a_dialog_by_the_keyboard_alone(dashboard: RunningDashboard, page: Page) -> None:
    dashboard.client.signal_entity("@counter@keys", "add", 5)
    wait_until(lambda: dashboard.client.entity("@counter@keys").exists)
    page.goto("/ui/entities?search=counter@keys")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="@counter@keys")).to_be_visible()
    signal = page.get_by_role("link", name="Signal…")
    signal.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Signal")
    expect(dialog.get_by_label("Operation")).to_be_focused()
    check_accessibility(page)
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(signal).to_be_focused()
    page.keyboard.press("Enter")
    expect(dialog.get_by_label("Operation")).to_be_focused()
    page.keyboard.type("ad")
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("alert")).to_contain_text("did you mean 'add'?")
    dialog.get_by_label("Operation").fill("add")
    page.keyboard.press("Tab")
    page.keyboard.type("37")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("The operation was sent.")
    expect(page.locator("pre.payload")).to_contain_text("42")
    assert page.url.endswith("/ui/entities/%40counter%40keys")


def test_without_a_script_the_verbs_are_pages(browser: Browser, dashboard: RunningDashboard) -> None:
    dashboard.client.signal_entity("@counter@plain", "add", 5)
    wait_until(lambda: dashboard.client.entity("@counter@plain").exists)
    context = browser.new_context(base_url=dashboard.url, java_script_enabled=False)
    try:
        page = context.new_page()
        page.goto("/ui/entities/%40counter%40plain")
        page.get_by_role("link", name="Delete state…").click()
        page.get_by_role("button", name="Delete state").click()
        expect(page.get_by_role("status")).to_contain_text("The state was deleted.")
        expect(page.get_by_text("It has no state.")).to_be_visible()
    finally:
        context.close()


def test_the_page_of_an_entity_follows_what_happens(dashboard: RunningDashboard, page: Page) -> None:
    dashboard.client.signal_entity("@counter@live", "add", 5)
    wait_until(lambda: dashboard.client.entity("@counter@live").exists)
    page.goto("/ui/entities/%40counter%40live")
    page.evaluate("window.isSameDocument = true")
    dashboard.client.signal_entity("@counter@live", "add", 37)
    expect(page.locator("pre.payload")).to_contain_text("42")
    page.get_by_text("Not possible now: purge").click()
    expect(page.get_by_text("it has a state: delete it first")).to_be_visible()
    assert page.evaluate("window.isSameDocument")


@pytest.mark.parametrize("options", [{"color_scheme": "dark"}, {"viewport": {"width": 360, "height": 640}}])
def test_every_page_is_readable_dark_and_narrow(
    browser: Browser, dashboard: RunningDashboard, options: dict[str, object]
) -> None:
    id = dashboard.start("approval", f"verb-look-{next(iter(options))}", None, "Running")
    dashboard.client.signal_entity("@counter@look", "add", 5)
    wait_until(lambda: dashboard.client.entity("@counter@look").exists)
    with open_page(browser, dashboard.url, **options) as page:
        for path in (
            "/ui/entities",
            "/ui/entities/%40counter%40look",
            "/ui/functions",
            "/ui/hub",
            "/ui/start",
            f"/ui/do/raise-event?id={id}",
            f"/ui/do/resume?id={id}",
        ):
            page.goto(path)
            assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, path
            check_accessibility(page)


def test_the_form_has_the_fields_of_the_chosen_orchestrator(dashboard: RunningDashboard, page: Page) -> None:
    page.goto("/ui/start")
    expect(page.get_by_label("Input", exact=False).first).to_be_visible()
    page.get_by_label("Orchestrator").select_option("send")
    number = page.get_by_label("id", exact=True)
    expect(page.get_by_text("A parcel to send.")).to_be_visible()
    expect(number).to_have_attribute("type", "number")
    check_accessibility(page)
    number.fill("1.5")
    page.get_by_label("city").fill("Wien")
    page.get_by_role("button", name="Start").click()
    expect(page.locator("[id='error-field.id']")).to_have_text("expected int, got '1.5'")
    expect(page.get_by_label("city")).to_have_value("Wien")
    check_accessibility(page)
    number.fill("7")
    page.get_by_label("express").select_option("true")
    page.get_by_role("button", name="Start").click()
    expect(page.locator(".instance-summary")).to_contain_text("Completed")
    instance = page.url.rpartition("/")[2]
    assert dashboard.client.wait(instance, 20).output == [7, "Wien", True]
