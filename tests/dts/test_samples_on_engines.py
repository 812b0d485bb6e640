"""The samples give the same outputs on every engine, unmodified, through the command."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from durablecli import Client
from tests.support.foreign_engine import (
    EngineUnderTest,
    ForeignEngine,
    LocalEngine,
    memory_backend,
    serving_hub,
    worker_process,
)
from tests.support.fork_server import COMMAND
from tests.support.http_stub import StubResponse, StubServer, run_stub_server
from tests.support.waiting import wait_until

WORKFLOWS = Path(__file__).parents[2] / "workflows"
ENGINES = ["local", "memory", "hub"]


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineUnderTest]:
    """An engine whose worker runs all samples."""
    folder: Path = tmp_path_factory.mktemp(request.param)
    with ExitStack() as stack:
        if request.param == "local":
            yield stack.enter_context(_local_daemon(folder))
        else:
            made = memory_backend() if request.param == "memory" else serving_hub(folder / "served")
            backend = stack.enter_context(made)
            stack.enter_context(worker_process(str(backend.address), WORKFLOWS, folder))
            yield backend
            assert not (folder / ".state").exists()


@contextmanager
def _local_daemon(folder: Path) -> Iterator[LocalEngine]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DURABLE_")}
    command = [*COMMAND, "run-daemon", "--app", str(WORKFLOWS), "--state-dir", str(folder / ".state")]
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=said, stderr=said)
    try:
        wait_until(lambda: "loaded " in (folder / "said").read_text(), description="a daemon")
        yield LocalEngine(Client(folder / ".state"))
    finally:
        process.terminate()
        process.wait(20)


def run(engine: EngineUnderTest, name: str, given: Any = None) -> Any:
    outcome = engine.wait(engine.start(name, given))
    assert outcome.status == "Completed", outcome
    return outcome.output


def test_hello_sequence(engine: EngineUnderTest) -> None:
    assert run(engine, "hello_sequence") == ["Hello Tokyo!", "Hello Seattle!", "Hello London!"]
    assert run(engine, "hello_sequence", ["A", "B"]) == ["Hello A!", "Hello B!"]


def test_function_chaining(engine: EngineUnderTest, tmp_path: Path) -> None:
    target = tmp_path / "backup.tar.gz"
    done = run(engine, "function_chaining", {"source": str(WORKFLOWS), "target": str(target)})
    assert done == {"archive": str(target), "sha256": hashlib.sha256(target.read_bytes()).hexdigest()}


def test_function_chaining_fails_where_it_would_overwrite(engine: EngineUnderTest, tmp_path: Path) -> None:
    target = tmp_path / "backup.tar.gz"
    target.write_text("precious")
    outcome = engine.wait(engine.start("function_chaining", {"source": str(WORKFLOWS), "target": str(target)}))
    assert outcome.status == "Failed"
    assert "is another file already" in (outcome.failure or "")
    assert target.read_text() == "precious"


def test_fan_out_fan_in(engine: EngineUnderTest) -> None:
    root = Path(json.__file__).parents[1]
    files = [path for path in root.glob("[d-e]*/**/*.py") if path.is_file()]
    instance = engine.start("fan_out_fan_in", {"root": str(root), "pattern": "[d-e]*/**/*.py"})
    outcome = engine.wait(instance)
    assert outcome.output["words"] == sum(len(path.read_bytes().split()) for path in files)
    folders = len({path.parent for path in files})
    assert outcome.custom_status == f"{folders} of {folders} folders"


def test_fan_out_fan_in_over_nothing(engine: EngineUnderTest, tmp_path: Path) -> None:
    done = run(engine, "fan_out_fan_in", {"root": str(tmp_path / "nowhere")})
    assert done == {"folders": 0, "files": 0, "words": 0, "bytes": 0, "richest": []}


def test_monitor(engine: EngineUnderTest, tmp_path: Path) -> None:
    (tmp_path / "report.csv").write_text("a,b\n")
    assert run(engine, "monitor", {"path": str(tmp_path / "report.csv"), "size": 4}) == {
        "found": True,
        "size": 4,
        "looks": 1,
    }
    watch = {"path": str(tmp_path / "report.csv"), "size": 5, "first_wait": 0.05, "timeout": 0.3}
    assert run(engine, "monitor", watch) | {"looks": 0} == {"found": False, "size": 4, "looks": 0}


@pytest.mark.parametrize("answer", [True, False])
def test_human_interaction(engine: EngineUnderTest, tmp_path: Path, answer: bool) -> None:
    expense = {"employee": "Mia", "amount": 740, "mailbox": str(tmp_path / "mail")}
    instance = engine.start("human_interaction", expense)
    engine.raise_event(instance, "Approval", answer)
    assert engine.wait(instance).output == {"approved": answer, "by": "manager"}


def test_human_interaction_asks_the_next_one(engine: EngineUnderTest, tmp_path: Path) -> None:
    expense = {"employee": "Mia", "amount": 7.5, "mailbox": str(tmp_path / "mail"), "hours": 0.00003}
    assert run(engine, "human_interaction", expense) == {"approved": False, "by": None}
    letters = sorted(path.read_text() for path in (tmp_path / "mail").iterdir())
    assert letters == ["To: director\n\nMia asks for 7.50.\n", "To: manager\n\nMia asks for 7.50.\n"]


def test_eternal(engine: EngineUnderTest, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    for name in ("old.tmp", "older.tmp", "old.txt", "new.tmp"):
        (cache / name).write_text(name)
        if name != "new.tmp":
            os.utime(cache / name, (1_000_000_000, 1_000_000_000))
    cleaning = {"folder": str(cache), "pattern": "*.tmp", "older_than": 3600, "interval": 0.01, "rounds": 5}
    assert run(engine, "eternal", cleaning) == 2
    assert sorted(path.name for path in cache.iterdir()) == ["new.tmp", "old.txt"]


def test_sub_orchestrations(engine: EngineUnderTest, tmp_path: Path) -> None:
    folder = tmp_path / "devices"
    names = [f"pump-{k}" for k in range(8)]
    done = run(engine, "sub_orchestrations", {"folder": str(folder), "devices": names})
    assert done["failed"] == {}
    assert sorted(done["ready"]) == sorted(str(folder / f"{name}.json") for name in names)


def test_sub_orchestrations_name_the_device_that_failed(engine: EngineUnderTest, tmp_path: Path) -> None:
    done = run(engine, "sub_orchestrations", {"folder": str(tmp_path / "devices"), "devices": ["a", "../b"]})
    assert done["ready"] == [str(tmp_path / "devices" / "a.json")]
    assert list(done["failed"]) == ["../b"]
    assert "can't be the name of a device" in done["failed"]["../b"]


def test_aggregator(engine: EngineUnderTest, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    request = '127.0.0.1 - - [23/Nov/2026] "GET /{page} HTTP/1.1" {status} 5\n'
    log.write_text("".join(request.format(page=page, status=status) for page, status in (("", 200), ("x", 404)) * 2))
    totals = run(engine, "aggregate_log", {"path": str(log)})
    assert {page: (each["requests"], each["errors"]) for page, each in totals.items()} == {"/": (2, 0), "/x": (2, 2)}


def test_bank(engine: EngineUnderTest) -> None:
    engine.signal("@account@ada", "deposit", 100)
    assert run(engine, "transfer", {"source": "ada", "target": "bob", "amount": 30}) is True
    assert run(engine, "transfer", {"source": "bob", "target": "ada", "amount": 31}) is False
    if isinstance(engine, ForeignEngine):
        balances = [engine.entity_state(f"@account@{name}")["balance"] for name in ("ada", "bob")]
        assert balances == [70, 30]


@pytest.fixture
def server() -> Iterator[StubServer]:
    with run_stub_server() as server:
        yield server


def test_async_http_api(engine: EngineUnderTest, tmp_path: Path) -> None:
    for name, text in (("a", "same"), ("b", "same"), ("c", "other")):
        (tmp_path / name).write_text(text)
    outcome = engine.wait(engine.start("DoWork", {"folder": str(tmp_path)}))
    assert outcome.output == {"files": 3, "different": 2}
    assert outcome.custom_status == {"files": 3, "done": 3}


def test_async_http_api_asks_another_api(engine: EngineUnderTest, server: StubServer) -> None:
    later = StubResponse(202, {"Location": f"{server.url}/job", "Retry-After": "1"})
    server.set_responses("/begin", later)
    server.set_responses("/job", later, StubResponse(200, {}, json.dumps({"output": {"files": 3}}).encode()))
    assert run(engine, "ask", {"uri": f"{server.url}/begin", "content": {"folder": "x"}}) == {"files": 3}
    assert server.request_lines() == ["POST /begin", "GET /job", "GET /job"]


def test_every_sample_has_its_test() -> None:
    tests = Path(__file__).read_text()
    assert [path.stem for path in WORKFLOWS.glob("*.py") if f"def test_{path.stem}" not in tests] == []
