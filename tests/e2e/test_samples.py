"""The samples do what their first lines say, through the command, on real files."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import fork_server
from tests.support.cli_harness import DurableProcess
from tests.support.waiting import wait_until

WORKFLOWS = Path(__file__).parents[2] / "workflows"


class DurableCommand:
    """The `durable` of the tree under test, with a hub of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *arguments: str, code: int = 0) -> str:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("DURABLE_")}
        done = fork_server.run([*arguments, "--state-dir", ".state"], self.folder, environment)
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done.stdout

    def run(self, name: str, given: object = None, *options: str, code: int = 0) -> Any:
        """Run a sample to its end; its output."""
        shown = self("run", name, "--input", json.dumps(given), "--app", str(WORKFLOWS), *options, code=code)
        return json.loads(shown) if shown else None

    def status(self, instance: str) -> Any:
        return json.loads(self("status", instance, "-o", "json"))


@pytest.fixture
def durable(tmp_path: Path) -> DurableCommand:
    return DurableCommand(tmp_path)


def test_hello_sequence_greets_three_cities(durable: DurableCommand) -> None:
    assert durable.run("hello_sequence") == ["Hello Tokyo!", "Hello Seattle!", "Hello London!"]


@pytest.mark.parametrize(("given", "greeted"), [("Paris", ["Hello Paris!"]), (["A", "B"], ["Hello A!", "Hello B!"])])
def test_hello_sequence_greets_the_given_cities(durable: DurableCommand, given: object, greeted: list[str]) -> None:
    assert durable.run("hello_sequence", given) == greeted


def test_function_chaining_publishes_a_whole_archive(durable: DurableCommand, tmp_path: Path) -> None:
    target = tmp_path / "backup.tar.gz"
    done = durable.run("function_chaining", {"source": str(WORKFLOWS), "target": str(target)})
    assert done == {"archive": str(target), "sha256": hashlib.sha256(target.read_bytes()).hexdigest()}
    with tarfile.open(target) as archive:
        assert "workflows/hello_sequence.py" in archive.getnames()
    assert not Path(f"{target}.partial").exists()


def test_function_chaining_leaves_no_half_of_it_behind(durable: DurableCommand, tmp_path: Path) -> None:
    target = tmp_path / "backup.tar.gz"
    target.write_text("precious")
    durable.run("function_chaining", {"source": str(WORKFLOWS), "target": str(target)}, "--id", "b", code=6)
    assert target.read_text() == "precious"
    assert not Path(f"{target}.partial").exists()
    assert "is another file already" in json.dumps(durable.status("b")["output"])


def test_fan_out_fan_in_counts_every_file_below_the_root(durable: DurableCommand) -> None:
    root = Path(json.__file__).parents[1]
    files = [path for path in root.glob("[d-j]*/**/*.py") if path.is_file()]
    done = durable.run("fan_out_fan_in", {"root": str(root), "pattern": "[d-j]*/**/*.py"}, "--id", "count")
    assert len(files) > 100
    assert done["files"] == len(files)
    assert done["folders"] == len({path.parent for path in files})
    assert done["bytes"] == sum(path.stat().st_size for path in files)
    assert done["words"] == sum(len(path.read_bytes().split()) for path in files)
    assert done["richest"][0]["words"] >= done["richest"][-1]["words"]
    assert durable.status("count")["customStatus"] == f"{done['folders']} of {done['folders']} folders"


def test_fan_out_fan_in_over_nothing_ends_at_once(durable: DurableCommand, tmp_path: Path) -> None:
    done = durable.run("fan_out_fan_in", {"root": str(tmp_path / "nowhere")})
    assert done == {"folders": 0, "files": 0, "words": 0, "bytes": 0, "richest": []}


def test_monitor_finds_the_file(durable: DurableCommand, tmp_path: Path) -> None:
    (tmp_path / "report.csv").write_text("a,b\n")
    done = durable.run("monitor", {"path": str(tmp_path / "report.csv"), "size": 4})
    assert done == {"found": True, "size": 4, "looks": 1}


def test_monitor_gives_up_at_the_deadline(durable: DurableCommand, tmp_path: Path) -> None:
    (tmp_path / "report.csv").write_text("a,b\n")
    watch = {"path": str(tmp_path / "report.csv"), "size": 5, "first_wait": 0.05, "timeout": 0.3}
    done = durable.run("monitor", watch)
    # 0.05 + 0.1 + the rest of 0.3; a late look may swallow one
    assert done | {"looks": 0} == {"found": False, "size": 4, "looks": 0}
    assert 2 <= done["looks"] <= 4


