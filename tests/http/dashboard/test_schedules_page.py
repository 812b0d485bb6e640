"""The pages of schedules, and the schedules of the management API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from playwright.sync_api import expect

from tests.http.conftest import BASE
from tests.http.dashboard.conftest import RunningDashboard, check_accessibility, run_dashboard
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Page

APP = str(Path(__file__).with_name("scheduled_app.py"))


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDashboard]:
    with run_dashboard(tmp_path_factory.mktemp("schedules"), app=APP) as made:
        wait_until(lambda: made.client.entity("@builtin__schedule@rarely").exists)
        yield made


@pytest.fixture
def api(dashboard: RunningDashboard) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{dashboard.url}{BASE}", timeout=20) as made:
        yield made


def test_the_api_lists_pauses_resumes_and_triggers(api: httpx.Client, dashboard: RunningDashboard) -> None:
    assert [each["name"] for each in api.get("/schedules").json()] == ["new_year", "rarely"]
    assert api.post("/schedules/rarely/pause").status_code == 202
    wait_until(lambda: api.get("/schedules/rarely").json()["pausedAt"])
    assert api.get("/schedules/rarely").json()["status"] == "Paused"
    assert api.post("/schedules/rarely/pause").status_code == 410
    assert api.post("/schedules/rarely/resume").status_code == 202
    wait_until(lambda: api.get("/schedules/rarely").json()["status"] == "Active")
    started = api.post("/schedules/rarely/trigger")
    assert started.status_code == 202
    id = started.json()["id"]
    assert dashboard.client.wait(id, 20).status_name == "Completed"
    assert api.get("/schedules/rarely").json()["runs"] == [{"instanceId": id, "runtimeStatus": "Completed"}]
    assert api.get("/schedules/nothing").status_code == 404
    assert api.post("/schedules/nothing/trigger").status_code == 404


def test_a_form_of_another_site_changes_nothing(dashboard: RunningDashboard) -> None:
    url = f"{dashboard.url}/ui/schedules/new_year/pause"
    assert httpx.post(url).status_code == 403
    assert httpx.post(url, headers={"origin": "https://other.example"}).status_code == 403


def test_an_unknown_schedule_and_an_unknown_verb_are_errors(dashboard: RunningDashboard) -> None:
    assert httpx.get(f"{dashboard.url}/ui/schedules/nothing").status_code == 404
    with httpx.Client(headers={"origin": dashboard.url}, follow_redirects=True) as client:
        assert "no schedule" in client.post(f"{dashboard.url}/ui/schedules/nothing/trigger").text
        assert "made to dance" in client.post(f"{dashboard.url}/ui/schedules/new_year/dance").text


def test_a_schedule_is_paused_resumed_and_run_by_its_buttons(dashboard: RunningDashboard, page: Page) -> None:
    page.goto("/ui/schedules")
    row = page.locator("tr", has_text="new_year")
    expect(row.get_by_text("0 3 1 1 *").filter(visible=True)).to_have_count(1)
    expect(row).to_contain_text("-01-01 03:00 +")
    check_accessibility(page)
    row.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("status")).to_have_text("new_year is paused: no more runs start.")
    expect(page.locator(".page-head .status")).to_have_text("Paused")
    page.get_by_role("button", name="Resume").click()
    expect(page.locator(".page-head .status")).to_have_text("Active")
    expect(page.locator("section", has_text="Next due times").get_by_role("listitem")).to_have_count(5)
    check_accessibility(page)
    page.get_by_role("button", name="Run now").click()
    expect(page.locator(".instance-summary")).to_contain_text("Completed")
    page.get_by_role("link", name="Schedules").click()
    expect(page.locator("tr", has_text="new_year")).to_contain_text("Completed")


def test_without_schedules_the_page_says_how_to_add_one(tmp_path: Path) -> None:
    with run_dashboard(tmp_path) as dashboard:
        text = httpx.get(f"{dashboard.url}/ui/schedules").text
    assert "@df.orchestrator(schedule=" in text
