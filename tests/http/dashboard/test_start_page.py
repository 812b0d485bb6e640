"""The form that starts an orchestration: it checks each field, keeps what was typed, and starts what it says."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

import httpx
import pytest

from tests.http.conftest import RunningServer


@pytest.fixture
def browser(served: RunningServer) -> Iterator[httpx.Client]:
    headers = {"origin": served.url, "sec-fetch-site": "same-origin", "accept": "text/html"}
    with httpx.Client(base_url=served.url, headers=headers, timeout=20) as made:
        yield made


def text_of(page: httpx.Response) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page.text)).split())


def test_the_orchestrators_of_the_app_can_be_chosen(browser: httpx.Client) -> None:
    page = browser.get("/ui/start?name=waiter")
    assert {"echo", "failing", "waiter"} <= set(re.findall(r'<option value="(\w+)"', page.text))
    assert '<option value="waiter" selected' in page.text
    assert "counter" not in page.text


def test_wrong_fields_are_named_and_everything_is_kept(served: RunningServer, browser: httpx.Client) -> None:
    given = {"name": "echo", "input": '{\n"a" 1}', "id": "@no", "tags": "a=1\nb", "delay": "soon", "at": ""}
    page = browser.post("/ui/start", data={**given, "version": "", "if-exists": "skip"})
    assert page.status_code == 400
    text = text_of(page)
    assert "Nothing was started: 4 fields are wrong." in text
    assert "line 2, column 5 at 1}: a colon is missing" in text
    assert "invalid duration" in text
    for value in ("@no", "soon", "b</textarea>", "&#34;a&#34; 1}"):
        assert value in page.text
    assert 'value="skip" checked' in page.text
    assert '<details class="advanced" open' in page.text
    assert page.text.count('aria-invalid="true"') == 4


def test_a_right_input_leads_to_the_instance(served: RunningServer, browser: httpx.Client) -> None:
    sent = browser.post("/ui/start", data={"name": "echo", "input": '{"a": [1, 2.50]}', "id": "start form:1"})
    assert (sent.status_code, sent.headers["location"]) == (303, "/ui/instances/start%20form%3A1")
    assert served.wait_for_status("start%20form%3A1", "Completed")["output"] == {"a": [1, 2.5]}
    again = browser.post("/ui/start", data={"name": "echo", "input": "1", "id": "start form:1"})
    assert again.status_code == 409
    assert "already exists" in text_of(again)
    skipped = browser.post("/ui/start", data={"name": "echo", "id": "start form:1", "if-exists": "skip"})
    assert skipped.headers["location"] == "/ui/instances/start%20form%3A1"


def test_tags_version_and_time_are_passed_on(served: RunningServer, browser: httpx.Client) -> None:
    fields = {"name": "waiter", "id": "start-all", "tags": "team=blue\nday=1", "version": "2", "delay": "1h"}
    assert browser.post("/ui/start", data=fields).status_code == 303
    found = served.client.get_status("start-all")
    assert (found.version, found.status_name, found.tags) == ("2", "Pending", {"day": "1", "team": "blue"})
    assert found.start_at is not None


def test_an_unknown_name_is_an_error_at_its_field(browser: httpx.Client) -> None:
    page = browser.post("/ui/start", data={"name": "ecco", "input": "1"})
    assert page.status_code == 404
    assert "did you mean &#39;echo&#39;?" in page.text
    assert "ecco (not loaded)" in page.text
    assert "this is required" in text_of(browser.post("/ui/start", data={"name": "", "input": "1"}))