@pytest.mark.parametrize("answer", [True, False])
def test_human_interaction_takes_the_answer(durable: DurableCommand, tmp_path: Path, answer: bool) -> None:
    expense = {"employee": "Mia", "amount": 740, "mailbox": str(tmp_path / "mail")}
    durable("start", "human_interaction", "--id", "trip", "--input", json.dumps(expense))
    durable("raise-event", "trip", "Approval", "--data", json.dumps(answer))
    durable("run-daemon", "--until-idle", "--app", str(WORKFLOWS))
    assert durable.status("trip")["output"] == {"approved": answer, "by": "manager"}
    letters = sorted(path.read_text() for path in (tmp_path / "mail").iterdir())
    assert letters == [
        f"To: Mia\n\nYour 740.00 are {'approved' if answer else 'refused'}.\n",
        "To: manager\n\nMia asks for 740.00.\n",
    ]


def test_human_interaction_asks_the_next_one_when_the_time_is_up(durable: DurableCommand, tmp_path: Path) -> None:
    expense = {"employee": "Mia", "amount": 7.5, "mailbox": str(tmp_path / "mail"), "hours": 0.00003}
    assert durable.run("human_interaction", expense) == {"approved": False, "by": None}
    letters = sorted(path.read_text() for path in (tmp_path / "mail").iterdir())
    assert letters == ["To: director\n\nMia asks for 7.50.\n", "To: manager\n\nMia asks for 7.50.\n"]


def test_eternal_cleans_round_after_round_without_growing(durable: DurableCommand, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    for name in ("old.tmp", "older.tmp", "old.txt", "new.tmp"):
        (cache / name).write_text(name)
        if name != "new.tmp":
            os.utime(cache / name, (1_000_000_000, 1_000_000_000))
    cleaning = {"folder": str(cache), "pattern": "*.tmp", "older_than": 3600, "interval": 0.01, "rounds": 5}
    assert durable.run("eternal", cleaning, "--id", "cleaner") == 2
    assert sorted(path.name for path in cache.iterdir()) == ["new.tmp", "old.txt"]
    history = json.loads(durable("history", "cleaner", "-o", "json"))
    assert len(history) < 10


def test_sub_orchestrations_provision_every_device(durable: DurableCommand, tmp_path: Path) -> None:
    names = [f"pump-{k}" for k in range(20)]
    folder = tmp_path / "devices"
    done = durable.run("sub_orchestrations", {"folder": str(folder), "devices": names})
    assert done["failed"] == {}
    assert sorted(done["ready"]) == sorted(str(folder / f"{name}.json") for name in names)
    for name in names:
        assert json.loads((folder / f"{name}.json").read_text()) == {"device": name, "mode": "active"}
    assert len(list(folder.iterdir())) == len(names)


def test_sub_orchestrations_name_the_device_that_failed(durable: DurableCommand, tmp_path: Path) -> None:
    done = durable.run("sub_orchestrations", {"folder": str(tmp_path / "devices"), "devices": ["a", "../b"]})
    assert done["ready"] == [str(tmp_path / "devices" / "a.json")]
    assert list(done["failed"]) == ["../b"]
    assert "can't be the name of a device" in done["failed"]["../b"]
    assert not (tmp_path / "b.json").exists()


def test_every_sample_has_its_test() -> None:
    tests = Path(__file__).read_text()
    assert [path.stem for path in WORKFLOWS.glob("*.py") if f"def test_{path.stem}_" not in tests] == []


def read_entity_state(durable: DurableCommand, entity: str) -> Any:
    return json.loads(durable("entity", "get", entity, "-o", "json"))["state"]


def test_aggregator_counts_what_is_signalled_from_the_terminal(durable: DurableCommand) -> None:
    for amount in (3, 4):
        durable("entity", "signal", "@counter@visits", "add", "--input", str(amount))
    durable("run-daemon", "--until-idle", "--app", str(WORKFLOWS))
    assert read_entity_state(durable, "@counter@visits") == 7
    durable("entity", "signal", "@Counter@visits", "reset")
    durable("run-daemon", "--until-idle", "--app", str(WORKFLOWS))
    assert read_entity_state(durable, "@counter@visits") == 0


def test_aggregator_sums_up_the_log_of_a_real_server(durable: DurableCommand, tmp_path: Path) -> None:
    """Python's own web server writes the log; some of the requests fail."""
    log, pages = tmp_path / "access.log", ["/", "/", "/missing", "/said", "/missing", "/"]
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "said").write_text("hello")
    with log.open("wb") as said:
        server = subprocess.Popen(
            [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "-d", str(tmp_path / "www")],
            stdout=subprocess.PIPE,
            stderr=said,
        )
    assert server.stdout is not None
    with server, server.stdout:
        try:
            port = int(server.stdout.readline().split(b"port ")[1].split()[0])
            for page in pages:
                request_page(port, page)
        finally:
            server.terminate()
    totals = durable.run("aggregate_log", {"path": str(log)})
    assert {page: total["requests"] for page, total in totals.items()} == {"/": 3, "/missing": 2, "/said": 1}
    assert totals["/missing"]["errors"] == 2
    assert read_entity_state(durable, "@page@/")["hosts"] == ["127.0.0.1"]
    assert read_entity_state(durable, "@counter@requests") == len(pages)


