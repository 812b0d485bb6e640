"""What the doctor has cut off a history is decided again, and the instance goes on."""

from __future__ import annotations

import json

import pytest

from tests.support.cli_harness import FLOWS, CliHarness

pytestmark = pytest.mark.usefixtures("replay_always")

PLAIN = str(FLOWS / "plain.py")


def test_a_history_truncated_within_a_turn_resumes(hub: CliHarness) -> None:
    hub("start", "approval", "--id", "p")
    hub("run-daemon", "--until-idle", "--app", PLAIN)
    (file,) = hub.root.glob("instances/*/p.jsonl")
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b'"EventAwaited"', b'"EventAwoited"'))
    assert hub("doctor", code=1).out
    hub("doctor", "--repair")
    assert b"EventAw" not in file.read_bytes()
    hub("raise-event", "p", "approval", "--data", '"yes"')
    hub("run-daemon", "--until-idle", "--app", PLAIN)
    status = json.loads(hub("status", "p", "-o", "json").out)
    assert (status["runtimeStatus"], status["blocked"]) == ("Completed", None)
    assert not (hub.root / "cut.json").exists()
    hub("doctor")
