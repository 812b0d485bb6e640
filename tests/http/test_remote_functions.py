"""Starts, functions and waits of remote code over HTTP and in the dashboard."""

from __future__ import annotations

import html
import os
import re
from datetime import UTC, datetime, timedelta

import httpx

from durablecli.model import events as ev
from durablecli.store.disk import LocalDisk
from durablecli.store.engine_info import EngineInfo, FunctionInfo, RemoteWorkItem, WorkerInfo, write_engine_info
from tests.support.history_writer import HubWriter

START = "/runtime/webhooks/durabletask/orchestrators/Order"


def report(writer: HubWriter, *workers: WorkerInfo) -> None:
    functions = (FunctionInfo("echo", "orchestrator"),)
    info = EngineInfo(datetime.now(UTC), os.getpid(), functions, workers=workers)
    write_engine_info(LocalDisk(), str(writer.hub.root), info)


def text_of(page: httpx.Response) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page.text)).split())


def test_a_start_of_an_unknown_name_is_accepted_while_remote_code_is_served(
    hub_writer: HubWriter, hub_browser: httpx.Client
) -> None:
    assert hub_browser.post(START).status_code == 400
    report(hub_writer)
    assert hub_browser.post(START).status_code == 202


def test_the_form_takes_any_name_unless_all_workers_name_their_functions(
    hub_writer: HubWriter, hub_browser: httpx.Client
) -> None:
    named = WorkerInfo("js", datetime.now(UTC), {"Order": ()}, {}, {})
    report(hub_writer, named)
    page = hub_browser.get("/ui/start")
    assert re.findall(r'<option value="(\w+)"', page.text)[:2] == ["echo", "Order"]
    report(hub_writer, named, WorkerInfo("py", datetime.now(UTC)))
    page = hub_browser.get("/ui/start")
    assert re.search(r'<input[^>]* name="name"', page.text)
    assert "Known: echo, Order." in text_of(page)


def test_functions_of_workers_are_beside_the_loaded_ones(hub_writer: HubWriter, hub_browser: httpx.Client) -> None:
    report(hub_writer, WorkerInfo("js", datetime.now(UTC), {"Order": ("1", "2")}, {"ship": ()}, {"cart": ()}))
    text = text_of(hub_browser.get("/ui/functions"))
    assert re.search(r"Orchestrators 2 .*echo .*Order\s+version 1, 2 remote, worker js", text)
    assert re.search(r"Activities 1 .*ship .*remote, worker js .*Entities 1 .*cart .*remote, worker js", text)


def test_a_page_says_which_worker_runs_a_turn_or_is_missing(hub_writer: HubWriter, hub_browser: httpx.Client) -> None:
    hub_writer.write("o-1", ev.ExecutionStarted("o-1", "1", "Order", held=True))
    report(hub_writer)
    missing = "a worker that runs 'Order' (no worker is connected)"
    assert f"it waits for {missing}" in text_of(hub_browser.get("/ui/instances/o-1"))
    assert "a worker that runs 'Order'" in text_of(hub_browser.get("/"))
    turn = RemoteWorkItem("turn", "o-1", "1", datetime.now(UTC) - timedelta(seconds=3))
    report(hub_writer, WorkerInfo("js", datetime.now(UTC), {"Order": ()}, {}, {}, (turn,)))
    assert re.search(r"turn Order running for 3[\d.]* s on worker js", text_of(hub_browser.get("/ui/instances/o-1")))