def request_page(port: int, page: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", page)
    connection.getresponse().read()
    connection.close()


def test_bank_moves_money_only_where_there_is_enough(durable: DurableCommand) -> None:
    durable("entity", "signal", "@account@ada", "deposit", "--input", "100")
    assert durable.run("transfer", {"source": "ada", "target": "bob", "amount": 30}) is True
    assert durable.run("transfer", {"source": "bob", "target": "ada", "amount": 31}) is False
    assert [read_entity_state(durable, f"@account@{name}")["balance"] for name in ("ada", "bob")] == [70, 30]
    listed = json.loads(durable("entity", "list", "--name", "account", "-o", "json"))
    assert sorted(row["entityId"] for row in listed) == ["@account@ada", "@account@bob"]


@pytest.fixture
def http_url(durable: DurableCommand) -> Iterator[str]:
    """Where a daemon with all samples answers HTTP."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DURABLE_")}
    arguments = ["run-daemon", "--app", str(WORKFLOWS), "--http", "127.0.0.1:0", "--state-dir", ".state"]
    daemon = DurableProcess(arguments, durable.folder, environment | {"NO_PROXY": "127.0.0.1"}, durable.folder / "said")
    try:
        daemon.wait_for_output("listening on ")
        yield re.findall(r"listening on (http://127\.0\.0\.1:\d+)", daemon.output)[0]
    finally:
        daemon.kill()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three files, of which two are equal."""
    (tmp_path / "papers" / "old").mkdir(parents=True)
    for name, text in {"a": "one", "b": "two", "old/a": "one"}.items():
        (tmp_path / "papers" / name).write_text(text)
    return tmp_path / "papers"


def test_async_http_api_is_accepted_and_polled_until_it_is_done(http_url: str, folder: Path) -> None:
    """Its own door, and the one that every orchestration has."""
    for path in ("orchestrators/DoWork", "inventories/papers"):
        begun = httpx.post(f"{http_url}/api/{path}", json={"folder": str(folder)})
        assert begun.status_code == 202
        location = begun.headers["Location"]
        assert location.startswith(f"{http_url}/runtime/webhooks/durabletask/instances/")
        wait_until(lambda: httpx.get(location).status_code == 200, description=path, interval=0.05)  # noqa: B023 - called at once
        found = httpx.get(location).json()
        assert found["runtimeStatus"] == "Completed"
        assert found["output"] == {"files": 3, "different": 2}
        assert found["customStatus"] == {"files": 3, "done": 3}


def test_async_http_api_refuses_what_is_no_folder(http_url: str, folder: Path) -> None:
    refused = httpx.post(f"{http_url}/api/inventories/papers", json={"folder": str(folder / "a")})
    assert (refused.status_code, refused.text) == (400, f"{folder / 'a'} is no folder")


def test_async_http_api_is_asked_by_another_orchestration(durable: DurableCommand, http_url: str, folder: Path) -> None:
    given = {"uri": f"{http_url}/api/inventories/papers", "content": {"folder": str(folder)}}
    assert durable.run("ask", given) == {"files": 3, "different": 2}
    given["content"] = {"folder": "/nowhere"}
    shown = durable("run", "ask", "--input", json.dumps(given), "--app", str(WORKFLOWS), code=6)
    assert shown == ""
