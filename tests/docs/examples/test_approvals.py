"""The web app for expenses, over HTTP and with an engine of its own; and its three days of silence, in a hub."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from docs.examples import approvals
from durablecli.testing import TestEnvironment
from tests.support.waiting import wait_until

TRIP = {"employee": "Mia", "amount": 740.0}
YES = {"approved": True, "by": "manager"}


@contextmanager
def serve() -> Iterator[httpx.Client]:
    """Serve the app in a thread, and give a client of it."""
    server = uvicorn.Server(uvicorn.Config(approvals.app, log_level="warning"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            wait_until(lambda: server.started, description="the start of the server")
            with httpx.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=30) as http:
                yield http
        finally:
            server.should_exit = True
            thread.join(60)


@pytest.fixture
def http(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serve() as http:
        yield http


def wait_for_status(http: httpx.Client, id: str, status: object) -> dict[str, Any]:
    def shown() -> dict[str, Any]:
        (found,) = [row for row in http.get("/expenses").json() if row["id"] == id]
        return dict(found)

    wait_until(lambda: shown()["status"] == status, description=f"{status} of {id}")
    return shown()


def test_an_expense_is_asked_for_listed_and_approved(http: httpx.Client) -> None:
    ids = [http.post("/expenses", json=TRIP | {"amount": amount}).json()["id"] for amount in (740, 20)]
    for id in ids:
        wait_for_status(http, id, {"waits for": "manager"})
    assert [(row["id"], row["amount"]) for row in http.get("/expenses").json()] == list(
        zip(ids, (740, 20), strict=True)
    )
    assert http.post(f"/expenses/{ids[0]}/decision", json=YES).status_code == 202
    assert http.post(f"/expenses/{ids[1]}/decision", json=YES | {"approved": False}).status_code == 202
    assert wait_for_status(http, ids[0], "paid") == {"id": ids[0], "employee": "Mia", "amount": 740, "status": "paid"}
    wait_for_status(http, ids[1], "refused")


def test_what_waits_goes_on_after_a_restart_of_the_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serve() as http:
        id = http.post("/expenses", json=TRIP).json()["id"]
        wait_for_status(http, id, {"waits for": "manager"})
    with serve() as http:
        http.post(f"/expenses/{id}/decision", json=YES)
        wait_for_status(http, id, "paid")


@pytest.mark.parametrize(
    ("path", "text", "status"),
    [
        ("/expenses", "{", 400),
        ("/expenses", '{"employee": "Mia"}', 400),
        ("/expenses/none/decision", '{"approved": true, "by": "Mia"}', 404),
        ("/expenses/none/decision", '{"approved": "perhaps", "by": "Mia"}', 400),
    ],
)
def test_a_bad_request_is_refused_with_a_reason(http: httpx.Client, path: str, text: str, status: int) -> None:
    answer = http.post(path, content=text)
    assert answer.status_code == status
    assert answer.json()["error"]
    assert http.get("/expenses").json() == []


def test_silence_asks_the_director_and_then_expires(
    durable_hub: Callable[..., TestEnvironment], capsys: pytest.CaptureFixture[str]
) -> None:
    hub = durable_hub(approvals)
    hub.client.start_new("expense", "trip", TRIP)
    hub.advance(timedelta(days=4))
    assert hub.client.get_status("trip").custom_status == {"waits for": "director"}
    began = hub.clock.now()
    assert hub.finish("trip").output == "expired"
    assert hub.clock.now() - began == timedelta(days=2)
    assert capsys.readouterr().out.splitlines() == [
        "to manager: Mia asks for 740.00",
        "to director: Mia asks for 740.00",
        "to Mia: nobody has decided",
    ]
