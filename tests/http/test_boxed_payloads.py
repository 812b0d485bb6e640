"""Payloads that are texts, as workers send them: the API and the dashboard give what is in the box."""

from __future__ import annotations

import html

import httpx
import pytest

from durablecli.model import events as ev
from durablecli.model.boxed_text import from_text
from tests.http.conftest import BASE
from tests.support.history_writer import HubWriter


@pytest.fixture(autouse=True)
def filled(hub_writer: HubWriter) -> None:
    hub_writer.write(
        "i",
        ev.ExecutionStarted("i", "1", "Order", from_text("plain words")),
        ev.TaskScheduled("ship", from_text("to Rome"), id=1, version="2"),
        ev.TaskCompleted(2, from_text("shipped")),
        ev.CustomStatusSet(from_text("on its way")),
        ev.ExecutionCompleted("Completed", from_text("<xml/>")),
    )
    hub_writer.write(
        "@cart@a",
        ev.EntityStarted("@cart@a", "1"),
        ev.EntityOperationReceived("add", from_text("one more")),
        ev.EntityBatch(2, from_text("the state")),
    )


def test_the_status_has_the_values(hub_browser: httpx.Client) -> None:
    query = {"showInput": "true", "showHistory": "true", "showHistoryOutput": "true"}
    found = hub_browser.get(f"{BASE}/instances/i", params=query).json()
    assert (found["input"], found["customStatus"], found["output"]) == ("plain words", "on its way", "<xml/>")
    assert [row.get("Result") for row in found["historyEvents"]] == [None, "shipped", "<xml/>"]
    (listed,) = hub_browser.get(f"{BASE}/instances").json()
    assert (listed["customStatus"], listed["output"]) == ("on its way", "<xml/>")


def test_an_entity_has_its_state(hub_browser: httpx.Client) -> None:
    assert hub_browser.get(f"{BASE}/entities/cart/a").json() == "the state"
    (listed,) = hub_browser.get(f"{BASE}/entities", params={"fetchState": "true"}).json()
    assert listed["state"] == "the state"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/ui/instances/i", ['"plain words"', '"on its way"', '"<xml/>"']),
        ("/ui/instances/i/records", ['"plain words"', 'ship, version 2', '"to Rome"', '"shipped"']),
        ("/ui/instances/i/records/2", ['"to Rome"']),
        ("/ui/entities/@cart@a", ['"the state"']),
    ],
)  # fmt: skip
def test_a_page_shows_the_text(hub_browser: httpx.Client, path: str, expected: list[str]) -> None:
    page = hub_browser.get(path)
    shown = html.unescape(page.text)
    assert page.status_code == 200
    assert [text for text in expected if text not in shown] == []
    assert "$text" not in shown


def test_a_download_is_json(hub_browser: httpx.Client) -> None:
    assert hub_browser.get("/ui/instances/i/records/1/input").json() == "plain words"
    assert hub_browser.get("/ui/entities/@cart@a/state").json() == "the state"
