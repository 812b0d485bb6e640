"""The verbs of instances and entities: what is offered, what the form says, and what a form that is sent does."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec import Raw

from durablecli import Client
from durablecli.client import DurableOrchestrationStatus, EntityStatus, QuarantineInfo
from durablecli.http.dashboard.verb_buttons import entity_buttons, instance_buttons
from durablecli.http.dashboard.verb_forms import find_descendants
from durablecli.model.entity_id import EntityId
from durablecli.model.events import ExecutionCompleted, ExecutionStarted, Origin, TaskFailed
from durablecli.model.status import OrchestrationRuntimeStatus
from tests.http.conftest import RunningServer
from tests.support.history_writer import open_hub_writer
from tests.support.waiting import wait_until

EMPTY = {"reason": ""}


@pytest.fixture
def browser(served: RunningServer) -> Iterator[httpx.Client]:
    """A client that sends what a browser sends from a page of the server."""
    headers = {"origin": served.url, "sec-fetch-site": "same-origin", "accept": "text/html"}
    with httpx.Client(base_url=served.url, headers=headers, timeout=20) as made:
        yield made


def start(served: RunningServer, name: str, id: str, status: str, data: Any = None) -> str:
    served.client.start_new(name, id, data)
    served.wait_for_status(id, status)
    return id


def make_status(status: str, **fields: Any) -> DurableOrchestrationStatus:
    return DurableOrchestrationStatus(
        instance_id="a b:c", name="f", runtime_status=OrchestrationRuntimeStatus(status), **fields
    )


def text_of(page: httpx.Response) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page.text)).split())


@pytest.mark.parametrize(
    ("status", "possible"),
    [
        ("Running", {"raise-event", "suspend", "restart", "terminate"}),
        ("Pending", {"raise-event", "suspend", "restart", "terminate"}),
        ("Suspended", {"raise-event", "resume", "restart", "terminate"}),
        ("Completed", {"restart", "purge"}),
        ("Terminated", {"restart", "purge"}),
        ("Failed", {"rewind", "restart", "purge"}),
    ],
)
def test_only_verbs_that_the_status_allows_are_offered(status: str, possible: set[str]) -> None:
    buttons = instance_buttons(make_status(status))
    assert {each.verb for each in buttons if not each.why_not} == possible
    assert all("force" not in each.why_not for each in buttons)
    assert {each.href.partition("?")[2] for each in buttons} == {"id=a%20b%3Ac"}


def test_an_instance_that_ends_soon_accepts_nothing_more() -> None:
    reasons = {each.verb: each.why_not for each in instance_buttons(make_status("Running", ends=True))}
    assert reasons["terminate"] == "it is being terminated: nothing is left to do"
    assert reasons["raise-event"] == "it is being terminated: it accepts no more events"


def test_a_quarantined_instance_can_only_be_purged() -> None:
    buttons = instance_buttons(make_status("Running", set_aside=QuarantineInfo("line 3 is damaged", None)))
    assert [each.verb for each in buttons if not each.why_not] == ["purge"]


def test_the_verbs_of_an_entity_depend_on_its_state() -> None:
    entity = EntityId("counter", "a")
    empty = {each.verb: each.why_not for each in entity_buttons(EntityStatus(entity_id=entity, execution="1"))}
    assert empty == {"signal": "", "delete": "it is Empty: it has no state to delete", "purge": ""}
    full = {
        each.verb: each.why_not for each in entity_buttons(EntityStatus(entity_id=entity, execution="1", exists=True))
    }
    assert full == {"signal": "", "delete": "", "purge": "it has a state: delete it first"}


def test_an_event_is_raised_by_the_form(served: RunningServer, browser: httpx.Client) -> None:
    id = start(served, "waiter", "verbs raise:1", "Running")
    wait_until(lambda: served.client.get_status(id).waiting_for)
    page = browser.get("/ui/do/raise-event", params={"id": id})
    assert "It waits for Go." in text_of(page)
    assert 'value="Go"' in page.text
    wrong = browser.post("/ui/do/raise-event", params={"id": id}, data={"event": "Go", "data": "{'a': 1}"})
    assert wrong.status_code == 400
    assert "line 1, column 2" in text_of(wrong)
    assert "{&#39;a&#39;: 1}" in wrong.text
    assert served.client.get_status(id).status_name == "Running"
    sent = browser.post("/ui/do/raise-event", params={"id": id}, data={"event": "Go", "data": '"now"'})
    assert (sent.status_code, sent.headers["location"]) == (303, "/ui/instances/verbs%20raise%3A1")
    assert served.wait_for_status("verbs%20raise%3A1", "Completed")["output"] == "NOW"


def test_a_name_is_required_and_the_client_checks_it(served: RunningServer, browser: httpx.Client) -> None:
    id = start(served, "waiter", "verbs-name", "Running")
    empty = browser.post("/ui/do/raise-event", params={"id": id}, data={"event": " ", "data": "1"})
    assert "this is required" in text_of(empty)
    long = browser.post("/ui/do/raise-event", params={"id": id}, data={"event": "x" * 300, "data": "1"})
    assert long.status_code == 400
    assert "at most 256" in text_of(long)


def test_an_instance_is_suspended_resumed_and_terminated(served: RunningServer, browser: httpx.Client) -> None:
    id = start(served, "waiter", "verbs-life", "Running")
    for verb, status in (("suspend", "Suspended"), ("resume", "Running"), ("terminate", "Terminated")):
        assert id in text_of(browser.get("/ui/do/" + verb, params={"id": id}))
        done = browser.post("/ui/do/" + verb, params={"id": id}, data={"reason": f"to {verb}"})
        assert done.status_code == 303
        served.wait_for_status(id, status)
    again = browser.post("/ui/do/terminate", params={"id": id}, data={"reason": "more"})
    assert again.status_code == 410
    assert "nothing is left to do" in text_of(again)
    purged = browser.post("/ui/do/purge", params={"id": id}, data=EMPTY)
    assert (purged.status_code, purged.headers["location"]) == (303, "/")
    assert browser.get("/ui/do/terminate", params={"id": id}).status_code == 404


def test_a_rewind_names_the_work_that_runs_again(served: RunningServer, browser: httpx.Client) -> None:
    id = start(served, "failing", "verbs-rewind", "Failed")
    page = browser.get("/ui/do/rewind", params={"id": id})
    assert "No call will run again." in text_of(page)
    assert "restart the engine first" in text_of(page)  # it has loaded the code that failed
    assert browser.post("/ui/do/rewind", params={"id": id}, data={"reason": "fixed"}).status_code == 303
    served.wait_for_status(id, "Failed")
    records = [type(each.event).__name__ for each in served.client.get_history(id)]
    assert "ExecutionRewound" in records


@pytest.mark.parametrize("caught", [False, True])
def test_a_rewind_retries_caught_failures_if_asked(served: RunningServer, browser: httpx.Client, caught: bool) -> None:
    id = start(served, "collecting", f"verbs-caught-{caught}", "Failed")
    page = text_of(browser.get("/ui/do/rewind", params={"id": id}))
    assert "Also retry 1 call whose failure the orchestrator has caught activity count_letters [first] (id 2)." in page
    assert browser.post("/ui/do/rewind", params={"id": id}, data={"caught": "on" if caught else ""}).status_code == 303

    def count_ends() -> int:
        return sum(isinstance(each.event, ExecutionCompleted) for each in served.client.get_history(id))

    wait_until(lambda: count_ends() == 2)
    failures = [each for each in served.client.get_history(id) if isinstance(each.event, TaskFailed)]
    assert len(failures) == (2 if caught else 1)


@pytest.mark.parametrize("choice", ["new", "same"])
def test_an_instance_is_restarted(served: RunningServer, browser: httpx.Client, choice: str) -> None:
    id = start(served, "echo", f"verbs-restart-{choice}", "Completed", {"a": 1})
    done = browser.post("/ui/do/restart", params={"id": id}, data={"id-choice": choice})
    shown = done.headers["location"].removeprefix("/ui/instances/")
    assert (shown == id) == (choice == "same")
    assert served.wait_for_status(shown, "Completed")["output"] == {"a": 1}


def test_an_entity_is_signaled_deleted_and_purged(served: RunningServer, browser: httpx.Client) -> None:
    url = {"id": "@Counter@verbs"}

    def read() -> Any:
        return served.client.read_entity_state("@counter@verbs").entity_state

    wrong = browser.post("/ui/do/signal", params=url, data={"operation": "add", "input": "x", "delay": "soon"})
    assert "a text needs quotes" in text_of(wrong)
    assert "invalid duration" in text_of(wrong)
    sent = browser.post("/ui/do/signal", params=url, data={"operation": "add", "input": "5", "delay": "", "at": ""})
    assert (sent.status_code, sent.headers["location"]) == (303, "/ui/entities/%40counter%40verbs")
    wait_until(lambda: read() == 5)
    assert "has a state" in text_of(browser.get("/ui/do/purge", params=url))
    assert browser.post("/ui/do/delete", params=url, data=EMPTY).status_code == 303
    wait_until(lambda: read() is None)
    assert browser.post("/ui/do/purge", params=url, data=EMPTY).headers["location"] == "/ui/entities"
    wait_until(lambda: not served.client.entity("@counter@verbs"))


def test_a_script_is_told_the_next_page_instead_of_being_redirected(
    served: RunningServer, browser: httpx.Client
) -> None:
    id = start(served, "waiter", "verbs-script", "Running")
    done = browser.post("/ui/do/suspend", params={"id": id}, data=EMPTY, headers={"hx-request": "true"})
    assert (done.status_code, done.headers["hx-redirect"]) == (200, "/ui/instances/verbs-script")
    assert "location" not in done.headers


def test_what_isnt_a_verb_is_refused(browser: httpx.Client) -> None:
    assert browser.get("/ui/do/explode", params={"id": "a"}).status_code == 404
    assert browser.get("/ui/do/delete", params={"id": "a"}).status_code == 404
    assert browser.get("/ui/do/terminate").status_code == 400
    assert browser.get("/ui/do/terminate", params={"id": "no-such"}).status_code == 404


def test_a_page_of_another_site_can_do_nothing(served: RunningServer, browser: httpx.Client) -> None:
    id = start(served, "waiter", "verbs-csrf", "Running")
    for headers in ({"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}):
        sent = browser.post("/ui/do/terminate", params={"id": id}, data=EMPTY, headers=headers)
        assert sent.status_code == 403
    assert served.client.get_status(id).status_name == "Running"


def test_descendants_are_found_level_by_level(tmp_path: Path) -> None:
    root = tmp_path / ".state"
    with open_hub_writer(root) as writer:
        for id, parent in (("a", None), ("a-0", "a"), ("a-1", "a"), ("a-1-0", "a-1"), ("b", None)):
            origin = None if parent is None else Origin(parent, "1", 1)
            writer.write(id, ExecutionStarted(id, "1", "f", parent=origin))
        writer.write("a-2", ExecutionStarted("a-2", "1", "f", parent=Origin("a", "1", 1)))
        writer.write("a-2", ExecutionCompleted("Completed", Raw(b"1")))
        client = Client(root)
        assert find_descendants(client, "a", ("Running",)) == ["a-0", "a-1", "a-1-0"]
        assert find_descendants(client, "a", ("Completed",)) == ["a-2"]
        assert find_descendants(client, "b", ("Running", "Completed")) == []
