"""Verbs that only look write nothing: on a hub that was killed, and where they couldn't if they wanted to."""

from __future__ import annotations

import os
from shutil import which

import pytest

from tests.support.cli_harness import FLOWS, CliHarness
from tests.support.files import snapshot_files
from tests.support.waiting import wait_until

READ_ONLY_VERBS = [
    ["status", "a"],
    ["status", "waits", "-o", "json"],
    ["list"],
    ["list", "--count"],
    ["list", "--status", "Running", "-o", "jsonl"],
    ["history", "a"],
    ["history", "a", "-o", "jsonl"],
    ["functions", "--app", str(FLOWS / "plain.py")],
    ["doctor"],
]


@pytest.fixture
def killed(hub: CliHarness) -> CliHarness:
    """A hub whose daemon was killed at work, with messages that nobody has taken since."""
    daemon = hub.start_daemon("plain")
    for name in ("a", "b", "c"):
        hub("start", "hello", "--id", name, "--input", f'"{name}"')
        hub.client.wait(name, 20)
    hub("start", "rest", "--id", "waits")
    wait_until(hub.read_runs, description="the activity begins")
    hub.client.start_many("approval", range(50))
    daemon.kill()
    hub("start", "hello", "--id", "later")
    hub("raise-event", "waits", "anything")
    return hub


@pytest.mark.parametrize("verb", READ_ONLY_VERBS, ids=" ".join)
def test_reading_verbs_write_nothing(killed: CliHarness, verb: list[str]) -> None:
    before = snapshot_files(killed.root)
    killed(*verb)
    assert snapshot_files(killed.root) == before


@pytest.mark.skipif(os.geteuid() == 0 and not which("setpriv"), reason="root may write everywhere")
def test_reading_verbs_need_no_permission_to_write(killed: CliHarness) -> None:
    for path in sorted(killed.root.rglob("*"), reverse=True):
        path.chmod(0o555 if path.is_dir() else 0o444)
    killed.root.chmod(0o555)
    if os.geteuid() == 0:
        killed.command_prefix = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    before = snapshot_files(killed.root)
    killed("start", "hello", code=77)
    for verb in READ_ONLY_VERBS:
        killed(*verb)
    assert snapshot_files(killed.root) == before
    for path in [killed.root, *killed.root.rglob("*")]:
        path.chmod(0o700)
