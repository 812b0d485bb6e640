"""Two complete apps, each in its own daemon: with Azure's packages installed, and without."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import fork_server
from tests.support.cli_harness import DurableProcess
from tests.support.ports import find_free_port
from tests.support.waiting import wait_until

APPS = Path(__file__).parent / "apps"
HIDE_AZURE = """
import importlib.machinery
find = importlib.machinery.PathFinder.find_spec
def hide(name, path=None, target=None):
    return None if f"{name}.".startswith("azure.") else find(name, path, target)
importlib.machinery.PathFinder.find_spec = staticmethod(hide)
"""
BROKEN = "raise AssertionError('this package stands in for durablecli while an app is loaded')\n"


class App:
    """An app in its own folder, and the actions of its user."""

    def __init__(self, name: str, folder: Path, packages: str) -> None:
        self.folder = folder / name
        shutil.copytree(APPS / name, self.folder, ignore=shutil.ignore_patterns("__pycache__", ".state"))
        self.port = find_free_port()
        path = _import_path(folder / "path", packages)
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("DURABLE_", "SHOP_"))},
            "PYTHONPATH": str(path),
            "DURABLE_HTTP__LISTEN": str(self.port),
        }
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30, trust_env=False)
        self.process: DurableProcess | None = None

    def start_daemon(self) -> DurableProcess:
        self.process = DurableProcess(["run-daemon"], self.folder, self.environment, self.folder / "said")
        self.process.wait_for_output("listening on ")
        return self.process

    def durable(self, *arguments: str) -> Any:
        done = fork_server.run(arguments, self.folder, self.environment)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def wait_for_final_status(self, url: str) -> Any:
        """Wait until the status behind a link is final, and return it."""
        found: list[httpx.Response] = []

        def is_final() -> bool:
            found.append(self.http.get(url))
            return found[-1].status_code == 200

        wait_until(is_final, description=f"the end of {url}", interval=0.05)
        return found[-1].json()

    def close(self) -> None:
        self.http.close()
        if self.process is not None and self.process.alive:
            self.process.kill()


def _import_path(folder: Path, packages: str) -> Path:
    """The folder Python searches first: with packages that must not be imported, or one that hides Azure's packages."""
    folder.mkdir()
    if packages == "absent":
        (folder / "sitecustomize.py").write_text(HIDE_AZURE)
    if packages == "broken":
        for name in ("functions", "durable_functions"):
            (folder / "azure" / name).mkdir(parents=True)
            (folder / "azure" / name / "__init__.py").write_text(BROKEN)
    return folder


