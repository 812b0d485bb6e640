"""An orchestrator that blocks the engine is named while it does."""

from __future__ import annotations

from pathlib import Path

from tests.support.cli_harness import FLOWS, CliHarness
from tests.support.waiting import wait_until


def line_number(file: Path, text: str) -> int:
    return next(n for n, line in enumerate(file.read_text().splitlines(), 1) if text in line)


def test_a_blocking_orchestrator_is_reported_with_its_line_and_continues(hub: CliHarness, replay_always: bool) -> None:
    daemon = hub.start_daemon("endless")
    hub("start", "sleeper", "--id", "s", "--input", "1.8")
    hub("start", "prompt", "--id", "p")
    daemon.wait_for_output("s has not yielded for 1 s")
    file = FLOWS / "endless.py"
    assert f"at {file}:{line_number(file, 'time.sleep(')};" in daemon.output
    hub("raise-event", "s", "go", "--data", "1")
    assert hub.client.wait("s", 20).output == "1"
    assert hub.client.wait("p", 20).output == "done"
    assert daemon.output.count("has not yielded") == (
        2 if replay_always else 1
    )  # the replay of its turn blocks as long
    wait_until(lambda: not (hub.root / "hang.json").exists(), description="the note is taken away")


def test_a_fast_orchestrator_is_not_reported(hub: CliHarness) -> None:
    daemon = hub.start_daemon("endless")
    hub("start", "sleeper", "--id", "s", "--input", "0.5")
    hub("raise-event", "s", "go", "--data", "1")
    assert hub.client.wait("s", 20).output == "1"
    assert "has not yielded" not in daemon.output
