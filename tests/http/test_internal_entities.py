"""Lists of entities leave out durablecli's own, such as those of schedules, unless they are asked for."""

from __future__ import annotations

import re

import httpx
import pytest
from msgspec import Raw

from durablecli.client import Client, Query
from durablecli.model import events as ev
from durablecli.model.schedule_options import make_schedule_id
from tests.http.conftest import BASE
from tests.support.history_writer import HubWriter

SCHEDULE, OWN = make_schedule_id("nightly"), "@counter@a"


@pytest.fixture(autouse=True)
def filled(hub_writer: HubWriter) -> None:
    for entity in (SCHEDULE, OWN):
        add = ev.EntityOperationReceived("add")
        hub_writer.write(entity, ev.EntityStarted(entity, "1"), add, ev.EntityBatch(2, Raw(b"1")))


def listed(browser: httpx.Client, query: str = "") -> list[str]:
    return re.findall(r'<tr data-row="([^"]*)"', browser.get(f"/ui/entities{query}").text)


def test_the_management_api_lists_them_by_their_name_only(hub_browser: httpx.Client) -> None:
    def keys(path: str) -> list[str]:
        return [row["entityId"]["key"] for row in hub_browser.get(f"{BASE}/{path}").json()]

    assert keys("entities") == ["a"]
    assert keys("entities/builtin__schedule") == ["nightly"]


def test_the_dashboard_lists_them_if_they_are_searched_for(hub_browser: httpx.Client) -> None:
    assert listed(hub_browser) == [OWN]
    assert listed(hub_browser, "?search=builtin__") == [SCHEDULE]
    assert "1 entity" in hub_browser.get("/ui/entities").text
    assert hub_browser.get(f"/ui/entities/{SCHEDULE}").status_code == 200


def test_a_query_hides_them_on_request(hub_writer: HubWriter) -> None:
    client = Client(hub_writer.hub.root)
    assert [row.id for row in client.list_entities(Query(sort="id")).rows] == [SCHEDULE, OWN]
    assert [row.id for row in client.list_entities(Query(hides_internal=True)).rows] == [OWN]
    assert client.count_entities(Query(hides_internal=True)) == 1
    assert client.count_entities(Query(hides_internal=True, prefix="@b")) == 0
    assert client.count_entities(Query(hides_internal=True, name="BuiltIn__Schedule")) == 1