@pytest.fixture(params=["installed", "absent", "broken"])
def packages(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def shop(tmp_path: Path, packages: str) -> Iterator[App]:
    made = App("v2_model", tmp_path, packages)
    yield made
    made.close()


@pytest.fixture
def older(tmp_path: Path, packages: str) -> Iterator[App]:
    made = App("function_json", tmp_path, packages)
    yield made
    made.close()


def test_the_app_of_the_newer_model_passes_its_scenario(shop: App, packages: str) -> None:
    seen = subprocess.run(
        [sys.executable, "-c", "import azure.functions"], env=shop.environment, capture_output=True, check=False
    )
    assert (seen.returncode == 0) == (packages == "installed")
    shop.durable("start", "order", "--id", "early", "--input", '{"item": "nut", "count": 1}', "-o", "json")
    daemon = shop.start_daemon()
    http = shop.http

    started = http.post("/shop/orders/apple", params={"id": "a1"})
    assert (started.status_code, started.headers["retry-after"]) == (202, "10")
    assert started.headers["location"] == started.json()["statusQueryGetUri"]
    done = shop.wait_for_final_status(started.headers["location"])
    assert (done["name"], done["runtimeStatus"]) == ("order", "Completed")
    assert done["output"]["shipped"] == "1 x apple"
    assert done["output"]["version"] == "1.4"

    now = http.post("/shop/orders/pear/now")
    assert (now.status_code, now.json()["shipped"]) == (200, "1 x pear")

    http.post("/shop/orders/fig", params={"id": "big"}, json={"count": 3})
    wait_until(lambda: http.get("/shop/orders/big").json()["customStatus"] == "waiting for approval", interval=0.05)
    assert http.post("/shop/orders/big/approve", data={"by": "ann"}).status_code == 202
    wait_until(lambda: http.get("/shop/orders/big").json()["runtimeStatus"] == "Completed", interval=0.05)
    assert http.get("/shop/orders/big").json()["customStatus"] == "approved by ann"

    http.post("/shop/orders/plum", params={"id": "gone"}, json={"count": 3})
    wait_until(lambda: http.get("/shop/orders/gone").json()["customStatus"] == "waiting for approval", interval=0.05)
    assert http.post("/shop/orders/gone/cancel").status_code == 204
    wait_until(lambda: http.get("/shop/orders/gone").json()["runtimeStatus"] == "Terminated", interval=0.05)
    assert http.delete("/shop/orders/gone").text == "1"
    assert http.get("/shop/orders/gone").status_code == 404

    assert {"a1", "big", "early"} <= set(http.get("/shop/orders").json())
    links = http.get("/shop/orders/a1/links").json()
    assert (links["same"], links["id"]) == (True, "a1")
    secret = http.get("/shop/secret")
    assert (secret.text, secret.headers["x-currency"]) == ("secret", "EUR")
    assert http.get("/shop/late").text == "Task admin"
    assert (http.post("/shop/export").status_code, http.get("/shop/export").status_code) == (201, 404)
    wait_until(lambda: int(http.get("/shop/ticks").text) >= 2, description="the timer", interval=0.1)

    assert "from_queue (queueTrigger)" in daemon.output
    assert shop.durable("status", "early", "-o", "json")["runtimeStatus"] == "Completed"
    assert (shop.folder / ".state" / "ShopHub" / "hub.json").is_file()


def test_the_app_of_the_older_layout_passes_its_scenario(older: App) -> None:
    older.start_daemon()
    http = older.http
    started = http.post("/api/orchestrators/Order", params={"amount": "4"})
    assert started.status_code == 202
    done = older.wait_for_final_status(started.headers["location"])
    assert done["output"]["paid"] == 6
    status = http.get("/api/Status", params={"id": started.json()["id"]}).json()
    assert (status["runtimeStatus"], status["name"]) == ("Completed", "Order")
    wait_until(
        lambda: http.get("/api/Status", params={"id": "ticked"}).json()["runtimeStatus"] == "Completed", interval=0.05
    )
    kinds = {one["name"]: one["kind"] for one in older.durable("functions", "-o", "json")["functions"]}
    assert kinds == {
        "Counter": "entity",
        "OnQueue": "other",
        "Order": "orchestrator",
        "Pay": "activity",
        "StartOrder": "http",
        "Status": "http",
        "TickTock": "timer",
    }
    assert (older.folder / ".state" / "OlderHub" / "hub.json").is_file()


def test_an_app_with_bindings_of_every_kind_runs_and_shows_its_outputs(tmp_path: Path) -> None:
    desk = App("bindings_v2", tmp_path, "installed")
    try:
        desk.start_daemon()
        started = desk.http.post("/api/orders", json={"id": "o1", "email": "ann@example.com"})
        assert desk.wait_for_final_status(started.headers["location"])["output"]["sent"] == "notify ann@example.com"
        sent = {
            output["Name"]: (output["Type"], output["Status"])
            for row in desk.durable("history", "o1", "-o", "json")
            for output in row.get("Outputs", [])
        }
        assert sent["sms"] == ("twilioSms", "not sent")
        assert len(sent) == 11
        assert desk.http.get("/api/by_out/ann").status_code == 203
        assert desk.http.get("/api/by_out/ann", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
        assert desk.http.get("/api/catalog").status_code == 501
        said = (desk.folder / "said").read_text()
        assert "catalog fails when it is called: only Azure provides its input catalog (blob)" in said
        assert "HTTP function 'http_start': not sent: audit (queue)" in said
    finally:
        desk.close()
