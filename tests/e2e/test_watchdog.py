"""An orchestrator that blocks the engine is named while it does."""

from __future__ import annotations

from pathlib import Path

from tests.support.cli_harness import FLOWS, Hub, until


def line_of(file: Path, text: str) -> int:
    return next(n for n, line in enumerate(file.read_text().splitlines(), 1) if text in line)


def test_an_orchestrator_that_blocks_is_reported_with_its_line_and_goes_on(hub: Hub, replay_always: bool) -> None:
    daemon = hub.daemon("endless")
    hub("start", "sleeper", "--id", "s", "--input", "1.8")
    hub("start", "prompt", "--id", "p")
    daemon.says("s has not yielded for 1 s")
    file = FLOWS / "endless.py"
    assert f"at {file}:{line_of(file, 'time.sleep(')};" in daemon.said
    hub("raise-event", "s", "go", "--data", "1")
    assert hub.client.wait("s", 20).output == "1"
    assert hub.client.wait("p", 20).output == "done"
    assert daemon.said.count("has not yielded") == (2 if replay_always else 1)  # the replay of its turn blocks as long
    until(lambda: not (hub.root / "turning.json").exists(), what="the note is taken away")


def test_one_that_is_quick_enough_is_not(hub: Hub) -> None:
    daemon = hub.daemon("endless")
    hub("start", "sleeper", "--id", "s", "--input", "0.5")
    hub("raise-event", "s", "go", "--data", "1")
    assert hub.client.wait("s", 20).output == "1"
    assert "has not yielded" not in daemon.said
