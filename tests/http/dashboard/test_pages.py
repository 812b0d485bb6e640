"""The pages of the dashboard, as any client gets them: headers, the list, bulk verbs, errors and log-in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from durablecli.client import Query
from durablecli.config import HttpConfig
from durablecli.http.dashboard.site import CONTENT_SECURITY_POLICY, load_templates
from durablecli.serving.api_keys import ApiKeys
from tests.http.conftest import RunningServer, run_server
from tests.support.waiting import wait_until

KEYS = ApiKeys(function="f" * 32, system="s" * 32, master="m" * 32)


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with run_server(tmp_path_factory.mktemp("hub"), keys=KEYS) as made:
        yield made


@pytest.fixture
def browser(served: RunningServer) -> Iterator[httpx.Client]:
    with open_browser(served) as made:
        yield made


def open_browser(server: RunningServer) -> httpx.Client:
    """A client that sends what a browser sends from a page of the server."""
    headers = {"origin": server.url, "sec-fetch-site": "same-origin", "accept": "text/html,*/*;q=0.8"}
    return httpx.Client(base_url=server.url, headers=headers, timeout=20)


def listed(page: httpx.Response) -> list[str]:
    return re.findall(r'<tr data-row="([^"]*)"', page.text)


def test_every_page_forbids_what_isnt_from_this_server(browser: httpx.Client) -> None:
    for path in ("/", "/?status=Failed", "/?sort=nonsense", "/ui/nothing", "/nothing"):
        page = browser.get(path)
        assert page.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
        assert page.headers["x-content-type-options"] == "nosniff"
        assert page.headers["referrer-policy"] == "same-origin"
        assert page.headers["cache-control"] == "no-store"
        assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son[a-z]+=|https?://", page.text)


def test_no_template_has_a_script_or_style_of_its_own() -> None:
    environment = load_templates()
    assert environment.loader is not None
    for name in environment.list_templates():
        source, *_ = environment.loader.get_source(environment, name)
        assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son[a-z]+=|\|\s*safe\b", source), name


def test_a_file_is_cached_for_ever_under_its_version_and_checked_otherwise(browser: httpx.Client) -> None:
    urls = re.findall(r'(?:src|href)="(/ui/static/[^"]+)"', browser.get("/").text)
    assert len(set(urls)) >= 4
    for url in urls:
        found = browser.get(url)
        assert found.status_code == 200
        assert "immutable" in found.headers["cache-control"]
        plain = browser.get(url.partition("?")[0])
        assert plain.headers["cache-control"] == "no-cache"
        again = browser.get(url.partition("?")[0], headers={"if-none-match": plain.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    assert browser.get("/ui/static/nothing.js").status_code == 404
    assert browser.get("/ui/static/..%2Fsite.py").status_code == 404


def test_the_list_is_filtered_sorted_and_paged_by_its_url(served: RunningServer, browser: httpx.Client) -> None:
    for number in range(3):
        served.client.start_new("echo", f"page-{number}", number)
    served.client.start_new("failing", "page-failing")
    served.client.wait("page-failing", 20)
    for number in range(3):
        served.wait_for_status(f"page-{number}", "Completed")
    assert set(listed(browser.get("/?prefix=page-"))) == {"page-0", "page-1", "page-2", "page-failing"}
    assert listed(browser.get("/?prefix=page-&status=failed")) == ["page-failing"]
    assert re.search(
        r"ValueError: nothing works <span[^>]*>at <span[^>]*>tests/http/conftest\.py:<wbr>\d+<",
        browser.get("/?prefix=page-failing").text,
    )
    assert listed(browser.get("/?prefix=page-&name=ECHO&sort=id")) == ["page-0", "page-1", "page-2"]
    assert listed(browser.get("/?prefix=page-&name=echo&sort=id&reverse=1")) == ["page-2", "page-1", "page-0"]
    assert len(listed(browser.get("/?prefix=page-&after=1h"))) == 4
    assert listed(browser.get("/?prefix=page-&before=1h")) == []
    assert listed(browser.get("/?prefix=page-&after=2000-01-01&before=2001-01-01%2010:00")) == []


def test_the_list_has_roots_and_on_request_their_children(served: RunningServer, browser: httpx.Client) -> None:
    served.client.start_new("parent", "tree-root", tags={"region": "north"})
    served.client.wait("tree-root", 20)
    assert listed(browser.get("/?prefix=tree-")) == ["tree-root"]
    page = browser.get("/?prefix=tree-&all=1")
    assert sorted(listed(page)) == ["tree-child", "tree-root"]
    assert 'part of <a href="/ui/instances/tree-root">' in page.text
    assert listed(browser.get("/?tag=region=north")) == ["tree-root"]
    assert listed(browser.get("/?tag=region=south")) == []
    assert browser.get("/?tag=north").status_code == 400


def test_a_busy_hub_is_read_from_its_index(served: RunningServer) -> None:
    served.client.start_new("echo", "indexed-1")
    served.client.wait("indexed-1", 20)
    query = Query(prefix="indexed-", status=("Completed",))
    exact = served.client.page_and_counts(query)
    assert exact.counts == {"Completed": 1}
    wait_until(lambda: served.client.page_and_counts(query, indexed_only=True) == exact)


def test_a_part_of_the_list_comes_without_the_frame(browser: httpx.Client) -> None:
    part = browser.get("/", headers={"hx-request": "true"}).text
    assert "<html" not in part
    assert 'id="instances"' in part


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("status=Gone", "There is no status"),
        ("sort=size", "can&#39;t be sorted by"),
        ("after=yesterday", "is not a time"),
        ("cursor=x", "invalid cursor"),
    ],
)
def test_a_wrong_filter_is_a_page_that_says_so(browser: httpx.Client, query: str, said: str) -> None:
    page = browser.get(f"/?{query}")
    assert page.status_code == 400
    assert said in page.text


def test_what_users_write_is_shown_as_text(browser: httpx.Client) -> None:
    page = browser.get('/?prefix="><img src=x onerror=alert(1)>')
    assert "<img src=x" not in page.text
    assert "&gt;&lt;img src=x" in page.text


def test_a_client_that_wants_json_gets_errors_in_json(served: RunningServer) -> None:
    for path in ("/", "/nothing"):
        answer = httpx.get(served.url + path, headers={"accept": "application/json"})
        assert answer.status_code == 404
        assert answer.json()["ExceptionType"] == "NotFound"
    assert httpx.get(f"{served.url}/nothing").json()["ExceptionType"] == "NotFound"
    assert "<h1>" in httpx.get(f"{served.url}/").text


def test_a_bulk_verb_says_what_it_will_do_and_then_does_it(served: RunningServer, browser: httpx.Client) -> None:
    for number in range(3):
        served.client.start_new("waiter", f"bulk-{number}")
        served.wait_for_status(f"bulk-{number}", "Running")
    served.client.start_new("echo", "bulk-done")
    served.wait_for_status("bulk-done", "Completed")
    chosen = {"verb": "terminate", "prefix": "bulk-"}
    page = browser.post("/ui/bulk/preview", data=chosen)
    assert "Terminate 3 instances?" in page.text
    assert "1 other stays as it is" in page.text
    assert sorted(listed(page)) == ["bulk-0", "bulk-1", "bulk-2"]
    assert served.client.get_status("bulk-0").status_name == "Running"
    again = browser.post("/ui/bulk", data={**chosen, "expected": "2"})
    assert (again.status_code, "More instances match now" in again.text) == (200, True)
    done = browser.post("/ui/bulk", data={**chosen, "expected": "3", "reason": "enough"})
    assert (done.status_code, done.headers["location"]) == (303, "/?prefix=bulk-")
    for number in range(3):
        assert served.wait_for_status(f"bulk-{number}", "Terminated")["output"] == "enough"
    assert "requested for 3 instances" in browser.get("/?prefix=bulk-").text
    assert "requested for" not in browser.get("/?prefix=bulk-").text


def test_a_bulk_verb_applies_to_the_ticked_ones_only(served: RunningServer, browser: httpx.Client) -> None:
    for number in range(3):
        served.client.start_new("waiter", f"tick-{number}")
        served.wait_for_status(f"tick-{number}", "Running")
    chosen = {"verb": "suspend", "prefix": "tick-", "id": ["tick-0", "tick-2", "tick-gone"]}
    assert "Suspend 2 instances?" in browser.post("/ui/bulk/preview", data=chosen).text
    browser.post("/ui/bulk", data={**chosen, "id": ["tick-0", "tick-2"], "expected": "2"})
    served.wait_for_status("tick-2", "Suspended")
    assert served.client.get_status("tick-1").status_name == "Running"
    refused = browser.post("/ui/bulk", data={"verb": "rewind", "id": ["tick-1"], "expected": "1"})
    assert refused.status_code == 303
    page = browser.get("/?prefix=tick-").text
    assert "only a failed instance can be rewound" in page
    assert browser.post("/ui/bulk/preview", data={"verb": "explode"}).status_code == 400


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_a_form_of_another_site_is_refused(served: RunningServer, headers: dict[str, str]) -> None:
    answer = httpx.post(f"{served.url}/ui/bulk", data={"verb": "terminate", "expected": "9"}, headers=headers)
    assert answer.status_code == 403


def test_another_site_may_link_to_a_page_but_not_load_it(served: RunningServer) -> None:
    from_elsewhere = {"sec-fetch-site": "cross-site"}
    assert httpx.get(f"{served.url}/", headers={**from_elsewhere, "sec-fetch-mode": "navigate"}).status_code == 200
    assert (
        httpx.get(f"{served.url}/ui/changes", headers={**from_elsewhere, "sec-fetch-mode": "cors"}).status_code == 403
    )


def test_where_a_key_is_required_every_page_asks_for_it(keyed: RunningServer) -> None:
    with open_browser(keyed) as browser:
        asked = browser.get("/?status=Failed")
        assert (asked.status_code, asked.headers["location"]) == (303, "/ui/login?next=%2F%3Fstatus%3DFailed")
        part = browser.get("/", headers={"hx-request": "true"})
        assert (part.status_code, part.headers["hx-redirect"]) == (401, "/ui/login?next=%2F")
        assert browser.post("/ui/bulk", data={"verb": "purge"}).headers["location"] == "/ui/login"
        assert browser.get("/ui/changes").status_code == 303
        assert browser.post("/ui/login", data={"key": "f" * 32}).status_code == 403
        wrong = browser.post("/ui/login", data={"key": "x", "next": "/"})
        assert (wrong.status_code, "is not the system or master key" in wrong.text) == (403, True)
        right = browser.post("/ui/login", data={"key": "s" * 32, "next": "/?status=Failed"})
        assert (right.status_code, right.headers["location"]) == (303, "/?status=Failed")
        cookie = right.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert "s" * 32 not in cookie
        assert browser.get("/").status_code == 200
        kept = dict(browser.cookies)
        assert "Log out" in browser.get("/").text
        browser.post("/ui/logout")
        assert browser.get("/").status_code == 303
        browser.cookies.update(kept)
        assert browser.get("/").status_code == 303, "the session has ended, not only the cookie"
    assert httpx.get(f"{keyed.url}/", headers={"x-functions-key": "m" * 32}).status_code == 200


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example/", "/\\evil.example", "//[", "evil", ""])
def test_a_log_in_leads_to_no_other_site(keyed: RunningServer, target: str) -> None:
    with open_browser(keyed) as browser:
        assert browser.get("/ui/login", params={"next": target}).status_code == 200
        assert browser.post("/ui/login", data={"key": "m" * 32, "next": target}).headers["location"] == "/"


def test_wrong_keys_are_slowed_down(tmp_path: Path) -> None:
    with run_server(tmp_path, keys=KEYS) as made, open_browser(made) as browser:
        codes = [browser.post("/ui/login", data={"key": "x"}).status_code for _ in range(11)]
        assert codes == [*[403] * 10, 429]
        refused = browser.post("/ui/login", data={"key": "s" * 32})
        assert (refused.status_code, int(refused.headers["retry-after"]) <= 60) == (429, True)


def test_the_dashboard_can_be_switched_off(tmp_path: Path) -> None:
    with run_server(tmp_path, settings=HttpConfig(dashboard=False)) as made, open_browser(made) as browser:
        for path in ("/", "/ui/login", "/ui/static/dashboard.css"):
            assert browser.get(path).json()["ExceptionType"] == "NotFound"


def test_changes_are_streamed_until_the_server_stops(served: RunningServer, browser: httpx.Client) -> None:
    with browser.stream("GET", "/ui/changes") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = stream.iter_lines()
        assert next(lines) == "event: change"
        served.client.start_new("echo", "streamed")
        wait_until(lambda: next(lines) == "event: change")
