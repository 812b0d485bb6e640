"""The list of entities and the page of one."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest

from durablecli.http.dashboard.entity_pages import normalize_search
from tests.http.conftest import RunningServer
from tests.support.waiting import wait_until


@pytest.fixture
def browser(served: RunningServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, headers={"accept": "text/html"}, timeout=20) as made:
        yield made


def listed(page: httpx.Response) -> list[str]:
    return re.findall(r'<tr data-row="([^"]*)"', page.text)


@pytest.mark.parametrize(
    ("typed", "prefix"),
    [
        ("", ""),
        ("Counter", "@counter"),
        ("@Counter@A", "@counter@A"),
        ("counter@", "@counter@"),
    ],
)
def test_a_search_is_the_beginning_of_an_id(typed: str, prefix: str) -> None:
    assert normalize_search(typed) == prefix


def test_the_list_is_filtered_and_paged(served: RunningServer, browser: httpx.Client) -> None:
    for number in range(55):
        served.client.signal_entity(f"@counter@page-{number:02}", "add", number + 1)
    wait_until(lambda: served.client.entity("@counter@page-54").exists)
    first = browser.get("/ui/entities?search=Counter@page-&sort=id")
    assert "55 entities" in first.text
    assert listed(first) == [f"@counter@page-{number:02}" for number in range(50)]
    following = re.findall(r'rel="next" href="([^"]+)"', first.text)
    second = browser.get(following[0].replace("&amp;", "&"))
    assert listed(second) == [f"@counter@page-{number:02}" for number in range(50, 55)]
    assert listed(browser.get("/ui/entities?search=counter@page-0&status=Empty")) == []
    assert listed(browser.get("/ui/entities?search=counter@page-0&locked=1")) == []
    nothing = browser.get("/ui/entities?search=nothing").text
    assert "No entity matches." in nothing
    assert "/ui/do/signal" not in nothing
    assert "/ui/do/signal?id=%40counter%40New" in browser.get("/ui/entities?search=Counter@New").text


@pytest.mark.parametrize("query", ["status=Running", "sort=name", "cursor=nonsense", "locked=perhaps"])
def test_a_wrong_filter_is_an_error(browser: httpx.Client, query: str) -> None:
    assert browser.get(f"/ui/entities?{query}").status_code == 400


def test_the_page_shows_the_state_and_links_to_all_of_it(served: RunningServer, browser: httpx.Client) -> None:
    served.client.signal_entity("@counter@a/b <i>", "add", 7)
    wait_until(lambda: served.client.entity("@counter@a/b <i>").exists)
    page = browser.get("/ui/entities/%40counter%40a%2Fb%20%3Ci%3E")
    assert page.status_code == 200
    assert "<i>" not in page.text.partition("<main")[2]
    assert re.search(r"<pre[^>]*>7</pre>", page.text)
    state = browser.get("/ui/entities/%40counter%40a%2Fb%20%3Ci%3E/state")
    assert (state.json(), state.headers["content-type"]) == (7, "application/json")
    assert browser.get("/ui/entities/%40counter%40never").status_code == 404
    assert browser.get("/ui/entities/not-an-entity").status_code == 404
