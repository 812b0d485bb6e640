"""The page of one instance, as any client gets it: its views, its parts, and what isn't there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from durablecli.model.log_entry import LogEntry, encode_entries
from durablecli.store.history.file import history_path
from durablecli.store.logs.log_files import locate_log
from tests.http.conftest import RunningServer
from tests.support.waiting import wait_until


@pytest.fixture
def browser(served: RunningServer) -> Iterator[httpx.Client]:
    headers = {"sec-fetch-site": "same-origin", "accept": "text/html,*/*;q=0.8"}
    with httpx.Client(base_url=served.url, headers=headers, timeout=20) as made:
        yield made


def page_of(browser: httpx.Client, instance: str, rest: str = "") -> str:
    found = browser.get(f"/ui/instances/{quote(instance, safe='')}{rest}")
    assert found.status_code == 200, found.text
    assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son[a-z]+=|https?://", found.text)
    return found.text


@pytest.mark.parametrize("view", ["", "?view=history", "?view=messages", "?view=family", "?view=nonsense"])
def test_each_view_shows_the_instance(served: RunningServer, browser: httpx.Client, view: str) -> None:
    instance = served.client.start_new("waiter")
    served.client.raise_event(instance, "Go", "now")
    served.client.wait(instance, 20)
    text = page_of(browser, instance, view)
    assert instance in text
    assert "Completed" in text
    assert 'data-live="' not in text  # it has ended


def test_a_running_instance_is_followed_and_says_what_it_waits_for(
    served: RunningServer, browser: httpx.Client
) -> None:
    instance = served.client.start_new("waiter")
    served.wait_for_status(instance, "Running")
    text = page_of(browser, instance)
    assert f'data-live="/ui/changes?id={instance}"' in text
    assert '<span class="kind">event</span>' in text
    assert "<strong>Go</strong>" in text
    served.client.suspend(instance, "au<dit")
    served.wait_for_status(instance, "Suspended")
    assert "au&lt;dit" in page_of(browser, instance)
    served.client.terminate(instance)


@pytest.mark.parametrize("instance", ['a b&"<i>é%25', "x" * 100, "🙂", "a:b;c=d"])
def test_an_id_may_hold_any_character(served: RunningServer, browser: httpx.Client, instance: str) -> None:
    served.client.start_new("echo", instance, {"é": instance})
    served.client.wait(instance, 20)
    for view in ("", "?view=history", "?view=family"):
        assert "<i>" not in page_of(browser, instance, view)


def test_a_failed_instance_shows_what_was_raised_and_where(served: RunningServer, browser: httpx.Client) -> None:
    instance = served.client.start_new("failing")
    served.client.wait(instance, 20)
    text = page_of(browser, instance)
    assert re.search(r"<h2[^>]*>ValueError", text)
    assert "nothing works" in text
    assert re.search(r"conftest\.py:<wbr>\d+", text)
    assert "Traceback (most recent call last)" in text


def test_a_failure_that_the_orchestrator_has_caught_is_shown_too(served: RunningServer, browser: httpx.Client) -> None:
    instance = served.client.start_new("collecting")
    served.client.wait(instance, 20)
    text = page_of(browser, instance)
    assert re.search(r"<h2[^>]*>RuntimeError", text)
    assert "no word was given" in text.partition("Failed tasks")[2]


def test_a_large_payload_is_cut_and_can_be_downloaded(served: RunningServer, browser: httpx.Client) -> None:
    instance = served.client.start_new("echo", None, "ü" * 1_000_000)
    served.client.wait(instance, 20)
    for rest in ("", "?view=history", "/records/1"):
        assert len(page_of(browser, instance, rest)) < 100_000
    found = browser.get(f"/ui/instances/{instance}/records/1/input")
    assert found.json() == "ü" * 1_000_000
    assert found.headers["content-disposition"] == 'attachment; filename="record-1-input.json"'
    assert browser.get(f"/ui/instances/{instance}/records/1/result").status_code == 404
    assert browser.get(f"/ui/instances/{instance}/records/99").status_code == 404
    assert browser.get(f"/ui/instances/{instance}/records/x").status_code == 404


def test_an_unknown_instance_has_a_page_that_says_so(browser: httpx.Client) -> None:
    found = browser.get("/ui/instances/no%3Cb%3Ene")
    assert found.status_code == 404
    assert "No such instance" in found.text
    assert "no&lt;b&gt;ne" in found.text
    for part in ("calls", "records", "records/1"):
        assert browser.get(f"/ui/instances/none/{part}").status_code == 404


def test_an_entity_has_its_own_page(browser: httpx.Client) -> None:
    found = browser.get("/ui/instances/@counter@a%20b")
    assert (found.status_code, found.headers["location"]) == (303, "/ui/entities/%40counter%40a%20b")


def test_one_call_has_its_input_its_result_and_its_log(served: RunningServer, browser: httpx.Client) -> None:
    instance = served.client.start_new("waiter")
    served.client.raise_event(instance, "Go", "n<ow")
    served.client.wait(instance, 20)
    text = page_of(browser, instance)
    call = re.search(r"view=history&amp;call=(\d+)[^>]*>shout<", text)
    assert call is not None
    text = page_of(browser, instance, f"?view=history&call={call[1]}")
    assert "n&lt;ow" in text
    assert "N&lt;OW" in text
    assert "TaskScheduled" in text
    assert "TaskCompleted" in text
    assert "ExecutionStarted" not in text
    assert "What it printed and logged" in text
    for nothing in ("0", "x", "999"):
        assert "ExecutionStarted" in page_of(browser, instance, f"?view=history&call={nothing}")


@pytest.mark.parametrize("first", ["-1", "0", "x", "99999999999", "1.5", "²"])
def test_a_wrong_number_is_ignored(served: RunningServer, browser: httpx.Client, first: str) -> None:
    instance = served.client.start_new("echo")
    served.client.wait(instance, 20)
    page_of(browser, instance, f"?view=history&first={quote(first)}")
    page_of(browser, instance, f"/records?first={quote(first)}&last={quote(first)}")
    page_of(browser, instance, f"/calls?group=x&offset={quote(first)}")


def test_the_logs_show_what_was_printed(served: RunningServer, browser: httpx.Client) -> None:
    instance = served.client.start_new("waiter", tags={"team": "b<lue"})
    assert "team=b&lt;lue" in page_of(browser, instance)
    before = served.client.live_token(instance)
    log = Path(locate_log(served.client.root, instance).current)
    log.parent.mkdir(parents=True, exist_ok=True)
    entries = [
        LogEntry(datetime.now(UTC), "INFO", f"said <{number}>", "activity", "shout", number, attempt=1, stream="stdout")
        for number in range(600)
    ]
    log.write_bytes(encode_entries(entries))
    assert served.client.live_token(instance) != before
    text = page_of(browser, instance, "?view=logs")
    assert "said &lt;599&gt;" in text
    assert "said &lt;99&gt;" not in text  # only the last ones are shown
    assert re.findall("said &lt;[0-9]+", page_of(browser, instance, "?view=logs&activity=7")) == ["said &lt;7"]
    for activity in ("nothing", "9" * 5000):
        assert "Nothing was printed" in page_of(browser, instance, f"?view=logs&activity={activity}")
    served.client.terminate(instance)


def test_the_token_of_an_instance_changes_only_with_it(served: RunningServer) -> None:
    client = served.client
    instance = client.start_new("waiter")
    served.wait_for_status(instance, "Running")

    def stays_while_another_changes() -> bool:
        before = client.live_token(instance)
        other = client.start_new("waiter")
        client.raise_event(other, "Go", "now")
        client.wait(other, 20)
        return client.live_token(instance) == before

    wait_until(stays_while_another_changes)  # at first the instance's own history may still be on its way to its file
    before = client.live_token(instance)
    client.raise_event(instance, "Go", "now")
    client.wait(instance, 20)
    assert client.live_token(instance) != before


def test_a_damaged_history_is_shown_as_far_as_it_can_be_read(served: RunningServer, browser: httpx.Client) -> None:
    instance = served.client.start_new("waiter", "dash-damaged")
    file = Path(history_path(served.client.root, instance))
    wait_until(lambda: file.exists() and file.read_bytes().count(b"\n") > 1)
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(lines[0] + b"X" + lines[1][1:] + b"".join(lines[2:]))
    wait_until(lambda: "Quarantined" in page_of(browser, instance))
    for view in ("history", "messages", "family", "logs"):
        text = page_of(browser, instance, f"?view={view}")
        assert "durable doctor --repair" in text
        assert ("ExecutionStarted" in text) == (view == "history")


def test_a_start_that_no_engine_has_taken_is_shown(served: RunningServer, browser: httpx.Client) -> None:
    start_at = datetime.now(UTC) + timedelta(hours=2)
    instance = served.client.start_new("waiter", "dash-later", start_at=start_at)
    text = page_of(browser, instance)
    assert "Pending" in text
    assert "in 1 h 59 min" in text
    for view in ("history", "messages", "family", "logs"):
        page_of(browser, instance, f"?view={view}")
    served.client.terminate(instance)
