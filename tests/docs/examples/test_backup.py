"""The backup: its schedule can be triggered, its archives are whole, and a failure calls the hook."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import ROOT
from tests.support.cli_harness import CliHarness
from tests.support.http_stub import StubResponse, run_stub_server

APP = ("--app", str(ROOT / "docs" / "examples" / "backup.py"))


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[CliHarness]:
    hub = CliHarness(tmp_path)
    hub.environment["NO_PROXY"] = "127.0.0.1"
    (tmp_path / "durable.yaml").write_text((ROOT / "docs" / "examples" / "backup.yaml").read_text())
    yield hub
    hub.close()


def trigger(hub: CliHarness) -> str:
    """Trigger the schedule, and work until nothing is left to do; return the id of the run."""
    id = hub("schedule", "trigger", "backup", *APP).out.strip()
    hub("run-daemon", "--until-idle", *APP)
    return id


def test_a_triggered_backup_leaves_a_whole_archive_and_prunes_old_ones(hub: CliHarness) -> None:
    (hub.folder / "documents").mkdir()
    (hub.folder / "documents" / "letter.txt").write_text("Dear Mia,")
    backups = hub.folder / "backups"
    backups.mkdir()
    for day in range(1, 15):
        (backups / f"documents-2025-01-{day:02}.tar.gz").write_text("old")
    (backups / "documents-2025-01-15.tar.gz.partial").write_text("half")
    status = hub.client.get_status(trigger(hub))
    archives = sorted(path.name for path in backups.iterdir())
    assert len(archives) == 14
    assert status.output["deleted"] == ["documents-2025-01-01.tar.gz"]
    newest = backups / archives[-1]
    assert status.output["checksum"].split()[0] == hashlib.sha256(newest.read_bytes()).hexdigest()
    with tarfile.open(newest) as archive:
        assert sorted(archive.getnames()) == [".", "./letter.txt"]


def test_a_backup_that_fails_calls_the_hook(hub: CliHarness) -> None:
    with run_stub_server() as server:
        hub.environment["CHAT_WEBHOOK"] = server.set_responses("/chat", StubResponse(204))
        id = trigger(hub)
        (request,) = server.requests
    event = json.loads(request.body)
    assert (event["instance"], event["activity"]["name"]) == (id, "pack")
    assert "ShellError: tar exited with code 2: tar: " in event["text"]
    assert list((hub.folder / "backups").glob("*.tar.gz")) == []


def test_it_runs_at_three_in_the_morning_in_vienna(hub: CliHarness) -> None:
    dues = hub("schedule", "next", "backup", "2", *APP).out.splitlines()
    assert ["T03:00:00+" in due for due in dues] == [True, True]
